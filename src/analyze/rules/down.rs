//! Daemons that do not run, or are held: by what the probe found, by the unit's state, by the state of the process. A
//! daemon that nobody needs (a dockerd beside the containerd that the kubelet uses) is told and is no trouble.

use super::Rule;
use super::note::{self, Note};
use crate::analyze::finding::{Finding, Layer, Severity};
use crate::analyze::tables::ps;
use crate::analyze::view::NodeView;
use crate::bundle::layout;
use crate::evidence::Outcome;
use crate::plan::NodeFacts;
use crate::wording;

pub(super) const RULE: Rule = Rule {
    id: "down",
    about: "daemons that do not run or are held",
    reads: &[
        layout::FACTS,
        "docker/status.txt",
        "containerd/status.txt",
        "cri/crio-status.txt",
        "kubelet/status.txt",
        "host/ps.txt",
    ],
    check,
};

const PS: &str = "host/ps.txt";
const CONFIG: &str = "kubelet/config.yaml";

/// A daemon of the chain: its name, the end of its findings' id, its program, the file of its unit's state.
struct Known {
    name: &'static str,
    id: &'static str,
    program: &'static str,
    status: &'static str,
    layer: Layer,
}

const DAEMONS: [Known; 4] = [
    Known {
        name: "containerd",
        id: "containerd",
        program: "containerd",
        status: "containerd/status.txt",
        layer: Layer::Containerd,
    },
    Known { name: "dockerd", id: "dockerd", program: "dockerd", status: "docker/status.txt", layer: Layer::Dockerd },
    Known { name: "CRI-O", id: "crio", program: "crio", status: "cri/crio-status.txt", layer: Layer::Runtime },
    Known {
        name: "the kubelet",
        id: "kubelet",
        program: "kubelet",
        status: "kubelet/status.txt",
        layer: Layer::Kubelet,
    },
];

/// What is known of a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Runs,
    /// It does not: the state of its unit, the file and the line that say it.
    Down(Option<String>, &'static str, u64),
}

fn check(view: &NodeView) -> Vec<Finding> {
    let facts = note::facts(view);
    let states: Vec<Option<State>> = DAEMONS.iter().map(|known| state(view, facts.as_ref(), known)).collect();
    let endpoint = endpoint(view, facts.as_ref());
    let mut found = Vec::new();
    for (known, state) in DAEMONS.iter().zip(&states) {
        let Some(State::Down(unit, file, line)) = state else { continue };
        let runs =
            |id: &str| DAEMONS.iter().zip(&states).any(|(other, state)| other.id == id && *state == Some(State::Runs));
        let needless = is_needless(known.id, endpoint.as_deref(), runs);
        let told = unit.as_deref().map(|unit| format!(": {}", wording::safe(unit))).unwrap_or_default();
        let name = capital(known.name);
        let note = if needless {
            let sentence = format!("{name} does not run{told}; the kubelet does not use it.");
            Note::new(view, &format!("down/{}", known.id), Severity::Info, &sentence)
        } else {
            let next = format!(
                "Why it ended: {} and its journal; then start it, with systemctl if it has a unit.",
                known.status
            );
            Note::new(view, &format!("down/{}", known.id), Severity::Critical, &format!("{name} does not run{told}."))
                .layer(known.layer)
                .next(&next)
                .signature(&format!("{} does not run", known.name))
        };
        found.push(note.cite(file, *line).done());
    }
    found.extend(held(view));
    found
}

fn capital(name: &str) -> String {
    name.strip_prefix("the ").map_or_else(|| name.to_owned(), |rest| format!("The {rest}"))
}

fn state(view: &NodeView, facts: Option<&NodeFacts>, known: &Known) -> Option<State> {
    if let Some(facts) = facts.filter(|facts| !facts.systemctl_failed && !facts.partial) {
        let daemon = match known.id {
            "containerd" => &facts.containerd,
            "dockerd" => &facts.dockerd,
            "crio" => &facts.crio,
            _ => &facts.kubelet,
        };
        if let Some(daemon) = daemon {
            let unit =
                daemon.unit.as_ref().zip(daemon.state.as_ref()).map(|(unit, state)| format!("{unit} is {state}"));
            let down = daemon.pid.is_none();
            return Some(if down { State::Down(unit, layout::FACTS, 0) } else { State::Runs });
        }
    }
    // `Active: inactive (dead) since …` of `systemctl status`.
    let text = note::text(view, known.status)?;
    let (line, active) = (1..)
        .zip(text.lines())
        .find_map(|(number, line)| Some((number, line.trim_start().strip_prefix("Active: ")?)))?;
    if active.starts_with("active") || active.starts_with("reloading") {
        return Some(State::Runs);
    }
    let ended = active.starts_with("inactive") || active.starts_with("failed");
    ended.then(|| State::Down(Some(wording::cut(active, 60)), known.status, line))
}

