//! The same load over HTTPS, on a server that is another process.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustls::ClientConfig;
use serde_json::{Value, json};

use super::load::{Cut, Deed, Hand, Line, Living, Orders, WORKERS, Worker, erasure, record, subject};
use crate::https::{Connection, trusting};

/// Where a server that was started with `--json` says that it listens; `None` as long as it does not.
pub(super) fn address(output: &[u8]) -> Option<SocketAddr> {
    let said: Value = serde_json::from_slice(output).ok()?;
    said["url"].as_str()?.strip_prefix("https://")?.parse().ok()
}

/// Workers on threads of their own.
pub(super) struct Load {
    report: Arc<Mutex<Vec<Line>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    pub(super) fn start(address: SocketAddr, ca: &Path, tokens: &Path, orders: &Orders) -> Self {
        let tokens: Arc<BTreeMap<String, String>> = Arc::new(serde_json::from_slice(&fs::read(tokens).unwrap()).unwrap());
        let trust = trusting(ca, &[&rustls::version::TLS13]);
        let report = Arc::new(Mutex::new(vec![Line::Ready]));
        let calls = Arc::new(AtomicU64::new(orders.calls));
        let threads = (0..WORKERS).map(|number| {
            let hand = Over { address, trust: trust.clone(), tokens: tokens.clone(), connection: None };
            let (report, calls) = (report.clone(), calls.clone());
            let say = move |line: &Line| report.lock().unwrap().push(line.clone());
            let worker = Worker::new(number, orders, hand, say);
            std::thread::spawn(move || {
                tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(worker.work(calls))
            })
        });
        let threads = threads.collect();
        Self { report, threads }
    }

    /// Waits for the workers to notice that the server is gone. What they said, in order.
    pub(super) fn end(self) -> Vec<Line> {
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        std::mem::take(&mut self.report.lock().unwrap())
    }
}

/// One connection, made when it is first needed.
struct Over {
    address: SocketAddr,
    trust: Arc<ClientConfig>,
    tokens: Arc<BTreeMap<String, String>>,
    connection: Option<Connection>,
}

impl Hand for Over {
    async fn act(&mut self, living: Option<&Living>, email: &str, deed: Deed) -> Result<Option<String>, Cut> {
        let whom = living.map(|living| format!("/v1/subjects/{}", living.id)).unwrap_or_default();
        let account = [("vault-purpose", "a-account".to_owned())];
        let (caller, method, path, headers, body) = match (deed, living) {
            (Deed::Create, _) | (Deed::Write(_), None) => {
                ("writer", "POST", "/v1/subjects".to_owned(), account.to_vec(), Some(subject(email)))
            }
            (Deed::Write(text), Some(living)) => {
                ("writer", "POST", format!("{whom}/records"), account.to_vec(), Some(record(living, &text)))
            }
            (Deed::Rectify(record, version, text), _) => {
                let headers = [&account[..], &[("if-match", format!("\"{version}\""))]].concat();
                let body = json!({"fields": {"address": text.whole()}});
                ("writer", "PATCH", format!("{whom}/records/{record}"), headers, Some(body))
            }
            (Deed::Delete(record), _) => ("writer", "DELETE", format!("{whom}/records/{record}"), Vec::new(), None),
            (Deed::Open(whole), Some(living)) => {
                ("officer", "POST", "/v1/erasures".to_owned(), Vec::new(), Some(erasure(living.id, whole)))
            }
            (Deed::Approve(_, erasure), _) => ("second", "POST", format!("/v1/erasures/{erasure}/approvals"), Vec::new(), None),
            (Deed::Rotate | Deed::Open(_), _) => {
                let body = json!({"operation": "rotate-epoch"});
                ("keys", "POST", "/v1/keys/operations".to_owned(), Vec::new(), Some(body))
            }
        };
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n", self.tokens[caller]);
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        if let Some(body) = &body {
            let media = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
            let body = body.to_string();
            request += &format!("content-type: {media}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        } else {
            request += "\r\n";
        }
        if self.connection.is_none() {
            self.connection = Connection::try_open(self.address, &self.trust);
        }
        let reply = self.connection.as_mut().and_then(|connection| connection.exchange(request.as_bytes())).ok_or(Cut::Gone)?;
        if !(200..300).contains(&reply.status) {
            return Err(Cut::Refused(format!("{method} {path}: {} {}", reply.status, reply.text())));
        }
        Ok(if reply.status == 201 { Some(reply.member("id")) } else { None })
    }
}
