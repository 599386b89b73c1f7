//! The runtime hangs at the time of the collection: docker and crictl did not answer within their bound, and what they
//! waited for. With containerd stopped `docker ps` answers and `docker info` hangs (seen with dockerd 20.10).

use std::io::Read as _;

use super::Rule;
use super::note::some;
use crate::analyze::finding::{Finding, Layer, Severity};
use crate::analyze::tables::hung;
use crate::analyze::view::NodeView;
use crate::evidence::{Outcome, StepRecord};
use crate::wording;

pub(super) const RULE: Rule = Rule {
    id: "runtime-hung",
    about: "docker or crictl did not answer at the time of the collection",
    reads: &["docker/ps.txt", "docker/info.json", "docker/stats.txt", "cri/ps.txt", "cri/pods.txt", "cri/info.json"],
    check,
};

/// Steps that ask dockerd, and those that ask the CRI.
const DOCKER: &[&str] = &["docker/ps", "docker/info", "docker/stats", "docker/version"];
const CRI: &[&str] = &["cri/ps", "cri/pods", "cri/info", "cri/stats"];
/// Steps that read the cgroup of each container and take long on a full node.
const LONG: [&str; 2] = ["docker/stats", "cri/stats"];
/// Of a list of a hung step's processes.
const MOST: u64 = 2 << 20;

fn check(view: &NodeView) -> Vec<Finding> {
    [DOCKER, CRI].iter().flat_map(|steps| of(view, steps)).collect()
}

fn hangs(step: &StepRecord) -> bool {
    // 124 is the word of timeout(1).
    step.outcome == Outcome::TimedOut || step.exit_status == Some(124)
}

fn of(view: &NodeView, ids: &[&str]) -> Option<Finding> {
    let steps: Vec<&StepRecord> = ids.iter().filter_map(|id| view.step(id)).collect();
    let hung: Vec<&StepRecord> = steps.iter().copied().filter(|step| hangs(step)).collect();
    let answered: Vec<&StepRecord> = steps.iter().copied().filter(|step| step.outcome == Outcome::Complete).collect();
    let docker = ids == DOCKER;
    let who = if docker { "dockerd" } else { "the CRI runtime" };
    let names = |steps: &[&StepRecord]| {
        steps.iter().map(|s| format!("{} ({} ms)", s.id.as_str().replace('/', " "), s.duration_ms)).collect::<Vec<_>>()
    };
    let file = |finding: Finding, step: &StepRecord| match step.files.first() {
        Some(file) => finding.cites(&file.path, 0, 0),
        None => finding,
    };
    if hung.is_empty() {
        let first = answered.first()?;
        let sentence = format!("{who} answers: {}.", some(&names(&answered), 4));
        return Some(file(Finding::new(&view.node, "runtime-hung/answers", Severity::Info, &sentence), first));
    }
    let mut sentence = format!("{who} did not answer within the bound: {}", some(&names(&hung), 4));
    if !answered.is_empty() && hung.iter().all(|step| LONG.contains(&step.id.as_str())) {
        sentence.push_str(&format!("; it answered {}.", some(&names(&answered), 4)));
        let finding = Finding::new(&view.node, "runtime-hung/stats", Severity::Warning, &sentence)
            .blames(Layer::Runtime)
            .alike("container statistics take too long")
            .then("How many containers there are, and whether one of them cannot be looked at: host/stuck.txt.");
        return Some(hung.iter().fold(finding, |finding, step| file(finding, step)));
    }
    let ps_answers = docker && answered.iter().any(|step| step.id.as_str() == "docker/ps");
    let info_hangs = hung.iter().any(|step| step.id.as_str() == "docker/info");
    let stopped = ps_answers && info_hangs;
    if stopped {
        sentence.push_str(
            "; docker ps answered all the same, so dockerd runs and what it asks, containerd, does not answer",
        );
    }
    if docker && !ps_answers && answered.iter().any(|step| step.id.as_str() == "docker/info") {
        sentence.push_str(
            "; docker info answered all the same, so the lock of a container is held and not dockerd as a whole",
        );
    }
    let waits: Vec<(String, Option<String>, u64)> = hung.iter().filter_map(|step| wait(view, step)).collect();
    if let Some(words) = waits.iter().find_map(|(_, words, _)| words.as_ref()) {
        sentence.push_str(&format!("; {words}"));
    }
    sentence.push('.');
    let (id, layer, alike) = match (docker, stopped) {
        (true, true) => ("runtime-hung/containerd", Layer::Containerd, "containerd does not answer dockerd"),
        (true, false) => ("runtime-hung/dockerd", Layer::Dockerd, "dockerd does not answer"),
        (false, _) => ("runtime-hung/cri", Layer::Runtime, "the CRI runtime does not answer"),
    };
    let mut finding = Finding::new(&view.node, id, Severity::Critical, &sentence)
        .blames(layer)
        .alike(alike)
        .then(if docker {
            "The stacks of dockerd and containerd, and the state of containerd's process in host/ps.txt (T: stopped, D: in the kernel)."
        } else {
            "The stacks of the runtime (containerd/stacks), and the state of its process in host/ps.txt (T: stopped, D: in the kernel)."
        });
    finding = hung.iter().fold(finding, |finding, step| file(finding, step));
    for (path, _, line) in waits {
        finding = finding.cites(&path, line, line);
    }
    Some(finding)
}

/// Returns where the innermost process of a hung step stands, and in words what it waits for in the kernel; of a client that
/// sleeps for an answer there is nothing to say.
fn wait(view: &NodeView, step: &StepRecord) -> Option<(String, Option<String>, u64)> {
    let path = &step.files.iter().find(|file| file.path.ends_with(".hung.txt"))?.path;
    let mut text = Vec::new();
    view.open(path)?.take(MOST).read_to_end(&mut text).ok()?;
    let processes = hung::parse(&String::from_utf8_lossy(&text));
    let process = processes.last()?;
    let thread = process.threads.iter().find(|thread| thread.state == 'D').or(process.threads.first())?;
    let wchan = thread.wchan.as_deref().unwrap_or("an untold place of the kernel");
    let words = format!("{} (state {}) waits in {}", wording::safe(&process.name), thread.state, wording::safe(wchan));
    Some((path.clone(), (thread.state == 'D').then_some(words), thread.line))
}
