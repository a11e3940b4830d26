//! Values that must turn up nowhere, in every form that bytes are likely to take.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};

use crate::house::files;

/// A value to look for.
pub(crate) struct Canary {
    name: String,
    forms: Vec<Vec<u8>>,
}

impl Canary {
    /// The forms of a text: as it is, in UTF-16, hexadecimal, percent-coded, JSON-escaped, and in base64 at each offset.
    pub(crate) fn of(text: &str) -> Self {
        let bytes = text.as_bytes();
        let hex = |digits: fn(&u8) -> String| bytes.iter().map(digits).collect::<String>().into_bytes();
        let mut forms = vec![
            bytes.to_vec(),
            text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            hex(|byte| format!("{byte:02x}")),
            hex(|byte| format!("{byte:02X}")),
            hex(|byte| format!("%{byte:02X}")),
            text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect::<String>().into_bytes(),
            format!("{bytes:?}").trim_matches(['[', ']']).as_bytes().to_vec(),
            serde_json::to_vec(text).unwrap()[1..].split_last().unwrap().1.to_vec(),
            text.to_lowercase().into_bytes(),
            text.to_uppercase().into_bytes(),
        ];
        // Base64 of a text inside of another: the letters that do not depend on its neighbours.
        for offset in 0..3 {
            let padded = [&[0; 2][..offset], bytes].concat();
            let whole = padded.len() / 3 * 4;
            let first = (offset * 8).div_ceil(6);
            for engine in [BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD] {
                forms.push(engine.encode(&padded).as_bytes()[first..whole].to_vec());
            }
        }
        forms.sort();
        forms.dedup();
        Self { name: text.to_owned(), forms }
    }

    /// Whether any form of it stands in these bytes.
    pub(crate) fn is_in(&self, bytes: &[u8]) -> bool {
        self.forms.iter().any(|form| contains(bytes, form))
    }
}

/// Fails, with the place, if one of the canaries stands in these bytes.
#[track_caller]
pub(crate) fn absent(canaries: &[Canary], place: &str, bytes: &[u8]) {
    for canary in canaries {
        assert!(!canary.is_in(bytes), "{} stands in {place}", canary.name);
    }
}

/// Fails if one of the canaries stands in a file under `dir`, or in its name.
#[track_caller]
pub(crate) fn absent_under(canaries: &[Canary], dir: &Path) {
    let all = files(dir);
    assert!(!all.is_empty());
    for file in all {
        let place = file.display().to_string();
        absent(canaries, &place, place.as_bytes());
        absent(canaries, &place, &std::fs::read(&file).unwrap());
    }
}

pub(crate) fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    let Some((&first, rest)) = wanted.split_first() else { return true };
    let mut at = 0;
    while let Some(next) = bytes[at..].iter().position(|&byte| byte == first) {
        at += next + 1;
        if bytes[at..].starts_with(rest) {
            return true;
        }
    }
    false
}

#[test]
fn a_canary_is_found_in_each_of_its_forms() {
    let canary = Canary::of("Zoë Canary-7");
    let inside = BASE64_STANDARD_NO_PAD.encode("xZoë Canary-7y");
    for found in [
        "..Zoë Canary-7",
        "5A6FC3AB2043616E6172792D37",
        "\\u005a\\u006f\\u00eb\\u0020\\u0043\\u0061\\u006e\\u0061\\u0072\\u0079\\u002d\\u0037",
        &inside,
    ] {
        assert!(canary.is_in(found.as_bytes()), "{found}");
    }
    assert!(!canary.is_in(b"Zoe Canary-8"));
}
