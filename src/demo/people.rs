//! Made-up people: several countries and scripts, families, business contacts. The same seed gives the same people.

use std::collections::VecDeque;

use fake::Fake;
use fake::faker::company::raw::CompanyName;
use fake::faker::internet::raw::UserAgent;
use fake::faker::name::raw::{FirstName, LastName};
use fake::locales::{Data, EN};
use jiff::ToSpan;
use jiff::civil::{Date, date};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::person::{Consents, Device, IdDocument, Order, Person};
use super::places::{PLACES, Place};

/// The day on which the made-up people stand still, so that a seed gives the same people tomorrow.
const TODAY: Date = date(2026, 11, 23);

/// Grown-ups who are remembered as possible guardians.
const REMEMBERED: usize = 64;

/// `n` people. The first of a longer run are those of a shorter one. A guardian comes before the ward.
pub fn people(n: usize, seed: u64) -> impl Iterator<Item = Person> {
    let mut world = World { rng: StdRng::seed_from_u64(seed), adults: VecDeque::with_capacity(REMEMBERED) };
    (0..n).map(move |number| world.person(number))
}

/// Names as they are written in one language.
pub(super) trait Names: Sync {
    fn first(&self, rng: &mut StdRng) -> String;
    fn family(&self, rng: &mut StdRng) -> String;
    fn company(&self, rng: &mut StdRng) -> String;
    fn whole(&self, first: &str, family: &str) -> String;
}

/// A locale of the crate `fake`.
pub(super) struct Locale<L> {
    pub(super) of: L,
    pub(super) family_first: bool,
    pub(super) joint: &'static str,
}

impl<L: Data + Copy + Sync> Names for Locale<L> {
    fn first(&self, rng: &mut StdRng) -> String {
        FirstName(self.of).fake_with_rng(rng)
    }

    fn family(&self, rng: &mut StdRng) -> String {
        LastName(self.of).fake_with_rng(rng)
    }

    fn company(&self, rng: &mut StdRng) -> String {
        CompanyName(self.of).fake_with_rng(rng)
    }

    fn whole(&self, first: &str, family: &str) -> String {
        let (one, two) = if self.family_first { (family, first) } else { (first, family) };
        format!("{one}{}{two}", self.joint)
    }
}

struct World {
    rng: StdRng,
    adults: VecDeque<Adult>,
}

/// What a child has from its guardian.
struct Adult {
    external_id: String,
    place: &'static Place,
    family: String,
    address: String,
    phone: String,
}

impl World {
    fn person(&mut self, number: usize) -> Person {
        // Every sixteenth or so is a child; the first have nobody who could answer for them.
        if self.adults.len() > 3 && self.rng.random_bool(0.06) { self.child(number) } else { self.adult(number) }
    }

