//! recordConsent and listConsents: the ledger of what a person said to a purpose, one event each, never changed again.
//!
//! The newest event of each purpose and kind stands in the subject's own row too, where the next decision reads it.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;

use crate::audit::Outcome;
use crate::audit::view::hex;
use crate::model::caller::{Operation, Role};
use crate::model::code::Code;
use crate::model::ids::{CallerId, ConsentId, SubjectId};
use crate::model::purpose::{Group, Purpose};
use crate::model::rules::Basis;
use crate::model::standing::{Consent, ConsentState, Extension, RestrictionKind, Standing};
use crate::model::states::CONSENT;
use crate::model::wire::{ConsentView, ConsentWord, ConsentsPage, Page, RecordConsent};
use crate::store::layout::{RowKey, prefix};
use crate::tenant::Tenant;

use super::call::{Answer, Call, Refused};
use super::committer::{Change, Expect, RowChange};
use super::core::{Core, Person, fresh, key_group};
use super::idempotency::{self, Held, Owner};
use super::lifecycle::Vault;
use super::preferences;
use super::receipts;
use super::records::is_word;
use super::rows::{ConsentRow, NoticeRow, SubjectRow, pack, time, unpack};
use super::standing::amend;

/// How often an event is tried again when the subject's row changed under it.
const TRIES: usize = 4;

/// The longest evidence, in characters.
const LONGEST_EVIDENCE: usize = 256;

/// What `ground` says of a group that is kept longer because the person agreed to it (C10).
const BY_CONSENT: &str = "consent-extension";

/// Events on a page unless told, and at most.
const PAGE: usize = 50;
const LARGEST_PAGE: usize = 500;

impl Vault {
    /// recordConsent: one event. Giving, refusing and taking back are the same call; the next decision knows of it.
    pub async fn record_consent(&self, call: &Call, id: SubjectId, body: RecordConsent) -> Result<Answer, Refused> {
        let opened = self.opened()?;
        let core = &opened.core;
        let held = match idempotency::begin(core, &self.0.in_flight, call, Operation::RecordConsent)?.first() {
            Ok(held) => held,
            Err(answer) => return Ok(*answer),
        };
        for _ in 0..TRIES {
            let (change, answer) = prepare(core, call, id, &body, held.as_ref())?;
            match opened.committer.commit(change).await {
                Ok(()) => return Ok(answer),
                Err(refused) if refused.code == Code::Stale => continue,
                Err(refused) => return Err(refused),
            }
        }
        Err(Code::Overloaded.into())
    }

    /// listConsents: the ledger, oldest first. Who may not know the person sees the tag of the trail instead of the id.
    pub async fn consents(&self, call: &Call, id: SubjectId, page: Page) -> Result<Answer, Refused> {
        let operation = Operation::ListConsents;
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = core.tenant(&call.caller)?;
        let Some(person) = core.person(&tenant, id)? else { return Err(core.missing(call, operation, &tenant, id)) };
        let about = person.facts(&tenant, core.clock.now());
        let facts = core.facts_about(&tenant, call, &person, &about);
        let allowed = core.decide(call, operation, &facts, Some(person.tag))?;
        let context = [b"cursor-consents".as_slice(), call.caller.id.bytes(), id.bytes()].concat();
        let after = page.cursor.as_deref().map(|cursor| place(core, &context, cursor)).transpose()?;
        let mut entry = core.entry(call, operation, Outcome::Allowed)?;
        entry.tag = Some(person.tag);
        let admitted = core.admit(&allowed, entry).await?;

        let mut events = ledger(core, &person)?;
        events.sort_by_key(|row| (row.event.at, row.event.id));
        if let Some(after) = after {
            events.retain(|row| (row.event.at, row.event.id) > after);
        }
        let limit = page.limit.unwrap_or(PAGE).clamp(1, LARGEST_PAGE);
        let more = events.len() > limit;
        events.truncate(limit);
        let next_cursor = match events.last().filter(|_| more) {
            Some(last) => Some(cursor(core, &context, last)?),
            None => None,
        };
        let known = call.caller.roles.iter().any(|role| *role != Role::Auditor);
        let views: Vec<ConsentView> = events.iter().map(|row| view(&person, row, known)).collect();
        let (subject, tag) = if known { (Some(id), None) } else { (None, Some(hex(&person.tag))) };
        let list = ConsentsPage { subject, tag, consents: views, next_cursor };
        let body = serde_json::to_vec(&list).map_err(|_| Code::Internal)?;
        Ok(Answer { decision: Some(admitted.decision), body: Some(body), ..Answer::default() })
    }
}

