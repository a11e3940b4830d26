//! The callers of a demo: two services and six officers, each with a token.

use std::collections::BTreeMap;

use keys::secret::SecretString;
use serde_json::json;

use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::target::success;

/// Name of a caller in demo.json → its bearer token.
pub type Tokens = BTreeMap<String, String>;

/// A year: a demo that is older starts anew.
const LIFETIME_SECONDS: u64 = 31_536_000;

/// What an application may read and write for.
const SERVICE: &[&str] = &[
    "a-account",
    "b-service",
    "b-orders",
    "b-delivery",
    "b-care",
    "b-technical",
    "b-training",
    "b-event",
    "c-marketing",
    "c-survey",
    "c-events",
    "d-notice",
    "e-ads",
    "e-personalise",
    "f-supplier",
    "g-improve",
    "i-errors",
    "j-sync",
    "k-security",
    "l1-legal",
    "l2-policy",
];
/// What a privacy officer looks people up, corrects and answers them for.
const OFFICER: &[&str] = &["a-account", "b-service", "x-rights"];

/// Name in demo.json, kind, role, purposes.
pub const ROLES: [(&str, &str, &str, &[&str]); 8] = [
    ("writer", "service", "writer", SERVICE),
    ("reader", "service", "reader", SERVICE),
    ("privacy_officer", "person", "privacy_officer", OFFICER),
    ("privacy_officer_2", "person", "privacy_officer", OFFICER),
    ("key_admin", "person", "key_admin", &[]),
    ("policy_author", "person", "policy_author", &[]),
    ("security_officer", "person", "security_officer", &[]),
    ("auditor", "person", "auditor", &[]),
];

/// Makes every caller of [`ROLES`]: one security officer proposes, the other confirms and issues a token.
pub fn appoint(
    client: &Client,
    (first, second): (SecretString, SecretString),
    today: jiff::civil::Date,
) -> Result<Tokens, Failure> {
    let (proposer, officer) = (client.with_token(first), client.with_token(second));
    let mut tokens = Tokens::new();
    for (name, kind, role, purposes) in ROLES {
        let mut body = json!({ "name": format!("demo {name}"), "kind": kind, "roles": [role], "purposes": purposes });
        if kind == "person" {
            body["trained_at"] = json!(today);
        }
        let proposed = success(proposer.put("/v1/callers/new", &body).send(), &format!("propose the caller {name}"))?;
        let caller = format!("/v1/callers/{}", proposed.text("id"));
        success(officer.put(&caller, &body).send(), &format!("confirm the caller {name}"))?;
        let path = format!("{caller}/tokens");
        let body = json!({ "lifetime_seconds": LIFETIME_SECONDS });
        let issued = success(officer.post(&path, &body).send(), &format!("issue a token to {name}"))?;
        tokens.insert(name.to_owned(), issued.text("token").to_owned());
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::wire::PutCaller;

    #[test]
    fn the_callers_are_those_that_programs_expect_in_demo_json() {
        let names: Vec<_> = ROLES.iter().map(|(name, ..)| *name).collect();
        assert_eq!(
            names.join(" "),
            "writer reader privacy_officer privacy_officer_2 key_admin policy_author security_officer auditor"
        );
        for (name, kind, role, purposes) in ROLES {
            let body = json!({ "name": name, "kind": kind, "roles": [role], "purposes": purposes });
            assert!(serde_json::from_value::<PutCaller>(body).is_ok(), "{name}");
        }
    }
}
