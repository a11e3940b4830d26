//! Who is asking: a code that goes out to an address of the person and comes back, or a document that an officer saw.
//!
//! The code is kept nowhere. It is worked out, whenever it is needed, from a number in the request's row and the key of the
//! request's file; so a copy of the row shows none, and with the person the code is gone.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::SignedDuration;
use keys::secret::ExposeSecret;

use crate::audit::Outcome;
use crate::model::caller::Operation;
use crate::model::code::Code;
use crate::model::ids::RequestId;
use crate::model::wire::{Evidence, Shown, Words};

use super::super::addresses;
use super::super::call::Refused;
use super::super::core::{Core, fresh};
use super::super::papers;
use super::super::rows::RequestRow;
use super::super::verified::is_evidence;
use super::advance::{Done, Move, opens_again};
use super::letters;

/// Codes that are sent for each one that may be got wrong: a letter can get lost.
const SENT_FOR_EACH: u8 = 2;

/// Bytes of a document that is kept as evidence.
const LARGEST: usize = 64 << 10;

/// The level of a code that came back, and of a document.
const LOOP: u8 = 1;
const DOCUMENT: u8 = 2;

/// Whether that letter brings a code, which it gets from [`code`] when it leaves.
pub(crate) fn brings_code(template: &str) -> bool {
    template == letters::CODE
}

/// The code that is on its way to a request's person, for the letter that brings it; `None` when none is awaited any more.
pub(crate) fn code(core: &Core, request: RequestId) -> Result<Option<String>, Refused> {
    match super::load(core, request)? {
        Some((_, row)) => awaited(core, request, &row),
        None => Ok(None),
    }
}

/// Six digits, as long as they can be given back.
fn awaited(core: &Core, request: RequestId, row: &RequestRow) -> Result<Option<String>, Refused> {
    let now = core.clock.now().as_microsecond();
    let (Some(nonce), true) = (row.nonce, row.code_until.is_some_and(|until| now < until)) else { return Ok(None) };
    let Some(file) = papers::open(core, request.bytes())? else { return Ok(None) };
    let digest = file.keyed_digest("request-code", &[&nonce]);
    let number = digest[..8].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    Ok(Some(format!("{:06}", number % 1_000_000)))
}

/// Sends a code. The one before it is worth nothing any more. Where the person wrote every address themselves just now, an officer
/// has to see a document.
pub(super) fn send(mut at: Move<'_>) -> Result<Done, Refused> {
    let rules = at.tenant.requests();
    if at.row.sent >= rules.tries.saturating_mul(SENT_FOR_EACH) {
        return Err(at.refuse(Code::StateConflict));
    }
    if addresses::are_all_new(at.core, at.tenant, at.person)? {
        return Err(at.refuse(Code::VerificationRequired));
    }
    let until = at.now.checked_add(SignedDuration::from_mins(i64::from(rules.code_minutes))).unwrap_or(at.now);
    at.row.step("verify", at.now)?;
    at.row.sent += 1;
    at.row.nonce = Some(fresh()?);
    at.row.code_until = Some(until.as_microsecond());
    at.tell(letters::CODE)?;
    at.done()
}

/// A code that came back. A wrong one is worth nothing any more either; too many deny the request.
pub(super) fn given(mut at: Move<'_>, code: &Words) -> Result<Done, Refused> {
    let Some(awaited) = awaited(at.core, at.id, &at.row)? else { return Err(at.refuse(Code::StateConflict)) };
    let digest = |text: &str| keys::digest::sha256(&[text.as_bytes()]);
    at.row.step("verify", at.now)?;
    (at.row.nonce, at.row.code_until) = (None, None);
    if keys::digest::same(&digest(&awaited), &digest(code.0.expose_secret())) {
        at.row.level = at.row.level.max(Some(LOOP));
        return at.done();
    }
    at.row.failed = at.row.failed.saturating_add(1);
    if at.row.failed >= at.tenant.requests().tries {
        at.row.step("fail-verification", at.now)?;
        opens_again(&mut at)?;
        at.row.ground = Some("insuf_verification".into());
        at.tell(letters::DENIED)?;
    }
    // The try is noted as refused, and that it was tried is kept.
    let mut entry = at.core.entry(at.call, Operation::AdvanceRequest, Outcome::Refused { guard: None, code: Code::WrongCode })?;
    entry.tag = Some(at.person.tag);
    at.wrong(entry)
}

/// What an officer saw.
pub(super) fn seen(mut at: Move<'_>, level: u8, evidence: Option<&Shown>) -> Result<Done, Refused> {
    if at.call.caller.subject.is_some() {
        return Err(at.refuse(Code::RoleForbidden));
    }
    at.another_person()?;
    if !(LOOP..=DOCUMENT).contains(&level) {
        return Err(at.invalid("/level"));
    }
    let Some(shown) = evidence else { return Err(at.refuse(Code::EvidenceRequired)) };
    let named = Evidence { kind: shown.kind.clone(), digest: shown.digest.clone() };
    if !is_evidence(Some(&named)) {
        return Err(at.invalid("/evidence"));
    }
    at.row.step("verify", at.now)?;
    at.row.level = at.row.level.max(Some(level));
    let word = format!("{}:{}", shown.kind, shown.digest.to_ascii_lowercase());
    at.paper("evidence", word.as_bytes())?;
    if let Some(content) = &shown.content {
        let bytes = BASE64_STANDARD.decode(content.0.expose_secret()).map_err(|_| at.invalid("/evidence/content"))?;
        let digest: String = keys::digest::sha256(&[&bytes]).iter().map(|byte| format!("{byte:02x}")).collect();
        if bytes.len() > LARGEST || !digest.eq_ignore_ascii_case(&shown.digest) {
            return Err(at.invalid("/evidence/content"));
        }
        at.paper("document", &bytes)?;
    }
    at.done()
}
