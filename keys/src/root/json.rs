//! As much of JSON (RFC 8259) as the providers' answers need: one member of nested objects, read without a copy of the rest.
//!
//! This crate has no serialiser, so that no secret ever meets one; an answer that holds a key is read here, into memory that is wiped.

use zeroize::Zeroizing;

/// No answer is nested deeper.
const DEEPEST: usize = 16;

/// The string at this path of member names.
pub(super) fn text(json: &[u8], path: &[&str]) -> Option<Zeroizing<String>> {
    let raw = find(json, path)?.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let mut text = Zeroizing::new(String::with_capacity(raw.len()));
    let mut characters = std::str::from_utf8(raw).ok()?.chars();
    while let Some(character) = characters.next() {
        text.push(match character {
            '\\' => match characters.next()? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'u' => {
                    let mut code = 0;
                    for _ in 0..4 {
                        code = code << 4 | characters.next()?.to_digit(16)?;
                    }
                    // Half of a pair stands for nothing that is looked for.
                    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
                }
                plain @ ('"' | '\\' | '/') => plain,
                _ => return None,
            },
            plain => plain,
        });
    }
    Some(text)
}

/// The number at this path, without what follows its point.
pub(super) fn number(json: &[u8], path: &[&str]) -> Option<i64> {
    let raw = std::str::from_utf8(find(json, path)?).ok()?;
    // AWS writes times as 1.7E9 where the mood takes it.
    let number: f64 = raw.parse().ok()?;
    #[expect(clippy::cast_possible_truncation, reason = "its bounds are looked at first")]
    (number.abs() < 1e15).then_some(number as i64)
}

/// The elements of the array at this path; none when there is no such array.
#[cfg(feature = "aws-kms")]
pub(super) fn elements<'a>(json: &'a [u8], path: &[&str]) -> Vec<&'a [u8]> {
    let mut found = Vec::new();
    let mut rest = find(json, path).and_then(|array| array.strip_prefix(b"[")).map(trim);
    while let Some(here) = rest
        && let Some(length) = skip(here, 0)
    {
        found.push(&here[..length]);
        rest = trim(&here[length..]).strip_prefix(b",").map(trim);
    }
    found
}

/// A text as JSON writes it.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if (control as u32) < 0x20 => quoted.push_str(&format!("\\u{:04x}", control as u32)),
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}

/// The bytes of the value at this path.
fn find<'a>(json: &'a [u8], path: &[&str]) -> Option<&'a [u8]> {
    let mut value = json;
    for name in path {
        value = member(value, name)?;
    }
    let value = trim(value);
    let length = skip(value, 0)?;
    Some(&value[..length])
}

/// The rest of the text from the value of this member on.
fn member<'a>(object: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut rest = trim(trim(object).strip_prefix(b"{")?);
    while rest.first()? == &b'"' {
        let length = skip(rest, 0)?;
        let found = &rest[1..length - 1] == name.as_bytes();
        rest = trim(trim(&rest[length..]).strip_prefix(b":")?);
        if found {
            return Some(rest);
        }
        rest = trim(&rest[skip(rest, 0)?..]);
        rest = trim(rest.strip_prefix(b",")?);
    }
    None
}

fn trim(bytes: &[u8]) -> &[u8] {
    bytes.trim_ascii_start()
}

/// The length of the value that these bytes begin with.
fn skip(bytes: &[u8], depth: usize) -> Option<usize> {
    match bytes.first()? {
        b'"' => {
            let mut at = 1;
            loop {
                match bytes.get(at)? {
                    b'"' => return Some(at + 1),
                    b'\\' => at += 2,
                    _ => at += 1,
                }
            }
        }
        open @ (b'{' | b'[') if depth < DEEPEST => {
            let close = if *open == b'{' { b'}' } else { b']' };
            let mut at = 1;
            loop {
                match bytes.get(at)? {
                    byte if *byte == close => return Some(at + 1),
                    b',' | b':' => at += 1,
                    byte if byte.is_ascii_whitespace() => at += 1,
                    _ => at += skip(&bytes[at..], depth + 1)?,
                }
            }
        }
        _ => {
            let length = bytes.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte)).count();
            (length > 0).then_some(length)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] =
        br#" {"a" : {"deep":[1,{"b":"}"},"\""],"n":-1.7E3 , "text":"x\"\\\/\u0041\n"}, "b":"end", "f":17.9, "t":true} "#;

    #[test]
    fn members_are_found_wherever_they_are() {
        assert_eq!(text(ANSWER, &["a", "text"]).unwrap().as_str(), "x\"\\/A\n");
        assert_eq!(text(ANSWER, &["b"]).unwrap().as_str(), "end");
        assert_eq!(number(ANSWER, &["a", "n"]), Some(-1700));
        assert_eq!(number(ANSWER, &["f"]), Some(17));
        assert_eq!(quoted("a\"\\\u{1}b"), "\"a\\\"\\\\\\u0001b\"");
    }

    #[cfg(feature = "aws-kms")]
    #[test]
    fn elements_are_told_apart() {
        assert_eq!(elements(ANSWER, &["a", "deep"]), [&b"1"[..], b"{\"b\":\"}\"}", b"\"\\\"\""]);
        assert!(
            elements(b"{\"a\":[ ]}", &["a"]).is_empty()
                && elements(ANSWER, &["b"]).is_empty()
                && elements(ANSWER, &["x"]).is_empty()
        );
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        for path in [&["c"][..], &["a", "b"], &["b", "c"], &["a", "deep", "b"], &["f"], &["a"], &["t"]] {
            assert!(text(ANSWER, path).is_none(), "{path:?}");
        }
        for broken in
            [&b""[..], b"{", b"{\"b\"", b"{\"b\":", b"{\"b\":\"end", b"[]", b"{\"b\":\"\\u00\"}", b"{\"b\":\"\\x\"}", b"nonsense"]
        {
            assert!(text(broken, &["b"]).is_none());
        }
        assert!(text(&[b"{\"a\":".repeat(40).as_slice(), b"\"x\""].concat(), &["b"]).is_none());
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes in proptest::collection::vec(proptest::sample::select(b"{}[]\":,\\u0a1 .".to_vec()), 0..60)) {
            let _ = (text(&bytes, &["a"]), text(&bytes, &["a", "a"]), number(&bytes, &["a"]));
        }
    }
}
