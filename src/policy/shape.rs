//! What each operation is about, as the columns of API.md have it.

use crate::model::caller::Operation;

/// Whether it is marked P: it names a purpose, and the purpose guards judge it.
pub const fn takes_purpose(operation: Operation) -> bool {
    use Operation::*;
    matches!(
        operation,
        CreateSubject | LookupSubject | WriteRecord | ReadRecords | RectifyRecord | QueryRecords | VerifySecret | Disclose
    )
}

/// Whether its path names a subject that must be there.
pub(super) const fn names_subject(operation: Operation) -> bool {
    use Operation::*;
    matches!(
        operation,
        GetSubject
            | WriteRecord
            | ReadRecords
            | RectifyRecord
            | DeleteRecord
            | VerifySecret
            | RecordConsent
            | ListConsents
            | GetConsentReceipt
            | SetPreference
            | PutContract
            | RestrictSubject
            | LiftRestriction
            | OpenErasure
            | Disclose
    )
}

/// Whether it goes on whatever has become of the subject: the erasure's own story, and questions about decisions.
pub(super) const fn outlives_subject(operation: Operation) -> bool {
    use Operation::*;
    matches!(
        operation,
        ApproveErasure | GetErasure | GetRequest | AdvanceRequest | GetRequestResult | GetCase | ApproveCase | ExplainDecision
    )
}

/// Whether it goes on for a subject of whom only held records are left: to see that, and to begin and end holds.
pub(super) const fn reaches_held(operation: Operation) -> bool {
    matches!(operation, Operation::GetSubject | Operation::RestrictSubject | Operation::LiftRestriction)
}

/// Whether it collects something new.
pub(super) const fn collects(operation: Operation) -> bool {
    matches!(operation, Operation::CreateSubject | Operation::WriteRecord)
}

/// Whether what it is about comes from the caller.
pub(super) const fn writes(operation: Operation) -> bool {
    collects(operation) || matches!(operation, Operation::RectifyRecord)
}

/// Whether it decrypts what a record holds.
pub(super) const fn opens_records(operation: Operation) -> bool {
    use Operation::*;
    matches!(operation, ReadRecords | RectifyRecord | QueryRecords | VerifySecret | Disclose)
}

/// Whether it tells somebody something about a person.
pub(super) const fn releases(operation: Operation) -> bool {
    use Operation::*;
    matches!(operation, LookupSubject | ReadRecords | QueryRecords | VerifySecret | Disclose)
}

/// Whether it answers values of fields; all that the purpose may see where it names none.
pub(super) const fn shows_values(operation: Operation) -> bool {
    matches!(operation, Operation::ReadRecords | Operation::QueryRecords | Operation::Disclose)
}

/// Whether it takes something away for good.
pub(super) const fn deletes(operation: Operation) -> bool {
    matches!(operation, Operation::DeleteRecord)
}

/// Whether a restriction can stop it: it uses, changes or deletes what is there.
pub(super) const fn heeds_restrictions(operation: Operation) -> bool {
    releases(operation) || deletes(operation) || matches!(operation, Operation::RectifyRecord)
}
