//! G9: a child's records are used when a guardian consents, and then not for everything (p57, p58).

use super::decision::{CaseFacts, SubjectFacts};
use super::g07_basis;
use super::guard::{Rule, Says, Verdict, View};
use crate::model::caller::Operation;
use crate::model::code::Code;
use crate::model::field::FieldSet;
use crate::model::rules::{Basis, PartnerKind};

/// What the law demands or the person's rights need goes on without a guardian, and so does what protects the child, by a case
/// that two people decided and as far as it reaches. Advertising and personalisation never do, and who advertises gets nothing.
pub(super) fn check<'v>(view: &View<'v>) -> Verdict<'v> {
    let (Some(purpose), Some(person)) = (view.purpose, view.person().filter(|person| person.minor)) else {
        return Verdict::NOT_ASKED;
    };
    if purpose.never_minors || view.recipient().is_some_and(|partner| partner.kind == PartnerKind::AdAnalytics) {
        return Verdict::fails(Code::MinorProtection);
    }
    if purpose.any_group || g07_basis::is_law(view) {
        return Verdict::HOLDS;
    }
    let guardian = guardian(view, person);
    match protection(view) {
        Some(case) if guardian.says != Says::Holds && view.is_enough(&view.fields.and(&case.fields)) => Verdict::HOLDS,
        _ => guardian,
    }
}

/// The fields of the call that may be used: where nothing but a case lets a child's data be used, those of the case.
pub(super) fn covered(view: &View<'_>) -> FieldSet {
    let child = view.purpose.zip(view.person().filter(|person| person.minor));
    let Some((_, person)) = child.filter(|(purpose, _)| !purpose.any_group && !g07_basis::is_law(view)) else {
        return view.fields;
    };
    match protection(view) {
        Some(case) if guardian(view, person).says != Says::Holds => view.fields.and(&case.fields),
        _ => view.fields,
    }
}

/// The case for the child's protection, if it is about the purpose.
fn protection<'v>(view: &View<'v>) -> Option<&'v CaseFacts<'v>> {
    view.facts.protection.filter(|case| view.purpose.is_some_and(|purpose| case.purposes.contains(&purpose.id)))
}

/// What the guardian said.
fn guardian<'v>(view: &View<'v>, person: &'v SubjectFacts<'v>) -> Verdict<'v> {
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
