//! Dumps of goroutines: dockerd and containerd write one to a file when they get SIGUSR1. Each is taken by one script on
//! the node, which removes the file before it sends what was in it; should we die, it goes on to its end without us.
//!
//! Facts: SIGUSR1 of dockerd moby 20.10 `daemon/debugtrap_unix.go`, of containerd 1.6 `cmd/containerd/command/main.go`;
//! both seen with 20.10 and 1.6.

mod probe;
mod rules;
mod shims;

use std::fmt;
use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use jiff::Timestamp;

use super::receipt::{ChangeRecord, Check};
use super::shell::{Script, Shell, ShellError};
use super::{Permit, Process};
use crate::evidence::ChangeState;
use crate::plan::facts::Rights;
use crate::plan::{ChangeId, ChangePolicy, Encoding, NodeFacts};
use crate::printable::printable;
use crate::session::{Sink, StdStream};
use crate::wording;

pub use rules::{Estimate, Writes};
pub use shims::shims;

const TAKE: &str = concat!(
    include_str!("../plan/scripts/docker-api.sh"),
    include_str!("../plan/scripts/go-dumps.sh"),
    include_str!("scripts/stack-dump.sh")
);
/// For another operator's dump to end.
const QUEUE: Duration = Duration::from_secs(30);
/// For a dump to be written, beyond the time its size lets expect.
const PATIENCE: Duration = Duration::from_secs(10);
/// For what is read from the node's disk and crosses the wire; nothing is left on the node by then.
const TRANSFER: Duration = Duration::from_secs(180);

/// Costs that the summary names.
const REMARKABLE_GOROUTINES: u64 = 1000;
const REMARKABLE_FREEZE: Duration = Duration::from_millis(250);

/// A daemon that dumps its goroutines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// dockerd.
    Dockerd,
    /// containerd, of its own or dockerd's.
    Containerd,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Dockerd => "dockerd",
            Self::Containerd => "containerd",
        })
    }
}

/// A daemon that can be asked for its stacks, and where it puts them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpTarget {
    /// Which.
    pub subject: Subject,
    /// The process; signalled only while pid, start and executable are these.
    pub process: Process,
    /// Unit in whose journal its lines are.
    pub journal: Option<String>,
    /// Directories it may write to, as it names them; the first that is there is taken by the daemon.
    pub dirs: Vec<String>,
    /// Directory that is locked meanwhile.
    pub lock: String,
    /// Where the dump goes.
    pub writes: Writes,
    /// Socket of dockerd's API, pinged during the dump.
    pub socket: Option<String>,
}

/// A dump that may be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// Of what.
    pub target: DumpTarget,
    /// What it will cost; `None` where the number of goroutines is not known.
    pub estimate: Option<Estimate>,
    /// The checks, in order.
    pub checks: Vec<Check>,
    /// What the operator should know, one sentence each.
    pub warnings: Vec<String>,
}

/// How the taking of one dump ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DumpEnd {
    /// Which sample, from 1.
    pub sample: u8,
    /// The whole dump was sent.
    pub complete: bool,
    /// The signal was sent.
    pub signalled: bool,
    /// What went wrong, or what was measured; one sentence.
    pub text: String,
    /// Bytes of the dump on the node.
    pub bytes: u64,
    /// Its file's name on the node.
    pub name: String,
    /// What may be left on the node, a clause.
    pub residue: Option<String>,
    /// The daemon was another process, or gone, before the dump was there.
    pub died: bool,
    /// From the signal to the complete file.
    pub took: Option<Duration>,
    /// The longest ping of dockerd's API meanwhile.
    pub freeze: Option<Duration>,
    /// When the signal was about to be sent, operator's clock.
    pub begun: Option<Timestamp>,
    /// When it was over, operator's clock.
    pub ended: Option<Timestamp>,
}

