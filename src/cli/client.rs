//! A small HTTPS client for the vault's API: one root certificate, TLS 1.3, keep-alive, JSON in and out.
//!
//! It trusts the one certificate authority that it is given and nothing else, follows no redirect and uses no proxy,
//! so that a bearer token goes to the vault or nowhere.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method};
use keys::secret::{ExposeSecret, SecretString};
use serde_json::Value;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

/// Largest answer that is read: a page of 500 records of the largest size is far below it.
const LARGEST_ANSWER: u64 = 64 << 20;

/// Seconds until a call is given up: an erasure of a large batch is well below it.
const PATIENCE: Duration = Duration::from_secs(120);

/// The vault's API at one address, for the holder of one token. A clone shares its connections.
#[derive(Clone)]
pub struct Client {
    agent: ureq::Agent,
    url: String,
    token: Option<Arc<SecretString>>,
}

/// What stood between a call and its answer. It names no header and no value.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Not `https://host[:port]`.
    #[error("the address is not of the form https://host:port")]
    Address,
    /// Not a PEM file with a certificate.
    #[error("the CA file holds no certificate in PEM form")]
    Authority,
    /// A token, purpose or key with characters that a header cannot carry.
    #[error("a header of the call has characters that HTTP does not allow")]
    Header,
    /// Nobody answers, or not in time.
    #[error("nobody answers at {0}")]
    Unreachable(String),
    /// The other side is not the vault that the CA vouches for.
    #[error("the server at {0} does not show a certificate of the given CA")]
    Untrusted(String),
    /// The connection broke, or what came was not HTTP.
    #[error("the answer from {0} broke off or is not HTTP")]
    Broken(String),
    /// Not JSON where JSON was promised.
    #[error("the answer from {0} is not JSON")]
    NotJson(String),
}

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// The JSON body; null where there is none.
    pub body: Value,
}

impl Client {
    /// A client for `url` (`https://host:port`) that trusts only the certificates in `ca_pem`.
    pub fn new(url: &str, ca_pem: &str, token: Option<SecretString>) -> Result<Self, ClientError> {
        let url = url.trim_end_matches('/');
        let address: http::Uri = url.parse().map_err(|_| ClientError::Address)?;
        if address.scheme_str() != Some("https") || address.host().is_none() || !matches!(address.path(), "" | "/") {
            return Err(ClientError::Address);
        }
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .root_certs(RootCerts::from(authorities(ca_pem)?))
            .build();
        let agent = ureq::Agent::config_builder()
            .tls_config(tls)
            .https_only(true)
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(PATIENCE))
            .timeout_connect(Some(Duration::from_secs(10)))
            .user_agent(concat!("oubliette/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Ok(Self { agent, url: url.to_owned(), token: token.map(Arc::new) })
    }

    /// The same vault, with another caller's token; connections are shared.
    pub fn with_token(&self, token: SecretString) -> Self {
        Self { token: Some(Arc::new(token)), ..self.clone() }
    }

    /// The address, without a slash at its end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// GET.
    pub fn get(&self, path: &str) -> Call<'_> {
        self.call(Method::GET, path)
    }

    /// POST with a JSON body.
    pub fn post(&self, path: &str, body: &Value) -> Call<'_> {
        self.call(Method::POST, path).body(body)
    }

    /// PUT with a JSON body.
    pub fn put(&self, path: &str, body: &Value) -> Call<'_> {
        self.call(Method::PUT, path).body(body)
    }

    /// PATCH with a JSON Merge Patch (RFC 7396).
    pub fn patch(&self, path: &str, body: &Value) -> Call<'_> {
        self.call(Method::PATCH, path).body(body).header("Content-Type", "application/merge-patch+json")
    }

    /// DELETE.
    pub fn delete(&self, path: &str) -> Call<'_> {
        self.call(Method::DELETE, path)
    }

    fn call(&self, method: Method, path: &str) -> Call<'_> {
        Call { client: self, method, path: path.to_owned(), headers: Vec::new(), body: None }
    }
}

/// One call that is being put together; [`Call::send`] makes it.
pub struct Call<'a> {
    client: &'a Client,
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Option<Vec<u8>>,
}

impl Call<'_> {
    /// `Vault-Purpose`.
    pub fn purpose(self, purpose: &str) -> Self {
        self.header("Vault-Purpose", purpose)
    }

    /// `Idempotency-Key`.
    pub fn idempotency_key(self, key: &str) -> Self {
        self.header("Idempotency-Key", key)
    }

    /// `If-Match`.
    pub fn if_match(self, etag: &str) -> Self {
        self.header("If-Match", etag)
    }

    /// A header; the last of a name wins.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.to_owned()));
        self
    }

    /// A body as it is, such as NDJSON or a broken one in a test.
    pub fn raw(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self.header("Content-Type", content_type)
    }

    fn body(self, body: &Value) -> Self {
        self.raw("application/json", body.to_string())
    }

    /// Makes the call. Every status is an answer; only a missing answer is an error.
    pub fn send(self) -> Result<Reply, ClientError> {
        let mut request = http::Request::builder().method(self.method).uri(format!("{}{}", self.client.url, self.path));
        request = request.header("Accept", "application/json, application/problem+json");
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        if let Some(token) = &self.client.token {
            let mut bearer =
                HeaderValue::try_from(format!("Bearer {}", token.expose_secret())).map_err(|_| ClientError::Header)?;
            bearer.set_sensitive(true);
            request = request.header("Authorization", bearer);
        }
        let agent = &self.client.agent;
        let answer = match self.body {
            Some(body) => agent.run(request.body(body).map_err(|_| ClientError::Header)?),
            None => agent.run(request.body(()).map_err(|_| ClientError::Header)?),
        };
        let here = || self.client.url.clone();
        let (parts, mut body) = answer.map_err(|e| explained(&e, here()))?.into_parts();
        let bytes = body.with_config().limit(LARGEST_ANSWER).read_to_vec().map_err(|e| explained(&e, here()))?;
        let json = parts.headers.get("content-type").and_then(|v| v.to_str().ok()).is_some_and(|v| v.contains("json"));
        let body = match (bytes.is_empty(), json) {
            (true, _) => Value::Null,
            (false, true) => serde_json::from_slice(&bytes).map_err(|_| ClientError::NotJson(here()))?,
            // /healthz and checkpoints are text.
            (false, false) => Value::String(String::from_utf8(bytes).map_err(|_| ClientError::NotJson(here()))?),
        };
        Ok(Reply { status: parts.status.as_u16(), headers: parts.headers, body })
    }
}

