//! What systemd says about units: started, stopped, the main process's end. Lines of the identifier `systemd`.

use super::LogLine;

/// What happened to a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitEvent {
    /// `Starting …`: the start has begun.
    Starting,
    /// `Started …`: it runs.
    Started,
    /// `Stopping …`.
    Stopping,
    /// `Stopped …`, or deactivated successfully.
    Stopped,
    /// `Reloading …` or `Reloaded …`.
    Reloaded,
    /// The main process ended.
    Exited {
        /// `exited`, `killed` or `dumped`.
        code: String,
        /// As systemd says it: `1/FAILURE`, `9/KILL`.
        status: String,
    },
    /// The unit failed, with systemd's word for why: `exit-code`, `timeout`, `oom-kill`.
    Failed(String),
    /// The kernel killed a process of the unit for want of memory.
    OomKilled,
    /// A start job or stop job took too long and was ended.
    TimedOut,
    /// Somebody had systemd send the main process a signal: `SIGSTOP`, `SIGKILL`. systemd 249 and later say so.
    Signaled(String),
    /// A restart was scheduled; systemd's count of them.
    RestartScheduled(u64),
}

/// A unit and what happened to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitLine {
    /// The unit's name if the line has it (`docker.service`), else its description: systemd before 249 writes
    /// `Started Docker Application Container Engine.`
    pub unit: String,
    /// What happened.
    pub event: UnitEvent,
}

/// Returns what a line of PID 1 says; `None` for lines of others and for what no rule needs.
#[must_use]
pub fn read(line: &LogLine<'_>) -> Option<UnitLine> {
    if line.identifier != Some("systemd") {
        return None;
    }
    let message = line.message.raw();
    let jobs = [
        ("Starting ", "...", UnitEvent::Starting),
        ("Started ", ".", UnitEvent::Started),
        ("Finished ", ".", UnitEvent::Started),
        ("Stopping ", "...", UnitEvent::Stopping),
        ("Stopped ", ".", UnitEvent::Stopped),
        ("Reloading ", "...", UnitEvent::Reloaded),
        ("Reloaded ", ".", UnitEvent::Reloaded),
        ("Failed to start ", ".", UnitEvent::Failed("start".to_owned())),
    ];
    for (verb, end, event) in jobs {
        if let Some(rest) = message.strip_prefix(verb) {
            let named = rest.strip_suffix(end).unwrap_or(rest);
            let unit = named.split_once(" - ").map_or(named, |(unit, _)| unit);
            return Some(UnitLine { unit: unit.to_owned(), event });
        }
    }
    let (unit, what) = message.split_once(": ")?;
    if unit.contains(' ') || !unit.contains('.') {
        return None;
    }
    let event = of_unit(what)?;
    Some(UnitLine { unit: unit.to_owned(), event })
}

fn of_unit(what: &str) -> Option<UnitEvent> {
    // Small before systemd 230.
    if let Some(rest) = what.get(1..).and_then(|w| w.strip_prefix("ain process exited, ")) {
        let part = |key: &str| {
            let value = rest.split_once(key).map_or("", |(_, v)| v);
            value.split(',').next().unwrap_or_default().to_owned()
        };
        return Some(UnitEvent::Exited { code: part("code="), status: part("status=") });
    }
    if let Some(rest) = what.strip_prefix("Failed with result '") {
        return Some(UnitEvent::Failed(rest.trim_end_matches(['.', '\'']).to_owned()));
    }
    if let Some(rest) = what.strip_prefix("Scheduled restart job, restart counter is at ") {
        return Some(UnitEvent::RestartScheduled(rest.trim_end_matches('.').parse().ok()?));
    }
    if let Some(rest) = what.strip_prefix("Sent signal ") {
        return Some(UnitEvent::Signaled(rest.split(' ').next()?.to_owned()));
    }
    match what {
        "Deactivated successfully." | "Succeeded." => Some(UnitEvent::Stopped),
        w if w.contains("killed by the OOM killer") => Some(UnitEvent::OomKilled),
        w if w.contains("timed out") => Some(UnitEvent::TimedOut),
        _ => None,
    }
}
