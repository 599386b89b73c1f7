//! The kubelet's part of a node: its requests one after the other, beside all other steps and never in their way. Stacks come
//! first, before anything that a hung runtime could hold up; their second sample some seconds later; /metrics last, because
//! in a runtime hang that takes two minutes, and nothing but the node's end waits for it. Called by `node.rs`.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::watch;

use super::node::NodeGround;
use super::phase::{Tally, not_run};
use super::step::StepTally;
use crate::bundle::{BundleError, StepEnd};
use crate::change::Way as _;
use crate::event::EventKind;
use crate::evidence::{Outcome, StepRecord};
use crate::kubelet::{GetEnd, Kubelet, Receiver};
use crate::plan::{Action, Encoding, KubeletGet, NodePlan, Phase, PlannedStep};
use crate::session::{FailureKind, Session, SessionError, Sink, StdStream};

/// A scrape of /metrics that took longer is not followed by another: each of them asks the runtime, which hangs.
const QUICK_SCRAPE: Duration = Duration::from_secs(20);
/// Time in which a connection that answers nothing does so again, or is known to be dead by its keepalives.
const LINK_KNOWN_WITHIN: Duration = Duration::from_secs(75);
/// Time for a sign of life of a connection that was given up.
const BACK_WITHIN: Duration = Duration::from_secs(1);
/// How the goroutine profile in text form begins, before the number of goroutines.
const PROFILE_HEAD: &[u8] = b"goroutine profile: total ";
/// Enough of an answer to hold that number.
const HEAD_BYTES: usize = 64;

/// What is asked of the node's kubelet, and how far the other steps are.
pub(super) struct KubeletLane<'a> {
    pub(super) ground: &'a NodeGround<'a>,
    pub(super) kubelet: &'a Kubelet,
    pub(super) plan: &'a NodePlan,
    /// The phase the node is in.
    pub(super) phase: watch::Receiver<Phase>,
    /// Time between the two samples of stacks, at least.
    pub(super) gap: Duration,
    /// A kubelet with more goroutines is not asked for each of them: it stands still while it writes them.
    pub(super) most_goroutines: u64,
    tally: Mutex<Tally>,
    link: Mutex<Link>,
}

/// What is thought of the connection.
#[derive(Default)]
enum Link {
    #[default]
    Good,
    /// It was lost, or answered nothing, in the last request.
    Doubtful,
    /// It could not be had again.
    Gone(SessionError),
}

/// A request of the plan.
#[derive(Clone, Copy)]
struct Asked<'a> {
    step: &'a PlannedStep,
    get: &'a KubeletGet,
}

impl Asked<'_> {
    fn path(&self) -> &str {
        self.get.path.split('?').next().unwrap_or_default()
    }

    /// Whether the answer is made by asking the runtime.
    fn is_scrape(&self) -> bool {
        matches!(
            self.path(),
            "/metrics" | "/metrics/cadvisor" | "/metrics/resource" | "/stats/summary" | "/runningpods/"
        )
    }

    /// Whether it lists every goroutine, for which the kubelet stands still.
    fn lists_goroutines(&self) -> bool {
        self.get.path.starts_with("/debug/pprof/goroutine") && self.get.path.contains("debug=2")
    }

    /// Whether it belongs to the second sample.
    fn is_again(&self) -> bool {
        self.step.id.as_str().ends_with("-2") && self.path() == "/debug/pprof/goroutine"
    }
}

impl<'a> KubeletLane<'a> {
    pub(super) fn new(
        ground: &'a NodeGround<'a>,
        kubelet: &'a Kubelet,
        plan: &'a NodePlan,
        phase: watch::Receiver<Phase>,
    ) -> Self {
        let policy = &ground.ctx.selection.changes;
        let (gap, most_goroutines) = (policy.sample_gap, policy.max_dump_goroutines);
        Self { ground, kubelet, plan, phase, gap, most_goroutines, tally: Mutex::default(), link: Mutex::default() }
    }

