//! `/v1/notices` and `/v1/subjects/{subject}/notices`

use super::{Asked, Outcome};

/// sendNotice
pub(crate) async fn send(asked: Asked) -> Outcome {
    let body = asked.json()?;
    asked.vault.send_notice(&asked.call, body).await
}

/// The letters to a person, as a part of what getSubject shows
pub(crate) async fn list(mut asked: Asked) -> Outcome {
    let subject = asked.subject()?;
    let page = asked.query.page()?;
    asked.vault.notices(&asked.call, subject, page).await
}

/// sendNotice: that a letter came back
pub(crate) async fn bounce(asked: Asked) -> Outcome {
    let subject = asked.subject()?;
    let notice = asked.id("notice")?;
    let body = asked.json()?;
    asked.vault.bounce_notice(&asked.call, subject, notice, body).await
}
