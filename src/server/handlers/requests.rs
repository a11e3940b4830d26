//! `/v1/requests`

use super::{Asked, Outcome};
use crate::model::code::Code;
use crate::model::wire::{ListRequests, Part};
use crate::server::accept::Accept;
use crate::server::query::Query;
use crate::vault::call::Refused;

/// openRequest
pub(crate) async fn open(asked: Asked) -> Outcome {
    let body = asked.json()?;
    asked.vault.open_request(&asked.call, body).await
}

/// listRequests
pub(crate) async fn list(mut asked: Asked) -> Outcome {
    let query = &mut asked.query;
    let ask = ListRequests {
        state: query.name("state")?,
        r#type: query.name("type")?,
        due_before: query.typed("due_before")?,
        page: query.page()?,
    };
    asked.vault.requests(&asked.call, ask).await
}

/// getRequest
pub(crate) async fn show(asked: Asked) -> Outcome {
    let request = asked.id("request")?;
    asked.vault.request(&asked.call, request).await
}

/// advanceRequest
pub(crate) async fn advance(asked: Asked) -> Outcome {
    let request = asked.id("request")?;
    let body = asked.json()?;
    asked.vault.advance_request(&asked.call, request, body).await
}

/// getRequestResult, for a caller; the holder of a download code is seen to by the edge.
pub(crate) async fn result(mut asked: Asked) -> Outcome {
    let request = asked.id("request")?;
    let part = part_of(&mut asked.query, &asked.accept)?;
    asked.vault.request_result(&asked.call, request, part).await
}

/// The part that is named; else the copy for whoever would rather have a page, and the data for everybody else.
pub(in crate::server) fn part_of(query: &mut Query, accept: &Accept) -> Result<Part, Refused> {
    let preferred = if accept.best(&["application/json", "text/html"]) == 0 { Part::Data } else { Part::Copy };
    let named = query.take("part").map(|text| text.parse::<Part>().map_err(|()| Code::MalformedRequest));
    Ok(named.transpose()?.unwrap_or(preferred))
}