    fn adult(&mut self, number: usize) -> Person {
        let place = &PLACES[self.rng.random_range(0..PLACES.len())];
        let family = place.names.family(&mut self.rng);
        let address = self.address(place);
        let phone = self.one_of(place.phones);
        let mut person = self.anybody(number, place, &family, address, phone);
        person.birth_date = self.born(19, 88);
        if self.rng.random_bool(0.13) {
            person.class = "business-contact".into();
            person.company = Some(place.names.company(&mut self.rng));
            person.post = Some(pick(&mut self.rng, place.posts).into());
        } else {
            if self.adults.len() == REMEMBERED {
                self.adults.pop_front();
            }
            self.adults.push_back(Adult {
                external_id: person.external_id.clone(),
                place,
                family,
                address: person.address.clone(),
                phone: person.phone.clone(),
            });
        }
        if self.rng.random_bool(0.4) {
            let kind = if self.rng.random_bool(0.5) { "passport" } else { "id-card" };
            person.id_document = Some(IdDocument { r#type: kind.into(), number: self.document() });
        }
        person
    }

    fn child(&mut self, number: usize) -> Person {
        let guardian = self.adults.swap_remove_back(self.rng.random_range(0..self.adults.len()));
        let Some(guardian) = guardian else { return self.adult(number) };
        let (address, phone) = (guardian.address.clone(), guardian.phone.clone());
        let mut person = self.anybody(number, guardian.place, &guardian.family, address, phone);
        // Below the age of every jurisdiction of the default tenant.
        person.birth_date = self.born(7, 12);
        person.consents = Consents::default();
        person.guardian_external_id = Some(guardian.external_id.clone());
        self.adults.push_back(guardian);
        person
    }

    fn anybody(&mut self, number: usize, place: &'static Place, family: &str, address: String, phone: String) -> Person {
        let rng = &mut self.rng;
        let first = place.names.first(rng);
        let gender = ["female", "male", "other"].get(rng.random_range(0..4usize)).map(|&word| word.to_owned());
        let consents = Consents {
            marketing: rng.random_bool(0.5),
            personalised_ads: rng.random_bool(0.4),
            error_reports: rng.random_bool(0.3),
        };
        Person {
            external_id: format!("demo-{number:06}"),
            class: "consumer".into(),
            jurisdiction: place.jurisdiction.into(),
            birth_date: TODAY,
            name: place.names.whole(&first, family),
            gender,
            email: self.email(number, &first, family),
            phone,
            address,
            company: None,
            post: None,
            id_document: None,
            orders: self.orders(place),
            messages: self.messages(place),
            device: self.device(place),
            consents,
            guardian_external_id: None,
        }
    }

    /// Unique by its number, and in domains that belong to nobody (RFC 2606).
    fn email(&mut self, number: usize, first: &str, family: &str) -> String {
        let latin = |text: &str| text.chars().filter(char::is_ascii_alphabetic).collect::<String>().to_lowercase();
        let (mut first, mut family) = (latin(first), latin(family));
        if first.is_empty() || family.is_empty() {
            first = latin(&FirstName(EN).fake_with_rng::<String, _>(&mut self.rng));
            family = latin(&LastName(EN).fake_with_rng::<String, _>(&mut self.rng));
        }
        let domain = ["example.org", "example.com", "example.net"][self.rng.random_range(0..3usize)];
        format!("{first}.{family}.{number}@{domain}")
    }

    fn address(&mut self, place: &Place) -> String {
        let house = self.one_of(place.address);
        let street = pick(&mut self.rng, place.streets).replace("{}", &house);
        format!("{street}\n{}", self.one_of(place.cities))
    }

    fn orders(&mut self, place: &Place) -> Vec<Order> {
        let count = [0, 0, 0, 1, 1, 1, 1, 2, 2, 5][self.rng.random_range(0..10usize)];
        (0..count)
            .map(|_| Order {
                order: format!("ORD-{}", self.digits("########")),
                placed: TODAY.saturating_sub(self.rng.random_range(1..1400i64).days()),
                total: format!("{}.{}", self.rng.random_range(5..900), self.digits("##")),
                currency: place.currency.into(),
            })
            .collect()
    }

    fn messages(&mut self, place: &Place) -> Vec<String> {
        let count = [0, 0, 0, 0, 0, 0, 1, 1, 1, 2][self.rng.random_range(0..10usize)];
        (0..count).map(|_| pick(&mut self.rng, place.messages).to_owned()).collect()
    }

    fn device(&mut self, place: &Place) -> Option<Device> {
        let rng = &mut self.rng;
        if !rng.random_bool(0.7) {
            return None;
        }
        // The two documentation networks of RFC 5737 and RFC 3849.
        let ip = if rng.random_bool(0.7) {
            format!("203.0.113.{}", rng.random_range(1..255))
        } else {
            format!("2001:db8::{:x}:{:x}", rng.random_range(1..0xffff), rng.random_range(1..0xffff))
        };
        let mut bits = rng.random::<[u8; 16]>();
        // A version 4 identifier (RFC 9562 §5.4).
        bits[6] = bits[6] & 0x0f | 0x40;
        bits[8] = bits[8] & 0x3f | 0x80;
        let hex = bits.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let cookie_id = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
        Some(Device { cookie_id, ip, language: place.language.into(), user_agent: UserAgent(EN).fake_with_rng(rng) })
    }

    fn document(&mut self) -> String {
        let letter = |rng: &mut StdRng| char::from(rng.random_range(b'A'..=b'Z'));
        let (one, two) = (letter(&mut self.rng), letter(&mut self.rng));
        format!("{one}{two}{}", self.digits("%######"))
    }

    /// Between `from` and `to` whole years old today.
    fn born(&mut self, from: i64, to: i64) -> Date {
        let days = self.rng.random_range(from * 366..to * 365);
        TODAY.saturating_sub(days.days())
    }

    fn one_of(&mut self, patterns: &[&str]) -> String {
        let pattern = pick(&mut self.rng, patterns);
        self.digits(pattern)
    }

    fn digits(&mut self, pattern: &str) -> String {
        let mut digit = |from: u8| char::from(self.rng.random_range(from..=b'9'));
        pattern
            .chars()
            .map(|place| match place {
                '#' => digit(b'0'),
                '%' => digit(b'1'),
                other => other,
            })
            .collect()
    }
}

fn pick<'a>(rng: &mut StdRng, from: &[&'a str]) -> &'a str {
    from[rng.random_range(0..from.len())]
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    fn lines(n: usize, seed: u64) -> Vec<String> {
        people(n, seed).map(|person| serde_json::to_string(&person).unwrap()).collect()
    }

    #[test]
    fn a_seed_gives_the_same_people_every_time_and_another_seed_others() {
        assert_eq!(lines(200, 7), lines(200, 7));
        assert_eq!(lines(50, 7)[..], lines(200, 7)[..50], "a longer run starts with the shorter one");
        assert_ne!(lines(50, 7), lines(50, 8));
    }

    #[test]
    fn nobody_shares_an_external_id_or_an_email() {
        let (mut ids, mut emails) = (HashSet::new(), HashSet::new());
        for person in people(5_000, 1) {
            assert!(person.email.ends_with("@example.org") || person.email.ends_with(".com") || person.email.ends_with(".net"));
            assert!(person.email.contains("@example."), "{}", person.email);
            assert!(
                person.email.is_ascii() && !person.email.starts_with('.') && !person.email.contains(".."),
                "{}",
                person.email
            );
            assert!(ids.insert(person.external_id) && emails.insert(person.email));
        }
    }

    #[test]
    fn every_phone_number_is_one_that_could_be_dialled() {
        for person in people(3_000, 2) {
            let number = phonenumber::parse(None, &person.phone).unwrap();
            assert!(phonenumber::is_valid(&number), "{} in {}", person.phone, person.jurisdiction);
        }
    }

    #[test]
    fn a_child_has_a_guardian_who_came_before_in_the_same_country() {
        let mut adults = HashMap::new();
        let mut children = 0;
        for person in people(2_000, 3) {
            let young = person.birth_date > date(2013, 11, 23);
            assert_eq!(young, person.guardian_external_id.is_some());
            match &person.guardian_external_id {
                Some(guardian) => {
                    children += 1;
                    assert_eq!(adults[guardian], person.jurisdiction);
                    assert!(!person.consents.marketing && person.company.is_none());
                }
                None => drop(adults.insert(person.external_id, person.jurisdiction)),
            }
        }
        assert!((60..200).contains(&children), "{children}");
    }

    #[test]
    fn there_are_many_countries_scripts_and_kinds_of_people() {
        let all: Vec<_> = people(1_000, 4).collect();
        let countries: HashSet<_> = all.iter().map(|person| person.jurisdiction.as_str()).collect();
        assert_eq!(countries.len(), PLACES.len());
        let some = |found: &dyn Fn(&Person) -> bool| all.iter().any(found);
        assert!(some(&|p| p.name.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c))));
        assert!(some(&|p| p.name.chars().any(|c| ('\u{0600}'..='\u{06ff}').contains(&c))));
        assert!(some(&|p| p.class == "business-contact" && p.company.is_some() && p.post.is_some()));
        assert!(some(&|p| p.id_document.is_some()) && some(&|p| p.device.is_some()) && some(&|p| !p.messages.is_empty()));
        assert!(some(&|p| p.orders.len() == 5) && some(&|p| p.gender.is_none()));
        assert!(all.iter().all(|p| !p.name.trim().is_empty() && p.address.contains('\n')));
    }
}
