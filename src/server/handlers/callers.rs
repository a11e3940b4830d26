//! `/v1/callers`

use super::{Asked, Outcome};

/// putCaller; `new` in place of an id makes one.
pub(crate) async fn put(asked: Asked) -> Outcome {
    let caller = match asked.place("caller") {
        "new" => None,
        _ => Some(asked.id("caller")?),
    };
    let body = asked.json()?;
    asked.vault.put_caller(&asked.call, caller, body).await
}

/// issueToken
pub(crate) async fn issue_token(asked: Asked) -> Outcome {
    let caller = asked.id("caller")?;
    let body = asked.json()?;
    asked.vault.issue_token(&asked.call, caller, body).await
}
