//! The keyring in several places: a second file, and one that SoftHSM2 encloses with a key for each epoch.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use keys::attacker::{Held, Loot, attack_disclosed};
use keys::enclosure::{About, Enclosure, TokenEnclosure};
use keys::keyring::parse_slot;
use keys::root::Pkcs11Settings;
use keys::{Places, Spot, WhenAway};
use oubliette::model::ids::{SubjectId, TenantId};
use oubliette::store::Store;
use serde_json::{Value, json};

use super::pkcs11::{MODULES, Token};
use super::{Yard, owned, with_passphrase};
use crate::house::{House, KEYRING, PASSPHRASE};

fn configure(yard: &Yard, text: &str) {
    fs::create_dir_all(yard.vault()).unwrap();
    fs::set_permissions(yard.vault(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    fs::write(yard.path("vault/config.toml"), text).unwrap();
}

/// The names of the places and how they stand, as the command line has them.
fn listed(yard: &Yard) -> Vec<(String, String)> {
    let listed = yard.run(&["keys", "places", "list", &yard.text("vault")]).good();
    let text = |place: &Value, member: &str| place[member].as_str().unwrap().to_owned();
    listed["places"].as_array().unwrap().iter().map(|place| (text(place, "name"), text(place, "state"))).collect()
}

fn states(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, state)| ((*name).to_owned(), (*state).to_owned())).collect()
}

fn places(yard: &Yard, arguments: &[&str]) -> super::Said {
    let vault = yard.text("vault");
    let (action, rest) = arguments.split_first().unwrap();
    yard.run(&[&["keys", "places", action, vault.as_str()], rest].concat())
}

