//! sendNotice: a notice that was shown to a person, or one that is to be sent to them; what became of it.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::audit::view::hex;
use crate::audit::{Note, Outcome};
use crate::model::caller::Operation;
use crate::model::code::Code;
use crate::model::ids::{NoticeId, SubjectId};
use crate::model::standing::{Notice, Task};
use crate::model::states::DELIVERY;
use crate::model::wire::{BouncedNotice, NoticeKind, NoticeView, NoticesPage, Page, SendNotice, SentNotice};
use crate::store::layout::{RowKey, prefix};
use crate::tenant::{Tenant, own_places};

use super::call::{Answer, Call, Refused};
use super::committer::{Change, Committer, Expect, RowChange};
use super::core::{Core, Person, fresh};
use super::idempotency::{self, Begun, Held, Owner};
use super::lifecycle::Vault;
use super::outbox::{self, Delivery, To, Word};
use super::policies;
use super::records::is_word;
use super::rows::{QueuedNotice, pack, time, unpack};
use super::standing::amend;

/// The purpose that notices are sent for: what it rests on decides, and no switch of marketing does.
const PURPOSE: &str = "d-notice";

/// The letter that tells what a third party gave (GDPR Art. 14; p07), and what is owed until it was sent or shown.
const ART14: &str = "art14";
const TASK: &str = "art14-notice";

/// How letters go unless told.
const CHANNEL: &str = "email";

/// How often a notice is tried again because the person's row changed under it.
const TRIES: usize = 4;

/// Letters on a page unless told, and at most.
const PAGE: usize = 50;
const LARGEST_PAGE: usize = 500;

/// Policy versions of which a person's row says that they were shown.
const MOST_SHOWN: usize = 8;

/// Seconds that the clock of whoever showed a notice may be ahead.
const AHEAD: i64 = 60;

impl Vault {
    /// sendNotice. A shown one lets collection begin (p02); one to be sent is kept as `queued`, with no address and no text:
    /// both are looked up when it goes out.
    pub async fn send_notice(&self, call: &Call, body: SendNotice) -> Result<Answer, Refused> {
        let operation = Operation::SendNotice;
        let opened = self.opened()?;
        let core = &opened.core;
        let held = match idempotency::begin(core, &self.0.in_flight, call, operation)? {
            Begun::Again(answer) => return Ok(answer),
            Begun::First(held) => Some(held),
            Begun::Plain => None,
        };
        let tenant = core.tenant(&call.caller)?;
        let subject = call.subject(body.subject)?;
        for _ in 0..TRIES {
            let Some(person) = core.person(&tenant, subject)? else {
                return Err(core.missing(call, operation, &tenant, subject));
            };
            let about = person.facts(&tenant, core.clock.now());
            core.decide(call, operation, &core.facts_about(&tenant, call, &person, &about), Some(person.tag))?;
            if let Err((code, pointer)) = fits(core, &tenant, &person, &body) {
                let refused = core.refuse(call, operation, code, Some(person.tag));
                return Err(Refused { pointer: pointer.map(str::to_owned), ..refused });
            }
            let (change, answer) = prepare(core, call, &tenant, &person, &body, held.as_ref())?;
            match opened.committer.commit(change).await {
                Ok(()) => return Ok(answer),
                Err(refused) if refused.code == Code::Stale => continue,
                Err(refused) => return Err(refused),
            }
        }
        Err(core.refuse(call, operation, Code::Overloaded, None))
    }

