//! Proofs that can be checked offline (c2sp.org/tlog-proof@v1): an entry, its place, its path, a signed checkpoint.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keys::digest::leaf_hash;

pub use super::certificate::{CertificateError, VerifiedCertificate, verify_certificate};
use super::checkpoint::{Checkpoint, number};
use super::codec;
use super::entry::Entry;
use super::merkle::{Hash, verify_inclusion};
use super::signers::Trusted;

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// A text that is not a proof, or proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// It does not have the form.
    #[error("not in the form of a tlog proof")]
    Form,
    /// The checkpoint in it is not signed by this key.
    #[error("the checkpoint is not signed by this key")]
    Signature,
    /// The path does not lead from the entry to the checkpoint.
    #[error("the entry is not in the tree of the checkpoint")]
    Inclusion,
    /// What stands in the trail at this place is not an entry of this version.
    #[error("the proven bytes are not an entry")]
    Entry,
}

/// The parts of a proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The canonical bytes of the entry (the `extra` line).
    pub entry: Vec<u8>,
    /// Its index.
    pub index: u64,
    /// RFC 6962 inclusion path, the leaf's sibling first.
    pub path: Vec<Hash>,
    /// The signed note.
    pub checkpoint: String,
}

/// What a proof shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// The entry.
    pub entry: Entry,
    /// Its index.
    pub index: u64,
    /// The checkpoint that covers it.
    pub checkpoint: Checkpoint,
}

impl Proof {
    /// Checks signature, path and entry.
    pub fn verify(&self, trusted: &impl Trusted) -> Result<Proven, ProofError> {
        let checkpoint = Checkpoint::verified(&self.checkpoint, trusted).map_err(|_| ProofError::Signature)?;
        if !verify_inclusion(self.index, checkpoint.size, &leaf_hash(&self.entry), &self.path, &checkpoint.root) {
            return Err(ProofError::Inclusion);
        }
        let entry = codec::decode(&self.entry).map_err(|_| ProofError::Entry)?;
        Ok(Proven { entry, index: self.index, checkpoint })
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}\nextra {}\nindex {}", STANDARD.encode(&self.entry), self.index)?;
        for hash in &self.path {
            writeln!(f, "{}", STANDARD.encode(hash))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for Proof {
    type Err = ProofError;

    fn from_str(text: &str) -> Result<Self, ProofError> {
        parse(text).ok_or(ProofError::Form)
    }
}

fn parse(text: &str) -> Option<Proof> {
    let (head, checkpoint) = text.split_once("\n\n")?;
    let mut lines = head.split('\n');
    if lines.next()? != FIRST_LINE {
        return None;
    }
    let entry = STANDARD.decode(lines.next()?.strip_prefix("extra ")?).ok()?;
    let index = number(lines.next()?.strip_prefix("index ")?)?;
    let mut path = Vec::new();
    for line in lines {
        path.push(STANDARD.decode(line).ok()?.try_into().ok()?);
        if path.len() > 64 {
            return None;
        }
    }
    Some(Proof { entry, index, path, checkpoint: checkpoint.to_owned() })
}
