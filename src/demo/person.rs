//! One made-up person: the shape of a line in a people file.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

/// A person with everything that an application might hold of them.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// What the application calls them; unique.
    pub external_id: String,
    /// `consumer` or `business-contact`.
    pub class: String,
    /// ISO 3166-1 alpha-2 code, or that and a subdivision.
    pub jurisdiction: String,
    /// Birth date.
    pub birth_date: Date,
    /// Whole name, in its own script and order.
    pub name: String,
    /// Gender, where it is known.
    #[serde(default)]
    pub gender: Option<String>,
    /// E-mail address; unique.
    pub email: String,
    /// Telephone number.
    pub phone: String,
    /// Postal address, with line breaks.
    pub address: String,
    /// Company, of a business contact.
    #[serde(default)]
    pub company: Option<String>,
    /// What they do there.
    #[serde(default)]
    pub post: Option<String>,
    /// Passport or identity card.
    #[serde(default)]
    pub id_document: Option<IdDocument>,
    /// What they ordered.
    #[serde(default)]
    pub orders: Vec<Order>,
    /// What they wrote to customer care.
    #[serde(default)]
    pub messages: Vec<String>,
    /// What their browser tells.
    #[serde(default)]
    pub device: Option<Device>,
    /// What they agreed to.
    #[serde(default)]
    pub consents: Consents,
    /// The guardian of a minor.
    #[serde(default)]
    pub guardian_external_id: Option<String>,
}

/// A document that proves who somebody is.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdDocument {
    /// `passport` or `id-card`.
    pub r#type: String,
    /// Its number.
    pub number: String,
}

/// One order.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Its number.
    pub order: String,
    /// The day it was placed.
    pub placed: Date,
    /// Decimal amount.
    pub total: String,
    /// ISO 4217 code.
    pub currency: String,
}

/// A browser.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// The application's own cookie.
    pub cookie_id: String,
    /// Address on the network.
    pub ip: String,
    /// Locale.
    pub language: String,
    /// The browser's description of itself.
    pub user_agent: String,
}

/// What a person agreed to when asked.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Consents {
    /// Marketing by the controller.
    pub marketing: bool,
    /// Advertising that follows interests.
    pub personalised_ads: bool,
    /// Reports of errors.
    pub error_reports: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_people_file_is_read_and_an_unknown_member_is_refused() {
        let line = r#"{"external_id":"07-1","class":"consumer","jurisdiction":"BE","birth_date":"2013-06-26","name":"Noor Peeters",
            "gender":null,"email":"noor.1@example.net","phone":"+32 470 12 34 56","address":"Jozefsingel 1\n7390 Beringen",
            "company":null,"post":null,"id_document":{"type":"passport","number":"NC1"},
            "orders":[{"order":"ORD-1","placed":"2026-09-28","total":"81.02","currency":"EUR"}],"messages":["Hallo"],
            "device":{"cookie_id":"c","ip":"192.0.2.1","language":"nl_BE","user_agent":"Mozilla"},
            "consents":{"marketing":true,"personalised-ads":true,"error-reports":false},"guardian_external_id":null}"#;
        let person: Person = serde_json::from_str(line).unwrap();
        assert_eq!(person.name, "Noor Peeters");
        assert!(person.consents.personalised_ads && !person.consents.error_reports);
        assert!(serde_json::from_str::<Person>(&line.replacen("\"class\"", "\"shoe_size\":43,\"class\"", 1)).is_err());
    }
}
