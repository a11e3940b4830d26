//! Aliases in the one form that they are indexed and looked up by: two ways of writing one address meet in it.
//!
//! Nothing in here panics, whatever it is given, and nothing repeats a value.

use std::panic::catch_unwind;
use std::str::FromStr;

use caseless::Caseless;
use phonenumber::Mode;
use phonenumber::country;
use unicode_normalization::UnicodeNormalization;

use crate::model::code::Code;
use crate::model::field::AliasKind;

/// Bytes of an e-mail address (RFC 5321 §4.5.3.1.3, less the angle brackets), of its local part and of a domain label.
const EMAIL: usize = 254;
const LOCAL_PART: usize = 64;
const LABEL: usize = 63;

/// Bytes of an external id or a handle.
const WORD: usize = 256;

/// Digits of a telephone number with its country code and prefixes; 15 in E.164, more as some write it.
const DIGITS: std::ops::RangeInclusive<usize> = 3..=24;

/// `value` as an alias of `kind`. `jurisdiction` (`DE`, `US-CA`) is the region of a telephone number without a country code.
/// What cannot be such an alias is `field-value-invalid`.
pub fn alias(kind: AliasKind, value: &str, jurisdiction: Option<&str>) -> Result<String, Code> {
    match kind {
        AliasKind::Email => email(value),
        AliasKind::Phone => phone(value, jurisdiction),
        AliasKind::ExternalId => word(value.trim().nfkc().collect()),
        AliasKind::Handle => word(folded(value.trim())),
    }
}

/// An e-mail address: trimmed, in compatibility form (NFKC), letters folded on both sides of the @, no dot at the end.
/// RFC 5321 lets a server tell the local part's letters apart; none in use does, and people do not.
/// Labels in Unicode and in Punycode are not made one.
pub fn email(value: &str) -> Result<String, Code> {
    let folded = folded(value.trim());
    let address = folded.strip_suffix('.').unwrap_or(&folded);
    let plain = |letter: char| !letter.is_whitespace() && !letter.is_control() && !"<>()[],;:\\\"@".contains(letter);
    let (local, domain) = address.rsplit_once('@').ok_or(Code::FieldValueInvalid)?;
    let good = address.len() <= EMAIL
        && (1..=LOCAL_PART).contains(&local.len())
        && local.chars().all(plain)
        && domain.contains('.')
        && domain.split('.').all(|label| (1..=LABEL).contains(&label.len()) && label.chars().all(plain));
    if good { Ok(address.to_owned()) } else { Err(Code::FieldValueInvalid) }
}

/// A telephone number: E.164 (and `;ext=` with its extension) where it can be understood, else its digits, with a
/// leading + kept.
pub fn phone(value: &str, jurisdiction: Option<&str>) -> Result<String, Code> {
    let number = Written::read(value).ok_or(Code::FieldValueInvalid)?;
    let region = jurisdiction.and_then(|text| country::Id::from_str(text.split('-').next()?).ok());
    // The parser sees ASCII digits and a plus alone; should it still panic, the number counts as not understood.
    let understood = catch_unwind(|| {
        let parsed = phonenumber::parse(region, &number.digits).ok()?;
        Some(parsed.format().mode(Mode::E164).to_string())
    });
    let mut normal = understood.ok().flatten().filter(|text| is_e164(text)).unwrap_or(number.digits);
    if !number.extension.is_empty() {
        normal.push_str(";ext=");
        normal.push_str(&number.extension);
    }
    Ok(normal)
}

/// Whether a text can be a telephone number at all.
pub fn is_phone(value: &str) -> bool {
    Written::read(value).is_some()
}

/// A telephone number as it was written, cleaned of everything but digits.
struct Written {
    digits: String,
    extension: String,
}

impl Written {
    fn read(value: &str) -> Option<Self> {
        let plain: String = value.trim().nfkc().flat_map(char::to_lowercase).collect();
        let (number, extension) = match plain.find(['x', '#', 'e', ';']) {
            None => (plain.as_str(), ""),
            Some(place) => {
                let written = plain[place..].trim_start_matches([';', 'e', 'x', 't', 'n', '.', '=', '#', ' ', ':']);
                if written.is_empty() {
                    return None;
                }
                (&plain[..place], written)
            }
        };
        let international = number.starts_with('+');
        // A trunk zero in brackets is dialled only at home: +49 (0)30 …
        let home = if international { number.replacen("(0)", "", 1) } else { number.to_owned() };
        let mut digits = String::with_capacity(home.len());
        for (place, letter) in home.chars().enumerate() {
            match letter {
                '0'..='9' => digits.push(letter),
                '+' if place == 0 => digits.push('+'),
                ' ' | '(' | ')' | '-' | '.' | '/' | '\u{2010}'..='\u{2015}' | '\u{2212}' => {}
                _ => return None,
            }
        }
        let extension = extension.trim_end();
        let good = DIGITS.contains(&(digits.len() - usize::from(international)))
            && extension.len() <= 10
            && extension.bytes().all(|byte| byte.is_ascii_digit());
        good.then(|| Self { digits, extension: extension.to_owned() })
    }
}

