//! Phases on scripted ground, in paused time: the order of steps, room, lost links, stops, a full disk.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::stop::{RunStop, StopCause};
use super::*;
use crate::plan::{Bounds, Encoding, Phase, What};

const SECOND: Duration = Duration::from_secs(1);

/// A connection that can be cut and narrowed.
struct Wire {
    slots: AtomicUsize,
    cut: AtomicBool,
}

impl Wire {
    fn new(slots: usize) -> Arc<Self> {
        Arc::new(Self { slots: slots.into(), cut: false.into() })
    }
}

impl Link for Arc<Wire> {
    fn slots(&self) -> usize {
        self.slots.load(Ordering::SeqCst)
    }

    fn lost(&self) -> Option<SessionError> {
        self.cut.load(Ordering::SeqCst).then(|| SessionError::new(FailureKind::LinkLost, "the wire was cut"))
    }
}

/// What a step does besides taking its seconds.
#[derive(Clone, Copy)]
enum Deed {
    /// Cuts the connection at its end.
    Cut,
    /// The server allows one step at a time from now on.
    Narrow,
    /// Is not started: commands do not start any more.
    Stall,
    /// Its evidence cannot be stored.
    Disk,
    /// The operator stops the run; the step ends at once.
    Stop,
}

struct Stage {
    seconds: BTreeMap<String, u64>,
    deeds: BTreeMap<String, Deed>,
    /// Connections to be had after the first.
    spare: Mutex<Vec<Arc<Wire>>>,
    operator: CancellationToken,
    running: AtomicUsize,
    begun: Instant,
    /// `+step@second`, with `!` where others were running; `=step outcome` for what was not run.
    log: Mutex<Vec<String>>,
}

impl Stage {
    fn note(&self, line: String) {
        self.log.lock().unwrap().push(line);
    }
}

impl Ground for Stage {
    type Link = Arc<Wire>;

    async fn run(
        &self,
        link: &Arc<Wire>,
        step: &PlannedStep,
        _: &Run,
    ) -> Result<(StepRecord, Option<SessionError>), BundleError> {
        let id = step.id.as_str();
        let others = self.running.fetch_add(1, Ordering::SeqCst);
        self.note(format!("+{}@{} {}", &id[2..], self.begun.elapsed().as_secs(), others + 1));
        let deed = self.deeds.get(id).copied();
        tokio::time::sleep(SECOND * u32::try_from(self.seconds[id]).unwrap()).await;
        self.running.fetch_sub(1, Ordering::SeqCst);
        let mut record = not_run(step, Outcome::Complete, String::new());
        let mut failure = None;
        match deed {
            Some(Deed::Cut) => {
                link.cut.store(true, Ordering::SeqCst);
                record.outcome = Outcome::Lost;
            }
            Some(Deed::Narrow) => link.slots.store(1, Ordering::SeqCst),
            Some(Deed::Stall) => {
                record.outcome = Outcome::Failed;
                failure = Some(SessionError::new(FailureKind::ExecStalled, "commands do not start"));
            }
            Some(Deed::Disk) => return Err(BundleError::Ended { path: "b".into() }),
            Some(Deed::Stop) => {
                self.operator.cancel();
                record.outcome = Outcome::Cancelled;
            }
            None => {}
        }
        Ok((record, failure))
    }

    async fn record(&self, record: StepRecord) -> Result<(), BundleError> {
        let detail = record.detail.unwrap_or_default();
        self.note(format!("={} {}: {detail}", &record.id.as_str()[2..], record.outcome.word()));
        Ok(())
    }

    async fn reconnect(
        &self,
        gone: Arc<Wire>,
        error: &SessionError,
        left: usize,
    ) -> Result<Arc<Wire>, (Arc<Wire>, SessionError)> {
        self.note(format!("again for {left}: {error}"));
        match self.spare.lock().unwrap().pop() {
            Some(wire) => Ok(wire),
            None => Err((gone, SessionError::new(FailureKind::Refused, "refused"))),
        }
    }
}

