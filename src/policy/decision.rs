//! What is asked, what is known, and what comes out.

use jiff::Timestamp;

use super::guard::{Verdict, View};
use super::{GUARDS, g05_category, g12_retention, g15_key, shape};
use crate::model::caller::{Caller, Operation};
use crate::model::code::Code;
use crate::model::field::FieldSet;
use crate::model::ids::{CallerId, TenantId};
use crate::model::purpose::{Group, GroupSet, Purpose};
use crate::tenant::Tenant;

/// Who asks for what.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// Who.
    pub caller: &'a Caller,
    /// What.
    pub operation: Operation,
    /// What for, as it was named.
    pub purpose: Option<&'a str>,
    /// When: the clock's time, passed in.
    pub now: Timestamp,
}

/// What is known of the target. [`Facts::of`] knows nothing: everything that a guard needs must be put in.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The tenant that the call is for.
    pub tenant: &'a Tenant,
    /// The subject; for createSubject the one to be made; `None` where there is none.
    pub subject: Option<&'a SubjectFacts<'a>>,
    /// Whether the target is the caller's own: the person's own subject, the record that a writer wrote, the erasure that
    /// it opened, a partner's subject under its agreement.
    pub own: bool,
    /// How the second person stands to this call.
    pub second: Second,
    /// Numbers of the fields that are asked for or written. For readRecords none means all that the purpose may see.
    pub fields: &'a [u16],
    /// The one record that is meant; `None` where several or none are ([`Allowed::on`] then judges each).
    pub record: Option<&'a RecordFacts<'a>>,
    /// The subject's groups whose keys live.
    pub key_groups: GroupSet,
    /// The subject's groups whose keys were destroyed and not made anew.
    pub dead_groups: GroupSet,
    /// Whether the trail can be written.
    pub trail: bool,
}

impl<'a> Facts<'a> {
    /// No facts but the tenant.
    pub const fn of(tenant: &'a Tenant) -> Self {
        Self {
            tenant,
            subject: None,
            own: false,
            second: Second::None,
            fields: &[],
            record: None,
            key_groups: GroupSet::EMPTY,
            dead_groups: GroupSet::EMPTY,
            trail: false,
        }
    }
}

/// How the second person stands to a call that needs one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Second {
    /// There is none. Enough to open an erasure, which takes effect only when another person approves it.
    None,
    /// This call approves what that caller opened.
    OpenedBy(CallerId),
    /// None is needed: the `solo` profile, or a case where API.md lets the person act directly.
    Waived,
}

/// What is known of a subject.
#[derive(Debug, Clone, Copy)]
pub struct SubjectFacts<'a> {
    /// Whose subject it is. One of another tenant is not there.
    pub tenant: TenantId,
    /// Class; empty for one that was erased.
    pub class: &'a str,
    /// State.
    pub state: SubjectState,
    /// Jurisdiction; empty for one that was erased.
    pub jurisdiction: &'a str,
}

/// What has become of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubjectState {
    /// It is there.
    Active,
    /// Its account was closed.
    Closed,
    /// It was erased.
    Erased,
}

/// What is known of a record.
#[derive(Debug, Clone, Copy)]
pub struct RecordFacts<'a> {
    /// The purposes it was collected for.
    pub purposes: &'a [String],
    /// The groups that its key is still wrapped under.
    pub groups: GroupSet,
    /// When it was collected.
    pub collected_at: Timestamp,
}

/// A call that every guard let through. Only [`decide`] makes one; it cannot be cloned.
///
/// ```compile_fail,E0599
/// fn twice(allowed: oubliette::policy::Allowed<'_>) {
///     let _again = allowed.clone();
/// }
/// ```
pub struct Allowed<'a> {
    purpose: Option<&'a Purpose>,
    group: Option<Group>,
    fields: FieldSet,
    ask: Ask<'a>,
    facts: Facts<'a>,
}

impl<'a> Allowed<'a> {
    /// The purpose; `None` for operations that take none.
    pub const fn purpose(&self) -> Option<&'a Purpose> {
        self.purpose
    }

    /// The group to open the record through; where no record was among the facts, the purpose's own.
    pub const fn group(&self) -> Option<Group> {
        self.group
    }

    /// The fields that may be read or written; empty for operations that touch none.
    pub const fn fields(&self) -> &FieldSet {
        &self.fields
    }

    /// Judges one of several records: the guards that look at the record, and the group to open it through.
    pub fn on(&self, record: &'a RecordFacts<'a>) -> Result<Group, Denied> {
        let view = View::of(&self.ask, &self.facts).on(record);
        let refused = |guard: &'static str, code: Code| Denied { code, guard };
        if let Verdict::Fails(code) = g12_retention::check(&view) {
            return Err(refused("G12", code));
        }
        g15_key::open(&view, record).map_err(|code| refused("G15", code))
    }
}

/// A refusal: why, and by which guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denied {
    /// Why.
    pub code: Code,
    /// Which guard.
    pub guard: &'static str,
}

impl Denied {
    /// The guard as the caller may see it: none with `not-found`, so that what is not there, not allowed and another
    /// tenant's look the same.
    pub fn shown_guard(&self) -> Option<&'static str> {
        (self.code != Code::NotFound).then_some(self.guard)
    }
}

/// What one guard says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finding {
    /// Its id, such as `G3`.
    pub guard: &'static str,
    /// Its name, such as `purpose`.
    pub name: &'static str,
    /// Whether it holds; `None` where it does not apply, or where an earlier guard's failure leaves it nothing to judge.
    pub holds: Option<bool>,
    /// Why it does not hold.
    pub code: Option<Code>,
}

/// Asks the guards in their order. The first that fails is the answer.
pub fn decide<'a>(ask: &Ask<'a>, facts: &Facts<'a>) -> Result<Allowed<'a>, Denied> {
    let view = View::of(ask, facts);
    for guard in GUARDS {
        if let Verdict::Fails(code) = (guard.check)(&view) {
            return Err(Denied { code, guard: guard.id });
        }
    }
    let group = match view.record {
        Some(record) if shape::opens_records(ask.operation) => g15_key::open(&view, record).ok(),
        _ => view.purpose.and_then(|purpose| purpose.group),
    };
    Ok(Allowed { purpose: view.purpose, group, fields: g05_category::permitted(&view), ask: *ask, facts: *facts })
}

/// Asks every guard, whatever the others say.
pub fn explain(ask: &Ask<'_>, facts: &Facts<'_>) -> Vec<Finding> {
    let view = View::of(ask, facts);
    let finding = |guard: &super::Guard| {
        let (holds, code) = match (guard.check)(&view) {
            Verdict::Holds => (Some(true), None),
            Verdict::NotAsked => (None, None),
            Verdict::Fails(code) => (Some(false), Some(code)),
        };
        Finding { guard: guard.id, name: guard.name, holds, code }
    };
    GUARDS.iter().map(finding).collect()
}
