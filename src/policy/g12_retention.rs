//! G12: the record's retention has not ended for the group that it would be opened through (p54), swept or not.

use super::guard::{Verdict, View};
use super::{g15_key, shape};
use crate::model::code::Code;

/// Fails when every group that the purpose could open the record through has ended.
pub(super) fn check(view: &View<'_>) -> Verdict {
    let (Some(purpose), Some(record)) = (view.purpose, view.record) else {
        return Verdict::NotAsked;
    };
    if !shape::opens_records(view.ask.operation) {
        return Verdict::NotAsked;
    }
    let bound = g15_key::bound(view, purpose, record);
    let ended = |group| view.facts.tenant.is_expired(group, record.collected_at, view.ask.now);
    Verdict::unless(!bound.is_empty() && bound.iter().all(ended), Code::RetentionExpired)
}
