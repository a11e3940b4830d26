//! `config.toml`: read, or refused with words.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oubliette::config::Config;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(refused) = Config::parse(text, std::iter::empty()) {
        assert!(!refused.to_string().is_empty());
    }
});
