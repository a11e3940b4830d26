//! Masks: what of a person's high sensitivity fields is shown, and what the trail says about it (p10).

use crate::audit::Obligations;
use crate::model::caller::Grounds;
use crate::model::code::Code;
use crate::model::field::{FieldSet, Sensitivity};
use crate::policy::Allowed;
use crate::tenant::Tenant;

/// Which of the fields that are to be released leave the vault behind their mask. A person who reads their own data is no
/// exception: their token may be in other hands too. A call that asks for clear text and may not have it is told so.
pub(crate) fn masked(allowed: &Allowed<'_>, grounds: &Grounds, released: &FieldSet) -> Result<FieldSet, Code> {
    let masked = released.and(allowed.masked());
    if grounds.clear && !masked.is_empty() { Err(Code::StepUpRequired) } else { Ok(masked) }
}

/// What the entry of a release says about its fields of high sensitivity.
pub(crate) fn obligations(tenant: &Tenant, released: &FieldSet, masked: &FieldSet) -> Obligations {
    let known = released.iter().filter_map(|number| tenant.field_numbered(number));
    let high: FieldSet = known.filter(|field| field.sensitivity == Sensitivity::High).map(|field| field.number).collect();
    Obligations { masked: released.and(masked).iter().collect(), clear: high.without(masked).iter().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::TenantId;

    #[test]
    fn the_entry_names_each_released_field_of_high_sensitivity_once() {
        let tenant = Tenant::shipped(TenantId::from_bytes([1; 16])).unwrap();
        let set = |numbers: &[u16]| numbers.iter().copied().collect::<FieldSet>();
        let noted = obligations(&tenant, &set(&[1, 13, 38]), &set(&[13, 17]));
        assert_eq!(noted, Obligations { masked: vec![13], clear: vec![38] });
        assert!(obligations(&tenant, &set(&[1, 2]), &set(&[])).is_empty());
    }
}
