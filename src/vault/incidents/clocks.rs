//! The clocks of the authorities, and who is told as they run out; and what the vault finds out by itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use minicbor::{Decode, Encode};
use parking_lot::Mutex;

use crate::audit::{Note, Outcome};
use crate::model::code::Code;
use crate::model::ids::{IncidentId, TenantId};
use crate::model::states::INCIDENT;
use crate::model::wire::ClockView;
use crate::tenant::{RunningClock, Tenant};

use super::super::call::Refused;
use super::super::committer::{Change, Committer};
use super::super::core::Core;
use super::super::outbox::{self, Delivery, To};
use super::super::rows::time;
use super::scope::Affected;
use super::{HOUR, IncidentRow, by_vault, each, letters, load, put, scope};

/// Parts of a clock's time, in per cent, at which the privacy officer is told: when it begins, as it comes near, when it is over.
const LEVELS: [u8; 4] = [0, 50, 80, 100];

/// Wrong credentials within an hour that are an incident.
const MANY_FAILURES: u32 = 100;

/// What an incident of each kind that the vault finds by itself is called.
const WRONG_CREDENTIALS: &str = "wrong-credentials";
const DAMAGED_ROW: &str = "damaged-row";

/// Jurisdictions that an incident counts apart.
const MOST_PLACES: usize = 128;

/// How often a change is tried again because somebody else changed the incident.
const TRIES: usize = 4;

/// People of one jurisdiction.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Found {
    #[n(0)]
    pub jurisdiction: String,
    #[n(1)]
    pub people: u64,
}

/// Something that the privacy officer was told about a clock.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct AlarmRow {
    #[n(0)]
    pub authority: String,
    /// The clock's id.
    #[n(1)]
    pub clock: String,
    /// One of [`LEVELS`].
    #[n(2)]
    pub level: u8,
}

/// An authority that was told.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Told {
    #[n(0)]
    pub authority: String,
    /// When it was told first.
    #[n(1)]
    pub at: i64,
}

/// Signs that something is wrong, counted while the vault is unsealed.
#[derive(Default)]
pub(crate) struct Signs {
    /// The hour, counted from 1970, and the wrong credentials in it; the most of an hour that nobody looked at yet.
    failures: Mutex<(i64, u32, u32)>,
    damaged: AtomicU64,
}

impl Signs {
    /// Somebody came with wrong credentials.
    pub(crate) fn failed(&self, now: Timestamp) {
        let hour = now.as_second().div_euclid(HOUR.as_secs());
        let mut failures = self.failures.lock();
        if failures.0 != hour {
            (failures.0, failures.1) = (hour, 0);
        }
        failures.1 = failures.1.saturating_add(1);
        failures.2 = failures.2.max(failures.1);
    }

    /// A row did not open.
    pub(crate) fn damaged(&self) {
        self.damaged.fetch_add(1, Ordering::Relaxed);
    }

    /// What there is to be told since the last look.
    fn take(&self) -> Vec<&'static str> {
        let failed = std::mem::take(&mut self.failures.lock().2) >= MANY_FAILURES;
        let damaged = self.damaged.swap(0, Ordering::Relaxed) > 0;
        let all = [(failed, WRONG_CREDENTIALS), (damaged, DAMAGED_ROW)];
        all.into_iter().filter(|(there, _)| *there).map(|(_, kind)| kind).collect()
    }
}

/// Puts down how many people of each jurisdiction there are: of the same scope the most that there ever were.
pub(super) fn find(row: &mut IncidentRow, affected: Option<&Affected>, same_scope: bool) {
    let mut people = affected.map(Affected::jurisdictions).unwrap_or_default();
    if same_scope {
        for found in &row.found {
            let count = people.entry(found.jurisdiction.clone()).or_default();
            *count = found.people.max(*count);
        }
    }
    let mut found: Vec<Found> = people.into_iter().map(|(jurisdiction, people)| Found { jurisdiction, people }).collect();
    // One row has to hold them: the fewest people of a great many places run on the clock of those that nothing names.
    if found.len() > MOST_PLACES {
        found.sort_by_key(|found| std::cmp::Reverse(found.people));
        let people = found.split_off(MOST_PLACES - 1).iter().map(|found| found.people).sum::<u64>();
        match found.iter_mut().find(|found| found.jurisdiction == Tenant::ELSEWHERE) {
            Some(elsewhere) => elsewhere.people += people,
            None => found.push(Found { jurisdiction: Tenant::ELSEWHERE.to_owned(), people }),
        }
        found.sort_by(|one, other| one.jurisdiction.cmp(&other.jurisdiction));
    }
    row.found = found;
}

fn running<'t>(tenant: &'t Tenant, row: &IncidentRow) -> Vec<RunningClock<'t>> {
    let people: BTreeMap<String, u64> = row.found.iter().map(|found| (found.jurisdiction.clone(), found.people)).collect();
    tenant.running_clocks(&people, time(row.detected_at), row.critical)
}

/// When an authority was told first.
fn told(row: &IncidentRow, authority: &str) -> Option<Timestamp> {
    row.told.iter().find(|told| told.authority == authority).map(|told| time(told.at))
}

