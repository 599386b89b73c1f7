//! Whether a daemon may be sent SIGUSR1: by its version, its state, what the dump will cost. Pure.

use std::time::Duration;

use super::probe::Found;
use super::{Subject, seconds, shown, size};
use crate::change::receipt::{Check, Verdict};
use crate::plan::ChangePolicy;
use crate::plan::facts::Daemon;
use crate::wording;

/// Bytes of a dump by goroutine: 15.6 MB for 10,038 (seen with docker 20.10).
const BYTES_EACH: u64 = 1600;
/// Time the world stands still by goroutine, in microseconds: 0.85 s for 10,038 (seen with docker 20.10).
const MICROSECONDS_EACH: u64 = 90;
/// Free space that is enough for a dump of unknown size: some 10,000 goroutines fit into a quarter of it.
const UNKNOWN_NEEDS: u64 = 64 << 20;
/// Health monitors take a daemon for dead after 60 s (kubernetes `health-monitor.sh`); well below that is no matter.
const MONITORS_NOTICE: Duration = Duration::from_secs(10);

/// Where a dump goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Writes {
    /// Into a file.
    #[default]
    File,
    /// Into the daemon's log, as one line.
    Journal,
}

/// What a dump will cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// Number of goroutines before it.
    pub goroutines: u64,
    /// Size of the file.
    pub bytes: u64,
    /// For so long the daemon does nothing else.
    pub freeze: Duration,
}

impl Estimate {
    /// Returns the estimate for so many goroutines.
    #[must_use]
    pub const fn of(goroutines: u64) -> Self {
        Self {
            goroutines,
            bytes: goroutines.saturating_mul(BYTES_EACH),
            freeze: Duration::from_micros(goroutines.saturating_mul(MICROSECONDS_EACH)),
        }
    }

    /// Returns it in words.
    #[must_use]
    pub fn words(&self) -> String {
        let count = wording::count(usize::try_from(self.goroutines).unwrap_or(usize::MAX), "goroutine");
        format!("{count}: about {} and {} of freeze expected", size(self.bytes), seconds(self.freeze))
    }
}

/// What a daemon does on SIGUSR1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OnSignal {
    Dumps(Writes),
    /// It must not be sent; the reason, a sentence without its beginning.
    Not(&'static str),
}

/// Returns major and minor of the first thing that looks like a version, and whether it is as late as `1.13.0`-like
/// numbers need: three numbers, missing ones 0.
pub(super) fn version(words: &str) -> Option<(u32, u32, u32)> {
    words.split([' ', ',']).find_map(|word| {
        let word = word.strip_prefix('v').unwrap_or(word);
        let mut numbers = word.split(|c: char| !c.is_ascii_digit());
        let major = numbers.next()?.parse().ok()?;
        // A date, a commit or a single number is no version.
        word.get(..word.find('.')?).filter(|m| m.bytes().all(|b| b.is_ascii_digit()))?;
        let minor = numbers.next()?.parse().ok()?;
        Some((major, minor, numbers.next().and_then(|n| n.parse().ok()).unwrap_or(0)))
    })
}

/// Returns what this version does on SIGUSR1.
pub(super) fn on_signal(subject: Subject, version: (u32, u32, u32)) -> OnSignal {
    match subject {
        // moby: pkg/signal/trap.go of 1.8 to 1.12, daemon/debugtrap.go from 1.13.
        Subject::Dockerd => match version {
            (0, ..) | (1, ..=7, _) => OnSignal::Not("has no goroutine dump: SIGUSR1 would not do it"),
            (1, 8..=12, _) => OnSignal::Dumps(Writes::Journal),
            (1, ..) | (17, ..=5, _) => OnSignal::Not(
                "can crash on SIGUSR1 (moby#33598): its stacks are taken by pprof alone, while debug is on",
            ),
            _ => OnSignal::Dumps(Writes::File),
        },
        // containerd: main.go of 0.2.4, cmd/containerd/command/main.go from 1.0; the file came with 1.3.
        Subject::Containerd => match version {
            (0, ..=1, _) | (0, 2, ..=3) => OnSignal::Not("has no goroutine dump: it ignores SIGUSR1"),
            (0, ..) | (1, ..=2, _) => OnSignal::Dumps(Writes::Journal),
            _ => OnSignal::Dumps(Writes::File),
        },
    }
}

/// What [`judge`] lets through: way, estimate, checks, warnings.
pub(super) type Judged = (Writes, Option<Estimate>, Vec<Check>, Vec<String>);

