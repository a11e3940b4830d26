//! The way out of the house: letters to people and messages to partners, by SMTP, by an application's own sender, or into a
//! folder.
//!
//! It is handed an address and a text at the moment when they go out and keeps neither; what it answers names the step that
//! failed, never a value.

pub mod http;
mod letter;
mod maildir;
mod smtp;
mod webhook;

use std::path::PathBuf;
use std::time::Duration;

pub use letter::Letter;
pub use smtp::{Security, SmtpSettings};

/// How messages leave; what `[post]` of config.toml says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// By which way letters leave; by none unless told, and then they wait.
    pub way: Option<Way>,
    /// The address that letters come from; the privacy officer's unless told.
    pub from: Option<String>,
    /// Authorities in PEM that may vouch for the other side; the system's unless told.
    pub authorities: Option<PathBuf>,
    /// The longest that one message may take.
    pub patience: Duration,
}

/// A way for letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// To a mail server.
    Smtp(SmtpSettings),
    /// To an application's own sender, at an `https` address.
    Webhook(String),
    /// Into a maildir, for a demo and for tests.
    Maildir(PathBuf),
}

impl Default for Settings {
    fn default() -> Self {
        Self { way: None, from: None, authorities: None, patience: Duration::from_secs(10) }
    }
}

/// Why a message did not go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// There is no way out: none is configured, or its files cannot be read or written.
    #[error("no way out is ready")]
    NoSender,
    /// The address is none that could be sent to.
    #[error("the address cannot be used")]
    Address,
    /// The other side is not there, or not who it should be.
    #[error("the other side cannot be reached")]
    Unreachable,
    /// The other side asks to come again.
    #[error("the other side asks for another try")]
    Later,
    /// The other side will never take it.
    #[error("the other side refused it for good")]
    Refused,
}

/// Signs bytes with the vault's key (Ed25519).
pub type Sign<'a> = &'a dyn Fn(&[u8]) -> [u8; 64];

/// What sends. It holds no connection between two messages.
#[derive(Debug)]
pub struct Post {
    settings: Settings,
}

impl Post {
    /// What these settings describe. Files are read when something is sent, so that they can be renewed meanwhile.
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// Whether letters have a way out.
    pub fn is_ready(&self) -> bool {
        self.settings.way.is_some()
    }

    /// Sends a letter. It waits: call it from a thread that may.
    pub fn letter(&self, letter: &Letter<'_>, sign: Sign<'_>) -> Result<(), Failed> {
        match &self.settings.way {
            None => Err(Failed::NoSender),
            Some(Way::Smtp(settings)) => self.by_smtp(settings, letter),
            Some(Way::Webhook(url)) => self.by_webhook(url, letter, sign),
            Some(Way::Maildir(folder)) => self.to_maildir(folder, letter),
        }
    }
}
