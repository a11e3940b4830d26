//! The head of every request, read strictly before the HTTP library reads it.
//!
//! Two readers of one connection that disagree where a request ends are how requests are smuggled past a proxy (RFC 9112 §11.2). The
//! library is lenient where the RFC lets it be: lines may end with a bare LF, a length may stand twice, a length beside chunks is
//! dropped, a host may be missing. Here a head has one reading or none. What has none goes on as [`MALFORMED`] or [`OVERSIZED`],
//! requests of our own making, so that the refusal is an answer like any other: a problem document with all headers, a line in
//! the log, behind the answers of what was sent before. Nothing that comes after it on that connection is looked at.
//!
//! A body in chunks is the last of its connection: where it ends is read by one reader alone, and nothing may follow.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, Method};
use tokio::io::{AsyncRead, ReadBuf};

use crate::model::code::Code;

/// The method of what stands for a head that has no reading.
const MALFORMED: &str = "MALFORMED";
/// The method of what stands for a head beyond its limits.
const OVERSIZED: &str = "OVERSIZED";
/// Bytes of an address; the library takes 65,534.
const LONGEST_TARGET: usize = 60_000;
/// Bytes of the name of a header.
const LONGEST_NAME: usize = 256;
/// Bytes of a method.
const LONGEST_METHOD: usize = 32;

/// Why a request was not let through, if this is what stands for it.
pub(super) fn refusal(method: &Method) -> Option<Code> {
    match method.as_str() {
        MALFORMED => Some(Code::MalformedRequest),
        OVERSIZED => Some(Code::HeadersTooLarge),
        _ => None,
    }
}

/// Whether the connection ends with the answer to a request of these headers.
pub(super) fn is_last(headers: &HeaderMap) -> bool {
    headers.contains_key(http::header::TRANSFER_ENCODING)
}

/// What a head may be at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    /// Bytes, with the line ends.
    pub(super) bytes: usize,
    /// Headers.
    pub(super) fields: usize,
}

/// The heads of one connection.
pub(super) struct Heads {
    reader: Reader,
    /// A head that is not whole yet.
    held: Vec<u8>,
    /// What goes on next, and how much of it has gone.
    ready: (Vec<u8>, usize),
}

impl Heads {
    pub(super) fn new(most: Most) -> Self {
        Self { reader: Reader { most, place: Place::Head(Head::default()) }, held: Vec::new(), ready: (Vec::new(), 0) }
    }

    /// Whether a head was refused, so that nothing more is read.
    pub(super) fn is_over(&self) -> bool {
        self.reader.is_over()
    }

    /// Reads from `stream`; a head goes on once it is whole and has been found to be one.
    pub(super) fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let (bytes, gone) = &mut self.ready;
            if *gone < bytes.len() {
                let count = buffer.remaining().min(bytes.len() - *gone);
                buffer.put_slice(&bytes[*gone..*gone + count]);
                *gone += count;
                return Poll::Ready(Ok(()));
            }
            // No more will come, and that is not the end of the connection: the library would drop the answer that is under way.
            if self.is_over() {
                return Poll::Pending;
            }
            let before = buffer.filled().len();
            ready!(Pin::new(&mut *stream).poll_read(context, buffer))?;
            let new = &buffer.filled()[before..];
            if new.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let went = self.take(new);
            buffer.set_filled(before + went);
            if went > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// How many of these bytes go on as they are; the others are held back, or will stand in `ready`.
    fn take(&mut self, new: &[u8]) -> usize {
        let is_in_place = self.held.is_empty();
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(if is_in_place { &[] } else { new });
        let bytes = if is_in_place { new } else { &held };
        let (passed, wrong) = self.reader.pass(bytes);
        let mut ready = if is_in_place { Vec::new() } else { bytes[..passed].to_vec() };
        match wrong {
            Some(wrong) => ready.extend_from_slice(&wrong.stand_in()),
            None => self.held = bytes[passed..].to_vec(),
        }
        self.ready = (ready, 0);
        if is_in_place { passed } else { 0 }
    }
}

/// What is wrong with a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Malformed,
    Oversized,
}

