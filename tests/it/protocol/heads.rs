//! Requests that two readers could read in two ways (RFC 9112 §11.2), over raw TLS: each is refused, and what came behind it on
//! the same connection is never read.

use oubliette::model::caller::Role;
use serde_json::json;

use crate::house::House;
use crate::https::Connection;

/// What makes a request have two readings, or none. `{auth}` stands for good credentials, and `{next}` for a whole request that
/// somebody wants smuggled.
const SHAPES: &[(&str, &str)] = &[
    (
        "two lengths that differ",
        "POST /v1/subject-lookups HTTP/1.1\r\nhost: a\r\n{auth}content-length: 0\r\ncontent-length: 90\r\n\r\n{next}",
    ),
    (
        "two lengths that agree",
        "POST /v1/subject-lookups HTTP/1.1\r\nhost: a\r\n{auth}content-length: 2\r\ncontent-length: 2\r\n\r\n{}{next}",
    ),
    ("a list of lengths", "POST /v1/subject-lookups HTTP/1.1\r\nhost: a\r\n{auth}content-length: 2, 2\r\n\r\n{}{next}"),
    ("a length with a sign", "POST /v1/subject-lookups HTTP/1.1\r\nhost: a\r\n{auth}content-length: +2\r\n\r\n{}{next}"),
    ("a length in hexadecimal", "POST /v1/subject-lookups HTTP/1.1\r\nhost: a\r\n{auth}content-length: 0x2\r\n\r\n{}{next}"),
    (
        "a length beyond any number",
        "POST /v1/subject-lookups HTTP/1.1\r\nhost: a\r\n{auth}content-length: 99999999999999999999\r\n\r\n{next}",
    ),
    (
        "a length and chunks",
        "POST /v1/subject-lookups HTTP/1.1\r\nhost: a\r\n{auth}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{next}",
    ),
    (
        "chunks and a length",
        "POST /v1/subject-lookups HTTP/1.1\r\nhost: a\r\n{auth}transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n{next}",
    ),
    (
        "chunks twice",
        "POST /v1/subject-lookups HTTP/1.1\r\nhost: a\r\n{auth}transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n{next}",
    ),
    (
        "chunks that are not last",
        "POST /v1/subject-lookups HTTP/1.1\r\nhost: a\r\n{auth}transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n{next}",
    ),
    (
        "chunks under another",
        "POST /v1/subject-lookups HTTP/1.1\r\nhost: a\r\n{auth}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n{next}",
    ),
    (
        "chunks misspelt",
        "POST /v1/subject-lookups HTTP/1.1\r\nhost: a\r\n{auth}transfer-encoding: xchunked\r\n\r\n0\r\n\r\n{next}",
    ),
    (
        "chunks behind a vertical tab",
        "POST /v1/subject-lookups HTTP/1.1\r\nhost: a\r\n{auth}transfer-encoding: \u{b}chunked\r\n\r\n0\r\n\r\n{next}",
    ),
    (
        "a space before the colon",
        "POST /v1/subject-lookups HTTP/1.1\r\nhost: a\r\n{auth}transfer-encoding : chunked\r\n\r\n0\r\n\r\n{next}",
    ),
    (
        "chunks in HTTP/1.0",
        "POST /v1/subject-lookups HTTP/1.0\r\nhost: a\r\n{auth}transfer-encoding: chunked\r\n\r\n0\r\n\r\n{next}",
    ),
    ("a folded line", "GET /v1/keys HTTP/1.1\r\nhost: a\r\n{auth}x: 1\r\n transfer-encoding: chunked\r\n\r\n{next}"),
    ("a line that begins with a tab", "GET /v1/keys HTTP/1.1\r\nhost: a\r\n{auth}x: 1\r\n\tmore\r\n\r\n{next}"),
    ("a bare LF behind a header", "GET /v1/keys HTTP/1.1\r\nhost: a\r\n{auth}x: 1\ncontent-length: 0\r\n\r\n{next}"),
    ("bare LFs alone", "GET /v1/keys HTTP/1.1\nhost: a\n\n{next}"),
    ("a bare LF at the end", "GET /v1/keys HTTP/1.1\r\nhost: a\r\n{auth}\n{next}"),
    ("a bare CR", "GET /v1/keys HTTP/1.1\r\nhost: a\r\n{auth}x: 1\rtransfer-encoding: chunked\r\n\r\n{next}"),
    ("NUL in a value", "GET /v1/keys HTTP/1.1\r\nhost: a\r\n{auth}x: a\0b\r\n\r\n{next}"),
    ("NUL in a name", "GET /v1/keys HTTP/1.1\r\nhost: a\r\n{auth}x\0: a\r\n\r\n{next}"),
    ("NUL in the address", "GET /v1/keys\0 HTTP/1.1\r\nhost: a\r\n{auth}\r\n{next}"),
    ("an absolute address", "GET https://elsewhere.example/v1/keys HTTP/1.1\r\nhost: a\r\n{auth}\r\n{next}"),
    ("an address without a path", "GET v1/keys HTTP/1.1\r\nhost: a\r\n{auth}\r\n{next}"),
    ("an authority", "CONNECT localhost:443 HTTP/1.1\r\nhost: a\r\n{auth}\r\n{next}"),
    ("an asterisk", "OPTIONS * HTTP/1.1\r\nhost: a\r\n{auth}\r\n{next}"),
    ("a fragment", "GET /v1/keys#a HTTP/1.1\r\nhost: a\r\n{auth}\r\n{next}"),
    ("no host", "GET /v1/keys HTTP/1.1\r\n{auth}\r\n{next}"),
    ("two hosts", "GET /v1/keys HTTP/1.1\r\nhost: a\r\nhost: b\r\n{auth}\r\n{next}"),
    ("a host that is none", "GET /v1/keys HTTP/1.1\r\nhost: a b\r\n{auth}\r\n{next}"),
    ("a header without a colon", "GET /v1/keys HTTP/1.1\r\nhost: a\r\n{auth}x\r\n\r\n{next}"),
    ("a header without a name", "GET /v1/keys HTTP/1.1\r\nhost: a\r\n{auth}: x\r\n\r\n{next}"),
    ("an empty line before", "\r\nGET /v1/keys HTTP/1.1\r\nhost: a\r\n{auth}\r\n{next}"),
    ("two spaces", "GET  /v1/keys HTTP/1.1\r\nhost: a\r\n{auth}\r\n{next}"),
    ("no version", "GET /v1/keys\r\n{next}"),
    ("another version", "GET /v1/keys HTTP/1.2\r\nhost: a\r\n{auth}\r\n{next}"),
    ("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{next}"),
    ("no HTTP at all", "\u{16}\u{3}\u{1}\r\n{next}"),
];

