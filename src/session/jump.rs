//! The pool of jump connections: one per bastion and run, shared by every target behind it, a
//! second one only when the first carries fifty. `ssh` opens one per node and trips MaxStartups.
//!
//! Knows nothing of SSH: it keeps what the function of its caller connects. Used by `connect.rs`.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::{FailureKind, SessionError};

/// Connections one jump carries: all their bytes go through one task.
pub(crate) const PER_JUMP: usize = 50;
/// How long a failure answers for the next callers, so that a thousand nodes behind a dead
/// bastion do not each wait for it.
const MEMORY: Duration = Duration::from_secs(30);

/// What can be kept in the pool.
pub(crate) trait Carrying: Clone + Send + Sync + 'static {
    /// Returns whether it is of no more use.
    fn is_closed(&self) -> bool;
}

/// Connections by the chain of servers that leads to them.
pub(crate) struct Pool<K, C> {
    shelves: Mutex<HashMap<K, Vec<Arc<Carrier<C>>>>>,
}

/// One connection, from the start of its attempt on.
struct Carrier<C> {
    leases: AtomicUsize,
    outcome: watch::Receiver<Option<Outcome<C>>>,
    /// Aborted with the pool's last reference; nobody who only waits can end the attempt.
    attempt: AbortOnDropHandle<()>,
}

#[derive(Clone)]
enum Outcome<C> {
    Up(C),
    Failed(SessionError, Instant),
}

/// A place on a connection; free again on drop.
pub(crate) struct Lease<C> {
    carrier: Arc<Carrier<C>>,
    connection: C,
}

impl<C> Lease<C> {
    pub(crate) const fn connection(&self) -> &C {
        &self.connection
    }
}

