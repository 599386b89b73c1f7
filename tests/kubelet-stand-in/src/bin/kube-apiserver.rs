//! The program `kube-apiserver`: reads the flags and serves until it is killed.

use std::io::{self, Write};
use std::process::ExitCode;

use kubelet_stand_in::apiserver::{ApiFlags, serve};

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "kube-apiserver stand-in: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> io::Result<()> {
    let flags = ApiFlags::parse(std::env::args().skip(1))?;
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(serve(flags))
}
