//! G4: the purpose is in the token's grant, by its own id; the grant of a parent is not the grant of its children.

use super::guard::{Rule, Verdict, View};
use super::{g11_recipient, shape};
use crate::model::code::Code;

/// What its agreement does not name, no token of a partner is granted. A partner does that as a controller of its own, with the
/// separate consent of the person and no other (p36).
pub(super) fn check<'v>(view: &View<'v>) -> Verdict<'v> {
    let Some(purpose) = view.purpose else { return Verdict::NOT_ASKED };
    if view.ask.caller.purposes.contains(&purpose.id) {
        return Verdict::HOLDS;
    }
    let partner = view.ask.caller.partner.as_deref().and_then(|id| view.facts.tenant.partner(id));
    let foreign = partner.filter(|partner| shape::releases(view.ask.operation) && !partner.purposes.contains(&purpose.id));
    match foreign.map(|partner| (partner, g11_recipient::own_consent(view, partner))) {
        None => Verdict::fails(Code::PurposeNotGranted),
        Some((partner, None)) => Verdict::fails(Code::OutsideEntrustment).by(Rule::Partner(partner)),
        Some((partner, Some(consent))) => Verdict::HOLDS.by(Rule::Partner(partner)).by(Rule::Consent(consent)),
    }
}
