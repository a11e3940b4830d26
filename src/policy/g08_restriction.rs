//! G8: nobody has stopped the use of this person's records, or the purpose is a recorded exception (GDPR Art. 18; p43).

use super::guard::{Rule, Verdict, View};
use super::shape;
use crate::model::code::Code;
use crate::model::standing::{Restriction, RestrictionKind};

/// A restriction stops every use, but not storing. The person's own rights go on: they are what a restriction protects.
/// What is held for a case is neither used, changed nor deleted. Objections are part of the basis (G7).
pub(super) fn check<'v>(view: &View<'v>) -> Verdict<'v> {
    let Some(person) = view.person().filter(|_| shape::heeds_restrictions(view.ask.operation)) else {
        return Verdict::NOT_ASKED;
    };
    let fails = |restriction| Some(Verdict::fails(refusal(view, restriction)?).by(Rule::Restriction(restriction)));
    person.standing.restrictions.iter().find_map(fails).unwrap_or(Verdict::HOLDS)
}

fn refusal(view: &View<'_>, restriction: &Restriction) -> Option<Code> {
    let operation = view.ask.operation;
    let concerned = match view.purpose {
        Some(purpose) => !purpose.any_group && restriction.covers(&purpose.id),
        None => restriction.active,
    };
    match restriction.kind {
        RestrictionKind::LegalHold => (concerned && holds(view, restriction)).then_some(Code::Held),
        RestrictionKind::Art18 | RestrictionKind::Dispute => {
            (concerned && (shape::releases(operation) || shape::deletes(operation))).then_some(Code::Restricted)
        }
        RestrictionKind::Objection => None,
    }
}

/// Whether the hold is about what the call is about: everything of the person, or this record.
fn holds(view: &View<'_>, hold: &Restriction) -> bool {
    let record = view.record.and_then(|record| record.id);
    hold.records.is_empty() || hold.records.iter().any(|held| record.is_some_and(|id| *id.bytes() == held.record))
}
