//! putIncident and getIncident: what went wrong, whom it concerns, and by when whom to tell (GDPR Art. 33 and 34).
//!
//! `scope` finds out whom it concerns, `clocks` by when which authority is told, `reports` tells the authorities, `letters` the
//! people. An incident's row holds numbers and words, and nothing of a person.

pub(crate) mod clocks;
pub(crate) mod letters;
pub(crate) mod reports;
pub(crate) mod scope;

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use jiff::civil::{Date, Time};
use minicbor::{Decode, Encode};

use crate::audit::Outcome;
use crate::model::caller::{Operation, Role};
use crate::model::code::Code;
use crate::model::ids::{CallerId, IncidentId, TokenId};
use crate::model::states::INCIDENT;
use crate::model::wire::{
    IncidentScope, IncidentStory, IncidentView, IncidentsPage, LettersView, Page, Phase, PutIncident, ReportView, Severity,
};
use crate::store::layout::{RowKey, prefix};
use crate::tenant::Tenant;
use crate::tenant::measures::looks_personal;

use super::call::{Answer, Call, Refused};
use super::committer::{Change, Expect, RowChange};
use super::core::{Core, fresh};
use super::lifecycle::{Opened, Vault};
use super::outbox::{self, Delivery, To};
use super::rows::{pack, time, unpack};

pub(crate) use clocks::{Signs, round};
pub(crate) use scope::Kept;

use scope::{Affected, ScopeRow};

/// Incidents or people on a page unless told, and at most.
const PAGE: usize = 50;
const LARGEST_PAGE: usize = 500;

/// Bytes of each of the three texts: they stand in one row, and in the letters.
const LONGEST_TEXT: usize = 800;

/// Digits of a number that could be a telephone's.
const TELEPHONE: usize = 8;

/// Seconds that the clock of whoever found an incident out may be ahead.
const AHEAD: i64 = 60;

/// Microseconds that it may lie back: ten years.
const BACK: i64 = 3_653 * 86_400 * 1_000_000;

/// An incident. Sealed under the vault's row key; nothing personal in it. Times are microseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct IncidentRow {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub tenant: [u8; 16],
    /// A number of the states of `model::states::INCIDENT`.
    #[n(1)]
    pub state: u8,
    /// What happened: `leaked-token`, `overdue-request`…
    #[n(2)]
    pub kind: String,
    /// When it was found out, from which the clocks run.
    #[n(3)]
    pub detected_at: i64,
    /// What it is about, by the text of its id.
    #[n(4)]
    pub about: Option<String>,
    #[n(5)]
    pub opened_at: i64,
    /// None for the vault itself.
    #[cbor(n(6), with = "minicbor::bytes")]
    pub opener: Option<[u8; 16]>,
    /// Counts its changes, from 1.
    #[n(7)]
    pub version: u64,
    /// A place in `Severity::ALL`.
    #[n(8)]
    pub severity: u8,
    #[n(9)]
    pub critical: bool,
    #[n(10)]
    pub scope: Option<ScopeRow>,
    #[n(11)]
    pub nature: Option<String>,
    #[n(12)]
    pub consequences: Option<String>,
    #[n(13)]
    pub measures: Option<String>,
    /// The most people of each jurisdiction that the scope ever had: an erasure stops no clock.
    #[n(14)]
    pub found: Vec<clocks::Found>,
    /// The authorities that were told, and when first. What they were told lies in the incident's file.
    #[n(15)]
    pub told: Vec<clocks::Told>,
    #[n(16)]
    pub letters: Option<letters::LettersRow>,
    /// What the privacy officer was told about the clocks.
    #[n(17)]
    pub alarms: Vec<clocks::AlarmRow>,
}

