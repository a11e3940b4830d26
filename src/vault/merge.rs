//! JSON Merge Patch (RFC 7396) inside of one field's value. Members that the patch does not name keep their text as it was
//! written, to the last digit.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// `old` with `patch` merged into it; both are JSON text, and `patch` was read before.
pub(super) fn merged(old: Option<&str>, patch: &str) -> Result<String, serde_json::Error> {
    if !patch.starts_with('{') {
        return Ok(patch.to_owned());
    }
    let mut members: BTreeMap<String, Box<RawValue>> = match old.filter(|old| old.starts_with('{')) {
        Some(old) => serde_json::from_str(old)?,
        None => BTreeMap::new(),
    };
    for (name, value) in serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(patch)? {
        if value.get() == "null" {
            members.remove(&name);
        } else {
            let new = merged(members.get(&name).map(|old| old.get()), value.get())?;
            members.insert(name, RawValue::from_string(new)?);
        }
    }
    serde_json::to_string(&members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_standard_come_out_as_it_says() {
        // RFC 7396, appendix A, as far as a field can hold them.
        for (old, patch, result) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
            (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
            (r#"{"a":"foo"}"#, r#""bar""#, r#""bar""#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"a":1,"e":null}"#),
            ("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
            ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ] {
            assert_eq!(merged(Some(old), patch).unwrap(), result, "{old} {patch}");
        }
        assert_eq!(merged(None, r#"{"a":null,"b":{"c":null}}"#).unwrap(), r#"{"b":{}}"#);
    }

    #[test]
    fn what_the_patch_does_not_name_keeps_every_digit() {
        let old = r#"{"n":12345678901234567890.10,"o":{"z":1,"a":1e2}}"#;
        assert_eq!(merged(Some(old), r#"{"m":1}"#).unwrap(), r#"{"m":1,"n":12345678901234567890.10,"o":{"z":1,"a":1e2}}"#);
    }
}
