//! G0: the token is valid now, and the caller belongs to the tenant.

use super::guard::{Verdict, View};
use crate::model::code::Code;

pub(super) fn check(view: &View<'_>) -> Verdict {
    if view.ask.now >= view.ask.caller.expires_at {
        return Verdict::Fails(Code::Unauthenticated);
    }
    Verdict::unless(view.ask.caller.tenant != view.facts.tenant.id(), Code::NotFound)
}