impl IncidentRow {
    fn new(core: &Core, tenant: &Tenant, kind: &str, opener: Option<CallerId>) -> Self {
        let now = core.clock.now().as_microsecond();
        Self {
            tenant: *tenant.id().bytes(),
            state: 0,
            kind: kind.to_owned(),
            detected_at: now,
            about: None,
            opened_at: now,
            opener: opener.map(|id| *id.bytes()),
            version: 1,
            severity: 1,
            critical: false,
            scope: None,
            nature: None,
            consequences: None,
            measures: None,
            found: Vec::new(),
            told: Vec::new(),
            letters: None,
            alarms: Vec::new(),
        }
    }

    /// The state by its name.
    pub(crate) fn state(&self) -> Result<&'static str, Refused> {
        INCIDENT.state(self.state).ok_or(Code::Internal.into())
    }

    fn etag(&self) -> String {
        format!("\"{}\"", self.version)
    }

    fn severity(&self) -> Severity {
        Severity::ALL.get(usize::from(self.severity)).copied().unwrap_or(Severity::Critical)
    }
}

impl Vault {
    /// putIncident: opens an incident under an id that the caller made, or changes the one there is.
    pub async fn put_incident(&self, call: &Call, id: IncidentId, body: PutIncident) -> Result<Answer, Refused> {
        let operation = Operation::PutIncident;
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = core.tenant(&call.caller)?;
        core.decide(call, operation, &core.facts(&tenant), None)?;
        let refuse = |code| core.refuse(call, operation, code, None);
        let old = load(core, id)?;
        match (&old, &call.if_match) {
            (Some((_, row)), _) if row.tenant != *tenant.id().bytes() => return Err(refuse(Code::NotFound)),
            (None, Some(_)) => return Err(refuse(Code::Stale)),
            (Some(_), None) => return Err(refuse(Code::IfMatchRequired)),
            (Some((_, row)), Some(version)) if *version != row.etag() => return Err(refuse(Code::Stale)),
            _ => {}
        }
        if let Err(pointer) = fits(core, &tenant, &body, old.as_ref().map(|(_, row)| row)) {
            return Err(Refused { pointer: Some(pointer.to_owned()), ..refuse(Code::InvalidBody) });
        }
        let before = old.as_ref().map(|(_, row)| row);
        let mut row = changed(core, &tenant, call, &body, before).map_err(|refused| refuse(refused.code))?;
        let scope = row.scope.clone();
        let affected = match &scope {
            Some(scope) => Some(look(&opened, &tenant, id, scope).await?),
            None => None,
        };
        let same_scope = before.is_some_and(|before| before.scope == row.scope);
        clocks::find(&mut row, affected.as_deref(), same_scope);
        let entry = core.entry(call, operation, Outcome::Allowed)?;
        let answer = Answer {
            decision: Some(entry.decision),
            made: old.is_none(),
            etag: Some(row.etag()),
            body: Some(serde_json::to_vec(&view(core, &tenant, id, &row)?).map_err(|_| Code::Internal)?),
            location: old.is_none().then(|| format!("/v1/incidents/{id}")),
            ..Answer::default()
        };
        let mut change = Change::noting(entry);
        clocks::alarm(core, &tenant, id, &mut row, &mut change)?;
        change.rows.push(put(core, id, old.map(|(stored, _)| stored), &row)?);
        match opened.committer.commit(change).await {
            Err(refused) if refused.code == Code::Stale => Err(refuse(Code::Stale)),
            Err(refused) => Err(refused),
            Ok(()) => Ok(answer),
        }
    }

