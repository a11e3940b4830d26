//! G9: a child's records are used when a guardian consents, and then not for everything (p57, p58).

use super::g07_basis;
use super::guard::{Rule, Verdict, View};
use crate::model::caller::Operation;
use crate::model::code::Code;
use crate::model::rules::Basis;

/// What the law demands or the person's rights need goes on without a guardian, and so does what protects the child, by a case
/// that two people decided. Advertising and personalisation never do.
pub(super) fn check<'v>(view: &View<'v>) -> Verdict<'v> {
    let (Some(purpose), Some(person)) = (view.purpose, view.person().filter(|person| person.minor)) else {
        return Verdict::NOT_ASKED;
    };
    if purpose.never_minors {
        return Verdict::fails(Code::MinorProtection);
    }
    if purpose.any_group || view.facts.protection || g07_basis::is_law(view) {
        return Verdict::HOLDS;
    }
    let Some(word) = person.standing.guardian.as_ref() else {
        return Verdict::fails(Code::GuardianConsentRequired);
    };
    let explicit = view.rests_on(Basis::Consent) || view.ask.operation == Operation::Disclose;
    let verdict = if word.withdrawn {
        Verdict::fails(Code::GuardianConsentRequired)
    } else {
        let agreed = view.lineage().any(|own| word.purposes.contains(&own.id));
        Verdict::unless(explicit && !agreed, Code::MinorProtection)
    };
    verdict.by(Rule::Guardian(word))
}
