//! The one client for calls that leave the house: HTTPS alone, no redirects, no proxy, a time-out, a bounded answer.

use std::path::Path;
use std::sync::Arc;

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

use super::{Failed, Post};

/// The authorities that are trusted unless told.
const SYSTEM: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Bytes of an answer's body that are read, so that its connection ends in order. What it says is not looked at.
const LARGEST: u64 = 64 << 10;

impl Post {
    /// Posts `body` to `url` and answers the other side's status, whatever it is. It waits: call it from a thread that may.
    pub fn post(&self, url: &str, media: &str, body: &[u8]) -> Result<u16, Failed> {
        let agent = ureq::Agent::config_builder()
            .tls_config(self.tls()?)
            .https_only(true)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(self.settings.patience))
            .build()
            .new_agent();
        let sent = agent.post(url).header("accept", "application/json").content_type(media).send(body);
        let mut response = sent.map_err(|error| match error {
            ureq::Error::BadUri(_) | ureq::Error::RequireHttpsOnly(_) | ureq::Error::Http(_) => Failed::Address,
            _ => Failed::Unreachable,
        })?;
        let status = response.status().as_u16();
        // An answer that is too long or breaks off has still answered.
        let _ = response.body_mut().with_config().limit(LARGEST).read_to_vec();
        Ok(status)
    }

    fn tls(&self) -> Result<TlsConfig, Failed> {
        Ok(TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .root_certs(RootCerts::from(self.authorities()?))
            .build())
    }

    /// Who may vouch for the other side.
    pub(super) fn authorities(&self) -> Result<Vec<Certificate<'static>>, Failed> {
        let path = self.settings.authorities.as_deref().unwrap_or(Path::new(SYSTEM));
        let pem = std::fs::read(path).map_err(|_| Failed::NoSender)?;
        let certificates = parse_pem(&pem).filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        });
        Ok(certificates.collect())
    }
}
