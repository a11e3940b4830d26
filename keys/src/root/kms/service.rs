//! The calls to KMS: JSON over HTTPS, signed.

use std::sync::PoisonError;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::Kms;
use super::credentials::{self, Credentials};
use super::sign4::{self, Unsigned};
use crate::error::{KeysError, Obstacle};
use crate::root::line::{Line, NoReply, Reply, host};
use crate::root::{Provider, json};
use crate::secret::Secret32;

/// [`Line::ask`] or [`Line::once`].
type Ask = fn(&Line, &str, &str, &[(&str, &str)], Option<&[u8]>) -> Result<Reply, NoReply>;
type Context<'a> = &'a [(&'static str, String)];

/// The domain of AWS in this region.
pub(super) fn domain(region: &str) -> &'static str {
    if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" }
}

fn trouble(obstacle: Obstacle, step: &'static str) -> KeysError {
    KeysError::Holder(Provider::Kms, obstacle, step)
}

impl Kms {
    /// The ARN of the key that was used, and what it made of 32 bytes.
    pub(crate) fn encrypt(&self, key: &str, context: Context<'_>, plain: &[u8; 32]) -> Result<(String, Vec<u8>), KeysError> {
        let plain = Zeroizing::new(STANDARD.encode(plain));
        let body = body(&[("KeyId", key), ("Plaintext", &plain)], context);
        let answer = self.call(key, "Encrypt", &body)?;
        let blob = json::text(&answer, &["CiphertextBlob"]).and_then(|text| STANDARD.decode(text.as_bytes()).ok());
        let arn = json::text(&answer, &["KeyId"]).map(|arn| (*arn).clone());
        arn.zip(blob).ok_or(trouble(Obstacle::Unusable, "its answer to Encrypt cannot be read"))
    }

    /// The 32 bytes that [`encrypt`](Self::encrypt) was given. The key is named, so that no other one is used in its place.
    pub(crate) fn decrypt(&self, key: &str, context: Context<'_>, blob: &[u8]) -> Result<Secret32, KeysError> {
        let body = body(&[("KeyId", key), ("CiphertextBlob", &STANDARD.encode(blob))], context);
        let answer = self.call(key, "Decrypt", &body)?;
        let unread = || trouble(Obstacle::Unusable, "its answer to Decrypt cannot be read");
        let text = json::text(&answer, &["Plaintext"]).ok_or_else(unread)?;
        // Room for what the decoder thinks it may need: 33 bytes for 44 digits.
        let mut bytes = Zeroizing::new([0; 36]);
        let length = STANDARD.decode_slice(text.as_bytes(), &mut *bytes).map_err(|_| unread())?;
        Secret32::from_slice(&bytes[..length])
    }

    /// Makes a symmetric key with these tags, and answers its ARN. Not tried again: an answer that is lost would leave two.
    pub(crate) fn make_key(&self, description: &str, tags: Context<'_>) -> Result<String, KeysError> {
        let tags = tags
            .iter()
            .map(|(name, value)| format!("{{\"TagKey\":{},\"TagValue\":{}}}", json::quoted(name), json::quoted(value)));
        let tags = tags.collect::<Vec<_>>().join(",");
        let body = format!("{{\"Description\":{},\"Tags\":[{tags}]}}", json::quoted(description));
        let answer = self.call_with("", "CreateKey", &body, Line::once)?;
        let arn = json::text(&answer, &["KeyMetadata", "Arn"]).map(|arn| (*arn).clone());
        arn.ok_or(trouble(Obstacle::Unusable, "its answer to CreateKey cannot be read"))
    }

    /// Gives a key a name.
    pub(crate) fn alias(&self, alias: &str, key: &str) -> Result<(), KeysError> {
        self.call(key, "CreateAlias", &body(&[("AliasName", alias), ("TargetKeyId", key)], &[])).map(drop)
    }

    /// Takes a name from its key. One that is not there is taken already.
    pub(crate) fn unalias(&self, alias: &str) -> Result<(), KeysError> {
        match self.call("", "DeleteAlias", &body(&[("AliasName", alias)], &[])) {
            Err(KeysError::Holder(_, Obstacle::Gone, _)) | Ok(_) => Ok(()),
            Err(other) => Err(other),
        }
    }

    /// The names that begin so, each with the id of its key.
    pub(crate) fn aliases(&self, prefix: &str) -> Result<Vec<(String, String)>, KeysError> {
        let (mut found, mut marker) = (Vec::new(), None);
        loop {
            let members: Vec<(&str, &str)> =
                marker.iter().map(|marker: &Zeroizing<String>| ("Marker", marker.as_str())).collect();
            let answer = self.call("", "ListAliases", &body(&members, &[]))?;
            for one in json::elements(&answer, &["Aliases"]) {
                let (name, key) = (json::text(one, &["AliasName"]), json::text(one, &["TargetKeyId"]));
                if let (Some(name), Some(key)) = (name, key)
                    && name.starts_with(prefix)
                {
                    found.push(((*name).clone(), (*key).clone()));
                }
            }
            marker = json::text(&answer, &["NextMarker"]).filter(|next| !next.is_empty());
            if marker.is_none() {
                return Ok(found);
            }
        }
    }

    /// Schedules the deletion of a key, in the seven days that KMS takes at the least, and answers the second since 1970 at which it is gone.
    /// For one that waits for it already, that is when it will be; none for one that is gone.
    pub(crate) fn schedule_deletion(&self, key: &str) -> Result<Option<u64>, KeysError> {
        let body = format!("{{\"KeyId\":{},\"PendingWindowInDays\":7}}", json::quoted(key));
        let date = match self.call(key, "ScheduleKeyDeletion", &body) {
            Ok(answer) => json::number(&answer, &["DeletionDate"]),
            Err(KeysError::Holder(_, Obstacle::Doomed(date), _)) => date,
            Err(KeysError::Holder(_, Obstacle::Gone, _)) => return Ok(None),
            Err(other) => return Err(other),
        };
        let date = date.and_then(|seconds| u64::try_from(seconds).ok());
        date.map(Some).ok_or(trouble(Obstacle::Unusable, "it does not say when the key is gone"))
    }

    /// Seconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        #[expect(
            clippy::disallowed_methods,
            reason = "a signature carries the time of the machine, which AWS compares with its own"
        )]
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    /// Calls an operation with credentials that may be some minutes old, and once more with fresh ones where these are refused.
    fn call(&self, key: &str, operation: &'static str, body: &str) -> Result<Zeroizing<Vec<u8>>, KeysError> {
        self.call_with(key, operation, body, Line::ask)
    }

    fn call_with(&self, key: &str, operation: &'static str, body: &str, ask: Ask) -> Result<Zeroizing<Vec<u8>>, KeysError> {
        let line = self.line()?;
        let region = self.region(key)?;
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).take();
        let was_known = known.is_some();
        let credentials = known.map_or_else(|| credentials::find(&self.settings, &region, line), Ok)?;
        let mut done = self.once(line, &region, &credentials, operation, body, ask);
        let mut used = credentials;
        if was_known && matches!(done, Err(KeysError::Holder(_, Obstacle::Refused, _))) {
            used = credentials::find(&self.settings, &region, line)?;
            done = self.once(line, &region, &used, operation, body, ask);
        }
        match done {
            Ok(answer) => {
                *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(used);
                Ok(answer)
            }
            Err(KeysError::Holder(_, Obstacle::Disabled, _)) => Err(self.why(line, &region, &used, key)),
            Err(other) => Err(other),
        }
    }

    fn once(
        &self,
        line: &Line,
        region: &str,
        credentials: &Credentials,
        operation: &str,
        body: &str,
        ask: Ask,
    ) -> Result<Zeroizing<Vec<u8>>, KeysError> {
        let endpoint = self.settings.endpoint.clone().unwrap_or_else(|| format!("https://kms.{region}.{}", domain(region)));
        let url = format!("{}/", endpoint.trim_end_matches('/'));
        let host = host(&url).ok_or(trouble(Obstacle::Unusable, "kms_endpoint is no address"))?;
        let stamp = sign4::stamp(i64::try_from(self.now()).unwrap_or(0));
        let target = format!("TrentService.{operation}");
        let mut headers = vec![("content-type", "application/x-amz-json-1.1"), ("host", host), ("x-amz-date", stamp.as_str())];
        if let Some(session) = &credentials.session {
            headers.push(("x-amz-security-token", session));
        }
        headers.push(("x-amz-target", &target));
        let request = Unsigned {
            method: "POST",
            query: "",
            headers: &headers,
            body: body.as_bytes(),
            stamp: &stamp,
            region,
            service: "kms",
        };
        let authorization = sign4::authorization(&request, credentials);
        headers.retain(|(name, _)| *name != "host"); // the client's own, and the same
        headers.push(("authorization", &authorization));
        let reply = ask(line, "POST", &url, &headers, Some(body.as_bytes())).map_err(|failed| match failed {
            NoReply::Away => trouble(Obstacle::Away, "it does not answer"),
            NoReply::Address => trouble(Obstacle::Unusable, "kms_endpoint is no address with https"),
            NoReply::Authorities => trouble(Obstacle::Unusable, "the file kms_ca_file has no certificates"),
        })?;
        if reply.status == 200 { Ok(reply.body) } else { Err(said(reply.status, &reply.body)) }
    }

    /// Why a key cannot be used, from the key itself.
    fn why(&self, line: &Line, region: &str, credentials: &Credentials, key: &str) -> KeysError {
        let answer = self.once(line, region, credentials, "DescribeKey", &body(&[("KeyId", key)], &[]), Line::ask);
        let Ok(answer) = answer else {
            return trouble(
                Obstacle::Disabled,
                "its key is disabled, or is to be deleted (kms:DescribeKey is not allowed, so no more is known)",
            );
        };
        let state = json::text(&answer, &["KeyMetadata", "KeyState"]);
        match state.as_ref().map(|state| state.as_str()) {
            Some("PendingDeletion" | "PendingReplicaDeletion") => {
                let date = json::number(&answer, &["KeyMetadata", "DeletionDate"]);
                trouble(
                    Obstacle::Doomed(date),
                    "its key is to be deleted, and opens nothing until that is cancelled and the key enabled",
                )
            }
            Some("PendingImport") => trouble(Obstacle::Disabled, "the imported material of its key was deleted or has expired"),
            Some("Enabled" | "Unavailable" | "Creating" | "Updating") => {
                trouble(Obstacle::Away, "its key cannot be used at the moment")
            }
            _ => trouble(Obstacle::Disabled, "its key is disabled"),
        }
    }

    /// The client, with connections that may still be open.
    fn line(&self) -> Result<&Line, KeysError> {
        if let Some(line) = self.line.get() {
            return Ok(line);
        }
        let line = Line::new(self.settings.authorities.as_deref());
        let line = line.map_err(|_| trouble(Obstacle::Unusable, "the file kms_ca_file has no certificates"))?;
        Ok(self.line.get_or_init(|| line))
    }

    fn region(&self, key: &str) -> Result<String, KeysError> {
        let of_arn = |arn: &str| arn.starts_with("arn:").then(|| arn.split(':').nth(3).map(str::to_owned)).flatten();
        let from = |name: &str| std::env::var(name).ok();
        let region = self.settings.region.clone().or_else(|| of_arn(key)).or_else(|| of_arn(&self.settings.key));
        let region = region.or_else(|| from("AWS_REGION")).or_else(|| from("AWS_DEFAULT_REGION"));
        let sane =
            |region: &String| !region.is_empty() && region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        region.filter(sane).ok_or(trouble(Obstacle::Unusable, "no region is known: set kms_region, or name the key by its ARN"))
    }
}

