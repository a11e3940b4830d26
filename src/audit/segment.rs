//! Segments: files of framed entries, `seg-<index of the first entry, 16 hex digits>.log`.
//!
//! ```text
//! header, 64 B:   "PVTRAIL1" ‖ first index u64 ‖ first index of the segment before u64 ‖ its bytes u64 ‖ SHA-256 of these 32 B
//! frame:          length u32 ‖ check u32 ‖ entry            check = the first 4 bytes of the entry's leaf hash
//! behind them:    zeros, written ahead
//! ```
//! Numbers are big-endian. The first segment names `u64::MAX` and 0 as the segment before it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use keys::digest::{leaf_hash, sha256};

use super::codec::{self, BadEntry, LONGEST};
use super::entry::Entry;
use super::merkle::Hash;

/// Bytes of a segment's header.
pub(crate) const HEADER: usize = 64;
/// Bytes before the entry of a frame.
pub(crate) const FRAME: usize = 8;
/// A segment that would grow beyond this is followed by a new one, unless it is empty.
pub(crate) const FULL: u64 = 64 * 1024 * 1024;

const MAGIC: &[u8; 8] = b"PVTRAIL1";

/// What a segment says of itself and of the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) first: u64,
    /// First index and bytes of the segment before.
    pub(crate) before: Option<(u64, u64)>,
}

impl Header {
    pub(crate) fn bytes(&self) -> [u8; HEADER] {
        let (before, length) = self.before.unwrap_or((u64::MAX, 0));
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..16].copy_from_slice(&self.first.to_be_bytes());
        bytes[16..24].copy_from_slice(&before.to_be_bytes());
        bytes[24..32].copy_from_slice(&length.to_be_bytes());
        let check = sha256(&[&bytes[..32]]);
        bytes[32..].copy_from_slice(&check);
        bytes
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..HEADER)?;
        let number = |at: usize| bytes.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
        let (first, before, length) = (number(8)?, number(16)?, number(24)?);
        let header = Self { first, before: (before != u64::MAX).then_some((before, length)) };
        (header.bytes() == *bytes).then_some(header)
    }
}

/// Adds the frame of an entry to `out`; the entry's leaf hash.
pub(crate) fn frame(entry: &Entry, out: &mut Vec<u8>) -> Result<Hash, BadEntry> {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME]);
    codec::encode(entry, out)?;
    let length = u32::try_from(out.len() - start - FRAME).map_err(|_| BadEntry)?;
    let leaf = leaf_hash(&out[start + FRAME..]);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    out[start + 4..start + FRAME].copy_from_slice(&leaf[..4]);
    Ok(leaf)
}

/// What stands at one place of a segment.
pub enum Step<'a> {
    /// A whole frame.
    Frame {
        /// The bytes of its entry.
        entry: &'a [u8],
        /// Their leaf hash.
        leaf: Hash,
        /// Where the next frame starts.
        end: usize,
    },
    /// Nothing but zeros, if anything.
    End,
    /// Anything else.
    Damaged,
}

/// Reads the frame at `at`. Never panics.
pub fn step(bytes: &[u8], at: usize) -> Step<'_> {
    let rest = bytes.get(at..).unwrap_or_default();
    let Some((length, check)) = prefix(rest) else {
        return if is_zero(rest) { Step::End } else { Step::Damaged };
    };
    if length == 0 {
        return if is_zero(rest) { Step::End } else { Step::Damaged };
    }
    if length > LONGEST {
        return Step::Damaged;
    }
    let Some(entry) = rest.get(FRAME..FRAME + length) else { return Step::Damaged };
    let leaf = leaf_hash(entry);
    if leaf[..4] == check { Step::Frame { entry, leaf, end: at + FRAME + length } } else { Step::Damaged }
}

/// Length and check of the frame that starts here.
fn prefix(bytes: &[u8]) -> Option<(usize, [u8; 4])> {
    let [l0, l1, l2, l3, check @ ..] = *bytes.first_chunk::<FRAME>()?;
    Some((u32::from_be_bytes([l0, l1, l2, l3]) as usize, check))
}

pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<64>();
    words.iter().all(|word| *word == [0; 64]) && rest.iter().all(|byte| *byte == 0)
}

/// Where the next whole frame with a canonical entry starts, behind `at`.
pub(crate) fn next_whole(bytes: &[u8], at: usize) -> Option<usize> {
    // Every entry starts with a map of less than 16 members, key 0, version 1: a cheap test before hashing.
    (at + 1..bytes.len().saturating_sub(FRAME + 2)).find(|start| {
        let head = &bytes[start + FRAME..];
        head[0] & 0xf0 == 0xa0
            && head[1..3] == [0, 1]
            && matches!(step(bytes, *start), Step::Frame { entry, .. } if codec::decode(entry).is_ok())
    })
}

/// Whether the frame at `at`, which is damaged, is there in full: its length fits into the file and more than zeros follow its head.
pub(crate) fn is_complete(bytes: &[u8], at: usize) -> bool {
    let rest = &bytes[at..];
    prefix(rest).is_some_and(|(length, _)| length > 0 && length <= LONGEST && FRAME + length <= rest.len())
}

/// A segment found in the directory.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) first: u64,
    pub(crate) path: PathBuf,
}

/// The segments of a directory in their order.
pub(crate) fn list(dir: &Path) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for file in fs::read_dir(dir)? {
        let path = file?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let digits = name.strip_prefix("seg-").and_then(|name| name.strip_suffix(".log"));
        if let Some(digits) = digits.filter(|digits| digits.len() == 16)
            && let Ok(first) = u64::from_str_radix(digits, 16)
        {
            found.push(Found { first, path });
        }
    }
    found.sort_by_key(|segment| segment.first);
    Ok(found)
}

/// The file of the segment that starts with this index.
pub(crate) fn path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("seg-{first:016x}.log"))
}