/// Writes steps as `name:seconds`, `NAME:seconds` for heavy ones, `name-` for absent ones.
fn steps(text: &str) -> (Vec<PlannedStep>, BTreeMap<String, u64>) {
    let mut seconds = BTreeMap::new();
    let steps = text.split_whitespace().map(|word| {
        let (name, time) = word.split_once([':', '-']).unwrap();
        let id = format!("t/{}", name.to_lowercase());
        seconds.insert(id.clone(), time.parse().unwrap_or(0));
        let run = Run {
            what: What::Argv(vec!["true".into()]),
            privileged: false,
            bounds: Bounds { timeout: SECOND, grace: SECOND, max_bytes: 1 },
            ok_exit: vec![0],
            encoding: Encoding::Plain,
            stacks_on_timeout: false,
        };
        PlannedStep {
            id: id.parse().unwrap(),
            file: format!("{id}.txt"),
            phase: Phase::Before,
            action: if word.ends_with('-') { Action::Absent("no tool".into()) } else { Action::Run(run) },
            about: String::new(),
            heavy: name != name.to_lowercase(),
        }
    });
    (steps.collect(), seconds)
}

struct Play {
    slots: usize,
    parallel: usize,
    spare: usize,
    deeds: &'static [(&'static str, Deed)],
}

const PLAIN: Play = Play { slots: 8, parallel: 2, spare: 0, deeds: &[] };

/// Plays a phase and returns its log and tally; every step is counted exactly once.
async fn play(text: &str, play: Play) -> (Vec<String>, Tally) {
    let (steps, seconds) = steps(text);
    let operator = CancellationToken::new();
    let stop = NodeStop::new(&RunStop::new(&operator));
    let stage = Stage {
        seconds,
        deeds: play.deeds.iter().map(|(id, deed)| (format!("t/{id}"), *deed)).collect(),
        spare: Mutex::new((0..play.spare).map(|_| Wire::new(play.slots)).collect()),
        operator,
        running: AtomicUsize::new(0),
        begun: Instant::now(),
        log: Mutex::default(),
    };
    let mut tally = Tally::default();
    PhaseRun::new(&stage, play.parallel, &stop, &mut tally, steps.iter()).finish(Wire::new(play.slots)).await;
    let counts = tally.counts;
    let all = counts.complete + counts.absent + counts.skipped + counts.truncated + counts.timed_out;
    assert_eq!(all + counts.failed + counts.lost, steps.len(), "every step is accounted for: {counts:?}");
    (stage.log.into_inner().unwrap(), tally)
}

#[tokio::test(start_paused = true)]
async fn order_is_kept_and_room_is_used() {
    let (log, tally) = play("a:3 b:1 c:1 x- d:5", PLAIN).await;
    assert_eq!(log, ["+a@0 1", "+b@0 2", "=x absent: no tool", "+c@1 2", "+d@2 2"]);
    assert!(tally.counts.is_clean() && tally.missing.is_empty() && tally.failure.is_none());
}

#[tokio::test(start_paused = true)]
async fn heavy_steps_run_one_at_a_time_and_nothing_overtakes_them() {
    let (log, _) = play("H:4 a:1 G:2 b:1", Play { parallel: 4, ..PLAIN }).await;
    assert_eq!(log, ["+h@0 1", "+a@0 2", "+g@4 1", "+b@4 2"], "b waits for its turn behind g");
}

#[tokio::test(start_paused = true)]
async fn room_shrinks_with_the_slots() {
    let deeds = &[("a", Deed::Narrow)];
    let (log, _) = play("a:1 b:3 c:1 d:1", Play { deeds, ..PLAIN }).await;
    assert_eq!(log, ["+a@0 1", "+b@0 2", "+c@3 1", "+d@4 1"]);
    let (log, _) = play("a:1 b:1", Play { slots: 0, ..PLAIN }).await;
    assert_eq!(log, ["+a@0 1", "+b@1 1"], "never none at all");
}

