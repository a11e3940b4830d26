//! `/v1/subjects/{subject}/restrictions`

use super::{Asked, Outcome};

/// restrictSubject
pub(crate) async fn restrict(asked: Asked) -> Outcome {
    let subject = asked.subject()?;
    let body = asked.json()?;
    asked.vault.restrict_subject(&asked.call, subject, body).await
}

/// restrictSubject, the second officer's part of a legal hold.
pub(crate) async fn approve(asked: Asked) -> Outcome {
    let (subject, restriction) = (asked.subject()?, asked.id("restriction")?);
    asked.nothing()?;
    asked.vault.approve_restriction(&asked.call, subject, restriction).await
}

/// restrictSubject, with more exceptions.
pub(crate) async fn except(asked: Asked) -> Outcome {
    let (subject, restriction) = (asked.subject()?, asked.id("restriction")?);
    let body = asked.json()?;
    asked.vault.except_purposes(&asked.call, subject, restriction, body).await
}

/// liftRestriction
pub(crate) async fn lift(asked: Asked) -> Outcome {
    let (subject, restriction) = (asked.subject()?, asked.id("restriction")?);
    let body = asked.json()?;
    asked.vault.lift_restriction(&asked.call, subject, restriction, body).await
}
