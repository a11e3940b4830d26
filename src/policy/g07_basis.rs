//! G7: the purpose has a lawful basis for this person, and the basis stands now (GDPR Art. 6, PIPL Art. 13; p27, p28, p29).

use jiff::Timestamp;
use jiff::civil::Date;

use super::decision::SubjectState;
use super::guard::{Rule, Verdict, View};
use crate::model::code::Code;
use crate::model::field::FieldSet;
use crate::model::rules::{Assessment, Basis, BasisRule, LegalRule};
use crate::model::standing::{Consent, ConsentState, RestrictionKind};

/// The kinds of consent to a purpose itself; others are about one recipient.
const GENERAL: &str = "general";
const SEPARATE: &str = "separate";

pub(super) fn check<'v>(view: &View<'v>) -> Verdict<'v> {
    let (Some(purpose), Some(subject)) = (view.purpose, view.person()) else {
        return Verdict::NOT_ASKED;
    };
    let Some(basis) = view.basis else {
        return Verdict::fails(Code::NoLawfulBasis);
    };
    let verdict = match refusal_by_switch(view) {
        Some(refused) => refused,
        None if purpose.needs_rule => legal(view),
        None => match basis.basis {
            Basis::Consent => consent(view, basis),
            Basis::Contract => contract(view),
            Basis::Account => Verdict::unless(subject.state == SubjectState::Closed, Code::NoLawfulBasis),
            Basis::LegitimateInterest => interest(view, basis),
            Basis::LegalObligation => Verdict::HOLDS,
        },
    };
    verdict.by(Rule::Basis(basis))
}

/// The fields of the call that the basis covers: those of the categories that were consented to, or that the cited rule is
/// about.
pub(super) fn covered(view: &View<'_>) -> FieldSet {
    if view.purpose.is_some_and(|purpose| purpose.needs_rule) {
        return match cited(view) {
            Some(rule) if !rule.categories.is_empty() => view.fields_where(|field| rule.categories.contains(&field.category)),
            _ => view.fields,
        };
    }
    match view.basis.filter(|basis| basis.basis == Basis::Consent).and_then(|basis| event(view, basis)) {
        Some(event) => view.fields_where(|field| event.categories.contains(&field.category)),
        None => view.fields,
    }
}

/// The consent event that the call goes by: of the purpose, or where it has none, of its nearest parent that has.
pub(super) fn event<'v>(view: &View<'v>, basis: &BasisRule) -> Option<&'v Consent> {
    let standing = view.person()?.standing;
    view.lineage().find_map(|purpose| {
        let separate = standing.consent(&purpose.id, SEPARATE);
        if basis.consent == SEPARATE {
            return separate;
        }
        // A separate consent is a consent too: whichever was said last counts.
        [standing.consent(&purpose.id, GENERAL), separate].into_iter().flatten().max_by_key(|event| event.at)
    })
}

/// The cited rule, if there is such a rule and it binds somebody in the subject's jurisdiction.
pub(super) fn cited<'v>(view: &View<'v>) -> Option<&'v LegalRule> {
    let rule = view.facts.tenant.legal_rule(view.ask.grounds.rule.as_deref()?)?;
    view.facts.tenant.binds(rule, view.person()?.jurisdiction).then_some(rule)
}

/// Whether an assessment holds on that day.
pub(super) fn is_valid(assessment: &Assessment, today: Date) -> bool {
    assessment.approved_on <= today && assessment.valid_until.is_none_or(|last| today <= last)
}

fn refusal_by_switch<'v>(view: &View<'v>) -> Option<Verdict<'v>> {
    let subject = view.person()?;
    let mut own =
        subject.standing.preferences.iter().filter(|switch| view.purpose.is_some_and(|p| p.preference.contains(&switch.name)));
    own.find_map(|switch| Some(Verdict::fails(switch.refusal()?).by(Rule::Preference(switch))))
}

