//! The records of processing (GDPR Art. 30), made from what the guards ask: whatever is not in them is refused.

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::Serialize;

use super::publish::{bases, recipients};
use super::{Tenant, diff};
use crate::model::field::{FieldSet, Sensitivity};
use crate::model::purpose::Purpose;
use crate::model::rules::{Basis, Partner, PartnerKind};
use crate::model::schema::Day;

/// The technical and organisational measures (Art. 30(1)(g), 32(1)), as the vault itself carries them out.
const MEASURES: [&str; 12] = [
    "Each field encrypted with AES-256-GCM under a key of its record, bound to vault, controller, person, record, version and policy",
    "Keys kept in a tree that can forget: what is erased cannot be decrypted by anybody, copies of the storage included",
    "Purpose, lawful basis, restriction, transfer and retention decided for every call; what is not published is refused",
    "Roles with separation of duties; two people for erasures, legal holds, cases, policies and callers",
    "Every decision written to a signed, append-only trail before anything is released",
    "Pseudonymisation: a partner knows a person by a name of its own; the trail knows people by tags that die with their keys",
    "Fields of high sensitivity masked unless stronger authentication was shown",
    "Passwords kept as Argon2id verifiers that nothing reads back",
    "TLS 1.3 for every connection, client certificates where callers are bound to one",
    "Current privacy training needed for every person who calls",
    "Limits on requests, on people read in an hour, and on small groups in queries",
    "Retention enforced at every read and by a sweeper that destroys keys",
];

/// Everything that Art. 30 asks for.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Register {
    /// Art. 30(1)(a).
    pub controller: Controller,
    /// The policy version that it is made from.
    pub policy_version: String,
    /// One entry for each purpose.
    pub activities: Vec<Activity>,
    /// Art. 30(2): what partners process on the controller's behalf, one entry for each.
    pub on_behalf: Vec<OnBehalf>,
    /// Art. 30(1)(g) and (2)(d).
    pub measures: Vec<&'static str>,
}

/// Who answers for the data.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Controller {
    /// Id.
    pub id: String,
    /// Name.
    pub title: String,
    /// Where letters reach it.
    pub address: String,
    /// Where the privacy officer is reached.
    pub officer: String,
}

/// What is done for one purpose.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Activity {
    /// The purpose (b).
    pub purpose: String,
    /// In words.
    pub title: String,
    /// In the terms of DPV.
    pub dpv: Vec<String>,
    /// The purpose that it is a part of.
    pub part_of: Option<String>,
    /// What it rests on, by area and class.
    pub bases: Vec<BasisLine>,
    /// Categories of people (c).
    pub subjects: Vec<String>,
    /// Categories of data (c).
    pub categories: Vec<CategoryLine>,
    /// Categories of recipients (d).
    pub recipients: Vec<RecipientLine>,
    /// Transfers to other regions, with what they rest on (e).
    pub transfers: Vec<TransferLine>,
    /// Time limits (f).
    pub retention: Vec<RetentionLine>,
}

/// What a purpose rests on.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct BasisLine {
    /// Where.
    pub area: String,
    /// For whom.
    pub class: String,
    /// The kind of basis.
    pub basis: Basis,
    /// The term of the law.
    pub term: String,
    /// The assessment of a legitimate interest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assessment: Option<String>,
}

/// A category of data.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct CategoryLine {
    /// The term.
    pub category: String,
    /// Its fields.
    pub fields: Vec<String>,
    /// Whether any of them is of high sensitivity.
    pub high: bool,
}

/// A recipient.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RecipientLine {
    /// Id.
    pub id: String,
    /// Name.
    pub title: String,
    /// What it is to the controller.
    pub kind: PartnerKind,
    /// Where it receives.
    pub region: String,
    /// What it may receive for this purpose.
    pub fields: Vec<String>,
    /// SHA-256 of its agreement.
    pub agreement: String,
    /// First day of the agreement.
    #[schemars(with = "Day")]
    pub from: Date,
    /// Last day.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Day>")]
    pub until: Option<Date>,
}

