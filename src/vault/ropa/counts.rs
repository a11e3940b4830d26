//! Counts for a report to the public: requests, disclosures, refusals, erasures, incidents. They hold no id, no tag and no name, so a
//! count of one says that something happened once, and not to whom.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::audit::{Entry, Outcome};
use crate::model::caller::Operation;
use crate::model::case::Ground;
use crate::model::code::Code;
use crate::model::states::{INCIDENT, REQUEST};
use crate::model::wire::RopaAsked;
use crate::store::layout::{RowKey, prefix};
use crate::tenant::Tenant;

use super::super::call::Refused;
use super::super::cases::{self, CaseRow};
use super::super::core::Core;
use super::super::incidents::IncidentRow;
use super::super::rows::{ErasureRow, RequestRow, time, unpack};
use super::super::views::{
    CasesLine, DenialsLine, DisclosuresLine, ErasuresLine, IncidentsLine, RefusalsLine, RequestsLine, Transparency,
};
use super::super::{requests, trail};

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// Rows and entries looked at together.
const PAGE: usize = 500;

/// Counts what a controller did.
pub(super) async fn counted(core: &Core, tenant: &Tenant, asked: &RopaAsked) -> Result<Transparency, Refused> {
    let within = |at: Timestamp| asked.from.is_none_or(|from| at >= from) && asked.until.is_none_or(|until| at < until);
    let (requests, denials) = requests_of(core, tenant, within).await?;
    let (disclosures, refusals) = of_the_trail(core, tenant, within).await?;
    Ok(Transparency {
        from: asked.from,
        until: asked.until,
        requests,
        denials,
        disclosures,
        cases: cases_of(core, tenant, within).await?,
        incidents: incidents(core, tenant, within).await?,
        refusals,
        erasures: erasures(core, tenant, within).await?,
    })
}

/// Requests by type and state, with the days that the middle one of those answered took; and denials by the code of their ground.
async fn requests_of(
    core: &Core,
    tenant: &Tenant,
    within: impl Fn(Timestamp) -> bool,
) -> Result<(Vec<RequestsLine>, Vec<DenialsLine>), Refused> {
    let mut counts: BTreeMap<(&str, &str), (u64, Vec<i64>)> = BTreeMap::new();
    let mut denials: BTreeMap<String, u64> = BTreeMap::new();
    let denied = REQUEST.number(requests::DENIED).ok_or(Code::Internal)?;
    each(core, b"q", |key, value| {
        let row: RequestRow = unpack(core.hierarchy.open_row(key, value)?.bytes())?;
        if row.tenant != *tenant.id().bytes() || !within(time(row.received_at)) {
            return Ok(());
        }
        let (count, took) = counts.entry((row.kind()?.text(), row.state()?)).or_default();
        *count += 1;
        took.extend(row.ended_at.map(|ended| (ended - row.received_at) / DAY));
        if let Some(ground) = row.ground.filter(|_| row.status == denied) {
            *denials.entry(ground).or_default() += 1;
        }
        Ok(())
    })
    .await?;
    let denials = denials.into_iter().map(|(code, count)| DenialsLine { code, count });
    let lines = counts.into_iter().map(|((kind, state), (count, mut took))| RequestsLine {
        r#type: kind,
        state,
        count,
        median_days: median(&mut took),
    });
    Ok((lines.collect(), denials.collect()))
}

/// The one in the middle; of an even number the lower of the two.
fn median(values: &mut [i64]) -> Option<i64> {
    values.sort_unstable();
    values.get(values.len().saturating_sub(1) / 2).copied()
}

/// Disclosures by kind and purpose, and refusals by operation and code, as the trail has them: it outlives the people.
async fn of_the_trail(
    core: &Core,
    tenant: &Tenant,
    within: impl Fn(Timestamp) -> bool,
) -> Result<(Vec<DisclosuresLine>, Vec<RefusalsLine>), Refused> {
    let mut disclosures: BTreeMap<(&str, String), u64> = BTreeMap::new();
    let mut refusals: BTreeMap<(String, &str), u64> = BTreeMap::new();
    let (mut at, end) = (0, core.trail.durable_size());
    while at < end {
        let page = core.trail.entries(at, PAGE)?;
        let Some((last, _)) = page.last() else { break };
        at = last + 1;
        for (_, entry) in page.iter().filter(|(_, entry)| within(entry.at)) {
            if !trail::is_of(core, tenant, entry)? {
                continue;
            }
            if let Some(kind) = disclosed(core, entry) {
                *disclosures.entry((kind, entry.purpose.clone().unwrap_or_default())).or_default() += 1;
            }
            if let Outcome::Refused { code, .. } = &entry.outcome {
                *refusals.entry((entry.operation.to_string(), code.text())).or_default() += 1;
            }
        }
        tokio::task::yield_now().await;
    }
    let disclosures = disclosures.into_iter().map(|((kind, purpose), count)| DisclosuresLine { kind, purpose, count });
    let refusals = refusals.into_iter().map(|((operation, code), count)| RefusalsLine { operation, code, count });
    Ok((disclosures.collect(), refusals.collect()))
}

