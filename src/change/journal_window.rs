//! The daemons' logs of the debug window: their ends are marked just before the change, and what came since is
//! fetched after it is undone. Reads only. The cursor is of the unit's own last entry: with another's,
//! `journalctl --after-cursor -u` leaves a line out (seen with systemd 252).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::shell::{Answer, Script, Shell, ShellError};
use crate::plan::facts::Daemon;
use crate::plan::{Bounds, Encoding, LogFiles, LogOf, NodeFacts};
use crate::printable::printable;
use crate::session::Sink;

const CURSOR: Script = Script {
    name: "the look at the end of the logs",
    text: include_str!("../plan/scripts/cursor.sh"),
    timeout: Duration::from_secs(10),
};
const SUPPRESSED: Script = Script {
    name: "the count of dropped lines",
    text: include_str!("../plan/scripts/suppressed.sh"),
    timeout: Duration::from_secs(20),
};
/// First version of systemd with `-o short-iso-precise`.
const PRECISE: u32 = 237;
/// Longer ones are no cursors of journald's.
const CURSOR_AT_MOST: usize = 300;

/// Where the logs ended before a change.
#[derive(Debug, Clone)]
pub struct Cursors {
    taken: Instant,
    /// The node's clock then, seconds since 1970.
    at: Option<u64>,
    places: BTreeMap<LogOf, Place>,
}

/// Where a daemon logs, and the end of it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Journal { unit: String, cursor: Option<String>, format: &'static str },
    Files(Vec<FileMark>),
    Nowhere(String),
}

/// The end of a log file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FileMark {
    path: String,
    /// Inode and size; `None` while it is not there.
    end: Option<(u64, u64)>,
    /// Several programs log there.
    shared: bool,
}

/// What became of the log of a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WindowEnd {
    /// Everything that was logged went to the sink.
    Complete,
    /// The node has no such log; one clause.
    Absent(String),
    /// It could not be read to its end; one sentence. What came until then went to the sink.
    Failed(String),
}

impl Cursors {
    /// Returns the command that reads a daemon's log since the mark, for the manifest; empty where there is none.
    #[must_use]
    pub fn command(&self, which: LogOf) -> String {
        match self.places.get(&which) {
            Some(Place::Journal { unit, cursor: Some(cursor), format }) => {
                format!("journalctl --no-pager -q --utc --all -o {format} -u {unit} '--after-cursor={cursor}'")
            }
            Some(Place::Journal { unit, cursor: None, format }) => {
                format!("journalctl --no-pager -q --utc --all -o {format} -u {unit} --since={}", self.since())
            }
            Some(Place::Files(marks)) => {
                let from =
                    |mark: &FileMark| format!("{} from byte {}", mark.path, mark.end.map_or(0, |(_, size)| size));
                let from: Vec<String> = marks.iter().filter(|m| m.end.is_some()).map(from).collect();
                format!("window-files.sh: {}", from.join(", "))
            }
            Some(Place::Nowhere(_)) | None => String::new(),
        }
    }

    /// The moment of the mark as journalctl takes it: by the node's clock, or a span before now.
    fn since(&self) -> String {
        self.at.map_or_else(|| format!("-{}s", self.taken.elapsed().as_secs() + 1), |at| format!("@{at}"))
    }

    fn units(&self) -> Vec<&str> {
        self.places
            .values()
            .filter_map(|place| match place {
                Place::Journal { unit, .. } => Some(unit.as_str()),
                Place::Files(_) | Place::Nowhere(_) => None,
            })
            .collect()
    }
}

/// Marks the ends of the logs of dockerd, containerd and the kubelet; to be called just before the change. Files of
/// the operator's own list go before the journal where one of them is there.
///
/// Does not fail: without an answer of the node, journals are read by time.
///
/// # Cancel safety
/// Reads only; dropped early, nothing is lost but the marks.
pub async fn mark(shell: &dyn Shell, facts: &NodeFacts, logs: &LogFiles) -> Cursors {
    let taken = Instant::now();
    let mut places: BTreeMap<LogOf, Place> =
        LogOf::ALL.into_iter().map(|which| (which, place(facts, logs, which))).collect();
    let mut args = Vec::new();
    for (which, place) in &places {
        match place {
            Place::Journal { unit, .. } => args.extend(["unit".to_owned(), which.area().to_owned(), unit.clone()]),
            Place::Files(marks) => {
                for (n, mark) in marks.iter().enumerate() {
                    args.extend(["file".to_owned(), format!("{}.{n}", which.area()), mark.path.clone()]);
                }
            }
            Place::Nowhere(_) => {}
        }
    }
    let answer = shell.run(&CURSOR, &args, Encoding::Plain, None).await.map(|a| a.text()).unwrap_or_default();
    let at = read_marks(&answer, &mut places);
    Cursors { taken, at, places }
}

fn place(facts: &NodeFacts, logs: &LogFiles, which: LogOf) -> Place {
    let (daemon, name) = match which {
        LogOf::Docker => (facts.dockerd.as_ref(), "dockerd"),
        LogOf::Containerd => (facts.containerd.as_ref(), "containerd"),
        LogOf::Kubelet => (facts.kubelet.as_ref(), "the kubelet"),
    };
    let Some(daemon) = daemon else { return Place::Nowhere(format!("{name} was not found")) };
    let own = logs.of(which);
    let mark = |path: &str, shared| FileMark { path: path.to_owned(), end: None, shared };
    let shared = || LogOf::SHARED.map(|path| mark(path, true));
    if own.iter().any(|path| facts.files.get(path) == Some(&true)) {
        return Place::Files(own.iter().map(|path| mark(path, LogOf::SHARED.contains(&path.as_str()))).collect());
    }
    if !(facts.journal && facts.tools.contains_key("journalctl")) {
        return Place::Files(which.usual_files().iter().map(|path| mark(path, false)).chain(shared()).collect());
    }
    match unit(daemon) {
        Some(unit) => {
            let precise = facts.systemd_version.is_some_and(|version| version >= PRECISE);
            let format = if precise { "short-iso-precise" } else { "short-iso" };
            Place::Journal { unit: unit.to_owned(), cursor: None, format }
        }
        None if which == LogOf::Containerd => {
            Place::Nowhere("containerd has no systemd unit of its own: its lines are in dockerd's log".to_owned())
        }
        None => Place::Nowhere(format!("{name} has no systemd unit of its own")),
    }
}

