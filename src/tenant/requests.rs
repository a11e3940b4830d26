//! How requests of people are answered: how soon, how surely somebody is known first, and on which grounds one is refused.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};
use serde::{Deserialize, Serialize};

use super::read::{is_word, wrong};
use super::rules::{Rules, known_areas};
use super::{Tenant, TenantError};
use crate::model::wire::RequestType;

const REQUESTS: &str = "requests.toml";

/// The most days that an answer may be put off for: the two months of GDPR Art. 12(3).
const LONGEST_EXTENSION: u16 = 61;

/// How surely a person can be known at most: by a document.
const SUREST: u8 = 2;

/// `requests.toml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestsText {
    /// Codes that a person may get wrong before the request is denied.
    pub tries: u8,
    /// Minutes for which a code that was sent to a person can be given back.
    pub code_minutes: u16,
    /// Days for which an address that the person wrote themselves must have stood before a code goes to it.
    #[serde(default = "address_days")]
    pub address_days: u16,
    /// Days within which a second identical request is marked as such.
    pub duplicate_days: u16,
    /// Days for which evidence and letters are kept after a request has ended.
    pub papers_days: u16,
    /// How surely a person must be known before a request is worked on, by type: 0 their session, 1 a code that was sent to them,
    /// 2 a document.
    pub levels: BTreeMap<RequestType, u8>,
    /// How soon requests are answered.
    #[serde(default)]
    pub(super) sla: Vec<SlaText>,
    /// Why one may be refused.
    #[serde(default)]
    pub(super) ground: Vec<GroundText>,
}

/// What holds in rules that do not say how long an address must have stood.
fn address_days() -> u16 {
    7
}

/// How soon something that a person asks for is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlaText {
    /// What it is for.
    pub id: String,
    /// Types of requests; none is all.
    #[serde(default)]
    pub types: BTreeSet<RequestType>,
    /// Areas or jurisdictions; none is everywhere.
    #[serde(default)]
    pub areas: BTreeSet<String>,
    /// Days within which there is an answer, at most 30; a calendar month, where that is sooner.
    pub days: u16,
    /// Working days, Monday to Friday, within which it is confirmed that the request came.
    #[serde(default)]
    pub confirm_working_days: Option<u16>,
    /// Days by which the answer can be put off once, for a reason; 0 is never.
    #[serde(default)]
    pub extension_days: u16,
    /// After how much of the time it raises an alarm, in percent, ascending; the last is 100.
    pub alarms: Vec<u8>,
    /// Where it is written.
    #[serde(default)]
    pub statute: Option<String>,
}

/// Why a request may be refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroundText {
    /// Its id, as the Data Rights Protocol has it where it does.
    pub id: String,
    /// What it says, in the letter.
    pub title: String,
    /// Its term in a vocabulary.
    #[serde(default)]
    pub term: Option<String>,
    /// Types of requests; none is all.
    #[serde(default)]
    pub types: BTreeSet<RequestType>,
    /// Only where the person asked for the same within so many days before.
    #[serde(default)]
    pub window_days: Option<u16>,
}

/// Whether the rules are whole: a level for each type, a rule that holds for everything, times that the law allows.
pub(super) fn check(rules: &Rules, text: &RequestsText) -> Result<(), TenantError> {
    if !(1..=10).contains(&text.tries) || text.code_minutes == 0 || text.papers_days < text.duplicate_days {
        return Err(wrong(REQUESTS, "requests", "its tries, minutes or days are out of bounds"));
    }
    if let Some(missing) = RequestType::ALL.iter().find(|kind| !text.levels.contains_key(kind)) {
        return Err(wrong(REQUESTS, "levels", format!("there is none for `{}`", missing.text())));
    }
    if text.levels.values().any(|level| *level > SUREST) {
        return Err(wrong(REQUESTS, "levels", "they are 0 to 2"));
    }
    let mut ids = HashSet::new();
    for sla in &text.sla {
        let place = format!("sla `{}`", sla.id);
        if !is_word(&sla.id) || !ids.insert(&sla.id) {
            return Err(wrong(REQUESTS, place, "its id is not a short word, or is used twice"));
        }
        if !(1..=30).contains(&sla.days) || sla.extension_days > LONGEST_EXTENSION {
            return Err(wrong(REQUESTS, place, "it is not answered within 30 days, or put off for too long"));
        }
        let rising = sla.alarms.windows(2).all(|pair| pair[0] < pair[1]) && sla.alarms.first() != Some(&0);
        if !rising || sla.alarms.last() != Some(&100) {
            return Err(wrong(REQUESTS, place, "its alarms do not rise to 100"));
        }
        known_areas(rules, REQUESTS, &place, &sla.areas)?;
    }
    if !text.sla.iter().any(|sla| sla.types.is_empty() && sla.areas.is_empty()) {
        return Err(wrong(REQUESTS, "sla", "none holds for every type everywhere"));
    }
    let mut ids = HashSet::new();
    for ground in &text.ground {
        let place = format!("ground `{}`", ground.id);
        if !is_word(&ground.id) || !ids.insert(&ground.id) || ground.title.is_empty() {
            return Err(wrong(REQUESTS, place, "its id is not a short word, is used twice, or it says nothing"));
        }
        if ground.window_days.is_some_and(|days| days == 0 || days > text.papers_days) {
            return Err(wrong(REQUESTS, place, "its window is longer than what is remembered"));
        }
    }
    Ok(())
}

impl Tenant {
    /// The rules of requests that are no list.
    pub fn requests(&self) -> &RequestsText {
        &self.document().requests
    }

    /// How soon requests are answered.
    pub fn slas(&self) -> &[SlaText] {
        &self.document().requests.sla
    }

