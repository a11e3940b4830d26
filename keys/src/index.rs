//! Keyed digests: what an alias, a token or a row reference looks like to somebody without the key.
//!
//! Each is HMAC-SHA-256 (RFC 2104) with a purpose in front, over parts of fixed width or with their length, so that no two
//! inputs meet. Without the key a digest confirms no guess; a dictionary of e-mail addresses is of no use against it.

use crate::context::Id;
use crate::digest::mac;
use crate::secret::Secret32;

/// The tag of an alias: `HMAC(index key of the kind, "pv1/alias" ‖ tenant 16 ‖ kind 1 ‖ normalised text)[0..24]`.
pub(crate) fn alias_tag(index_key: &Secret32, tenant: &Id, kind: u8, normalised: &str) -> [u8; 24] {
    first(&mac(index_key, &[b"pv1/alias", tenant, &[kind], normalised.as_bytes()]))
}

/// The tag of an alias from generation 1 on:
/// `HMAC(index key of the kind, "pv2/alias" ‖ tenant 16 ‖ kind 1 ‖ text digest 32)[0..24]`. With the digest, which is kept among the
/// subject's own sealed rows, a tag can be made under a new key without the text.
pub(crate) fn alias_tag_of_digest(index_key: &Secret32, tenant: &Id, kind: u8, digest: &[u8; 32]) -> [u8; 24] {
    first(&mac(index_key, &[b"pv2/alias", tenant, &[kind], digest]))
}

/// The text digest of an alias: `SHA-256("pv1/alias-text" ‖ normalised text)`. As confirmable as the text is guessable: it is kept
/// where the text could be.
pub(crate) fn alias_digest(normalised: &str) -> [u8; 32] {
    crate::digest::sha256(&[b"pv1/alias-text", normalised.as_bytes()])
}

/// The place of an alias in its tree: `HMAC(route key, "pv1/route" ‖ tag 24)[0..16]`.
pub(crate) fn route(route_key: &Secret32, tag: &[u8; 24]) -> [u8; 16] {
    first(&mac(route_key, &[b"pv1/route", tag]))
}

/// The same as the bits of a place.
pub(crate) fn alias_bits(route_key: &Secret32, tag: &[u8; 24]) -> u128 {
    u128::from_be_bytes(route(route_key, tag))
}

/// The digest under which a bearer token is kept: `HMAC(token key, "pv1/token" ‖ secret)`.
///
/// Fast on purpose: a token is 256 random bits, which nobody guesses, unlike a password.
pub(crate) fn token_digest(token_key: &Secret32, secret: &str) -> [u8; 32] {
    mac(token_key, &[b"pv1/token", secret.as_bytes()])
}

/// The same from generation 1 on: `HMAC(token key, "pv2/token" ‖ SHA-256("pv1/token-secret" ‖ secret))`. With the inner digest, of which
/// nobody comes to the 256 random bits, a token can be kept under a new key before its holder shows it again.
pub(crate) fn token_digest_of_inner(token_key: &Secret32, inner: &[u8; 32]) -> [u8; 32] {
    mac(token_key, &[b"pv2/token", inner])
}

/// The inner digest of a token's secret.
pub(crate) fn token_inner(secret: &str) -> [u8; 32] {
    crate::digest::sha256(&[b"pv1/token-secret", secret.as_bytes()])
}

/// The tag by which the trail knows a subject: `HMAC(tag key, "pv1/tag" ‖ tenant 16)[0..16]`.
pub(crate) fn subject_tag(tag_key: &Secret32, tenant: &Id) -> [u8; 16] {
    first(&mac(tag_key, &[b"pv1/tag", tenant]))
}

/// A digest for any other use: `HMAC(key, "pv1/prf" ‖ H(label) ‖ H(part) ‖ H(part) …)` with `H` = SHA-256.
pub(crate) fn keyed_digest(key: &Secret32, label: &str, parts: &[&[u8]]) -> [u8; 32] {
    named_digest(key, &named(label, parts))
}

/// What a keyed digest is of: `H(label) ‖ H(part) ‖ H(part) …`.
pub fn named(label: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut digests = Vec::with_capacity(32 * (parts.len() + 1));
    for part in std::iter::once(label.as_bytes()).chain(parts.iter().copied()) {
        digests.extend_from_slice(&crate::digest::sha256(&[part]));
    }
    digests
}

/// The keyed digest of what was [`named`].
pub(crate) fn named_digest(key: &Secret32, named: &[u8]) -> [u8; 32] {
    mac(key, &[b"pv1/prf", named])
}

fn first<const N: usize>(mac: &[u8; 32]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&mac[..N]);
    out
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn key(byte: u8) -> Secret32 {
        Secret32::from_slice(&[byte; 32]).unwrap()
    }

    #[test]
    fn an_alias_tag_depends_on_the_key_the_tenant_the_kind_and_the_text() {
        let tags = [
            alias_tag(&key(1), &[1; 16], 1, "ada@example.org"),
            alias_tag(&key(2), &[1; 16], 1, "ada@example.org"),
            alias_tag(&key(1), &[2; 16], 1, "ada@example.org"),
            alias_tag(&key(1), &[1; 16], 2, "ada@example.org"),
            alias_tag(&key(1), &[1; 16], 1, "ada@example.com"),
        ];
        assert_eq!(tags.iter().collect::<HashSet<_>>().len(), tags.len());
        assert_eq!(tags[0], alias_tag(&key(1), &[1; 16], 1, "ada@example.org"));
    }

    #[test]
    fn the_same_key_says_different_things_for_different_uses() {
        let key = key(3);
        let digests =
            [token_digest(&key, "x"), keyed_digest(&key, "x", &[]), keyed_digest(&key, "", &[b"x"]), mac(&key, &[b"x"])];
        assert_eq!(digests.iter().collect::<HashSet<_>>().len(), digests.len());
        assert_ne!(subject_tag(&key, &[1; 16]), subject_tag(&key, &[2; 16]));
        assert_ne!(route(&key, &[1; 24]), route(&key, &[2; 24]));
    }

    #[test]
    fn moving_a_letter_between_the_parts_of_a_keyed_digest_changes_it() {
        let key = key(4);
        let digests = [
            keyed_digest(&key, "ab", &[b"c"]),
            keyed_digest(&key, "a", &[b"bc"]),
            keyed_digest(&key, "a", &[b"b", b"c"]),
            keyed_digest(&key, "a", &[b"bc", b""]),
            keyed_digest(&key, "", &[b"abc"]),
        ];
        assert_eq!(digests.iter().collect::<HashSet<_>>().len(), digests.len());
    }
}