/// The daemon's unit; never an option or a path.
fn unit(daemon: &Daemon) -> Option<&str> {
    daemon.unit.as_deref().filter(|unit| crate::plan::is_unit_name(unit))
}

/// Reads the script's answer; returns the node's clock.
fn read_marks(answer: &str, places: &mut BTreeMap<LogOf, Place>) -> Option<u64> {
    let mut at = None;
    for line in answer.lines() {
        let mut words = line.splitn(3, ' ');
        let (Some(word), Some(key)) = (words.next(), words.next()) else { continue };
        let rest = words.next().unwrap_or_default();
        let (area, n) = key.split_once('.').unwrap_or((key, "0"));
        let which = LogOf::ALL.into_iter().find(|which| which.area() == area);
        match (word, which.and_then(|which| places.get_mut(&which))) {
            ("now", None) => at = key.parse().ok(),
            ("cursor", Some(Place::Journal { cursor, .. })) if is_cursor(rest) => *cursor = Some(rest.to_owned()),
            ("file", Some(Place::Files(marks))) => {
                let mark = n.parse::<usize>().ok().and_then(|n| marks.get_mut(n));
                let end =
                    rest.split_once(' ').and_then(|(inode, size)| Some((inode.parse().ok()?, size.parse().ok()?)));
                if let Some(mark) = mark {
                    mark.end = end;
                }
            }
            _ => {}
        }
    }
    at
}

/// Whether it has the form of journald's cursors: `s=…;i=…;b=…`.
fn is_cursor(text: &str) -> bool {
    (1..=CURSOR_AT_MOST).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'=' | b';' | b'-' | b'_'))
}

/// Fetches what a daemon logged since the mark into `sink`, within `bounds.timeout`; the sink keeps to the bytes.
///
/// # Cancel safety
/// Reads only; the log can be fetched again.
pub async fn fetch(
    shell: &dyn Shell,
    cursors: &Cursors,
    which: LogOf,
    bounds: &Bounds,
    encoding: Encoding,
    sink: &mut dyn Sink,
) -> WindowEnd {
    let (text, args) = match cursors.places.get(&which) {
        Some(Place::Journal { unit, cursor, format }) => {
            let cursor = cursor.clone().unwrap_or_default();
            let args = vec![unit.clone(), cursor, cursors.since(), (*format).to_owned()];
            (include_str!("../plan/scripts/window.sh"), args)
        }
        Some(Place::Files(marks)) => {
            let mut args = vec![which.pattern().to_owned()];
            for mark in marks {
                let (inode, size) =
                    mark.end.map_or(("-".to_owned(), "0".to_owned()), |(i, s)| (i.to_string(), s.to_string()));
                args.extend([mark.path.clone(), inode, size, u8::from(mark.shared).to_string()]);
            }
            (include_str!("../plan/scripts/window-files.sh"), args)
        }
        Some(Place::Nowhere(why)) => return WindowEnd::Absent(why.clone()),
        None => return WindowEnd::Absent("its end was not marked".to_owned()),
    };
    let script = Script { name: "the log of the debug window", text, timeout: bounds.timeout };
    judge(shell.run(&script, &args, encoding, Some(sink)).await)
}

fn judge(answer: Result<Answer, ShellError>) -> WindowEnd {
    match answer {
        Ok(answer) if answer.status == 0 => WindowEnd::Complete,
        Ok(answer) if answer.status == 3 => WindowEnd::Absent("no log file was found".to_owned()),
        Ok(answer) => {
            let words = String::from_utf8_lossy(&answer.err).lines().next().unwrap_or_default().to_owned();
            let words = if words.is_empty() { String::new() } else { format!(": {}", printable(&words, 300)) };
            WindowEnd::Failed(format!("exit status {}{words}", answer.status))
        }
        Err(error) => WindowEnd::Failed(error.to_string()),
    }
}

/// Returns how many lines of the marked units journald dropped since the mark for its rate limit, as far as it has
/// said so: it does with the unit's next line after the interval of 30 s. `None` if the node could not be asked.
///
/// # Cancel safety
/// Reads only.
pub async fn suppressed(shell: &dyn Shell, cursors: &Cursors) -> Option<u64> {
    let units = cursors.units();
    if units.is_empty() {
        return None;
    }
    let answer = shell.run(&SUPPRESSED, &[cursors.since()], Encoding::Plain, None).await;
    answer.ok().map(|answer| count(&answer.text(), &units))
}

/// Sums the lines "N UNIT"; old versions name the unit by its control group.
fn count(answer: &str, units: &[&str]) -> u64 {
    answer
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(_, name)| units.contains(&name.rsplit('/').next().unwrap_or(name)))
        .filter_map(|(n, _)| n.parse::<u64>().ok())
        .fold(0, u64::saturating_add)
}

#[cfg(test)]
#[path = "journal_window_tests.rs"]
mod tests;
