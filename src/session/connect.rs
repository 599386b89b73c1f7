//! From a target to a session: directly, through pooled jumps or a ProxyCommand, with bounded
//! retries. The only way the engine gets a [`Session`]; keeps what one run shares (parsed
//! known_hosts files, decrypted keys, jump connections).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, join_all};
use secrecy::SecretString;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::auth::KeyRing;
use super::dial::{dial, later, millis};
use super::handshake::{Handshake, Role};
use super::host_key::HostKeyJudge;
use super::jump::{Carrying, Lease, Pool};
use super::proxy_command::ProxyCommand;
use super::ssh::SshSession;
use super::{ConnectionFacts, FailureKind, Session, SessionError, Timings, random};
use crate::inventory::Target;
use crate::inventory::target::{Hop, Proxy, Reach};

/// Asks the operator for a secret; the argument is the prompt, `None` means none was given.
/// Called from a blocking thread.
pub type Ask = Arc<dyn Fn(&str) -> Option<SecretString> + Send + Sync>;

/// How connections are made in one run.
#[derive(Clone)]
pub struct ConnectorOptions {
    /// Attempts per server for failures that may pass, at least 1.
    pub attempts: u32,
    /// Never ask for a passphrase.
    pub batch: bool,
    /// Asks for a passphrase; `None` counts as batch.
    pub ask: Option<Ask>,
    /// Longest pause between two attempts; the first is half a second at most.
    pub max_backoff: Duration,
}

impl Default for ConnectorOptions {
    fn default() -> Self {
        Self { attempts: 3, batch: true, ask: None, max_backoff: Duration::from_secs(8) }
    }
}

impl fmt::Debug for ConnectorOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectorOptions")
            .field("attempts", &self.attempts)
            .field("batch", &self.batch)
            .field("ask", &self.ask.is_some())
            .field("max_backoff", &self.max_backoff)
            .finish()
    }
}

/// Connects to targets; one per run.
pub struct Connector(Arc<Dialer>);

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("attempts", &self.0.attempts).finish_non_exhaustive()
    }
}

struct Dialer {
    attempts: u32,
    max_backoff: Duration,
    judge: Arc<HostKeyJudge>,
    keys: KeyRing,
    jumps: Pool<Vec<Hop>, SshSession>,
}

/// What a transport rests on; lives as long as the connection over it.
pub(crate) enum Keep {
    /// A socket of our own.
    Nothing,
    /// A place on a jump.
    Jump(Lease<SshSession>),
    /// A local process.
    Command(Box<ProxyCommand>),
}

impl Keep {
    /// Returns the failure of what the transport rests on, if that is what failed.
    pub(crate) async fn failure(&mut self) -> Option<SessionError> {
        match self {
            Self::Nothing => None,
            Self::Jump(lease) => lease.connection().cause_of_death(),
            Self::Command(command) => command.failure().await,
        }
    }
}

impl Carrying for SshSession {
    fn is_closed(&self) -> bool {
        Self::is_closed(self)
    }
}

impl Connector {
    /// Returns a connector for one run.
    #[must_use]
    pub fn new(options: ConnectorOptions) -> Arc<Self> {
        Arc::new(Self(Arc::new(Dialer {
            attempts: options.attempts.max(1),
            max_backoff: options.max_backoff,
            judge: Arc::new(HostKeyJudge::new()),
            keys: KeyRing::new(options.batch, options.ask),
            jumps: Pool::new(),
        })))
    }

    /// Connects to `target` and authenticates. A local target gives a session at once.
    ///
    /// Bounded by the target's budgets for each attempt; failures that may pass are retried after a
    /// pause, which `on_retry` is told of: attempts made, the failure, the pause.
    ///
    /// # Errors
    /// The class tells where it failed; `Cancelled` if `cancel` came first.
    ///
    /// # Cancel safety
    /// May be dropped at any time; nothing stays behind but a shared jump connection.
    pub async fn connect(
        &self,
        target: &Target,
        cancel: &CancellationToken,
        on_retry: &mut (dyn FnMut(u32, &SessionError, Duration) + Send),
    ) -> Result<Session, SessionError> {
        let (hop, proxy) = match &target.reach {
            Reach::Local => return Ok(Session::local()),
            Reach::Ssh { hop, proxy } => (hop, proxy),
        };
        let mut timings = Timings::default();
        let connected = tokio::select! {
            biased;
            () = cancel.cancelled() => None,
            session = self.0.persist(hop, proxy, false, target.parallel_steps, on_retry, &mut timings) => Some(session),
        };
        match connected {
            Some(session) => session.map(Session::ssh),
            // How far it had come tells a hung sshd from a dead link.
            None => Err(SessionError {
                timings,
                ..SessionError::new(FailureKind::Cancelled, format!("cancelled while connecting to {}", hop.endpoint))
            }),
        }
    }

    /// Ends the pooled jump connections, and with them every session behind one. Sessions that
    /// were connected directly go on.
    pub async fn close(&self) {
        join_all(self.0.jumps.drain().iter().map(SshSession::close)).await;
    }
}

