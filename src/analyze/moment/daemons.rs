//! Moments by the logs of dockerd, containerd and CRI-O, and by what systemd says of their units.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{Found, MomentKind, gaps, ours};
use crate::analyze::burst::Bursts;
use crate::analyze::finding::Severity;
use crate::analyze::log::containerd::{self, ContainerdEvent};
use crate::analyze::log::crio::{self, CrioEvent};
use crate::analyze::log::dockerd::{self, DockerdEvent};
use crate::analyze::log::seams::Seams;
use crate::analyze::log::{LogLine, LogReader};
use crate::analyze::units::UnitHistory;

/// What is farther apart is another burst.
const GAP: SignedDuration = SignedDuration::from_mins(5);
/// So many starts within one burst are a loop.
const LOOP: u64 = 3;
/// Events that are put together into one kind of thing: what it is called, how grave.
type What = (MomentKind, Severity, &'static str);

/// What one daemon's log tells.
#[derive(Default)]
struct Told {
    bursts: BTreeMap<What, Bursts>,
    units: UnitHistory,
    seams: Seams,
}

impl Told {
    fn note(&mut self, line: &LogLine<'_>, what: What, name: &str) {
        self.bursts.entry(what).or_insert_with(|| Bursts::new(GAP)).add(line, name);
    }
}

/// Reads one event into what is told; `ours` says whether we may have done that at that time, which is told elsewhere.
type Reader = fn(&mut Told, &LogLine<'_>, &dyn Fn(Timestamp) -> bool);

const LOGS: [(&str, &str, &str, Reader); 3] = [
    ("dockerd", "docker/journal", "docker/journal.txt", docker),
    ("containerd", "containerd/journal", "containerd/journal.txt", containerd),
    ("CRI-O", "cri/crio-journal", "cri/crio-journal.txt", crio),
];

pub(super) fn read(found: &mut Found<'_>) {
    let windows = ours::windows(found.view);
    let ours = |time: Timestamp| windows.iter().any(|(from, to)| (*from..=*to).contains(&time));
    for (name, step, file, take) in LOGS {
        let Some(input) = found.view.open(file) else { continue };
        let mut reader = LogReader::new(input, found.view.clock());
        let mut told = Told::default();
        // What was read before an error is evidence, too.
        while let Ok(Some(line)) = reader.next_line() {
            told.seams.see(&line);
            told.units.see(&line);
            take(&mut told, &line, &ours);
        }
        told.units.close();
        for ((kind, severity, what), bursts) in &told.bursts {
            for burst in bursts.kept() {
                let looping = *kind == MomentKind::Start && burst.span.count >= LOOP;
                let severity = if looping { Severity::Warning } else { *severity };
                found.burst(*kind, severity, burst, file, &format!("{name} {what}"));
            }
        }
        units(found, name, file, &told.units);
        gaps::of_log(found, name, step, file, &told.seams);
    }
}

/// Tells what systemd said of a daemon's unit.
pub(super) fn units(found: &mut Found<'_>, name: &str, file: &str, units: &UnitHistory) {
    let all: [(&Bursts, MomentKind, Severity, &str); 5] = [
        (&units.starts, MomentKind::Start, Severity::Info, "started"),
        (&units.stops, MomentKind::Stop, Severity::Info, "stopped"),
        (&units.failures, MomentKind::Stop, Severity::Warning, "ended or failed"),
        (&units.ooms, MomentKind::OomKill, Severity::Critical, "lost a process for want of memory"),
        (&units.signals, MomentKind::Daemon, Severity::Info, "was sent a signal through systemd"),
    ];
    for (bursts, kind, severity, what) in all {
        for burst in bursts.kept() {
            let halted = burst.names.iter().any(|(signal, _)| matches!(signal.as_str(), "SIGSTOP" | "SIGKILL"));
            let severity = if halted { Severity::Warning } else { severity };
            found.burst(kind, severity, burst, file, &format!("{name} {what}"));
        }
    }
}

fn docker(told: &mut Told, line: &LogLine<'_>, ours: &dyn Fn(Timestamp) -> bool) {
    use MomentKind::{Daemon, Deadlines, Start};
    let Some(event) = dockerd::read(line) else { return };
    let by_us = line.happened().is_some_and(ours);
    match event {
        DockerdEvent::Starting => {
            told.units.own_start();
            told.note(line, (Start, Severity::Info, "started"), "");
        }
        DockerdEvent::Stopping => told.units.own_stop(line),
        DockerdEvent::Reloaded { debug } if !by_us => {
            let (on, off) = ("read its configuration again: debug is on", "read its configuration again: debug is off");
            told.note(line, (Daemon, Severity::Info, if debug { on } else { off }), "");
        }
        DockerdEvent::ReloadFailed(why) => {
            told.note(line, (Daemon, Severity::Warning, "could not read its configuration again"), &why);
        }
        DockerdEvent::StacksWritten(_) if !by_us => {
            told.note(line, (Daemon, Severity::Info, "wrote its goroutines"), "");
        }
        DockerdEvent::FailedToExit { after_kill: true, .. } => {
            told.note(line, (Daemon, Severity::Critical, "has a container that outlives SIGKILL"), "");
        }
        DockerdEvent::FailedToExit { .. } => {
            told.note(line, (Daemon, Severity::Warning, "has a container that did not end in time"), "");
        }
        DockerdEvent::HealthCheckFailed { .. } => {
            told.note(line, (Daemon, Severity::Info, "says that health checks failed"), "");
        }
        DockerdEvent::RequestFailed { method, path, deadline: true, .. } => {
            told.note(line, (Deadlines, Severity::Warning, "requests ran out of time"), &request(&method, &path));
        }
        DockerdEvent::RemoveFailed { .. } => {
            told.note(line, (Daemon, Severity::Warning, "could not remove a container's file system"), "");
        }
        DockerdEvent::ContainerdLost(_) => {
            told.note(line, (Daemon, Severity::Critical, "lost containerd"), "");
        }
        DockerdEvent::DeadlineExceeded { .. } => {
            told.note(line, (Deadlines, Severity::Warning, "says that time ran out"), "");
        }
        _ => {}
    }
}

/// Names a request without the container it was about and without its version and query.
fn request(method: &str, path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default();
    let part = |part: &str| {
        let id = part.len() >= 12 && part.bytes().all(|b| b.is_ascii_hexdigit());
        if id { "ID".to_owned() } else { part.to_owned() }
    };
    let is_version = |part: &&str| !(part.starts_with('v') && part.contains('.'));
    let parts: Vec<String> = path.split('/').filter(is_version).map(part).collect();
    format!("{method} {}", parts.join("/"))
}

fn containerd(told: &mut Told, line: &LogLine<'_>, ours: &dyn Fn(Timestamp) -> bool) {
    use MomentKind::{Daemon, Deadlines, OomKill, Start};
    let Some(event) = containerd::read(line) else { return };
    match event {
        ContainerdEvent::Starting { version } => {
            told.units.own_start();
            told.note(line, (Start, Severity::Info, "started"), &version);
        }
        ContainerdEvent::Stopping => told.units.own_stop(line),
        ContainerdEvent::StacksWritten(_) if !line.happened().is_some_and(ours) => {
            told.note(line, (Daemon, Severity::Info, "wrote its goroutines"), "");
        }
        ContainerdEvent::Failed { what, deadline: true, .. } => {
            told.note(line, (Deadlines, Severity::Warning, "says that time ran out"), &what);
        }
        ContainerdEvent::Failed { what, .. } => {
            told.note(line, (Daemon, Severity::Info, "says that calls failed"), &what);
        }
        ContainerdEvent::TaskOom { .. } => {
            told.note(line, (OomKill, Severity::Warning, "saw a container killed for want of memory"), "");
        }
        ContainerdEvent::CniLoadFailed(_) => {
            told.note(line, (Daemon, Severity::Warning, "could not load the network's configuration"), "");
        }
        _ => {}
    }
}

fn crio(told: &mut Told, line: &LogLine<'_>, _: &dyn Fn(Timestamp) -> bool) {
    use MomentKind::{Daemon, Deadlines, OomKill, Start};
    let Some(event) = crio::read(line) else { return };
    match event {
        CrioEvent::Starting { version } => {
            told.units.own_start();
            told.note(line, (Start, Severity::Info, "started"), &version);
        }
        CrioEvent::Stopping => told.units.own_stop(line),
        CrioEvent::Retried { stage } => {
            let what = (Deadlines, Severity::Warning, "is asked again for what it is still making");
            told.note(line, what, stage.as_deref().unwrap_or_default());
        }
        CrioEvent::StopTimedOut { .. } => {
            told.note(line, (Daemon, Severity::Warning, "has a container that did not end in time"), "");
        }
        CrioEvent::Failed { what, deadline: true, .. } => {
            told.note(line, (Deadlines, Severity::Warning, "says that time ran out"), &what);
        }
        CrioEvent::Failed { what, .. } => told.note(line, (Daemon, Severity::Info, "says that calls failed"), &what),
        CrioEvent::Oom { .. } => {
            told.note(line, (OomKill, Severity::Warning, "saw a container killed for want of memory"), "");
        }
        CrioEvent::CniFailed(_) => {
            told.note(line, (Daemon, Severity::Warning, "could not make a pod's network"), "");
        }
    }
}
