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
mod g06_compatibility;
mod g07_basis;
mod g08_restriction;
mod g09_minor;
mod g10_transfer;
mod g11_recipient;
mod g12_retention;
mod g13_minimisation;
mod g14_trail;
mod g15_key;
mod guard;
mod refusals;
pub mod roles;
mod shape;

#[cfg(test)]
pub(crate) use decision::STOPPED_BY_NOTHING;
pub use decision::{
    Allowed, Ask, CaseFacts, Denied, Facts, Finding, RecordFacts, Second, SubjectFacts, SubjectState, decide, explain,
};
pub use guard::{By, Rule};
pub use refusals::refusals;
pub use shape::takes_purpose;

use guard::Guard;

/// The guards in the order in which they are asked. A new guard is a new file and a row here.
#[rustfmt::skip]
const GUARDS: &[Guard] = &[
    Guard { id: "G0",  name: "caller",        check: g00_caller::check,        of_record: false, veiled: false },
    Guard { id: "G1",  name: "role",          check: g01_role::check,          of_record: false, veiled: false },
    Guard { id: "G2",  name: "subject",       check: g02_subject::check,       of_record: false, veiled: false },
    Guard { id: "G3",  name: "purpose",       check: g03_purpose::check,       of_record: false, veiled: false },
    Guard { id: "G4",  name: "grant",         check: g04_grant::check,         of_record: false, veiled: false },
    Guard { id: "G5",  name: "category",      check: g05_category::check,      of_record: true,  veiled: false },
    Guard { id: "G6",  name: "compatibility", check: g06_compatibility::check, of_record: true,  veiled: false },
    Guard { id: "G7",  name: "basis",         check: g07_basis::check,         of_record: false, veiled: true },
    Guard { id: "G8",  name: "restriction",   check: g08_restriction::check,   of_record: true,  veiled: true },
    Guard { id: "G9",  name: "minor",         check: g09_minor::check,         of_record: false, veiled: true },
    Guard { id: "G10", name: "transfer",      check: g10_transfer::check,      of_record: false, veiled: true },
    Guard { id: "G11", name: "recipient",     check: g11_recipient::check,     of_record: false, veiled: true },
    Guard { id: "G12", name: "retention",     check: g12_retention::check,     of_record: true,  veiled: true },
    Guard { id: "G13", name: "minimisation",  check: g13_minimisation::check,  of_record: false, veiled: false },
    Guard { id: "G14", name: "trail",         check: g14_trail::check,         of_record: false, veiled: false },
    Guard { id: "G15", name: "key",           check: g15_key::check,           of_record: true,  veiled: false },
];

#[cfg(test)]
mod tests;
