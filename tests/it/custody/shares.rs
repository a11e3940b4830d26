//! Shares of several people.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::{Yard, with_passphrase};

/// The files of the shares that a command wrote.
fn dealt(yard: &Yard, folder: &str, count: usize) -> Vec<String> {
    let files: Vec<String> = (1..=count).map(|number| yard.text(&format!("{folder}/share-{number}"))).collect();
    for file in &files {
        assert_eq!(fs::metadata(file).unwrap().mode() & 0o777, 0o600);
    }
    files
}

fn given(files: &[&String]) -> Vec<String> {
    files.iter().flat_map(|file| ["--share-file".to_owned(), (*file).clone()]).collect()
}

fn three_of_five() -> (Yard, Vec<String>) {
    let yard = Yard::new();
    yard.init(&["--shares", "3-of-5", "--shares-to", &yard.text("shares")]).good();
    let shares = dealt(&yard, "shares", 5);
    (yard, shares)
}

#[test]
fn no_two_holders_of_three_of_five_open_the_vault_and_any_three_do() {
    let (yard, shares) = three_of_five();
    let served = yard.serve(&[]).unwrap_or_else(|said| panic!("{}", said.error));
    assert_eq!(served.state, "sealed");
    let unseal = |file: &String| served.run(&["unseal", "--share-file", file]);
    assert_eq!(unseal(&shares[4]).good()["given"], 1);
    unseal(&shares[4]).bad("(repeated)");
    assert_eq!(unseal(&shares[1]).good()["given"], 2);
    unseal(&shares[1]).bad("(repeated)");
    unseal(&shares[4]).bad("(repeated)");
    // Whatever else two people try: the vault stays sealed.
    let passphrase = yard.secret("guess", "correct horse battery staple");
    served.run(&["unseal", "--passphrase-file", &passphrase]).bad("(shares)");
    served.run(&["keys", "list", "--token-file", &yard.text("one.token")]).bad("sealed");
    assert_eq!(unseal(&shares[2]).good()["state"], "open");
    let root = served.root(&served.key_admin());
    assert_eq!((&root["provider"], &root["threshold"], &root["shares"]), (&"shares".into(), &3.into(), &5.into()));
    drop(served);
    assert_eq!(yard.doctor("root key"), [("good".to_owned(), "is held by 3 of 5 people with shares".to_owned())]);
    for two in [[0, 1], [2, 4]] {
        let two = given(&[&shares[two[0]], &shares[two[1]]]);
        let two: Vec<&str> = two.iter().map(String::as_str).collect();
        assert_eq!(yard.serve(&two).unwrap_or_else(|said| panic!("{}", said.error)).state, "sealed");
        yard.migrate(&[&["--to", "passphrase", "--new-passphrase-file", &passphrase], &two[..]].concat()).bad("too few");
    }
    let three = given(&[&shares[0], &shares[3], &shares[4]]);
    yard.opens(&three.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a_share_that_does_not_help_is_told_why() {
    let (yard, shares) = three_of_five();
    let (other, foreign) = three_of_five();
    let served = yard.serve(&[]).unwrap_or_else(|said| panic!("{}", said.error));
    let unseal = |file: &String| served.run(&["unseal", "--share-file", file]);
    unseal(&foreign[0]).bad("(foreign)");
    let text = fs::read_to_string(&shares[0]).unwrap();
    unseal(&yard.secret("miscopied", &text.replacen(['1', '2', '3'], "9", 1))).bad("(damaged)");
    unseal(&yard.secret("nonsense", "mellon")).bad("(damaged)");
    drop((served, other));
    // New shares are dealt with the old ones: from then on the old ones are useless, with today's files and yesterday's.
    let before = fs::read(yard.path("vault/keys/root")).unwrap();
    let old = given(&[&shares[0], &shares[1], &shares[2]]);
    let old: Vec<&str> = old.iter().map(String::as_str).collect();
    let folder = yard.text("fresh");
    yard.migrate(&[&["--to", "shares", "--shares", "2-of-3", "--shares-to", &folder], &old[..]].concat()).good();
    let fresh = dealt(&yard, "fresh", 3);
    yard.does_not_serve(&old, "earlier deal");
    let both = given(&[&fresh[0], &shares[1]]);
    yard.does_not_serve(&both.iter().map(String::as_str).collect::<Vec<_>>(), "earlier deal");
    let two = given(&[&fresh[2], &fresh[0]]);
    let two: Vec<&str> = two.iter().map(String::as_str).collect();
    yard.opens(&two);
    let after = fs::read(yard.path("vault/keys/root")).unwrap();
    fs::write(yard.path("vault/keys/root"), before).unwrap();
    yard.does_not_serve(&old, "do not open");
    fs::write(yard.path("vault/keys/root"), after).unwrap();
    yard.opens(&two);
}

#[test]
fn shares_are_never_dealt_over_others_nor_printed_where_they_could_be_lost() {
    let (yard, passphrase) = with_passphrase();
    let to_shares = ["--to", "shares", "--shares", "2-of-2", "--passphrase-file", passphrase.as_str()];
    yard.migrate(&to_shares).bad("--shares-to");
    let folder = yard.text("shares");
    fs::create_dir(&folder).unwrap();
    fs::write(yard.path("shares/share-2"), "another vault's").unwrap();
    yard.migrate(&[&to_shares[..], &["--shares-to", &folder]].concat()).bad("is there already");
    assert!(!yard.path("shares/share-1").exists());
    yard.opens(&["--passphrase-file", &passphrase]);
}

#[test]
fn a_backup_of_a_vault_with_shares_is_tried_and_restored_with_shares() {
    let yard = Yard::new();
    let (target, folder) = (yard.text("backups"), yard.text("shares"));
    fs::create_dir(yard.vault()).unwrap();
    fs::set_permissions(yard.vault(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    fs::write(yard.path("vault/config.toml"), format!("[backup]\ntarget = '{target}'\n")).unwrap();
    yard.init(&["--shares", "2-of-3", "--shares-to", &folder]).good();
    let shares = dealt(&yard, "shares", 3);
    let (two, one) = (given(&[&shares[0], &shares[2]]), given(&[&shares[1]]));
    let (two, one): (Vec<&str>, Vec<&str>) = (two.iter().map(String::as_str).collect(), one.iter().map(String::as_str).collect());
    let served = yard.serve(&two).unwrap_or_else(|said| panic!("{}", said.error));
    let admin = served.key_admin();
    served.run(&["backup", "create", "--token-file", &admin]).good();
    drop(served);
    let keys = yard.text("vault/keys");
    let verify = ["backup", "verify", target.as_str(), "--keys", keys.as_str()];
    yard.run(&[&verify[..], &one[..]].concat()).bad("too few");
    yard.run(&[&verify[..], &two[..]].concat()).good();
    fs::remove_dir_all(yard.path("vault/data")).unwrap();
    let vault = yard.text("vault");
    yard.run(&[&["backup", "restore", target.as_str(), vault.as_str()], &two[..]].concat()).good();
    yard.opens(&two);
}

#[test]
fn a_vault_with_shares_that_has_lost_its_root_file_says_so_and_opens_when_it_is_back() {
    let (yard, files) = three_of_five();
    let by = given(&files[..3].iter().collect::<Vec<_>>());
    let by: Vec<&str> = by.iter().map(String::as_str).collect();
    super::a_lost_root_file_is_missed_where_it_is_needed(&yard, &by, &["--by-itself"]);
}
