//! From a raw stream to an authenticated connection: identification, key exchange, host key,
//! authentication, each within its budget, and each way it fails in its own class.
//! The stream comes from `connect.rs`.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use russh::client::Config;
use russh::keys::Algorithm;
use russh::{Preferred, SshId, cipher, compression};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};

use super::auth::{self, KeyRing};
use super::client_handler::{ClientHandler, HandlerError};
use super::connect::Keep;
use super::dial::{keepalive, millis, silence};
use super::guarded::{Greeting, Guarded, Tap};
use super::host_key::{HostKeyJudge, KeyPreference};
use super::link::Link;
use super::ssh::SshSession;
use super::{ConnectionFacts, FailureKind, SessionError, Timings};
use crate::inventory::target::{Endpoint, Hop};
use crate::printable::{printable, printable_bytes};

/// Part a connection has in a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Role {
    /// Its own bytes travel through a jump.
    pub(crate) behind_jump: bool,
    /// It is a jump: its channels carry other connections.
    pub(crate) carries: bool,
}

/// What one handshake needs beside the stream.
pub(crate) struct Handshake<'a> {
    pub(crate) hop: &'a Hop,
    pub(crate) role: Role,
    pub(crate) judge: &'a Arc<HostKeyJudge>,
    pub(crate) keys: &'a KeyRing,
    /// Exec channels at most.
    pub(crate) slots: usize,
    /// End of the connect budget.
    pub(crate) deadline: Instant,
    pub(crate) facts: ConnectionFacts,
}

impl Handshake<'_> {
    /// Makes `stream` an authenticated connection; notes times in `timings` as it goes.
    ///
    /// # Cancel safety
    /// May be dropped at any time: the stream is cut.
    pub(crate) async fn run<S>(
        self,
        stream: S,
        mut keep: Keep,
        timings: &mut Timings,
    ) -> Result<SshSession, SessionError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let hop = self.hop;
        let link = Link::new(hop.endpoint.clone());
        // Without this, a dropped connect leaves russh's task and the socket behind for ever.
        let cut = link.token().clone().drop_guard();
        let tap = Arc::new(Tap::default());
        let started = Instant::now();
        let preference = self.judge.preference(&hop.host_key, &hop.endpoint)?;
        let handler = ClientHandler {
            judge: Arc::clone(self.judge),
            policy: hop.host_key.clone(),
            link: Arc::clone(&link),
            silence: silence(hop),
        };
        let guarded = Guarded::new(stream, link.token(), Arc::clone(&tap));
        let connecting = russh::client::connect_stream(config(hop, self.role, preference), guarded, handler);
        let outcome = timeout_at(self.deadline, connecting).await;
        let first_byte = tap.first_byte();
        timings.banner_ms = first_byte.map(|at| millis(at - started));
        timings.kex_ms =
            first_byte.and_then(|from| link.kex_done().map(|at| millis(at.saturating_duration_since(from))));
        let mut handle = match outcome {
            Ok(Ok(handle)) => handle,
            Ok(Err(HandlerError::Verdict(verdict))) => return Err(verdict),
            Ok(Err(HandlerError::Ssh(error))) => {
                let failure = broken(&hop.endpoint, &error, &tap, link.farewell());
                return Err(keep.failure().await.unwrap_or(failure));
            }
            Err(_) => {
                let failure = silent(&hop.endpoint, &tap, hop.connect_timeout);
                return Err(keep.failure().await.unwrap_or(failure));
            }
        };
        let started = Instant::now();
        let outcome =
            auth::authenticate_within(&mut handle, &hop.user, &hop.credentials, self.keys, hop.auth_timeout).await;
        timings.auth_ms = Some(millis(started.elapsed()));
        let how = match outcome {
            Ok(how) => how,
            Err(error) => {
                let stalled = error.kind == FailureKind::AuthStalled;
                let named = SessionError { text: format!("{}: {}", hop.endpoint, error.text), ..error };
                return Err(if handle.is_closed() && !stalled { hung_up(named, &link).await } else { named });
            }
        };
        let slots = self.slots;
        let facts = self.facts_of(&link, &tap, how, *timings);
        cut.disarm();
        Ok(SshSession::new(handle, link, slots, facts, tap, keep))
    }

    fn facts_of(self, link: &Link, tap: &Tap, how: String, timings: Timings) -> ConnectionFacts {
        let mut facts = self.facts;
        facts.transport = "ssh".to_owned();
        if let Greeting::Ssh(line) = tap.greeting() {
            facts.server_version = Some(printable(&line, 255));
        }
        if let Some((fingerprint, key_type, by)) = link.accepted() {
            facts.host_key = Some(fingerprint);
            facts.host_key_type = Some(key_type);
            facts.host_key_by = Some(by.to_owned());
        }
        facts.algorithms = link.algorithms();
        facts.user = Some(self.hop.user.clone());
        facts.authenticated_by = Some(how);
        facts.banner = link.banner();
        facts.timings = timings;
        facts
    }
}

