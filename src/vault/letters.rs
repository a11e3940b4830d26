//! Letters as they leave: the text in the person's language with its places filled in, the address as their records have it at that
//! moment. Neither is kept; what stays is how it ended.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use keys::secret::{ExposeSecret, SecretString};

use crate::audit::{Note, Outcome};
use crate::model::code::Code;
use crate::model::ids::{DeliveryId, NoticeId, RequestId, SubjectId, TenantId};
use crate::model::states::DELIVERY;
use crate::policy::SubjectState;
use crate::post;
use crate::store::layout::RowKey;
use crate::tenant::{LetterText, Tenant, WordsText, fill};

use super::addresses;
use super::call::Refused;
use super::committer::{Change, Committer, Expect, RowChange};
use super::core::{Core, Person};
use super::notices;
use super::outbox::{self, Delivered, Delivery, To, Went, Word};
use super::requests;
use super::rows::{QueuedNotice, pack, time, unpack};

/// What a letter goes for that the law asks for, where the purpose of notices does not reach the person.
const RIGHTS: &str = "x-rights";

/// How often what became of a letter is noted again because something changed meanwhile.
const TRIES: usize = 4;

/// What stands where a word is missing.
const MISSING: &str = "–";

/// A letter that is ready to leave, without its address.
struct Ready {
    language: String,
    title: String,
    text: String,
}

/// Tries to send a person's letter, and notes what became of it in the notice's row, under the person's key. The message's own row
/// goes once that is certain.
pub(crate) async fn deliver(
    core: &Core,
    committer: &Committer,
    id: DeliveryId,
    row: Delivery,
    delivered: &mut Delivered,
) -> Result<(), Refused> {
    let (subject, notice) = row.person().ok_or(Code::Internal)?;
    let (went, reason) = match there(core, subject, notice)? {
        Some((tenant, person, queued)) => send(core, &tenant, &person, notice, &queued, row.about).await?,
        None => (Went::GivenUp, None),
    };
    if went == Went::Waits {
        return Ok(());
    }
    // The letter has left or has not: whatever changes meanwhile, it is noted, and not sent again for that.
    for _ in 0..TRIES {
        let Some((stored, mut row)) = outbox::load(core, id)? else { return Ok(()) };
        row.went(core, went)?;
        let ended = DELIVERY.state(row.state) != Some("waiting");
        let mut event = core.event("deliver", Outcome::Done, Note::None)?;
        let at = there(core, subject, notice)?;
        event.tag = at.as_ref().map(|(_, person, _)| person.tag);
        let mut change = Change::noting(event);
        change.rows.push(outbox::changed(core, id, stored, Some(&row).filter(|_| !ended))?);
        if let Some((_, person, queued)) = at.filter(|_| ended) {
            let owed = (went == Went::Sent).then(|| notices::parties(&queued)).flatten();
            end(core, &person, notice, queued, &row, reason.clone(), &mut change)?;
            if let Some(parties) = owed {
                notices::close_tasks(core, &person, Some(&parties), &mut change)?;
            }
        }
        match committer.commit(change).await {
            Ok(()) => {
                delivered.count(&row);
                return Ok(());
            }
            Err(refused) if refused.code == Code::Stale => continue,
            Err(refused) => return Err(refused),
        }
    }
    Err(Code::Overloaded.into())
}

type There = (Arc<Tenant>, Person, QueuedNotice);

/// The person and what is to be said to them; `None` once one of them is gone.
fn there(core: &Core, subject: SubjectId, notice: NoticeId) -> Result<Option<There>, Refused> {
    let Some(person) = core.look_at(subject)? else { return Ok(None) };
    let key = RowKey::Notice(subject, notice).bytes();
    let (Some(sealed), Some(tenant)) = (core.store.row(&key)?, core.tenants.get(&TenantId::from_bytes(person.row.tenant))) else {
        return Ok(None);
    };
    let queued = unpack(person.keys.open_row(&key, &sealed)?.bytes())?;
    Ok(Some((tenant, person, queued)))
}

