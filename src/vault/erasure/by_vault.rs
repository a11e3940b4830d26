//! Erasures that the vault opens and approves itself, as its own scheduler (role Z): when a retention period has ended, a
//! consent was withdrawn, an account was closed, or a minor turns out to have no guardian's consent.
//!
//! Opening and carrying out are one act: one batch unlinks what goes and writes the erasure's row. A process that ends
//! before it has changed nothing; one that ends after it seals and certifies at its next start, like every erasure.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::audit::Outcome;
use crate::model::caller::{Caller, Grounds, Operation, Role};
use crate::model::code::Code;
use crate::model::ids::{CallerId, ErasureId, SubjectId};
use crate::model::wire::Cause;
use crate::policy::{Facts, Second};
use crate::tenant::Tenant;

use super::super::call::{Call, Refused};
use super::super::committer::Committer;
use super::super::core::{Core, first16, fresh};
use super::sealing::{Job, Shredding, Still};
use super::{What, requested, target};

/// The causes that the scheduler may act on by itself (API.md, note 8, and p56).
const CAUSES: [Cause; 4] = [Cause::Retention, Cause::Withdrawal, Cause::MinorNoConsent, Cause::AccountClosure];

/// An erasure that is due.
pub(crate) struct Due {
    /// Whose data.
    pub(crate) subject: SubjectId,
    /// What of it.
    pub(crate) what: What,
    /// Why.
    pub(crate) cause: Cause,
    /// Asked once more on the committer's thread, when nothing can come in between any more: a consent that was given
    /// again, a restriction that was laid meanwhile.
    pub(crate) still: Still,
}

/// The scheduler's id for one controller: it has no row among the callers and no token.
pub(crate) fn scheduler_of(core: &Core, tenant: &Tenant) -> CallerId {
    CallerId::from_bytes(first16(&keys::digest::sha256(&[b"pv1/scheduler", &core.vault, tenant.id().bytes()])))
}

/// A call in the scheduler's name.
pub(crate) fn scheduler(core: &Core, tenant: &Tenant) -> Call {
    let soon = core.clock.now().checked_add(SignedDuration::from_mins(1)).unwrap_or(Timestamp::MAX);
    let caller = Caller {
        name: "scheduler".into(),
        roles: BTreeSet::from([Role::Scheduler]),
        expires_at: soon,
        ..Caller::nobody(scheduler_of(core, tenant), tenant.id())
    };
    Call { caller: Arc::new(caller), purpose: None, idempotency: None, if_match: None, gpc: false, grounds: Grounds::NONE }
}

/// Opens each, approves it and carries it out, all in as few epoch transitions as can be, and answers each in its place
/// once it is sealed and certified. One whose reason went away meanwhile answers `state-conflict`.
pub(crate) async fn carry_out(
    core: &Core,
    committer: &Committer,
    tenant: &Tenant,
    due: Vec<Due>,
) -> Vec<Result<ErasureId, Refused>> {
    let call = scheduler(core, tenant);
    let mut waiting = Vec::with_capacity(due.len());
    for due in due {
        let begun = prepare(core, &call, tenant, due).and_then(|(id, shredding, sealed)| {
            committer.shred(shredding)?;
            Ok((id, sealed))
        });
        waiting.push(begun);
    }
    let mut done = Vec::with_capacity(waiting.len());
    for begun in waiting {
        done.push(match begun {
            Ok((id, sealed)) => match sealed.await {
                Ok(outcome) => outcome.map(|_| id),
                Err(_) => Err(Code::Sealed.into()),
            },
            Err(refused) => Err(refused),
        });
    }
    done
}

/// Opens one erasure, approves it and carries it out; answers when it is sealed and certified.
pub(crate) async fn erase(core: &Core, committer: &Committer, tenant: &Tenant, due: Due) -> Result<ErasureId, Refused> {
    carry_out(core, committer, tenant, vec![due]).await.pop().unwrap_or(Err(Code::Internal.into()))
}

type Sealed = tokio::sync::oneshot::Receiver<Result<Option<super::ErasureRow>, Refused>>;

fn prepare(core: &Core, call: &Call, tenant: &Tenant, due: Due) -> Result<(ErasureId, Shredding, Sealed), Refused> {
    let Some(person) = core.person(tenant, due.subject)? else { return Err(Code::Erased.into()) };
    if !CAUSES.contains(&due.cause) {
        return Err(core.refuse(call, Operation::OpenErasure, Code::RoleForbidden, Some(person.tag)));
    }
    let about = person.facts(tenant, core.clock.now());
    let facts = Facts { second: Second::Waived, ..core.facts_about(tenant, call, &person, &about) };
    core.decide(call, Operation::OpenErasure, &facts, Some(person.tag))?;
    core.decide(call, Operation::ApproveErasure, &facts, Some(person.tag))?;
    let id = ErasureId::from_bytes(fresh()?);
    let row = requested(&person, &due.what, due.cause, call.caller.id, core.clock.now());
    let mut opening = core.entry(call, Operation::OpenErasure, Outcome::Allowed)?;
    opening.tag = Some(person.tag);
    let mut entry = core.entry(call, Operation::ApproveErasure, Outcome::Allowed)?;
    entry.tag = Some(person.tag);
    let target = target(&row, *due.subject.bytes())?;
    // Nobody holds a claim code: there was no request, so nobody waits for one.
    let job = Job { id, stored: None, approver: *call.caller.id.bytes(), claim_sha256: None, row };
    let (shredding, sealed) = Shredding::new(entry, target, Some(job));
    Ok((id, shredding.opened_by(opening, due.still), sealed))
}
