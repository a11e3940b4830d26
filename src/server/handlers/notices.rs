//! `/v1/notices`

use super::{Asked, Outcome};

/// sendNotice
pub(crate) async fn send(asked: Asked) -> Outcome {
    let body = asked.json()?;
    asked.vault.send_notice(&asked.call, body).await
}
