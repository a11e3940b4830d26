//! G6: what was collected is used for the purposes it was collected for, their parts, and what was found compatible with
//! them (GDPR Art. 5(1)(b), 6(4)).

use super::guard::{Rule, Verdict, View};
use super::{g07_basis, shape};
use crate::model::code::Code;
use crate::model::purpose::Purpose;
use crate::tenant::Tenant;

/// A purpose that serves the person's rights, or a duty under a cited rule that binds, is compatible by law.
pub(super) fn check<'v>(view: &View<'v>) -> Verdict<'v> {
    let (Some(purpose), Some(record)) = (view.purpose, view.record) else {
        return Verdict::NOT_ASKED;
    };
    if !shape::opens_records(view.ask.operation) {
        return Verdict::NOT_ASKED;
    }
    if purpose.any_group {
        return Verdict::HOLDS;
    }
    if view.lineage().any(|own| record.purposes.contains(&own.id)) {
        return Verdict::HOLDS;
    }
    if let Some(rule) = g07_basis::cited(view).filter(|_| purpose.needs_rule) {
        return Verdict::HOLDS.by(Rule::Legal(rule));
    }
    let assessed = view.facts.tenant.assessments().iter().find(|assessment| {
        assessment.purpose == purpose.id
            && g07_basis::is_valid(assessment, view.today)
            && record.purposes.iter().any(|id| is_part_of(view.facts.tenant, id, |own| assessment.compatible.contains(&own.id)))
    });
    match assessed {
        Some(assessment) => Verdict::HOLDS.by(Rule::Assessment(assessment)),
        None => Verdict::fails(Code::PurposeIncompatible),
    }
}

/// Whether the purpose of that id, or one that it is a part of, is one of those looked for.
fn is_part_of(tenant: &Tenant, id: &str, looked_for: impl Fn(&Purpose) -> bool) -> bool {
    let parent = |purpose: &&Purpose| tenant.purpose(purpose.parent.as_deref()?);
    std::iter::successors(tenant.purpose(id), parent).any(looked_for)
}
