//! One request on one connection: the channel, TLS, the head of the answer. Follows no redirects and knows no deadline; its
//! callers drop it.

use std::future::Future as _;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, HOST, USER_AGENT};
use hyper::header::{HeaderMap, HeaderValue};
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret as _, SecretString};
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use zeroize::Zeroizing;

use super::body::{Body, Driver, io_cause};
use super::tls::Handshake;
use super::wire::{Seen, Wire};
use super::{Answer, HttpError, Method, Request, Server};
use crate::session::{FailureKind, Session, SessionError};

/// More than any kubelet or API server sends.
const MOST_HEAD: usize = 64 * 1024;
const MOST_HEADERS: usize = 100;
const AGENT: HeaderValue = HeaderValue::from_static(concat!("plegcollect/", env!("CARGO_PKG_VERSION")));

/// What moves the bytes of one connection.
pub(super) type Connection = http1::Connection<TokioIo<Either<Wire, Box<TlsStream<Wire>>>>, Full<Bytes>>;

/// How far a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The channel is being opened.
    Opening,
    /// TLS is being agreed on.
    Handshake,
    /// The request was sent.
    Waiting,
}

impl Stage {
    /// Returns the failure of a request that came no further.
    pub(super) fn out_of_time(self, server: &Server, after: Duration) -> HttpError {
        match self {
            Self::Opening => {
                let text = format!("no connection to {} within {} s", server.authority(), after.as_secs());
                HttpError::Connect(SessionError::new(FailureKind::ConnectTimeout, text))
            }
            Self::Handshake => HttpError::NoAnswer { after, tls_done: false },
            Self::Waiting => HttpError::NoAnswer { after, tls_done: true },
        }
    }
}

/// A request, checked and ready to be sent.
pub(super) struct Outgoing {
    inner: hyper::Request<Full<Bytes>>,
}

impl Outgoing {
    /// Returns it with all its headers.
    ///
    /// # Errors
    /// If path, host or token cannot stand in a request; nothing was sent then.
    pub(super) fn new(server: &Server, request: &Request<'_>) -> Result<Self, HttpError> {
        let mut headers = HeaderMap::new();
        let host = HeaderValue::try_from(server.authority())
            .map_err(|_| HttpError::Broken(format!("{:?} is no name of a host", server.host)))?;
        headers.insert(HOST, host);
        headers.insert(USER_AGENT, AGENT);
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        if request.gzip {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if let Some(token) = request.bearer {
            headers.insert(AUTHORIZATION, authorization(token)?);
        }
        let (method, body) = match request.method {
            Method::Get => (hyper::Method::GET, Bytes::new()),
            Method::Put => {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(request.body.len()));
                (hyper::Method::PUT, request.body.clone())
            }
        };
        let mut inner = hyper::Request::new(Full::new(body));
        *inner.method_mut() = method;
        *inner.headers_mut() = headers;
        Self { inner }.to(request.path)
    }

    /// Returns it for another path of the same server.
    ///
    /// # Errors
    /// If it is no path.
    pub(super) fn to(mut self, path: &str) -> Result<Self, HttpError> {
        let uri = path.parse().ok().filter(|_| path.starts_with('/'));
        *self.inner.uri_mut() = uri.ok_or_else(|| HttpError::Broken(format!("{path:?} is no path of a server")))?;
        Ok(self)
    }

    /// Returns path and query.
    pub(super) fn path(&self) -> &str {
        self.inner.uri().path_and_query().map_or("/", |path| path.as_str())
    }
}

