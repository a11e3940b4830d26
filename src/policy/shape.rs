//! What each operation is about, as the columns of API.md have it.

use crate::model::caller::Operation;

/// Whether it is marked P: it names a purpose, and the purpose guards judge it.
pub(super) const fn takes_purpose(operation: Operation) -> bool {
    use Operation::*;
    matches!(operation, CreateSubject | LookupSubject | WriteRecord | ReadRecords | RectifyRecord)
}

/// Whether its path names a subject that must be there.
pub(super) const fn names_subject(operation: Operation) -> bool {
    use Operation::*;
    matches!(operation, GetSubject | WriteRecord | ReadRecords | RectifyRecord | DeleteRecord | PutContract | OpenErasure)
}

/// Whether it goes on whatever has become of the subject: the erasure's own story, and questions about decisions.
pub(super) const fn outlives_subject(operation: Operation) -> bool {
    use Operation::*;
    matches!(operation, ApproveErasure | GetErasure | ExplainDecision)
}

/// Whether it collects something new.
pub(super) const fn collects(operation: Operation) -> bool {
    matches!(operation, Operation::CreateSubject | Operation::WriteRecord)
}

/// Whether it decrypts what a record holds.
pub(super) const fn opens_records(operation: Operation) -> bool {
    matches!(operation, Operation::ReadRecords | Operation::RectifyRecord)
}
