//! The vault's own keys: map 2, one bucket, made with the vault and turned over since.
//!
//! ```text
//! plaintext: count 2 | entries { use 2 | generation 4 | made in epoch 8 | key 32 }, sorted by use and generation
//! use: 1..=8 index key of an alias kind | 16 route key | 17 token key | 18 row key | 19 seed of the trail's signing key |
//!      20 statistics key | 21 public half of a signing key that has a successor
//! before generations: entries { use 2 | made in epoch 8 | key 32 }, each of generation 0; read, never written
//! ```
//!
//! They are random, under no root key's derivation, so a rotation of the root key leaves every tag, digest and signature as it is.
//!
//! **Turning over.** A key gets a generation beside the one it has ([`Turn::Begin`]); from then on the newer one makes, and both find and open.
//! Once nothing is left that only the older one finds or opens, it is destroyed ([`Turn::End`]), in a transition like any other.

use crate::bucket::{Bucket, Entry};
use crate::context::Id;
use crate::error::KeysError;
use crate::index;
use crate::secret::Secret32;
use crate::sign::Signer;

/// Alias kinds that have an index key of their own.
pub(crate) const ALIAS_KINDS: u16 = 8;
const ROUTE: u16 = 16;
const TOKEN: u16 = 17;
const ROW: u16 = 18;
const SEED: u16 = 19;
const STATISTICS: u16 = 20;
const FORMER: u16 = 21;

/// A key of the vault's own that turns over by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SystemKey {
    /// The index keys of all alias kinds, and the route key.
    Index,
    /// Under which bearer tokens are kept.
    Token,
    /// Of the vault's own rows, and of the digests that name some of them.
    Row,
    /// Of the statistics.
    Statistics,
    /// Of the trail.
    Signing,
}

impl SystemKey {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Index, Self::Token, Self::Row, Self::Statistics, Self::Signing];

    fn uses(self) -> &'static [u16] {
        match self {
            Self::Index => &[1, 2, 3, 4, 5, 6, 7, 8, ROUTE],
            Self::Token => &[TOKEN],
            Self::Row => &[ROW],
            Self::Statistics => &[STATISTICS],
            Self::Signing => &[SEED],
        }
    }
}

/// A half of turning a key over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// A new generation beside the one there is. Where there are two already, nothing.
    Begin,
    /// Every generation but the newest is destroyed. Where there is one, nothing.
    End,
}

/// A living generation of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generation {
    /// Which key.
    pub key: SystemKey,
    /// Counts from 0, the one that the vault was made with.
    pub number: u32,
    /// The epoch in which it was made.
    pub made: u64,
    /// Whether new things are made under it; if not, it opens and finds until it is destroyed.
    pub is_newest: bool,
}

pub(crate) struct SystemEntry {
    usage: u16,
    generation: u32,
    made: u64,
    key: Secret32,
}

impl Entry for SystemEntry {
    const SIZE: usize = 46;
    const EARLIER: usize = 42;
    type Order = (u16, u32);

    fn read(bytes: &[u8]) -> Result<Self, KeysError> {
        let (usage, rest) = bytes.split_first_chunk::<2>().ok_or(KeysError::Damaged)?;
        let (generation, rest) = match bytes.len() {
            Self::EARLIER => (0, rest),
            _ => {
                let (generation, rest) = rest.split_first_chunk::<4>().ok_or(KeysError::Damaged)?;
                (u32::from_be_bytes(*generation), rest)
            }
        };
        let (made, key) = rest.split_first_chunk::<8>().ok_or(KeysError::Damaged)?;
        let (usage, made) = (u16::from_be_bytes(*usage), u64::from_be_bytes(*made));
        Ok(Self { usage, generation, made, key: Secret32::from_slice(key)? })
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.usage.to_be_bytes());
        out.extend_from_slice(&self.generation.to_be_bytes());
        out.extend_from_slice(&self.made.to_be_bytes());
        out.extend_from_slice(self.key.bytes());
    }

    fn order(&self) -> Self::Order {
        (self.usage, self.generation)
    }
}

/// One use's key in one generation.
pub(crate) struct Aged {
    pub(crate) generation: u32,
    made: u64,
    pub(crate) key: Secret32,
}

/// The index and route keys of one generation.
pub(crate) struct IndexKeys {
    pub(crate) generation: u32,
    made: u64,
    index: Vec<Secret32>,
    /// Decides where in its tree an alias lies.
    pub(crate) route: Secret32,
}

impl IndexKeys {
    /// The index key of an alias kind. A kind beyond the eighth shares one; its tags still differ, because the kind is in the tag.
    fn of(&self, kind: u8) -> &Secret32 {
        &self.index[usize::from(kind.wrapping_sub(1)) % self.index.len()]
    }

