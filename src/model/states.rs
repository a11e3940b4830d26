//! The states of everything that goes through several, one table each: the only place that says what may follow what.
//!
//! docs/STATES.md is printed from here. A step that is not in its table is refused with `state-conflict`.

use std::fmt::Write;

use super::caller::Role;

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The state before.
    pub from: &'static str,
    /// What is done.
    pub action: &'static str,
    /// The state after.
    pub to: &'static str,
    /// Who may do it.
    pub by: &'static [Role],
}

/// All states of a thing, and its steps.
#[derive(Debug, Clone, Copy)]
pub struct Machine {
    /// What it is the table of.
    pub name: &'static str,
    /// Its states, the first of which it begins with. Rows hold the place in this list: states are added at its end.
    pub states: &'static [&'static str],
    /// Its steps.
    pub steps: &'static [Step],
}

use Role::{PolicyAuthor as C, PrivacyOfficer as D, Scheduler as Z, SecurityOfficer as I, Subject as S, Writer as W};

const fn step(from: &'static str, action: &'static str, to: &'static str, by: &'static [Role]) -> Step {
    Step { from, action, to, by }
}

/// A request of a person. The states are those of the Data Rights Protocol, but for `denial-proposed`, which it shows as
/// `in_progress`: a denial takes two people.
pub const REQUEST: Machine = Machine {
    name: "request",
    states: &["open", "in_progress", "fulfilled", "revoked", "denied", "expired", "denial-proposed"],
    steps: &[
        step("open", "verify", "open", &[S, D]),
        step("open", "accept", "in_progress", &[D, Z]),
        step("open", "extend", "open", &[D]),
        step("open", "deny", "denial-proposed", &[D]),
        step("open", "fail-verification", "denied", &[Z]),
        step("open", "revoke", "revoked", &[S, D]),
        step("open", "expire", "expired", &[D, Z]),
        step("in_progress", "extend", "in_progress", &[D]),
        step("in_progress", "deny", "denial-proposed", &[D]),
        step("in_progress", "revoke", "revoked", &[S, D]),
        step("in_progress", "fulfil", "fulfilled", &[D, Z]),
        step("in_progress", "expire", "expired", &[Z]),
        step("denial-proposed", "deny", "denied", &[D]),
        step("denial-proposed", "accept", "in_progress", &[D]),
        step("denial-proposed", "reopen", "open", &[D]),
        step("denial-proposed", "expire", "expired", &[Z]),
        step("denial-proposed", "revoke", "revoked", &[S, D]),
    ],
};

/// An erasure (docs/ERASURE.md): who opened it does not approve or deny it; who opened it may take it back.
pub const ERASURE: Machine = Machine {
    name: "erasure",
    states: &["requested", "verified", "approved", "unlinked", "propagated", "sealed", "denied", "revoked", "partial"],
    steps: &[
        step("requested", "verify", "verified", &[D, Z]),
        step("requested", "deny", "denied", &[D]),
        step("requested", "revoke", "revoked", &[D]),
        step("verified", "approve", "approved", &[D, Z]),
        step("approved", "unlink", "unlinked", &[Z]),
        step("unlinked", "propagate", "propagated", &[Z]),
        step("propagated", "seal", "sealed", &[Z]),
        step("sealed", "wait", "partial", &[Z]),
        step("partial", "go-on", "unlinked", &[Z]),
    ],
};

/// A policy version: what is drafted is proposed by one person and approved by another.
pub const POLICY: Machine = Machine {
    name: "policy version",
    states: &["drafted", "proposed", "published", "rejected", "replaced"],
    steps: &[
        step("drafted", "propose", "proposed", &[C]),
        // A new proposal of all that is drafted takes the place of the one that waits.
        step("proposed", "propose", "proposed", &[C]),
        step("proposed", "approve", "published", &[D]),
        step("proposed", "reject", "rejected", &[C, D]),
        step("published", "replace", "replaced", &[D]),
    ],
};

/// A consent to one purpose, of one kind. Taking back is always as easy as giving, whatever stood before.
pub const CONSENT: Machine = Machine {
    name: "consent",
    states: &["none", "given", "refused", "withdrawn", "expired", "requested"],
    steps: &[
        step("none", "give", "given", SAYS),
        step("none", "refuse", "refused", SAYS),
        step("none", "withdraw", "withdrawn", SAYS),
        step("given", "give", "given", SAYS),
        step("given", "refuse", "refused", SAYS),
        step("given", "withdraw", "withdrawn", SAYS),
        step("given", "expire", "expired", &[Z]),
        step("given", "ask", "requested", &[Z]),
        step("refused", "give", "given", SAYS),
        step("refused", "refuse", "refused", SAYS),
        step("refused", "withdraw", "withdrawn", SAYS),
        step("withdrawn", "give", "given", SAYS),
        step("withdrawn", "refuse", "refused", SAYS),
        step("withdrawn", "withdraw", "withdrawn", SAYS),
        step("expired", "give", "given", SAYS),
        step("expired", "refuse", "refused", SAYS),
        step("expired", "withdraw", "withdrawn", SAYS),
        step("requested", "give", "given", SAYS),
        step("requested", "refuse", "refused", SAYS),
        step("requested", "withdraw", "withdrawn", SAYS),
        step("requested", "ask", "requested", &[Z]),
    ],
};

