//! The parts of a bundle on their way into its file: cut into papers as they grow, so that never more than a few hundred kilobytes
//! of them are in memory.

use keys::digest::Running;

use crate::audit::manifest::PartDigest;
use crate::audit::view::hex;
use crate::audit::{Note, Outcome};
use crate::model::ids::PaperId;

use super::super::call::Refused;
use super::super::committer::{Change, Committer};
use super::super::core::{Core, Person};
use super::super::papers::{File, MOST, Paper};

/// What a bundle's papers are called.
pub(super) const KIND: &str = "bundle";

/// Papers that are kept together: about 350 KB.
const TOGETHER: usize = 64;

/// Names and media types of the parts, in the order of their numbers.
pub(super) const PARTS: [(&str, &str); 2] = [("data.json", "application/json"), ("copy.html", "text/html; charset=utf-8")];

/// The number of the data.
pub(super) const DATA: usize = 0;

/// The number of the copy for people.
pub(super) const COPY: usize = 1;

/// Where the head of a bundle lies in its file.
pub(super) const HEAD: PaperId = PaperId::from_bytes([0; 16]);

/// Where a piece of a part lies.
pub(super) fn place(part: usize, piece: u32) -> PaperId {
    let mut id = [0; 16];
    id[0] = part as u8 + 1;
    id[1..5].copy_from_slice(&piece.to_be_bytes());
    PaperId::from_bytes(id)
}

/// One part that is being written.
#[derive(Default)]
struct Part {
    buffer: Vec<u8>,
    hash: Running,
    bytes: u64,
    pieces: u32,
}

/// Writes the parts of one bundle.
pub(super) struct Writer<'a> {
    core: &'a Core,
    committer: &'a Committer,
    person: &'a Person,
    file: File,
    parts: [Part; PARTS.len()],
    change: Change,
}

impl<'a> Writer<'a> {
    /// Into a file that `begun` begins.
    pub(super) fn new(core: &'a Core, committer: &'a Committer, person: &'a Person, file: File, begun: Change) -> Self {
        Self { core, committer, person, file, parts: Default::default(), change: begun }
    }

    /// Adds to a part.
    pub(super) async fn put(&mut self, part: usize, text: &[u8]) -> Result<(), Refused> {
        self.parts[part].hash.update(text);
        self.parts[part].bytes += text.len() as u64;
        let mut rest = text;
        while !rest.is_empty() {
            let own = &mut self.parts[part];
            let (now, later) = rest.split_at(rest.len().min(MOST - own.buffer.len()));
            own.buffer.extend_from_slice(now);
            rest = later;
            if own.buffer.len() == MOST {
                self.cut(part)?;
            }
            if self.change.rows.len() >= TOGETHER {
                self.keep().await?;
            }
        }
        Ok(())
    }

    /// Ends the parts; `head` says, from what they came to, what the head of the bundle says. With it the bundle is there.
    pub(super) async fn finish(
        mut self,
        head: impl FnOnce(Vec<PartDigest>, Vec<u32>) -> Result<Vec<u8>, Refused>,
    ) -> Result<(), Refused> {
        for part in 0..PARTS.len() {
            if !self.parts[part].buffer.is_empty() {
                self.cut(part)?;
            }
        }
        let pieces = self.parts.iter().map(|part| part.pieces).collect();
        let digest = |((name, media), part): ((&str, &str), Part)| PartDigest {
            name: name.to_owned(),
            media: media.to_owned(),
            bytes: part.bytes,
            sha256: hex(&part.hash.finish()),
        };
        let digests = PARTS.into_iter().zip(std::mem::take(&mut self.parts)).map(digest).collect();
        let text = head(digests, pieces)?;
        self.paper(HEAD, 0, text)?;
        self.keep().await
    }

    fn cut(&mut self, part: usize) -> Result<(), Refused> {
        let own = &mut self.parts[part];
        let (piece, text) = (own.pieces, std::mem::replace(&mut own.buffer, Vec::with_capacity(MOST)));
        own.pieces += 1;
        self.paper(place(part, piece), piece, text)
    }

    fn paper(&mut self, id: PaperId, piece: u32, text: Vec<u8>) -> Result<(), Refused> {
        let paper = Paper { kind: KIND.to_owned(), at: self.core.clock.now().as_microsecond(), piece, text };
        self.file.put_as(id, &paper, &mut self.change)
    }

    /// Keeps what there is, if nothing of the person was destroyed since the bundle was begun.
    async fn keep(&mut self) -> Result<(), Refused> {
        let mut change = std::mem::take(&mut self.change);
        let mut entry = self.core.event("keepBundle", Outcome::Done, Note::None)?;
        entry.tag = Some(self.person.tag);
        change.entries.push(entry);
        change.guard(self.person);
        self.committer.commit(change).await
    }
}
