//! Access tokens of a trusted issuer (RFC 9068) over HTTPS: what they may, and what does not pass for one.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use jsonwebtoken::{Algorithm, EncodingKey};
use oubliette::config::{Config, OidcSection};
use oubliette::model::caller::{CallerKind, Role};
use oubliette::model::wire::PutCaller;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::house::{House, Token};
use crate::https::Reply;
use crate::promises::creds::Stop;

const ISSUER: &str = "https://login.example.org";
const AUDIENCE: &str = "https://vault.example.org";
/// The second at which the house's clock stands.
const NOW: i64 = 1_795_428_000;

/// A key of the issuer.
pub(super) struct Signer {
    pair: KeyPair,
    kid: String,
}

impl Signer {
    pub(super) fn new(kid: &str) -> Self {
        Self { pair: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(), kid: kid.to_owned() }
    }

    fn jwk(&self) -> Value {
        let raw = self.pair.der_bytes();
        let text = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        json!({"kty": "EC", "crv": "P-256", "kid": self.kid, "use": "sig", "alg": "ES256", "x": text(&raw[1..33]), "y": text(&raw[33..65])})
    }

    /// Puts these keys where the vault looks for them.
    pub(super) fn publish(house: &House, signers: &[&Self]) {
        let keys: Vec<Value> = signers.iter().map(|signer| signer.jwk()).collect();
        std::fs::write(house.home.path().join("jwks.json"), json!({"keys": keys}).to_string()).unwrap();
    }

    /// A token for `app` with these claims over the usual ones.
    pub(super) fn token(&self, claims: Value) -> String {
        self.headed(json!({"alg": "ES256", "typ": "at+jwt", "kid": self.kid}), claims)
    }

    fn headed(&self, header: Value, claims: Value) -> String {
        let message = message(&header, claims);
        let key = EncodingKey::from_ec_der(&self.pair.serialize_der());
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::ES256).unwrap();
        format!("{message}.{signature}")
    }
}

fn message(header: &Value, claims: Value) -> String {
    let mut all =
        json!({"iss": ISSUER, "sub": "app", "aud": AUDIENCE, "exp": NOW + 3_600, "iat": NOW, "jti": "1", "client_id": "app"});
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(&all))
}

fn section(config: &Config) -> OidcSection {
    OidcSection {
        issuer: ISSUER.into(),
        audience: AUDIENCE.into(),
        jwks_file: Some(config.dir.join("jwks.json")),
        jwks_url: None,
        jwks_ca: None,
        refresh_seconds: 300,
        max_age_seconds: 3_600,
        step_up_acr: vec!["gold".into()],
        step_up_seconds: 300,
    }
}

pub(super) fn trusting(config: &mut Config) {
    config.oidc = Some(section(config));
}

/// A caller that the issuer knows as `app`.
pub(super) fn app(house: &House, roles: &[Role], purposes: &[&str]) -> Token {
    let purposes = purposes.iter().map(|id| (*id).to_owned()).collect();
    let body = PutCaller::of("app", CallerKind::Service, roles.to_vec(), purposes);
    house.made(PutCaller { external: Some(format!("{ISSUER}|app")), ..body })
}

fn with(caller: &Token, text: String) -> Token {
    Token { text, ..caller.clone() }
}

struct Scene {
    house: House,
    signer: Signer,
    caller: Token,
    subject: String,
}

fn scene() -> Scene {
    let house = House::start_with(trusting);
    let signer = Signer::new("one");
    Signer::publish(&house, &[&signer]);
    let subject = house.customer();
    let caller = app(&house, &[Role::Reader], &["b-service", "d-notice"]);
    Scene { house, signer, caller, subject }
}

impl Scene {
    fn read(&self, token: String, purpose: &str) -> Reply {
        let path = format!("/v1/subjects/{}/records", self.subject);
        self.house.get(&path).by(&with(&self.caller, token)).purpose(purpose).send()
    }
}