    /// getIncident: whom it concerns as of now, a page of them, the clocks and what was told to whom. Auditors see tags alone.
    pub async fn incident(&self, call: &Call, id: IncidentId, page: Page) -> Result<Answer, Refused> {
        let operation = Operation::GetIncident;
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = core.tenant(&call.caller)?;
        let allowed = core.decide(call, operation, &core.facts(&tenant), None)?;
        let refuse = |code| core.refuse(call, operation, code, None);
        let Some((_, mut row)) = own(core, &tenant, id)? else { return Err(refuse(Code::NotFound)) };
        let context = [b"cursor-incident".as_slice(), id.bytes(), call.caller.id.bytes()].concat();
        let after = match &page.cursor {
            Some(cursor) => Some(open_cursor(core, &context, cursor).map_err(|refused| refuse(refused.code))?),
            None => None,
        };
        let affected = match &row.scope {
            Some(scope) => look(&opened, &tenant, id, scope).await?,
            None => Arc::default(),
        };
        clocks::find(&mut row, Some(&affected), true);
        let named = [Role::PrivacyOfficer, Role::SecurityOfficer].iter().any(|role| call.caller.roles.contains(role));
        let limit = page.limit.unwrap_or(PAGE).clamp(1, LARGEST_PAGE);
        let (people, last) = affected.page(core, &tenant, after, limit, named)?;
        let next_cursor = last.map(|tag| seal_cursor(core, &context, &tag)).transpose()?;
        let mut entry = core.entry(call, operation, Outcome::Allowed)?;
        entry.records = people.len() as u32;
        let admitted = core.admit(&allowed, entry).await?;
        let story = IncidentStory {
            incident: view(core, &tenant, id, &row)?,
            scope: row.scope.as_ref().map(ScopeRow::view),
            nature: row.nature.clone(),
            consequences: row.consequences.clone(),
            measures: row.measures.clone(),
            reports: reports::list(core, id)?.iter().map(report_view).collect(),
            affected: affected.view(&tenant, row.scope.as_ref().is_some_and(|scope| scope.epoch.is_some())),
            people,
            next_cursor,
        };
        Ok(Answer {
            decision: Some(admitted.decision),
            etag: Some(row.etag()),
            body: Some(serde_json::to_vec(&story).map_err(|_| Code::Internal)?),
            ..Answer::default()
        })
    }

    /// getIncident without an id: the register, with states and clocks.
    pub async fn incidents(&self, call: &Call, page: Page) -> Result<Answer, Refused> {
        let operation = Operation::GetIncident;
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = core.tenant(&call.caller)?;
        let allowed = core.decide(call, operation, &core.facts(&tenant), None)?;
        let context = [b"cursor-incidents".as_slice(), call.caller.id.bytes()].concat();
        let mut after = match &page.cursor {
            Some(cursor) => {
                let last = open_cursor(core, &context, cursor);
                let last = last.map_err(|refused| core.refuse(call, operation, refused.code, None))?;
                Some(RowKey::Incident(IncidentId::from_bytes(last)).bytes())
            }
            None => None,
        };
        let limit = page.limit.unwrap_or(PAGE).clamp(1, LARGEST_PAGE);
        let (mut incidents, mut last, mut more) = (Vec::new(), None, true);
        while more && incidents.len() < limit {
            let rows = core.store.scan(prefix::INCIDENTS, after.as_deref(), limit)?;
            more = rows.len() == limit;
            for (key, value) in rows {
                if incidents.len() == limit {
                    more = true;
                    break;
                }
                let (id, row) = opened_row(core, &key, &value)?;
                if row.tenant == *tenant.id().bytes() {
                    incidents.push(view(core, &tenant, id, &row)?);
                }
                (after, last) = (Some(key), Some(*id.bytes()));
            }
        }
        let next_cursor = last.filter(|_| more).map(|last| seal_cursor(core, &context, &last)).transpose()?;
        let entry = core.entry(call, operation, Outcome::Allowed)?;
        let admitted = core.admit(&allowed, entry).await?;
        let body = IncidentsPage { incidents, next_cursor };
        let body = serde_json::to_vec(&body).map_err(|_| Code::Internal)?;
        Ok(Answer { decision: Some(admitted.decision), body: Some(body), ..Answer::default() })
    }
}

