//! One-time codes of a second factor: TOTP (RFC 6238) with HMAC-SHA-256, six digits, a step of 30 seconds.

use zeroize::Zeroizing;

use crate::digest::{mac_with, same};
use crate::error::KeysError;
use crate::random;

/// Seconds that a code counts.
pub const STEP: u64 = 30;
/// Digits of a code.
pub const DIGITS: u32 = 6;

/// Steps before and after the current one whose codes are taken too, for clocks that are a little off.
const SLACK: u64 = 1;

/// A fresh shared secret of a factor: 256 random bits, as long as the hash (RFC 6238 §5.1).
///
/// # Errors
/// [`KeysError::Random`].
pub fn secret() -> Result<Zeroizing<[u8; 32]>, KeysError> {
    random::bytes::<32>().map(Zeroizing::new)
}

/// The step whose code this is: the current one or one beside it, and later than `last`, the step of the last code that was
/// taken, so that no code is taken twice. All candidates are compared, each in constant time.
pub fn step_of(secret: &[u8], code: &str, unix_seconds: u64, last: u64) -> Option<u64> {
    let now = unix_seconds / STEP;
    let mut found = None;
    for step in now.saturating_sub(SLACK)..=now + SLACK {
        let right = same(text(secret, step).as_bytes(), code.as_bytes());
        if right && step > last {
            found = Some(step);
        }
    }
    found
}

/// The code of the moment, as the person's own device shows it.
pub fn code(secret: &[u8], unix_seconds: u64) -> String {
    text(secret, unix_seconds / STEP)
}

fn text(secret: &[u8], step: u64) -> String {
    format!("{:0width$}", truncated(secret, step) % 10_u32.pow(DIGITS), width = DIGITS as usize)
}

/// Dynamic truncation (RFC 4226 §5.3): 31 bits from the place that the last nibble names.
fn truncated(secret: &[u8], step: u64) -> u32 {
    let mac = mac_with(secret, &[&step.to_be_bytes()]);
    let at = usize::from(mac[31] & 15);
    u32::from_be_bytes([mac[at] & 0x7f, mac[at + 1], mac[at + 2], mac[at + 3]])
}

/// The secret as authenticator apps take it: base32 (RFC 4648 §6) without padding.
pub fn base32(bytes: &[u8]) -> Zeroizing<String> {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = Zeroizing::new(String::with_capacity(bytes.len().div_ceil(5) * 8));
    for group in bytes.chunks(5) {
        let mut block = [0; 5];
        block[..group.len()].copy_from_slice(group);
        let bits = block.iter().fold(0_u64, |bits, byte| (bits << 8) | u64::from(*byte));
        for place in 0..(group.len() * 8).div_ceil(5) {
            text.push(char::from(ALPHABET[(bits >> (35 - 5 * place)) as usize & 31]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238 appendix B, the rows for SHA-256.
    const SEED: &[u8] = b"12345678901234567890123456789012";
    const VECTORS: [(u64, u32); 6] = [
        (59, 46_119_246),
        (1_111_111_109, 68_084_774),
        (1_111_111_111, 67_062_674),
        (1_234_567_890, 91_819_424),
        (2_000_000_000, 90_698_825),
        (20_000_000_000, 77_737_706),
    ];

    #[test]
    fn codes_agree_with_rfc_6238_appendix_b() {
        for (seconds, code) in VECTORS {
            assert_eq!(truncated(SEED, seconds / STEP) % 100_000_000, code);
            assert_eq!(super::code(SEED, seconds), format!("{:06}", code % 1_000_000));
        }
    }

    #[test]
    fn a_code_is_taken_in_its_step_and_the_ones_beside_it_and_once() {
        let code = super::code(SEED, 59);
        for (seconds, taken) in [(29, true), (59, true), (89, true), (90, false), (0, true), (1_000, false)] {
            assert_eq!(step_of(SEED, &code, seconds, 0), taken.then_some(1), "{seconds}");
        }
        assert_eq!(step_of(SEED, &code, 59, 1), None);
    }

    #[test]
    fn what_is_no_code_is_not_taken() {
        let code = super::code(SEED, 59);
        for wrong in ["", "0", &code[1..], &format!("{code}0"), &format!(" {}", &code[1..]), "119247"] {
            assert_eq!(step_of(SEED, wrong, 59, 0), None, "{wrong}");
        }
    }

    #[test]
    fn base32_agrees_with_rfc_4648_section_10() {
        for (bytes, text) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(*base32(bytes.as_bytes()), text);
        }
    }
}
