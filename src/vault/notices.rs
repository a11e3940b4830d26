//! sendNotice: a notice that was shown to a person, or one that is to be sent to them.

use crate::audit::Outcome;
use crate::model::caller::Operation;
use crate::model::code::Code;
use crate::model::ids::NoticeId;
use crate::model::standing::Notice;
use crate::model::wire::{NoticeKind, SendNotice, SentNotice};
use crate::store::layout::RowKey;
use crate::tenant::Tenant;

use super::call::{Answer, Call, Refused};
use super::committer::{Change, Expect, RowChange};
use super::core::{Core, Person, fresh};
use super::idempotency::{self, Begun, Held, Owner};
use super::lifecycle::Vault;
use super::records::is_word;
use super::rows::{QueuedNotice, pack};
use super::standing::amend;

/// The purpose that notices are sent for: what it rests on decides, and no switch of marketing does.
const PURPOSE: &str = "d-notice";

/// How often a notice is tried again because the person's row changed under it.
const TRIES: usize = 4;

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
}

type Unfit = (Code, Option<&'static str>);

fn fits(core: &Core, tenant: &Tenant, person: &Person, body: &SendNotice) -> Result<(), Unfit> {
    let invalid = |pointer| Err((Code::InvalidBody, Some(pointer)));
    if body.promotional {
        return Err((Code::PromotionalNotice, Some("/promotional")));
    }
    if !is_word(&body.policy_version) {
        return invalid("/policy_version");
    }
    if !is_word(&body.language) {
        return invalid("/language");
    }
    if !is_word(&body.channel) {
        return invalid("/channel");
    }
    if body.kind == NoticeKind::Shown {
        let latest = core.clock.now().as_second() + AHEAD;
        return match body.shown_at {
            Some(at) if at.as_second() <= latest && body.template.is_none() => Ok(()),
            _ => invalid("/shown_at"),
        };
    }
    if body.shown_at.is_some() {
        return invalid("/shown_at");
    }
    if !body.template.as_ref().is_some_and(|template| is_word(template)) {
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
    if shown {
        let notice = Notice { id: *id.bytes(), policy_version, at: at.as_microsecond() };
        amend(core, person, &mut change, |row| {
            let notices = &mut row.standing.notices;
            notices.retain(|shown| shown.policy_version != notice.policy_version);
            if notices.len() >= MOST_SHOWN {
                return Err(Code::StateConflict.into());
            }
            notices.push(notice);
            Ok(())
        })?;
    } else {
        let row = QueuedNotice {
            kind: body.kind.text().to_owned(),
            template: body.template.clone().unwrap_or_default(),
            policy_version,
            language: body.language.clone(),
            channel: body.channel.clone(),
            at: at.as_microsecond(),
            caller: *call.caller.id.bytes(),
            purpose: PURPOSE.to_owned(),
        };
        let key = RowKey::Notice(person.id, id).bytes();
        let value = Some(person.keys.seal_row(&key, &pack(&row)?)?);
        change.guard(person);
        change.rows.push(RowChange { key, expect: Expect::Fresh, value });
    }
    if let Some(held) = held {
        change.rows.push(held.keep(core, &Owner::Subject(person.id.bytes(), &person.keys), &answer)?);
    }
    Ok((change, answer))
}
