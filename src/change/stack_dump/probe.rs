//! Asks the node what must be known before a dump, and reads what the scripts say. Whatever a node prints is bounded
//! and no more than data.

use std::time::Duration;

use super::{DumpEnd, DumpTarget, Subject, Writes, seconds, shown, size};
use crate::change::shell::{Answer, Script, Shell, ShellError};
use crate::plan::facts::Daemon;
use crate::plan::placeholder::{dockerd_socket, is_sound_path};
use crate::plan::{Encoding, NodeFacts};

const PROBE: Script = Script {
    name: "the look at a daemon before its dump",
    text: concat!(
        include_str!("../../plan/scripts/docker-api.sh"),
        include_str!("../../plan/scripts/go-dumps.sh"),
        include_str!("../scripts/stack-probe.sh")
    ),
    timeout: Duration::from_secs(25),
};
const CHECK: &str = include_str!("../scripts/stack-check.sh");

/// What the probe found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Found {
    pub(super) gone: bool,
    pub(super) state: String,
    pub(super) start: Option<u64>,
    pub(super) exe: String,
    pub(super) uid: Option<u32>,
    /// It is in the host's pid namespace.
    pub(super) host: bool,
    pub(super) flock: bool,
    pub(super) version: String,
    pub(super) dirs: Vec<String>,
    pub(super) lock: String,
    pub(super) free_kib: Option<u64>,
    /// What lies where containerd would write: `none`, `file`, `symlink`, `foreign`.
    pub(super) existing: String,
    pub(super) goroutines: Option<u64>,
    pub(super) monitors: Vec<String>,
}

