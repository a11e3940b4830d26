//! putCaller and issueToken: who may ask, and with which bearer token.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use crate::audit::{Note, Outcome};
use crate::auth::rows::{CallerRow, TokenRow};
use crate::auth::token_text;
use crate::model::caller::{CallerKind, Operation, Role};
use crate::model::code::Code;
use crate::model::ids::{CallerId, TokenId};
use crate::model::wire::{CallerState, CallerView, IssueToken, PutCaller, TokenView};
use crate::policy::{Facts, Second, roles};
use crate::store::layout::RowKey;
use crate::tenant::Tenant;

use super::call::{Answer, Call, Refused};
use super::committer::{Change, Expect, RowChange};
use super::core::{Core, fresh, keys_refused};
use super::idempotency::{self, Begun, Owner};
use super::lifecycle::Vault;
use super::rows::pack;

/// Days that a token lives unless told.
const DEFAULT_LIFETIME: u64 = 90 * 24 * 3_600;
const LIFETIMES: std::ops::RangeInclusive<u64> = 60..=365 * 24 * 3_600;

/// Letters of a caller's name.
const LONGEST_NAME: usize = 100;

impl Vault {
    /// putCaller: makes, changes, suspends; with `revoke_tokens` ends every token of it with this very call.
    ///
    /// A new caller, or one that is to get a role or purpose more, is a proposal until a second security officer puts
    /// the same; taking away needs nobody else.
    pub async fn put_caller(&self, call: &Call, id: Option<CallerId>, body: PutCaller) -> Result<Answer, Refused> {
        let operation = Operation::PutCaller;
        let opened = self.opened()?;
        let core = &opened.core;
        let held = match idempotency::begin(core, &self.0.in_flight, call)? {
            Begun::Again(answer) => return Ok(answer),
            Begun::First(held) => Some(held),
            Begun::Plain => None,
        };
        let tenant = core.tenant(&call.caller)?;
        // The second person of putCaller is the proposal below, so the role guard need not ask for one.
        core.decide(call, operation, &Facts { second: Second::Waived, ..core.facts(&tenant) }, None)?;
        if let Err((code, pointer)) = fits(&tenant, &body) {
            let refused = core.refuse(call, operation, code, None);
            return Err(Refused { pointer: Some(pointer.to_owned()), ..refused });
        }
        let old = match id {
            Some(id) => {
                let old = core.registry.caller(&id).filter(|old| old.tenant == *tenant.id().bytes());
                let Some(old) = old else { return Err(core.refuse(call, operation, Code::NotFound, None)) };
                if call.if_match.as_ref().is_some_and(|wanted| *wanted != etag(old.version)) {
                    return Err(core.refuse(call, operation, Code::Stale, None));
                }
                Some(old)
            }
            None => None,
        };
        // Nobody gives themselves more than they have.
        if id == Some(call.caller.id) && widens(old.as_ref(), &body) {
            return Err(core.refuse(call, operation, Code::SecondPersonRequired, None));
        }
        let me = *call.caller.id.bytes();
        let same = old.as_ref().is_some_and(|old| !widens(Some(old), &body));
        let proposed_by = match old.as_ref().and_then(|old| old.proposed_by) {
            _ if !self.0.config.second_person_for_callers => None,
            Some(proposer) if same && proposer != me => None,
            Some(proposer) if same => Some(proposer),
            None if same => None,
            _ => Some(me),
        };
        let id = match id {
            Some(id) => id,
            None => CallerId::from_bytes(fresh()?),
        };
        let row = row(&tenant, &body, old.as_ref().map_or(1, |old| old.version + 1), proposed_by);
        let revoked = if body.revoke_tokens || row.suspended { core.registry.tokens_of(&id) } else { Vec::new() };
        let entry = core.entry(call, operation, Outcome::Allowed)?;
        let answer = Answer {
            decision: Some(entry.decision),
            made: old.is_none(),
            etag: Some(etag(row.version)),
            body: Some(view(id, &row)?),
            location: Some(format!("/v1/callers/{id}")),
        };
        let mut change = Change::noting(entry);
        change.rows.push(caller_row(core, id, &row)?);
        for digest in &revoked {
            change.rows.push(RowChange { key: RowKey::Token(*digest).bytes(), expect: Expect::Any, value: None });
        }
        if let Some(held) = held {
            change.rows.push(held.keep(core, &Owner::Vault, &answer)?);
        }
        // Taking away takes effect before the answer, and even if the answer never arrives.
        core.registry.revoke(&revoked);
        opened.committer.commit(change).await?;
        core.registry.put_caller(&id, row);
        Ok(answer)
    }