/// Returns where the kubelet finds its runtime: `unix:///run/containerd/containerd.sock`.
fn endpoint(view: &NodeView, facts: Option<&NodeFacts>) -> Option<String> {
    let flag = "--container-runtime-endpoint";
    let words: Vec<String> = match note::text(view, "kubelet/cmdline.txt") {
        Some(text) => text.split_ascii_whitespace().map(str::to_owned).collect(),
        None => facts?.kubelet.as_ref()?.cmdline.clone(),
    };
    let at = words.iter().position(|word| word.starts_with(flag));
    let given = at.and_then(|at| match words.get(at)?.strip_prefix(flag)?.strip_prefix('=') {
        Some(value) => Some(value.to_owned()),
        None => words.get(at + 1).cloned(),
    });
    given.or_else(|| {
        let text = note::text(view, CONFIG)?;
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix("containerRuntimeEndpoint:"))?;
        Some(line.trim().trim_matches(['"', '\'']).to_owned()).filter(|value| !value.is_empty())
    })
}

/// Returns whether the node does without a daemon.
fn is_needless(id: &str, endpoint: Option<&str>, runs: impl Fn(&str) -> bool) -> bool {
    let uses = |name: &str| endpoint.is_some_and(|endpoint| endpoint.contains(name));
    match id {
        "kubelet" => false,
        // dockerd needs containerd in turn, and may have one of its own as a child, which the probe names.
        "containerd" => uses("crio") && !runs("dockerd"),
        "dockerd" => uses("containerd") || uses("crio"),
        _ => uses("containerd") || uses("docker") || (endpoint.is_none() && (runs("containerd") || runs("dockerd"))),
    }
}

/// Says which of them are there and may not run: stopped by a signal, or in a frozen cgroup.
fn held(view: &NodeView) -> Vec<Finding> {
    let Some(text) = note::text(view, PS) else { return Vec::new() };
    let processes = ps::parse(&text);
    let mut found = Vec::new();
    for known in &DAEMONS {
        let is = |process: &&ps::Process| {
            let program = process.command.split_ascii_whitespace().next().unwrap_or_default();
            program.trim_matches(['[', ']']).rsplit('/').next() == Some(known.program)
        };
        for process in processes.list.iter().filter(is) {
            let frozen = process.wchan.as_deref().is_some_and(|w| w.starts_with("do_fre") || w.contains("refri"));
            let how = match process.state {
                'T' | 't' => "stopped by a signal (state T)",
                _ if frozen => "frozen by its cgroup",
                _ => continue,
            };
            let sentence = format!("{} is {how}, pid {}: it answers nobody.", capital(known.name), process.pid);
            if answered(view, known.id) {
                let sentence = format!(
                    "{} was {how} at one moment, pid {}, and answered all the same later.",
                    capital(known.name),
                    process.pid
                );
                let note = Note::new(view, "down/was-held", Severity::Info, &sentence);
                found.push(note.cite(PS, process.line).done());
                continue;
            }
            let next = "kill -CONT lets a stopped process go on, the freezer of its cgroup a frozen one. Who stopped it: the \
                        journal of its unit, else a debugger or an operator.";
            let note =
                Note::new(view, "down/held", Severity::Critical, &sentence).layer(known.layer).cite(PS, process.line);
            found.push(
                note.next(next).signature(&format!("{} is {}", known.name, how.replace(" (state T)", ""))).done(),
            );
        }
    }
    found.extend(held_shims(view, &processes));
    found
}

/// Returns whether steps that need a daemon had their answer, and none of them waited in vain: processes are listed before.
fn answered(view: &NodeView, id: &str) -> bool {
    let steps: &[&str] = match id {
        "dockerd" => &["docker/ps", "docker/info", "docker/version"],
        "containerd" => &["docker/info", "cri/ps", "cri/pods", "cri/info"],
        "crio" => &["cri/ps", "cri/pods", "cri/info"],
        _ => &["kubelet/healthz-local"],
    };
    let outcomes = || steps.iter().filter_map(|id| view.step(id)).map(|step| step.outcome);
    outcomes().any(|outcome| outcome == Outcome::Complete) && !outcomes().any(|outcome| outcome == Outcome::TimedOut)
}

fn held_shims(view: &NodeView, processes: &ps::Processes) -> Option<Finding> {
    let shim = |process: &&ps::Process| {
        let program = process.command.split_ascii_whitespace().next().unwrap_or_default();
        let name = program.trim_matches(['[', ']']).rsplit('/').next().unwrap_or_default();
        name.starts_with("containerd-shim") && matches!(process.state, 'T' | 't')
    };
    let shims: Vec<&ps::Process> = processes.list.iter().filter(shim).collect();
    let first = shims.first()?;
    let (count, verb) = (wording::count(shims.len(), "shim"), if shims.len() == 1 { "is" } else { "are" });
    let sentence =
        format!("{count} {verb} stopped by a signal (state T), pid {}: what asks for its container waits.", first.pid);
    let note = Note::new(view, "down/held-shim", Severity::Warning, &sentence).layer(Layer::Shim);
    let next = "kill -CONT lets it go on; never kill -KILL, that leaves the container without its shim.";
    let note = note.cite_all(PS, shims.iter().map(|process| process.line)).next(next);
    Some(note.signature("a shim is stopped by a signal").done())
}
