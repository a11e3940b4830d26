//! setPreference: the switches that a person sets, and the signal of their browser (Global Privacy Control).

use jiff::Timestamp;

use crate::audit::Outcome;
use crate::model::caller::Operation;
use crate::model::code::Code;
use crate::model::ids::{ConsentId, SubjectId};
use crate::model::purpose::Purpose;
use crate::model::standing::{Consent, ConsentState, PREFERENCES, Preference, Standing};
use crate::model::wire::{PreferenceView, SetPreference};
use crate::tenant::Tenant;

use super::call::{Answer, Call, Refused};
use super::committer::Change;
use super::consents::{self, Event};
use super::core::Core;
use super::lifecycle::Vault;

/// The switch that turning off takes consents back, and that a consent turns on again.
const MARKETING: &str = "marketing";

/// Global Privacy Control: on is an objection to being sold, shared or profiled for advertising.
const GPC: &str = "gpc";

/// How often a switch is tried again when the subject's row changed under it.
const TRIES: usize = 4;

impl Vault {
    /// setPreference. Turning `marketing` off takes back every consent to marketing that stands.
    pub async fn set_preference(&self, call: &Call, id: SubjectId, name: &str, body: SetPreference) -> Result<Answer, Refused> {
        let opened = self.opened()?;
        for _ in 0..TRIES {
            let (change, answer) = prepare(&opened.core, call, id, name, &body)?;
            match opened.committer.commit(change).await {
                Ok(()) => return Ok(answer),
                Err(refused) if refused.code == Code::Stale => continue,
                Err(refused) => return Err(refused),
            }
        }
        Err(Code::Overloaded.into())
    }
}

fn prepare(core: &Core, call: &Call, id: SubjectId, name: &str, body: &SetPreference) -> Result<(Change, Answer), Refused> {
    let operation = Operation::SetPreference;
    let tenant = core.tenant(&call.caller)?;
    let Some(person) = core.person(&tenant, id)? else { return Err(core.missing(call, operation, &tenant, id)) };
    let now = core.clock.now();
    let about = person.facts(&tenant, now);
    core.decide(call, operation, &core.facts_about(&tenant, call, &person, &about), Some(person.tag))?;
    if !PREFERENCES.contains(&name) {
        return Err(core.refuse(call, operation, Code::NotFound, Some(person.tag)));
    }
    let taken_back = if name == MARKETING && !body.on { marketing(&person.row.standing, &tenant) } else { Vec::new() };
    let mut change = Change::default();
    let rows = consents::add(core, &tenant, &person, &mut change, Some(call), taken_back, |subject| {
        set(&mut subject.standing, name, body.on, now);
        Ok(())
    })?;
    let mut entry = core.entry(call, operation, Outcome::Allowed)?;
    entry.tag = Some(person.tag);
    let withdrawn: Vec<ConsentId> = rows.iter().map(|row| ConsentId::from_bytes(row.event.id)).collect();
    let answer = PreferenceView { preference: name.to_owned(), on: body.on, at: now, withdrawn };
    let answer = Answer {
        decision: Some(entry.decision),
        body: Some(serde_json::to_vec(&answer).map_err(|_| Code::Internal)?),
        ..Answer::default()
    };
    change.entries.push(entry);
    Ok((change, answer))
}

/// Sets a switch.
pub(crate) fn set(standing: &mut Standing, name: &str, on: bool, now: Timestamp) {
    standing.preferences.retain(|known| known.name != name);
    standing.preferences.push(Preference { name: name.to_owned(), on, at: now.as_microsecond() });
}

/// What a person's browser says with `Sec-GPC: 1`, relayed with a call about them, stands from then on.
pub(crate) fn relayed(standing: &mut Standing, call: &Call, now: Timestamp) {
    if call.gpc && standing.preference(GPC) != Some(true) {
        set(standing, GPC, true, now);
    }
}

/// A consent to what a switch had turned off turns it on again: the last word counts. A browser's signal stays.
pub(crate) fn consented(standing: &mut Standing, tenant: &Tenant, purpose: &str, now: Timestamp) {
    let turns_on = tenant.purpose(purpose).is_some_and(is_marketing);
    if turns_on && standing.preference(MARKETING) == Some(false) {
        set(standing, MARKETING, true, now);
    }
}

/// Whether the switch `marketing` is about the purpose.
fn is_marketing(purpose: &Purpose) -> bool {
    purpose.preference.iter().any(|switch| switch == MARKETING)
}

/// A withdrawal of every consent to marketing that stands.
fn marketing(standing: &Standing, tenant: &Tenant) -> Vec<Event> {
    let stands = |consent: &&Consent| matches!(consent.state, ConsentState::Given | ConsentState::Requested);
    let given = standing.consents.iter().filter(stands);
    let given = given.filter(|consent| tenant.purpose(&consent.purpose).is_some_and(is_marketing));
    given.map(|consent| Event::bare(&consent.purpose, &consent.kind, ConsentState::Withdrawn)).collect()
}