#[test]
fn an_access_token_stands_for_its_caller_and_never_for_more() {
    let scene = scene();
    let read = |claims: Value, purpose: &str| scene.read(scene.signer.token(claims), purpose);
    let detail = |detail: Value| json!({"authorization_details": [{"type": "other"}, detail]});
    let all = read(json!({}), "b-service").expect(200).json();
    assert_eq!(all["records"][0]["fields"]["name"], "Ada");
    assert!(all["records"][0]["fields"].get("email").is_some());
    read(json!({}), "d-notice").expect(200);
    read(json!({}), "c-marketing").refused(403, "purpose-not-granted");
    // Scopes narrow, and give nothing that the caller does not have.
    read(json!({"scope": "openid b-service c-marketing"}), "b-service").expect(200);
    read(json!({"scope": "openid b-service c-marketing"}), "c-marketing").refused(403, "purpose-not-granted");
    read(json!({"scope": "openid b-service"}), "d-notice").refused(403, "purpose-not-granted");
    read(json!({"scope": "openid"}), "b-service").refused(403, "purpose-not-granted");
    let narrow = json!({"type": "oubliette", "purposes": ["b-service", "c-marketing"], "fields": ["name"]});
    let seen = read(detail(narrow.clone()), "b-service").expect(200).json();
    assert_eq!(seen["records"][0]["fields"], json!({"name": "Ada"}));
    read(detail(narrow.clone()), "c-marketing").refused(403, "purpose-not-granted");
    read(detail(json!({"type": "oubliette", "actions": ["getSubject"]})), "b-service").refused(403, "role-forbidden");
    // What cannot be understood is no credential.
    for wrong in [json!({"type": "oubliette", "actions": ["fly"]}), json!({"type": "oubliette", "more": 1})] {
        read(detail(wrong), "b-service").refused(401, "unauthenticated");
    }
    let twice = json!({"authorization_details": [narrow, narrow]});
    read(twice, "b-service").refused(401, "unauthenticated");
}

#[test]
fn what_is_not_the_issuers_word_for_this_vault_now_is_no_credential() {
    let scene = scene();
    let other = Signer::new("one");
    let headed = |header: Value| scene.signer.headed(header, json!({}));
    let public = BASE64_URL_SAFE_NO_PAD.decode(scene.signer.jwk()["x"].as_str().unwrap()).unwrap();
    let hs256 = |secret: &[u8]| {
        let message = message(&json!({"alg": "HS256", "typ": "at+jwt", "kid": "one"}), json!({}));
        let signature =
            jsonwebtoken::crypto::sign(message.as_bytes(), &EncodingKey::from_secret(secret), Algorithm::HS256).unwrap();
        format!("{message}.{signature}")
    };
    let none = format!("{}.", message(&json!({"alg": "none", "typ": "at+jwt", "kid": "one"}), json!({})));
    let good = scene.signer.token(json!({}));
    let mut parts = good.split('.');
    let swapped = format!(
        "{}.{}.{}",
        parts.next().unwrap(),
        scene.signer.token(json!({"sub": "admin"})).split('.').nth(1).unwrap(),
        good.rsplit_once('.').unwrap().1
    );
    for (token, why) in [
        (none, "alg none"),
        (hs256(&public), "HS256 with the public key"),
        (hs256(scene.signer.pair.der_bytes()), "HS256 with the public point"),
        (hs256(scene.signer.pair.public_key_pem().as_bytes()), "HS256 with the public key in PEM"),
        (other.token(json!({})), "another key under the same id"),
        (headed(json!({"alg": "ES256", "typ": "at+jwt", "kid": "two"})), "an unknown id"),
        (headed(json!({"alg": "ES256", "typ": "at+jwt"})), "no id"),
        (headed(json!({"alg": "RS256", "typ": "at+jwt", "kid": "one"})), "another algorithm than the key's"),
        (headed(json!({"alg": "ES256", "typ": "JWT", "kid": "one"})), "an ID token"),
        (headed(json!({"alg": "ES256", "typ": "at+jwt", "kid": "one", "crit": ["b64"], "b64": false})), "a critical header"),
        (other.headed(json!({"alg": "ES256", "typ": "at+jwt", "kid": "one", "jwk": other.jwk()}), json!({})), "its own key"),
        (swapped, "another payload under the signature"),
        (scene.signer.token(json!({"aud": "https://elsewhere.example.org"})), "another audience"),
        (scene.signer.token(json!({"iss": "https://login.example.com"})), "another issuer"),
        (scene.signer.token(json!({"exp": NOW - 60})), "expired"),
        (scene.signer.token(json!({"nbf": NOW + 61})), "not yet"),
        (scene.signer.token(json!({"iat": NOW + 61})), "of the future"),
        (scene.signer.token(json!({"sub": "nobody"})), "a name that stands for no caller"),
        (scene.signer.token(json!({"sub": "app|x"})), "a name that only begins like one"),
        ("a.b.c".to_owned(), "nonsense"),
        (good[..good.len() - 4].to_owned(), "a cut signature"),
    ] {
        let reply = scene.read(token, "b-service");
        assert_eq!((reply.status, reply.code().as_str()), (401, "unauthenticated"), "{why}: {}", reply.text());
    }
    scene.read(good, "b-service").expect(200);
}

