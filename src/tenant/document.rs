//! A tenant's whole configuration as one value: what the files say, what a policy version is, and what is drafted.
//!
//! The same structs read the files (TOML) and a published version (JSON). The canonical form is RFC 8785 (JCS), so that a
//! version has one text and one digest.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::contacts::{AuthorityText, ContactsText, ControllerText};
use super::incidents::{ClockText, IncidentsText};
use super::notices::{LetterText, NoticesText};
use super::read::{FieldText, FieldsText, PurposeText, PurposesText, TenantText, is_word, parsed};
use super::requests::{GroundText, RequestsText, SlaText};
use super::retention::{RetentionText, RuleText};
use super::rules::{AssessmentText, BasisText, LegalText, PartnerText, RulesText, SourceText, TransferText, TransfersText};
use super::{Sources, TenantError};

/// Everything that a tenant's files say.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    pub(super) tenant: TenantText,
    pub(super) fields: FieldsText,
    pub(super) purposes: PurposesText,
    pub(super) retention: RetentionText,
    pub(super) rules: RulesText,
    pub(super) transfers: TransfersText,
    pub(super) contacts: ContactsText,
    pub(super) requests: RequestsText,
    /// A version that was published before there were letters keeps its text, and its digest.
    #[serde(default, skip_serializing_if = "NoticesText::is_empty")]
    pub(super) notices: NoticesText,
    /// Like the letters.
    #[serde(default, skip_serializing_if = "IncidentsText::is_empty")]
    pub(super) incidents: IncidentsText,
}

/// A kind of entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Who answers for the data: one entry.
    Controllers,
    /// Systems that collect.
    Sources,
    /// The field catalogue.
    Fields,
    /// Purposes.
    Purposes,
    /// What purposes rest on.
    BasisRules,
    /// Assessments of legitimate interests.
    Assessments,
    /// Ages below which somebody is a minor.
    AgeRules,
    /// How long records are kept.
    RetentionRules,
    /// Ways between regions.
    TransferRules,
    /// How soon requests are answered.
    SlaRules,
    /// Registered recipients.
    Partners,
    /// What each role may do: of the program, not drafted.
    Roles,
    /// Legal duties that can be cited.
    LegalRules,
    /// Named sets of jurisdictions.
    Areas,
    /// Authorities that somebody can complain to.
    Authorities,
    /// Why a request may be refused.
    RefusalGrounds,
    /// Letters that are sent.
    Notices,
    /// By when an incident is reported.
    IncidentClocks,
    /// What is no list: classes, groups, regions, retired numbers, how requests are verified.
    Settings,
}

/// An entry that does not have the shape of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misshapen {
    /// The member that is unknown or missing, if it is one.
    pub member: Option<String>,
}

/// An age rule as an entry.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AgeText {
    id: String,
    age: i16,
}

/// An area as an entry.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AreaText {
    id: String,
    codes: BTreeSet<String>,
}

/// The parts of a setting that are lists with entries and kinds of their own, by the setting's id.
const SETTINGS: [(&str, &[&str]); 4] = [
    ("tenant", &["version", "ages"]),
    ("fields", &["field"]),
    ("places", &["transfer", "source", "partner"]),
    ("requests", &["sla", "ground"]),
];

