//! Letters to the people whom an incident concerns (GDPR Art. 34), a page at a time: a page's letters and how far they have come are
//! one change, so that nobody is written to twice and nobody is left out, whenever the process ends.

use minicbor::{Decode, Encode};

use crate::audit::{Note, Outcome};
use crate::model::caller::Operation;
use crate::model::code::Code;
use crate::model::ids::{IncidentId, TenantId};
use crate::model::states::INCIDENT;
use crate::model::wire::{LettersView, NoticeKind, WriteLetters};
use crate::tenant::{Tenant, own_places};

use super::super::call::{Answer, Call, Refused};
use super::super::committer::{Change, Committer};
use super::super::core::Core;
use super::super::idempotency::{self, Begun, Owner};
use super::super::lifecycle::Vault;
use super::super::notices::{self, Letter};
use super::super::outbox::Word;
use super::super::records::is_word;
use super::super::rows::time;
use super::{IncidentRow, load, look, own, put, scope};

/// Letters in one change.
const PAGE: usize = 50;

/// How often a page is tried again because somebody changed the incident or one of its people.
const TRIES: usize = 8;

/// The letter unless told.
const TEMPLATE: &str = "incident";

/// How far the letters have come.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct LettersRow {
    #[n(0)]
    pub template: String,
    #[n(1)]
    pub begun_at: i64,
    /// People whose first entry in the trail is among these are written to: earlier ones were before.
    #[n(2)]
    pub from: u64,
    #[n(3)]
    pub until: u64,
    /// The last tag that was written to; none before the first and after the last.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub after: Option<[u8; 16]>,
    /// Letters that were put into the outbox so far.
    #[n(5)]
    pub queued: u64,
    #[n(6)]
    pub done: bool,
}

impl Vault {
    /// putIncident, letters to the people: begins them, or goes on where they were, by a page. The others are written by the vault
    /// itself with its next sweep, or by the next calls. When all were written to, a call writes to those who came into the scope
    /// since.
    pub async fn write_letters(&self, call: &Call, id: IncidentId, body: WriteLetters) -> Result<Answer, Refused> {
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
        if body.template.as_ref().is_some_and(|template| !is_word(template)) {
            return Err(Refused { pointer: Some("/template".into()), ..refuse(Code::InvalidBody) });
        }
        let Some((stored, mut row)) = own(core, &tenant, id)? else { return Err(refuse(Code::NotFound)) };
        let Some(scope) = row.scope.clone().filter(|_| INCIDENT.state(row.state) != Some("closed")) else {
            return Err(refuse(Code::StateConflict));
        };
        let begun = row.letters.as_ref().filter(|letters| !letters.done).map(|letters| letters.template.as_str());
        let template = body.template.as_deref().or(begun).unwrap_or(TEMPLATE);
        if !can_be_sent(&tenant, template, &words(&tenant, id, &row)) {
            return Err(Refused { pointer: Some("/template".into()), ..refuse(Code::InvalidBody) });
        }
        let affected = look(&opened, &tenant, id, &scope).await?;
        if row.letters.as_ref().is_none_or(|letters| letters.done) {
            let before = row.letters.take();
            row.letters = Some(LettersRow {
                template: body.template.unwrap_or_else(|| TEMPLATE.to_owned()),
                begun_at: core.clock.now().as_microsecond(),
                from: before.as_ref().map_or(0, |letters| letters.until),
                until: affected.upto,
                after: None,
                queued: before.map_or(0, |letters| letters.queued),
                done: false,
            });
        }
        row.version += 1;
        let entry = core.entry(call, operation, Outcome::Allowed)?;
        let decision = entry.decision;
        let mut change = Change::noting(entry);
        change.rows.push(put(core, id, Some(stored), &row)?);
        match opened.committer.commit(change).await {
            Err(refused) if refused.code == Code::Stale => return Err(refuse(Code::StateConflict)),
            Err(refused) => return Err(refused),
            Ok(()) => {}
        }
        page(core, &opened.committer, id).await?;
        let (_, row) = load(core, id)?.ok_or(Code::Internal)?;
        let letters = row.letters.as_ref().ok_or(Code::Internal)?;
        let view = LettersView {
            template: letters.template.clone(),
            begun_at: time(letters.begun_at),
            queued: letters.queued,
            done: letters.done,
        };
        let answer = Answer {
            decision: Some(decision),
            etag: Some(row.etag()),
            body: Some(serde_json::to_vec(&view).map_err(|_| Code::Internal)?),
            ..Answer::default()
        };
        if let Some(held) = &held {
            let mut kept = Change::noting(core.event("keepAnswer", Outcome::Done, Note::None)?);
            kept.rows.push(held.keep(core, &Owner::Vault, &answer)?);
            opened.committer.commit(kept).await?;
        }
        Ok(answer)
    }
}

