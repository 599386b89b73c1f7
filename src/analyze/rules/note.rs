//! What rules share: a finding in the making, files read within a bound, the sentence that a file is missing, and words for
//! names, times and counts. Knows no cause.

use std::io::Read;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::analyze::finding::{Finding, Layer, Severity};
use crate::analyze::log::Clock;
use crate::analyze::tables::dmesg::{KernelLine, KernelReader};
use crate::analyze::view::NodeView;
use crate::bundle::layout;
use crate::evidence::Outcome;
use crate::plan::NodeFacts;
use crate::wording;

/// Bytes read of a table; the longest, of 600 containers, has less than 1 MB.
const MOST_BYTES: u64 = 32 << 20;
/// Columns of a name from a node within a sentence.
const NAME: usize = 72;
/// Events kept of one kernel log; a disk that dies writes many thousands.
const KERNEL_EVENTS: usize = 20_000;

/// What happened within this is taken for part of the present trouble; incidents are looked at on the day.
pub(super) const RECENT: Duration = Duration::from_secs(24 * 3600);

/// A [`Finding`] in the making, cited line by line.
pub(super) struct Note(Finding);

impl Note {
    pub(super) fn new(view: &NodeView, id: &str, severity: Severity, sentence: &str) -> Self {
        Self(Finding::new(&view.node, id, severity, sentence))
    }

    pub(super) fn layer(self, layer: Layer) -> Self {
        Self(self.0.blames(layer))
    }

    /// Cites one line; line 0 stands for the whole file.
    pub(super) fn cite(self, file: &str, line: u64) -> Self {
        Self(self.0.cites(file, line, line))
    }

    pub(super) fn cite_all(self, file: &str, lines: impl IntoIterator<Item = u64>) -> Self {
        lines.into_iter().fold(self, |note, line| note.cite(file, line))
    }

    pub(super) fn next(self, next: &str) -> Self {
        Self(self.0.then(next))
    }

    pub(super) fn signature(self, signature: &str) -> Self {
        Self(self.0.alike(signature))
    }

    pub(super) fn done(self) -> Finding {
        self.0
    }
}

/// A file that a rule needs.
pub(super) struct Source {
    /// The rule.
    pub(super) rule: &'static str,
    /// The step that makes it.
    pub(super) step: &'static str,
    /// Its path.
    pub(super) file: &'static str,
    /// What cannot be said without it: `how full the disks are`.
    pub(super) says: &'static str,
}

/// Reads a file; what was not read is said in `found`, once.
pub(super) fn read(view: &NodeView, source: &Source, found: &mut Vec<Finding>) -> Option<String> {
    let text = text(view, source.file);
    if text.is_none() {
        found.extend(missing(view, source));
    } else if view.step(source.step).is_some_and(|step| !step.outcome.is_clean()) {
        let why = view.why_missing(source.step).unwrap_or_default();
        let Source { rule, file, says, .. } = source;
        let sentence =
            format!("It cannot be said for certain {says}: {file} is not whole: {}.", why.trim_end_matches('.'));
        found.push(Note::new(view, &format!("{rule}/incomplete"), Severity::Info, &sentence).cite(file, 0).done());
    }
    text
}

/// Says that a file is missing and why. Silent where the step was not for this bundle at all.
pub(super) fn missing(view: &NodeView, source: &Source) -> Option<Finding> {
    let Source { rule, file, says, .. } = source;
    let why = view.why_missing(source.step)?;
    let sentence = format!("It cannot be said {says}: {file} is missing: {}.", why.trim_end_matches('.'));
    Some(Note::new(view, &format!("{rule}/missing"), Severity::Info, &sentence).done())
}

/// Says [`missing`] of a file that a daemon's step makes; a node without that daemon has nothing to miss.
pub(super) fn missing_of_daemon(view: &NodeView, source: &Source) -> Option<Finding> {
    let absent = view.step(source.step).is_some_and(|step| step.outcome == Outcome::Absent);
    missing(view, source).filter(|_| !absent)
}

/// Says that a file has another form than the one that can be read.
pub(super) fn unreadable(view: &NodeView, source: &Source, wanted: &str) -> Finding {
    let Source { rule, file, says, .. } = source;
    let sentence = format!("It cannot be said {says}: {file} is not the output of {wanted}.");
    Note::new(view, &format!("{rule}/unreadable"), Severity::Info, &sentence).cite(file, 0).done()
}

