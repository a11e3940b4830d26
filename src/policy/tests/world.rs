//! A caller, a subject and a record to decide about, all in order until a test changes one thing.

use jiff::Timestamp;

use super::super::*;
use crate::model::caller::{Caller, CallerKind, Grounds, Operation, Role};
use crate::model::case::CaseKind;
use crate::model::code::Code;
use crate::model::field::FieldSet;
use crate::model::ids::{CallerId, RecordId, TenantId};
use crate::model::purpose::GroupSet;
use crate::model::standing::{
    Consent, ConsentState, Contract, GuardianConsent, Preference, Restriction, RestrictionKind, Standing,
};
use crate::tenant::Tenant;

pub(super) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// What is left of an [`Allowed`] that tests compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) group: Option<String>,
    pub(super) fields: Vec<String>,
    pub(super) masked: Vec<String>,
}

/// What one guard said, as tests compare it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) guard: &'static str,
    pub(super) holds: Option<bool>,
    pub(super) code: Option<Code>,
    pub(super) by: Vec<String>,
}

/// A contract in force, every consent given for all that the purposes use.
fn in_order(tenant: &Tenant) -> Standing {
    let consents = tenant.purposes().iter().filter(|purpose| purpose.parent.is_none() && purpose.group.is_some());
    let consents = consents.map(|purpose| consent(tenant, &purpose.id, "general", ConsentState::Given)).collect();
    let contracts = vec![contract("ord-1")];
    Standing { consents, contracts, ..Standing::default() }
}

pub(super) fn consent(tenant: &Tenant, purpose: &str, kind: &str, state: ConsentState) -> Consent {
    Consent {
        id: [3; 16],
        purpose: purpose.to_owned(),
        kind: kind.to_owned(),
        state,
        at: at("2026-11-01T00:00:00Z").as_microsecond(),
        until: None,
        policy_version: tenant.version().to_owned(),
        categories: tenant.purpose(purpose).unwrap().categories.iter().cloned().collect(),
        destroy_at: None,
    }
}

pub(super) fn contract(reference: &str) -> Contract {
    Contract { reference: reference.to_owned(), active: true, from: "2026-01-01".to_owned(), until: None }
}

pub(super) fn restriction(kind: RestrictionKind, purposes: &[&str], exceptions: &[&str]) -> Restriction {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    Restriction {
        id: [4; 16],
        kind,
        purposes: owned(purposes),
        at: 0,
        exceptions: owned(exceptions),
        records: Vec::new(),
        by: [5; 16],
        case: None,
        review_at: None,
        active: true,
    }
}

pub(super) fn guardian(purposes: &[&str]) -> GuardianConsent {
    let purposes = purposes.iter().map(|&name| name.to_owned()).collect();
    GuardianConsent { guardian: [6; 16], method: "signed-form".to_owned(), at: 0, purposes, withdrawn: false }
}

/// What a case that two people decided lets be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Approved {
    pub(super) purposes: Vec<String>,
    pub(super) fields: FieldSet,
    pub(super) recipient: Option<&'static str>,
    pub(super) abroad: bool,
}

impl Approved {
    fn facts(&self) -> CaseFacts<'_> {
        CaseFacts { purposes: &self.purposes, fields: self.fields, recipient: self.recipient, approved_abroad: self.abroad }
    }
}

#[derive(Clone)]
pub(super) struct World {
    pub(super) tenant: Tenant,
    pub(super) caller: Caller,
    pub(super) now: Timestamp,
    /// The subject's class; `None` where there is no subject.
    pub(super) class: Option<&'static str>,
    pub(super) state: SubjectState,
    pub(super) jurisdiction: &'static str,
    pub(super) minor: bool,
    pub(super) of_age_since: Option<Timestamp>,
    pub(super) region: String,
    pub(super) standing: Standing,
    pub(super) grounds: Grounds,
    /// The id of the partner that something is disclosed to.
    pub(super) recipient: Option<&'static str>,
    /// On what kind of case a disclosure is to be made.
    pub(super) disclosed_on: Option<CaseKind>,
    /// The approved case that the disclosure names.
    pub(super) case: Option<Approved>,
    /// The approved case for the child's protection that is named.
    pub(super) protection: Option<Approved>,
    /// An open, verified request of the person is named.
    pub(super) request: bool,
    /// The source system that the record came from.
    pub(super) source: Option<&'static str>,
    pub(super) session: bool,
    /// The subject is another tenant's.
    pub(super) foreign: bool,
    pub(super) own: bool,
    pub(super) second: Second,
    pub(super) fields: Vec<u16>,
    /// Purposes, groups still wrapped, time of collection.
    pub(super) record: Option<(Vec<String>, GroupSet, Timestamp)>,
    pub(super) alive: GroupSet,
    pub(super) dead: GroupSet,
    pub(super) trail: bool,
}

