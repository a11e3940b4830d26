//! What a closed account leaves, when its grace is over (p56): the keys of everything that no law keeps are destroyed, and with
//! them what the person could be found by; the rest goes at its statutory date.

use keys::GroupSet;

use crate::audit::{Note, Outcome};
use crate::model::code::Code;
use crate::model::ids::RequestId;
use crate::model::wire::Cause;
use crate::store::layout::RowKey;
use crate::tenant::Tenant;

use super::call::Refused;
use super::committer::{Change, Committer, Expect, RowChange};
use super::core::{Core, Person};
use super::erasure::What;
use super::erasure::by_vault::{self, Due};
use super::requests;
use super::rows::RequestRow;

/// What is due at once is done at once; should it fail, the clock comes back to it.
pub(crate) async fn finish_at_once(core: &Core, committer: &Committer, id: RequestId, row: &RequestRow) {
    if row.closes_at.is_none_or(|at| at > core.clock.now().as_microsecond()) {
        return;
    }
    if let Err(refused) = finish(core, committer, id).await {
        tracing::warn!(code = refused.code.text(), "a closed account's data could not be destroyed yet");
    }
}

/// Finishes one closure if it is due.
pub(crate) async fn finish(core: &Core, committer: &Committer, id: RequestId) -> Result<bool, Refused> {
    let Some((_, row)) = requests::load(core, id)? else { return Ok(false) };
    let now = core.clock.now();
    if !row.is_closing() || row.closes_at.is_none_or(|at| at > now.as_microsecond()) {
        return Ok(false);
    }
    let Some((tenant, subject, _)) = requests::whose(&row) else { return Ok(false) };
    let tenant = core.tenants.get(&tenant).ok_or(Code::ControllerUnknown)?;
    let Some(person) = core.person(&tenant, subject)? else { return Ok(false) };
    // An account that is open is not destroyed, whatever a request of it says.
    if person.row.standing.closed_at.is_none() {
        return Ok(false);
    }
    // What a restriction or a dispute is for keeping waits for its end.
    if person.row.standing.keeps_everything() {
        return Ok(false);
    }
    let what = left(&tenant, &person);
    let whole = matches!(what, What::Subject);
    // The person may take it back until nothing can come in between any more.
    let still = Box::new(move |core: &Core| Ok(requests::load(core, id)?.is_some_and(|(_, row)| row.is_closing())));
    let erasure = by_vault::erase(core, committer, &tenant, Due { subject, what, cause: Cause::AccountClosure, still }).await?;
    // With the whole person the request was closed in the same act.
    if !whole {
        let Some((stored, mut row)) = requests::load(core, id)? else { return Ok(true) };
        row.step("fulfil", now)?;
        row.erasure = Some(*erasure.bytes());
        let mut change = Change::noting(core.event("closeAccount", Outcome::Done, Note::None)?);
        let value = Some(requests::seal(core, id, &row)?);
        change.rows.push(RowChange { key: RowKey::Request(id).bytes(), expect: Expect::Is(stored), value });
        committer.commit(change).await?;
    }
    Ok(true)
}

/// What goes: every living group that no purpose needs after the closure; everything, where none does.
fn left(tenant: &Tenant, person: &Person) -> What {
    let kept: crate::model::purpose::GroupSet =
        tenant.purposes().iter().filter(|purpose| purpose.after_closure).filter_map(|purpose| purpose.group).collect();
    let alive = person.alive().without_hold();
    if alive.and(kept).is_empty() {
        return What::Subject;
    }
    let gone = GroupSet::from_bits(alive.bits() & !kept.bits()).unwrap_or(GroupSet::EMPTY);
    What::Groups(crate::model::purpose::GroupSet::from_bits(gone.bits()))
}
