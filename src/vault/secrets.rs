//! verifySecret: whether a password is the one whose verifier is stored. There is no other way to use it (p09).

use std::sync::OnceLock;

use jiff::SignedDuration;
use keys::secret::{ExposeSecret, SecretString};

use crate::audit::Outcome;
use crate::model::caller::Operation;
use crate::model::code::Code;
use crate::model::field::Kind;
use crate::model::ids::SubjectId;
use crate::model::wire::{SecretMatch, VerifySecret};
use crate::policy::Facts;

use super::call::{Answer, Call, Refused};
use super::core::{Core, Known, key_group};
use super::lifecycle::Vault;
use super::reading::{closed, examine, records_of};
use super::records::{context, wraps_of};

/// Tries for one person's secret in a window, right or wrong.
pub(crate) const TRIES: u32 = 10;
pub(crate) const WINDOW: SignedDuration = SignedDuration::from_mins(1);

/// A verifier of nothing that anybody knows: what is compared with where there is no secret, for the same time.
static NOBODYS: OnceLock<Vec<u8>> = OnceLock::new();

impl Vault {
    /// verifySecret: `{"matches":true}` or false; false as well, and as slowly, where there is no secret.
    pub async fn verify_secret(
        &self,
        call: &Call,
        subject: SubjectId,
        field: &str,
        body: VerifySecret,
    ) -> Result<Answer, Refused> {
        let operation = Operation::VerifySecret;
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = core.tenant(&call.caller)?;
        let Some(person) = core.person(&tenant, subject)? else { return Err(core.missing(call, operation, &tenant, subject)) };
        let field = tenant.field(field).ok().filter(|field| field.kind == Kind::Secret).map(|field| field.number);
        let asked: Vec<u16> = field.into_iter().collect();
        let about = person.facts(&tenant, core.clock.now());
        let facts = Facts { fields: &asked, ..core.facts_about(&tenant, call, &person, &about) };
        let allowed = core.decide(call, operation, &facts, Some(person.tag))?;
        let Some(number) = field else { return Err(core.refuse(call, operation, Code::NotFound, Some(person.tag))) };
        if let Err(seconds) = core.secrets_tried.count(*subject.bytes(), core.clock.now()) {
            let refused = core.refuse(call, operation, Code::RateLimited, Some(person.tag));
            return Err(Refused { retry_after: Some(seconds), ..refused });
        }
        let usable = |one: &Known| match examine(&allowed, one) {
            Ok(Some((group, fields))) if fields.contains(&number) => Some(group),
            _ => None,
        };
        let known = records_of(core, &person, |one| usable(one).is_some())?;
        let newest = known.iter().filter_map(|one| Some((one, usable(one)?))).max_by_key(|(one, _)| one.row.updated_at);
        let mut entry = core.entry(call, operation, Outcome::Allowed)?;
        entry.tag = Some(person.tag);
        entry.fields = asked.clone();
        let admitted = core.admit(&allowed, entry).await?;
        let verifier = match newest {
            None => None,
            Some((one, group)) => {
                let permit = admitted.permit(subject, key_group(group)?);
                let key = person.keys.record_key(&permit, one.id.bytes(), &wraps_of(&one.row)).map_err(closed)?;
                let bound = context(core, &person, one.id, &one.row, &one.label_digest)?;
                key.decrypt(&permit, &bound, &one.row.envelope, Some(&[number]))?.pop().map(|(_, plain)| plain)
            }
        };
        let matches = compared(core, verifier, body.value.0).await?;
        let body = serde_json::to_vec(&SecretMatch { matches }).map_err(|_| Code::Internal)?;
        Ok(Answer { decision: Some(admitted.decision), body: Some(body), ..Answer::default() })
    }
}

/// Compares in turn, on a thread that serves nobody else.
async fn compared(core: &Core, verifier: Option<keys::secret::Plaintext>, value: SecretString) -> Result<bool, Refused> {
    // Each takes 19 MiB while it runs: no more at once than there are processors.
    let _turn = core.passwords.acquire().await.map_err(|_| Refused::from(Code::Sealed))?;
    let compare = move || {
        let nobodys = match NOBODYS.get() {
            Some(nobodys) => nobodys,
            None => {
                let made = keys::secret::password_verifier(&keys::random::bytes::<32>()?)?;
                NOBODYS.get_or_init(|| made)
            }
        };
        let stored = verifier.as_ref().map_or(&nobodys[..], |plain| plain.bytes());
        Ok(keys::secret::password_matches(stored, value.expose_secret().as_bytes()) && verifier.is_some())
    };
    tokio::task::spawn_blocking(compare)
        .await
        .map_err(|_| Refused::from(Code::Internal))?
        .map_err(|error: keys::KeysError| error.into())
}
