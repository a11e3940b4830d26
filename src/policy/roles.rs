//! The role matrix of API.md as one const table, and which roles may not be held together.

use std::fmt::Write;

use crate::model::caller::{Operation, Role};
use crate::model::code::Code;

/// What a role may do with an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    /// –
    Never,
    /// ● – the rest of the decision still applies.
    Allowed,
    /// ○ – own objects only.
    Own,
    /// △ – with a second person.
    SecondPerson,
    /// ●¹ – only for the purpose that fulfils rights, and only for the person of an open, verified request.
    RightsOnly,
}

use Cell::{Allowed as A, Never as N, Own as O, RightsOnly as R, SecondPerson as S};

/// The columns, in the order of the table.
pub const ROLES: [Role; 10] = [
    Role::Writer,
    Role::Reader,
    Role::Partner,
    Role::Subject,
    Role::PrivacyOfficer,
    Role::KeyAdmin,
    Role::PolicyAuthor,
    Role::SecurityOfficer,
    Role::Auditor,
    Role::Scheduler,
];

#[rustfmt::skip]
const TABLE: &[(Operation, [Cell; 10])] = &[
    //                             W  R  P  S  D  K  C  I  A  Z
    (Operation::CreateSubject,    [A, N, N, O, N, N, N, N, N, N]),
    (Operation::LookupSubject,    [A, A, N, N, A, N, N, N, N, N]),
    (Operation::GetSubject,       [A, A, O, O, A, N, N, N, N, A]),
    (Operation::WriteRecord,      [A, N, N, O, N, N, N, N, N, N]),
    (Operation::ReadRecords,      [N, A, O, O, R, N, N, N, N, N]),
    (Operation::RectifyRecord,    [A, N, N, O, A, N, N, N, N, N]),
    (Operation::DeleteRecord,     [O, N, N, O, A, N, N, N, N, A]),
    (Operation::QueryRecords,     [N, A, N, N, N, N, N, N, N, N]),
    (Operation::VerifySecret,     [A, A, N, N, N, N, N, N, N, N]),
    (Operation::ExplainDecision,  [O, O, O, O, A, N, A, A, A, N]),
    (Operation::RecordConsent,    [A, N, N, O, A, N, N, N, N, A]),
    (Operation::ListConsents,     [N, A, N, O, A, N, N, N, A, N]),
    (Operation::GetConsentReceipt,[A, N, N, O, A, N, N, N, N, N]),
    (Operation::SetPreference,    [A, N, N, O, A, N, N, N, N, N]),
    (Operation::PutContract,      [A, N, N, O, A, N, N, N, N, N]),
    (Operation::RestrictSubject,  [N, N, N, O, A, N, N, N, N, N]),
    (Operation::LiftRestriction,  [N, N, N, O, A, N, N, N, N, N]),
    (Operation::OpenRequest,      [A, N, N, O, A, N, N, N, N, N]),
    (Operation::ListRequests,     [N, N, N, N, A, N, N, N, A, A]),
    (Operation::GetRequest,       [O, N, N, O, A, N, N, N, A, A]),
    (Operation::AdvanceRequest,   [N, N, N, O, A, N, N, N, N, A]),
    (Operation::GetRequestResult, [N, N, N, O, A, N, N, N, N, N]),
    (Operation::OpenErasure,      [N, N, N, O, S, N, N, N, N, A]),
    (Operation::ApproveErasure,   [N, N, N, O, S, N, N, N, N, A]),
    (Operation::GetErasure,       [O, N, O, O, A, A, N, N, A, A]),
    (Operation::OpenCase,         [N, N, N, N, S, N, N, N, N, N]),
    (Operation::ApproveCase,      [N, N, N, N, S, N, N, N, N, N]),
    (Operation::GetCase,          [N, N, N, N, A, N, N, A, A, N]),
    (Operation::Disclose,         [A, N, N, N, A, N, N, N, N, N]),
    (Operation::ListDisclosures,  [N, N, O, O, A, N, N, A, A, N]),
    (Operation::GetPolicyVersion, [A, A, A, A, A, A, A, A, A, A]),
    (Operation::PublishPolicy,    [N, N, N, N, A, N, A, N, N, N]),
    (Operation::ReadConfig,       [A, A, O, N, A, A, A, A, A, A]),
    (Operation::DraftConfig,      [N, N, N, N, N, N, A, N, N, N]),
    (Operation::SendNotice,       [A, N, N, N, A, N, N, A, N, A]),
    (Operation::GetRopa,          [N, N, N, N, A, N, A, N, A, N]),
    (Operation::OperateKeys,      [N, N, N, N, N, A, N, N, N, A]),
    (Operation::ListKeys,         [N, N, N, N, N, A, N, N, A, N]),
    (Operation::PutIncident,      [N, N, N, N, A, N, N, A, N, A]),
    (Operation::GetIncident,      [N, N, N, N, A, N, N, A, A, N]),
    (Operation::ListAuditEvents,  [N, N, N, O, A, N, N, A, A, N]),
    (Operation::GetCheckpoint,    [A, A, A, A, A, A, A, A, A, A]),
    (Operation::PutCaller,        [N, N, N, N, N, N, N, S, N, N]),
    (Operation::IssueToken,       [N, N, N, O, N, N, N, A, N, N]),
    (Operation::StepUp,           [A, A, A, A, A, A, A, A, A, N]),
    (Operation::RecordStats,      [A, N, N, N, N, N, N, N, N, N]),
    (Operation::ReadStats,        [N, A, O, N, A, N, A, N, A, N]),
];

