//! How long records are kept: by purpose group, by the categories in the record, by jurisdiction (p54).

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde::{Deserialize, Serialize};

use super::read::wrong;
use super::rules::Rules;
use super::{Tenant, TenantError};
use crate::model::field::FieldSet;
use crate::model::purpose::Group;

const RETENTION: &str = "retention.toml";

/// `retention.toml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RetentionText {
    pub(super) retention: Vec<RuleText>,
}

/// How long something of one group is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleText {
    /// Its name among the rules of the policy; the group's where it is the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    group: String,
    period: String,
    #[serde(default)]
    areas: BTreeSet<String>,
    #[serde(default)]
    categories: BTreeSet<String>,
    #[serde(default)]
    rule: Option<String>,
}

impl RuleText {
    /// The name that drafts know it by.
    pub(super) fn id(&self) -> &str {
        self.id.as_deref().unwrap_or(&self.group)
    }
}

/// One rule: how long what is kept under a group lasts, of all categories or some, for all jurisdictions or some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionRule {
    /// The group.
    pub group: Group,
    /// Areas and jurisdictions of the policy; empty is all.
    pub areas: BTreeSet<String>,
    /// Categories; empty is all.
    pub categories: BTreeSet<String>,
    /// A calendar period, counted in UTC from the collection; none is no end of its own.
    pub period: Option<Period>,
    /// The legal rule that demands it.
    pub rule: Option<String>,
    fields: FieldSet,
}

/// A positive calendar period.
#[derive(Debug, Clone)]
pub struct Period(Span);

impl PartialEq for Period {
    fn eq(&self, other: &Self) -> bool {
        self.0.fieldwise() == other.0.fieldwise()
    }
}

impl Eq for Period {}

impl Period {
    /// A period of years, months, weeks and days alone, as ISO 8601 writes it; nothing else is one.
    pub fn parse(text: &str) -> Option<Self> {
        let span: Span = text.parse().ok()?;
        let calendar =
            Span::new().years(span.get_years()).months(span.get_months()).weeks(span.get_weeks()).days(span.get_days());
        (span.is_positive() && span.fieldwise() == calendar.fieldwise()).then_some(Self(span))
    }

    /// When it ends if it begins at `from`; an end that the calendar cannot express (year 9999) is none.
    pub fn after(&self, from: Timestamp) -> Option<Timestamp> {
        from.to_zoned_datetime(TimeZone::UTC).checked_add(self.0).ok().map(|end| end.timestamp())
    }
}

impl std::fmt::Display for Period {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The rules of `tenant`, whose areas and legal rules are read already, or the first place that is wrong.
pub(super) fn retention(tenant: &Tenant, rules: &Rules, text: &RetentionText) -> Result<Vec<RetentionRule>, TenantError> {
    let mut all: Vec<RetentionRule> = Vec::with_capacity(text.retention.len());
    for (number, rule) in text.retention.iter().cloned().enumerate() {
        let place = format!("group `{}`", rule.group);
        if text.retention[..number].iter().any(|other| other.id() == rule.id()) {
            return Err(wrong(RETENTION, place, "its id is used twice"));
        }
        let group = tenant.group(&rule.group).ok_or_else(|| wrong(RETENTION, &place, "unknown group"))?;
        let period = match rule.period.as_str() {
            "none" => None,
            period => Some(Period::parse(period).ok_or_else(|| wrong(RETENTION, &place, "its period is no calendar period"))?),
        };
        if let Some(area) = rule.areas.iter().find(|area| !rules.knows_area(area)) {
            return Err(wrong(RETENTION, place, format!("unknown area `{area}`")));
        }
        if let Some(cited) = rule.rule.as_ref().filter(|cited| rules.legal(cited).is_none()) {
            return Err(wrong(RETENTION, place, format!("unknown legal rule `{cited}`")));
        }
        let known = |category: &String| tenant.fields().iter().any(|field| field.category == *category);
        if let Some(unknown) = rule.categories.iter().find(|category| !known(category)) {
            return Err(wrong(RETENTION, place, format!("unknown category `{unknown}`")));
        }
        let same = |own: &RetentionRule| {
            let (areas, categories) = (&own.areas, &own.categories);
            own.group == group
                && (areas.is_empty() == rule.areas.is_empty() && (areas.is_empty() || !areas.is_disjoint(&rule.areas)))
                && (categories.is_empty() == rule.categories.is_empty()
                    && (categories.is_empty() || !categories.is_disjoint(&rule.categories)))
        };
        if all.iter().any(same) {
            return Err(wrong(RETENTION, place, "it has two rules"));
        }
        let fields = tenant.fields().iter().filter(|field| rule.categories.contains(&field.category));
        let fields = fields.map(|field| field.number).collect();
        all.push(RetentionRule { group, areas: rule.areas, categories: rule.categories, period, rule: rule.rule, fields });
    }
    let whole = |group: Group| all.iter().any(|rule| rule.group == group && rule.areas.is_empty() && rule.categories.is_empty());
    match tenant.groups().iter().find(|group| !whole(*group)) {
        Some(group) => Err(wrong(RETENTION, format!("group `{}`", tenant.group_name(group)), "it has no rule")),
        None => Ok(all),
    }
}

impl Tenant {
    /// Every retention rule.
    pub fn retention_rules(&self) -> &[RetentionRule] {
        &self.retention
    }

    /// The rule for one field under a group: one that names its category before one that names none, then the one that names
    /// the jurisdiction most closely.
    pub fn retention_rule(&self, group: Group, jurisdiction: &str, field: Option<u16>) -> Option<&RetentionRule> {
        let mut found: Option<((bool, u8), &RetentionRule)> = None;
        for rule in self.retention.iter().filter(|rule| rule.group == group) {
            let by_category = !rule.categories.is_empty();
            if by_category && !field.is_some_and(|field| rule.fields.contains(field)) {
                continue;
            }
            let closeness = if rule.areas.is_empty() {
                0
            } else {
                match self.rules.fits(&rule.areas, jurisdiction) {
                    Some(closeness) => closeness,
                    None => continue,
                }
            };
            if found.is_none_or(|(best, _)| best < (by_category, closeness)) {
                found = Some(((by_category, closeness), rule));
            }
        }
        found.map(|(_, rule)| rule)
    }

    /// When a record with these fields, collected at `collected_at` from somebody in `jurisdiction`, ends under `group`: when
    /// the last of its fields does. `None` when it has no end of its own.
    pub fn retention_end(
        &self,
        group: Group,
        jurisdiction: &str,
        fields: &FieldSet,
        collected_at: Timestamp,
    ) -> Option<Timestamp> {
        let end = |field| self.retention_rule(group, jurisdiction, field)?.period.as_ref()?.after(collected_at);
        if fields.is_empty() || !self.retention.iter().any(|rule| rule.group == group && !rule.categories.is_empty()) {
            return end(None);
        }
        let mut last = None;
        for field in fields.iter() {
            last = last.max(Some(end(Some(field))?));
        }
        last
    }

    /// Whether the retention period has ended: at its end, it has.
    pub fn is_expired(
        &self,
        group: Group,
        jurisdiction: &str,
        fields: &FieldSet,
        collected_at: Timestamp,
        now: Timestamp,
    ) -> bool {
        self.retention_end(group, jurisdiction, fields, collected_at).is_some_and(|end| now >= end)
    }
}
