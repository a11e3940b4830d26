//! Reads a tenant from its texts and holds them against each other.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::SignedDuration;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::document::Document;
use super::retention::{Period, retention};
use super::rules::{Rules, rules};
use super::{Tenant, TenantError};
use crate::model::code::Code;
use crate::model::field::{AliasKind, Field, FieldSet, Identifiability, Kind, Mask, Sensitivity};
use crate::model::ids::TenantId;
use crate::model::purpose::{Group, Purpose};
use crate::model::standing::PREFERENCES;

const TENANT: &str = "tenant.toml";
const FIELDS: &str = "fields.toml";
const PURPOSES: &str = "purposes.toml";

/// A category list of one `*` is every category of the catalogue.
const EVERY: &str = "*";

/// `tenant.toml`: version, classes, groups, ages.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TenantText {
    pub(super) version: String,
    classes: Vec<String>,
    pub(super) groups: BTreeMap<String, u8>,
    pub(super) ages: BTreeMap<String, i16>,
    guardians: GuardiansText,
    closure: ClosureText,
    #[serde(default)]
    consent: ConsentText,
}

/// What follows when a consent is taken back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ConsentText {
    withdrawal_grace: SignedDuration,
}

impl Default for ConsentText {
    fn default() -> Self {
        Self { withdrawal_grace: SignedDuration::from_hours(24) }
    }
}

/// How a guardian's word is verified.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GuardiansText {
    methods: Vec<String>,
}

/// What follows when an account is closed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClosureText {
    grace: String,
}

/// `fields.toml`: the catalogue.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FieldsText {
    pub(super) retired: Vec<u16>,
    pub(super) field: Vec<FieldText>,
}

/// One field of the catalogue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FieldText {
    pub(super) number: u16,
    pub(super) name: String,
    category: String,
    kind: Kind,
    identifiability: Identifiability,
    #[serde(default)]
    sensitivity: Sensitivity,
    #[serde(default)]
    alias: Option<AliasKind>,
    #[serde(default)]
    max_bytes: Option<usize>,
    #[serde(default)]
    mask: Mask,
    #[serde(default)]
    members: Vec<String>,
    #[serde(default)]
    masked_members: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stale_after_days: Option<u32>,
}

/// `purposes.toml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PurposesText {
    pub(super) purpose: Vec<PurposeText>,
}

/// One purpose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PurposeText {
    id: String,
    title: String,
    #[serde(default)]
    parent: Option<String>,
    dpv: Vec<String>,
    #[serde(default)]
    group: Option<String>,
    categories: Vec<String>,
    #[serde(default)]
    required: Vec<String>,
    #[serde(default)]
    classes: Option<Vec<String>>,
    #[serde(default)]
    aggregate_only: bool,
    #[serde(default)]
    any_group: bool,
    #[serde(default)]
    pseudonymous: bool,
    #[serde(default)]
    needs_rule: bool,
    #[serde(default)]
    after_closure: bool,
    #[serde(default)]
    never_minors: bool,
    #[serde(default)]
    preference: Vec<String>,
}

impl PurposeText {
    /// The same as another purpose of its own.
    #[cfg(test)]
    pub(super) fn rename(&mut self, id: &str) {
        id.clone_into(&mut self.id);
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }
}

/// The tenant that `document` describes, or the first place in it that is wrong.
pub(super) fn tenant(id: TenantId, document: Document) -> Result<Tenant, TenantError> {
    let text = &document.tenant;
    let (ages, default_age) = ages(text.ages.clone())?;
    let mut tenant = Tenant {
        id,
        version: text.version.clone(),
        fields: fields(document.fields.clone())?,
        purposes: Vec::new(),
        places: HashMap::new(),
        groups: groups(&text.groups)?,
        classes: distinct(TENANT, "classes", &text.classes)?,
        retention: Vec::new(),
        ages,
        default_age,
        withdrawal_grace: text.consent.withdrawal_grace,
        rules: Rules::default(),
        document: Arc::default(),
        guardian_methods: distinct(TENANT, "guardians", &text.guardians.methods)?,
        closure_grace: closure_grace(&text.closure.grace)?,
    };
    if !is_word(&tenant.version) {
        return Err(wrong(TENANT, "version", "is not a short word"));
    }
    if tenant.withdrawal_grace.is_negative() {
        return Err(wrong(TENANT, "consent.withdrawal_grace", "is before the withdrawal"));
    }
    for purpose in document.purposes.purpose.clone() {
        let purpose = self::purpose(&tenant, purpose)?;
        tenant.places.insert(purpose.id.clone(), tenant.purposes.len());
        tenant.purposes.push(purpose);
    }
    tenant.rules = rules(&tenant, &document)?;
    tenant.retention = retention(&tenant, &tenant.rules, &document.retention)?;
    tenant.document = Arc::new(document);
    Ok(tenant)
}

