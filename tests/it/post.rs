//! The ways out, each against a stand-in of the other side: mail servers that take, delay, refuse or are away, and an application's
//! own sender.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::SignedDuration;
use oubliette::post::{Failed, Post, Security, Settings, SmtpSettings, Way};
use oubliette::vault::Delivered;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use crate::house::House;
use crate::promises::letters::Mail;

/// A mail server as far as a sender sees one.
struct MailServer {
    address: SocketAddr,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    mails: Mutex<Vec<(String, String)>>,
    /// What it says to a recipient.
    says: Mutex<String>,
    stop: AtomicBool,
    tls: Option<Arc<ServerConfig>>,
    /// Whether it says that it speaks TLS.
    offers_tls: bool,
    /// Connections that began, and commands that came in clear behind the greeting.
    in_clear: Mutex<Vec<String>>,
}

impl MailServer {
    fn start() -> Self {
        Self::at("127.0.0.1:0", State { says: Mutex::new("250 ok".into()), ..State::default() })
    }

    fn at(address: &str, state: State) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(state);
        let own = state.clone();
        let thread = std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                if own.stop.load(Ordering::SeqCst) {
                    return;
                }
                socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                let _ = greet(socket, &own);
            }
        });
        Self { address, state, thread: Some(thread) }
    }

    fn says(&self, answer: &str) {
        answer.clone_into(&mut self.state.says.lock().unwrap());
    }

    fn mails(&self) -> Vec<(String, String)> {
        self.state.mails.lock().unwrap().clone()
    }

    /// Ends it; nobody listens any more.
    fn stop(mut self) -> Vec<(String, String)> {
        self.state.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        self.thread.take().unwrap().join().unwrap();
        self.mails()
    }

    fn settings(&self, security: Security) -> SmtpSettings {
        let host = if security == Security::None { "127.0.0.1" } else { "localhost" };
        SmtpSettings { host: host.into(), port: self.address.port(), security, user: None, password_file: None }
    }
}

fn greet(mut socket: TcpStream, state: &State) -> std::io::Result<()> {
    socket.write_all(b"220 mail.example.org ready\r\n")?;
    let mut reader = BufReader::new(socket);
    if !state.offers_tls {
        return talk(&mut reader, state, true);
    }
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        state.in_clear.lock().unwrap().push(line.clone());
        match line.to_uppercase().split_whitespace().next() {
            Some("EHLO") => reader.get_mut().write_all(b"250-mail.example.org\r\n250 STARTTLS\r\n")?,
            Some("STARTTLS") => break,
            _ => return reader.get_mut().write_all(b"530 5.7.0 Must issue a STARTTLS command first\r\n"),
        }
    }
    reader.get_mut().write_all(b"220 go on\r\n")?;
    let connection = ServerConnection::new(state.tls.clone().unwrap()).unwrap();
    talk(&mut BufReader::new(StreamOwned::new(connection, reader.into_inner())), state, false)
}

fn talk<S: Read + Write>(reader: &mut BufReader<S>, state: &State, in_clear: bool) -> std::io::Result<()> {
    let mut to = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if in_clear {
            state.in_clear.lock().unwrap().push(line.clone());
        }
        let answer = match line.to_uppercase().split([' ', ':', '\r']).next().unwrap_or_default() {
            "EHLO" => "250-mail.example.org\r\n250 8BITMIME".to_owned(),
            "RCPT" => {
                to = line.trim().to_owned();
                state.says.lock().unwrap().clone()
            }
            "DATA" => {
                reader.get_mut().write_all(b"354 go on\r\n")?;
                let mut mail = String::new();
                loop {
                    let mut line = String::new();
                    if reader.read_line(&mut line)? == 0 {
                        return Ok(());
                    }
                    match line.as_str() {
                        ".\r\n" => break,
                        line => mail += line.strip_prefix('.').unwrap_or(line),
                    }
                }
                state.mails.lock().unwrap().push((to.clone(), mail));
                "250 taken".to_owned()
            }
            "QUIT" => return reader.get_mut().write_all(b"221 bye\r\n"),
            _ => "250 ok".to_owned(),
        };
        reader.get_mut().write_all(format!("{answer}\r\n").as_bytes())?;
        reader.get_mut().flush()?;
    }
}

