//! getConsentReceipt, and what a receipt says: everything that the person was told and said, as ISO/IEC TS 27560 lists it.

use serde_json::value::RawValue;

use crate::audit::receipt::{EventTerm, Named, NoticeShown, PROFILE, PurposeTerm, Receipt, Storage};
use crate::audit::view::hex;
use crate::audit::{Note, Outcome};
use crate::model::caller::Operation;
use crate::model::code::Code;
use crate::model::ids::{CallerId, ConsentId, DecisionId, SubjectId, VaultId};
use crate::model::purpose::Purpose;
use crate::model::rules::Basis;
use crate::model::standing::ConsentState;
use crate::model::wire::ReceiptView;
use crate::store::layout::RowKey;
use crate::tenant::Tenant;

use super::call::{Answer, Call, Refused};
use super::core::{Core, Person};
use super::erasure::certify::proof_of;
use super::lifecycle::Vault;
use super::rows::{ConsentRow, time, unpack};

impl Vault {
    /// getConsentReceipt: the receipt of one event with its tlog proof, as they can be checked by anybody.
    pub async fn consent_receipt(&self, call: &Call, id: SubjectId, consent: ConsentId) -> Result<Answer, Refused> {
        let operation = Operation::GetConsentReceipt;
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = core.tenant(&call.caller)?;
        let Some(person) = core.person(&tenant, id)? else { return Err(core.missing(call, operation, &tenant, id)) };
        let about = person.facts(&tenant, core.clock.now());
        let facts = core.facts_about(&tenant, call, &person, &about);
        let allowed = core.decide(call, operation, &facts, Some(person.tag))?;
        let key = RowKey::Consent(id, consent).bytes();
        let Some(sealed) = core.store.row(&key)? else {
            return Err(core.refuse(call, operation, Code::NotFound, Some(person.tag)));
        };
        let row: ConsentRow = unpack(person.keys.open_row(&key, &sealed)?.bytes())?;
        let mut entry = core.entry(call, operation, Outcome::Allowed)?;
        entry.tag = Some(person.tag);
        let admitted = core.admit(&allowed, entry).await?;
        let decision = DecisionId::from_bytes(row.decision);
        let proof = proof_of(core, row.near, decision, |note| matches!(note, Note::Consent { .. }))?;
        let receipt = RawValue::from_string(row.receipt).map_err(|_| Code::Internal)?;
        let body =
            serde_json::to_vec(&ReceiptView { receipt, proof, keys: core.successions.shown() }).map_err(|_| Code::Internal)?;
        Ok(Answer { decision: Some(admitted.decision), body: Some(body), ..Answer::default() })
    }
}

/// The receipt of an event, in RFC 8785 form.
pub(crate) fn receipt(
    core: &Core,
    tenant: &Tenant,
    person: &Person,
    purpose: &Purpose,
    row: &ConsentRow,
) -> Result<String, Refused> {
    let event = &row.event;
    let notice = NoticeShown {
        term: "dpv:ConsentNotice".into(),
        version: row.notice.as_ref().map_or_else(|| event.policy_version.clone(), |notice| notice.policy_version.clone()),
        language: row.notice.as_ref().map_or_else(|| "und".into(), |notice| notice.language.clone()),
        shown_at: row.notice.as_ref().map(|notice| time(notice.shown_at)),
        channel: row.notice.as_ref().map(|notice| notice.channel.clone()),
    };
    let basis = tenant.basis(purpose, &person.row.jurisdiction, &person.row.class).filter(|rule| rule.basis == Basis::Consent);
    let receipt = Receipt {
        context: Receipt::prefixes(),
        term: "dpv:ConsentReceipt".into(),
        profile: PROFILE.into(),
        id: ConsentId::from_bytes(event.id),
        vault: VaultId::from_bytes(core.vault),
        subject: named("dpv:DataSubject", &hex(&person.tag)),
        notice,
        purpose: PurposeTerm { terms: purpose.dpv.clone(), id: purpose.id.clone(), title: purpose.title.clone() },
        basis: basis.map_or_else(|| "dpv:Consent".into(), |rule| rule.term.clone()),
        categories: event.categories.clone(),
        controller: controller(tenant),
        storage: storage(tenant, person, purpose, row),
        jurisdiction: person.row.jurisdiction.clone(),
        recipients: recipients(tenant, purpose, &event.kind),
        withdrawal: Named {
            name: Some("As it was given: recordConsent with the state withdrawn".into()),
            contact: Some(tenant.controller().officer.clone()),
            ..named("dpv:WithdrawConsent", "POST /v1/subjects/me/consents")
        },
        authority: tenant.authority(&person.row.jurisdiction).map(|authority| Named {
            name: Some(authority.title.clone()),
            contact: Some(authority.url.clone()),
            ..named("dpv:DataProtectionAuthority", &authority.id)
        }),
        event: EventTerm {
            term: "prov:Activity".into(),
            at: time(event.at),
            valid: event.until.map_or_else(|| "until-withdrawn".into(), |until| time(until).to_string()),
            by: row.by.map_or_else(|| "vault".into(), |by| CallerId::from_bytes(by).to_string()),
            kind_term: if event.kind.starts_with("explicit") { "dpv:ExplicitlyExpressedConsent" } else { "dpv:ExpressedConsent" }
                .into(),
            kind: event.kind.clone(),
            state: status(event.state).into(),
        },
    };
    receipt.canonical().map_err(|_| Code::Internal.into())
}

fn named(term: &str, id: &str) -> Named {
    Named { term: term.to_owned(), id: id.to_owned(), name: None, address: None, contact: None }
}

fn controller(tenant: &Tenant) -> Named {
    let own = tenant.controller();
    Named {
        name: Some(own.title.clone()),
        address: Some(own.address.clone()),
        contact: Some(own.officer.clone()),
        ..named("dpv:DataController", &own.id)
    }
}

/// Where the person's records lie, and how long those of the purpose's group are kept.
fn storage(tenant: &Tenant, person: &Person, purpose: &Purpose, row: &ConsentRow) -> Storage {
    let rule = purpose.group.and_then(|group| tenant.retention_rule(group, &person.row.jurisdiction, None));
    let period = rule.and_then(|rule| rule.period.as_ref());
    Storage {
        term: "dpv:StorageCondition".into(),
        location: person.row.region.clone().unwrap_or_else(|| tenant.storage().to_owned()),
        duration: period.map_or_else(|| "dpv:UntilEventDuration".into(), ToString::to_string),
        until: row.extend_until.map(time),
    }
}

/// The partner that the consent is about, else those whose agreement has the purpose.
fn recipients(tenant: &Tenant, purpose: &Purpose, kind: &str) -> Vec<Named> {
    let one = kind.split(':').nth(2);
    let meant = tenant.partners().iter().filter(|partner| match one {
        Some(id) => partner.id == id,
        None => partner.purposes.contains(&purpose.id),
    });
    meant.map(|partner| Named { name: Some(partner.title.clone()), ..named("dpv:Recipient", &partner.id) }).collect()
}

fn status(state: ConsentState) -> &'static str {
    match state {
        ConsentState::Given => "dpv:ConsentGiven",
        ConsentState::Refused => "dpv:ConsentRefused",
        ConsentState::Withdrawn => "dpv:ConsentWithdrawn",
        ConsentState::Expired => "dpv:ConsentExpired",
        ConsentState::Requested => "dpv:ConsentRequested",
    }
}