/// An event in the making.
pub(crate) struct Event {
    pub(crate) purpose: String,
    pub(crate) kind: String,
    pub(crate) state: ConsentState,
    pub(crate) until: Option<i64>,
    pub(crate) notice: Option<NoticeRow>,
    pub(crate) evidence: Option<String>,
    pub(crate) extend_until: Option<i64>,
    /// The categories that it is about; those of the purpose as it is, unless told.
    pub(crate) categories: Option<Vec<String>>,
}

impl Event {
    /// One that says nothing but a new state.
    pub(crate) fn bare(purpose: &str, kind: &str, state: ConsentState) -> Self {
        let (purpose, kind) = (purpose.to_owned(), kind.to_owned());
        Self { purpose, kind, state, until: None, notice: None, evidence: None, extend_until: None, categories: None }
    }
}

fn prepare(
    core: &Core,
    call: &Call,
    id: SubjectId,
    body: &RecordConsent,
    held: Option<&Held<'_>>,
) -> Result<(Change, Answer), Refused> {
    let operation = Operation::RecordConsent;
    let tenant = core.tenant(&call.caller)?;
    let Some(person) = core.person(&tenant, id)? else { return Err(core.missing(call, operation, &tenant, id)) };
    let about = person.facts(&tenant, core.clock.now());
    core.decide(call, operation, &core.facts_about(&tenant, call, &person, &about), Some(person.tag))?;
    let event = checked(core, &tenant, &person, body).map_err(|refused| {
        let noted = core.refuse(call, operation, refused.code, Some(person.tag));
        Refused { pointer: refused.pointer, ..noted }
    })?;
    let mut change = Change::default();
    let row = add(core, &tenant, &person, &mut change, Some(call), vec![event], |_| Ok(()))?;
    let row = row.first().ok_or(Code::Internal)?;
    let entry = change.entries.last().ok_or(Code::Internal)?;
    let answer = Answer {
        decision: Some(entry.decision),
        made: true,
        etag: None,
        body: Some(serde_json::to_vec(&view(&person, row, true)).map_err(|_| Code::Internal)?),
        location: Some(receipt_address(id, ConsentId::from_bytes(row.event.id))),
        ..Answer::default()
    };
    if let Some(held) = held {
        change.rows.push(held.keep(core, &Owner::Subject(id.bytes(), &person.keys), &answer)?);
    }
    Ok((change, answer))
}

