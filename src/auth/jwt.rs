//! Access tokens of the one issuer that the vault trusts (RFC 9068): signature, issuer, audience and times.
//!
//! The algorithm is the key's, never the token's choice: a key of the set is good for one algorithm, and a token that names
//! another is refused. Keys that a token brings along (`jwk`, `jku`, `x5c`, `x5u`) are not looked at.

use std::collections::{HashMap, HashSet};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// Seconds by which the issuer's clock and the vault's may differ.
pub const SKEW: i64 = 60;

/// Bytes of a token that are looked at.
const LONGEST: usize = 8 << 10;

/// The issuer's public keys by their ids.
pub struct KeySet {
    keys: HashMap<String, Key>,
}

struct Key {
    algorithm: Algorithm,
    key: DecodingKey,
}

/// Whose tokens are taken, and for whom they must be meant.
pub struct Expected {
    /// `iss`, to the letter.
    pub issuer: String,
    /// The vault's name among the issuer's audiences.
    pub audience: String,
}

/// What a token says that holds: its signature, issuer, audience and times are right.
pub struct AccessToken {
    /// `issuer|sub`.
    pub external: String,
    /// When it ends, with the skew: seconds since 1970.
    pub expires: i64,
    /// When it was issued: seconds since 1970.
    pub issued: i64,
    /// The words of `scope`; `None` where there is no such claim.
    pub scope: Option<Vec<String>>,
    /// `authorization_details`, whatever their type.
    pub details: Vec<Value>,
    /// `acr`.
    pub acr: Option<String>,
    /// `auth_time`: seconds since 1970.
    pub authenticated: Option<i64>,
    /// `cnf.x5t#S256`: the client certificate that it works with alone (RFC 8705).
    pub certificate: Option<String>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    typ: Option<String>,
    #[serde(default)]
    crit: Option<Value>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: f64,
    iat: f64,
    #[serde(default)]
    nbf: Option<f64>,
    #[serde(default)]
    scope: Option<String>,
    #[serde(default)]
    authorization_details: Vec<Value>,
    #[serde(default)]
    acr: Option<String>,
    #[serde(default)]
    auth_time: Option<f64>,
    #[serde(default)]
    cnf: Option<Confirmation>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// A confirmation of another kind (a DPoP key) cannot be checked, so a token that has one is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Confirmation {
    #[serde(rename = "x5t#S256")]
    certificate: String,
}

impl KeySet {
    /// The usable keys of a JWK Set (RFC 7517 §5). A key of another kind is passed over; an id that stands for two keys
    /// stands for none. `None` when it is no set at all.
    pub fn parse(json: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(json).ok()?;
        let (mut keys, mut seen) = (HashMap::new(), HashSet::new());
        for jwk in &set.keys {
            let Some(id) = jwk.get("kid").and_then(Value::as_str) else { continue };
            if !seen.insert(id.to_owned()) {
                keys.remove(id);
            } else if let Some(key) = Key::of(jwk) {
                keys.insert(id.to_owned(), key);
            }
        }
        Some(Self { keys })
    }

    /// Whether there is a key of that id.
    pub fn has(&self, id: &str) -> bool {
        self.keys.contains_key(id)
    }
}

impl Key {
    /// A public key for signatures by an algorithm that is taken: ES256, EdDSA (Ed25519) or RS256 (2,048 bits and more).
    fn of(jwk: &Value) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let (algorithm, name, key) = match (text("kty")?, text("crv")) {
            ("EC", Some("P-256")) => (Algorithm::ES256, "ES256", DecodingKey::from_ec_components(text("x")?, text("y")?)),
            ("OKP", Some("Ed25519")) => (Algorithm::EdDSA, "EdDSA", DecodingKey::from_ed_components(text("x")?)),
            ("RSA", _) => (Algorithm::RS256, "RS256", DecodingKey::from_rsa_components(text("n")?, text("e")?)),
            _ => return None,
        };
        let signs = text("use").is_none_or(|usage| usage == "sig")
            && jwk.get("key_ops").is_none_or(|list| list.as_array().is_some_and(|list| list.iter().any(|one| one == "verify")))
            && text("alg").is_none_or(|own| own == name)
            && jwk.get("d").is_none();
        if !signs {
            return None;
        }
        Some(Self { algorithm, key: key.ok()? })
    }
}