/// Returns russh's configuration for a connection.
fn config(hop: &Hop, role: Role, preference: KeyPreference) -> Arc<Config> {
    Arc::new(Config {
        client_id: SshId::Standard(Cow::Borrowed(concat!("SSH-2.0-plegcollect_", env!("CARGO_PKG_VERSION")))),
        // Behind a jump: window x open channels must stay below what the jump buffers for one
        // channel (1024 x 32 KiB), or undrained channels of one node stall all nodes behind it.
        window_size: if role.behind_jump { 512 << 10 } else { 2 << 20 },
        maximum_packet_size: 32 << 10,
        channel_buffer_size: if role.carries { 1024 } else { 16 },
        keepalive_interval: Some(keepalive(hop)),
        // 0 would mean "for ever" to russh.
        keepalive_max: usize::try_from(hop.keepalive_max.max(1)).unwrap_or(3),
        inactivity_timeout: Some(silence(hop)),
        nodelay: true,
        preferred: Preferred {
            key: host_key_order(preference.plain),
            host_key_certificates: Cow::Owned(preference.certificates),
            cipher: Cow::Borrowed(if cpu_has_aes() { AES_FIRST } else { CHACHA_FIRST }),
            compression: Cow::Borrowed(if hop.compression {
                &[compression::ZLIB_LEGACY, compression::NONE]
            } else {
                &[compression::NONE]
            }),
            ..Preferred::DEFAULT
        },
        ..Config::default()
    })
}

/// Half the CPU of chacha20 where the CPU has instructions for AES.
const AES_FIRST: &[cipher::Name] = &[
    cipher::AES_128_GCM,
    cipher::AES_256_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_128_CTR,
    cipher::AES_192_CTR,
    cipher::AES_256_CTR,
];
const CHACHA_FIRST: &[cipher::Name] = &[
    cipher::CHACHA20_POLY1305,
    cipher::AES_128_GCM,
    cipher::AES_256_GCM,
    cipher::AES_128_CTR,
    cipher::AES_192_CTR,
    cipher::AES_256_CTR,
];

fn cpu_has_aes() -> bool {
    #[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64")))]
    return false;
}

/// Puts the types the known_hosts files hold first, as ssh does; the others stay, so that a server
/// with other keys is judged instead of failing with "no common algorithm". SHA-1 signatures are
/// left out, as OpenSSH does since 8.8.
fn host_key_order(known: Vec<Algorithm>) -> Cow<'static, [Algorithm]> {
    let mut order = known;
    for algorithm in Preferred::DEFAULT.key.iter() {
        if *algorithm != (Algorithm::Rsa { hash: None }) && !order.contains(algorithm) {
            order.push(algorithm.clone());
        }
    }
    Cow::Owned(order)
}

/// Classifies a connection that broke before the key exchange was done.
fn broken(to: &Endpoint, error: &russh::Error, tap: &Tap, farewell: Option<String>) -> SessionError {
    if let Some(said) = farewell {
        return reset(format!("{to} ended the connection during the key exchange: {said}"));
    }
    match error {
        russh::Error::NoCommonAlgo { kind, theirs, .. } => {
            let theirs = printable(&theirs.join(", "), 300);
            let kind = format!("{kind:?}").to_lowercase();
            return SessionError::new(
                FailureKind::Algorithms,
                format!("{to} offers no {kind} algorithm we have: {theirs}"),
            )
            .with_hint("the server is very old or restricted; update its OpenSSH or widen its sshd_config");
        }
        russh::Error::WrongServerSig | russh::Error::PacketAuth => {
            return SessionError::new(
                FailureKind::Other,
                format!("the key exchange with {to} does not verify: {error}"),
            )
            .with_hint("something on the way may change the connection; look at the route before trying again");
        }
        _ => {}
    }
    match (tap.greeting(), error) {
        (Greeting::Nothing, _) => reset(format!("{to} closed the connection before its banner")),
        (Greeting::Other(line), _) => not_ssh(to, &line),
        (
            Greeting::Ssh(_),
            russh::Error::IO(_) | russh::Error::HUP | russh::Error::Disconnect | russh::Error::SendError,
        ) => reset(format!("{to} closed the connection during the key exchange")),
        (Greeting::Ssh(_), russh::Error::InactivityTimeout) => kex_stalled(to, "in time"),
        (Greeting::Ssh(_), russh::Error::Version) => {
            SessionError::new(FailureKind::NotSsh, format!("{to} speaks SSH 1 only"))
        }
        (Greeting::Ssh(_), other) => SessionError::new(
            FailureKind::Other,
            format!("the key exchange with {to} failed: {}", printable(&other.to_string(), 200)),
        ),
    }
}

