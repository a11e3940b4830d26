//! What the vault says about itself: lines on standard error, as text or JSON.
//!
//! A line about a request holds its route template, operation id, status, code, decision id and duration, and nothing else:
//! no subject id, no value, no path, no body, no header. A panic is logged by its place, without its message, because a
//! message may quote what it stumbled over.

use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::TryInitError;

use crate::config::{LogFormat, LogLevel, LogSection};
use crate::model::caller::Operation;
use crate::model::code::Code;
use crate::model::ids::DecisionId;

/// What a line about a request may hold.
#[derive(Debug, Clone, Copy, Default)]
pub struct Noted {
    /// The route as the table has it, with its `{…}`.
    pub route: Option<&'static str>,
    /// The operation.
    pub operation: Option<Operation>,
    /// The problem, if it was one.
    pub code: Option<Code>,
    /// The entry in the trail.
    pub decision: Option<DecisionId>,
}

/// Starts logging for this process, once. Libraries below us are heard from `warn` only: their finer lines may hold bytes.
pub fn start(log: &LogSection) -> Result<(), TryInitError> {
    use tracing_subscriber::util::SubscriberInitExt;

    let level = match log.level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
    };
    let outer = if matches!(log.level, LogLevel::Error) { "error" } else { "warn" };
    let filter = EnvFilter::new(format!("{outer},oubliette={level},keys={level}"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => lines.with_ansi(false).finish().try_init()?,
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init()?,
    }
    std::panic::set_hook(Box::new(|panic| {
        let (file, line) = panic.location().map_or(("unknown", 0), |place| (place.file(), place.line()));
        tracing::error!(file, line, "a thread panicked");
    }));
    Ok(())
}

/// One line for one request: always when the vault itself failed, otherwise only when `all` are wanted. A sealed vault has not
/// failed, and must not fill the disk with lines about itself.
pub fn request(noted: &Noted, status: u16, took: Duration, all: bool) {
    let route = noted.route.unwrap_or("-");
    let operation = noted.operation.map_or("-", Operation::text);
    let code = noted.code.map_or("-", Code::text);
    let decision = noted.decision.map(tracing::field::display);
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let has_failed =
        matches!(noted.code, Some(Code::Internal | Code::AuditUnavailable | Code::StoreUnavailable | Code::DiskFull));
    if has_failed {
        tracing::warn!(route, operation, status, code, decision, micros, "request");
    } else if all {
        tracing::info!(route, operation, status, code, decision, micros, "request");
    }
}
