//! The erasure certificate, and its verification with nothing but the file and the vault's public key.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use keys::digest::{same, sha256};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::entry::Note;
use super::proof::{Proof, ProofError, Proven};
use super::signers::{PublicKeys, Trusted};
use crate::model::ids::{ErasureId, VaultId};
use crate::model::schema::{Day, Time};
use crate::model::wire::{Cause, Scope};

/// What `format` says.
pub const FORMAT: &str = "oubliette-erasure-certificate";

/// What `version` says.
pub const VERSION: u32 = 1;

/// What the vault states about an erasure that is sealed. Its RFC 8785 form is what the trail holds the hash of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// Which vault.
    pub vault: VaultId,
    /// Which erasure.
    pub erasure: ErasureId,
    /// Why.
    pub cause: Cause,
    /// How much.
    pub scope: Scope,
    /// The purpose groups, with scope `groups`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// When it reached each state.
    pub times: Times,
    /// Numbers of the epochs whose keys were destroyed.
    pub epochs_closed: Vec<u64>,
    /// What was destroyed, and how.
    pub keys: Vec<DestroyedKey>,
    /// The ciphers under which leftovers are unreadable.
    pub algorithm: String,
    /// How many of each category were erased.
    #[serde(deserialize_with = "each_once")]
    pub counts: BTreeMap<String, u64>,
    /// What was kept.
    pub kept: Vec<Kept>,
    /// Who was told.
    pub recipients: Vec<Recipient>,
    /// Which backups are covered.
    pub backups: Vec<Backup>,
    /// What was tried afterwards.
    pub self_test: SelfTest,
    /// `hardware`, `kms`, `file` or `best-effort` (docs/ERASURE.md): the weakest word of the places below.
    pub assurance: String,
    /// The places of the keyring, each of which had the keys of the epochs that were closed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<KeyringPlace>,
    /// Version of the policy that was in force.
    pub policy_version: String,
    /// The subject's tag in the trail, 32 hex digits.
    pub subject_tag: String,
    /// SHA-256 of the claim code, 64 hex digits.
    pub claim_sha256: String,
}

/// When an erasure reached each of its states.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Times {
    /// Opened.
    #[schemars(with = "Time")]
    pub requested: Timestamp,
    /// The request behind it was verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub verified: Option<Timestamp>,
    /// The second person agreed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub approved: Option<Timestamp>,
    /// Rows, wraps and aliases were gone.
    #[schemars(with = "Time")]
    pub unlinked: Timestamp,
    /// Each recipient's message was in the outbox for good.
    #[schemars(with = "Time")]
    pub propagated: Timestamp,
    /// No key that lives could open a leftover.
    #[schemars(with = "Time")]
    pub sealed: Timestamp,
}

/// A place of the keyring, as it stood when the epoch was closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyringPlace {
    /// What the operator calls it.
    pub name: String,
    /// `file`, or what encloses it, such as `pkcs11`; `past` when it is no place any more.
    pub kind: String,
    /// `in-step`: destroyed there. `away`: out of reach, and the key may still be there. `removed` in good order before. `given-up`: lost,
    /// with the key of `until_epoch`.
    pub state: String,
    /// What destruction there is worth.
    pub assurance: String,
    /// The first epoch whose key was there. What is older was closed without this place.
    pub since_epoch: u64,
    /// The last one, of a place that is past.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_epoch: Option<u64>,
    /// When what enclosed the closed epoch is really gone, where a service only takes a date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub gone_by: Option<Timestamp>,
}

/// A key that was destroyed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DestroyedKey {
    /// What it was: `subject`, `group:marketing`, `epoch:7`.
    pub id: String,
    /// How: `overwritten-in-place`, `enclosure-destroyed` where every place is enclosed, `dropped-and-epoch-closed`.
    pub method: String,
}

/// Something that the erasure left, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// What.
    pub what: String,
    /// Under which rule.
    pub rule: String,
    /// Until when; absent where it has no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Day>")]
    pub until: Option<Date>,
}

/// Somebody to whom the data had been disclosed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recipient {
    /// Who.
    pub name: String,
    /// How far telling them had come when this was signed: `waiting`, `sent`, `acknowledged`, `bounced`, `given-up` or `in-inbox`.
    pub state: String,
    /// When their message was put into the outbox, with the very batch that unlinked the data.
    #[schemars(with = "Time")]
    pub queued_at: Timestamp,
    /// When they acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub acknowledged_at: Option<Timestamp>,
}

