//! G13: what is highly sensitive is masked, unless the person behind the call is known more surely (p10). Row caps, small
//! cells and read budgets need counts and are the vault's part.

use super::guard::{Verdict, View};
use super::shape;
use crate::model::code::Code;
use crate::model::field::{FieldSet, Sensitivity};

/// A mask is enough for most calls; one that insists on clear text of fields that it names needs a step up. Where it names
/// none, the vault sees whether such a field is among those that are there.
pub(super) fn check<'v>(view: &View<'v>) -> Verdict<'v> {
    if view.purpose.is_none() || !shape::shows_values(view.ask.operation) {
        return Verdict::NOT_ASKED;
    }
    Verdict::unless(view.ask.grounds.clear && view.names_fields() && !masked(view).is_empty(), Code::StepUpRequired)
}

/// The fields of the call that are shown masked.
pub(super) fn masked(view: &View<'_>) -> FieldSet {
    let stepped_up = view.ask.caller.stepped_up_until.is_some_and(|until| view.ask.now < until);
    if stepped_up || !shape::shows_values(view.ask.operation) {
        return FieldSet::EMPTY;
    }
    view.fields_where(|field| field.sensitivity == Sensitivity::High)
}
