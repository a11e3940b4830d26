//! What each type of request comes to.

use crate::model::code::Code;
use crate::model::standing::RestrictionKind;
use crate::model::wire::RequestType;

use super::super::bundles;
use super::super::call::Refused;
use super::super::lifecycle::Opened;
use super::super::restrictions;
use super::advance::{Done, Move};
use super::{LONGEST, letters, said};

/// Does what was asked for, and says so to the person. A rectification is fulfilled by rectifyRecord, an erasure by openErasure, each
/// naming the request; a closed account by the clock.
pub(super) async fn fulfil(opened: &Opened, mut at: Move<'_>, answer: Option<&str>) -> Result<Done, Refused> {
    let kind = at.row.kind()?;
    let answers = matches!(kind, RequestType::Complaint | RequestType::Question);
    if answer.map_or(answers, |answer| answer.is_empty() || answer.len() > LONGEST) {
        return Err(at.invalid("/answer"));
    }
    at.row.step("fulfil", at.now)?;
    let mut code = None;
    match kind {
        RequestType::Rectification | RequestType::Erasure | RequestType::AccountClosure => {
            return Err(at.refuse(Code::StateConflict));
        }
        RequestType::Access | RequestType::Portability => {
            let portable = kind == RequestType::Portability;
            code = Some(bundles::make(at.core, &opened.committer, at.tenant, at.person, at.id, portable).await?);
        }
        RequestType::Restriction | RequestType::Objection => {
            let details = said(at.person, at.id, &at.row)?.ok_or(Code::StateConflict)?;
            let objects = kind == RequestType::Objection;
            let laid = if objects { RestrictionKind::Objection } else { RestrictionKind::Art18 };
            let restriction = restrictions::lay(at.core, at.call, at.person, laid, details.purposes, &mut at.change)?;
            at.row.restriction = Some(restriction.id);
            at.effects.restriction = Some(restriction);
        }
        RequestType::Complaint | RequestType::Question => {}
    }
    if let Some(answer) = answer {
        at.paper("answer", answer.as_bytes())?;
    }
    at.tell(if answer.is_some() { letters::ANSWERED } else { letters::FULFILLED })?;
    let mut done = at.done()?;
    done.download_code = code;
    Ok(done)
}
