//! Control-plane containers that exited, with their last lines: alone, or beside one that was started again.

use std::time::Duration;

use super::note::{self, Note, Source};
use crate::analyze::finding::{Finding, Layer, Severity};
use crate::analyze::tables::crictl::{self, Made};
use crate::analyze::tables::docker_ps::{self, State};
use crate::analyze::tables::sections::sections;
use crate::analyze::view::NodeView;
use crate::wording;

/// Static pods of kubeadm and its like.
const NAMES: [&str; 4] = ["kube-apiserver", "etcd", "kube-controller-manager", "kube-scheduler"];
/// Starts of one container; upgrades, reboots and lost elections make some, over the years also more.
const STARTS: u32 = 10;
/// One that runs for so long is in no loop: the pauses between starts grow to 5 minutes.
const SETTLED: Duration = Duration::from_secs(6 * 3600);
/// Columns of a last line.
const LINE: usize = 200;

const LOGS: Source = Source {
    rule: "control",
    step: "cri/logs",
    file: "cri/logs/control-plane.txt",
    says: "what exited control-plane containers said last",
};
const DOCKER_PS: &str = "docker/ps.txt";
const CRI_PS: &str = "cri/ps.txt";

/// A control-plane container as a list has it.
struct Seen {
    name: &'static str,
    id: String,
    runs: bool,
    attempt: u32,
    age: Option<Duration>,
    file: &'static str,
    line: u64,
}

pub(super) fn check(view: &NodeView) -> Vec<Finding> {
    let mut found = Vec::new();
    let logs = note::read(view, &LOGS, &mut found);
    let mut seen = Vec::new();
    let now = note::collected(view);
    let docker = note::text(view, DOCKER_PS);
    let cri = note::text(view, CRI_PS);
    for c in docker_ps::parse(docker.as_deref().unwrap_or_default()) {
        let Some(kube) = c.kube_name() else { continue };
        let (runs, ended) = (c.state == State::Up, matches!(c.state, State::Exited(_)));
        if let Some(name) = known(kube.container).filter(|_| runs || ended) {
            let (attempt, age) = (kube.attempt, c.since.or(c.age));
            seen.push(Seen { name, id: c.id.clone(), runs, attempt, age, file: DOCKER_PS, line: c.line });
        }
    }
    // The logs' own list has what exited; only the whole list can say that one runs.
    for (text, file) in [(cri.as_deref(), CRI_PS), (logs.as_deref().filter(|_| cri.is_none()), LOGS.file)] {
        for c in crictl::containers(text.unwrap_or_default()) {
            let (runs, ended) = (c.state == "Running", c.state == "Exited");
            if let Some(name) = known(&c.name).filter(|_| runs || ended) {
                let attempt = c.attempt.unwrap_or_default();
                let age = match c.made {
                    Some(Made::Ago(age)) => Some(age),
                    Some(Made::At(time)) => now.and_then(|now| Duration::try_from(now.duration_since(time)).ok()),
                    None => None,
                };
                seen.push(Seen { name, id: c.id, runs, attempt, age, file, line: c.line });
            }
        }
    }
    let whole = docker.is_some() || cri.is_some();
    found.extend(NAMES.iter().filter_map(|name| tell(view, name, &seen, logs.as_deref(), whole)));
    found
}

fn known(name: &str) -> Option<&'static str> {
    NAMES.into_iter().find(|n| *n == name)
}

fn tell(view: &NodeView, name: &str, seen: &[Seen], logs: Option<&str>, whole: bool) -> Option<Finding> {
    let mine: Vec<&Seen> = seen.iter().filter(|s| s.name == name).collect();
    let exited = mine.iter().filter(|s| !s.runs).max_by_key(|s| s.attempt)?;
    let runs = mine.iter().find(|s| s.runs);
    let attempt = mine.iter().map(|s| s.attempt).max().unwrap_or_default();
    let last = logs.and_then(|text| last_line(text, name, &exited.id));
    let said = match &last {
        Some((_, text)) => format!("its last line: \"{text}\"."),
        None => "its last lines are not in the evidence.".to_owned(),
    };
    let starts = wording::count(attempt as usize, "restart");
    let since = runs.and_then(|r| r.age).map(|a| format!(" for {}", wording::whole_seconds(a))).unwrap_or_default();
    let (id, grave, head) = match runs {
        Some(run) if attempt >= STARTS && run.age.is_none_or(|age| age < SETTLED) => {
            ("control/restarts", Severity::Warning, format!("{name} runs{since}, after {starts}"))
        }
        Some(_) => ("control/was-restarted", Severity::Info, format!("{name} runs{since}, after {starts}")),
        None if whole => ("control/exited", Severity::Critical, format!("{name} exited and does not run ({starts})")),
        None => (
            "control/exited",
            Severity::Warning,
            format!("{name} exited; whether it runs again is not in the evidence"),
        ),
    };
    let note = Note::new(view, id, grave, &format!("{head}; {said}")).cite(exited.file, exited.line);
    let note = last.iter().fold(note, |note, (line, _)| note.cite(LOGS.file, *line));
    if grave == Severity::Info {
        return Some(note.done());
    }
    let next = "Read its last lines in cri/logs/control-plane.txt; an exit without a word is often a kill (findings memory/…, \
                status 137) or a failed liveness probe (kubelet/journal.txt).";
    Some(note.layer(Layer::ApiServer).next(next).signature(&format!("{name} exited")).done())
}

/// A line without what docker's json-file driver and the CRI put around it.
fn bare(line: &str) -> String {
    let json = serde_json::from_str::<serde_json::Value>(line).ok();
    if let Some(log) = json.as_ref().and_then(|value| value.get("log")?.as_str()) {
        return log.trim_end().to_owned();
    }
    // `2026-11-21T05:08:01.87Z stderr F text`
    let mut words = line.splitn(4, ' ');
    let framed = words.next().is_some_and(|stamp| stamp.parse::<jiff::Timestamp>().is_ok())
        && words.next().is_some_and(|stream| matches!(stream, "stdout" | "stderr"))
        && words.next().is_some_and(|tag| matches!(tag, "F" | "P"));
    words.next().filter(|_| framed).unwrap_or(line).to_owned()
}

/// The last line that says anything: behind `##### ID` of crictl's form, else in the log file of the container's newest start.
fn last_line(text: &str, name: &str, id: &str) -> Option<(u64, String)> {
    let shown = |line: &str| wording::cut(&wording::safe(&bare(line)), LINE);
    let mut within = false;
    let mut last = None;
    for (line, number) in text.lines().zip(1..) {
        if let Some(head) = line.strip_prefix("##### ") {
            within = head.len() >= 10 && (id.starts_with(head) || head.starts_with(id));
        } else if within && !line.trim().is_empty() {
            last = Some((number, shown(line)));
        }
    }
    if last.is_some() {
        return last;
    }
    let part = format!("_{name}-");
    let files = sections(text).into_iter().filter(|s| s.name.contains(&part) || s.name.contains(&format!("/{name}/")));
    let of = |s: &crate::analyze::tables::sections::Section<'_>| {
        (s.line..).zip(s.body.lines()).filter(|(_, l)| !l.trim().is_empty()).last().map(|(n, l)| (n, shown(l)))
    };
    files.rev().find_map(|s| of(&s))
}
