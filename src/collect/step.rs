//! Runs one planned step on a session within its bounds and hands its evidence to the bundle.
//! Decides the outcome; knows nothing of other steps.

use std::ops::ControlFlow;
use std::time::Instant;

use bytes::Bytes;
use futures::future::BoxFuture;
use jiff::Timestamp;
use secrecy::SecretString;

use super::phase::not_run;
use super::stop::{NodeStop, StopCause};
use crate::bundle::{BundleError, BundleWriter, StepEnd, StepSink};
use crate::event::{EventKind, EventSender};
use crate::evidence::{Outcome, StepRecord};
use crate::inventory::NodeName;
use crate::plan::{NodeFacts, PlannedStep, Run};
use crate::printable::printable;
use crate::session::command::{self, CommandEnd, CommandExit, CommandSpec};
use crate::session::{FailureKind, Session, SessionError, Sink, StdStream, Stopped};

/// How much of standard error is looked at for the reason of a failure.
const COMPLAINT_BYTES: usize = 2048;

/// What a step needs besides itself.
pub(crate) struct StepContext<'a> {
    pub(crate) node: &'a NodeName,
    pub(crate) session: &'a Session,
    pub(crate) facts: &'a NodeFacts,
    pub(crate) password: Option<&'a SecretString>,
    pub(crate) bundle: &'a BundleWriter,
    pub(crate) events: &'a EventSender,
    pub(crate) stop: &'a NodeStop,
}

/// Runs `step` and records it.
///
/// # Errors
/// Only when the bundle cannot be written; whatever the node does is an outcome.
///
/// # Cancel safety
/// Not to be dropped: the step would be missing from the bundle. Use the stop.
pub(crate) async fn run_step(
    ctx: &StepContext<'_>,
    step: &PlannedStep,
    run: &Run,
) -> Result<(StepRecord, Option<SessionError>), BundleError> {
    let spec = CommandSpec {
        what: &run.what,
        privileged: run.privileged,
        bounds: &run.bounds,
        encoding: run.encoding,
        stacks_on_timeout: run.stacks_on_timeout,
        shell: &ctx.facts.shell,
        password: ctx.password,
        input: None,
    };
    ctx.events
        .send(EventKind::StepStarted { node: ctx.node.clone(), step: step.id.clone(), timeout: run.bounds.timeout })
        .await;
    let command = command::describe(&spec);
    let started = Timestamp::now();
    let clock = Instant::now();
    let sink = match ctx.bundle.step(step, run.encoding, run.bounds.max_bytes).await {
        Ok(sink) => sink,
        Err(error) => {
            // There is room left for a record at least; if not, there is nothing more to be done.
            drop(ctx.bundle.record(not_run(step, Outcome::Failed, error.to_string())).await);
            return Err(error);
        }
    };
    let mut tally = StepTally::new(sink, ctx.events, ctx.node, step);
    let ended = command::run(ctx.session, &spec, &mut tally, ctx.stop.token()).await;
    let duration = clock.elapsed();

    let mut end = StepEnd {
        command,
        as_root: None,
        started,
        duration,
        outcome: Outcome::Complete,
        detail: None,
        exit_status: None,
        signal: None,
        hung: None,
    };
    let failure = match ended {
        Ok(ended) => {
            judge(&mut end, &ended, run, ctx.stop.cause(), &first_line(&tally.complaint));
            end.hung = ended.hung;
            end.as_root = Some(ended.as_root);
            None
        }
        Err(error) => {
            let cut_short = ctx.stop.cause().filter(|_| error.kind == FailureKind::Cancelled);
            (end.outcome, end.detail) = match (error.kind, cut_short) {
                (_, Some(cause)) => (cause.outcome(), Some(cause.text())),
                (FailureKind::LinkLost, None) => (Outcome::Lost, Some(error.text.clone())),
                _ => (Outcome::Failed, Some(error.text.clone())),
            };
            Some(error)
        }
    };
    let record = tally.finish(end).await?;
    Ok((record, failure))
}