/// A certificate for `localhost` that is its own authority, in a file, and the server's side of it.
fn certificate(dir: &tempfile::TempDir, name: &str) -> (std::path::PathBuf, Arc<ServerConfig>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (path, Arc::new(tls))
}

fn by_smtp(settings: SmtpSettings) -> Settings {
    Settings { way: Some(Way::Smtp(settings)), patience: Duration::from_secs(5), ..Settings::default() }
}

#[test]
fn a_letter_is_taken_delayed_refused_or_waits_for_a_server_that_is_away_and_is_neither_lost_nor_doubled() {
    let server = MailServer::start();
    let house = House::start_posting(by_smtp(server.settings(Security::None)));
    let (ada, email) = house.addressee(&["b-service"]);
    let sends = |house: &House| house.send_notice(&ada, "service", "service").expect(201).member("id");
    let state = |house: &House, id: &str| {
        let notices = house.notices(&ada);
        let own = notices.iter().find(|notice| notice["id"] == id).unwrap().clone();
        (own["state"].as_str().unwrap().to_owned(), own["reason"].as_str().unwrap_or_default().to_owned())
    };
    let first = sends(&house);
    assert_eq!(house.deliver(), Delivered { due: 1, sent: 1, ..Delivered::default() });
    let mails = server.mails();
    assert_eq!((mails.len(), mails[0].0.as_str()), (1, format!("RCPT TO:<{email}>").as_str()));
    let mail = Mail::read(mails[0].1.trim_end_matches("\r\n"));
    assert_eq!((mail.header("To"), mail.header("Message-ID")), (email.as_str(), format!("<{first}@localhost>").as_str()));
    assert_eq!(state(&house, &first), ("sent".into(), String::new()));

    // Greylisted: later, and not before its time.
    server.says("451 4.7.1 come again");
    let second = sends(&house);
    assert_eq!(house.deliver(), Delivered { due: 1, later: 1, ..Delivered::default() });
    server.says("250 ok");
    assert_eq!(house.deliver(), Delivered::default());
    assert_eq!(state(&house, &second), ("queued".into(), String::new()));
    house.home.turn(SignedDuration::from_mins(1));
    assert_eq!(house.deliver(), Delivered { due: 1, sent: 1, ..Delivered::default() });
    assert_eq!(server.mails().len(), 2);

    // Refused for good: never again. What the server says is not kept, since it may name the person.
    server.says("550 5.1.1 <reader@letters.example> is nobody here");
    let third = sends(&house);
    assert_eq!(house.deliver(), Delivered { due: 1, bounced: 1, ..Delivered::default() });
    assert_eq!(state(&house, &third), ("bounced".into(), "refused".into()));
    server.says("250 ok");
    house.home.turn(SignedDuration::from_hours(7));
    assert_eq!(house.deliver(), Delivered::default());

    // Away, over a restart of the vault: once, when it is there again.
    let address = server.address.to_string();
    assert_eq!(server.stop().len(), 2);
    let fourth = sends(&house);
    assert_eq!(house.deliver(), Delivered { due: 1, later: 1, ..Delivered::default() });
    house.home.turn(SignedDuration::from_mins(1));
    let house = house.restart();
    assert_eq!(house.deliver(), Delivered { due: 1, later: 1, ..Delivered::default() });
    let server = MailServer::at(&address, State { says: Mutex::new("250 ok".into()), ..State::default() });
    house.home.turn(SignedDuration::from_mins(2));
    let house = house.restart();
    assert_eq!(house.deliver(), Delivered { due: 1, sent: 1, ..Delivered::default() });
    let house = house.restart();
    house.home.turn(SignedDuration::from_hours(7));
    assert_eq!(house.deliver(), Delivered::default());
    assert_eq!(state(&house, &fourth), ("sent".into(), String::new()));
    assert_eq!(server.stop().len(), 1);
}

