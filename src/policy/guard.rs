//! What a guard is, and what it sees.

use super::decision::{Ask, Facts, RecordFacts, SubjectFacts};
use super::shape;
use crate::model::code::Code;
use crate::model::purpose::Purpose;

/// One row of the table of guards.
pub(super) struct Guard {
    /// `G0` to `G15`.
    pub(super) id: &'static str,
    /// One word.
    pub(super) name: &'static str,
    /// Its question.
    pub(super) check: fn(&View<'_>) -> Verdict,
}

/// What a guard says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It lets the call through.
    Holds,
    /// It has nothing to say to this call.
    NotAsked,
    /// It refuses.
    Fails(Code),
}

impl Verdict {
    /// Holds, or fails with `code`.
    pub(super) const fn unless(fails: bool, code: Code) -> Self {
        if fails { Self::Fails(code) } else { Self::Holds }
    }
}

/// The ask and the facts, with what several guards need of them worked out once.
pub(super) struct View<'a> {
    pub(super) ask: Ask<'a>,
    pub(super) facts: Facts<'a>,
    /// The subject, unless it is another tenant's: that one is not there.
    pub(super) subject: Option<&'a SubjectFacts<'a>>,
    /// The record that is judged.
    pub(super) record: Option<&'a RecordFacts<'a>>,
    /// The published purpose that was named, for operations that take one.
    pub(super) purpose: Option<&'a Purpose>,
}

impl<'a> View<'a> {
    pub(super) fn of(ask: &Ask<'a>, facts: &Facts<'a>) -> Self {
        let named = ask.purpose.filter(|_| shape::takes_purpose(ask.operation));
        Self {
            ask: *ask,
            facts: *facts,
            subject: facts.subject.filter(|subject| subject.tenant == ask.caller.tenant),
            record: facts.record,
            purpose: named.and_then(|id| facts.tenant.purpose(id)),
        }
    }

    /// The same, judging another record.
    pub(super) fn on(self, record: &'a RecordFacts<'a>) -> Self {
        Self { record: Some(record), ..self }
    }
}
