//! Children who are found out (p59): a birth date shows that somebody is a child, and no guardian agreed. The vault erases them by
//! itself, at once, with the cause `minor-no-consent`.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::audit::Outcome;
use crate::model::caller::Operation;
use crate::model::code::Code;
use crate::model::wire::{Cause, LedToErasure};
use crate::tenant::Tenant;

use super::call::{Answer, Call, Refused};
use super::core::Person;
use super::erasure::What;
use super::erasure::by_vault::{self, Due};
use super::lifecycle::Opened;

/// Whether the birth date that was just given shows a child without a guardian's consent.
pub(crate) fn found(tenant: &Tenant, person: &Person, born: Option<Date>, now: Timestamp) -> bool {
    let today = now.to_zoned_datetime(TimeZone::UTC).date();
    let minor = born.is_some() && tenant.is_minor(&person.row.jurisdiction, born, None, today);
    minor && !person.row.standing.guardian.as_ref().is_some_and(|word| word.stands())
}

/// Whether the birth date that was just given makes a child older than they are known to be: who protects the child does not end
/// on anybody's mere word.
pub(crate) fn grows_up(person: &Person, born: Option<Date>, minor: bool) -> bool {
    minor && born.is_some_and(|born| person.row.birth_date().is_some_and(|known| born < known))
}

/// Notes the call that found the child, and erases the child. Answered 202 with the erasure, once it is sealed.
pub(crate) async fn erase(
    opened: &Opened,
    call: &Call,
    operation: Operation,
    tenant: &Tenant,
    person: &Person,
) -> Result<Answer, Refused> {
    let core = &opened.core;
    let mut entry = core.entry(call, operation, Outcome::Allowed)?;
    entry.tag = Some(person.tag);
    let decision = entry.decision;
    let ticket = core.trail.append(&[entry])?;
    let _receipt = core.trail.released(ticket, core.reads).await?;
    let due = Due { subject: person.id, what: What::Subject, cause: Cause::MinorNoConsent, still: Box::new(|_| Ok(true)) };
    let erasure = by_vault::erase(core, &opened.committer, tenant, due).await?;
    let body = serde_json::to_vec(&LedToErasure { erasure }).map_err(|_| Code::Internal)?;
    let location = Some(format!("/v1/erasures/{erasure}"));
    Ok(Answer { decision: Some(decision), body: Some(body), location, ..Answer::default() })
}