    /// Makes every request of the plan, each in its phase; returns what became of the steps.
    ///
    /// # Cancel safety
    /// Not to be dropped: steps would be missing from the bundle. Use the stop.
    pub(super) async fn run(self) -> Tally {
        let sampled = self.many(self.asked(Phase::Before, false), None).await;
        // A scrape that hangs goes on to its end beside all the rest: given up, it would load the runtime for nothing.
        let (slow, ()) = tokio::join!(self.scrapes(Phase::Before), async {
            self.reached(Phase::During).await;
            self.many(self.asked(Phase::During, false), sampled).await;
        });
        self.reached(Phase::After).await;
        self.many(self.asked(Phase::After, false), None).await;
        match slow {
            None => drop((self.scrapes(Phase::During).await, self.scrapes(Phase::After).await)),
            Some(why) => {
                for asked in [Phase::During, Phase::After].into_iter().flat_map(|phase| self.asked(phase, true)) {
                    self.pass(asked.step, Outcome::Skipped, why.clone()).await;
                }
            }
        }
        self.tally.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self, phase: Phase, scrapes: bool) -> Vec<Asked<'a>> {
        let asked = |step: &'a PlannedStep| match &step.action {
            Action::Kubelet(get) if step.phase == phase => Some(Asked { step, get }),
            _ => None,
        };
        self.plan.steps.iter().filter_map(asked).filter(|asked| asked.is_scrape() == scrapes).collect()
    }

    /// Waits until the other steps have come to a phase, or the work is stopped.
    async fn reached(&self, phase: Phase) {
        let mut at = self.phase.clone();
        tokio::select! {
            _ = at.wait_for(|now| *now >= phase) => {}
            () = self.ground.stop.token().cancelled() => {}
        }
    }

    /// Makes requests one after the other; `sampled` is when stacks were taken before. Returns when they were taken last.
    async fn many(&self, list: Vec<Asked<'a>>, mut sampled: Option<Instant>) -> Option<Instant> {
        let mut goroutines = None;
        for asked in list {
            if let Some(before) = sampled.filter(|_| asked.is_again()) {
                self.pause_until(before + self.gap).await;
            }
            if asked.lists_goroutines()
                && let Some(why) = too_many(goroutines, self.most_goroutines)
            {
                self.pass(asked.step, Outcome::Skipped, why).await;
                continue;
            }
            let count = self.one(asked).await.0;
            if asked.path() == "/debug/pprof/goroutine" && !asked.is_again() {
                sampled = Some(Instant::now());
            }
            goroutines = count.or(goroutines);
        }
        sampled
    }

    /// Makes the scrapes of a phase. Returns why no more should be made, if one showed that the runtime hangs.
    async fn scrapes(&self, phase: Phase) -> Option<String> {
        let mut slow: Option<String> = None;
        for asked in self.asked(phase, true) {
            if let Some(why) = &slow {
                self.pass(asked.step, Outcome::Skipped, why.clone()).await;
                continue;
            }
            let clock = Instant::now();
            let (_, outcome) = self.one(asked).await;
            let took = clock.elapsed();
            // One that the link or a stop ended says nothing of the runtime.
            if took > QUICK_SCRAPE && matches!(outcome, Outcome::Complete | Outcome::TimedOut) {
                let how =
                    if outcome == Outcome::Complete { "was answered after" } else { "had no whole answer within" };
                slow = Some(format!(
                    "{} {how} {} s, so the runtime hangs; another scrape would only load it",
                    asked.path(),
                    took.as_secs()
                ));
            }
        }
        slow
    }

    async fn pause_until(&self, at: Instant) {
        tokio::select! {
            () = tokio::time::sleep_until(at.into()) => {}
            () = self.ground.stop.token().cancelled() => {}
        }
    }

    /// Makes one request; returns the number of goroutines the answer tells of, and how it ended.
    async fn one(&self, asked: Asked<'a>) -> (Option<u64>, Outcome) {
        let Asked { step, get } = asked;
        let ground = self.ground;
        if let Some(cause) = ground.stop.cause() {
            self.pass(step, cause.outcome(), cause.text()).await;
            return (None, cause.outcome());
        }
        if self.with_tally(|tally| tally.disk.is_some()) {
            self.pass(step, Outcome::Lost, "not run: its evidence could not be stored".to_owned()).await;
            return (None, Outcome::Lost);
        }
        let session = match self.session().await {
            Ok(session) => session,
            Err(error) => {
                let (outcome, why) = match ground.stop.cause() {
                    Some(cause) => (cause.outcome(), cause.text()),
                    None => (Outcome::Lost, format!("not run: {}", error.text)),
                };
                self.pass(step, outcome, why).await;
                return (None, outcome);
            }
        };
        let (node, timeout) = (ground.target.name.clone(), get.bounds.timeout);
        ground.ctx.events.send(EventKind::StepStarted { node, step: step.id.clone(), timeout }).await;
        let (started, clock) = (Timestamp::now(), Instant::now());
        let mut taking = Taking::new(ground, asked);
        let mut end = self.kubelet.get(&session, get, &mut taking, ground.stop.token()).await;
        if let Some(cause) = ground.stop.cause().filter(|_| end.outcome == Outcome::Cancelled) {
            (end.outcome, end.detail) = (cause.outcome(), Some(cause.text()));
        }
        if end.outcome == Outcome::Lost {
            *self.link() = Link::Doubtful;
        }
        let goroutines = taking.goroutines();
        let outcome = end.outcome;
        match taking.finish(end, started, clock.elapsed()).await {
            Ok(record) => self.count(record).await,
            Err(error) => {
                self.count(not_run(step, Outcome::Failed, error.to_string())).await;
                self.with_tally(|tally| {
                    tally.disk.get_or_insert(error);
                });
            }
        }
        (goroutines, outcome)
    }

    /// Returns the connection in use, made anew if it is dead: once, for each try costs as much as the first. One that
    /// answers nothing is given the time in which it answers again or is known to be dead.
    async fn session(&self) -> Result<Session, SessionError> {
        let (way, stop) = (self.ground.way, self.ground.stop.token());
        let thought = std::mem::take(&mut *self.link());
        let within = match &thought {
            Link::Good => Duration::ZERO,
            Link::Doubtful => LINK_KNOWN_WITHIN,
            Link::Gone(_) => BACK_WITHIN,
        };
        let session = way.session();
        if !session.is_closed() {
            let answers = async { within.is_zero() || session.answers(within).await };
            let stopped = SessionError::new(FailureKind::Cancelled, "the run was interrupted");
            let answers = tokio::select! {
                biased;
                () = stop.cancelled() => return Err(stopped),
                answers = answers => answers,
            };
            if answers {
                return Ok(session);
            }
        }
        let current = way.session();
        let error = match thought {
            _ if !current.is(&session) && !current.is_closed() => return Ok(current),
            Link::Gone(error) => error,
            _ if session.is_closed() => match way.ensure(stop).await {
                Ok(()) => return Ok(way.session()),
                Err(error) => error,
            },
            _ => SessionError::new(
                FailureKind::LinkLost,
                "the SSH connection answers nothing: the link or the node hangs",
            ),
        };
        *self.link() = Link::Gone(error.clone());
        Err(error)
    }

    fn link(&self) -> std::sync::MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a request that is not made.
    async fn pass(&self, step: &PlannedStep, outcome: Outcome, why: String) {
        let record = not_run(step, outcome, why);
        match self.ground.bundle.record(record.clone()).await {
            Ok(record) => self.count(record).await,
            Err(error) => {
                self.count(record).await;
                self.with_tally(|tally| {
                    tally.disk.get_or_insert(error);
                });
            }
        }
    }

    async fn count(&self, record: StepRecord) {
        self.with_tally(|tally| tally.count(&record));
        self.ground.tell(record).await;
    }

    fn with_tally<T>(&self, change: impl FnOnce(&mut Tally) -> T) -> T {
        change(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Returns the number a grouped profile of goroutines begins with.
fn goroutines_in(head: &[u8]) -> Option<u64> {
    let rest = head.strip_prefix(PROFILE_HEAD)?;
    let digits = rest.iter().position(|byte| !byte.is_ascii_digit()).and_then(|end| rest.get(..end))?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Returns why goroutines are not listed one by one, if there are more than `most`.
fn too_many(goroutines: Option<u64>, most: u64) -> Option<String> {
    let count = goroutines.filter(|count| *count > most)?;
    Some(format!(
        "{count} goroutines, more than {most} (max-dump-goroutines): grouped only, because the kubelet stands still while it \
         lists them"
    ))
}

/// An answer on its way into the bundle.
struct Taking<'a> {
    ground: &'a NodeGround<'a>,
    asked: Asked<'a>,
    sink: Option<StepTally<'a>>,
    disk: Option<BundleError>,
    head: Vec<u8>,
}

impl<'a> Taking<'a> {
    const fn new(ground: &'a NodeGround<'a>, asked: Asked<'a>) -> Self {
        Self { ground, asked, sink: None, disk: None, head: Vec::new() }
    }

    /// Returns the number of goroutines, if the answer begins with it.
    fn goroutines(&self) -> Option<u64> {
        goroutines_in(&self.head)
    }

    async fn finish(self, end: GetEnd, started: Timestamp, duration: Duration) -> Result<StepRecord, BundleError> {
        let (step, bundle) = (self.asked.step, self.ground.bundle);
        if let Some(error) = self.disk {
            drop(bundle.record(not_run(step, Outcome::Failed, error.to_string())).await);
            return Err(error);
        }
        if let Some(sink) = self.sink {
            let end = StepEnd {
                command: end.command,
                as_root: None,
                started,
                duration,
                outcome: end.outcome,
                detail: end.detail,
                exit_status: None,
                signal: None,
                hung: None,
            };
            return sink.finish(end).await;
        }
        let record = StepRecord {
            command: end.command,
            started: Some(started),
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            ..not_run(step, end.outcome, end.detail.unwrap_or_default())
        };
        bundle.record(record).await
    }
}

impl Receiver for Taking<'_> {
    fn begin(&mut self, encoding: Encoding) -> BoxFuture<'_, Option<&mut dyn Sink>> {
        async move {
            let (ground, step) = (self.ground, self.asked.step);
            match ground.bundle.step(step, encoding, self.asked.get.bounds.max_bytes).await {
                Ok(sink) => {
                    self.sink = Some(StepTally::new(sink, &ground.ctx.events, &ground.target.name, step));
                    Some(self as &mut dyn Sink)
                }
                Err(error) => {
                    self.disk = Some(error);
                    None
                }
            }
        }
        .boxed()
    }
}

