//! G12: the record's retention has not ended for the group that it would be opened through (p54, p55), swept or not.

use jiff::SignedDuration;

use super::decision::RecordFacts;
use super::guard::{Rule, Verdict, View};
use super::{g15_key, shape};
use crate::model::code::Code;
use crate::model::purpose::Group;
use crate::model::standing::Extension;

/// How long what belongs to a session lasts at most (p30).
const SESSION: SignedDuration = SignedDuration::from_hours(24);

/// Fails when every group that the purpose could open the record through has ended.
pub(super) fn check<'v>(view: &View<'v>) -> Verdict<'v> {
    let (Some(purpose), Some(record)) = (view.purpose, view.record) else {
        return Verdict::NOT_ASKED;
    };
    if !shape::opens_records(view.ask.operation) {
        return Verdict::NOT_ASKED;
    }
    let bound = g15_key::bound(view, purpose, record);
    match bound.iter().find(|&group| !is_over(view, record, group)) {
        Some(group) => match extension(view, group).filter(|_| is_over_by_rule(view, record, group)) {
            Some(extension) => Verdict::HOLDS.by(Rule::Extension(extension)),
            None => Verdict::HOLDS.by(Rule::Retention(group)),
        },
        None => {
            let verdict = Verdict::unless(!bound.is_empty(), Code::RetentionExpired);
            bound.iter().next().map_or(verdict, |group| verdict.by(Rule::Retention(group)))
        }
    }
}

/// Whether the record's time under `group` is over: by the policy's rule, unless something keeps the group longer.
pub(super) fn is_over(view: &View<'_>, record: &RecordFacts<'_>, group: Group) -> bool {
    let session_over = record.session && view.ask.now.duration_since(record.collected_at) >= SESSION;
    session_over || is_over_by_rule(view, record, group) && extension(view, group).is_none()
}

fn is_over_by_rule(view: &View<'_>, record: &RecordFacts<'_>, group: Group) -> bool {
    let jurisdiction = view.subject.map_or("", |subject| subject.jurisdiction);
    view.facts.tenant.is_expired(group, jurisdiction, &record.fields, record.collected_at, view.ask.now)
}

/// What keeps the group longer than its rule, now.
fn extension<'v>(view: &View<'v>, group: Group) -> Option<&'v Extension> {
    let mut extensions = view.person()?.standing.extensions.iter();
    extensions.find(|own| own.group == group.number() && view.ask.now.as_microsecond() < own.until)
}
