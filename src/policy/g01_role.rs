//! G1: the role matrix allows the operation, to this target, with the second person that it needs.

use super::decision::Second;
use super::guard::{Verdict, View};
use super::roles::{self, Cell};
use super::{g11_recipient, shape};
use crate::model::caller::{CallerKind, Operation, Role};
use crate::model::code::Code;
use crate::model::purpose::Purpose;

/// One role that allows it is enough. A caller that may not know whether the target exists gets `not-found`.
pub(super) fn check<'v>(view: &View<'v>) -> Verdict<'v> {
    let operation = view.ask.operation;
    if view.ask.caller.actions.as_ref().is_some_and(|granted| !granted.contains(&operation)) {
        return Verdict::fails(Code::RoleForbidden);
    }
    let mut refusal = Code::RoleForbidden;
    for &role in &view.ask.caller.roles {
        let hindrance = match roles::cell(operation, role) {
            Cell::Never => continue,
            Cell::Allowed if g11_recipient::needs_case(view) => on_case(view, role),
            Cell::Allowed => None,
            // Left to G3 where no published purpose is named.
            Cell::RightsOnly => {
                let serves = |purpose: &Purpose| purpose.any_group && view.facts.request;
                view.purpose.is_some_and(|purpose| !serves(purpose)).then_some(Code::RoleForbidden)
            }
            Cell::Own if !view.facts.own => Some(if may_know(view) { Code::RoleForbidden } else { Code::NotFound }),
            // Who opens an erasure does not approve it, not even the person's own.
            Cell::Own if operation == Operation::ApproveErasure => second_person(view),
            Cell::Own => None,
            Cell::SecondPerson => second_person(view),
        };
        match hindrance {
            None => return Verdict::HOLDS,
            Some(Code::RoleForbidden) => {}
            Some(code) => refusal = code,
        }
    }
    Verdict::fails(refusal)
}

/// What goes to somebody on a case is the privacy officer's to give, once another approved the case (p38, p39).
fn on_case(view: &View<'_>, role: Role) -> Option<Code> {
    match view.facts.case {
        _ if role != Role::PrivacyOfficer => Some(Code::RoleForbidden),
        None => Some(Code::SecondPersonRequired),
        Some(_) => None,
    }
}

fn second_person(view: &View<'_>) -> Option<Code> {
    let stands = match view.facts.second {
        Second::Waived => true,
        Second::None => matches!(view.ask.operation, Operation::OpenErasure | Operation::OpenCase),
        Second::OpenedBy(opener) => opener != view.ask.caller.id && view.ask.caller.kind == CallerKind::Person,
    };
    (!stands).then_some(Code::SecondPersonRequired)
}

/// Whether the caller may know that the target exists: a subject, by its own right or because getSubject is allowed to it.
/// Operations without a target have nothing to hide; erasures and requests are hidden.
pub(super) fn may_know(view: &View<'_>) -> bool {
    let operation = view.ask.operation;
    let hidden = matches!(
        operation,
        Operation::GetErasure
            | Operation::ApproveErasure
            | Operation::GetRequest
            | Operation::AdvanceRequest
            | Operation::GetRequestResult
    );
    let sees_subjects = || view.ask.caller.roles.iter().any(|&role| roles::cell(Operation::GetSubject, role) == Cell::Allowed);
    view.facts.own || if hidden { false } else { !shape::names_subject(operation) || sees_subjects() }
}
