//! After a policy was published that lets more be done: everybody whom it concerns is told, and asked again where their consent is
//! what counts (p61).
//!
//! It goes through everybody, a page at a time, and notes how far it has come; one person is one change, with their letter and the
//! events of their ledger, under an id that can be found again. So a run that was cut short goes on where it was, and nobody is told
//! twice or left out.

use jiff::Timestamp;
use minicbor::{Decode, Encode};

use crate::audit::{Note, Outcome};
use crate::model::caller::Operation;
use crate::model::code::Code;
use crate::model::ids::{NoticeId, SubjectId, TenantId};
use crate::model::standing::{Consent, ConsentState};
use crate::model::wire::NoticeKind;
use crate::policy::Facts;
use crate::store::layout::{PolicyPart, RowKey, prefix};
use crate::tenant::{Diff, Tenant};

use super::call::Refused;
use super::committer::{Change, Committer, Expect, RowChange};
use super::consents::{self, Event};
use super::core::{Core, Person, first16};
use super::erasure::by_vault::scheduler;
use super::notices::{self, Letter};
use super::rows::{pack, unpack};

/// People who are told together.
const PAGE: usize = 100;

/// How often one person is tried again because their row changed meanwhile.
const TRIES: usize = 4;

/// The letter.
const LETTER: &str = "policy-change";

/// A publication that people are told of. Sealed under the vault's row key.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
struct TellingRow {
    #[n(0)]
    version: String,
    /// Microseconds since 1970. Who came later was shown it anyway.
    #[n(1)]
    published_at: i64,
    /// Purposes that reach further than the consents to them.
    #[n(2)]
    wider: Vec<Wider>,
    /// The last person who was told.
    #[cbor(n(3), with = "minicbor::bytes")]
    after: Vec<u8>,
    /// People told so far.
    #[n(4)]
    told: u64,
    /// Consents asked for again so far.
    #[n(5)]
    asked: u64,
    /// People who could not be told.
    #[n(6)]
    failed: u64,
    /// When everybody had been gone through.
    #[n(7)]
    done_at: Option<i64>,
}

/// A purpose that reaches further than before.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
struct Wider {
    #[n(0)]
    purpose: String,
    /// In a way that a consent does not show, such as another kind of recipient: no earlier consent counts for it any more. Else it
    /// has more categories, and what was agreed to before goes on.
    #[n(1)]
    whole: bool,
}

/// What begins the telling of a published version, in the change that puts it in force.
pub(crate) fn begin(
    core: &Core,
    tenant: TenantId,
    name: [u8; 16],
    version: &str,
    now: Timestamp,
    diff: &Diff,
) -> Result<RowChange, Refused> {
    let unseen =
        |purpose: &str| diff.widens.iter().any(|one| one.of == purpose && ["recipient", "purpose"].contains(&one.what.as_str()));
    let wider = diff.reconsent.iter().map(|purpose| Wider { purpose: purpose.clone(), whole: unseen(purpose) });
    let row = TellingRow {
        version: version.to_owned(),
        published_at: now.as_microsecond(),
        wider: wider.collect(),
        after: Vec::new(),
        told: 0,
        asked: 0,
        failed: 0,
        done_at: None,
    };
    let key = RowKey::Policy { tenant, part: PolicyPart::Telling, name, chunk: 0 }.bytes();
    let value = Some(core.hierarchy.seal_row(&key, &pack(&row)?)?);
    Ok(RowChange { key, expect: Expect::Absent, value })
}

/// Tells whoever was not told yet; answers how many were told, and `None` when `go_on` said no on the way.
pub(crate) async fn round(core: &Core, committer: &Committer, go_on: &impl Fn() -> bool) -> Result<Option<u64>, Refused> {
    let mut told = 0;
    for tenant in core.tenants.all() {
        let prefix = prefix::policy(&tenant.id(), PolicyPart::Telling);
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = core.store.scan(&prefix, after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (key, stored) in page {
                let row: TellingRow = unpack(core.hierarchy.open_row(&key, &stored)?.bytes())?;
                if row.done_at.is_some() {
                    continue;
                }
                let before = row.told;
                let (row, whole) = everybody(core, committer, &tenant, &key, stored, row, go_on).await?;
                told += row.told - before;
                if !whole {
                    return Ok(None);
                }
            }
        }
    }
    Ok(Some(told))
}

