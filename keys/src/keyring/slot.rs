//! A slot, and its two forms: the plain one of a keyring in one file, and the one that says which places there are.

use crate::assurance::Assurance;
use crate::context::Id;
use crate::digest;
use crate::error::KeysError;
use crate::random;
use crate::secret::Secret32;
use crate::wrap::{self, KeyId, kind};

use super::{Listed, MOST_PLACES, SLOT, Standing};
use crate::enclosure::MOST_ENCLOSED;

const PLAIN: &[u8; 8] = b"PVEPOCH1";
const LISTING: &[u8; 8] = b"PVEPOCH2";
const WRAPPED: usize = 32 + wrap::OVERHEAD;
const CHECKED: usize = SLOT - 32;
const HEAD: usize = 204;
const NAME: usize = 24;
const ENTRY: usize = NAME + 1 + 1 + 8 + 8;

/// What a slot holds. The epoch key in it is wrapped.
#[derive(Clone, PartialEq, Eq)]
pub struct Slot {
    /// The epoch whose key this is.
    pub epoch: u64,
    /// Grows with every write of a slot, so the newest of two copies is known. Places that are in step have the same.
    pub sequence: u64,
    /// The vault this belongs to.
    pub vault: Id,
    /// The number of entries in the trail at the last checkpoint.
    pub trail_size: u64,
    /// The root hash of the trail at the last checkpoint.
    pub trail_head: [u8; 32],
    wrapped: [u8; WRAPPED],
    listing: Option<Listing>,
}

/// What the second form says beside the first.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) places: Vec<Listed>,
    /// What the enclosure gave; nothing in a plain place.
    pub(super) enclosed: Vec<u8>,
}

/// Reads a slot: `None` when it is free, torn or damaged, which look the same.
pub fn parse_slot(bytes: &[u8]) -> Option<Slot> {
    let bytes: &[u8; SLOT] = bytes.try_into().ok()?;
    let (checked, sum) = bytes.split_at(CHECKED);
    let listing = match checked.first_chunk::<8>()? {
        PLAIN => None,
        LISTING => Some(()),
        _ => return None,
    };
    if !digest::same(&digest::sha256(&[checked]), sum) {
        return None;
    }
    let listing = match listing {
        Some(()) => Some(Listing::parse(checked.get(HEAD..)?)?),
        None => None,
    };
    Some(Slot {
        epoch: u64::from_be_bytes(part(bytes, 8)?),
        sequence: u64::from_be_bytes(part(bytes, 16)?),
        vault: part(bytes, 24)?,
        wrapped: part(bytes, 40)?,
        trail_size: u64::from_be_bytes(part(bytes, 164)?),
        trail_head: part(bytes, 172)?,
        listing,
    })
}

fn part<const N: usize>(bytes: &[u8], from: usize) -> Option<[u8; N]> {
    bytes.get(from..from.checked_add(N)?)?.try_into().ok()
}

impl Slot {
    /// Wraps an epoch key for a slot.
    pub(super) fn seal(
        parent: &Secret32,
        vault: Id,
        (epoch, key): (u64, &Secret32),
        sequence: u64,
        (trail_size, trail_head): (u64, [u8; 32]),
        listing: Option<Listing>,
    ) -> Result<Self, KeysError> {
        let mut slot = Self { epoch, sequence, vault, trail_size, trail_head, wrapped: [0; WRAPPED], listing };
        let bytes = wrap::wrap(parent, &key_id(epoch), &vault, &slot.ext(), key.bytes())?;
        slot.wrapped = bytes.as_slice().try_into().map_err(|_| KeysError::Damaged)?;
        Ok(slot)
    }

    /// Opens the epoch key, which also proves that what stands beside it was written by this vault.
    pub(crate) fn open(&self, parent: &Secret32) -> Result<Secret32, KeysError> {
        let plain = wrap::unwrap_with(parent, &key_id(self.epoch), &self.vault, &self.ext(), &self.wrapped)?;
        Secret32::from_slice(plain.bytes())
    }

    /// What the enclosure of its place gave; empty in a plain place.
    pub fn enclosed(&self) -> &[u8] {
        self.listing.as_ref().map_or(&[], |listing| &listing.enclosed)
    }

    /// The places of the keyring when this was written, the past ones too. Nothing is proven before the slot is opened.
    pub fn places(&self) -> Vec<Listed> {
        self.listing.as_ref().map_or_else(|| vec![Listed::first()], |listing| listing.places.clone())
    }