/// Notes how a letter ended. What it was filled with goes.
fn end(
    core: &Core,
    person: &Person,
    notice: NoticeId,
    queued: QueuedNotice,
    row: &Delivery,
    reason: Option<String>,
    change: &mut Change,
) -> Result<(), Refused> {
    let key = RowKey::Notice(person.id, notice).bytes();
    let stored = core.store.row(&key)?.ok_or(Code::Stale)?;
    let ended = QueuedNotice { state: row.state, state_at: row.state_at, words: Vec::new(), reason, ..queued };
    change.guard(person);
    change.rows.push(RowChange {
        key: key.clone(),
        expect: Expect::Is(stored),
        value: Some(person.keys.seal_row(&key, &pack(&ended)?)?),
    });
    Ok(())
}

/// Sends, or says why not: the second is the reason, where it came to an end.
async fn send(
    core: &Core,
    tenant: &Arc<Tenant>,
    person: &Person,
    notice: NoticeId,
    queued: &QueuedNotice,
    about: Option<[u8; 16]>,
) -> Result<(Went, Option<String>), Refused> {
    let over = |reason: &str| Ok((Went::GivenUp, Some(reason.to_owned())));
    let Some(letter) = tenant.letter(&queued.template) else { return over("no-letter") };
    if person.facts(tenant, core.clock.now()).state == SubjectState::Held {
        return over(Code::Held.text());
    }
    // A code tells who the person is only where they did not choose the address just now.
    let settled = requests::brings_code(&queued.template);
    let address = match address(core, tenant, person, letter, &queued.purpose, settled).await? {
        Ok(address) => address,
        Err(reason) => return over(&reason),
    };
    // A code is worked out at the last moment, and kept nowhere.
    let code = match about.filter(|_| requests::brings_code(&queued.template)) {
        Some(request) => match requests::code(core, RequestId::from_bytes(request))? {
            Some(code) => Some(code),
            None => return over("no-code"),
        },
        None => None,
    };
    let Some(ready) = ready(tenant, &person.row.jurisdiction, letter, queued, code) else { return over("no-letter") };
    let outcome = hand_over(core, tenant, notice.to_string(), Some(person.id.to_string()), address, ready).await;
    Ok(match outcome {
        Ok(()) => (Went::Sent, None),
        Err(failed) => {
            let went = unsent(failed);
            (went, (went == Went::Bounced).then(|| "refused".to_owned()))
        }
    })
}

/// The address for the first purpose that has one, of those that have `settled` if so told; else why there is none.
async fn address(
    core: &Core,
    tenant: &Arc<Tenant>,
    person: &Person,
    letter: &LetterText,
    purpose: &str,
    settled: bool,
) -> Result<Result<SecretString, String>, Refused> {
    let mut reason = None;
    for purpose in [purpose, RIGHTS].into_iter().take(if letter.duty { 2 } else { 1 }) {
        match addresses::read(core, tenant, person, purpose, settled).await {
            Ok(Some(address)) => return Ok(Ok(address)),
            Ok(None) => reason = reason.or(Some("no-address".to_owned())),
            // A refusal that is in the trail is the decision's; any other says nothing about the person.
            Err(refused) if refused.decision.is_some() => reason = reason.or(Some(refused.code.text().to_owned())),
            Err(refused) => return Err(refused),
        }
    }
    Ok(Err(reason.unwrap_or_else(|| "no-address".to_owned())))
}

/// A letter in the person's language, with its places filled in.
fn ready(tenant: &Tenant, jurisdiction: &str, letter: &LetterText, queued: &QueuedNotice, code: Option<String>) -> Option<Ready> {
    let words: &WordsText = letter.words(&queued.language)?;
    let language = letter.texts.iter().find(|(_, own)| *own == words).map(|(language, _)| language.clone())?;
    let word = |name: &str| {
        let own = queued.words.iter().find(|word| word.name == name).map(|word| plain(&word.value));
        let own = own.or_else(|| code.clone().filter(|_| name == "code"));
        own.or_else(|| common(tenant, jurisdiction, &queued.policy_version, time(queued.at), name)).or(Some(MISSING.to_owned()))
    };
    let text = fill(&words.text, word).ok()?;
    Some(Ready { language, title: words.subject.clone(), text })
}