/// Returns the header's value in memory that is wiped when its last user drops it. hyper and TLS have buffers of their own,
/// which are not.
fn authorization(token: &SecretString) -> Result<HeaderValue, HttpError> {
    let token = token.expose_secret();
    if token.is_empty() {
        return Err(HttpError::Broken("the token is empty".to_owned()));
    }
    // RFC 6750, section 2.1, allows less still.
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let text = "the token holds a character that no token can have (a space, a line break or the like)";
        return Err(HttpError::Broken(text.to_owned()));
    }
    let mut value = Zeroizing::new(Vec::with_capacity("Bearer ".len() + token.len()));
    value.extend_from_slice(b"Bearer ");
    value.extend_from_slice(token.as_bytes());
    let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(value))
        .map_err(|_| HttpError::Broken("the token cannot stand in a header".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Sends one request on a new connection and waits for the head of the answer, whatever it is.
///
/// # Errors
/// See [`HttpError`]; never [`HttpError::NoAnswer`].
///
/// # Cancel safety
/// May be dropped at any time: the channel is closed. The request may have been sent.
pub(super) async fn once(
    session: &Session,
    server: &Server,
    outgoing: &Outgoing,
    stage: &mut Stage,
) -> Result<Answer, HttpError> {
    *stage = Stage::Opening;
    let stream = session.open_tcp(&server.host, server.port).await.map_err(HttpError::Connect)?;
    let (wire, seen) = Wire::new(stream);
    let (io, tls) = match &server.tls {
        None => (Either::Left(wire), None),
        Some(wanted) => {
            *stage = Stage::Handshake;
            let handshake = Handshake::new(wanted, &server.host).map_err(HttpError::Tls)?;
            match handshake.run(wire).await {
                Ok(stream) => (Either::Right(Box::new(stream)), Some(handshake)),
                Err(error) => {
                    return Err(link(&seen).unwrap_or_else(|| HttpError::Tls(handshake.failure(&error, &seen))));
                }
            }
        }
    };
    *stage = Stage::Waiting;
    let broken = |error: &hyper::Error| broken(error, &seen, tls.as_ref());
    let built = http1::Builder::new().max_buf_size(MOST_HEAD).max_headers(MOST_HEADERS).handshake(TokioIo::new(io));
    let (mut sender, connection) = built.await.map_err(|error| broken(&error))?;
    let mut driver = Driver::new(connection);
    let response = {
        let mut sending = pin!(sender.send_request(outgoing.inner.clone()));
        std::future::poll_fn(|cx| driver.poll(cx, |cx| sending.as_mut().poll(cx)))
            .await
            .map_err(|error| broken(&error))?
    };
    let (head, incoming) = response.into_parts();
    // hyper looks only while a head is not complete.
    if head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>() > MOST_HEAD {
        return Err(HttpError::Broken(too_large()));
    }
    let packing = head.headers.get(CONTENT_ENCODING).map(|value| value.as_bytes().trim_ascii().to_ascii_lowercase());
    Ok(Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        gzip: matches!(packing.as_deref(), Some(b"gzip" | b"x-gzip")),
        peer: tls.and_then(|handshake| handshake.peer()),
        body: Body::new(incoming, driver, seen),
    })
}

fn link(seen: &Seen) -> Option<HttpError> {
    seen.lost().map(|text| HttpError::Connect(SessionError::new(FailureKind::LinkLost, text)))
}

/// Tells why no head came.
fn broken(error: &hyper::Error, seen: &Seen, tls: Option<&Handshake>) -> HttpError {
    if let Some(lost) = link(seen) {
        return lost;
    }
    let io = io_cause(error);
    if let Some(failure) = io.and_then(|io| tls?.late_failure(io)) {
        return HttpError::Tls(failure);
    }
    // hyper tells this kind to servers only, but for the text.
    let text = if error.is_parse() && error.to_string().contains("too large") {
        too_large()
    } else if tls.is_none() && seen.began_with(&[0x15, 0x03]) {
        // A TLS alert.
        "it speaks TLS, and was asked without".to_owned()
    } else if error.is_parse() {
        "what came is not HTTP/1".to_owned()
    } else if io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionReset) {
        "the connection was reset before an answer came".to_owned()
    } else {
        tracing::debug!(error = error as &dyn std::error::Error, "no head came");
        let asked = tls.is_some_and(Handshake::asked_for_certificate);
        let asked = if asked { " (it had asked for a client certificate)" } else { "" };
        format!("the connection was closed before an answer came{asked}")
    };
    HttpError::Broken(text)
}

fn too_large() -> String {
    format!("the head of the answer has more than {MOST_HEADERS} headers or {} KiB", MOST_HEAD / 1024)
}
