//! publishPolicy and getPolicyVersion: from drafts to what is in force, by two people; and what is or was in force, for everybody.

use std::sync::Arc;

use jiff::Timestamp;
use keys::SystemKey;
use minicbor::{Decode, Encode};
use serde::Serialize;

use crate::audit::{Entry, Outcome};
use crate::model::caller::{CallerKind, Operation, Role};
use crate::model::code::Code;
use crate::model::ids::{CallerId, ProposalId, TenantId};
use crate::model::states::POLICY;
use crate::model::wire::{PolicyAsked, PublishPolicy};
use crate::policy::roles::{self, Cell};
use crate::store::layout::{PolicyPart, RowKey, prefix};
use crate::tenant::document::Document;
use crate::tenant::publish::{Published, Right};
use crate::tenant::{Diff, Tenant, TenantError, follows};

use super::call::{Answer, Call, Refused};
use super::committer::{Change, Draft as Batch, Expect, RowChange};
use super::config::{Draft, drafts};
use super::core::{Core, fresh};
use super::idempotency::{self, Begun, Owner};
use super::lifecycle::Vault;
use super::publications;
use super::rows::{pack, time, unpack};
use super::views::{ProposalView, PublishedView, RejectedView};

/// The state of [`POLICY`] that a proposal which waits is in.
const PROPOSED: &str = "proposed";

/// Plain bytes in one piece of a long row.
const PIECE: usize = 5_800;

/// A published version: what is known about it. Its text follows in the pieces behind.
#[derive(Encode, Decode, Clone)]
#[cbor(map)]
struct VersionRow {
    /// Versions published before.
    #[n(0)]
    number: u64,
    #[n(1)]
    version: String,
    /// None for the one that the program came with.
    #[n(2)]
    published_at: Option<i64>,
    #[cbor(n(3), with = "minicbor::bytes")]
    proposer: Option<[u8; 16]>,
    #[cbor(n(4), with = "minicbor::bytes")]
    approver: Option<[u8; 16]>,
    #[n(5)]
    replaces: Option<String>,
    #[cbor(n(6), with = "minicbor::bytes")]
    sha256: [u8; 32],
}

/// A proposal that waits for its second person.
#[derive(Encode, Decode)]
#[cbor(map)]
struct ProposalRow {
    #[cbor(n(0), with = "minicbor::bytes")]
    id: [u8; 16],
    /// What it will be called.
    #[n(1)]
    version: String,
    /// What it would replace: once something else is in force, it is void.
    #[n(2)]
    base: String,
    #[cbor(n(3), with = "minicbor::bytes")]
    by: [u8; 16],
    #[n(4)]
    at: i64,
    /// The canonical text.
    #[n(5)]
    document: String,
    /// What it changes, as JSON.
    #[n(6)]
    diff: String,
    /// The drafts that it was made from.
    #[n(7)]
    drafts: Vec<DraftRef>,
}

/// A draft as it was when the proposal was made.
#[derive(Encode, Decode)]
#[cbor(map)]
struct DraftRef {
    #[cbor(n(0), with = "minicbor::bytes")]
    key: Vec<u8>,
    #[cbor(n(1), with = "minicbor::bytes")]
    sha256: [u8; 32],
}

impl Vault {
    /// publishPolicy: a policy author proposes what is drafted; a privacy officer, another person, approves it, and with
    /// that it is in force; either may drop it.
    pub async fn publish_policy(&self, call: &Call, body: PublishPolicy) -> Result<Answer, Refused> {
        let operation = Operation::PublishPolicy;
        let opened = self.opened()?;
        let core = &opened.core;
        let held = match idempotency::begin(core, &self.0.in_flight, call, operation)? {
            Begun::Again(answer) => return Ok(answer),
            Begun::First(held) => Some(held),
            Begun::Plain => None,
        };
        let tenant = core.tenant(&call.caller)?;
        core.decide(call, operation, &core.facts(&tenant), None)?;
        let (mut change, answer, next) = match body {
            PublishPolicy::Propose {} => propose(core, call, &tenant)?,
            PublishPolicy::Approve { proposal } => approve(core, call, &tenant, proposal)?,
            PublishPolicy::Reject { proposal } => reject(core, call, &tenant, proposal)?,
        };
        if let Some(held) = held {
            change.rows.push(held.keep(core, &Owner::Vault, &answer)?);
        }
        opened.committer.commit(change).await.map_err(|refused| match refused.code {
            // Somebody else proposed, approved or drafted in the same moment.
            Code::Stale => core.refuse(call, operation, Code::StateConflict, None),
            _ => refused,
        })?;
        if let Some(next) = next {
            core.tenants.put(next);
        }
        Ok(answer)
    }

