//! What every role can do with people in every state, as a table in git that is read as a diff.

use std::fmt::Write;

use super::world::{World, guardian, restriction};
use super::*;
use crate::model::standing::{ConsentState, RestrictionKind};

/// A state of a person, and how a world gets there.
type State = (&'static str, fn(&mut World));

const STATES: [State; 15] = [
    ("in order", |_| {}),
    ("no contract", |world| world.standing.contracts.clear()),
    ("consent withdrawn", |world| {
        world.says("c-marketing", "general", ConsentState::Withdrawn);
    }),
    ("objects", |world| world.standing.restrictions = vec![restriction(RestrictionKind::Objection, &["c-marketing"], &[])]),
    ("restricted", |world| world.standing.restrictions = vec![restriction(RestrictionKind::Art18, &[], &[])]),
    ("held", |world| world.standing.restrictions = vec![restriction(RestrictionKind::LegalHold, &[], &[])]),
    ("child, no guardian", |world| world.minor = true),
    ("child, guardian", |world| (world.minor, world.standing.guardian) = (true, Some(guardian(&[])))),
    ("in another region", |world| world.region = "CN".to_owned()),
    ("of another class", |world| world.class = Some("business-contact")),
    ("retention over", |world| world.record.as_mut().unwrap().2 = at("2010-01-01T00:00:00Z")),
    ("marketing erased", |world| world.kill("marketing")),
    ("closed", |world| world.state = SubjectState::Closed),
    ("erased but for holds", |world| world.state = SubjectState::Held),
    ("erased", |world| world.state = SubjectState::Erased),
];

/// A purpose of each kind of basis: account, contract, consent, the law, suppliers alone.
const PURPOSES: [&str; 5] = ["a-account", "b-service", "c-marketing", "x-rights", "f-supplier"];

/// The operations that name a person or a purpose; the others do not look at a person's state.
fn depends_on_the_person(operation: Operation) -> bool {
    shape::names_subject(operation) || shape::takes_purpose(operation)
}

fn world(role: Role) -> World {
    let mut world = World::new(&[role], &PURPOSES).record(&PURPOSES[..3], "2026-11-01T00:00:00Z");
    // One's own, and with the second person: the matrix of roles says where that is needed.
    (world.own, world.second) = (true, Second::Waived);
    if role == Role::Partner {
        world.caller.partner = Some("affiliate-jp".to_owned());
        world.caller.region = Some("JP".to_owned());
    }
    world
}

fn outcome(world: &World, operation: Operation, purpose: Option<&str>) -> String {
    match world.outcome(operation, purpose) {
        Ok(_) => "●".to_owned(),
        Err((guard, code)) => format!("{} {}", guard, code.text()),
    }
}

fn table() -> String {
    let mut text = String::from(
        "# What each role can do with a person in each state\n\n● allowed; otherwise the guard that refuses and its code. The record is the caller's own and was collected for the account, \
         the service and marketing. An operation that is missing under a role is refused to it by G1 in every state.\n",
    );
    for role in roles::ROLES {
        let _ = write!(text, "\n## {role:?}\n\n| operation |");
        STATES.iter().for_each(|(name, _)| text.extend([" ", name, " |"]));
        text.push_str("\n|---|");
        text.push_str(&"---|".repeat(STATES.len()));
        text.push('\n');
        for &operation in Operation::ALL.iter().filter(|&&operation| depends_on_the_person(operation)) {
            if roles::cell(operation, role) == roles::Cell::Never {
                for (name, change) in STATES {
                    let mut world = world(role);
                    change(&mut world);
                    assert_eq!(world.outcome(operation, Some("b-service")).unwrap_err().0, "G1", "{role:?} {operation:?} {name}");
                }
                continue;
            }
            let purposes: &[Option<&str>] = if shape::takes_purpose(operation) { &PURPOSES.map(Some) } else { &[None] };
            for purpose in purposes {
                let _ = write!(text, "| {}{} |", operation.text(), purpose.map(|id| format!(" {id}")).unwrap_or_default());
                for (_, change) in STATES {
                    let mut world = world(role);
                    change(&mut world);
                    let _ = write!(text, " {} |", outcome(&world, operation, *purpose));
                }
                text.push('\n');
            }
        }
    }
    text
}

#[test]
fn the_matrix_of_roles_operations_and_states_is_the_one_in_git() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/decisions.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, table()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), table(), "UPDATE_GOLDEN=1 writes it anew");
}
