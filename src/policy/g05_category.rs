//! G5: the purpose covers the subject's class and every field that is named, the token is not narrowed to others, and what
//! a source system left on a device is read by that system alone (p30), what it was given to keep by it and the person (p22).

use super::guard::{Verdict, View};
use super::shape;
use crate::model::caller::Operation;
use crate::model::code::Code;
use crate::model::field::{Field, FieldSet, Kind};
use crate::model::purpose::Purpose;

/// The group of device identifiers.
const DEVICE: &str = "device";
/// The group of what people have kept for them.
const CONTENT: &str = "content";

pub(super) fn check<'v>(view: &View<'v>) -> Verdict<'v> {
    let Some(purpose) = view.purpose else {
        return Verdict::NOT_ASKED;
    };
    let covered = match view.subject {
        Some(subject) => purpose.classes.contains(subject.class),
        None => view.ask.operation != Operation::CreateSubject,
    };
    if !covered {
        return Verdict::fails(Code::SubjectClassMismatch);
    }
    // Nothing is collected for a purpose that has no group to keep it under.
    if shape::collects(view.ask.operation) && purpose.group.is_none() {
        return Verdict::fails(Code::CategoryNotPermitted);
    }
    let all = view.facts.fields.iter().all(|&number| {
        let field = view.facts.tenant.field_numbered(number);
        field.is_some_and(|field| permits(view, purpose, field))
    });
    if !all {
        return Verdict::fails(Code::CategoryNotPermitted);
    }
    Verdict::unless(is_foreign(view, purpose), Code::OriginScope)
}

/// The fields that the call is about: those named; for a release that names none, all that may be seen.
pub(super) fn permitted(view: &View<'_>) -> FieldSet {
    match view.purpose {
        Some(purpose) if view.facts.fields.is_empty() && shape::shows_values(view.ask.operation) => {
            let fields = purpose.fields.iter().filter_map(|number| view.facts.tenant.field_numbered(number));
            fields.filter(|field| permits(view, purpose, field)).map(|field| field.number).collect()
        }
        Some(_) => view.facts.fields.iter().copied().collect(),
        None => FieldSet::EMPTY,
    }
}

/// Secrets are written and verified, never read (p09).
fn permits(view: &View<'_>, purpose: &Purpose, field: &Field) -> bool {
    let readable = field.kind != Kind::Secret || !shape::shows_values(view.ask.operation);
    let granted = view.ask.caller.fields.as_ref().is_none_or(|names| names.contains(&field.name));
    readable && granted && purpose.fields.contains(field.number)
}

/// Whether the record is a device identifier of another source system than the caller's, or content that neither the
/// caller's system nor the person themselves was given to keep.
fn is_foreign(view: &View<'_>, purpose: &Purpose) -> bool {
    let is_of = |group: &str| purpose.group.is_some() && purpose.group == view.facts.tenant.group(group);
    let scoped = || is_of(DEVICE) || is_of(CONTENT) && !view.facts.own;
    view.record.is_some_and(|record| {
        shape::opens_records(view.ask.operation) && scoped() && record.source != view.ask.caller.source.as_deref()
    })
}
