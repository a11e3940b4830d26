//! AWS KMS: moto's server, with the signatures and states of keys that it leaves out.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use keys::enclosure::{Enclosure, KmsEnclosure};
use keys::root::KmsSettings;
use keys::{Places, Spot, WhenAway};

use super::owned;
use super::remote::{self, Remote, until};
use crate::house::{House, KEYRING};

const CREDENTIALS: &str = "[default]\naws_access_key_id = AKIDVAULT\naws_secret_access_key = the/secret+of the vault";

fn kms() -> (Remote, String) {
    let mut arn = String::new();
    let remote = Remote::new("kms.py", |yard, server, url| {
        arn = server.control("create")["arn"].as_str().unwrap().to_owned();
        let credentials = yard.secret("credentials", CREDENTIALS);
        format!("provider = 'aws-kms'\nkms_key = '{arn}'\nkms_endpoint = '{url}'\nkms_credentials_file = '{credentials}'\n")
    });
    (remote, arn)
}

#[test]
fn a_vault_whose_root_key_is_with_kms_opens_by_itself_and_rotates() {
    let (remote, arn) = kms();
    let yard = &remote.yard;
    remote.prepare();
    // A wrong secret makes no vault, and is no obstacle to another try.
    owned(&yard.path("credentials"), &CREDENTIALS.replace("secret+of", "secret of"));
    yard.init(&[]).bad("refuses the signature");
    owned(&yard.path("credentials"), CREDENTIALS);
    yard.init(&[]).good();
    yard.opens(&[]);
    // Every use of the key names it and is bound to this vault.
    let vault =
        fs::read(yard.path("vault/keys/root")).unwrap()[12..28].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let calls = remote.server.control("calls")["calls"].as_array().unwrap().clone();
    let used: Vec<_> = calls.iter().map(|call| call["operation"].as_str().unwrap()).collect();
    assert!(used.contains(&"Encrypt") && used.contains(&"Decrypt"), "{used:?}");
    for call in &calls {
        assert_eq!(call["KeyId"], arn.as_str());
        let bound = serde_json::json!({"oubliette:use": "root-key", "oubliette:vault": vault});
        // The first try was of a vault that was never made.
        assert!(call["EncryptionContext"] == bound || call["operation"] == "Encrypt", "{call}");
    }
    let before = fs::read(yard.path("vault/keys/root")).unwrap();
    let served = remote.serve();
    let admin = served.key_admin();
    assert_eq!(served.root(&admin)["provider"], "aws-kms");
    let said = served.run(&["keys", "rotate-root", "--by-itself", "--token-file", &admin]).good();
    assert_eq!((said["provider"].as_str(), said["old_key"].as_str()), (Some("aws-kms"), Some("kept")));
    drop(served);
    yard.opens(&[]);
    // KMS still opens the old file. What is in it opens nothing of today.
    let after = fs::read(yard.path("vault/keys/root")).unwrap();
    fs::write(yard.path("vault/keys/root"), before).unwrap();
    yard.does_not_serve(&[], "do not open");
    fs::write(yard.path("vault/keys/root"), after).unwrap();
    yard.opens(&[]);
    let good = |found: &str| ("good".to_owned(), found.to_owned());
    assert_eq!(yard.doctor("root key"), [good("is held by: aws-kms")]);
    assert_eq!(yard.doctor("aws-kms"), [good("opens the root key")]);
}

