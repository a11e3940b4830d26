//! Notices to an authority, in phases (GDPR Art. 33(3) and (4)): each is a text that the vault signs, in the answer and in the outbox.

use minicbor::{Decode, Encode};

use crate::audit::Outcome;
use crate::audit::note::{self, VerifyingKey};
use crate::model::caller::Operation;
use crate::model::code::Code;
use crate::model::ids::IncidentId;
use crate::model::wire::{AffectedView, Phase, ReportIncident, ReportedView};
use crate::tenant::Tenant;

use super::super::call::{Answer, Call, Refused};
use super::super::committer::Change;
use super::super::core::Core;
use super::super::idempotency::{self, Begun, Owner};
use super::super::lifecycle::{Vault, origin};
use super::super::outbox::{self, Delivery, To};
use super::super::papers::{self, Paper};
use super::super::rows::{pack, time, unpack};
use super::clocks::Told;
use super::{IncidentRow, clocks, is_plain, look, own, put};

/// The line that a report begins with.
const TITLE: &str = "oubliette-incident-report/v1";

/// What a notice is called in the incident's file.
const KIND: &str = "report";

/// Notices that one incident has.
const MOST: usize = 1_000;

/// A notice to an authority.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct ReportRow {
    #[n(0)]
    pub authority: String,
    /// A place in `Phase::ALL`.
    #[n(1)]
    pub phase: u8,
    #[n(2)]
    pub at: i64,
    #[cbor(n(3), with = "minicbor::bytes")]
    pub by: [u8; 16],
    /// Of the signed text.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub sha256: [u8; 32],
    /// The message in the outbox.
    #[cbor(n(5), with = "minicbor::bytes")]
    pub delivery: [u8; 16],
}

impl Vault {
    /// putIncident, a notice to an authority: what Art. 33(3) wants it to say, signed, into the outbox and the answer. The first
    /// one stops the authority's clock; when that was over already, it says why.
    pub async fn report_incident(&self, call: &Call, id: IncidentId, body: ReportIncident) -> Result<Answer, Refused> {
        let operation = Operation::PutIncident;
        let opened = self.opened()?;
        let core = &opened.core;
        let held = match idempotency::begin(core, &self.0.in_flight, call, operation)? {
            Begun::Again(answer) => return Ok(answer),
            Begun::First(held) => Some(held),
            Begun::Plain => None,
        };
        let tenant = core.tenant(&call.caller)?;
        core.decide(call, operation, &core.facts(&tenant), None)?;
        let refuse = |code| core.refuse(call, operation, code, None);
        let invalid = |pointer: &str| Refused { pointer: Some(pointer.to_owned()), ..refuse(Code::InvalidBody) };
        let Some((stored, mut row)) = own(core, &tenant, id)? else { return Err(refuse(Code::NotFound)) };
        if !tenant.authorities().iter().any(|authority| authority.id == body.authority) {
            return Err(invalid("/authority"));
        }
        if body.reason.as_ref().is_some_and(|reason| !is_plain(reason)) {
            return Err(invalid("/reason"));
        }
        let before = list(core, id)?;
        if row.state()? == "closed" || before.len() >= MOST || !follows(&before, &body) {
            return Err(refuse(Code::StateConflict));
        }
        let affected = match &row.scope {
            Some(scope) => Some(look(&opened, &tenant, id, scope).await?),
            None => None,
        };
        clocks::find(&mut row, affected.as_deref(), true);
        let now = core.clock.now();
        let clocks = clocks::views(&tenant, &row, now);
        let late = clocks.iter().any(|clock| clock.authority == body.authority && clock.overdue);
        if late && body.reason.is_none() {
            return Err(invalid("/reason"));
        }
        let everything = row.scope.as_ref().is_some_and(|scope| scope.epoch.is_some());
        let affected = affected.map(|affected| affected.view(&tenant, everything)).unwrap_or_default();
        let text = text(core, &tenant, id, &row, &body, &affected)?;
        let delivery = Delivery {
            about: Some(*id.bytes()),
            body: Some(text.clone()),
            ..Delivery::new(core, &tenant, To::Authority(body.authority.clone()), "incident-report")
        };
        let delivery = delivery.with("incident", id).with("phase", phase_name(body.phase));
        let entry = core.entry(call, operation, Outcome::Allowed)?;
        let decision = entry.decision;
        let mut change = Change::noting(entry);
        let delivery = outbox::put(core, &delivery, &mut change)?;
        let report = ReportRow {
            authority: body.authority.clone(),
            phase: Phase::ALL.iter().position(|phase| *phase == body.phase).unwrap_or(0) as u8,
            at: now.as_microsecond(),
            by: *call.caller.id.bytes(),
            sha256: keys::digest::sha256(&[text.as_bytes()]),
            delivery: *delivery.bytes(),
        };
        let view = ReportedView {
            incident: id,
            authority: report.authority.clone(),
            phase: body.phase,
            at: now,
            sha256: crate::audit::view::hex(&report.sha256),
            delivery,
            text,
        };
        let file = match papers::open(core, id.bytes())? {
            Some(file) => file,
            None => papers::begin(core, id.bytes(), &mut change)?,
        };
        let paper = Paper { kind: KIND.to_owned(), at: now.as_microsecond(), piece: 0, text: pack(&report)? };
        file.put(&paper, &mut change)?;
        if body.phase == Phase::Initial {
            row.alarms.retain(|alarm| alarm.authority != report.authority);
            row.told.push(Told { authority: report.authority, at: report.at });
        }
        row.version += 1;
        let answer = Answer {
            decision: Some(decision),
            made: true,
            etag: Some(row.etag()),
            body: Some(serde_json::to_vec(&view).map_err(|_| Code::Internal)?),
            ..Answer::default()
        };
        change.rows.push(put(core, id, Some(stored), &row)?);
        if let Some(held) = &held {
            change.rows.push(held.keep(core, &Owner::Vault, &answer)?);
        }
        match opened.committer.commit(change).await {
            Err(refused) if refused.code == Code::Stale => Err(refuse(Code::StateConflict)),
            Err(refused) => Err(refused),
            Ok(()) => Ok(answer),
        }
    }
}