/// Returns the pairs of a script's `key=value` lines.
pub(super) fn pairs(text: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(text);
    let lines = text.lines().take(1000).filter_map(|line| line.split_once('='));
    lines.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

impl Found {
    pub(super) fn parse(text: &[u8]) -> Self {
        let mut found = Self::default();
        for (key, value) in pairs(text) {
            match key.as_str() {
                "gone" => found.gone = true,
                "state" => found.state = value.chars().take(1).collect(),
                "start" => found.start = value.parse().ok(),
                "exe" => found.exe = value,
                "uid" => found.uid = value.parse().ok(),
                "host" => found.host = true,
                "flock" => found.flock = true,
                "version" => found.version = value,
                "dir" if is_sound_path(&value) && found.dirs.len() < 2 => found.dirs.push(value),
                "lock" if is_sound_path(&value) => found.lock = value,
                "free-kib" => found.free_kib = value.trim().parse().ok(),
                "existing" => found.existing = value,
                "goroutines" => found.goroutines = value.parse().ok(),
                "monitor" if found.monitors.len() < 8 => {
                    let name = shown(&value);
                    if !found.monitors.contains(&name) {
                        found.monitors.push(name);
                    }
                }
                _ => {}
            }
        }
        found
    }
}

/// Runs the probe.
pub(super) async fn ask(
    shell: &dyn Shell,
    facts: &NodeFacts,
    subject: Subject,
    daemon: &Daemon,
) -> Result<Found, ShellError> {
    let pid = |daemon: Option<&Daemon>| daemon.and_then(|d| d.pid).map(|p| p.to_string()).unwrap_or_default();
    let parent = if subject == Subject::Containerd { pid(facts.dockerd.as_ref()) } else { String::new() };
    let args = [subject.to_string(), pid(Some(daemon)), dockerd_socket(facts), parent];
    let answer = shell.run(&PROBE, &args, Encoding::Plain, None).await?;
    Ok(Found::parse(&answer.out))
}

/// Waits until the script that takes a dump has ended, and returns what it left, a clause.
pub(super) async fn left(shell: &dyn Shell, subject: Subject, run: &str, patience: Duration) -> Option<String> {
    let (a, b) = run.split_at_checked(run.len() / 2).unwrap_or((run, ""));
    let script = Script { name: "the look for what a dump left", text: CHECK, timeout: patience * 2 };
    let seconds = patience.as_secs().to_string();
    let args = [subject.to_string(), a.to_owned(), b.to_owned(), "/run".to_owned(), seconds];
    let unknown = || Some(format!("a dump of {subject}, which could not be looked for"));
    match shell.run(&script, &args, Encoding::Plain, None).await {
        Ok(answer) => {
            let said = pairs(&answer.out);
            match said.iter().find(|(key, _)| matches!(key.as_str(), "residue" | "running" | "clean")) {
                Some((key, _)) if key == "clean" => None,
                Some((key, value)) if key == "residue" => Some(receipt_left(subject, value)),
                Some(_) => Some(format!("the script that takes {subject}'s dump still runs")),
                None => unknown(),
            }
        }
        Err(_) => unknown(),
    }
}

fn receipt_left(subject: Subject, receipt: &str) -> String {
    format!("a dump of {subject} that may be there or come later, by the receipt {}", shown(receipt))
}

/// Reads how the taking of a dump ended. `received` is known where the bytes came as they were.
pub(super) fn dump_end(target: &DumpTarget, answer: &Answer, received: Option<u64>, patience: Duration) -> DumpEnd {
    let subject = target.subject;
    let said = pairs(&answer.err);
    let get = |name: &str| said.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let number = |name: &str| get(name).and_then(|v| v.trim().parse::<u64>().ok());
    let clock = |name: &str| get(name).and_then(fine);
    let bytes = number("bytes").or(received).unwrap_or(0);
    let signalled = get("signalled").is_some();
    let clean = get("clean").is_some() || (target.writes == Writes::Journal && answer.status == 0);
    let waited = number("waited-cs").map(|cs| Duration::from_millis(cs.saturating_mul(10)));
    // By the file's own time where the node tells it to the millisecond; the script looks 20 times a second.
    let by_clock = clock("written").zip(clock("signalled")).and_then(|(to, from)| to.checked_sub(from));
    let took = by_clock.filter(|t| waited.is_none_or(|w| *t <= w + Duration::from_millis(20))).or(waited);
    let freeze = number("ping-cs").map(|cs| Duration::from_millis(cs.saturating_mul(10)));
    let whole = received.is_none_or(|n| n == bytes);
    let complete = get("streamed").is_some() && bytes_or_packed(bytes, received) && whole;
    let residue = match get("residue") {
        Some(receipt) => Some(receipt_left(subject, receipt)),
        None if signalled && !clean => {
            Some(format!("a dump of {subject}: the script on the node did not come to its end"))
        }
        None => None,
    };
    let wait = seconds(patience);
    let text = match (get("refused"), complete) {
        (Some(why), _) => refusal(subject, target, why),
        (None, true) => {
            let took = took.map(|t| format!(" in {}", seconds(t))).unwrap_or_default();
            let freeze = freeze.map(|f| format!(", longest ping {}", seconds(f))).unwrap_or_default();
            let bytes = if bytes > 0 { size(bytes) } else { "the dump".to_owned() };
            format!("{bytes}{took} measured{freeze}")
        }
        (None, false) if get("died").is_some() => format!("{subject} ended before its dump was there"),
        (None, false) if get("late").is_some() => {
            format!("{subject} has written no dump within {wait} after SIGUSR1; it may still come")
        }
        (None, false) if bytes > 0 => format!("the dump of {subject} was not sent to its end"),
        (None, false) => format!("no dump of {subject}: the script on the node ended with status {}", answer.status),
    };
    let name = get("name").map(shown).unwrap_or_default();
    let died = get("died").is_some();
    DumpEnd { sample: 0, complete, signalled, text, bytes, name, residue, died, took, freeze, begun: None, ended: None }
}

fn bytes_or_packed(bytes: u64, received: Option<u64>) -> bool {
    bytes > 0 || received.is_none()
}

/// Reads seconds with decimals; `None` where there are none, because whole seconds measure nothing.
fn fine(text: &str) -> Option<Duration> {
    let (whole, part) = text.trim().split_once('.')?;
    let nanos: u32 = format!("{:0<9}", part.get(..part.len().min(9))?).parse().ok()?;
    Some(Duration::new(whole.parse().ok()?, nanos.min(999_999_999)))
}

fn refusal(subject: Subject, target: &DumpTarget, why: &str) -> String {
    let dir = target.dirs.first().map_or("", String::as_str);
    let pid = target.process.pid;
    match why {
        "gone" => format!("{subject} is not the process any more that it was: no signal was sent"),
        "busy" => format!("another operator takes stacks of {subject} at this moment: no signal was sent"),
        "directory" => format!("{dir}, where {subject} dumps, is gone: no signal was sent"),
        "receipt" => format!(
            "no receipt could be written to /run (full, or one of this run is there): {subject} was sent no signal"
        ),
        "aside" => format!("the dump that is in {dir} could not be put aside: {subject} was sent no signal"),
        "foreign" => {
            format!("{dir}/containerd.{pid}.stacks.log is not a file of root's alone: {subject}'s dump was not read")
        }
        "journal" => format!("the journal of {subject} cannot be read: no signal was sent"),
        other => match other.strip_prefix("state ") {
            Some(state) => format!(
                "{subject} is not running (state {}): SIGUSR1 would take effect after we are gone",
                shown(state)
            ),
            None => format!("{subject} was sent no signal: {}", shown(other)),
        },
    }
}
