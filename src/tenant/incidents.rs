//! By when an incident is reported, and to which authority: the clocks of the regulators.
//!
//! Of the entries that name a jurisdiction most closely, those hold whose threshold is passed; the shortest of them is the clock of
//! the authority. People are counted for each authority, over all of its jurisdictions.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::contacts::ContactsText;
use super::read::{is_word, wrong};
use super::rules::{Rules, known_areas};
use super::{Tenant, TenantError};

const INCIDENTS: &str = "incidents.toml";

/// The longest clock: a year.
const LONGEST_HOURS: u32 = 366 * 24;

/// `incidents.toml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IncidentsText {
    #[serde(default)]
    pub(super) clock: Vec<ClockText>,
}

impl IncidentsText {
    /// Whether there is no clock at all.
    pub(super) fn is_empty(&self) -> bool {
        self.clock.is_empty()
    }
}

/// One clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockText {
    /// Its id.
    pub id: String,
    /// Whose people it is about: areas, jurisdictions, or `REST`.
    pub areas: BTreeSet<String>,
    /// The authority of the directory that is told; the one that these people can complain to, where none is named.
    #[serde(default)]
    pub authority: Option<String>,
    /// Where it is written.
    pub statute: String,
    /// Hours from when the incident was found out.
    pub hours: u32,
    /// It holds above so many people of the authority's.
    #[serde(default)]
    pub above: u64,
    /// It holds for critical infrastructure alone.
    #[serde(default)]
    pub critical: bool,
}

/// A clock that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningClock<'a> {
    /// The authority's id in the directory.
    pub authority: &'a str,
    /// The clock's id.
    pub clock: &'a str,
    /// Where it is written.
    pub statute: &'a str,
    /// Hours.
    pub hours: u32,
    /// How many of the authority's people the incident is about.
    pub people: u64,
    /// When it is over.
    pub due_at: Timestamp,
}

/// Whether the clocks are whole: words for ids, none twice, areas and authorities that there are, hours that end.
pub(super) fn check(rules: &Rules, contacts: &ContactsText, text: &IncidentsText) -> Result<(), TenantError> {
    let mut ids = HashSet::new();
    for clock in &text.clock {
        let place = format!("clock `{}`", clock.id);
        if !is_word(&clock.id) || !ids.insert(&clock.id) {
            return Err(wrong(INCIDENTS, place, "its id is not a short word, or is used twice"));
        }
        if clock.areas.is_empty() || clock.statute.is_empty() {
            return Err(wrong(INCIDENTS, place, "it names no area, or not where it is written"));
        }
        if !(1..=LONGEST_HOURS).contains(&clock.hours) {
            return Err(wrong(INCIDENTS, place, "its hours are not those of one hour to a year"));
        }
        let known = |id: &String| contacts.authority.iter().any(|authority| authority.id == *id);
        if let Some(unknown) = clock.authority.as_ref().filter(|id| !known(id)) {
            return Err(wrong(INCIDENTS, place, format!("unknown authority `{unknown}`")));
        }
        known_areas(rules, INCIDENTS, &place, &clock.areas)?;
    }
    Ok(())
}

impl Tenant {
    /// All clocks.
    pub fn clocks(&self) -> &[ClockText] {
        &self.document().incidents.clock
    }

