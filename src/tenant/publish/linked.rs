//! The policy as JSON-LD, in the terms of the W3C Data Privacy Vocabulary 2.3 (DPV, DPV-PD, EU-GDPR).

use serde_json::{Value, json};

use super::{Published, bases, recipients};
use crate::model::promises::PROMISES;
use crate::model::purpose::Purpose;
use crate::model::rules::{Basis, PartnerKind};
use crate::tenant::Tenant;
use crate::tenant::document::Kind;

/// What the prefixes stand for. `vault` has what DPV does not: our own purposes and categories.
fn context() -> Value {
    json!({
        "dpv": "https://w3id.org/dpv#",
        "pd": "https://w3id.org/dpv/pd#",
        "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
        "dct": "http://purl.org/dc/terms/",
        "xsd": "http://www.w3.org/2001/XMLSchema#",
        "vault": "urn:oubliette:vocabulary:",
    })
}

/// The context first, then the graph: the policy, its purposes as processes, and what they share.
pub(super) fn graph(published: &Published<'_>) -> Value {
    let tenant = published.tenant;
    let controller = tenant.controller();
    let mut graph = vec![
        json!({
            "@id": format!("urn:oubliette:policy:{}", tenant.version()),
            "@type": ["dpv:PrivacyNotice", "dpv:Policy"],
            "dct:identifier": tenant.version(),
            "dct:title": format!("Privacy policy of {}", controller.title),
            "dct:issued": published.published_at.map(|at| at.to_string()),
            "dct:replaces": published.replaces.as_ref().map(|version| format!("urn:oubliette:policy:{version}")),
            "vault:sha256": published.sha256,
            "dpv:hasDataController": {"@id": controller_id(tenant)},
            "dpv:hasProcess": tenant.purposes().iter().map(|purpose| json!({"@id": process_id(purpose)})).collect::<Vec<_>>(),
            "dpv:hasRight": published.rights.iter().map(|right| json!({
                "@id": right.term, "@type": "dpv:DataSubjectRight", "dct:title": right.title, "vault:operation": right.operation,
            })).collect::<Vec<_>>(),
            "dpv:hasStorageCondition": {
                "@type": "dpv:StorageLocation", "dpv:hasLocation": tenant.storage(),
            },
        }),
        json!({
            "@id": controller_id(tenant),
            "@type": "dpv:DataController",
            "dpv:hasName": controller.title,
            "dpv:hasAddress": controller.address,
            "dpv:hasRepresentative": {"@type": "dpv:DataProtectionOfficer", "dpv:hasContact": controller.officer},
        }),
    ];
    graph.extend(tenant.purposes().iter().map(|purpose| process(tenant, purpose)));
    graph.extend(tenant.fields().iter().map(|field| {
        json!({
            "@id": format!("urn:oubliette:field:{}", field.name),
            "@type": ["dpv:PersonalData", field.category],
            "dct:identifier": field.name,
            "vault:sensitivity": field.sensitivity,
            "vault:identifiability": field.identifiability,
            "vault:mask": field.mask,
        })
    }));
    graph.extend(tenant.document().entries(Kind::RetentionRules).into_iter().map(|(id, rule)| {
        json!({
            "@id": format!("urn:oubliette:retention:{id}"),
            "@type": "dpv:StorageDuration",
            "dpv:hasDuration": rule["period"],
            "vault:rule": rule,
        })
    }));
    graph.extend(tenant.all_transfers().iter().map(|rule| {
        json!({
            "@id": format!("urn:oubliette:transfer:{}", rule.id),
            "@type": "dpv:DataTransferLegalBasis",
            "dct:title": format!("{} to {}", rule.from, rule.to),
            "vault:tool": rule.tool,
            "dct:source": rule.evidence,
            "dct:valid": rule.valid_until.map(|day| day.to_string()),
        })
    }));
    graph.extend(tenant.partners().iter().map(|partner| {
        json!({
            "@id": format!("urn:oubliette:partner:{}", partner.id),
            "@type": [recipient_term(partner.kind), "dpv:Recipient"],
            "dpv:hasName": partner.title,
            "dpv:hasLocation": partner.region,
            "dpv:hasAgreement": {
                "@type": "dpv:DataProcessingAgreement", "vault:sha256": partner.agreement, "vault:clauses": partner.clauses,
                "vault:atEnd": partner.at_end, "dct:valid": partner.until.map(|day| day.to_string()),
                "dct:dateAccepted": partner.from.to_string(),
            },
            "vault:isTold": partner.callback.is_some(),
        })
    }));
    graph.extend(tenant.sources().iter().map(|source| {
        json!({"@id": format!("urn:oubliette:source:{}", source.id), "@type": "dpv:DataSource", "dct:title": source.title})
    }));
    graph.extend(tenant.document().entries(Kind::AgeRules).into_iter().map(|(place, rule)| {
        json!({
            "@id": format!("urn:oubliette:age:{place}"), "@type": "vault:AgeOfConsent", "dpv:hasJurisdiction": place,
            "vault:years": rule["age"],
        })
    }));
    graph.extend(tenant.assessments().iter().map(|assessment| {
        json!({
            "@id": format!("urn:oubliette:assessment:{}", assessment.id),
            "@type": "dpv:LegitimateInterestAssessment",
            "dpv:hasProcess": format!("urn:oubliette:purpose:{}", assessment.purpose),
            "dct:dateAccepted": assessment.approved_on.to_string(),
            "dct:valid": assessment.valid_until.map(|day| day.to_string()),
            "vault:reviewer": assessment.reviewer,
        })
    }));
    graph.extend(tenant.authorities().iter().map(|authority| {
        json!({
            "@id": format!("urn:oubliette:authority:{}", authority.id), "@type": "dpv:DataProtectionAuthority",
            "dpv:hasName": authority.title, "dpv:hasJurisdiction": authority.areas, "dpv:hasContact": authority.url,
        })
    }));
    graph.extend(PROMISES.iter().map(|promise| {
        json!({
            "@id": format!("urn:oubliette:promise:{}", promise.id), "@type": "vault:Promise", "dct:identifier": promise.id,
            "dct:description": promise.says, "vault:keptBy": promise.means(),
            "vault:provedBy": promise.tests().collect::<Vec<_>>(),
        })
    }));
    if let Some((before, diff)) = &published.diff {
        graph.push(json!({
            "@id": format!("urn:oubliette:policy:{}#since-{before}", tenant.version()), "@type": "vault:Changes",
            "vault:since": before, "vault:material": diff.material, "vault:changes": diff.changes, "vault:widens": diff.widens,
            "vault:reconsent": diff.reconsent,
        }));
    }
    json!({"@context": context(), "@graph": graph})
}

