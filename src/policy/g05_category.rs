//! G5: the purpose covers the subject's class and every field that is named, and the token is not narrowed to others.

use super::guard::{Verdict, View};
use super::shape;
use crate::model::caller::Operation;
use crate::model::code::Code;
use crate::model::field::{Field, FieldSet, Kind};
use crate::model::purpose::Purpose;

pub(super) fn check(view: &View<'_>) -> Verdict {
    let Some(purpose) = view.purpose else {
        return Verdict::NotAsked;
    };
    let covered = match view.subject {
        Some(subject) => purpose.classes.contains(subject.class),
        None => view.ask.operation != Operation::CreateSubject,
    };
    if !covered {
        return Verdict::Fails(Code::SubjectClassMismatch);
    }
    // Nothing is collected for a purpose that has no group to keep it under.
    if shape::collects(view.ask.operation) && purpose.group.is_none() {
        return Verdict::Fails(Code::CategoryNotPermitted);
    }
    let all = view.facts.fields.iter().all(|&number| {
        let field = view.facts.tenant.field_numbered(number);
        field.is_some_and(|field| permits(view, purpose, field))
    });
    Verdict::unless(!all, Code::CategoryNotPermitted)
}

/// The fields of an allowed call: those named; for a read that names none, all that may be seen.
pub(super) fn permitted(view: &View<'_>) -> FieldSet {
    match view.purpose {
        Some(purpose) if view.facts.fields.is_empty() && view.ask.operation == Operation::ReadRecords => {
            let fields = view.facts.tenant.fields().iter();
            fields.filter(|field| permits(view, purpose, field)).map(|field| field.number).collect()
        }
        Some(_) => view.facts.fields.iter().copied().collect(),
        None => FieldSet::EMPTY,
    }
}

/// Secrets are written, never read (p09).
fn permits(view: &View<'_>, purpose: &Purpose, field: &Field) -> bool {
    let readable = field.kind != Kind::Secret || view.ask.operation != Operation::ReadRecords;
    let granted = view.ask.caller.fields.as_ref().is_none_or(|names| names.contains(&field.name));
    readable && granted && purpose.fields.contains(field.number)
}
