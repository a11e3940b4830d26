//! `/v1/audit`

use super::{Asked, Outcome};
use crate::vault::{AuditQuery, CheckpointQuery};

/// listAuditEvents: a page, or with `Accept: application/x-ndjson` everything that is asked for, as OCSF events
pub(crate) async fn events(mut asked: Asked) -> Outcome {
    let query = &mut asked.query;
    let ask = AuditQuery {
        from: query.typed("from")?,
        until: query.typed("until")?,
        caller: query.typed("caller")?,
        purpose: query.name("purpose")?,
        tag: query.name("tag")?,
        page: query.page()?,
        ocsf: asked.accept.best(&["application/json", "application/x-ndjson"]) == 1,
    };
    asked.vault.audit_events(&asked.call, ask).await
}

/// getCheckpoint: of a tree size, or of the `latest`; with the proof for a leaf, or from an older size.
pub(crate) async fn checkpoint(mut asked: Asked) -> Outcome {
    let size = match asked.place("size") {
        "latest" => None,
        _ => Some(asked.id("size")?),
    };
    let ask = CheckpointQuery { size, leaf: asked.query.typed("leaf")?, from: asked.query.typed("from")? };
    asked.vault.checkpoint(&asked.call, ask).await
}
