//! `X-Request-Id` and `traceparent`: told back to the peer, never logged, because a peer may write anything into them.

use http::{HeaderMap, HeaderName, HeaderValue};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What ties a request to its answer and to the peer's trace.
pub(super) struct Correlation {
    request: HeaderValue,
    trace: Option<HeaderValue>,
}

impl Correlation {
    /// The peer's request id if it is in the safe pattern, else a fresh one; the peer's trace if it has one.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let request = headers.get(X_REQUEST_ID).filter(|id| is_safe(id.as_bytes())).cloned();
        Self { request: request.unwrap_or_else(fresh), trace: headers.get(TRACEPARENT).and_then(continued) }
    }

    /// Puts both on the answer.
    pub(super) fn write(self, headers: &mut HeaderMap) {
        headers.insert(X_REQUEST_ID, self.request);
        if let Some(trace) = self.trace {
            headers.insert(TRACEPARENT, trace);
        }
    }
}

fn is_safe(id: &[u8]) -> bool {
    (1..=64).contains(&id.len()) && id.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_' || *b == b'-')
}

fn fresh() -> HeaderValue {
    HeaderValue::try_from(format!("{:032x}", rand::random::<u128>())).unwrap_or(HeaderValue::from_static("-"))
}

/// The same trace with a parent id of ours (W3C Trace Context, version 00); none if it is not well-formed.
fn continued(header: &HeaderValue) -> Option<HeaderValue> {
    let text = header.to_str().ok().filter(|text| text.len() == 55)?;
    let mut parts = text.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |part: &str, length| part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let set = |part: &str| part.bytes().any(|b| b != b'0');
    let is_good = version == "00" && hex(trace, 32) && hex(parent, 16) && hex(flags, 2) && set(trace) && set(parent);
    if !is_good || parts.next().is_some() {
        return None;
    }
    HeaderValue::try_from(format!("00-{trace}-{:016x}-{flags}", rand::random::<u64>().max(1))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(name: HeaderName, value: &str) -> HeaderMap {
        let mut answer = HeaderMap::new();
        Correlation::of(&HeaderMap::from_iter([(name, value.parse().unwrap())])).write(&mut answer);
        answer
    }

    #[test]
    fn a_safe_request_id_comes_back_and_another_is_replaced() {
        assert_eq!(answered(X_REQUEST_ID, "Order-7_a")[X_REQUEST_ID], "Order-7_a");
        let long = "a".repeat(65);
        for bad in ["", "ada@example.org", "a b", long.as_str()] {
            let id = answered(X_REQUEST_ID, bad)[X_REQUEST_ID].to_str().unwrap().to_owned();
            assert!(id.len() == 32 && id != bad, "{id}");
        }
    }

    #[test]
    fn a_trace_goes_on_under_a_new_parent() {
        let came = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let went = answered(TRACEPARENT, came)[TRACEPARENT].to_str().unwrap().to_owned();
        assert!(went.starts_with(&came[..36]) && went.ends_with("-01") && went.len() == 55 && went != came);
    }

    #[test]
    fn a_broken_trace_is_not_continued() {
        let zeros = format!("00-{}-b7ad6b7169203331-01", "0".repeat(32));
        for bad in [
            zeros.as_str(),
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "x",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        ] {
            assert!(!answered(TRACEPARENT, bad).contains_key(TRACEPARENT), "{bad}");
        }
    }
}