    /// The letters to a person, and what became of each: under getSubject, since that is what it shows a part of. A partner has no
    /// business with them.
    pub async fn notices(&self, call: &Call, id: SubjectId, page: Page) -> Result<Answer, Refused> {
        let operation = Operation::GetSubject;
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = core.tenant(&call.caller)?;
        let Some(person) = core.person(&tenant, id)? else { return Err(core.missing(call, operation, &tenant, id)) };
        let about = person.facts(&tenant, core.clock.now());
        let facts = core.facts_about(&tenant, call, &person, &about);
        let allowed = core.decide(call, operation, &facts, Some(person.tag))?;
        if call.caller.partner.is_some() {
            return Err(core.refuse(call, operation, Code::NotFound, Some(person.tag)));
        }
        let context = [b"cursor-notices".as_slice(), call.caller.id.bytes(), id.bytes()].concat();
        let after = match &page.cursor {
            Some(cursor) => {
                let sealed = BASE64_URL_SAFE_NO_PAD.decode(cursor).map_err(|_| Code::BadCursor)?;
                Some(core.hierarchy.open_row(&context, &sealed).map_err(|_| Code::BadCursor)?.bytes().to_vec())
            }
            None => None,
        };
        let mut entry = core.entry(call, operation, Outcome::Allowed)?;
        entry.tag = Some(person.tag);
        let admitted = core.admit(&allowed, entry).await?;
        let limit = page.limit.unwrap_or(PAGE).clamp(1, LARGEST_PAGE);
        let (mut views, mut last, mut from, mut more) = (Vec::new(), None, after, false);
        while !more {
            let rows = core.store.scan(&prefix::notices(&id), from.as_deref(), limit + 1)?;
            let Some((end, _)) = rows.last() else { break };
            from = Some(end.clone());
            for (key, sealed) in rows {
                let Some(RowKey::Notice(_, notice)) = RowKey::parse(&key) else { return Err(Code::StoreUnavailable.into()) };
                let row: QueuedNotice = unpack(person.keys.open_row(&key, &sealed)?.bytes())?;
                // Of what is still secret the person does not even see that a letter waits: it is no part of any page.
                let secret = row.secret_until.is_some_and(|until| core.clock.now().as_microsecond() < until);
                if secret && call.caller.subject.is_some() {
                    continue;
                }
                more = views.len() == limit;
                if more {
                    break;
                }
                views.push(view(notice, row)?);
                last = Some(key);
            }
        }
        let next_cursor = match last.filter(|_| more) {
            Some(last) => Some(BASE64_URL_SAFE_NO_PAD.encode(core.hierarchy.seal_row(&context, &last)?)),
            None => None,
        };
        let body = NoticesPage { notices: views, next_cursor };
        let body = Some(serde_json::to_vec(&body).map_err(|_| Code::Internal)?);
        Ok(Answer { decision: Some(admitted.decision), body, ..Answer::default() })
    }

    /// Notes that a letter came back: whoever reads the mail server's answers says so.
    pub async fn bounce_notice(
        &self,
        call: &Call,
        subject: SubjectId,
        id: NoticeId,
        body: BouncedNotice,
    ) -> Result<Answer, Refused> {
        let operation = Operation::SendNotice;
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = core.tenant(&call.caller)?;
        for _ in 0..TRIES {
            let Some(person) = core.person(&tenant, subject)? else {
                return Err(core.missing(call, operation, &tenant, subject));
            };
            let about = person.facts(&tenant, core.clock.now());
            core.decide(call, operation, &core.facts_about(&tenant, call, &person, &about), Some(person.tag))?;
            let refuse = |code| core.refuse(call, operation, code, Some(person.tag));
            if body.status.as_ref().is_some_and(|status| !is_status(status)) {
                return Err(Refused { pointer: Some("/status".to_owned()), ..refuse(Code::InvalidBody) });
            }
            let key = RowKey::Notice(subject, id).bytes();
            let Some(stored) = core.store.row(&key)? else { return Err(refuse(Code::NotFound)) };
            let mut row: QueuedNotice = unpack(person.keys.open_row(&key, &stored)?.bytes())?;
            // One that still waits here cannot have come back.
            let next = DELIVERY.state(row.state).filter(|from| *from == "sent").and_then(|from| DELIVERY.next(from, "bounce"));
            let Some(next) = next.and_then(|state| DELIVERY.number(state)) else { return Err(refuse(Code::StateConflict)) };
            (row.state, row.state_at) = (next, core.clock.now().as_microsecond());
            row.reason = Some(body.status.clone().unwrap_or_else(|| "returned".to_owned()));
            let mut entry = core.entry(call, operation, Outcome::Allowed)?;
            entry.tag = Some(person.tag);
            let decision = entry.decision;
            let mut change = Change::noting(entry);
            change.guard(&person);
            let value = Some(person.keys.seal_row(&key, &pack(&row)?)?);
            change.rows.push(RowChange { key, expect: Expect::Is(stored), value });
            match opened.committer.commit(change).await {
                Ok(()) => {
                    let body = Some(serde_json::to_vec(&view(id, row)?).map_err(|_| Code::Internal)?);
                    return Ok(Answer { decision: Some(decision), body, ..Answer::default() });
                }
                Err(refused) if refused.code == Code::Stale => continue,
                Err(refused) => return Err(refused),
            }
        }
        Err(core.refuse(call, operation, Code::Overloaded, None))
    }
}

