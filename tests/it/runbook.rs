//! The commands of docs/OPERATIONS.md, word for word, by the built binary.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::house::PASSPHRASE;

const BINARY: &str = env!("CARGO_BIN_EXE_oubliette");

/// The shell block that follows the comment with this name.
fn block(name: &str) -> String {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/OPERATIONS.md")).unwrap();
    let after = text.split(&format!("<!-- runbook: {name} -->")).nth(1).unwrap_or_else(|| panic!("no block {name}"));
    after.split("```sh\n").nth(1).unwrap().split("```").next().unwrap().to_owned()
}

struct Bench {
    home: tempfile::TempDir,
    passphrase: PathBuf,
}

impl Bench {
    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn secret(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn run(&self, arguments: &[&str]) -> Value {
        let output = Command::new(BINARY).arg("--json").args(arguments).current_dir(self.home.path()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// Runs a block of the runbook as it stands.
    fn follow(&self, name: &str) -> Output {
        let folder = Path::new(BINARY).parent().unwrap();
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
        let mut shell = Command::new("sh");
        shell.args(["-e", "-u", "-c", &block(name)]).env("PATH", path);
        let places = [("OLD", "old"), ("NEW", "new"), ("TARGET", "target"), ("TOKEN", "keys.token")];
        shell.envs(places.map(|(variable, name)| (variable, self.path(name))));
        shell.env("PASSPHRASE", &self.passphrase).output().unwrap()
    }

    /// A server of that folder that is open, with its address in the environment of nobody: the configuration has it.
    fn serve(&self, dir: &str) -> Child {
        let said = self.path(&format!("{dir}.said"));
        let mut command = Command::new(BINARY);
        command.args(["--json", "serve", "--dir", dir, "--passphrase-file"]).arg(&self.passphrase).current_dir(self.home.path());
        let out = fs::File::create(&said).unwrap();
        let mut child = command.stdout(out).stderr(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        while fs::metadata(&said).unwrap().len() == 0 {
            assert!(child.try_wait().unwrap().is_none() && begun.elapsed() < Duration::from_secs(120), "{dir} does not serve");
            std::thread::sleep(Duration::from_millis(20));
        }
        child
    }
}

fn stop(mut child: Child) {
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_runbook_moves_a_vault_to_another_machine_word_for_word() {
    let home = tempfile::tempdir().unwrap();
    let passphrase = home.path().join("passphrase");
    let bench = Bench { home, passphrase };
    bench.secret("passphrase", PASSPHRASE);
    let tokens = ["--token-file", "one.token", "--second-token-file", "two.token"];
    bench.run(&[&["init", "old", "--passphrase-file", "passphrase"], &tokens[..]].concat());
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let settings = format!("[server]\nlisten = \"{port}\"\n[backup]\ntarget = {:?}\nevery_seconds = 0\n", bench.path("target"));
    fs::write(bench.path("old/config.toml"), settings).unwrap();
    let old = bench.serve("old");
    let who = ["--name", "keys", "--kind", "person", "--role", "key_admin", "--trained", "2026-11-01"];
    let made = bench.run(&[&["caller", "put", "--dir", "old", "--token-file", "one.token"], &who[..]].concat());
    let id = made["id"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
    bench.run(&[&["caller", "put", &id, "--dir", "old", "--token-file", "two.token"], &who[..]].concat());
    bench.run(&["token", "issue", &id, "--dir", "old", "--token-file", "one.token", "--days", "1", "--out", "keys.token"]);

    let output = bench.follow("move, while it runs");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("would come back"), "{text}");
    let listed = bench.run(&["backup", "list", "target"]);
    assert_eq!(listed["backups"].as_array().unwrap().len(), 1, "{listed}");
    stop(old);
    let output = bench.follow("move, after it stopped");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("The vault is back") && text.contains("The trail holds"), "{text}");

    let new = bench.serve("new");
    // The token that the old vault gave out opens the new one, and the target goes on.
    let made = bench.run(&["backup", "create", "--dir", "new", "--token-file", "keys.token"]);
    assert_eq!(made["kind"], "incremental", "{made}");
    stop(new);
    let mut again = Command::new(BINARY);
    again.args(["serve", "--dir", "old", "--passphrase-file", "passphrase"]).current_dir(bench.home.path());
    assert!(!again.output().unwrap().status.success(), "the old vault must not open any more");
}
