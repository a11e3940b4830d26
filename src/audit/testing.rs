//! What the tests of this room share.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData, SigningKey};

use super::merkle::Hash;
use super::note::VerifyingKey;
use super::{Disk, Entry, Findings, Outcome, Report, Signer, Trail, TrailError, verify};
use crate::model::ids::DecisionId;

/// The name under which the tests' trails sign.
pub(super) const ORIGIN: &str = "oubliette.local/vlt_01041061050r3gg28a1c60t3gf";

/// A fresh Ed25519 key.
pub(super) struct TestKey {
    pair: Arc<KeyPair>,
    pub(super) key: VerifyingKey,
}

impl TestKey {
    pub(super) fn new(name: &str) -> Self {
        let pair = Arc::new(KeyPair::generate_for(&PKCS_ED25519).unwrap());
        let public = pair.der_bytes().try_into().unwrap();
        Self { pair, key: VerifyingKey { name: name.to_owned(), public } }
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.pair.sign(message).unwrap().try_into().unwrap()
    }

    pub(super) fn signer(&self) -> Signer {
        let (pair, public) = (Arc::clone(&self.pair), self.key.public);
        Arc::new(move |message| Some((public, pair.sign(message).unwrap().try_into().unwrap())))
    }

    /// Opens a trail of small segments.
    pub(super) fn open(&self, dir: &Path) -> Result<(Trail, Findings), TrailError> {
        self.open_knowing(dir, None)
    }

    pub(super) fn open_knowing(&self, dir: &Path, known: Option<(u64, Hash)>) -> Result<(Trail, Findings), TrailError> {
        Trail::open_sized(1000, Disk::Plain, dir, self.signer(), self.key.public, ORIGIN, known)
    }

    /// Opens a trail in which nothing is signed.
    pub(super) fn open_sealed(&self, dir: &Path, known: Option<(u64, Hash)>) -> (Trail, Findings) {
        Trail::open(dir, Arc::new(|_| None), self.key.public, ORIGIN, known).unwrap()
    }

    /// A closed trail of entries with these numbers, appended one by one.
    pub(super) fn trail(&self, dir: &Path, numbers: std::ops::Range<u64>) {
        let (trail, _) = self.open(dir).unwrap();
        append(&trail, numbers);
    }

    pub(super) fn verify(&self, dir: &Path) -> Report {
        verify(dir, &self.key.public, None).unwrap()
    }
}

/// Appends entries with these numbers one by one, and waits for the last.
pub(super) fn append(trail: &Trail, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let ticket = trail.append(&[entry(number)]).unwrap();
        if number % 50 == 0 {
            let _ = trail.durable_blocking(ticket).unwrap();
        }
    }
}

/// An entry that differs from others by its number.
pub(super) fn entry(number: u64) -> Entry {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    let at = Timestamp::from_second(1_700_000_000 + i64::try_from(number).unwrap()).unwrap();
    Entry { records: 1, ..Entry::new(at, DecisionId::from_bytes(id), "readRecords", Outcome::Allowed, "1") }
}

/// Copies a trail as it is, even while it is open: what a killed process leaves.
pub(super) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        if file.file_type().unwrap().is_dir() {
            copy(&file.path(), &to.join(file.file_name()));
        } else {
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
}