    /// The clocks of an incident about so many `people` of each jurisdiction, found out at `detected_at`, the soonest first: one for
    /// each authority that is to be told.
    pub fn running_clocks(
        &self,
        people: &BTreeMap<String, u64>,
        detected_at: Timestamp,
        critical: bool,
    ) -> Vec<RunningClock<'_>> {
        let mut counted: BTreeMap<(&str, usize), u64> = BTreeMap::new();
        for (jurisdiction, count) in people.iter().filter(|(_, count)| **count > 0) {
            let closeness = |clock: &ClockText| self.closeness(&clock.areas, jurisdiction);
            let Some(closest) = self.clocks().iter().filter_map(closeness).max() else { continue };
            for (place, clock) in self.clocks().iter().enumerate().filter(|(_, clock)| closeness(clock) == Some(closest)) {
                let usual = || self.authority(jurisdiction).map(|authority| authority.id.as_str());
                let Some(authority) = clock.authority.as_deref().or_else(usual) else { continue };
                let sum = counted.entry((authority, place)).or_default();
                *sum = sum.saturating_add(*count);
            }
        }
        let mut running: BTreeMap<&str, RunningClock<'_>> = BTreeMap::new();
        for ((authority, place), count) in counted {
            let clock = &self.clocks()[place];
            if count <= clock.above || (clock.critical && !critical) {
                continue;
            }
            let hours = clock.hours;
            let due_at = detected_at.checked_add(SignedDuration::from_hours(i64::from(hours))).unwrap_or(Timestamp::MAX);
            let one = RunningClock { authority, clock: &clock.id, statute: &clock.statute, hours, people: count, due_at };
            match running.get(authority) {
                Some(shorter) if shorter.hours <= hours => {}
                _ => drop(running.insert(authority, one)),
            }
        }
        let mut running: Vec<_> = running.into_values().collect();
        running.sort_by_key(|clock| (clock.due_at, clock.authority));
        running
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::TenantId;

    fn clocks(people: &[(&str, u64)], critical: bool) -> Vec<(String, u32, u64)> {
        let tenant = Tenant::shipped(TenantId::from_bytes([1; 16])).unwrap();
        let people = people.iter().map(|(place, count)| ((*place).to_owned(), *count)).collect();
        let at: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        let running = tenant.running_clocks(&people, at, critical);
        for clock in &running {
            assert_eq!(clock.due_at.duration_since(at).as_hours(), i64::from(clock.hours));
            assert!(tenant.authorities().iter().any(|authority| authority.id == clock.authority), "{}", clock.authority);
        }
        running.into_iter().map(|clock| (clock.authority.to_owned(), clock.hours, clock.people)).collect()
    }

    #[test]
    fn europe_has_72_hours_at_the_authority_of_each_country() {
        assert_eq!(clocks(&[("DE", 1), ("FR", 2)], false), [("de-bfdi".into(), 72, 1), ("fr-cnil".into(), 72, 2)]);
        assert_eq!(clocks(&[("ES", 1), ("PT", 1)], true), [("eu-edpb".into(), 72, 2)]);
    }

    #[test]
    fn china_has_4_hours_above_a_million_people_and_one_for_critical_infrastructure() {
        assert_eq!(clocks(&[("CN", 1)], false), [("cn-cac".into(), 24, 1)]);
        assert_eq!(clocks(&[("CN", 1_000_000)], false), [("cn-cac".into(), 24, 1_000_000)]);
        assert_eq!(clocks(&[("CN", 1_000_001)], false), [("cn-cac".into(), 4, 1_000_001)]);
        assert_eq!(clocks(&[("CN", 600_000), ("CN-GD", 600_000)], false), [("cn-cac".into(), 4, 1_200_000)]);
        assert_eq!(clocks(&[("CN", 1)], true), [("cn-cac".into(), 1, 1)]);
        // Where others live makes nobody Chinese.
        assert_eq!(clocks(&[("CN", 1), ("DE", 2_000_000)], false)[0], ("cn-cac".into(), 24, 1));
    }

    #[test]
    fn below_a_states_threshold_no_clock_of_the_state_runs_and_nobody_is_without_any() {
        assert_eq!(clocks(&[("US-TX", 249)], false), []);
        assert_eq!(clocks(&[("US-TX", 250)], false), [("us-tx-ag".into(), 720, 250)]);
        assert_eq!(clocks(&[("US-MT", 1)], false), [("us-ftc".into(), 720, 1)]);
        assert_eq!(clocks(&[("ZZ", 1)], false), [("rest-gpa".into(), 72, 1)]);
        assert_eq!(clocks(&[("DE", 0)], true), []);
    }
}
