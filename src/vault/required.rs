//! What a purpose needs before it can be served (p12): a required field that is missing closes that purpose and no other.

use crate::model::field::FieldSet;
use crate::store::layout::prefix;
use crate::tenant::Tenant;

use super::call::Refused;
use super::core::{Core, Person};
use super::reading;

/// Those of `purposes` that lack a required field even with the fields `written`, counting what is kept for them already.
pub(crate) fn unavailable(
    core: &Core,
    tenant: &Tenant,
    person: &Person,
    purposes: &[String],
    written: &[u16],
) -> Result<Vec<String>, Refused> {
    let written: FieldSet = written.iter().copied().collect();
    let mut lacking = Vec::new();
    for purpose in purposes.iter().filter_map(|id| tenant.purpose(id)) {
        let missing = purpose.missing(&written);
        if !missing.is_empty() && !missing.without(&kept(core, person, &purpose.id)?).is_empty() {
            lacking.push(purpose.id.clone());
        }
    }
    Ok(lacking)
}

/// The fields that are kept of a person for a purpose.
fn kept(core: &Core, person: &Person, purpose: &str) -> Result<FieldSet, Refused> {
    let mut fields = FieldSet::EMPTY;
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = core.store.scan(&prefix::records(&person.id), after.as_deref(), 100)?;
        let Some((last, _)) = page.last() else { return Ok(fields) };
        after = Some(last.clone());
        for known in reading::open_labels(core, person, page)? {
            if known.label.purposes.iter().any(|own| own == purpose) {
                known.label.fields.iter().for_each(|field| fields.insert(field.number));
            }
        }
    }
}
