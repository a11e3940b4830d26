//! The trail: what the vault decided and did, in an order that cannot be changed unnoticed.
//!
//! - `entry` and `codec`: what an entry says, and its one canonical encoding.
//! - `segment`: the files that entries are framed into. `open` and `scan`: what is recovered, and what is refused,
//!   at start.
//! - `merkle` and `tiles`: the RFC 6962 tree over the entries, kept in the shape of C2SP tlog-tiles.
//! - `trail`: appending. `flow`: one sync for many waiters, and the [`Receipt`] that proves it. `keeper`: what is
//!   done behind the requests: zeros ahead, tiles, checkpoints. `read`: entries, checkpoints and proofs for others.
//! - `view` and `ocsf`: an entry as others read it.
//! - `note`, `checkpoint`, `proof`, `certificate`, `receipt`, `manifest`: what is signed, and how anybody checks it offline.
//! - `signers`: whose signatures count, and how one key of a vault follows another.
//! - `verify` and `rows`: the walk over everything, and over the rows that the trail says must be there.
//!
//! Formats: docs/FORMAT.md. Why segments of our own: docs/adr/0002-trail-segments.md.

pub mod certificate;
pub mod checkpoint;
pub mod codec;
pub mod disk;
pub mod entry;
mod flow;
mod keeper;
pub mod manifest;
pub mod merkle;
pub mod note;
pub mod ocsf;
mod open;
pub mod proof;
mod read;
pub mod receipt;
mod rows;
mod scan;
pub mod segment;
pub mod signers;
mod tiles;
mod trail;
pub mod verify;
pub mod view;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::io;

pub use disk::{Disk, Faults};
pub use entry::{Entry, Note, Obligations, Outcome, row_hash};
pub use flow::{Mode, Receipt, Ticket};
pub use open::{Findings, LostTail, TornTail};
pub use signers::{PublicKeys, Trusted};
pub use trail::{Signer, Trail};
pub use verify::{Break, Report, verify};
pub use view::EventView;

/// Why the trail did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum TrailError {
    /// The operating system refused a step.
    #[error("could not {step}: {source}")]
    Io {
        /// What was being done.
        step: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// The trail was changed or damaged at an entry that was durable; nothing is opened.
    #[error("the trail is broken at entry {index}: {what}")]
    Broken {
        /// The first entry that is not as it was.
        index: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The trail belongs to another vault or key.
    #[error("the trail's checkpoints are not of this vault")]
    Foreign,
    /// Another process has the trail open.
    #[error("the trail is in use by another process")]
    InUse,
    /// The disk has no room. Nothing of the entries is there, and the trail goes on once there is room.
    #[error("the disk has no room for the trail")]
    Full,
    /// An earlier write or sync failed; nothing is taken any more.
    #[error("an earlier write or sync of the trail failed")]
    Poisoned,
    /// The trail was closed.
    #[error("the trail is closed")]
    Closed,
    /// The entry has no canonical form: too long, or a name with characters that names do not have.
    #[error(transparent)]
    Entry(#[from] codec::BadEntry),
    /// There is no such entry, size or tile, or it is not durable yet.
    #[error("not in the durable trail")]
    OutOfRange,
    /// A tile's file is not a tile. It is made again from the entries when the trail is opened.
    #[error("tile {index} of level {level} is damaged")]
    DamagedTile {
        /// Level.
        level: u32,
        /// Index.
        index: u64,
    },
    /// Nobody can sign at the moment, and no earlier checkpoint covers this.
    #[error("the vault is sealed, so that no checkpoint can be signed")]
    NoSigner,
}

impl TrailError {
    fn at(step: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { step, source }
    }

    fn broken(index: u64, what: &'static str) -> Self {
        Self::Broken { index, what }
    }
}