    /// issueToken: 256 random bits, shown once, kept as a keyed digest.
    pub async fn issue_token(&self, call: &Call, id: CallerId, body: IssueToken) -> Result<Answer, Refused> {
        let operation = Operation::IssueToken;
        let opened = self.opened()?;
        let core = &opened.core;
        let held = match idempotency::begin(core, &self.0.in_flight, call)? {
            // The secret of the first answer is nowhere to be had again.
            Begun::Again(_) => return Err(Code::SecretShownOnce.into()),
            Begun::First(held) => Some(held),
            Begun::Plain => None,
        };
        let tenant = core.tenant(&call.caller)?;
        // The second person of putCaller is the proposal below, so the role guard need not ask for one.
        core.decide(call, operation, &Facts { second: Second::Waived, ..core.facts(&tenant) }, None)?;
        let Some(owner) = core.registry.caller(&id).filter(|row| row.tenant == *tenant.id().bytes()) else {
            return Err(core.refuse(call, operation, Code::NotFound, None));
        };
        if owner.proposed_by.is_some() {
            return Err(core.refuse(call, operation, Code::SecondPersonRequired, None));
        }
        if owner.suspended {
            return Err(core.refuse(call, operation, Code::StateConflict, None));
        }
        let invalid = |code, pointer: &str| {
            let refused = core.refuse(call, operation, code, None);
            Err(Refused { pointer: Some(pointer.to_owned()), ..refused })
        };
        let purposes = body.purposes.unwrap_or_else(|| owner.purposes.clone());
        if purposes.iter().any(|purpose| !owner.purposes.contains(purpose)) {
            return invalid(Code::InvalidBody, "/purposes");
        }
        if body.fields.iter().flatten().any(|name| tenant.field(name).is_err()) {
            return invalid(Code::FieldNotInCatalogue, "/fields");
        }
        let lifetime = body.lifetime_seconds.unwrap_or(DEFAULT_LIFETIME);
        if !LIFETIMES.contains(&lifetime) {
            return invalid(Code::InvalidBody, "/lifetime_seconds");
        }
        let entry = core.entry(call, operation, Outcome::Allowed)?;
        let decision = entry.decision;
        let (change, made) = make(core, entry, id, purposes, body.fields, lifetime)?;
        let mut change = change;
        let answer = Answer { decision: Some(decision), made: true, body: Some(made.body), ..Answer::default() };
        if let Some(held) = held {
            let without = Answer { decision: Some(decision), made: true, ..Answer::default() };
            change.rows.push(held.keep(core, &Owner::Vault, &without)?);
        }
        opened.committer.commit(change).await?;
        core.registry.put_token(made.digest, &made.row);
        Ok(answer)
    }

    /// A caller and a token of it made by whoever runs the vault's process, before there is anybody to ask: `init` and
    /// `demo` use it. It is in the trail like any other.
    pub async fn bootstrap(&self, tenant: &Tenant, body: PutCaller) -> Result<(CallerId, String), Refused> {
        let opened = self.opened()?;
        let core = &opened.core;
        fits(tenant, &body).map_err(|(code, pointer)| Refused::at(code, pointer))?;
        let id = CallerId::from_bytes(fresh()?);
        let row = row(tenant, &body, 1, None);
        let mut change = Change::noting(core.event("bootstrapCaller", Outcome::Done, Note::None)?);
        change.rows.push(caller_row(core, id, &row)?);
        opened.committer.commit(change).await?;
        core.registry.put_caller(&id, row);
        let entry = core.event("bootstrapToken", Outcome::Done, Note::None)?;
        let (change, made) = make(core, entry, id, body.purposes, None, DEFAULT_LIFETIME)?;
        opened.committer.commit(change).await?;
        core.registry.put_token(made.digest, &made.row);
        Ok((id, made.text))
    }

    /// The controllers of this vault.
    pub fn tenants(&self) -> impl Iterator<Item = &Tenant> {
        self.0.tenants.values().map(AsRef::as_ref)
    }