fn process(tenant: &Tenant, purpose: &Purpose) -> Value {
    let of_fields = |necessity: &str| -> Vec<Value> {
        let own = tenant.fields().iter().filter(|field| purpose.fields.contains(field.number));
        own.filter(|field| purpose.required.contains(field.number) == (necessity == "dpv:Required"))
            .map(|field| json!({"@type": field.category, "dct:identifier": field.name, "dpv:hasNecessity": {"@id": necessity}}))
            .collect()
    };
    let fields = [of_fields("dpv:Required"), of_fields("dpv:Optional")].concat();
    let kept: Vec<String> = match purpose.group {
        Some(group) => {
            let rules = tenant.document().entries(Kind::RetentionRules).into_iter();
            let own = rules.filter(|(_, rule)| rule["group"] == tenant.group_name(group));
            own.map(|(id, _)| format!("urn:oubliette:retention:{id}")).collect()
        }
        None => Vec::new(),
    };
    let mut legal = Vec::new();
    for class in &purpose.classes {
        for (place, rule) in bases(tenant, purpose, class) {
            legal.push(json!({
                "@id": format!("urn:oubliette:basis:{}", rule.id),
                "@type": basis_term(rule.basis),
                "dct:references": rule.term,
                "dpv:hasJurisdiction": place,
                "dpv:hasDataSubject": class,
                "vault:consent": (rule.basis == Basis::Consent).then_some(&rule.consent),
                "dpv:hasAssessment": rule.assessment.as_ref().map(|id| format!("urn:oubliette:assessment:{id}")),
            }));
        }
    }
    let to = recipients(tenant, purpose).map(|partner| {
        let fields = partner.fields.iter().filter_map(|number| tenant.field_numbered(number));
        json!({
            "@id": format!("urn:oubliette:partner:{}", partner.id),
            "@type": recipient_term(partner.kind),
            "dpv:hasName": partner.title,
            "dpv:hasLocation": partner.region,
            "dpv:hasPersonalData": fields.map(|field| format!("urn:oubliette:field:{}", field.name)).collect::<Vec<_>>(),
            "dct:valid": partner.until.map(|day| day.to_string()),
        })
    });
    json!({
        "@id": process_id(purpose),
        "@type": "dpv:Process",
        "dct:identifier": purpose.id,
        "dct:title": purpose.title,
        "dct:isPartOf": purpose.parent.as_ref().map(|id| format!("urn:oubliette:purpose:{id}")),
        "dpv:hasPurpose": purpose.dpv.iter().map(|term| json!({"@id": term})).collect::<Vec<_>>(),
        "dpv:hasDataSubject": purpose.classes,
        "vault:hasCategory": purpose.categories.iter().map(|term| json!({"@id": term})).collect::<Vec<_>>(),
        "dpv:hasPersonalData": fields,
        "dpv:hasLegalBasis": legal,
        "dpv:hasRecipient": to.collect::<Vec<_>>(),
        "dpv:hasStorageCondition": kept,
        "vault:aggregateOnly": purpose.aggregate_only,
        "vault:pseudonymous": purpose.pseudonymous,
        "vault:needsRule": purpose.needs_rule,
    })
}

fn process_id(purpose: &Purpose) -> String {
    format!("urn:oubliette:purpose:{}", purpose.id)
}

fn controller_id(tenant: &Tenant) -> String {
    format!("urn:oubliette:controller:{}", tenant.id())
}

const fn basis_term(basis: Basis) -> &'static str {
    match basis {
        Basis::Consent => "dpv:Consent",
        Basis::Contract => "dpv:ContractPerformance",
        Basis::Account => "dpv:EnterIntoContract",
        Basis::LegitimateInterest => "dpv:LegitimateInterestOfController",
        Basis::LegalObligation => "dpv:LegalObligation",
    }
}

const fn recipient_term(kind: PartnerKind) -> &'static str {
    match kind {
        PartnerKind::Processor => "dpv:DataProcessor",
        PartnerKind::Affiliate => "dpv:DataController",
        PartnerKind::Controller => "dpv:DataController",
        PartnerKind::AdAnalytics => "dpv:ThirdParty",
        PartnerKind::Authority => "dpv:Authority",
    }
}