impl<C> Drop for Lease<C> {
    fn drop(&mut self) {
        self.carrier.leases.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What to do for a caller.
enum Choice<C> {
    /// Wait for this one; its place is taken already.
    Take(Place<C>),
    /// It failed just now.
    Fail(SessionError),
}

/// A place taken before the connection is there; given back if its caller goes away.
struct Place<C>(Option<Arc<Carrier<C>>>);

impl<C> Place<C> {
    fn on(carrier: &Arc<Carrier<C>>) -> Self {
        carrier.leases.fetch_add(1, Ordering::Relaxed);
        Self(Some(Arc::clone(carrier)))
    }
}

impl<C> Drop for Place<C> {
    fn drop(&mut self) {
        if let Some(carrier) = &self.0 {
            carrier.leases.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl<C: Carrying> Carrier<C> {
    fn start(attempt: BoxFuture<'static, Result<C, SessionError>>) -> Arc<Self> {
        let (tell, outcome) = watch::channel(None);
        let task = tokio::spawn(async move {
            let outcome = match attempt.await {
                Ok(connection) => Outcome::Up(connection),
                Err(error) => Outcome::Failed(error, Instant::now()),
            };
            tell.send_replace(Some(outcome));
        });
        Arc::new(Self { leases: AtomicUsize::new(0), outcome, attempt: AbortOnDropHandle::new(task) })
    }

    fn leases(&self) -> usize {
        self.leases.load(Ordering::Relaxed)
    }

    fn is_up(&self) -> bool {
        matches!(&*self.outcome.borrow(), Some(Outcome::Up(_)))
    }

    fn failure(&self) -> Option<SessionError> {
        match &*self.outcome.borrow() {
            Some(Outcome::Failed(error, _)) => Some(error.clone()),
            _ => None,
        }
    }

    /// Returns whether it is up, on its way up, or a failure to remember.
    fn counts(&self) -> bool {
        match &*self.outcome.borrow() {
            Some(Outcome::Up(connection)) => !connection.is_closed(),
            Some(Outcome::Failed(error, at)) => is_final(error.kind) || at.elapsed() < MEMORY,
            None => !self.attempt.is_finished(),
        }
    }
}

/// Failures that another attempt of the same run cannot change; asking a bastion a thousand times
/// with a key it refuses ends on its ban list.
const fn is_final(kind: FailureKind) -> bool {
    matches!(
        kind,
        FailureKind::Auth
            | FailureKind::HostKeyUnknown
            | FailureKind::HostKeyChanged
            | FailureKind::HostKeyRevoked
            | FailureKind::HostCertificate
            | FailureKind::LocalFile
            | FailureKind::Algorithms
    )
}

impl<K: Eq + Hash + Clone, C: Carrying> Pool<K, C> {
    pub(crate) fn new() -> Self {
        Self { shelves: Mutex::default() }
    }

    fn shelves(&self) -> MutexGuard<'_, HashMap<K, Vec<Arc<Carrier<C>>>>> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a place on a connection for `key`, connecting if there is none. Callers that come
    /// while an attempt is under way wait for it and share its outcome.
    ///
    /// # Cancel safety
    /// May be dropped at any time; the attempt goes on for the others.
    pub(crate) async fn lease(
        &self,
        key: &K,
        connect: impl Fn() -> BoxFuture<'static, Result<C, SessionError>>,
    ) -> Result<Lease<C>, SessionError> {
        loop {
            let mut place = match self.choose(key, &connect) {
                Choice::Take(place) => place,
                Choice::Fail(error) => return Err(error),
            };
            let Some(carrier) = place.0.clone() else { continue };
            let mut outcome = carrier.outcome.clone();
            let up = match outcome.wait_for(Option::is_some).await.as_deref() {
                Ok(Some(Outcome::Up(connection))) => connection.clone(),
                // Another look: a living connection may take one more, else this failure counts.
                Ok(_) => continue,
                Err(_) => {
                    return Err(SessionError::new(FailureKind::Cancelled, "the attempt to reach a jump was given up"));
                }
            };
            place.0 = None;
            return Ok(Lease { carrier, connection: up });
        }
    }

    fn choose(&self, key: &K, connect: &impl Fn() -> BoxFuture<'static, Result<C, SessionError>>) -> Choice<C> {
        let mut shelves = self.shelves();
        let shelf = shelves.entry(key.clone()).or_default();
        shelf.retain(|carrier| carrier.counts());
        let failure = shelf.iter().find_map(|c| c.failure());
        let usable = || shelf.iter().filter(|c| c.failure().is_none());
        let roomy = usable().find(|c| c.leases() < PER_JUMP);
        // When no further connection can be had, the least loaded one takes more than its share.
        let fallback = || usable().filter(|c| c.is_up()).min_by_key(|c| c.leases());
        if let Some(carrier) = roomy.or_else(|| failure.is_some().then(fallback).flatten()) {
            return Choice::Take(Place::on(carrier));
        }
        if let Some(error) = failure {
            return Choice::Fail(error);
        }
        let carrier = Carrier::start(connect());
        let place = Place::on(&carrier);
        shelf.push(carrier);
        Choice::Take(place)
    }

    /// Ends all attempts and empties the pool; returns the connections it held.
    pub(crate) fn drain(&self) -> Vec<C> {
        let carriers: Vec<_> = self.shelves().drain().flat_map(|(_, shelf)| shelf).collect();
        let up = |carrier: Arc<Carrier<C>>| {
            carrier.attempt.abort();
            match &*carrier.outcome.borrow() {
                Some(Outcome::Up(connection)) => Some(connection.clone()),
                _ => None,
            }
        };
        carriers.into_iter().filter_map(up).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use futures::future::join_all;
    use std::sync::atomic::AtomicBool;
    use tokio::time::sleep;

    #[derive(Clone)]
    struct Fake {
        number: usize,
        closed: Arc<AtomicBool>,
    }

    impl Carrying for Fake {
        fn is_closed(&self) -> bool {
            self.closed.load(Ordering::Relaxed)
        }
    }

    /// A bastion whose attempts take a second and end as `outcomes` say, by their number.
    struct Bastion {
        attempts: Arc<AtomicUsize>,
        outcome: Arc<dyn Fn(usize) -> Option<FailureKind> + Send + Sync>,
    }

    impl Bastion {
        fn new(outcome: impl Fn(usize) -> Option<FailureKind> + Send + Sync + 'static) -> Self {
            Self { attempts: Arc::default(), outcome: Arc::new(outcome) }
        }

        fn attempts(&self) -> usize {
            self.attempts.load(Ordering::Relaxed)
        }

        fn connect(&self) -> BoxFuture<'static, Result<Fake, SessionError>> {
            let number = self.attempts.fetch_add(1, Ordering::Relaxed) + 1;
            let outcome = Arc::clone(&self.outcome);
            async move {
                sleep(Duration::from_secs(1)).await;
                match outcome(number) {
                    None => Ok(Fake { number, closed: Arc::default() }),
                    Some(kind) => Err(SessionError::new(kind, format!("attempt {number}"))),
                }
            }
            .boxed()
        }
    }

    async fn lease_many(pool: &Pool<u8, Fake>, bastion: &Bastion, n: usize) -> Vec<Result<Lease<Fake>, SessionError>> {
        join_all((0..n).map(|_| pool.lease(&1, || bastion.connect()))).await
    }

    #[tokio::test(start_paused = true)]
    async fn all_share_one_connection_up_to_its_fill() {
        let (pool, bastion) = (Pool::new(), Bastion::new(|_| None));
        let leases = lease_many(&pool, &bastion, PER_JUMP).await;
        assert!(leases.iter().all(Result::is_ok));
        assert_eq!(bastion.attempts(), 1);
        let more = lease_many(&pool, &bastion, 10).await;
        assert!(more.iter().all(|l| l.as_ref().is_ok_and(|l| l.connection().number == 2)));
        assert_eq!(bastion.attempts(), 2, "a second one beyond the fill");
        drop(leases);
        drop(more);
        assert_eq!(pool.lease(&1, || bastion.connect()).await.ok().unwrap().connection().number, 1);
        assert_eq!(bastion.attempts(), 2, "given places are used again");
        pool.lease(&2, || bastion.connect()).await.ok().unwrap();
        assert_eq!(bastion.attempts(), 3, "another bastion is another connection");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_shared_and_remembered_for_a_while() {
        let (pool, bastion) = (Pool::new(), Bastion::new(|n| (n == 1).then_some(FailureKind::Refused)));
        let leases = lease_many(&pool, &bastion, 40).await;
        assert!(leases.iter().all(|l| l.as_ref().is_err_and(|e| e.text == "attempt 1")));
        let started = Instant::now();
        assert!(pool.lease(&1, || bastion.connect()).await.is_err());
        assert_eq!((started.elapsed(), bastion.attempts()), (Duration::ZERO, 1));
        sleep(MEMORY).await;
        assert!(pool.lease(&1, || bastion.connect()).await.is_ok());
        assert_eq!(bastion.attempts(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_key_is_shown_once_per_run() {
        let (pool, bastion) = (Pool::new(), Bastion::new(|_| Some(FailureKind::Auth)));
        for _ in 0..5 {
            assert!(lease_many(&pool, &bastion, 20).await.iter().all(Result::is_err));
            sleep(MEMORY * 2).await;
        }
        assert_eq!(bastion.attempts(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_connection_is_replaced() {
        let (pool, bastion) = (Pool::new(), Bastion::new(|_| None));
        let first = pool.lease(&1, || bastion.connect()).await.ok().unwrap();
        first.connection().closed.store(true, Ordering::Relaxed);
        let leases = lease_many(&pool, &bastion, 9).await;
        assert!(leases.iter().all(|l| l.as_ref().is_ok_and(|l| l.connection().number == 2)));
        assert_eq!(bastion.attempts(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_second_connection_the_first_takes_more() {
        let (pool, bastion) = (Pool::new(), Bastion::new(|n| (n > 1).then_some(FailureKind::Reset)));
        let leases = lease_many(&pool, &bastion, PER_JUMP + 20).await;
        assert!(leases.iter().all(|l| l.as_ref().is_ok_and(|l| l.connection().number == 1)));
        assert_eq!(bastion.attempts(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_takes_nothing_along() {
        let (pool, bastion) = (Pool::new(), Bastion::new(|_| None));
        {
            let impatient = pool.lease(&1, || bastion.connect());
            tokio::select! {
                biased;
                _ = impatient => unreachable!("takes a second"),
                () = sleep(Duration::from_millis(100)) => {}
            }
        }
        let leases = lease_many(&pool, &bastion, PER_JUMP).await;
        assert!(leases.iter().all(Result::is_ok));
        assert_eq!(bastion.attempts(), 1, "the attempt went on, and its place came back");
    }

    #[tokio::test(start_paused = true)]
    async fn draining_ends_attempts_and_hands_out_the_rest() {
        let (pool, bastion) = (Pool::new(), Bastion::new(|_| None));
        let _lease = pool.lease(&1, || bastion.connect()).await.ok().unwrap();
        let waiting = pool.lease(&2, || bastion.connect());
        let drain = async {
            tokio::task::yield_now().await;
            pool.drain()
        };
        let (waiting, drained) = tokio::join!(waiting, drain);
        assert_eq!(drained.len(), 1);
        assert_eq!(waiting.err().unwrap().kind, FailureKind::Cancelled);
    }
}
