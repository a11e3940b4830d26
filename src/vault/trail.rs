//! listAuditEvents and getCheckpoint.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use jiff::Timestamp;

use crate::audit::{Entry, EventView, Note, Outcome, TrailError, ocsf};
use crate::model::caller::Operation;
use crate::model::code::Code;
use crate::model::ids::{CallerId, DecisionId};
use crate::model::wire::{CheckpointView, Page};
use crate::policy::Facts;
use crate::tenant::Tenant;

use super::call::{Answer, Call, Pieces, Refused};
use super::core::Core;
use super::disclosures::Shown;
use super::erasure::by_vault::scheduler_of;
use super::erasure::load;
use super::lifecycle::{Vault, origin};
use super::views::EventsPage;

/// Events on a page unless told, and at most.
const PAGE: usize = 50;
const LARGEST_PAGE: usize = 500;

/// Lines of JSON.
const LINES: &str = "application/x-ndjson";

/// Entries that one page looks at before it gives up and hands back a cursor: a filter that matches little must not
/// hold a request for the length of the trail.
const MOST_LOOKED_AT: u64 = 100_000;

/// What of the trail is asked for.
#[derive(Default)]
pub struct AuditQuery {
    /// Not before.
    pub from: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    /// Of this caller.
    pub caller: Option<CallerId>,
    /// For this purpose.
    pub purpose: Option<String>,
    /// Of the subject with this tag, 32 hexadecimal digits.
    pub tag: Option<String>,
    /// Page.
    pub page: Page,
    /// Everything, a line each, as events of the OCSF, rather than a page.
    pub ocsf: bool,
}

/// Which checkpoint, with which proofs.
#[derive(Default)]
pub struct CheckpointQuery {
    /// Tree size; `None` is the latest.
    pub size: Option<u64>,
    /// Prove that this entry is in the tree.
    pub leaf: Option<u64>,
    /// Prove that the tree of this size is its beginning.
    pub from: Option<u64>,
}

impl Vault {
    /// listAuditEvents, oldest first.
    pub async fn audit_events(&self, call: &Call, query: AuditQuery) -> Result<Answer, Refused> {
        let operation = Operation::ListAuditEvents;
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = core.tenant(&call.caller)?;
        // A person sees what was done with their own data.
        let person = match call.caller.subject {
            Some(subject) => match core.person(&tenant, subject)? {
                Some(person) => Some(person),
                None => return Err(core.missing(call, operation, &tenant, subject)),
            },
            None => None,
        };
        let mine = person.as_ref().map(|person| person.tag);
        // Of a disclosure on a case the person hears when it is no secret any more.
        let shown = person.as_ref().map(|person| Shown::to(core, person)).transpose()?;
        let facts = Facts { own: mine.is_some(), ..core.facts(&tenant) };
        let allowed = core.decide(call, operation, &facts, mine)?;
        let asked = match &query.tag {
            Some(text) => Some(hex(text).ok_or(Code::MalformedRequest)?),
            None => None,
        };
        if asked.is_some() && mine.is_some() && asked != mine {
            return Err(core.refuse(call, operation, Code::NotFound, mine));
        }
        let tag = mine.or(asked);
        let context = [b"cursor-trail".as_slice(), call.caller.id.bytes()].concat();
        let mut at = match &query.page.cursor {
            Some(cursor) => {
                let at = open_cursor(core, &context, cursor);
                at.map_err(|refused| core.refuse(call, operation, refused.code, mine))?
            }
            None => 0,
        };
        let entry = Entry { tag: mine, ..core.entry(call, operation, Outcome::Allowed)? };
        let admitted = core.admit(&allowed, entry).await?;

        let end = core.trail.durable_size();
        if query.ocsf {
            let left = query.page.limit.unwrap_or(usize::MAX);
            let origin = origin(core.vault);
            let lines = Lines { vault: self.clone(), tenant, query, tag, shown, context, at, end, left, origin };
            return lines.answer(admitted.decision);
        }
        let limit = query.page.limit.unwrap_or(PAGE).clamp(1, LARGEST_PAGE);
        let stop = end.min(at.saturating_add(MOST_LOOKED_AT));
        let mut events = Vec::with_capacity(limit);
        while at < stop && events.len() < limit {
            let page = core.trail.entries(at, 500)?;
            if page.is_empty() {
                break;
            }
            for (index, entry) in page {
                if index >= stop || events.len() == limit {
                    break;
                }
                at = index + 1;
                if wanted(&query, tag, shown.as_ref(), &entry) && is_of(core, &tenant, &entry)? {
                    events.push(EventView::of(index, &entry));
                }
            }
        }
        let next_cursor = if at < end { Some(seal_cursor(core, &context, at)?) } else { None };
        let body = serde_json::to_vec(&EventsPage { events, next_cursor }).map_err(|_| Code::Internal)?;
        Ok(Answer { decision: Some(admitted.decision), body: Some(body), ..Answer::default() })
    }