/// What an answer that is not a good one means.
fn said(status: u16, answer: &[u8]) -> KeysError {
    let kind = json::text(answer, &["__type"]);
    let kind = kind.as_ref().map_or("", |kind| kind.rsplit('#').next().unwrap_or_default());
    let (obstacle, step) = match kind {
        // Which of its states it is in is found out by asking.
        "DisabledException" | "KMSInvalidStateException" => (Obstacle::Disabled, "its key cannot be used"),
        "NotFoundException" => (Obstacle::Gone, "it has no such key: the key was deleted, or this is another account or region"),
        "InvalidCiphertextException" | "IncorrectKeyException" => {
            (Obstacle::Unusable, "its key does not open this root key, which belongs to another key or another vault")
        }
        "InvalidKeyUsageException" => (Obstacle::Unusable, "its key is not a symmetric one for encryption"),
        "InvalidSignatureException" | "SignatureDoesNotMatch" => {
            (Obstacle::Refused, "it refuses the signature: the secret access key is wrong, or this machine's clock is")
        }
        "ExpiredTokenException" | "ExpiredToken" => (Obstacle::Refused, "the credentials have expired"),
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "IncompleteSignatureException"
        | "MissingAuthenticationTokenException" => (Obstacle::Refused, "it does not know these credentials"),
        "AccessDeniedException" | "NotAuthorizedException" => (
            Obstacle::Refused,
            "the credentials do not allow this: the key's policy has to grant kms:Encrypt, kms:Decrypt and kms:DescribeKey",
        ),
        "ThrottlingException"
        | "LimitExceededException"
        | "KMSInternalException"
        | "DependencyTimeoutException"
        | "KeyUnavailableException" => (Obstacle::Away, "it is too busy"),
        _ if status >= 500 || status == 429 => (Obstacle::Away, "it is in trouble of its own"),
        _ if status == 403 => (Obstacle::Refused, "it does not take these credentials"),
        _ => (Obstacle::Unusable, "it does not understand the request: are kms_key and kms_endpoint right?"),
    };
    trouble(obstacle, step)
}

