//! The line to a provider over the network: HTTPS, a few seconds, three tries, and a short answer that is wiped.
//!
//! What TLS holds of an answer before it is handed on is not wiped; it is in the memory of this process alone, as the key itself is.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ureq::http::{Request, header};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};
use zeroize::Zeroizing;

/// The authorities that are trusted unless told.
const SYSTEM: &str = "/etc/ssl/certs/ca-certificates.crt";
/// No answer that is waited for is longer.
const LONGEST: usize = 32 << 10;
/// The longest that a connection, and the whole of a call, may take.
const TO_CONNECT: Duration = Duration::from_secs(2);
const IN_ALL: Duration = Duration::from_secs(5);
/// How long a connection is kept for the next call.
const IDLE: Duration = Duration::from_secs(5);
/// What is waited before the second and the third try.
const BETWEEN: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(500)];

/// What came back, whatever its status.
pub(super) struct Reply {
    /// The status of HTTP.
    pub(super) status: u16,
    /// At most 32 KiB; wiped on drop.
    pub(super) body: Zeroizing<Vec<u8>>,
}

/// Why nothing came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoReply {
    /// The address is not `https`, or cannot be read. Plain HTTP goes to this machine alone.
    Address,
    /// The file with the authorities cannot be read, or has none.
    Authorities,
    /// Nobody answers, or not in time, or the certificate is not one that is trusted.
    Away,
}

/// A client with its connections.
pub(super) struct Line(ureq::Agent);

impl Line {
    /// A client that trusts the authorities in this file (PEM), or those of the system.
    pub(super) fn new(authorities: Option<&Path>) -> Result<Self, NoReply> {
        let pem = std::fs::read(authorities.unwrap_or(SYSTEM.as_ref()));
        let roots: Vec<Certificate<'static>> = match pem {
            Ok(pem) => parse_pem(&pem)
                .filter_map(|item| if let Ok(PemItem::Certificate(one)) = item { Some(one) } else { None })
                .collect(),
            // A machine without any may still speak to itself.
            Err(_) if authorities.is_none() => Vec::new(),
            Err(_) => return Err(NoReply::Authorities),
        };
        if roots.is_empty() && authorities.is_some() {
            return Err(NoReply::Authorities);
        }
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .root_certs(RootCerts::from(roots))
            .build();
        let agent = ureq::Agent::config_builder()
            .tls_config(tls)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .proxy(None)
            .max_idle_age(IDLE)
            .timeout_connect(Some(TO_CONNECT))
            .timeout_global(Some(IN_ALL))
            .build()
            .new_agent();
        Ok(Self(agent))
    }

    /// Asks, three times at most while nobody answers or the other side is busy (429, 5xx).
    pub(super) fn ask(&self, method: &str, url: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Result<Reply, NoReply> {
        if !is_allowed(url) {
            return Err(NoReply::Address);
        }
        let mut last = self.once(method, url, headers, body);
        for wait in BETWEEN {
            match &last {
                Err(NoReply::Away) => {}
                Ok(reply) if reply.status == 429 || reply.status >= 500 => {}
                _ => break,
            }
            thread::sleep(wait);
            last = self.once(method, url, headers, body);
        }
        last
    }

    /// Asks once, for what must not be done twice.
    pub(super) fn once(&self, method: &str, url: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Result<Reply, NoReply> {
        if !is_allowed(url) {
            return Err(NoReply::Address);
        }
        let mut request = Request::builder().method(method).uri(url).header(header::ACCEPT, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let sent = match body {
            Some(body) => request.body(body).map_err(|_| NoReply::Address).map(|request| self.0.run(request)),
            None => request.body(()).map_err(|_| NoReply::Address).map(|request| self.0.run(request)),
        };
        let mut response = sent?.map_err(|error| match error {
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => NoReply::Address,
            _ => NoReply::Away,
        })?;
        // In its final place from the beginning, so that no piece of it is left behind by a growing buffer.
        let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST + 1));
        let read = response.body_mut().as_reader().take(LONGEST as u64).read_to_end(&mut bytes);
        read.map_err(|_| NoReply::Away)?;
        Ok(Reply { status: response.status().as_u16(), body: bytes })
    }
}

/// The host with its port, as a `Host` header has it; none when the address is not one to speak to.
pub(super) fn host(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next().filter(|host| !host.is_empty())?;
    // A client leaves out the port that goes without saying.
    let host = host.strip_suffix(if scheme == "https" { ":443" } else { ":80" }).unwrap_or(host);
    let sane = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte));
    (sane && matches!(scheme, "https" | "http")).then_some(host)
}

/// `https` goes anywhere, `http` to this machine and to the two addresses at which a cloud gives its machines their credentials.
fn is_allowed(url: &str) -> bool {
    let Some(host) = host(url) else { return false };
    let name =
        host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit())).map_or(host, |(name, _)| name);
    url.starts_with("https://")
        || matches!(
            name,
            "localhost"
                | "127.0.0.1"
                | "[::1]"
                | "169.254.169.254"
                | "169.254.170.2"
                | "169.254.170.23"
                | "[fd00:ec2::23]"
                | "[fd00:ec2::254]"
        )
}

/// Bytes as digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_stays_on_this_machine() {
        for good in ["https://kms.eu-central-1.amazonaws.com/", "http://127.0.0.1:8200/v1", "http://[::1]:1", "http://localhost"]
        {
            assert!(is_allowed(good), "{good}");
        }
        for bad in [
            "http://vault.example.org/",
            "http://127.0.0.1.example.org/",
            "http://127.0.0.1@example.org/",
            "https://me@example.org/",
            "ftp://127.0.0.1/",
            "https://",
            "127.0.0.1",
            "",
        ] {
            assert!(!is_allowed(bad), "{bad}");
        }
    }

    #[test]
    fn a_host_is_written_as_a_client_writes_it() {
        assert_eq!(host("https://a.example:443/x"), Some("a.example"));
        assert_eq!(host("https://a.example:8443"), Some("a.example:8443"));
        assert_eq!(host("http://127.0.0.1:80/"), Some("127.0.0.1"));
        assert_eq!(host("https://a b/"), None);
    }

    #[test]
    fn authorities_that_are_not_there_are_said() {
        assert_eq!(Line::new(Some(Path::new("/nowhere"))).err(), Some(NoReply::Authorities));
        let empty = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(Line::new(Some(empty.path())).err(), Some(NoReply::Authorities));
    }

    #[test]
    fn a_closed_door_is_away_after_three_tries() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", free.local_addr().unwrap());
        drop(free);
        assert_eq!(Line::new(None).unwrap().ask("GET", &url, &[], None).err(), Some(NoReply::Away));
    }
}