pub(super) fn wrong(file: &'static str, place: impl Into<String>, problem: impl Into<String>) -> TenantError {
    TenantError { file, place: place.into(), problem: problem.into(), code: Code::PolicyConflict }
}

pub(super) fn parsed<T: DeserializeOwned>(file: &'static str, text: &str) -> Result<T, TenantError> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| 1 + text.bytes().take(span.start).filter(|&byte| byte == b'\n').count());
        wrong(file, format!("line {line}"), error.message())
    })
}

/// Names that stand in bodies, headers and queries: short, and without anything that would need quoting there.
pub(super) fn is_word(text: &str) -> bool {
    let safe = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    (1..=64).contains(&text.len()) && text.bytes().all(safe)
}

fn distinct(file: &'static str, place: &str, words: &[String]) -> Result<BTreeSet<String>, TenantError> {
    let mut set = BTreeSet::new();
    for word in words {
        if !is_word(word) {
            return Err(wrong(file, place, format!("`{word}` is not a short word")));
        }
        if !set.insert(word.clone()) {
            return Err(wrong(file, place, format!("`{word}` stands there twice")));
        }
    }
    Ok(set)
}

fn groups(text: &BTreeMap<String, u8>) -> Result<BTreeMap<String, Group>, TenantError> {
    let mut groups = BTreeMap::new();
    for (name, &number) in text {
        let place = format!("group `{name}`");
        if !is_word(name) {
            return Err(wrong(TENANT, place, "is not a short word"));
        }
        let group = Group::numbered(number).filter(|group| *group != Group::HOLD);
        let group = group.ok_or_else(|| wrong(TENANT, &place, "its number is not 1 to 30"))?;
        if groups.values().any(|&other| other == group) {
            return Err(wrong(TENANT, place, format!("number {number} is used twice")));
        }
        groups.insert(name.clone(), group);
    }
    Ok(groups)
}

fn ages(mut text: BTreeMap<String, i16>) -> Result<(BTreeMap<String, i16>, i16), TenantError> {
    if let Some((place, _)) = text.iter().find(|&(_, age)| !(0..=99).contains(age)) {
        return Err(wrong(TENANT, format!("age `{place}`"), "is not 0 to 99"));
    }
    let default = text.remove("default").ok_or_else(|| wrong(TENANT, "ages", "there is no default"))?;
    Ok((text, default))
}

/// `none` is at once.
fn closure_grace(text: &str) -> Result<Option<Period>, TenantError> {
    if text == "none" {
        return Ok(None);
    }
    let period = Period::parse(text).ok_or_else(|| wrong(TENANT, "closure", "its grace is no calendar period"))?;
    Ok(Some(period))
}

fn fields(text: FieldsText) -> Result<Vec<Field>, TenantError> {
    let mut fields: Vec<Field> = Vec::with_capacity(text.field.len());
    for entry in text.field {
        let place = format!("field `{}`", entry.name);
        let problem = if !is_word(&entry.name) {
            Some("its name is not a short word".to_owned())
        } else if !(1..=FieldSet::HIGHEST).contains(&entry.number) {
            Some(format!("number {} is not 1 to {}", entry.number, FieldSet::HIGHEST))
        } else if text.retired.contains(&entry.number) {
            Some(format!("number {} is retired", entry.number))
        } else if fields.iter().any(|other| other.number == entry.number) {
            Some(format!("number {} is used twice", entry.number))
        } else if fields.iter().any(|other| other.name == entry.name) {
            Some("its name is used twice".to_owned())
        } else if !(entry.category.starts_with("pd:") || entry.category.starts_with("vault:")) {
            Some(format!("category `{}` has no known prefix", entry.category))
        } else if entry.alias.is_some() && !matches!(entry.kind, Kind::Text | Kind::Email | Kind::Phone) {
            Some("no alias can be made of its kind".to_owned())
        } else if entry.kind != Kind::Object && !(entry.members.is_empty() && entry.masked_members.is_empty()) {
            Some("only an object has members".to_owned())
        } else {
            entry
                .masked_members
                .iter()
                .find(|member| !entry.members.contains(member))
                .map(|member| format!("masked member `{member}` is not among its members"))
        };
        if let Some(problem) = problem {
            return Err(wrong(FIELDS, place, problem));
        }
        let usual = if entry.kind == Kind::Blob { 256 * 1024 } else { 64 * 1024 };
        fields.push(Field {
            number: entry.number,
            name: entry.name,
            category: entry.category,
            kind: entry.kind,
            sensitivity: entry.sensitivity,
            identifiability: entry.identifiability,
            alias: entry.alias,
            max_bytes: entry.max_bytes.unwrap_or(usual),
            mask: entry.mask,
            members: entry.members,
            masked_members: entry.masked_members,
            stale_after_days: entry.stale_after_days,
        });
    }
    fields.sort_by_key(|field| field.number);
    Ok(fields)
}

