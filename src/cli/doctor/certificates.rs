//! The dates of the TLS certificates. Only the validity is read (RFC 5280 §4.1.2.5), by walking the DER to it.

use std::path::Path;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::super::engine;
use super::Finding;
use crate::config::Config;
use crate::model::time::Clock;

const CHECK: &str = "certificate";
const DAY: i64 = 86_400;

/// One finding for each certificate that is served, and for the authority of a first run; another where certificate and key do not
/// belong together.
pub(super) fn dates(dir: &Path, config: &Config, clock: &Clock) -> Vec<Finding> {
    let mut findings = vec![match &config.tls.certificate {
        Some(path) => one(path, "tls.certificate", clock.now()),
        None => one(&dir.join("tls/cert.pem"), "tls/cert.pem", clock.now()),
    }];
    // A certificate of one's own comes with an authority that others look after.
    if config.tls.certificate.is_none() {
        findings.push(one(&dir.join("tls/ca.pem"), "tls/ca.pem", clock.now()));
    }
    // Where a file is missing, that is said already.
    let there = config.certificate_file().exists() && config.key_file().exists();
    if let Some(trouble) = engine::certificate_trouble(config).filter(|_| there) {
        let remedy = "put the key that the certificate was made for, and the chain in PEM, in their places; the server does not start with these";
        findings.push(Finding::bad(CHECK, format!("certificate and key cannot be used together: {trouble}"), remedy));
    }
    findings
}

fn one(path: &Path, name: &str, now: Timestamp) -> Finding {
    let Ok(der) = CertificateDer::from_pem_file(path) else {
        let remedy = "put a certificate chain in PEM there; the vault makes its own on a first run";
        return Finding::bad(CHECK, format!("{name} is missing or holds no certificate"), remedy);
    };
    let Some((from, until)) = validity(&der) else {
        return Finding::warning(CHECK, format!("{name}: its dates cannot be read"), "look with openssl x509 -dates");
    };
    let days = (until.as_second() - now.as_second()) / DAY;
    const REPLACE: &str = "put the new chain and key in tls/; the running vault takes them up by itself";
    match () {
        () if now < from => Finding::bad(CHECK, format!("{name} is not valid before {from}"), "check the clock"),
        () if now > until => Finding::bad(CHECK, format!("{name} ended at {until}"), REPLACE),
        () if days < 14 => Finding::warning(CHECK, format!("{name} ends in {days} days, at {until}"), REPLACE),
        () => Finding::good(CHECK, format!("{name} is valid for {days} days")),
    }
}

/// notBefore and notAfter: the fifth element of the to-be-signed part, after version, serial, algorithm and issuer.
fn validity(der: &[u8]) -> Option<(Timestamp, Timestamp)> {
    let (_, certificate, _) = element(der)?;
    let (_, mut rest, _) = element(certificate)?;
    if rest.first() == Some(&0xa0) {
        rest = element(rest)?.2;
    }
    for _ in 0..3 {
        rest = element(rest)?.2;
    }
    let (0x30, dates, _) = element(rest)? else { return None };
    let (from_tag, from, dates) = element(dates)?;
    let (until_tag, until, _) = element(dates)?;
    Some((time(from_tag, from)?, time(until_tag, until)?))
}

/// Tag, contents and what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, length], rest) = der.split_first_chunk::<2>()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length - 0x80))?;
            (bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((tag, contents, rest))
}

/// UTCTime (tag 23, years 1950 to 2049) or GeneralizedTime (tag 24), both ending in Z.
fn time(tag: u8, text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?;
    let full = match (tag, text.len()) {
        (23, 13) if text < "50" => format!("20{text}"),
        (23, 13) => format!("19{text}"),
        (24, 15) => text.to_owned(),
        _ => return None,
    };
    let moment = DateTime::strptime("%Y%m%d%H%M%SZ", full).ok()?;
    TimeZone::UTC.to_timestamp(moment).ok()
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    fn certificate(dir: &Path) -> std::path::PathBuf {
        let mut wanted = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
        wanted.not_before = rcgen::date_time_ymd(2026, 1, 2);
        wanted.not_after = rcgen::date_time_ymd(2060, 3, 4);
        let made = wanted.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let path = dir.join("cert.pem");
        std::fs::write(&path, made.pem()).unwrap();
        path
    }

    #[test]
    fn the_dates_of_a_certificate_are_read_in_both_their_forms() {
        let dir = tempfile::tempdir().unwrap();
        let der = CertificateDer::from_pem_file(certificate(dir.path())).unwrap();
        let (from, until) = validity(&der).unwrap();
        assert_eq!((from.to_string(), until.to_string()), ("2026-01-02T00:00:00Z".into(), "2060-03-04T00:00:00Z".into()));
        for length in 0..der.len() {
            validity(&der[..length]);
        }
    }

    #[test]
    fn a_certificate_is_bad_outside_its_dates_and_doubtful_near_their_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = certificate(dir.path());
        let level = |now: &str| one(&path, "cert.pem", now.parse().unwrap()).level;
        assert_eq!(level("2025-12-31T00:00:00Z"), Level::Bad);
        assert_eq!(level("2027-01-01T00:00:00Z"), Level::Good);
        assert_eq!(level("2060-03-01T00:00:00Z"), Level::Warning);
        assert_eq!(level("2060-03-05T00:00:00Z"), Level::Bad);
    }
}
