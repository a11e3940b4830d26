//! TLS 1.3 over aws-lc-rs, with a hybrid post-quantum key exchange first and a certificate that can be changed while running.
//!
//! On the first run the vault makes itself an authority and one P-256 certificate under it. The authority's key is never
//! written down, so nobody can make another certificate under `ca.pem`; a new one is a new authority.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::{Timestamp, tz::TimeZone};
use parking_lot::Mutex;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// How long a certificate of the first run is good for: what browsers take at most from a private authority.
const DAYS: i64 = 825;
/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(1);
/// Names that the first certificate always has.
const OWN_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Why there is no certificate to serve with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    /// A file does not hold what it should.
    #[error("{0}: no certificate or key in PEM")]
    Pem(PathBuf),
    /// Certificate and key cannot be used, or not together.
    #[error("certificate: {0}")]
    Unusable(#[from] rustls::Error),
    /// A certificate cannot be made, mostly because of a configured name.
    #[error("cannot make a certificate: {0}")]
    Making(#[from] rcgen::Error),
}

/// Makes `ca.pem`, `cert.pem` and `key.pem` (0600) in `dir`, unless a certificate is already there. Says whether it did.
pub fn first_run(dir: &Path, names: &[String], now: Timestamp) -> Result<bool, TlsError> {
    let (certificate, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    if certificate.exists() || key.exists() {
        return Ok(false);
    }
    fs::create_dir_all(dir).map_err(|error| TlsError::File(dir.to_owned(), error))?;

    let authority_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.distinguished_name.push(DnType::CommonName, "Oubliette vault authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    within(&mut authority, now);
    let authority_pem = authority.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(authority, authority_key);

    let mut all: Vec<String> = OWN_NAMES.iter().map(|name| (*name).to_owned()).collect();
    all.extend(names.iter().filter(|name| !OWN_NAMES.contains(&name.as_str())).cloned());
    let leaf_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut leaf = CertificateParams::new(all)?;
    leaf.distinguished_name.push(DnType::CommonName, "Oubliette vault");
    leaf.use_authority_key_identifier_extension = true;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    within(&mut leaf, now);
    let leaf_pem = leaf.signed_by(&leaf_key, &issuer)?.pem();

    // The certificate comes last: a run that was cut short starts afresh only when neither stands there.
    write_new(&dir.join("ca.pem"), authority_pem.as_bytes(), 0o644)?;
    write_new(&key, leaf_key.serialize_pem().as_bytes(), 0o600)?;
    write_new(&certificate, leaf_pem.as_bytes(), 0o644)?;
    Ok(true)
}

/// The certificate to serve with, read again when its files change.
pub struct Certificates {
    certificate: PathBuf,
    key: PathBuf,
    clients: Option<PathBuf>,
    state: Mutex<State>,
}

struct State {
    serving: Arc<ServerConfig>,
    fingerprint: String,
    looked: Instant,
    seen: Stamps,
}

type Stamps = [Option<(u64, u64, i64, i64)>; 3];

impl Certificates {
    /// Reads certificate and key, and the authorities of `clients`, under which a peer may show a certificate of its own.
    pub fn read(certificate: PathBuf, key: PathBuf, clients: Option<PathBuf>) -> Result<Self, TlsError> {
        let seen = stamps(&certificate, &key, clients.as_deref());
        let (serving, fingerprint) = load(&certificate, &key, clients.as_deref())?;
        let state = State { serving, fingerprint, looked: Instant::now(), seen };
        Ok(Self { certificate, key, clients, state: Mutex::new(state) })
    }

    /// What a new connection is served with. Files that changed are read, at most once a second; when they cannot be used,
    /// that is logged once and the old certificate stays.
    pub fn current(&self) -> Arc<ServerConfig> {
        let mut state = self.state.lock();
        if state.looked.elapsed() >= EVERY {
            state.looked = Instant::now();
            self.look(&mut state);
        }
        state.serving.clone()
    }

    /// SHA-256 of the serving certificate, as `openssl x509 -fingerprint -sha256` prints it.
    pub fn fingerprint(&self) -> String {
        self.state.lock().fingerprint.clone()
    }

    fn look(&self, state: &mut State) {
        let clients = self.clients.as_deref();
        let seen = stamps(&self.certificate, &self.key, clients);
        if seen == state.seen {
            return;
        }
        state.seen = seen;
        match load(&self.certificate, &self.key, clients) {
            Ok((serving, fingerprint)) => {
                tracing::info!(fingerprint, "a new certificate is served");
                (state.serving, state.fingerprint) = (serving, fingerprint);
            }
            Err(error) => tracing::error!(%error, "the new certificate cannot be used; the old one stays"),
        }
    }
}

fn load(certificate: &Path, key: &Path, clients: Option<&Path>) -> Result<(Arc<ServerConfig>, String), TlsError> {
    let text = fs::read(certificate).map_err(|error| TlsError::File(certificate.to_owned(), error))?;
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(|_| TlsError::Pem(certificate.to_owned()))?;
    let leaf = chain.first().ok_or_else(|| TlsError::Pem(certificate.to_owned()))?;
    let fingerprint = fingerprint(leaf);
    let unreadable = |error| TlsError::File(key.to_owned(), error);
    let mut file = File::open(key).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.mode() & 0o077 != 0 {
        tracing::warn!("the TLS key can be read by others than its owner");
    }
    let secret = PrivateKeyDer::from_pem_reader(&mut file).map_err(|_| TlsError::Pem(key.to_owned()))?;

    // The provider's own order: X25519MLKEM768 first, then X25519 and the NIST curves.
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = match clients {
        None => WebPkiClientVerifier::no_client_auth(),
        Some(path) => {
            let roots = Arc::new(authorities(path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).allow_unauthenticated();
            verifier.build().map_err(|_| TlsError::Pem(path.to_owned()))?
        }
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, secret)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((Arc::new(config), fingerprint))
}

fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let text = fs::read(path).map_err(|error| TlsError::File(path.to_owned(), error))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        roots.add(certificate.map_err(|_| TlsError::Pem(path.to_owned()))?)?;
    }
    if roots.is_empty() { Err(TlsError::Pem(path.to_owned())) } else { Ok(roots) }
}

fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let pairs: Vec<String> = keys::digest::sha256(&[certificate]).iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

/// `x5t#S256` of a certificate (RFC 8705 §3.1): SHA-256 of its DER in base64url.
pub fn thumbprint(certificate: &CertificateDer<'_>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(keys::digest::sha256(&[certificate]))
}

/// What changes when a file does: device, inode, time of change to the nanosecond.
fn stamps(certificate: &Path, key: &Path, clients: Option<&Path>) -> Stamps {
    let stamp = |path: &Path| fs::metadata(path).ok().map(|m| (m.ino(), m.size(), m.mtime(), m.mtime_nsec()));
    [stamp(certificate), stamp(key), clients.and_then(stamp)]
}

fn within(params: &mut CertificateParams, now: Timestamp) {
    let day = |days: i64| {
        let date = now.to_zoned_datetime(TimeZone::UTC).date().saturating_add(jiff::Span::new().days(days));
        rcgen::date_time_ymd(i32::from(date.year()), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    params.not_before = day(-1);
    params.not_after = day(DAYS - 1);
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), TlsError> {
    let failed = |error| TlsError::File(path.to_owned(), error);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-23T10:00:00Z".parse().unwrap()
    }

    fn made(dir: &Path) -> Certificates {
        assert!(first_run(dir, &["vault.example.org".into()], now()).unwrap());
        Certificates::read(dir.join("cert.pem"), dir.join("key.pem"), None).unwrap()
    }

    #[test]
    fn the_first_run_makes_a_certificate_and_the_second_leaves_it() {
        let dir = tempfile::tempdir().unwrap();
        let certificates = made(dir.path());
        assert_eq!(certificates.fingerprint().len(), 32 * 3 - 1);
        assert_eq!(fs::metadata(dir.path().join("key.pem")).unwrap().mode() & 0o777, 0o600);
        assert!(!first_run(dir.path(), &[], now()).unwrap());
    }

    #[test]
    fn tls_1_3_alone_with_the_hybrid_key_exchange_first() {
        let dir = tempfile::tempdir().unwrap();
        let config = made(dir.path()).current();
        let first = config.crypto_provider().kx_groups[0].name();
        assert_eq!(first, rustls::NamedGroup::X25519MLKEM768);
        assert_eq!(config.alpn_protocols, [b"http/1.1"]);
    }

    #[test]
    fn a_changed_certificate_is_served_and_a_broken_one_is_not() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (certificates, next) = (made(dir.path()), made(other.path()));
        let look = || certificates.look(&mut certificates.state.lock());
        let first = certificates.fingerprint();

        fs::write(dir.path().join("cert.pem"), "nonsense").unwrap();
        look();
        assert_eq!(certificates.fingerprint(), first);
        fs::copy(other.path().join("cert.pem"), dir.path().join("cert.pem")).unwrap();
        look();
        assert_eq!(certificates.fingerprint(), first, "its key is still the old one");
        fs::copy(other.path().join("key.pem"), dir.path().join("key.pem")).unwrap();
        look();
        assert_eq!(certificates.fingerprint(), next.fingerprint());
    }

    #[test]
    fn a_name_that_cannot_stand_in_a_certificate_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(first_run(dir.path(), &["münchen.example".into()], now()).is_err());
        assert!(!dir.path().join("key.pem").exists());
    }
}