/// A backup target that holds the tree without the erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    /// Which.
    pub target: String,
    /// When that was verified.
    #[schemars(with = "Time")]
    pub verified_at: Timestamp,
}

/// What the vault tried after sealing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SelfTest {
    /// Each way back, and what came of it.
    pub checks: Vec<Check>,
    /// What could not be tried.
    pub not_checked: Vec<String>,
}

/// One way back to the erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// Which.
    pub name: String,
    /// `closed` or `open`.
    pub result: String,
}

impl Certificate {
    /// The RFC 8785 form.
    pub fn canonical(&self) -> Result<Vec<u8>, CertificateError> {
        serde_json_canonicalizer::to_vec(self).map_err(|_| CertificateError::Form)
    }

    /// SHA-256 of the RFC 8785 form.
    pub fn sha256(&self) -> Result<[u8; 32], CertificateError> {
        Ok(sha256(&[&self.canonical()?]))
    }

    /// What the trail's entry states.
    pub fn note(&self) -> Result<Note, CertificateError> {
        Ok(Note::Certificate { erasure: self.erasure, sha256: self.sha256()? })
    }
}

/// Why a file is not a certificate of this vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not JSON with a certificate and its proof.
    #[error("the file is not a certificate with its proof")]
    Form,
    /// A version that this program does not know.
    #[error("the certificate has a version that this program does not know")]
    Version,
    /// The proof does not hold.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The proven entry is not about this certificate.
    #[error("the trail does not hold this certificate: it was changed, or the proof belongs to another one")]
    Other,
    /// The trail is not the one of the vault that the certificate names.
    #[error("the certificate names another vault than the one that signed")]
    Vault,
}

/// A certificate that the trail holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedCertificate {
    /// What it states.
    pub certificate: Certificate,
    /// Its entry in the trail, with the place and the checkpoint that covers it.
    pub proven: Proven,
}

#[derive(Deserialize, JsonSchema)]
struct Answer {
    certificate: Box<RawValue>,
    proof: String,
    /// How its vault's keys followed each other, where they did.
    #[serde(default)]
    keys: String,
}

#[derive(Deserialize, JsonSchema)]
struct Version {
    format: String,
    version: u32,
}

/// Checks a certificate offline: the answer of getErasure, or `{"certificate":…,"proof":…}`.
///
/// The certificate's RFC 8785 form must hash to what the proven entry states, the entry must be in the tree of the checkpoint,
/// and the checkpoint must be signed by the key, under a name that ends in the vault's id.
pub fn verify_certificate(file_json: &[u8], trusted: &impl Trusted) -> Result<VerifiedCertificate, CertificateError> {
    let form = |_| CertificateError::Form;
    let Answer { certificate: text, proof, keys } = serde_json::from_slice(file_json).map_err(form)?;
    let version: Version = serde_json::from_str(text.get()).map_err(form)?;
    if version.format != FORMAT || version.version != VERSION {
        return Err(CertificateError::Version);
    }
    // Typed and strict, so that no member is repeated or overlooked; hashed as it stands, so that none is read as another.
    let certificate: Certificate = serde_json::from_str(text.get()).map_err(form)?;
    let as_it_stands: serde_json::Value = serde_json::from_str(text.get()).map_err(form)?;
    let hash = sha256(&[&serde_json_canonicalizer::to_vec(&as_it_stands).map_err(form)?]);
    let proven = proof.parse::<Proof>()?.verify(&PublicKeys::of(trusted).following(&keys))?;
    let Note::Certificate { erasure, sha256 } = &proven.entry.note else { return Err(CertificateError::Other) };
    if *erasure != certificate.erasure || !same(sha256, &hash) {
        return Err(CertificateError::Other);
    }
    if !proven.checkpoint.origin.ends_with(&format!("/{}", certificate.vault)) {
        return Err(CertificateError::Vault);
    }
    Ok(VerifiedCertificate { certificate, proven })
}

/// A map in which no name is repeated.
fn each_once<'de, D: serde::Deserializer<'de>>(d: D) -> Result<BTreeMap<String, u64>, D::Error> {
    struct Once;
    impl<'de> serde::de::Visitor<'de> for Once {
        type Value = BTreeMap<String, u64>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("numbers by name")
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut numbers = BTreeMap::new();
            while let Some((name, number)) = map.next_entry()? {
                if numbers.insert(name, number).is_some() {
                    return Err(serde::de::Error::custom("a name is repeated"));
                }
            }
            Ok(numbers)
        }
    }
    d.deserialize_map(Once)
}
