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

/// The person's newest address for that purpose; `None` where their records have none for it. A refusal is the decision's, and is in
/// the trail.
pub(crate) async fn read(
    core: &Core,
    tenant: &Arc<Tenant>,
    person: &Person,
    purpose: &str,
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
    let mut newest: Option<Found<'_>> = None;
    let mut denial = None;
    for one in known.iter() {
        match examine(&allowed, one) {
            Ok(Some((group, numbers))) => {
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
