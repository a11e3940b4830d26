//! `/v1/subject-lookups`

use super::{Asked, Outcome};

/// lookupSubject
pub(crate) async fn look_up(asked: Asked) -> Outcome {
    let body = asked.json()?;
    asked.vault.lookup_subject(&asked.call, body).await
}