impl Kind {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Controllers,
        Self::Sources,
        Self::Fields,
        Self::Purposes,
        Self::BasisRules,
        Self::Assessments,
        Self::AgeRules,
        Self::RetentionRules,
        Self::TransferRules,
        Self::SlaRules,
        Self::Partners,
        Self::Roles,
        Self::LegalRules,
        Self::Areas,
        Self::Authorities,
        Self::RefusalGrounds,
        Self::Notices,
        Self::IncidentClocks,
        Self::Settings,
    ];

    /// Its name in addresses.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Controllers => "controllers",
            Self::Sources => "sources",
            Self::Fields => "fields",
            Self::Purposes => "purposes",
            Self::BasisRules => "basis-rules",
            Self::Assessments => "assessments",
            Self::AgeRules => "age-rules",
            Self::RetentionRules => "retention-rules",
            Self::TransferRules => "transfer-rules",
            Self::SlaRules => "sla-rules",
            Self::Partners => "partners",
            Self::Roles => "roles",
            Self::LegalRules => "legal-rules",
            Self::Areas => "areas",
            Self::Authorities => "authorities",
            Self::RefusalGrounds => "refusal-grounds",
            Self::Notices => "notices",
            Self::IncidentClocks => "incident-clocks",
            Self::Settings => "settings",
        }
    }

    /// The kind of that name.
    pub fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.text() == text)
    }

    /// The member that names an entry of this kind.
    pub const fn id_member(self) -> &'static str {
        match self {
            Self::Fields => "name",
            _ => "id",
        }
    }

    /// The id of an entry; the one retention rule of a group may go by the group's name.
    fn id_of(self, entry: &Map<String, Value>) -> Option<&str> {
        let named = entry.get(self.id_member()).and_then(Value::as_str);
        if self == Self::RetentionRules { named.or_else(|| entry.get("group")?.as_str()) } else { named }
    }

    /// The JSON Schema (2020-12) of its entries; none for roles, which are the program's own.
    pub const fn schema(self) -> Option<&'static str> {
        Some(match self {
            Self::Controllers => include_str!("schema/controllers.json"),
            Self::Sources => include_str!("schema/sources.json"),
            Self::Fields => include_str!("schema/fields.json"),
            Self::Purposes => include_str!("schema/purposes.json"),
            Self::BasisRules => include_str!("schema/basis-rules.json"),
            Self::Assessments => include_str!("schema/assessments.json"),
            Self::AgeRules => include_str!("schema/age-rules.json"),
            Self::RetentionRules => include_str!("schema/retention-rules.json"),
            Self::TransferRules => include_str!("schema/transfer-rules.json"),
            Self::SlaRules => include_str!("schema/sla-rules.json"),
            Self::Partners => include_str!("schema/partners.json"),
            Self::Roles => return None,
            Self::LegalRules => include_str!("schema/legal-rules.json"),
            Self::Areas => include_str!("schema/areas.json"),
            Self::Authorities => include_str!("schema/authorities.json"),
            Self::RefusalGrounds => include_str!("schema/refusal-grounds.json"),
            Self::Notices => include_str!("schema/notices.json"),
            Self::IncidentClocks => include_str!("schema/incident-clocks.json"),
            Self::Settings => include_str!("schema/settings.json"),
        })
    }

    /// Whether a setting or a controller of that id can be written at all, and other ids are such that addresses hold them.
    pub fn takes_id(self, id: &str) -> bool {
        match self {
            Self::Roles => false,
            Self::Settings => SETTINGS.iter().any(|(known, _)| *known == id),
            Self::Areas | Self::AgeRules => {
                id == "default" || id.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-')
            }
            _ => is_word(id),
        }
    }
}

impl Document {
    /// What the texts say, or the first line of them that cannot be read.
    pub fn read(sources: &Sources<'_>) -> Result<Self, TenantError> {
        Ok(Self {
            tenant: parsed("tenant.toml", sources.tenant)?,
            fields: parsed("fields.toml", sources.fields)?,
            purposes: parsed("purposes.toml", sources.purposes)?,
            retention: parsed("retention.toml", sources.retention)?,
            rules: parsed("rules.toml", sources.rules)?,
            transfers: parsed("transfers.toml", sources.transfers)?,
            contacts: parsed("contacts.toml", sources.contacts)?,
            requests: parsed("requests.toml", sources.requests)?,
            notices: parsed("notices.toml", sources.notices)?,
            incidents: parsed("incidents.toml", sources.incidents)?,
        })
    }

