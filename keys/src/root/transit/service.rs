//! The calls to the transit engine: JSON over HTTPS, with a token.

use std::sync::PoisonError;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::{Kept, Transit, is_name};
use crate::error::{KeysError, Obstacle};
use crate::root::line::{Line, NoReply, Reply};
use crate::root::{Provider, json, read_owned};
use crate::secret::{ExposeSecret, Secret32};

fn trouble(obstacle: Obstacle, step: &'static str) -> KeysError {
    KeysError::Holder(Provider::Transit, obstacle, step)
}

/// Whether a call may be made again when its answer was lost.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    Yes,
    No,
}

impl Transit {
    /// Mount and key, as the settings name them.
    pub(crate) fn path(&self) -> Result<String, KeysError> {
        let mount = self.settings.mount.trim_matches('/');
        if !mount.split('/').all(is_name) || !is_name(&self.settings.key) {
            return Err(trouble(Obstacle::Unusable, "transit_mount or transit_key is no name"));
        }
        Ok(format!("{mount}/{}", self.settings.key))
    }

    /// Encrypts 32 bytes with the newest version of a key.
    pub(crate) fn encrypt(&self, key: String, associated: &str, plain: &[u8; 32]) -> Result<Kept, KeysError> {
        let plain = Zeroizing::new(STANDARD.encode(plain));
        let mut body = Zeroizing::new(String::with_capacity(512));
        for piece in ["{\"plaintext\":\"", &plain, "\",\"associated_data\":\"", &STANDARD.encode(associated), "\"}"] {
            body.push_str(piece);
        }
        let answer = self.call("POST", &at(&key, "encrypt", ""), Some(&body), Again::Yes)?;
        let unread = || trouble(Obstacle::Unusable, "its answer to encrypt cannot be read");
        let encrypted = json::text(&answer, &["data", "ciphertext"]).ok_or_else(unread)?;
        let version = encrypted.split(':').nth(1).and_then(|version| version.strip_prefix('v')?.parse().ok());
        Ok(Kept { key, version: version.ok_or_else(unread)?, encrypted: (*encrypted).clone() })
    }

    /// The 32 bytes that [`encrypt`](Self::encrypt) was given.
    pub(crate) fn decrypt(&self, kept: &Kept, associated: &str) -> Result<Secret32, KeysError> {
        let body = format!(
            "{{\"ciphertext\":{},\"associated_data\":\"{}\"}}",
            json::quoted(&kept.encrypted),
            STANDARD.encode(associated)
        );
        let answer = self.call("POST", &at(&kept.key, "decrypt", ""), Some(&body), Again::Yes)?;
        let unread = || trouble(Obstacle::Unusable, "its answer to decrypt cannot be read");
        let text = json::text(&answer, &["data", "plaintext"]).ok_or_else(unread)?;
        let mut bytes = Zeroizing::new([0; 36]);
        let length = STANDARD.decode_slice(text.as_bytes(), &mut *bytes).map_err(|_| unread())?;
        Secret32::from_slice(&bytes[..length])
    }

    /// Makes a new version of a key, under which everything is encrypted from then on.
    pub(crate) fn rotate(&self, key: &str) -> Result<(), KeysError> {
        self.call("POST", &at(key, "keys", "/rotate"), Some("{}"), Again::No).map(drop)
    }

    /// Destroys all versions of a key up to this one, for good. A newer one is made first where there is none.
    pub(super) fn trim(&self, key: &str, last: u32) -> Result<(), KeysError> {
        if self.latest(key)? <= last {
            self.rotate(key)?;
        }
        self.trim_below(key, last.saturating_add(1))
    }

    /// Destroys all versions of the key of the settings, but for a new one that has encrypted nothing.
    pub(crate) fn trim_all(&self) -> Result<(), KeysError> {
        let key = self.path()?;
        self.trim(&key, self.latest(&key)?)
    }