#[test]
fn kms_that_does_not_help_says_why_and_nothing_is_lost() {
    let (remote, arn) = kms();
    remote.init();
    let yard = &remote.yard;
    let not = |word: &str| remote.does_not_open("aws-kms", word);
    let credentials = |text: &str| owned(&yard.path("credentials"), text);
    credentials(&CREDENTIALS.replace("AKIDVAULT", "AKIDNOBODY"));
    not("does not know these credentials");
    credentials(&CREDENTIALS.replace("the/secret", "the/sekret"));
    not("refuses the signature");
    credentials("[default]");
    not("has no aws_access_key_id");
    fs::remove_file(yard.path("credentials")).unwrap();
    not("cannot be read");
    credentials(CREDENTIALS);
    fs::set_permissions(yard.path("credentials"), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    not("mode 0600");
    credentials(CREDENTIALS);
    remote.server.control("forbid/AKIDVAULT");
    not("do not allow this");
    remote.server.control("allow/AKIDVAULT");
    yard.opens(&[]);
    // Disabled; to be deleted, with the day; brought back.
    remote.server.control(&format!("disable/{arn}"));
    not("its key is disabled");
    remote.server.control(&format!("schedule/{arn}"));
    not("is to be deleted, and opens nothing until that is cancelled and the key enabled; it is gone for good on 20");
    remote.server.control(&format!("cancel/{arn}"));
    not("its key is disabled");
    remote.server.control(&format!("enable/{arn}"));
    yard.opens(&[]);
    // Nobody there: it waits, unless it never looks again.
    remote.line.cut();
    remote.configure("probe_seconds = 0\n");
    not("it does not answer");
    remote.line.mend();
    yard.opens(&[]);
    // Another key in the configuration is for the next root key; the file names its own.
    let other = remote.server.control("create")["arn"].as_str().unwrap().to_owned();
    let section = remote.section.replace(&arn, &other);
    fs::write(yard.path("vault/config.toml"), format!("[custody]\n{section}")).unwrap();
    yard.opens(&[]);
    remote.configure("");
    remote.server.control(&format!("delete/{arn}"));
    not("no such key");
}

#[test]
fn kms_that_is_away_stops_only_what_needs_it() {
    remote::an_outage_stops_only_what_needs_the_holder(&kms().0);
}

#[test]
fn a_kms_key_that_is_disabled_closes_the_vault_where_that_is_wanted() {
    let (remote, arn) = kms();
    remote::a_key_that_is_turned_off_closes_the_vault(&remote, &format!("disable/{arn}"), &format!("enable/{arn}"));
}

#[test]
fn the_root_key_goes_to_kms_and_back_and_no_record_is_touched() {
    remote::the_root_key_goes_there_and_back(&kms().0, "aws-kms", "kept");
}

#[test]
fn credentials_that_are_changed_while_the_vault_runs_are_taken_up() {
    let (remote, _) = kms();
    remote.init();
    remote.configure("probe_seconds = 1\n");
    let served = remote.serve();
    let admin = served.key_admin();
    remote.server.control("forbid/AKIDVAULT");
    until("refused", || served.root(&admin)["holder"]["state"] == "refused");
    let other = CREDENTIALS.replace("AKIDVAULT", "AKIDOTHER").replace("the/secret+of the vault", "somebody else's");
    owned(&remote.yard.path("credentials"), &other);
    until("reachable", || served.root(&admin)["holder"]["state"] == "reachable");
}

#[test]
fn an_old_copy_of_everything_opens_nothing_once_kms_was_told_to_delete_the_epochs_key() {
    let (remote, root) = kms();
    let yard = &remote.yard;
    remote.prepare();
    remote.configure(&remote::only_place("enclosed_by = 'aws-kms'"));
    yard.init(&[]).good();
    remote::close_an_epoch_and_go_back(&remote, "kms");
    // The root key's holder is as well as ever; the epoch's key waits for its end, and the day is said.
    yard.does_not_serve(
        &[],
        "is to be deleted, and opens nothing until that is cancelled and the key enabled; it is gone for good on 20",
    );
    assert!(yard.doctor("keyring place").iter().any(|(level, found)| level == "bad" && found.contains("is to be deleted")));
    let calls = remote.server.control("calls")["calls"].as_array().unwrap().clone();
    let of_epoch = |epoch: &str| {
        let made =
            |call: &&serde_json::Value| call["operation"] == "Encrypt" && call["EncryptionContext"]["oubliette:epoch"] == epoch;
        let made: Vec<_> = calls.iter().filter(made).map(|call| call["KeyId"].as_str().unwrap().to_owned()).collect();
        assert_eq!(made.len(), 1, "{calls:?}");
        made[0].clone()
    };
    let (first, second) = (of_epoch("1"), of_epoch("2"));
    let scheduled: Vec<_> = calls.iter().filter(|call| call["operation"] == "ScheduleKeyDeletion").collect();
    assert!(scheduled.iter().all(|call| first.ends_with(call["KeyId"].as_str().unwrap())), "{scheduled:?}");
    assert!(first != second && first != root && second != root);
    // Until that day somebody with the right to can take it back. This is why a date stands in the certificate.
    remote.server.control(&format!("cancel/{first}"));
    remote.server.control(&format!("enable/{first}"));
    yard.opens(&[]);
}

/// The place that KMS encloses in the vault of `dir`, by the environment that [`inside_a_process_with_kms`] was started with.
fn in_kms(dir: &Path) -> Places {
    let of = |name: &str| std::env::var(name).expect("it is run by the test below");
    let settings = KmsSettings {
        region: Some("eu-central-1".into()),
        endpoint: Some(of("OUBLIETTE_TEST_KMS")),
        credentials: Some(of("OUBLIETTE_TEST_CREDENTIALS").into()),
        ..KmsSettings::default()
    };
    let enclosure: Arc<dyn Enclosure> = Arc::new(KmsEnclosure::new(settings));
    let spot = Spot { name: "cloud".into(), path: dir.join("keys/keyring.cloud"), enclosure: Some(enclosure) };
    Places { spots: vec![spot], when_away: WhenAway::Refuse, giving_up: None }
}

#[test]
#[ignore = "run by the test below, in a process of its own"]
fn inside_a_process_with_kms() {
    if std::env::var_os("OUBLIETTE_TEST_KMS").is_none() {
        return;
    }
    assert!(KEYRING.set(in_kms).is_ok());
    let house = House::start();
    let ada = house.ada();
    let certificate = house.erase_subject(&ada).expect(200).json()["certificate"].clone();
    assert_eq!(certificate["assurance"], "kms", "{certificate}");
    assert_eq!(certificate["places"][0]["kind"], "aws-kms");
    let gone_by: jiff::Timestamp = certificate["places"][0]["gone_by"].as_str().unwrap().parse().unwrap();
    // KMS goes by the time of the world, which is the time of a file, and not by the clock of the house.
    let written = fs::metadata(house.home.path().join("keys/keyring.cloud")).unwrap().modified().unwrap();
    let days = gone_by.duration_since(jiff::Timestamp::try_from(written).unwrap()).as_hours() / 24;
    assert!((6..=8).contains(&days), "{days} days: {certificate}");
    house.close();
}

#[test]
fn an_erasure_under_kms_is_certified_with_the_day_on_which_it_is_complete() {
    let remote = kms().0;
    let address = remote.address();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["custody::kms::inside_a_process_with_kms", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env("OUBLIETTE_TEST_KMS", address)
        .env("OUBLIETTE_TEST_CREDENTIALS", remote.yard.text("credentials"))
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    let calls = remote.server.control("calls")["calls"].as_array().unwrap().clone();
    assert!(calls.iter().any(|call| call["operation"] == "ScheduleKeyDeletion"), "{calls:?}");
}
