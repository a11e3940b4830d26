//! The root key under shares of several people (Shamir, "How to share a secret", 1979): any `threshold` of them open it together, fewer learn nothing.
//!
//! ```text
//!   0  8  "PVROOTS1"    8  2  version = 1    10  1  threshold    11  1  shares    12 16  vault    28 16  deal
//!  44 32 × shares  of each share, in order: SHA-256("pv1/share" ‖ its bytes 1..68)
//! ```
//!
//! A share is 72 bytes, written in hexadecimal digits with a hyphen after every eight; spaces and hyphens do not count when it is read:
//!
//! ```text
//!   0  1  version = 1    1 16  vault    17 16  deal    33  1  threshold    34  1  shares    35  1  number, from 1
//!  36 32  value          68  4  the first bytes of SHA-256 of bytes 0..68
//! ```
//!
//! Every deal splits a fresh random key, never one that was split before, so shares of two deals never meet. What the file keeps of each
//! share is a hash over 32 random bytes: it tells a wrong share from a right one, and nothing else.

use blahaj::Sharks;
use rand_core::{TryCryptoRng, TryRng};
use zeroize::Zeroizing;

use super::{Custody, Provider, RootFile, Way};
use crate::context::Id;
use crate::digest;
use crate::error::{KeysError, ShareFault};
use crate::random;
use crate::secret::{ExposeSecret, Secret32, SecretString};

pub(super) const MAGIC: &[u8; 8] = b"PVROOTS1";
const VERSION: u16 = 1;
const FIXED: usize = 44;
/// The most shares of one vault.
pub const MOST_SHARES: u8 = 16;

const SHARE_VERSION: u8 = 1;
/// Bytes of a share before its checksum: version, vault, deal, threshold, shares, number, value.
const CHECKED: usize = 1 + 16 + 16 + 3 + 32;
const SHARE: usize = CHECKED + 4;

/// What the description of a file says: how many shares there are, how many open it, and what each of them hashes to.
pub(super) struct Deal {
    deal: Id,
    threshold: u8,
    hashes: Vec<[u8; 32]>,
}

/// One person's share. It has no Debug, Display, Clone or Serialize.
pub struct Share(Zeroizing<[u8; CHECKED]>);

impl Share {
    /// Which of the shares it is, from 1.
    pub fn number(&self) -> u8 {
        self.0[35]
    }

    /// The deal that it is of.
    pub fn deal(&self) -> &[u8] {
        &self.0[17..33]
    }

    fn hash(&self) -> [u8; 32] {
        digest::sha256(&[b"pv1/share", &self.0[1..]])
    }

    /// Reads the text of a share.
    ///
    /// # Errors
    /// [`ShareFault::Damaged`] when it is not one, whole.
    fn read(text: &SecretString) -> Result<Self, KeysError> {
        let damaged = KeysError::Share(ShareFault::Damaged);
        let mut bytes = Zeroizing::new([0_u8; SHARE]);
        let mut digits = 0;
        for character in text.expose_secret().chars().filter(|c| *c != '-' && !c.is_whitespace()) {
            let (Some(digit), Some(place)) = (character.to_digit(16), bytes.get_mut(digits / 2)) else { return Err(damaged) };
            *place = (*place << 4) | digit as u8;
            digits += 1;
        }
        let (checked, sum) = bytes.split_at(CHECKED);
        if digits != SHARE * 2 || checked[0] != SHARE_VERSION || !digest::same(&digest::sha256(&[checked])[..4], sum) {
            return Err(damaged);
        }
        let mut share = Self(Zeroizing::new([0; CHECKED]));
        share.0.copy_from_slice(checked);
        Ok(share)
    }

    fn text(&self) -> SecretString {
        let sum = digest::sha256(&[&self.0[..]]);
        let mut text = String::with_capacity(SHARE * 2 + SHARE / 4);
        for (place, byte) in self.0.iter().chain(&sum[..4]).enumerate() {
            if place > 0 && place % 4 == 0 {
                text.push('-');
            }
            for digit in [byte >> 4, byte & 15] {
                text.extend(char::from_digit(u32::from(digit), 16));
            }
        }
        text.into()
    }
}

impl RootFile {
    /// How many shares open this file, and how many there are; none when it is held in another way.
    pub fn shares(&self) -> Option<(u8, u8)> {
        match &self.way {
            Way::Shares(deal) => Some((deal.threshold, deal.hashes.len() as u8)),
            _ => None,
        }
    }

    /// Reads one share and compares it with this file, before any other is there.
    ///
    /// # Errors
    /// [`KeysError::Share`] with what is wrong with it, [`KeysError::OtherCustody`] when the file knows no shares.
    pub fn share(&self, text: &SecretString) -> Result<Share, KeysError> {
        let Way::Shares(deal) = &self.way else { return Err(KeysError::OtherCustody(self.provider())) };
        let share = Share::read(text)?;
        if share.0[1..17] != self.vault {
            return Err(KeysError::Share(ShareFault::Foreign));
        }
        if share.0[17..33] != deal.deal {
            return Err(KeysError::Share(ShareFault::Old));
        }
        let known = usize::from(share.number()).checked_sub(1).and_then(|place| deal.hashes.get(place));
        if !known.is_some_and(|hash| digest::same(hash, &share.hash())) {
            return Err(KeysError::Share(ShareFault::Wrong));
        }
        Ok(share)
    }
}

/// The key that shares were made of, or that they were put together to.
pub struct Shares {
    vault: Id,
    deal: Id,
    threshold: u8,
    hashes: Vec<[u8; 32]>,
    key: Secret32,
}

