//! `/v1/stats`

use super::{Asked, Outcome};
use crate::model::wire::ReadStats;

/// recordStats
pub(crate) async fn record(asked: Asked) -> Outcome {
    let body = asked.json()?;
    asked.vault.record_stats(&asked.call, body).await
}

/// readStats
pub(crate) async fn read(mut asked: Asked) -> Outcome {
    let query = &mut asked.query;
    let ask = ReadStats {
        measure: query.name("measure")?,
        from: query.typed("from")?,
        until: query.typed("until")?,
        by: query.name("by")?,
    };
    asked.vault.read_stats(&asked.call, ask).await
}
