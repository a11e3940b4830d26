//! The key hierarchy of Oubliette: the only crate that names crypto crates and sees key bytes.
//!
//! # What it is for
//!
//! After an erasure is sealed, nobody who holds every byte that the database ever wrote, every backup and the living keys can
//! read the person, find the person, or confirm a guess about the person. Removing rows does not do that: databases keep
//! removed bytes for long, and backups keep them for good. Destroying a key does, if no copy of it is left anywhere that
//! something living opens. So every key here is either kept in the one place that is truly overwritten, or wrapped under a key
//! for which the same holds.
//!
//! # The whole hierarchy
//!
//! ```text
//! root key            in a file, wrapped under a passphrase (Argon2id), a key in shares, of a token, KMS or transit  W1 kind 4
//!  └ epoch key        random; ONLY in the keyring, two slots that are overwritten in place                    W1 kind 7
//!     └ root node     the top keys of the four trees                                                          W1 kind 1
//!        └ interior nodes, 128-way, random child keys                                                         W1 kind 2
//!           └ buckets of at most 64 entries                                                                   W1 kind 3
//!              │
//!              ├ tree 0  subjects   entry = subject, class, generation, key
//!              │    ├ class 0       tag key ─┬─ tag in the trail = HMAC(tag key, tenant)
//!              │    │                        └─ the subject's own small rows                                  W1 kind 9
//!              │    └ class 1..=31  group key, one for each purpose group
//!              │         └ record key, random, wrapped once under EVERY group that may use the record         W1 kind 8
//!              │              └ one key for each version of the record, derived with a fresh salt             R1
//!              │                   └ fields, each decrypted on its own
//!              │
//!              ├ tree 1  aliases    entry = HMAC(index key of the kind, text), subject; place = HMAC(route key, that)
//!              ├ tree 3  the same   for index keys of odd generations
//!              │
//!              └ tree 2  system     index keys · route key · token key · row key and statistics key (rows of the vault, W1 kind 5) ·
//!                                         trail seed; each in one generation, or in two while it turns over
//! ```
//!
//! # The rules
//!
//! 1. **Random, never derived from what lives on.** What must be destroyed comes from the operating system's generator
//!    ([`random`]) and from nothing else. Derived are only keys that die with their parent: the one-use keys of W1 and R1.
//! 2. **A stale wrap opens as long as the key above it lives.** So destroying a key re-keys every node on the way up to the
//!    epoch key, and overwriting the old epoch key in its slot is the moment of erasure.
//! 3. **One message, one key.** A fresh hedged salt gives every wrap and every record version a cipher key of its own, so no
//!    nonce is ever used twice and no message count is ever near a limit.
//! 4. **Committed first.** Each of these keys has a stored 32-byte commitment that is compared, in constant time, before the
//!    cipher runs.
//! 5. **Everything bound.** What a wrap or record is, and whose, is in the key and in the associated data. Bytes that are moved
//!    do not open.
//! 6. **One error.** What does not open is [`KeysError::Damaged`], whatever the cause.
//! 7. **No plaintext without a permit.** [`RecordKey::decrypt`] takes a [`Permit`], which only the [`Gate`] of the same
//!    hierarchy makes, and goes through the key of the permit's purpose group. Where that key is destroyed, no decision, right
//!    or wrong, brings the record back.
//! 8. **Nothing leaks by accident.** Secrets have no `Debug`, `Display` or `Clone`, and are wiped on drop. This crate does not
//!    depend on a serialiser, and nobody outside it can implement one for its types.
//!
//! Each parent key is used with HMAC under several purposes. They never meet, because every input starts with its own text
//! ("pv1/W1", "pv1/R1", "pv1/hedge", "pv1/tag" and so on; the second block of HKDF-Expand starts with the secret output of the
//! first).
//!
//! # Where to read
//!
//! | file | what |
//! |---|---|
//! | `random`, `digest`, `secret` | the ground: generator, hashes, secrets in memory |
//! | `aead` | the cipher, and how every one-use key is made |
//! | [`wrap`] | W1: wrapped keys and small sealed rows |
//! | `context`, `record` | R1: what a record is bound to, and its fields |
//! | `permit` | the proof of a decision |
//! | `subject` | the keys of one person |
//! | `alias`, `index`, `password`, [`totp`], `sign` | keyed digests; Argon2id verifiers; one-time codes; Ed25519 |
//! | [`root`], `strict` | the root key's file and who holds it, over the network too; files that are their owner's alone |
//! | [`keyring`], `assurance` | the two slots that are overwritten, in each place; what that is worth on this file system |
//! | [`enclosure`] | what encloses a place from outside, such as a token with a key for each epoch |
//! | `place`, `node`, `bucket`, `tree` | the trees: where a row lies, what is in it, the way down, splits |
//! | `hierarchy`, `opened`, `system` | the open vault; what is kept in memory, and how readers pass a change; its own keys |
//! | `staging` | additions |
//! | `transition` | destruction: the path rule, the three steps |
//! | `walk` | going through the trees, to turn over every key of them |
//! | `refused` | what must not compile, beside what must |

mod aead;
mod alias;
mod assurance;
#[cfg(feature = "attacker")]
pub mod attacker;
mod bucket;
mod context;
pub mod digest;
pub mod enclosure;
mod error;
mod hierarchy;
mod index;
pub mod keyring;
mod node;
mod opened;
mod password;
mod permit;
mod place;
pub mod random;
mod record;
#[cfg(doctest)]
mod refused;
pub mod root;
mod rows;
pub mod secret;
pub mod sign;
mod staging;
mod strict;
mod subject;
mod system;
pub mod totp;
mod transition;
mod tree;
#[cfg(test)]
mod vectors;
mod walk;
pub mod wrap;

pub use alias::Alias;
pub use assurance::Assurance;
pub use context::{Group, GroupSet, Id, RecordContext};
pub use error::{KeysError, Obstacle, RowsError, ShareFault};
pub use hierarchy::Hierarchy;
pub use index::named;
pub use keyring::{Keyring, PlaceState, Places, Spot, Standing, WhenAway};
pub use permit::{Gate, Permit};
pub use record::{ENVELOPE_OVERHEAD, FIELD_OVERHEAD, RecordKey, envelope_fields, envelope_version};
pub use root::RootKey;
pub use rows::{RowWrite, Rows};
pub use staging::{Inserts, NewSubject, Staged};
pub use subject::{SubjectKeys, Wraps};
pub use system::{Generation, SystemKey, Turn};
pub use transition::{Sealed, Shred, Successor, Transition};
pub use walk::{Leaf, Walked};
pub use wrap::KeyId;

#[cfg(test)]
mod dependencies {
    #[test]
    fn no_serialiser_is_among_the_dependencies() {
        let manifest = include_str!("../Cargo.toml");
        let (_, dependencies) = manifest.split_once("[dependencies]").unwrap();
        let (dependencies, _) = dependencies.split_once("[dev-dependencies]").unwrap();
        for serialiser in ["serde", "minicbor", "postcard", "bincode", "borsh", "rkyv"] {
            assert!(!dependencies.contains(serialiser), "{serialiser}");
        }
    }
}