/// What a body says, if it can be said.
fn checked(core: &Core, tenant: &Tenant, person: &Person, body: &RecordConsent) -> Result<Event, Refused> {
    let invalid = |pointer: &str| Refused::at(Code::InvalidBody, pointer);
    let purpose = tenant.purpose(&body.purpose).ok_or_else(|| Refused::at(Code::PurposeNotPublished, "/purpose"))?;
    if !purpose.classes.contains(&person.row.class) {
        return Err(Refused::at(Code::SubjectClassMismatch, "/purpose"));
    }
    let kind = kind(tenant, purpose, &body.kind)?;
    let now = core.clock.now();
    let state = match body.state {
        ConsentWord::Given => ConsentState::Given,
        ConsentWord::Refused => ConsentState::Refused,
        ConsentWord::Withdrawn => ConsentState::Withdrawn,
    };
    let given = state == ConsentState::Given;
    if body.until.is_some_and(|until| !given || until <= now) {
        return Err(invalid("/until"));
    }
    if body.extend_retention_until.is_some_and(|until| !given || until <= now || purpose.group.is_none()) {
        return Err(invalid("/extend_retention_until"));
    }
    if body.evidence.as_ref().is_some_and(|text| text.is_empty() || text.chars().count() > LONGEST_EVIDENCE) {
        return Err(invalid("/evidence"));
    }
    let notice = match &body.notice {
        Some(notice) if ![&notice.policy_version, &notice.language, &notice.channel].into_iter().all(|text| is_word(text)) => {
            return Err(invalid("/notice"));
        }
        Some(notice) => Some(NoticeRow {
            policy_version: notice.policy_version.clone(),
            language: notice.language.clone(),
            channel: notice.channel.clone(),
            shown_at: notice.shown_at.as_microsecond(),
        }),
        None => None,
    };
    let notice = notice.map(|notice| match notice.policy_version.as_str() {
        "current" => NoticeRow { policy_version: tenant.version().to_owned(), ..notice },
        _ => notice,
    });
    // What was not shown was not agreed to: the categories that a consent covers are those of the version in force.
    if given && notice.as_ref().is_some_and(|notice| notice.policy_version != tenant.version()) {
        return Err(invalid("/notice/policy_version"));
    }
    if given && notice.is_none() && !shown(person, tenant) {
        return Err(Refused::at(Code::NoticeRequired, "/notice"));
    }
    Ok(Event {
        purpose: purpose.id.clone(),
        kind,
        state,
        until: body.until.map(Timestamp::as_microsecond),
        notice,
        evidence: body.evidence.clone(),
        extend_until: body.extend_retention_until.map(Timestamp::as_microsecond),
        categories: None,
    })
}

/// Whether the person was shown the version in force before.
fn shown(person: &Person, tenant: &Tenant) -> bool {
    let created = person.row.notice.iter().map(|notice| &notice.policy_version);
    let later = person.row.standing.notices.iter().map(|notice| &notice.policy_version);
    created.chain(later).any(|version| version == tenant.version())
}

/// A kind in its one form: `separate:partner:{id}` is the same as with the event's purpose behind it (p36).
fn kind(tenant: &Tenant, purpose: &Purpose, text: &str) -> Result<String, Refused> {
    let parts: Vec<&str> = text.split(':').collect();
    let known = |partner: &str| match tenant.partner(partner) {
        Some(_) => Ok(()),
        None => Err(Refused::at(Code::RecipientUnknown, "/kind")),
    };
    match parts[..] {
        ["general" | "separate"] => Ok(text.to_owned()),
        ["separate", "partner", partner] => known(partner).map(|()| format!("{text}:{}", purpose.id)),
        ["separate", "partner", partner, own] if own == purpose.id => known(partner).map(|()| text.to_owned()),
        ["explicit", "partner", partner, field] => {
            known(partner)?;
            tenant.field(field).map_err(|code| Refused::at(code, "/kind"))?;
            Ok(text.to_owned())
        }
        _ => Err(Refused::at(Code::InvalidBody, "/kind")),
    }
}

