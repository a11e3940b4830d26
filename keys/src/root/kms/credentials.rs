//! Where the credentials for AWS come from: a named file, the environment, a web identity, the container, the machine; the first that is there.

use std::env;
use std::path::Path;

use zeroize::Zeroizing;

use super::KmsSettings;
use crate::error::{KeysError, Obstacle};
use crate::root::line::{Line, NoReply};
use crate::root::{Provider, json, read_owned};
use crate::secret::ExposeSecret;

/// Who asks.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) id: String,
    pub(super) secret: Zeroizing<String>,
    pub(super) session: Option<Zeroizing<String>>,
}

/// Where a machine of EC2 has them, and a container of ECS.
const MACHINE: &str = "http://169.254.169.254";
const CONTAINER: &str = "http://169.254.170.2";
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";

/// The credentials of this process, as they are now.
pub(super) fn find(settings: &KmsSettings, region: &str, line: &Line) -> Result<Credentials, KeysError> {
    if let Some(file) = &settings.credentials {
        return profile(file, settings.profile.as_deref().unwrap_or("default"));
    }
    if let (Some(id), Some(secret)) = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")) {
        return Ok(Credentials { id, secret: secret.into(), session: variable("AWS_SESSION_TOKEN").map(Zeroizing::new) });
    }
    if let (Some(file), Some(role)) = (variable("AWS_WEB_IDENTITY_TOKEN_FILE"), variable("AWS_ROLE_ARN")) {
        let url = variable("AWS_ENDPOINT_URL_STS");
        let url = url.unwrap_or_else(|| format!("https://sts.{region}.{}/", super::service::domain(region)));
        return web_identity(line, &url, Path::new(&file), &role);
    }
    let whole = variable("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    if let Some(url) = whole.or_else(|| Some(format!("{CONTAINER}{}", variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")?))) {
        return container(line, &url);
    }
    if variable("AWS_EC2_METADATA_DISABLED").is_some_and(|word| word.eq_ignore_ascii_case("true")) {
        return Err(refused(NONE));
    }
    let place = variable("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    machine(line, place.as_deref().unwrap_or(MACHINE))
}

const NONE: &str =
    "there are no credentials: no kms_credentials_file, none in the environment, no role of the container or the machine";

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn refused(step: &'static str) -> KeysError {
    KeysError::Holder(Provider::Kms, Obstacle::Refused, step)
}

/// A profile of a file as `~/.aws/credentials` is.
fn profile(file: &Path, wanted: &str) -> Result<Credentials, KeysError> {
    let text = read_owned(file, 64 << 10).map_err(|error| match error {
        KeysError::TooOpen(_) => error,
        _ => refused("the file of its credentials cannot be read"),
    })?;
    let (mut here, mut id, mut secret, mut session) = (false, None, None, None);
    for line in text.expose_secret().lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            here = name.trim() == wanted;
        } else if let (true, Some((name, value))) = (here, line.split_once('=')) {
            let value = value.trim().to_owned();
            match name.trim() {
                "aws_access_key_id" => id = Some(value),
                "aws_secret_access_key" => secret = Some(Zeroizing::new(value)),
                "aws_session_token" => session = Some(Zeroizing::new(value)),
                _ => {}
            }
        }
    }
    match (id, secret) {
        (Some(id), Some(secret)) => Ok(Credentials { id, secret, session }),
        _ => Err(refused("the file of its credentials has no aws_access_key_id and aws_secret_access_key in this profile")),
    }
}

