//! What the statistics may count: measures, their dimensions and the values of these, all from closed lists.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use super::Tenant;
use super::read::is_word;

/// The declared measures, and how small a crowd may be.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measures {
    /// The least that a cell shows, and the fewest people that may share a combination in a query.
    pub floor: u64,
    measure: Vec<Measure>,
}

/// One thing that is counted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measure {
    /// Stable number; never used again for another measure.
    pub number: u16,
    /// Name in bodies and queries.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// The most that one count adds to the sum; none where there is no sum.
    #[serde(default)]
    pub most: Option<u64>,
    /// Each dimension with its values.
    pub dimensions: BTreeMap<String, Vec<String>>,
}

/// The shipped measures. Were they not sound, nothing would be counted and no crowd large enough.
static SHIPPED: LazyLock<Measures> = LazyLock::new(|| {
    Measures::read(include_str!("default/stats.toml")).unwrap_or(Measures { floor: u64::MAX, measure: Vec::new() })
});

impl Tenant {
    /// The measures of its statistics: those that are shipped.
    pub fn measures(&self) -> &Measures {
        &SHIPPED
    }
}

impl Measures {
    /// The measures that `text` declares; none if it is not sound.
    pub fn read(text: &str) -> Option<Self> {
        let all: Self = toml::from_str(text).ok()?;
        let sound = |measure: &Measure| {
            let words = measure.dimensions.iter().flat_map(|(name, values)| std::iter::once(name).chain(values));
            is_word(&measure.name) && words.clone().all(|word| is_word(word) && !looks_personal(word))
        };
        let distinct =
            |one: &Measure| all.measure.iter().filter(|other| other.number == one.number || other.name == one.name).count() == 1;
        (all.floor > 1 && all.measure.iter().all(|measure| sound(measure) && distinct(measure))).then_some(all)
    }

    /// The measure of that name.
    pub fn measure(&self, name: &str) -> Option<&Measure> {
        self.measure.iter().find(|measure| measure.name == name)
    }
}

/// Whether a text could say something about a person: anything but a short lower-case word of few digits. E-mail addresses,
/// telephone numbers, dates, network addresses, ids, names as they are written and sentences all could.
pub fn looks_personal(text: &str) -> bool {
    const LONGEST: usize = 32;
    const DIGITS: usize = 5;
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let prefixed = text.split_once('_').is_some_and(|(before, after)| before.len() == 3 && after.len() >= 16);
    text.len() > LONGEST || !is_word(text) || digits > DIGITS || prefixed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_measures_are_sound_and_a_crowd_is_eleven() {
        let shipped = Measures::read(include_str!("default/stats.toml")).unwrap();
        assert_eq!((shipped.floor, shipped.measure.len()), (11, 4));
        assert_eq!(shipped.measure("page-views").unwrap().dimensions["device"], ["phone", "tablet", "desktop", "other"]);
        assert_eq!(*SHIPPED, shipped);
    }

    #[test]
    fn measures_that_could_name_somebody_are_not_taken() {
        let text = |value: &str| {
            format!("floor = 11\n[[measure]]\nnumber = 1\nname = \"m\"\ntitle = \"t\"\n[measure.dimensions]\nd = [\"{value}\"]\n")
        };
        assert!(Measures::read(&text("home")).is_some());
        for personal in ["ada@example.org", "Ada", "4930123456", "sub_00000000000000000000000000"] {
            assert!(Measures::read(&text(personal)).is_none(), "{personal}");
        }
        assert!(Measures::read(&text("home").replace("floor = 11", "floor = 1")).is_none());
        let twice = text("home").replace("floor = 11\n", "");
        assert!(Measures::read(&format!("floor = 11\n{twice}{twice}")).is_none());
    }

    #[test]
    fn what_could_say_something_about_a_person_is_told_from_a_word() {
        for personal in [
            "",
            "Ada",
            "ada lovelace",
            "ada@example.org",
            "+493012345678",
            "030123456",
            "1980-02-03",
            "192.0.2.7",
            "2001:db8::1",
            "sub_00000000000000000000000000",
            "c01x00t47c01x00t47c01x00t47c01x00t47",
            "müller",
        ] {
            assert!(looks_personal(personal), "{personal}");
        }
        for word in ["home", "de", "page-views", "http2", "over-100"] {
            assert!(!looks_personal(word), "{word}");
        }
    }
}
