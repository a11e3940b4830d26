//! From the bytes of a request to a typed body: strict JSON, no second reading, errors without values.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Method};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::strict;
use crate::model::code::Code;
use crate::vault::call::Refused;

/// What the `Content-Type` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// None; fine as long as the body is empty.
    None,
    /// `application/json`.
    Json,
    /// `application/merge-patch+json` (RFC 7396).
    MergePatch,
    /// `application/x-ndjson`: one JSON value a line.
    Lines,
}

/// What a body may be at most.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes.
    pub bytes: usize,
    /// Time for all of it.
    pub time: Duration,
}

/// A typed body out of one JSON value. A syntax error, a repeated name or too deep nesting is `malformed-body`; a wrong
/// shape or an unknown member is `invalid-body`, with a pointer to it.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refused> {
    if !strict::is_shallow(bytes, strict::DEPTH) {
        return Err(Code::MalformedBody.into());
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Code::MalformedBody)?;
    strict::check(text).map_err(|error| pointed(Code::MalformedBody, text, &error))?;
    // An array of its values would do for a struct as well, and no body is an array.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(Code::InvalidBody.into());
    }
    serde_json::from_str(text).map_err(|error| pointed(Code::InvalidBody, text, &error))
}

/// The items of a batch, each on its own: an array, or a line each. At most `most`, at least one.
pub fn parse_items<T: DeserializeOwned>(bytes: &[u8], media: Media, most: usize) -> Result<Vec<Result<T, Refused>>, Refused> {
    let items = match media {
        Media::Lines => bytes
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.trim_ascii().is_empty())
            .take(most + 1)
            .map(|line| parse(line))
            .collect::<Vec<_>>(),
        _ => {
            if !strict::is_shallow(bytes, strict::DEPTH + 1) {
                return Err(Code::MalformedBody.into());
            }
            let text = std::str::from_utf8(bytes).map_err(|_| Code::MalformedBody)?;
            // Each item is read by `parse` below, so here only the array itself is taken apart.
            match serde_json::from_str::<Items<'_>>(text) {
                Ok(items) if items.0.len() > most => return Err(Code::TooLarge.into()),
                Ok(items) => items.0.into_iter().map(|item| parse(item.get().as_bytes())).collect(),
                Err(error) if error.is_data() => return Err(Refused::at(Code::InvalidBody, "")),
                Err(_) => return Err(Code::MalformedBody.into()),
            }
        }
    };
    match items.len() {
        0 => Err(Refused::at(Code::InvalidBody, "")),
        count if count > most => Err(Code::TooLarge.into()),
        _ => Ok(items),
    }
}

#[derive(Deserialize)]
struct Items<'a>(#[serde(borrow)] Vec<&'a RawValue>);

/// What the headers say about the body, or why it is not taken.
pub fn media(method: &Method, headers: &HeaderMap, batch: bool) -> Result<Media, Refused> {
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(Code::UnsupportedMediaType.into());
    }
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let Some(named) = types.next() else { return Ok(Media::None) };
    if types.next().is_some() {
        return Err(Code::UnsupportedMediaType.into());
    }
    let named = named.to_str().map_err(|_| Code::UnsupportedMediaType)?;
    let (essence, parameters) = named.split_once(';').unwrap_or((named, ""));
    let parameters = parameters.trim();
    let utf8 = ["", "charset=utf-8", "charset=\"utf-8\""].iter().any(|good| good.eq_ignore_ascii_case(parameters));
    match essence.trim().to_ascii_lowercase().as_str() {
        "application/json" if utf8 => Ok(Media::Json),
        "application/merge-patch+json" if utf8 && method == Method::PATCH => Ok(Media::MergePatch),
        "application/x-ndjson" if utf8 && batch => Ok(Media::Lines),
        _ => Err(Code::UnsupportedMediaType.into()),
    }
}

