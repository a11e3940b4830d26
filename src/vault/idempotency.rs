//! Idempotency-Key: the same call again gets the first answer again, for 24 hours.
//!
//! What is kept of the first answer, and the digest by which the same call is recognised, are sealed under the
//! subject's tag key where the call has a subject: an erasure kills them with everything else.

use std::collections::HashSet;

use keys::{Id, SubjectKeys, SystemKey};
use parking_lot::Mutex;

use crate::audit::Outcome;
use crate::model::caller::Operation;
use crate::model::code::Code;
use crate::model::ids::{DecisionId, SubjectId};
use crate::policy::{Facts, Second, SubjectFacts, SubjectState};
use crate::store::Row;
use crate::store::layout::RowKey;

use super::call::{Answer, Call, Refused};
use super::committer::{Expect, RowChange};
use super::core::{Core, first16};
use super::rows::{FirstAnswer, pack, unpack};

/// Seconds that a first answer is kept (API.md).
const KEPT_SECONDS: i64 = 24 * 60 * 60;

/// Bytes of the clear head of a row: owner kind, expiry, subject (zeros where there is none).
const HEAD: usize = 1 + 8 + 16;

/// The largest first answer that is kept whole; the rest of the row is overhead.
const LARGEST: usize = 5_500;

/// Whose key seals the first answer.
pub(crate) enum Owner<'a> {
    Vault,
    Subject(&'a Id, &'a SubjectKeys),
}

/// What is known of a call before it is carried out.
pub(crate) enum Begun<'a> {
    /// The call has no Idempotency-Key.
    Plain,
    /// The first call with this key: it holds the key until it is answered.
    First(Held<'a>),
    /// A repetition: this was the first answer.
    Again(Answer),
}

impl<'a> Begun<'a> {
    /// What the first call holds while it runs; as an error the answer that a repetition gets.
    pub(crate) fn first(self) -> Result<Option<Held<'a>>, Box<Answer>> {
        match self {
            Self::Plain => Ok(None),
            Self::First(held) => Ok(Some(held)),
            Self::Again(answer) => Err(Box::new(answer)),
        }
    }
}

/// An Idempotency-Key in use; letting go of it lets the next call with the key in.
pub(crate) struct Held<'a> {
    in_flight: &'a Mutex<HashSet<Id>>,
    /// The same whatever keys live, and known to this process alone.
    holds: Id,
    key: Vec<u8>,
    named: Vec<u8>,
    request: [u8; 32],
    expired: bool,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.in_flight.lock().remove(&self.holds);
    }
}

impl Held<'_> {
    /// The row that keeps `answer`, to be committed together with what the call did.
    pub(crate) fn keep(&self, core: &Core, owner: &Owner<'_>, answer: &Answer) -> Result<RowChange, Refused> {
        let small = answer.body.as_ref().is_none_or(|body| body.len() <= LARGEST);
        let first = FirstAnswer {
            request: self.request,
            made: answer.made,
            etag: answer.etag.clone(),
            location: answer.location.clone(),
            body: if small { answer.body.clone() } else { None },
            decision: answer.decision.map(|id| *id.bytes()),
            named: self.named.clone(),
        };
        let expires = core.clock.now().as_second() + KEPT_SECONDS;
        let plain = pack(&first)?;
        let mut value = Vec::with_capacity(HEAD + plain.len() + 92);
        value.push(u8::from(matches!(owner, Owner::Subject(..))));
        value.extend_from_slice(&expires.to_be_bytes());
        match owner {
            Owner::Vault => {
                value.extend_from_slice(&[0; 16]);
                value.extend(core.hierarchy.seal_row(&self.key, &plain)?);
            }
            Owner::Subject(subject, keys) => {
                value.extend_from_slice(*subject);
                value.extend(keys.seal_row(&self.key, &plain)?);
            }
        }
        let expect = if self.expired { Expect::Any } else { Expect::Absent };
        Ok(RowChange { key: self.key.clone(), expect, value: Some(value) })
    }
}

/// Looks whether the call was made before, and takes its key if not.
pub(crate) fn begin<'a>(
    core: &Core,
    in_flight: &'a Mutex<HashSet<Id>>,
    call: &Call,
    operation: Operation,
) -> Result<Begun<'a>, Refused> {
    begin_item(core, in_flight, call, operation, u64::MAX)
}

