//! Certificates, from the entry to the check on another machine.

use jiff::Timestamp;
use tempfile::TempDir;

use crate::audit::certificate::{
    Backup, Certificate, CertificateError, Check, DestroyedKey, FORMAT, Kept, Recipient, SelfTest, Times, VERSION,
};
use crate::audit::proof::{ProofError, verify_certificate};
use crate::audit::testing::{ORIGIN, TestKey, append, entry};
use crate::audit::{Note, Trail};
use crate::model::ids::{ErasureId, VaultId};
use crate::model::wire::{Cause, Scope};

fn certificate() -> Certificate {
    let at = |second| Timestamp::from_second(second).unwrap();
    Certificate {
        format: FORMAT.into(),
        version: VERSION,
        vault: ORIGIN.split('/').next_back().unwrap().parse::<VaultId>().unwrap(),
        erasure: ErasureId::from_bytes([3; 16]),
        cause: Cause::Request,
        scope: Scope::Subject,
        groups: Vec::new(),
        times: Times {
            requested: at(1),
            verified: None,
            approved: Some(at(2)),
            unlinked: at(3),
            propagated: at(4),
            sealed: at(5),
        },
        epochs_closed: vec![7],
        keys: vec![DestroyedKey { id: "subject".into(), method: "dropped-and-epoch-closed".into() }],
        algorithm: "AES-256-GCM".into(),
        counts: [("pd:Contact".to_owned(), 2), ("pd:Name".to_owned(), 1)].into(),
        kept: vec![Kept { what: "invoices".into(), rule: "HGB §257".into(), until: Some(jiff::civil::date(2036, 12, 31)) }],
        recipients: vec![Recipient { name: "mailer".into(), state: "waiting".into(), queued_at: at(4), acknowledged_at: None }],
        backups: vec![Backup { target: "b1".into(), verified_at: at(5) }],
        self_test: SelfTest {
            checks: vec![Check { name: "record".into(), result: "closed".into() }],
            not_checked: vec!["backups that the vault does not know".into()],
        },
        assurance: "file".into(),
        places: Vec::new(),
        policy_version: "1".into(),
        subject_tag: "ab".repeat(16),
        claim_sha256: "cd".repeat(32),
    }
}

/// The file as getErasure answers it, and the key that signs.
fn file() -> (String, TestKey) {
    let (dir, key) = (TempDir::new().unwrap(), TestKey::new(ORIGIN));
    let (trail, _) = Trail::open(dir.path(), key.signer(), key.key.public, ORIGIN, None).unwrap();
    append(&trail, 0..5);
    let mut stated = entry(5);
    stated.note = certificate().note().unwrap();
    let ticket = trail.append(&[stated]).unwrap();
    let receipt = trail.durable_blocking(ticket).unwrap();
    append(&trail, 6..9);
    let answer = serde_json::json!({
        "id": certificate().erasure, "state": "sealed", "scope": "subject", "cause": "request", "opened_at": "1970-01-01T00:00:01Z",
        "certificate": certificate(), "proof": trail.proof(receipt.first()).unwrap(),
    });
    (serde_json::to_string_pretty(&answer).unwrap(), key)
}

#[test]
fn a_certificate_is_verified_with_the_file_and_the_public_key_alone() {
    let (file, key) = file();
    let verified = verify_certificate(file.as_bytes(), &key.key.public).unwrap();
    assert_eq!((verified.certificate, verified.proven.index), (certificate(), 5));
    assert!(matches!(verified.proven.entry.note, Note::Certificate { .. }));
    let stranger = TestKey::new(ORIGIN);
    let refused = verify_certificate(file.as_bytes(), &stranger.key.public);
    assert_eq!(refused, Err(CertificateError::Proof(ProofError::Signature)));
}

#[test]
fn no_member_of_a_certificate_can_be_changed_added_repeated_or_left_out() {
    let (file, key) = file();
    let verify = |file: &str| verify_certificate(file.as_bytes(), &key.key.public).map(|_| ());
    let whole: serde_json::Value = serde_json::from_str(&file).unwrap();
    for name in whole["certificate"].as_object().unwrap().keys() {
        let mut changed = whole.clone();
        changed["certificate"].as_object_mut().unwrap().remove(name);
        assert!(verify(&changed.to_string()).is_err(), "{name} left out");
    }
    for (from, to, error) in [
        ("\"request\",\n    \"cl", "\"retention\",\n    \"cl", CertificateError::Other),
        ("invoices", "nothing", CertificateError::Other),
        ("\"pd:Name\": 1", "\"pd:Name\": 2", CertificateError::Other),
        ("\"pd:Name\": 1", "\"pd:Name\": 2, \"pd:Name\": 1", CertificateError::Form),
        ("\"1970-01-01T00:00:05Z\"", "\"1970-01-01T00:00:05+00:00\"", CertificateError::Other),
        ("\"file\"", "\"hardware\"", CertificateError::Other),
        ("\"assurance\"", "\"assurance\": \"hardware\", \"assurance\"", CertificateError::Form),
        ("\"assurance\"", "\"more\": 1, \"assurance\"", CertificateError::Form),
        ("\"version\": 1", "\"version\": 2", CertificateError::Version),
        (FORMAT, "another", CertificateError::Version),
        ("c2sp.org/tlog-proof@v1", "c2sp.org/tlog-proof@v2", CertificateError::Proof(ProofError::Form)),
        ("index 5", "index 4", CertificateError::Proof(ProofError::Inclusion)),
    ] {
        assert!(file.contains(from), "{from}");
        assert_eq!(verify(&file.replacen(from, to, 1)), Err(error), "{from} → {to}");
    }
    assert_eq!(verify(&whole.to_string()), Ok(()), "white space and order do not matter");
    assert_eq!(verify(&serde_json::json!({"certificate": whole["certificate"], "proof": whole["proof"]}).to_string()), Ok(()));
}

#[test]
fn a_proof_of_another_entry_or_another_vault_does_not_carry_a_certificate() {
    let (dir, key) = (TempDir::new().unwrap(), TestKey::new(ORIGIN));
    let (trail, _) = Trail::open(dir.path(), key.signer(), key.key.public, ORIGIN, None).unwrap();
    let mut elsewhere = certificate();
    elsewhere.vault = VaultId::from_bytes([9; 16]);
    let (mut first, mut second) = (entry(0), entry(1));
    first.note = elsewhere.note().unwrap();
    second.note = Note::Epoch { closed: 1, opened: 2 };
    let _ = trail.append(&[first, second]).unwrap();
    trail.close();
    let file = |certificate: &Certificate, index| {
        serde_json::json!({"certificate": certificate, "proof": trail.proof(index).unwrap()}).to_string()
    };
    let verify = |file: String| verify_certificate(file.as_bytes(), &key.key.public).map(|_| ());
    assert_eq!(verify(file(&elsewhere, 0)), Err(CertificateError::Vault));
    assert_eq!(verify(file(&certificate(), 0)), Err(CertificateError::Other));
    assert_eq!(verify(file(&certificate(), 1)), Err(CertificateError::Other));
    assert_eq!(verify("{}".into()), Err(CertificateError::Form));
    assert_eq!(verify(String::new()), Err(CertificateError::Form));
}
