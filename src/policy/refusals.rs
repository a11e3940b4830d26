//! What the guards can refuse an operation with, for the description of the API.

use super::shape;
use crate::model::caller::Operation;
use crate::model::code::Code;

const PURPOSE: &[Code] = &[
    Code::PurposeRequired,
    Code::PurposeNotPublished,
    Code::PurposeNotGranted,
    Code::AggregateOnly,
    Code::OutsideEntrustment,
    Code::SubjectClassMismatch,
    Code::CategoryNotPermitted,
    Code::NoLawfulBasis,
    Code::ConsentMissing,
    Code::ConsentWithdrawn,
    Code::ConsentExpired,
    Code::SeparateConsentRequired,
    Code::ReconsentRequired,
    Code::ObjectionActive,
    Code::ContractInactive,
    Code::RuleRequired,
    Code::GuardianConsentRequired,
    Code::MinorProtection,
    Code::TransferNotPermitted,
    Code::ForeignAuthorityApprovalRequired,
    Code::AccountClosed,
    Code::NotAvailable,
];

/// The codes of the guards that are asked for an operation, in no order.
pub fn refusals(operation: Operation) -> Vec<Code> {
    let mut codes =
        vec![Code::Unauthenticated, Code::ControllerUnknown, Code::RoleForbidden, Code::NotFound, Code::AuditUnavailable];
    let mut add = |asked: bool, more: &[Code]| codes.extend(more.iter().filter(|_| asked));
    add(shape::takes_purpose(operation), PURPOSE);
    add(shape::names_subject(operation), &[Code::Erased, Code::Held]);
    add(shape::takes_purpose(operation) && !shape::names_subject(operation), &[Code::Erased, Code::Held]);
    add(shape::heeds_restrictions(operation), &[Code::Restricted]);
    add(shape::releases(operation), &[Code::TrainingRequired]);
    let records = [Code::PurposeIncompatible, Code::RetentionExpired, Code::KeyDestroyed, Code::OriginScope];
    add(shape::opens_records(operation), &records);
    add(shape::collects(operation), &[Code::KeyDestroyed, Code::OriginScope]);
    add(shape::shows_values(operation), &[Code::StepUpRequired]);
    let disclosed = [Code::OutsideCase, Code::IdentityToAdPartner, Code::SecondPersonRequired];
    add(operation == Operation::Disclose, &disclosed);
    add(operation == Operation::ReadRecords, &disclosed[..2]);
    codes
}