    /// Destroys all versions of a key before this one, for good.
    pub(crate) fn trim_below(&self, key: &str, first: u32) -> Result<(), KeysError> {
        let least = format!("{{\"min_decryption_version\":{first},\"min_encryption_version\":{first}}}");
        self.call("POST", &at(key, "keys", "/config"), Some(&least), Again::Yes)?;
        let trimmed = format!("{{\"min_available_version\":{first}}}");
        self.call("POST", &at(key, "keys", "/trim"), Some(&trimmed), Again::Yes).map(drop)
    }

    fn latest(&self, key: &str) -> Result<u32, KeysError> {
        let about = self.call("GET", &at(key, "keys", ""), None, Again::Yes)?;
        let latest = json::number(&about, &["data", "latest_version"]).and_then(|latest| u32::try_from(latest).ok());
        latest.ok_or(trouble(Obstacle::Unusable, "its answer about the key cannot be read"))
    }

    /// Calls with a token, and once more with a fresh one of the role when the one that was kept is not taken any more.
    fn call(&self, method: &str, path: &str, body: Option<&str>, again: Again) -> Result<Zeroizing<Vec<u8>>, KeysError> {
        let line = self.line()?;
        let known = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let was_known = known.is_some();
        let token = known.map_or_else(|| self.token(line), Ok)?;
        let mut reply = self.once(line, method, path, &token, body, again)?;
        if reply.status == 403 && was_known {
            *self.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
            let token = self.token(line)?;
            reply = self.once(line, method, path, &token, body, again)?;
        }
        if matches!(reply.status, 200 | 204) { Ok(reply.body) } else { Err(said(&reply)) }
    }

    /// The client, with connections that may still be open.
    fn line(&self) -> Result<&Line, KeysError> {
        if let Some(line) = self.line.get() {
            return Ok(line);
        }
        let line = Line::new(self.settings.authorities.as_deref());
        let line = line.map_err(|_| trouble(Obstacle::Unusable, "the file transit_ca_file has no certificates"))?;
        Ok(self.line.get_or_init(|| line))
    }

    /// A token: the one in the file, or one that the role gets, which is kept.
    fn token(&self, line: &Line) -> Result<Zeroizing<String>, KeysError> {
        if let Some(file) = &self.settings.token {
            return first_line(file, "the file of its token cannot be read", "the file of its token is empty");
        }
        let (Some(role), Some(secret)) = (&self.settings.role, &self.settings.secret) else {
            return Err(trouble(
                Obstacle::Unusable,
                "neither transit_token_file nor transit_role_id with transit_secret_id_file is configured",
            ));
        };
        let secret = first_line(secret, "the file of its secret id cannot be read", "the file of its secret id is empty")?;
        let mut body = Zeroizing::new(String::with_capacity(1024));
        let parts = ["{\"role_id\":", &json::quoted(role), ",\"secret_id\":", &Zeroizing::new(json::quoted(&secret)), "}"];
        parts.into_iter().for_each(|part| body.push_str(part));
        let reply = self.once(line, "POST", "auth/approle/login", "", Some(&body), Again::Yes)?;
        if reply.status == 400 || reply.status == 403 {
            return Err(trouble(
                Obstacle::Refused,
                "it does not let the role log in: its id, its secret id or their time is not good any more",
            ));
        }
        if reply.status != 200 {
            return Err(said(&reply));
        }
        let token = json::text(&reply.body, &["auth", "client_token"]);
        let token = token.ok_or(trouble(Obstacle::Unusable, "its answer to the login cannot be read"))?;
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        Ok(token)
    }

