//! Failures of reaching a node, classified: which class it is tells a dead network from a node
//! out of memory or pids, so the class and the timings are evidence themselves.

use serde::{Deserialize, Serialize};

/// The class of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The name does not resolve.
    Dns,
    /// Connection refused: the node is up, nothing listens.
    Refused,
    /// No route, or network or host unreachable.
    Unreachable,
    /// TCP did not connect within the budget.
    ConnectTimeout,
    /// TCP connected, and no SSH banner came: a node out of memory or pids, or a stopped sshd.
    NoBanner,
    /// Something else than SSH answers.
    NotSsh,
    /// Closed or reset before or during key exchange (MaxStartups, a firewall, fork failure).
    Reset,
    /// The banner came, and the key exchange did not finish within the budget.
    KexStalled,
    /// No common algorithm.
    Algorithms,
    /// The host key is in no known_hosts file.
    HostKeyUnknown,
    /// The host key differs from the known one.
    HostKeyChanged,
    /// The host key is revoked.
    HostKeyRevoked,
    /// The host certificate is not acceptable (expired, other principal, options).
    HostCertificate,
    /// The server refused all credentials, or there were none.
    Auth,
    /// Authentication did not finish within its budget.
    AuthStalled,
    /// A local key, certificate or known_hosts file cannot be used.
    LocalFile,
    /// A jump in front of the node failed; the text says which and how.
    Jump,
    /// The ProxyCommand failed.
    ProxyCommand,
    /// Logged in, and commands do not start: fork or the login shell hangs.
    ExecStalled,
    /// The server refuses to open a channel or to run a command.
    ExecRefused,
    /// The link died after authentication.
    LinkLost,
    /// The node's deadline passed.
    Deadline,
    /// The run was cancelled.
    Cancelled,
    /// Anything else; a defect of ours, or of the server.
    Other,
}

impl FailureKind {
    /// Returns whether another attempt may help.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        matches!(
            self,
            Self::Refused
                | Self::Unreachable
                | Self::ConnectTimeout
                | Self::NoBanner
                | Self::Reset
                | Self::KexStalled
                | Self::LinkLost
        )
    }

    /// Returns the class as one word, as in the manifest.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::ConnectTimeout => "connect-timeout",
            Self::NoBanner => "no-banner",
            Self::NotSsh => "not-ssh",
            Self::Reset => "reset",
            Self::KexStalled => "kex-stalled",
            Self::Algorithms => "algorithms",
            Self::HostKeyUnknown => "host-key-unknown",
            Self::HostKeyChanged => "host-key-changed",
            Self::HostKeyRevoked => "host-key-revoked",
            Self::HostCertificate => "host-certificate",
            Self::Auth => "auth",
            Self::AuthStalled => "auth-stalled",
            Self::LocalFile => "local-file",
            Self::Jump => "jump",
            Self::ProxyCommand => "proxy-command",
            Self::ExecStalled => "exec-stalled",
            Self::ExecRefused => "exec-refused",
            Self::LinkLost => "link-lost",
            Self::Deadline => "deadline",
            Self::Cancelled => "cancelled",
            Self::Other => "other",
        }
    }
}

/// Where the time of a connection went, in milliseconds; `None` where it did not get so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Timings {
    /// Name lookup.
    pub dns_ms: Option<u64>,
    /// TCP connect (or the jump's channel, or the start of the ProxyCommand).
    pub tcp_ms: Option<u64>,
    /// From TCP connect to the first byte of the server.
    pub banner_ms: Option<u64>,
    /// From there to the end of the key exchange.
    pub kex_ms: Option<u64>,
    /// Authentication.
    pub auth_ms: Option<u64>,
}

/// A failure of reaching a node or of using the connection.
#[derive(Debug, Clone, thiserror::Error, Serialize)]
#[error("{text}")]
#[serde(rename_all = "kebab-case")]
pub struct SessionError {
    /// The class.
    pub kind: FailureKind,
    /// One sentence naming endpoint and cause, free of control sequences.
    pub text: String,
    /// What to try next, one sentence.
    pub hint: Option<String>,
    /// Where the time went.
    pub timings: Timings,
}

impl SessionError {
    /// Returns a failure of `kind` with its sentence.
    #[must_use]
    pub fn new(kind: FailureKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), hint: None, timings: Timings::default() }
    }

    /// Adds what to try next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
