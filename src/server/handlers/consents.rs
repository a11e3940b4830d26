//! `/v1/subjects/{subject}/consents` and `/v1/subjects/{subject}/preferences`

use super::{Asked, Outcome};

/// recordConsent
pub(crate) async fn record(asked: Asked) -> Outcome {
    let subject = asked.subject()?;
    let body = asked.json()?;
    asked.vault.record_consent(&asked.call, subject, body).await
}

/// listConsents
pub(crate) async fn list(mut asked: Asked) -> Outcome {
    let subject = asked.subject()?;
    let page = asked.query.page()?;
    asked.vault.consents(&asked.call, subject, page).await
}

/// getConsentReceipt
pub(crate) async fn receipt(asked: Asked) -> Outcome {
    let subject = asked.subject()?;
    let consent = asked.id("consent")?;
    asked.vault.consent_receipt(&asked.call, subject, consent).await
}

/// setPreference
pub(crate) async fn set_preference(asked: Asked) -> Outcome {
    let subject = asked.subject()?;
    let preference = asked.place("preference").to_owned();
    let body = asked.json()?;
    asked.vault.set_preference(&asked.call, subject, &preference, body).await
}
