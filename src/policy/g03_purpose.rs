//! G3: a purpose is named, it stands in the published policy (p04), and it uses records at all (p20).

use super::guard::{Verdict, View};
use super::shape;
use crate::model::code::Code;

pub(super) fn check(view: &View<'_>) -> Verdict {
    if !shape::takes_purpose(view.ask.operation) {
        return Verdict::NotAsked;
    }
    if view.ask.purpose.is_none() {
        return Verdict::Fails(Code::PurposeRequired);
    }
    match view.purpose {
        None => Verdict::Fails(Code::PurposeNotPublished),
        Some(purpose) => Verdict::unless(purpose.aggregate_only, Code::AggregateOnly),
    }
}