/// The status of a mail server (RFC 3463): class, subject, detail.
fn is_status(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    let number = |part: &&str| (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    parts.len() == 3 && parts.iter().all(number)
}

fn view(id: NoticeId, row: QueuedNotice) -> Result<NoticeView, Refused> {
    let state = DELIVERY.state(row.state).ok_or(Code::Internal)?;
    Ok(NoticeView {
        id,
        kind: row.kind,
        template: row.template,
        state: if state == "waiting" { "queued" } else { state },
        reason: row.reason,
        policy_version: row.policy_version,
        language: row.language,
        queued_at: time(row.at),
        state_at: time(row.state_at),
    })
}

/// A letter to a person, as those who queue one describe it.
pub(crate) struct Letter<'a> {
    pub kind: NoticeKind,
    /// Which of the controller's letters.
    pub template: &'a str,
    /// What its text is filled with; nothing personal, since a letter goes by ways that the vault does not see.
    pub words: Vec<Word>,
    /// What it is about: a request, an incident, by the bytes of its id.
    pub about: Option<[u8; 16]>,
}

/// Queues a letter to a person with `change`: it goes out if, and only if, the change is kept, to the address that their records
/// then have. Its language is the one in which the policy was shown to them.
pub(crate) fn queue(
    core: &Core,
    tenant: &Tenant,
    person: &Person,
    letter: Letter<'_>,
    change: &mut Change,
) -> Result<NoticeId, Refused> {
    queue_after(core, tenant, person, letter, None, change)
}

/// The same for a letter that does not go out before a time, in microseconds since 1970.
pub(crate) fn queue_after(
    core: &Core,
    tenant: &Tenant,
    person: &Person,
    letter: Letter<'_>,
    not_before: Option<i64>,
    change: &mut Change,
) -> Result<NoticeId, Refused> {
    let id = NoticeId::from_bytes(fresh()?);
    let about = (letter.about, not_before);
    let row = QueuedNotice { secret_until: not_before, ..row(core, person, tenant.version(), letter) };
    put(core, tenant, person, id, row, about, change)?;
    Ok(id)
}

/// The same under an id of one's own, about a version of the policy. The change is stale if there is such a letter already.
pub(crate) fn queue_as(
    core: &Core,
    tenant: &Tenant,
    person: &Person,
    id: NoticeId,
    version: &str,
    letter: Letter<'_>,
    change: &mut Change,
) -> Result<(), Refused> {
    let about = (letter.about, None);
    put(core, tenant, person, id, row(core, person, version, letter), about, change)
}

fn row(core: &Core, person: &Person, version: &str, letter: Letter<'_>) -> QueuedNotice {
    let shown = person.row.notice.as_ref();
    let now = core.clock.now().as_microsecond();
    QueuedNotice {
        kind: letter.kind.text().to_owned(),
        template: letter.template.to_owned(),
        policy_version: version.to_owned(),
        language: shown.map_or_else(String::new, |notice| notice.language.clone()),
        channel: CHANNEL.to_owned(),
        at: now,
        caller: None,
        purpose: PURPOSE.to_owned(),
        words: letter.words,
        state: 0,
        state_at: now,
        reason: None,
        secret_until: None,
    }
}