/// Whether a bearer token has the form of a signed JWT, and the id of the key that it names.
pub fn key_id(token: &str) -> Option<String> {
    header(token)?.kid
}

/// What the token says, if everything about it is right.
pub fn verify(token: &str, keys: &KeySet, expected: &Expected, now: Timestamp) -> Option<AccessToken> {
    let header = header(token)?;
    let key = keys.keys.get(header.kid.as_ref()?)?;
    // RFC 9068 §4: an ID token of the same issuer is no access token.
    let kind = header.typ?.to_ascii_lowercase();
    let is_access_token = kind == "at+jwt" || kind == "application/at+jwt";
    if !is_access_token || header.crit.is_some() || header.alg != name(key.algorithm) {
        return None;
    }
    let (message, signature) = token.rsplit_once('.')?;
    let signed = jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key.key, key.algorithm);
    if !signed.is_ok_and(|valid| valid) {
        return None;
    }
    let (_, payload) = message.split_once('.')?;
    let claims: Claims = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    claims.check(expected, now.as_second())
}

impl Claims {
    fn check(self, expected: &Expected, now: i64) -> Option<AccessToken> {
        let meant = match &self.aud {
            Audience::One(one) => *one == expected.audience,
            Audience::Many(all) => all.contains(&expected.audience),
        };
        let (expires, issued) = (second(self.exp)?.checked_add(SKEW)?, second(self.iat)?);
        let begins = match self.nbf {
            Some(time) => second(time)?,
            None => issued,
        };
        let authenticated = match self.auth_time {
            Some(time) => Some(second(time)?),
            None => None,
        };
        let latest = now + SKEW;
        let sound = meant
            && self.iss == expected.issuer
            && !self.sub.is_empty()
            && now < expires
            && issued <= latest
            && begins <= latest
            && authenticated.is_none_or(|time| time <= latest);
        sound.then(|| AccessToken {
            external: format!("{}|{}", self.iss, self.sub),
            expires,
            issued,
            scope: self.scope.map(|words| words.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()),
            details: self.authorization_details,
            acr: self.acr,
            authenticated,
            certificate: self.cnf.map(|cnf| cnf.certificate),
        })
    }
}

/// A NumericDate (RFC 7519 §2) in whole seconds.
fn second(time: f64) -> Option<i64> {
    (time.is_finite() && (0.0..253_402_300_800.0).contains(&time)).then_some(time as i64)
}

const fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::ES256 => "ES256",
        Algorithm::EdDSA => "EdDSA",
        _ => "RS256",
    }
}