    /// getPolicyVersion for a caller: a version by name, `current`, or the open proposal by its id, for those who may
    /// propose, approve or audit.
    pub async fn policy_version(&self, call: &Call, asked: PolicyAsked) -> Result<Answer, Refused> {
        let operation = Operation::GetPolicyVersion;
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = core.tenant(&call.caller)?;
        let allowed = core.decide(call, operation, &core.facts(&tenant), None)?;
        let answer = match asked.version.parse::<ProposalId>() {
            Ok(id) => shown_proposal(core, call, tenant.id(), id),
            Err(_) => shown_version(core, &tenant, &asked),
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(refused) if refused.code == Code::NotFound => return Err(core.refuse(call, operation, refused.code, None)),
            Err(refused) => return Err(refused),
        };
        let entry = core.entry(call, operation, Outcome::Allowed)?;
        let admitted = core.admit(&allowed, entry).await?;
        Ok(Answer { decision: Some(admitted.decision), ..answer })
    }

    /// getPolicyVersion without credentials. Where there are several controllers, the query names one of them.
    pub fn public_policy(&self, asked: &PolicyAsked) -> Result<Answer, Refused> {
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = match (asked.controller, core.tenants.all().as_slice()) {
            (Some(id), _) => core.tenants.get(&id).ok_or(Code::NotFound)?,
            (None, [only]) => only.clone(),
            (None, _) => return Err(Code::MalformedRequest.into()),
        };
        shown_version(core, &tenant, asked)
    }
}

/// The policies that were published last, to be put in force when the vault is opened. One that cannot be read keeps the
/// vault shut: the one that the program came with may allow what the published one does not.
pub(crate) fn in_force(core: &Core) -> Result<Vec<Tenant>, String> {
    let mut tenants = Vec::new();
    for tenant in core.tenants.all() {
        let damaged = |refused: Refused| format!("the published policy cannot be read: {}", refused.code.text());
        let Some(number) = numbers(core, tenant.id()).map_err(damaged)?.pop() else { continue };
        let (_, document) = load(core, tenant.id(), number).map_err(damaged)?;
        tenants.push(Tenant::of(tenant.id(), document).map_err(|error| error.to_string())?);
    }
    Ok(tenants)
}

type Prepared = (Change, Answer, Option<Tenant>);

fn propose(core: &Core, call: &Call, tenant: &Tenant) -> Result<Prepared, Refused> {
    let operation = Operation::PublishPolicy;
    let refuse = |code: Code| core.refuse(call, operation, code, None);
    if !call.caller.roles.contains(&Role::PolicyAuthor) {
        return Err(refuse(Code::RoleForbidden));
    }
    let drafts = drafts(core, tenant.id())?;
    let mut document = tenant.document().clone();
    for draft in &drafts {
        if document.put(draft.kind()?, &draft.row.id, draft.entry()?.as_ref()).is_err() {
            // It fitted when it was drafted, and what is published has changed since.
            return Err(Refused { pointer: Some(pointer(&draft.row.kind, &draft.row.id)), ..refuse(Code::PolicyConflict) });
        }
    }
    let version = next_name(core, tenant)?;
    let conflict = |error: TenantError| {
        let pointer = error.entry().map(|(kind, id)| pointer(kind.text(), id));
        Refused { pointer, reason: Some(format!("{}: {}", error.place, error.problem).into()), ..refuse(error.code) }
    };
    let next = Tenant::of(tenant.id(), document.named(&version)).map_err(conflict)?;
    follows(tenant, &next).map_err(conflict)?;
    let diff = Diff::between(tenant, &next);
    if diff.changes.is_empty() {
        return Err(Refused { reason: Some("nothing is drafted that is not in force".into()), ..refuse(Code::StateConflict) });
    }
    let id = ProposalId::from_bytes(fresh()?);
    let now = core.clock.now();
    let row = ProposalRow {
        id: *id.bytes(),
        version,
        base: tenant.version().to_owned(),
        by: *call.caller.id.bytes(),
        at: now.as_microsecond(),
        document: next.document().text(),
        diff: serde_json::to_string(&diff).map_err(|_| Code::Internal)?,
        drafts: drafts.iter().map(DraftRef::of).collect(),
    };
    let entry = core.entry(call, operation, Outcome::Allowed)?;
    let answer = Answer {
        decision: Some(entry.decision),
        made: true,
        body: Some(json_bytes(&proposal_view(&row, diff))?),
        location: Some(format!("/v1/policy-versions/{id}")),
        ..Answer::default()
    };
    let mut change = Change::noting(entry);
    change.rows = replaced(core, tenant.id(), PolicyPart::Proposal, [0; 16], Some(&pack(&row)?))?;
    Ok((change, answer, None))
}