/// A token of an identity provider, such as Kubernetes, that STS gives credentials for (AssumeRoleWithWebIdentity).
fn web_identity(line: &Line, url: &str, file: &Path, role: &str) -> Result<Credentials, KeysError> {
    const STEP: &str = "STS gives no credentials for the web identity";
    let token = std::fs::read_to_string(file)
        .map(Zeroizing::new)
        .map_err(|_| refused("the file AWS_WEB_IDENTITY_TOKEN_FILE cannot be read"))?;
    let body = Zeroizing::new(format!(
        "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleSessionName=oubliette&RoleArn={}&WebIdentityToken={}",
        encoded(role).as_str(),
        encoded(token.trim()).as_str(),
    ));
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let reply = line.ask("POST", url, &headers, Some(body.as_bytes())).map_err(|failed| away(failed, "STS does not answer"))?;
    let text = std::str::from_utf8(&reply.body).unwrap_or_default();
    let between = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once("</").map(|(value, _)| value.to_owned())
    };
    match (reply.status, between("AccessKeyId"), between("SecretAccessKey"), between("SessionToken")) {
        (200, Some(id), Some(secret), Some(session)) => {
            Ok(Credentials { id, secret: secret.into(), session: Some(session.into()) })
        }
        (429 | 500.., ..) => Err(away(NoReply::Away, "STS is busy")),
        _ => Err(refused(STEP)),
    }
}

