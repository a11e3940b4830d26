//! One authenticated request, taken apart: what a handler needs and nothing else.

use std::str::FromStr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, IF_MATCH};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::accept::Accept;
use super::body::{self, Media};
use super::query::Query;
use crate::model::caller::{Caller, Grounds};
use crate::model::code::Code;
use crate::model::ids::SubjectId;
use crate::model::wire::Whom;
use crate::vault::Vault;
use crate::vault::call::{Call, Idempotency, Refused};

const VAULT_PURPOSE: HeaderName = HeaderName::from_static("vault-purpose");
const VAULT_CONTRACT: HeaderName = HeaderName::from_static("vault-contract");
const VAULT_RULE: HeaderName = HeaderName::from_static("vault-rule");
const VAULT_CASE: HeaderName = HeaderName::from_static("vault-case");
const VAULT_CLEAR: HeaderName = HeaderName::from_static("vault-clear");
const SEC_GPC: HeaderName = HeaderName::from_static("sec-gpc");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Bytes of an Authorization header; access tokens of an issuer are long.
const LONGEST_CREDENTIALS: usize = 8 << 10;

/// What a handler gets.
pub(super) struct Asked {
    pub(super) vault: Vault,
    pub(super) call: Call,
    pub(super) query: Query,
    pub(super) places: Vec<(String, String)>,
    pub(super) media: Media,
    pub(super) body: Bytes,
    /// Whether JSON-LD is wanted rather than a page.
    pub(super) linked: bool,
    /// The media types that the caller would take.
    pub(super) accept: Accept,
    /// The most items of a batch.
    pub(super) most: usize,
}

impl Asked {
    /// The id in this place of the path. What is not an id is not found, like an id that nobody has.
    pub(super) fn id<T: FromStr>(&self, place: &str) -> Result<T, Refused> {
        id(&self.places, place)
    }

    /// The subject in the path: an id, or `me` for the bearer of a person's own token.
    pub(super) fn subject(&self) -> Result<SubjectId, Refused> {
        match self.place("subject") {
            "me" => self.call.subject(Whom::Me),
            _ => self.id("subject"),
        }
    }

    /// The text in this place of the path.
    pub(super) fn place(&self, place: &str) -> &str {
        at(&self.places, place)
    }

    /// The body.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Refused> {
        body::parse(&self.body)
    }

    /// The same, where a body without a member, and no body, say the usual.
    pub(super) fn json_or_nothing<T: DeserializeOwned + Default>(&self) -> Result<T, Refused> {
        if self.body.is_empty() { Ok(T::default()) } else { self.json() }
    }

    /// The body's items.
    pub(super) fn items<T: DeserializeOwned>(&self) -> Result<Vec<Result<T, Refused>>, Refused> {
        body::parse_items(&self.body, self.media, self.most)
    }

    /// Sees to it that the body says nothing: there is none, or it is `{}`.
    pub(super) fn nothing(&self) -> Result<(), Refused> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Nothing {}
        if self.body.is_empty() { Ok(()) } else { self.json::<Nothing>().map(|_| ()) }
    }
}

/// The bearer token, if the request has exactly one set of credentials and it is one.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let credentials = one(headers, &AUTHORIZATION, LONGEST_CREDENTIALS).ok()??;
    let (scheme, token) = credentials.split_once(' ')?;
    let token = token.trim_start_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && !token.contains(' ')).then_some(token)
}

/// The circumstances of the call, out of the headers.
pub(super) fn call(caller: Arc<Caller>, parts: &Parts, body: &Bytes) -> Result<Call, Refused> {
    let headers = &parts.headers;
    let purpose = one(headers, &VAULT_PURPOSE, 64)?;
    if purpose.is_some_and(|purpose| !purpose.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))) {
        return Err(Code::MalformedRequest.into());
    }
    let idempotency = match one(headers, &IDEMPOTENCY_KEY, 255)? {
        Some(key) if parts.method == Method::POST => {
            Some(Idempotency { key: key.to_owned(), request: request_bytes(parts, purpose, body) })
        }
        _ => None,
    };
    Ok(Call {
        caller,
        purpose: purpose.map(str::to_owned),
        idempotency,
        if_match: one(headers, &IF_MATCH, 128)?.map(str::to_owned),
        gpc: one(headers, &SEC_GPC, 8)?.is_some_and(|signal| signal == "1"),
        grounds: Grounds {
            contract: ground(headers, &VAULT_CONTRACT)?,
            rule: ground(headers, &VAULT_RULE)?,
            case: ground(headers, &VAULT_CASE)?,
            clear: match one(headers, &VAULT_CLEAR, 5)? {
                None | Some("false") => false,
                Some("true") => true,
                Some(_) => return Err(Code::MalformedRequest.into()),
            },
        },
    })
}