/// Turns the end of a command into outcome and detail.
fn judge(end: &mut StepEnd, ended: &CommandEnd, run: &Run, stop: Option<StopCause>, complaint: &str) {
    let (outcome, detail) = match &ended.exit {
        CommandExit::Code(code) => {
            end.exit_status = Some(*code);
            if !ended.complete {
                (
                    Outcome::Lost,
                    Some(
                        "its output did not arrive whole: the link stalled or ended, or what packs it on the node died"
                            .to_owned(),
                    ),
                )
            } else if run.ok_exit.contains(code) {
                (Outcome::Complete, None)
            } else {
                let said = if complaint.is_empty() { String::new() } else { format!(": {complaint}") };
                (Outcome::Failed, Some(format!("exit status {code}{said}")))
            }
        }
        CommandExit::Signal(signal) => {
            end.signal = Some(signal.clone());
            (Outcome::Failed, Some(format!("ended by signal {signal}")))
        }
        CommandExit::TimedOut => {
            let bound = humantime::format_duration(run.bounds.timeout);
            let mut detail = format!("no end within {bound}");
            if !ended.unkillable.is_empty() {
                let pids: Vec<String> = ended.unkillable.iter().map(ToString::to_string).collect();
                detail.push_str(&format!("; cannot be killed, still on the node: pid {}", pids.join(", ")));
            }
            (Outcome::TimedOut, Some(detail))
        }
        CommandExit::NotStarted(words) => (Outcome::Failed, Some(format!("sudo did not start it: {words}"))),
        CommandExit::Stopped(Stopped::Sink) => (Outcome::Truncated, None),
        CommandExit::Stopped(Stopped::Cancelled) => {
            let cause = stop.unwrap_or(StopCause::Operator);
            (cause.outcome(), Some(cause.text()))
        }
        CommandExit::Stopped(Stopped::Deadline) => {
            (Outcome::TimedOut, Some("no end came from the node within the bound; stopped from here".to_owned()))
        }
        CommandExit::Unknown => {
            (Outcome::Lost, Some("the link ended while the command ran, or the shell around it was killed".to_owned()))
        }
    };
    end.outcome = outcome;
    end.detail = detail;
    if run.privileged && !ended.as_root {
        let note = "ran without root's rights";
        end.detail = Some(end.detail.take().map_or_else(|| note.to_owned(), |d| format!("{d}; {note}")));
    }
}

/// Returns the first line that says something, printable; the writer redacts it with the rest.
fn first_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    // A line cut at the bound might hold half a secret that no rule knows: whole lines only.
    let whole =
        if bytes.len() < COMPLAINT_BYTES { &*text } else { text.rsplit_once('\n').map_or("", |(whole, _)| whole) };
    whole.lines().map(str::trim).find(|line| !line.is_empty()).map(|line| printable(line, 160)).unwrap_or_default()
}

/// Passes chunks on and tells the display how many bytes there are so far.
pub(super) struct StepTally<'a> {
    sink: StepSink,
    events: &'a EventSender,
    node: &'a NodeName,
    step: &'a PlannedStep,
    /// The beginning of standard error.
    complaint: Vec<u8>,
}

impl<'a> StepTally<'a> {
    pub(super) const fn new(
        sink: StepSink,
        events: &'a EventSender,
        node: &'a NodeName,
        step: &'a PlannedStep,
    ) -> Self {
        Self { sink, events, node, step, complaint: Vec::new() }
    }

    pub(super) const fn step(&self) -> &'a PlannedStep {
        self.step
    }

    /// See [`StepSink::finish`].
    pub(super) async fn finish(self, end: StepEnd) -> Result<StepRecord, BundleError> {
        self.sink.finish(end).await
    }
}

impl Sink for StepTally<'_> {
    fn write<'a>(&'a mut self, stream: StdStream, chunk: Bytes) -> BoxFuture<'a, ControlFlow<()>> {
        if stream == StdStream::Err {
            let room = COMPLAINT_BYTES.saturating_sub(self.complaint.len()).min(chunk.len());
            self.complaint.extend_from_slice(chunk.get(..room).unwrap_or_default());
        }
        Box::pin(async move {
            let flow = self.sink.write(stream, chunk).await;
            self.events.progress(self.node, &self.step.id, self.sink.received());
            flow
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{COMPLAINT_BYTES, first_line};

    #[test]
    fn the_reason_of_a_failure_is_the_first_whole_line() {
        for (said, want) in [
            (&b""[..], ""),
            (b"\n  \npermission denied\nmore\n", "permission denied"),
            (b"no line break", "no line break"),
            (b"\x1b[31mred\n", "red"),
        ] {
            assert_eq!(first_line(said), want, "{said:?}");
        }
        assert_eq!(first_line(&vec![b'x'; COMPLAINT_BYTES]), "");
    }
}