/// Adds events to the ledger and to what stands about the person, as one part of `change`, with an entry each; `more` is
/// done to the subject's row in the same go. The vault itself records where there is no call.
pub(crate) fn add(
    core: &Core,
    tenant: &Tenant,
    person: &Person,
    change: &mut Change,
    call: Option<&Call>,
    events: Vec<Event>,
    more: impl FnOnce(&mut SubjectRow) -> Result<(), Refused>,
) -> Result<Vec<ConsentRow>, Refused> {
    let now = core.clock.now();
    let scheduler = super::erasure::by_vault::scheduler(core, tenant);
    let (mut rows, mut entries) = (Vec::with_capacity(events.len()), Vec::with_capacity(events.len()));
    for event in events {
        let purpose = tenant.purpose(&event.purpose).ok_or(Code::PurposeNotPublished)?;
        let mut entry = core.entry(call.unwrap_or(&scheduler), Operation::RecordConsent, Outcome::Allowed)?;
        entry.tag = Some(person.tag);
        entry.purpose = Some(purpose.id.clone());
        let consent = Consent {
            id: fresh()?,
            purpose: event.purpose,
            kind: event.kind,
            state: event.state,
            at: now.as_microsecond(),
            until: event.until,
            policy_version: tenant.version().to_owned(),
            categories: event.categories.unwrap_or_else(|| purpose.categories.iter().cloned().collect()),
            destroy_at: None,
        };
        rows.push(ConsentRow {
            event: consent,
            notice: event.notice,
            evidence: event.evidence,
            by: call.map(|call| *call.caller.id.bytes()),
            extend_until: event.extend_until,
            near: core.trail.size(),
            decision: *entry.decision.bytes(),
            receipt: String::new(),
        });
        entries.push(entry);
    }
    let mut opened = Vec::new();
    amend(core, person, change, |subject| {
        for row in &mut rows {
            let SubjectRow { jurisdiction, class, standing, .. } = subject;
            let before = standing.consent(&row.event.purpose, &row.event.kind).map_or("none", |before| before.state.word());
            if CONSENT.next(before, row.event.state.action()).is_none() {
                return Err(Code::StateConflict.into());
            }
            if let Some(group) = apply(standing, jurisdiction, class, tenant, row, now) {
                opened.push(group);
                preferences::consented(&mut subject.standing, tenant, &row.event.purpose, now);
            }
        }
        if let Some(call) = call {
            preferences::relayed(&mut subject.standing, call, now);
        }
        more(subject)
    })?;
    for (row, mut entry) in rows.iter_mut().zip(entries) {
        let purpose = tenant.purpose(&row.event.purpose).ok_or(Code::PurposeNotPublished)?;
        row.receipt = receipts::receipt(core, tenant, person, purpose, row)?;
        entry.note = crate::audit::receipt::note(ConsentId::from_bytes(row.event.id), &row.receipt);
        change.entries.push(entry);
        let key = RowKey::Consent(person.id, ConsentId::from_bytes(row.event.id)).bytes();
        let sealed = person.keys.seal_row(&key, &pack(&*row)?)?;
        change.rows.push(RowChange { key, expect: Expect::Fresh, value: Some(sealed) });
    }
    // A group that was destroyed gets a fresh key: what was written before stays unreadable.
    for group in opened {
        if person.dead().contains(group) {
            change.groups.push((*person.id.bytes(), keys::GroupSet::EMPTY.with(key_group(group)?)));
        }
    }
    Ok(rows)
}

/// Puts an event in the place of the one before it of the same purpose and kind, sets or calls off the destruction of the
/// group's key, and lengthens or shortens its retention. Gives the group that a given consent makes live.
fn apply(
    standing: &mut Standing,
    jurisdiction: &str,
    class: &str,
    tenant: &Tenant,
    row: &mut ConsentRow,
    now: Timestamp,
) -> Option<Group> {
    let group = tenant.purpose(&row.event.purpose)?.group;
    let before = standing.consents.iter().position(|own| own.purpose == row.event.purpose && own.kind == row.event.kind);
    let before = before.map(|place| standing.consents.swap_remove(place));
    if let Some(before) =
        before.as_ref().filter(|_| row.event.state == ConsentState::Requested && !row.event.categories.is_empty())
    {
        // Asked for more than was given: what was given stays, for what it was given.
        standing.consents.push(before.clone());
        return None;
    }
    standing.consents.push(row.event.clone());
    let group = group?;
    let by_consent = |extension: &Extension| extension.group == group.number() && extension.ground == BY_CONSENT;
    match row.event.state {
        ConsentState::Given => {
            call_off(standing, tenant, group);
            if let Some(until) = row.extend_until {
                standing.extensions.retain(|extension| !by_consent(extension));
                standing.extensions.push(Extension { group: group.number(), ground: BY_CONSENT.into(), until });
            }
            return Some(group);
        }
        ConsentState::Withdrawn | ConsentState::Refused => {
            let stood = |state| matches!(state, ConsentState::Given | ConsentState::Requested);
            let ended = before.is_some_and(|before| stood(before.state) || before.destroy_at.is_some());
            standing.extensions.retain(|extension| !by_consent(extension));
            let own = ["general", "separate"].contains(&row.event.kind.as_str());
            if own && ended && !is_needed(standing, tenant, jurisdiction, class, group, now) {
                let at = now.checked_add(tenant.withdrawal_grace()).unwrap_or(Timestamp::MAX).as_microsecond();
                row.event.destroy_at = Some(at);
                if let Some(own) = standing.consents.last_mut() {
                    own.destroy_at = Some(at);
                }
            }
        }
        ConsentState::Expired | ConsentState::Requested => {}
    }
    None
}