/// What fills the places that every letter may have.
fn common(tenant: &Tenant, jurisdiction: &str, version: &str, at: Timestamp, name: &str) -> Option<String> {
    let controller = tenant.controller();
    let authority = tenant.authority(jurisdiction);
    Some(match name {
        "controller" => plain(&controller.title),
        "controller_address" => plain(&controller.address),
        "officer" => plain(&controller.officer),
        "authority" => plain(&authority?.title),
        "authority_url" => plain(&authority?.url),
        "policy_version" => version.to_owned(),
        "date" => at.to_zoned_datetime(TimeZone::UTC).date().to_string(),
        _ => return None,
    })
}

/// A word without anything that is no text.
fn plain(text: &str) -> String {
    text.chars().filter(|letter| *letter == '\n' || !letter.is_control()).collect()
}

async fn hand_over(
    core: &Core,
    tenant: &Tenant,
    id: String,
    subject_id: Option<String>,
    address: SecretString,
    ready: Ready,
) -> Result<(), post::Failed> {
    let (post, hierarchy) = (core.post.clone(), core.hierarchy.clone());
    let officer = tenant.controller().officer.clone();
    let at = core.clock.now();
    let sending = tokio::task::spawn_blocking(move || {
        let letter = post::Letter {
            id,
            subject_id,
            to: address.expose_secret(),
            officer: &officer,
            language: &ready.language,
            title: &ready.title,
            text: &ready.text,
            at,
        };
        post.letter(&letter, &|message| hierarchy.sign(message))
    });
    sending.await.unwrap_or(Err(post::Failed::Later))
}

/// Sends a letter to the privacy officer. What is for an authority goes to the officer too, who files it where the authority takes
/// it: the directory of authorities has no addresses for mail.
pub(crate) async fn to_officer(core: &Core, id: DeliveryId, row: &Delivery) -> Result<Went, Refused> {
    let Some(tenant) = core.tenants.get(&row.tenant()) else { return Ok(Went::GivenUp) };
    let authority = match &row.to {
        To::Authority(id) => tenant.authorities().iter().find(|own| own.id == *id),
        _ => None,
    };
    let usual = if matches!(row.to, To::Authority(_)) { "authority-report" } else { "alarm" };
    let Some(letter) = tenant.letter(&row.template).or_else(|| tenant.letter(usual)) else { return Ok(Went::GivenUp) };
    let Some((language, words)) = letter.texts.get_key_value(crate::tenant::FALLBACK) else { return Ok(Went::GivenUp) };
    let details = || {
        let words = row.words.iter().map(|Word { name, value }| format!("{name}: {value}"));
        // What an authority is told stands ready and signed.
        words.chain(row.body.as_ref().map(|body| format!("\n{body}"))).collect::<Vec<_>>().join("\n")
    };
    let word = |name: &str| {
        let own = row.words.iter().find(|word| word.name == name).map(|word| plain(&word.value));
        let filled = own.or_else(|| match name {
            "alarm" => Some(plain(&row.template)),
            "details" => Some(plain(&details())),
            "authority" => authority.map(|own| plain(&own.title)),
            "authority_url" => authority.map(|own| plain(&own.url)),
            _ => common(&tenant, "", tenant.version(), time(row.made_at), name),
        });
        filled.or(Some(MISSING.to_owned()))
    };
    let Ok(text) = fill(&words.text, word) else { return Ok(Went::GivenUp) };
    let ready = Ready { language: language.clone(), title: words.subject.clone(), text };
    let address = SecretString::from(tenant.controller().officer.clone());
    Ok(match hand_over(core, &tenant, id.to_string(), None, address, ready).await {
        Ok(()) => Went::Sent,
        Err(failed) => unsent(failed),
    })
}

/// What becomes of a letter that did not leave. A way out that is not ready is tried ever more seldom too: each try reads an
/// address.
fn unsent(failed: post::Failed) -> Went {
    tracing::warn!(step = %failed, "a letter did not leave");
    if failed == post::Failed::NoSender { Went::Later } else { Went::from(failed) }
}
