//! Cases: what a disclosure without an agreement, or the use of a child's data for its protection, is decided on by two people.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why there is a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CaseKind {
    /// An authority asks by law or legal process (p38).
    LegalProcess,
    /// The disclosure is needed on one of the grounds (p39).
    ReasonableNeed,
    /// It protects the child whose data it is (p58).
    ChildProtection,
}

impl CaseKind {
    /// All of them, in the order of their stored numbers.
    pub const ALL: [Self; 3] = [Self::LegalProcess, Self::ReasonableNeed, Self::ChildProtection];

    /// Its name.
    pub const fn text(self) -> &'static str {
        match self {
            Self::LegalProcess => "legal-process",
            Self::ReasonableNeed => "reasonable-need",
            Self::ChildProtection => "child-protection",
        }
    }
}

/// What a reasonable need is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Ground {
    /// A contract with the person cannot be performed otherwise.
    PerformContract,
    /// Somebody would be harmed or lose something.
    PreventHarm,
    /// Something illegal is looked into.
    InvestigateIllegality,
}

impl Ground {
    /// All of them, in the order of their stored numbers.
    pub const ALL: [Self; 3] = [Self::PerformContract, Self::PreventHarm, Self::InvestigateIllegality];
}
