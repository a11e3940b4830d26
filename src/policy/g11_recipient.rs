//! G11: what a partner gets is what its agreement says, for as long as it says so (p33 to p37).

use super::guard::{Rule, Verdict, View};
use super::shape;
use crate::model::caller::Role;
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
    let own = (!partner.purposes.contains(&purpose.id)).then(|| own_consent(view, partner));
    let verdict = match own {
        _ if !partner.is_live(view.today) => Verdict::fails(Code::OutsideEntrustment),
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
        Some(partner) => unidentified(view, partner).and(&partner.fields),
        None => view.fields,
    }
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
    let is_it = |kind: &str| {
        let named = kind.strip_prefix("explicit:partner:").and_then(|rest| rest.split_once(':'));
        named == Some((&partner.id, &field.name))
    };
    consent_of(view, is_it).is_some()
}

/// A consent of the kind `separate:partner:{id}` to the purpose, which the partner then pursues as its own (p36).
fn own_consent<'v>(view: &View<'v>, partner: &Partner) -> Option<&'v Consent> {
    consent_of(view, |kind| kind.strip_prefix("separate:partner:") == Some(&partner.id))
}

fn consent_of<'v>(view: &View<'v>, is_it: impl Fn(&str) -> bool) -> Option<&'v Consent> {
    let (purpose, person) = (view.purpose?, view.person()?);
    let mut given = person.standing.consents.iter().filter(|consent| consent.state(view.ask.now) == ConsentState::Given);
    given.find(|consent| consent.purpose == purpose.id && is_it(&consent.kind))
}
