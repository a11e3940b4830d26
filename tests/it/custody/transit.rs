//! Vault's and OpenBao's transit engine: a stand-in that follows their documented API, since no server of theirs can be installed here.

use std::fs;

use super::owned;
use super::remote::{self, Remote};

fn transit(more: &str) -> Remote {
    Remote::new("transit.py", |yard, server, url| {
        server.control("create/oubliette");
        server.control("token/hvs.vault");
        let token = yard.secret("token", "hvs.vault");
        format!(
            "provider = 'transit'\ntransit_address = '{url}'\ntransit_key = 'oubliette'\ntransit_token_file = '{token}'\n{more}"
        )
    })
}

#[test]
fn a_vault_whose_root_key_is_with_transit_opens_by_itself_and_rotates() {
    let remote = transit("");
    let yard = &remote.yard;
    remote.prepare();
    owned(&yard.path("token"), "hvs.wrong");
    yard.init(&[]).bad("does not take the token");
    owned(&yard.path("token"), "hvs.vault");
    yard.init(&[]).good();
    yard.opens(&[]);
    let served = remote.serve();
    let admin = served.key_admin();
    assert_eq!(served.root(&admin)["provider"], "transit");
    let said = served.run(&["keys", "rotate-root", "--by-itself", "--token-file", &admin]).good();
    assert_eq!((said["provider"].as_str(), said["old_key"].as_str()), (Some("transit"), Some("kept")));
    drop(served);
    assert_eq!(remote.server.control("state/oubliette")["latest_version"], 1);
    yard.opens(&[]);
    assert_eq!(yard.doctor("transit"), [("good".to_owned(), "opens the root key".to_owned())]);
}

#[test]
fn a_key_that_is_the_vaults_alone_loses_the_version_that_opened_the_old_file() {
    let remote = transit("transit_trim = true\n");
    remote.init();
    let yard = &remote.yard;
    let state = || remote.server.control("state/oubliette");
    assert_eq!((state()["latest_version"].clone(), state()["min_available_version"].clone()), (2.into(), 0.into()));
    let before = fs::read(yard.path("vault/keys/root")).unwrap();
    let served = remote.serve();
    let admin = served.key_admin();
    let said = served.run(&["keys", "rotate-root", "--by-itself", "--token-file", &admin]).good();
    assert_eq!(said["old_key"], "destroyed");
    drop(served);
    assert_eq!((state()["latest_version"].clone(), state()["min_available_version"].clone()), (3.into(), 3.into()));
    yard.opens(&[]);
    let after = fs::read(yard.path("vault/keys/root")).unwrap();
    fs::write(yard.path("vault/keys/root"), before).unwrap();
    remote.does_not_open("transit", "was trimmed");
    fs::write(yard.path("vault/keys/root"), after).unwrap();
    // Given up, the last version goes as well.
    let passphrase = yard.secret("passphrase", crate::house::PASSPHRASE);
    yard.migrate(&["--to", "passphrase", "--new-passphrase-file", &passphrase]).good();
    assert_eq!((state()["latest_version"].clone(), state()["min_available_version"].clone()), (4.into(), 4.into()));
}

#[test]
fn transit_that_does_not_help_says_why_and_nothing_is_lost() {
    let remote = transit("");
    remote.init();
    let yard = &remote.yard;
    let not = |word: &str| remote.does_not_open("transit", word);
    owned(&yard.path("token"), "hvs.wrong");
    not("does not take the token");
    owned(&yard.path("token"), "");
    not("is empty");
    fs::remove_file(yard.path("token")).unwrap();
    not("cannot be read");
    owned(&yard.path("token"), "hvs.vault");
    fs::set_permissions(yard.path("token"), std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    not("mode 0600");
    owned(&yard.path("token"), "hvs.vault");
    yard.opens(&[]);
    remote.configure("probe_seconds = 0\n");
    remote.server.control("seal");
    not("it is sealed");
    remote.server.control("unseal");
    remote.line.cut();
    not("it does not answer");
    remote.line.mend();
    yard.opens(&[]);
    // Another key of the same name is not that key.
    remote.server.control("delete/oubliette");
    not("the key was deleted");
    remote.server.control("create/oubliette");
    not("does not open this root key");
}

#[test]
fn a_role_logs_in_and_logs_in_again_when_its_token_ends() {
    let remote = Remote::new("transit.py", |yard, server, url| {
        server.control("create/oubliette");
        server.control("role/vault/s-1");
        // A file that is not absolute is looked for from the vault's folder on.
        yard.secret("secret-id", "s-1");
        let secret = "../secret-id";
        format!(
            "provider = 'transit'\ntransit_address = '{url}'\ntransit_key = 'oubliette'\n\
             transit_role_id = 'vault'\ntransit_secret_id_file = '{secret}'\n"
        )
    });
    remote.init();
    let served = remote.serve();
    let admin = served.key_admin();
    remote.server.control("revoke/all");
    served.run(&["keys", "rotate-root", "--by-itself", "--token-file", &admin]).good();
    drop(served);
    remote.server.control("role/vault/s-2");
    remote.does_not_open("transit", "does not let the role log in");
    owned(&remote.yard.path("secret-id"), "s-2");
    remote.yard.opens(&[]);
}

#[test]
fn transit_that_is_away_stops_only_what_needs_it() {
    remote::an_outage_stops_only_what_needs_the_holder(&transit(""));
}

#[test]
fn a_transit_key_that_is_gone_closes_the_vault_where_that_is_wanted() {
    // Its engine has no switch for a key; a token that is revoked is an outage, a key that is gone is a decision.
    let remote = transit("");
    remote.init();
    remote.configure("probe_seconds = 1\non_outage = 'seal'\ngrace_seconds = 3600\n");
    let served = remote.serve();
    let admin = served.key_admin();
    remote.server.control("revoke/hvs.vault");
    remote::until("refused", || served.root(&admin)["holder"]["state"] == "refused");
    assert!(remote::is_open(&served));
    remote.server.control("token/hvs.vault");
    remote::until("reachable", || served.root(&admin)["holder"]["state"] == "reachable");
    remote.server.control("delete/oubliette");
    remote::until("sealed", || !remote::is_open(&served));
}

#[test]
fn the_root_key_goes_to_transit_and_back_and_no_record_is_touched() {
    remote::the_root_key_goes_there_and_back(&transit(""), "transit", "kept");
}

#[test]
fn an_old_copy_of_everything_opens_nothing_once_the_epochs_version_was_trimmed() {
    let remote = transit("");
    let yard = &remote.yard;
    remote.prepare();
    remote.server.control("create/epochs");
    remote.configure(&remote::only_place("enclosed_by = 'transit'\ntransit_key = 'epochs'"));
    yard.init(&[]).good();
    remote.server.control("snapshot/before");
    remote::close_an_epoch_and_go_back(&remote, "best-effort");
    let state = remote.server.control("state/epochs");
    assert_eq!((&state["latest_version"], &state["min_available_version"]), (&3.into(), &3.into()), "{state}");
    yard.does_not_serve(&[], "was trimmed");
    // An old copy of the server's storage brings the version back. This is why the word is best-effort.
    remote.server.control("restore/before");
    yard.opens(&[]);
}