fn consent<'v>(view: &View<'v>, basis: &BasisRule) -> Verdict<'v> {
    let Some(event) = event(view, basis) else {
        let separate = basis.consent == SEPARATE;
        return Verdict::fails(if separate { Code::SeparateConsentRequired } else { Code::ConsentMissing });
    };
    let since = view.person().and_then(|person| person.of_age_since).map(Timestamp::as_microsecond);
    let verdict = match event.state(view.ask.now) {
        // What was said for a child ends when the child comes of age (p57).
        ConsentState::Given if since.is_some_and(|since| event.at < since) => Verdict::fails(Code::ReconsentRequired),
        ConsentState::Given if view.is_enough(&covered(view)) => named_objection(view).unwrap_or(Verdict::HOLDS),
        ConsentState::Given | ConsentState::Requested => Verdict::fails(Code::ReconsentRequired),
        ConsentState::Refused => Verdict::fails(Code::ConsentMissing),
        ConsentState::Withdrawn => Verdict::fails(Code::ConsentWithdrawn),
        ConsentState::Expired => Verdict::fails(Code::ConsentExpired),
    };
    verdict.by(Rule::Consent(event))
}

/// The contract that the call names, or any that is in force.
fn contract<'v>(view: &View<'v>) -> Verdict<'v> {
    let contracts = view.person().map(|subject| subject.standing.contracts.as_slice()).unwrap_or_default();
    let named = view.ask.grounds.contract.as_deref();
    let mut meant = contracts.iter().filter(|contract| named.is_none_or(|reference| contract.reference == reference));
    match meant.find(|contract| contract.is_active(view.ask.now)) {
        Some(contract) => Verdict::HOLDS.by(Rule::Contract(contract)),
        None => Verdict::fails(Code::ContractInactive),
    }
}

fn interest<'v>(view: &View<'v>, basis: &'v BasisRule) -> Verdict<'v> {
    let assessment = basis.assessment.as_deref().and_then(|id| view.facts.tenant.assessment(id));
    let Some(assessment) = assessment.filter(|assessment| is_valid(assessment, view.today)) else {
        return Verdict::fails(Code::NoLawfulBasis);
    };
    let verdict = objection(view, |_| true).unwrap_or(Verdict::HOLDS);
    verdict.by(Rule::Assessment(assessment))
}

/// A duty under a rule that the call cites (p24).
fn legal<'v>(view: &View<'v>) -> Verdict<'v> {
    if view.ask.grounds.rule.is_none() {
        return Verdict::fails(Code::RuleRequired);
    }
    match cited(view) {
        None => Verdict::fails(Code::NoLawfulBasis),
        Some(rule) => Verdict::unless(!view.is_enough(&covered(view)), Code::NoLawfulBasis).by(Rule::Legal(rule)),
    }
}

/// An objection to this very purpose stops what the person once consented to as well; one to everything is about
/// legitimate interests.
fn named_objection<'v>(view: &View<'v>) -> Option<Verdict<'v>> {
    objection(view, |purposes| !purposes.is_empty())
}

/// An objection in force to the purpose or one that it is a part of (GDPR Art. 21), whose list of purposes is one of those
/// looked for.
fn objection<'v>(view: &View<'v>, looked_for: impl Fn(&[String]) -> bool) -> Option<Verdict<'v>> {
    let purpose = view.purpose?;
    let mut restrictions = view.person()?.standing.restrictions.iter();
    let objection = restrictions.find(|restriction| {
        restriction.kind == RestrictionKind::Objection
            && looked_for(&restriction.purposes)
            && !restriction.exceptions.contains(&purpose.id)
            && view.lineage().any(|own| restriction.covers(&own.id))
    })?;
    Some(Verdict::fails(Code::ObjectionActive).by(Rule::Restriction(objection)))
}

/// Whether the basis is the law itself rather than somebody's choice.
pub(super) fn is_law(view: &View<'_>) -> bool {
    view.rests_on(Basis::LegalObligation) && (view.purpose.is_some_and(|purpose| !purpose.needs_rule) || cited(view).is_some())
}