/// Finds out whether a daemon may be asked for its stacks, and what that costs. Reads only.
///
/// # Errors
/// The record of a dump that is not taken, with the reason.
///
/// # Cancel safety
/// Reads only; dropped early, a script may go on on the node for its bound.
pub async fn prepare(
    shell: &dyn Shell,
    facts: &NodeFacts,
    subject: Subject,
    policy: &ChangePolicy,
) -> Result<Prepared, Box<ChangeRecord>> {
    let not = |state: ChangeState, text: String| {
        let mut record = ChangeRecord::not_made(ChangeId::StackDump, &subject.to_string(), state, text);
        record.describe = describe(subject);
        Box::new(record)
    };
    if let Some(why) = policy.forbids(ChangeId::StackDump) {
        return Err(not(ChangeState::Skipped, format!("{why}.")));
    }
    if facts.shell.rights == Rights::None {
        let text = format!("{subject} was sent no signal: that needs root's rights on the node, by root or sudo.");
        return Err(not(ChangeState::Refused, text));
    }
    let (daemon, owner) = match subject {
        Subject::Dockerd => (facts.dockerd.as_ref(), None),
        Subject::Containerd => (facts.containerd.as_ref(), facts.dockerd.as_ref()),
    };
    let daemon = daemon.ok_or_else(|| not(ChangeState::Skipped, format!("{subject} was not found on this node.")))?;
    if let Some(why) = daemon.stopped(&subject.to_string()) {
        return Err(not(ChangeState::Skipped, format!("{why}.")));
    }
    let answer = probe::ask(shell, facts, subject, daemon)
        .await
        .map_err(|e| not(ChangeState::Refused, format!("the checks before {subject}'s dump were not made: {e}.")))?;
    let judged = rules::judge(subject, daemon, &answer, policy);
    if let Err((text, checks)) = judged {
        let mut record = not(ChangeState::Refused, text);
        record.checks = checks;
        return Err(record);
    }
    let (writes, estimate, checks, warnings) = judged.unwrap_or_default();
    let process = Process {
        pid: daemon.pid.unwrap_or_default(),
        start_ticks: daemon.start_ticks.unwrap_or_default(),
        exe: answer.exe.clone(),
        unit: daemon.unit.clone(),
    };
    // Started by dockerd, it logs where dockerd does.
    let journal = daemon.unit.clone().or_else(|| owner?.unit.clone()).filter(|_| facts.journal);
    if writes == Writes::Journal && journal.is_none() {
        let text = format!("{subject} {} dumps into its log, and there is no journal to read it from.", answer.version);
        return Err(not(ChangeState::Refused, text));
    }
    let socket = (subject == Subject::Dockerd).then(|| crate::plan::placeholder::dockerd_socket(facts));
    let target = DumpTarget { subject, process, journal, dirs: answer.dirs, lock: answer.lock, writes, socket };
    Ok(Prepared { target, estimate, checks, warnings })
}

fn describe(subject: Subject) -> String {
    format!("SIGUSR1 makes {subject} write the stacks of its goroutines to a file, which is fetched and removed.")
}

/// Takes one dump; its bytes go to the sink, packed as asked for. Nothing of it is left on the node when the first byte
/// comes, unless [`DumpEnd::residue`] says so.
///
/// # Cancel safety
/// Dropped early, the node finishes and tidies up by itself; the dump is lost.
pub async fn take(
    shell: &dyn Shell,
    prepared: &Prepared,
    _permit: Permit,
    operator_run_id: &str,
    sample: u8,
    sink: &mut dyn Sink,
    encoding: Encoding,
) -> DumpEnd {
    let target = &prepared.target;
    let patience = patience(prepared);
    let script = Script { name: "the taking of stacks", text: TAKE, timeout: QUEUE + patience + TRANSFER };
    let run = run_name(operator_run_id);
    let args = arguments(target, &run, patience);
    let begun = Timestamp::now();
    let mut counted = Counted { sink, bytes: 0 };
    let answer = shell.run(&script, &args, encoding, Some(&mut counted)).await;
    let received = counted.bytes;
    let mut end = match answer {
        Ok(answer) => probe::dump_end(target, &answer, (encoding == Encoding::Plain).then_some(received), patience),
        Err(error @ ShellError::NotAllowed { .. }) => DumpEnd { text: error.to_string(), ..DumpEnd::default() },
        // The script goes on without us, and undoes everything; whether it did is seen by another connection.
        Err(error) => DumpEnd {
            text: error.to_string(),
            residue: probe::left(shell, target.subject, &run, QUEUE + patience).await,
            signalled: true,
            ..DumpEnd::default()
        },
    };
    end.sample = sample;
    end.begun = Some(begun);
    end.ended = Some(Timestamp::now());
    end
}

fn arguments(target: &DumpTarget, run: &str, patience: Duration) -> Vec<String> {
    let dir = |n: usize| target.dirs.get(n).cloned().unwrap_or_default();
    vec![
        target.subject.to_string(),
        target.process.pid.to_string(),
        target.process.start_ticks.to_string(),
        target.process.exe.clone(),
        if target.writes == Writes::Journal { "journal" } else { "file" }.to_owned(),
        target.journal.clone().unwrap_or_default(),
        dir(0),
        dir(1),
        target.lock.clone(),
        target.socket.clone().unwrap_or_default(),
        run.to_owned(),
        run.to_owned(),
        "/run".to_owned(),
        QUEUE.as_secs().to_string(),
        patience.as_secs().to_string(),
    ]
}

/// Returns the run's id as part of a file's name.
fn run_name(id: &str) -> String {
    id.chars().take(100).map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect()
}

/// Looks again whether something of a dump is left, where that was so or could not be seen when it was taken: the link may
/// be back, and the script on the node has ended since.
///
/// # Cancel safety
/// Reads only.
pub async fn look_again(shell: &dyn Shell, prepared: &Prepared, operator_run_id: &str, end: &mut DumpEnd) {
    if end.residue.is_some() {
        let patience = QUEUE + patience(prepared);
        end.residue = probe::left(shell, prepared.target.subject, &run_name(operator_run_id), patience).await;
    }
}