impl Sink for Taking<'_> {
    fn write<'b>(&'b mut self, stream: StdStream, chunk: Bytes) -> BoxFuture<'b, std::ops::ControlFlow<()>> {
        let room = HEAD_BYTES.saturating_sub(self.head.len()).min(chunk.len());
        self.head.extend_from_slice(chunk.get(..room).unwrap_or_default());
        match &mut self.sink {
            Some(sink) => sink.write(stream, chunk),
            None => futures::future::ready(std::ops::ControlFlow::Break(())).boxed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goroutines_are_not_listed_where_there_are_more_than_allowed() {
        let recorded = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/kube-apiserver/goroutine-debug1.txt");
        let head = std::fs::read(recorded).unwrap();
        let count = goroutines_in(&head).unwrap();
        assert!(head.starts_with(format!("goroutine profile: total {count}\n").as_bytes()));
        assert_eq!(too_many(Some(count), count), None);
        let why = too_many(Some(count), count - 1).unwrap();
        assert!(
            why.starts_with(&format!("{count} goroutines, more than {} (max-dump-goroutines)", count - 1)),
            "{why}"
        );
        for unknown in ["", "goroutine profile: total ", "goroutine profile: total 12", "404 page not found\n"] {
            assert_eq!(goroutines_in(unknown.as_bytes()), None, "{unknown}");
        }
        assert_eq!(too_many(None, 0), None);
    }
}
