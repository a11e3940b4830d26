//! The command line: one subcommand a file. Secrets never come as arguments; every command knows `--json`.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub mod client;
pub mod failure;
mod out;
pub(crate) mod private;
mod secrets;

use failure::{Exit, Failure};
use out::Out;

mod audit;
mod backup;
mod bundle;
mod caller;
mod certificate;
mod custody;
mod demo;
mod doctor;
mod engine;
mod erase;
mod folder;
mod init;
mod jobs;
mod keys_command;
mod places;
mod policy;
mod promises;
mod seal;
mod serve;
pub(crate) mod target;
mod token;
mod unseal;
mod watching;

/// A personal-data vault that can forget, and prove it.
#[derive(Debug, Parser)]
#[command(name = "oubliette", version, about, propagate_version = true, after_help = AFTER, max_term_width = 100)]
struct Line {
    /// Answer in JSON: the result on standard output, a failure on standard error
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

const AFTER: &str = "\
Start here:
  oubliette demo                 a vault with made-up people on https://127.0.0.1:8443

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 does not verify, 4 sealed or unreachable.
Passphrases and tokens come from a prompt, a file or a descriptor, never from an argument.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new vault in a folder
    Init(init::Init),
    /// Run the server of a vault
    Serve(serve::Serve),
    /// Run a vault with made-up people, to try everything
    Demo(demo::Demo),
    /// Open a sealed vault
    Unseal(unseal::Unseal),
    /// Empty every key from the memory of a running vault
    Seal(seal::Seal),
    /// Make or change a caller
    Caller(caller::CallerCommand),
    /// Issue and revoke tokens of callers
    Token(token::Token),
    /// Erase a subject, or a part of it, and keep the certificate
    Erase(erase::Erase),
    /// List and rotate keys
    Keys(keys_command::Keys),
    /// Check or export the trail, offline
    Audit(audit::Audit),
    /// Make, list, try and restore backups
    Backup(backup::Backup),
    /// Check a certificate of erasure, offline
    Certificate(certificate::Certificate),
    /// Check the bundle of a person who asked for their data, offline
    Bundle(bundle::Bundle),
    /// Check the files of a policy, offline
    Policy(policy::Policy),
    /// List what the policy promises, what keeps each promise, and what proves it
    Promises(promises::Promises),
    /// Look over a vault's folder and machine
    Doctor(doctor::Doctor),
}

/// Runs one command line; the code is what the process ends with.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let line = match Line::try_parse_from(arguments) {
        Ok(line) => line,
        Err(wrong) => {
            // Help and version are printed by clap as well; a reader that went away is no reason to panic.
            let _ = wrong.print();
            return if wrong.use_stderr() { Exit::Usage } else { Exit::Done }.into();
        }
    };
    let out = Out::new(line.json);
    match line.command.run(out) {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            out.failure(&failure);
            failure.exit().into()
        }
    }
}

impl Command {
    fn run(self, out: Out) -> Result<(), Failure> {
        match self {
            Command::Init(command) => command.run(out),
            Command::Serve(command) => command.run(out),
            Command::Demo(command) => command.run(out),
            Command::Unseal(command) => command.run(out),
            Command::Seal(command) => command.run(out),
            Command::Caller(command) => command.run(out),
            Command::Token(command) => command.run(out),
            Command::Erase(command) => command.run(out),
            Command::Keys(command) => command.run(out),
            Command::Audit(command) => command.run(out),
            Command::Backup(command) => command.run(out),
            Command::Certificate(command) => command.run(out),
            Command::Bundle(command) => command.run(out),
            Command::Policy(command) => command.run(out),
            Command::Promises(command) => command.run(out),
            Command::Doctor(command) => command.run(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn exit(line: &str) -> String {
        format!("{:?}", run(line.split(' ').map(OsString::from)))
    }

    fn code(exit: Exit) -> String {
        format!("{:?}", ExitCode::from(exit))
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Line::command().debug_assert();
    }

    #[test]
    fn every_subcommand_explains_itself_with_an_example() {
        for command in Line::command().get_subcommands().filter(|c| c.get_name() != "help") {
            let help = command.clone().render_long_help().to_string();
            assert!(help.contains("Example"), "{} has no example", command.get_name());
        }
    }

    #[test]
    fn no_argument_takes_a_secret() {
        fn arguments(command: &clap::Command, seen: &mut Vec<String>) {
            seen.extend(command.get_arguments().filter_map(|a| a.get_long().map(str::to_owned)));
            command.get_subcommands().for_each(|sub| arguments(sub, seen));
        }
        let mut seen = Vec::new();
        arguments(&Line::command(), &mut seen);
        for name in seen {
            let secret = name.contains("passphrase") || name.contains("token");
            assert!(!secret || name.ends_with("-file") || name.ends_with("-fd") || name == "revoke-tokens", "--{name}");
        }
    }

    #[test]
    fn help_succeeds_and_nonsense_is_a_usage_error() {
        assert_eq!(exit("oubliette --help"), code(Exit::Done));
        assert_eq!(exit("oubliette frobnicate"), code(Exit::Usage));
        assert_eq!(exit("oubliette demo --people none --listen nowhere"), code(Exit::Usage));
        assert_eq!(exit("oubliette seal --json"), code(Exit::Usage));
    }
}