/// A way to another region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TransferLine {
    /// From.
    pub from: String,
    /// To.
    pub to: String,
    /// What it rests on (Art. 44 to 49).
    pub tool: String,
    /// What shows that.
    pub evidence: String,
    /// Last day.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Day>")]
    pub until: Option<Date>,
}

/// A time limit.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RetentionLine {
    /// The group that is kept.
    pub group: String,
    /// The period after collection; none is as long as the account or the content lives.
    pub period: Option<String>,
    /// Where; none is everywhere.
    pub areas: Vec<String>,
    /// Of which categories; none is of all.
    pub categories: Vec<String>,
    /// The law that demands it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statute: Option<String>,
}

/// What one partner processes for the controller (Art. 30(2)).
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct OnBehalf {
    /// The processor (a).
    pub processor: String,
    /// Its name (a).
    pub title: String,
    /// The controller (a).
    pub controller: String,
    /// The controller's privacy officer (a).
    pub officer: String,
    /// Categories of processing (b): the purposes of the agreement, in words.
    pub processing: Vec<String>,
    /// Fields that it gets.
    pub fields: Vec<String>,
    /// Transfers (c).
    pub transfers: Vec<TransferLine>,
}

impl Tenant {
    /// The records of processing as of this policy version.
    pub fn register(&self) -> Register {
        let own = self.controller();
        let (id, title, address, officer) = (own.id.clone(), own.title.clone(), own.address.clone(), own.officer.clone());
        let processors = self.partners().iter().filter(|partner| partner.kind == PartnerKind::Processor);
        Register {
            controller: Controller { id, title, address, officer },
            policy_version: self.version().to_owned(),
            activities: self.purposes().iter().map(|purpose| activity(self, purpose)).collect(),
            on_behalf: processors.map(|partner| on_behalf(self, partner)).collect(),
            measures: MEASURES.to_vec(),
        }
    }
}

fn activity(tenant: &Tenant, purpose: &Purpose) -> Activity {
    let of_class = |class: &String| {
        let lines = bases(tenant, purpose, class).into_iter().map(|(area, rule)| BasisLine {
            area: area.to_owned(),
            class: class.clone(),
            basis: rule.basis,
            term: rule.term.clone(),
            assessment: rule.assessment.clone(),
        });
        lines.collect::<Vec<_>>()
    };
    let partners: Vec<&Partner> = recipients(tenant, purpose).collect();
    Activity {
        purpose: purpose.id.clone(),
        title: purpose.title.clone(),
        dpv: purpose.dpv.clone(),
        part_of: purpose.parent.clone(),
        bases: purpose.classes.iter().flat_map(of_class).collect(),
        subjects: purpose.classes.iter().cloned().collect(),
        categories: purpose.categories.iter().map(|category| line(tenant, purpose, category)).collect(),
        recipients: partners.iter().map(|partner| recipient(tenant, purpose, partner)).collect(),
        transfers: ways(tenant, partners.iter().map(|partner| partner.region.as_str())),
        retention: retention(tenant, purpose),
    }
}

fn line(tenant: &Tenant, purpose: &Purpose, category: &str) -> CategoryLine {
    let own = || tenant.fields().iter().filter(|field| field.category == category && purpose.fields.contains(field.number));
    CategoryLine {
        category: category.to_owned(),
        fields: own().map(|field| field.name.clone()).collect(),
        high: own().any(|field| field.sensitivity == Sensitivity::High),
    }
}

fn recipient(tenant: &Tenant, purpose: &Purpose, partner: &Partner) -> RecipientLine {
    RecipientLine {
        id: partner.id.clone(),
        title: partner.title.clone(),
        kind: partner.kind,
        region: partner.region.clone(),
        fields: names(tenant, &partner.fields.and(&purpose.fields)),
        agreement: partner.agreement.clone(),
        from: partner.from,
        until: partner.until,
    }
}