impl Wrong {
    fn stand_in(self) -> Vec<u8> {
        let method = if self == Self::Malformed { MALFORMED } else { OVERSIZED };
        format!("{method} / HTTP/1.1\r\nhost: -\r\nconnection: close\r\n\r\n").into_bytes()
    }
}

/// Where on the connection we are.
enum Place {
    Head(Head),
    /// So many bytes of a body are to come.
    Body(u64),
    /// A body in chunks, behind which no request is read.
    Chunks,
    /// Behind a head that was refused.
    Over,
}

struct Reader {
    most: Most,
    place: Place,
}

impl Reader {
    fn is_over(&self) -> bool {
        matches!(self.place, Place::Over)
    }

    /// How many of these bytes go on. A head does as a whole: when it is not whole yet, the next call begins with the same bytes.
    fn pass(&mut self, bytes: &[u8]) -> (usize, Option<Wrong>) {
        let mut at = 0;
        while at < bytes.len() {
            match &mut self.place {
                Place::Head(head) => match head.read(&bytes[at..], self.most) {
                    Ok(Some((length, next))) => {
                        at += length;
                        self.place = next;
                    }
                    Ok(None) => return (at, None),
                    Err(wrong) => {
                        self.place = Place::Over;
                        return (at, Some(wrong));
                    }
                },
                Place::Body(left) => {
                    let here = u64::try_from(bytes.len() - at).unwrap_or(u64::MAX).min(*left);
                    *left -= here;
                    at += usize::try_from(here).unwrap_or(usize::MAX);
                    if *left == 0 {
                        self.place = Place::Head(Head::default());
                    }
                }
                Place::Chunks => return (bytes.len(), None),
                Place::Over => return (at, None),
            }
        }
        (at, None)
    }
}

/// What is known of a head so far.
#[derive(Default)]
struct Head {
    /// Where the line begins that is not whole yet.
    line: usize,
    /// How far it was looked at for its end.
    looked: usize,
    lines: usize,
    is_old: bool,
    has_host: bool,
    length: Option<u64>,
    is_chunked: bool,
}

impl Head {
    /// Goes on where it stopped. `bytes` are those of the head from its beginning, and what comes behind it.
    fn read(&mut self, bytes: &[u8], most: Most) -> Result<Option<(usize, Place)>, Wrong> {
        while let Some(end) = line_end(&bytes[self.looked..]).map(|end| self.looked + end) {
            let line = bytes[self.line..end].strip_suffix(b"\r").ok_or(Wrong::Malformed)?;
            (self.line, self.looked) = (end + 1, end + 1);
            if self.line > most.bytes {
                return Err(Wrong::Oversized);
            }
            match line {
                line if self.lines == 0 => self.request_line(line)?,
                [] => return Ok(Some((self.line, self.body()?))),
                line => self.field(line)?,
            }
            self.lines += 1;
            if self.lines > most.fields.saturating_add(1) {
                return Err(Wrong::Oversized);
            }
        }
        self.looked = bytes.len();
        if bytes.len() > most.bytes { Err(Wrong::Oversized) } else { Ok(None) }
    }

    /// `method SP target SP version` (RFC 9112 §3), with a path for a target: the vault is nobody's proxy.
    fn request_line(&mut self, line: &[u8]) -> Result<(), Wrong> {
        let mut parts = line.split(|&byte| byte == b' ');
        let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(Wrong::Malformed);
        };
        if target.len() > LONGEST_TARGET {
            return Err(Wrong::Oversized);
        }
        let is_method = (1..=LONGEST_METHOD).contains(&method.len()) && all(method, TOKEN) && method != b"CONNECT";
        let is_target = target.first() == Some(&b'/') && all(target, TARGET);
        self.is_old = version == b"HTTP/1.0";
        let is_version = version == b"HTTP/1.1" || self.is_old;
        if is_method && is_target && is_version { Ok(()) } else { Err(Wrong::Malformed) }
    }

    /// `name ":" value` (RFC 9112 §5). A line that goes on with the one before begins with a space, which no name does.
    fn field(&mut self, line: &[u8]) -> Result<(), Wrong> {
        let colon = line.iter().position(|&byte| byte == b':').ok_or(Wrong::Malformed)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if !(1..=LONGEST_NAME).contains(&name.len()) || !all(name, TOKEN) || !is_value(&line[colon + 1..]) {
            return Err(Wrong::Malformed);
        }
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        let is_fine = match name.len() {
            4 if is("host") => !std::mem::replace(&mut self.has_host, true) && all(value, HOST),
            14 if is("content-length") => {
                self.length.is_none() && {
                    self.length = number(value);
                    self.length.is_some()
                }
            }
            17 if is("transfer-encoding") => {
                !std::mem::replace(&mut self.is_chunked, true) && value.eq_ignore_ascii_case(b"chunked")
            }
            _ => true,
        };
        if is_fine { Ok(()) } else { Err(Wrong::Malformed) }
    }

    /// What comes behind a head that is whole (RFC 9112 §§3.2, 6.3).
    fn body(&self) -> Result<Place, Wrong> {
        match (self.is_chunked, self.length) {
            _ if !self.has_host && !self.is_old => Err(Wrong::Malformed),
            (true, None) if !self.is_old => Ok(Place::Chunks),
            (true, _) => Err(Wrong::Malformed),
            (false, None | Some(0)) => Ok(Place::Head(Self::default())),
            (false, Some(length)) => Ok(Place::Body(length)),
        }
    }
}

