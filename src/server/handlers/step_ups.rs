//! `/v1/step-ups`, and the factors that they need

use super::{Asked, Outcome};

/// stepUp
pub(crate) async fn step_up(asked: Asked) -> Outcome {
    let body = asked.json()?;
    asked.vault.step_up(&asked.call, body).await
}

/// issueToken, of a second factor
pub(crate) async fn enrol(asked: Asked) -> Outcome {
    let caller = asked.id("caller")?;
    asked.nothing()?;
    asked.vault.enrol_factor(&asked.call, caller).await
}
