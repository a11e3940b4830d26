//! The one binary: everything it does stands in `oubliette::cli`.

use std::process::ExitCode;

/// Most of what a request allocates is small and gone with it: mimalloc gives and takes that back cheaper than the
/// system's allocator (docs/PERFORMANCE.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    oubliette::cli::run(std::env::args_os())
}