/// Opens an incident that the vault itself found, with `change`, and tells the privacy officer.
pub(crate) fn by_vault(
    core: &Core,
    tenant: &Tenant,
    kind: &str,
    about: impl ToString,
    change: &mut Change,
) -> Result<IncidentId, Refused> {
    let id = IncidentId::from_bytes(fresh()?);
    let row = IncidentRow { about: Some(about.to_string()), ..IncidentRow::new(core, tenant, kind, None) };
    let delivery = Delivery { about: Some(*id.bytes()), ..Delivery::new(core, tenant, To::Officer, "incident-opened") };
    outbox::put(core, &delivery.with("incident", id).with("kind", kind), change)?;
    let key = RowKey::Incident(id).bytes();
    let value = Some(core.hierarchy.seal_row(&key, &pack(&row)?)?);
    change.rows.push(RowChange { key, expect: Expect::Fresh, value });
    Ok(id)
}

/// The stored bytes and the row of an incident.
pub(crate) fn load(core: &Core, id: IncidentId) -> Result<Option<(Vec<u8>, IncidentRow)>, Refused> {
    let key = RowKey::Incident(id).bytes();
    let Some(stored) = core.store.row(&key)? else { return Ok(None) };
    let row = unpack(core.hierarchy.open_row(&key, &stored)?.bytes())?;
    Ok(Some((stored, row)))
}

/// The same, where it is the controller's own.
fn own(core: &Core, tenant: &Tenant, id: IncidentId) -> Result<Option<(Vec<u8>, IncidentRow)>, Refused> {
    Ok(load(core, id)?.filter(|(_, row)| row.tenant == *tenant.id().bytes()))
}

fn opened_row(core: &Core, key: &[u8], value: &[u8]) -> Result<(IncidentId, IncidentRow), Refused> {
    let Some(RowKey::Incident(id)) = RowKey::parse(key) else { return Err(Code::StoreUnavailable.into()) };
    Ok((id, unpack(core.hierarchy.open_row(key, value)?.bytes())?))
}

/// Each incident of every controller.
fn each(core: &Core, mut take: impl FnMut(IncidentId, Vec<u8>, IncidentRow) -> Result<(), Refused>) -> Result<(), Refused> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = core.store.scan(prefix::INCIDENTS, after.as_deref(), LARGEST_PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(last.clone());
        for (key, value) in page {
            let (id, row) = opened_row(core, &key, &value)?;
            take(id, value, row)?;
        }
    }
}

/// The change of an incident's row from what was stored.
fn put(core: &Core, id: IncidentId, stored: Option<Vec<u8>>, row: &IncidentRow) -> Result<RowChange, Refused> {
    let key = RowKey::Incident(id).bytes();
    let value = Some(core.hierarchy.seal_row(&key, &pack(row)?)?);
    Ok(RowChange { key, expect: stored.map_or(Expect::Absent, Expect::Is), value })
}

/// Whom it concerns, found out on a thread that nobody waits on. The vault is sealed only when it has ended.
async fn look(opened: &Arc<Opened>, tenant: &Arc<Tenant>, id: IncidentId, scope: &ScopeRow) -> Result<Arc<Affected>, Refused> {
    let (opened, tenant, scope) = (opened.clone(), tenant.clone(), scope.clone());
    let looked = tokio::task::spawn_blocking(move || scope::affected(&opened.core, &tenant, id, &scope));
    looked.await.map_err(|_| Refused::from(Code::Internal))?
}

/// Whether an incident can be as the body has it, or where it cannot.
fn fits(core: &Core, tenant: &Tenant, body: &PutIncident, before: Option<&IncidentRow>) -> Result<(), &'static str> {
    if looks_personal(&body.kind) {
        return Err("/kind");
    }
    let detected_at = body.detected_at.as_microsecond();
    let too_late = body.detected_at.as_second() > core.clock.now().as_second() + AHEAD;
    // What is of another age is a slip of the hand, and its clocks would all have run out.
    let too_early = detected_at < core.clock.now().as_microsecond().saturating_sub(BACK)
        && before.is_none_or(|before| before.detected_at != detected_at);
    if too_late || too_early || before.is_some_and(|before| detected_at > before.detected_at) {
        return Err("/detected_at");
    }
    let texts = [("/nature", &body.nature), ("/consequences", &body.consequences), ("/measures", &body.measures)];
    for (pointer, text) in texts {
        if text.as_ref().is_some_and(|text| !is_plain(text)) {
            return Err(pointer);
        }
    }
    body.scope.as_ref().map_or(Ok(()), |scope| scope_fits(core, tenant, scope))
}