    /// The document of a canonical text.
    pub fn of_text(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Its one text (RFC 8785).
    pub fn text(&self) -> String {
        // It holds strings, whole numbers and lists of them, so there is nothing that could not be written.
        serde_json_canonicalizer::to_string(self).unwrap_or_default()
    }

    /// The same with another name of its version.
    #[must_use]
    pub fn named(mut self, version: &str) -> Self {
        version.clone_into(&mut self.tenant.version);
        self
    }

    /// The entries of a kind with their ids, in the order of the policy. Roles are not in it.
    pub fn entries(&self, kind: Kind) -> Vec<(String, Value)> {
        let list = match kind {
            Kind::Controllers => value(&[&self.contacts.controller]),
            Kind::Sources => value(&self.transfers.source),
            Kind::Fields => value(&self.fields.field),
            Kind::Purposes => value(&self.purposes.purpose),
            Kind::BasisRules => value(&self.rules.basis),
            Kind::Assessments => value(&self.rules.assessment),
            Kind::AgeRules => {
                value(&self.tenant.ages.iter().map(|(id, age)| AgeText { id: id.clone(), age: *age }).collect::<Vec<_>>())
            }
            Kind::RetentionRules => value(&self.retention.retention),
            Kind::TransferRules => value(&self.transfers.transfer),
            Kind::SlaRules => value(&self.requests.sla),
            Kind::Partners => value(&self.transfers.partner),
            Kind::Roles => Value::Null,
            Kind::LegalRules => value(&self.rules.rule),
            Kind::Areas => {
                let area = |(id, codes): (&String, &BTreeSet<String>)| AreaText { id: id.clone(), codes: codes.clone() };
                value(&self.rules.areas.iter().map(area).collect::<Vec<_>>())
            }
            Kind::Authorities => value(&self.contacts.authority),
            Kind::RefusalGrounds => value(&self.requests.ground),
            Kind::Notices => value(&self.notices.letter),
            Kind::IncidentClocks => value(&self.incidents.clock),
            Kind::Settings => return SETTINGS.iter().map(|(id, _)| ((*id).to_owned(), self.setting(id))).collect(),
        };
        let Value::Array(list) = list else { return Vec::new() };
        let id = |entry: &Value| entry.as_object().and_then(|entry| kind.id_of(entry)).unwrap_or_default().to_owned();
        list.into_iter().map(|entry| (id(&entry), entry)).collect()
    }

    /// Puts an entry in the place of the one with its id, else behind the others; nothing takes it away. A field that goes
    /// leaves its number to the retired ones.
    pub fn put(&mut self, kind: Kind, id: &str, entry: Option<&Map<String, Value>>) -> Result<(), Misshapen> {
        if kind != Kind::Settings && entry.is_some_and(|entry| kind.id_of(entry) != Some(id)) {
            return Err(Misshapen { member: Some(kind.id_member().to_owned()) });
        }
        match kind {
            Kind::Controllers => self.contacts.controller = typed::<ControllerText>(entry.ok_or(Misshapen { member: None })?)?,
            Kind::Sources => replace(&mut self.transfers.source, |own: &SourceText| own.id(), id, entry)?,
            Kind::Fields => {
                let gone = self.fields.field.iter().find(|own| entry.is_none() && own.name == id).map(|own| own.number);
                replace(&mut self.fields.field, |own: &FieldText| &own.name, id, entry)?;
                self.fields.retired.extend(gone);
            }
            Kind::Purposes => replace(&mut self.purposes.purpose, |own: &PurposeText| own.id(), id, entry)?,
            Kind::BasisRules => replace(&mut self.rules.basis, |own: &BasisText| own.id(), id, entry)?,
            Kind::Assessments => replace(&mut self.rules.assessment, |own: &AssessmentText| own.id(), id, entry)?,
            Kind::AgeRules => match entry {
                Some(entry) => drop(self.tenant.ages.insert(id.to_owned(), typed::<AgeText>(entry)?.age)),
                None => drop(self.tenant.ages.remove(id)),
            },
            Kind::RetentionRules => replace(&mut self.retention.retention, |own: &RuleText| own.id(), id, entry)?,
            Kind::TransferRules => replace(&mut self.transfers.transfer, |own: &TransferText| own.id(), id, entry)?,
            Kind::SlaRules => replace(&mut self.requests.sla, |own: &SlaText| &own.id, id, entry)?,
            Kind::Partners => replace(&mut self.transfers.partner, |own: &PartnerText| own.id(), id, entry)?,
            Kind::Roles => return Err(Misshapen { member: None }),
            Kind::LegalRules => replace(&mut self.rules.rule, |own: &LegalText| own.id(), id, entry)?,
            Kind::Areas => match entry {
                Some(entry) => drop(self.rules.areas.insert(id.to_owned(), typed::<AreaText>(entry)?.codes)),
                None => drop(self.rules.areas.remove(id)),
            },
            Kind::Authorities => replace(&mut self.contacts.authority, |own: &AuthorityText| &own.id, id, entry)?,
            Kind::RefusalGrounds => replace(&mut self.requests.ground, |own: &GroundText| &own.id, id, entry)?,
            Kind::Notices => replace(&mut self.notices.letter, |own: &LetterText| &own.id, id, entry)?,
            Kind::IncidentClocks => replace(&mut self.incidents.clock, |own: &ClockText| &own.id, id, entry)?,
            Kind::Settings => self.set(id, entry.ok_or(Misshapen { member: None })?)?,
        }
        Ok(())
    }

    /// A setting: one of the texts without its lists.
    fn setting(&self, id: &str) -> Value {
        let mut whole = match id {
            "tenant" => value(&self.tenant),
            "fields" => value(&self.fields),
            "requests" => value(&self.requests),
            _ => value(&self.transfers),
        };
        if let (Some(members), Some((_, lists))) = (whole.as_object_mut(), SETTINGS.iter().find(|(known, _)| *known == id)) {
            lists.iter().for_each(|list| drop(members.remove(*list)));
        }
        whole
    }

    fn set(&mut self, id: &str, entry: &Map<String, Value>) -> Result<(), Misshapen> {
        let lists = SETTINGS.iter().find(|(known, _)| *known == id).map_or(&[][..], |(_, lists)| lists);
        if let Some(list) = lists.iter().find(|list| entry.contains_key(**list)) {
            return Err(Misshapen { member: Some((*list).to_owned()) });
        }
        let whole = |own: Value| {
            let mut members = entry.clone();
            if let Value::Object(own) = own {
                members.extend(own.into_iter().filter(|(name, _)| lists.contains(&name.as_str())));
            }
            members
        };
        match id {
            "tenant" => self.tenant = typed(&whole(value(&self.tenant)))?,
            "fields" => self.fields = typed(&whole(value(&self.fields)))?,
            "places" => self.transfers = typed(&whole(value(&self.transfers)))?,
            "requests" => self.requests = typed(&whole(value(&self.requests)))?,
            _ => return Err(Misshapen { member: None }),
        }
        Ok(())
    }
}

fn value<T: Serialize + ?Sized>(part: &T) -> Value {
    serde_json::to_value(part).unwrap_or_default()
}

/// An entry as its type, or which member of it is unknown or missing. What stands in it is not said.
fn typed<T: DeserializeOwned>(entry: &Map<String, Value>) -> Result<T, Misshapen> {
    serde_json::from_value(Value::Object(entry.clone())).map_err(|error| {
        let text = error.to_string();
        let about_a_member = text.starts_with("unknown field `") || text.starts_with("missing field `");
        let member = about_a_member.then(|| text.split('`').nth(1)).flatten();
        Misshapen { member: member.filter(|name| is_word(name)).map(str::to_owned) }
    })
}

fn replace<T: DeserializeOwned>(
    list: &mut Vec<T>,
    id_of: impl Fn(&T) -> &str,
    id: &str,
    entry: Option<&Map<String, Value>>,
) -> Result<(), Misshapen> {
    let place = list.iter().position(|own| id_of(own) == id);
    match (place, entry) {
        (Some(place), Some(entry)) => list[place] = typed(entry)?,
        (None, Some(entry)) => list.push(typed(entry)?),
        (Some(place), None) => drop(list.remove(place)),
        (None, None) => {}
    }
    Ok(())
}

impl TenantError {
    /// The entry that it is about, as a kind and an id; `None` where it is about no single one.
    pub fn entry(&self) -> Option<(Kind, &str)> {
        let mut parts = self.place.split('`');
        let (what, id) = (parts.next()?.trim_end(), parts.next());
        let kind = match (self.file, what) {
            (_, "field") => Kind::Fields,
            (_, "purpose") => Kind::Purposes,
            (_, "basis") => Kind::BasisRules,
            (_, "assessment") => Kind::Assessments,
            (_, "rule") => Kind::LegalRules,
            (_, "transfer") => Kind::TransferRules,
            (_, "source") => Kind::Sources,
            (_, "partner") => Kind::Partners,
            (_, "age") => Kind::AgeRules,
            (_, "area") => Kind::Areas,
            (_, "authority") => Kind::Authorities,
            ("requests.toml", "sla") if id.is_some() => Kind::SlaRules,
            (_, "ground") => Kind::RefusalGrounds,
            ("requests.toml", _) => return Some((Kind::Settings, "requests")),
            (_, "letter") => Kind::Notices,
            (_, "sla") => Kind::SlaRules,
            (_, "clock") => Kind::IncidentClocks,
            ("retention.toml", _) => Kind::RetentionRules,
            ("tenant.toml", _) => return Some((Kind::Settings, "tenant")),
            ("transfers.toml", _) => return Some((Kind::Settings, "places")),
            ("contacts.toml", _) => return Some((Kind::Controllers, "default")),
            _ => return None,
        };
        Some((kind, id?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::TenantId;
    use crate::tenant::{Diff, Tenant, follows};

    fn shipped() -> Document {
        Document::read(&Sources::SHIPPED).unwrap()
    }

    fn tenant(document: Document) -> Result<Tenant, TenantError> {
        Tenant::of(TenantId::from_bytes([1; 16]), document)
    }

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    /// What of a value a schema does not allow, by place. It knows the words that our schemas use, and no others.
    fn wrong_by(schema: &Value, value: &Value, place: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        let named = |types: &Value| match value {
            Value::Null => types == "null",
            Value::Bool(_) => types == "boolean",
            Value::Number(number) => types == "integer" && number.is_u64(),
            Value::String(_) => types == "string",
            Value::Array(_) => types == "array",
            Value::Object(_) => types == "object",
        };
        for (word, rule) in schema.as_object().unwrap() {
            let least = |size: usize| size as u64 >= rule.as_u64().unwrap();
            let most = |size: usize| size as u64 <= rule.as_u64().unwrap();
            let fits = match (word.as_str(), value) {
                ("$schema" | "$id" | "title" | "description" | "format", _) => true,
                ("type", _) => rule.as_array().map_or(named(rule), |types| types.iter().any(named)),
                ("enum", _) => rule.as_array().unwrap().contains(value),
                ("oneOf", _) => rule.as_array().unwrap().iter().filter(|one| wrong_by(one, value, place).is_empty()).count() == 1,
                ("minLength", Value::String(text)) => least(text.len()),
                ("maxLength", Value::String(text)) => most(text.len()),
                ("minimum", Value::Number(number)) => number.as_u64() >= rule.as_u64(),
                ("maximum", Value::Number(number)) => number.as_u64() <= rule.as_u64(),
                ("minItems", Value::Array(items)) => least(items.len()),
                ("uniqueItems", Value::Array(items)) => {
                    items.iter().enumerate().all(|(number, item)| !items[..number].contains(item))
                }
                ("items", Value::Array(items)) => {
                    items.iter().for_each(|item| wrong.extend(wrong_by(rule, item, place)));
                    true
                }
                ("required", Value::Object(members)) => {
                    rule.as_array().unwrap().iter().all(|name| members.contains_key(name.as_str().unwrap()))
                }
                ("additionalProperties", Value::Object(members)) => {
                    let known = schema["properties"].as_object();
                    let others = members.iter().filter(|(name, _)| known.is_none_or(|known| !known.contains_key(*name)));
                    for (name, member) in others {
                        match rule {
                            Value::Bool(false) => wrong.push(format!("{place}/{name} is unknown")),
                            rule => wrong.extend(wrong_by(rule, member, &format!("{place}/{name}"))),
                        }
                    }
                    true
                }
                ("properties", Value::Object(members)) => {
                    for (name, member) in members.iter().filter(|(name, _)| rule.get(name).is_some()) {
                        wrong.extend(wrong_by(&rule[name], member, &format!("{place}/{name}")));
                    }
                    true
                }
                (
                    "minLength"
                    | "maxLength"
                    | "minimum"
                    | "maximum"
                    | "minItems"
                    | "uniqueItems"
                    | "items"
                    | "required"
                    | "additionalProperties"
                    | "properties",
                    _,
                ) => true,
                (other, _) => panic!("{other} is a word that this reader of schemas does not know"),
            };
            if !fits {
                wrong.push(format!("{place} does not fit {word} {rule}"));
            }
        }
        wrong
    }

    fn schema(kind: Kind) -> Option<Value> {
        kind.schema().map(|text| serde_json::from_str(text).unwrap())
    }

    #[test]
    fn every_shipped_entry_fits_the_schema_of_its_kind() {
        let document = shipped();
        for kind in Kind::ALL {
            let Some(schema) = schema(kind) else { continue };
            let entries = document.entries(kind);
            assert!(!entries.is_empty(), "{}", kind.text());
            for (id, entry) in entries {
                let wrong = wrong_by(&schema, &entry, &format!("/{}/{id}", kind.text()));
                assert!(wrong.is_empty(), "{wrong:#?}");
            }
        }
    }

    #[test]
    fn a_schema_knows_the_members_that_the_program_reads_and_no_others() {
        let document = shipped();
        for kind in Kind::ALL {
            let Some(schema) = schema(kind) else { continue };
            let one = [schema.clone()];
            let shapes = schema["oneOf"].as_array().map_or(&one[..], Vec::as_slice);
            let known = |shape: &Value| shape["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
            let mut declared: Vec<String> = shapes.iter().flat_map(known).collect();
            let mut read: Vec<String> =
                document.entries(kind).iter().flat_map(|(_, entry)| object(entry.clone())).map(|(name, _)| name).collect();
            declared.sort();
            read.sort();
            read.dedup();
            assert_eq!(declared, read, "{}", kind.text());
            // What it asks for, the program asks for: an entry without it is not taken.
            for (id, entry) in document.entries(kind) {
                let required = shapes.iter().flat_map(|shape| shape["required"].as_array().unwrap().iter());
                for name in required.filter(|name| entry.get(name.as_str().unwrap()).is_some()) {
                    let mut without = object(entry.clone());
                    without.remove(name.as_str().unwrap());
                    assert!(document.clone().put(kind, &id, Some(&without)).is_err(), "{}/{id} without {name}", kind.text());
                }
                let mut more = object(entry);
                more.insert("colour".into(), "red".into());
                let unknown = Misshapen { member: Some("colour".into()) };
                assert_eq!(document.clone().put(kind, &id, Some(&more)), Err(unknown), "{}/{id}", kind.text());
            }
        }
    }

    #[test]
    fn an_entry_that_a_schema_refuses_is_named_by_its_place() {
        let schema = schema(Kind::SlaRules).unwrap();
        let wrong = wrong_by(&schema, &serde_json::json!({"id": "", "days": 31, "colour": 1}), "");
        assert_eq!(wrong.len(), 4, "{wrong:?}");
    }

    #[test]
    fn a_document_keeps_its_meaning_through_its_one_text() {
        let document = shipped();
        let text = document.text();
        let again = Document::of_text(&text).unwrap();
        assert_eq!((again.text(), &again), (text.clone(), &document));
        assert!(Diff::between(&tenant(document).unwrap(), &tenant(again).unwrap()).changes.is_empty());
        assert!(text.starts_with("{\"contacts\":{") && !text.contains("\n"));
        assert_eq!(Document::of_text(&text.replacen("\"contacts\"", "\"contakts\"", 1)), None);
    }

    #[test]
    fn every_entry_can_be_put_where_it_is() {
        let mut document = shipped();
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Roles) {
            for (id, entry) in shipped().entries(kind) {
                assert!(kind.takes_id(&id), "{}/{id}", kind.text());
                assert_eq!(document.put(kind, &id, Some(&object(entry))), Ok(()), "{}/{id}", kind.text());
            }
        }
        assert_eq!(document, shipped());
        assert!(document.put(Kind::Roles, "reader", None).is_err());
    }

    /// The shipped policy after one change.
    fn changed(kind: Kind, id: &str, edit: impl FnOnce(&mut Value)) -> Tenant {
        let mut document = shipped();
        let mut entry = document.entries(kind).into_iter().find(|(own, _)| own == id).unwrap().1;
        edit(&mut entry);
        document.put(kind, id, Some(&object(entry))).unwrap();
        tenant(document).unwrap()
    }

    #[test]
    fn only_what_lets_more_be_done_is_material() {
        let old = tenant(shipped()).unwrap();
        let judged = |new: &Tenant| {
            let diff = Diff::between(&old, new);
            assert_eq!(diff.changes.len(), 1);
            // What widens one way narrows the other.
            assert!(!Diff::between(new, &old).material || !diff.material, "{diff:?}");
            let words: Vec<String> = diff.widens.iter().map(|one| format!("{} {}", one.what, one.of)).collect();
            (diff.material, words.join(", "))
        };
        let none = (false, String::new());
        let some = |words: &str| (true, words.to_owned());
        let rename = changed(Kind::Purposes, "b-orders", |entry| entry["title"] = "Orders".into());
        assert_eq!(judged(&rename), none);
        let wider = changed(Kind::Purposes, "c-marketing", |entry| {
            entry["categories"].as_array_mut().unwrap().push("pd:Gender".into());
        });
        assert_eq!(judged(&wider), some("category c-marketing"));
        assert_eq!(Diff::between(&old, &wider).reconsent, ["c-marketing"]);
        assert!(!Diff::between(&wider, &old).material);
        let class = changed(Kind::Purposes, "f-supplier", |entry| entry["classes"] = Value::Null);
        assert_eq!(judged(&class), some("class f-supplier"));
        let basis = changed(Kind::BasisRules, "c-marketing-cn", |entry| entry["basis"] = "contract".into());
        assert_eq!(Diff::between(&old, &basis).widens[0].what, "basis");
        let separate = changed(Kind::BasisRules, "c-marketing-cn", |entry| entry["consent"] = "separate".into());
        assert_eq!(judged(&separate), none);
        let longer = changed(Kind::RetentionRules, "marketing", |entry| entry["period"] = "P3Y".into());
        assert_eq!(judged(&longer), some("retention marketing"));
        let shorter = changed(Kind::RetentionRules, "marketing", |entry| entry["period"] = "P1Y".into());
        assert_eq!(judged(&shorter), none);
        let region = changed(Kind::Settings, "places", |entry| entry["regions"].as_array_mut().unwrap().push("IN".into()));
        assert_eq!(judged(&region), some("region IN"));
        let field = changed(Kind::Partners, "parcel", |entry| entry["fields"].as_array_mut().unwrap().push("email".into()));
        assert_eq!(judged(&field), some("recipient b-delivery"));
        let younger = changed(Kind::AgeRules, "DE", |entry| entry["age"] = 14.into());
        assert_eq!(judged(&younger), some("age DE"));
        let bare = changed(Kind::Fields, "bank_account", |entry| entry["mask"] = "none".into());
        assert_eq!(judged(&bare), some("mask bank_account"));
    }

    #[test]
    fn a_number_that_something_is_stored_under_keeps_its_meaning() {
        let old = tenant(shipped()).unwrap();
        let mut document = shipped();
        document.put(Kind::Fields, "guardian_external_id", None).unwrap();
        let purpose = document.purposes.purpose.iter().position(|purpose| purpose.id() == "a-account").unwrap();
        let mut account = object(value(&document.purposes.purpose[purpose]));
        account["categories"].as_array_mut().unwrap().retain(|category| category != "pd:Parent");
        document.put(Kind::Purposes, "a-account", Some(&account)).unwrap();
        let without = tenant(document.clone()).unwrap();
        assert!(document.fields.retired.contains(&40));
        assert_eq!(follows(&old, &without), Ok(()));
        // What was retired stays so.
        assert!(follows(&without, &old).unwrap_err().to_string().contains("was retired"));
        let kind = changed(Kind::Fields, "gender", |entry| entry["kind"] = "list".into());
        assert!(follows(&old, &kind).unwrap_err().to_string().contains("its kind cannot change"));
    }

    #[test]
    fn a_thousand_purposes_in_fifty_jurisdictions_load_and_are_found_by_place() {
        let mut document = shipped();
        let codes: Vec<String> =
            (0..50).map(|number| format!("X{}", char::from(b'A' + number as u8 % 26)) + ["", "-1"][number / 26]).collect();
        for number in 0..1_000 {
            let mut purpose = document.purposes.purpose[0].clone();
            purpose.rename(&format!("p-{number}"));
            document.purposes.purpose.push(purpose);
            for code in &codes {
                let id = format!("p-{number}-{}", code.to_lowercase());
                let rule = serde_json::json!({"id": id, "purpose": format!("p-{number}"), "areas": [code], "basis": "contract", "term": id});
                document.rules.basis.push(serde_json::from_value(rule).unwrap());
            }
        }
        let text = document.text();
        let tenant = tenant(Document::of_text(&text).unwrap()).unwrap();
        for number in [0, 499, 999] {
            let purpose = tenant.purpose(&format!("p-{number}")).unwrap();
            for code in &codes {
                let rule = tenant.basis(purpose, code, "consumer").unwrap();
                assert_eq!(rule.id, format!("p-{number}-{}", code.to_lowercase()));
            }
            assert_eq!(tenant.basis(purpose, "DE", "consumer"), None);
        }
    }
}
