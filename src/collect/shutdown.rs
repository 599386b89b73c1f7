//! How a run is asked to end: first request winds down (stop steps, seal bundles, summary),
//! the second stops now (bundles stay `.partial`, readable). Signals are mapped to requests here.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The two requests, shared by everything that has to heed them.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    wind_down: CancellationToken,
    stop_now: CancellationToken,
    requests: Arc<AtomicU8>,
}

impl Shutdown {
    /// Returns one that nobody has asked anything yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks once more: the first call winds down, later ones stop at once.
    pub fn request(&self) {
        if self.requests.fetch_add(1, Ordering::SeqCst) == 0 {
            self.wind_down.cancel();
        } else {
            self.stop_now.cancel();
        }
    }

    /// Returns the token of the first request.
    #[must_use]
    pub const fn wind_down(&self) -> &CancellationToken {
        &self.wind_down
    }

    /// Returns the token of the second request.
    #[must_use]
    pub const fn stop_now(&self) -> &CancellationToken {
        &self.stop_now
    }

    /// Returns whether the operator asked to end the run.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.wind_down.is_cancelled()
    }

    /// Maps SIGINT, SIGTERM and SIGHUP to requests for as long as the returned future is polled. A SIGHUP that was
    /// ignored when the program started (nohup) stays ignored.
    ///
    /// # Errors
    /// If a signal handler cannot be installed.
    ///
    /// # Cancel safety
    /// Dropping the future only stops the mapping.
    pub fn signals(&self) -> io::Result<impl Future<Output = ()> + Send + use<>> {
        let mut int = signal(SignalKind::interrupt())?;
        let mut term = signal(SignalKind::terminate())?;
        let mut hup = if is_hangup_ignored() { None } else { Some(signal(SignalKind::hangup())?) };
        let shutdown = self.clone();
        Ok(async move {
            loop {
                let got = tokio::select! {
                    got = int.recv() => got,
                    got = term.recv() => got,
                    got = async {
                        match &mut hup {
                            Some(hup) => hup.recv().await,
                            None => std::future::pending().await,
                        }
                    } => got,
                };
                if got.is_none() {
                    return;
                }
                shutdown.request();
            }
        })
    }
}

/// Returns whether whoever started us wants a closed terminal not to matter; not where that cannot be told.
fn is_hangup_ignored() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores_hangup(&status))
}

/// SIGHUP is number 1, the lowest bit of `SigIgn` (proc_pid_status(5)).
fn ignores_hangup(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).map(str::trim).unwrap_or_default();
    u64::from_str_radix(mask, 16).is_ok_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ignored_hangup_is_seen() {
        for (mask, want) in [("0000000000001001", true), ("0000000000001000", false), ("", false), ("x", false)] {
            assert_eq!(ignores_hangup(&format!("Name:\tx\nSigIgn:\t{mask}\nSigCgt:\t1\n")), want, "{mask}");
        }
    }

    #[test]
    fn the_second_request_stops_now() {
        let shutdown = Shutdown::new();
        assert!(!shutdown.is_requested());
        shutdown.request();
        assert!(shutdown.wind_down().is_cancelled() && !shutdown.stop_now().is_cancelled());
        shutdown.request();
        assert!(shutdown.stop_now().is_cancelled());
    }
}
