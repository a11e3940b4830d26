//! JSON without room for two readings: no repeated names, no deep nesting, nothing behind the end.
//!
//! Two parsers that read a repeated name differently have been the way past many a check (RFC 8259 §4 leaves it open), and
//! nesting without end has been the end of many a stack. Both are refused before a body gets its type.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// How deep arrays and objects may stand in each other.
pub const DEPTH: usize = 32;

/// Names of one object that are compared one by one before a set is made for them.
const FEW: usize = 16;

/// Whether `bytes` never nest deeper than `depth`. It runs before any parser does, keeps nothing, and knows only strings and
/// brackets, so text that is not JSON may pass.
pub fn is_shallow(bytes: &[u8], depth: usize) -> bool {
    let (mut open, mut quoted, mut escaped) = (0usize, false, false);
    for &byte in bytes {
        if quoted {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => quoted = true,
            b'[' | b'{' => {
                open += 1;
                if open > depth {
                    return false;
                }
            }
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
    }
    true
}

/// Whether `text` is exactly one JSON value in which no object names a member twice.
pub fn check(text: &str) -> Result<(), serde_json::Error> {
    let mut parser = serde_json::Deserializer::from_str(text);
    Strict.deserialize(&mut parser)?;
    parser.end()
}

#[derive(Clone, Copy)]
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Strict)?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut names = Names::default();
        while let Some(Name(name)) = members.next_key::<Name<'de>>()? {
            if !names.is_new(name) {
                return Err(A::Error::custom("a name stands twice in one object"));
            }
            members.next_value_seed(Strict)?;
        }
        Ok(())
    }
}

/// A member's name, borrowed from the text where it has no escapes.
struct Name<'de>(Cow<'de, str>);

impl<'de> serde::Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Borrowed;
        impl<'de> Visitor<'de> for Borrowed {
            type Value = Name<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }
            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }
            fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        d.deserialize_str(Borrowed)
    }
}

/// The names of one object so far.
#[derive(Default)]
struct Names<'de> {
    few: Vec<Cow<'de, str>>,
    many: HashSet<Cow<'de, str>>,
}

impl<'de> Names<'de> {
    fn is_new(&mut self, name: Cow<'de, str>) -> bool {
        if self.few.contains(&name) {
            return false;
        }
        if self.few.len() < FEW {
            self.few.push(name);
            return true;
        }
        self.many.insert(name)
    }
}

/// Where in `text`, which parses, the byte at `offset` stands: a JSON pointer (RFC 6901). It stops before the first name that
/// does not look like one of ours, because such a name may be anything.
pub fn pointer(text: &str, offset: usize) -> String {
    let mut path: Vec<Step> = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    let mut naming = false;
    while at < bytes.len().min(offset) {
        match bytes[at] {
            b'"' => {
                let end = end_of_string(bytes, at);
                if naming && let Some(Step::Name(name)) = path.last_mut() {
                    *name = text.get(at + 1..end);
                    naming = false;
                }
                at = end;
            }
            b'{' => {
                path.push(Step::Name(None));
                naming = true;
            }
            b'[' => path.push(Step::Index(0)),
            b'}' | b']' => {
                path.pop();
                naming = false;
            }
            b',' => match path.last_mut() {
                Some(Step::Index(index)) => *index += 1,
                Some(Step::Name(name)) => {
                    *name = None;
                    naming = true;
                }
                None => {}
            },
            _ => {}
        }
        at += 1;
    }
    let mut pointer = String::new();
    for step in path {
        match step {
            Step::Index(index) => pointer.push_str(&format!("/{index}")),
            Step::Name(Some(name)) if is_name(name) => {
                pointer.push('/');
                pointer.push_str(name);
            }
            Step::Name(_) => break,
        }
    }
    pointer
}

enum Step<'a> {
    Name(Option<&'a str>),
    Index(usize),
}

/// The place of the closing quote of the string that opens at `start`.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at.min(bytes.len())
}

/// Whether this can be the name of a member or field of ours.
pub fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_stands_twice_is_refused_at_every_depth() {
        for bad in [r#"{"a":1,"a":2}"#, r#"[{"x":{"a":1,"b":[],"a":1}}]"#, r#"{"a":1,"\u0061":2}"#] {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert!(check(r#"{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}"#).is_ok());
    }

    #[test]
    fn a_name_that_stands_twice_among_many_is_refused() {
        let names: Vec<String> = (0..100).map(|n| format!("\"n{n}\":0")).collect();
        assert!(check(&format!("{{{}}}", names.join(","))).is_ok());
        for twice in [0, 15, 16, 50, 99] {
            assert!(check(&format!("{{{},\"n{twice}\":0}}", names.join(","))).is_err());
        }
    }

    #[test]
    fn nothing_may_stand_behind_the_end_and_nothing_may_be_missing() {
        for bad in ["", " ", "{} {}", "{}x", "[1,]", "{\"a\":}", "nul", "1e999", "\"\\ud800\"", "'a'", "\u{feff}{}", "NaN", "[1"]
        {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert!(check(" {\"a\" : [1, -2.5e3, true, null, \"\\u00e4\"]}\n").is_ok());
    }

    #[test]
    fn nesting_is_counted_outside_of_strings_only() {
        assert!(is_shallow(r#"{"a":"[[[[\"[[[["}"#.as_bytes(), 1));
        assert!(is_shallow("[".repeat(DEPTH).as_bytes(), DEPTH));
        assert!(!is_shallow("[".repeat(DEPTH + 1).as_bytes(), DEPTH));
        assert!(is_shallow("[]".repeat(1000).as_bytes(), DEPTH));
        assert!(!is_shallow("{\"a\":".repeat(1_000_000).as_bytes(), DEPTH));
    }

    #[test]
    fn a_pointer_names_the_member_and_never_a_value_or_a_foreign_name() {
        let text = r#"{"fields":{"name":"Ada","mail":["x",{"b":1}]},"Ada Lovelace":{"c":2},"k":"v\"{["}"#;
        let at = |needle: &str| pointer(text, text.find(needle).unwrap() + 1);
        assert_eq!(at("\"Ada\""), "/fields/name");
        assert_eq!(at("1}"), "/fields/mail/1/b");
        assert_eq!(at("2}"), "");
        assert_eq!(pointer(text, text.len() - 1), "/k");
        assert_eq!(pointer(text, text.len()), "");
        assert_eq!(pointer("\"unclosed \\", 99), "");
    }
}
