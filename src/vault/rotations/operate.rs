//! operateKeys for rotations: asking for one, letting it rest, going on, ending it.

use serde_json::{Value, json};

use crate::audit::Entry;
use crate::model::caller::Operation;
use crate::model::code::Code;
use crate::model::ids::{KeyJobId, SubjectId};
use crate::tenant::Tenant;

use super::super::call::{Answer, Call, Refused};
use super::super::core::{Core, fresh};
use super::super::lifecycle::Opened;
use super::job::{self, Job, State};
use super::kind::Kind;
use super::on_committer;

/// What is asked of a rotation that is there.
#[derive(Clone, Copy)]
pub(crate) enum Wish {
    Pause,
    Resume,
    Cancel,
}

impl Wish {
    const fn word(self) -> &'static str {
        match self {
            Self::Pause => "pause-job",
            Self::Resume => "resume-job",
            Self::Cancel => "cancel-job",
        }
    }
}

/// Asks for a rotation: it is noted, and the answer says so before the first step.
pub(crate) async fn start(
    opened: &Opened,
    call: &Call,
    tenant: &Tenant,
    entry: Entry,
    (kind, subject): (Kind, Option<SubjectId>),
) -> Result<Answer, Refused> {
    let core = &opened.core;
    let mut entry = entry;
    if let Some(id) = subject {
        let Some(person) = core.person(tenant, id)? else {
            return Err(core.missing(call, Operation::OperateKeys, tenant, id));
        };
        entry.tag = Some(person.tag);
    }
    let decision = entry.decision;
    let caller = call.caller.id;
    let id = KeyJobId::from_bytes(fresh()?);
    let view = alone(opened, move |core| {
        // A second one of the same would do everything twice.
        let same = |(_, other): &(KeyJobId, Job)| other.kind() == kind && other.subject() == subject && !other.state().is_end();
        if core.jobs.all().iter().any(same) {
            return Err(Code::StateConflict.into());
        }
        let job = Job::new(core.jobs.next_number(), kind, subject, Some(caller), core.clock.now());
        job::keep(core, &id, &job, entry)?;
        Ok(job.view(&id))
    })
    .await
    .map_err(|refused| noted(core, call, refused))?;
    opened.rotations.wake();
    let body = json!({"operation": format!("rotate-{}", kind.word()), "job": view});
    Ok(Answer { decision: Some(decision), location: Some("/v1/keys".into()), ..answer(&body)? })
}

/// Lets a rotation rest, go on, or end where it is.
pub(crate) async fn change(opened: &Opened, call: &Call, entry: Entry, id: KeyJobId, wish: Wish) -> Result<Answer, Refused> {
    let core = &opened.core;
    let decision = entry.decision;
    let view = alone(opened, move |core| {
        let mut job = core.jobs.job(&id).ok_or(Code::NotFound)?;
        match wish {
            Wish::Pause if job.is_going() => job.pause(),
            Wish::Resume if job.state() == State::Paused => job.resume(),
            Wish::Cancel if !job.state().is_end() && (job.began_at().is_none() || job.kind().may_cancel()) => {
                job.end(State::Cancelled, core.clock.now(), None);
            }
            Wish::Pause | Wish::Resume | Wish::Cancel => return Err(Code::StateConflict.into()),
        }
        job::keep(core, &id, &job, entry)?;
        Ok(job.view(&id))
    })
    .await
    .map_err(|refused| noted(core, call, refused))?;
    opened.rotations.wake();
    Ok(Answer { decision: Some(decision), ..answer(&json!({"operation": wish.word(), "job": view}))? })
}

async fn alone<T: Send + 'static>(
    opened: &Opened,
    work: impl FnOnce(&Core) -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    let committer = opened.committer.clone();
    tokio::task::spawn_blocking(move || on_committer(&committer, work)).await.map_err(|_| Refused::from(Code::Internal))?
}

/// A refusal that came after the decision is in the trail too.
fn noted(core: &Core, call: &Call, refused: Refused) -> Refused {
    match refused.code {
        Code::StateConflict | Code::NotFound => core.refuse(call, Operation::OperateKeys, refused.code, None),
        _ => refused,
    }
}

fn answer(body: &Value) -> Result<Answer, Refused> {
    let body = serde_json::to_vec(body).map_err(|_| Code::Internal)?;
    Ok(Answer { body: Some(body), ..Answer::default() })
}