    fn once(
        &self,
        line: &Line,
        method: &str,
        path: &str,
        token: &str,
        body: Option<&str>,
        again: Again,
    ) -> Result<Reply, KeysError> {
        let url = format!("{}/v1/{path}", self.settings.address.trim_end_matches('/'));
        let mut headers = vec![("x-vault-request", "true")];
        if !token.is_empty() {
            headers.push(("x-vault-token", token));
        }
        if let Some(namespace) = &self.settings.namespace {
            headers.push(("x-vault-namespace", namespace));
        }
        if body.is_some() {
            headers.push(("content-type", "application/json"));
        }
        let body = body.map(str::as_bytes);
        let reply =
            if again == Again::Yes { line.ask(method, &url, &headers, body) } else { line.once(method, &url, &headers, body) };
        reply.map_err(|failed| match failed {
            NoReply::Away => trouble(Obstacle::Away, "it does not answer"),
            NoReply::Address => {
                trouble(Obstacle::Unusable, "transit_address is no address with https, or a credential is no line of text")
            }
            NoReply::Authorities => trouble(Obstacle::Unusable, "the file transit_ca_file has no certificates"),
        })
    }
}

/// `mount/OPERATION/name` of `mount/name`.
fn at(key: &str, operation: &str, more: &str) -> String {
    let (mount, name) = key.rsplit_once('/').unwrap_or((key, ""));
    format!("{mount}/{operation}/{name}{more}")
}

fn first_line(file: &std::path::Path, unread: &'static str, empty: &'static str) -> Result<Zeroizing<String>, KeysError> {
    let text = read_owned(file, 4096).map_err(|error| match error {
        KeysError::TooOpen(_) => error,
        _ => trouble(Obstacle::Refused, unread),
    })?;
    let line = text.expose_secret().lines().next().map(str::trim).filter(|line| !line.is_empty());
    line.map(|line| Zeroizing::new(line.to_owned())).ok_or(trouble(Obstacle::Refused, empty))
}

/// What an answer that is not a good one means.
fn said(reply: &Reply) -> KeysError {
    let text = String::from_utf8_lossy(&reply.body);
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let (obstacle, step) = match reply.status {
        403 => (Obstacle::Refused, "it does not take the token, or the token's policy does not allow this"),
        404 => (Obstacle::Gone, "it has no such key, or no transit engine is mounted there"),
        400 if has(&["not found", "no existing key", "invalid key name", "no key found"]) => {
            (Obstacle::Gone, "it has no such key: the key was deleted")
        }
        400 if has(&["too old", "disallowed by policy", "too new"]) => {
            (Obstacle::Gone, "the version of its key that this root key is under was trimmed, or is disallowed")
        }
        400 if has(&["soft-deleted", "soft deleted"]) => (Obstacle::Disabled, "its key is deleted for the time being"),
        400 => (Obstacle::Unusable, "its key does not open this root key, or is no aes256-gcm96 key without derivation"),
        503 if has(&["sealed"]) => (Obstacle::Away, "it is sealed"),
        307 | 412 | 429 | 472 | 473 | 500.. => (Obstacle::Away, "it is a standby, too busy, or in trouble of its own"),
        _ => (Obstacle::Unusable, "it does not understand the request: are transit_address and transit_mount right?"),
    };
    trouble(obstacle, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_that_is_not_good_has_a_meaning() {
        let obstacle = |status, body: &str| match said(&Reply { status, body: Zeroizing::new(body.into()) }) {
            KeysError::Holder(Provider::Transit, obstacle, _) => obstacle,
            other => panic!("{other}"),
        };
        assert_eq!(obstacle(403, r#"{"errors":["permission denied"]}"#), Obstacle::Refused);
        assert_eq!(obstacle(400, r#"{"errors":["encryption key not found"]}"#), Obstacle::Gone);
        assert_eq!(
            obstacle(400, r#"{"errors":["ciphertext or signature version is disallowed by policy (too old)"]}"#),
            Obstacle::Gone
        );
        assert_eq!(obstacle(400, r#"{"errors":["invalid ciphertext: unable to decrypt"]}"#), Obstacle::Unusable);
        assert_eq!(obstacle(503, r#"{"errors":["Vault is sealed"]}"#), Obstacle::Away);
        assert_eq!(obstacle(307, ""), Obstacle::Away);
        assert_eq!(obstacle(200, ""), Obstacle::Unusable);
    }

    #[test]
    fn operations_stand_between_mount_and_name() {
        assert_eq!(at("a/b/key", "keys", "/trim"), "a/b/keys/key/trim");
    }
}
