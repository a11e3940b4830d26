//! G14: the trail can take the entry. That the entry is durable before anything is released is the vault's part.

use super::guard::{Verdict, View};
use crate::model::code::Code;

pub(super) fn check<'v>(view: &View<'v>) -> Verdict<'v> {
    Verdict::unless(!view.facts.trail, Code::AuditUnavailable)
}
