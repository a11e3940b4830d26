//! `/v1/ropa`

use super::{Asked, Outcome};
use crate::model::wire::RopaAsked;

/// getRopa, as JSON or, for who would rather have a table, as CSV (RFC 4180).
pub(crate) async fn show(mut asked: Asked) -> Outcome {
    let table = asked.accept.best(&["application/json", "text/csv"]) == 1;
    let ask = RopaAsked { from: asked.query.typed("from")?, until: asked.query.typed("until")?, table };
    asked.vault.ropa(&asked.call, ask).await
}