#[test]
fn a_second_place_opens_the_vault_when_the_first_is_lost_and_writes_it_anew() {
    let yard = Yard::new();
    let passphrase = yard.secret("passphrase", PASSPHRASE);
    let by = ["--passphrase-file", passphrase.as_str()];
    configure(&yard, &format!("[[keyring.place]]\nname = 'second'\npath = '{}'\n", yard.text("elsewhere/keyring")));
    yard.init(&by).good();
    assert_eq!(listed(&yard), states(&[("first", "in-step"), ("second", "in-step")]));
    let served = yard.serve(&by).unwrap_or_else(|said| panic!("{}", said.error));
    let admin = served.key_admin();
    let rotate = ["keys", "rotate", "--token-file", admin.as_str()];
    served.run(&rotate).good();
    let epoch = || {
        let keys = served.run(&["keys", "list", "--token-file", &admin]).good();
        keys["keys"].as_array().unwrap().iter().find(|key| key["kind"] == "epoch").unwrap().clone()
    };
    let stands = |epoch: &Value| -> Vec<String> {
        epoch["places"].as_array().unwrap().iter().map(|place| place["state"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(stands(&epoch()), ["in-step", "in-step"]);

    // One disk goes: nothing is destroyed any more, everything else goes on; and it comes back.
    fs::rename(yard.path("elsewhere"), yard.path("away")).unwrap();
    served.run(&rotate).bad("custody-unavailable");
    served.run(&rotate).bad("second");
    assert_eq!(stands(&epoch()), ["in-step", "away"]);
    assert_eq!(epoch()["destroy_assurance"], "best-effort");
    let old = fs::read(yard.path("away/keyring")).unwrap();
    fs::rename(yard.path("away"), yard.path("elsewhere")).unwrap();
    served.run(&rotate).good();
    assert_eq!(stands(&epoch()), ["in-step", "in-step"]);
    drop(served);

    // One that fell behind is written anew when the vault opens.
    fs::write(yard.path("elsewhere/keyring"), &old).unwrap();
    assert_eq!(listed(&yard), states(&[("first", "in-step"), ("second", "behind")]));
    yard.opens(&by);
    assert_eq!(listed(&yard), states(&[("first", "in-step"), ("second", "in-step")]));

    // One that is lost is made anew when somebody says so.
    fs::remove_file(yard.path("vault/keys/keyring")).unwrap();
    yard.opens(&by);
    assert_eq!(listed(&yard), states(&[("first", "away"), ("second", "in-step")]));
    let found = yard.doctor("keyring place");
    assert!(found.iter().any(|(level, found)| level == "bad" && found.contains("`first` cannot be used")), "{found:?}");
    places(&yard, &["repair", "--name", "first", by[0], by[1]]).good();
    assert_eq!(listed(&yard), states(&[("first", "in-step"), ("second", "in-step")]));
    fs::remove_dir_all(yard.path("elsewhere")).unwrap();
    yard.opens(&by);

    // A place that nobody has any more is given up, and doctor and the list do not forget it.
    places(&yard, &["remove", "--name", "second", by[0], by[1]]).bad("`second` of the keyring is away");
    places(&yard, &["remove", "--name", "second", "--lost", by[0], by[1]]).good();
    yard.does_not_serve(&by, "`second` is configured");
    fs::write(yard.path("vault/config.toml"), "").unwrap();
    yard.opens(&by);
    assert_eq!(listed(&yard), states(&[("first", "in-step"), ("second", "given-up")]));
    assert!(yard.doctor("keyring place").iter().any(|(level, found)| level == "warning" && found.contains("given up")));
}

#[test]
fn a_new_vault_is_made_in_every_place_or_in_none() {
    let token = Token::in_yard(Yard::new());
    let yard = &token.yard;
    let module = MODULES.iter().find(|path| Path::new(path).exists()).expect("the package softhsm2 has no module here");
    let (pin, second) = (&token.pin, yard.text("elsewhere/keyring"));
    let settings = format!("[custody]\nmodule = '{module}'\ntoken = 'vault'\npin_file = '{pin}'\n");
    let place = "[[keyring.place]]\nname = 'token'\npath = 'keys/keyring.token'\nenclosed_by = 'pkcs11'\n";
    configure(yard, &format!("{settings}{place}[[keyring.place]]\nname = 'second'\npath = '{second}'\n"));
    let passphrase = yard.secret("passphrase", PASSPHRASE);
    let by = ["--passphrase-file", passphrase.as_str()];
    owned(Path::new(pin), "00000000");
    yard.init(&by).bad("refuses the PIN");
    owned(Path::new(pin), "87654321");
    fs::write(&second, "another vault's").unwrap();
    yard.init(&by).bad("the file of `second` is there already");
    fs::remove_file(&second).unwrap();
    yard.init(&by).good();
    assert_eq!(listed(yard), states(&[("first", "in-step"), ("token", "in-step"), ("second", "in-step")]));
    yard.opens(&by);
}

#[test]
fn with_go_on_an_erasure_does_not_wait_for_a_place_and_says_so() {
    let yard = Yard::new();
    let passphrase = yard.secret("passphrase", PASSPHRASE);
    let by = ["--passphrase-file", passphrase.as_str()];
    let second = format!("[[keyring.place]]\nname = 'second'\npath = '{}'\n", yard.text("elsewhere/keyring"));
    configure(&yard, &format!("[keyring]\nwhen_away = 'go-on'\n{second}"));
    yard.init(&by).good();
    let served = yard.serve(&by).unwrap_or_else(|said| panic!("{}", said.error));
    let admin = served.key_admin();
    fs::rename(yard.path("elsewhere"), yard.path("away")).unwrap();
    assert_eq!(served.run(&["keys", "rotate", "--token-file", &admin]).good()["epoch"], 2);
    drop(served);
    fs::rename(yard.path("away"), yard.path("elsewhere")).unwrap();
    assert_eq!(listed(&yard), states(&[("first", "in-step"), ("second", "behind")]));
    yard.opens(&by);
    assert_eq!(listed(&yard), states(&[("first", "in-step"), ("second", "in-step")]));
}

#[test]
fn a_running_vault_moves_its_keyring_into_a_token_and_old_files_open_nothing() {
    let (yard, passphrase) = with_passphrase();
    let token = Token::in_yard(yard);
    let yard = &token.yard;
    let by = ["--passphrase-file", passphrase.as_str()];
    let wrong = yard.secret("wrong", "not the passphrase at all");
    let module = MODULES.iter().find(|path| Path::new(path).exists()).expect("the package softhsm2 has no module here");
    let add = ["add", "--name", "token", "--path", "keys/keyring.token", "--enclosed-by", "pkcs11", "--module", module];
    let add = [&add[..], &["--label", "vault", "--pin-file", &token.pin]].concat();
    places(yard, &[&add[..], &["--passphrase-file", &wrong]].concat()).bad("passphrase");
    assert!(
        !fs::read_to_string(yard.path("vault/config.toml")).unwrap().contains("[[keyring.place]]\nname"),
        "a failed try stays"
    );
    assert_eq!(token.objects().len(), 0);
    places(yard, &[&add[..], &by[..]].concat()).good();
    places(yard, &[&add[..], &by[..]].concat()).bad("already");
    assert_eq!(listed(yard), states(&[("first", "in-step"), ("token", "in-step")]));
    assert_eq!(token.objects().len(), 1);
    yard.opens(&by);
    // Out of the settings it is not out of mind.
    let config = fs::read_to_string(yard.path("vault/config.toml")).unwrap();
    fs::write(yard.path("vault/config.toml"), config.split("[[keyring.place]]").next().unwrap()).unwrap();
    yard.does_not_serve(&by, "`token` too");
    assert!(yard.doctor("keyring place").iter().any(|(level, found)| level == "bad" && found.contains("`token` too")));
    fs::write(yard.path("vault/config.toml"), &config).unwrap();

    places(yard, &["remove", "--name", "first", by[0], by[1]]).good();
    assert!(!yard.path("vault/keys/keyring").exists());
    yard.does_not_serve(&by, "`first` is configured");
    fs::write(yard.path("vault/config.toml"), format!("[keyring]\nfile = false\n{config}")).unwrap();
    assert_eq!(yard.doctor("files"), []);
    let before = fs::read(yard.path("vault/keys/keyring.token")).unwrap();
    let served = yard.serve(&by).unwrap_or_else(|said| panic!("{}", said.error));
    let admin = served.key_admin();
    for _ in 0..3 {
        served.run(&["keys", "rotate", "--token-file", &admin]).good();
        assert_eq!(token.objects().len(), 1, "the key of an epoch that is over is in the token");
    }
    let keys = served.run(&["keys", "list", "--token-file", &admin]).good();
    let epoch = keys["keys"].as_array().unwrap().iter().find(|key| key["kind"] == "epoch").unwrap().clone();
    assert_eq!(epoch["destroy_assurance"], "hardware");
    // The token goes away: what is open goes on, nothing is destroyed; it comes back by itself.
    fs::rename(yard.path("tokens"), yard.path("away")).unwrap();
    fs::create_dir(yard.path("tokens")).unwrap();
    served.run(&["keys", "rotate", "--token-file", &admin]).bad("custody-unavailable");
    served.run(&["keys", "list", "--token-file", &admin]).good();
    fs::remove_dir(yard.path("tokens")).unwrap();
    fs::rename(yard.path("away"), yard.path("tokens")).unwrap();
    served.run(&["keys", "rotate", "--token-file", &admin]).good();
    drop(served);
    let now = fs::read(yard.path("vault/keys/keyring.token")).unwrap();
    // An old copy of the file: the token has no key for it any more.
    fs::write(yard.path("vault/keys/keyring.token"), before).unwrap();
    yard.does_not_serve(&by, "keyring");
    fs::write(yard.path("vault/keys/keyring.token"), now).unwrap();
    yard.opens(&by);
    // A wrong PIN, and a token whose key was deleted.
    owned(Path::new(&token.pin), "00000000");
    yard.does_not_serve(&by, "refuses the PIN");
    owned(Path::new(&token.pin), "87654321");
    for object in token.objects() {
        fs::remove_file(object).unwrap();
    }
    yard.does_not_serve(&by, "no key for this epoch");
    assert!(yard.doctor("keyring place").iter().any(|(level, found)| level == "bad" && found.contains("no key for this epoch")));
}

/// The token's place of a vault in `dir`, by the environment that [`inside_a_process_with_a_token`] was started with.
fn in_token(dir: &Path) -> Places {
    let enclosure: Arc<dyn Enclosure> = Arc::new(token());
    let spot = Spot { name: "token".into(), path: dir.join("keys/keyring.token"), enclosure: Some(enclosure) };
    Places { spots: vec![spot], when_away: WhenAway::Refuse, giving_up: None }
}

fn token() -> TokenEnclosure {
    let module = MODULES.iter().find(|path| Path::new(path).exists()).expect("the package softhsm2 has no module here");
    let settings = Pkcs11Settings { module: module.into(), token: "vault".into() };
    TokenEnclosure::new(settings, std::env::var("OUBLIETTE_TEST_PIN_FILE").expect("it is run by the test below").into())
}

type Row = (Vec<u8>, Vec<u8>);
type Secrets = HashMap<Vec<u8>, [u8; 32]>;

/// Everything that ever was: rows, slots, and what the token gave for them at the time.
#[derive(Default)]
struct Ever {
    rows: HashSet<Row>,
    slots: HashSet<Vec<u8>>,
    then: Secrets,
}

impl Ever {
    fn look(&mut self, house: &House) {
        self.rows.extend(house.store.as_ref().unwrap().scan(b"", None, usize::MAX).unwrap());
        let file = fs::read(house.home.path().join("keys/keyring.token")).unwrap();
        self.slots.extend(file.chunks(4_096).map(<[u8]>::to_vec));
        self.then.extend(disclosed(&self.slots));
    }
}

/// What the token gives for these slots now.
fn disclosed(slots: &HashSet<Vec<u8>>) -> Secrets {
    let token = token();
    let one = |slot: &Vec<u8>| {
        let slot = parse_slot(slot)?;
        let about = About { vault: slot.vault, place: "token", epoch: slot.epoch };
        let secret = token.disclose(&about, slot.enclosed()).ok()?;
        Some((slot.enclosed().to_vec(), secret.bytes().try_into().unwrap()))
    };
    slots.iter().filter_map(one).collect()
}

#[test]
#[ignore = "run by the test below, in a process of its own"]
fn inside_a_process_with_a_token() {
    if std::env::var_os("OUBLIETTE_TEST_PIN_FILE").is_none() {
        return;
    }
    assert!(KEYRING.set(in_token).is_ok());
    let house = House::of_controllers(1);
    let mut ever = Ever::default();
    ever.look(&house);
    let person = |name: &str| {
        let id = house.newcomer("consumer");
        house.contract(&id, &format!("{name}-order"), "active").expect(201);
        let fields = json!({"name": name, "email": format!("{name}@example.org"), "address": "Unter den Linden 1"});
        house.write(&id, &["a-account", "b-service"], fields);
        id
    };
    let (gone, lives) = (person("kzqvgone"), person("kzqvlives"));
    ever.look(&house);
    // An epoch in between, so that copies of their rows hang from more than one.
    house.erase_subject(&person("kzqvother")).expect(200);
    ever.look(&house);
    let before = ever.then.clone();
    let sealed = house.erase_subject(&gone).expect(200).json();
    ever.look(&house);

    let certificate = &sealed["certificate"];
    assert_eq!(certificate["assurance"], "hardware", "{certificate}");
    let place = &certificate["places"][0];
    assert_eq!((place["name"].as_str(), place["kind"].as_str()), (Some("token"), Some("pkcs11")));
    assert_eq!((place["state"].as_str(), place["assurance"].as_str()), (Some("in-step"), Some("hardware")));
    let epoch = certificate["keys"].as_array().unwrap().last().unwrap();
    assert_eq!(epoch["method"], "enclosure-destroyed");

    let root = fs::read(house.home.path().join("keys/root")).unwrap();
    let vault: SubjectId = house.vault.id().to_string().replace("vlt_", "sub_").parse().unwrap();
    let (rows, slots): (Vec<Row>, Vec<Vec<u8>>) = (ever.rows.iter().cloned().collect(), ever.slots.iter().cloned().collect());
    let loot = |secrets: &Secrets| {
        let tenant = *TenantId::from_bytes([1; 16]).bytes();
        let (vault, passphrase) = (*vault.bytes(), PASSPHRASE);
        let held = Held { vault, tenant, root: &root, passphrase, slots: &slots, rows: &rows, strays: &[] };
        attack_disclosed(&held, &secrets.iter().map(|(enclosed, secret)| (enclosed.clone(), *secret)).collect::<Vec<_>>())
    };
    let reads = |loot: &Loot, id: &str| {
        let id: SubjectId = id.parse().unwrap();
        let fields: usize =
            loot.fields.iter().filter(|((subject, _), _)| subject == id.bytes()).map(|(_, fields)| fields.len()).sum();
        (loot.subjects.contains(id.bytes()), fields > 0)
    };
    // Every file that ever was, the passphrase and all rows: not one epoch.
    let files = loot(&Secrets::new());
    assert_eq!((files.epochs, files.tree_rows, files.subjects.len()), (0, 0, 0));
    // The token as it is now beside them: the living, and nobody else.
    let now = disclosed(&ever.slots);
    assert_eq!(now.len(), 1, "the token gives the secret of an epoch that is over");
    let with_token = loot(&now);
    assert_eq!((reads(&with_token, &gone), reads(&with_token, &lives)), ((false, false), (true, true)));
    // The control: whoever had the token's own keys before the erasure reads both. So the test can fail.
    let control = loot(&before);
    assert_eq!((reads(&control, &gone), reads(&control, &lives)), ((true, true), (true, true)));
    house.close();
}

#[test]
fn an_erasure_in_a_token_is_certified_as_hardware_and_every_old_file_opens_nothing() {
    let token = Token::in_yard(Yard::new());
    let test = "custody::places::inside_a_process_with_a_token";
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .envs(token.yard.environment.iter().cloned())
        .env("OUBLIETTE_TEST_PIN_FILE", &token.pin)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}
