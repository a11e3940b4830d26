//! recordStats and readStats: counts of declared things by declared values, which say nothing about anybody (p25, p26).
//!
//! They have rows and a key of their own. Nothing here knows people: no type of this file names one, and no row of a person
//! leads here or from here. What could say something about a person is refused, not cleaned.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use keys::SystemKey;
use minicbor::{Decode, Encode};
use serde_json::Value;

use crate::audit::Outcome;
use crate::model::caller::{Operation, Role};
use crate::model::code::Code;
use crate::model::wire::{ReadStats, RecordStats, StatsCell, StatsView};
use crate::store::Row;
use crate::store::layout::{RowKey, prefix};
use crate::tenant::Tenant;
use crate::tenant::measures::{Measure, looks_personal};

use super::call::{Answer, Call, Refused};
use super::committer::{Change, Expect, RowChange};
use super::core::{Core, first16};
use super::idempotency::{self, Begun, Owner};
use super::lifecycle::Vault;
use super::rows::{pack, unpack};

/// The most that one call counts, and how old it may be.
const MOST: u64 = 1_000_000;
const OLDEST_DAYS: i32 = 400;

/// What names the row of a count: its digest is made of them.
fn parts_of(values: &[Pair]) -> Vec<&[u8]> {
    values.iter().flat_map(|pair| [pair.dimension.as_bytes(), pair.value.as_bytes()]).collect()
}

/// A count under the newest statistics key and the name that it gives it; `None` where it is so already.
pub(crate) fn turned_over(core: &Core, key: &[u8], sealed: &[u8]) -> Result<Option<Row>, Refused> {
    let Some(RowKey::Statistic { tenant, measure, day, .. }) = RowKey::parse(key) else { return Err(Code::Internal.into()) };
    let plain = core.hierarchy.open_statistic(key, sealed)?;
    let row: Statistic = unpack(plain.bytes())?;
    let values = core.hierarchy.statistic_digests(&parts_of(&row.values)).first().map(first16).ok_or(Code::Internal)?;
    let name = RowKey::Statistic { tenant, measure, day, values }.bytes();
    if name == key && core.hierarchy.age_of(SystemKey::Statistics, sealed) == Some(0) {
        return Ok(None);
    }
    let value = core.hierarchy.seal_statistic(&name, plain.bytes())?;
    Ok(Some((name, value)))
}

/// How often a count is tried again when somebody else counts the same at the same moment.
const TRIES: usize = 8;

/// Rows read at a time.
const PAGE: usize = 1_000;

/// A count of one day, measure and combination of values. Sealed under the statistics key.
#[derive(Encode, Decode, Default)]
#[cbor(map)]
struct Statistic {
    /// Dimension and value, in the order of the dimensions.
    #[n(0)]
    values: Vec<Pair>,
    #[n(1)]
    count: u64,
    #[n(2)]
    sum: u64,
}

#[derive(Encode, Decode, Clone)]
#[cbor(map)]
struct Pair {
    #[n(0)]
    dimension: String,
    #[n(1)]
    value: String,
}

/// One cell of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Cell {
    value: Option<String>,
    count: u64,
    sum: u64,
}