/// The notices of an incident, the oldest first.
pub(super) fn list(core: &Core, id: IncidentId) -> Result<Vec<ReportRow>, Refused> {
    let papers = papers::all(core, id.bytes())?;
    let reports = papers.iter().filter(|(_, paper)| paper.kind == KIND).map(|(_, paper)| unpack(&paper.text));
    let mut reports: Vec<ReportRow> = reports.collect::<Result<_, _>>()?;
    reports.sort_by_key(|report| (report.at, report.phase));
    Ok(reports)
}

/// Whether a notice may follow those that the authority has: one initial one first, nothing behind a final one.
fn follows(before: &[ReportRow], body: &ReportIncident) -> bool {
    let phases = || before.iter().filter(|report| report.authority == body.authority).map(|report| report.phase);
    let begun = phases().next().is_some();
    let ended = phases().any(|phase| phase == Phase::Final as u8);
    !ended && begun != (body.phase == Phase::Initial)
}

const fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Initial => "initial",
        Phase::FollowUp => "follow-up",
        Phase::Final => "final",
    }
}

/// What the authority is told, signed by the vault (C2SP signed-note): a line that says what it is, and one line of JSON in
/// RFC 8785 form. It holds numbers and categories, and nobody.
fn text(
    core: &Core,
    tenant: &Tenant,
    id: IncidentId,
    row: &IncidentRow,
    body: &ReportIncident,
    affected: &AffectedView,
) -> Result<String, Refused> {
    let controller = tenant.controller();
    let report = serde_json::json!({
        "incident": id,
        "authority": body.authority,
        "phase": body.phase,
        "at": core.clock.now(),
        "detected_at": time(row.detected_at),
        "reason_for_delay": body.reason,
        "kind": row.kind,
        "severity": row.severity(),
        "critical_infrastructure": row.critical,
        "nature": row.nature,
        "people": {"about": affected.people + affected.erased, "jurisdictions": people_of(tenant, row, &body.authority)},
        "records": affected.operations,
        "categories": affected.categories,
        "purposes": affected.purposes,
        "consequences": row.consequences,
        "measures": row.measures,
        "controller": {"id": controller.id, "title": controller.title, "address": controller.address},
        "contact": controller.officer,
    });
    let report = serde_json_canonicalizer::to_string(&report).map_err(|_| Code::Internal)?;
    let text = format!("{TITLE}\n{report}\n");
    let (public, signature) = core.hierarchy.sign_as(text.as_bytes());
    Ok(note::signed(&text, &VerifyingKey { name: origin(core.vault), public }, &signature))
}

/// The people of the authority's own jurisdictions.
fn people_of(tenant: &Tenant, row: &IncidentRow, authority: &str) -> serde_json::Map<String, serde_json::Value> {
    let of_authority = |jurisdiction: &str| {
        let one = std::collections::BTreeMap::from([(jurisdiction.to_owned(), u64::MAX)]);
        tenant.running_clocks(&one, time(row.detected_at), row.critical).iter().any(|clock| clock.authority == authority)
    };
    let found = row.found.iter().filter(|found| of_authority(&found.jurisdiction));
    found.map(|found| (found.jurisdiction.clone(), found.people.into())).collect()
}
