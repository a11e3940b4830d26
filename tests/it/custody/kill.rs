//! A process that is killed while it hands the root key on leaves a vault that opens in the old way or in the new one.
#![expect(clippy::print_stderr, reason = "a test that takes long says its seed and what it saw")]

use std::time::Duration;

use super::{Yard, with_passphrase};
use crate::crash::kill::asked;
use crate::recorder::Random;

/// Microseconds that handing on takes, and a little more.
const WHOLE: u64 = 1_500_000;

/// How a vault is opened: what is given to a command.
type Way = Vec<String>;

fn opens(yard: &Yard, way: &Way) -> bool {
    let way: Vec<&str> = way.iter().map(String::as_str).collect();
    yard.serve(&way).is_ok_and(|served| served.state == "open")
}

#[test]
fn the_root_key_is_handed_on_whole_or_not_at_all_when_the_process_is_killed() {
    let (yard, passphrase) = with_passphrase();
    let seed = asked("OUBLIETTE_SEED", u64::from(std::process::id()));
    let mut random = Random(seed);
    let mut way: Way = vec!["--passphrase-file".into(), passphrase];
    let (mut old, mut new) = (0, 0);
    let rounds = asked("OUBLIETTE_HANDINGS", 12);
    eprintln!("{rounds} kills, OUBLIETTE_SEED={seed}");
    for round in 0..rounds {
        // By turns to shares and to another passphrase.
        let (to, next): (Way, Way) = if round % 2 == 0 {
            let folder = yard.text(&format!("shares-{round}"));
            let to = ["--to", "shares", "--shares", "2-of-2", "--shares-to", &folder].map(str::to_owned).to_vec();
            let next = [1, 2].into_iter().flat_map(|number| ["--share-file".to_owned(), format!("{folder}/share-{number}")]);
            (to, next.collect())
        } else {
            let file = yard.secret(&format!("passphrase-{round}"), &format!("the passphrase of round {round}"));
            let to = ["--to", "passphrase", "--new-passphrase-file", &file].map(str::to_owned).to_vec();
            (to, vec!["--passphrase-file".into(), file])
        };
        let vault = yard.text("vault");
        let mut arguments: Vec<&str> = vec!["keys", "migrate", &vault];
        arguments.extend(to.iter().chain(&way).map(String::as_str));
        let mut child = yard.command(&arguments).stdout(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(random.below(WHOLE)));
        child.kill().unwrap();
        child.wait().unwrap();
        match (opens(&yard, &way), opens(&yard, &next)) {
            (true, false) => old += 1,
            (false, true) => {
                new += 1;
                way = next;
            }
            both => panic!("round {round}: opens in the old way and in the new one: {both:?}"),
        }
    }
    eprintln!("{old} stayed, {new} went on");
    // And it can still be handed on.
    let file = yard.secret("last", "the passphrase of the last round");
    let arguments: Vec<String> = ["--to", "passphrase", "--new-passphrase-file", &file].map(str::to_owned).into();
    yard.migrate(&arguments.iter().chain(&way).map(String::as_str).collect::<Vec<_>>()).good();
    assert!(opens(&yard, &vec!["--passphrase-file".into(), file]));
}
