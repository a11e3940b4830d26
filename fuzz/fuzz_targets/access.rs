//! Access tokens and key sets of an issuer: whatever comes, nobody is let in without a signature.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oubliette::auth::jwt::{Expected, KeySet, key_id, verify};

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    if kind % 2 == 0 {
        let _ = KeySet::parse(bytes);
        return;
    }
    let Ok(token) = std::str::from_utf8(bytes) else { return };
    let _ = key_id(token);
    let keys = KeySet::parse(SET.as_bytes()).expect("a set of one key");
    let expected = Expected { issuer: "https://issuer.example".to_owned(), audience: "vault".to_owned() };
    assert!(verify(token, &keys, &expected, jiff::Timestamp::UNIX_EPOCH).is_none());
});

/// The public key of RFC 8037, appendix A.2, under the id that the tokens of the corpus name.
const SET: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"one","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
