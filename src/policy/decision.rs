//! What is asked, what is known, and what comes out.

use std::sync::LazyLock;

use jiff::Timestamp;

use super::guard::{By, Guard, Rule, Says, View};
use super::{GUARDS, g07_basis, g09_minor, g10_transfer, g11_recipient, g13_minimisation, g15_key, shape};
use crate::model::caller::{Caller, Grounds, Operation};
use crate::model::case::CaseKind;
use crate::model::code::Code;
use crate::model::field::FieldSet;
use crate::model::ids::{CallerId, RecordId, TenantId};
use crate::model::purpose::{Group, GroupSet, Purpose};
use crate::model::rules::Partner;
use crate::model::standing::Standing;
use crate::tenant::Tenant;

/// The name of a caller whom no guard stops, to see what the keys do by themselves.
#[cfg(test)]
pub(crate) const STOPPED_BY_NOTHING: &str = "stopped by nothing";

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
    /// What the call says that it rests on.
    pub grounds: &'a Grounds,
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
    /// The registered partner that something is disclosed to; for a partner's own calls it is known from the caller.
    pub recipient: Option<&'a Partner>,
    /// On what kind of case a disclosure is to be made; `None` under the recipient's agreement.
    pub disclosed_on: Option<CaseKind>,
    /// The case that the disclosure names: of that kind, about this person, approved by another than its opener and in force.
    /// `None` where there is no such case.
    pub case: Option<&'a CaseFacts<'a>>,
    /// The case for the protection of the child that the call names, approved and in force, which stands in for a guardian's
    /// word (p58).
    pub protection: Option<&'a CaseFacts<'a>>,
    /// The call names a request of the person that is open and verified: a privacy officer reads for nothing else.
    pub request: bool,
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
            recipient: None,
            disclosed_on: None,
            case: None,
            protection: None,
            request: false,
            trail: false,
        }
    }
}

/// What an approved case lets be done.
#[derive(Debug, Clone, Copy)]
pub struct CaseFacts<'a> {
    /// For these purposes.
    pub purposes: &'a [String],
    /// With these fields.
    pub fields: FieldSet,
    /// To this registered recipient.
    pub recipient: Option<&'a str>,
    /// The authorities of the region that the records lie in approved it (PIPL Art. 41); its reference is in the case.
    pub approved_abroad: bool,
}

/// How the second person stands to a call that needs one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Second {
    /// There is none. Enough to open an erasure or a case, which takes effect only when another person approves it.
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
    /// Below the jurisdiction's age today.
    pub minor: bool,
    /// When it came of age, where that is known: what a guardian agreed to before ends then.
    pub of_age_since: Option<Timestamp>,
    /// Where the subject's records lie: its pin, else the tenant's region.
    pub region: &'a str,
    /// Consents, contracts, restrictions, preferences, the guardian's word.
    pub standing: &'a Standing,
}

impl<'a> SubjectFacts<'a> {
    /// One of the tenant of which nothing else is known.
    pub fn bare(tenant: &'a Tenant, state: SubjectState) -> Self {
        static NOTHING: LazyLock<Standing> = LazyLock::new(Standing::default);
        let (class, jurisdiction) = ("", "");
        Self {
            tenant: tenant.id(),
            class,
            state,
            jurisdiction,
            minor: false,
            of_age_since: None,
            region: tenant.storage(),
            standing: &NOTHING,
        }
    }
}

/// What has become of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubjectState {
    /// It is there.
    Active,
    /// Its account was closed.
    Closed,
    /// It was erased but for what is held for a case.
    Held,
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
    /// Numbers of its fields, as its label has them: how long it lasts depends on their categories.
    pub fields: FieldSet,
    /// Its id; `None` for one to be made.
    pub id: Option<RecordId>,
    /// The source system that created it.
    pub source: Option<&'a str>,
    /// Gone when the session is (p30): after a day at the latest.
    pub session: bool,
}

/// A call that every guard let through. Only [`decide`] makes one; it cannot be cloned.
///
/// ```compile_fail,E0599
/// fn twice(allowed: oubliette::policy::Allowed<'_>) {
///     let _again = allowed.clone();
/// }
/// ```
pub struct Allowed<'a> {
    group: Option<Group>,
    fields: FieldSet,
    masked: FieldSet,
    view: View<'a>,
}