/// Whether some purpose of the group still has a basis in force for the person.
pub(crate) fn is_needed(
    standing: &Standing,
    tenant: &Tenant,
    jurisdiction: &str,
    class: &str,
    group: Group,
    now: Timestamp,
) -> bool {
    let purposes = tenant.purposes().iter().filter(|purpose| purpose.group == Some(group) && purpose.classes.contains(class));
    let mut bases = purposes.filter_map(|purpose| Some((purpose, tenant.basis(purpose, jurisdiction, class)?)));
    bases.any(|(purpose, rule)| match rule.basis {
        Basis::Consent => {
            let waits = |state| matches!(state, ConsentState::Given | ConsentState::Requested);
            newest(standing, tenant, purpose, &rule.consent).is_some_and(|own| waits(own.state(now)))
        }
        Basis::Contract => standing.contracts.iter().any(|contract| contract.is_active(now)),
        Basis::Account => standing.closed_at.is_none(),
        Basis::LegitimateInterest => {
            let objects = |own: &&_| matches!(own, crate::model::standing::Restriction { kind: RestrictionKind::Objection, .. });
            !standing.restrictions.iter().filter(objects).any(|own| own.covers(&purpose.id))
        }
        Basis::LegalObligation => true,
    })
}

/// The newest event that a purpose goes by, as G7 does: its own, else that of the nearest purpose that it is a part of. Where a
/// general consent is enough, a separate one is too.
pub(crate) fn newest<'a>(standing: &'a Standing, tenant: &Tenant, purpose: &Purpose, kind: &str) -> Option<&'a Consent> {
    let mut own = purpose;
    loop {
        let separate = standing.consent(&own.id, "separate");
        let general = if kind == "separate" { None } else { standing.consent(&own.id, "general") };
        if let Some(consent) = [general, separate].into_iter().flatten().max_by_key(|event| event.at) {
            return Some(consent);
        }
        own = tenant.purpose(own.parent.as_deref()?)?;
    }
}

/// The destruction of the group's key is called off, whichever withdrawal it came from.
fn call_off(standing: &mut Standing, tenant: &Tenant, group: Group) {
    let of_group = |consent: &&mut Consent| tenant.purpose(&consent.purpose).and_then(|purpose| purpose.group) == Some(group);
    standing.consents.iter_mut().filter(of_group).for_each(|consent| consent.destroy_at = None);
}

/// The keys of these groups are gone: nothing is left to destroy.
pub(crate) fn destroyed(standing: &mut Standing, tenant: &Tenant, groups: keys::GroupSet) {
    let groups = crate::model::purpose::GroupSet::from_bits(groups.bits());
    groups.iter().for_each(|group| call_off(standing, tenant, group));
}