/// The same for one item of a batch: each is kept for itself, so that a repetition carries out what the first call did not
/// come to.
pub(crate) fn begin_item<'a>(
    core: &Core,
    in_flight: &'a Mutex<HashSet<Id>>,
    call: &Call,
    operation: Operation,
    item: u64,
) -> Result<Begun<'a>, Refused> {
    let Some(idempotency) = &call.idempotency else { return Ok(Begun::Plain) };
    // Persons who come through one portal have keys of their own.
    let person: &[u8] = call.caller.subject.as_ref().map_or(&[], |subject| subject.bytes());
    let named_by: [&[u8]; 4] = [call.caller.id.bytes(), person, &item.to_be_bytes(), idempotency.key.as_bytes()];
    let named = keys::named("idempotency", &named_by);
    let holds = first16(&keys::digest::sha256(&[&named]));
    if !in_flight.lock().insert(holds) {
        return Err(Code::IdempotencyInFlight.into());
    }
    let names = names(core, &named);
    let key = names.first().cloned().ok_or(Code::Internal)?;
    let request = keys::digest::sha256(&[&idempotency.request]);
    let mut held = Held { in_flight, holds, key, named, request, expired: false };
    // While the row key turns over, the answer may still be under the name that the older one gave it.
    let mut found = None;
    for name in names {
        found = core.store.row(&name)?.map(|value| (name, value));
        if found.is_some() {
            break;
        }
    }
    let Some((name, value)) = found else { return Ok(Begun::First(held)) };
    let (owner, expires, subject, sealed) = parts(&value).ok_or(Code::StoreUnavailable)?;
    if expires <= core.clock.now().as_second() {
        held.expired = name == held.key;
        return Ok(Begun::First(held));
    }
    let plain = if owner {
        let keys = core.hierarchy.subject(&core.rows(), &subject)?.ok_or(Code::Erased)?;
        keys.open_row(&name, sealed)?
    } else {
        core.hierarchy.open_row(&name, sealed)?
    };
    let first: FirstAnswer = unpack(plain.bytes())?;
    if !keys::digest::same(&first.request, &held.request) {
        return Err(Code::IdempotencyMismatch.into());
    }
    again(core, call, operation, owner.then_some(SubjectId::from_bytes(subject)))?;
    Ok(Begun::Again(Answer {
        decision: first.decision.map(DecisionId::from_bytes),
        made: first.made,
        etag: first.etag,
        body: first.body,
        location: first.location,
        ..Answer::default()
    }))
}

/// A repetition is decided and noted like the call: rights that were taken away since do not get the old answer.
fn again(core: &Core, call: &Call, operation: Operation, subject: Option<SubjectId>) -> Result<(), Refused> {
    let tenant = core.tenant(&call.caller)?;
    let person = match subject {
        Some(id) => core.person(&tenant, id)?,
        None => None,
    };
    let unnamed = SubjectFacts::bare(&tenant, SubjectState::Active);
    let about = person.as_ref().map_or(unnamed, |person| person.facts(&tenant, core.clock.now()));
    // Ownership and the second person were judged when the answer was made, for this very caller.
    let facts = Facts { subject: Some(&about), own: true, second: Second::Waived, ..core.facts(&tenant) };
    let tag = person.as_ref().map(|person| person.tag);
    core.decide(call, operation, &facts, tag)?;
    let mut entry = core.entry(call, operation, Outcome::Allowed)?;
    entry.tag = tag;
    let _ticket = core.trail.append(&[entry])?;
    Ok(())
}

/// The names that the row may have, one for each living generation of the row key, the newest first.
fn names(core: &Core, named: &[u8]) -> Vec<Vec<u8>> {
    core.hierarchy.named_digests(named).iter().map(|digest| RowKey::Idempotency(first16(digest)).bytes()).collect()
}

/// A first answer under the newest row key and the name that it gives it.
pub(crate) enum TurnedOver {
    /// It is so already.
    Current,
    /// The row from now on.
    Row(Row),
    /// Nobody can come to it any more: its owner is gone, or it does not say what it is named by.
    Gone,
}

/// Works out what becomes of a first answer when the row key turns over.
pub(crate) fn turned_over(core: &Core, key: &[u8], value: &[u8]) -> Result<TurnedOver, Refused> {
    let (owner, _, subject, sealed) = parts(value).ok_or(Code::StoreUnavailable)?;
    let keys = if owner { core.hierarchy.subject(&core.rows(), &subject)? } else { None };
    let plain = match (&keys, owner) {
        (Some(keys), _) => keys.open_row(key, sealed)?,
        (None, true) => return Ok(TurnedOver::Gone),
        (None, false) => core.hierarchy.open_row(key, sealed)?,
    };
    let first: FirstAnswer = unpack(plain.bytes())?;
    let name = names(core, &first.named).into_iter().next().filter(|_| !first.named.is_empty());
    let Some(name) = name else { return Ok(TurnedOver::Gone) };
    if name == key && (owner || core.hierarchy.age_of(SystemKey::Row, sealed) == Some(0)) {
        return Ok(TurnedOver::Current);
    }
    let mut row = value[..HEAD].to_vec();
    row.extend(match &keys {
        Some(keys) => keys.seal_row(&name, plain.bytes())?,
        None => core.hierarchy.seal_row(&name, plain.bytes())?,
    });
    Ok(TurnedOver::Row((name, row)))
}

/// The sealed part of a row's value.
pub(crate) fn sealed(value: &[u8]) -> Option<(bool, &[u8])> {
    parts(value).map(|(owner, _, _, sealed)| (owner, sealed))
}

fn parts(value: &[u8]) -> Option<(bool, i64, Id, &[u8])> {
    let (head, sealed) = value.split_at_checked(HEAD)?;
    let expires = i64::from_be_bytes(head[1..9].try_into().ok()?);
    Some((head[0] == 1, expires, head[9..HEAD].try_into().ok()?, sealed))
}

/// When the first answer in this row stops being kept, in seconds since 1970.
pub(crate) fn expiry(value: &[u8]) -> Option<i64> {
    parts(value).map(|(_, expires, _, _)| expires)
}
