//! HTTP/1.1 to a socket of a node, over an SSH channel or right here: one request per connection, bounded in time, size
//! and redirects; TLS ends in this program. Knows nothing of kubelets; called by `kubelet/`.

mod body;
mod exchange;
mod redirect;
#[cfg(test)]
pub(crate) mod tests;
mod tls;
mod wire;

use std::time::Duration;

use bytes::Bytes;
use hyper::HeaderMap;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{FailureKind, Session, SessionError, Sink, Stopped};
use body::Body;
use exchange::{Outgoing, Stage};

pub use tls::{ClientCert, Peer, Spki, TlsFailure, Trust, inspect};

/// Where a request goes, as seen from the node.
#[derive(Debug, Clone)]
pub struct Server {
    /// Host name or address, as seen from the node.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// TLS, if it is spoken there.
    pub tls: Option<TlsServer>,
}

/// What TLS needs to know of a server.
#[derive(Debug, Clone)]
pub struct TlsServer {
    /// Names of which the certificate must hold one (names or IP addresses); the first is sent as SNI if it is a name.
    /// Only [`Trust::Ca`] looks at them.
    pub names: Vec<String>,
    /// How the certificate is judged.
    pub trust: Trust,
    /// A client certificate to show.
    pub client: Option<ClientCert>,
}

/// Methods that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads. Redirects within the same server are followed, three at most.
    Get,
    /// Sets; redirects are not followed.
    Put,
}

/// One request.
#[derive(Debug)]
pub struct Request<'a> {
    /// Its method.
    pub method: Method,
    /// Path and query.
    pub path: &'a str,
    /// Bearer token, sent as a sensitive header.
    pub bearer: Option<&'a SecretString>,
    /// Ask for gzip; [`Answer::gzip`] tells whether it came so. Never decoded here.
    pub gzip: bool,
    /// The body of a PUT.
    pub body: Bytes,
    /// From the call to the head of the answer: channel, TLS and waiting together.
    pub head_within: Duration,
}

/// The head of an answer, and the way to its body. Read the body at once or drop the answer: a channel that is left unread
/// holds up all others of its connection.
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers; 64 KiB in all at most, else [`HttpError::Broken`].
    pub headers: HeaderMap,
    /// The body comes packed with gzip.
    pub gzip: bool,
    /// What is known of the server's certificate, if TLS was spoken.
    pub peer: Option<Peer>,
    body: Body,
}

/// How a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BodyEnd {
    /// All of it came, as its length or its chunks say.
    Whole,
    /// The server closed the connection before the end.
    Cut,
    /// The SSH connection died.
    LinkLost,
    /// We stopped: deadline, sink or cancellation.
    Stopped(Stopped),
}

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HttpError {
    /// The channel could not be opened: refused there, forwarding forbidden (`ExecRefused`), link dead, cancelled, ….
    #[error("{0}")]
    Connect(SessionError),
    /// TLS was not agreed on.
    #[error("{0}")]
    Tls(TlsFailure),
    /// No head within the bound; `tls_done` tells whether TLS was up by then (always without TLS).
    #[error("no answer within {} s", .after.as_secs())]
    NoAnswer {
        /// The bound.
        after: Duration,
        /// The server's process had answered the TLS handshake.
        tls_done: bool,
    },
    /// The connection was closed or reset before a head came, or what came is no HTTP. One clause.
    #[error("{0}")]
    Broken(String),
}

/// Sends one request on a connection of its own and waits for the head of the answer.
///
/// # Errors
/// See [`HttpError`]; texts never hold the token.
///
/// # Cancel safety
/// May be dropped at any time: the channel is closed. Heeds `cancel` (as `HttpError::Connect` of kind `Cancelled`).
pub async fn send(
    session: &Session,
    server: &Server,
    request: &Request<'_>,
    cancel: &CancellationToken,
) -> Result<Answer, HttpError> {
    let mut stage = Stage::Opening;
    let sent = tokio::select! {
        biased;
        () = cancel.cancelled() => {
            let text = format!("cancelled while waiting for an answer of {}", server.authority());
            return Err(HttpError::Connect(SessionError::new(FailureKind::Cancelled, text)));
        }
        sent = tokio::time::timeout(request.head_within, follow(session, server, request, &mut stage)) => sent,
    };
    sent.unwrap_or_else(|_| Err(stage.out_of_time(server, request.head_within)))
}

/// Sends the request, and again to where a redirect within the same server points.
async fn follow(
    session: &Session,
    server: &Server,
    request: &Request<'_>,
    stage: &mut Stage,
) -> Result<Answer, HttpError> {
    let mut outgoing = Outgoing::new(server, request)?;
    for _ in 0..=redirect::MOST {
        let answer = exchange::once(session, server, &outgoing, stage).await?;
        let told = if request.method == Method::Get { redirect::told(&answer) } else { None };
        let Some(location) = told else { return Ok(answer) };
        let next = redirect::within(server, outgoing.path(), location);
        let next = next.ok_or_else(|| redirect::refused(location, request.bearer))?;
        // What cannot stand in a request line is not repeated at its length, nor with a token in it.
        let refused = redirect::refused(location, request.bearer);
        outgoing = outgoing.to(&next).map_err(|_| refused)?;
    }
    Err(HttpError::Broken(format!("more than {} redirects one after the other", redirect::MOST)))
}

impl Server {
    /// Returns `host:port`, an IPv6 address in brackets.
    fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl Answer {
    /// Passes the body to `sink` as standard output, until its end, `within` from now, the sink's break, or `cancel`.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub async fn drain(mut self, within: Duration, sink: &mut dyn Sink, cancel: &CancellationToken) -> BodyEnd {
        self.body.drain(within, sink, cancel).await
    }

    /// Returns the body if it is small: what came of it within `within`, `most` bytes at most.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub async fn text(mut self, most: usize, within: Duration) -> Vec<u8> {
        self.body.text(most, within).await
    }
}