/// All bytes of the body, within bounds. A body that comes in one piece is not copied.
pub async fn read(headers: &HeaderMap, body: Body, bounds: Bounds) -> Result<Bytes, Refused> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > bounds.bytes) {
        return Err(Code::TooLarge.into());
    }
    match tokio::time::timeout(bounds.time, Limited::new(body, bounds.bytes).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Code::TooLarge.into()),
        Ok(Err(_)) => Err(Code::MalformedBody.into()),
        Err(_) => Err(Code::RequestTimeout.into()),
    }
}

/// The refusal for what the parser said, without what it said: its words may quote a value.
fn pointed(code: Code, text: &str, error: &serde_json::Error) -> Refused {
    let before: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let pointer = strict::pointer(text, before + error.column());
    if pointer.is_empty() { code.into() } else { Refused::at(code, pointer) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::wire::{BatchRecord, CreateSubject, OperateKeys, PutContract, WriteRecord};

    fn refused<T: DeserializeOwned>(text: &str) -> (Code, Option<String>) {
        match parse::<T>(text.as_bytes()) {
            Ok(_) => panic!("taken: {text}"),
            Err(refused) => (refused.code, refused.pointer),
        }
    }

    #[test]
    fn the_example_of_the_documents_is_taken() {
        let body = r#"{"class":"consumer","jurisdiction":"DE","birth_date":"1980-02-03",
            "aliases":[{"type":"email","value":"ada@example.org"},{"type":"external_id","value":"07-000001"}],
            "notice":{"policy_version":"current","language":"de","channel":"web","shown_at":"2026-11-23T10:00:00Z"}}"#;
        let subject = parse::<CreateSubject>(body.as_bytes()).unwrap();
        assert_eq!((subject.aliases.len(), subject.jurisdiction.as_str()), (2, "DE"));
    }

    #[test]
    fn bad_syntax_is_malformed_and_a_bad_shape_is_invalid() {
        assert_eq!(refused::<PutContract>("{").0, Code::MalformedBody);
        assert_eq!(refused::<PutContract>("{} x").0, Code::MalformedBody);
        assert_eq!(refused::<PutContract>("[]").0, Code::InvalidBody);
        assert_eq!(refused::<PutContract>(" [\"active\",\"2026-11-23\",null]").0, Code::InvalidBody);
        assert_eq!(refused::<OperateKeys>("[\"seal\"]").0, Code::InvalidBody);
        assert_eq!(refused::<PutContract>("{}").0, Code::InvalidBody);
        assert!(matches!(parse::<PutContract>(b"{\"state\":\"\xff\"}"), Err(r) if r.code == Code::MalformedBody));
    }

    #[test]
    fn an_unknown_or_misshapen_member_is_pointed_at_without_its_value() {
        let contract = r#"{"state":"active","from":"Ada's birthday"}"#;
        assert_eq!(refused::<PutContract>(contract), (Code::InvalidBody, Some("/from".into())));
        let unknown = r#"{"state":"active","from":"2026-01-01","colour":1}"#;
        assert_eq!(refused::<PutContract>(unknown), (Code::InvalidBody, Some("/colour".into())));
        let foreign = r#"{"ada@example.org":"x"}"#;
        assert_eq!(refused::<PutContract>(foreign), (Code::InvalidBody, None));
        let deep =
            "{\"class\":\"c\",\"jurisdiction\":\"DE\",\n\"aliases\":[{\"type\":\"email\",\"value\":\"a\"},\n {\"type\":7}]}";
        assert_eq!(refused::<CreateSubject>(deep), (Code::InvalidBody, Some("/aliases/1/type".into())));
    }

    #[test]
    fn a_repeated_name_inside_a_field_value_is_refused_too() {
        let body = r#"{"kind":"contact","fields":{"name":"Ada","address":{"city":"B","city":"C"}}}"#;
        assert_eq!(refused::<WriteRecord>(body), (Code::MalformedBody, Some("/fields/address/city".into())));
        let twice = r#"{"operation":"seal","operation":"rotate-epoch"}"#;
        assert_eq!(refused::<OperateKeys>(twice).0, Code::MalformedBody);
    }

    #[test]
    fn nesting_without_end_is_refused_and_does_not_overflow() {
        let hostile = format!(r#"{{"kind":"a","fields":{{"x":{}"#, "[".repeat(1_000_000));
        assert_eq!(refused::<WriteRecord>(&hostile).0, Code::MalformedBody);
    }

    #[test]
    fn a_batch_answers_for_each_item_as_an_array_and_as_lines() {
        let subject = crate::model::ids::SubjectId::from_bytes([1; 16]);
        let good = format!(r#"{{"subject":"{subject}","record":{{"kind":"k","fields":{{}}}}}}"#);
        let twice = good.replace(r#"{"kind":"k""#, r#"{"kind":"k","kind":"k""#);
        let array = format!("[{good},{{}},{twice}]");
        let lines = format!("{good}\n{{}}\n{twice}\n{{\n");
        let codes =
            |items: Vec<Result<BatchRecord, Refused>>| items.iter().map(|i| i.as_ref().err().map(|r| r.code)).collect::<Vec<_>>();
        let wanted = [None, Some(Code::InvalidBody), Some(Code::MalformedBody)];
        assert_eq!(codes(parse_items(array.as_bytes(), Media::Json, 1000).unwrap_or_default()), wanted);
        let read = codes(parse_items(lines.as_bytes(), Media::Lines, 1000).unwrap_or_default());
        assert_eq!((&read[..3], read[3]), (&wanted[..], Some(Code::MalformedBody)));
    }

    #[test]
    fn a_batch_that_is_empty_too_long_or_no_batch_is_refused_whole() {
        let code = |text: &str, media| parse_items::<PutContract>(text.as_bytes(), media, 2).err().map(|r| r.code);
        assert_eq!(code("[]", Media::Json), Some(Code::InvalidBody));
        assert_eq!(code("\n\n", Media::Lines), Some(Code::InvalidBody));
        assert_eq!(code("{}", Media::Json), Some(Code::InvalidBody));
        assert_eq!(code("[{},{}", Media::Json), Some(Code::MalformedBody));
        assert_eq!(code("[{},{},{}]", Media::Json), Some(Code::TooLarge));
        assert_eq!(code("{}\n{}\n{}", Media::Lines), Some(Code::TooLarge));
        assert_eq!(code("[{},{}]", Media::Json), None);
    }

    #[test]
    fn only_the_media_types_of_the_operation_are_taken() {
        let of = |method: Method, batch, value: &str| {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, value.parse().unwrap())]);
            media(&method, &headers, batch).ok()
        };
        assert_eq!(of(Method::POST, false, "application/json"), Some(Media::Json));
        assert_eq!(of(Method::POST, false, "Application/JSON; charset=UTF-8"), Some(Media::Json));
        assert_eq!(of(Method::PATCH, false, "application/merge-patch+json"), Some(Media::MergePatch));
        assert_eq!(of(Method::POST, true, "application/x-ndjson"), Some(Media::Lines));
        for bad in ["text/plain", "application/json; charset=latin1", "application/x-ndjson", "application/merge-patch+json", ""]
        {
            assert_eq!(of(Method::POST, false, bad), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_whether_announced_or_not() {
        let bounds = Bounds { bytes: 4, time: Duration::from_secs(1) };
        let announced = HeaderMap::from_iter([(CONTENT_LENGTH, 5.into())]);
        assert_eq!(read(&announced, Body::empty(), bounds).await.unwrap_err().code, Code::TooLarge);
        assert_eq!(read(&HeaderMap::new(), Body::from("12345"), bounds).await.unwrap_err().code, Code::TooLarge);
        assert_eq!(read(&HeaderMap::new(), Body::from("1234"), bounds).await.unwrap(), "1234");
    }
}
