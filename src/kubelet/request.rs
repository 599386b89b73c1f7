//! One request and what may become of it, whichever way it goes. Types only; filled by `way/`, judged by `mod.rs`.

use std::time::Duration;

use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::plan::KubeletPort;
use crate::session::http::{BodyEnd, Method, Peer};

/// One request.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) port: KubeletPort,
    pub(super) path: &'a str,
    pub(super) bearer: Option<&'a SecretString>,
    pub(super) gzip: bool,
    /// Of a PUT.
    pub(super) body: &'a str,
    /// From the call to the head.
    pub(super) head_within: Duration,
    /// From the call to the last byte.
    pub(super) within: Duration,
    pub(super) cancel: &'a CancellationToken,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Body,
    /// From the call to the head.
    pub(super) took: Duration,
    /// What is known of the certificate.
    pub(super) peer: Option<Peer>,
}

/// The body of an answer.
#[derive(Debug)]
pub(super) enum Body {
    /// Passed on to the receiver, this far.
    Passed(BodyEnd),
    /// The receiver did not want it.
    NotTaken,
    /// Kept, since the status is not 200 or nobody else takes it.
    Kept(Vec<u8>),
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// This way does not do here; nothing was sent. Why.
    NoWay(String),
    /// Nothing answers there, or nothing that can be trusted, or it refuses us: holds for all requests. A sentence.
    Closed(String),
    /// TCP opened, or was waited for, and no TLS came within this time. Holds for all requests.
    Frozen(Duration),
    /// Sent, and no head came within this time.
    Silent(Duration),
    /// The connection broke before a head, or what came is no HTTP.
    Broken(String),
    /// The SSH connection answered nothing before the request was sent: nothing is known of the kubelet. A sentence.
    Stalled(String),
    /// The SSH connection is gone, or answers nothing.
    Lost(String),
    /// The run was cancelled.
    Cancelled,
}

impl Trouble {
    /// Returns whether the request may have reached the kubelet.
    pub(super) const fn may_have_been_sent(&self) -> bool {
        matches!(self, Self::Silent(_) | Self::Broken(_) | Self::Lost(_) | Self::Cancelled)
    }
}
