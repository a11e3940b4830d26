//! A tenant: one controller's field catalogue, purposes, groups, retention and ages, as its published policy has them.
//!
//! It is read from four TOML texts, strictly: an unknown key, an unknown category, group, class or field, or a number used
//! twice is an error that names the place. The shipped default tenant is compiled in.

mod check;
mod mask;
pub mod normalise;
mod read;

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use crate::model::code::Code;
use crate::model::field::Field;
use crate::model::ids::TenantId;
use crate::model::purpose::{Group, GroupSet, Purpose};
use crate::model::wire::AgeBand;

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
}

impl Sources<'static> {
    /// The texts of the shipped default tenant.
    pub const SHIPPED: Self = Self {
        tenant: include_str!("default/tenant.toml"),
        fields: include_str!("default/fields.toml"),
        purposes: include_str!("default/purposes.toml"),
        retention: include_str!("default/retention.toml"),
    };
}

/// One controller's published policy, ready to be asked.
#[derive(Debug, Clone)]
pub struct Tenant {
    id: TenantId,
    version: String,
    fields: Vec<Field>,
    purposes: Vec<Purpose>,
    groups: BTreeMap<String, Group>,
    classes: BTreeSet<String>,
    retention: BTreeMap<Group, Span>,
    ages: BTreeMap<String, i16>,
    default_age: i16,
}

impl Tenant {
    /// The shipped default tenant, under the id that this vault gave it.
    pub fn shipped(id: TenantId) -> Result<Self, TenantError> {
        Self::read(id, &Sources::SHIPPED)
    }

    /// The tenant that `sources` describe.
    pub fn read(id: TenantId, sources: &Sources<'_>) -> Result<Self, TenantError> {
        read::tenant(id, sources)
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
        self.purposes.iter().find(|purpose| purpose.id == id)
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

    /// The names of some groups, by number.
    pub fn group_names(&self, groups: GroupSet) -> Vec<String> {
        groups.iter().map(|group| self.group_name(group).to_owned()).collect()
    }

    /// All purpose groups.
    pub fn groups(&self) -> GroupSet {
        self.groups.values().copied().collect()
    }

    /// Whether there is such a class of subjects.
    pub fn has_class(&self, class: &str) -> bool {
        self.classes.contains(class)
    }

    /// When what was collected at `collected_at` under `group` ends; `None` if the group has no end of its own.
    /// The period is a calendar period, counted in UTC.
    pub fn retention_end(&self, group: Group, collected_at: Timestamp) -> Option<Timestamp> {
        let period = *self.retention.get(&group)?;
        // An end that the calendar cannot express (year 9999) is none.
        collected_at.to_zoned_datetime(TimeZone::UTC).checked_add(period).ok().map(|end| end.timestamp())
    }

    /// Whether the retention period of `group` has ended for something collected at `collected_at`: at its end, it has.
    pub fn is_expired(&self, group: Group, collected_at: Timestamp, now: Timestamp) -> bool {
        self.retention_end(group, collected_at).is_some_and(|end| now >= end)
    }

    /// The age below which somebody in `jurisdiction` is a minor: of the subdivision, else of the country, else the default.
    pub fn age(&self, jurisdiction: &str) -> i16 {
        let country = jurisdiction.split('-').next().unwrap_or(jurisdiction);
        self.ages.get(jurisdiction).or_else(|| self.ages.get(country)).copied().unwrap_or(self.default_age)
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
