//! putCaller and issueToken: who may ask, and with which bearer token.

use std::ops::RangeInclusive;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use keys::SystemKey;
use serde::Deserialize as _;

use crate::audit::{Note, Outcome};
use crate::auth::jwt::AccessToken;
use crate::auth::rows::{CallerRow, Proposal, Rights, TokenRow};
use crate::auth::token_text;
use crate::model::caller::{Caller, CallerKind, Operation, Role};
use crate::model::code::Code;
use crate::model::ids::{CallerId, SubjectId, TokenId};
use crate::model::wire::{AuthorizationDetail, CallerProposal, CallerState, CallerView, IssueToken, PutCaller, TokenView};
use crate::policy::{Facts, Second, roles};
use crate::store::Row;
use crate::store::layout::RowKey;
use crate::tenant::Tenant;

use super::call::{Answer, Call, Refused};
use super::committer::{Change, Expect, RowChange};
use super::core::{Core, first16, fresh};
use super::idempotency::{self, Begun, Owner};
use super::lifecycle::Vault;
use super::rows::{pack, time, unpack};

/// Seconds that a token lives unless told, and may live.
const DEFAULT_LIFETIME: u64 = 90 * 24 * 3_600;
const LIFETIMES: RangeInclusive<u64> = 60..=365 * 24 * 3_600;

/// The same of a person's own token.
const DEFAULT_OWN_LIFETIME: u64 = 900;
const OWN_LIFETIMES: RangeInclusive<u64> = 60..=3_600;