fn scope_fits(core: &Core, tenant: &Tenant, scope: &IncidentScope) -> Result<(), &'static str> {
    let names_something = scope.token.is_some()
        || scope.caller.is_some()
        || scope.certificate.is_some()
        || scope.group.is_some()
        || scope.epoch.is_some()
        || scope.from.is_some()
        || scope.until.is_some();
    if !names_something {
        return Err("/scope");
    }
    if scope.from.zip(scope.until).is_some_and(|(from, until)| until <= from) {
        return Err("/scope/until");
    }
    let is_digest = |text: &String| text.len() == 43 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if scope.certificate.as_ref().is_some_and(|text| !is_digest(text)) {
        return Err("/scope/certificate");
    }
    if scope.group.as_ref().is_some_and(|group| tenant.group(group).is_none()) {
        return Err("/scope/group");
    }
    let with_calls = scope.token.is_some() || scope.caller.is_some() || scope.certificate.is_some() || scope.changes;
    let with_times = scope.from.is_some() || scope.until.is_some();
    match scope.epoch {
        // An epoch's key opens whatever was there, whoever read it when.
        Some(epoch) if with_calls || with_times || epoch > core.hierarchy.epoch() => Err("/scope/epoch"),
        _ => Ok(()),
    }
}

/// Whether a text is short and names nobody: no address of the post or the network, no telephone number, no id that leads to a
/// person.
fn is_plain(text: &str) -> bool {
    if text.is_empty() || text.len() > LONGEST_TEXT || text.chars().any(|c| c.is_control() && c != '\n') {
        return false;
    }
    let mut digits = 0;
    for word in text.split_whitespace() {
        let word = word.trim_matches(|c: char| !c.is_alphanumeric() && c != '+');
        let whole_id = word.split_once('_').filter(|(before, after)| before.len() == 3 && after.len() >= 16);
        let of_nobody = word.parse::<TokenId>().is_ok() || word.parse::<CallerId>().is_ok() || word.parse::<IncidentId>().is_ok();
        let is_tag = word.len() >= 32 && word.bytes().all(|b| b.is_ascii_hexdigit());
        if word.contains('@') || (whole_id.is_some() && !of_nobody) || is_tag || word.parse::<IpAddr>().is_ok() {
            return false;
        }
        let is_time = word.parse::<Date>().is_ok() || word.parse::<jiff::Timestamp>().is_ok() || word.parse::<Time>().is_ok();
        let is_number = !word.is_empty() && word.chars().all(|c| c.is_ascii_digit() || "+-/().,".contains(c));
        digits = if is_number && !is_time { digits + word.bytes().filter(u8::is_ascii_digit).count() } else { 0 };
        if digits >= TELEPHONE {
            return false;
        }
    }
    true
}

