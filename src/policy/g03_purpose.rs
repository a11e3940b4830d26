//! G3: a purpose is named, it stands in the published policy (p04), and it uses records at all (p20).

use super::guard::{Verdict, View};
use super::shape;
use crate::model::code::Code;

pub(super) fn check<'v>(view: &View<'v>) -> Verdict<'v> {
    if !shape::takes_purpose(view.ask.operation) {
        return Verdict::NOT_ASKED;
    }
    if view.ask.purpose.is_none() {
        return Verdict::fails(Code::PurposeRequired);
    }
    match view.purpose {
        None => Verdict::fails(Code::PurposeNotPublished),
        Some(purpose) => Verdict::unless(purpose.aggregate_only, Code::AggregateOnly),
    }
}