#[tokio::test(start_paused = true)]
async fn a_lost_link_is_mended_and_the_rest_runs() {
    let deeds = &[("b", Deed::Cut)];
    let (log, tally) = play("a:3 b:1 c:1 d:1", Play { spare: 1, deeds, ..PLAIN }).await;
    assert_eq!(log, ["+a@0 1", "+b@0 2", "again for 2: the wire was cut", "+c@3 1", "+d@3 2"]);
    assert_eq!((tally.counts.complete, tally.counts.lost), (3, 1));
    assert!(tally.failure.is_none(), "the rest was got");
}

#[tokio::test(start_paused = true)]
async fn a_second_loss_ends_the_phase() {
    let deeds = &[("a", Deed::Cut), ("b", Deed::Cut)];
    let (log, tally) = play("a:1 b:1 c:1 x- d:1", Play { parallel: 1, spare: 2, deeds, ..PLAIN }).await;
    let lost = "lost: not run: the wire was cut";
    assert_eq!(
        log,
        [
            "+a@0 1",
            "again for 4: the wire was cut",
            "+b@1 1",
            &format!("=c {lost}"),
            "=x absent: no tool",
            &format!("=d {lost}")
        ]
    );
    assert_eq!(tally.failure.unwrap().text, "the wire was cut");
    assert_eq!(tally.missing.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_get_back_in_records_the_rest() {
    let deeds = &[("a", Deed::Stall)];
    let (log, tally) = play("a:1 b:1 c:1", Play { parallel: 1, deeds, ..PLAIN }).await;
    assert_eq!(
        log[1..],
        ["again for 2: commands do not start", "=b lost: not run: refused", "=c lost: not run: refused"]
    );
    assert_eq!(tally.failure.unwrap().kind, FailureKind::Refused);
}

#[tokio::test(start_paused = true)]
async fn a_loss_after_the_last_step_mends_nothing() {
    let deeds = &[("b", Deed::Cut)];
    let (log, tally) = play("a:1 b:1", Play { spare: 1, deeds, ..PLAIN }).await;
    assert_eq!(log, ["+a@0 1", "+b@0 2"]);
    assert!(tally.failure.is_none(), "the step itself tells of it");
}

#[tokio::test(start_paused = true)]
async fn a_stop_records_the_rest_and_mends_nothing() {
    let deeds = &[("a", Deed::Stop), ("b", Deed::Cut)];
    let (log, tally) = play("a:1 b:2 c:1 x- d:1", Play { spare: 1, deeds, ..PLAIN }).await;
    let cancelled = "cancelled: the run was stopped";
    assert_eq!(log, ["+a@0 1", "+b@0 2", &format!("=c {cancelled}"), "=x absent: no tool", &format!("=d {cancelled}")]);
    assert_eq!(tally.counts.lost, 4);
    assert!(tally.missing.contains(&"t/c: cancelled: the run was stopped".to_owned()), "{:?}", tally.missing);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_records_the_rest() {
    let deeds = &[("a", Deed::Disk)];
    let (log, tally) = play("a:1 b:3 c:1 d:1", Play { spare: 1, deeds, ..PLAIN }).await;
    let lost = "lost: not run: its evidence could not be stored";
    assert_eq!(log, ["+a@0 1", "+b@0 2", &format!("=c {lost}"), &format!("=d {lost}")], "b is drained first");
    assert_eq!((tally.counts.failed, tally.counts.complete), (1, 1));
    assert!(tally.disk.is_some() && tally.failure.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_named() {
    let run = RunStop::new(&CancellationToken::new());
    run.stop(StopCause::RunDeadline(SECOND * 60));
    let stop = NodeStop::new(&run);
    let (steps, seconds) = steps("a:1");
    let stage = Stage {
        seconds,
        deeds: BTreeMap::new(),
        spare: Mutex::default(),
        operator: CancellationToken::new(),
        running: AtomicUsize::new(0),
        begun: Instant::now(),
        log: Mutex::default(),
    };
    let mut tally = Tally::default();
    PhaseRun::new(&stage, 4, &stop, &mut tally, steps.iter()).finish(Wire::new(8)).await;
    assert_eq!(stage.log.into_inner().unwrap(), ["=a lost: the run's deadline of 1m passed"]);
}
