//! What a dump of the process holds: everything while it is unsealed, nothing of people or keys once it is sealed.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use keys::attacker::{Held, attack};
use oubliette::model::ids::{SubjectId, TenantId};
use oubliette::model::time::Clock;
use oubliette::store::Store;
use oubliette::store::sled::{Settings, SledStore};
use oubliette::vault::{Vault, VaultConfig};
use serde_json::json;

use super::machine::{Machine, Serving, call};
use crate::house::PASSPHRASE;

/// People who are written, read and looked up.
const PEOPLE: usize = 20;

/// Something to look for.
struct Needle {
    kind: &'static str,
    bytes: Vec<u8>,
}

/// Every writable or anonymous page of the process, with the name of the mapping that it is in.
fn dump(serving: &Serving) -> Vec<(String, Vec<u8>)> {
    let process = format!("/proc/{}", serving.id());
    let maps = fs::read_to_string(format!("{process}/maps")).unwrap();
    let memory = File::open(format!("{process}/mem")).expect("to read another process's memory takes root");
    let mut found = Vec::new();
    for line in maps.lines() {
        let mut words = line.split_ascii_whitespace();
        let (range, rights) = (words.next().unwrap(), words.next().unwrap());
        let name = words.nth(3).unwrap_or("heap").to_owned();
        // Code and constants of files are no secrets, and the kernel's own pages are not the process's.
        if !rights.starts_with("rw") || name.starts_with("[v") {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let (from, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
        let mut bytes = Vec::new();
        let mut piece = vec![0; 1 << 20];
        let empty = vec![0; 1 << 20];
        for at in (from..to).step_by(1 << 20) {
            let length = usize::try_from((to - at).min(1 << 20)).unwrap();
            // A page that was given back meanwhile is none to look at.
            if memory.read_exact_at(&mut piece[..length], at).is_ok() && piece[..length] != empty[..length] {
                bytes.extend_from_slice(&piece[..length]);
            }
        }
        found.push((format!("{name} {range}"), bytes));
    }
    found
}

/// Which needles stand in a dump, and where.
fn found(dump: &[(String, Vec<u8>)], needles: &[Needle]) -> Vec<(&'static str, usize, String)> {
    let mut by_start: Vec<Vec<usize>> = vec![Vec::new(); 1 << 16];
    for (number, needle) in needles.iter().enumerate() {
        by_start[usize::from(needle.bytes[0]) << 8 | usize::from(needle.bytes[1])].push(number);
    }
    let mut found = Vec::new();
    for (name, bytes) in dump {
        for (at, pair) in bytes.windows(2).enumerate() {
            let candidates = &by_start[usize::from(pair[0]) << 8 | usize::from(pair[1])];
            for &number in candidates {
                if bytes[at..].starts_with(&needles[number].bytes) {
                    found.push((needles[number].kind, number, format!("{name}: {}", around(bytes, at))));
                }
            }
        }
    }
    found
}

/// What stands around a place, for whoever has to find out why.
fn around(bytes: &[u8], at: usize) -> String {
    let piece = &bytes[at.saturating_sub(48)..(at + 80).min(bytes.len())];
    piece.iter().map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { '.' }).collect()
}

/// Does everything that brings somebody's data into memory; gives back what to look for. Connections that stay open are left to `open`.
fn work(machine: &Machine, serving: &Serving, open: &mut Vec<crate::https::Connection>) -> Vec<Needle> {
    let token = |name: &str| Some(machine.tokens[name].as_str());
    let mut needles = Vec::new();
    let mut connection = serving.connect();
    for number in 0..PEOPLE {
        let name = format!("Wilhelmina Quarz {number:02}");
        let email = format!("wilhelmina.quarz.{number:02}@dump.example");
        let shown = json!({"policy_version": "current", "language": "de", "channel": "web", "shown_at": Clock::system().now().to_string()});
        let body =
            json!({"class": "consumer", "jurisdiction": "DE", "notice": shown, "aliases": [{"type": "email", "value": email}]});
        let made = call(&mut connection, ("POST", "/v1/subjects"), token("writer"), Some("a-account"), Some(&body));
        let subject = made.expect(201).member("id");
        let records = format!("/v1/subjects/{subject}/records");
        let body = json!({"kind": "contact", "purposes": ["a-account"], "fields": {"name": name, "email": email}});
        call(&mut connection, ("POST", &records), token("writer"), Some("a-account"), Some(&body)).expect(201);
        let mut reader = serving.connect();
        let read = call(&mut reader, ("GET", &records), token("reader"), Some("a-account"), None).expect(200);
        assert!(read.text().contains(&name));
        let look = json!({"type": "email", "value": email});
        call(&mut reader, ("POST", "/v1/subject-lookups"), token("reader"), Some("a-account"), Some(&look)).expect(200);
        open.push(reader);
        needles.push(Needle { kind: "name", bytes: name.into_bytes() });
        needles.push(Needle { kind: "alias", bytes: email.into_bytes() });
    }
    open.push(connection);
    for name in ["reader", "writer"] {
        needles.push(Needle { kind: "token", bytes: machine.tokens[name].clone().into_bytes() });
    }
    needles.push(Needle { kind: "passphrase", bytes: PASSPHRASE.as_bytes().to_vec() });
    needles
}

/// Every key of the stopped vault.
fn keys(machine: &Machine) -> Vec<Needle> {
    let dir = machine.vault();
    let vault = Vault::open(&VaultConfig::in_dir(&dir), Clock::system()).unwrap();
    let id: SubjectId = vault.id().to_string().replace("vlt_", "sub_").parse().unwrap();
    let tenant: TenantId = vault.tenants().next().unwrap().id();
    drop(vault);
    let store = SledStore::open(&dir.join("data/db"), Settings::default(), std::sync::Arc::new(|_| ())).unwrap();
    let rows = store.scan(b"", None, usize::MAX).unwrap();
    let slots: Vec<Vec<u8>> = fs::read(dir.join("keys/keyring")).unwrap().chunks(4_096).map(<[u8]>::to_vec).collect();
    let root = fs::read(dir.join("keys/root")).unwrap();
    let held = Held {
        vault: *id.bytes(),
        tenant: *tenant.bytes(),
        root: &root,
        passphrase: PASSPHRASE,
        slots: &slots,
        rows: &rows,
        strays: &[],
    };
    let loot = attack(&held);
    assert!(loot.has_system_keys() && loot.record_keys.len() == PEOPLE, "the attacker has all keys");
    loot.keys.iter().map(|key| Needle { kind: "key", bytes: key.to_vec() }).collect()
}

#[test]
fn a_dump_of_the_sealed_process_holds_no_key_no_value_no_alias_and_no_credential() {
    let machine = Machine::new();
    let serving = machine.serve(&[]);
    let unseal = json!({"operation": "unseal", "passphrase": PASSPHRASE});
    call(&mut serving.connect(), ("POST", "/v1/keys/operations"), None, None, Some(&unseal)).expect(204);
    let mut open = Vec::new();
    let mut needles = work(&machine, &serving, &mut open);
    let before = dump(&serving);
    let seal = json!({"operation": "seal"});
    let keys_token = Some(machine.tokens["keys"].as_str());
    call(&mut serving.connect(), ("POST", "/v1/keys/operations"), keys_token, None, Some(&seal)).expect(200);
    // Every connection of before ends by itself: its buffers are gone then.
    assert!(open.iter_mut().all(|connection| connection.some().is_none()));
    let after = dump(&serving);
    drop(serving);

    needles.extend(keys(&machine));
    let held = found(&before, &needles);
    for kind in ["name", "alias", "token", "key"] {
        assert!(held.iter().any(|(of, ..)| *of == kind), "the dump before sealing holds no {kind}: this test has no teeth");
    }
    let left = found(&after, &needles);
    assert!(left.is_empty(), "left after sealing: {left:#?}");
}