/// The row as the body wants it, one step of the table further where the state is another.
fn changed(
    core: &Core,
    tenant: &Tenant,
    call: &Call,
    body: &PutIncident,
    before: Option<&IncidentRow>,
) -> Result<IncidentRow, Refused> {
    let mut row = before.cloned().unwrap_or_else(|| IncidentRow::new(core, tenant, &body.kind, Some(call.caller.id)));
    let state = row.state()?;
    let wanted = body.state.as_deref().unwrap_or(state);
    let action = match (before, state, wanted) {
        (None, _, "open") => None,
        (None, ..) => return Err(Code::StateConflict.into()),
        (Some(_), "open", "contained") => Some("contain"),
        (Some(_), "contained", "open") => Some("reopen"),
        (Some(_), "contained", "closed") => Some("close"),
        (Some(_), same, wanted) if same == wanted => Some("update"),
        _ => return Err(Code::StateConflict.into()),
    };
    if let Some(action) = action {
        let to = INCIDENT.next(state, action).ok_or(Code::StateConflict)?;
        row.state = INCIDENT.number(to).ok_or(Code::Internal)?;
        row.version += 1;
    }
    let scope = body.scope.as_ref().map(ScopeRow::of);
    // Letters that went out were to the people of the scope as it was: another scope is another incident.
    if row.letters.is_some() && row.scope != scope {
        return Err(Code::StateConflict.into());
    }
    row.kind.clone_from(&body.kind);
    row.detected_at = body.detected_at.as_microsecond();
    row.severity = Severity::ALL.iter().position(|own| *own == body.severity).unwrap_or(0) as u8;
    row.critical = body.critical_infrastructure;
    row.scope = scope;
    row.nature.clone_from(&body.nature);
    row.consequences.clone_from(&body.consequences);
    row.measures.clone_from(&body.measures);
    Ok(row)
}

fn view(core: &Core, tenant: &Tenant, id: IncidentId, row: &IncidentRow) -> Result<IncidentView, Refused> {
    let clocks = clocks::views(tenant, row, core.clock.now());
    let letters = row.letters.as_ref().map(|letters| LettersView {
        template: letters.template.clone(),
        begun_at: time(letters.begun_at),
        queued: letters.queued,
        done: letters.done,
    });
    Ok(IncidentView {
        id,
        kind: row.kind.clone(),
        state: row.state()?,
        severity: row.severity(),
        critical_infrastructure: row.critical,
        detected_at: time(row.detected_at),
        opened_at: time(row.opened_at),
        opened_by: row.opener.map(CallerId::from_bytes),
        about: row.about.clone(),
        overdue: clocks.iter().any(|clock| clock.overdue),
        clocks,
        letters,
    })
}

fn report_view(report: &reports::ReportRow) -> ReportView {
    ReportView {
        authority: report.authority.clone(),
        phase: Phase::ALL.get(usize::from(report.phase)).copied().unwrap_or(Phase::FollowUp),
        at: time(report.at),
        by: CallerId::from_bytes(report.by),
        sha256: crate::audit::view::hex(&report.sha256),
    }
}

fn seal_cursor(core: &Core, context: &[u8], last: &[u8; 16]) -> Result<String, Refused> {
    Ok(BASE64_URL_SAFE_NO_PAD.encode(core.hierarchy.seal_row(context, last)?))
}

fn open_cursor(core: &Core, context: &[u8], cursor: &str) -> Result<[u8; 16], Refused> {
    let sealed = BASE64_URL_SAFE_NO_PAD.decode(cursor).map_err(|_| Code::BadCursor)?;
    let plain = core.hierarchy.open_row(context, &sealed).map_err(|_| Code::BadCursor)?;
    plain.bytes().try_into().map_err(|_| Code::BadCursor.into())
}

/// How long an hour is.
const HOUR: SignedDuration = SignedDuration::from_hours(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_could_name_somebody_is_not_plain() {
        for plain in [
            "A token of the desk was found in a public repository.",
            "Between 2026-11-01 and 2026-11-03T10:00:00Z some 10,000 people's addresses were read, at 10:30 again.",
            "Token tok_00000000000000000000000000 was revoked; see ISO 27001 and CVE-2026-12345.",
            "Art. 33(3)(d): 1.\nKeys were rotated; 2. training.",
        ] {
            assert!(is_plain(plain), "{plain}");
        }
        for personal in [
            "",
            "ask ada@example.org",
            "(ada@example.org)",
            "call +49 30 1234567",
            "call 030/1234567.",
            "from 192.0.2.7",
            "from 2001:db8::1 too",
            "about sub_00000000000000000000000000",
            "tag 000102030405060708090a0b0c0d0e0f",
            "a\u{0}b",
        ] {
            assert!(!is_plain(personal), "{personal}");
        }
        assert!(!is_plain(&"a ".repeat(LONGEST_TEXT)));
    }
}