/// What a call rests on is named by a word.
fn ground(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, Refused> {
    match one(headers, name, 64)? {
        Some(word) if !word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) => {
            Err(Code::MalformedRequest.into())
        }
        word => Ok(word.map(str::to_owned)),
    }
}

/// A header that may stand there once, with 1 to `most` visible ASCII characters (and spaces between).
pub(super) fn one<'a>(headers: &'a HeaderMap, name: &HeaderName, most: usize) -> Result<Option<&'a str>, Refused> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().map_err(|_| Code::MalformedRequest)?;
    // A tab would pass for visible.
    if values.next().is_some() || !(1..=most).contains(&text.len()) || text.contains('\t') {
        return Err(Code::MalformedRequest.into());
    }
    Ok(Some(text))
}

/// See [`Asked::id`].
pub(super) fn id<T: FromStr>(places: &[(String, String)], place: &str) -> Result<T, Refused> {
    at(places, place).parse().map_err(|_| Code::NotFound.into())
}

/// The text in a place of the path.
pub(super) fn at<'a>(places: &'a [(String, String)], place: &str) -> &'a str {
    places.iter().find(|(name, _)| name == place).map_or("", |(_, value)| value)
}

/// What makes two requests the same: method, path, purpose and body, none of which can run into the next.
fn request_bytes(parts: &Parts, purpose: Option<&str>, body: &[u8]) -> Bytes {
    let (method, path, purpose) = (parts.method.as_str(), parts.uri.path(), purpose.unwrap_or_default());
    let mut bytes = BytesMut::with_capacity(method.len() + path.len() + purpose.len() + body.len() + 3);
    for part in [method, path, purpose] {
        bytes.extend_from_slice(part.as_bytes());
        bytes.extend_from_slice(b"\n");
    }
    bytes.extend_from_slice(body);
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::{CallerId, TenantId};

    fn caller() -> Arc<Caller> {
        Arc::new(Caller { name: "a".into(), ..Caller::nobody(CallerId::from_bytes([0; 16]), TenantId::from_bytes([0; 16])) })
    }

    fn parts(method: &str, path: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn called(method: &str, headers: &[(&str, &str)]) -> Result<Call, Code> {
        call(caller(), &parts(method, "/v1/subjects", headers), &Bytes::from_static(b"{}")).map_err(|refused| refused.code)
    }

    #[test]
    fn only_one_bearer_token_in_the_authorization_header_is_taken() {
        let of = |headers: &[(&str, &str)]| bearer(&parts("GET", "/?access_token=x", headers).headers).map(str::to_owned);
        assert_eq!(of(&[("authorization", "Bearer abc")]).as_deref(), Some("abc"));
        assert_eq!(of(&[("authorization", "bearer abc")]).as_deref(), Some("abc"));
        for bad in ["abc", "Basic abc", "Bearer", "Bearer ", "Bearer a b", ""] {
            assert_eq!(of(&[("authorization", bad)]), None, "{bad}");
        }
        assert_eq!(of(&[("authorization", "Bearer a"), ("authorization", "Bearer a")]), None);
        assert_eq!(of(&[("cookie", "token=abc")]), None);
    }

    #[test]
    fn the_circumstances_come_from_the_headers() {
        let headers =
            [("vault-purpose", "b-service"), ("idempotency-key", "k 1"), ("if-match", "\"3\""), ("prefer", "return=minimal")];
        let call = called("POST", &headers).unwrap();
        assert_eq!((call.purpose.as_deref(), call.if_match.as_deref()), (Some("b-service"), Some("\"3\"")));
        assert_eq!(call.idempotency.unwrap().request, "POST\n/v1/subjects\nb-service\n{}");
        assert!(called("PUT", &headers).unwrap().idempotency.is_none());
    }

    #[test]
    fn a_header_that_is_repeated_empty_or_not_in_its_form_is_refused() {
        let long = "k".repeat(256);
        for bad in [
            &[("vault-purpose", "a"), ("vault-purpose", "b")][..],
            &[("vault-purpose", "")],
            &[("vault-purpose", "ada@example.org")],
            &[("idempotency-key", long.as_str())],
            &[("if-match", "ä")],
        ] {
            assert_eq!(called("POST", bad).err(), Some(Code::MalformedRequest), "{bad:?}");
        }
    }

    #[test]
    fn what_is_not_an_id_is_not_found() {
        let places = [("subject".to_owned(), "me".to_owned())];
        assert_eq!(id::<SubjectId>(&places, "subject").unwrap_err().code, Code::NotFound);
    }
}
