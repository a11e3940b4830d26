//! What a forensic reader finds in everything that was ever written: ciphertexts and given strings, at any offset, in every
//! write and across neighbouring ones.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::recorder::{Event, Kind, Recording};

/// The longest value of a row, and so of a ciphertext.
pub(super) const LONGEST: usize = 6_000;

/// Header, salt and commitment of a W1, or all before the fields of an R1: enough to tell one ciphertext from all others.
pub(super) const HEAD: usize = 76;

/// Calls `see` with every stretch of a file that a write made or changed, with up to `around` bytes on either side as they
/// were then. Only files of which `wanted` holds.
pub(super) fn stretches(recording: &Recording, around: usize, wanted: impl Fn(&str) -> bool, mut see: impl FnMut(&[u8])) {
    let mut files: HashMap<u32, Vec<u8>> = HashMap::new();
    let mut watched: HashSet<u32> = HashSet::new();
    for event in &recording.events {
        match event.kind {
            Kind::File if wanted(std::str::from_utf8(&event.bytes).unwrap()) => drop(watched.insert(event.file)),
            Kind::Write if watched.contains(&event.file) => {
                let content = files.entry(event.file).or_default();
                let (from, to) = (event.offset as usize, event.offset as usize + event.bytes.len());
                if content.len() < to {
                    content.resize(to, 0);
                }
                content[from..to].copy_from_slice(&event.bytes);
                see(&content[from.saturating_sub(around)..(to + around).min(content.len())]);
            }
            Kind::Truncate if watched.contains(&event.file) => {
                files.entry(event.file).or_default().resize(event.offset as usize, 0);
            }
            _ => {}
        }
    }
}

/// Ciphertexts by their heads.
#[derive(Default)]
pub(super) struct Ciphertexts {
    /// Each with what followed it, whenever it was seen with something else behind.
    pub(super) found: BTreeMap<[u8; HEAD], BTreeSet<Vec<u8>>>,
}

impl Ciphertexts {
    pub(super) fn gather(&mut self, bytes: &[u8]) {
        for at in magics(bytes) {
            let Some(head) = bytes[at..].first_chunk::<HEAD>() else { continue };
            let rest = &bytes[at..(at + LONGEST).min(bytes.len())];
            self.found.entry(*head).or_default().insert(rest.to_vec());
        }
    }

    /// Only the heads, for what is known to be whole.
    pub(super) fn heads(bytes: &[u8]) -> impl Iterator<Item = [u8; HEAD]> {
        magics(bytes).filter_map(|at| bytes[at..].first_chunk().copied())
    }
}

fn magics(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let is_magic = |at: &usize| bytes[*at] == b'P' && matches!(bytes.get(*at..at + 5), Some(b"PVW1\x01" | b"PVR1\x01"));
    (0..bytes.len()).filter(is_magic)
}

/// Looks for many strings at once.
pub(super) struct Strings<'a> {
    by_start: HashMap<[u8; 4], Vec<&'a [u8]>>,
    /// One bit for each pair of first bytes.
    starts: Vec<bool>,
    longest: usize,
    pub(super) found: BTreeSet<&'a [u8]>,
}

impl<'a> Strings<'a> {
    /// Each of four bytes or more.
    pub(super) fn new(strings: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut all = Self { by_start: HashMap::new(), starts: vec![false; 1 << 16], longest: 0, found: BTreeSet::new() };
        for string in strings {
            all.starts[usize::from(string[0]) << 8 | usize::from(string[1])] = true;
            all.by_start.entry(string[..4].try_into().unwrap()).or_default().push(string);
            all.longest = all.longest.max(string.len());
        }
        all
    }

    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    pub(super) fn search(&mut self, bytes: &[u8]) {
        for (at, pair) in bytes.windows(2).enumerate() {
            if !self.starts[usize::from(pair[0]) << 8 | usize::from(pair[1])] {
                continue;
            }
            let start = bytes[at..].first_chunk::<4>().and_then(|start| self.by_start.get(start));
            self.found.extend(start.into_iter().flatten().filter(|string| bytes[at..].starts_with(string)));
        }
    }
}

/// Every state that the file at `path` was ever asked to hold, in pieces of `size` that single writes filled.
pub(super) fn pieces(recording: &Recording, path: &str, size: usize) -> Vec<Vec<u8>> {
    let is_it = |event: &&Event| event.kind == Kind::File && event.bytes == path.as_bytes();
    let numbers: HashSet<u32> = recording.events.iter().filter(is_it).map(|event| event.file).collect();
    let written = recording.events.iter().filter(|event| event.kind == Kind::Write && numbers.contains(&event.file));
    written.flat_map(|event| event.bytes.chunks(size).map(<[u8]>::to_vec).collect::<Vec<_>>()).collect()
}

#[test]
fn a_ciphertext_and_a_string_are_found_where_two_writes_meet() {
    let event = |offset: u64, bytes: &[u8]| Event { kind: Kind::Write, flags: 0, file: 1, offset, bytes: bytes.to_vec() };
    let file = Event { kind: Kind::File, flags: 4, file: 1, offset: 0, bytes: b"data/db".to_vec() };
    let whole = [b"....PVW1\x01".as_slice(), &[7; 100], b"the canary"].concat();
    for cut in 1..whole.len() {
        for backwards in [false, true] {
            let mut writes = vec![event(0, &whole[..cut]), event(cut as u64, &whole[cut..])];
            if backwards {
                writes.reverse();
            }
            let recording = Recording::of(std::iter::once(file.clone()).chain(writes).collect());
            let mut strings = Strings::new([b"the canary".as_slice(), b"absent"]);
            let mut ciphertexts = Ciphertexts::default();
            stretches(
                &recording,
                LONGEST,
                |path| path.starts_with("data/"),
                |bytes| {
                    strings.search(bytes);
                    ciphertexts.gather(bytes);
                },
            );
            assert_eq!(strings.found.len(), 1, "{cut}");
            assert_eq!(ciphertexts.found.len(), 1, "{cut}");
        }
    }
}
