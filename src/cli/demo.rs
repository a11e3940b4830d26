//! `oubliette demo`: a vault with made-up people, ready to try.

use std::io::IsTerminal;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::tz::TimeZone;
use keys::secret::ExposeSecret;
use serde_json::{Value, json};

use super::client::Client;
use super::engine::{self, Running};
use super::failure::Failure;
use super::out::Out;
use super::target::success;
use crate::demo::{Home, Loaded, PeopleFrom, Person, Stage, appoint, load};
use crate::model::time::Clock;

const EXAMPLES: &str = "\
Examples:
  oubliette demo
  oubliette demo --people 10000 --dir /tmp/vault --listen 127.0.0.1:9443
  oubliette demo --people people.jsonl

DIR/demo.json (for programs) and DIR/demo.env (for shells) hold the address, the authority and the tokens of all
callers; demo.json is written last, when everything is loaded. Ctrl-C stops the vault; the folder stays, and the next
run goes on with it. Letters to people lie in DIR/letters, a maildir. The passphrase lies beside the keys, so a demo protects nobody: keep no real person in it.";

/// Port that a demo takes when it is free, and how many further ones are tried.
const PORT: u16 = 8443;
const FURTHER: u16 = 50;

/// How long the server may take to be ready: opening a store of a million records takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes the vault when DIR is empty, starts it, loads people through its API, and stays until Ctrl-C.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Demo {
    /// Folder of the demo
    #[arg(long, value_name = "DIR", default_value = "oubliette-demo")]
    dir: PathBuf,
    /// Address to listen on; 127.0.0.1:8443, or the next free port, unless told
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// So many made-up people, or the people of a file of one JSON object a line
    #[arg(long, value_name = "N|FILE", default_value = "100")]
    people: PeopleFrom,
}

impl Demo {
    pub(super) fn run(self, out: Out) -> Result<(), Failure> {
        let people = self.people.people()?;
        let listen = free_address(self.listen)?;
        engine::harden();
        let mut home = Home::open(&self.dir)?;
        home.withdraw()?;
        let passphrase = home.passphrase()?;
        if home.stage() == Stage::Empty {
            home.configure()?;
            let created = engine::create(home.dir(), &passphrase)?;
            home.made(created.first.expose_secret(), created.second.expose_secret())?;
            out.note(&format!("Made a vault in {}.", home.dir().display()));
        }
        let running = engine::start(home.dir(), Some(listen), Some(&passphrase), &[], true)?;
        match self.prepare(&running, &mut home, &people, out) {
            Ok((text, report)) => out.result(&text, &report),
            Err(failure) => {
                // What was loaded is kept; how the stop went matters less than why.
                let _ = running.stop();
                return Err(failure);
            }
        }
        running.until_signal()?;
        out.note("The vault has stopped. The folder stays as it is.");
        Ok(())
    }

    /// Callers, people, files; what to tell a person and what a program.
    fn prepare(&self, running: &Running, home: &mut Home, people: &[Person], out: Out) -> Result<(String, Value), Failure> {
        let url = format!("https://{}", running.address());
        let client = ready(home.dir(), &url)?;
        if home.stage() == Stage::Made {
            let today = TimeZone::UTC.to_datetime(Clock::system().now()).date();
            let tokens = appoint(&client, home.bootstrap()?, today)?;
            home.staffed(tokens)?;
        }
        let loaded = self.load(running, &client, home, people, out)?;
        let text = summary(home, &client, &url, people, &loaded)?;
        home.publish(&url)?;
        let report = json!({
            "url": url, "dir": home.dir(), "demo": home.dir().join("demo.json"), "people": people.len(),
            "subjects": loaded.subjects, "records": loaded.records, "refused": loaded.refused, "outcomes": loaded.outcomes,
        });
        Ok((text, report))
    }

    fn load(&self, running: &Running, client: &Client, home: &mut Home, people: &[Person], out: Out) -> Result<Loaded, Failure> {
        let source = self.people.to_string();
        let done = home.loaded(&source);
        if done >= people.len() {
            return Ok(Loaded::default());
        }
        let writer = client.with_token(home.token("writer")?);
        let reader = client.with_token(home.token("reader")?);
        let bar = progress_bar(people.len(), out);
        bar.set_position(done as u64);
        let loaded = load(&writer, &reader, people, done, &mut |count| {
            bar.set_position(count as u64);
            home.has_loaded(&source, count)?;
            if running.is_stopping() {
                return Err(Failure::new("stopped while loading").remedy("run it again: it goes on where it stopped"));
            }
            Ok(())
        });
        bar.finish_and_clear();
        let loaded = loaded?;
        let refused: usize = loaded.refused.values().sum();
        if loaded.subjects + loaded.known + loaded.records == 0 && refused > 0 {
            return Err(Failure::new("the vault refused every one of the people").report(json!(loaded.refused)));
        }
        Ok(loaded)
    }
}

