//! explainDecision: a dry run, AuthZEN-shaped. It decides like the real call and opens nothing.

use std::sync::Arc;

use crate::audit::Outcome;
use crate::model::caller::{Caller, Operation, Role};
use crate::model::code::Code;
use crate::model::ids::{CallerId, ConsentId, RestrictionId, SubjectId};
use crate::model::wire::{ExplainDecision, ExplainedContext, ExplainedView, GuardView, RuleView};
use crate::policy::roles::{self, Cell};
use crate::policy::{self, Ask, Facts, Rule, SubjectFacts, SubjectState};
use crate::tenant::Tenant;

use super::call::{Answer, Call, Refused};
use super::lifecycle::Vault;
use super::reading::records_of;
use super::records::record_facts;
use super::requests;

impl Vault {
    /// explainDecision: every guard with its result. Whoever may only explain their own decisions names nobody else.
    pub async fn explain_decision(&self, call: &Call, body: ExplainDecision) -> Result<Answer, Refused> {
        let operation = Operation::ExplainDecision;
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = core.tenant(&call.caller)?;
        let id: CallerId = match &body.subject {
            None => call.caller.id,
            Some(entity) => entity.id.parse().map_err(|_| Refused::at(Code::InvalidBody, "/subject/id"))?,
        };
        // Decided before the other caller is looked for: who may not ask does not learn who there is.
        let own = id == call.caller.id;
        let mine = Facts { own, ..core.facts(&tenant) };
        let allowed = core.decide(call, operation, &mine, None)?;
        let caller = if own {
            call.caller.clone()
        } else {
            let row = core.registry.caller(&id).filter(|row| row.tenant == *tenant.id().bytes());
            let Some(row) = row else { return Err(Refused::at(Code::InvalidBody, "/subject/id")) };
            Arc::new(Caller {
                id,
                name: row.rights.name.clone(),
                tenant: tenant.id(),
                kind: row.rights.kind(),
                roles: row.rights.roles(),
                token: call.caller.token,
                region: row.rights.region.clone(),
                source: row.rights.source.clone(),
                partner: row.rights.partner.clone(),
                trained_until: row.rights.trained_until(),
                purposes: row.rights.purposes.iter().cloned().collect(),
                fields: None,
                expires_at: call.caller.expires_at,
                ..Caller::nobody(id, tenant.id())
            })
        };
        let Some(asked) = Operation::ALL.iter().copied().find(|known| known.text() == body.action.name) else {
            return Err(Refused::at(Code::InvalidBody, "/action/name"));
        };
        let mut fields = Vec::new();
        for name in &body.context.fields {
            fields.push(tenant.field(name).map_err(|code| Refused::at(code, "/context/fields"))?.number);
        }
        let subject: Option<SubjectId> = match body.resource.r#type.as_str() {
            "subject" => Some(body.resource.id.parse().map_err(|_| Refused::at(Code::InvalidBody, "/resource/id"))?),
            "vault" => None,
            _ => return Err(Refused::at(Code::InvalidBody, "/resource/type")),
        };
        // Who may not know that the subject exists learns nothing about it here either.
        let knows =
            |role: &Role| [operation, Operation::GetSubject].into_iter().any(|known| roles::cell(known, *role) == Cell::Allowed);
        let subject = subject.filter(|_| call.caller.roles.iter().any(knows));
        let hidden = body.resource.r#type == "subject" && subject.is_none();
        let person = match subject {
            Some(id) => core.person(&tenant, id)?,
            None => None,
        };
        let erased = match (subject, &person) {
            (Some(id), None) => core.was_erased(&tenant, id)?,
            _ => false,
        };
        if subject.is_some() && person.is_none() && !erased {
            return Err(core.refuse(call, operation, Code::NotFound, None));
        }
        let about = match &person {
            Some(person) => Some(person.facts(&tenant, core.clock.now())),
            None if erased => Some(SubjectFacts::bare(&tenant, SubjectState::Erased)),
            None => None,
        };
        let known = match (&person, body.context.record) {
            (Some(person), Some(id)) => records_of(core, person, |one| one.id == id)?,
            _ => Arc::default(),
        };
        let one = known.iter().find(|one| Some(one.id) == body.context.record);
        if body.context.record.is_some() && one.is_none() && !erased {
            return Err(core.refuse(call, operation, Code::NotFound, person.as_ref().map(|person| person.tag)));
        }
        let record = one.map(|one| record_facts(one.id, &one.row, &one.label));
        let facts = Facts {
            subject: about.as_ref(),
            record: record.as_ref(),
            // A dry run supposes that the target is the caller's own where only that would be allowed.
            own: !hidden && caller.roles.iter().any(|role| roles::cell(asked, *role) == Cell::Own),
            fields: &fields,
            key_groups: person.as_ref().map(|person| person.alive()).unwrap_or_default(),
            dead_groups: person.as_ref().map(|person| person.dead()).unwrap_or_default(),
            request: person.as_ref().is_some_and(|person| requests::serves(core, &tenant, call, person)),
            ..core.facts(&tenant)
        };
        let ask = Ask {
            caller: &caller,
            operation: asked,
            purpose: body.context.purpose.as_deref(),
            now: core.clock.now(),
            grounds: &call.grounds,
        };
        let decision = policy::decide(&ask, &facts).is_ok();
        let guards: Vec<_> = policy::explain(&ask, &facts)
            .into_iter()
            .map(|finding| {
                let rules = finding.rules().map(|rule| shown(&tenant, rule)).collect();
                let code = finding.code.map(Code::text);
                GuardView { guard: finding.guard, name: finding.name, holds: finding.holds, code, rules }
            })
            .collect();
        let mut entry = core.entry(call, operation, Outcome::Allowed)?;
        entry.tag = person.as_ref().map(|person| person.tag);
        let admitted = core.admit(&allowed, entry).await?;
        let context = ExplainedContext { policy_version: tenant.version().to_owned(), guards };
        let body = ExplainedView { decision, context };
        let body = serde_json::to_vec(&body).map_err(|_| Code::Internal)?;
        Ok(Answer { decision: Some(admitted.decision), body: Some(body), ..Answer::default() })
    }
}

