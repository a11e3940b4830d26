//! The decision: may this caller do that, to this subject, for this purpose?
//!
//! A fixed conjunction of guards, one a file, in the order of the table below. Nothing overrides a refusal; the first
//! failure is answered, [`explain`] shows all. Pure: no I/O, no clock, the same answer for the same facts.

mod decision;
mod g00_caller;
mod g01_role;
mod g02_subject;
mod g03_purpose;
mod g04_grant;
mod g05_category;
mod g12_retention;
mod g14_trail;
mod g15_key;
mod guard;
pub mod roles;
mod shape;

pub use decision::{Allowed, Ask, Denied, Facts, Finding, RecordFacts, Second, SubjectFacts, SubjectState, decide, explain};

use guard::Guard;

/// The guards in the order in which they are asked. A new guard is a new file and a row here.
const GUARDS: &[Guard] = &[
    Guard { id: "G0", name: "caller", check: g00_caller::check },
    Guard { id: "G1", name: "role", check: g01_role::check },
    Guard { id: "G2", name: "subject", check: g02_subject::check },
    Guard { id: "G3", name: "purpose", check: g03_purpose::check },
    Guard { id: "G4", name: "grant", check: g04_grant::check },
    Guard { id: "G5", name: "category", check: g05_category::check },
    Guard { id: "G12", name: "retention", check: g12_retention::check },
    Guard { id: "G14", name: "trail", check: g14_trail::check },
    Guard { id: "G15", name: "key", check: g15_key::check },
];

#[cfg(test)]
mod tests;
