//! What is known of one SSH link while it lives and after it died: the token that cuts it, the
//! cause of its end, the accepted host key, the server's words. Filled by `client_handler.rs`
//! from russh's own task; read by everything else about the connection.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use super::host_key::Accepted;
use super::{FailureKind, SessionError};
use crate::inventory::target::Endpoint;
use crate::printable::printable;

/// Longest banner that is kept.
const BANNER_CHARS: usize = 1024;
/// Longest text of a server inside one of our sentences.
pub(crate) const SERVER_TEXT_CHARS: usize = 200;
/// russh calls the handler right after it wakes the opener; this only bounds a defect.
const REFUSAL_WAIT: Duration = Duration::from_secs(1);

/// State of one link, shared between russh's task and ours.
pub(crate) struct Link {
    endpoint: Endpoint,
    token: CancellationToken,
    notes: Mutex<Notes>,
    refused: Notify,
    kex_done: OnceLock<Instant>,
}

#[derive(Default)]
struct Notes {
    cause: Option<SessionError>,
    farewell: Option<String>,
    accepted: Option<Accepted>,
    algorithms: Option<String>,
    banner: Option<String>,
    refusals: VecDeque<String>,
}

impl Link {
    /// Returns a link to `endpoint`.
    pub(crate) fn new(endpoint: Endpoint) -> Arc<Self> {
        Arc::new(Self {
            endpoint,
            token: CancellationToken::new(),
            notes: Mutex::default(),
            refused: Notify::new(),
            kex_done: OnceLock::new(),
        })
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(crate) const fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Cuts the link; `cause` is kept unless one is known already.
    pub(crate) fn die(&self, cause: SessionError) {
        self.notes().cause.get_or_insert(cause);
        self.token.cancel();
    }

    /// Cuts the link because we are done with it.
    pub(crate) fn end(&self) {
        self.die(SessionError::new(
            FailureKind::LinkLost,
            format!("the connection to {} was closed on our side", self.endpoint),
        ));
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.token.is_cancelled()
    }

    pub(crate) fn dead(&self) -> WaitForCancellationFuture<'_> {
        self.token.cancelled()
    }

    pub(crate) fn cause(&self) -> Option<SessionError> {
        self.notes().cause.clone()
    }

    /// Returns why the link is gone, waiting a moment for russh to tell.
    pub(crate) async fn lost(&self) -> SessionError {
        let _ = timeout(REFUSAL_WAIT, self.dead()).await;
        self.cause().unwrap_or_else(|| {
            SessionError::new(FailureKind::LinkLost, format!("the connection to {} ended", self.endpoint))
        })
    }

    /// Keeps what the server said when it disconnected.
    pub(crate) fn set_farewell(&self, text: &str) {
        self.notes().farewell = Some(printable(text.trim(), SERVER_TEXT_CHARS));
    }

    pub(crate) fn farewell(&self) -> Option<String> {
        self.notes().farewell.clone()
    }

    pub(crate) fn set_accepted(&self, accepted: Accepted) {
        self.notes().accepted = Some(accepted);
    }

    /// Returns fingerprint, key type and the way the host key was accepted.
    pub(crate) fn accepted(&self) -> Option<(String, String, &'static str)> {
        self.notes().accepted.as_ref().map(|a| (a.fingerprint.clone(), a.key_type.clone(), a.by))
    }

    /// Notes the end of a key exchange; the first one is the connection's.
    pub(crate) fn set_kex_done(&self, algorithms: String) {
        if self.kex_done.set(Instant::now()).is_ok() {
            self.notes().algorithms = Some(algorithms);
        }
    }

    pub(crate) fn kex_done(&self) -> Option<Instant> {
        self.kex_done.get().copied()
    }

    pub(crate) fn algorithms(&self) -> Option<String> {
        self.notes().algorithms.clone()
    }

    /// Adds to the banner, made printable, within its bound.
    pub(crate) fn add_banner(&self, text: &str) {
        let mut notes = self.notes();
        let banner = notes.banner.get_or_insert_default();
        let room = BANNER_CHARS.saturating_sub(banner.chars().count());
        if room > 0 {
            banner.push_str(&printable(text.trim(), room));
        }
    }

    pub(crate) fn banner(&self) -> Option<String> {
        self.notes().banner.clone().filter(|b| !b.is_empty())
    }

    /// Keeps the server's text about a channel it did not open.
    pub(crate) fn add_refusal(&self, text: &str) {
        self.notes().refusals.push_back(printable(text.trim(), SERVER_TEXT_CHARS));
        self.refused.notify_one();
    }

    /// Takes the text of the oldest refusal. Only `opener.rs` may ask, once per refusal and in
    /// the order of the refusals: that is how a text finds the channel it belongs to.
    pub(crate) async fn take_refusal(&self) -> String {
        let text = async {
            loop {
                if let Some(text) = self.notes().refusals.pop_front() {
                    return text;
                }
                self.refused.notified().await;
            }
        };
        timeout(REFUSAL_WAIT, text).await.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> Arc<Link> {
        Link::new(Endpoint { host: "node".into(), port: 22 })
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_cause_stays() {
        let link = link();
        assert_eq!(link.lost().await.kind, FailureKind::LinkLost);
        link.die(SessionError::new(FailureKind::LinkLost, "keepalive"));
        link.end();
        assert_eq!(link.lost().await.text, "keepalive");
        assert!(link.is_dead());
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_come_in_order_and_are_waited_for() {
        let link = link();
        link.add_refusal("one");
        link.add_refusal("two\u{1b}[2J");
        assert_eq!(link.take_refusal().await, "one");
        assert_eq!(link.take_refusal().await, "two");
        let (text, ()) = tokio::join!(link.take_refusal(), async { link.add_refusal("three") });
        assert_eq!(text, "three");
        assert_eq!(link.take_refusal().await, "", "bounded");
    }

    #[test]
    fn a_banner_is_bounded_and_printable() {
        let link = link();
        for _ in 0..40 {
            link.add_banner(&format!("\u{1b}[31m{}", "b".repeat(100)));
        }
        let banner = link.banner().unwrap();
        assert!(banner.chars().count() <= BANNER_CHARS + 1, "{}", banner.len());
        assert!(banner.starts_with("bbb"));
    }
}
