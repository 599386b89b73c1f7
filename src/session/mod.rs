//! How we reach a node: SSH (or this machine itself), one bounded command at a time, streams to
//! its sockets, and HTTP over those (`http/`). The only user of russh; nothing of russh appears in a
//! public signature. Called by `collect/`, `change/` and `kubelet/`.

mod auth;
mod client_handler;
pub mod command;
mod connect;
mod dial;
pub mod error;
mod exec;
mod guarded;
mod handshake;
mod host_key;
pub mod http;
mod jump;
mod link;
mod local;
mod opener;
pub(crate) mod process_group;
mod proxy_command;
mod random;
#[cfg(test)]
mod server_tests;
mod slots;
mod ssh;
mod tunnel;

pub use connect::{Ask, Connector, ConnectorOptions};
pub use error::{FailureKind, SessionError, Timings};
pub(crate) use host_key::{Locked as LockedFile, Stamp as FileStamp};
pub use tunnel::Stream;

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use command::Exec as _;
use local::LocalSession;
use ssh::{OPEN_BUDGET, SshSession};

/// Standard output or standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StdStream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// Where the output of a command goes, chunk by chunk, as it arrives.
///
/// A sink may wait for the local disk and for nothing else: while it waits, all channels of
/// the connection wait (russh feeds them from one task; issue 730 there).
pub trait Sink: Send {
    /// The command's channel is open: what was waited for until now was a slot of our own.
    fn opened(&mut self) {}

    /// Takes one chunk; `Break` stops the command (its channel is closed).
    fn write<'a>(&'a mut self, stream: StdStream, chunk: Bytes) -> BoxFuture<'a, ControlFlow<()>>;
}

/// How an exec channel ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecEnd {
    /// Exit status, if the server told one.
    pub status: Option<i32>,
    /// Signal that ended the remote command, without `SIG`, if the server told one.
    pub signal: Option<String>,
    /// The server closed the channel in order. `false`: whatever was read may be cut short.
    pub complete: bool,
    /// Why we stopped reading before the end, if we did.
    pub stopped: Option<Stopped>,
    /// Wall time from opening the channel.
    pub took: Duration,
}

/// Why reading ended on our side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stopped {
    /// The local deadline passed.
    Deadline,
    /// The sink had enough.
    Sink,
    /// The run was cancelled.
    Cancelled,
}

/// What is known of an established connection; goes into the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
pub struct ConnectionFacts {
    /// `local` or `ssh`.
    pub transport: String,
    /// The server's identification string.
    pub server_version: Option<String>,
    /// `SHA256:…` of the accepted host key (of the certificate's key, where it is one).
    pub host_key: Option<String>,
    /// Key type, for example `ssh-ed25519`.
    pub host_key_type: Option<String>,
    /// How the key came to be accepted: `known-hosts`, `certificate`, `pinned`, `accepted-new`.
    pub host_key_by: Option<String>,
    /// Key exchange, cipher, compression as negotiated.
    pub algorithms: Option<String>,
    /// Login name.
    pub user: Option<String>,
    /// How we got in, for example `agent ED25519 SHA256:…`, `key ~/.ssh/id_ed25519`.
    pub authenticated_by: Option<String>,
    /// Endpoint dialled, and the jumps in front of it, outermost first.
    pub route: Vec<String>,
    /// Banner the server showed before authentication, control sequences removed, 1 KiB at most.
    pub banner: Option<String>,
    /// Where the time went.
    pub timings: Timings,
    /// Attempts it took.
    pub attempts: u32,
}

/// Bytes for a command's standard input, which ends after them. Wiped from memory once they are
/// sent or dropped; `Debug` shows none of them.
pub struct Stdin(Zeroizing<Vec<u8>>);

impl Stdin {
    /// Takes the bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Returns the number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns them as slices that are counted, wiped when the last one goes.
    pub(crate) fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self.0)
    }
}

impl fmt::Debug for Stdin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stdin({} bytes)", self.0.len())
    }
}

/// An open way to a node. Clones share it; an SSH connection ends when the last clone and the
/// last [`Stream`] are gone.
#[derive(Clone)]
pub struct Session(Way);

#[derive(Clone)]
enum Way {
    Ssh(SshSession),
    Local(LocalSession, Arc<ConnectionFacts>),
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("route", &self.facts().route).finish_non_exhaustive()
    }
}

impl Session {
    fn ssh(session: SshSession) -> Self {
        Self(Way::Ssh(session))
    }

    fn local() -> Self {
        let facts = ConnectionFacts {
            transport: "local".to_owned(),
            user: std::env::var("USER").ok(),
            attempts: 1,
            ..ConnectionFacts::default()
        };
        Self(Way::Local(LocalSession::new(), Arc::new(facts)))
    }

