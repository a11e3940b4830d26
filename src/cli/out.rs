//! The only place that prints: sentences for people, or one JSON document for programs.

use std::io::Write;

use serde_json::Value;

use super::failure::Failure;

/// Where a command says what it did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Out {
    json: bool,
}

impl Out {
    /// For programs (`--json`) or for people.
    pub(super) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether a program reads along.
    pub(super) const fn is_json(self) -> bool {
        self.json
    }

    /// The result of a command: the text for people, the value for programs.
    pub(super) fn result(self, text: &str, value: &Value) {
        if self.json {
            print(&value.to_string());
        } else {
            print(text.trim_end());
        }
    }

    /// A line of progress for people only; it goes to standard error, so that a pipe sees results alone.
    pub(super) fn note(self, text: &str) {
        if !self.json {
            complain(text);
        }
    }

    /// One line of a stream on standard output, whatever the mode. `false` when the reader has gone.
    pub(super) fn stream(self, line: &str) -> bool {
        writeln!(std::io::stdout().lock(), "{line}").is_ok()
    }

    /// Why a command ends without its result.
    pub(super) fn failure(self, failure: &Failure) {
        if self.json {
            complain(&failure.json().to_string());
        } else {
            complain(&format!("oubliette: {failure}"));
        }
    }
}

/// A reader that went away (`| head`) is no reason to panic, so the result of writing is dropped.
fn print(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
