//! `/v1/disclosures`

use super::{Asked, Outcome};
use crate::model::code::Code;
use crate::model::wire::Whom;
use crate::vault::DisclosureQuery;

/// disclose
pub(crate) async fn disclose(asked: Asked) -> Outcome {
    let body = asked.json()?;
    asked.vault.disclose(&asked.call, body).await
}

/// listDisclosures
pub(crate) async fn list(mut asked: Asked) -> Outcome {
    let query = &mut asked.query;
    let subject = match query.name("subject")?.as_deref() {
        None => None,
        Some("me") => Some(Whom::Me),
        Some(id) => Some(Whom::Subject(id.parse().map_err(|_| Code::NotFound)?)),
    };
    let updates = query.typed::<bool>("updates")?.unwrap_or_default();
    let overdue = query.typed::<bool>("overdue")?.unwrap_or_default();
    let ask = DisclosureQuery { subject, partner: query.name("partner")?, updates, overdue, page: query.page()? };
    asked.vault.disclosures(&asked.call, ask).await
}