#[test]
fn a_letter_that_no_server_takes_is_given_up_after_five_days() {
    let server = MailServer::start();
    let house = House::start_posting(by_smtp(server.settings(Security::None)));
    let (ada, _) = house.addressee(&["b-service"]);
    server.says("451 4.7.1 come again");
    house.send_notice(&ada, "service", "service").expect(201);
    let mut tries = 0;
    for _ in 0..6 * 24 {
        let delivered = house.deliver();
        tries += delivered.due;
        if delivered.given_up == 1 {
            break;
        }
        house.home.turn(SignedDuration::from_hours(1));
    }
    assert!((20..=40).contains(&tries), "{tries}");
    assert_eq!(house.fate(&ada).0, "given-up");
    assert!(server.stop().is_empty());
}

#[test]
fn mail_goes_under_tls_to_the_server_that_the_authority_vouches_for_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, tls) = certificate(&dir, "ca.pem");
    let (other, _) = certificate(&dir, "other.pem");
    let secured = || State { says: Mutex::new("250 ok".into()), tls: Some(tls.clone()), offers_tls: true, ..State::default() };
    let server = MailServer::at("127.0.0.1:0", secured());
    let settings = |ca: &std::path::Path, server: &MailServer| Settings {
        authorities: Some(ca.to_owned()),
        ..by_smtp(server.settings(Security::StartTls))
    };
    let house = House::start_posting(settings(&ca, &server));
    let (ada, email) = house.addressee(&["b-service"]);
    house.send_notice(&ada, "service", "service").expect(201);
    assert_eq!(house.deliver().sent, 1);
    assert!(server.mails()[0].0.contains(&email));
    let clear = server.state.in_clear.lock().unwrap().concat();
    assert!(clear.contains("STARTTLS") && !clear.contains("RCPT") && !clear.contains(&email), "{clear}");
    drop(house);

    let house = House::start_posting(settings(&other, &server));
    let (ada, _) = house.addressee(&["b-service"]);
    house.send_notice(&ada, "service", "service").expect(201);
    assert_eq!(house.deliver().later, 1, "a server that nobody vouches for");
    assert_eq!(server.stop().len(), 1);
    drop(house);

    // One that takes the offer of TLS away gets no letter.
    let server = MailServer::start();
    let house = House::start_posting(settings(&ca, &server));
    let (ada, email) = house.addressee(&["b-service"]);
    house.send_notice(&ada, "service", "service").expect(201);
    assert_eq!(house.deliver().later, 1);
    let clear = server.state.in_clear.lock().unwrap().concat();
    assert!(!clear.contains("RCPT") && !clear.contains(&email), "{clear}");
    assert!(server.stop().is_empty());
}

#[test]
fn mail_in_clear_never_leaves_this_machine() {
    let settings = SmtpSettings { host: "mail.example.org".into(), ..MailServer::start().settings(Security::None) };
    let post = Post::new(by_smtp(settings));
    let letter = oubliette::post::Letter {
        id: "x".into(),
        subject_id: None,
        to: "ada@example.org",
        officer: "officer@example.org",
        language: "en",
        title: "x",
        text: "x",
        at: jiff::Timestamp::UNIX_EPOCH,
    };
    assert_eq!(post.letter(&letter, &|_| [0; 64]), Err(Failed::NoSender));
    assert_eq!(Post::new(Settings::default()).letter(&letter, &|_| [0; 64]), Err(Failed::NoSender));
}

/// What an HTTPS stand-in heard: the head and the body.
type Heard = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// Answers each call with the next of these, the last one for ever.
fn sender(tls: Arc<ServerConfig>, answers: Vec<&'static str>) -> (u16, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Heard::default();
    let own = heard.clone();
    std::thread::spawn(move || {
        let mut answers = answers.into_iter().peekable();
        for socket in listener.incoming().flatten() {
            let mut stream = BufReader::new(StreamOwned::new(ServerConnection::new(tls.clone()).unwrap(), socket));
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if !matches!(stream.read_line(&mut head), Ok(count) if count > 0) {
                    break;
                }
            }
            let lower = head.to_lowercase();
            let Some(length) = lower.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()) else {
                continue;
            };
            let mut body = vec![0; length.parse().unwrap()];
            stream.read_exact(&mut body).unwrap();
            own.lock().unwrap().push((head, body));
            let answer = if answers.len() > 1 { answers.next() } else { answers.peek().copied() }.unwrap();
            let _ = write!(
                stream.get_mut(),
                "HTTP/1.1 {answer}\r\nlocation: https://localhost:1/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
            let _ = stream.get_mut().flush();
        }
    });
    (port, heard)
}

