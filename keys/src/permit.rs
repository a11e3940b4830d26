//! The proof that a decision was made: without a [`Permit`] nothing about a person is decrypted.
//!
//! A permit comes from the [`Gate`] of its hierarchy and from nowhere else; whoever opens the hierarchy gets the one gate and
//! keeps it behind the decision and the trail. A permit names one subject, one purpose group, the allowed fields and the
//! decision it stands for.
//!
//! It cannot be made by hand, only by a gate:
//!
//! ```
//! fn by_the_gate(gate: &keys::Gate, group: keys::Group) -> keys::Permit {
//!     gate.permit([1; 16], group, None, [2; 16])
//! }
//! ```
//! ```compile_fail
//! fn by_hand(group: keys::Group) -> keys::Permit {
//!     keys::Permit { subject: [1; 16], group, fields: None, decision: [2; 16] }
//! }
//! ```
//! ```compile_fail
//! fn by_default() -> keys::Permit {
//!     Default::default()
//! }
//! ```
//! ```compile_fail
//! fn a_gate_of_my_own() -> keys::Gate {
//!     keys::Gate::new(keys::Instance::random().unwrap())
//! }
//! ```

use crate::context::{Group, Id};
use crate::error::KeysError;
use crate::random;

/// Which opened hierarchy something belongs to: random, so that no other process or later unsealing has the same.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instance(u128);

impl Instance {
    /// A new one, for a hierarchy that is being opened.
    pub(crate) fn random() -> Result<Self, KeysError> {
        random::bytes().map(u128::from_be_bytes).map(Self)
    }
}

/// The only maker of permits for its hierarchy. Handed out once, when the hierarchy is opened.
pub struct Gate {
    instance: Instance,
}

impl Gate {
    pub(crate) fn new(instance: Instance) -> Self {
        Self { instance }
    }

    /// A permit to read the given fields (`None`: all) of one subject through one purpose group, as the decision allows.
    ///
    /// Call it only once the decision is allowed and its entry is in the trail.
    pub fn permit(&self, subject: Id, group: Group, fields: Option<Vec<u16>>, decision: Id) -> Permit {
        let fields = fields.map(|mut fields| {
            fields.sort_unstable();
            fields
        });
        Permit { instance: self.instance, subject, group, fields, decision }
    }
}

/// The proof of one allowed decision. See the top of this file.
#[must_use]
pub struct Permit {
    instance: Instance,
    subject: Id,
    group: Group,
    fields: Option<Vec<u16>>,
    decision: Id,
}

impl Permit {
    /// The decision that this permit stands for.
    pub fn decision(&self) -> &Id {
        &self.decision
    }

    /// Whose records it allows to read.
    pub fn subject(&self) -> &Id {
        &self.subject
    }

    /// The purpose group whose key is to be used.
    pub fn group(&self) -> Group {
        self.group
    }

    /// Whether the field may be read.
    pub fn allows(&self, field: u16) -> bool {
        self.fields.as_ref().is_none_or(|fields| fields.binary_search(&field).is_ok())
    }

    /// Refuses a permit that is for another hierarchy or subject.
    pub(crate) fn check(&self, instance: Instance, subject: &Id) -> Result<(), KeysError> {
        if self.instance == instance && self.subject == *subject { Ok(()) } else { Err(KeysError::NotPermitted) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(number: u8) -> Group {
        Group::new(number).unwrap()
    }

    #[test]
    fn a_permit_is_for_one_hierarchy_and_one_subject() {
        let (here, elsewhere) = (Instance::random().unwrap(), Instance::random().unwrap());
        let permit = Gate::new(here).permit([1; 16], group(1), None, [9; 16]);
        assert!(permit.check(here, &[1; 16]).is_ok());
        assert!(matches!(permit.check(elsewhere, &[1; 16]), Err(KeysError::NotPermitted)));
        assert!(matches!(permit.check(here, &[2; 16]), Err(KeysError::NotPermitted)));
    }

    #[test]
    fn a_permit_allows_the_fields_it_names_in_any_order() {
        let gate = Gate::new(Instance::random().unwrap());
        let some = gate.permit([1; 16], group(1), Some(vec![9, 2, 2, 300]), [9; 16]);
        assert!([2, 9, 300].iter().all(|field| some.allows(*field)));
        assert!(![1, 3, 10, 301].iter().any(|field| some.allows(*field)));
        assert!(!gate.permit([1; 16], group(1), Some(vec![]), [9; 16]).allows(0));
        assert!(gate.permit([1; 16], group(1), None, [9; 16]).allows(u16::MAX));
    }
}