impl Shares {
    /// Splits a fresh key into `shares` shares, of which `threshold` open. Their texts are in order; nothing else ever holds them.
    ///
    /// # Errors
    /// [`KeysError::Misuse`] unless 2 ≤ threshold ≤ shares ≤ [`MOST_SHARES`], [`KeysError::Random`].
    pub fn deal(vault: Id, threshold: u8, shares: u8) -> Result<(Self, Vec<SecretString>), KeysError> {
        if threshold < 2 || threshold > shares || shares > MOST_SHARES {
            return Err(KeysError::Misuse("shares are 2-of-2 to 16-of-16"));
        }
        let (deal, key) = (random::bytes::<16>()?, Secret32::random()?);
        let mut generator = Generator { failed: false };
        let dealt: Vec<_> = Sharks(threshold)
            .dealer_rng(key.bytes(), &mut generator)
            .take(usize::from(shares))
            .map(|dealt| share_of(&vault, &deal, (threshold, shares), &dealt))
            .collect();
        if generator.failed {
            return Err(KeysError::Random);
        }
        let hashes = dealt.iter().map(Share::hash).collect();
        Ok((Self { vault, deal, threshold, hashes, key }, dealt.iter().map(Share::text).collect()))
    }

    /// Puts shares together that [`RootFile::share`] found to be of this file.
    ///
    /// # Errors
    /// [`ShareFault::Repeated`], [`ShareFault::TooFew`].
    pub fn combine(file: &RootFile, shares: &[Share]) -> Result<Self, KeysError> {
        let Way::Shares(Deal { deal, threshold, hashes }) = &file.way else {
            return Err(KeysError::OtherCustody(file.provider()));
        };
        let mut numbers: Vec<u8> = shares.iter().map(Share::number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        if numbers.len() != shares.len() {
            return Err(KeysError::Share(ShareFault::Repeated));
        }
        if shares.len() < usize::from(*threshold) {
            return Err(KeysError::Share(ShareFault::TooFew));
        }
        let parts = shares.iter().map(|share| blahaj::Share::try_from(&share.0[35..]).map_err(|_| KeysError::Damaged));
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        let plain = Zeroizing::new(Sharks(*threshold).recover(&parts).map_err(|_| KeysError::Share(ShareFault::TooFew))?);
        let key = Secret32::from_slice(&plain)?;
        Ok(Self { vault: file.vault, deal: *deal, threshold: *threshold, hashes: hashes.clone(), key })
    }
}

impl Custody for Shares {
    fn provider(&self) -> Provider {
        Provider::Shares
    }

    fn lock(&self, vault: Id) -> Result<(Vec<u8>, Secret32), KeysError> {
        if vault != self.vault {
            return Err(KeysError::Share(ShareFault::Foreign));
        }
        let mut bytes = Vec::with_capacity(FIXED + 32 * self.hashes.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        bytes.extend_from_slice(&[self.threshold, self.hashes.len() as u8]);
        bytes.extend_from_slice(&vault);
        bytes.extend_from_slice(&self.deal);
        self.hashes.iter().for_each(|hash| bytes.extend_from_slice(hash));
        Ok((bytes, self.key.duplicate()))
    }

    fn unlock(&self, file: &RootFile) -> Result<Secret32, KeysError> {
        match &file.way {
            Way::Shares(deal) if deal.deal == self.deal => Ok(self.key.duplicate()),
            Way::Shares(_) => Err(KeysError::Share(ShareFault::Old)),
            _ => Err(KeysError::OtherCustody(file.provider())),
        }
    }
}

/// Reads the description of such a file.
pub(super) fn parse(bytes: &[u8]) -> Result<(Id, Way), KeysError> {
    let (fixed, hashes) = bytes.split_first_chunk::<FIXED>().ok_or(KeysError::Damaged)?;
    let [_, _, _, _, _, _, _, _, v0, v1, threshold, shares, ids @ ..] = *fixed;
    let fits = (2..=shares).contains(&threshold) && shares <= MOST_SHARES && hashes.len() == 32 * usize::from(shares);
    if u16::from_be_bytes([v0, v1]) != VERSION || !fits {
        return Err(KeysError::Damaged);
    }
    let (mut vault, mut deal) = ([0; 16], [0; 16]);
    vault.copy_from_slice(&ids[..16]);
    deal.copy_from_slice(&ids[16..]);
    let hashes = hashes.as_chunks::<32>().0.to_vec();
    Ok((vault, Way::Shares(Deal { deal, threshold, hashes })))
}

fn share_of(vault: &Id, deal: &Id, (threshold, shares): (u8, u8), dealt: &blahaj::Share) -> Share {
    let value = Zeroizing::new(Vec::from(dealt)); // its number, then 32 bytes
    let mut bytes = Zeroizing::new([0; CHECKED]);
    bytes[0] = SHARE_VERSION;
    bytes[1..17].copy_from_slice(vault);
    bytes[17..33].copy_from_slice(deal);
    (bytes[33], bytes[34]) = (threshold, shares);
    bytes[35..].copy_from_slice(&value);
    Share(bytes)
}

/// The operating system's generator, as the shares' crate wants it. A failure is remembered, since that crate knows none.
struct Generator {
    failed: bool,
}

impl TryRng for Generator {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.failed |= random::fill(bytes).is_err();
        Ok(())
    }
}

impl TryCryptoRng for Generator {}

#[cfg(test)]
mod tests;