    /// The caller behind a bearer token.
    pub fn authenticate(&self, bearer: &str) -> Result<std::sync::Arc<crate::model::caller::Caller>, Refused> {
        let opened = self.opened()?;
        let core = &opened.core;
        core.registry.authenticate(&core.hierarchy, bearer, core.clock.now()).ok_or_else(|| {
            let outcome = Outcome::Refused { guard: Some("G0".into()), code: Code::Unauthenticated };
            let event = match core.event("authenticate", outcome, Note::None) {
                Ok(event) => event,
                Err(refused) => return refused,
            };
            let decision = event.decision;
            match core.trail.append(&[event]) {
                Ok(_) => Refused { decision: Some(decision), ..Code::Unauthenticated.into() },
                Err(error) => super::committer::trail_refused(error),
            }
        })
    }
}

struct Made {
    digest: [u8; 32],
    row: TokenRow,
    text: String,
    body: Vec<u8>,
}

fn make(
    core: &Core,
    entry: crate::audit::Entry,
    caller: CallerId,
    purposes: Vec<String>,
    fields: Option<Vec<String>>,
    lifetime: u64,
) -> Result<(Change, Made), Refused> {
    let text = token_text(&keys::random::bytes::<32>().map_err(keys_refused)?);
    let digest = core.hierarchy.token_digest(&text);
    let now = core.clock.now();
    let expires_at = now.checked_add(SignedDuration::from_secs(lifetime as i64)).map_err(|_| Code::Internal)?;
    let id = TokenId::from_bytes(fresh()?);
    let row = TokenRow { id: *id.bytes(), caller: *caller.bytes(), purposes, fields, expires_at: expires_at.as_microsecond() };
    let key = RowKey::Token(digest).bytes();
    let sealed = core.hierarchy.seal_row(&key, &pack(&row)?).map_err(keys_refused)?;
    let body = serde_json::to_vec(&TokenView { id, token: text.clone(), expires_at }).map_err(|_| Code::Internal)?;
    let mut change = Change::noting(entry);
    change.rows.push(RowChange { key, expect: Expect::Fresh, value: Some(sealed) });
    Ok((change, Made { digest, row, text, body }))
}

fn fits(tenant: &Tenant, body: &PutCaller) -> Result<(), (Code, &'static str)> {
    let name = body.name.trim();
    if name.is_empty() || name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) {
        return Err((Code::InvalidBody, "/name"));
    }
    if body.roles.is_empty() || body.roles.contains(&Role::Scheduler) {
        return Err((Code::InvalidBody, "/roles"));
    }
    roles::may_be_held(&body.roles).map_err(|code| (code, "/roles"))?;
    if body.purposes.iter().any(|purpose| tenant.purpose(purpose).is_none()) {
        return Err((Code::PurposeNotPublished, "/purposes"));
    }
    Ok(())
}

fn widens(old: Option<&CallerRow>, body: &PutCaller) -> bool {
    let Some(old) = old else { return true };
    let had: BTreeSet<Role> = old.roles();
    body.roles.iter().any(|role| !had.contains(role))
        || body.purposes.iter().any(|purpose| !old.purposes.contains(purpose))
        || (old.suspended && body.state == CallerState::Active)
}

fn row(tenant: &Tenant, body: &PutCaller, version: u64, proposed_by: Option<[u8; 16]>) -> CallerRow {
    CallerRow {
        tenant: *tenant.id().bytes(),
        name: body.name.trim().to_owned(),
        person: body.kind == CallerKind::Person,
        roles: CallerRow::role_numbers(&body.roles),
        purposes: body.purposes.clone(),
        suspended: body.state == CallerState::Suspended,
        trained_at: body.trained_at.map(|date| date.to_string()),
        proposed_by,
        version,
    }
}

fn caller_row(core: &Core, id: CallerId, row: &CallerRow) -> Result<RowChange, Refused> {
    let key = RowKey::Caller(id).bytes();
    let sealed = core.hierarchy.seal_row(&key, &pack(row)?).map_err(keys_refused)?;
    Ok(RowChange { key, expect: Expect::Any, value: Some(sealed) })
}

fn view(id: CallerId, row: &CallerRow) -> Result<Vec<u8>, Refused> {
    let view = CallerView {
        id,
        name: row.name.clone(),
        kind: row.kind(),
        roles: row.roles().into_iter().collect(),
        purposes: row.purposes.clone(),
        state: if row.proposed_by.is_some() { CallerState::Proposed } else { row.state() },
    };
    serde_json::to_vec(&view).map_err(|_| Code::Internal.into())
}

fn etag(version: u64) -> String {
    format!("\"{version}\"")
}