#[test]
fn a_vault_that_trusts_no_issuer_takes_no_access_token() {
    let house = House::shared();
    let token = with(&house.holder(Role::Reader), Signer::new("one").token(json!({})));
    house.get(&format!("/v1/subjects/{}", house.ada())).by(&token).send().refused(401, "unauthenticated");
}

#[test]
fn what_is_taken_from_the_caller_is_taken_from_its_access_tokens_at_once_and_under_load() {
    let scene = scene();
    let Scene { house, signer, caller, subject } = &scene;
    let path = format!("/v1/callers/{}", caller.id);
    let officer = house.holder(Role::SecurityOfficer);
    let put = |more: Value| {
        let mut body = json!({"name": "app", "kind": "service", "roles": ["reader"], "purposes": ["b-service", "d-notice"],
                              "external": format!("{ISSUER}|app")});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        house.put(&path, &body).by(&officer).send().expect(200);
    };
    let token = with(caller, signer.token(json!({})));
    let stopped = AtomicBool::new(false);
    let (started, answered) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..3)
            .map(|_| {
                let (started, stopped, token) = (started.clone(), &stopped, &token);
                scope.spawn(move || {
                    let mut connection = house.connect();
                    loop {
                        let revoked = stopped.load(Ordering::SeqCst);
                        let reply = house.get(&format!("/v1/subjects/{subject}")).by(token).send_on(&mut connection);
                        match reply.status {
                            200 => assert!(!revoked, "an access token worked after it was revoked"),
                            401 if revoked => return,
                            401 => {}
                            other => panic!("{other}: {}", reply.text()),
                        }
                        let _ = started.send(());
                    }
                })
            })
            .collect();
        drop(started);
        let stop = Stop(&stopped);
        for _ in 0..200 {
            answered.recv().expect("somebody who asks");
        }
        put(json!({"revoke_tokens": true}));
        drop(stop);
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
    // One that was issued later works, until the caller is suspended.
    house.home.turn(SignedDuration::from_secs(1));
    let later = with(caller, signer.token(json!({"iat": NOW + 1})));
    house.get(&format!("/v1/subjects/{subject}")).by(&later).send().expect(200);
    put(json!({"state": "suspended"}));
    house.get(&format!("/v1/subjects/{subject}")).by(&later).send().refused(401, "unauthenticated");
}