fn approve(core: &Core, call: &Call, tenant: &Tenant, id: ProposalId) -> Result<Prepared, Refused> {
    let operation = Operation::PublishPolicy;
    let refuse = |code: Code| core.refuse(call, operation, code, None);
    if !call.caller.roles.contains(&Role::PrivacyOfficer) {
        return Err(refuse(Code::RoleForbidden));
    }
    let Some(row) = open_proposal(core, tenant.id(), id)? else { return Err(refuse(Code::NotFound)) };
    let state = POLICY.next(PROPOSED, "approve").ok_or(Code::Internal)?;
    // Another person than the proposer, and a person: two tokens are quickly had by one program.
    if row.by == *call.caller.id.bytes() || call.caller.kind != CallerKind::Person {
        return Err(refuse(Code::SecondPersonRequired));
    }
    if row.base != tenant.version() {
        return Err(refuse(Code::StateConflict));
    }
    // It is read and judged anew: what goes into force is exactly what was proposed, and nothing that could not be.
    let document = Document::of_text(&row.document).ok_or_else(|| refuse(Code::PolicyConflict))?;
    let next = Tenant::of(tenant.id(), document).map_err(|error| refuse(error.code))?;
    follows(tenant, &next).map_err(|error| refuse(error.code))?;
    let diff: Diff = serde_json::from_str(&row.diff).map_err(|_| Code::Internal)?;
    let now = core.clock.now();
    let known = numbers(core, tenant.id())?;
    let entry = core.entry(call, operation, Outcome::Allowed)?;
    let sha256 = digest(&row.document);
    let answer = Answer {
        decision: Some(entry.decision),
        made: true,
        body: Some(json_bytes(&PublishedView {
            version: row.version.clone(),
            state,
            proposal: id,
            replaces: row.base.clone(),
            published_at: now,
            sha256: hex(&sha256),
            diff: diff.clone(),
        })?),
        location: Some(format!("/v1/policy-versions/{}", row.version)),
        ..Answer::default()
    };
    let mut change = Change::noting(entry);
    let mut number = known.last().map_or(0, |last| last + 1);
    if known.is_empty() {
        // What was in force until now came with the program: it is kept, since a later program may come with another.
        let text = tenant.document().text();
        let shipped = VersionRow {
            number,
            version: tenant.version().to_owned(),
            published_at: None,
            proposer: None,
            approver: None,
            replaces: None,
            sha256: digest(&text),
        };
        change.rows.extend(version_rows(core, tenant.id(), &shipped, &text)?);
        number += 1;
    }
    let version = VersionRow {
        number,
        version: row.version.clone(),
        published_at: Some(now.as_microsecond()),
        proposer: Some(row.by),
        approver: Some(*call.caller.id.bytes()),
        replaces: Some(row.base.clone()),
        sha256,
    };
    change.rows.extend(version_rows(core, tenant.id(), &version, &row.document)?);
    if diff.material {
        change.rows.push(publications::begin(core, tenant.id(), version_name(number), &version.version, now, &diff)?);
    }
    change.rows.extend(replaced(core, tenant.id(), PolicyPart::Proposal, [0; 16], None)?);
    // A draft that was changed since stays for the next proposal.
    for draft in &row.drafts {
        if let Some(stored) =
            core.store.row(&draft.key)?.filter(|stored| keys::digest::same(&keys::digest::sha256(&[stored]), &draft.sha256))
        {
            change.rows.push(RowChange { key: draft.key.clone(), expect: Expect::Is(stored), value: None });
        }
    }
    Ok((change, answer, Some(next)))
}

fn reject(core: &Core, call: &Call, tenant: &Tenant, id: ProposalId) -> Result<Prepared, Refused> {
    let operation = Operation::PublishPolicy;
    let Some(row) = open_proposal(core, tenant.id(), id)? else {
        return Err(core.refuse(call, operation, Code::NotFound, None));
    };
    let entry = core.entry(call, operation, Outcome::Allowed)?;
    let state = POLICY.next(PROPOSED, "reject").ok_or(Code::Internal)?;
    let body = json_bytes(&RejectedView { proposal: id, version: row.version, state })?;
    let answer = Answer { decision: Some(entry.decision), body: Some(body), ..Answer::default() };
    let mut change = Change::noting(entry);
    change.rows = replaced(core, tenant.id(), PolicyPart::Proposal, [0; 16], None)?;
    Ok((change, answer, None))
}

