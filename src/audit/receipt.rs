//! The receipt of a consent event (ISO/IEC TS 27560:2023, as DPV JSON-LD), and its verification with nothing but the file and
//! the vault's public key.

use std::collections::BTreeMap;

use jiff::Timestamp;
use keys::digest::{same, sha256};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::certificate::CertificateError;
use super::entry::Note;
use super::proof::{Proof, Proven};
use super::signers::{PublicKeys, Trusted};
use crate::model::ids::{ConsentId, VaultId};

/// The profile that a receipt conforms to: a copy of the whole consent record.
pub const PROFILE: &str = "https://w3id.org/dpv/schema/dpv-27560#receipt-record";

/// What the prefixes of a receipt stand for.
const CONTEXT: [(&str, &str); 6] = [
    ("dct", "http://purl.org/dc/terms/"),
    ("dpv", "https://w3id.org/dpv#"),
    ("eu-gdpr", "https://w3id.org/dpv/legal/eu/gdpr#"),
    ("pd", "https://w3id.org/dpv/pd#"),
    ("prov", "http://www.w3.org/ns/prov#"),
    ("vault", "urn:oubliette:term:"),
];

/// What the vault states about one consent event. Its RFC 8785 form is what the trail holds the hash of. The name of the
/// standard's field stands before each member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The prefixes.
    #[serde(rename = "@context", deserialize_with = "each_once")]
    pub context: BTreeMap<String, String>,
    /// `dpv:ConsentReceipt`.
    #[serde(rename = "@type")]
    pub term: String,
    /// schema_version: [`PROFILE`].
    #[serde(rename = "dct:conformsTo")]
    pub profile: String,
    /// receipt_id and record_id: the event's id.
    #[serde(rename = "dct:identifier")]
    pub id: ConsentId,
    /// Which vault issued it.
    #[serde(rename = "dct:publisher")]
    pub vault: VaultId,
    /// pii_principal_id: the person's tag in the trail.
    #[serde(rename = "dpv:hasDataSubject")]
    pub subject: Named,
    /// privacy_notice and language.
    #[serde(rename = "dpv:hasNotice")]
    pub notice: NoticeShown,
    /// purposes and purpose_type.
    #[serde(rename = "dpv:hasPurpose")]
    pub purpose: PurposeTerm,
    /// lawful_basis.
    #[serde(rename = "dpv:hasLegalBasis")]
    pub basis: String,
    /// pii_information: the categories that it covers.
    #[serde(rename = "dpv:hasPersonalData")]
    pub categories: Vec<String>,
    /// pii_controllers.
    #[serde(rename = "dpv:hasDataController")]
    pub controller: Named,
    /// storage_locations and retention_period.
    #[serde(rename = "dpv:hasStorageCondition")]
    pub storage: Storage,
    /// jurisdiction.
    #[serde(rename = "dpv:hasJurisdiction")]
    pub jurisdiction: String,
    /// recipient_third_parties.
    #[serde(rename = "dpv:hasRecipient")]
    pub recipients: Vec<Named>,
    /// withdrawal_method.
    #[serde(rename = "dpv:hasConsentControl")]
    pub withdrawal: Named,
    /// authority_party.
    #[serde(rename = "dpv:hasAuthority", default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<Named>,
    /// The event itself.
    #[serde(rename = "prov:wasGeneratedBy")]
    pub event: EventTerm,
}

/// Somebody or something with an id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// What it is.
    #[serde(rename = "@type")]
    pub term: String,
    /// party_id.
    #[serde(rename = "dct:identifier")]
    pub id: String,
    /// party_name.
    #[serde(rename = "dpv:hasName", default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// party_address.
    #[serde(rename = "dpv:hasAddress", default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// party_contact.
    #[serde(rename = "dpv:hasContact", default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
}

/// The notice that came with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoticeShown {
    /// `dpv:ConsentNotice`.
    #[serde(rename = "@type")]
    pub term: String,
    /// The policy version.
    #[serde(rename = "dct:identifier")]
    pub version: String,
    /// BCP 47; `und` where none was shown with this event.
    #[serde(rename = "dct:language")]
    pub language: String,
    /// When it was shown.
    #[serde(rename = "dct:date", default, skip_serializing_if = "Option::is_none")]
    pub shown_at: Option<Timestamp>,
    /// Where it was shown.
    #[serde(rename = "dct:medium", default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
}

/// The purpose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PurposeTerm {
    /// Its terms in DPV.
    #[serde(rename = "@type")]
    pub terms: Vec<String>,
    /// Its id in the policy.
    #[serde(rename = "dct:identifier")]
    pub id: String,
    /// One line for people.
    #[serde(rename = "dct:title")]
    pub title: String,
}

