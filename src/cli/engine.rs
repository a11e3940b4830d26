//! The one place where the command line touches the vault, the server and the trail directly.
//! Everything else speaks HTTPS, as any application would.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use keys::secret::SecretString;
use serde_json::Value;

use super::failure::Failure;

/// What `init` hands out once.
pub(super) struct Created {
    /// Bearer token of the first caller, a security officer.
    pub(super) bootstrap: SecretString,
    /// The vault's Ed25519 public key.
    pub(super) public_key: [u8; 32],
}

/// A server that runs in this process until it is told to stop.
pub(super) struct Running {
    address: SocketAddr,
}

/// Makes a new vault in `dir`: configuration, root key, keyring, store, trail, certificate, first caller.
pub(super) fn create(_dir: &Path, _passphrase: &SecretString) -> Result<Created, Failure> {
    Err(Failure::new("not built yet"))
}

/// Starts the server on `listen` (or the configured address), unsealed when the passphrase is given.
pub(super) fn start(_dir: &Path, _listen: Option<SocketAddr>, _passphrase: Option<&SecretString>) -> Result<Running, Failure> {
    Err(Failure::new("not built yet"))
}

impl Running {
    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for SIGINT or SIGTERM, then stops: calls that are under way are finished, the store and the trail are closed.
    pub(super) fn until_signal(self) -> Result<(), Failure> {
        Ok(())
    }
}

/// The address in the configuration of `dir`.
pub(super) fn listen_address(dir: &Path) -> Result<SocketAddr, Failure> {
    let path = dir.join("config.toml");
    Err(Failure::new(format!("{} is not read yet", path.display())))
}

/// Walks the trail of `dir` and the rows of its store. The report names the first break.
pub(super) fn verify_trail(_dir: &Path, _public: &[u8; 32]) -> Result<(Value, Option<String>), Failure> {
    Err(Failure::new("not built yet"))
}

/// Every entry of the trail of `dir` from `from` on, one JSON line each; `line` answers false to stop.
pub(super) fn export_trail(_dir: &Path, _from: u64, _line: &mut dyn FnMut(&str) -> bool) -> Result<u64, Failure> {
    Err(Failure::new("not built yet"))
}

/// Checks a certificate file against the vault's public key; what it says, or why it does not hold.
pub(super) fn verify_certificate(_file: &str, _public: &[u8; 32]) -> Result<Value, String> {
    Err("not built yet".into())
}

/// The public key in a file: 32 bytes in hexadecimal, base64 or raw.
pub(super) fn public_key(path: &Path) -> Result<[u8; 32], Failure> {
    let bytes = std::fs::read(path).map_err(|e| Failure::file("read", path, &e))?;
    parse_public_key(&bytes)
        .ok_or_else(|| Failure::usage(format!("{} is not a public key of a vault", path.display())).remedy("name DIR/vault.pub"))
}

/// Where `init` leaves the public key.
pub(super) fn public_key_path(dir: &Path) -> PathBuf {
    dir.join("vault.pub")
}

/// Raw bytes, hexadecimal, base64, or the last part of a C2SP verifier key (`name+hash+base64(1 ‖ key)`).
fn parse_public_key(bytes: &[u8]) -> Option<[u8; 32]> {
    use base64::Engine as _;
    if let Ok(raw) = <[u8; 32]>::try_from(bytes) {
        return Some(raw);
    }
    let text = std::str::from_utf8(bytes).ok()?.trim();
    if text.len() == 64 && text.is_ascii() {
        let mut key = [0; 32];
        for (place, pair) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
            *place = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        return Some(key);
    }
    // The name of a verifier key has no plus; base64 may have some, so only the first two part the text.
    let coded = text.splitn(3, '+').nth(2).filter(|_| text.len() > 44).unwrap_or(text);
    let decoded = base64::engine::general_purpose::STANDARD.decode(coded).ok()?;
    match decoded.as_slice() {
        [1, key @ ..] if key.len() == 32 => key.try_into().ok(),
        key => key.try_into().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_key_is_read_in_each_of_its_forms() {
        use base64::Engine as _;
        let base64 = base64::engine::general_purpose::STANDARD;
        let key: [u8; 32] = std::array::from_fn(|i| 0xf8 + (i % 8) as u8);
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        let typed: Vec<u8> = std::iter::once(1).chain(key).collect();
        let verifier = format!("oubliette.local/vlt_x+0a1b2c3d+{}\n", base64.encode(typed));
        for form in [key.to_vec(), hex.into_bytes(), base64.encode(key).into_bytes(), verifier.into_bytes()] {
            assert_eq!(parse_public_key(&form), Some(key), "{}", String::from_utf8_lossy(&form));
        }
        assert_eq!(parse_public_key(b"not a key"), None);
        assert_eq!(parse_public_key(&[7; 31]), None);
    }
}
