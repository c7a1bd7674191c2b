//! `forecastle`, for tests that kill it at named points (`forecastle_client::fault`).

use std::process::ExitCode;

fn main() -> ExitCode {
    forecastle_client::cli::main()
}
