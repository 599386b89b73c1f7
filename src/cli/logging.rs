//! `tracing` to standard error, through the display's writer. `PLEGCOLLECT_LOG` sets the filter.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::progress::LogWriter;

/// Installs the subscriber; a second call changes nothing.
///
/// russh at debug level prints what an agent is sent, so only our own module is ever raised.
pub(crate) fn install(writer: LogWriter, verbose: bool) {
    // kube tells every failed request by itself; we tell it once, with its reason.
    let default =
        if verbose { "warn,kube_client=off,plegcollect=info" } else { "error,kube_client=off,plegcollect=warn" };
    let filter = EnvFilter::try_from_env("PLEGCOLLECT_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let done = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()))
        .without_time()
        .with_target(false)
        .try_init();
    drop(done);
}
