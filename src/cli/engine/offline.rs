//! What needs the files of a vault and no server: the trail, its rows, certificates.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use serde_json::{Value, json};

use super::super::failure::Failure;
use crate::audit::PublicKeys;
use crate::audit::certificate;
use crate::audit::codec;
use crate::audit::note::VerifyingKey;
use crate::audit::ocsf;
use crate::audit::receipt;
use crate::audit::segment::{self, HEADER, Step};
use crate::audit::view::{EventView, hex};
use crate::vault::VaultConfig;
use crate::vault::check::{CheckError, check};

/// Walks the trail of `dir` and the rows of its store. The report comes with the first break, if there is one.
pub(in crate::cli) fn verify_trail(dir: &Path, keys: &PublicKeys) -> Result<(Value, Option<String>), Failure> {
    trail(dir)?;
    // The list in the folder is not trusted: what counts of it is what the given key leads to.
    let list = std::fs::read_to_string(dir.join("vault.keys")).unwrap_or_default();
    let keys = keys.clone().following(&list);
    let report = check(&VaultConfig::in_dir(dir), &keys).map_err(|error| {
        let failure = Failure::new(error.to_string());
        match error {
            CheckError::Store(_) => failure.remedy("stop the vault first: its rows are compared as they lie"),
            CheckError::Trail(_) => failure,
        }
    })?;
    let broken = report.first_break.as_ref().map(ToString::to_string);
    let value = json!({
        "entries": report.entries, "root": hex(&report.root), "checkpoints": report.checkpoints, "signed": report.signed,
        "lost": report.lost, "rows_checked": report.rows_checked, "rows_wrong": report.rows_wrong,
        "rows_missing": report.rows_missing, "first_break": broken,
    });
    Ok((value, broken))
}

/// Every entry of the trail of `dir` from `from` on, one JSON line each; `line` answers false to stop. How many there were.
/// With `ocsf` each is an event of the Open Cybersecurity Schema Framework.
pub(in crate::cli) fn export_trail(
    dir: &Path,
    from: u64,
    ocsf: bool,
    line: &mut dyn FnMut(&str) -> bool,
) -> Result<u64, Failure> {
    let trail = trail(dir)?;
    let origin = if ocsf { origin(dir)? } else { String::new() };
    let segments = segment::list(&trail).map_err(|e| Failure::file("list", &trail, &e))?;
    let mut count = 0;
    for found in segments {
        let bytes = std::fs::read(&found.path).map_err(|e| Failure::file("read", &found.path, &e))?;
        let (mut at, mut index) = (HEADER, found.first);
        let damaged = |index| {
            Failure::unverified(format!("entry {index} is damaged"))
                .remedy("`oubliette audit verify` says more; keep the folder as it is")
        };
        loop {
            match segment::step(&bytes, at) {
                Step::Frame { entry, end, .. } => {
                    if index >= from {
                        let entry = codec::decode(entry).map_err(|_| damaged(index))?;
                        let text = if ocsf {
                            serde_json::to_string(&ocsf::event(&origin, index, &entry))
                        } else {
                            serde_json::to_string(&EventView::of(index, &entry))
                        };
                        let text = text.map_err(|_| damaged(index))?;
                        if !line(&text) {
                            return Ok(count);
                        }
                        count += 1;
                    }
                    (at, index) = (end, index + 1);
                }
                Step::End => break,
                Step::Damaged => return Err(damaged(index)),
            }
        }
    }
    Ok(count)
}

/// Checks a certificate file against the vault's public key; what it says, or why it does not hold.
pub(in crate::cli) fn verify_certificate(file: &[u8], keys: &PublicKeys) -> Result<Value, String> {
    let verified = certificate::verify_certificate(file, keys).map_err(|e| e.to_string())?;
    let (certificate, proven) = (&verified.certificate, &verified.proven);
    Ok(json!({
        "erasure": certificate.erasure, "vault": certificate.vault, "scope": certificate.scope, "cause": certificate.cause,
        "sealed": certificate.times.sealed, "assurance": certificate.assurance, "epochs_closed": certificate.epochs_closed,
        "counts": certificate.counts, "kept": certificate.kept, "self_test": certificate.self_test,
        "entry": proven.index, "checkpoint_size": proven.checkpoint.size, "origin": proven.checkpoint.origin,
    }))
}

/// Checks a receipt of a consent against the vault's public key; what it says, or why it does not hold.
pub(in crate::cli) fn verify_receipt(file: &[u8], keys: &PublicKeys) -> Result<Value, String> {
    let verified = receipt::verify_receipt(file, keys).map_err(|e| e.to_string())?;
    let (receipt, proven) = (&verified.receipt, &verified.proven);
    Ok(json!({
        "consent": receipt.id, "vault": receipt.vault, "purpose": receipt.purpose.id, "kind": receipt.event.kind,
        "state": receipt.event.state, "at": receipt.event.at, "valid": receipt.event.valid, "categories": receipt.categories,
        "notice": receipt.notice.version, "controller": receipt.controller.id, "entry": proven.index,
        "checkpoint_size": proven.checkpoint.size, "origin": proven.checkpoint.origin,
    }))
}

