//! `/v1/erasures`

use super::{Asked, Outcome};

/// openErasure
pub(crate) async fn open(asked: Asked) -> Outcome {
    let body = asked.json()?;
    asked.vault.open_erasure(&asked.call, body).await
}

/// approveErasure
pub(crate) async fn approve(asked: Asked) -> Outcome {
    let erasure = asked.id("erasure")?;
    let body = asked.json_or_nothing()?;
    asked.vault.approve_erasure(&asked.call, erasure, body).await
}

/// getErasure, for a caller; the holder of a claim code is seen to by the edge.
pub(crate) async fn show(asked: Asked) -> Outcome {
    let erasure = asked.id("erasure")?;
    asked.vault.erasure(&asked.call, erasure).await
}
