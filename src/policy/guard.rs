//! What a guard is, and what it sees.

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::decision::{Ask, Facts, RecordFacts, SubjectFacts, SubjectState};
use super::{g05_category, shape};
use crate::model::code::Code;
use crate::model::field::FieldSet;
use crate::model::purpose::{Group, Purpose};
use crate::model::rules::{Assessment, Basis, BasisRule, LegalRule, Partner, TransferRule};
use crate::model::standing::{Consent, Contract, Extension, GuardianConsent, Preference, Restriction};

/// One row of the table of guards.
pub(super) struct Guard {
    /// `G0` to `G15`.
    pub(super) id: &'static str,
    /// One word.
    pub(super) name: &'static str,
    /// Its question.
    pub(super) check: for<'v> fn(&View<'v>) -> Verdict<'v>,
    /// Whether the answer depends on the record, so that each of several is asked about.
    pub(super) of_record: bool,
    /// Whether a partner is told only that this is not available: the reason is the person's own business.
    pub(super) veiled: bool,
}

/// What a guard says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    /// It lets the call through.
    Holds,
    /// It has nothing to say to this call.
    NotAsked,
    /// It refuses.
    Fails(Code),
}

/// What a guard says, and which rules it says it by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verdict<'v> {
    pub(super) says: Says,
    pub(super) by: By<'v>,
}

/// The rules that a guard went by, at most three.
pub type By<'v> = [Option<Rule<'v>>; 3];

/// A rule of the published policy, or something that stands about the person, that a guard went by.
#[derive(Debug, Clone, Copy)]
pub enum Rule<'v> {
    /// A row of the basis table.
    Basis(&'v BasisRule),
    /// An assessment.
    Assessment(&'v Assessment),
    /// A cited legal rule.
    Legal(&'v LegalRule),
    /// A rule for passing between regions.
    Transfer(&'v TransferRule),
    /// A partner's agreement.
    Partner(&'v Partner),
    /// The retention rule of a group.
    Retention(Group),
    /// A consent event.
    Consent(&'v Consent),
    /// A contract.
    Contract(&'v Contract),
    /// A switch.
    Preference(&'v Preference),
    /// A restriction.
    Restriction(&'v Restriction),
    /// The guardian's word.
    Guardian(&'v GuardianConsent),
    /// A group that is kept longer.
    Extension(&'v Extension),
}

impl<'v> Verdict<'v> {
    pub(super) const HOLDS: Self = Self::says(Says::Holds);
    pub(super) const NOT_ASKED: Self = Self::says(Says::NotAsked);

    const fn says(says: Says) -> Self {
        Self { says, by: [None; 3] }
    }

    pub(super) const fn fails(code: Code) -> Self {
        Self::says(Says::Fails(code))
    }

    /// Holds, or fails with `code`.
    pub(super) const fn unless(fails: bool, code: Code) -> Self {
        if fails { Self::fails(code) } else { Self::HOLDS }
    }

    /// The same, naming a rule that it goes by. A fourth one is left out.
    pub(super) fn by(mut self, rule: Rule<'v>) -> Self {
        if let Some(place) = self.by.iter_mut().find(|place| place.is_none()) {
            *place = Some(rule);
        }
        self
    }
}

/// The ask and the facts, with what several guards need of them worked out once.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) ask: Ask<'a>,
    pub(super) facts: Facts<'a>,
    /// The subject, unless it is another tenant's: that one is not there.
    pub(super) subject: Option<&'a SubjectFacts<'a>>,
    /// The record that is judged.
    pub(super) record: Option<&'a RecordFacts<'a>>,
    /// The published purpose that was named, for operations that take one.
    pub(super) purpose: Option<&'a Purpose>,
    /// What the purpose rests on for this subject.
    pub(super) basis: Option<&'a BasisRule>,
    /// The day, in UTC.
    pub(super) today: Date,
    /// The fields that the call is about: those named; for a read that names none, all that G5 lets it see.
    pub(super) fields: FieldSet,
}

impl<'a> View<'a> {
    pub(super) fn of(ask: &Ask<'a>, facts: &Facts<'a>) -> Self {
        let named = ask.purpose.filter(|_| shape::takes_purpose(ask.operation));
        let subject = facts.subject.filter(|subject| subject.tenant == ask.caller.tenant);
        let purpose = named.and_then(|id| facts.tenant.purpose(id));
        let basis = purpose.zip(subject.filter(|subject| subject.state != SubjectState::Erased));
        let basis = basis.and_then(|(purpose, subject)| facts.tenant.basis(purpose, subject.jurisdiction, subject.class));
        let view = Self {
            ask: *ask,
            facts: *facts,
            subject,
            record: facts.record,
            purpose,
            basis,
            today: ask.now.to_zoned_datetime(TimeZone::UTC).date(),
            fields: FieldSet::EMPTY,
        };
        Self { fields: g05_category::permitted(&view), ..view }
    }

    /// The same, judging another record.
    pub(super) fn on(&self, record: &'a RecordFacts<'a>) -> Self {
        Self { record: Some(record), ..*self }
    }

    /// The subject, unless it was erased: of such a one nothing is known.
    pub(super) fn person(&self) -> Option<&'a SubjectFacts<'a>> {
        self.subject.filter(|subject| subject.state != SubjectState::Erased)
    }

    /// Who gets what is released beside the caller: a recipient that is named, else the partner that the caller works for.
    pub(super) fn recipient(&self) -> Option<&'a Partner> {
        let own = || self.facts.tenant.partner(self.ask.caller.partner.as_deref()?);
        self.facts.recipient.or_else(own)
    }

    /// Whether the purpose rests on this.
    pub(super) fn rests_on(&self, basis: Basis) -> bool {
        self.basis.is_some_and(|rule| rule.basis == basis)
    }

    /// Whether the fields of the call are its own choice: named in it, so that each of them must be covered. Otherwise they
    /// are narrowed to what is.
    pub(super) const fn names_fields(&self) -> bool {
        !self.facts.fields.is_empty()
    }

    /// Whether `covered` is enough for this call: all of the fields that it names; of those that it does not name, any.
    pub(super) fn is_enough(&self, covered: &FieldSet) -> bool {
        if self.names_fields() {
            self.fields.without(covered).is_empty()
        } else {
            self.fields.is_empty() || !self.fields.and(covered).is_empty()
        }
    }

    /// The fields of the call that `covers` says yes to.
    pub(super) fn fields_where(&self, covers: impl Fn(&crate::model::field::Field) -> bool) -> FieldSet {
        let known = self.fields.iter().filter_map(|number| self.facts.tenant.field_numbered(number));
        known.filter(|field| covers(field)).map(|field| field.number).collect()
    }

    /// The purpose, its parent, and so on.
    pub(super) fn lineage(&self) -> impl Iterator<Item = &'a Purpose> {
        let tenant = self.facts.tenant;
        std::iter::successors(self.purpose, move |purpose| tenant.purpose(purpose.parent.as_deref()?))
    }
}
