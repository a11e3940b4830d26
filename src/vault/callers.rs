//! putCaller and issueToken: who may ask, and with which bearer token.

use jiff::SignedDuration;

use crate::audit::{Note, Outcome};
use crate::auth::rows::{CallerRow, Proposal, Rights, TokenRow};
use crate::auth::token_text;
use crate::model::caller::{CallerKind, Operation, Role};
use crate::model::code::Code;
use crate::model::ids::{CallerId, TokenId};
use crate::model::wire::{CallerProposal, CallerState, CallerView, IssueToken, PutCaller, TokenView};
use crate::policy::{Facts, Second, roles};
use crate::store::layout::RowKey;
use crate::tenant::Tenant;

use super::call::{Answer, Call, Refused};
use super::committer::{Change, Expect, RowChange};
use super::core::{Core, fresh};
use super::idempotency::{self, Begun, Owner};
use super::lifecycle::Vault;
use super::rows::{pack, unpack};

/// Days that a token lives unless told.
const DEFAULT_LIFETIME: u64 = 90 * 24 * 3_600;
const LIFETIMES: std::ops::RangeInclusive<u64> = 60..=365 * 24 * 3_600;

/// Letters of a caller's name.
const LONGEST_NAME: usize = 100;

impl Vault {
    /// putCaller: makes, changes, suspends; with `revoke_tokens` ends every token of it with this very call.
    ///
    /// What gives a caller more than it has (a new caller has nothing) is a proposal until a second security officer puts
    /// the same; until then it may do what it could before. Taking away needs nobody else.
    pub async fn put_caller(&self, call: &Call, id: Option<CallerId>, body: PutCaller) -> Result<Answer, Refused> {
        let operation = Operation::PutCaller;
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = core.tenant(&call.caller)?;
        // The second person of putCaller is the proposal below, so the role guard need not ask for one.
        core.decide(call, operation, &Facts { second: Second::Waived, ..core.facts(&tenant) }, None)?;
        if let Err((code, pointer)) = fits(&tenant, &body) {
            let refused = core.refuse(call, operation, code, None);
            return Err(Refused { pointer: Some(pointer.to_owned()), ..refused });
        }
        let (id, stored, old) = match id {
            Some(id) => {
                let found = stored(core, id)?.filter(|(_, row)| row.tenant == *tenant.id().bytes());
                let Some((bytes, old)) = found else { return Err(core.refuse(call, operation, Code::NotFound, None)) };
                if call.if_match.as_ref().is_some_and(|wanted| *wanted != etag(old.version)) {
                    return Err(core.refuse(call, operation, Code::Stale, None));
                }
                (id, Some(bytes), Some(old))
            }
            None => (CallerId::from_bytes(fresh()?), None, None),
        };
        let me = *call.caller.id.bytes();
        let wanted = rights(&body);
        let made = old.is_none();
        let mut row = old.unwrap_or_else(|| CallerRow {
            tenant: *tenant.id().bytes(),
            rights: Rights { roles: Vec::new(), purposes: Vec::new(), suspended: true, ..wanted.clone() },
            proposal: None,
            version: 0,
        });
        let widens = row.rights.is_widened_by(&wanted);
        // Nobody gives themselves more than they have.
        if id == call.caller.id && widens {
            return Err(core.refuse(call, operation, Code::SecondPersonRequired, None));
        }
        let agreed = row.proposal.as_ref().is_some_and(|proposal| proposal.by != me && proposal.rights == wanted);
        if widens && !agreed && self.0.config.second_person_for_callers {
            row.proposal = Some(Proposal { by: me, rights: wanted });
        } else {
            row.rights = wanted;
            row.proposal = None;
        }
        row.version += 1;
        let revoked = if body.revoke_tokens { core.registry.tokens_of(&id) } else { Vec::new() };
        let entry = core.entry(call, operation, Outcome::Allowed)?;
        let answer = Answer {
            decision: Some(entry.decision),
            made,
            etag: Some(etag(row.version)),
            body: Some(view(id, &row)?),
            location: Some(format!("/v1/callers/{id}")),
        };
        let mut change = Change::noting(entry);
        change.rows.push(caller_row(core, id, &row, stored.map_or(Expect::Fresh, Expect::Is))?);
        for digest in &revoked {
            change.rows.push(RowChange { key: RowKey::Token(*digest).bytes(), expect: Expect::Any, value: None });
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
        let held = match idempotency::begin(core, &self.0.in_flight, call, operation)? {
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
        if owner.rights.roles.is_empty() {
            return Err(core.refuse(call, operation, Code::SecondPersonRequired, None));
        }
        if owner.rights.suspended {
            return Err(core.refuse(call, operation, Code::StateConflict, None));
        }
        let invalid = |code, pointer: &str| {
            let refused = core.refuse(call, operation, code, None);
            Err(Refused { pointer: Some(pointer.to_owned()), ..refused })
        };
        let once = |mut names: Vec<String>| {
            names.sort_unstable();
            names.dedup();
            names
        };
        let purposes = body.purposes.map_or_else(|| owner.rights.purposes.clone(), once);
        let fields = body.fields.map(once);
        if purposes.iter().any(|purpose| !owner.rights.purposes.contains(purpose)) {
            return invalid(Code::InvalidBody, "/purposes");
        }
        if fields.iter().flatten().any(|name| tenant.field(name).is_err()) {
            return invalid(Code::FieldNotInCatalogue, "/fields");
        }
        let lifetime = body.lifetime_seconds.unwrap_or(DEFAULT_LIFETIME);
        if !LIFETIMES.contains(&lifetime) {
            return invalid(Code::InvalidBody, "/lifetime_seconds");
        }
        let entry = core.entry(call, operation, Outcome::Allowed)?;
        let decision = entry.decision;
        let (change, made) = make(core, entry, id, purposes, fields, lifetime)?;
        let mut change = change;
        let answer = Answer { decision: Some(decision), made: true, body: Some(made.body), ..Answer::default() };
        if let Some(held) = held {
            let without = Answer { decision: Some(decision), made: true, ..Answer::default() };
            change.rows.push(held.keep(core, &Owner::Vault, &without)?);
        }
        opened.committer.commit(change).await?;
        core.registry.put_token(made.digest, made.row);
        Ok(answer)
    }

    /// A caller and a token of it made by whoever runs the vault's process, before there is anybody to ask: `init` and
    /// `demo` use it. It is in the trail like any other.
    pub async fn bootstrap(&self, tenant: &Tenant, body: PutCaller) -> Result<(CallerId, String), Refused> {
        let opened = self.opened()?;
        let core = &opened.core;
        fits(tenant, &body).map_err(|(code, pointer)| Refused::at(code, pointer))?;
        let id = CallerId::from_bytes(fresh()?);
        let row = CallerRow { tenant: *tenant.id().bytes(), rights: rights(&body), proposal: None, version: 1 };
        let mut change = Change::noting(core.event("bootstrapCaller", Outcome::Done, Note::None)?);
        change.rows.push(caller_row(core, id, &row, Expect::Fresh)?);
        opened.committer.commit(change).await?;
        core.registry.put_caller(&id, row);
        let entry = core.event("bootstrapToken", Outcome::Done, Note::None)?;
        let (change, made) = make(core, entry, id, body.purposes, None, DEFAULT_LIFETIME)?;
        opened.committer.commit(change).await?;
        core.registry.put_token(made.digest, made.row);
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
        core.registry.authenticate(&core.hierarchy, bearer, core.clock.now()).ok_or(Code::Unauthenticated.into())
    }

    /// Notes in the trail that somebody came without valid credentials, and gives the refusal to answer with.
    pub fn note_failed_credentials(&self) -> Refused {
        let noted = || {
            let opened = self.opened()?;
            let outcome = Outcome::Refused { guard: Some("G0".into()), code: Code::Unauthenticated };
            let event = opened.core.event("authenticate", outcome, Note::None)?;
            let decision = event.decision;
            let _ticket = opened.core.trail.append(&[event])?;
            Ok(Refused { decision: Some(decision), guard: Some("G0"), ..Code::Unauthenticated.into() })
        };
        noted().unwrap_or_else(|refused| refused)
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
    let text = token_text(&keys::random::bytes::<32>()?);
    let digest = core.hierarchy.token_digest(&text);
    let now = core.clock.now();
    let expires_at = now.checked_add(SignedDuration::from_secs(lifetime as i64)).map_err(|_| Code::Internal)?;
    let id = TokenId::from_bytes(fresh()?);
    let row = TokenRow { id: *id.bytes(), caller: *caller.bytes(), purposes, fields, expires_at: expires_at.as_microsecond() };
    let key = RowKey::Token(digest).bytes();
    let sealed = core.hierarchy.seal_row(&key, &pack(&row)?)?;
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

fn rights(body: &PutCaller) -> Rights {
    let mut purposes = body.purposes.clone();
    purposes.sort_unstable();
    purposes.dedup();
    Rights {
        name: body.name.trim().to_owned(),
        person: body.kind == CallerKind::Person,
        roles: Rights::role_numbers(&body.roles),
        purposes,
        suspended: body.state == CallerState::Suspended,
        trained_at: body.trained_at.map(|date| date.to_string()),
    }
}

fn stored(core: &Core, id: CallerId) -> Result<Option<(Vec<u8>, CallerRow)>, Refused> {
    let key = RowKey::Caller(id).bytes();
    let Some(bytes) = core.store.row(&key)? else { return Ok(None) };
    let row = unpack(core.hierarchy.open_row(&key, &bytes)?.bytes())?;
    Ok(Some((bytes, row)))
}

fn caller_row(core: &Core, id: CallerId, row: &CallerRow, expect: Expect) -> Result<RowChange, Refused> {
    let key = RowKey::Caller(id).bytes();
    let sealed = core.hierarchy.seal_row(&key, &pack(row)?)?;
    Ok(RowChange { key, expect, value: Some(sealed) })
}

fn view(id: CallerId, row: &CallerRow) -> Result<Vec<u8>, Refused> {
    let never_active = row.rights.roles.is_empty();
    let shown = row.proposal.as_ref().filter(|_| never_active).map_or(&row.rights, |proposal| &proposal.rights);
    let proposal = row.proposal.as_ref().filter(|_| !never_active).map(|proposal| CallerProposal {
        roles: proposal.rights.roles().into_iter().collect(),
        purposes: proposal.rights.purposes.clone(),
        state: proposal.rights.state(),
    });
    let view = CallerView {
        id,
        name: shown.name.clone(),
        kind: shown.kind(),
        roles: shown.roles().into_iter().collect(),
        purposes: shown.purposes.clone(),
        state: if never_active { CallerState::Proposed } else { row.rights.state() },
        proposal,
    };
    serde_json::to_vec(&view).map_err(|_| Code::Internal.into())
}

fn etag(version: u64) -> String {
    format!("\"{version}\"")
}
