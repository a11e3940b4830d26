//! G4: the purpose is in the token's grant, by its own id; the grant of a parent is not the grant of its children.

use super::guard::{Verdict, View};
use crate::model::code::Code;

pub(super) fn check<'v>(view: &View<'v>) -> Verdict<'v> {
    match view.purpose {
        None => Verdict::NOT_ASKED,
        Some(purpose) => Verdict::unless(!view.ask.caller.purposes.contains(&purpose.id), Code::PurposeNotGranted),
    }
}