/// The wanted address when it is free; the usual one or one of the next ports when nothing is wanted.
fn free_address(wanted: Option<SocketAddr>) -> Result<SocketAddr, Failure> {
    let free = |address: SocketAddr| TcpListener::bind(address).map(drop);
    if let Some(address) = wanted {
        return free(address).map(|()| address).map_err(|e| {
            Failure::new(format!("cannot listen on {address}: {e}")).remedy("name another --listen, or leave it out")
        });
    }
    (PORT..=PORT + FURTHER)
        .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .find(|&address| free(address).is_ok())
        .ok_or_else(|| {
            Failure::new(format!("every port from {PORT} to {} is taken", PORT + FURTHER)).remedy("name --listen ADDR:PORT")
        })
}

/// A client, once /readyz answers 200.
fn ready(dir: &Path, url: &str) -> Result<Client, Failure> {
    let ca = dir.join("tls/ca.pem");
    let pem = std::fs::read_to_string(&ca).map_err(|e| Failure::file("read", &ca, &e))?;
    let client = Client::new(url, &pem, None)?;
    let step = Duration::from_millis(50);
    for _ in 0..PATIENCE.as_millis() / step.as_millis() {
        if client.get("/readyz").send().is_ok_and(|reply| reply.status == 200) {
            return Ok(client);
        }
        std::thread::sleep(step);
    }
    let reply = client.get("/readyz").send()?;
    Err(Failure::unreachable(format!("the vault is not ready after {} seconds: {}", PATIENCE.as_secs(), reply.status)))
}

