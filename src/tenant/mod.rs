//! A tenant: one controller's field catalogue, purposes, groups, retention and ages, as its published policy has them.
//!
//! It is read from TOML texts, strictly: an unknown key, an unknown category, group, class or field, or a number used
//! twice is an error that names the place. The shipped default tenant is compiled in.

mod check;
mod contacts;
mod diff;
pub mod document;
mod incidents;
mod mask;
pub mod measures;
pub mod normalise;
mod notices;
pub mod publish;
mod read;
pub mod register;
mod requests;
mod retention;
mod rules;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use crate::model::code::Code;
use crate::model::field::Field;
use crate::model::ids::TenantId;
use crate::model::purpose::{Group, GroupSet, Purpose};
use crate::model::wire::AgeBand;

pub use contacts::{AuthorityText, ControllerText};
pub use diff::{Changed, Diff, Widened, follows};
use document::Document;
pub use incidents::{ClockText, RunningClock};
pub use notices::{FALLBACK, LetterText, WordsText, fill, own_places};
pub use requests::{GroundText, RequestsText, SlaText};
pub use retention::{Period, RetentionRule};

/// A place in a tenant's texts that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {place}: {problem}")]
pub struct TenantError {
    /// The text that it stands in.
    pub file: &'static str,
    /// Where in it, such as ``field `email` ``.
    pub place: String,
    /// What is wrong.
    pub problem: String,
    /// The code that a caller gets for it.
    pub code: Code,
}

/// The texts of a tenant.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// Version, classes, groups, ages.
    pub tenant: &'a str,
    /// The field catalogue.
    pub fields: &'a str,
    /// The purposes.
    pub purposes: &'a str,
    /// How long each group is kept.
    pub retention: &'a str,
    /// Areas, what purposes rest on, assessments, legal rules.
    pub rules: &'a str,
    /// Regions and the ways between them, source systems, partners.
    pub transfers: &'a str,
    /// The controller and the authorities.
    pub contacts: &'a str,
    /// How requests are answered: how soon, how surely, why not.
    pub requests: &'a str,
    /// The letters that are sent.
    pub notices: &'a str,
    /// By when an incident is reported, and to which authority.
    pub incidents: &'a str,
}

impl Sources<'static> {
    /// The texts of the shipped default tenant.
    pub const SHIPPED: Self = Self {
        tenant: include_str!("default/tenant.toml"),
        fields: include_str!("default/fields.toml"),
        purposes: include_str!("default/purposes.toml"),
        retention: include_str!("default/retention.toml"),
        rules: include_str!("default/rules.toml"),
        transfers: include_str!("default/transfers.toml"),
        contacts: include_str!("default/contacts.toml"),
        requests: include_str!("default/requests.toml"),
        notices: include_str!("default/notices.toml"),
        incidents: include_str!("default/incidents.toml"),
    };
}

/// One controller's published policy, ready to be asked.
#[derive(Debug, Clone)]
pub struct Tenant {
    id: TenantId,
    version: String,
    fields: Vec<Field>,
    purposes: Vec<Purpose>,
    /// Where each purpose stands in `purposes`.
    places: HashMap<String, usize>,
    groups: BTreeMap<String, Group>,
    classes: BTreeSet<String>,
    retention: Vec<RetentionRule>,
    ages: BTreeMap<String, i16>,
    default_age: i16,
    withdrawal_grace: SignedDuration,
    rules: rules::Rules,
    document: Arc<Document>,
    guardian_methods: BTreeSet<String>,
    closure_grace: Option<Period>,
}

impl Tenant {
    /// A jurisdiction that no text names: what holds for it holds wherever nothing else was said.
    pub const ELSEWHERE: &'static str = "ZZ";

    /// The shipped default tenant, under the id that this vault gave it.
    pub fn shipped(id: TenantId) -> Result<Self, TenantError> {
        Self::read(id, &Sources::SHIPPED)
    }

    /// The tenant that `sources` describe.
    pub fn read(id: TenantId, sources: &Sources<'_>) -> Result<Self, TenantError> {
        Self::of(id, Document::read(sources)?)
    }

    /// The tenant that a whole configuration describes.
    pub fn of(id: TenantId, document: Document) -> Result<Self, TenantError> {
        read::tenant(id, document)
    }

    /// The configuration that it was made from.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// Its id.
    pub const fn id(&self) -> TenantId {
        self.id
    }

