//! Letters to an application's own sender: a signed JSON POST.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde::Serialize;

use super::{Failed, Letter, Post, Sign};

/// What the signature is over, before the letter in canonical JSON.
const LETTER: &[u8] = b"oubliette-letter/v1\n";

#[derive(Serialize)]
struct Body<'a> {
    letter: LetterBody<'a>,
    /// Ed25519 over [`LETTER`] and the letter in canonical JSON (RFC 8785), in base64.
    signature: String,
}

#[derive(Serialize)]
struct LetterBody<'a> {
    /// The notice; a second POST of the same one is the same letter.
    notice: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    to: &'a str,
    language: &'a str,
    title: &'a str,
    text: &'a str,
    at: Timestamp,
}

impl Post {
    /// Posts a letter. What the other side answers decides: 2xx is taken; 408, 425, 429, 401, 403 and 5xx are tried again; all else
    /// is for good.
    pub(super) fn by_webhook(&self, url: &str, letter: &Letter<'_>, sign: Sign<'_>) -> Result<(), Failed> {
        let own = LetterBody {
            notice: &letter.id,
            subject: letter.subject_id.as_deref(),
            to: letter.to,
            language: letter.language,
            title: letter.title,
            text: letter.text,
            at: letter.at,
        };
        let text = serde_json_canonicalizer::to_vec(&own).map_err(|_| Failed::Address)?;
        let signature = BASE64_STANDARD.encode(sign(&[LETTER, &text].concat()));
        let body = serde_json::to_vec(&Body { letter: own, signature }).map_err(|_| Failed::Address)?;
        match self.post(url, "application/json", &body) {
            Ok(200..=299) => Ok(()),
            Ok(401 | 403 | 408 | 425 | 429 | 500..) => Err(Failed::Later),
            Ok(_) => Err(Failed::Refused),
            // The address is the vault's own setting, not the person's.
            Err(Failed::Address) => Err(Failed::NoSender),
            Err(failed) => Err(failed),
        }
    }
}
