//! What is asked of a result and of the records of processing.

use std::str::FromStr;

use jiff::Timestamp;

/// A part of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The data, as JSON. Taking it takes the bundle.
    Data,
    /// The same for people, as a page.
    Copy,
    /// The digests of both, signed.
    Manifest,
}

impl FromStr for Part {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "data" => Ok(Self::Data),
            "copy" => Ok(Self::Copy),
            "manifest" => Ok(Self::Manifest),
            _ => Err(()),
        }
    }
}

/// What of the records of processing is to be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RopaAsked {
    /// Counts from then on; all of them unless told.
    pub from: Option<Timestamp>,
    /// Counts until then.
    pub until: Option<Timestamp>,
    /// As a table with commas between, not as JSON.
    pub table: bool,
}
