//! The manifest of a bundle: what parts it has, with their digests, signed by the vault; and its verification with nothing but the
//! files and the vault's public key.

use std::io::{self, Read};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use keys::digest::{Running, same};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::signers::Trusted;
use super::view::hex;
use crate::model::ids::{RequestId, VaultId};

/// What `format` says.
pub const FORMAT: &str = "oubliette-bundle-manifest";

/// What `version` says.
pub const VERSION: u32 = 1;

/// What is signed in front of a manifest, so that it is nothing else that the vault signs.
const DOMAIN: &[u8] = b"oubliette-bundle/v1\n";

/// What a bundle consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// Which vault.
    pub vault: VaultId,
    /// The request that it answers.
    pub request: RequestId,
    /// `access` or `portability`.
    pub kind: String,
    /// Version of the policy that was in force.
    pub policy_version: String,
    /// When it was made.
    pub made_at: Timestamp,
    /// When the vault gives it out no more.
    pub expires_at: Timestamp,
    /// Its parts.
    pub parts: Vec<PartDigest>,
}

/// One part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartDigest {
    /// The name that it is kept under: letters, digits, dots.
    pub name: String,
    /// Its media type.
    pub media: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of it, 64 hex digits.
    pub sha256: String,
}

/// Why a manifest or a part of a bundle does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON with a manifest and its signature.
    #[error("the file is not a manifest with its signature")]
    Form,
    /// A version that this program does not know.
    #[error("the manifest has a version that this program does not know")]
    Version,
    /// The signature is not the key's.
    #[error("the signature is not one of this vault: the manifest was changed, or the key is another vault's")]
    Signature,
    /// A part has another length or another digest.
    #[error("the part is not the one that the manifest names: it was changed, or is not whole")]
    Part,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    manifest: Box<RawValue>,
    signature: String,
}

#[derive(Deserialize)]
struct Version {
    format: String,
    version: u32,
}

/// The manifest with its signature: Ed25519 over `oubliette-bundle/v1`, a line feed and the manifest's RFC 8785 form, in base64.
pub fn signed(manifest: &Manifest, sign: impl FnOnce(&[u8]) -> [u8; 64]) -> Result<String, ManifestError> {
    let text = serde_json_canonicalizer::to_string(manifest).map_err(|_| ManifestError::Form)?;
    let signature = BASE64_STANDARD.encode(sign(&[DOMAIN, text.as_bytes()].concat()));
    let manifest = RawValue::from_string(text).map_err(|_| ManifestError::Form)?;
    serde_json::to_string(&Signed { manifest, signature }).map_err(|_| ManifestError::Form)
}

/// Checks a manifest offline.
pub fn verify_manifest(file: &[u8], trusted: &impl Trusted) -> Result<Manifest, ManifestError> {
    let form = |_| ManifestError::Form;
    let Signed { manifest: text, signature } = serde_json::from_slice(file).map_err(form)?;
    let version: Version = serde_json::from_str(text.get()).map_err(form)?;
    if version.format != FORMAT || version.version != VERSION {
        return Err(ManifestError::Version);
    }
    // Typed and strict, so that no member is repeated or overlooked; signed as it stands, so that none is read as another.
    let manifest: Manifest = serde_json::from_str(text.get()).map_err(form)?;
    let as_it_stands: serde_json::Value = serde_json::from_str(text.get()).map_err(form)?;
    let canonical = serde_json_canonicalizer::to_vec(&as_it_stands).map_err(form)?;
    let signature = BASE64_STANDARD.decode(signature).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(ManifestError::Form)?;
    let names = |part: &PartDigest| !part.name.is_empty() && part.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
    if !manifest.parts.iter().all(names) {
        return Err(ManifestError::Form);
    }
    let text = [DOMAIN, &canonical].concat();
    if trusted.keys().iter().any(|public| keys::sign::verify(public, &text, &signature)) {
        Ok(manifest)
    } else {
        Err(ManifestError::Signature)
    }
}

impl PartDigest {
    /// Whether this is the part, read to its end.
    pub fn check(&self, mut part: impl Read) -> io::Result<Result<(), ManifestError>> {
        let (mut hash, mut bytes, mut buffer) = (Running::default(), 0, vec![0; 64 << 10]);
        loop {
            match part.read(&mut buffer)? {
                0 => break,
                count => {
                    hash.update(&buffer[..count]);
                    bytes += count as u64;
                }
            }
        }
        let holds = bytes == self.bytes && same(hex(&hash.finish()).as_bytes(), self.sha256.as_bytes());
        Ok(if holds { Ok(()) } else { Err(ManifestError::Part) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let sha256 = hex(&keys::digest::sha256(&[b"{}"]));
        Manifest {
            format: FORMAT.into(),
            version: VERSION,
            vault: VaultId::from_bytes([1; 16]),
            request: RequestId::from_bytes([2; 16]),
            kind: "access".into(),
            policy_version: "7".into(),
            made_at: Timestamp::UNIX_EPOCH,
            expires_at: Timestamp::UNIX_EPOCH,
            parts: vec![PartDigest { name: "data.json".into(), media: "application/json".into(), bytes: 2, sha256 }],
        }
    }

    #[test]
    fn a_part_is_known_by_its_length_and_digest() {
        let part = &manifest().parts[0];
        assert_eq!(part.check(&b"{}"[..]).unwrap(), Ok(()));
        for other in [&b"{ "[..], b"{", b"{}}", b""] {
            assert_eq!(part.check(other).unwrap(), Err(ManifestError::Part));
        }
    }

    #[test]
    fn what_is_no_manifest_of_this_version_is_told_so_before_any_signature_is_looked_at() {
        let text = signed(&manifest(), |_| [0; 64]).unwrap();
        let verify = |text: &str| verify_manifest(text.as_bytes(), &[9; 32]);
        assert_eq!(verify(&text), Err(ManifestError::Signature));
        assert_eq!(verify("{}"), Err(ManifestError::Form));
        assert_eq!(verify(&text.replacen("\"version\":1", "\"version\":2", 1)), Err(ManifestError::Version));
        assert_eq!(verify(&text.replacen("\"kind\"", "\"colour\":1,\"kind\"", 1)), Err(ManifestError::Form));
        assert_eq!(verify(&text.replacen("data.json", "../data.json", 1)), Err(ManifestError::Form));
    }
}
