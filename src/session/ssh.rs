//! One SSH connection after authentication: what its users share. Opening channels on it is here;
//! running commands is in `exec.rs`, streams are in `tunnel.rs`. Made by `handshake.rs`.

use std::sync::Arc;
use std::time::Duration;

use russh::ChannelOpenFailure;
use russh::client::Handle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;

use super::client_handler::ClientHandler;
use super::connect::Keep;
use super::guarded::Tap;
use super::link::Link;
use super::opener::{NotOpened, Opened, Opener, Wanted};
use super::slots::Slots;
use super::tunnel::Stream;
use super::{ConnectionFacts, FailureKind, SessionError};

/// Bound of opening one channel, and of the answer to an exec request. sshd answers the first
/// from its main loop and the second after one fork: a node that needs longer runs nothing.
pub(crate) const OPEN_BUDGET: Duration = Duration::from_secs(10);
/// Bound of a polite end.
const CLOSE_BUDGET: Duration = Duration::from_secs(1);

/// A connection; clones share it, and the last one to go cuts it.
#[derive(Clone)]
pub(crate) struct SshSession(pub(super) Arc<Inner>);

pub(super) struct Inner {
    handle: Arc<Handle<ClientHandler>>,
    pub(super) link: Arc<Link>,
    opener: Opener,
    pub(super) slots: Arc<Slots>,
    pub(super) facts: ConnectionFacts,
    /// Closers and writers of single channels; each ends with its channel or the link.
    pub(super) tasks: TaskTracker,
    pub(super) runtime: tokio::runtime::Handle,
    tap: Arc<Tap>,
    /// What the transport rests on: the place on a jump, or the ProxyCommand.
    _keep: Keep,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Dropping russh's handle alone ends nothing while channels are alive.
        self.link.end();
    }
}

impl SshSession {
    /// Takes over an authenticated connection.
    pub(super) fn new(
        handle: Handle<ClientHandler>,
        link: Arc<Link>,
        slots: usize,
        facts: ConnectionFacts,
        tap: Arc<Tap>,
        keep: Keep,
    ) -> Self {
        let (handle, tasks) = (Arc::new(handle), TaskTracker::new());
        let opener = Opener::start(Arc::clone(&handle), Arc::clone(&link), &tasks);
        let runtime = tokio::runtime::Handle::current();
        Self(Arc::new(Inner {
            handle,
            link,
            opener,
            slots: Slots::new(slots),
            facts,
            tasks,
            runtime,
            tap,
            _keep: keep,
        }))
    }

    pub(crate) fn facts(&self) -> &ConnectionFacts {
        &self.0.facts
    }

    pub(crate) fn slots(&self) -> usize {
        self.0.slots.limit()
    }

    /// Returns the bytes received and sent on the wire so far.
    pub(crate) fn wire_bytes(&self) -> (u64, u64) {
        (self.0.tap.read(), self.0.tap.written())
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.link.is_dead() || self.0.handle.is_closed()
    }

    pub(crate) fn cause_of_death(&self) -> Option<SessionError> {
        self.is_closed().then(|| {
            self.0.link.cause().unwrap_or_else(|| {
                SessionError::new(FailureKind::LinkLost, format!("the connection to {} ended", self.0.link.endpoint()))
            })
        })
    }

