//! The second factor of a person behind a caller, and stepUp: a code of the moment, for clear text for a few minutes.

use jiff::SignedDuration;
use keys::totp;
use minicbor::{Decode, Encode};

use crate::audit::Outcome;
use crate::model::caller::{CallerKind, Operation};
use crate::model::code::Code;
use crate::model::ids::CallerId;
use crate::model::wire::{FactorView, StepUp, SteppedUp};
use crate::policy::{Facts, Second};
use crate::store::layout::RowKey;

use super::call::{Answer, Call, Refused};
use super::committer::{Change, Expect, RowChange};
use super::idempotency::{self, Begun, Owner};
use super::lifecycle::Vault;
use super::rows::{pack, unpack};

/// What the answer to a missing step up names (RFC 9470), and an access token's `acr` may say.
pub const ACR: &str = "urn:oubliette:acr:second-factor";

/// Codes that one caller may try in a window, right or wrong.
pub(crate) const TRIES: u32 = 5;
pub(crate) const WINDOW: SignedDuration = SignedDuration::from_mins(5);

/// The secret that a person's device shares with the vault. Sealed under the vault's row key.
#[derive(Encode, Decode)]
#[cbor(map)]
struct FactorRow {
    #[cbor(n(0), with = "minicbor::bytes")]
    secret: [u8; 32],
    /// The step of the last code that was taken: none is taken twice.
    #[n(1)]
    last: u64,
}

impl Vault {
    /// Enrols a second factor of a person's caller, as issueToken enrols the first: by a security officer, shown once. The
    /// one before it stops working. Nobody enrols their own.
    pub async fn enrol_factor(&self, call: &Call, id: CallerId) -> Result<Answer, Refused> {
        let operation = Operation::IssueToken;
        let opened = self.opened()?;
        let core = &opened.core;
        let held = match idempotency::begin(core, &self.0.in_flight, call, operation)? {
            Begun::Again(_) => return Err(Code::SecretShownOnce.into()),
            Begun::First(held) => Some(held),
            Begun::Plain => None,
        };
        let tenant = core.tenant(&call.caller)?;
        core.decide(call, operation, &Facts { second: Second::Waived, ..core.facts(&tenant) }, None)?;
        let Some(owner) = core.registry.caller(&id).filter(|row| row.tenant == *tenant.id().bytes()) else {
            return Err(core.refuse(call, operation, Code::NotFound, None));
        };
        if id == call.caller.id {
            return Err(core.refuse(call, operation, Code::SecondPersonRequired, None));
        }
        if owner.rights.suspended || owner.rights.kind() != CallerKind::Person {
            return Err(core.refuse(call, operation, Code::StateConflict, None));
        }
        let secret = totp::secret()?;
        let row = FactorRow { secret: *secret, last: 0 };
        let key = RowKey::Factor(id).bytes();
        let sealed = core.hierarchy.seal_row(&key, &pack(&row)?)?;
        let entry = core.entry(call, operation, Outcome::Allowed)?;
        let text = totp::base32(&secret[..]);
        let view = FactorView {
            secret: &text,
            uri: format!(
                "otpauth://totp/oubliette:{id}?secret={}&issuer=oubliette&algorithm=SHA256&digits={}&period={}",
                *text,
                totp::DIGITS,
                totp::STEP
            ),
        };
        let body = serde_json::to_vec(&view).map_err(|_| Code::Internal)?;
        let answer = Answer { decision: Some(entry.decision), made: true, body: Some(body), ..Answer::default() };
        let mut change = Change::noting(entry);
        change.rows.push(RowChange { key, expect: Expect::Any, value: Some(sealed) });
        if let Some(held) = held {
            let without = Answer { decision: answer.decision, made: true, ..Answer::default() };
            change.rows.push(held.keep(core, &Owner::Vault, &without)?);
        }
        opened.committer.commit(change).await?;
        Ok(answer)
    }

    /// stepUp: with a code of its caller's factor, this token sees clear text until the time that is answered. Each code is
    /// taken once, from one token, and each try counts.
    pub async fn step_up(&self, call: &Call, body: StepUp) -> Result<Answer, Refused> {
        let operation = Operation::StepUp;
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = core.tenant(&call.caller)?;
        core.decide(call, operation, &core.facts(&tenant), None)?;
        let now = core.clock.now();
        if let Err(seconds) = core.codes_tried.count(call.caller.id, now) {
            let refused = core.refuse(call, operation, Code::RateLimited, None);
            return Err(Refused { retry_after: Some(seconds), ..refused });
        }
        let no = || core.refuse(call, operation, Code::StepUpRequired, None);
        let key = RowKey::Factor(call.caller.id).bytes();
        let Some(stored) = core.store.row(&key)? else { return Err(no()) };
        let mut row: FactorRow = unpack(core.hierarchy.open_row(&key, &stored)?.bytes())?;
        let seconds = u64::try_from(now.as_second()).unwrap_or(0);
        let Some(step) = totp::step_of(&row.secret, &body.code.0, seconds, row.last) else { return Err(no()) };
        row.last = step;
        let sealed = core.hierarchy.seal_row(&key, &pack(&row)?)?;
        let entry = core.entry(call, operation, Outcome::Allowed)?;
        let decision = entry.decision;
        let mut change = Change::noting(entry);
        change.rows.push(RowChange { key, expect: Expect::Is(stored), value: Some(sealed) });
        // Of two calls with the same code one finds that it was taken.
        match opened.committer.commit(change).await {
            Err(refused) if refused.code == Code::Stale => return Err(no()),
            done => done?,
        }
        let until = now.checked_add(core.step_up).unwrap_or(now).min(call.caller.expires_at);
        if !core.registry.step_up(&call.caller.token, until) {
            return Err(no());
        }
        let body = serde_json::to_vec(&SteppedUp { until, acr: ACR }).map_err(|_| Code::Internal)?;
        Ok(Answer { decision: Some(decision), body: Some(body), ..Answer::default() })
    }
}
