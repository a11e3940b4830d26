//! `/v1/subjects`

use super::{Asked, Outcome, batch};

/// createSubject
pub(crate) async fn create(asked: Asked) -> Outcome {
    let body = asked.json()?;
    asked.vault.create_subject(&asked.call, body).await
}

/// createSubject, many at a time.
pub(crate) async fn create_many(asked: Asked) -> Outcome {
    let items = asked.items()?;
    batch::answer(&asked.vault.create_subjects(&asked.call, items).await?)
}

/// recordConsent of a guardian for a ward.
pub(crate) async fn put_guardian(asked: Asked) -> Outcome {
    let subject = asked.id("subject")?;
    let body = asked.json()?;
    asked.vault.put_guardian(&asked.call, subject, body).await
}

/// getSubject
pub(crate) async fn show(asked: Asked) -> Outcome {
    let subject = asked.subject()?;
    asked.vault.subject(&asked.call, subject).await
}