/// That nothing more comes: the peer is told so, and closes.
fn is_closed(connection: &mut Connection) -> bool {
    connection.read().is_none()
}

#[test]
fn what_could_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_read() {
    let house = House::start();
    let auth = format!("authorization: Bearer {}\r\n", house.holder(Role::KeyAdmin).text);
    let good = format!("GET /v1/keys HTTP/1.1\r\nhost: localhost\r\n{auth}\r\n");
    let body = json!({"operation": "rotate-epoch"}).to_string();
    let length = body.len();
    let next = format!(
        "POST /v1/keys/operations HTTP/1.1\r\nhost: localhost\r\n{auth}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    let epoch = || house.get("/v1/keys").by(&house.holder(Role::KeyAdmin)).send().expect(200).json()["keys"].to_string();
    // What is to be smuggled does something when it is read.
    let (before, mut control) = (epoch(), house.connect());
    control.exchange(next.as_bytes()).unwrap().expect(200);
    let turned = epoch();
    assert_ne!(without_ages(&before), without_ages(&turned));

    for (what, shape) in SHAPES {
        let bad = shape.replace("{auth}", &auth).replace("{next}", &next);
        // The bad one alone, and behind a good one in the same piece.
        for ahead in ["", good.as_str()] {
            let mut connection = house.connect();
            let _ = connection.write(format!("{ahead}{bad}").as_bytes());
            if !ahead.is_empty() {
                connection.read().unwrap_or_else(|| panic!("no first answer: {what}")).expect(200);
            }
            let refused = connection.read().unwrap_or_else(|| panic!("no answer: {what}"));
            assert_eq!((refused.status, refused.code().as_str()), (400, "malformed-request"), "{what}: {}", refused.text());
            assert_eq!(refused.header("connection"), Some("close"), "{what}");
            assert!(is_closed(&mut connection), "{what}: something more was answered");
        }
    }
    assert_eq!(without_ages(&turned), without_ages(&epoch()), "a request came through behind another");
}

/// The keys as they are listed, without what grows by itself.
fn without_ages(keys: &str) -> String {
    let mut keys: serde_json::Value = serde_json::from_str(keys).unwrap();
    for key in keys.as_array_mut().unwrap() {
        key.as_object_mut().unwrap().remove("age_seconds");
    }
    keys.to_string()
}

#[test]
fn a_body_in_chunks_is_taken_and_is_the_last_of_its_connection() {
    let house = House::shared();
    let admin = house.holder(Role::KeyAdmin);
    let auth = format!("authorization: Bearer {}\r\n", admin.text);
    let next = format!("GET /v1/keys HTTP/1.1\r\nhost: localhost\r\n{auth}\r\n");
    let chunked = |chunks: &str| {
        format!(
            "POST /v1/keys/operations HTTP/1.1\r\nhost: localhost\r\n{auth}content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n{chunks}{next}"
        )
    };
    let mut connection = house.connect();
    connection.write(chunked("7\r\n{\"opera\r\n15\r\ntion\":\"rotate-epoch\"}\r\n0\r\n\r\n").as_bytes()).unwrap();
    let done = connection.read().unwrap().expect(200);
    assert_eq!(done.header("connection"), Some("close"));
    assert!(is_closed(&mut connection));
    for (what, chunks) in [
        ("no number", "zz\r\n{}\r\n0\r\n\r\n"),
        ("a sign", "+2\r\n{}\r\n0\r\n\r\n"),
        ("a bare LF", "2\n{}\r\n0\r\n\r\n"),
        ("a chunk that is longer than it says", "1\r\n{}\r\n0\r\n\r\n"),
        ("a number beyond any", "fffffffffffffffff\r\n{}\r\n0\r\n\r\n"),
        ("a bare LF in an extension", "2;a=b\nc\r\n{}\r\n0\r\n\r\n"),
    ] {
        let mut connection = house.connect();
        let _ = connection.write(chunked(chunks).as_bytes());
        if let Some(refused) = connection.read() {
            assert_eq!((refused.status, refused.code().as_str()), (400, "malformed-body"), "{what}: {}", refused.text());
            assert_eq!(refused.header("connection"), Some("close"), "{what}");
        }
        assert!(is_closed(&mut connection), "{what}");
    }
}

#[test]
fn many_requests_in_one_piece_and_one_in_many_pieces_are_answered_in_order() {
    let house = House::shared();
    let mut connection = house.connect();
    let one = |number: usize| format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-request-id: n{number}\r\n\r\n");
    connection.write((0..20).map(one).collect::<String>().as_bytes()).unwrap();
    for number in 0..20 {
        assert_eq!(connection.read().unwrap().expect(200).header("x-request-id"), Some(format!("n{number}").as_str()));
    }
    for byte in one(20).bytes() {
        connection.write(&[byte]).unwrap();
    }
    assert_eq!(connection.read().unwrap().expect(200).header("x-request-id"), Some("n20"));
    // Health checks of the old kind.
    let mut old = house.connect();
    assert_eq!(old.exchange(b"GET /healthz HTTP/1.0\r\n\r\n").unwrap().status, 200);
    assert!(is_closed(&mut old));
}
