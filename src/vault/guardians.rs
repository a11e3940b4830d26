//! Guardians of minors: what a guardian's consent must show, when it ends, and how it is added or taken back later.

use jiff::Timestamp;

use crate::audit::Outcome;
use crate::model::caller::Operation;
use crate::model::code::Code;
use crate::model::ids::SubjectId;
use crate::model::standing::GuardianConsent;
use crate::model::wire::{GuardianView, GuardianWord, PutGuardian};
use crate::policy::SubjectState;
use crate::tenant::Tenant;

use super::call::{Answer, Call, Refused};
use super::committer::Change;
use super::core::{Core, Person};
use super::lifecycle::Vault;
use super::standing::amend;

/// How far a clock of somebody else may go ahead of ours.
const AHEAD: jiff::SignedDuration = jiff::SignedDuration::from_mins(5);

/// How often a change of a subject's row is tried again when somebody else changed it first.
const TRIES: usize = 4;

impl Vault {
    /// recordConsent of a guardian for a ward: given with evidence, or taken back. Without it nothing of a minor is used, and the
    /// rights of the guardian end with it, or on the day on which the ward comes of age.
    pub async fn put_guardian(&self, call: &Call, id: SubjectId, body: PutGuardian) -> Result<Answer, Refused> {
        let mut last = Refused::from(Code::Overloaded);
        for _ in 0..TRIES {
            match self.put_guardian_once(call, id, &body).await {
                Err(refused) if refused.code == Code::Stale => last = refused,
                done => return done,
            }
        }
        Err(last)
    }

    async fn put_guardian_once(&self, call: &Call, id: SubjectId, body: &PutGuardian) -> Result<Answer, Refused> {
        let operation = Operation::RecordConsent;
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = core.tenant(&call.caller)?;
        let Some(person) = core.person(&tenant, id)? else { return Err(core.missing(call, operation, &tenant, id)) };
        let about = person.facts(&tenant, core.clock.now());
        core.decide(call, operation, &core.facts_about(&tenant, call, &person, &about), Some(person.tag))?;
        // A child does not speak for its guardian.
        if call.caller.subject == Some(id) {
            return Err(core.refuse(call, operation, Code::MinorProtection, Some(person.tag)));
        }
        if !about.minor {
            return Err(core.refuse(call, operation, Code::StateConflict, Some(person.tag)));
        }
        let word = match body {
            PutGuardian::Given { guardian, method, at, purposes } => {
                let word = GuardianWord { method: method.clone(), at: *at, purposes: purposes.clone() };
                consent(core, &tenant, Some(id), *guardian, &word).map_err(|pointer| {
                    let refused = core.refuse(call, operation, Code::InvalidBody, Some(person.tag));
                    Refused { pointer: Some(pointer.into()), ..refused }
                })?
            }
            PutGuardian::Withdrawn {} => match &person.row.standing.guardian {
                Some(word) if word.stands() => GuardianConsent { withdrawn: true, ..word.clone() },
                _ => return Err(core.refuse(call, operation, Code::StateConflict, Some(person.tag))),
            },
        };
        let mut entry = core.entry(call, operation, Outcome::Allowed)?;
        entry.tag = Some(person.tag);
        let body = serde_json::to_vec(&view(&word, true)).map_err(|_| Code::Internal)?;
        let answer = Answer { decision: Some(entry.decision), body: Some(body), ..Answer::default() };
        let mut change = Change { entries: vec![entry], ..Change::default() };
        amend(core, &person, &mut change, |row| {
            row.guardian = Some(word.guardian);
            row.standing.guardian = Some(word);
            Ok(())
        })?;
        opened.committer.commit(change).await?;
        Ok(answer)
    }
}

/// The guardian's consent, if it shows what it must; else where in the body it does not. A guardian is somebody else, of known
/// age and no minor, whose own account is open.
pub(crate) fn consent(
    core: &Core,
    tenant: &Tenant,
    ward: Option<SubjectId>,
    guardian: SubjectId,
    word: &GuardianWord,
) -> Result<GuardianConsent, &'static str> {
    let now = core.clock.now();
    let stands = |person: &Person| {
        let facts = person.facts(tenant, now);
        let known = person.row.birth_date.is_some() || person.row.child.is_some();
        facts.state == SubjectState::Active && known && !facts.minor
    };
    let found = core.person(tenant, guardian).ok().flatten();
    if ward == Some(guardian) || !found.is_some_and(|person| stands(&person)) {
        return Err("/guardian");
    }
    if !tenant.is_guardian_method(&word.method) {
        return Err("/guardian_consent/method");
    }
    if !is_past(word.at, now) {
        return Err("/guardian_consent/at");
    }
    if word.purposes.iter().any(|purpose| tenant.purpose(purpose).is_none()) {
        return Err("/guardian_consent/purposes");
    }
    Ok(GuardianConsent {
        guardian: *guardian.bytes(),
        method: word.method.clone(),
        at: word.at.as_microsecond(),
        purposes: word.purposes.clone(),
        withdrawn: false,
    })
}

/// Whether a time that somebody else states is not in the future.
pub(crate) fn is_past(at: Timestamp, now: Timestamp) -> bool {
    at <= now.checked_add(AHEAD).unwrap_or(now)
}

/// The guardian's word as it is answered.
pub(crate) fn view(word: &GuardianConsent, minor: bool) -> GuardianView {
    let state = match (minor, word.stands()) {
        (false, _) => "ended",
        (true, true) => "given",
        (true, false) => "withdrawn",
    };
    let (method, purposes) = (word.method.clone(), word.purposes.clone());
    GuardianView { id: SubjectId::from_bytes(word.guardian), method, purposes, state }
}
