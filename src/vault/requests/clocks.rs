//! The clocks of requests: alarms, what is overdue, closed accounts, and papers whose time is over.
//!
//! An alarm that was raised is taken off the row in the change that raises it, so that a round which is cut short, a restart, or a
//! clock that jumps on and back neither loses one nor raises it twice. What a clock does is never taken back by a clock.

use jiff::SignedDuration;

use crate::model::code::Code;
use crate::model::ids::{RequestId, SubjectId, TenantId};
use crate::store::layout::RowKey;

use super::super::bundles;
use super::super::call::Refused;
use super::super::closures;
use super::super::committer::{Change, Committer, Expect, RowChange};
use super::super::core::Core;
use super::super::incidents;
use super::super::outbox::{self, Delivery, To};
use super::super::papers;
use super::super::restrictions::TRIES;
use super::super::rows::{RequestRow, time};
use super::{Effects, forget, letters, listing, load, seal};

/// The alarm that says that the time is over.
const OVER: u8 = 100;

/// Files that one round destroys, in one transition; the others go with the next.
const MOST_FILES: usize = 256;

/// What a round came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ticked {
    /// Closed accounts whose grace was over.
    pub(crate) closed: u64,
    /// Alarms that were raised.
    pub(crate) alarms: u64,
    /// Requests that were found overdue.
    pub(crate) overdue: u64,
    /// Files whose time was over.
    pub(crate) files: u64,
    /// Requests of which something could not be done; the next round tries again.
    pub(crate) failed: u64,
}

/// One round through all requests.
pub(crate) async fn clocks(core: &Core, committer: &Committer) -> Result<Ticked, Refused> {
    let mut ticked = alarms(core, committer).await?;
    let now = core.clock.now().as_microsecond();
    let (mut closing, mut over) = (Vec::new(), Vec::new());
    listing::each(core, |id, row| {
        if row.closes_at.is_some_and(|at| at <= now) && !row.is_ended() {
            closing.push(id);
        } else if over.len() < MOST_FILES && papers_end(core, &row).is_some_and(|at| at <= now) {
            over.push(id);
        }
        Ok(())
    })?;
    for id in closing {
        match closures::finish(core, committer, id).await {
            Ok(true) => ticked.closed += 1,
            Ok(false) => {}
            // One that cannot be finished now does not stop the others.
            Err(refused) => {
                ticked.failed += 1;
                tracing::warn!(code = refused.code.text(), "a closed account waits for its erasure");
            }
        }
    }
    // A bundle has a file of its own, which nobody finds any more when the request names nobody.
    let files: Vec<keys::Id> = over.iter().flat_map(|id| [*id.bytes(), bundles::file_of(core, id.bytes())]).collect();
    let gone = papers::destroy_all(core, committer, &files).await;
    for (id, gone) in over.into_iter().zip(gone.chunks(2)) {
        let done = match gone.iter().find_map(|gone| gone.as_ref().err()) {
            None => put_away(core, committer, id).await,
            Some(refused) => Err(refused.clone()),
        };
        match done {
            Ok(()) => ticked.files += 1,
            Err(refused) => {
                ticked.failed += 1;
                tracing::warn!(code = refused.code.text(), "papers of a request wait to be destroyed");
            }
        }
    }
    Ok(ticked)
}

/// The alarms alone: what is asked for first when the vault is opened.
pub(crate) async fn alarms(core: &Core, committer: &Committer) -> Result<Ticked, Refused> {
    let now = core.clock.now().as_microsecond();
    let mut ringing = Vec::new();
    listing::each(core, |id, row| {
        if row.alarms.first().is_some_and(|percent| rings_at(&row, *percent) <= now) {
            ringing.push(id);
        }
        Ok(())
    })?;
    let mut ticked = Ticked::default();
    for id in ringing {
        if let Err(refused) = ring(core, committer, id, &mut ticked).await {
            ticked.failed += 1;
            tracing::error!(code = refused.code.text(), "an alarm of a request could not be raised");
        }
    }
    Ok(ticked)
}

/// What came due while the vault was closed, before it serves. Should it fail, the next round comes back to it.
pub(crate) fn at_start(core: &Core, committer: &Committer) {
    let runtime = match tokio::runtime::Builder::new_current_thread().build() {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!(%error, "the alarms of requests wait for the next round"),
    };
    match runtime.block_on(alarms(core, committer)) {
        Ok(ticked) if ticked.alarms > 0 => tracing::warn!(ticked.alarms, ticked.overdue, "requests came due while closed"),
        Ok(_) => {}
        Err(refused) => tracing::error!(code = refused.code.text(), "the alarms of requests wait for the next round"),
    }
}

