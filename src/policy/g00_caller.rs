//! G0: the token is valid now, the caller belongs to the tenant, and a person who sees clear text is trained (p52).

use super::guard::{Verdict, View};
use super::shape;
use crate::model::caller::CallerKind;
use crate::model::code::Code;

/// Training is asked of people who work for the controller or a partner: not of services, and not of the person whose own
/// records they are.
pub(super) fn check<'v>(view: &View<'v>) -> Verdict<'v> {
    let caller = view.ask.caller;
    if view.ask.now >= caller.expires_at {
        return Verdict::fails(Code::Unauthenticated);
    }
    if caller.tenant != view.facts.tenant.id() {
        return Verdict::fails(Code::NotFound);
    }
    let is_staff = caller.kind == CallerKind::Person && caller.subject.is_none();
    let is_trained = caller.trained_until.is_some_and(|last| view.today <= last);
    Verdict::unless(is_staff && !is_trained && shape::releases(view.ask.operation), Code::TrainingRequired)
}
