//! G15: the key of a group that the purpose may use still opens the record.

use super::decision::RecordFacts;
use super::guard::{Verdict, View};
use super::{g12_retention, shape};
use crate::model::code::Code;
use crate::model::purpose::{Group, GroupSet, Purpose};

/// Without a record among the facts, it asks whether the purpose's group was destroyed for the subject.
pub(super) fn check<'v>(view: &View<'v>) -> Verdict<'v> {
    let Some(purpose) = view.purpose.filter(|_| shape::opens_records(view.ask.operation)) else {
        return Verdict::NOT_ASKED;
    };
    match (view.record, purpose.group) {
        (Some(record), _) => open(view, record).map_or_else(Verdict::fails, |_| Verdict::HOLDS),
        (None, Some(group)) => Verdict::unless(view.facts.dead_groups.contains(group), Code::KeyDestroyed),
        (None, None) => Verdict::NOT_ASKED,
    }
}

/// The group to open `record` through: of those that it is bound to, whose keys live, and whose retention has not ended.
/// A record that was never bound to the purpose's group is not there for it.
pub(super) fn open(view: &View<'_>, record: &RecordFacts<'_>) -> Result<Group, Code> {
    let purpose = view.purpose.ok_or(Code::NotFound)?;
    let bound = bound(view, purpose, record);
    let kept = |&group: &Group| !g12_retention::is_over(view, record, group);
    let kept: GroupSet = bound.iter().filter(kept).collect();
    let alive = view.facts.key_groups.and(kept);
    purpose.group_for(record.groups, alive).ok_or(if bound.is_empty() { Code::NotFound } else { Code::KeyDestroyed })
}

/// The groups that the purpose could open the record through, were all keys alive: those that it is wrapped under now, and
/// those of the purposes it was collected for.
pub(super) fn bound(view: &View<'_>, purpose: &Purpose, record: &RecordFacts<'_>) -> GroupSet {
    let collected = record.purposes.iter().filter_map(|id| view.facts.tenant.purpose(id)?.group);
    let all = record.groups.or(collected.collect());
    match purpose.group {
        Some(own) => all.iter().filter(|&group| group == own).collect(),
        None if purpose.any_group => all,
        None => GroupSet::EMPTY,
    }
}