    /// Generation 0 reads the text, every later one its digest, so that a tag can be made anew where the text is not known.
    pub(crate) fn tag(&self, tenant: &Id, kind: u8, digest: &[u8; 32]) -> [u8; 24] {
        index::alias_tag_of_digest(self.of(kind), tenant, kind, digest)
    }

    /// The tag in generation 0.
    pub(crate) fn tag_of_text(&self, tenant: &Id, kind: u8, normalised: &str) -> [u8; 24] {
        index::alias_tag(self.of(kind), tenant, kind, normalised)
    }
}

/// The vault's own keys, opened. Each list has the newest generation first, and is never empty.
pub(crate) struct System {
    pub(crate) index: Vec<IndexKeys>,
    /// Under which bearer tokens are kept.
    pub(crate) token: Vec<Aged>,
    /// Of the vault's own rows.
    pub(crate) row: Vec<Aged>,
    /// Of the statistics, which no person's row and no other row of the vault is sealed under.
    pub(crate) statistics: Vec<Aged>,
    seeds: Vec<(u32, u64)>,
    /// Of the trail: the newest.
    pub(crate) signer: Signer,
    /// Public halves of the signing keys that have a successor, oldest first.
    pub(crate) former: Vec<(u32, [u8; 32])>,
}

impl System {
    /// Fresh random keys, as a bucket to be written.
    pub(crate) fn fresh(epoch: u64) -> Result<Bucket<SystemEntry>, KeysError> {
        let mut bucket = Bucket::empty();
        for usage in SystemKey::ALL.into_iter().flat_map(SystemKey::uses) {
            bucket.insert(SystemEntry { usage: *usage, generation: 0, made: epoch, key: Secret32::random()? });
        }
        Ok(bucket)
    }

    /// The keys that a bucket holds. All of them must be there.
    pub(crate) fn open(bucket: &Bucket<SystemEntry>) -> Result<Self, KeysError> {
        let entries = |usage: u16| bucket.entries().iter().rev().filter(move |entry| entry.usage == usage);
        let aged = |usage: u16| {
            let of = |entry: &SystemEntry| Aged { generation: entry.generation, made: entry.made, key: entry.key.duplicate() };
            let all: Vec<_> = entries(usage).map(of).collect();
            if all.is_empty() { Err(KeysError::Damaged) } else { Ok(all) }
        };
        let index = |route: Aged| {
            let key = |usage: u16| {
                let entry = entries(usage).find(|entry| entry.generation == route.generation).ok_or(KeysError::Damaged)?;
                Ok(entry.key.duplicate())
            };
            let index = (1..=ALIAS_KINDS).map(key).collect::<Result<_, KeysError>>()?;
            Ok(IndexKeys { generation: route.generation, made: route.made, index, route: route.key })
        };
        let seeds = aged(SEED)?;
        let signer = seeds.first().map(|seed| Signer::from_seed(&seed.key)).ok_or(KeysError::Damaged)?;
        let mut former: Vec<_> = entries(FORMER).map(|entry| (entry.generation, *entry.key.bytes())).collect();
        former.reverse();
        Ok(Self {
            index: aged(ROUTE)?.into_iter().map(index).collect::<Result<_, KeysError>>()?,
            token: aged(TOKEN)?,
            row: aged(ROW)?,
            statistics: aged(STATISTICS)?,
            seeds: seeds.iter().map(|seed| (seed.generation, seed.made)).collect(),
            signer,
            former,
        })
    }

    /// Every living generation, the newest of a key first.
    pub(crate) fn generations(&self) -> Vec<Generation> {
        let aged = |aged: &[Aged]| aged.iter().map(|key| (key.generation, key.made)).collect();
        let mut all = Vec::new();
        for key in SystemKey::ALL {
            let living: Vec<(u32, u64)> = match key {
                SystemKey::Index => self.index.iter().map(|keys| (keys.generation, keys.made)).collect(),
                SystemKey::Token => aged(&self.token),
                SystemKey::Row => aged(&self.row),
                SystemKey::Statistics => aged(&self.statistics),
                SystemKey::Signing => self.seeds.clone(),
            };
            let of = |(place, (number, made))| Generation { key, number, made, is_newest: place == 0 };
            all.extend(living.into_iter().enumerate().map(of));
        }
        all
    }
}

