//! What is shown of a value where clear text is not permitted.

use serde_json::Value;

use crate::model::field::{Field, Mask, Sensitivity};

const HIDDEN: &str = "****";

impl Field {
    /// The JSON text to show instead of `json`; `None` where nothing of it is hidden.
    /// What cannot be masked as the catalogue says is hidden whole, and so is free text: no part of it is safe alone.
    pub fn masked(&self, json: &str) -> Option<String> {
        let hidden = || Value::from(HIDDEN);
        let shown = match self.mask {
            Mask::None if self.sensitivity == Sensitivity::High => hidden(),
            Mask::None => return None,
            Mask::Whole => hidden(),
            Mask::LastFour => match serde_json::from_str(json) {
                Ok(Value::String(text)) => last_four(&text),
                Ok(Value::Object(mut members)) => {
                    for (name, value) in &mut members {
                        if self.masked_members.is_empty() || self.masked_members.contains(name) {
                            *value = value.as_str().map_or_else(hidden, last_four);
                        }
                    }
                    Value::Object(members)
                }
                _ => hidden(),
            },
        };
        Some(shown.to_string())
    }
}

/// `****` and the last four characters; `****` alone where these would be half of it or more.
fn last_four(text: &str) -> Value {
    let letters = text.chars().count();
    let shown = if letters > 8 { 4 } else { 0 };
    Value::from(HIDDEN.chars().chain(text.chars().skip(letters - shown)).collect::<String>())
}

#[cfg(test)]
mod tests {
    use crate::model::ids::TenantId;
    use crate::tenant::Tenant;

    fn shown(field: &str, json: &str) -> Option<String> {
        Tenant::shipped(TenantId::from_bytes([1; 16])).unwrap().field(field).unwrap().masked(json)
    }

    #[test]
    fn an_identity_document_shows_its_type_and_the_end_of_its_number() {
        let document = r#"{"number":"C01X00T47","type":"passport"}"#;
        assert_eq!(shown("id_document", document).as_deref(), Some(r#"{"number":"****0T47","type":"passport"}"#));
    }

    #[test]
    fn a_short_number_shows_nothing() {
        assert_eq!(shown("bank_account", r#""12345678""#).as_deref(), Some(r#""****""#));
        assert_eq!(shown("bank_account", r#""ÄÖÜ456789""#).as_deref(), Some(r#""****6789""#));
        assert_eq!(shown("id_document", r#"{"number":["C01X00T47"]}"#).as_deref(), Some(r#"{"number":"****"}"#));
    }

    #[test]
    fn free_text_shows_nothing() {
        assert_eq!(shown("message", r#""Ada, 030 1234567""#).as_deref(), Some(r#""****""#));
        assert_eq!(shown("messages", r#"["Ada","030 1234567"]"#).as_deref(), Some(r#""****""#));
    }

    #[test]
    fn an_image_shows_nothing_and_a_name_all() {
        assert_eq!(shown("image", r#""aGVs""#).as_deref(), Some(r#""****""#));
        assert_eq!(shown("name", r#""Ada""#), None);
    }
}