fn shown_proposal(core: &Core, call: &Call, tenant: TenantId, id: ProposalId) -> Result<Answer, Refused> {
    let may_see = [Role::PolicyAuthor, Role::PrivacyOfficer, Role::Auditor];
    let row = if may_see.iter().any(|role| call.caller.roles.contains(role)) { open_proposal(core, tenant, id)? } else { None };
    let Some(row) = row else { return Err(Code::NotFound.into()) };
    let diff: Diff = serde_json::from_str(&row.diff).map_err(|_| Code::Internal)?;
    Ok(Answer { body: Some(json_bytes(&proposal_view(&row, diff))?), ..Answer::default() })
}

fn shown_version(core: &Core, tenant: &Arc<Tenant>, asked: &PolicyAsked) -> Result<Answer, Refused> {
    let name = if asked.version == "current" { tenant.version() } else { &asked.version };
    let (row, shown) = named(core, tenant, name)?;
    let diff = match &asked.diff {
        Some(before) => {
            let (_, older) = named(core, tenant, before)?;
            Some((older.version().to_owned(), Diff::between(&older, &shown)))
        }
        None => None,
    };
    let published = Published {
        tenant: &shown,
        published_at: row.as_ref().and_then(|row| row.published_at).map(time),
        replaces: row.and_then(|row| row.replaces),
        sha256: hex(&digest(&shown.document().text())),
        rights: rights(),
        diff,
    };
    let body = if asked.linked { json_bytes(&published.linked())? } else { published.html().into_bytes() };
    Ok(Answer { etag: Some(format!("\"{}\"", shown.version())), body: Some(body), ..Answer::default() })
}

/// The version of that name with what is known about it.
fn named(core: &Core, tenant: &Arc<Tenant>, name: &str) -> Result<(Option<VersionRow>, Arc<Tenant>), Refused> {
    for number in numbers(core, tenant.id())?.into_iter().rev() {
        let row = header(core, tenant.id(), number)?;
        if row.version == name && row.version == tenant.version() {
            return Ok((Some(row), tenant.clone()));
        }
        if row.version == name {
            let (row, document) = load(core, tenant.id(), number)?;
            return Ok((Some(row), Arc::new(Tenant::of(tenant.id(), document).map_err(|_| Code::Internal)?)));
        }
    }
    // Nothing was published yet: what is in force came with the program.
    if tenant.version() == name { Ok((None, tenant.clone())) } else { Err(Code::NotFound.into()) }
}

