//! How a command ends: exit codes, and failures that say what to do next.

use std::fmt;

use serde_json::{Value, json};

/// The exit codes, the same for every subcommand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It was done.
    Done = 0,
    /// It was not done.
    Failed = 1,
    /// The command line was not understood.
    Usage = 2,
    /// A certificate, a trail or a row does not verify.
    Unverified = 3,
    /// The vault is sealed, or nobody answers at its address.
    Unreachable = 4,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A command that could not do its work. It names files, codes and ids, never a secret or a value of a person.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    what: String,
    remedy: Option<String>,
    report: Option<Value>,
}

impl Failure {
    /// The command failed.
    pub fn new(what: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, what: what.into(), remedy: None, report: None }
    }

    /// The command was asked for something that makes no sense.
    pub fn usage(what: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, ..Self::new(what) }
    }

    /// Something was read whole, and is not what it says it is.
    pub fn unverified(what: impl Into<String>) -> Self {
        Self { exit: Exit::Unverified, ..Self::new(what) }
    }

    /// The vault is sealed or does not answer.
    pub fn unreachable(what: impl Into<String>) -> Self {
        Self { exit: Exit::Unreachable, ..Self::new(what) }
    }

    /// A step on a file did not work.
    pub fn file(step: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::new(format!("cannot {step} {}: {error}", path.display()))
    }

    /// What to do next, as a sentence.
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// What a program may want to read beside the sentence.
    pub fn report(mut self, report: Value) -> Self {
        self.report = Some(report);
        self
    }

    /// The code that the process ends with.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// The failure for programs.
    pub fn json(&self) -> Value {
        json!({ "error": self.what, "remedy": self.remedy, "exit": self.exit as u8, "report": self.report })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        match &self.remedy {
            Some(remedy) => write!(f, "\n  what to do: {remedy}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_failure_has_the_documented_exit_code() {
        assert_eq!(Failure::new("x").exit() as u8, 1);
        assert_eq!(Failure::usage("x").exit() as u8, 2);
        assert_eq!(Failure::unverified("x").exit() as u8, 3);
        assert_eq!(Failure::unreachable("x").exit() as u8, 4);
        assert_eq!(Exit::Done as u8, 0);
    }

    #[test]
    fn a_failure_says_what_to_do_next() {
        let failure = Failure::unreachable("nobody answers").remedy("start it with `oubliette serve`");
        assert_eq!(failure.to_string(), "nobody answers\n  what to do: start it with `oubliette serve`");
        assert_eq!(failure.json()["exit"], 4);
    }
}