impl Vault {
    /// recordStats: adds to the count of a day. The body comes as it is, so that one that is refused for its shape is told
    /// when it holds what looks personal.
    pub async fn record_stats(&self, call: &Call, body: Value) -> Result<Answer, Refused> {
        let operation = Operation::RecordStats;
        let opened = self.opened()?;
        let core = &opened.core;
        let held = match idempotency::begin(core, &self.0.in_flight, call, operation)? {
            Begun::Again(answer) => return Ok(answer),
            Begun::First(held) => Some(held),
            Begun::Plain => None,
        };
        let tenant = core.tenant(&call.caller)?;
        core.decide(call, operation, &core.facts(&tenant), None)?;
        let (measure, counted) = checked(&tenant, body, core.clock.now()).map_err(|(code, pointer)| {
            let refused = core.refuse(call, operation, code, None);
            Refused { pointer: Some(pointer), ..refused }
        })?;
        let values: Vec<Pair> = counted
            .dimensions
            .iter()
            .map(|(dimension, value)| Pair { dimension: dimension.clone(), value: value.clone() })
            .collect();
        let parts = parts_of(&values);
        let day = day_of(counted.at.to_zoned_datetime(TimeZone::UTC).date());
        let named = |digest: &[u8; 32]| {
            let values = first16(digest);
            RowKey::Statistic { tenant: *tenant.id().bytes(), measure: measure.number, day, values }.bytes()
        };
        let mut entry = core.entry(call, operation, Outcome::Allowed)?;
        entry.records = 1;
        let answer = Answer { decision: Some(entry.decision), ..Answer::default() };
        for _ in 0..TRIES {
            // While the statistics key turns over, the count may still be under the name that the older one gave it.
            let names: Vec<Vec<u8>> = core.hierarchy.statistic_digests(&parts).iter().map(named).collect();
            let Some(key) = names.first() else { return Err(Code::Internal.into()) };
            let mut old = None;
            for name in &names {
                old = core.store.row(name)?.map(|bytes| (name, bytes));
                if old.is_some() {
                    break;
                }
            }
            let mut row = match &old {
                Some((name, bytes)) => unpack(core.hierarchy.open_statistic(name, bytes)?.bytes())?,
                None => Statistic { values: values.clone(), ..Statistic::default() },
            };
            row.count = row.count.saturating_add(counted.count);
            row.sum = row.sum.saturating_add(counted.sum.unwrap_or(0));
            let sealed = core.hierarchy.seal_statistic(key, &pack(&row)?)?;
            let mut change = Change::noting(entry.clone());
            let expect = match old {
                Some((name, bytes)) if name == key => Expect::Is(bytes),
                Some((name, bytes)) => {
                    change.rows.push(RowChange { key: name.clone(), expect: Expect::Is(bytes), value: None });
                    Expect::Absent
                }
                None => Expect::Absent,
            };
            change.rows.push(RowChange { key: key.clone(), expect, value: Some(sealed) });
            if let Some(held) = &held {
                change.rows.push(held.keep(core, &Owner::Vault, &answer)?);
            }
            match opened.committer.commit(change).await {
                Ok(()) => return Ok(answer),
                Err(refused) if refused.code == Code::Stale => continue,
                Err(refused) => return Err(refused),
            }
        }
        Err(Code::Overloaded.into())
    }

    /// readStats: one measure over whole days, in all or by one dimension, without cells below the floor.
    pub async fn read_stats(&self, call: &Call, ask: ReadStats) -> Result<Answer, Refused> {
        let operation = Operation::ReadStats;
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = core.tenant(&call.caller)?;
        let allowed = core.decide(call, operation, &core.facts(&tenant), None)?;
        let refuse = |code| Err(core.refuse(call, operation, code, None));
        if let Err(code) = fits_purpose(&tenant, call) {
            return refuse(code);
        }
        let today = core.clock.now().to_zoned_datetime(TimeZone::UTC).date();
        let until = ask.until.unwrap_or(today);
        let from = ask.from.unwrap_or(until);
        let Some(measure) = ask.measure.as_deref().and_then(|name| tenant.measures().measure(name)) else {
            return refuse(if ask.measure.is_some() { Code::NotFound } else { Code::MalformedRequest });
        };
        if ask.by.as_ref().is_some_and(|by| !measure.dimensions.contains_key(by)) {
            return refuse(Code::NotFound);
        }
        if from > until || day_of(until) - day_of(from) > OLDEST_DAYS as u32 {
            return refuse(Code::MalformedRequest);
        }
        let mut entry = core.entry(call, operation, Outcome::Allowed)?;
        let cells = cells(core, &tenant, measure, (from, until), ask.by.as_deref())?;
        let floor = tenant.measures().floor;
        let (shown, suppressed) = shown(cells, floor);
        entry.records = shown.len() as u32;
        let admitted = core.admit(&allowed, entry).await?;
        let cells = shown.into_iter().map(|cell| cell.view(measure)).collect();
        let body = StatsView { measure: measure.name.clone(), from, until, by: ask.by, floor, cells, suppressed };
        let body = serde_json::to_vec(&body).map_err(|_| Code::Internal)?;
        Ok(Answer { decision: Some(admitted.decision), body: Some(body), ..Answer::default() })
    }
}

/// Who reads for a purpose names it, and it is one that rests on statistics alone (p20). Those who oversee need not.
fn fits_purpose(tenant: &Tenant, call: &Call) -> Result<(), Code> {
    let Some(name) = &call.purpose else {
        let oversees =
            [Role::PrivacyOfficer, Role::PolicyAuthor, Role::Auditor].iter().any(|role| call.caller.roles.contains(role));
        return if oversees { Ok(()) } else { Err(Code::PurposeRequired) };
    };
    match tenant.purpose(name) {
        None => Err(Code::PurposeNotPublished),
        Some(_) if !call.caller.purposes.contains(name) => Err(Code::PurposeNotGranted),
        Some(purpose) if !purpose.aggregate_only => Err(Code::PurposeIncompatible),
        Some(_) => Ok(()),
    }
}

