//! What is known of one kubelet from earlier requests: refusals that hold for all of them, so that they are not provoked
//! again, how long its answers may take, and whether it has let us in. Pure; asked and told by `mod.rs`.

use std::time::Duration;

use tokio::time::Instant;

use crate::evidence::Outcome;

/// A kubelet whose API server hangs answers a token that is not in its cache after 9 to 30 s (measured with kubelets 1.21.1
/// and 1.36.2).
pub(super) const FIRST_HEAD: Duration = Duration::from_secs(35);
/// A kubelet keeps what its API server said of a token for two minutes; a little less, for clocks and the way.
const VOUCHED_FOR: Duration = Duration::from_secs(100);
/// A kubelet that has left two requests unanswered.
const SHORT_HEAD: Duration = Duration::from_secs(5);
/// As many different endpoints without an answer in a row.
const SILENT: usize = 2;

/// What is known so far.
#[derive(Debug, Default)]
pub(super) struct Gate {
    closed: Option<(Outcome, String)>,
    /// Endpoints that were sent a request and gave no head, since the last one that did.
    silent: Vec<String>,
    /// When the kubelet last had time enough to have the token checked.
    vouched: Option<Instant>,
    /// It has let us in at least once.
    let_in: bool,
    /// It has said that its debugging handlers are switched off.
    pub(super) handlers_off: bool,
    /// Failures of the API server's node proxy in a row.
    proxy_failures: usize,
}

/// How long one request may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowed {
    /// Until the head.
    pub(super) head: Duration,
    /// Until the last byte.
    pub(super) all: Duration,
}

impl Gate {
    /// Returns why no request is made any more, if so.
    pub(super) fn refusal(&self) -> Option<(Outcome, String)> {
        self.closed.as_ref().map(|(outcome, why)| (*outcome, format!("not asked again: {why}")))
    }

    /// Closes the gate for all that follow; the first reason stays.
    pub(super) fn close(&mut self, outcome: Outcome, why: &str) {
        self.closed.get_or_insert_with(|| (outcome, why.to_owned()));
    }

    /// Returns how long a request may take whose answer takes `timeout` at the most otherwise.
    pub(super) fn allowed(&self, path: &str, timeout: Duration) -> Allowed {
        let vouched = self.vouched.is_some_and(|at| at.elapsed() < VOUCHED_FOR);
        if self.silent.len() >= SILENT {
            // A profile says nothing before it is over.
            let head = (SHORT_HEAD + seconds(path)).min(timeout);
            return Allowed { head, all: timeout };
        }
        if vouched {
            return Allowed { head: timeout, all: timeout };
        }
        Allowed { head: timeout.max(FIRST_HEAD + seconds(path)), all: timeout + FIRST_HEAD }
    }

    /// An answer came that shows that we are known.
    pub(super) fn answered(&mut self) {
        self.vouched = Some(Instant::now());
        self.let_in = true;
        self.silent.clear();
        self.proxy_failures = 0;
    }

    /// An answer came, and another token will be tried.
    pub(super) fn renewed(&mut self) {
        self.vouched = None;
        self.silent.clear();
    }

    /// A request was sent, and no answer came within `allowed`.
    pub(super) fn left_unanswered(&mut self, path: &str, waited: Duration) {
        if waited >= FIRST_HEAD {
            // It is not the check of the token that takes so long.
            self.vouched = Some(Instant::now());
        }
        let endpoint = path.split('?').next().unwrap_or_default();
        // These two may take their time in a kubelet that answers everything else.
        if endpoint != "/metrics" && endpoint != "/debug/pprof/profile" && !self.silent.iter().any(|e| e == endpoint) {
            self.silent.push(endpoint.to_owned());
        }
    }

    /// The API server's node proxy failed; returns whether it did so twice in a row.
    pub(super) fn proxy_failed(&mut self) -> bool {
        self.proxy_failures += 1;
        self.proxy_failures >= 2
    }

    /// Returns whether the kubelet has let us in before.
    pub(super) const fn has_let_in(&self) -> bool {
        self.let_in
    }
}

/// Returns the length of the profile that is asked for.
fn seconds(path: &str) -> Duration {
    let query = path.split_once('?').map(|(_, query)| query).unwrap_or_default();
    let value = query.split('&').find_map(|pair| pair.strip_prefix("seconds="));
    Duration::from_secs(value.and_then(|v| v.parse::<u64>().ok()).unwrap_or(0).min(600))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Duration = Duration::from_secs(10);

    fn head(gate: &Gate, path: &str) -> u64 {
        gate.allowed(path, TEN).head.as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_request_gets_the_time_a_token_check_may_take_and_later_ones_their_own() {
        let mut gate = Gate::default();
        assert_eq!(gate.allowed("/pods", TEN), Allowed { head: FIRST_HEAD, all: FIRST_HEAD + TEN });
        assert_eq!(gate.allowed("/metrics", Duration::from_secs(140)).head.as_secs(), 140);
        gate.answered();
        assert_eq!(gate.allowed("/pods", TEN), Allowed { head: TEN, all: TEN });
        tokio::time::advance(VOUCHED_FOR).await;
        assert_eq!(head(&gate, "/pods"), 35, "the kubelet has forgotten the token by now");
    }

    #[tokio::test(start_paused = true)]
    async fn two_silent_endpoints_shorten_the_wait_for_all_others() {
        let mut gate = Gate::default();
        gate.left_unanswered("/configz", FIRST_HEAD);
        assert_eq!(head(&gate, "/pods"), 10, "the first has had the time of a token check");
        gate.left_unanswered("/configz?x", TEN);
        gate.left_unanswered("/metrics", TEN);
        gate.left_unanswered("/debug/pprof/profile?seconds=5", TEN);
        assert_eq!(head(&gate, "/pods"), 10, "neither a repetition nor these two count");
        gate.left_unanswered("/pods", TEN);
        assert_eq!(head(&gate, "/healthz"), 5);
        assert_eq!(gate.allowed("/debug/pprof/profile?seconds=7", TEN * 3).head.as_secs(), 12);
        gate.answered();
        assert_eq!(head(&gate, "/healthz"), 10);
    }

    #[test]
    fn the_first_reason_stays() {
        let mut gate = Gate::default();
        assert_eq!(gate.refusal(), None);
        gate.close(Outcome::Failed, "one");
        gate.close(Outcome::TimedOut, "two");
        assert_eq!(gate.refusal(), Some((Outcome::Failed, "not asked again: one".to_owned())));
    }
}
