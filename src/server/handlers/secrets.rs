//! `/v1/subjects/{subject}/secrets/{field}/verifications`

use super::{Asked, Outcome};

/// verifySecret
pub(crate) async fn verify(asked: Asked) -> Outcome {
    let subject = asked.subject()?;
    let body = asked.json()?;
    asked.vault.verify_secret(&asked.call, subject, asked.place("field"), body).await
}
