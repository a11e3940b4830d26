//! Query strings, strictly: only known parameters, each at most once. Names, ids, numbers and times stand there, never data.

use std::str::FromStr;

use super::strict::is_name;
use crate::model::code::Code;
use crate::model::wire::Page;
use crate::vault::call::Refused;

/// The most entries of a page.
const LIMIT: usize = 500;

/// The parameters of one request.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(&'static str, String)>);

impl Query {
    /// The parameters in `text`, which may only be those of `known`.
    pub(super) fn parse(text: Option<&str>, known: &[&'static str]) -> Result<Self, Refused> {
        let mut parameters: Vec<(&'static str, String)> = Vec::new();
        for part in text.unwrap_or_default().split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or(Code::MalformedRequest)?;
            let name = known.iter().find(|known| **known == name).ok_or(Code::MalformedRequest)?;
            if parameters.iter().any(|(before, _)| before == name) {
                return Err(Code::MalformedRequest.into());
            }
            parameters.push((name, decode(value)?));
        }
        Ok(Self(parameters))
    }

    /// Takes a parameter as it is.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let place = self.0.iter().position(|(known, _)| *known == name)?;
        Some(self.0.swap_remove(place).1)
    }

    /// Takes a parameter that is a number, an id or a time.
    pub(super) fn typed<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, Refused> {
        self.take(name).map(|text| text.parse().map_err(|_| Code::MalformedRequest.into())).transpose()
    }

    /// Takes a parameter that is a name.
    pub(super) fn name(&mut self, name: &str) -> Result<Option<String>, Refused> {
        match self.take(name) {
            Some(text) if !is_name(&text) => Err(Code::MalformedRequest.into()),
            taken => Ok(taken),
        }
    }

    /// Takes a parameter that is a list of names with commas between, each once.
    pub(super) fn names(&mut self, name: &str) -> Result<Vec<String>, Refused> {
        let Some(text) = self.take(name) else { return Ok(Vec::new()) };
        let mut names: Vec<String> = Vec::new();
        for name in text.split(',') {
            if !is_name(name) || names.iter().any(|before| before == name) {
                return Err(Code::MalformedRequest.into());
            }
            names.push(name.to_owned());
        }
        Ok(names)
    }

    /// Takes `limit` and `cursor`.
    pub(super) fn page(&mut self) -> Result<Page, Refused> {
        let limit = self.typed::<usize>("limit")?;
        if limit.is_some_and(|limit| !(1..=LIMIT).contains(&limit)) {
            return Err(Code::MalformedRequest.into());
        }
        let cursor = self.take("cursor");
        let opaque = |text: &String| {
            (1..=1024).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~=".contains(&b))
        };
        match cursor {
            Some(cursor) if !opaque(&cursor) => Err(Code::BadCursor.into()),
            cursor => Ok(Page { limit, cursor }),
        }
    }
}

/// Undoes `%XX`. A plus stays a plus: no parameter holds a space, but a time may hold a zone.
fn decode(text: &str) -> Result<String, Refused> {
    if !text.contains('%') {
        return Ok(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16)).ok_or(Code::MalformedRequest);
                (digit()? * 16 + digit()?) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| Code::MalformedRequest.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Query, Refused> {
        Query::parse(Some(text), &["fields", "limit", "cursor", "from"])
    }

    #[test]
    fn known_parameters_are_taken_in_any_order() {
        let mut query = parse("limit=500&fields=name,e-mail_2&cursor=a-b_c%3D").unwrap();
        assert_eq!(query.names("fields").unwrap(), ["name", "e-mail_2"]);
        let page = query.page().unwrap();
        assert_eq!((page.limit, page.cursor.as_deref()), (Some(500), Some("a-b_c=")));
        let page = parse("").unwrap().page().unwrap();
        assert_eq!((page.limit, page.cursor), (None, None));
    }

    #[test]
    fn unknown_repeated_and_broken_parameters_are_refused() {
        for bad in ["colour=1", "limit=1&limit=1", "limit", "limit=%4", "limit=%zz", "from=%ff"] {
            assert_eq!(parse(bad).unwrap_err().code, Code::MalformedRequest, "{bad}");
        }
    }

    #[test]
    fn a_page_has_between_one_and_five_hundred_entries() {
        for bad in ["limit=0", "limit=501", "limit=-1", "limit=x", "limit="] {
            assert!(matches!(parse(bad).unwrap().page(), Err(r) if r.code == Code::MalformedRequest), "{bad}");
        }
        assert!(matches!(parse("cursor=a%20b").unwrap().page(), Err(r) if r.code == Code::BadCursor));
    }

    #[test]
    fn a_list_of_names_holds_names_only_and_each_once() {
        for bad in ["fields=", "fields=a,,b", "fields=a,a", "fields=ada@example.org", "fields=Ada"] {
            assert!(parse(bad).unwrap().names("fields").is_err(), "{bad}");
        }
    }

    #[test]
    fn a_time_keeps_its_zone() {
        let mut query = parse("from=2026-11-23T10:00:00+01:00").unwrap();
        assert_eq!(query.typed::<jiff::Timestamp>("from").unwrap().unwrap().to_string(), "2026-11-23T09:00:00Z");
    }
}
