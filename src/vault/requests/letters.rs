//! What is said to the person, and what is kept of it: letters through the outbox, and papers of the request's file.

use jiff::Timestamp;

use crate::model::caller::Role;
use crate::model::code::Code;
use crate::model::ids::RequestId;
use crate::model::wire::{NoticeKind, RequestView};
use crate::tenant::Tenant;

use super::super::call::{Call, Refused};
use super::super::committer::Change;
use super::super::core::{Core, Person};
use super::super::notices::{self, Letter};
use super::super::outbox::Word;
use super::super::papers::{self, File, MOST, Paper};
use super::super::rows::{RequestRow, time};
use super::denial;

/// The letters, by their ids in the policy.
pub(super) const RECEIVED: &str = "request-received";
pub(super) const CODE: &str = "request-code";
pub(super) const EXTENDED: &str = "request-extended";
pub(super) const DENIED: &str = "request-denied";
pub(super) const FULFILLED: &str = "request-fulfilled";
pub(super) const ANSWERED: &str = "request-answered";
pub(super) const REVOKED: &str = "request-revoked";
pub(super) const EXPIRED: &str = "request-expired";

/// Puts a text into a request's file, in as many pieces as it takes.
pub(super) fn file(file: &File, kind: &str, text: &[u8], at: Timestamp, change: &mut Change) -> Result<(), Refused> {
    for (place, piece) in text.chunks(MOST).enumerate() {
        let piece_number = u32::try_from(place).map_err(|_| Code::TooLarge)?;
        let paper = Paper { kind: kind.to_owned(), at: at.as_microsecond(), piece: piece_number, text: piece.to_vec() };
        file.put(&paper, change)?;
    }
    Ok(())
}

/// Queues a letter about a request to its person, and keeps it in the file. It names codes, days and the authority; nothing of what
/// the person said.
#[expect(clippy::too_many_arguments, reason = "a request, its person and file, and the change that the letter goes with")]
pub(super) fn tell(
    core: &Core,
    tenant: &Tenant,
    person: &Person,
    request: RequestId,
    row: &RequestRow,
    to: Option<&File>,
    template: &str,
    change: &mut Change,
) -> Result<(), Refused> {
    let mut words = vec![
        word("request", &request.to_string()),
        word("type", row.kind()?.text()),
        word("due", &time(row.expected_by).strftime("%Y-%m-%d").to_string()),
    ];
    if let Some(ground) = row.ground.as_ref().filter(|_| template == DENIED) {
        let denial = denial(tenant, ground, row.kind()?);
        words.extend([word("reason", &denial.code), word("title", &denial.title), word("appeal", denial.appeal)]);
    }
    if let Some(reason) = row.extended.as_ref().filter(|_| template == EXTENDED) {
        words.push(word("extended", reason));
    }
    if let Some(to) = to {
        let authority = row.authority.as_ref().and_then(|id| tenant.authorities().iter().find(|own| own.id == *id));
        let route = [("officer", tenant.controller().officer.as_str())];
        let where_to = authority.map(|own| [("authority", own.title.as_str()), ("authority_url", own.url.as_str())]);
        let kept = words.iter().map(|word| (word.name.as_str(), word.value.as_str()));
        let mut text = format!("letter: {template}\n");
        for (name, value) in kept.chain(route).chain(where_to.into_iter().flatten()) {
            text.extend([name, ": ", value, "\n"]);
        }
        file(to, "letter", text.as_bytes(), core.clock.now(), change)?;
    }
    let letter = Letter { kind: NoticeKind::Service, template, words, about: Some(*request.bytes()) };
    notices::queue(core, tenant, person, letter, change).map(drop)
}

fn word(name: &str, value: &str) -> Word {
    Word { name: name.to_owned(), value: value.to_owned() }
}

/// The view with what the person said and was answered, for the person and for an officer.
pub(super) fn with_words(
    core: &Core,
    call: &Call,
    row: &RequestRow,
    id: RequestId,
    view: RequestView,
) -> Result<RequestView, Refused> {
    let theirs = call.caller.subject.is_some() || call.caller.roles.contains(&Role::PrivacyOfficer);
    if !theirs || row.subject.is_none() {
        return Ok(view);
    }
    let papers = match papers::all(core, id.bytes()) {
        Ok(papers) => papers,
        // Destroyed between the row and the papers.
        Err(refused) if refused.code == Code::KeyDestroyed => Vec::new(),
        Err(refused) => return Err(refused),
    };
    let text = |kind: &str| {
        let mut pieces: Vec<&Paper> = papers.iter().map(|(_, paper)| paper).filter(|paper| paper.kind == kind).collect();
        pieces.sort_by_key(|paper| (paper.at, paper.piece));
        let bytes: Vec<u8> = pieces.into_iter().flat_map(|paper| paper.text.iter().copied()).collect();
        String::from_utf8(bytes).ok().filter(|text| !text.is_empty())
    };
    Ok(RequestView { message: text("message"), answer: text("answer"), ..view })
}

/// The entry of something that a clock did about a request.
pub(super) fn event(core: &Core, name: &'static str, row: &RequestRow) -> Result<crate::audit::Entry, Refused> {
    let mut entry = core.event(name, crate::audit::Outcome::Done, crate::audit::Note::None)?;
    entry.tag = Some(row.tag);
    Ok(entry)
}