/// Who records what a person says about a consent.
const SAYS: &[Role] = &[W, S, D];

/// A case: a disclosure on legal process or reasonable need, or what protects a child. It takes two people.
pub const CASE: Machine = Machine {
    name: "case",
    states: &["open", "approved", "refused", "closed", "expired"],
    steps: &[
        step("open", "approve", "approved", &[D]),
        step("open", "refuse", "refused", &[D]),
        step("open", "expire", "expired", &[D, Z]),
        step("approved", "close", "closed", &[D]),
        step("approved", "expire", "expired", &[Z]),
    ],
};

/// An incident.
pub const INCIDENT: Machine = Machine {
    name: "incident",
    states: &["open", "contained", "closed"],
    steps: &[
        step("open", "update", "open", &[D, I, Z]),
        step("open", "contain", "contained", &[D, I]),
        step("contained", "update", "contained", &[D, I, Z]),
        step("contained", "reopen", "open", &[D, I]),
        step("contained", "close", "closed", &[D, I]),
    ],
};

/// A message on its way out: to a person, a partner, an authority or the privacy officer.
pub const DELIVERY: Machine = Machine {
    name: "delivery",
    states: &["waiting", "sent", "acknowledged", "bounced", "given-up"],
    steps: &[
        step("waiting", "try-again", "waiting", &[Z]),
        step("waiting", "send", "sent", &[Z]),
        step("waiting", "give-up", "given-up", &[Z]),
        step("waiting", "bounce", "bounced", &[Z]),
        step("sent", "acknowledge", "acknowledged", &[Z, Role::Partner]),
        step("sent", "bounce", "bounced", &[Z, Role::Writer]),
    ],
};

/// Every table.
pub const ALL: [&Machine; 7] = [&REQUEST, &ERASURE, &POLICY, &CONSENT, &CASE, &INCIDENT, &DELIVERY];

impl Machine {
    /// The state after an action; `None` where the table has no such step.
    pub fn next(&self, from: &str, action: &str) -> Option<&'static str> {
        self.step(from, action).map(|step| step.to)
    }

    /// The step of an action.
    pub fn step(&self, from: &str, action: &str) -> Option<&'static Step> {
        self.steps.iter().find(|step| step.from == from && step.action == action)
    }

    /// The state with that number; `None` where there is none.
    pub fn state(&self, number: u8) -> Option<&'static str> {
        self.states.get(usize::from(number)).copied()
    }

    /// The number of a state, as rows hold it.
    pub fn number(&self, state: &str) -> Option<u8> {
        self.states.iter().position(|own| *own == state).and_then(|place| u8::try_from(place).ok())
    }

    /// Whether one step leads from a state to another.
    pub fn leads(&self, from: &str, to: &str) -> bool {
        self.steps.iter().any(|step| step.from == from && step.to == to)
    }

    /// Whether nothing follows a state.
    pub fn is_end(&self, state: &str) -> bool {
        self.steps.iter().all(|step| step.from != state || step.to == state)
    }
}

/// The tables in Markdown, as docs/STATES.md has them.
pub fn tables() -> String {
    let mut text = String::from(
        "# States\n\nWhat may follow what, printed from `src/model/states.rs`; any other step is refused with `state-conflict`. \
         `Z` is the vault itself; the other letters are the roles of [API.md](API.md).\n",
    );
    for machine in ALL {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n## {}\n\n| from | action | to | by |\n|---|---|---|---|\n", machine.name);
        for step in machine.steps {
            let by: Vec<String> = step.by.iter().map(|role| role.letter().to_string()).collect();
            let _ = writeln!(text, "| {} | {} | {} | {} |", step.from, step.action, step.to, by.join(" "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_those_in_the_documents() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/STATES.md");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, tables()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), tables(), "UPDATE_GOLDEN=1 writes it anew");
    }

    #[test]
    fn every_state_is_reached_and_no_step_leads_out_of_the_table() {
        for machine in ALL {
            for step in machine.steps {
                assert!(machine.states.contains(&step.from) && machine.states.contains(&step.to), "{}: {step:?}", machine.name);
                assert_eq!(machine.step(step.from, step.action), Some(step), "{}: twice", machine.name);
            }
            let reached = |state: &str| machine.states[0] == state || machine.steps.iter().any(|step| step.to == state);
            assert!(machine.states.iter().all(|state| reached(state)), "{}", machine.name);
            for (place, state) in machine.states.iter().enumerate() {
                assert_eq!(machine.number(state).and_then(|number| machine.state(number)), Some(*state));
                assert_eq!(machine.number(state), Some(place as u8));
            }
        }
    }
}
