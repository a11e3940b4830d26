//! Which running vault a command speaks to: `--url` and `--ca`, or the folder of a vault on this machine.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use keys::secret::SecretString;
use serde_json::Value;

use super::client::{Client, ClientError, Reply};
use super::engine;
use super::failure::Failure;

/// The address of a running vault.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Target {
    /// Address of the vault, such as https://127.0.0.1:8443
    #[arg(long, value_name = "URL", env = "OUBLIETTE_URL")]
    pub(crate) url: Option<String>,
    /// Certificate authority to trust (PEM); nothing else is trusted
    #[arg(long, value_name = "FILE", env = "OUBLIETTE_CA")]
    pub(crate) ca: Option<PathBuf>,
    /// Folder of a vault on this machine: gives the address and the authority
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

impl Target {
    /// A client for it.
    pub(crate) fn client(&self, token: Option<SecretString>) -> Result<Client, Failure> {
        let (url, ca) = self.resolved()?;
        let pem = std::fs::read_to_string(&ca).map_err(|e| Failure::file("read", &ca, &e))?;
        Client::new(&url, &pem, token).map_err(Failure::from)
    }

    fn resolved(&self) -> Result<(String, PathBuf), Failure> {
        let beside = |dir: &Path| dir.join("tls/ca.pem");
        match (&self.url, &self.ca, &self.dir) {
            (Some(url), Some(ca), _) => Ok((url.clone(), ca.clone())),
            (Some(url), None, Some(dir)) => Ok((url.clone(), beside(dir))),
            (None, ca, Some(dir)) => {
                let url = match demo_url(dir) {
                    Some(url) => url,
                    None => format!("https://{}", dialled(engine::listen_address(dir)?)),
                };
                Ok((url, ca.clone().unwrap_or_else(|| beside(dir))))
            }
            _ => Err(Failure::usage("which vault?").remedy("name --dir DIR, or --url https://HOST:PORT with --ca FILE")),
        }
    }
}

/// A demo may listen elsewhere than its configuration says, and tells programs where.
fn demo_url(dir: &Path) -> Option<String> {
    let demo: Value = serde_json::from_slice(&std::fs::read(dir.join("demo.json")).ok()?).ok()?;
    demo["url"].as_str().map(str::to_owned)
}

/// Where to dial for something that listens everywhere: on this machine.
fn dialled(listen: SocketAddr) -> SocketAddr {
    match listen {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => SocketAddr::from(([127, 0, 0, 1], v4.port())),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, v6.port())),
        other => other,
    }
}

/// The reply of a call that has to succeed.
pub(crate) fn success(reply: Result<Reply, ClientError>, what: &str) -> Result<Reply, Failure> {
    let reply = reply?;
    if reply.is_success() { Ok(reply) } else { Err(refused(&reply, what)) }
}

/// A refusal in a sentence: code, detail, decision.
pub(crate) fn refused(reply: &Reply, what: &str) -> Failure {
    let code = reply.code().unwrap_or("no problem document");
    let detail = reply.text("detail");
    let sentence = format!("the vault refused to {what}: {} {code}. {detail}", reply.status);
    let failure = match code {
        "sealed" => Failure::unreachable(sentence).remedy("open it with `oubliette unseal`"),
        "unauthenticated" => {
            Failure::new(sentence).remedy("check the token: it may have ended, been revoked, or be for another vault")
        }
        "role-forbidden" | "purpose-not-granted" => Failure::new(sentence).remedy("use a token of a caller that may do this"),
        "second-person-required" => Failure::new(sentence).remedy("let another officer than the one who opened it approve"),
        "rate-limited" => Failure::new(sentence).remedy("try again a little later"),
        "share-refused" | "other-custody" | "custody-unavailable" => {
            let reason = reply.text("reason");
            Failure::new(format!("{sentence} ({reason})")).remedy(match code {
                "share-refused" => "give the shares of the last deal, each once; the vault stays as it is",
                "other-custody" if ["aws-kms", "transit"].contains(&reason) => {
                    "the provider opens it when the vault starts, and nobody over the network: restart `oubliette serve`"
                }
                "other-custody" => "keys/root says who holds the root key: give what that takes, or use `oubliette keys migrate`",
                _ if reason.starts_with("place ") => {
                    "bring the place back: its disk, its folder, its token; `oubliette keys places list` shows all. Nothing was erased meanwhile"
                }
                _ => "mend the way to whoever holds the root key: see [custody] in config.toml, and `oubliette doctor`",
            })
        }
        "wrong-passphrase" => Failure::new(sentence).remedy("try again; the vault stays sealed"),
        _ => Failure::new(sentence),
    };
    failure.report(match &reply.body {
        Value::Object(_) => reply.body.clone(),
        _ => Value::Null,
    })
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let sentence = error.to_string();
        match error {
            ClientError::Address => Failure::usage(sentence).remedy("for example --url https://127.0.0.1:8443"),
            ClientError::Authority => Failure::usage(sentence).remedy("name DIR/tls/ca.pem of the vault"),
            ClientError::Header => Failure::usage(sentence).remedy("a token is one line of visible ASCII"),
            ClientError::Unreachable(_) => {
                Failure::unreachable(sentence).remedy("start the vault with `oubliette serve --dir DIR`, or correct the address")
            }
            ClientError::Untrusted(_) => {
                Failure::unreachable(sentence).remedy("is this the right vault, and --ca its current tls/ca.pem?")
            }
            ClientError::Broken(_) | ClientError::NotJson(_) => {
                Failure::unreachable(sentence).remedy("is this address a vault? Its log says more")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::failure::Exit;

    fn reply(status: u16, code: &str) -> Reply {
        let body = serde_json::json!({"type": format!("urn:oubliette:problem:{code}"), "status": status, "detail": "…"});
        Reply { status, headers: http::HeaderMap::new(), body }
    }

    #[test]
    fn a_sealed_vault_ends_with_its_own_exit_code() {
        assert_eq!(refused(&reply(503, "sealed"), "list keys").exit(), Exit::Unreachable);
        assert_eq!(refused(&reply(403, "role-forbidden"), "list keys").exit(), Exit::Failed);
    }

    #[test]
    fn nobody_at_the_address_ends_like_sealed_and_a_bad_address_like_usage() {
        assert_eq!(Failure::from(ClientError::Unreachable("https://x".into())).exit(), Exit::Unreachable);
        assert_eq!(Failure::from(ClientError::Untrusted("https://x".into())).exit(), Exit::Unreachable);
        assert_eq!(Failure::from(ClientError::Address).exit(), Exit::Usage);
    }

    #[test]
    fn without_an_address_the_command_line_is_at_fault() {
        assert_eq!(Target::default().client(None).unwrap_err().exit(), Exit::Usage);
    }

    #[test]
    fn a_vault_that_listens_everywhere_is_dialled_here() {
        assert_eq!(dialled("0.0.0.0:8443".parse().unwrap()).to_string(), "127.0.0.1:8443");
        assert_eq!(dialled("[::]:8443".parse().unwrap()).to_string(), "[::1]:8443");
        assert_eq!(dialled("10.0.0.1:8443".parse().unwrap()).to_string(), "10.0.0.1:8443");
    }
}