/// How long a dump is waited for.
fn patience(prepared: &Prepared) -> Duration {
    PATIENCE + prepared.estimate.map_or(Duration::ZERO, |e| e.freeze) * 4
}

/// Puts the record together from all samples. `node` is the node's name in the inventory.
#[must_use]
pub fn conclude(prepared: &Prepared, ends: &[DumpEnd], node: &str) -> ChangeRecord {
    let subject = prepared.target.subject;
    let residue: Vec<String> = ends.iter().filter_map(|e| e.residue.clone()).collect();
    let signalled = ends.iter().any(|e| e.signalled);
    let state = if !residue.is_empty() {
        ChangeState::StillChanged
    } else if ends.iter().any(|e| e.died) {
        ChangeState::EndedByRestart
    } else if signalled {
        ChangeState::Reverted
    } else {
        ChangeState::Refused
    };
    let figures = match prepared.estimate {
        Some(estimate) if signalled => format!("{}; {}", estimate.words(), samples(ends)),
        _ => samples(ends),
    };
    let text = words(prepared, ends);
    let mut record = ChangeRecord::not_made(ChangeId::StackDump, &subject.to_string(), state, text);
    record.describe = describe(subject);
    record.checks.clone_from(&prepared.checks);
    record.warnings.clone_from(&prepared.warnings);
    record.applied = ends.iter().find(|e| e.signalled).and_then(|e| e.begun);
    record.reverted = ends.last().and_then(|e| e.ended).filter(|_| signalled && residue.is_empty());
    let process = &prepared.target.process;
    record.before.insert("pid".to_owned(), process.pid.to_string());
    record.before.insert("start-ticks".to_owned(), process.start_ticks.to_string());
    if let Some(estimate) = prepared.estimate {
        record.before.insert("expected".to_owned(), estimate.words());
    }
    record.after.extend(ends.iter().map(|end| (format!("sample-{}", end.sample), end.text.clone())));
    record.mend = (!residue.is_empty()).then(|| format!("plegcollect revert --nodes {node}"));
    record.differences = residue;
    record.log = vec![figures];
    // containerd logs what it writes to the file, too (containerd@v1.6.20:cmd/containerd/command/main.go:392).
    if signalled && (subject == Subject::Containerd || prepared.target.writes == Writes::Journal) {
        record.remains.push(format!("each dump is in the log of {subject} as well, and wherever that is shipped to"));
    }
    record
}

/// What the summary says: the same for all nodes where nothing is remarkable, so that they stand together.
fn words(prepared: &Prepared, ends: &[DumpEnd]) -> String {
    let subject = prepared.target.subject;
    let whole = |end: &DumpEnd| end.complete && end.residue.is_none() && !end.died;
    let often = match ends.len() {
        0 => return format!("no dump of {subject} was asked for."),
        1 => "once",
        2 => "twice",
        _ => "several times",
    };
    if !ends.iter().all(whole) {
        return format!("{subject}: {}", samples(ends));
    }
    let left = match prepared.target.writes {
        Writes::File => "files removed",
        Writes::Journal => "they stay in its log",
    };
    let text = format!("{subject} dumped its goroutines {often}, {left}");
    let estimate = prepared.estimate;
    let dear = estimate.is_some_and(|e| e.goroutines > REMARKABLE_GOROUTINES || e.freeze >= REMARKABLE_FREEZE)
        || ends.iter().any(|e| e.freeze.max(e.took).is_some_and(|freeze| freeze >= REMARKABLE_FREEZE));
    if !dear {
        return text;
    }
    let expected = estimate.map(|e| format!("{}; ", e.words())).unwrap_or_default();
    format!("{text} ({expected}{})", samples(ends))
}

fn samples(ends: &[DumpEnd]) -> String {
    ends.iter().map(|e| format!("sample {}: {}", e.sample, e.text)).collect::<Vec<_>>().join("; ")
}

/// Passes a sink's bytes on and counts them.
struct Counted<'a> {
    sink: &'a mut dyn Sink,
    bytes: u64,
}

impl Sink for Counted<'_> {
    fn opened(&mut self) {
        self.sink.opened();
    }

    fn write<'a>(&'a mut self, stream: StdStream, chunk: Bytes) -> BoxFuture<'a, ControlFlow<()>> {
        self.bytes += chunk.len() as u64;
        self.sink.write(stream, chunk)
    }
}

/// Text of a node as it is shown: one line, bounded.
fn shown(text: &str) -> String {
    printable(text, 200)
}

/// A duration with two digits behind the point, in seconds.
fn seconds(d: Duration) -> String {
    format!("{:.2} s", d.as_secs_f64())
}

fn size(bytes: u64) -> String {
    wording::bytes(bytes)
}

#[cfg(test)]
mod tests;
