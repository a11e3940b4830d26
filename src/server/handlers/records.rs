//! `/v1/subjects/{subject}/records`

use super::{Asked, Outcome, batch};
use crate::model::wire::ReadRecords;

/// writeRecord
pub(crate) async fn write(asked: Asked) -> Outcome {
    let subject = asked.subject()?;
    let body = asked.json()?;
    asked.vault.write_record(&asked.call, subject, body).await
}

/// writeRecord, many at a time, for one subject or many.
pub(crate) async fn write_many(asked: Asked) -> Outcome {
    let items = asked.items()?;
    batch::answer(&asked.vault.write_records(&asked.call, items).await?)
}

/// readRecords
pub(crate) async fn read(mut asked: Asked) -> Outcome {
    let subject = asked.subject()?;
    let query = &mut asked.query;
    let ask = ReadRecords {
        fields: query.names("fields")?,
        group: query.name("group")?,
        record: query.typed("record")?,
        page: query.page()?,
    };
    asked.vault.read_records(&asked.call, subject, ask).await
}

/// rectifyRecord
pub(crate) async fn rectify(asked: Asked) -> Outcome {
    let (subject, record) = (asked.subject()?, asked.id("record")?);
    let body = asked.json()?;
    asked.vault.rectify_record(&asked.call, subject, record, body).await
}

/// deleteRecord
pub(crate) async fn delete(asked: Asked) -> Outcome {
    let (subject, record) = (asked.subject()?, asked.id("record")?);
    asked.vault.delete_record(&asked.call, subject, record).await
}