/// The body as a count of a declared measure by declared values, or why not and where. The pointer names members that the
/// measure declares, never what came.
fn checked(tenant: &Tenant, body: Value, now: Timestamp) -> Result<(&Measure, RecordStats), (Code, String)> {
    let refused = |code, place: &str| Err((code, place.to_owned()));
    let personal = is_personal(tenant, &body);
    let Ok(counted) = serde_json::from_value::<RecordStats>(body) else {
        return refused(if personal { Code::MixedDataIsPersonal } else { Code::InvalidBody }, "");
    };
    let Some(measure) = tenant.measures().measure(&counted.measure) else {
        return refused(if personal { Code::MixedDataIsPersonal } else { Code::InvalidBody }, "/measure");
    };
    for (dimension, value) in &counted.dimensions {
        let Some(values) = measure.dimensions.get(dimension) else {
            return refused(if personal { Code::MixedDataIsPersonal } else { Code::InvalidBody }, "/dimensions");
        };
        // What is not declared could be anything, and anything could be somebody.
        if !values.contains(value) {
            return refused(Code::MixedDataIsPersonal, &format!("/dimensions/{dimension}"));
        }
    }
    let recent = SignedDuration::from_hours(24 * i64::from(OLDEST_DAYS));
    let age = now.duration_since(counted.at);
    if age > recent || age < -SignedDuration::from_mins(5) {
        return refused(Code::InvalidBody, "/at");
    }
    if !(1..=MOST).contains(&counted.count) {
        return refused(Code::InvalidBody, "/count");
    }
    let fits = match (counted.sum, measure.most) {
        (None, _) => true,
        (Some(sum), Some(most)) => sum <= most.saturating_mul(counted.count),
        (Some(_), None) => false,
    };
    if fits { Ok((measure, counted)) } else { refused(Code::InvalidBody, "/sum") }
}

/// Whether anything in the body could say something about a person: a text that is no word (but for the time), a number as
/// long as a telephone's, a member that is called like a field of the catalogue.
fn is_personal(tenant: &Tenant, body: &Value) -> bool {
    match body {
        Value::Object(members) => members.iter().any(|(name, value)| {
            let time = name == "at" && value.as_str().is_some_and(|text| text.parse::<Timestamp>().is_ok());
            !time && (tenant.field(name).is_ok() || looks_personal(name) || is_personal(tenant, value))
        }),
        Value::Array(values) => values.iter().any(|value| is_personal(tenant, value)),
        Value::String(text) => looks_personal(text),
        Value::Number(number) => number.to_string().len() > 10,
        Value::Bool(_) | Value::Null => false,
    }
}

/// Days since 1970; those before are the first.
fn day_of(date: Date) -> u32 {
    let days = date.since(Date::constant(1970, 1, 1)).map(|span| span.get_days()).unwrap_or(0);
    u32::try_from(days).unwrap_or(0)
}

/// The counts of some days, by the values of one dimension. What a count does not say is a value of its own.
fn cells(
    core: &Core,
    tenant: &Tenant,
    measure: &Measure,
    (from, until): (Date, Date),
    by: Option<&str>,
) -> Result<Vec<Cell>, Refused> {
    let prefix = prefix::statistics(tenant.id().bytes(), measure.number);
    let (first, last) = (day_of(from), day_of(until));
    // Just before the first key of the first day.
    let mut after = first.checked_sub(1).map(|day| [&prefix[..], &day.to_be_bytes(), &[0xff; 16]].concat());
    let mut cells: BTreeMap<Option<String>, Cell> = BTreeMap::new();
    loop {
        let page = core.store.scan(&prefix, after.as_deref(), PAGE)?;
        let Some((end, _)) = page.last() else { break };
        after = Some(end.clone());
        for (key, sealed) in &page {
            let Some(RowKey::Statistic { day, .. }) = RowKey::parse(key) else { return Err(Code::StoreUnavailable.into()) };
            if day > last {
                return Ok(cells.into_values().collect());
            }
            let row: Statistic = unpack(core.hierarchy.open_statistic(key, sealed)?.bytes())?;
            let value = by.and_then(|by| row.values.into_iter().find(|pair| pair.dimension == by)).map(|pair| pair.value);
            let cell = cells.entry(value.clone()).or_insert_with(|| Cell { value, ..Cell::default() });
            cell.count = cell.count.saturating_add(row.count);
            cell.sum = cell.sum.saturating_add(row.sum);
        }
    }
    Ok(cells.into_values().collect())
}

