//! The way to one node, shared by everything that works on it: the connection in use, replaced when
//! it is lost. What must be undone on the node uses it past every stop of the run.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::node::NodeContext;
use crate::change::Way;
use crate::event::EventKind;
use crate::inventory::Target;
use crate::session::{FailureKind, Session, SessionError};

/// Time for one new connection while a change is undone: the guard on the node acts without us as well.
const RECONNECT_BUDGET: Duration = Duration::from_secs(30);
/// Connections tried anew for the sake of changes, per node: while they are in force, and as many once they are undone.
const MOST_RECONNECTS: u32 = 3;

/// See the module.
pub(crate) struct NodeWay<'a> {
    ctx: &'a NodeContext,
    target: &'a Target,
    current: Mutex<Session>,
    /// Serialises reconnecting; counts how often it was tried for the sake of changes.
    tries: tokio::sync::Mutex<u32>,
    insists: AtomicBool,
}

impl<'a> NodeWay<'a> {
    pub(crate) fn new(ctx: &'a NodeContext, target: &'a Target, session: Session) -> Self {
        Self {
            ctx,
            target,
            current: Mutex::new(session),
            tries: tokio::sync::Mutex::new(0),
            insists: AtomicBool::new(false),
        }
    }

    /// From now on a connection that answers nothing is given up for a new one, though it may only be slow: nothing but
    /// the undoing of changes is left to do, and a link that was cut shows as dead only after a minute.
    pub(crate) fn insist(&self) {
        self.insists.store(true, Ordering::Relaxed);
    }

    /// Connects again if the connection is known to be dead.
    pub(crate) async fn ensure(&self, cancel: &CancellationToken) -> Result<(), SessionError> {
        let _turn = self.tries.lock().await;
        self.connect(cancel, false).await
    }

    /// Connects again in the place of `gone`, which may only have stopped answering, unless somebody else has done so
    /// already.
    pub(crate) async fn again(&self, gone: &Session, cancel: &CancellationToken) -> Result<(), SessionError> {
        let _turn = self.tries.lock().await;
        self.connect(cancel, self.session().is(gone)).await
    }

    async fn connect(&self, cancel: &CancellationToken, force: bool) -> Result<(), SessionError> {
        let gone = self.session();
        if !force && !gone.is_closed() {
            return Ok(());
        }
        // Before we connect again: a server that counts sessions counts the old one.
        gone.close().await;
        let mut on_retry = |attempt: u32, error: &SessionError, pause: Duration| {
            let (node, reason) = (self.target.name.clone(), self.ctx.bundle.redactor.text(&error.text));
            self.ctx.events.offer(EventKind::ConnectRetry { node, attempt, reason, pause });
        };
        let session = self.ctx.connector.connect(self.target, cancel, &mut on_retry).await?;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = session;
        Ok(())
    }

    /// Connects again so that what was changed can be undone: the run's own stop does not count.
    async fn persist(&self) -> Result<(), SessionError> {
        let mut tries = self.tries.lock().await;
        let insists = self.insists.load(Ordering::Relaxed);
        if *tries >= if insists { MOST_RECONNECTS * 2 } else { MOST_RECONNECTS } {
            return Err(SessionError::new(FailureKind::LinkLost, "the link was lost too often"));
        }
        *tries += 1;
        match tokio::time::timeout(RECONNECT_BUDGET, self.connect(&CancellationToken::new(), insists)).await {
            Ok(connected) => connected,
            Err(_) => Err(SessionError::new(FailureKind::ConnectTimeout, "no connection within 30 s")),
        }
    }
}

impl Way for NodeWay<'_> {
    fn session(&self) -> Session {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn reconnect(&self) -> BoxFuture<'_, Result<(), SessionError>> {
        Box::pin(self.persist())
    }
}

/// A connection that is not replaced.
pub struct OneSession(pub Session);

impl Way for OneSession {
    fn session(&self) -> Session {
        self.0.clone()
    }

    fn reconnect(&self) -> BoxFuture<'_, Result<(), SessionError>> {
        Box::pin(async { Err(SessionError::new(FailureKind::LinkLost, "the link ended")) })
    }
}
