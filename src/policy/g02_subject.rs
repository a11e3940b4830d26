//! G2: the subject is there, and was neither erased nor closed.

use super::decision::SubjectState;
use super::g01_role::may_know;
use super::guard::{Verdict, View};
use super::shape;
use crate::model::code::Code;

/// Erased is said only to a caller who may know that the subject existed. A closed account still stands for what takes no
/// purpose (its erasure, its contracts) and for the purposes that go on after closure.
pub(super) fn check<'v>(view: &View<'v>) -> Verdict<'v> {
    let operation = view.ask.operation;
    if shape::outlives_subject(operation) {
        return Verdict::NOT_ASKED;
    }
    let Some(subject) = view.subject else {
        return if shape::names_subject(operation) { Verdict::fails(Code::NotFound) } else { Verdict::NOT_ASKED };
    };
    match subject.state {
        SubjectState::Active => Verdict::HOLDS,
        SubjectState::Held if shape::reaches_held(operation) => Verdict::HOLDS,
        SubjectState::Held => Verdict::fails(if may_know(view) { Code::Held } else { Code::NotFound }),
        SubjectState::Erased => Verdict::fails(if may_know(view) { Code::Erased } else { Code::NotFound }),
        SubjectState::Closed => {
            let goes_on = view.purpose.is_some_and(|purpose| purpose.after_closure);
            Verdict::unless(shape::takes_purpose(operation) && !goes_on, Code::AccountClosed)
        }
    }
}