/// What the container's agent has: ECS, and EKS Pod Identity.
fn container(line: &Line, url: &str) -> Result<Credentials, KeysError> {
    let file = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    let token = match file.map(std::fs::read_to_string) {
        Some(Ok(token)) => Some(token),
        Some(Err(_)) => return Err(refused("the file AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE cannot be read")),
        None => variable("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
    };
    let token = token.map(Zeroizing::new);
    let headers: Vec<(&str, &str)> = token.iter().map(|token| ("authorization", token.trim())).collect();
    let reply = line.ask("GET", url, &headers, None);
    let reply = reply.map_err(|failed| away(failed, "the container's agent does not answer"))?;
    read(reply.status, &reply.body).ok_or_else(|| refused("the container has no credentials"))
}

/// What the machine's role has (IMDSv2).
fn machine(line: &Line, place: &str) -> Result<Credentials, KeysError> {
    let place = place.trim_end_matches('/');
    let ttl = [("x-aws-ec2-metadata-token-ttl-seconds", "300")];
    // Where nobody listens there is no role, and nothing to wait for three times.
    let token = line.once("PUT", &format!("{place}/latest/api/token"), &ttl, Some(b"")).map_err(|_| refused(NONE))?;
    let token = std::str::from_utf8(&token.body).map_err(|_| refused(NONE))?.trim().to_owned();
    let token = Zeroizing::new(token);
    let headers = [("x-aws-ec2-metadata-token", token.as_str())];
    let asked = |path: &str| {
        let reply = line.ask("GET", &format!("{place}{path}"), &headers, None);
        reply.map_err(|failed| away(failed, "the machine's metadata do not answer"))
    };
    let role = asked(ROLES)?;
    let name = std::str::from_utf8(&role.body).ok().and_then(|text| text.lines().next()).map(str::trim);
    let name = name.filter(|name| role.status == 200 && !name.is_empty()).ok_or_else(|| refused(NONE))?;
    let reply = asked(&format!("{ROLES}{name}"))?;
    read(reply.status, &reply.body).ok_or_else(|| refused("the machine's role has no credentials"))
}

fn read(status: u16, body: &[u8]) -> Option<Credentials> {
    let (id, secret) = (json::text(body, &["AccessKeyId"])?, json::text(body, &["SecretAccessKey"])?);
    (status == 200).then(|| Credentials { id: (*id).clone(), secret, session: json::text(body, &["Token"]) })
}

fn away(failed: NoReply, step: &'static str) -> KeysError {
    match failed {
        NoReply::Away => KeysError::Holder(Provider::Kms, Obstacle::Away, step),
        NoReply::Address | NoReply::Authorities => refused("the address of its credentials cannot be used"),
    }
}

/// A value of a form (RFC 3986, every byte that is not unreserved).
fn encoded(text: &str) -> Zeroizing<String> {
    let mut encoded = Zeroizing::new(String::with_capacity(text.len() * 3));
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::os::unix::fs::PermissionsExt;

    /// Answers these requests, one after the other, and gives back what was asked.
    fn stand_in(answers: Vec<&'static str>) -> (String, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let mut asked = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut bytes = [0; 4096];
                let length = stream.read(&mut bytes).unwrap();
                asked.push(String::from_utf8_lossy(&bytes[..length]).to_lowercase());
                write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{answer}", answer.len())
                    .unwrap();
            }
            asked
        });
        (url, thread)
    }

    #[test]
    fn a_profile_is_read_from_a_file_that_is_its_owners_alone() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "[default]\naws_access_key_id = A\n[vault]\naws_access_key_id=B\naws_secret_access_key = s=/+\naws_session_token = t\n";
        std::fs::write(file.path(), text).unwrap();
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o600)).unwrap();
        let found = profile(file.path(), "vault").unwrap();
        assert_eq!((found.id.as_str(), found.secret.as_str(), found.session.unwrap().as_str()), ("B", "s=/+", "t"));
        assert!(profile(file.path(), "default").is_err(), "half of a pair");
        assert!(profile(file.path(), "other").is_err());
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(profile(file.path(), "vault"), Err(KeysError::TooOpen(_))));
    }

    #[test]
    fn a_container_hands_out_what_its_agent_has() {
        let (url, thread) =
            stand_in(vec![r#"{"AccessKeyId":"A","SecretAccessKey":"s","Token":"t","Expiration":"2030-01-01T00:00:00Z"}"#]);
        let found = container(&Line::new(None).unwrap(), &format!("{url}/role")).unwrap();
        assert_eq!((found.id.as_str(), found.secret.as_str(), found.session.unwrap().as_str()), ("A", "s", "t"));
        assert!(thread.join().unwrap()[0].starts_with("get /role "));
        let line = Line::new(None).unwrap();
        assert!(container(&line, "http://203.0.113.1/role").is_err(), "in the clear to another machine");
    }

    #[test]
    fn a_machine_hands_out_what_its_role_has_to_whoever_holds_a_token() {
        let answers =
            vec!["the-token", "vault-role\n", r#"{"Code":"Success","AccessKeyId":"A","SecretAccessKey":"s","Token":"t"}"#];
        let (url, thread) = stand_in(answers);
        let found = machine(&Line::new(None).unwrap(), &url).unwrap();
        assert_eq!((found.id.as_str(), found.secret.as_str(), found.session.unwrap().as_str()), ("A", "s", "t"));
        let asked = thread.join().unwrap();
        assert!(asked[0].starts_with("put /latest/api/token "), "{asked:?}");
        assert!(asked[2].starts_with("get /latest/meta-data/iam/security-credentials/vault-role "), "{asked:?}");
        assert!(asked[1..].iter().all(|asked| asked.contains("x-aws-ec2-metadata-token: the-token")), "{asked:?}");
    }

    #[test]
    fn a_web_identity_becomes_credentials() {
        let (url, thread) = stand_in(vec![
            "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>A</AccessKeyId>\
             <SecretAccessKey>s/+</SecretAccessKey><SessionToken>t==</SessionToken></Credentials></AssumeRoleWithWebIdentityResult>\
             </AssumeRoleWithWebIdentityResponse>",
        ]);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "the.web.token\n").unwrap();
        let found = web_identity(&Line::new(None).unwrap(), &url, file.path(), "arn:aws:iam::1:role/vault").unwrap();
        assert_eq!((found.id.as_str(), found.secret.as_str(), found.session.unwrap().as_str()), ("A", "s/+", "t=="));
        // The token is in the body alone, never in an address.
        let asked = thread.join().unwrap().remove(0);
        assert!(asked.starts_with("post / ") && !asked.lines().next().unwrap().contains("token"), "{asked}");
    }

    #[test]
    fn values_of_a_form_are_encoded() {
        assert_eq!(encoded("arn:aws:iam::1:role/a b~").as_str(), "arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fa%20b~");
    }
}
