//! What the built binary agrees to on its port: asked version by version, suite by suite and group by group, and by `sslyze`, a
//! scanner that knows how servers fail.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CipherSuite, ClientConfig, ClientConnection, NamedGroup, RootCertStore};
use serde_json::Value;

use crate::house::PASSPHRASE;
use crate::https::Connection;

const BINARY: &str = env!("CARGO_BIN_EXE_oubliette");

/// The built binary with a fresh vault, sealed; killed when dropped.
struct Served {
    home: tempfile::TempDir,
    child: Child,
    address: SocketAddr,
}

impl Served {
    fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let passphrase = home.path().join("passphrase");
        fs::write(&passphrase, PASSPHRASE).unwrap();
        fs::set_permissions(&passphrase, fs::Permissions::from_mode(0o600)).unwrap();
        let init = ["init", "vault", "--passphrase-file", "passphrase", "--token-file", "one", "--second-token-file", "two"];
        let made = Command::new(BINARY).args(init).current_dir(home.path()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = Command::new(BINARY);
        command.args(["--json", "serve", "--dir", "vault", "--listen", &address.to_string()]).current_dir(home.path());
        let said = home.path().join("said");
        let mut child = command.stdout(File::create(&said).unwrap()).stderr(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        while fs::metadata(&said).unwrap().len() == 0 {
            assert!(child.try_wait().unwrap().is_none() && begun.elapsed() < Duration::from_secs(60), "it does not serve");
            std::thread::sleep(Duration::from_millis(5));
        }
        Self { home, child, address }
    }

    fn authority(&self) -> PathBuf {
        self.home.path().join("vault/tls/ca.pem")
    }

    /// A client that trusts the vault's authority and knows these suites and groups alone.
    fn client(&self, provider: CryptoProvider) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.authority()).unwrap()).unwrap();
        ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    /// What a handshake of such a client ends in.
    fn shake(&self, config: &Arc<ClientConfig>) -> Result<ClientConnection, std::io::Error> {
        let mut client = ClientConnection::new(config.clone(), "localhost".try_into().unwrap()).unwrap();
        let mut socket = TcpStream::connect(self.address).unwrap();
        while client.is_handshaking() {
            client.complete_io(&mut socket)?;
        }
        // A request, so that a refusal that comes behind the client's last message is heard.
        client.writer().write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = [0; 12];
        rustls::Stream::new(&mut client, &mut socket).read_exact(&mut answer)?;
        assert_eq!(&answer, b"HTTP/1.1 200");
        Ok(client)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A ClientHello of a version before 1.3 (RFC 5246 §7.4.1.2, RFC 6101 §5.6.1.2) with what servers of its time took.
fn hello(version: u16) -> Vec<u8> {
    let suites: [u16; 8] = [0xc02b, 0xc02c, 0xcca9, 0xc009, 0xc00a, 0x002f, 0x000a, 0x0005];
    // Groups: X25519, P-256. Signatures: ECDSA with SHA-256 and SHA-1. The name of the server.
    let extensions = [
        &[0, 10, 0, 6, 0, 4, 0, 0x1d, 0, 0x17][..],
        &[0, 13, 0, 6, 0, 4, 4, 3, 2, 3],
        &[0, 0, 0, 14, 0, 12, 0, 0, 9],
        b"localhost",
    ]
    .concat();
    let mut body = version.to_be_bytes().to_vec();
    body.extend([7; 32]);
    body.push(0);
    body.extend((suites.len() as u16 * 2).to_be_bytes());
    suites.iter().for_each(|suite| body.extend(suite.to_be_bytes()));
    body.extend([1, 0]);
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let mut record = vec![0x16];
    record.extend(version.min(0x0301).to_be_bytes());
    record.extend((body.len() as u16 + 4).to_be_bytes());
    record.extend([1, 0]);
    record.extend((body.len() as u16).to_be_bytes());
    record.extend(body);
    record
}

#[test]
fn the_built_binary_speaks_tls_1_3_and_nothing_older() {
    let served = Served::start();
    for version in [0x0300, 0x0301, 0x0302, 0x0303] {
        let mut socket = TcpStream::connect(served.address).unwrap();
        socket.write_all(&hello(version)).unwrap();
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        // One fatal alert (21, 2), and the end: protocol_version (70), or handshake_failure (40) to what has no versions at all.
        assert_eq!((answer.first(), answer.get(5), answer.len()), (Some(&21), Some(&2), 7), "{version:#x}: {answer:?}");
        assert!([70, 40].contains(&answer[6]), "{version:#x}: {answer:?}");
    }
    served.shake(&Arc::new(served.client(aws_lc_rs::default_provider()))).unwrap();
}

#[test]
fn of_suites_and_groups_the_strong_ones_alone_are_taken_and_the_hybrid_one_before_all() {
    let served = Served::start();
    let all = aws_lc_rs::default_provider();
    let first = served.shake(&Arc::new(served.client(all.clone()))).unwrap();
    assert_eq!(first.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519MLKEM768);

    let takes = |provider: CryptoProvider| served.shake(&Arc::new(served.client(provider))).is_ok();
    let known: Vec<_> = aws_lc_rs::ALL_CIPHER_SUITES.iter().filter(|suite| suite.tls13().is_some()).collect();
    let suites = known.iter().filter(|suite| takes(CryptoProvider { cipher_suites: vec![***suite], ..all.clone() }));
    let suites: Vec<CipherSuite> = suites.map(|suite| suite.suite()).collect();
    let strong = [
        CipherSuite::TLS13_AES_256_GCM_SHA384,
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    assert!(suites.len() == strong.len() && strong.iter().all(|suite| suites.contains(suite)), "{suites:?}");

    let groups: &[&'static dyn SupportedKxGroup] = aws_lc_rs::ALL_KX_GROUPS;
    let taken = groups.iter().filter(|group| takes(CryptoProvider { kx_groups: vec![**group], ..all.clone() }));
    let mut taken: Vec<u16> = taken.map(|group| u16::from(group.name())).collect();
    taken.sort_unstable();
    let wanted = [NamedGroup::secp256r1, NamedGroup::secp384r1, NamedGroup::X25519, NamedGroup::X25519MLKEM768];
    assert_eq!(taken, wanted.map(u16::from));
}

/// What is sent before the handshake is done could be sent again by anybody who heard it (RFC 8446 §8).
#[test]
fn nothing_is_taken_before_the_handshake_is_done() {
    let served = Served::start();
    let mut config = served.client(aws_lc_rs::default_provider());
    config.enable_early_data = true;
    let config = Arc::new(config);
    // The first connection brings the ticket that the second one could send early with.
    let mut first = Connection::open(served.address, &config);
    first.exchange(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap().expect(200);
    let mut second = ClientConnection::new(config.clone(), "localhost".try_into().unwrap()).unwrap();
    assert!(second.early_data().is_none());
    let second = served.shake(&config).unwrap();
    assert!(!second.is_early_data_accepted());
    assert_eq!(second.handshake_kind(), Some(rustls::HandshakeKind::Resumed), "there was no ticket");
}

/// The scanner: from the path, or from where `tests/run` put it.
fn sslyze() -> PathBuf {
    let own = Path::new(BINARY).parent().unwrap().join("../tools/bin/sslyze");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|folder| folder.join("sslyze"));
    let found = std::iter::once(own).chain(in_path).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("sslyze is missing: tests/run installs it, or `pip install sslyze==6.3.1`"))
}

#[test]
fn a_scanner_finds_nothing_to_say_against_the_built_binary() {
    let served = Served::start();
    let report = served.home.path().join("report.json");
    let mut scan = Command::new(sslyze());
    scan.arg(format!("--json_out={}", report.display())).arg(format!("--certinfo_ca_file={}", served.authority().display()));
    scan.args(["--certinfo", "--sslv2", "--sslv3", "--tlsv1", "--tlsv1_1", "--tlsv1_2", "--tlsv1_3", "--compression", "--reneg"]);
    scan.args([
        "--heartbleed",
        "--openssl_ccs",
        "--robot",
        "--elliptic_curves",
        "--early_data",
        "--ems",
        "--fallback",
        "--resum",
    ]);
    scan.args(["--mozilla_config", "disable", "--quiet"]);
    let output = scan.arg(format!("localhost:{}{{127.0.0.1}}", served.address.port())).output().unwrap();
    let report = fs::read(&report).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let report: Value = serde_json::from_slice(&report).unwrap();
    let found = &report["server_scan_results"][0]["scan_result"];
    let result = |name: &str| {
        let one = &found[name];
        assert_eq!(one["status"], "COMPLETED", "{name}: {one}");
        &one["result"]
    };
    for old in ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1", "tls_1_2"] {
        let version = result(&format!("{old}_cipher_suites"));
        assert_eq!(version["is_tls_version_supported"], false, "{old}");
        assert!(version["accepted_cipher_suites"].as_array().unwrap().is_empty(), "{old}");
        assert!(!version["rejected_cipher_suites"].as_array().unwrap().is_empty(), "{old}: nothing was tried");
    }
    let now = result("tls_1_3_cipher_suites")["accepted_cipher_suites"].as_array().unwrap();
    let mut suites: Vec<&str> = now.iter().map(|suite| suite["cipher_suite"]["name"].as_str().unwrap()).collect();
    suites.sort_unstable();
    assert_eq!(suites, ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]);
    let curves = result("elliptic_curves")["supported_curves"].as_array().unwrap();
    let mut curves: Vec<&str> = curves.iter().map(|curve| curve["name"].as_str().unwrap()).collect();
    curves.sort_unstable();
    assert_eq!(curves, ["X25519", "secp256r1", "secp384r1"]);
    for (name, member, wanted) in [
        ("tls_compression", "supports_compression", false.into()),
        ("tls_1_3_early_data", "supports_early_data", false.into()),
        ("openssl_ccs_injection", "is_vulnerable_to_ccs_injection", false.into()),
        ("heartbleed", "is_vulnerable_to_heartbleed", false.into()),
        ("robot", "robot_result", Value::from("NOT_VULNERABLE_RSA_NOT_SUPPORTED")),
        ("session_renegotiation", "is_vulnerable_to_client_renegotiation_dos", false.into()),
        ("session_renegotiation", "client_renegotiations_success_count", 0.into()),
    ] {
        assert_eq!(result(name)[member], wanted, "{name}: {member}");
    }
    // The certificate: of the vault's own authority, for this machine, on a curve, and no longer than browsers take.
    let deployments = result("certificate_info")["certificate_deployments"].as_array().unwrap();
    assert!(!deployments.is_empty());
    for deployment in deployments {
        let paths = deployment["path_validation_results"].as_array().unwrap();
        let own = paths.iter().find(|path| path["trust_store"]["path"] == served.authority().to_str().unwrap());
        assert_eq!(own.unwrap_or_else(|| panic!("{paths:?}"))["was_validation_successful"], true);
        assert_eq!(deployment["received_chain_has_valid_order"], true);
        assert_eq!(deployment["received_chain_contains_anchor_certificate"], false);
        assert_eq!(deployment["verified_chain_has_sha1_signature"], false);
        let chain = deployment["received_certificate_chain"].as_array().unwrap();
        assert_eq!(chain.len(), 1);
        let leaf = &chain[0];
        assert_eq!(leaf["signature_hash_algorithm"]["name"], "sha256");
        assert_eq!(leaf["public_key"]["ec_curve_name"], "secp256r1");
        assert_eq!(leaf["subject_alternative_name"]["dns_names"], serde_json::json!(["localhost"]));
        assert_eq!(leaf["subject_alternative_name"]["ip_addresses"], serde_json::json!(["127.0.0.1", "::1"]));
        let day = |name: &str| leaf[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        let lasts = day("not_valid_after").duration_since(day("not_valid_before"));
        assert!(lasts.as_hours() <= 825 * 24, "{lasts}");
    }
}