/// The rules for the ways from where records are stored to these regions, each once.
fn ways<'a>(tenant: &Tenant, regions: impl Iterator<Item = &'a str>) -> Vec<TransferLine> {
    let mut lines: Vec<TransferLine> = Vec::new();
    for region in regions {
        for rule in tenant.transfers(tenant.storage(), region) {
            let line = TransferLine {
                from: rule.from.clone(),
                to: rule.to.clone(),
                tool: rule.tool.clone(),
                evidence: rule.evidence.clone(),
                until: rule.valid_until,
            };
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    lines
}

/// The rules of the purpose's group; of all groups, where it opens whatever is there.
fn retention(tenant: &Tenant, purpose: &Purpose) -> Vec<RetentionLine> {
    let rules = tenant.retention_rules().iter().filter(|rule| purpose.any_group || purpose.group == Some(rule.group));
    rules
        .map(|rule| RetentionLine {
            group: tenant.group_name(rule.group).to_owned(),
            period: rule.period.as_ref().map(ToString::to_string),
            areas: rule.areas.iter().cloned().collect(),
            categories: rule.categories.iter().cloned().collect(),
            statute: rule.rule.as_ref().and_then(|id| tenant.legal_rule(id)).map(|rule| rule.statute.clone()),
        })
        .collect()
}

fn on_behalf(tenant: &Tenant, partner: &Partner) -> OnBehalf {
    let controller = tenant.controller();
    let processing = partner.purposes.iter().filter_map(|id| tenant.purpose(id)).map(|purpose| purpose.title.clone());
    OnBehalf {
        processor: partner.id.clone(),
        title: partner.title.clone(),
        controller: controller.title.clone(),
        officer: controller.officer.clone(),
        processing: processing.collect(),
        fields: names(tenant, &partner.fields),
        transfers: ways(tenant, std::iter::once(partner.region.as_str())),
    }
}

fn names(tenant: &Tenant, fields: &FieldSet) -> Vec<String> {
    fields.iter().filter_map(|number| tenant.field_numbered(number)).map(|field| field.name.clone()).collect()
}

/// What a partner is to the controller, in one word.
pub fn kind(kind: PartnerKind) -> &'static str {
    diff::kind_name(kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::TenantId;

    #[test]
    fn every_purpose_has_its_entry_with_all_that_the_article_asks_for() {
        let tenant = Tenant::shipped(TenantId::from_bytes([1; 16])).unwrap();
        let register = tenant.register();
        assert_eq!(register.activities.len(), tenant.purposes().len());
        for (activity, purpose) in register.activities.iter().zip(tenant.purposes()) {
            assert_eq!(activity.purpose, purpose.id);
            assert!(!activity.title.is_empty() && !activity.dpv.is_empty() && !activity.subjects.is_empty(), "{}", purpose.id);
            // What uses statistics alone has no data of anybody, and nothing to keep or to rest on.
            if !purpose.aggregate_only {
                assert!(
                    !activity.bases.is_empty() && !activity.categories.is_empty() && !activity.retention.is_empty(),
                    "{}",
                    purpose.id
                );
            }
            let named: Vec<&str> = activity.recipients.iter().map(|line| line.id.as_str()).collect();
            let registered = tenant.partners().iter().filter(|partner| partner.purposes.contains(&purpose.id));
            assert_eq!(named, registered.map(|partner| partner.id.as_str()).collect::<Vec<_>>());
            // Who is elsewhere is reached by a rule that is named, or by none: then nothing passes.
            for line in &activity.transfers {
                assert!(!line.tool.is_empty() && !line.evidence.is_empty() && line.from == tenant.storage());
            }
        }
        let processors = tenant.partners().iter().filter(|partner| partner.kind == PartnerKind::Processor).count();
        assert_eq!(register.on_behalf.len(), processors);
        assert!(register.on_behalf.iter().all(|own| !own.processing.is_empty() && !own.controller.is_empty()));
    }
}
