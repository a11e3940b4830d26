//! The vault's own keys: map 2, one bucket, made with the vault.
//!
//! ```text
//! plaintext: count 2 | entries { use 2 | made in epoch 8 | key 32 }, sorted by use
//! use: 1..=8 index key of an alias kind | 16 route key | 17 token key | 18 row key | 19 seed of the trail's signing key |
//!      20 statistics key
//! ```
//!
//! They are random, under no root key's derivation, so a rotation of the root key leaves every tag, digest and signature as it is.

use crate::bucket::{Bucket, Entry};
use crate::error::KeysError;
use crate::secret::Secret32;
use crate::sign::Signer;

/// Alias kinds that have an index key of their own.
pub(crate) const ALIAS_KINDS: u16 = 8;
const ROUTE: u16 = 16;
const TOKEN: u16 = 17;
const ROW: u16 = 18;
const SEED: u16 = 19;
const STATISTICS: u16 = 20;

pub(crate) struct SystemEntry {
    usage: u16,
    made: u64,
    key: Secret32,
}

impl Entry for SystemEntry {
    const SIZE: usize = 42;
    type Order = u16;

    fn read(bytes: &[u8]) -> Result<Self, KeysError> {
        let (usage, rest) = bytes.split_first_chunk::<2>().ok_or(KeysError::Damaged)?;
        let (made, key) = rest.split_first_chunk::<8>().ok_or(KeysError::Damaged)?;
        Ok(Self { usage: u16::from_be_bytes(*usage), made: u64::from_be_bytes(*made), key: Secret32::from_slice(key)? })
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.usage.to_be_bytes());
        out.extend_from_slice(&self.made.to_be_bytes());
        out.extend_from_slice(self.key.bytes());
    }

    fn order(&self) -> u16 {
        self.usage
    }
}

/// The vault's own keys, opened.
pub(crate) struct System {
    index: Vec<Secret32>,
    /// Decides where in its tree an alias lies.
    pub(crate) route: Secret32,
    /// Under which bearer tokens are kept.
    pub(crate) token: Secret32,
    /// Of the vault's own rows.
    pub(crate) row: Secret32,
    /// Of the statistics, which no person's row and no other row of the vault is sealed under.
    pub(crate) statistics: Secret32,
    /// Of the trail.
    pub(crate) signer: Signer,
}

impl System {
    /// Fresh random keys, as a bucket to be written.
    pub(crate) fn fresh(epoch: u64) -> Result<Bucket<SystemEntry>, KeysError> {
        let mut bucket = Bucket::empty();
        for usage in (1..=ALIAS_KINDS).chain([ROUTE, TOKEN, ROW, SEED, STATISTICS]) {
            bucket.insert(SystemEntry { usage, made: epoch, key: Secret32::random()? });
        }
        Ok(bucket)
    }

    /// The keys that a bucket holds. All of them must be there.
    pub(crate) fn open(bucket: &Bucket<SystemEntry>) -> Result<Self, KeysError> {
        let key = |usage: u16| {
            let entry = bucket.entries().iter().find(|entry| entry.usage == usage);
            entry.map(|entry| entry.key.duplicate()).ok_or(KeysError::Damaged)
        };
        Ok(Self {
            index: (1..=ALIAS_KINDS).map(key).collect::<Result<_, _>>()?,
            route: key(ROUTE)?,
            token: key(TOKEN)?,
            row: key(ROW)?,
            statistics: key(STATISTICS)?,
            signer: Signer::from_seed(&key(SEED)?),
        })
    }

    /// The index key of an alias kind. A kind beyond the eighth shares one; its tags still differ, because the kind is in the tag.
    pub(crate) fn index(&self, kind: u8) -> &Secret32 {
        &self.index[usize::from(kind.wrapping_sub(1)) % self.index.len()]
    }
}