fn progress_bar(people: usize, out: Out) -> ProgressBar {
    let target = if out.is_json() || !std::io::stderr().is_terminal() {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr()
    };
    let style = ProgressStyle::with_template("{bar:40} {human_pos} of {human_len} people, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(people as u64), target).with_style(style)
}

/// What a reader of the terminal does next, with the ids of somebody who is really there.
fn summary(home: &Home, client: &Client, url: &str, people: &[Person], loaded: &Loaded) -> Result<String, Failure> {
    let mut text = format!("\nThe vault is open on {url} with {} people", people.len());
    if loaded.subjects + loaded.records > 0 {
        text += &format!(" ({} subjects and {} records are new)", loaded.subjects, loaded.records);
    }
    text += ".\n";
    for (code, count) in &loaded.refused {
        text += &format!("Refused: {count} times {code}\n");
    }
    let reader = client.with_token(home.token("reader")?);
    if let Some((email, id)) = somebody(&reader, people)? {
        text += &curls(&home.dir().join("demo.env").display().to_string(), &email, &id);
    }
    text += &format!("\nFor programs: {}\nCtrl-C stops it; nothing is removed.", home.dir().join("demo.json").display());
    Ok(text)
}

/// The first of the people who is still found by e-mail: earlier runs may have erased some.
fn somebody(reader: &Client, people: &[Person]) -> Result<Option<(String, String)>, Failure> {
    for person in people.iter().take(20) {
        let body = json!({ "type": "email", "value": person.email });
        let reply = reader.post("/v1/subject-lookups", &body).purpose("b-service").send()?;
        match reply.status {
            // Who ordered nothing has no contract that the service could rest on.
            403 | 404 | 410 => {}
            _ => {
                let id = success(Ok(reply), "look somebody up")?.text("id").to_owned();
                return Ok(Some((person.email.clone(), id)));
            }
        }
    }
    Ok(None)
}

fn curls(env: &str, email: &str, id: &str) -> String {
    let lookup: Value = json!({ "type": "email", "value": email });
    let erasure: Value = json!({ "subject": id, "scope": "subject", "cause": "request" });
    // An address may hold an apostrophe, which would end the shell's word.
    let lookup = lookup.to_string().replace('\'', r"'\''");
    format!(
        r#"
Worth trying, in another terminal:

  . '{env}'

  # who is it? (a look-up by e-mail is a POST: nothing personal stands in an address)
  curl --cacert "$CA" -H "Authorization: Bearer $READER" -H "Vault-Purpose: b-service" \
    --json '{lookup}' "$URL/v1/subject-lookups"

  # read name and e-mail for the service that they asked for
  curl --cacert "$CA" -H "Authorization: Bearer $READER" -H "Vault-Purpose: b-service" \
    "$URL/v1/subjects/{id}/records?fields=name,email"

  # erase them: one officer opens, another approves; then read again
  ERASURE=$(curl -s --cacert "$CA" -H "Authorization: Bearer $PRIVACY_OFFICER" \
    --json '{erasure}' "$URL/v1/erasures" | grep -o 'ers_[0-9a-z]*' | head -1) &&
  curl --cacert "$CA" -H "Authorization: Bearer $PRIVACY_OFFICER_2" --json '{{}}' "$URL/v1/erasures/$ERASURE/approvals"
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A demo in a folder of its own, with `people` loaded.
    fn demo(people: usize) -> (tempfile::TempDir, Home, Running, Client, Vec<Person>) {
        let dir = tempfile::tempdir().unwrap();
        let mut home = Home::open(&dir.path().join("oubliette-demo")).unwrap();
        let passphrase = home.passphrase().unwrap();
        let created = engine::create(home.dir(), &passphrase).unwrap();
        home.made(created.first.expose_secret(), created.second.expose_secret()).unwrap();
        let running = engine::start_quietly(home.dir(), &passphrase).unwrap();
        let client = ready(home.dir(), &format!("https://{}", running.address())).unwrap();
        home.staffed(appoint(&client, home.bootstrap().unwrap(), "2026-11-23".parse().unwrap()).unwrap()).unwrap();
        let people = PeopleFrom::Number(people).people().unwrap();
        (dir, home, running, client, people)
    }

    #[test]
    fn people_are_loaded_through_the_api_and_none_of_them_twice() {
        let (_dir, home, running, client, people) = demo(60);
        let (writer, reader) =
            (client.with_token(home.token("writer").unwrap()), client.with_token(home.token("reader").unwrap()));
        let mut steps = Vec::new();
        let first = load(&writer, &reader, &people, 0, &mut |count| {
            steps.push(count);
            Ok(())
        });
        let first = first.unwrap();
        assert_eq!((first.subjects, first.known, first.refused.len()), (60, 0, 0), "{first:?}");
        assert!(first.records > 60);
        assert_eq!(steps, [60]);
        // As after a kill between the writing and the remembering.
        let again = load(&writer, &reader, &people, 0, &mut |_| Ok(())).unwrap();
        assert_eq!((again.subjects, again.known, again.records), (0, 60, 0), "{again:?}");
        let (email, id) = somebody(&reader, &people).unwrap().unwrap();
        let read = reader.get(&format!("/v1/subjects/{id}/records?fields=email")).purpose("b-service").send().unwrap();
        assert_eq!(read.body["records"][0]["fields"]["email"], json!(email));
        running.stop().unwrap();
    }

    #[test]
    fn the_five_minutes_of_the_readme_are_as_they_are_written() {
        std::process::Command::new("curl").arg("--version").output().expect("the README's commands need curl");
        let (dir, home, running, client, _) = demo(1);
        home.publish(client.url()).unwrap();
        let readme = include_str!("../../README.md");
        let (_, rest) = readme.split_once("## Five minutes").unwrap();
        let (part, _) = rest.split_once("## A vault of your own").unwrap();
        let lines = part.lines().filter_map(|line| line.strip_prefix("    ")).filter(|line| !line.starts_with("cargo run"));
        let script: String = lines.map(|line| format!("{line}\n")).collect();
        let said = std::process::Command::new("bash").args(["-euc", &script]).current_dir(dir.path()).output().unwrap();
        let text = String::from_utf8_lossy(&said.stdout);
        assert!(said.status.success(), "{text}{}", String::from_utf8_lossy(&said.stderr));
        let seen = [
            r#""groups":["identity","contract","marketing"]"#,
            r#""name":"Ada""#,
            "category-not-permitted",
            "purpose-required",
            "consent-withdrawn",
            r#""status":"in_progress""#,
            r#""recipients":["#,
            "problem:erased",
        ];
        for word in seen {
            assert!(text.contains(word), "{word} is not in {text}");
        }
        let certificate = std::fs::read(dir.path().join("certificate.json")).unwrap();
        let public = engine::public_key(&home.dir().join("vault.pub")).unwrap();
        engine::verify_certificate(&certificate, &public).unwrap();
        running.stop().unwrap();
        let (report, broken) = engine::verify_trail(home.dir(), &public).unwrap();
        assert_eq!(broken, None, "{report}");
    }

    #[test]
    fn a_taken_address_is_refused_when_it_was_asked_for() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        assert!(free_address(Some(address)).unwrap_err().to_string().contains(&address.to_string()));
        drop(taken);
        assert_eq!(free_address(Some(address)).unwrap(), address);
    }

    #[test]
    fn the_usual_address_gives_way_to_the_next_free_port() {
        let first = free_address(None).unwrap();
        let Ok(_taken) = TcpListener::bind(first) else { return };
        let next = free_address(None).unwrap();
        assert!(next.port() > first.port() && next.ip().is_loopback());
    }

    #[test]
    fn the_commands_worth_trying_are_ones_that_a_shell_accepts() {
        let text = curls("/tmp/demo.env", "o'brien.1@example.org", "sub_00000000000000000000000000");
        let script: String = text.lines().filter(|line| !line.starts_with("Worth")).map(|line| format!("{line}\n")).collect();
        let checked = std::process::Command::new("sh").args(["-n", "-c", &script]).output().unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        assert_eq!(text.matches("curl ").count(), 4, "look-up, read, open, approve");
    }
}
