//! `forecastle`, the merchant's program. Everything it does is a library call of `forecastle_client`.

use std::process::ExitCode;

/// burn allocates much and often; this allocator makes training markedly faster than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    forecastle_client::cli::main()
}