/// Every event of a person, in no order.
pub(crate) fn ledger(core: &Core, person: &Person) -> Result<Vec<ConsentRow>, Refused> {
    let (mut rows, mut after): (Vec<ConsentRow>, Option<Vec<u8>>) = (Vec::new(), None);
    loop {
        let page = core.store.scan(&prefix::consents(&person.id), after.as_deref(), 500)?;
        let Some((last, _)) = page.last() else { return Ok(rows) };
        after = Some(last.clone());
        for (key, sealed) in &page {
            rows.push(unpack(person.keys.open_row(key, sealed)?.bytes())?);
        }
    }
}

fn view(person: &Person, row: &ConsentRow, known: bool) -> ConsentView {
    let event = &row.event;
    let id = ConsentId::from_bytes(event.id);
    ConsentView {
        id,
        purpose: event.purpose.clone(),
        kind: event.kind.clone(),
        state: event.state,
        at: time(event.at),
        until: event.until.map(time),
        policy_version: event.policy_version.clone(),
        categories: event.categories.clone(),
        destroy_at: event.destroy_at.map(time),
        extend_retention_until: row.extend_until.map(time),
        recorded_by: row.by.map(CallerId::from_bytes),
        receipt: known.then(|| receipt_address(person.id, id)),
    }
}

fn receipt_address(subject: SubjectId, consent: ConsentId) -> String {
    format!("/v1/subjects/{subject}/consents/{consent}/receipt")
}

/// A place in the ledger: time and id of the last event that was shown.
type Place = (i64, [u8; 16]);

fn cursor(core: &Core, context: &[u8], last: &ConsentRow) -> Result<String, Refused> {
    let plain = [last.event.at.to_be_bytes().as_slice(), &last.event.id].concat();
    Ok(BASE64_URL_SAFE_NO_PAD.encode(core.hierarchy.seal_row(context, &plain)?))
}