impl World {
    pub(super) fn new(roles: &[Role], purposes: &[&str]) -> Self {
        let tenant = Tenant::shipped(TenantId::from_bytes([1; 16])).unwrap();
        Self {
            caller: Caller {
                kind: CallerKind::Person,
                roles: roles.iter().copied().collect(),
                purposes: purposes.iter().map(|&id| id.to_owned()).collect(),
                expires_at: at("2027-01-01T00:00:00Z"),
                trained_until: Some("2027-01-01".parse().unwrap()),
                ..Caller::nobody(CallerId::from_bytes([2; 16]), tenant.id())
            },
            now: at("2026-11-23T12:00:00Z"),
            class: Some("consumer"),
            state: SubjectState::Active,
            jurisdiction: "DE",
            minor: false,
            of_age_since: None,
            region: tenant.storage().to_owned(),
            standing: in_order(&tenant),
            grounds: Grounds { rule: Some("de-hgb-257".to_owned()), ..Grounds::NONE },
            recipient: None,
            disclosed_on: None,
            case: None,
            protection: None,
            request: true,
            source: None,
            session: false,
            foreign: false,
            own: false,
            second: Second::None,
            fields: Vec::new(),
            record: None,
            alive: tenant.groups(),
            dead: GroupSet::EMPTY,
            trail: true,
            tenant,
        }
    }

    pub(super) fn class(mut self, class: &'static str) -> Self {
        self.class = Some(class);
        self
    }

    pub(super) fn fields(mut self, names: &[&str]) -> Self {
        self.fields = names.iter().map(|name| self.tenant.field(name).unwrap().number).collect();
        self
    }

    pub(super) fn narrowed(mut self, names: &[&str]) -> Self {
        self.caller.fields = Some(names.iter().map(|&name| name.to_owned()).collect());
        self
    }

    pub(super) fn record(mut self, purposes: &[&str], collected_at: &str) -> Self {
        let groups = self.tenant.groups_of(purposes).unwrap();
        self.record = Some((purposes.iter().map(|&id| id.to_owned()).collect(), groups, at(collected_at)));
        self
    }

    /// A case about these fields for a purpose, for this recipient.
    pub(super) fn case(&self, purpose: &str, fields: &[&str], recipient: Option<&'static str>) -> Option<Approved> {
        let fields = fields.iter().map(|name| self.tenant.field(name).unwrap().number).collect();
        Some(Approved { purposes: vec![purpose.to_owned()], fields, recipient, abroad: false })
    }

    /// Destroys the key of a group.
    pub(super) fn kill(&mut self, group: &str) {
        let group = self.tenant.group(group).unwrap();
        self.alive = self.alive.iter().filter(|&other| other != group).collect();
        self.dead.insert(group);
    }

    /// Takes the record's wrap under a group away.
    pub(super) fn lose_wrap(&mut self, group: &str) {
        let group = self.tenant.group(group).unwrap();
        if let Some((_, groups, _)) = &mut self.record {
            *groups = groups.iter().filter(|&other| other != group).collect();
        }
    }

    /// Calls `look` with the ask and the facts of this world.
    fn with<T>(&self, operation: Operation, purpose: Option<&str>, look: impl FnOnce(Ask<'_>, Facts<'_>) -> T) -> T {
        let tenant = if self.foreign { TenantId::from_bytes([8; 16]) } else { self.tenant.id() };
        let subject = self.class.map(|class| SubjectFacts {
            tenant,
            class,
            jurisdiction: self.jurisdiction,
            minor: self.minor,
            of_age_since: self.of_age_since,
            region: &self.region,
            standing: &self.standing,
            ..SubjectFacts::bare(&self.tenant, self.state)
        });
        let record = self.record.as_ref();
        let record = record.map(|(purposes, groups, collected_at)| RecordFacts {
            purposes,
            groups: *groups,
            collected_at: *collected_at,
            fields: FieldSet::EMPTY,
            id: Some(RecordId::from_bytes([7; 16])),
            source: self.source,
            session: self.session,
        });
        let (case, protection) = (self.case.as_ref().map(Approved::facts), self.protection.as_ref().map(Approved::facts));
        let facts = Facts {
            subject: subject.as_ref(),
            own: self.own,
            second: self.second,
            fields: &self.fields,
            record: record.as_ref(),
            key_groups: self.alive,
            dead_groups: self.dead,
            recipient: self.recipient.and_then(|id| self.tenant.partner(id)),
            disclosed_on: self.disclosed_on,
            case: case.as_ref(),
            protection: protection.as_ref(),
            request: self.request,
            trail: self.trail,
            ..Facts::of(&self.tenant)
        };
        look(Ask { caller: &self.caller, operation, purpose, now: self.now, grounds: &self.grounds }, facts)
    }