#[test]
fn an_application_sends_for_itself_what_the_vault_signed() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, tls) = certificate(&dir, "ca.pem");
    let (port, heard) = sender(tls, vec!["503 Later", "202 Accepted", "410 Gone", "302 Elsewhere"]);
    let way = Way::Webhook(format!("https://localhost:{port}/letters"));
    let settings = Settings { way: Some(way), authorities: Some(ca), patience: Duration::from_secs(5), ..Settings::default() };
    let house = House::start_posting(settings);
    let (ada, email) = house.addressee(&["b-service"]);
    let id = house.send_notice(&ada, "security", "security").expect(201).member("id");
    assert_eq!(house.deliver().later, 1);
    house.home.turn(SignedDuration::from_mins(1));
    assert_eq!(house.deliver().sent, 1);
    let calls = heard.lock().unwrap().clone();
    assert_eq!(calls.len(), 2);
    assert!(calls[1].0.starts_with("POST /letters HTTP/1.1\r\n"), "{}", calls[1].0);
    let body: Value = serde_json::from_slice(&calls[1].1).unwrap();
    let letter = &body["letter"];
    assert_eq!((&letter["to"], &letter["notice"], &letter["subject"]), (&email.clone().into(), &id.into(), &ada.clone().into()));
    assert_eq!(letter["language"], "de");
    assert!(letter["text"].as_str().unwrap().contains("Sicherheit Ihres Kontos"));
    let signature: [u8; 64] = BASE64_STANDARD.decode(body["signature"].as_str().unwrap()).unwrap().try_into().unwrap();
    let signed =
        |letter: &Value| [b"oubliette-letter/v1\n".as_slice(), &serde_json_canonicalizer::to_vec(letter).unwrap()].concat();
    assert!(keys::sign::verify(&house.home.public_key(), &signed(letter), &signature));
    let mut other = letter.clone();
    other["to"] = "eve@example.org".into();
    assert!(!keys::sign::verify(&house.home.public_key(), &signed(&other), &signature));
    // Gone is for good, and nobody is followed elsewhere.
    for _ in 0..2 {
        house.send_notice(&ada, "security", "security").expect(201);
        assert_eq!(house.deliver().bounced, 1);
    }
    assert_eq!(heard.lock().unwrap().len(), 4);
}

#[test]
fn the_one_client_speaks_https_to_whom_it_may_trust_and_to_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, tls) = certificate(&dir, "ca.pem");
    let (other, _) = certificate(&dir, "other.pem");
    let (port, heard) = sender(tls, vec!["204 No Content"]);
    let post = |ca: &std::path::Path| {
        Post::new(Settings { authorities: Some(ca.to_owned()), patience: Duration::from_secs(5), ..Settings::default() })
    };
    let url = format!("https://localhost:{port}/");
    assert_eq!(post(&ca).post(&url, "application/json", b"{}"), Ok(204));
    assert_eq!(post(&other).post(&url, "application/json", b"{}"), Err(Failed::Unreachable));
    assert_eq!(post(&ca).post(&url.replace("https", "http"), "application/json", b"{}"), Err(Failed::Address));
    assert_eq!(post(&ca).post(&url.replace("localhost", "127.0.0.1"), "application/json", b"{}"), Err(Failed::Unreachable));
    assert_eq!(post(&ca).post("nonsense", "application/json", b"{}"), Err(Failed::Address));
    assert_eq!(post(&dir.path().join("none")).post(&url, "application/json", b"{}"), Err(Failed::NoSender));
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let hurried = Post::new(Settings { authorities: Some(ca), patience: Duration::from_millis(300), ..Settings::default() });
    let never = format!("https://localhost:{}/", silent.local_addr().unwrap().port());
    assert_eq!(hurried.post(&never, "application/json", b"{}"), Err(Failed::Unreachable));
    assert_eq!(heard.lock().unwrap().len(), 1);
}