/// Where and how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storage {
    /// `dpv:StorageCondition`.
    #[serde(rename = "@type")]
    pub term: String,
    /// The region.
    #[serde(rename = "dpv:hasLocation")]
    pub location: String,
    /// An ISO 8601 period after collection, or `dpv:UntilEventDuration` while the account lives.
    #[serde(rename = "dpv:hasDuration")]
    pub duration: String,
    /// Until when the person agreed to a longer time.
    #[serde(rename = "dct:valid", default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// What was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventTerm {
    /// `prov:Activity`.
    #[serde(rename = "@type")]
    pub term: String,
    /// event_time.
    #[serde(rename = "dct:date")]
    pub at: Timestamp,
    /// validity_duration: its end, or `until-withdrawn`.
    #[serde(rename = "dct:valid")]
    pub valid: String,
    /// entity_id: the caller that recorded it, or the vault.
    #[serde(rename = "dpv:isImplementedByEntity")]
    pub by: String,
    /// event_type: the kind of consent as a term of DPV.
    #[serde(rename = "dpv:hasLegalBasis")]
    pub kind_term: String,
    /// The kind as the vault has it.
    #[serde(rename = "vault:kind")]
    pub kind: String,
    /// event_state.
    #[serde(rename = "dpv:hasConsentStatus")]
    pub state: String,
}

impl Receipt {
    /// The prefixes that every receipt has.
    pub fn prefixes() -> BTreeMap<String, String> {
        CONTEXT.into_iter().map(|(prefix, address)| (prefix.to_owned(), address.to_owned())).collect()
    }

    /// The RFC 8785 form.
    pub fn canonical(&self) -> Result<String, CertificateError> {
        serde_json_canonicalizer::to_string(self).map_err(|_| CertificateError::Form)
    }
}

/// What the trail's entry states of a receipt in its RFC 8785 form.
pub fn note(consent: ConsentId, canonical: &str) -> Note {
    Note::Consent { consent, sha256: sha256(&[canonical.as_bytes()]) }
}

/// A receipt that the trail holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedReceipt {
    /// What it states.
    pub receipt: Receipt,
    /// Its entry in the trail, with the place and the checkpoint that covers it.
    pub proven: Proven,
}

#[derive(Deserialize)]
struct Answer {
    receipt: Box<RawValue>,
    proof: String,
    /// How its vault's keys followed each other, where they did.
    #[serde(default)]
    keys: String,
}

/// Whether a file is a receipt rather than a certificate of erasure.
pub fn is_receipt(file_json: &[u8]) -> bool {
    serde_json::from_slice::<Answer>(file_json).is_ok()
}

/// Checks a receipt offline: the answer of getConsentReceipt, or `{"receipt":…,"proof":…}`.
///
/// Its RFC 8785 form must hash to what the proven entry states, the entry must be in the tree of the checkpoint, and the
/// checkpoint must be signed by the key, under a name that ends in the vault's id.
pub fn verify_receipt(file_json: &[u8], trusted: &impl Trusted) -> Result<VerifiedReceipt, CertificateError> {
    let form = |_| CertificateError::Form;
    let Answer { receipt: text, proof, keys } = serde_json::from_slice(file_json).map_err(form)?;
    // Typed and strict, so that no member is repeated or overlooked; hashed as it stands, so that none is read as another.
    let receipt: Receipt = serde_json::from_str(text.get()).map_err(form)?;
    if receipt.profile != PROFILE || receipt.context != Receipt::prefixes() {
        return Err(CertificateError::Version);
    }
    let as_it_stands: serde_json::Value = serde_json::from_str(text.get()).map_err(form)?;
    let hash = sha256(&[&serde_json_canonicalizer::to_vec(&as_it_stands).map_err(form)?]);
    let proven = proof.parse::<Proof>()?.verify(&PublicKeys::of(trusted).following(&keys))?;
    let Note::Consent { consent, sha256 } = &proven.entry.note else { return Err(CertificateError::Other) };
    if *consent != receipt.id || !same(sha256, &hash) {
        return Err(CertificateError::Other);
    }
    if !proven.checkpoint.origin.ends_with(&format!("/{}", receipt.vault)) {
        return Err(CertificateError::Vault);
    }
    Ok(VerifiedReceipt { receipt, proven })
}

/// A map in which no name is repeated.
fn each_once<'de, D: serde::Deserializer<'de>>(d: D) -> Result<BTreeMap<String, String>, D::Error> {
    struct Once;
    impl<'de> serde::de::Visitor<'de> for Once {
        type Value = BTreeMap<String, String>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("addresses by prefix")
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut all = BTreeMap::new();
            while let Some((name, address)) = map.next_entry()? {
                if all.insert(name, address).is_some() {
                    return Err(serde::de::Error::custom("a prefix is repeated"));
                }
            }
            Ok(all)
        }
    }
    d.deserialize_map(Once)
}