/// The clocks as of `now`.
pub(super) fn views(tenant: &Tenant, row: &IncidentRow, now: Timestamp) -> Vec<ClockView> {
    let view = |clock: RunningClock<'_>| {
        let reported_at = told(row, clock.authority);
        let authority = tenant.authorities().iter().find(|authority| authority.id == clock.authority);
        ClockView {
            authority: clock.authority.to_owned(),
            title: authority.map_or_else(String::new, |authority| authority.title.clone()),
            url: authority.map_or_else(String::new, |authority| authority.url.clone()),
            clock: clock.clock.to_owned(),
            statute: clock.statute.to_owned(),
            hours: clock.hours,
            people: clock.people,
            due_at: clock.due_at,
            reported_at,
            overdue: reported_at.is_none() && now > clock.due_at,
            late: reported_at.is_some_and(|at| at > clock.due_at),
        }
    };
    running(tenant, row).into_iter().map(view).collect()
}

/// Tells the privacy officer about the clocks that run, each level once; whether there was anything to tell.
pub(super) fn alarm(
    core: &Core,
    tenant: &Tenant,
    id: IncidentId,
    row: &mut IncidentRow,
    change: &mut Change,
) -> Result<bool, Refused> {
    let now = core.clock.now();
    let mut any = false;
    if INCIDENT.state(row.state) == Some("closed") {
        return Ok(false);
    }
    for clock in running(tenant, row) {
        if told(row, clock.authority).is_some() {
            continue;
        }
        let spent = now.duration_since(time(row.detected_at)).as_secs().max(0);
        let part = spent.saturating_mul(100) / (i64::from(clock.hours) * HOUR.as_secs());
        let Some(level) = LEVELS.into_iter().rev().find(|level| part >= i64::from(*level)) else { continue };
        let known = |alarm: &AlarmRow| alarm.authority == clock.authority && alarm.clock == clock.clock && alarm.level >= level;
        if row.alarms.iter().any(known) {
            continue;
        }
        let delivery = Delivery {
            about: Some(*id.bytes()),
            due_at: Some(clock.due_at.as_microsecond()),
            ..Delivery::new(core, tenant, To::Officer, "incident-clock")
        };
        let delivery = delivery.with("incident", id).with("kind", &row.kind).with("authority", clock.authority);
        let delivery = delivery.with("clock", clock.clock).with("due_at", clock.due_at).with("spent", format!("{level} %"));
        outbox::put(core, &delivery, change)?;
        row.alarms.retain(|alarm| alarm.authority != clock.authority || alarm.clock != clock.clock);
        row.alarms.push(AlarmRow { authority: clock.authority.to_owned(), clock: clock.clock.to_owned(), level });
        any = true;
    }
    Ok(any)
}

/// One look at every incident that is not closed: whom it concerns by now, which clocks run out, which letters still wait; and at
/// the signs that there is a new one.
pub(crate) async fn round(core: &Core, committer: &Committer) -> Result<(), Refused> {
    for kind in core.signs.take() {
        for tenant in core.tenants.all() {
            if !is_open(core, &tenant, kind)? {
                let mut change = Change::noting(core.event("incidentFound", Outcome::Done, Note::None)?);
                by_vault(core, &tenant, kind, "vault", &mut change)?;
                committer.commit(change).await?;
            }
        }
    }
    let mut waiting = Vec::new();
    each(core, |id, _, row| {
        if INCIDENT.state(row.state) != Some("closed") {
            waiting.push(id);
        }
        Ok(())
    })?;
    for id in waiting {
        // One incident that cannot be looked at does not stop the others.
        if let Err(refused) = look_at(core, committer, id).await {
            if matches!(refused.code, Code::Sealed | Code::AuditUnavailable | Code::DiskFull) {
                return Err(refused);
            }
            tracing::error!(code = refused.code.text(), "an incident could not be looked at");
        }
    }
    Ok(())
}

/// Whether there is an incident of that kind that is not closed.
fn is_open(core: &Core, tenant: &Tenant, kind: &str) -> Result<bool, Refused> {
    let mut open = false;
    each(core, |_, _, row| {
        open |= row.tenant == *tenant.id().bytes() && row.kind == kind && INCIDENT.state(row.state) != Some("closed");
        Ok(())
    })?;
    Ok(open)
}

async fn look_at(core: &Core, committer: &Committer, id: IncidentId) -> Result<(), Refused> {
    for _ in 0..TRIES {
        let Some((stored, row)) = load(core, id)? else { return Ok(()) };
        let Some(tenant) = core.tenants.get(&TenantId::from_bytes(row.tenant)) else { return Ok(()) };
        let mut new = row.clone();
        if let Some(scope) = &row.scope {
            find(&mut new, Some(&*scope::affected(core, &tenant, id, scope)?), true);
        }
        let mut change = Change::noting(core.event("incidentClock", Outcome::Done, Note::None)?);
        alarm(core, &tenant, id, &mut new, &mut change)?;
        if new == row {
            break;
        }
        change.rows.push(put(core, id, Some(stored), &new)?);
        match committer.commit(change).await {
            Err(refused) if refused.code == Code::Stale => continue,
            Err(refused) => return Err(refused),
            Ok(()) => break,
        }
    }
    while letters::page(core, committer, id).await? {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_wrong_credentials_in_an_hour_are_told_once_and_fewer_are_not() {
        let signs = Signs::default();
        let at: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        for _ in 1..MANY_FAILURES {
            signs.failed(at);
        }
        signs.failed(at + HOUR);
        assert!(signs.take().is_empty());
        for _ in 0..MANY_FAILURES {
            signs.failed(at + HOUR + HOUR);
        }
        signs.damaged();
        assert_eq!(signs.take(), [WRONG_CREDENTIALS, DAMAGED_ROW]);
        assert!(signs.take().is_empty());
    }
}
