//! `/v1/cases`

use super::{Asked, Outcome};

/// openCase
pub(crate) async fn open(asked: Asked) -> Outcome {
    let body = asked.json()?;
    asked.vault.open_case(&asked.call, body).await
}

/// approveCase
pub(crate) async fn decide(asked: Asked) -> Outcome {
    let case = asked.id("case")?;
    let body = asked.json()?;
    asked.vault.decide_case(&asked.call, case, body).await
}

/// getCase
pub(crate) async fn show(asked: Asked) -> Outcome {
    let case = asked.id("case")?;
    asked.vault.case(&asked.call, case).await
}
