//! What the vault says and takes before anybody's call is looked at: TLS, the heads of requests, the headers of every answer.

mod headers;
mod heads;
mod scan;

/// What a page may do unless it says otherwise.
pub(crate) const NOTHING_ELSE: &str =
    "default-src 'none'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