/// A length in digits alone; more than 18 of them are none.
fn number(text: &[u8]) -> Option<u64> {
    let is_number = (1..=18).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    is_number.then(|| text.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// Bytes that are looked at together, without a branch between them, so that the compiler takes a register full at a time.
const TOGETHER: usize = 32;

/// Where the first line ends: the place of its LF.
fn line_end(bytes: &[u8]) -> Option<usize> {
    let has_end = |bytes: &[u8]| bytes.iter().fold(false, |found, &byte| found | (byte == b'\n'));
    let skipped = bytes.chunks_exact(TOGETHER).take_while(|bytes| !has_end(bytes)).count() * TOGETHER;
    bytes[skipped..].iter().position(|&byte| byte == b'\n').map(|end| skipped + end)
}

/// Whether this can be the value of a header (RFC 9110 §5.5): no control character but the tab.
fn is_value(bytes: &[u8]) -> bool {
    !bytes.iter().fold(false, |bad, &byte| bad | (byte < b' ' && byte != b'\t') | (byte == 0x7f))
}

/// What a byte may stand in: bits of [`BYTES`].
const TOKEN: u8 = 1;
const TARGET: u8 = 2;
const HOST: u8 = 4;

/// RFC 9110 §5.6.2 (token), RFC 3986 §3.3 and §3.4 (path and query), §3.2.2 and §3.2.3 (host and port).
static BYTES: [u8; 256] = {
    let mut bytes = [0; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        let plain = byte.is_ascii_alphanumeric();
        if plain || is_one_of(byte, b"!#$%&'*+-.^_`|~") {
            bytes[at] |= TOKEN;
        }
        if plain || is_one_of(byte, b"-._~!$&'()*+,;=:@/?%") {
            bytes[at] |= TARGET;
        }
        if plain || is_one_of(byte, b"-._~!$&'()*+,;=:[]%") {
            bytes[at] |= HOST;
        }
        at += 1;
    }
    bytes
};

const fn is_one_of(byte: u8, all: &[u8]) -> bool {
    let mut at = 0;
    while at < all.len() {
        if all[at] == byte {
            return true;
        }
        at += 1;
    }
    false
}

fn all(bytes: &[u8], class: u8) -> bool {
    bytes.iter().fold(class, |common, &byte| common & BYTES[usize::from(byte)]) != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOST: Most = Most { bytes: 512, fields: 6 };

    /// What goes on of these bytes when they come in pieces of that size.
    fn let_through(bytes: &[u8], piece: usize) -> Vec<u8> {
        let mut heads = Heads::new(MOST);
        let mut stream = bytes.chunks(piece.max(1)).fold(in_pieces::Pieces::default(), in_pieces::Pieces::and);
        let mut went = Vec::new();
        let mut context = Context::from_waker(std::task::Waker::noop());
        loop {
            let mut room = [0; 64];
            let mut buffer = ReadBuf::new(&mut room);
            let Poll::Ready(done) = heads.poll_read(&mut stream, &mut context, &mut buffer) else {
                assert!(heads.is_over());
                return went;
            };
            done.unwrap();
            if buffer.filled().is_empty() {
                return went;
            }
            went.extend_from_slice(buffer.filled());
        }
    }

    /// A stream of pieces, each read at once as far as there is room.
    mod in_pieces {
        use super::*;
        use std::collections::VecDeque;

        #[derive(Default)]
        pub(super) struct Pieces(VecDeque<Vec<u8>>);

        impl Pieces {
            pub(super) fn and(mut self, piece: &[u8]) -> Self {
                self.0.push_back(piece.to_vec());
                self
            }
        }

        impl AsyncRead for Pieces {
            fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
                if let Some(mut piece) = self.0.pop_front() {
                    let count = piece.len().min(buffer.remaining());
                    buffer.put_slice(&piece[..count]);
                    let rest = piece.split_off(count);
                    if !rest.is_empty() {
                        self.0.push_front(rest);
                    }
                }
                Poll::Ready(Ok(()))
            }
        }
    }

    fn stand_in(wrong: Wrong) -> String {
        String::from_utf8(wrong.stand_in()).unwrap()
    }

    const GOOD: &str =
        "POST /v1/a?b=c%20d HTTP/1.1\r\nHost: [::1]:8443\r\nX-Any: \u{e4} \t!\r\nContent-Length: 5\r\n\r\n\n\r\n\r\n";

    #[test]
    fn what_has_one_reading_goes_on_unchanged_however_it_is_cut() {
        let chunked = "PUT / HTTP/1.1\r\nhost:\r\ntransfer-encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET nonsense";
        let old = "GET /healthz HTTP/1.0\r\n\r\n";
        let all = format!("{GOOD}{old}{GOOD}{chunked}");
        for piece in [1, 2, 3, 7, 20, 50, 64, 1_000] {
            assert_eq!(String::from_utf8_lossy(&let_through(all.as_bytes(), piece)), all, "{piece}");
        }
    }

    #[test]
    fn what_has_none_is_replaced_and_nothing_behind_it_is_read() {
        let host = "host: a\r\n";
        for bad in [
            "GET / HTTP/1.1\n\r\n".to_owned(),
            format!("GET / HTTP/1.1\r\n{host}\n"),
            format!("GET / HTTP/1.1\r\n{host}x: 1\n\r\n"),
            format!("GET / HTTP/1.1\r\n{host}x: 1\r2\r\n\r\n"),
            format!("GET / HTTP/1.1\r\n{host}x: a\0b\r\n\r\n"),
            format!("GET / HTTP/1.1\r\n{host}x: a\x7f\r\n\r\n"),
            format!("GET /\0 HTTP/1.1\r\n{host}\r\n"),
            format!("GET / HTTP/1.1\r\n{host}x: 1\r\n 2\r\n\r\n"),
            format!("GET / HTTP/1.1\r\n\tx: 1\r\n{host}\r\n"),
            format!("GET / HTTP/1.1\r\n{host}x : 1\r\n\r\n"),
            format!("GET / HTTP/1.1\r\n{host}: 1\r\n\r\n"),
            format!("GET / HTTP/1.1\r\n{host}x\r\n\r\n"),
            format!("GET / HTTP/1.1\r\n{host}{host}\r\n"),
            "GET / HTTP/1.1\r\nhost: a b\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\nhost: a/b\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\n\r\n".to_owned(),
            format!("\r\nGET / HTTP/1.1\r\n{host}\r\n"),
            format!("GET  / HTTP/1.1\r\n{host}\r\n"),
            format!("GET / HTTP/1.1 \r\n{host}\r\n"),
            format!("GET / HTTP/2.0\r\n{host}\r\n"),
            format!("GET / http/1.1\r\n{host}\r\n"),
            format!("GET /\r\n{host}\r\n"),
            format!("GET https://a/v1/keys HTTP/1.1\r\n{host}\r\n"),
            format!("OPTIONS * HTTP/1.1\r\n{host}\r\n"),
            format!("CONNECT a:443 HTTP/1.1\r\n{host}\r\n"),
            format!("CONNECT / HTTP/1.1\r\n{host}\r\n"),
            format!("GET /#a HTTP/1.1\r\n{host}\r\n"),
            format!("GET /\u{e4} HTTP/1.1\r\n{host}\r\n"),
            format!("G(T / HTTP/1.1\r\n{host}\r\n"),
            format!("POST / HTTP/1.1\r\n{host}content-length: 1\r\ncontent-length: 1\r\n\r\na"),
            format!("POST / HTTP/1.1\r\n{host}content-length: 1, 1\r\n\r\na"),
            format!("POST / HTTP/1.1\r\n{host}content-length: +1\r\n\r\na"),
            format!("POST / HTTP/1.1\r\n{host}content-length: 0x1\r\n\r\na"),
            format!("POST / HTTP/1.1\r\n{host}content-length:\r\n\r\n"),
            format!("POST / HTTP/1.1\r\n{host}content-length: 18446744073709551616\r\n\r\n"),
            format!("POST / HTTP/1.1\r\n{host}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
            format!("POST / HTTP/1.1\r\n{host}transfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n0\r\n\r\n"),
            format!("POST / HTTP/1.1\r\n{host}transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
            format!("POST / HTTP/1.1\r\n{host}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
            format!("POST / HTTP/1.1\r\n{host}transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
            format!("POST / HTTP/1.1\r\n{host}transfer-encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
            format!("POST / HTTP/1.0\r\n{host}transfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        ] {
            let sent = format!("{GOOD}{bad}{GOOD}");
            let wanted = format!("{GOOD}{}", stand_in(Wrong::Malformed));
            for piece in [1, 3, 64, 1_000] {
                assert_eq!(String::from_utf8_lossy(&let_through(sent.as_bytes(), piece)), wanted, "{bad:?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn a_head_beyond_its_limits_is_replaced_before_its_end_came() {
        let wanted = stand_in(Wrong::Oversized);
        let endless = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", "x".repeat(MOST.bytes));
        let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}", "x: 1\r\n".repeat(MOST.fields));
        for bad in [endless, many] {
            for piece in [1, 64, 1_000] {
                assert_eq!(String::from_utf8_lossy(&let_through(bad.as_bytes(), piece)), wanted, "{piece}");
            }
        }
        let just = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: 1\r\n".repeat(MOST.fields - 1));
        assert_eq!(let_through(just.as_bytes(), 5), just.as_bytes());
    }

    #[test]
    fn a_line_ends_where_its_first_lf_stands_wherever_that_is() {
        for length in 0..100 {
            let mut bytes = vec![b'a'; length];
            assert_eq!(line_end(&bytes), None);
            for end in (0..length).rev() {
                bytes[end] = b'\n';
                assert_eq!(line_end(&bytes), Some(end));
            }
        }
        for byte in 0..=u8::MAX {
            let is_fine = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
            assert!((0..40).all(|at| is_value(&[&vec![b'a'; at][..], &[byte], &[b'a'; 40]].concat()) == is_fine), "{byte}");
        }
    }

    #[test]
    fn a_head_that_breaks_off_never_goes_on() {
        assert!(let_through(b"GET / HTTP/1.1\r\nhost: a\r\n", 4).is_empty());
    }

    #[test]
    fn what_stands_for_a_refused_head_is_known_by_its_method() {
        let code = |method: &str| refusal(&method.parse().unwrap());
        assert_eq!(code(MALFORMED), Some(Code::MalformedRequest));
        assert_eq!(code(OVERSIZED), Some(Code::HeadersTooLarge));
        assert_eq!(code("GET"), None);
        for wrong in [Wrong::Malformed, Wrong::Oversized] {
            assert_eq!(let_through(&wrong.stand_in(), 1_000), wrong.stand_in());
        }
    }

    proptest! {
        #[test]
        fn the_same_goes_on_whatever_the_pieces(
            parts in proptest::collection::vec(proptest::sample::select(vec![
                "GET / HTTP/1.1\r\n", "host: a\r\n", "content-length: 3\r\n", "transfer-encoding: chunked\r\n", "\r\n", "\n", "abc", "x: y\r\n", " ", "\0",
            ]), 0..24),
            piece in 1usize..40,
        ) {
            let bytes = parts.concat();
            prop_assert_eq!(let_through(bytes.as_bytes(), piece), let_through(bytes.as_bytes(), 10_000));
        }
    }
}