fn place(core: &Core, context: &[u8], cursor: &str) -> Result<Place, Refused> {
    let sealed = BASE64_URL_SAFE_NO_PAD.decode(cursor).map_err(|_| Code::BadCursor)?;
    let plain = core.hierarchy.open_row(context, &sealed).map_err(|_| Code::BadCursor)?;
    let (at, id) = plain.bytes().split_first_chunk::<8>().ok_or(Code::BadCursor)?;
    Ok((i64::from_be_bytes(*at), id.try_into().map_err(|_| Code::BadCursor)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::TenantId;
    use crate::model::standing::{Contract, Restriction};
    use crate::tenant::Sources;

    const NOW: i64 = 1_800_000_000_000_000;

    fn tenant(grace: &str) -> Tenant {
        let text = Sources::SHIPPED.tenant.replace("\"PT24H\"", &format!("\"{grace}\""));
        Tenant::read(TenantId::from_bytes([1; 16]), &Sources { tenant: &text, ..Sources::SHIPPED }).unwrap()
    }

    fn said(purpose: &str, state: ConsentState) -> ConsentRow {
        let event = Consent {
            id: [7; 16],
            purpose: purpose.to_owned(),
            kind: "general".into(),
            state,
            at: NOW,
            until: None,
            policy_version: "1".into(),
            categories: Vec::new(),
            destroy_at: None,
        };
        let receipt = String::new();
        ConsentRow { event, notice: None, evidence: None, by: None, extend_until: None, near: 0, decision: [0; 16], receipt }
    }

    /// What stands after these were said, one after the other, and when the last of them has the key destroyed.
    fn after(tenant: &Tenant, standing: Standing, all: &[(&str, ConsentState)]) -> (Standing, Option<i64>) {
        let mut person = Who { standing, jurisdiction: "DE".into(), class: "consumer".into() };
        let mut last = None;
        for (purpose, state) in all {
            let mut row = said(purpose, *state);
            apply(&mut person.standing, &person.jurisdiction, &person.class, tenant, &mut row, time(NOW));
            last = row.event.destroy_at;
        }
        (person.standing, last)
    }

    struct Who {
        standing: Standing,
        jurisdiction: String,
        class: String,
    }

    #[test]
    fn the_key_goes_after_the_grace_that_the_tenant_sets_and_with_none_at_once() {
        use ConsentState::{Given, Withdrawn};
        let all = [("c-marketing", Given), ("c-marketing", Withdrawn)];
        assert_eq!(after(&tenant("PT24H"), Standing::default(), &all).1, Some(NOW + 24 * 3_600_000_000));
        assert_eq!(after(&tenant("PT0S"), Standing::default(), &all).1, Some(NOW));
        // Nothing was ever given, so nothing is to be taken away; saying no after yes is taking back.
        assert_eq!(after(&tenant("PT0S"), Standing::default(), &all[1..]).1, None);
        let refused = [("c-marketing", Given), ("c-marketing", ConsentState::Refused)];
        assert_eq!(after(&tenant("PT0S"), Standing::default(), &refused).1, Some(NOW));
    }

    #[test]
    fn the_key_stays_while_another_purpose_of_the_group_has_a_basis() {
        use ConsentState::{Given, Withdrawn};
        let tenant = tenant("PT0S");
        let sibling = [("c-marketing", Given), ("c-events", Given), ("c-marketing", Withdrawn)];
        assert_eq!(after(&tenant, Standing::default(), &sibling).1, None);
        let last = [sibling.as_slice(), &[("c-events", Withdrawn)]].concat();
        assert_eq!(after(&tenant, Standing::default(), &last).1, Some(NOW));
        // The group of support also answers messages, as long as there is an account.
        let errors = [("i-errors", Given), ("i-errors", Withdrawn)];
        assert_eq!(after(&tenant, Standing::default(), &errors).1, None);
        let closed = Standing { closed_at: Some(1), ..Standing::default() };
        assert_eq!(after(&tenant, closed.clone(), &errors).1, None, "improving rests on a legitimate interest");
        let objection = Restriction {
            id: [1; 16],
            kind: RestrictionKind::Objection,
            purposes: Vec::new(),
            at: 1,
            exceptions: Vec::new(),
            records: Vec::new(),
            by: [2; 16],
            case: None,
            review_at: None,
            active: true,
        };
        let objecting = Standing { restrictions: vec![objection], ..closed };
        assert_eq!(after(&tenant, objecting, &errors).1, Some(NOW));
    }

    #[test]
    fn a_consent_to_any_purpose_of_the_group_calls_the_destruction_off() {
        use ConsentState::{Given, Withdrawn};
        let tenant = tenant("PT24H");
        let all = [("c-marketing", Given), ("c-marketing", Withdrawn), ("c-survey", Given)];
        let (standing, _) = after(&tenant, Standing::default(), &all);
        assert!(standing.consents.iter().all(|consent| consent.destroy_at.is_none()));
        assert_eq!(standing.consents.len(), 2, "one of each purpose and kind");
        let (standing, due) = after(&tenant, standing, &[("c-survey", Withdrawn)]);
        assert!(due.is_some());
        let mut gone = standing;
        destroyed(&mut gone, &tenant, keys::GroupSet::from_bits(1 << 4).unwrap());
        assert!(gone.consents.iter().all(|consent| consent.destroy_at.is_none()));
    }

    #[test]
    fn a_contract_in_force_keeps_its_group_needed() {
        let tenant = tenant("PT0S");
        let contract = |active| Contract { reference: "a".into(), active, from: "2026-01-01".into(), until: None };
        let standing = |active| Standing { contracts: vec![contract(active)], closed_at: Some(1), ..Standing::default() };
        let needed =
            |standing: &Standing, group| is_needed(standing, &tenant, "DE", "consumer", tenant.group(group).unwrap(), time(NOW));
        assert!(needed(&standing(true), "contract"));
        assert!(!needed(&standing(true), "marketing") && !needed(&Standing::default(), "marketing"));
    }
}
