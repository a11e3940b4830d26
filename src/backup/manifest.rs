//! The manifest: one backup in one small signed file.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use keys::Id;
use serde::{Deserialize, Serialize};

use crate::audit::note::VerifyingKey;
use crate::audit::{PublicKeys, Trusted};
use crate::model::ids::VaultId;

use super::BackupError;
use super::frame::{Check, FrameReader, Kind};

const FORMAT: &str = "oubliette-backup";
const VERSION: u32 = 1;
/// What the signature covers begins so.
const DOMAIN: &[u8] = b"oubliette-backup/1\n";

/// A backup: what it holds, and every file that it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// `oubliette-backup`.
    pub format: String,
    /// 1.
    pub version: u32,
    /// Whose it is.
    pub vault: VaultId,
    /// Its name: the number of the last batch in it.
    pub number: u64,
    /// `full` where the base was read for it, else `incremental`.
    pub kind: String,
    /// When it was made.
    pub made_at: Timestamp,
    /// The number that the base has.
    pub base: u64,
    /// Bytes of the base.
    pub base_bytes: u64,
    /// The epoch that the tree rows in it are in.
    pub epoch: u64,
    /// Entries of the trail in it.
    pub trail_size: u64,
    /// The files, the log in order.
    pub files: Vec<FileOf>,
}

/// A file of a backup, or as much of it as belongs to the backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileOf {
    /// Its path below the target.
    pub name: String,
    /// Bytes that belong to the backup.
    pub bytes: u64,
    /// The check of the last frame in them, 32 hex digits.
    pub check: String,
    /// Log: the number of the last batch; trail: the index after the last entry; else 0.
    pub last: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    manifest: Manifest,
    signature: String,
}

/// A manifest as it lies in the target.
pub type Kept = Result<Manifest, BackupError>;

impl FileOf {
    pub(crate) fn of(name: String, (bytes, check): (u64, Check), last: u64) -> Self {
        Self { name, bytes, check: check.iter().map(|byte| format!("{byte:02x}")).collect(), last }
    }

    /// The place in the file where this ends.
    pub(crate) fn place(&self) -> Option<(u64, Check)> {
        let mut check = Check::default();
        if self.check.len() != 32 || !self.check.is_ascii() {
            return None;
        }
        for (byte, pair) in check.iter_mut().zip(self.check.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some((self.bytes, check))
    }

    pub(crate) fn kind(&self) -> Option<Kind> {
        match self.name.split('-').next()? {
            "base" => Some(Kind::Rows),
            "log/log" => Some(Kind::Log),
            "trail/trail" => Some(Kind::Trail),
            _ => None,
        }
    }

    /// Reads the file's frames up to where it ends for this backup, and finds out whether it does end there.
    pub(crate) fn check(&self, target: &Path, vault: &Id) -> Result<(), BackupError> {
        let damaged = || BackupError::Damaged(self.name.clone());
        let kind = self.kind().filter(|_| !self.name.contains("..")).ok_or_else(damaged)?;
        let mut reader = FrameReader::open(&target.join(&self.name), kind, vault)?;
        let place = self.place().ok_or_else(damaged)?;
        while reader.place().0 < place.0 {
            if reader.next()?.is_none() {
                return Err(BackupError::CutOff(self.name.clone()));
            }
        }
        if reader.place() == place { Ok(()) } else { Err(damaged()) }
    }
}

impl Manifest {
    /// What a manifest always says.
    pub(crate) fn new(vault: &Id, number: u64, made_at: Timestamp) -> Self {
        Self {
            format: FORMAT.into(),
            version: VERSION,
            vault: VaultId::from_bytes(*vault),
            number,
            kind: "full".into(),
            made_at,
            base: 0,
            base_bytes: 0,
            epoch: 0,
            trail_size: 0,
            files: Vec::new(),
        }
    }

    fn signed_bytes(&self) -> Option<Vec<u8>> {
        Some([DOMAIN, &serde_json_canonicalizer::to_vec(self).ok()?].concat())
    }

    /// How its file is called.
    pub fn file_name(number: u64) -> String {
        format!("manifest-{number:016x}.json")
    }

    /// Writes it beside, syncs it and gives it its name.
    pub(crate) fn keep(&self, target: &Path, sign: &dyn Fn(&[u8]) -> [u8; 64]) -> Result<(), BackupError> {
        let name = Self::file_name(self.number);
        let failed = || BackupError::Damaged(name.clone());
        let signature = BASE64_STANDARD.encode(sign(&self.signed_bytes().ok_or_else(failed)?));
        let signed = Signed { manifest: self.clone(), signature };
        let text = serde_json::to_vec_pretty(&signed).map_err(|_| failed())?;
        super::ship::write_whole(target, &name, &text)
    }

    /// The files of one kind.
    pub(crate) fn files_of(&self, kind: Kind) -> impl Iterator<Item = &FileOf> {
        self.files.iter().filter(move |file| file.kind() == Some(kind))
    }
}

/// The public key that the target names; whoever has the vault's own, kept elsewhere, compares.
pub fn public_key_of(target: &Path) -> Result<VerifyingKey, BackupError> {
    let name = "vault.pub";
    let text = fs::read_to_string(target.join(name)).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => BackupError::None,
        _ => BackupError::File(name.into(), error),
    })?;
    text.trim().parse().map_err(|_| BackupError::Damaged(name.into()))
}

/// That key and every other that the target's list of keys leads to from it.
pub fn public_keys_of(target: &Path) -> Result<PublicKeys, BackupError> {
    let keys = PublicKeys::from(public_key_of(target)?.public);
    Ok(fs::read_to_string(target.join("vault.keys")).map_or(keys.clone(), |list| keys.following(&list)))
}

/// Every backup in the target, oldest first: each manifest whose signature holds, or what is wrong with it.
pub fn list(target: &Path, trusted: &impl Trusted) -> Result<Vec<Kept>, BackupError> {
    let mut names: Vec<String> = fs::read_dir(target)
        .map_err(BackupError::at("folder"))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("manifest-") && name.ends_with(".json"))
        .collect();
    names.sort();
    Ok(names.into_iter().map(|name| read(target, &name, trusted)).collect())
}

fn read(target: &Path, name: &str, trusted: &impl Trusted) -> Kept {
    let damaged = || BackupError::Damaged(name.to_owned());
    let bytes = fs::read(target.join(name)).map_err(BackupError::at(name))?;
    let signed: Signed = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
    let manifest = signed.manifest;
    if manifest.format != FORMAT || manifest.version != VERSION || Manifest::file_name(manifest.number) != name {
        return Err(damaged());
    }
    let signature: Option<[u8; 64]> = BASE64_STANDARD.decode(signed.signature).ok().and_then(|bytes| bytes.try_into().ok());
    let (signature, text) = (signature.ok_or_else(damaged)?, manifest.signed_bytes().ok_or_else(damaged)?);
    let is_signed = trusted.keys().iter().any(|public| keys::sign::verify(public, &text, &signature));
    if is_signed { Ok(manifest) } else { Err(BackupError::Unsigned(name.to_owned())) }
}
