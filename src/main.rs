//! The `plegcollect` program: parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    plegcollect::cli::run()
}