    /// The rule for a type of request in a jurisdiction: the one that names the place most closely, then the type.
    pub fn sla(&self, kind: RequestType, jurisdiction: &str) -> Option<&SlaText> {
        let fits = |sla: &&SlaText| sla.types.is_empty() || sla.types.contains(&kind);
        let near = |sla: &SlaText| if sla.areas.is_empty() { Some(0) } else { self.closeness(&sla.areas, jurisdiction) };
        let all = self.slas().iter().filter(fits).filter_map(|sla| Some((near(sla)?, !sla.types.is_empty(), sla)));
        all.max_by_key(|(near, named, _)| (*near, *named)).map(|(.., sla)| sla)
    }

    /// How surely a person must be known before a request of that type is worked on.
    pub fn level(&self, kind: RequestType) -> u8 {
        self.requests().levels.get(&kind).copied().unwrap_or(SUREST)
    }

    /// Why requests may be refused.
    pub fn grounds(&self) -> &[GroundText] {
        &self.document().requests.ground
    }

    /// The ground of that id, or of that term, for a type of request.
    pub fn ground(&self, named: &str, kind: RequestType) -> Option<&GroundText> {
        let fits = |ground: &&GroundText| ground.types.is_empty() || ground.types.contains(&kind);
        let mut all = self.grounds().iter().filter(fits);
        all.find(|ground| ground.id == named || ground.term.as_deref() == Some(named))
    }
}

impl SlaText {
    /// When a request that came at `received` is answered at the latest: after its days, 30 days, or a calendar month in UTC,
    /// whichever is soonest (GDPR Art. 12(3)).
    pub fn due(&self, received: Timestamp) -> Timestamp {
        let after = |days: u16| received.checked_add(SignedDuration::from_hours(24 * i64::from(days))).unwrap_or(received);
        let days = after(self.days.min(30));
        let month = received.to_zoned_datetime(TimeZone::UTC).checked_add(Span::new().months(1));
        month.map_or(days, |month| month.timestamp().min(days))
    }

    /// By when it is confirmed that the request came, where a law wants that: the end of that working day in UTC. Holidays are not
    /// known, so it is never later than the law says.
    pub fn confirm_by(&self, received: Timestamp) -> Option<Timestamp> {
        let mut left = self.confirm_working_days?;
        let mut day = received.to_zoned_datetime(TimeZone::UTC).date();
        while left > 0 {
            day = day.tomorrow().ok()?;
            left -= u16::from(!matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday));
        }
        let end = day.at(23, 59, 59, 0).to_zoned_datetime(TimeZone::UTC).ok()?;
        Some(end.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::TenantId;

    fn shipped() -> Tenant {
        Tenant::shipped(TenantId::from_bytes([1; 16])).unwrap()
    }

    #[test]
    fn an_answer_is_due_in_thirty_days_or_one_month_whichever_is_sooner() {
        let tenant = shipped();
        for (place, received, due) in [
            ("DE", "2026-11-23T10:00:00Z", "2026-12-23T10:00:00Z"),
            ("DE", "2026-12-23T10:00:00Z", "2027-01-22T10:00:00Z"),
            ("DE", "2027-01-31T10:00:00Z", "2027-02-28T10:00:00Z"),
            ("DE", "2028-01-31T10:00:00Z", "2028-02-29T10:00:00Z"),
            // The statute is sooner, or later than the ceiling.
            ("KR", "2026-11-23T10:00:00Z", "2026-12-03T10:00:00Z"),
            ("US-CA", "2026-11-23T10:00:00Z", "2026-12-23T10:00:00Z"),
            ("ZZ", "2026-11-23T10:00:00Z", "2026-12-23T10:00:00Z"),
        ] {
            let sla = tenant.sla(RequestType::Question, place).unwrap();
            assert_eq!(sla.due(received.parse().unwrap()).to_string(), due, "{place} {received}");
        }
    }

    #[test]
    fn the_rule_of_the_closest_place_holds_and_then_that_of_the_type() {
        let tenant = shipped();
        let of = |kind, place| tenant.sla(kind, place).unwrap().id.as_str();
        assert_eq!(of(RequestType::Access, "BR"), "access-br");
        assert_eq!(of(RequestType::Question, "BR"), "requests");
        assert_eq!(of(RequestType::Access, "US-CA"), "requests-us-ca");
        assert_eq!(of(RequestType::Access, "US-NY"), "requests");
    }

    #[test]
    fn ten_working_days_are_two_weeks_and_begin_after_a_weekend() {
        let tenant = shipped();
        let sla = tenant.sla(RequestType::Access, "US-CA").unwrap();
        for (received, by) in [
            ("2026-11-23T10:00:00Z", "2026-12-07T23:59:59Z"),
            ("2026-11-27T23:00:00Z", "2026-12-11T23:59:59Z"),
            ("2026-11-28T10:00:00Z", "2026-12-11T23:59:59Z"),
        ] {
            assert_eq!(sla.confirm_by(received.parse().unwrap()).unwrap().to_string(), by, "{received}");
        }
        assert_eq!(tenant.sla(RequestType::Access, "DE").unwrap().confirm_by(Timestamp::UNIX_EPOCH), None);
    }

    #[test]
    fn a_ground_is_found_by_its_id_or_its_term() {
        let tenant = shipped();
        let of = |name| tenant.ground(name, RequestType::Access).map(|ground| ground.id.as_str());
        assert_eq!(of("justifications:ThirdPartyRightsImpaired"), Some("third_party_rights_impaired"));
        assert_eq!(of("suspected_fraud"), Some("suspected_fraud"));
        assert_eq!(of("because"), None);
    }
}
