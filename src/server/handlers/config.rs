//! `/v1/config` and `/v1/policy-versions`

use http::HeaderMap;
use http::header::ACCEPT;
use serde_json::{Map, Value};

use super::{Asked, Outcome};
use crate::model::code::Code;
use crate::model::wire::PolicyAsked;
use crate::server::query::Query;
use crate::vault::call::Refused;
use crate::vault::{Vault, Wanted};

/// readConfig
pub(crate) async fn read(mut asked: Asked) -> Outcome {
    let page = asked.query.page()?;
    asked.vault.config(&asked.call, asked.place("kind"), page).await
}

/// draftConfig: `{"remove":true}` drafts that the entry goes, `{"discard":true}` takes the draft back.
pub(crate) async fn draft(asked: Asked) -> Outcome {
    let body: Map<String, Value> = asked.json()?;
    let only = |name: &str| body.len() == 1 && body.get(name) == Some(&Value::Bool(true));
    let wanted = match (only("remove"), only("discard")) {
        (true, _) => Wanted::Remove,
        (_, true) => Wanted::Discard,
        _ => Wanted::Entry(body),
    };
    asked.vault.draft_config(&asked.call, asked.place("kind"), asked.place("id"), wanted).await
}

/// publishPolicy
pub(crate) async fn publish(asked: Asked) -> Outcome {
    let body = asked.json()?;
    asked.vault.publish_policy(&asked.call, body).await
}

/// getPolicyVersion
pub(crate) async fn show(mut asked: Asked) -> Outcome {
    let version = asked.place("version").to_owned();
    let wanted = wanted(version, &mut asked.query, asked.linked)?;
    asked.vault.policy_version(&asked.call, wanted).await
}

/// getPolicyVersion without credentials.
pub(crate) fn show_to_all(vault: &Vault, version: &str, mut query: Query, headers: &HeaderMap) -> Outcome {
    vault.public_policy(&wanted(version.to_owned(), &mut query, wants_linked(headers))?)
}

fn wanted(version: String, query: &mut Query, linked: bool) -> Result<PolicyAsked, Refused> {
    let asked = PolicyAsked { version, diff: query.name("diff")?, controller: query.typed("controller")?, linked };
    if asked.version.len() > 64 { Err(Code::NotFound.into()) } else { Ok(asked) }
}

/// Whether the caller would rather have JSON-LD than a page (RFC 9110 §12.5.1): it names it, and the page not before it.
pub(crate) fn wants_linked(headers: &HeaderMap) -> bool {
    let accept = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut best = (0.0, 0.0);
    for part in accept.flat_map(|value| value.split(',')) {
        let mut parameters = part.split(';').map(str::trim);
        let media = parameters.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parameters.find_map(|parameter| parameter.strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
        match media.as_str() {
            "application/ld+json" | "application/json" => best.0 = f32::max(best.0, weight),
            "text/html" | "application/xhtml+xml" => best.1 = f32::max(best.1, weight),
            _ => {}
        }
    }
    best.0 > best.1
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_page_is_what_a_browser_gets_and_linked_data_who_asks_for_it() {
        for (accept, linked) in [
            ("", false),
            ("*/*", false),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", false),
            ("application/ld+json", true),
            ("application/json", true),
            ("text/html;q=0.5, application/ld+json;q=0.9", true),
            ("text/html, application/ld+json;q=0.9", false),
            ("application/ld+json;q=0", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(wants_linked(&headers), linked, "{accept}");
        }
    }
}
