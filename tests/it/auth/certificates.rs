//! Callers that are bound to a client certificate (RFC 8705), over real TLS.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use oubliette::config::Config;
use oubliette::model::caller::{CallerKind, Role};
use oubliette::model::wire::PutCaller;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;

use super::tokens::{Signer, app, trusting};
use crate::house::{House, Token};
use crate::https::Connection;

/// A client certificate with its key.
struct Client {
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
}

fn params() -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn authority() -> (Issuer<'static, KeyPair>, String) {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let pem = params().self_signed(&key).unwrap().pem();
    (Issuer::new(params(), key), pem)
}

impl Client {
    fn under(authority: &Issuer<'_, KeyPair>, usage: ExtendedKeyUsagePurpose) -> Self {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::new(vec!["desk.example.org".to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let certificate = params.signed_by(&key, authority).unwrap();
        Self { chain: vec![certificate.der().clone()], key: key.serialize_der() }
    }

    /// `x5t#S256`
    fn thumbprint(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(keys::digest::sha256(&[&self.chain[0]]))
    }

    fn trust(&self, house: &House) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(house.home.path().join("tls/ca.pem")).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(self.chain.clone(), PrivateKeyDer::try_from(self.key.clone()).unwrap())
            .unwrap();
        Arc::new(config)
    }

    fn connect(&self, house: &House) -> Connection {
        Connection::open(house.address, &self.trust(house))
    }
}

/// The authority of the clients, whose key lies beside the vault for the test.
fn with_clients(config: &mut Config) {
    // Asked for the vault's own settings alone, before there is a directory.
    if config.dir.as_os_str().is_empty() {
        return;
    }
    let (issuer, pem) = authority();
    std::fs::write(config.dir.join("clients.pem"), pem).unwrap();
    std::fs::write(config.dir.join("clients.key"), issuer.key().serialize_pem()).unwrap();
    config.tls.client_ca = Some(config.dir.join("clients.pem"));
    trusting(config);
}

fn issuer_of(house: &House) -> Issuer<'static, KeyPair> {
    let key = std::fs::read_to_string(house.home.path().join("clients.key")).unwrap();
    Issuer::new(params(), KeyPair::from_pem(&key).unwrap())
}

fn client(house: &House) -> Client {
    Client::under(&issuer_of(house), ExtendedKeyUsagePurpose::ClientAuth)
}

fn bound(house: &House, to: &Client) -> Token {
    let body = PutCaller::of("desk", CallerKind::Service, vec![Role::Reader], vec!["b-service".into()]);
    house.made(PutCaller { certificate: Some(to.thumbprint()), ..body })
}

#[test]
fn a_bound_callers_token_works_over_its_certificate_alone() {
    let house = House::start_with(with_clients);
    let subject = house.ada();
    let (own, other) = (client(&house), client(&house));
    let desk = bound(&house, &own);
    let path = format!("/v1/subjects/{subject}");
    let ask = || house.get(&path).by(&desk);
    ask().send_on(&mut own.connect(&house)).expect(200);
    ask().send().refused(401, "unauthenticated");
    ask().send_on(&mut other.connect(&house)).refused(401, "unauthenticated");
    // Its word in a header is no proof.
    let header = ask().header("x-client-cert", &own.thumbprint()).header("client-cert", &own.thumbprint());
    header.send().refused(401, "unauthenticated");
    // A caller that is bound to nothing does not mind one.
    house.get(&path).by(&house.holder(Role::Reader)).send_on(&mut other.connect(&house)).expect(200);
    // Loosening the binding needs the second officer; tightening does not.
    let put = |certificate: Option<String>| {
        let body = json!({"name": "desk", "kind": "service", "roles": ["reader"], "purposes": ["b-service"], "certificate": certificate});
        house.put(&format!("/v1/callers/{}", desk.id), &body).by(&house.holder(Role::SecurityOfficer)).send()
    };
    put(None).expect(200);
    ask().send().refused(401, "unauthenticated");
    put(Some("short".into())).refused(422, "invalid-body");
}

#[test]
fn a_connection_that_is_resumed_is_still_the_certificates() {
    let house = House::start_with(with_clients);
    let own = client(&house);
    let desk = bound(&house, &own);
    let trust = own.trust(&house);
    let path = format!("/v1/subjects/{}", house.ada());
    for _ in 0..3 {
        house.get(&path).by(&desk).send_on(&mut Connection::open(house.address, &trust)).expect(200);
    }
}

#[test]
fn a_certificate_of_another_authority_or_for_another_use_ends_the_handshake() {
    let house = House::start_with(with_clients);
    let strangers = Client::under(&authority().0, ExtendedKeyUsagePurpose::ClientAuth);
    let servers = Client::under(&issuer_of(&house), ExtendedKeyUsagePurpose::ServerAuth);
    let request = house.get("/healthz").bytes();
    for client in [strangers, servers] {
        assert!(client.connect(&house).exchange(&request).is_none());
    }
    assert!(client(&house).connect(&house).exchange(&request).is_some());
    assert_eq!(house.get("/healthz").send().status, 200, "without a certificate");
}

#[test]
fn a_vault_that_asks_for_no_certificates_sees_none() {
    let house = House::start();
    let own = Client::under(&authority().0, ExtendedKeyUsagePurpose::ClientAuth);
    let desk = bound(&house, &own);
    let path = format!("/v1/subjects/{}", house.ada());
    house.get(&path).by(&desk).send_on(&mut own.connect(&house)).refused(401, "unauthenticated");
}

#[test]
fn an_access_token_that_names_a_certificate_works_over_it_alone() {
    let house = House::start_with(with_clients);
    let signer = Signer::new("one");
    Signer::publish(&house, &[&signer]);
    let (own, other) = (client(&house), client(&house));
    let caller = app(&house, &[Role::Reader], &["b-service"]);
    let token = Token { text: signer.token(json!({"cnf": {"x5t#S256": own.thumbprint()}})), ..caller };
    let path = format!("/v1/subjects/{}", house.ada());
    let ask = || house.get(&path).by(&token);
    ask().send_on(&mut own.connect(&house)).expect(200);
    ask().send_on(&mut other.connect(&house)).refused(401, "unauthenticated");
    ask().send().refused(401, "unauthenticated");
}
