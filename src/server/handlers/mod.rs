//! One call on the vault each.

pub(super) mod audit;
pub(super) mod callers;
pub(super) mod cases;
pub(super) mod config;
pub(super) mod consents;
pub(super) mod contracts;
pub(super) mod decisions;
pub(super) mod disclosures;
pub(super) mod erasures;
pub(super) mod incidents;
pub(super) mod keys;
pub(super) mod lookups;
pub(super) mod notices;
pub(super) mod queries;
pub(super) mod records;
pub(super) mod requests;
pub(super) mod restrictions;
pub(super) mod ropa;
pub(super) mod secrets;
pub(super) mod stats;
pub(super) mod step_ups;
pub(super) mod subjects;

pub(super) mod batch;

use super::asked::Asked;
use crate::vault::call::{Answer, Refused};

/// What every handler gives.
type Outcome = Result<Answer, Refused>;