    /// Returns whether the server answers within this time; asked by a keepalive, which takes no channel.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub(crate) async fn answers(&self, within: Duration) -> bool {
        let asked = async {
            tokio::select! {
                biased;
                () = self.0.link.dead() => false,
                sent = self.0.handle.send_ping() => sent.is_ok(),
            }
        };
        // russh lets go of the question as well when the connection ends.
        timeout(within, asked).await.unwrap_or(false) && !self.is_closed()
    }

    /// Says good-bye if that is possible at once, then cuts the link.
    pub(crate) async fn close(&self) {
        let bye = async {
            let _ = self.0.handle.disconnect(russh::Disconnect::ByApplication, "done", "").await;
            self.0.link.dead().await;
        };
        let _ = timeout(CLOSE_BUDGET, bye).await;
        self.0.link.end();
    }

    /// Opens a channel; the caller bounds it.
    pub(super) async fn open(&self, wanted: Wanted, slot: Option<super::slots::Slot>) -> Result<Opened, NotOpened> {
        if self.is_closed() {
            return Err(NotOpened::LinkLost);
        }
        tokio::select! {
            biased;
            opened = self.0.opener.open(wanted, slot) => opened,
            () = self.0.link.dead() => Err(NotOpened::LinkLost),
        }
    }

    /// Connects to `host:port` as seen from the server, by `deadline`.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub(crate) async fn open_tcp(&self, host: &str, port: u16, deadline: Instant) -> Result<Stream, SessionError> {
        let what = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        self.open_stream(Wanted::Tcp { host: host.to_owned(), port }, &what, deadline).await
    }

    /// Connects to a socket file of the server, by `deadline`.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub(crate) async fn open_unix(&self, path: &str, deadline: Instant) -> Result<Stream, SessionError> {
        self.open_stream(Wanted::Unix { path: path.to_owned() }, path, deadline).await
    }

    async fn open_stream(&self, wanted: Wanted, what: &str, deadline: Instant) -> Result<Stream, SessionError> {
        let via = self.0.link.endpoint();
        match timeout_at(deadline, self.open(wanted, None)).await {
            Ok(Ok(opened)) => Ok(Stream::through(opened.channel, self.clone())),
            Ok(Err(NotOpened::LinkLost)) => Err(self.0.link.lost().await),
            Ok(Err(NotOpened::Refused { reason, text, .. })) => {
                Err(refused_stream(&reason, &text, what, &via.to_string()))
            }
            Err(_) => {
                Err(SessionError::new(FailureKind::ConnectTimeout, format!("{via} did not connect to {what} in time"))
                    .with_hint("the machine behind it may be off or hung, or a firewall drops packets"))
            }
        }
    }
}

/// Classifies a refused forwarding by the server's code and text; OpenSSH passes on strerror().
fn refused_stream(reason: &ChannelOpenFailure, text: &str, what: &str, via: &str) -> SessionError {
    let lower = text.to_ascii_lowercase();
    let holds = |words: &[&str]| words.iter().any(|w| lower.contains(w));
    let (kind, hint) = match reason {
        ChannelOpenFailure::AdministrativelyProhibited | ChannelOpenFailure::UnknownChannelType => (
            FailureKind::ExecRefused,
            "the server forbids forwarding: AllowTcpForwarding, PermitOpen or AllowStreamLocalForwarding in its sshd_config",
        ),
        _ if holds(&["prohibited", "not permitted", "permission denied"]) => {
            (FailureKind::ExecRefused, "the login user may not connect there, or the server forbids forwarding")
        }
        _ if holds(&["unknown host", "not known", "name resolution", "no address"]) => {
            (FailureKind::Dns, "the name is looked up by the machine in front; check its resolver")
        }
        _ if holds(&["timed out"]) => {
            (FailureKind::ConnectTimeout, "the machine behind it may be off or hung, or a firewall drops packets")
        }
        _ if holds(&["no route", "unreachable"]) => {
            (FailureKind::Unreachable, "check routing and the power state of the machine behind it")
        }
        _ if holds(&["refused"]) => (FailureKind::Refused, "the machine behind it answers; nothing listens there"),
        // "open failed" is all sshd says of a socket file, and some servers of everything.
        _ => (FailureKind::Refused, "nothing listens there, or the server may not connect to it"),
    };
    let said = if text.is_empty() { "no reason given" } else { text };
    SessionError::new(kind, format!("{via} could not connect to {what}: {said}")).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_streams_are_told_apart() {
        use ChannelOpenFailure::{AdministrativelyProhibited, ConnectFailed};
        for (reason, text, kind) in [
            (ConnectFailed, "Connection refused", FailureKind::Refused),
            (ConnectFailed, "Connection timed out", FailureKind::ConnectTimeout),
            (ConnectFailed, "No route to host", FailureKind::Unreachable),
            (ConnectFailed, "Network is unreachable", FailureKind::Unreachable),
            (ConnectFailed, "unknown host (Name or service not known)", FailureKind::Dns),
            (ConnectFailed, "open failed", FailureKind::Refused),
            (ConnectFailed, "", FailureKind::Refused),
            (AdministrativelyProhibited, "open failed", FailureKind::ExecRefused),
        ] {
            let error = refused_stream(&reason, text, "n:22", "b:22");
            assert_eq!(error.kind, kind, "{text}");
            assert!(error.text.starts_with("b:22 could not connect to n:22: "), "{}", error.text);
        }
    }
}