/// The public key in a file, as `init` leaves it in vault.pub, or the keys of the list that the vault publishes, vault.keys; raw bytes,
/// hexadecimal and base64 are taken as well.
pub(in crate::cli) fn public_key(path: &Path) -> Result<PublicKeys, Failure> {
    let bytes = std::fs::read(path).map_err(|e| Failure::file("read", path, &e))?;
    let listed = || std::str::from_utf8(&bytes).ok().and_then(PublicKeys::listed);
    parse_public_key(&bytes).map(PublicKeys::from).or_else(listed).ok_or_else(|| {
        Failure::usage(format!("{} is not a public key of a vault", path.display()))
            .remedy("name DIR/vault.pub or DIR/vault.keys")
    })
}

/// Where `init` leaves the public key.
pub(in crate::cli) fn public_key_path(dir: &Path) -> PathBuf {
    dir.join("vault.pub")
}

/// The name of the trail, as `vault.pub` has it.
fn origin(dir: &Path) -> Result<String, Failure> {
    let path = public_key_path(dir);
    let text = std::fs::read_to_string(&path).map_err(|e| Failure::file("read", &path, &e))?;
    let key = text.trim().parse::<VerifyingKey>();
    key.map(|key| key.name).map_err(|_| Failure::usage(format!("{} is not a public key of a vault", path.display())))
}

fn trail(dir: &Path) -> Result<PathBuf, Failure> {
    let trail = dir.join("data/trail");
    if trail.is_dir() {
        return Ok(trail);
    }
    Err(Failure::usage(format!("{} holds no trail", dir.display())).remedy("name the folder that `oubliette init` made"))
}

fn parse_public_key(bytes: &[u8]) -> Option<[u8; 32]> {
    if let Ok(raw) = <[u8; 32]>::try_from(bytes) {
        return Some(raw);
    }
    let text = std::str::from_utf8(bytes).ok()?.trim();
    if let Ok(key) = text.parse::<VerifyingKey>() {
        return Some(key.public);
    }
    if text.len() == 64 && text.is_ascii() {
        let mut key = [0; 32];
        for (place, pair) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
            *place = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        return Some(key);
    }
    base64::engine::general_purpose::STANDARD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use crate::store::sled::{Settings, SledStore};

    #[test]
    fn a_public_key_is_read_in_each_of_its_forms() {
        let base64 = base64::engine::general_purpose::STANDARD;
        let public: [u8; 32] = std::array::from_fn(|i| 0xf8 + (i % 8) as u8);
        let verifier = VerifyingKey { name: "oubliette.local/vlt_x".into(), public };
        for form in [public.to_vec(), hex(&public).into(), base64.encode(public).into(), format!("{verifier}\n").into()] {
            assert_eq!(parse_public_key(&form), Some(public), "{}", String::from_utf8_lossy(&form));
        }
        assert_eq!(parse_public_key(b"not a key"), None);
        assert_eq!(parse_public_key(&[7; 31]), None);
    }

    #[test]
    fn a_new_vault_verifies_and_a_row_that_was_changed_behind_its_back_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("vault");
        super::super::create(&dir, &"correct horse battery staple".into()).unwrap();
        let public = public_key(&public_key_path(&dir)).unwrap();
        assert_eq!(public_key(&dir.join("vault.keys")).unwrap(), public);
        let (report, broken) = verify_trail(&dir, &public).unwrap();
        assert_eq!(broken, None, "{report}");
        assert!(report["rows_checked"].as_u64() > Some(4) && report["entries"].as_u64() > Some(4), "{report}");

        let mut lines = Vec::new();
        let mut keep = |line: &str| {
            lines.push(line.to_owned());
            true
        };
        let count = export_trail(&dir, 1, false, &mut keep).unwrap();
        assert_eq!(count + 1, report["entries"].as_u64().unwrap());
        assert!(lines.iter().any(|line| line.contains("bootstrapCaller")), "{lines:?}");

        let mut events: Vec<Value> = Vec::new();
        let mut keep = |line: &str| {
            events.push(serde_json::from_str(line).unwrap());
            true
        };
        assert_eq!(export_trail(&dir, 0, true, &mut keep).unwrap(), report["entries"].as_u64().unwrap());
        assert_eq!(events[0]["type_uid"], 600_201, "{}", events[0]);
        let origin = events[0]["app"]["uid"].as_str().unwrap();
        assert!(origin.starts_with("oubliette.local/vlt_") && events.iter().all(|event| event["metadata"]["version"] == "1.8.0"));

        let store = SledStore::open(&dir.join("data/db"), Settings::default(), std::sync::Arc::new(|_| {})).unwrap();
        let (key, value) = store.scan(b"k", None, 1).unwrap().remove(0);
        let mut batch = crate::store::Batch::default();
        batch.put(key, value[1..].to_vec());
        store.commit(&batch).unwrap();
        drop(store);
        let (report, broken) = verify_trail(&dir, &public).unwrap();
        assert!(broken.is_some_and(|broken| broken.contains("Caller(clr_")), "{report}");
        assert_eq!(report["rows_wrong"], 1);
    }
}
