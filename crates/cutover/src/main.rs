//! The program. Everything is in the library, so that tests and the reference can call it.

use std::process::ExitCode;

/// Many small allocations from many threads: mimalloc costs less CPU per request than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cutover::main()
}
