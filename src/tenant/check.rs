//! Whether a value fits its field. What is wrong with it is never said, so no value is ever echoed.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::civil::Date;
use serde_json::value::RawValue;

use super::normalise;
use crate::model::code::Code;
use crate::model::field::{Field, Kind};

impl Field {
    /// Whether `value` has this field's kind and size; otherwise `field-value-invalid`. Null fits no field.
    pub fn check(&self, value: &RawValue) -> Result<(), Code> {
        let json = value.get();
        let fits = json.len() <= self.max_bytes
            && match self.kind {
                Kind::Text => is_text(json),
                Kind::Secret => is_text(json) && json != "\"\"",
                Kind::Email => text(json).is_some_and(|text| normalise::email(&text).is_ok()),
                Kind::Phone => text(json).is_some_and(|text| normalise::is_phone(&text)),
                Kind::Date => text(json).is_some_and(|text| is_date(&text)),
                Kind::Object => self.is_object(json),
                Kind::List => json.starts_with('['),
                Kind::Blob => text(json).is_some_and(|text| is_base64(&text)),
                Kind::FreeText => is_text(json) || serde_json::from_str::<Vec<Cow<'_, str>>>(json).is_ok(),
            };
        if fits { Ok(()) } else { Err(Code::FieldValueInvalid) }
    }

    /// An object whose members are among those of the catalogue, each once.
    fn is_object(&self, json: &str) -> bool {
        if !json.starts_with('{') {
            return false;
        }
        if self.members.is_empty() {
            return true;
        }
        let Ok(members) = serde_json::from_str::<BTreeMap<String, &RawValue>>(json) else {
            return false;
        };
        // A member named twice would be seen as one by some readers and as the other by others.
        let named = members.len();
        let all_known = members.keys().all(|name| self.members.contains(name));
        all_known && named == members_written(json)
    }
}

/// Members of a JSON object as they stand there, those named twice counted twice.
fn members_written(json: &str) -> usize {
    struct Count(usize);
    impl<'de> serde::Deserialize<'de> for Count {
        fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
            struct Members;
            impl<'de> serde::de::Visitor<'de> for Members {
                type Value = Count;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Count, A::Error> {
                    let mut count = 0;
                    while map.next_entry::<serde::de::IgnoredAny, serde::de::IgnoredAny>()?.is_some() {
                        count += 1;
                    }
                    Ok(Count(count))
                }
            }
            d.deserialize_map(Members)
        }
    }
    serde_json::from_str::<Count>(json).map_or(usize::MAX, |count| count.0)
}

fn is_text(json: &str) -> bool {
    json.starts_with('"')
}

/// The text of a JSON string, without a copy where it has no escapes.
fn text(json: &str) -> Option<Cow<'_, str>> {
    struct Borrowed;
    impl<'de> serde::de::Visitor<'de> for Borrowed {
        type Value = Cow<'de, str>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a text")
        }
        fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
            Ok(Cow::Borrowed(text))
        }
        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Cow::Owned(text.to_owned()))
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(json);
    serde::Deserializer::deserialize_str(&mut deserializer, Borrowed).ok()
}

/// YYYY-MM-DD and nothing else.
fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 10 && bytes[4] == b'-' && bytes[7] == b'-' && text.parse::<Date>().is_ok()
}

/// Standard base64 with padding (RFC 4648 §4), not empty. Judged without decoding it, so no copy is left in memory.
fn is_base64(text: &str) -> bool {
    let body = text.strip_suffix("==").or_else(|| text.strip_suffix('=')).unwrap_or(text);
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    !body.is_empty() && text.len().is_multiple_of(4) && body.bytes().all(letter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::TenantId;
    use crate::tenant::Tenant;

    fn fits(field: &str, json: &str) -> bool {
        let tenant = Tenant::shipped(TenantId::from_bytes([1; 16])).unwrap();
        let value = RawValue::from_string(json.to_owned()).unwrap();
        tenant.field(field).unwrap().check(&value).is_ok()
    }

    #[test]
    fn a_value_of_the_right_form_fits_and_one_of_another_does_not() {
        for (field, good, bad) in [
            ("name", r#""Ada""#, "7"),
            ("email", r#""ada@example.org""#, r#""ada.example.org""#),
            ("phone", r#""+49 30 1234567""#, r#""call me""#),
            ("birth_date", r#""1980-02-29""#, r#""1981-02-29""#),
            ("id_document", r#"{"type":"passport","number":"C01X00T47"}"#, r#"{"type":"passport","serial":"C01X00T47"}"#),
            ("id_document", r#"{"number":"C01X00T47"}"#, r#"{"number":"1","number":"2"}"#),
            ("orders", r#"[{"order":"ORD-1"}]"#, r#"{"order":"ORD-1"}"#),
            ("order", r#"{"order":"ORD-1"}"#, r#"["ORD-1"]"#),
            ("image", r#""aGVsbG8=""#, r#""aGVsbG8""#),
            ("image", r#""aGVs""#, r#""a-_s""#),
            ("image", r#""aGVs""#, r#""====""#),
            ("messages", r#"["Hello","there"]"#, r#"[{"text":"Hello"}]"#),
            ("message", r#""Hello""#, "{}"),
            ("password", r#""correct horse""#, r#""""#),
        ] {
            assert!(fits(field, good), "{field}: {good}");
            assert!(!fits(field, bad), "{field}: {bad}");
        }
    }

    #[test]
    fn null_fits_no_field() {
        let tenant = Tenant::shipped(TenantId::from_bytes([1; 16])).unwrap();
        let null = RawValue::from_string("null".to_owned()).unwrap();
        for field in tenant.fields() {
            assert_eq!(field.check(&null), Err(Code::FieldValueInvalid), "{}", field.name);
        }
    }

    #[test]
    fn a_date_is_written_in_one_way() {
        for odd in ["19800203", "1980-02-03T00:00:00", "-980-02-03", "1980-2-3", "1980-02-03Z", "１９８0-02"] {
            assert!(!fits("birth_date", &format!("\"{odd}\"")), "{odd}");
        }
    }

    #[test]
    fn a_value_above_its_size_does_not_fit() {
        let text = |letters: usize| format!("\"{}\"", "a".repeat(letters));
        assert!(fits("name", &text(64 * 1024 - 2)));
        assert!(!fits("name", &text(64 * 1024 - 1)));
        assert!(fits("image", &text(256 * 1024 - 4)));
        assert!(!fits("image", &text(256 * 1024)));
    }
}