fn is_e164(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// NFKC with the letters folded: Unicode's toNFKC_Casefold (chapter 3.13) without dropping what is ignorable.
fn folded(text: &str) -> String {
    text.nfd().default_case_fold().nfkc().default_case_fold().nfkc().collect()
}

/// Trimmed once more: a compatibility form can begin with a space where what was written did not (U+0384).
fn word(text: String) -> Result<String, Code> {
    let text = text.trim();
    let good = (1..=WORD).contains(&text.len()) && !text.chars().any(char::is_control);
    if good { Ok(text.to_owned()) } else { Err(Code::FieldValueInvalid) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_is_found_however_its_letters_are_written() {
        for written in ["ada@example.org", "Ada@Example.org", "  ADA@EXAMPLE.ORG ", "ada@example.org.", "ａｄａ＠example.org"]
        {
            assert_eq!(email(written).as_deref(), Ok("ada@example.org"), "{written}");
        }
        assert_eq!(email("STRASSE@BÜCHER.example"), email("straße@bücher.example"));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("{}@example.org", "a".repeat(65));
        for written in ["", "@", "ada", "ada@", "@example.org", "ada@org", "a b@example.org", "ada@exa..org", "a@b@c.de", &long] {
            assert_eq!(email(written), Err(Code::FieldValueInvalid), "{written}");
        }
    }

    #[test]
    fn one_number_is_found_however_it_is_written() {
        for (region, written, normal) in [
            ("DE", "+49 30 1234567", "+49301234567"),
            ("DE", "030 1234567", "+49301234567"),
            ("DE", "(030) 1234567", "+49301234567"),
            ("DE", "+49(0)30 1234567", "+49301234567"),
            ("DE", "0049 30 1234567", "+49301234567"),
            ("US-CA", "722-656-4338x669", "+17226564338;ext=669"),
            ("US-CA", "+1 722.656.4338 ext. 669", "+17226564338;ext=669"),
            ("IT", "+39 0521113124", "+390521113124"),
            ("IT", "0521113124", "+390521113124"),
            ("FR", "05 34 26 05 15", "+33534260515"),
            ("CN", "13681590830", "+8613681590830"),
            ("GB", "(0141)4960250", "+441414960250"),
        ] {
            assert_eq!(phone(written, Some(region)).as_deref(), Ok(normal), "{written}");
        }
    }

    #[test]
    fn a_number_that_nobody_understands_keeps_its_digits() {
        assert_eq!(phone("030 1234567", None).as_deref(), Ok("0301234567"));
        assert_eq!(phone("+999 12 34 5", Some("DE")).as_deref(), Ok("+99912345"));
        for written in ["", "+", "12", "call me", "+49 30 x", "1+1 555", "0123 456é78"] {
            assert_eq!(phone(written, Some("DE")), Err(Code::FieldValueInvalid), "{written}");
        }
    }

    #[test]
    fn an_external_id_keeps_its_letters_and_a_handle_does_not() {
        assert_eq!(alias(AliasKind::ExternalId, " Ab-1 ", None).as_deref(), Ok("Ab-1"));
        assert_eq!(alias(AliasKind::Handle, " Ab-1 ", None).as_deref(), Ok("ab-1"));
        assert_eq!(alias(AliasKind::Handle, " \n ", None), Err(Code::FieldValueInvalid));
        assert_eq!(alias(AliasKind::ExternalId, "\u{384}", None).as_deref(), Ok("\u{301}"));
        assert_eq!(alias(AliasKind::ExternalId, "a\u{0}b", None), Err(Code::FieldValueInvalid));
    }

    proptest! {
        #[test]
        fn nothing_panics_and_what_is_normal_stays_so(text in "\\PC{0,40}", digits in "[+]?[0-9 ()x#.-]{0,24}", place in 0_usize..4) {
            let region = ["DE", "US-CA", "EG", "??"][place];
            for kind in AliasKind::ALL {
                for value in [&text, &digits] {
                    if let Ok(normal) = alias(kind, value, Some(region)) {
                        prop_assert_eq!(alias(kind, &normal, Some(region)), Ok(normal.clone()), "{}", kind.text());
                    }
                }
            }
        }
    }
}