#[test]
fn one_name_of_the_issuer_stands_for_one_caller() {
    let scene = scene();
    let body = json!({"name": "other", "kind": "service", "roles": ["reader"], "external": format!("{ISSUER}|app")});
    let officer = scene.house.holder(Role::SecurityOfficer);
    scene.house.put("/v1/callers/new", &body).by(&officer).send().refused(409, "state-conflict");
    for wrong in ["", "app", "|app", "https://i|", "https://i|a b"] {
        let body = json!({"name": "other", "kind": "service", "roles": ["reader"], "external": wrong});
        scene.house.put("/v1/callers/new", &body).by(&officer).send().refused(422, "invalid-body");
    }
    // Two that came there all the same are nobody.
    app(&scene.house, &[Role::Reader], &["b-service"]);
    scene.read(scene.signer.token(json!({})), "b-service").refused(401, "unauthenticated");
}

#[test]
fn a_new_key_is_fetched_once_in_a_while_and_an_old_one_ends() {
    let scene = scene();
    let house = &scene.house;
    scene.read(scene.signer.token(json!({})), "b-service").expect(200);
    let next = Signer::new("two");
    Signer::publish(house, &[&next]);
    // The keys were fetched this very second: a token with an unknown key does not make the vault ask again.
    scene.read(next.token(json!({})), "b-service").refused(401, "unauthenticated");
    house.home.turn(SignedDuration::from_secs(10));
    scene.read(next.token(json!({})), "b-service").expect(200);
    scene.read(scene.signer.token(json!({})), "b-service").refused(401, "unauthenticated");
    // A set that cannot be read changes nothing, until the last good one is too old.
    std::fs::write(house.home.path().join("jwks.json"), "nonsense").unwrap();
    house.home.turn(SignedDuration::from_secs(3_000));
    scene.read(next.token(json!({})), "b-service").expect(200);
    house.home.turn(SignedDuration::from_secs(601));
    scene.read(next.token(json!({"exp": NOW + 100_000})), "b-service").refused(401, "unauthenticated");
    Signer::publish(house, &[&next]);
    house.home.turn(SignedDuration::from_secs(10));
    scene.read(next.token(json!({"exp": NOW + 100_000})), "b-service").expect(200);
}

/// Serves `jwks.json` of the vault's directory over HTTPS, under an authority that stands in `issuer-ca.pem`.
fn serving(config: &mut Config) {
    // Asked for the vault's own settings alone, before there is a directory.
    if config.dir.as_os_str().is_empty() {
        return;
    }
    let mut oidc = section(config);
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(config.dir.join("issuer-ca.pem"), made.cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let (tls, file) = (Arc::new(tls), config.dir.join("jwks.json"));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            answer(StreamOwned::new(ServerConnection::new(tls.clone()).unwrap(), socket), &file);
        }
    });
    (oidc.jwks_file, oidc.jwks_url) = (None, Some(format!("https://localhost:{port}/keys")));
    oidc.jwks_ca = Some(config.dir.join("issuer-ca.pem"));
    config.oidc = Some(oidc);
}

fn answer(mut stream: impl Read + Write, file: &Path) {
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(count) if count > 0 => request.extend_from_slice(&buffer[..count]),
            _ => return,
        }
    }
    let body = std::fs::read_to_string(file).unwrap_or_default();
    let head = if body.is_empty() { "503 Service Unavailable" } else { "200 OK" };
    let _ = write!(stream, "HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    let _ = stream.flush();
}

#[test]
fn keys_come_over_https_from_whom_the_configured_authority_vouches_for() {
    let house = House::start_with(serving);
    let signer = Signer::new("one");
    Signer::publish(&house, &[&signer]);
    let subject = house.ada();
    let caller = app(&house, &[Role::Reader], &["b-service"]);
    let see = || house.get(&format!("/v1/subjects/{subject}")).by(&with(&caller, signer.token(json!({})))).send();
    see().expect(200);
    // Another authority: the keys that are held stay until they are too old.
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(house.home.path().join("issuer-ca.pem"), other.cert.pem()).unwrap();
    house.home.turn(SignedDuration::from_secs(400));
    see().expect(200);
    house.home.turn(SignedDuration::from_secs(3_201));
    see().refused(401, "unauthenticated");
}