/// Turns a key over in its bucket; whether anything changed.
pub(crate) fn turn(bucket: &mut Bucket<SystemEntry>, key: SystemKey, turn: Turn, epoch: u64) -> Result<bool, KeysError> {
    let mut changed = false;
    for usage in key.uses() {
        let living: Vec<u32> =
            bucket.entries().iter().filter(|entry| entry.usage == *usage).map(|entry| entry.generation).collect();
        let newest = *living.last().ok_or(KeysError::Damaged)?;
        match (turn, living.len()) {
            (Turn::Begin, 1) => {
                let generation = newest.checked_add(1).ok_or(KeysError::Full("generations of a key"))?;
                bucket.insert(SystemEntry { usage: *usage, generation, made: epoch, key: Secret32::random()? });
                changed = true;
            }
            (Turn::End, 2..) => {
                bucket.retain(|entry| entry.usage != *usage || entry.generation == newest);
                changed = true;
            }
            _ => {}
        }
    }
    if changed && key == SystemKey::Signing && turn == Turn::Begin {
        leave_public_half(bucket)?;
    }
    if !bucket.fits_a_row() {
        return Err(KeysError::Full("the bucket of the vault's own keys"));
    }
    Ok(changed)
}

/// What verifies old signatures stays when what made them goes.
fn leave_public_half(bucket: &mut Bucket<SystemEntry>) -> Result<(), KeysError> {
    let mut seeds = bucket.entries().iter().rev().filter(|entry| entry.usage == SEED).skip(1);
    let Some(former) = seeds.next() else { return Ok(()) };
    let key = Secret32::from_slice(&Signer::from_seed(&former.key).public_key())?;
    let entry = SystemEntry { usage: FORMER, generation: former.generation, made: former.made, key };
    bucket.insert(entry);
    Ok(())
}

/// The public halves of every seed that a bucket holds: what an adversary who opened it signs as.
#[cfg(test)]
pub(crate) fn signers_of(bucket: &Bucket<SystemEntry>) -> Vec<[u8; 32]> {
    let seeds = bucket.entries().iter().filter(|entry| entry.usage == SEED);
    seeds.map(|seed| Signer::from_seed(&seed.key).public_key()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_from_before_generations_opens_as_generation_0() {
        let bucket = System::fresh(7).unwrap();
        let mut plain = (bucket.entries().len() as u16).to_be_bytes().to_vec();
        for entry in bucket.entries() {
            plain.extend(entry.usage.to_be_bytes());
            plain.extend(entry.made.to_be_bytes());
            plain.extend(entry.key.bytes());
        }
        assert_eq!(plain.len(), 2 + 13 * 42);
        let mut old = Bucket::<SystemEntry>::parse(&plain).unwrap();
        let (before, after) = (System::open(&bucket).unwrap(), System::open(&old).unwrap());
        assert_eq!(before.signer.public_key(), after.signer.public_key());
        assert_eq!(before.generations(), after.generations());
        assert!(after.generations().iter().all(|generation| generation.number == 0 && generation.made == 7));
        // Written again, it has the new form.
        assert!(turn(&mut old, SystemKey::Row, Turn::Begin, 8).unwrap());
        let written = old.encode().unwrap();
        assert_eq!(written.len(), 2 + 14 * 46);
        let again = System::open(&Bucket::parse(&written).unwrap()).unwrap();
        assert_eq!(again.row.iter().map(|key| (key.generation, key.made)).collect::<Vec<_>>(), [(1, 8), (0, 7)]);
        assert_eq!(again.row[1].key.bytes(), before.row[0].key.bytes());
    }

    #[test]
    fn a_key_has_two_generations_at_the_most_and_the_signing_key_leaves_its_public_half() {
        let mut bucket = System::fresh(1).unwrap();
        let first = System::open(&bucket).unwrap().signer.public_key();
        for key in SystemKey::ALL {
            assert!(!turn(&mut bucket, key, Turn::End, 2).unwrap());
            assert!(turn(&mut bucket, key, Turn::Begin, 2).unwrap());
            assert!(!turn(&mut bucket, key, Turn::Begin, 3).unwrap());
        }
        let both = System::open(&bucket).unwrap();
        assert_eq!(both.generations().len(), 10);
        assert_eq!(both.former, [(0, first)]);
        assert_ne!(both.signer.public_key(), first);
        for key in SystemKey::ALL {
            assert!(turn(&mut bucket, key, Turn::End, 4).unwrap());
        }
        let one = System::open(&bucket).unwrap();
        assert!(one.generations().iter().all(|generation| generation.number == 1 && generation.is_newest));
        assert_eq!((one.former.len(), one.signer.public_key()), (1, both.signer.public_key()));
    }

    #[test]
    fn the_bucket_has_room_for_many_signing_keys_and_says_when_it_has_no_more() {
        let mut bucket = System::fresh(1).unwrap();
        let mut turns = 0;
        while turn(&mut bucket, SystemKey::Signing, Turn::Begin, 2).is_ok() {
            turn(&mut bucket, SystemKey::Signing, Turn::End, 3).unwrap();
            turns += 1;
        }
        assert!(turns > 100, "{turns}");
    }
}