impl<'a> Allowed<'a> {
    /// The purpose; `None` for operations that take none.
    pub const fn purpose(&self) -> Option<&'a Purpose> {
        self.view.purpose
    }

    /// The group to open the record through; where no record was among the facts, the purpose's own.
    pub const fn group(&self) -> Option<Group> {
        self.group
    }

    /// The fields that may be read or written; empty for operations that touch none.
    pub const fn fields(&self) -> &FieldSet {
        &self.fields
    }

    /// Those of the fields whose values are shown masked.
    pub const fn masked(&self) -> &FieldSet {
        &self.masked
    }

    /// What the purpose rests on: the row of the basis table, and the consent event or contract behind it.
    pub fn rests_on(&self) -> By<'a> {
        g07_basis::check(&self.view).by
    }

    /// Judges one of several records: the guards that look at the record, and the group to open it through.
    pub fn on(&self, record: &'a RecordFacts<'a>) -> Result<Group, Denied> {
        let view = self.view.on(record);
        #[cfg(test)]
        if view.ask.caller.name == STOPPED_BY_NOTHING {
            let bound = view.purpose.map(|purpose| g15_key::bound(&view, purpose, record)).unwrap_or_default();
            return bound.iter().next().ok_or(Denied { code: Code::NotFound, guard: "G15", veiled: false });
        }
        first_failure(&view, GUARDS.iter().filter(|guard| guard.of_record))?;
        g15_key::open(&view, record).map_err(|code| Denied { code, guard: "G15", veiled: false })
    }
}

/// A refusal: why, and by which guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denied {
    /// Why, as the trail has it.
    pub code: Code,
    /// Which guard.
    pub guard: &'static str,
    /// The caller is a partner, and the reason is the person's own business.
    pub veiled: bool,
}

impl Denied {
    /// Why, as the caller may know it.
    pub const fn shown_code(&self) -> Code {
        if self.veiled { Code::NotAvailable } else { self.code }
    }

    /// The guard as the caller may see it: none with `not-found`, so that what is not there, not allowed and another
    /// tenant's look the same, and none where the reason is not told.
    pub fn shown_guard(&self) -> Option<&'static str> {
        (self.code != Code::NotFound && !self.veiled).then_some(self.guard)
    }
}

/// What one guard says.
#[derive(Debug, Clone, Copy)]
pub struct Finding<'a> {
    /// Its id, such as `G3`.
    pub guard: &'static str,
    /// Its name, such as `purpose`.
    pub name: &'static str,
    /// Whether it holds; `None` where it does not apply, or where an earlier guard's failure leaves it nothing to judge.
    pub holds: Option<bool>,
    /// Why it does not hold.
    pub code: Option<Code>,
    /// The rules that it went by.
    pub by: By<'a>,
}

impl<'a> Finding<'a> {
    /// The rules that it went by.
    pub fn rules(&self) -> impl Iterator<Item = Rule<'a>> {
        self.by.into_iter().flatten()
    }
}

/// Asks the guards in their order. The first that fails is the answer.
pub fn decide<'a>(ask: &Ask<'a>, facts: &Facts<'a>) -> Result<Allowed<'a>, Denied> {
    let view = View::of(ask, facts);
    #[cfg(test)]
    if ask.caller.name == STOPPED_BY_NOTHING {
        let group = view.purpose.and_then(|purpose| purpose.group);
        return Ok(Allowed { group, fields: view.fields, masked: FieldSet::EMPTY, view });
    }
    first_failure(&view, GUARDS.iter())?;
    let group = match view.record {
        Some(record) if shape::opens_records(ask.operation) => g15_key::open(&view, record).ok(),
        _ => view.purpose.and_then(|purpose| purpose.group),
    };
    // Fields that the call did not name itself are narrowed to what basis, case, transfer and agreement cover.
    let covered = g07_basis::covered(&view).and(&g09_minor::covered(&view));
    let covered = covered.and(&g10_transfer::covered(&view)).and(&g11_recipient::covered(&view));
    let fields = view.fields.and(&covered);
    Ok(Allowed { group, fields, masked: g13_minimisation::masked(&view).and(&fields), view })
}

/// Asks every guard, whatever the others say.
pub fn explain<'a>(ask: &Ask<'a>, facts: &Facts<'a>) -> Vec<Finding<'a>> {
    let view = View::of(ask, facts);
    let finding = |guard: &Guard| {
        let verdict = (guard.check)(&view);
        let (holds, code) = match verdict.says {
            Says::Holds => (Some(true), None),
            Says::NotAsked => (None, None),
            Says::Fails(code) => (Some(false), Some(code)),
        };
        Finding { guard: guard.id, name: guard.name, holds, code, by: verdict.by }
    };
    GUARDS.iter().map(finding).collect()
}

fn first_failure<'g>(view: &View<'_>, mut guards: impl Iterator<Item = &'g Guard>) -> Result<(), Denied> {
    let denied = guards.find_map(|guard| match (guard.check)(view).says {
        Says::Fails(code) => Some(Denied { code, guard: guard.id, veiled: guard.veiled && g11_recipient::is_partner(view) }),
        Says::Holds | Says::NotAsked => None,
    });
    denied.map_or(Ok(()), Err)
}