/// When a request raises the alarm of so much of its time, in microseconds since 1970.
pub(super) fn rings_at(row: &RequestRow, percent: u8) -> i64 {
    let whole = i128::from(row.expected_by) - i128::from(row.received_at);
    let part = whole * i128::from(percent) / 100;
    i64::try_from(i128::from(row.received_at) + part).unwrap_or(row.expected_by)
}

/// Raises what is due of one request's alarms: each goes to the privacy officer and into the trail, and with the last an incident
/// is opened. All of it is one change.
async fn ring(core: &Core, committer: &Committer, id: RequestId, ticked: &mut Ticked) -> Result<(), Refused> {
    for _ in 0..TRIES {
        let now = core.clock.now().as_microsecond();
        let Some((stored, mut row)) = load(core, id)? else { return Ok(()) };
        let due = row.alarms.iter().take_while(|percent| rings_at(&row, **percent) <= now).count();
        let due: Vec<u8> = row.alarms.drain(..due).collect();
        if due.is_empty() {
            return Ok(());
        }
        let tenant = core.tenants.get(&TenantId::from_bytes(row.tenant)).ok_or(Code::ControllerUnknown)?;
        let mut change = Change::default();
        for percent in &due {
            let (name, template) =
                if *percent == OVER { ("requestOverdue", "request-overdue") } else { ("requestAlarm", "request-alarm") };
            change.entries.push(letters::event(core, name, &row)?);
            let delivery = Delivery::new(core, &tenant, To::Officer, template)
                .with("request", id)
                .with("type", row.kind()?.text())
                .with("percent", percent)
                .with("due", time(row.expected_by));
            outbox::put(core, &Delivery { about: Some(*id.bytes()), ..delivery }, &mut change)?;
        }
        let overdue = due.contains(&OVER);
        if overdue && row.incident.is_none() {
            row.incident = Some(*incidents::by_vault(core, &tenant, "overdue-request", id, &mut change)?.bytes());
        }
        let value = Some(seal(core, id, &row)?);
        change.rows.push(RowChange { key: RowKey::Request(id).bytes(), expect: Expect::Is(stored), value });
        match committer.commit(change).await {
            Err(refused) if refused.code == Code::Stale => continue,
            Err(refused) => return Err(refused),
            Ok(()) => {
                ticked.alarms += due.len() as u64;
                ticked.overdue += u64::from(overdue);
                return Ok(());
            }
        }
    }
    Err(Code::Overloaded.into())
}

/// When the file of a request that has ended goes; `None` while it has not, or when it is gone.
fn papers_end(core: &Core, row: &RequestRow) -> Option<i64> {
    let (ended, _) = (row.ended_at?, row.subject?);
    let tenant = core.tenants.get(&TenantId::from_bytes(row.tenant))?;
    let kept = SignedDuration::from_hours(24 * i64::from(tenant.requests().papers_days));
    time(ended).checked_add(kept).ok().map(jiff::Timestamp::as_microsecond)
}

/// Forgets requests before their time: first their papers, then whose they were.
pub(super) async fn make_room(core: &Core, committer: &Committer, spent: Vec<RequestId>) -> Result<(), Refused> {
    let files: Vec<keys::Id> = spent.iter().flat_map(|id| [*id.bytes(), bundles::file_of(core, id.bytes())]).collect();
    papers::destroy_all(core, committer, &files).await.into_iter().collect::<Result<(), _>>()?;
    for id in spent {
        put_away(core, committer, id).await?;
    }
    Ok(())
}

/// Takes the person out of a request whose papers are gone: only type and times stay.
async fn put_away(core: &Core, committer: &Committer, id: RequestId) -> Result<(), Refused> {
    for _ in 0..TRIES {
        let Some((stored, mut row)) = load(core, id)? else { return Ok(()) };
        let Some(subject) = row.subject else { return Ok(()) };
        let tenant = core.tenants.get(&TenantId::from_bytes(row.tenant)).ok_or(Code::ControllerUnknown)?;
        let Some(person) = core.person(&tenant, SubjectId::from_bytes(subject))? else { return Ok(()) };
        forget(&mut row);
        let mut change = Change::noting(letters::event(core, "forgetRequest", &row)?);
        let value = Some(seal(core, id, &row)?);
        change.rows.push(RowChange { key: RowKey::Request(id).bytes(), expect: Expect::Is(stored), value });
        Effects { forgotten: Some(id), ..Effects::default() }.put(core, &person, &mut change)?;
        match committer.commit(change).await {
            Err(refused) if refused.code == Code::Stale => continue,
            done => return done,
        }
    }
    Err(Code::Overloaded.into())
}