/// Returns the text of a file, at most 32 MB of it; what is not UTF-8 is replaced.
pub(in crate::analyze) fn text(view: &NodeView, file: &str) -> Option<String> {
    let mut bytes = Vec::new();
    // What was read before an error is evidence, too.
    let _ = view.open(file)?.take(MOST_BYTES).read_to_end(&mut bytes);
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns a name from a node, safe to print and short.
pub(super) fn name(text: &str) -> String {
    wording::cut(&wording::safe(text), NAME)
}

/// Lists the first few of some names, and how many more there are.
pub(super) fn some(names: &[String], most: usize) -> String {
    let mut shown: Vec<String> = names.iter().take(most).map(|n| name(n)).collect();
    if names.len() > most {
        shown.push(format!("{} more", names.len() - most));
    }
    shown.join(", ")
}

/// Lists how often each name occurs, the most frequent first: `3 × nginx, 1 × etcd`.
pub(super) fn counted(names: impl IntoIterator<Item = String>, most: usize) -> String {
    let mut count = std::collections::BTreeMap::<String, usize>::new();
    for name in names {
        *count.entry(name).or_default() += 1;
    }
    let mut list: Vec<(String, usize)> = count.into_iter().collect();
    list.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let words: Vec<String> = list.iter().map(|(name, n)| format!("{n} × {}", self::name(name))).collect();
    some(&words, most)
}

/// Counts processes: `1 process`, `2 runc processes`.
pub(super) fn processes(n: usize, kind: &str) -> String {
    format!("{n} {kind}{}", if n == 1 { "process" } else { "processes" })
}

/// Returns a count as a floating-point number.
#[expect(clippy::cast_precision_loss, reason = "shares and rates for people")]
pub(in crate::analyze) const fn float(n: u64) -> f64 {
    n as f64
}

/// Returns what the probe found, if it is in the bundle.
pub(in crate::analyze) fn facts(view: &NodeView) -> Option<NodeFacts> {
    serde_json::from_str(&text(view, layout::FACTS)?).ok()
}

/// Returns when the node was looked at, by its own clock.
pub(super) fn collected(view: &NodeView) -> Option<Timestamp> {
    view.collected()
}

/// Returns how to date stamps that leave out the year.
pub(super) fn clock(view: &NodeView) -> Clock {
    Clock::utc(collected(view).unwrap_or_else(Timestamp::now))
}

/// Words a time: `Nov 20 21:29:08 UTC`.
pub(super) fn at(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "an unknown time".to_owned(), |t| t.strftime("%b %d %H:%M:%S UTC").to_string())
}

/// Words the time between two: `8m02s`.
pub(super) fn between(from: Timestamp, to: Timestamp) -> String {
    let span = to.duration_since(from).max(SignedDuration::ZERO);
    wording::whole_seconds(Duration::try_from(span).unwrap_or_default())
}

/// Words seconds: `0.004 s`, `2m00s`.
pub(super) fn seconds(value: f64) -> String {
    if value < 60.0 {
        return format!("{value:.3} s");
    }
    Duration::try_from_secs_f64(value).map_or_else(|_| format!("{value:.0} s"), wording::whole_seconds)
}

/// Returns what the kernel's log says, 20,000 events at most.
pub(super) fn kernel(view: &NodeView) -> Vec<KernelLine> {
    let Some(file) = view.open(KERNEL) else { return Vec::new() };
    let mut reader = KernelReader::new(file, view.kernel_clock());
    std::iter::from_fn(|| reader.next_event().ok().flatten()).take(KERNEL_EVENTS).collect()
}

/// The kernel's log.
pub(super) const KERNEL: &str = "kernel/dmesg.txt";

/// Returns how long before the collection a line of the kernel was written.
pub(super) fn age(view: &NodeView, line: &KernelLine) -> Option<Duration> {
    if let Some(time) = line.time {
        let age = collected(view)?.duration_since(time);
        return Some(Duration::try_from(age).unwrap_or_default());
    }
    let up = view.manifest.as_ref().and_then(|m| m.facts.as_ref()).and_then(|f| f.uptime_s);
    let up = up.or_else(|| facts(view)?.uptime_s)?;
    Duration::try_from_secs_f64(float(up) - line.after_boot?).ok()
}

/// Tells whether a line belongs to the present trouble; one whose age is not known does.
pub(super) fn is_recent(view: &NodeView, line: &KernelLine) -> bool {
    age(view, line).is_none_or(|age| age < RECENT)
}

/// Words the age of the last of some lines.
pub(super) fn last_of(view: &NodeView, line: &KernelLine) -> String {
    age(view, line).map_or_else(|| "at an unknown time".to_owned(), |a| format!("{} ago", wording::whole_seconds(a)))
}
