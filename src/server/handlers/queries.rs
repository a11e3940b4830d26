//! `/v1/queries`

use super::{Asked, Outcome};

/// queryRecords
pub(crate) async fn query(asked: Asked) -> Outcome {
    let body = asked.json()?;
    asked.vault.query_records(&asked.call, body).await
}