/// Classifies a connection that was still silent when its budget was spent.
fn silent(to: &Endpoint, tap: &Tap, budget: Duration) -> SessionError {
    let within = format!("within {} s", budget.as_secs_f64());
    match tap.greeting() {
        Greeting::Nothing => SessionError::new(
            FailureKind::NoBanner,
            format!("{to} accepts the connection and sends no SSH banner {within}"),
        )
        .with_hint("the kernel works and sshd does not: out of memory or pids, stopped, or hung on its disk; look at the console before anybody restarts the node"),
        Greeting::Other(line) => not_ssh(to, &line),
        Greeting::Ssh(_) => kex_stalled(to, &within),
    }
}

fn kex_stalled(to: &Endpoint, within: &str) -> SessionError {
    SessionError::new(FailureKind::KexStalled, format!("{to} sent its banner and did not finish the key exchange {within}"))
        .with_hint("sshd started and hangs: the node is starved of CPU, memory or entropy, or large packets are lost on the way (MTU)")
}

fn reset(text: String) -> SessionError {
    SessionError::new(FailureKind::Reset, text)
        .with_hint("sshd's MaxStartups, a firewall or ban list, or sshd cannot fork on the node")
}

fn not_ssh(to: &Endpoint, line: &[u8]) -> SessionError {
    // sshd's own words for a connection it drops, sent in place of a banner.
    if line.starts_with(b"Exceeded MaxStartups") || line.starts_with(b"Not allowed at this time") {
        return reset(format!("{to} closed the connection before its banner: {}", printable_bytes(line, 80)));
    }
    let what = match line {
        [0x15 | 0x16, 0x03, ..] => "it looks like TLS".to_owned(),
        _ if line.starts_with(b"HTTP/") => "it looks like an HTTP server".to_owned(),
        _ => format!("it says {:?}", printable_bytes(line, 60)),
    };
    SessionError::new(FailureKind::NotSsh, format!("{to} is no SSH server: {what}"))
        .with_hint("check the port, or what forwards it")
}

/// The server hung up during authentication: with a word it is a verdict, without one it is not.
async fn hung_up(error: SessionError, link: &Link) -> SessionError {
    let cause = link.lost().await;
    match link.farewell() {
        Some(said) if error.kind == FailureKind::Auth => {
            SessionError { text: format!("{} (the server: {said})", error.text), ..error }
        }
        None if matches!(error.kind, FailureKind::Auth | FailureKind::LinkLost | FailureKind::Other) => {
            reset(format!("the connection ended during the login: {}", cause.text))
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Endpoint {
        Endpoint { host: "node".into(), port: 22 }
    }

    #[test]
    fn what_is_no_ssh_server_is_named() {
        for (line, kind, part) in [
            (&b"HTTP/1.1 400 Bad Request"[..], FailureKind::NotSsh, "HTTP"),
            (b"\x15\x03\x01\x00\x02\x02\x46", FailureKind::NotSsh, "TLS"),
            (b"220 mail.example ESMTP", FailureKind::NotSsh, "220 mail.example"),
            (b"Exceeded MaxStartups", FailureKind::Reset, "MaxStartups"),
            (b"Not allowed at this time", FailureKind::Reset, "Not allowed"),
        ] {
            let error = not_ssh(&endpoint(), line);
            assert_eq!(error.kind, kind, "{error}");
            assert!(error.text.contains(part), "{error}");
        }
    }

    #[test]
    fn known_types_come_first_and_sha1_is_not_offered() {
        let rsa = Algorithm::Rsa { hash: Some(russh::keys::HashAlg::Sha512) };
        let order = host_key_order(vec![rsa.clone()]);
        assert_eq!(order.first(), Some(&rsa));
        assert!(order.contains(&Algorithm::Ed25519));
        assert!(!order.contains(&Algorithm::Rsa { hash: None }));
        assert_eq!(order.iter().filter(|a| **a == rsa).count(), 1);
        assert_eq!(host_key_order(Vec::new()).first(), Some(&Algorithm::Ed25519));
    }
}
