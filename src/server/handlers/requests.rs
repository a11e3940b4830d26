//! `/v1/requests`

use super::{Asked, Outcome};

/// openRequest
pub(crate) async fn open(asked: Asked) -> Outcome {
    let body = asked.json()?;
    asked.vault.open_request(&asked.call, body).await
}

/// getRequest
pub(crate) async fn show(asked: Asked) -> Outcome {
    let request = asked.id("request")?;
    asked.vault.request(&asked.call, request).await
}