/// Letters of the name that an issuer has for a caller, with the issuer's own.
const LONGEST_EXTERNAL: usize = 512;

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
        // Two callers behind one name of the issuer would be nobody.
        if let Some(external) = &body.external
            && core.registry.external(external).is_some_and(|(other, _)| other != id)
        {
            let refused = core.refuse(call, operation, Code::StateConflict, None);
            return Err(Refused { pointer: Some("/external".to_owned()), ..refused });
        }
        let me = *call.caller.id.bytes();
        let wanted = rights(&body);
        let made = old.is_none();
        let mut row = old.unwrap_or_else(|| CallerRow {
            tenant: *tenant.id().bytes(),
            rights: Rights { roles: Vec::new(), purposes: Vec::new(), suspended: true, ..wanted.clone() },
            proposal: None,
            version: 0,
            revoked_at: None,
            revoked_below: 0,
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
        if body.revoke_tokens {
            row.revoked_at = Some(core.clock.now().as_microsecond());
            row.revoked_below = row.version;
        }
        let revoked = if body.revoke_tokens { core.registry.tokens_of(&id) } else { Vec::new() };
        let entry = core.entry(call, operation, Outcome::Allowed)?;
        let answer = Answer {
            decision: Some(entry.decision),
            made,
            etag: Some(etag(row.version)),
            body: Some(view(id, &row)?),
            location: made.then(|| format!("/v1/callers/{id}")),
            ..Answer::default()
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
        // A portal issues its persons' own tokens itself, and no others.
        let own = id == call.caller.id && call.caller.subject.is_none() && body.subject.is_some();
        core.decide(call, operation, &Facts { own, ..core.facts(&tenant) }, None)?;
        let Some(owner) = core.registry.caller(&id).filter(|row| row.tenant == *tenant.id().bytes()) else {
            return Err(core.refuse(call, operation, Code::NotFound, None));
        };
        if owner.rights.roles.is_empty() {
            return Err(core.refuse(call, operation, Code::SecondPersonRequired, None));
        }
        if owner.rights.suspended {
            return Err(core.refuse(call, operation, Code::StateConflict, None));
        }
        let now = core.clock.now();
        if owner.rights.person && owner.rights.trained_until().is_none_or(|until| until < day(now)) {
            return Err(core.refuse(call, operation, Code::TrainingRequired, None));
        }
        let grant = match grant(&tenant, &owner.rights, body, now) {
            Ok(grant) if own => match narrowed(grant, &call.caller, now) {
                Some(grant) => grant,
                None => return Err(core.refuse(call, operation, Code::RoleForbidden, None)),
            },
            Ok(grant) => grant,
            Err((code, pointer)) => {
                let refused = core.refuse(call, operation, code, None);
                return Err(Refused { pointer: Some(pointer.to_owned()), ..refused });
            }
        };
        let mut entry = core.entry(call, operation, Outcome::Allowed)?;
        if let Some(subject) = grant.subject {
            let Some(person) = core.person(&tenant, subject)? else {
                return Err(core.refuse(call, operation, Code::NotFound, None));
            };
            entry.tag = Some(person.tag);
        }
        let decision = entry.decision;
        let made = make(core, id, grant)?;
        let mut change = Change::noting(entry);
        change.rows.extend(made.change(core)?);
        if let Some(held) = held {
            let without = Answer { decision: Some(decision), made: true, ..Answer::default() };
            change.rows.push(held.keep(core, &Owner::Vault, &without)?);
        }
        opened.committer.commit(change).await?;
        let body = made.view()?;
        core.registry.put_token(core.hierarchy.token_digest(&made.text), made.row, now);
        Ok(Answer { decision: Some(decision), made: true, body: Some(body), ..Answer::default() })
    }

    /// A caller and a token of it made by whoever runs the vault's process, before there is anybody to ask: `init` and
    /// `demo` use it. It is in the trail like any other.
    pub async fn bootstrap(&self, tenant: &Tenant, body: PutCaller) -> Result<(CallerId, String), Refused> {
        let opened = self.opened()?;
        let core = &opened.core;
        fits(tenant, &body).map_err(|(code, pointer)| Refused::at(code, pointer))?;
        let id = CallerId::from_bytes(fresh()?);
        let row = CallerRow {
            tenant: *tenant.id().bytes(),
            rights: rights(&body),
            proposal: None,
            version: 1,
            revoked_at: None,
            revoked_below: 0,
        };
        let mut change = Change::noting(core.event("bootstrapCaller", Outcome::Done, Note::None)?);
        change.rows.push(caller_row(core, id, &row, Expect::Fresh)?);
        opened.committer.commit(change).await?;
        core.registry.put_caller(&id, row);
        let entry = core.event("bootstrapToken", Outcome::Done, Note::None)?;
        let grant = Grant { purposes: body.purposes, lifetime: DEFAULT_LIFETIME, ..Grant::default() };
        let made = make(core, id, grant)?;
        let mut change = Change::noting(entry);
        change.rows.extend(made.change(core)?);
        opened.committer.commit(change).await?;
        core.registry.put_token(core.hierarchy.token_digest(&made.text), made.row, core.clock.now());
        Ok((id, made.text))
    }

    /// The controllers of this vault.
    pub fn tenants(&self) -> impl Iterator<Item = std::sync::Arc<Tenant>> {
        self.0.tenants.all().into_iter()
    }

    /// The caller behind a bearer token.
    pub fn authenticate(&self, bearer: &str) -> Result<Arc<Caller>, Refused> {
        let opened = self.opened()?;
        let core = &opened.core;
        let now = core.clock.now();
        let caller = core.registry.authenticate(&core.hierarchy, bearer, now).ok_or(Code::Unauthenticated)?;
        if is_entrusted(core, &caller, now) { Ok(caller) } else { Err(Code::Unauthenticated.into()) }
    }

    /// The caller behind an access token of the trusted issuer, whose signature, audience and times were checked. The token may
    /// narrow what the caller has, by `authorization_details` or `scope`, and never widens it.
    pub fn authenticate_external(
        &self,
        text: &str,
        token: &AccessToken,
        stepped_up: Option<Timestamp>,
    ) -> Result<Arc<Caller>, Refused> {
        let opened = self.opened()?;
        let core = &opened.core;
        let caller = external(core, text, token, stepped_up).ok_or(Code::Unauthenticated)?;
        if is_entrusted(core, &caller, core.clock.now()) { Ok(Arc::new(caller)) } else { Err(Code::Unauthenticated.into()) }
    }

    /// Notes in the trail that somebody came without valid credentials, and gives the refusal to answer with.
    pub fn note_failed_credentials(&self) -> Refused {
        let noted = || {
            let opened = self.opened()?;
            let outcome = Outcome::Refused { guard: Some("G0".into()), code: Code::Unauthenticated };
            let event = opened.core.event("authenticate", outcome, Note::None)?;
            let decision = event.decision;
            opened.core.signs.failed(opened.core.clock.now());
            let _ticket = opened.core.trail.append(&[event])?;
            Ok(Refused { decision: Some(decision), guard: Some("G0"), ..Code::Unauthenticated.into() })
        };
        noted().unwrap_or_else(|refused| refused)
    }
}

fn external(core: &Core, text: &str, token: &AccessToken, stepped_up: Option<Timestamp>) -> Option<Caller> {
    let (id, row) = core.registry.external(&token.external)?;
    let revoked = row.revoked_at.is_some_and(|at| token.issued.saturating_mul(1_000_000) <= at);
    if row.rights.suspended || row.rights.roles.is_empty() || revoked {
        return None;
    }
    let mut caller = row.caller(id);
    // Tokens of one caller are told apart in the trail, as the vault's own are.
    caller.token = TokenId::from_bytes(first16(&core.hierarchy.keyed_digest("access-token", &[text.as_bytes()])));
    caller.expires_at = Timestamp::from_second(token.expires).ok()?;
    caller.stepped_up_until = stepped_up;
    match (&caller.certificate, &token.certificate) {
        (Some(own), Some(named)) if own != named => return None,
        (_, Some(named)) => caller.certificate = Some(named.clone()),
        (_, None) => {}
    }
    let own = |detail: &&serde_json::Value| detail["type"] == AuthorizationDetail::TYPE;
    let mut details = token.details.iter().filter(own);
    match (details.next(), details.next()) {
        (Some(detail), None) => narrow(&mut caller, AuthorizationDetail::deserialize(detail).ok()?)?,
        (Some(_), Some(_)) => return None,
        (None, _) => {
            if let Some(scope) = &token.scope {
                caller.purposes.retain(|purpose| scope.contains(purpose));
            }
        }
    }
    Some(caller)
}

/// Narrows a caller to what a detail of its token says; `None` for what cannot be understood.
fn narrow(caller: &mut Caller, detail: AuthorizationDetail) -> Option<()> {
    if let Some(purposes) = detail.purposes {
        caller.purposes.retain(|purpose| purposes.contains(purpose));
    }
    caller.fields = detail.fields.map(|fields| fields.into_iter().collect());
    if let Some(actions) = detail.actions {
        caller.actions = Some(actions.iter().map(|id| Operation::named(id)).collect::<Option<_>>()?);
    }
    match detail.regions.as_deref() {
        None => {}
        Some([one]) if caller.region.as_ref().is_none_or(|own| own == one) => caller.region = Some(one.clone()),
        Some(_) => return None,
    }
    Some(())
}

/// Whether a caller that works for a partner does so under an agreement that is in force today.
fn is_entrusted(core: &Core, caller: &Caller, now: Timestamp) -> bool {
    let Some(partner) = &caller.partner else { return true };
    let tenant = core.tenants.get(&caller.tenant);
    tenant.is_some_and(|tenant| tenant.partner(partner).is_some_and(|partner| partner.is_live(day(now))))
}

/// What a token is to be good for.
#[derive(Default)]
struct Grant {
    purposes: Vec<String>,
    fields: Option<Vec<String>>,
    actions: Option<Vec<String>>,
    region: Option<String>,
    subject: Option<SubjectId>,
    lifetime: u64,
}

type Unfit = (Code, &'static str);

/// What `body` asks for, if it is no more than its caller has, nor, for a partner's, more than the agreement.
fn grant(tenant: &Tenant, rights: &Rights, body: IssueToken, now: Timestamp) -> Result<Grant, Unfit> {
    let once = |mut names: Vec<String>| {
        names.sort_unstable();
        names.dedup();
        names
    };
    let mut details = body.authorization_details.into_iter();
    let detail = match (details.next(), details.next()) {
        (None, _) => None,
        (Some(one), None) if one.r#type == AuthorizationDetail::TYPE && body.purposes.is_none() && body.fields.is_none() => {
            Some(one)
        }
        _ => return Err((Code::InvalidBody, "/authorization_details")),
    };
    let (purposes, fields, actions, regions) = match detail {
        Some(detail) => (detail.purposes, detail.fields, detail.actions, detail.regions),
        None => (body.purposes, body.fields, None, None),
    };
    let purposes = purposes.map_or_else(|| rights.purposes.clone(), once);
    let mut fields = fields.map(once);
    let actions = actions.map(once);
    if purposes.iter().any(|purpose| !rights.purposes.contains(purpose)) {
        return Err((Code::InvalidBody, "/purposes"));
    }
    if fields.iter().flatten().any(|name| tenant.field(name).is_err()) {
        return Err((Code::FieldNotInCatalogue, "/fields"));
    }
    if actions.iter().flatten().any(|id| Operation::named(id).is_none()) {
        return Err((Code::InvalidBody, "/authorization_details/0/actions"));
    }
    let region = match regions.as_deref() {
        None => None,
        Some([one]) if tenant.has_region(one) && rights.region.as_ref().is_none_or(|own| own == one) => Some(one.clone()),
        Some(_) => return Err((Code::InvalidBody, "/authorization_details/0/regions")),
    };
    if let Some(partner) = &rights.partner {
        let partner = tenant.partner(partner).filter(|partner| partner.is_live(day(now))).ok_or((Code::RecipientUnknown, ""))?;
        if purposes.iter().any(|purpose| !partner.purposes.contains(purpose)) {
            return Err((Code::InvalidBody, "/purposes"));
        }
        let agreed = |name: &String| tenant.field(name).is_ok_and(|field| partner.fields.contains(field.number));
        if !fields.iter().flatten().all(agreed) {
            return Err((Code::InvalidBody, "/fields"));
        }
        fields =
            fields.or_else(|| Some(tenant.fields().iter().map(|field| field.name.clone()).filter(|name| agreed(name)).collect()));
    }
    if body.subject.is_some() && !rights.roles().contains(&Role::Subject) {
        return Err((Code::InvalidBody, "/subject"));
    }
    let (lifetimes, unless_told) = match body.subject {
        Some(_) => (OWN_LIFETIMES, DEFAULT_OWN_LIFETIME),
        None => (LIFETIMES, DEFAULT_LIFETIME),
    };
    let lifetime = body.lifetime_seconds.unwrap_or(unless_told);
    if !lifetimes.contains(&lifetime) {
        return Err((Code::InvalidBody, "/lifetime_seconds"));
    }
    Ok(Grant { purposes, fields, actions, region, subject: body.subject, lifetime })
}

/// No more than the portal's own token is good for; `None` where that is nothing.
fn narrowed(mut grant: Grant, portal: &Caller, now: Timestamp) -> Option<Grant> {
    grant.purposes.retain(|purpose| portal.purposes.contains(purpose));
    if let Some(fields) = &portal.fields {
        let asked = grant.fields.take();
        let wanted = |name: &&String| asked.as_ref().is_none_or(|asked| asked.contains(name));
        grant.fields = Some(fields.iter().filter(wanted).cloned().collect());
    }
    if let Some(actions) = &portal.actions {
        let asked = grant.actions.take();
        let wanted = |id: &String| id != Operation::IssueToken.text() && asked.as_ref().is_none_or(|asked| asked.contains(id));
        let left: Vec<String> = actions.iter().map(|action| action.text().to_owned()).filter(wanted).collect();
        if left.is_empty() {
            return None;
        }
        grant.actions = Some(left);
    }
    if portal.region.is_some() {
        grant.region.clone_from(&portal.region);
    }
    let left = portal.expires_at.duration_since(now).as_secs().max(0) as u64;
    grant.lifetime = grant.lifetime.min(left);
    (grant.lifetime > 0).then_some(grant)
}

/// The day of a time, in UTC.
fn day(now: Timestamp) -> jiff::civil::Date {
    now.to_zoned_datetime(TimeZone::UTC).date()
}

struct Made {
    digest: [u8; 32],
    row: TokenRow,
    text: String,
}

fn make(core: &Core, caller: CallerId, grant: Grant) -> Result<Made, Refused> {
    let text = token_text(&keys::random::bytes::<32>()?);
    let digest = core.hierarchy.token_digest(&text);
    let lifetime = SignedDuration::from_secs(grant.lifetime as i64);
    let expires_at = core.clock.now().checked_add(lifetime).map_err(|_| Code::Internal)?;
    let row = TokenRow {
        id: fresh()?,
        caller: *caller.bytes(),
        purposes: grant.purposes,
        fields: grant.fields,
        expires_at: expires_at.as_microsecond(),
        subject: grant.subject.map(|subject| *subject.bytes()),
        actions: grant.actions,
        region: grant.region,
        inner: Some(keys::Hierarchy::token_inner(&text)),
        since: core.registry.caller(&caller).map_or(0, |owner| owner.version),
    };
    Ok(Made { digest, row, text })
}

/// What becomes of a token's row when the row key and the token key turn over.
pub(crate) enum TurnedOver {
    /// It is as it should be; `is_old` where it is known by the old token key alone.
    Current { is_old: bool },
    /// The row from now on.
    Row { row: Row, is_old: bool },
    /// It was revoked since.
    Revoked,
}

/// A token's row under the newest row key, named under the newest token key.
pub(crate) fn turned_over(core: &Core, key: &[u8], sealed: &[u8]) -> Result<TurnedOver, Refused> {
    let plain = core.hierarchy.open_row(key, sealed)?;
    let row: TokenRow = unpack(plain.bytes())?;
    let owner = core.registry.caller(&CallerId::from_bytes(row.caller));
    if owner.is_some_and(|owner| row.since < owner.revoked_below) {
        return Ok(TurnedOver::Revoked);
    }
    let is_old = row.inner.is_none();
    let newest = row.inner.and_then(|inner| core.hierarchy.token_digest_of_inner(&inner));
    let name = newest.map_or_else(|| key.to_vec(), |digest| RowKey::Token(digest).bytes());
    if name == key && core.hierarchy.age_of(SystemKey::Row, sealed) == Some(0) {
        return Ok(TurnedOver::Current { is_old });
    }
    let value = core.hierarchy.seal_row(&name, plain.bytes())?;
    Ok(TurnedOver::Row { row: (name, value), is_old })
}

impl Made {
    /// The row that keeps it. A person's own token has none: nothing on a disk leads from it to the person.
    fn change(&self, core: &Core) -> Result<Option<RowChange>, Refused> {
        if self.row.subject.is_some() {
            return Ok(None);
        }
        let key = RowKey::Token(self.digest).bytes();
        let sealed = core.hierarchy.seal_row(&key, &pack(&self.row)?)?;
        Ok(Some(RowChange { key, expect: Expect::Fresh, value: Some(sealed) }))
    }

    fn view(&self) -> Result<Vec<u8>, Refused> {
        let row = &self.row;
        let detail = AuthorizationDetail {
            r#type: AuthorizationDetail::TYPE.to_owned(),
            actions: row.actions.clone(),
            purposes: Some(row.purposes.clone()),
            fields: row.fields.clone(),
            regions: row.region.clone().map(|region| vec![region]),
        };
        let view = TokenView {
            id: TokenId::from_bytes(row.id),
            token: self.text.clone(),
            expires_at: time(row.expires_at),
            subject: row.subject.map(SubjectId::from_bytes),
            authorization_details: [detail],
        };
        serde_json::to_vec(&view).map_err(|_| Code::Internal.into())
    }
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
    if body.region.as_ref().is_some_and(|region| !tenant.has_region(region)) {
        return Err((Code::InvalidBody, "/region"));
    }
    if body.source.as_ref().is_some_and(|source| tenant.source(source).is_none()) {
        return Err((Code::InvalidBody, "/source"));
    }
    if let Some(partner) = &body.partner {
        let partner = tenant.partner(partner).ok_or((Code::RecipientUnknown, "/partner"))?;
        if body.purposes.iter().any(|purpose| !partner.purposes.contains(purpose)) {
            return Err((Code::InvalidBody, "/purposes"));
        }
    }
    if body.external.as_ref().is_some_and(|external| !is_external(external)) {
        return Err((Code::InvalidBody, "/external"));
    }
    if body.certificate.as_ref().is_some_and(|thumbprint| !is_thumbprint(thumbprint)) {
        return Err((Code::InvalidBody, "/certificate"));
    }
    Ok(())
}

/// `issuer|sub`, both visible ASCII.
fn is_external(text: &str) -> bool {
    let visible = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic());
    text.len() <= LONGEST_EXTERNAL && text.split_once('|').is_some_and(|(issuer, sub)| visible(issuer) && visible(sub))
}

/// SHA-256 in base64url without padding, in its one form.
fn is_thumbprint(text: &str) -> bool {
    BASE64_URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == 32)
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
        region: body.region.clone(),
        source: body.source.clone(),
        partner: body.partner.clone(),
        external: body.external.clone(),
        certificate: body.certificate.clone(),
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
