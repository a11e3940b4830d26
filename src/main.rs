//! The one binary: everything it does stands in `oubliette::cli`.

use std::process::ExitCode;

/// Most of what a request allocates is small and gone with it: mimalloc gives and takes that back cheaper than the
/// system's allocator (docs/PERFORMANCE.md). What is given back is overwritten first: buffers of the web server, of TLS and of JSON hold
/// what people are called, and nobody but the allocator sees all of them go (docs/adr/0044).
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<mimalloc::MiMalloc> = zeroizing_alloc::ZeroAlloc(mimalloc::MiMalloc);

fn main() -> ExitCode {
    oubliette::cli::run(std::env::args_os())
}
