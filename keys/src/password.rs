//! Verifiers for passwords of people who sign in: Argon2id (RFC 9106).

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};

use crate::error::KeysError;
use crate::random;

/// 19 MiB, 2 passes, 1 lane: the floor that OWASP's password storage cheat sheet gives for Argon2id, 38 ms on one core.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// A stored verifier may ask for this much and no more, so that a forged one cannot exhaust the machine.
const MOST_MEMORY_KIB: u32 = 256 * 1024;
const MOST_PASSES: u32 = 10;
const MOST_LANES: u32 = 8;

/// What to store for a password: `Argon2id(password, 16 random bytes; m = 19 MiB, t = 2, p = 1)` as a PHC text (RFC 9106).
///
/// Takes some 40 ms and 19 MiB: never on a thread that serves others.
///
/// # Errors
/// [`KeysError::Random`] when there is no salt to be had.
pub fn password_verifier(password: &[u8]) -> Result<Vec<u8>, KeysError> {
    let salt = random::bytes::<16>()?;
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(32)).map_err(|_| KeysError::Misuse("Argon2 parameters"))?;
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash: PasswordHash =
        argon.hash_password_with_salt(password, &salt).map_err(|_| KeysError::Misuse("password too long"))?;
    Ok(hash.to_string().into_bytes())
}

/// Whether the password is the one of the verifier. Bytes that are no verifier match nothing.
///
/// As slow as [`password_verifier`].
pub fn password_matches(verifier: &[u8], password: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(verifier) else { return false };
    let Ok(hash) = PasswordHash::new(text) else { return false };
    let Ok(params) = Params::try_from(&hash) else { return false };
    let within = hash.algorithm == argon2::ARGON2ID_IDENT
        && params.m_cost() <= MOST_MEMORY_KIB
        && params.t_cost() <= MOST_PASSES
        && params.p_cost() <= MOST_LANES;
    within && Argon2::default().verify_password(password, &hash).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::hex;

    #[test]
    fn argon2id_agrees_with_rfc_9106_section_5_3() {
        let params = argon2::ParamsBuilder::new()
            .m_cost(32)
            .t_cost(3)
            .p_cost(4)
            .output_len(32)
            .data(argon2::AssociatedData::new(&[4; 12]).unwrap())
            .build()
            .unwrap();
        let argon = Argon2::new_with_secret(&[3; 8], Algorithm::Argon2id, Version::V0x13, params).unwrap();
        let mut tag = [0; 32];
        argon.hash_password_into(&[1; 32], &[2; 16], &mut tag).unwrap();
        assert_eq!(tag[..], hex("0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"));
    }

    #[test]
    fn only_the_right_password_matches() {
        let verifier = password_verifier(b"correct horse").unwrap();
        assert!(verifier.starts_with(b"$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(password_matches(&verifier, b"correct horse"));
        assert!(!password_matches(&verifier, b"correct horsf"));
        assert!(!password_matches(&verifier, b""));
    }

    #[test]
    fn every_byte_of_a_password_counts_whatever_and_however_many_they_are() {
        let long = format!("{} \u{e9}\u{1f511}\t", "Ab1 ".repeat(64));
        let verifier = password_verifier(long.as_bytes()).unwrap();
        assert!(password_matches(&verifier, long.as_bytes()));
        for other in [long.trim_end().to_owned(), long.to_lowercase(), long.replace('\u{e9}', "e\u{301}"), long[..64].to_owned()]
        {
            assert!(!password_matches(&verifier, other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn two_verifiers_of_one_password_differ() {
        assert_ne!(password_verifier(b"same").unwrap(), password_verifier(b"same").unwrap());
    }

    #[test]
    fn a_verifier_that_asks_for_too_much_is_not_even_tried() {
        let verifier = |memory, passes, lanes| {
            let params = Params::new(memory, passes, lanes, Some(32)).unwrap();
            let hash: PasswordHash =
                Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_with_salt(b"p", &[5; 16]).unwrap();
            hash.to_string().into_bytes()
        };
        assert!(password_matches(&verifier(64, MOST_PASSES, MOST_LANES), b"p"));
        assert!(!password_matches(&verifier(MOST_MEMORY_KIB + 8, 1, 1), b"p"));
        assert!(!password_matches(&verifier(64, MOST_PASSES + 1, 1), b"p"));
        assert!(!password_matches(&verifier(128, 1, MOST_LANES + 1), b"p"));
    }

    #[test]
    fn a_forged_verifier_matches_nothing() {
        let verifier = String::from_utf8(password_verifier(b"p").unwrap()).unwrap();
        for forged in [
            verifier.replace("m=19456", "m=4194304"),
            verifier.replace("t=2", "t=4000000"),
            verifier.replace("argon2id", "argon2d"),
            verifier[..verifier.len() - 1].to_owned(),
            String::new(),
        ] {
            assert!(!password_matches(forged.as_bytes(), b"p"));
        }
        assert!(!password_matches(&[0xff, 0xfe], b"p"));
    }
}