/// The cells that may be shown, and whether any may not. What is left out is at least two cells that together reach the
/// floor, so that the total does not give one of them away.
fn shown(cells: Vec<Cell>, floor: u64) -> (Vec<Cell>, bool) {
    let (mut shown, hidden): (Vec<Cell>, Vec<Cell>) = cells.into_iter().partition(|cell| cell.count >= floor);
    let (mut left_out, mut people) = (hidden.len(), hidden.iter().map(|cell| cell.count).sum::<u64>());
    while left_out > 0 && (left_out < 2 || people < floor) {
        let Some((place, _)) = shown.iter().enumerate().min_by_key(|(_, cell)| cell.count) else { break };
        people += shown.remove(place).count;
        left_out += 1;
    }
    (shown, left_out > 0)
}

impl Cell {
    fn view(self, measure: &Measure) -> StatsCell {
        StatsCell { value: self.value, count: self.count, sum: measure.most.is_some().then_some(self.sum) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::TenantId;

    fn of(counts: &[u64]) -> Vec<Cell> {
        counts.iter().map(|&count| Cell { value: Some(format!("v{count}")), count, sum: 0 }).collect()
    }

    #[test]
    fn cells_below_the_floor_are_left_out_and_one_alone_takes_the_next_smallest_along() {
        for (cells, left) in [
            (&[11, 20, 30][..], &[11, 20, 30][..]),
            (&[3, 20, 30], &[30]),
            (&[3, 9, 30], &[30]),
            (&[3, 4, 20, 30], &[30]),
            (&[3], &[]),
            (&[10, 11], &[]),
            (&[], &[]),
        ] {
            let (shown, suppressed) = super::shown(of(cells), 11);
            assert_eq!(shown, of(left), "{cells:?}");
            assert_eq!(suppressed, cells.len() > left.len());
        }
    }

    #[test]
    fn nothing_about_a_person_has_a_name_in_this_file() {
        let (code, _) = include_str!("stats.rs").split_once("#[cfg(test)]").unwrap();
        for word in ["Subject", "Person", "RecordId", "seal_row", "open_row"] {
            assert!(!code.replace("MixedDataIsPersonal", "").contains(word), "{word}");
        }
    }

    #[test]
    fn a_body_is_declared_or_refused() {
        let tenant = Tenant::shipped(TenantId::from_bytes([1; 16])).unwrap();
        let now: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        let good = serde_json::json!({"measure": "response-time", "at": "2026-11-23T09:00:00Z",
                                      "dimensions": {"page": "home"}, "count": 2, "sum": 300});
        assert!(checked(&tenant, good.clone(), now).is_ok());
        let refused = |change: fn(&mut Value), code: Code, place: &str| {
            let mut body = good.clone();
            change(&mut body);
            let (found, at) = checked(&tenant, body.clone(), now).map(|_| ()).unwrap_err();
            assert_eq!((found, at.as_str()), (code, place), "{body}");
        };
        use Code::{InvalidBody, MixedDataIsPersonal};
        refused(|b| b["measure"] = "visits".into(), InvalidBody, "/measure");
        refused(|b| b["measure"] = "ada@example.org".into(), MixedDataIsPersonal, "/measure");
        refused(|b| b["dimensions"]["page"] = "ada".into(), MixedDataIsPersonal, "/dimensions/page");
        refused(|b| b["dimensions"]["page"] = "ada@example.org".into(), MixedDataIsPersonal, "/dimensions/page");
        refused(|b| b["dimensions"]["email"] = "home".into(), MixedDataIsPersonal, "/dimensions");
        refused(|b| b["dimensions"]["colour"] = "red".into(), InvalidBody, "/dimensions");
        refused(|b| b["phone"] = 1.into(), MixedDataIsPersonal, "");
        refused(|b| b["colour"] = "red".into(), InvalidBody, "");
        refused(|b| b["count"] = serde_json::json!("+49 30 1234567"), MixedDataIsPersonal, "");
        refused(|b| b["count"] = 0.into(), InvalidBody, "/count");
        refused(|b| b["count"] = 493_012_345_678_u64.into(), InvalidBody, "/count");
        refused(|b| b["sum"] = 120_001.into(), InvalidBody, "/sum");
        refused(|b| b["at"] = "2026-11-23T10:06:00Z".into(), InvalidBody, "/at");
        refused(|b| b["at"] = "2020-01-01T00:00:00Z".into(), InvalidBody, "/at");
        refused(|b| b["at"] = "Ada".into(), MixedDataIsPersonal, "");
    }

    #[test]
    fn days_are_counted_from_1970() {
        assert_eq!(day_of(Date::constant(1970, 1, 1)), 0);
        assert_eq!(day_of(Date::constant(2026, 11, 23)), 20_780);
        assert_eq!(day_of(Date::constant(1969, 1, 1)), 0);
    }
}