/// A request: strings, and an encryption context unless that is empty.
fn body(members: &[(&str, &str)], context: Context<'_>) -> Zeroizing<String> {
    let listed = |all: &mut String, members: &mut dyn Iterator<Item = (&str, &str)>| {
        for (at, (name, value)) in members.enumerate() {
            let comma = if at == 0 { "" } else { "," };
            all.push_str(comma);
            all.push_str(&json::quoted(name));
            all.push(':');
            // A plaintext in base64 has nothing to escape, so it is written once, into memory that is wiped.
            if value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\') {
                all.push('"');
                all.push_str(value);
                all.push('"');
            } else {
                all.push_str(&json::quoted(value));
            }
        }
    };
    let mut all = Zeroizing::new(String::with_capacity(8 << 10));
    all.push('{');
    listed(&mut all, &mut members.iter().copied());
    if !context.is_empty() {
        all.push_str(",\"EncryptionContext\":{");
        listed(&mut all, &mut context.iter().map(|(name, value)| (*name, value.as_str())));
        all.push('}');
    }
    all.push('}');
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::KmsSettings;

    #[test]
    fn a_request_is_json() {
        let context = [("oubliette:use", "root-key".to_owned()), ("x", "\"".to_owned())];
        let text = body(&[("KeyId", "alias/a"), ("Plaintext", "AA==")], &context);
        assert_eq!(
            text.as_str(),
            r#"{"KeyId":"alias/a","Plaintext":"AA==","EncryptionContext":{"oubliette:use":"root-key","x":"\""}}"#
        );
        assert_eq!(body(&[("KeyId", "k")], &[]).as_str(), r#"{"KeyId":"k"}"#);
    }

    #[test]
    fn the_region_is_the_settings_or_the_arns() {
        let kms = |key: &str, region: Option<&str>| {
            Kms::new(KmsSettings { key: key.into(), region: region.map(Into::into), ..KmsSettings::default() })
        };
        assert_eq!(kms("alias/a", Some("eu-west-1")).region("alias/a").unwrap(), "eu-west-1");
        assert_eq!(kms("alias/a", None).region("arn:aws:kms:eu-north-1:1:key/2").unwrap(), "eu-north-1");
        assert!(kms("alias/a", Some("evil.example/")).region("alias/a").is_err());
    }

    #[test]
    fn every_answer_that_is_not_good_has_a_meaning() {
        let obstacle = |status, body: &str| match said(status, body.as_bytes()) {
            KeysError::Holder(Provider::Kms, obstacle, _) => obstacle,
            other => panic!("{other}"),
        };
        assert_eq!(obstacle(400, r#"{"__type":"com.amazonaws.kms#NotFoundException"}"#), Obstacle::Gone);
        assert_eq!(obstacle(400, r#"{"__type":"DisabledException","message":"…"}"#), Obstacle::Disabled);
        assert_eq!(obstacle(400, r#"{"__type":"ThrottlingException"}"#), Obstacle::Away);
        assert_eq!(obstacle(400, r#"{"__type":"UnrecognizedClientException"}"#), Obstacle::Refused);
        assert_eq!(obstacle(500, "<html>"), Obstacle::Away);
        assert_eq!(obstacle(403, "<html>"), Obstacle::Refused);
        assert_eq!(obstacle(404, ""), Obstacle::Unusable);
    }
}