/// Puts the notice's row, under the person's key, and its place in the outbox.
fn put(
    core: &Core,
    tenant: &Tenant,
    person: &Person,
    id: NoticeId,
    row: QueuedNotice,
    (about, not_before): (Option<[u8; 16]>, Option<i64>),
    change: &mut Change,
) -> Result<(), Refused> {
    let to = To::Person { subject: *person.id.bytes(), notice: *id.bytes() };
    let mut delivery = Delivery { about, ..Delivery::new(core, tenant, to, &row.template) };
    delivery.next_at = not_before.unwrap_or(delivery.next_at);
    // From then on it is tried for as long as any other.
    delivery.made_at = delivery.made_at.max(delivery.next_at);
    outbox::put(core, &delivery, change)?;
    let key = RowKey::Notice(person.id, id).bytes();
    let value = Some(person.keys.seal_row(&key, &pack(&row)?)?);
    change.guard(person);
    change.rows.push(RowChange { key, expect: Expect::Absent, value });
    Ok(())
}

/// The third parties that a letter of [`ART14`] tells of; `None` for any other letter.
pub(crate) fn parties(row: &QueuedNotice) -> Option<Vec<String>> {
    let word = row.words.iter().find(|word| row.template == ART14 && word.name == "party")?;
    Some(word.value.split(", ").map(str::to_owned).collect())
}

/// Closes what is owed to a person of what third parties gave: of these, or of all.
pub(crate) fn close_tasks(core: &Core, person: &Person, parties: Option<&[String]>, change: &mut Change) -> Result<(), Refused> {
    let owed = |task: &Task| task.kind == TASK && parties.is_none_or(|parties| parties.contains(&task.party));
    if !person.row.standing.tasks.iter().any(owed) {
        return Ok(());
    }
    amend(core, person, change, |row| {
        row.standing.tasks.retain(|task| !owed(task));
        Ok(())
    })
}

/// Tells the privacy officer, once, that something owed to a person is overdue. The message names the person by the tag that the
/// trail has of them, which leads nobody to them once they are erased.
pub(crate) async fn alarm(core: &Core, committer: &Committer, tenant: &Tenant, person: &Person) -> Result<(), Refused> {
    let now = core.clock.now().as_microsecond();
    let overdue = |task: &Task| !task.alarmed && task.due_at <= now;
    let tasks: Vec<Task> = person.row.standing.tasks.iter().filter(|task| overdue(task)).cloned().collect();
    if tasks.is_empty() {
        return Ok(());
    }
    let mut event = core.event("alarm", Outcome::Done, Note::None)?;
    event.tag = Some(person.tag);
    let mut change = Change::noting(event);
    for task in &tasks {
        let delivery = Delivery::new(core, tenant, To::Officer, "overdue-task")
            .with("task", &task.kind)
            .with("party", &task.party)
            .with("due_at", time(task.due_at))
            .with("subject_tag", hex(&person.tag));
        outbox::put(core, &delivery, &mut change)?;
    }
    amend(core, person, &mut change, |row| {
        row.standing.tasks.iter_mut().filter(|task| overdue(task)).for_each(|task| task.alarmed = true);
        Ok(())
    })?;
    match committer.commit(change).await {
        // Somebody was faster; the next sweep sees what they left.
        Err(refused) if matches!(refused.code, Code::Stale | Code::Erased) => Ok(()),
        done => done,
    }
}

