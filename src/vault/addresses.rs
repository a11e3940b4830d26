//! Where a letter to a person goes: read from their records at the moment it leaves, through the decision and the trail like every
//! other read, by the vault's own postman.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use keys::secret::SecretString;

use crate::audit::Outcome;
use crate::model::caller::{Caller, Grounds, Operation, Role};
use crate::model::code::Code;
use crate::model::field::Kind;
use crate::model::ids::CallerId;
use crate::model::purpose::Group;
use crate::policy::Facts;
use crate::tenant::{Tenant, normalise};

use super::call::{Call, Refused};
use super::core::{Core, Known, Person, first16, key_group};
use super::reading::{examine, records_of};
use super::records::{context, wraps_of};
use super::verified::is_settled;

/// A call in the postman's name: a reader of nothing but addresses, for one purpose. It has no row among the callers and no token.
fn postman(core: &Core, tenant: &Tenant, purpose: &str) -> Call {
    let digest = keys::digest::sha256(&[b"pv1/postman", &core.vault, tenant.id().bytes()]);
    let soon = core.clock.now().checked_add(SignedDuration::from_mins(1)).unwrap_or(Timestamp::MAX);
    let addresses = tenant.fields().iter().filter(|field| field.kind == Kind::Email);
    let caller = Caller {
        name: "postman".into(),
        roles: BTreeSet::from([Role::Reader]),
        purposes: BTreeSet::from([purpose.to_owned()]),
        fields: Some(addresses.map(|field| field.name.clone()).collect()),
        actions: Some(BTreeSet::from([Operation::ReadRecords])),
        expires_at: soon,
        ..Caller::nobody(CallerId::from_bytes(first16(&digest)), tenant.id())
    };
    let purpose = Some(purpose.to_owned());
    Call { caller: Arc::new(caller), purpose, idempotency: None, if_match: None, gpc: false, grounds: Grounds::NONE }
}

/// A record with an address, still closed.
struct Found<'a> {
    /// When it was collected, and its version.
    at: (i64, u64),
    one: &'a Known,
    group: Group,
    numbers: Vec<u16>,
}

/// Before when the person must have written an address themselves for a code to go to it.
fn settled_since(core: &Core, tenant: &Tenant) -> Timestamp {
    let days = SignedDuration::from_hours(24 * i64::from(tenant.requests().address_days));
    core.clock.now().checked_sub(days).unwrap_or(Timestamp::MIN)
}

/// Whether all addresses of the person are ones that they wrote themselves just now: a code that goes there shows nothing.
pub(crate) fn are_all_new(core: &Core, tenant: &Tenant, person: &Person) -> Result<bool, Refused> {
    let since = settled_since(core, tenant);
    let known = records_of(core, person, |_| true)?;
    let fields = known.iter().flat_map(|one| one.label.fields.iter());
    let is_address = |number| tenant.field_numbered(number).is_some_and(|field| field.kind == Kind::Email);
    let mut settled = fields.filter(|field| is_address(field.number)).map(|field| is_settled(field, since)).peekable();
    Ok(settled.peek().is_some() && !settled.any(|settled| settled))
}

/// The person's newest address for that purpose, of those that have `settled` if so told; `None` where their records have none for
/// it. A refusal is the decision's, and is in the trail.
pub(crate) async fn read(
    core: &Core,
    tenant: &Arc<Tenant>,
    person: &Person,
    purpose: &str,
    settled: bool,
) -> Result<Option<SecretString>, Refused> {
    let call = postman(core, tenant, purpose);
    let about = person.facts(tenant, core.clock.now());
    let allowed_fields = tenant.purpose(purpose).map(|purpose| purpose.fields).unwrap_or_default();
    let fields: Vec<u16> = tenant
        .fields()
        .iter()
        .filter(|field| field.kind == Kind::Email && allowed_fields.contains(field.number))
        .map(|field| field.number)
        .collect();
    if fields.is_empty() {
        return Ok(None);
    }
    let facts = Facts { fields: &fields, ..core.facts_about(tenant, &call, person, &about) };
    let allowed = core.decide(&call, Operation::ReadRecords, &facts, Some(person.tag))?;
    let known = records_of(core, person, |_| true)?;
    let since = settled_since(core, tenant);
    let may_serve = |one: &Known, number: u16| {
        !settled || one.label.fields.iter().any(|field| field.number == number && is_settled(field, since))
    };
    let mut newest: Option<Found<'_>> = None;
    let mut denial = None;
    for one in known.iter() {
        match examine(&allowed, one) {
            Ok(Some((group, mut numbers))) => {
                numbers.retain(|number| may_serve(one, *number));
                if numbers.is_empty() {
                    continue;
                }
                let found = Found { at: (one.label.collected_at, one.row.version), one, group, numbers };
                if newest.as_ref().is_none_or(|best| best.at < found.at) {
                    newest = Some(found);
                }
            }
            Ok(None) => {}
            Err(denied) if denied.code == Code::PurposeIncompatible => {}
            Err(denied) => denial = denial.or(Some(denied)),
        }
    }
    let Some(Found { one, group, numbers, .. }) = newest else {
        return match denial {
            Some(denied) => Err(core.deny(&call, Operation::ReadRecords, &denied, Some(person.tag))),
            None => Ok(None),
        };
    };
    let mut entry = core.entry(&call, Operation::ReadRecords, Outcome::Allowed)?;
    (entry.tag, entry.records, entry.fields) = (Some(person.tag), 1, numbers.clone());
    let admitted = core.admit(&allowed, entry).await?;
    let permit = admitted.permit(person.id, key_group(group)?);
    let key = person.keys.record_key(&permit, one.id.bytes(), &wraps_of(&one.row))?;
    let bound = context(core, person, one.id, &one.row, &one.label_digest)?;
    let opened = key.decrypt(&permit, &bound, &one.row.envelope, Some(&numbers))?;
    let mut found = opened.iter().filter_map(|(_, plain)| serde_json::from_slice::<String>(plain.bytes()).ok());
    Ok(found.find(|text| normalise::email(text).is_ok()).map(SecretString::from))
}
