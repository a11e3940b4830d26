//! G10: records leave their region only by a transfer rule in force (GDPR Ch. V, PIPL Ch. III; p60).

use super::guard::{Rule, Verdict, View};
use super::shape;
use crate::model::code::Code;
use crate::model::field::{FieldSet, Identifiability};
use crate::model::rules::{PartnerKind, TransferRule};

/// Lets nothing pass but what does not say who somebody is.
const ANONYMISE: &str = "anonymise";

/// An approval by the authorities of the region that the records lie in.
const APPROVAL: &str = "authority-approval";

/// The region whose records no foreign authority gets without such an approval (PIPL Art. 41, DSL Art. 36).
const APPROVING: &str = "CN";

/// One way that the records take.
enum Way<'v> {
    /// They stay where they are.
    Inside,
    /// A rule in force lets them pass.
    By(&'v TransferRule),
    /// None does.
    Closed,
}

pub(super) fn check<'v>(view: &View<'v>) -> Verdict<'v> {
    if !shape::takes_purpose(view.ask.operation) {
        return Verdict::NOT_ASKED;
    }
    if goes_to_foreign_authority(view) && !is_approved(view) {
        return Verdict::fails(Code::ForeignAuthorityApprovalRequired);
    }
    let mut verdict = Verdict::HOLDS;
    for way in ways(view) {
        match way {
            Way::Inside => {}
            Way::By(rule) => verdict = verdict.by(Rule::Transfer(rule)),
            Way::Closed => return Verdict::fails(Code::TransferNotPermitted),
        }
    }
    if view.is_enough(&covered(view)) {
        verdict
    } else {
        Verdict { says: Verdict::fails(Code::TransferNotPermitted).says, ..verdict }
    }
}

/// The fields of the call that may pass.
pub(super) fn covered(view: &View<'_>) -> FieldSet {
    let anonymised = ways(view).into_iter().any(|way| matches!(way, Way::By(rule) if rule.tool == ANONYMISE));
    if anonymised { view.fields_where(|field| field.identifiability != Identifiability::Direct) } else { view.fields }
}

/// To the caller, and to the recipient where there is one; for a write, from the caller.
fn ways<'v>(view: &View<'v>) -> [Way<'v>; 2] {
    let here = view.person().map_or_else(|| view.facts.tenant.storage(), |person| person.region);
    let caller = view.ask.caller.region.as_deref().unwrap_or_else(|| view.facts.tenant.storage());
    let first = if shape::writes(view.ask.operation) { way(view, caller, here) } else { way(view, here, caller) };
    // The approval of a disclosure to a foreign authority is what lets it pass.
    let approved = goes_to_foreign_authority(view);
    [first, view.recipient().filter(|_| !approved).map_or(Way::Inside, |partner| way(view, here, &partner.region))]
}

fn way<'v>(view: &View<'v>, from: &'v str, to: &'v str) -> Way<'v> {
    if from == to {
        return Way::Inside;
    }
    let in_force = |rule: &&TransferRule| rule.tool != APPROVAL && rule.valid_until.is_none_or(|last| view.today <= last);
    // Of several, one that lets everything pass.
    let rules = view.facts.tenant.transfers(from, to).filter(in_force);
    rules.max_by_key(|rule| rule.tool != ANONYMISE).map_or(Way::Closed, Way::By)
}

fn goes_to_foreign_authority(view: &View<'_>) -> bool {
    let is_here = view.person().is_some_and(|person| person.region == APPROVING);
    is_here && view.recipient().is_some_and(|partner| partner.kind == PartnerKind::Authority && partner.region != APPROVING)
}

/// By the case, or by a rule in force.
fn is_approved(view: &View<'_>) -> bool {
    let by_rule = |rule: &TransferRule| rule.tool == APPROVAL && rule.valid_until.is_none_or(|last| view.today <= last);
    let to = view.recipient().map_or("", |partner| &partner.region);
    view.facts.case.is_some_and(|case| case.approved_abroad) || view.facts.tenant.transfers(APPROVING, to).any(by_rule)
}
