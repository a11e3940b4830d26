//! A caller, a subject and a record to decide about, all in order until a test changes one thing.

use jiff::Timestamp;

use super::super::*;
use crate::model::caller::{Caller, CallerKind, Operation, Role};
use crate::model::code::Code;
use crate::model::ids::{CallerId, TenantId, TokenId};
use crate::model::purpose::GroupSet;
use crate::tenant::Tenant;

pub(super) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// What is left of an [`Allowed`] that tests compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) group: Option<String>,
    pub(super) fields: Vec<String>,
}

#[derive(Clone)]
pub(super) struct World {
    pub(super) tenant: Tenant,
    pub(super) caller: Caller,
    pub(super) now: Timestamp,
    /// The subject's class; `None` where there is no subject.
    pub(super) class: Option<&'static str>,
    pub(super) state: SubjectState,
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
                id: CallerId::from_bytes([2; 16]),
                name: "caller".to_owned(),
                tenant: tenant.id(),
                kind: CallerKind::Person,
                roles: roles.iter().copied().collect(),
                token: TokenId::from_bytes([3; 16]),
                purposes: purposes.iter().map(|&id| id.to_owned()).collect(),
                fields: None,
                expires_at: at("2027-01-01T00:00:00Z"),
            },
            now: at("2026-11-23T12:00:00Z"),
            class: Some("consumer"),
            state: SubjectState::Active,
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
        let subject = self.class.map(|class| SubjectFacts { tenant, class, state: self.state, jurisdiction: "DE" });
        let record = self.record.as_ref();
        let record =
            record.map(|(purposes, groups, collected_at)| RecordFacts { purposes, groups: *groups, collected_at: *collected_at });
        let facts = Facts {
            subject: subject.as_ref(),
            own: self.own,
            second: self.second,
            fields: &self.fields,
            record: record.as_ref(),
            key_groups: self.alive,
            dead_groups: self.dead,
            trail: self.trail,
            ..Facts::of(&self.tenant)
        };
        look(Ask { caller: &self.caller, operation, purpose, now: self.now }, facts)
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

    pub(super) fn explanation(&self, operation: Operation, purpose: Option<&str>) -> Vec<Finding> {
        self.with(operation, purpose, |ask, facts| explain(&ask, &facts))
    }
}