    /// The version of its policy, as its text declares it.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The field catalogue, by number.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The field of that name; anything else is `field-not-in-catalogue`.
    pub fn field(&self, name: &str) -> Result<&Field, Code> {
        self.fields.iter().find(|field| field.name == name).ok_or(Code::FieldNotInCatalogue)
    }

    /// The field of that number.
    pub fn field_numbered(&self, number: u16) -> Option<&Field> {
        self.fields.binary_search_by_key(&number, |field| field.number).ok().map(|place| &self.fields[place])
    }

    /// The published purposes, in the policy's order.
    pub fn purposes(&self) -> &[Purpose] {
        &self.purposes
    }

    /// The published purpose of that id.
    pub fn purpose(&self, id: &str) -> Option<&Purpose> {
        self.places.get(id).map(|place| &self.purposes[*place])
    }

    /// The groups that a record collected for `purposes` is wrapped under. One that is not published is
    /// `purpose-not-published`; one that brings no group (aggregate-only, any-group) adds none.
    pub fn groups_of<P: AsRef<str>>(&self, purposes: &[P]) -> Result<GroupSet, Code> {
        let mut groups = GroupSet::EMPTY;
        for id in purposes {
            let purpose = self.purpose(id.as_ref()).ok_or(Code::PurposeNotPublished)?;
            purpose.group.into_iter().for_each(|group| groups.insert(group));
        }
        Ok(groups)
    }

    /// The purpose group of that name.
    pub fn group(&self, name: &str) -> Option<Group> {
        self.groups.get(name).copied()
    }

    /// The name of a group; empty for one that this tenant does not have.
    pub fn group_name(&self, group: Group) -> &str {
        self.groups.iter().find(|&(_, &own)| own == group).map_or("", |(name, _)| name)
    }

    /// The names of those of some groups that it has, by number.
    pub fn group_names(&self, groups: GroupSet) -> Vec<String> {
        groups.iter().map(|group| self.group_name(group)).filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    /// All purpose groups.
    pub fn groups(&self) -> GroupSet {
        self.groups.values().copied().collect()
    }

    /// Whether there is such a class of subjects.
    pub fn has_class(&self, class: &str) -> bool {
        self.classes.contains(class)
    }

    /// How long after a withdrawal the key of the purpose's group is destroyed; zero is with the next sweep.
    pub const fn withdrawal_grace(&self) -> SignedDuration {
        self.withdrawal_grace
    }

    /// The age below which somebody in `jurisdiction` is a minor: of the subdivision, else of the country, else the default.
    pub fn age(&self, jurisdiction: &str) -> i16 {
        self.ages.get(jurisdiction).or_else(|| self.ages.get(rules::country(jurisdiction))).copied().unwrap_or(self.default_age)
    }

    /// The day on which somebody comes of age; `None` where the calendar has no such day.
    pub fn comes_of_age(&self, jurisdiction: &str, birth_date: Date) -> Option<Date> {
        let year = birth_date.year().checked_add(self.age(jurisdiction))?;
        // Who is born on 29 February comes of age on 1 March of other years.
        Date::new(year, birth_date.month(), birth_date.day()).or_else(|_| Date::new(year, 3, 1)).ok()
    }

    /// Whether a guardian's consent may have been verified like this (COPPA, 16 CFR 312.5(b); GDPR Art. 8(2)).
    pub fn is_guardian_method(&self, method: &str) -> bool {
        self.guardian_methods.contains(method)
    }

    /// When what a closed account leaves is destroyed.
    pub fn closure_ends(&self, closed_at: Timestamp) -> Timestamp {
        self.closure_grace.as_ref().and_then(|grace| grace.after(closed_at)).unwrap_or(closed_at)
    }

    /// Whether somebody is a minor on the day `today`. A birth date and a band that disagree count as a minor; neither
    /// of them known does not. Who is born on 29 February comes of age on 1 March of other years.
    pub fn is_minor(&self, jurisdiction: &str, birth_date: Option<Date>, band: Option<AgeBand>, today: Date) -> bool {
        let by_date = birth_date.is_some_and(|birth| {
            let birthday = (birth.year() + self.age(jurisdiction), birth.month(), birth.day());
            (today.year(), today.month(), today.day()) < birthday
        });
        by_date || band == Some(AgeBand::Child)
    }
}

#[cfg(test)]
mod tests;