/// Whether a version of that name is or was in force.
pub(crate) fn was_published(core: &Core, tenant: &Tenant, name: &str) -> Result<bool, Refused> {
    if tenant.version() == name {
        return Ok(true);
    }
    for number in numbers(core, tenant.id())? {
        if header(core, tenant.id(), number)?.version == name {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What a person may do, out of the same table that the first guard asks.
pub(crate) fn rights() -> Vec<Right> {
    let right = |operation: Operation, term, title| (operation, Right { operation: operation.text(), term, title });
    let all = [
        right(Operation::ReadRecords, "eu-gdpr:A15", "See what is kept about you, and have a copy"),
        right(Operation::RectifyRecord, "eu-gdpr:A16", "Have it corrected"),
        right(Operation::OpenErasure, "eu-gdpr:A17", "Have it deleted, and get a certificate of that"),
        right(Operation::RestrictSubject, "eu-gdpr:A18", "Have its use restricted, or object to it (eu-gdpr:A21)"),
        right(Operation::RecordConsent, "eu-gdpr:A7-3", "Give consent and take it back, each as easily as the other"),
        right(Operation::SetPreference, "eu-gdpr:A21-2", "Turn marketing, personalised advertising and cookies off"),
        right(Operation::ListDisclosures, "eu-gdpr:A15-1-c", "See to whom it was given"),
        right(Operation::ListAuditEvents, "eu-gdpr:A15", "See who used it, when and for what"),
        right(Operation::OpenRequest, "eu-gdpr:A12-3", "Ask for any of this, and be answered in time"),
    ];
    let grants = |operation: &Operation| roles::cell(*operation, Role::Subject) != Cell::Never;
    all.into_iter().filter(|(operation, _)| grants(operation)).map(|(_, right)| right).collect()
}

impl DraftRef {
    fn of(draft: &Draft) -> Self {
        Self { key: draft.key.clone(), sha256: keys::digest::sha256(&[&draft.stored]) }
    }
}

/// Drafts and proposals under the newest row key: a draft is named by a digest under it, and a proposal knows its drafts by name and bytes.
pub(crate) fn turn_over_drafts(core: &Core, batch: &mut Batch<'_>, entry: &mut Entry) -> Result<(), Refused> {
    for tenant in core.tenants.all() {
        let mut moved = Vec::new();
        for draft in drafts(core, tenant.id())? {
            let key = draft.named(core, tenant.id())?;
            if key == draft.key && core.hierarchy.age_of(SystemKey::Row, &draft.stored) == Some(0) {
                continue;
            }
            if key != draft.key && batch.row(&key)?.is_some() {
                // Somebody drafted the same anew since.
                batch.note(entry, draft.key, false, None)?;
                continue;
            }
            let value = core.hierarchy.seal_row(&key, &pack(&draft.row)?)?;
            let before = DraftRef::of(&draft);
            moved.push((before, DraftRef { key: key.clone(), sha256: keys::digest::sha256(&[&value]) }));
            batch.note(entry, draft.key, false, None)?;
            batch.note(entry, key, false, Some(value))?;
        }
        let Some(plain) = joined(core, tenant.id(), PolicyPart::Proposal, [0; 16], 0)? else { continue };
        let mut row: ProposalRow = unpack(&plain)?;
        for known in &mut row.drafts {
            if let Some((_, now)) = moved.iter().find(|(before, _)| before.key == known.key && before.sha256 == known.sha256) {
                *known = DraftRef { key: now.key.clone(), sha256: now.sha256 };
            }
        }
        let pieces = prefix::policy(&tenant.id(), PolicyPart::Proposal);
        let sealed = core.store.scan(&pieces, None, usize::from(u16::MAX))?;
        if moved.is_empty() && sealed.iter().all(|(_, sealed)| core.hierarchy.age_of(SystemKey::Row, sealed) == Some(0)) {
            continue;
        }
        for change in replaced(core, tenant.id(), PolicyPart::Proposal, [0; 16], Some(&pack(&row)?))? {
            batch.note(entry, change.key, false, change.value)?;
        }
    }
    Ok(())
}

fn proposal_view(row: &ProposalRow, diff: Diff) -> ProposalView {
    ProposalView {
        id: ProposalId::from_bytes(row.id),
        state: PROPOSED,
        version: row.version.clone(),
        base: row.base.clone(),
        proposed_by: CallerId::from_bytes(row.by),
        proposed_at: time(row.at),
        sha256: hex(&digest(&row.document)),
        diff,
    }
}

fn open_proposal(core: &Core, tenant: TenantId, id: ProposalId) -> Result<Option<ProposalRow>, Refused> {
    let plain = joined(core, tenant, PolicyPart::Proposal, [0; 16], 0)?;
    let row = plain.map(|plain| unpack::<ProposalRow>(&plain)).transpose()?;
    Ok(row.filter(|row| row.id == *id.bytes()))
}

/// `YYYY-MM-n`: the n-th version that was published in a month.
fn next_name(core: &Core, tenant: &Tenant) -> Result<String, Refused> {
    let now: Timestamp = core.clock.now();
    let month = now.strftime("%Y-%m-").to_string();
    let mut last = 0;
    let mut count = |version: &str| {
        let number = version.strip_prefix(&month).and_then(|number| number.parse::<u64>().ok());
        last = last.max(number.unwrap_or(0));
    };
    count(tenant.version());
    for number in numbers(core, tenant.id())? {
        count(&header(core, tenant.id(), number)?.version);
    }
    Ok(format!("{month}{}", last + 1))
}

/// The numbers of a controller's published versions, oldest first.
fn numbers(core: &Core, tenant: TenantId) -> Result<Vec<u64>, Refused> {
    let prefix = prefix::policy(&tenant, PolicyPart::Version);
    let (mut numbers, mut after): (Vec<u64>, Option<Vec<u8>>) = (Vec::new(), None);
    while let Some((key, _)) = core.store.scan(&prefix, after.as_deref(), 1)?.pop() {
        let Some(RowKey::Policy { name, .. }) = RowKey::parse(&key) else { return Err(Code::StoreUnavailable.into()) };
        let number: [u8; 8] = name[8..].try_into().map_err(|_| Code::Internal)?;
        numbers.push(u64::from_be_bytes(number));
        // On behind its last piece.
        after = Some(RowKey::Policy { tenant, part: PolicyPart::Version, name, chunk: u16::MAX }.bytes());
    }
    Ok(numbers)
}

fn version_name(number: u64) -> [u8; 16] {
    let mut name = [0; 16];
    name[8..].copy_from_slice(&number.to_be_bytes());
    name
}

/// What is known about a version, without its text.
fn header(core: &Core, tenant: TenantId, number: u64) -> Result<VersionRow, Refused> {
    let key = RowKey::Policy { tenant, part: PolicyPart::Version, name: version_name(number), chunk: 0 }.bytes();
    let stored = core.store.row(&key)?.ok_or(Code::StoreUnavailable)?;
    unpack(core.hierarchy.open_row(&key, &stored)?.bytes())
}

/// A version with its text, which is the one that was published or nothing.
fn load(core: &Core, tenant: TenantId, number: u64) -> Result<(VersionRow, Document), Refused> {
    let row = header(core, tenant, number)?;
    let text = joined(core, tenant, PolicyPart::Version, version_name(number), 1)?.ok_or(Code::StoreUnavailable)?;
    let text = String::from_utf8(text).map_err(|_| Code::StoreUnavailable)?;
    if !keys::digest::same(&digest(&text), &row.sha256) {
        return Err(Code::StoreUnavailable.into());
    }
    let document = Document::of_text(&text).ok_or(Code::StoreUnavailable)?;
    Ok((row, document))
}

fn version_rows(core: &Core, tenant: TenantId, row: &VersionRow, text: &str) -> Result<Vec<RowChange>, Refused> {
    let name = version_name(row.number);
    let key = RowKey::Policy { tenant, part: PolicyPart::Version, name, chunk: 0 }.bytes();
    let value = Some(core.hierarchy.seal_row(&key, &pack(row)?)?);
    let mut rows = vec![RowChange { key, expect: Expect::Absent, value }];
    for (chunk, piece) in (1..).zip(text.as_bytes().chunks(PIECE)) {
        let key = RowKey::Policy { tenant, part: PolicyPart::Version, name, chunk }.bytes();
        let value = Some(core.hierarchy.seal_row(&key, piece)?);
        rows.push(RowChange { key, expect: Expect::Absent, value });
    }
    Ok(rows)
}

/// The pieces of a long row from `first` on, put together; `None` where there are none.
fn joined(core: &Core, tenant: TenantId, part: PolicyPart, name: [u8; 16], first: u16) -> Result<Option<Vec<u8>>, Refused> {
    let mut whole = None;
    for chunk in first..=u16::MAX {
        let key = RowKey::Policy { tenant, part, name, chunk }.bytes();
        let Some(stored) = core.store.row(&key)? else { break };
        whole.get_or_insert_with(Vec::new).extend_from_slice(core.hierarchy.open_row(&key, &stored)?.bytes());
    }
    Ok(whole)
}

/// What makes a long row be `plain`, or nothing, whatever pieces there are of it now.
fn replaced(
    core: &Core,
    tenant: TenantId,
    part: PolicyPart,
    name: [u8; 16],
    plain: Option<&[u8]>,
) -> Result<Vec<RowChange>, Refused> {
    let mut pieces = plain.unwrap_or_default().chunks(PIECE);
    let mut rows = Vec::new();
    for chunk in 0..=u16::MAX {
        let key = RowKey::Policy { tenant, part, name, chunk }.bytes();
        let stored = core.store.row(&key)?;
        let piece = pieces.next();
        if stored.is_none() && piece.is_none() {
            break;
        }
        let value = piece.map(|piece| core.hierarchy.seal_row(&key, piece)).transpose()?;
        rows.push(RowChange { key, expect: stored.map_or(Expect::Absent, Expect::Is), value });
    }
    Ok(rows)
}

fn digest(text: &str) -> [u8; 32] {
    keys::digest::sha256(&[text.as_bytes()])
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn json_bytes(value: &impl Serialize) -> Result<Vec<u8>, Refused> {
    serde_json::to_vec(value).map_err(|_| Code::Internal.into())
}

/// Where in the configuration, as a JSON pointer of names.
fn pointer(kind: &str, id: &str) -> String {
    format!("/{kind}/{id}")
}