/// Writes the next page of an incident's letters; whether there may be another.
pub(super) async fn page(core: &Core, committer: &Committer, id: IncidentId) -> Result<bool, Refused> {
    for _ in 0..TRIES {
        let Some((stored, mut row)) = load(core, id)? else { return Ok(false) };
        let Some(tenant) = core.tenants.get(&TenantId::from_bytes(row.tenant)) else { return Ok(false) };
        let waiting = row.letters.as_ref().filter(|letters| !letters.done && INCIDENT.state(row.state) != Some("closed"));
        let (Some(letters), Some(scope)) = (waiting.cloned(), row.scope.clone()) else { return Ok(false) };
        let affected = scope::as_of(core, &tenant, id, &scope, letters.until)?;
        let people = affected.living(letters.from..letters.until, letters.after, PAGE);
        let mut change = Change::noting(core.event("incidentLetters", Outcome::Done, Note::None)?);
        let mut written = 0;
        for (_, subject) in &people {
            // Erased since the list was made: there is nobody to write to.
            let Some(person) = core.person(&tenant, *subject)? else { continue };
            let letter = Letter {
                kind: NoticeKind::Security,
                template: &letters.template,
                words: words(&tenant, id, &row),
                about: Some(*id.bytes()),
            };
            notices::queue(core, &tenant, &person, letter, &mut change)?;
            written += 1;
        }
        let more = people.len() == PAGE;
        if let (Some(letters), [entry, ..]) = (&mut row.letters, change.entries.as_mut_slice()) {
            entry.records = written;
            letters.queued += u64::from(written);
            letters.after = people.last().filter(|_| more).map(|(tag, _)| *tag);
            letters.done = !more;
        }
        change.rows.push(put(core, id, Some(stored), &row)?);
        match committer.commit(change).await {
            Ok(()) => return Ok(more),
            // Somebody changed the incident, or one of these people was erased or changed: the page is made again.
            Err(refused) if matches!(refused.code, Code::Stale | Code::Erased) => continue,
            Err(refused) => return Err(refused),
        }
    }
    Err(Code::Overloaded.into())
}

/// Whether the controller has such a letter, it warns of a danger, and these words fill all of its places.
fn can_be_sent(tenant: &Tenant, template: &str, words: &[Word]) -> bool {
    let filled = |place: &&str| words.iter().any(|word| word.name == *place);
    tenant.letter(template).is_some_and(|letter| letter.kind == NoticeKind::Security) && own_places(template).iter().all(filled)
}

/// What a letter's text is filled with (Art. 34(2)).
fn words(tenant: &Tenant, id: IncidentId, row: &IncidentRow) -> Vec<Word> {
    let word = |name: &str, value: String| Word { name: name.to_owned(), value };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    vec![
        word("incident", id.to_string()),
        word("kind", row.kind.clone()),
        word("detected_at", time(row.detected_at).to_string()),
        word("nature", text(&row.nature)),
        word("consequences", text(&row.consequences)),
        word("measures", text(&row.measures)),
        word("contact", tenant.controller().officer.clone()),
    ]
}
