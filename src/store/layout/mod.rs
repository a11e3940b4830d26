//! Every row key and every stored value that is not ciphertext, byte by byte.
//!
//! ```text
//! row             key, and its length                                        value
//! meta            'm' | what u8                                          2   plain, see Meta
//! tree            'n' | map u8 | level u8 | index u32                    7   W1 of the keys (PVW1), kinds 1 to 3
//! subject         's' | subject 16                                      17   W1 kind 5 or 9: the subject's state
//! record          'r' | subject 16 | record 16                          33   OBR1, see record
//! overflow        'v' | subject 16 | record 16 | version u64 | chunk u16  43   a piece of an envelope, at most 5,900 B
//! contract        'c' | subject 16 | digest of the reference 16         33   W1 kind 5 or 9
//! restriction     'l' | subject 16 | restriction 16                     33   W1 kind 9: what it is and its steps
//! request         'q' | request 16                                      17   W1 kind 5; in it W1 kind 9 of what it says
//! consent         'g' | subject 16 | consent 16                         33   W1 kind 5 or 9, never overwritten
//! tombstone       'x' | digest of the subject 16                        17   W1 kind 5
//! erasure         'e' | erasure 16                                      17   W1 kind 5
//! caller          'k' | caller 16                                       17   W1 kind 5
//! token           't' | digest of the secret 32                         33   W1 kind 5
//! factor          'f' | caller 16                                       17   W1 kind 5
//! statistic       'y' | tenant 16 | measure u16 | day u32 | digest 16   39   W1 kind 5 under the statistics key
//! idempotency     'i' | digest of caller and key 16                     17   W1 kind 5
//! sweep           'h'                                                    1   W1 kind 5
//! job             'J' | job 16                                              17   W1 kind 5
//! succession      'K' | number u32                                      5   a signed note, see audit/signers
//! mark            'j'                                                    1   OBJ1, see mark
//! ```
//!
//! Numbers are big-endian, so that the order of keys is the order of numbers. All rows of a subject start with the
//! letter and its 16 bytes: they are removed by five prefixes.

mod key;
mod mark;
mod record;

pub use key::{Meta, PolicyPart, RowKey, prefix};
pub use mark::{CommitMark, FORMAT};
pub use record::{CHUNK, Envelope, GROUPS, RecordHead, RecordRow, WRAP, Wrap, join, keys_of, split, with_wraps};

/// Whether writing this row serves forgetting: a tombstone, an erasure, or the root of the key tree, which closes an
/// epoch.
pub(crate) fn serves_forgetting(key: &[u8]) -> bool {
    matches!(key.first(), Some(b'x' | b'e')) || key.starts_with(b"n\xff")
}