/// Goes through everybody of a controller. The flag is whether it came to the end.
async fn everybody(
    core: &Core,
    committer: &Committer,
    tenant: &Tenant,
    key: &[u8],
    mut stored: Vec<u8>,
    mut row: TellingRow,
    go_on: &impl Fn() -> bool,
) -> Result<(TellingRow, bool), Refused> {
    loop {
        let after = Some(row.after.as_slice()).filter(|after| !after.is_empty());
        let page = core.store.scan(b"s", after, PAGE)?;
        match page.last() {
            None => row.done_at = Some(core.clock.now().as_microsecond()),
            Some((last, _)) => row.after = last.clone(),
        }
        for (person, _) in &page {
            let Some(RowKey::Subject(id)) = RowKey::parse(person) else { continue };
            match one(core, committer, tenant, id, &row).await {
                Ok(None) => {}
                Ok(Some(asked)) => {
                    row.told += 1;
                    row.asked += asked;
                }
                Err(refused) if matches!(refused.code, Code::Sealed | Code::AuditUnavailable | Code::DiskFull) => {
                    return Err(refused);
                }
                // One person's damaged row must not keep everybody else from being told.
                Err(refused) => {
                    row.failed += 1;
                    tracing::error!(code = refused.code.text(), "a person could not be told of a policy");
                }
            }
        }
        let mut event = core.event("tellPolicy", Outcome::Done, Note::None)?;
        event.records = u32::try_from(row.told).unwrap_or(u32::MAX);
        let mut change = Change::noting(event);
        let value = core.hierarchy.seal_row(key, &pack(&row)?)?;
        change.rows.push(RowChange { key: key.to_vec(), expect: Expect::Is(stored), value: Some(value.clone()) });
        committer.commit(change).await?;
        stored = value;
        if row.done_at.is_some() {
            tracing::info!(told = row.told, asked = row.asked, failed = row.failed, "everybody was told of the policy");
            return Ok((row, true));
        }
        if !go_on() {
            return Ok((row, false));
        }
    }
}

/// Tells one person, if they are concerned and were not told yet; answers how many of their consents are asked for again.
async fn one(
    core: &Core,
    committer: &Committer,
    tenant: &Tenant,
    id: SubjectId,
    row: &TellingRow,
) -> Result<Option<u64>, Refused> {
    for _ in 0..TRIES {
        let Some(person) = core.look_at(id)? else { return Ok(None) };
        let Some((change, asked)) = told(core, tenant, &person, row)? else { return Ok(None) };
        match committer.commit(change).await {
            Ok(()) => return Ok(Some(asked)),
            Err(refused) if refused.code == Code::Stale => continue,
            Err(refused) if refused.code == Code::Erased => return Ok(None),
            Err(refused) => return Err(refused),
        }
    }
    Err(Code::Overloaded.into())
}

fn told(core: &Core, tenant: &Tenant, person: &Person, row: &TellingRow) -> Result<Option<(Change, u64)>, Refused> {
    let standing = &person.row.standing;
    let there = person.row.tenant == *tenant.id().bytes() && standing.closed_at.is_none() && standing.waiting_erasure.is_none();
    if !there || person.row.created_at > row.published_at {
        return Ok(None);
    }
    // Under a key that dies with the person, so that the row's key leads nobody from the version to them.
    let digest = person.keys.keyed_digest(LETTER, &[row.version.as_bytes()]);
    let notice = NoticeId::from_bytes(first16(&digest));
    if core.store.row(&RowKey::Notice(person.id, notice).bytes())?.is_some() {
        return Ok(None);
    }
    let call = scheduler(core, tenant);
    let about = person.facts(tenant, core.clock.now());
    let facts: Facts<'_> = core.facts_about(tenant, &call, person, &about);
    core.decide(&call, Operation::SendNotice, &facts, Some(person.tag))?;
    let mut entry = core.entry(&call, Operation::SendNotice, Outcome::Allowed)?;
    entry.tag = Some(person.tag);
    let mut change = Change::noting(entry);
    let letter = Letter { kind: NoticeKind::PolicyChange, template: LETTER, words: Vec::new(), about: None };
    notices::queue_as(core, tenant, person, notice, &row.version, letter, &mut change)?;
    let events = again(tenant, person, row, core.clock.now());
    let asked = events.len() as u64;
    if !events.is_empty() {
        consents::add(core, tenant, person, &mut change, None, events, |_| Ok(()))?;
    }
    Ok(Some((change, asked)))
}

/// The consents that are asked for again.
fn again(tenant: &Tenant, person: &Person, row: &TellingRow, now: Timestamp) -> Vec<Event> {
    let standing = &person.row.standing;
    let mut events: Vec<Event> = Vec::new();
    for wider in &row.wider {
        let Some(purpose) = tenant.purpose(&wider.purpose).filter(|purpose| purpose.classes.contains(&person.row.class)) else {
            continue;
        };
        let given = consents::newest(standing, tenant, purpose, "general").filter(|own| own.state(now) == ConsentState::Given);
        let covers = |own: &Consent| purpose.categories.iter().all(|category| own.categories.contains(category));
        let Some(given) = given.filter(|own| wider.whole || !covers(own)) else { continue };
        let categories = if wider.whole { Vec::new() } else { given.categories.clone() };
        let event = Event { categories: Some(categories), ..Event::bare(&given.purpose, &given.kind, ConsentState::Requested) };
        match events.iter_mut().find(|known| known.purpose == event.purpose && known.kind == event.kind) {
            Some(known) if wider.whole => *known = event,
            Some(_) => {}
            None => events.push(event),
        }
    }
    events
}
