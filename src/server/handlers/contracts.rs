//! `/v1/subjects/{subject}/contracts/{reference}`

use super::{Asked, Outcome};
use crate::model::code::Code;

/// putContract
pub(crate) async fn put(asked: Asked) -> Outcome {
    let subject = asked.subject()?;
    let reference = asked.place("reference").to_owned();
    if !is_reference(&reference) {
        return Err(Code::MalformedRequest.into());
    }
    let body = asked.json()?;
    asked.vault.put_contract(&asked.call, subject, reference, body).await
}

/// A reference is an order or contract number. An e-mail address, which would be personal data in a path, is none.
fn is_reference(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_reference_is_a_number_and_no_address() {
        assert!(super::is_reference("ord-1") && super::is_reference("2026.000_7"));
        assert!(!super::is_reference("") && !super::is_reference("ada@example.org") && !super::is_reference(&"1".repeat(65)));
    }
}
