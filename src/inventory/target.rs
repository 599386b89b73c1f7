//! Targets: one node each, with everything needed to reach it already decided.
//! Built by the selector from the inventory and `ssh -G`; read by `session/`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A node's name: the key of everything that is kept about it.
///
/// 1 to 253 characters of `A-Z a-z 0-9 . _ -`, not starting with `.` or `-`. So it is
/// always a safe file name and never an option to a program.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(String);

/// Why a text is no node name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid node name {name:?}: {reason}")]
pub struct NodeNameError {
    name: String,
    reason: &'static str,
}

impl NodeName {
    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeName {
    type Err = NodeNameError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let fail = |reason| Err(NodeNameError { name: s.chars().take(80).collect(), reason });
        if s.is_empty() {
            return fail("it is empty");
        }
        if s.len() > 253 {
            return fail("it is longer than 253 characters");
        }
        if s.starts_with(['.', '-']) {
            return fail("it starts with '.' or '-'");
        }
        if !s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
            return fail("it may hold only letters, digits, '.', '_' and '-'");
        }
        Ok(Self(s.to_owned()))
    }
}

impl TryFrom<String> for NodeName {
    type Error = NodeNameError;

    fn try_from(s: String) -> Result<Self, Self::Error> {
        s.parse()
    }
}

impl From<NodeName> for String {
    fn from(name: NodeName) -> Self {
        name.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Where an SSH server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Endpoint {
    /// Name or address; resolved by the machine that dials it (the last jump, if any).
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// What we may show a server to get in, in the order it is tried:
/// agent identities, key files (with their certificates), then a password if one is at hand.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Credentials {
    /// Private key files; a missing one is skipped as `ssh` does.
    pub identity_files: Vec<PathBuf>,
    /// OpenSSH user certificates; `KEY-cert.pub` beside a key file counts as well.
    pub certificate_files: Vec<PathBuf>,
    /// Only identities named by `identity_files`, though an agent may hold their keys.
    pub identities_only: bool,
    /// Agent socket; `None` means no agent.
    pub agent_socket: Option<PathBuf>,
}

/// What to do with a host key no known_hosts file mentions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum HostKeyMode {
    /// Refuse; the default.
    #[default]
    Strict,
    /// Accept and append it to the first known_hosts file; a changed or revoked key is still refused.
    AcceptNew,
}

/// How the server's host key is judged.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct HostKeyPolicy {
    /// Strict or accept-new.
    pub mode: HostKeyMode,
    /// User files first, then global ones; missing files count as empty, unreadable ones are an error.
    pub known_hosts: Vec<PathBuf>,
    /// Name to look up instead of the endpoint's (`HostKeyAlias`).
    pub alias: Option<String>,
    /// `SHA256:…` fingerprints that are accepted outright (pinned in the inventory); empty: use the files.
    pub pinned: Vec<String>,
}

/// IPv4, IPv6 or either (`AddressFamily`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum AddressFamily {
    /// Either.
    #[default]
    Any,
    /// IPv4 only.
    Inet,
    /// IPv6 only.
    Inet6,
}

/// One SSH server on the way: the node itself, or a jump in front of it.
/// Equal hops share one pooled connection when they serve as jumps.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Hop {
    /// Where it listens.
    pub endpoint: Endpoint,
    /// Login name.
    pub user: String,
    /// How we prove who we are.
    pub credentials: Credentials,
    /// How it proves who it is.
    pub host_key: HostKeyPolicy,
    /// Budget for name lookup, TCP, banner and key exchange together.
    pub connect_timeout: Duration,
    /// Budget for authentication, from the end of the key exchange.
    pub auth_timeout: Duration,
    /// Silence after which a keepalive is sent (`ServerAliveInterval`).
    pub keepalive_interval: Duration,
    /// Unanswered keepalives after which the link counts as dead (`ServerAliveCountMax`).
    pub keepalive_max: u32,
    /// Address family to dial.
    pub address_family: AddressFamily,
    /// Local address to dial from (`BindAddress`); direct connections only.
    pub bind_address: Option<String>,
    /// Ask for zlib@openssh.com (`Compression yes`).
    pub compression: bool,
}

/// The way to the node's SSH server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proxy {
    /// TCP from here.
    Direct,
    /// Through these servers, outermost first (`ProxyJump`).
    Jump(Vec<Hop>),
    /// Through this command's standard input and output, tokens already expanded (`ProxyCommand`).
    Command(String),
}

/// How a command gets root's rights on the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Sudo {
    /// Find out: root needs nothing, else `sudo -n` if it works, else none.
    #[default]
    Auto,
    /// `sudo -n`; without it privileged steps fail.
    Passwordless,
    /// `sudo -S` with the password on standard input.
    Password,
    /// Never use sudo.
    Never,
}

/// How a target is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// This machine, without SSH (`--local`).
    Local,
    /// Over SSH.
    Ssh {
        /// The node's own server.
        hop: Box<Hop>,
        /// What lies in front of it.
        proxy: Proxy,
    },
}

/// One node, ready to connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Target {
    /// Its name in the inventory, on the command line and in the bundle.
    pub name: NodeName,
    /// How it is reached.
    pub reach: Reach,
    /// How commands get root's rights.
    pub sudo: Sudo,
    /// Exec channels at most at a time, 1 to 8 (`MaxSessions` of sshd is 10).
    pub parallel_steps: usize,
    /// Groups of the inventory that hold it.
    pub groups: Vec<String>,
}