fn header(token: &str) -> Option<Header> {
    if token.len() > LONGEST || token.bytes().filter(|byte| *byte == b'.').count() != 2 {
        return None;
    }
    let (head, _) = token.split_once('.')?;
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(head).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::EncodingKey;
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData};
    use serde_json::json;

    const ISSUER: &str = "https://login.example.org";
    const AUDIENCE: &str = "https://vault.example.org";
    const NOW: i64 = 1_800_000_000;

    /// A key of the issuer: how it signs, and how it stands in the set.
    struct Signer {
        algorithm: Algorithm,
        pair: KeyPair,
        kid: &'static str,
    }

    impl Signer {
        fn ec(kid: &'static str) -> Self {
            Self { algorithm: Algorithm::ES256, pair: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(), kid }
        }

        fn ed(kid: &'static str) -> Self {
            Self { algorithm: Algorithm::EdDSA, pair: KeyPair::generate_for(&PKCS_ED25519).unwrap(), kid }
        }

        fn jwk(&self) -> Value {
            let text = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
            let raw = self.pair.der_bytes();
            match self.algorithm {
                Algorithm::EdDSA => json!({"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": text(raw)}),
                _ => json!({"kty": "EC", "crv": "P-256", "kid": self.kid, "use": "sig", "alg": "ES256",
                            "x": text(&raw[1..33]), "y": text(&raw[33..65])}),
            }
        }

        fn sign(&self, header: &Value, claims: &Value) -> String {
            let der = self.pair.serialize_der();
            let key =
                if self.algorithm == Algorithm::EdDSA { EncodingKey::from_ed_der(&der) } else { EncodingKey::from_ec_der(&der) };
            let message = message(header, claims);
            let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, self.algorithm).unwrap();
            format!("{message}.{signature}")
        }

        fn header(&self) -> Value {
            json!({"alg": name(self.algorithm), "typ": "at+jwt", "kid": self.kid})
        }
    }

    fn message(header: &Value, claims: &Value) -> String {
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}", part(header), part(claims))
    }

    fn claims() -> Value {
        json!({"iss": ISSUER, "sub": "app", "aud": [AUDIENCE, "other"], "exp": NOW + 300, "iat": NOW, "jti": "1", "client_id": "app"})
    }

    fn with(name: &str, value: Value) -> Value {
        let mut all = claims();
        all[name] = value;
        all
    }

    fn without(name: &str) -> Value {
        let mut all = claims();
        all.as_object_mut().unwrap().remove(name);
        all
    }

    fn set(keys: &[Value]) -> KeySet {
        KeySet::parse(json!({"keys": keys}).to_string().as_bytes()).unwrap()
    }

    fn check(token: &str, keys: &KeySet) -> Option<AccessToken> {
        let expected = Expected { issuer: ISSUER.into(), audience: AUDIENCE.into() };
        verify(token, keys, &expected, Timestamp::from_second(NOW).unwrap())
    }

    #[test]
    fn a_token_of_the_issuer_for_the_vault_is_taken() {
        for signer in [Signer::ec("a"), Signer::ed("a")] {
            let keys = set(&[signer.jwk()]);
            let token = check(&signer.sign(&signer.header(), &claims()), &keys).unwrap();
            assert_eq!((token.external.as_str(), token.expires), ("https://login.example.org|app", NOW + 360));
            assert!(check(&signer.sign(&signer.header(), &with("aud", json!(AUDIENCE))), &keys).is_some());
        }
    }

    #[test]
    fn a_token_for_others_from_others_too_old_or_too_early_is_refused() {
        let signer = Signer::ec("a");
        let keys = set(&[signer.jwk()]);
        for (claims, why) in [
            (with("iss", json!("https://login.example.org/")), "another issuer"),
            (with("aud", json!("other")), "another audience"),
            (with("aud", json!([])), "no audience"),
            (with("exp", json!(NOW - 60)), "expired"),
            (with("exp", json!("9999999999")), "a text"),
            (with("exp", json!(1e300)), "no time"),
            (with("nbf", json!(NOW + 61)), "not yet"),
            (with("iat", json!(NOW + 61)), "of the future"),
            (with("auth_time", json!(NOW + 61)), "authenticated in the future"),
            (with("sub", json!("")), "of nobody"),
            (with("cnf", json!({"jkt": "x"})), "a confirmation that is not understood"),
            (without("iss"), "no issuer"),
            (without("sub"), "no subject"),
            (without("aud"), "no audience"),
            (without("exp"), "without end"),
            (without("iat"), "no time of issue"),
        ] {
            assert!(check(&signer.sign(&signer.header(), &claims), &keys).is_none(), "{why}");
        }
        assert!(check(&signer.sign(&signer.header(), &with("exp", json!(NOW - 59))), &keys).is_some(), "within the skew");
        assert!(check(&signer.sign(&signer.header(), &with("nbf", json!(NOW + 60))), &keys).is_some(), "within the skew");
    }

    #[test]
    fn a_token_that_chooses_its_algorithm_or_key_is_refused() {
        let (signer, other, ed) = (Signer::ec("a"), Signer::ec("a"), Signer::ed("ed"));
        let keys = set(&[signer.jwk(), ed.jwk()]);
        let headed = |name: &str, value: Value| {
            let mut header = signer.header();
            header[name] = value;
            header
        };
        let forged = |header: Value, signature: &str| format!("{}.{signature}", message(&header, &claims()));
        let good = signer.sign(&signer.header(), &claims());
        let signature = good.rsplit_once('.').unwrap().1;
        // HS256 with the public key, which everybody knows, as the secret: as the raw point and as the JWK's text.
        for secret in [signer.pair.der_bytes().to_vec(), signer.jwk().to_string().into_bytes()] {
            let header = headed("alg", json!("HS256"));
            let key = EncodingKey::from_secret(&secret);
            let signature = jsonwebtoken::crypto::sign(message(&header, &claims()).as_bytes(), &key, Algorithm::HS256).unwrap();
            assert!(check(&forged(header, &signature), &keys).is_none(), "HS256 with the public key");
        }
        for (token, why) in [
            (forged(headed("alg", json!("none")), ""), "alg none"),
            (forged(headed("alg", json!("None")), ""), "alg None"),
            (forged(signer.header(), ""), "no signature"),
            (forged(headed("alg", json!("none")), signature), "alg none with a signature"),
            (other.sign(&signer.header(), &claims()), "the wrong key under a known id"),
            (signer.sign(&headed("kid", json!("ed")), &claims()), "the id of a key of another kind"),
            (signer.sign(&headed("kid", json!("b")), &claims()), "an unknown id"),
            (signer.sign(&headed("kid", Value::Null), &claims()), "no id"),
            (signer.sign(&headed("alg", json!("ES384")), &claims()), "another algorithm of the family"),
            (signer.sign(&headed("typ", json!("JWT")), &claims()), "an ID token"),
            (signer.sign(&headed("typ", Value::Null), &claims()), "a token of no kind"),
            (signer.sign(&headed("crit", json!(["exp"])), &claims()), "a critical header"),
            (other.sign(&headed("jwk", other.jwk()), &claims()), "a key that it brings along"),
            (format!("{good}."), "four parts"),
            (good.replacen('.', "", 1), "two parts"),
        ] {
            assert!(check(&token, &keys).is_none(), "{why}");
        }
        let mut flipped = good.clone().into_bytes();
        let place = flipped.len() - 10;
        flipped[place] = if flipped[place] == b'A' { b'B' } else { b'A' };
        assert!(check(&String::from_utf8(flipped).unwrap(), &keys).is_none(), "a flipped signature");
        assert!(check(&good, &keys).is_some());
    }

    #[test]
    fn keys_for_other_uses_and_ids_that_stand_twice_are_none() {
        let signer = Signer::ec("a");
        let token = signer.sign(&signer.header(), &claims());
        let changed = |name: &str, value: Value| {
            let mut jwk = signer.jwk();
            jwk[name] = value;
            jwk
        };
        for jwk in [
            changed("use", json!("enc")),
            changed("alg", json!("RS256")),
            changed("key_ops", json!(["sign"])),
            changed("crv", json!("P-384")),
            changed("kty", json!("oct")),
            changed("d", json!("AAAA")),
        ] {
            assert!(check(&token, &set(&[jwk])).is_none());
        }
        assert!(check(&token, &set(&[signer.jwk(), Signer::ec("a").jwk()])).is_none());
        assert!(check(&token, &set(&[Signer::ec("a").jwk(), signer.jwk(), signer.jwk()])).is_none());
        assert!(check(&token, &set(&[json!({"kty": "new"}), signer.jwk()])).is_some(), "an unknown kind does no harm");
        assert!(KeySet::parse(b"{}").is_none() && KeySet::parse(b"nonsense").is_none());
    }
}