    /// What the decision says, for reading by people.
    pub(super) fn outcome(&self, operation: Operation, purpose: Option<&str>) -> Result<Answer, (&'static str, Code)> {
        self.with(operation, purpose, |ask, facts| match decide(&ask, &facts) {
            Ok(allowed) => Ok(self.answer(&allowed)),
            Err(denied) => Err((denied.guard, denied.code)),
        })
    }

    /// The same where the record is one of a list: decided without it, then on it.
    pub(super) fn outcome_by_list(&self, operation: Operation, purpose: &str) -> Result<Option<String>, (&'static str, Code)> {
        self.with(operation, Some(purpose), |ask, facts| {
            let of_all = Facts { record: None, ..facts };
            let allowed = decide(&ask, &of_all).map_err(|denied| (denied.guard, denied.code))?;
            let group = allowed.on(facts.record.unwrap()).map_err(|denied| (denied.guard, denied.code))?;
            Ok(Some(self.tenant.group_name(group).to_owned()))
        })
    }

    fn answer(&self, allowed: &Allowed<'_>) -> Answer {
        let name = |number| self.tenant.field_numbered(number).map(|field| field.name.clone()).unwrap_or_default();
        Answer {
            group: allowed.group().map(|group| self.tenant.group_name(group).to_owned()),
            fields: allowed.fields().iter().map(name).collect(),
            masked: allowed.masked().iter().map(name).collect(),
        }
    }

    #[track_caller]
    pub(super) fn ask<'p>(&self, operation: Operation, purpose: impl Into<Option<&'p str>>) -> Answer {
        self.outcome(operation, purpose.into()).unwrap()
    }

    #[track_caller]
    pub(super) fn refusal<'p>(&self, operation: Operation, purpose: impl Into<Option<&'p str>>) -> (&'static str, Code) {
        self.outcome(operation, purpose.into()).unwrap_err()
    }

    pub(super) fn explanation(&self, operation: Operation, purpose: Option<&str>) -> Vec<Said> {
        let said = |finding: Finding<'_>| Said {
            guard: finding.guard,
            holds: finding.holds,
            code: finding.code,
            by: finding.rules().map(|rule| self.named(rule)).collect(),
        };
        self.with(operation, purpose, |ask, facts| explain(&ask, &facts).into_iter().map(said).collect())
    }

    fn named(&self, rule: Rule<'_>) -> String {
        match rule {
            Rule::Basis(rule) => format!("basis {}", rule.id),
            Rule::Assessment(assessment) => format!("assessment {}", assessment.id),
            Rule::Legal(rule) => format!("rule {}", rule.id),
            Rule::Transfer(rule) => format!("transfer {}", rule.id),
            Rule::Partner(partner) => format!("partner {}", partner.id),
            Rule::Retention(group) => format!("retention {}", self.tenant.group_name(group)),
            Rule::Consent(consent) => format!("consent {} {}", consent.kind, consent.purpose),
            Rule::Contract(contract) => format!("contract {}", contract.reference),
            Rule::Preference(preference) => format!("preference {}", preference.name),
            Rule::Restriction(restriction) => format!("restriction {:?}", restriction.kind),
            Rule::Guardian(_) => "guardian".to_owned(),
            Rule::Extension(extension) => format!("extension {}", extension.ground),
        }
    }

    /// Says something about a purpose instead of what was said before.
    pub(super) fn says(&mut self, purpose: &str, kind: &str, state: ConsentState) -> &mut Consent {
        self.standing.consents.retain(|known| known.purpose != purpose || known.kind != kind);
        self.standing.consents.push(consent(&self.tenant, purpose, kind, state));
        self.standing.consents.last_mut().unwrap()
    }

    /// Sets a switch.
    pub(super) fn switch(&mut self, name: &str, on: bool) {
        self.standing.preferences.retain(|known| known.name != name);
        self.standing.preferences.push(Preference { name: name.to_owned(), on, at: 0 });
    }

    /// What a partner is told, where the trail has the reason.
    pub(super) fn shown(&self, operation: Operation, purpose: &str) -> (Code, Option<&'static str>) {
        self.with(operation, Some(purpose), |ask, facts| {
            let denied = decide(&ask, &facts).err().unwrap();
            (denied.shown_code(), denied.shown_guard())
        })
    }
}