/// Judges what was found. `Err` holds the refusal, one sentence, and the checks so far.
pub(super) fn judge(
    subject: Subject,
    daemon: &Daemon,
    found: &Found,
    policy: &ChangePolicy,
) -> Result<Judged, (String, Vec<Check>)> {
    let mut checks = Vec::new();
    let mut warnings = Vec::new();
    let refuse = |mut checks: Vec<Check>, id: &str, text: String| {
        checks.push(Check { id: id.to_owned(), verdict: Verdict::Refuse, text: text.clone() });
        Err((text, checks))
    };
    let pass = |id: &str, text: String| Check { id: id.to_owned(), verdict: Verdict::Pass, text };
    if let Err(text) = is_it(subject, daemon, found) {
        return refuse(checks, "S1", text);
    }
    checks.push(pass("S1", format!("pid {} is {subject}, state {}", daemon.pid.unwrap_or_default(), found.state)));
    let writes = match version(&found.version).map(|v| on_signal(subject, v)) {
        Some(OnSignal::Dumps(writes)) => writes,
        Some(OnSignal::Not(why)) => {
            return refuse(checks, "P19", format!("{subject} {} {why}.", shown(&found.version)));
        }
        None => {
            let text = format!("{subject} does not tell its version, and some versions crash on SIGUSR1: not sent.");
            return refuse(checks, "P19", text);
        }
    };
    checks.push(pass("S2", shown(&found.version)));
    let Some(dir) = found.dirs.first() else {
        return refuse(checks, "S3", format!("the directory {subject} would dump into is not there."));
    };
    match found.existing.as_str() {
        "symlink" | "foreign" => {
            let what = if found.existing == "symlink" { "a symlink" } else { "not a file of root's alone" };
            let pid = daemon.pid.unwrap_or_default();
            let text = format!("{dir}/containerd.{pid}.stacks.log is {what}: containerd would write through it.");
            return refuse(checks, "P19", text);
        }
        "file" => warnings.push(format!(
            "a dump of containerd's was there before in {dir}: it is put aside meanwhile, and put back."
        )),
        _ => {}
    }
    let estimate = found.goroutines.map(Estimate::of);
    match cost(subject, found, estimate, policy) {
        Err(text) => return refuse(checks, "P19", text),
        Ok(text) => checks.push(pass("P19", text)),
    }
    if estimate.is_some_and(|e| e.freeze > MONITORS_NOTICE) && !found.monitors.is_empty() {
        let text = format!(
            "{} on this node may take {subject} for dead while it is frozen for about {}.",
            found.monitors.join(" and "),
            seconds(estimate.map_or(Duration::ZERO, |e| e.freeze))
        );
        checks.push(Check { id: "P20".to_owned(), verdict: Verdict::Warn, text: text.clone() });
        warnings.push(text);
    }
    if !found.flock {
        warnings.push("the node has no flock: two operators at once could get one dump between them.".to_owned());
    }
    Ok((writes, estimate, checks, warnings))
}

fn is_it(subject: Subject, daemon: &Daemon, found: &Found) -> Result<(), String> {
    let pid = daemon.pid.unwrap_or_default();
    let names: &[&str] = match subject {
        Subject::Dockerd => &["dockerd", "dockerd-current", "dockerd-latest", "docker-current"],
        Subject::Containerd => &["containerd", "docker-containerd", "docker-containerd-current"],
    };
    let exe = found.exe.strip_suffix(" (deleted)").unwrap_or(&found.exe);
    let name = exe.rsplit('/').next().unwrap_or_default();
    if found.gone || daemon.start_ticks.is_none_or(|start| Some(start) != found.start) {
        return Err(format!("{subject} is not the process any more that it was at the beginning: it was restarted."));
    }
    if !names.contains(&name) {
        return Err(format!("pid {pid} is {}, not {subject}: SIGUSR1 could end it.", shown(exe)));
    }
    if found.uid != Some(0) || !found.host {
        return Err(format!("pid {pid} is not this node's own {subject}: it is in a container, or not root's."));
    }
    match found.state.as_str() {
        "R" | "S" | "I" => Ok(()),
        "T" | "t" => {
            Err(format!("{subject} is stopped (state {}): SIGUSR1 would take effect after we are gone.", found.state))
        }
        "D" => Err(format!("{subject} is stuck in the kernel (state D): SIGUSR1 would take effect after we are gone.")),
        other => Err(format!("{subject} is dying (state {}): it can dump nothing.", shown(other))),
    }
}

/// Returns the words for a cost that can be borne, or why it cannot.
fn cost(subject: Subject, found: &Found, estimate: Option<Estimate>, policy: &ChangePolicy) -> Result<String, String> {
    let free = found.free_kib.map(|k| k.saturating_mul(1024));
    let dir = found.dirs.first().map_or("", String::as_str);
    match (estimate, free) {
        (Some(estimate), _) if estimate.goroutines > policy.max_dump_goroutines => Err(format!(
            "{subject} has {}, more than max-dump-goroutines ({}): a dump would freeze it for about {}; pprof alone is \
             taken.",
            wording::count(usize::try_from(estimate.goroutines).unwrap_or(usize::MAX), "goroutine"),
            policy.max_dump_goroutines,
            seconds(estimate.freeze),
        )),
        (Some(estimate), Some(free)) if estimate.bytes > free / 4 => Err(format!(
            "the dump of {subject} would take about {} of the {} that are free in {dir}.",
            size(estimate.bytes),
            size(free),
        )),
        (Some(estimate), _) => Ok(estimate.words()),
        (None, Some(free)) if free < UNKNOWN_NEEDS => Err(format!(
            "only {} are free in {dir}, and how large the dump of {subject} will be is not known.",
            size(free),
        )),
        (None, Some(free)) => Ok(format!("number of goroutines not known; {} are free in {dir}", size(free))),
        (None, None) => Err(format!("neither the size of {subject}'s dump nor the free space in {dir} is known.")),
    }
}

#[cfg(test)]
mod tests;