/// What `role` may do with `operation`. An operation that has no row is nobody's.
pub fn cell(operation: Operation, role: Role) -> Cell {
    let row = TABLE.iter().find(|(own, _)| *own == operation);
    let column = ROLES.iter().position(|&own| own == role);
    row.zip(column).map_or(N, |((_, cells), column)| cells[column])
}

/// Whether one caller may hold all of these: a key admin touches no records, an auditor changes nothing, and the scheduler
/// is the vault itself.
pub fn may_be_held(roles: &[Role]) -> Result<(), Code> {
    const BESIDE_KEYS: [Role; 5] = [Role::Writer, Role::Reader, Role::Partner, Role::Subject, Role::PrivacyOfficer];
    const CHANGING: [Role; 6] =
        [Role::Writer, Role::Subject, Role::PrivacyOfficer, Role::KeyAdmin, Role::PolicyAuthor, Role::SecurityOfficer];
    let any_of = |others: &[Role]| others.iter().any(|other| roles.contains(other));
    let clash = roles.contains(&Role::KeyAdmin) && any_of(&BESIDE_KEYS)
        || roles.contains(&Role::Auditor) && any_of(&CHANGING)
        || roles.contains(&Role::Scheduler);
    if clash { Err(Code::SeparationOfDuties) } else { Ok(()) }
}

/// The matrix in Markdown, as it is kept in git.
pub fn table() -> String {
    let sign = |cell| match cell {
        Cell::Never => "–",
        Cell::Allowed => "●",
        Cell::Own => "○",
        Cell::SecondPerson => "△",
        Cell::RightsOnly => "●¹",
    };
    let mut text = String::from("| operation |");
    ROLES.iter().for_each(|&role| text.extend([' ', role.letter(), ' ', '|']));
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(ROLES.len()));
    for (operation, cells) in TABLE {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n| {} |", operation.text());
        for &cell in cells {
            let _ = write!(text, " {} |", sign(cell));
        }
    }
    text.push_str("\n\n● allowed · ○ own objects only · △ needs a second person · – never · ¹ only for the purpose `x-rights`, with an open, verified request of the person\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_one_row() {
        let rows: Vec<_> = TABLE.iter().map(|(operation, _)| *operation).collect();
        assert_eq!(rows, Operation::ALL);
    }

    #[test]
    fn the_matrix_is_the_one_in_git() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/roles.md");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, table()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), table(), "UPDATE_GOLDEN=1 writes it anew");
    }

    #[test]
    fn a_key_admin_holds_no_role_that_touches_records() {
        for other in ROLES {
            let alone = matches!(other, Role::KeyAdmin | Role::PolicyAuthor | Role::SecurityOfficer);
            assert_eq!(may_be_held(&[Role::KeyAdmin, other]).is_ok(), alone, "{other:?}");
            assert_eq!(may_be_held(&[other, Role::KeyAdmin]).is_ok(), alone, "{other:?}");
        }
    }

    #[test]
    fn an_auditor_changes_nothing() {
        for other in ROLES {
            let reads = matches!(other, Role::Auditor | Role::Reader | Role::Partner);
            assert_eq!(may_be_held(&[other, Role::Auditor]), if reads { Ok(()) } else { Err(Code::SeparationOfDuties) });
        }
    }

    #[test]
    fn nobody_is_given_the_scheduler_and_ordinary_pairs_are_fine() {
        assert_eq!(may_be_held(&[Role::Scheduler]), Err(Code::SeparationOfDuties));
        assert_eq!(may_be_held(&[Role::Writer, Role::Reader]), Ok(()));
        assert_eq!(may_be_held(&[]), Ok(()));
    }
}
