//! G11: what a partner gets is what its agreement says, for as long as it says so (p33 to p37); what goes out on a case is what
//! the case says (p38, p39).

use super::decision::CaseFacts;
use super::guard::{Rule, Verdict, View};
use super::shape;
use crate::model::caller::{Operation, Role};
use crate::model::code::Code;
use crate::model::field::{Field, FieldSet, Identifiability};
use crate::model::rules::{Partner, PartnerKind};
use crate::model::standing::{Consent, ConsentState};

pub(super) fn check<'v>(view: &View<'v>) -> Verdict<'v> {
    let Some(purpose) = view.purpose.filter(|_| shape::releases(view.ask.operation)) else {
        return Verdict::NOT_ASKED;
    };
    let Some(partner) = view.recipient() else {
        // Who acts as a partner works for one that is registered.
        let acts_as_one = is_partner(view);
        return if acts_as_one { Verdict::fails(Code::OutsideEntrustment) } else { Verdict::NOT_ASKED };
    };
    if let Some(case) = case(view) {
        let about = case.recipient == Some(&partner.id) && case.purposes.contains(&purpose.id);
        let verdict = match () {
            () if !partner.is_live(view.today) => Verdict::fails(Code::OutsideEntrustment),
            () if !about || !view.is_enough(&view.fields.and(&case.fields)) => Verdict::fails(Code::OutsideCase),
            () => Verdict::unless(!view.is_enough(&covered(view)), Code::IdentityToAdPartner),
        };
        return verdict.by(Rule::Partner(partner));
    }
    let own = (!partner.purposes.contains(&purpose.id)).then(|| own_consent(view, partner));
    let verdict = match own {
        _ if !partner.is_live(view.today) => Verdict::fails(Code::OutsideEntrustment),
        // An authority has no agreement: it gets what a case gives it, and reads nothing for itself.
        _ if partner.kind == PartnerKind::Authority => Verdict::fails(Code::OutsideEntrustment),
        Some(None) => Verdict::fails(Code::OutsideEntrustment),
        _ if !view.is_enough(&unidentified(view, partner)) => Verdict::fails(Code::IdentityToAdPartner),
        _ => Verdict::unless(!view.is_enough(&covered(view)), Code::OutsideEntrustment),
    };
    let verdict = verdict.by(Rule::Partner(partner));
    own.flatten().map_or(verdict, |consent| verdict.by(Rule::Consent(consent)))
}

/// The fields of the call that the recipient may get.
pub(super) fn covered(view: &View<'_>) -> FieldSet {
    match view.recipient().filter(|_| shape::releases(view.ask.operation)) {
        Some(partner) => unidentified(view, partner).and(case(view).map_or(&partner.fields, |case| &case.fields)),
        None => view.fields,
    }
}

/// Whether a disclosure needs a case: it is to be made on one, or goes to an authority.
pub(super) fn needs_case(view: &View<'_>) -> bool {
    let to_authority = || view.facts.recipient.is_some_and(|partner| partner.kind == PartnerKind::Authority);
    view.ask.operation == Operation::Disclose && (view.facts.disclosed_on.is_some() || to_authority())
}

/// The approved case that the disclosure is made on.
fn case<'v>(view: &View<'v>) -> Option<&'v CaseFacts<'v>> {
    view.facts.case.filter(|_| needs_case(view))
}

/// Whether the caller is a partner, who learns less about why something is refused.
pub(super) fn is_partner(view: &View<'_>) -> bool {
    view.ask.caller.partner.is_some() || view.ask.caller.roles.contains(&Role::Partner)
}

/// For advertising and analytics, the fields that tell nobody's name and those that the person let it have expressly.
fn unidentified(view: &View<'_>, partner: &Partner) -> FieldSet {
    if partner.kind != PartnerKind::AdAnalytics {
        return view.fields;
    }
    view.fields_where(|field| field.identifiability != Identifiability::Direct || is_authorised(view, partner, field))
}

/// A consent of the kind `explicit:partner:{id}:{field}` to the purpose.
fn is_authorised(view: &View<'_>, partner: &Partner, field: &Field) -> bool {
    let is_it = |kind: &str, _: &str| {
        let named = kind.strip_prefix("explicit:partner:").and_then(|rest| rest.split_once(':'));
        named == Some((&partner.id, &field.name))
    };
    consent_of(view, is_it).is_some()
}

/// A consent of the kind `separate:partner:{id}:{purpose}`: the partner then pursues the purpose as its own (p36).
pub(super) fn own_consent<'v>(view: &View<'v>, partner: &Partner) -> Option<&'v Consent> {
    let is_it = |kind: &str, purpose: &str| {
        let named = kind.strip_prefix("separate:partner:").map(|rest| rest.split_once(':').unwrap_or((rest, purpose)));
        named == Some((&partner.id, purpose))
    };
    consent_of(view, is_it)
}

/// The newest event of a kind about the purpose, if by it the consent is given.
fn consent_of<'v>(view: &View<'v>, is_it: impl Fn(&str, &str) -> bool) -> Option<&'v Consent> {
    let (purpose, person) = (view.purpose?, view.person()?);
    let own = person.standing.consents.iter().filter(|consent| consent.purpose == purpose.id);
    let newest = own.filter(|consent| is_it(&consent.kind, &purpose.id)).max_by_key(|consent| consent.at)?;
    (newest.state(view.ask.now) == ConsentState::Given).then_some(newest)
}