fn purpose(tenant: &Tenant, text: PurposeText) -> Result<Purpose, TenantError> {
    let place = format!("purpose `{}`", text.id);
    let wrong = |problem: String| Err(wrong(PURPOSES, place.as_str(), problem));
    if !is_word(&text.id) {
        return wrong("its id is not a short word".to_owned());
    }
    if tenant.purpose(&text.id).is_some() {
        return wrong("its id is used twice".to_owned());
    }
    if let Some(parent) = text.parent.as_deref().filter(|&parent| tenant.purpose(parent).is_none()) {
        return wrong(format!("parent `{parent}` does not stand before it"));
    }
    if text.dpv.is_empty() {
        return wrong("it has no DPV term".to_owned());
    }
    let group = match text.group.as_deref() {
        None => None,
        Some(name) => match tenant.group(name) {
            None => return wrong(format!("unknown group `{name}`")),
            group => group,
        },
    };
    if usize::from(group.is_some()) + usize::from(text.aggregate_only) + usize::from(text.any_group) != 1 {
        return wrong("it needs one of: a group, aggregate_only, any_group".to_owned());
    }
    let known: BTreeSet<&str> = tenant.fields.iter().map(|field| field.category.as_str()).collect();
    let categories: BTreeSet<String> = if text.categories == [EVERY] {
        known.iter().map(|&category| category.to_owned()).collect()
    } else {
        text.categories.iter().cloned().collect()
    };
    if let Some(unknown) = categories.iter().find(|category| !known.contains(category.as_str())) {
        return wrong(format!("unknown category `{unknown}`"));
    }
    if text.aggregate_only && !categories.is_empty() {
        return wrong("it is aggregate-only, so it has no categories".to_owned());
    }
    let fields: FieldSet = tenant
        .fields
        .iter()
        .filter(|field| categories.contains(&field.category))
        .filter(|field| !(text.pseudonymous && field.identifiability == Identifiability::Direct))
        .map(|field| field.number)
        .collect();
    let mut required = FieldSet::EMPTY;
    for name in &text.required {
        match tenant.field(name) {
            Err(_) => return wrong(format!("unknown field `{name}`")),
            Ok(field) if !fields.contains(field.number) => return wrong(format!("required field `{name}` is not permitted")),
            Ok(field) => required.insert(field.number),
        }
    }
    let classes = match text.classes {
        None => tenant.classes.clone(),
        Some(classes) => classes.into_iter().collect(),
    };
    if let Some(unknown) = classes.iter().find(|class| !tenant.has_class(class)) {
        return wrong(format!("unknown class `{unknown}`"));
    }
    if let Some(unknown) = text.preference.iter().find(|name| !PREFERENCES.contains(&name.as_str())) {
        return wrong(format!("unknown preference `{unknown}`"));
    }
    Ok(Purpose {
        id: text.id,
        title: text.title,
        parent: text.parent,
        dpv: text.dpv,
        group,
        categories,
        fields,
        required,
        classes,
        aggregate_only: text.aggregate_only,
        any_group: text.any_group,
        pseudonymous: text.pseudonymous,
        needs_rule: text.needs_rule,
        after_closure: text.after_closure,
        never_minors: text.never_minors,
        preference: text.preference,
    })
}