/// A rule that a guard went by: its kind, its id, and the policy version that it stands in. What stands about the person has
/// ids of the vault's own; the reference of a contract is the application's word for it.
fn shown(tenant: &Tenant, rule: Rule<'_>) -> RuleView {
    let of_person = |kind: &'static str, id: String| RuleView { kind, id, basis: None, term: None, policy_version: None };
    let of_policy = |kind: &'static str, id: &str| {
        let policy_version = Some(tenant.version().to_owned());
        RuleView { policy_version, ..of_person(kind, id.to_owned()) }
    };
    match rule {
        Rule::Basis(rule) => RuleView { basis: Some(rule.basis), term: Some(rule.term.clone()), ..of_policy("basis", &rule.id) },
        Rule::Assessment(assessment) => of_policy("assessment", &assessment.id),
        Rule::Legal(rule) => of_policy("legal-rule", &rule.id),
        Rule::Transfer(rule) => of_policy("transfer", &rule.id),
        Rule::Partner(partner) => of_policy("partner", &partner.id),
        Rule::Retention(group) => of_policy("retention", tenant.group_name(group)),
        Rule::Consent(consent) => {
            let policy_version = Some(consent.policy_version.clone());
            RuleView { policy_version, ..of_person("consent", ConsentId::from_bytes(consent.id).to_string()) }
        }
        Rule::Contract(contract) => of_person("contract", contract.reference.clone()),
        Rule::Preference(preference) => of_person("preference", preference.name.clone()),
        Rule::Restriction(restriction) => of_person("restriction", RestrictionId::from_bytes(restriction.id).to_string()),
        Rule::Guardian(word) => of_person("guardian-consent", SubjectId::from_bytes(word.guardian).to_string()),
        Rule::Extension(extension) => of_person("extension", extension.ground.clone()),
    }
}
