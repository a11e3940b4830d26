//! The one binary: everything it does stands in `oubliette::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    oubliette::cli::run(std::env::args_os())
}