    /// Runs `command` and waits for its end; the node's login shell interprets it (`/bin/sh` on
    /// the local machine).
    ///
    /// `deadline` counts from the moment the channel is open. At it, on `cancel`, or when the sink
    /// breaks, the channel is closed and what came so far stands. Closing does not end the remote
    /// command, unless it reads its input or writes; bound it on the node as well.
    ///
    /// A link that dies while the command runs gives `Ok` with `complete: false`.
    ///
    /// # Errors
    /// Only if the command did not start: `Cancelled`, `ExecStalled` (no answer within 10 s),
    /// `ExecRefused`, `LinkLost`. Waiting for a slot of our own is not bounded.
    ///
    /// # Cancel safety
    /// May be dropped at any time; the channel is closed.
    pub async fn exec(
        &self,
        command: &str,
        stdin: Option<Stdin>,
        deadline: Duration,
        sink: &mut dyn Sink,
        cancel: &CancellationToken,
    ) -> Result<ExecEnd, SessionError> {
        match &self.0 {
            Way::Ssh(session) => session.exec(command, stdin, deadline, sink, cancel).await,
            Way::Local(session, _) => session.exec(command, stdin, deadline, sink, cancel).await,
        }
    }

    /// Connects to a TCP port as seen from the node, within 10 s.
    ///
    /// # Errors
    /// Classified as far as the server tells; `ExecRefused` where it forbids forwarding.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub async fn open_tcp(&self, host: &str, port: u16) -> Result<Stream, SessionError> {
        let deadline = Instant::now() + OPEN_BUDGET;
        match &self.0 {
            Way::Ssh(session) => session.open_tcp(host, port, deadline).await,
            Way::Local(..) => local_stream(TcpStream::connect((host, port)), &format!("{host}:{port}"), deadline).await,
        }
    }

    /// Connects to a socket file of the node, within 10 s.
    ///
    /// # Errors
    /// As [`open_tcp`](Self::open_tcp).
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub async fn open_unix(&self, path: &str) -> Result<Stream, SessionError> {
        let deadline = Instant::now() + OPEN_BUDGET;
        match &self.0 {
            Way::Ssh(session) => session.open_unix(path, deadline).await,
            Way::Local(..) => local_stream(UnixStream::connect(path), path, deadline).await,
        }
    }

    /// Returns what is known of the connection.
    #[must_use]
    pub fn facts(&self) -> &ConnectionFacts {
        match &self.0 {
            Way::Ssh(session) => session.facts(),
            Way::Local(_, facts) => facts,
        }
    }

    /// Returns how many commands may run at a time now; it falls when the server refuses more.
    #[must_use]
    pub fn slots(&self) -> usize {
        match &self.0 {
            Way::Ssh(session) => session.slots(),
            Way::Local(..) => slots::MOST,
        }
    }

    /// Returns the bytes received and sent on the wire so far, SSH's own included; zeros for the
    /// local machine.
    #[must_use]
    pub fn wire_bytes(&self) -> (u64, u64) {
        match &self.0 {
            Way::Ssh(session) => session.wire_bytes(),
            Way::Local(..) => (0, 0),
        }
    }

    /// Returns whether the connection is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        match &self.0 {
            Way::Ssh(session) => session.is_closed(),
            Way::Local(..) => false,
        }
    }

    /// Returns whether both are the same connection.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Way::Ssh(one), Way::Ssh(two)) => Arc::ptr_eq(&one.0, &two.0),
            (Way::Local(..), Way::Local(..)) => true,
            _ => false,
        }
    }

    /// Returns why the connection is gone, if it is.
    #[must_use]
    pub fn cause_of_death(&self) -> Option<SessionError> {
        match &self.0 {
            Way::Ssh(session) => session.cause_of_death(),
            Way::Local(..) => None,
        }
    }

    /// Returns whether the server answers within this time. A link that was cut is not closed for a minute, but it answers
    /// nothing.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub async fn answers(&self, within: Duration) -> bool {
        match &self.0 {
            Way::Ssh(session) => session.answers(within).await,
            Way::Local(..) => true,
        }
    }

    /// Ends the connection for all clones and streams, within a second.
    pub async fn close(&self) {
        if let Way::Ssh(session) = &self.0 {
            session.close().await;
        }
    }
}

impl command::Exec for Session {
    async fn exec<'a>(
        &'a self,
        command: &'a str,
        stdin: Option<Stdin>,
        deadline: Duration,
        sink: &'a mut dyn Sink,
        cancel: &'a CancellationToken,
    ) -> Result<ExecEnd, SessionError> {
        Self::exec(self, command, stdin, deadline, sink, cancel).await
    }
}

async fn local_stream<S>(
    connecting: impl Future<Output = std::io::Result<S>>,
    what: &str,
    deadline: Instant,
) -> Result<Stream, SessionError>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    match timeout_at(deadline, connecting).await {
        Ok(Ok(stream)) => Ok(Stream::direct(stream)),
        Ok(Err(e)) => Err(SessionError::new(FailureKind::Refused, format!("cannot connect to {what}: {e}"))),
        Err(_) => Err(SessionError::new(FailureKind::ConnectTimeout, format!("{what} did not answer in time"))),
    }
}
