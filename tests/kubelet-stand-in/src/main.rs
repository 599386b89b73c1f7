//! The program `kubelet`: reads the flags, prints the recorded journal, serves until it is killed.

use std::io::{self, Write};
use std::process::ExitCode;

use kubelet_stand_in::{flags::Flags, server};

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "kubelet stand-in: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> io::Result<()> {
    let fixed = std::env::var("KUBELET_STAND_IN").unwrap_or_default();
    let words = fixed.split_whitespace().map(ToOwned::to_owned).chain(std::env::args().skip(1));
    let flags = Flags::parse(words)?;
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(server::serve(flags))
}