impl Dialer {
    /// Tries until it succeeds, fails for good, or has tried often enough.
    async fn persist(
        self: &Arc<Self>,
        hop: &Hop,
        proxy: &Proxy,
        carries: bool,
        slots: usize,
        on_retry: &mut (dyn FnMut(u32, &SessionError, Duration) + Send),
        timings: &mut Timings,
    ) -> Result<SshSession, SessionError> {
        let mut number = 1;
        loop {
            *timings = Timings::default();
            let error = match self.attempt(hop, proxy, carries, slots, number, timings).await {
                Ok(session) => return Ok(session),
                Err(error) if error.kind == FailureKind::Jump => error,
                Err(error) => SessionError { timings: *timings, ..with_hint(error) },
            };
            if number >= self.attempts || !error.kind.is_transient() {
                return Err(error);
            }
            let pause = random::backoff(number, self.max_backoff);
            tracing::debug!(endpoint = %hop.endpoint, attempt = number, "{error}; trying again in {pause:?}");
            on_retry(number, &error, pause);
            sleep(pause).await;
            number += 1;
        }
    }

    async fn attempt(
        self: &Arc<Self>,
        hop: &Hop,
        proxy: &Proxy,
        carries: bool,
        slots: usize,
        number: u32,
        timings: &mut Timings,
    ) -> Result<SshSession, SessionError> {
        let mut route: Vec<String> = Vec::new();
        match proxy {
            Proxy::Direct => {}
            Proxy::Jump(chain) => route.extend(chain.iter().map(|hop| format!("{}@{}", hop.user, hop.endpoint))),
            // Its words stay out of the manifest: some carry a token.
            Proxy::Command(_) => route.push("proxy-command".to_owned()),
        }
        route.push(hop.endpoint.to_string());
        let facts = ConnectionFacts { route, attempts: number, ..ConnectionFacts::default() };
        let handshake = |deadline, behind_jump| Handshake {
            hop,
            role: Role { behind_jump, carries },
            judge: &self.judge,
            keys: &self.keys,
            slots,
            deadline,
            facts,
        };
        match proxy {
            Proxy::Jump(chain) if !chain.is_empty() => {
                let lease = self.jump(chain).await?;
                // The node's own budget begins when its bastion is there.
                let started = Instant::now();
                let deadline = later(started, hop.connect_timeout);
                let opened = lease.connection().open_tcp(&hop.endpoint.host, hop.endpoint.port, deadline).await;
                timings.tcp_ms = Some(millis(started.elapsed()));
                let stream = opened.map_err(not_forwarded)?;
                handshake(deadline, true).run(stream, Keep::Jump(lease), timings).await
            }
            Proxy::Direct | Proxy::Jump(_) => {
                let deadline = later(Instant::now(), hop.connect_timeout);
                let stream = dial(hop, deadline, timings).await?;
                handshake(deadline, false).run(stream, Keep::Nothing, timings).await
            }
            Proxy::Command(command) => {
                let started = Instant::now();
                let (process, stream) = ProxyCommand::spawn(command)?;
                timings.tcp_ms = Some(millis(started.elapsed()));
                let keep = Keep::Command(Box::new(process));
                handshake(later(started, hop.connect_timeout), false).run(stream, keep, timings).await
            }
        }
    }

    /// Returns a place on the connection at the end of `chain`. Boxed by hand: a jump behind a jump
    /// comes back here.
    fn jump<'a>(self: &'a Arc<Self>, chain: &'a [Hop]) -> BoxFuture<'a, Result<Lease<SshSession>, SessionError>> {
        let key = chain.to_vec();
        async move {
            let connect = || Arc::clone(self).connect_jump(key.clone()).boxed();
            self.jumps.lease(&key, connect).await.map_err(of_jump)
        }
        .boxed()
    }

    async fn connect_jump(self: Arc<Self>, chain: Vec<Hop>) -> Result<SshSession, SessionError> {
        let Some((hop, front)) = chain.split_last() else {
            return Err(SessionError::new(FailureKind::Other, "a chain of no jumps"));
        };
        let proxy = if front.is_empty() { Proxy::Direct } else { Proxy::Jump(front.to_vec()) };
        self.persist(hop, &proxy, true, 1, &mut |_, _, _| {}, &mut Timings::default()).await
    }
}

/// Names the failure of a jump as such; that of a jump in front of it is named already.
fn of_jump(error: SessionError) -> SessionError {
    match error.kind {
        FailureKind::Jump | FailureKind::Cancelled => error,
        _ => SessionError { kind: FailureKind::Jump, text: format!("a jump failed: {}", error.text), ..error },
    }
}

/// A jump that forbids forwarding is at fault, not the node.
fn not_forwarded(error: SessionError) -> SessionError {
    match error.kind {
        FailureKind::ExecRefused => SessionError { kind: FailureKind::Jump, ..error },
        _ => error,
    }
}

/// Adds what to try next, by the class, where the failure does not say better.
fn with_hint(error: SessionError) -> SessionError {
    if error.hint.is_some() {
        return error;
    }
    let hint = match error.kind {
        FailureKind::Dns => "check the name and the resolver, or give the node an address in the inventory",
        FailureKind::Refused => {
            "the machine answers and no sshd listens on that port: it may be starting, or sshd is down"
        }
        FailureKind::Unreachable => "check routing and VPN, and whether the machine has power",
        FailureKind::ConnectTimeout => {
            "the machine is off or hung in its kernel, or a firewall drops packets: ping it and look at its console"
        }
        FailureKind::Reset => "sshd's MaxStartups, a firewall or ban list, or sshd cannot fork on the node",
        FailureKind::LinkLost => "the link broke while connecting; see whether the node still answers",
        FailureKind::ProxyCommand => "run the command by hand",
        _ => return error,
    };
    error.with_hint(hint)
}