type Unfit = (Code, Option<&'static str>);

fn fits(core: &Core, tenant: &Tenant, person: &Person, body: &SendNotice) -> Result<(), Unfit> {
    let invalid = |pointer| Err((Code::InvalidBody, Some(pointer)));
    if body.promotional {
        return Err((Code::PromotionalNotice, Some("/promotional")));
    }
    if !is_word(&body.language) {
        return invalid("/language");
    }
    if !is_word(&body.channel) {
        return invalid("/channel");
    }
    let is_version = body.policy_version == "current"
        || is_word(&body.policy_version)
            && policies::was_published(core, tenant, &body.policy_version).map_err(|refused| (refused.code, None))?;
    if !is_version {
        return invalid("/policy_version");
    }
    let template = body.template.as_deref();
    let owed = person.row.standing.tasks.iter().any(|task| task.kind == TASK);
    if template == Some(ART14) && !owed {
        return Err((Code::StateConflict, None));
    }
    if body.kind == NoticeKind::Shown {
        let latest = core.clock.now().as_second() + AHEAD;
        return match body.shown_at {
            _ if template.is_some_and(|template| template != ART14) => invalid("/template"),
            Some(at) if at.as_second() <= latest => Ok(()),
            _ => invalid("/shown_at"),
        };
    }
    if body.shown_at.is_some() {
        return invalid("/shown_at");
    }
    let letter = template.and_then(|template| tenant.letter(template)).filter(|letter| letter.kind == body.kind);
    // What another part of the vault fills in cannot be sent from here.
    if !letter.is_some_and(|letter| letter.id == ART14 || own_places(&letter.id).is_empty()) {
        return invalid("/template");
    }
    // Only what warns of a danger still reaches who has closed the account.
    if person.row.standing.closed_at.is_some() && body.kind != NoticeKind::Security {
        return Err((Code::AccountClosed, None));
    }
    let basis = tenant.purpose(PURPOSE).and_then(|purpose| tenant.basis(purpose, &person.row.jurisdiction, &person.row.class));
    if basis.is_none() { Err((Code::NoLawfulBasis, None)) } else { Ok(()) }
}

fn prepare(
    core: &Core,
    call: &Call,
    tenant: &Tenant,
    person: &Person,
    body: &SendNotice,
    held: Option<&Held<'_>>,
) -> Result<(Change, Answer), Refused> {
    let id = NoticeId::from_bytes(fresh()?);
    let policy_version = if body.policy_version == "current" { tenant.version().to_owned() } else { body.policy_version.clone() };
    let at = body.shown_at.unwrap_or_else(|| core.clock.now());
    let shown = body.kind == NoticeKind::Shown;
    let mut entry = core.entry(call, Operation::SendNotice, Outcome::Allowed)?;
    entry.tag = Some(person.tag);
    let view = SentNotice {
        id,
        kind: body.kind,
        state: if shown { "shown" } else { "queued" },
        policy_version: policy_version.clone(),
        at,
    };
    let answer = Answer {
        decision: Some(entry.decision),
        made: true,
        body: Some(serde_json::to_vec(&view).map_err(|_| Code::Internal)?),
        ..Answer::default()
    };
    let mut change = Change::noting(entry);
    let template = body.template.as_deref();
    if shown && template == Some(ART14) {
        close_tasks(core, person, None, &mut change)?;
    } else if shown {
        let notice = Notice { id: *id.bytes(), policy_version, at: at.as_microsecond() };
        amend(core, person, &mut change, |row| {
            let notices = &mut row.standing.notices;
            notices.retain(|shown| shown.policy_version != notice.policy_version);
            // Records hold the version that was shown before them; here the newest are enough.
            if notices.len() >= MOST_SHOWN {
                notices.remove(0);
            }
            notices.push(notice);
            Ok(())
        })?;
    } else {
        let owed = person.row.standing.tasks.iter().filter(|task| task.kind == TASK && template == Some(ART14));
        let parties = owed.map(|task| task.party.as_str()).collect::<Vec<_>>().join(", ");
        let words = if parties.is_empty() { Vec::new() } else { vec![Word { name: "party".to_owned(), value: parties }] };
        let row = QueuedNotice {
            kind: body.kind.text().to_owned(),
            template: body.template.clone().unwrap_or_default(),
            policy_version,
            language: body.language.clone(),
            channel: body.channel.clone(),
            at: at.as_microsecond(),
            caller: Some(*call.caller.id.bytes()),
            purpose: PURPOSE.to_owned(),
            words,
            state: 0,
            state_at: at.as_microsecond(),
            reason: None,
            secret_until: None,
        };
        put(core, tenant, person, id, row, (None, None), &mut change)?;
    }
    if let Some(held) = held {
        change.rows.push(held.keep(core, &Owner::Subject(person.id.bytes(), &person.keys), &answer)?);
    }
    Ok((change, answer))
}
