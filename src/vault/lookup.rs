//! lookupSubject: from an e-mail address, telephone number or external id to a subject id.

use crate::audit::Outcome;
use crate::model::caller::Operation;
use crate::model::code::Code;
use crate::model::field::AliasKind;
use crate::model::ids::SubjectId;
use crate::model::wire::{FoundView, LookupSubject};
use crate::tenant::normalise;

use super::call::{Answer, Call, Refused};
use super::lifecycle::Vault;

impl Vault {
    /// lookupSubject. One read of the store and one decryption; what is not found is noted like what is.
    pub async fn lookup_subject(&self, call: &Call, body: LookupSubject) -> Result<Answer, Refused> {
        let operation = Operation::LookupSubject;
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = core.tenant(&call.caller)?;
        let facts = core.facts(&tenant);
        core.decide(call, operation, &facts, None)?;
        let Some(kind) = AliasKind::named(&body.r#type) else {
            let refused = core.refuse(call, operation, Code::NotIndexable, None);
            return Err(Refused { pointer: Some("/type".into()), ..refused });
        };
        let Ok(normal) = normalise::alias(kind, &body.value, body.region.as_deref()) else {
            return Err(core.refuse(call, operation, Code::NotFound, None));
        };
        let alias = core.hierarchy.alias_of(tenant.id().bytes(), kind.number(), &normal);
        let found = core.hierarchy.alias(&core.rows(), &alias)?;
        let id = match found.as_slice() {
            [] => return Err(core.refuse(call, operation, Code::NotFound, None)),
            [one] => SubjectId::from_bytes(*one),
            _ => return Err(core.refuse(call, operation, Code::AliasAmbiguous, None)),
        };
        let Some(person) = core.person(&tenant, id)? else {
            return Err(core.refuse(call, operation, Code::NotFound, None));
        };
        // What was asked without knowing whom is decided again for this person: even that they are here is theirs.
        let about = person.facts(&tenant, core.clock.now());
        let allowed = core.decide(call, operation, &core.facts_about(&tenant, call, &person, &about), Some(person.tag))?;
        let mut entry = core.entry(call, operation, Outcome::Allowed)?;
        entry.tag = Some(person.tag);
        let admitted = core.admit(&allowed, entry).await?;
        let body = serde_json::to_vec(&FoundView { id }).map_err(|_| Code::Internal)?;
        Ok(Answer { decision: Some(admitted.decision), body: Some(body), ..Answer::default() })
    }
}
