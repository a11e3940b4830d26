//! What is stored of a person: one subject and its records, each under the purpose that it was collected for.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::person::{Consents, Person};

/// One record to be written, under the purpose of its call.
pub(super) struct Record {
    /// `Vault-Purpose` of the call.
    pub(super) purpose: &'static str,
    /// The body of writeRecord.
    pub(super) body: Value,
}

/// Purposes that the records of the demo are written under, in the order of writing.
pub(super) const PURPOSES: [&str; 5] = ["a-account", "b-service", "b-care", "f-supplier", "k-security"];

/// The body of createSubject. `now` is when the notice was shown and, of a ward, when the guardian agreed.
pub(super) fn subject(person: &Person, guardian: Option<&str>, now: Timestamp) -> Value {
    let language = person.device.as_ref().map_or("en".into(), |device| device.language.replace('_', "-"));
    let mut body = json!({
        "class": person.class,
        "jurisdiction": person.jurisdiction,
        "birth_date": person.birth_date,
        "aliases": [
            { "type": "email", "value": person.email },
            { "type": "external_id", "value": person.external_id },
        ],
        "notice": notice(&language, now),
    });
    if let Some(guardian) = guardian {
        body["guardian"] = guardian.into();
        body["guardian_consent"] = json!({ "method": "signed-form", "at": now });
    }
    body
}

/// What the person agreed to, as bodies of recordConsent. A ward's own word does not count.
pub(super) fn consents(person: &Person, now: Timestamp) -> Vec<Value> {
    if person.guardian_external_id.is_some() || person.class == "business-contact" {
        return Vec::new();
    }
    let Consents { marketing, personalised_ads, error_reports } = &person.consents;
    let given = [("c-marketing", marketing), ("e-ads", personalised_ads), ("i-errors", error_reports)];
    let body = |purpose: &str| json!({ "purpose": purpose, "kind": "general", "state": "given", "notice": notice("en", now) });
    given.into_iter().filter(|(_, agreed)| **agreed).map(|(purpose, _)| body(purpose)).collect()
}

/// The contract behind a person's orders, as the body of putContract: from the day of the first of them.
pub(super) fn contract(person: &Person) -> Option<Value> {
    let first = person.orders.iter().map(|order| order.placed).min()?;
    Some(json!({ "state": "active", "from": first, "until": null }))
}

fn notice(language: &str, now: Timestamp) -> Value {
    json!({ "policy_version": "current", "language": language, "channel": "web", "shown_at": now })
}

/// The bodies of writeRecord.
pub(super) fn records(person: &Person) -> Vec<Record> {
    let business = person.class == "business-contact";
    let mut records = vec![contact(person, business)];
    if let Some(document) = &person.id_document {
        // Identity documents: of suppliers to know who they are, of consumers against fraud; never for the account (p13).
        let purpose = if business { "f-supplier" } else { "k-security" };
        records.push(record(purpose, "id_document", &[purpose], "data-subject", [("id_document", json!(document))]));
    }
    for order in &person.orders {
        records.push(record("b-service", "order", &["b-service"], "interaction", [("order", json!(order))]));
    }
    for message in &person.messages {
        records.push(record("b-care", "message", &["b-care"], "data-subject", [("message", json!(message))]));
    }
    if let Some(device) = &person.device {
        records.push(record("k-security", "device", &["k-security"], "interaction", [("device", json!(device))]));
    }
    records
}

fn contact(person: &Person, business: bool) -> Record {
    let mut purposes = vec!["a-account", "b-service"];
    if person.consents.marketing {
        purposes.push("c-marketing");
    }
    if business {
        purposes.push("f-supplier");
    }
    let text = |value: &str| (!value.is_empty()).then(|| json!(value));
    let fields = [
        ("name", text(&person.name)),
        ("email", text(&person.email)),
        ("phone", text(&person.phone)),
        ("address", text(&person.address)),
        ("gender", person.gender.as_deref().and_then(text)),
        ("company", person.company.as_deref().and_then(text)),
        ("post", person.post.as_deref().and_then(text)),
    ];
    let known = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
    record("a-account", "contact", &purposes, "data-subject", known)
}

fn record(
    purpose: &'static str,
    kind: &str,
    purposes: &[&str],
    source: &str,
    fields: impl IntoIterator<Item = (&'static str, Value)>,
) -> Record {
    let fields: Map<String, Value> = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Record { purpose, body: json!({ "kind": kind, "purposes": purposes, "source": { "type": source }, "fields": fields }) }
}

#[cfg(test)]
mod tests {
    use super::super::people;
    use super::*;
    use crate::model::wire::{CreateSubject, PutContract, RecordConsent, WriteRecord};

    #[test]
    fn every_body_is_one_that_the_api_takes() {
        for person in people(400, 11) {
            let guardian = "sub_00000000000000000000000000";
            let body = subject(&person, person.guardian_external_id.as_deref().map(|_| guardian), Timestamp::UNIX_EPOCH);
            let taken: CreateSubject = serde_json::from_str(&body.to_string()).unwrap();
            assert_eq!(taken.guardian.is_some(), person.guardian_external_id.is_some());
            assert_eq!(taken.guardian_consent.is_some(), taken.guardian.is_some());
            assert_eq!(taken.aliases.len(), 2);
            for body in consents(&person, Timestamp::UNIX_EPOCH) {
                let _taken: RecordConsent = serde_json::from_str(&body.to_string()).unwrap();
            }
            if let Some(body) = contract(&person) {
                let _taken: PutContract = serde_json::from_str(&body.to_string()).unwrap();
            }
            for record in records(&person) {
                assert!(PURPOSES.contains(&record.purpose));
                let taken: WriteRecord = serde_json::from_str(&record.body.to_string()).unwrap();
                assert!(taken.purposes.iter().any(|purpose| purpose == record.purpose));
                assert!(!taken.fields.0.is_empty());
            }
        }
    }

    #[test]
    fn marketing_is_a_purpose_only_of_those_who_agreed() {
        for person in people(200, 12) {
            let agreed = records(&person)[0].body["purposes"].to_string().contains("c-marketing");
            assert_eq!(agreed, person.consents.marketing);
        }
    }

    #[test]
    fn an_id_document_is_never_stored_for_the_account() {
        for person in people(400, 13) {
            for record in records(&person).iter().filter(|record| record.body["kind"] == "id_document") {
                assert_eq!(record.purpose, if person.class == "business-contact" { "f-supplier" } else { "k-security" });
                assert!(record.body["fields"]["id_document"]["number"].is_string());
            }
        }
    }

    #[test]
    fn every_order_and_message_is_a_record_of_its_own() {
        for person in people(200, 14) {
            let records = records(&person);
            let count = |kind: &str| records.iter().filter(|record| record.body["kind"] == kind).count();
            assert_eq!((count("order"), count("message")), (person.orders.len(), person.messages.len()));
            assert_eq!((count("contact"), count("device")), (1, usize::from(person.device.is_some())));
        }
    }
}
