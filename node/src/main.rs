//! The program: see the library for what it does.

use std::process::ExitCode;

/// Requests are many small allocations of many threads, which the system's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    quorate::run(std::env::args_os())
}
