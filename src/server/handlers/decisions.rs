//! `/v1/decisions`

use super::{Asked, Outcome};

/// explainDecision
pub(crate) async fn explain(asked: Asked) -> Outcome {
    let body = asked.json()?;
    asked.vault.explain_decision(&asked.call, body).await
}