/// How an entry released something to a partner, if it did.
fn disclosed(core: &Core, entry: &Entry) -> Option<&'static str> {
    if entry.outcome != Outcome::Allowed || entry.records == 0 {
        return None;
    }
    let by_partner = || core.registry.caller(entry.caller.as_ref()?).and_then(|row| row.rights.partner);
    match Operation::named(&entry.operation)? {
        Operation::Disclose => Some("disclosed"),
        Operation::ReadRecords => by_partner().map(|_| "partner-read"),
        _ => None,
    }
}

/// Cases by kind, ground and state, with what was disclosed on them.
async fn cases_of(core: &Core, tenant: &Tenant, within: impl Fn(Timestamp) -> bool) -> Result<Vec<CasesLine>, Refused> {
    let mut counts: BTreeMap<(&str, Option<Ground>, &str), (u64, u64)> = BTreeMap::new();
    let now = core.clock.now();
    each(core, prefix::CASES, |key, value| {
        let row: CaseRow = unpack(core.hierarchy.open_row(key, value)?.bytes())?;
        if row.tenant != *tenant.id().bytes() || !within(time(row.opened_at)) {
            return Ok(());
        }
        let ground = row.ground.and_then(|place| Ground::ALL.get(usize::from(place)).copied());
        let (count, disclosures) = counts.entry((cases::kind(&row)?.text(), ground, cases::state(&row, now)?)).or_default();
        (*count, *disclosures) = (*count + 1, *disclosures + u64::from(row.disclosures));
        Ok(())
    })
    .await?;
    let line = |((kind, ground, state), (count, disclosures))| CasesLine { kind, ground, state, count, disclosures };
    Ok(counts.into_iter().map(line).collect())
}

/// Incidents by kind and state.
async fn incidents(core: &Core, tenant: &Tenant, within: impl Fn(Timestamp) -> bool) -> Result<Vec<IncidentsLine>, Refused> {
    let mut counts: BTreeMap<(String, &str), u64> = BTreeMap::new();
    each(core, prefix::INCIDENTS, |key, value| {
        let row: IncidentRow = unpack(core.hierarchy.open_row(key, value)?.bytes())?;
        if row.tenant == *tenant.id().bytes() && within(time(row.detected_at)) {
            *counts.entry((row.kind, INCIDENT.state(row.state).unwrap_or("unknown"))).or_default() += 1;
        }
        Ok(())
    })
    .await?;
    Ok(counts.into_iter().map(|((kind, state), count)| IncidentsLine { kind, state, count }).collect())
}

/// Erasures by cause and state.
async fn erasures(core: &Core, tenant: &Tenant, within: impl Fn(Timestamp) -> bool) -> Result<Vec<ErasuresLine>, Refused> {
    let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
    each(core, b"e", |key, value| {
        let row: ErasureRow = unpack(core.hierarchy.open_row(key, value)?.bytes())?;
        let opened_at = time(row.reached.first().copied().flatten().unwrap_or(0));
        if row.tenant == *tenant.id().bytes() && within(opened_at) {
            let word =
                |value: Result<Value, _>| value.ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default();
            let (cause, state) = (word(serde_json::to_value(row.cause()?)), word(serde_json::to_value(row.state()?)));
            *counts.entry((cause, state)).or_default() += 1;
        }
        Ok(())
    })
    .await?;
    Ok(counts.into_iter().map(|((cause, state), count)| ErasuresLine { cause, state, count }).collect())
}

/// Goes through all rows of a kind, a page at a time.
async fn each(core: &Core, kind: &[u8], mut take: impl FnMut(&[u8], &[u8]) -> Result<(), Refused>) -> Result<(), Refused> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = core.store.scan(kind, after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(last.clone());
        for (key, value) in &page {
            if RowKey::parse(key).is_none() {
                return Err(Code::StoreUnavailable.into());
            }
            take(key, value)?;
        }
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_one_of_the_answers_counts() {
        assert_eq!(median(&mut []), None);
        assert_eq!(median(&mut [9]), Some(9));
        assert_eq!(median(&mut [30, 1]), Some(1));
        assert_eq!(median(&mut [30, 1, 7]), Some(7));
    }
}
