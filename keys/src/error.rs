//! What can go wrong in this crate. An error names the step, never a value.

use std::io;

use crate::root::{Provider, calendar, token_without_key};

/// Why a key operation failed.
///
/// Everything that does not open is `Damaged`, whatever the cause: a flipped bit, a swapped row, a wrong key. Telling these apart
/// would answer questions that only a forger asks.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The key that this needs no longer exists, and no other way to the plaintext does.
    #[error("the key was destroyed")]
    Destroyed,
    /// Stored bytes do not open: damaged, moved from elsewhere, or never ours.
    #[error("stored bytes do not open")]
    Damaged,
    /// The passphrase does not open the root key; the file itself is well formed.
    #[error("wrong passphrase")]
    WrongPassphrase,
    /// The root key is held by another provider than the one that was asked.
    #[error("the root key is held in another way: {0}")]
    OtherCustody(Provider),
    /// A share of the root key is not one that helps.
    #[error("{0}")]
    Share(ShareFault),
    /// The token refuses the PIN; what it holds is untouched.
    #[error("the token refuses the PIN")]
    WrongPin,
    /// The token that holds the root key cannot be used, or has not what the root key needs.
    #[error("PKCS#11 token: {0}")]
    Token(&'static str),
    /// What holds the root key over the network does not do what was asked.
    #[error("{0}: {2}{doomed}", doomed = .1.date())]
    Holder(Provider, Obstacle, &'static str),
    /// The permit is for another hierarchy, subject, group or field.
    #[error("the permit does not cover this")]
    NotPermitted,
    /// The operating system's random generator failed; nothing was written.
    #[error("the random generator of the operating system failed")]
    Random,
    /// A place of fixed size has no room left.
    #[error("no room left: {0}")]
    Full(&'static str),
    /// The call breaks a rule of its own interface, such as field numbers that do not increase.
    #[error("wrong call: {0}")]
    Misuse(&'static str),
    /// A file or directory of keys may be read or changed by others.
    #[error("open to others: {0}")]
    TooOpen(&'static str),
    /// Another process holds the keyring.
    #[error("the keyring is in use by another process")]
    Locked,
    /// No slot of the keyring holds the key of the epoch that the database is in: one of the two was rolled back or lost.
    #[error("the keyring holds no key for the epoch of the database: one of them was rolled back, replaced or lost")]
    RolledBack,
    /// A place of the keyring cannot be used now, and what it holds could not be destroyed.
    #[error("the place `{place}` of the keyring is away: {why}")]
    Away {
        /// What it is called.
        place: String,
        /// What stands in the way.
        why: String,
    },
    /// The places of the keyring are not those that it was written in, or not such as can be used together.
    #[error("the places of the keyring: {0}")]
    Places(String),
    /// A stored parameter is weaker than what is ever written.
    #[error("too weak: {0}")]
    Weak(&'static str),
    /// The keyring could not be read or written.
    #[error("keyring: {0}")]
    Keyring(&'static str, #[source] io::Error),
    /// The file of the root key could not be read or written.
    #[error("root key file: {0}")]
    Root(&'static str, #[source] io::Error),
    /// The store behind the tree rows failed.
    #[error("tree rows: {0}")]
    Rows(#[from] RowsError),
}

/// What stands between the vault and whoever holds its root key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// Nobody answers, or they are too busy. It may pass by itself.
    Away,
    /// The credentials, or the rights that go with them, are not taken.
    Refused,
    /// The key was turned off. Whoever did that can turn it on.
    Disabled,
    /// The key is to be deleted at this second since 1970, where that is known, and opens nothing unless that is taken back.
    Doomed(Option<i64>),
    /// There is no such key any more, or there never was.
    Gone,
    /// The settings or the answers make no sense.
    Unusable,
}

impl Obstacle {
    /// The word for it in answers.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Away => "away",
            Self::Refused => "refused",
            Self::Disabled => "disabled",
            Self::Doomed(_) => "pending-deletion",
            Self::Gone => "gone",
            Self::Unusable => "unusable",
        }
    }

    /// Whether somebody decided that the key opens nothing now.
    pub const fn is_decided(self) -> bool {
        matches!(self, Self::Disabled | Self::Doomed(_) | Self::Gone)
    }

    /// When the key is really gone, for the end of a sentence.
    fn date(&self) -> String {
        match self {
            Self::Doomed(Some(seconds)) => format!("; it is gone for good on {}", calendar::day(*seconds)),
            _ => String::new(),
        }
    }
}

impl KeysError {
    /// What it says of whoever holds the root key; none when it says nothing of them.
    pub fn obstacle(&self) -> Option<Obstacle> {
        match self {
            Self::Holder(_, obstacle, _) => Some(*obstacle),
            Self::WrongPin => Some(Obstacle::Refused),
            Self::Token(step) if token_without_key(step) => Some(Obstacle::Gone),
            Self::Token(_) => Some(Obstacle::Away),
            _ => None,
        }
    }
}

/// What is wrong with a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShareFault {
    /// It is no share, or was miscopied: its checksum does not hold.
    #[error("this is no share, or it was miscopied: its checksum does not hold")]
    Damaged,
    /// It belongs to another vault.
    #[error("this share belongs to another vault")]
    Foreign,
    /// It is of an earlier deal; new shares have taken its place.
    #[error("this share is of an earlier deal: new shares have taken its place")]
    Old,
    /// It names this vault and deal but was never dealt.
    #[error("this share was changed: it is not the one that was dealt")]
    Wrong,
    /// The same share was given before.
    #[error("this share was given already")]
    Repeated,
    /// More shares are needed.
    #[error("too few shares")]
    TooFew,
}

impl ShareFault {
    /// The word for it in answers.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Damaged => "damaged",
            Self::Foreign => "foreign",
            Self::Old => "old",
            Self::Wrong => "wrong",
            Self::Repeated => "repeated",
            Self::TooFew => "too-few",
        }
    }
}

/// The store could not give a row; names the failed step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RowsError(pub &'static str);