    pub(super) fn encode(&self) -> Result<[u8; SLOT], KeysError> {
        let mut bytes = random::bytes::<SLOT>()?;
        bytes[..8].copy_from_slice(if self.listing.is_some() { LISTING } else { PLAIN });
        bytes[8..16].copy_from_slice(&self.epoch.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[24..40].copy_from_slice(&self.vault);
        bytes[40..164].copy_from_slice(&self.wrapped);
        bytes[164..172].copy_from_slice(&self.trail_size.to_be_bytes());
        bytes[172..HEAD].copy_from_slice(&self.trail_head);
        if let Some(listing) = &self.listing {
            let listing = listing.encode();
            let place = bytes.get_mut(HEAD..HEAD + listing.len()).filter(|_| HEAD + listing.len() <= CHECKED);
            place.ok_or(KeysError::Full("the places of a slot"))?.copy_from_slice(&listing);
        }
        let sum = digest::sha256(&[&bytes[..CHECKED]]);
        bytes[CHECKED..].copy_from_slice(&sum);
        Ok(bytes)
    }

    fn ext(&self) -> Vec<u8> {
        let mut ext = Vec::with_capacity(80);
        ext.extend_from_slice(&self.sequence.to_be_bytes());
        ext.extend_from_slice(&self.trail_size.to_be_bytes());
        ext.extend_from_slice(&self.trail_head);
        if let Some(listing) = &self.listing {
            ext.extend_from_slice(&digest::sha256(&[&listing.encode()]));
        }
        ext
    }
}

const fn key_id(epoch: u64) -> KeyId {
    KeyId { kind: kind::EPOCH_KEY, map: 0, level: 0, index: 0, epoch }
}

impl Listing {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (&count, rest) = bytes.split_first()?;
        if !(1..=MOST_PLACES).contains(&usize::from(count)) {
            return None;
        }
        let (entries, rest) = rest.split_at_checked(usize::from(count) * ENTRY)?;
        let places = entries.chunks_exact(ENTRY).map(parse_entry).collect::<Option<Vec<_>>>()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length));
        if length > MOST_ENCLOSED {
            return None;
        }
        Some(Self { places, enclosed: rest.get(..length)?.to_vec() })
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.places.len() as u8];
        for place in &self.places {
            let mut name = [0; NAME];
            name[..place.name.len().min(NAME)].copy_from_slice(&place.name.as_bytes()[..place.name.len().min(NAME)]);
            bytes.extend_from_slice(&name);
            bytes.extend_from_slice(&[standing_code(place.standing), assurance_code(place.assurance)]);
            bytes.extend_from_slice(&place.since.to_be_bytes());
            bytes.extend_from_slice(&place.until.to_be_bytes());
        }
        bytes.extend_from_slice(&(self.enclosed.len() as u16).to_be_bytes());
        bytes.extend_from_slice(&self.enclosed);
        bytes
    }
}

fn parse_entry(bytes: &[u8]) -> Option<Listed> {
    let name = bytes.get(..NAME)?;
    let name = std::str::from_utf8(name).ok()?.trim_end_matches('\0');
    Some(Listed {
        name: super::is_name(name).then(|| name.to_owned())?,
        standing: match bytes.get(NAME)? {
            0 => Standing::InStep,
            1 => Standing::Removed,
            2 => Standing::GivenUp,
            _ => return None,
        },
        assurance: match bytes.get(NAME + 1)? {
            0 => Assurance::BestEffort,
            1 => Assurance::File,
            2 => Assurance::Kms,
            3 => Assurance::Hardware,
            _ => return None,
        },
        since: u64::from_be_bytes(part(bytes, NAME + 2)?),
        until: u64::from_be_bytes(part(bytes, NAME + 10)?),
    })
}

/// A place that is away now is still one of the living.
const fn standing_code(standing: Standing) -> u8 {
    match standing {
        Standing::InStep | Standing::Away => 0,
        Standing::Removed => 1,
        Standing::GivenUp => 2,
    }
}

const fn assurance_code(assurance: Assurance) -> u8 {
    match assurance {
        Assurance::BestEffort => 0,
        Assurance::File => 1,
        Assurance::Kms => 2,
        Assurance::Hardware => 3,
    }
}
