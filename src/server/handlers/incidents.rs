//! `/v1/incidents`

use super::{Asked, Outcome};

/// putIncident
pub(crate) async fn put(asked: Asked) -> Outcome {
    let id = asked.id("incident")?;
    let body = asked.json()?;
    asked.vault.put_incident(&asked.call, id, body).await
}

/// getIncident
pub(crate) async fn show(mut asked: Asked) -> Outcome {
    let id = asked.id("incident")?;
    let page = asked.query.page()?;
    asked.vault.incident(&asked.call, id, page).await
}

/// getIncident: the register
pub(crate) async fn list(mut asked: Asked) -> Outcome {
    let page = asked.query.page()?;
    asked.vault.incidents(&asked.call, page).await
}

/// putIncident: a notice to an authority
pub(crate) async fn report(asked: Asked) -> Outcome {
    let id = asked.id("incident")?;
    let body = asked.json()?;
    asked.vault.report_incident(&asked.call, id, body).await
}

/// putIncident: letters to the people
pub(crate) async fn write_letters(asked: Asked) -> Outcome {
    let id = asked.id("incident")?;
    let body = asked.json()?;
    asked.vault.write_letters(&asked.call, id, body).await
}