    /// getCheckpoint: the signed note, with an inclusion and a consistency proof where they are asked for.
    pub async fn checkpoint(&self, call: &Call, query: CheckpointQuery) -> Result<Answer, Refused> {
        let operation = Operation::GetCheckpoint;
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = core.tenant(&call.caller)?;
        let allowed = core.decide(call, operation, &core.facts(&tenant), None)?;
        let size = query.size.unwrap_or_else(|| core.trail.durable_size());
        let sound = size >= 1
            && size <= core.trail.durable_size()
            && query.leaf.is_none_or(|leaf| leaf < size)
            && query.from.is_none_or(|from| (1..=size).contains(&from));
        if !sound {
            return Err(core.refuse(call, operation, Code::NotFound, None));
        }
        let entry = core.entry(call, operation, Outcome::Allowed)?;
        let admitted = core.admit(&allowed, entry).await?;
        let text = |hashes: Vec<[u8; 32]>| hashes.iter().map(|hash| BASE64_STANDARD.encode(hash)).collect::<Vec<_>>();
        let proof = |hashes: Result<Vec<[u8; 32]>, TrailError>| hashes.map(text).map_err(Refused::from);
        let inclusion = query.leaf.map(|leaf| proof(core.trail.inclusion(leaf, size))).transpose()?;
        let consistency = query.from.map(|from| proof(core.trail.consistency(from, size))).transpose()?;
        let note = core.trail.checkpoint(Some(size))?;
        let body = CheckpointView { size, checkpoint: note, inclusion, consistency, keys: core.successions.shown() };
        let body = serde_json::to_vec(&body).map_err(|_| Code::Internal)?;
        Ok(Answer { decision: Some(admitted.decision), body: Some(body), ..Answer::default() })
    }
}

/// A long answer: what is asked for of the trail as it was when it was asked, a line each. It is read a page at a time, at the
/// pace of whoever takes it, and each line carries the cursor behind it.
struct Lines {
    vault: Vault,
    tenant: Arc<Tenant>,
    query: AuditQuery,
    tag: Option<[u8; 16]>,
    shown: Option<Shown>,
    context: Vec<u8>,
    at: u64,
    end: u64,
    left: usize,
    origin: String,
}

impl Lines {
    fn answer(mut self, decision: DecisionId) -> Result<Answer, Refused> {
        let first = self.next().transpose()?.unwrap_or_default();
        let rest = Pieces::new(Box::new(move || self.next()));
        let body = Some(first.to_vec());
        Ok(Answer { decision: Some(decision), body, rest: Some(rest), media: Some(LINES), ..Answer::default() })
    }

    fn next(&mut self) -> Option<Result<Bytes, Refused>> {
        (self.at < self.end && self.left > 0).then(|| self.piece())
    }

    /// The lines of the next entries; empty where none of them is asked for.
    fn piece(&mut self) -> Result<Bytes, Refused> {
        // A vault that was sealed meanwhile says nothing more.
        let opened = self.vault.opened()?;
        let core = &opened.core;
        let mut lines = Vec::new();
        let page = core.trail.entries(self.at, LARGEST_PAGE)?;
        if page.is_empty() {
            self.at = self.end;
        }
        for (index, entry) in page.into_iter().take_while(|(index, _)| *index < self.end) {
            self.at = index + 1;
            if !wanted(&self.query, self.tag, self.shown.as_ref(), &entry) || !is_of(core, &self.tenant, &entry)? {
                continue;
            }
            let mut event = ocsf::event(&self.origin, index, &entry);
            event["unmapped"]["cursor"] = seal_cursor(core, &self.context, self.at)?.into();
            serde_json::to_writer(&mut lines, &event).map_err(|_| Code::Internal)?;
            lines.push(b'\n');
            self.left -= 1;
            if self.left == 0 {
                break;
            }
        }
        Ok(lines.into())
    }
}

fn seal_cursor(core: &Core, context: &[u8], at: u64) -> Result<String, Refused> {
    Ok(BASE64_URL_SAFE_NO_PAD.encode(core.hierarchy.seal_row(context, &at.to_be_bytes())?))
}

fn open_cursor(core: &Core, context: &[u8], cursor: &str) -> Result<u64, Refused> {
    let sealed = BASE64_URL_SAFE_NO_PAD.decode(cursor).map_err(|_| Code::BadCursor)?;
    let plain = core.hierarchy.open_row(context, &sealed).map_err(|_| Code::BadCursor)?;
    Ok(u64::from_be_bytes(plain.bytes().try_into().map_err(|_| Code::BadCursor)?))
}

fn wanted(query: &AuditQuery, tag: Option<[u8; 16]>, shown: Option<&Shown>, entry: &Entry) -> bool {
    query.from.is_none_or(|from| entry.at >= from)
        && query.until.is_none_or(|until| entry.at < until)
        && query.caller.is_none_or(|caller| entry.caller == Some(caller))
        && query.purpose.as_ref().is_none_or(|purpose| entry.purpose.as_ref() == Some(purpose))
        && tag.is_none_or(|tag| entry.tag == Some(tag))
        && shown.is_none_or(|shown| shown.has(entry))
}

/// Whether an entry is this controller's business: its own callers' and its own erasures', and what the vault did on nobody's
/// behalf. Where there is one controller only, everything is.
pub(crate) fn is_of(core: &Core, tenant: &Tenant, entry: &Entry) -> Result<bool, Refused> {
    if core.tenants.len() == 1 {
        return Ok(true);
    }
    let mine = tenant.id();
    Ok(match (&entry.caller, &entry.note) {
        (Some(caller), _) if *caller == scheduler_of(core, tenant) => true,
        (Some(caller), _) => core.registry.caller(caller).is_some_and(|row| row.tenant == *mine.bytes()),
        (None, Note::Certificate { erasure, .. }) => load(core, *erasure)?.is_some_and(|(_, row)| row.tenant == *mine.bytes()),
        (None, _) => entry.tag.is_none(),
    })
}

fn hex(text: &str) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    if text.len() != 32 || !text.is_ascii() {
        return None;
    }
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).ok()?;
    }
    Some(bytes)
}
