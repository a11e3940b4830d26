//! getRopa: the records of processing (GDPR Art. 30), made from what enforces, and counts for a report that names nobody.

use crate::audit::Outcome;
use crate::model::caller::Operation;
use crate::model::code::Code;
use crate::model::wire::RopaAsked;

use super::call::{Answer, Call, Refused};
use super::lifecycle::Vault;
use super::views::RopaView;

mod counts;
mod table;

impl Vault {
    /// getRopa, as JSON or as a table. The counts are of the whole time, or from and until a moment.
    pub async fn ropa(&self, call: &Call, asked: RopaAsked) -> Result<Answer, Refused> {
        let operation = Operation::GetRopa;
        let opened = self.opened()?;
        let core = &opened.core;
        let tenant = core.tenant(&call.caller)?;
        let allowed = core.decide(call, operation, &core.facts(&tenant), None)?;
        let entry = core.entry(call, operation, Outcome::Allowed)?;
        let admitted = core.admit(&allowed, entry).await?;
        let decision = Some(admitted.decision);
        let register = tenant.register();
        if asked.table {
            let body = Some(table::of(&register).map_err(|_| Code::Internal)?);
            return Ok(Answer { decision, body, media: Some("text/csv; charset=utf-8; header=present"), ..Answer::default() });
        }
        let counts = counts::counted(core, &tenant, &asked).await?;
        let made_at = core.clock.now();
        let body = RopaView { vault: self.id(), made_at, register, transparency: counts };
        let body = serde_json::to_vec(&body).map_err(|_| Code::Internal)?;
        Ok(Answer { decision, body: Some(body), ..Answer::default() })
    }
}