impl Reply {
    /// 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The problem code of an answer that refuses, such as `purpose-not-granted`.
    pub fn code(&self) -> Option<&str> {
        problem_code(&self.body)
    }

    /// A text member of the body; empty where there is none.
    pub fn text(&self, member: &str) -> &str {
        self.body[member].as_str().unwrap_or_default()
    }
}

/// The code in a problem document (RFC 9457), without `urn:oubliette:problem:`.
pub fn problem_code(body: &Value) -> Option<&str> {
    body["type"].as_str()?.rsplit(':').next()
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("url", &self.url).finish_non_exhaustive()
    }
}

fn authorities(pem: &str) -> Result<Vec<Certificate<'static>>, ClientError> {
    let mut found = Vec::new();
    for item in parse_pem(pem.as_bytes()) {
        if let PemItem::Certificate(certificate) = item.map_err(|_| ClientError::Authority)? {
            found.push(certificate);
        }
    }
    if found.is_empty() { Err(ClientError::Authority) } else { Ok(found) }
}

/// ureq wraps TLS failures in I/O errors at times, so both forms are looked at.
fn explained(error: &ureq::Error, url: String) -> ClientError {
    use ureq::Error as E;
    match error {
        E::HostNotFound | E::ConnectionFailed | E::Timeout(_) => ClientError::Unreachable(url),
        E::Tls(_) | E::Rustls(_) => ClientError::Untrusted(url),
        E::Io(io) if io.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => ClientError::Untrusted(url),
        E::Io(io) if io.kind() == std::io::ErrorKind::ConnectionRefused => ClientError::Unreachable(url),
        E::BadUri(_) => ClientError::Address,
        E::Http(_) => ClientError::Header,
        _ => ClientError::Broken(url),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    fn authority() -> String {
        rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap().cert.pem()
    }

    #[test]
    fn plain_http_and_paths_are_not_addresses() {
        for url in ["http://127.0.0.1:1", "127.0.0.1:1", "https://127.0.0.1:1/v1", "ftp://x", ""] {
            assert!(matches!(Client::new(url, &authority(), None), Err(ClientError::Address)), "{url}");
        }
        assert_eq!(Client::new("https://127.0.0.1:1/", &authority(), None).unwrap().url(), "https://127.0.0.1:1");
    }

    #[test]
    fn a_ca_file_without_a_certificate_is_refused() {
        for pem in ["", "no pem", "-----BEGIN CERTIFICATE-----\n???\n-----END CERTIFICATE-----\n"] {
            assert!(matches!(Client::new("https://127.0.0.1:1", pem, None), Err(ClientError::Authority)), "{pem}");
        }
    }

    #[test]
    fn a_closed_port_is_unreachable() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let client = Client::new(&format!("https://127.0.0.1:{port}"), &authority(), None).unwrap();
        let error = client.get("/healthz").send().unwrap_err();
        assert!(matches!(error, ClientError::Unreachable(_)), "{error:?}");
    }

    #[test]
    fn a_server_without_tls_is_no_vault() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let plain = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut greeting = [0; 512];
            let _ = stream.read(&mut greeting);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
        });
        let error = Client::new(&url, &authority(), None).unwrap().get("/healthz").send().unwrap_err();
        plain.join().unwrap();
        assert!(matches!(error, ClientError::Untrusted(_) | ClientError::Broken(_)), "{error:?}");
    }

    #[test]
    fn a_server_of_another_authority_never_sees_the_token() {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let foreign = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let connection = rustls::ServerConnection::new(Arc::new(config)).unwrap();
            let mut seen = Vec::new();
            let _ = rustls::StreamOwned::new(connection, stream).read_to_end(&mut seen);
            seen
        });
        let token = SecretString::from("a-token");
        let error = Client::new(&url, &authority(), Some(token)).unwrap().get("/v1/keys").send().unwrap_err();
        assert!(matches!(error, ClientError::Untrusted(_)), "{error:?}");
        assert!(foreign.join().unwrap().is_empty());
    }

    #[test]
    fn a_token_with_a_line_break_is_not_sent() {
        let client = Client::new("https://127.0.0.1:1", &authority(), Some("a\r\nX-Evil: 1".into())).unwrap();
        assert!(matches!(client.get("/").send(), Err(ClientError::Header)));
        assert!(!format!("{client:?}").contains("Evil"));
    }

    #[test]
    fn the_code_of_a_problem_is_its_last_part() {
        let body = serde_json::json!({"type": "urn:oubliette:problem:erased", "status": 410});
        assert_eq!(problem_code(&body), Some("erased"));
        assert_eq!(problem_code(&Value::Null), None);
    }
}
