//! One line per node: the layer that is blocked and the thing everything waits for, put together from findings. Follows
//! the chain kubelet, dockerd, containerd, shim, runc as far as they carry and no further; a cause below the chain names the
//! layer, and what it did to the runtime is its consequence. What is a node's own (numbers, pids) stays in the findings, so
//! that nodes that suffer from the same have the same line.

use serde::{Deserialize, Serialize};

use super::finding::{Finding, Layer, Severity};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Verdict {
    /// What is to blame; `None` where nothing was recognised.
    pub layer: Option<Layer>,
    /// One line; the same for nodes that suffer from the same.
    pub sentence: String,
}

/// Said of a node without any warning.
pub const NOTHING: &str = "nothing wrong was recognised";
/// Said where no rule had anything to read.
pub const UNKNOWN: &str = "nothing can be said: the evidence is missing";

/// Causes named in one line; more are in the findings.
const NAMED: usize = 2;

use Severity::{Critical, Warning};

/// What brings the runtime down from below, the surest first: id of a finding, how grave it has to be beside a runtime
/// that stands still, and its words. What the finding's signature holds is put in place of `{}`.
const CAUSES: &[(&str, Severity, &str)] = &[
    ("down/kubelet", Critical, "{}"),
    ("down/containerd", Critical, "{}"),
    ("down/dockerd", Critical, "{}"),
    ("down/crio", Critical, "{}"),
    ("down/held", Critical, "{}"),
    ("down/held-shim", Warning, "{}"),
    ("dbus/silent", Critical, "PID 1 does not answer on D-Bus"),
    ("disk/hung-mount", Warning, "{}"),
    ("disk/full", Critical, "disk full: {}"),
    ("disk/inodes", Critical, "no inodes left: {}"),
    ("disk/damaged", Critical, "a file system is damaged"),
    ("memory/starved", Warning, "{}"),
    ("memory/shared-limit", Warning, "a memory limit that many share was reached: {}"),
    ("crowd/descriptors", Critical, "{} run out"),
    ("kernel/soft-lockup", Warning, "a processor does not get out of the kernel"),
    ("disk/server-silent", Warning, "a file server does not answer"),
    ("disk/io-errors", Warning, "reads or writes of a disk fail"),
    ("tasks/stuck", Warning, "threads are stuck in the kernel: {}"),
    ("disk/slow", Warning, "{}"),
    ("tasks/hung", Warning, "the kernel reports tasks that hang"),
    ("kernel/device-busy", Warning, "a network device cannot be removed"),
];

/// Links of the chain from the kubelet down: id of a finding, its layer where the finding names none, and its words.
const CHAIN: &[(&str, Layer, &str)] = &[
    ("relist/channel-deadlock", Layer::Kubelet, "the kubelet's relist is deadlocked on its own event channel"),
    ("relist/cni", Layer::Cni, "the kubelet's relist waits for the CNI plug-in (GetPodNetworkStatus)"),
    ("relist/runtime", Layer::Runtime, "runtime does not answer: {}"),
    ("runtime-hung/cri", Layer::Runtime, "crictl gets no answer"),
    ("runtime-hung/dockerd", Layer::Dockerd, "dockerd does not answer"),
    ("dockerd-locks/convoy", Layer::Dockerd, "{}"),
    ("runtime-hung/containerd", Layer::Containerd, "containerd does not answer dockerd"),
    ("containerd/locks", Layer::Containerd, "{}"),
    ("containerd/disk", Layer::Disk, "{}"),
    ("containerd/cni", Layer::Cni, "{}"),
    ("containerd/program", Layer::Shim, "{}"),
    ("containerd/shim", Layer::Shim, "{}"),
    ("shim/locks", Layer::Shim, "{}"),
    ("shim/disk", Layer::Disk, "{}"),
    ("shim/runc", Layer::Shim, "{}"),
    ("runc/lingers", Layer::Shim, "runc does not end"),
];

/// What a cause did, the plainest first; one of a group is said.
const CONSEQUENCES: &[(&[&str], &str)] = &[
    (&["runc/lingers"], "runc waits for it"),
    (&["runtime-hung/dockerd", "runtime-hung/containerd", "dockerd-locks/convoy"], "docker does not answer"),
    (
        &["runtime-hung/cri", "relist/runtime", "relist-time/stands", "runtime-calls/deadline"],
        "runtime does not answer",
    ),
    (&["relist/cni"], "relist waits for the CNI plug-in"),
    (&["pleg/unhealthy"], "PLEG is not healthy"),
];
/// How many of the last of these are one and the same, told from different places.
const SAME: usize = 4;

/// Said alone, in this order among those of one severity: symptoms whose reason is not known, then what is no reason for a
/// runtime that stands still.
const ALONE: &[(&str, &str)] = &[
    ("relist-time/stands", "relist stands still"),
    ("runtime-calls/deadline", "{}"),
    ("pleg/unhealthy", "{}"),
    ("control/exited", "{}"),
    ("relist-time/slow", "relist is too slow"),
    ("operations/failing", "{}"),
    ("operations/slow", "{}"),
    ("dockerd-locks/waiting", "{}"),
    ("standing/stuck", "{}"),
    ("shim/send", "{}"),
    ("young/again", "{}"),
    ("disk/full", "disk nearly full: {}"),
    ("disk/inodes", "few inodes left: {}"),
    ("disk/damaged", "a file system is damaged"),
    ("crowd/descriptors", "{} near their limit"),
    ("memory/shared-limit", "a memory limit that many share was reached: {}"),
    ("memory/own-limit", "{}"),
    ("memory/killed", "{}"),
    ("memory/stalls", "{}"),
    ("memory/load", "the load is high"),
    ("dbus/near-limit", "PID 1 nears the end of its D-Bus message numbers"),
    ("kernel/conntrack-full", "the table of tracked connections was full"),
    ("residual/dead", "containers that cannot be removed are left"),
    ("residual/removing", "containers stay under removal"),
    ("residual/unknown", "containers are in an unknown state"),
    ("residual/created", "containers were made and not started"),
    ("residual/pause", "pods' pause containers ended and stay"),
    ("runtime-hung/stats", "{}"),
    ("tasks/zombies", "zombies are not collected"),
    ("crowd/too-many", "too many pods or containers"),
    ("control/restarts", "control-plane containers restart again and again"),
    ("throttling/turned-away", "the API server turns requests away"),
    ("throttling/inflight", "the API server works at its limit"),
    ("secrets/missing-pull-secret", "pull secrets are missing"),
    ("clock/far-off", "the clock is far off"),
];

/// Why relist may be slow though the runtime answers: it goes through all pods and containers.
const CROWD: &str = "crowd/too-many";

/// Returns the verdict on a node from what all rules say of it, the gravest first.
#[must_use]
pub fn verdict(findings: &[Finding]) -> Verdict {
    let mut links: Vec<(Option<Layer>, String)> = Vec::new();
    for (id, blamed, words) in CHAIN {
        let Some(finding) = with(findings, id, Warning) else { continue };
        links.push((finding.layer.or(Some(*blamed)), worded(finding, words)));
    }
    let blocked = !links.is_empty() || findings.iter().any(|f| f.severity == Critical && is_consequence(f));
    let mut causes: Vec<(Option<Layer>, String)> = Vec::new();
    for (id, least, words) in CAUSES {
        let Some(finding) = with(findings, id, if blocked { *least } else { Critical }) else { continue };
        let said = worded(finding, words);
        if causes.iter().all(|(_, other)| *other != said) {
            causes.push((finding.layer, said));
        }
    }
    if let Some((layer, _)) = causes.first() {
        let mut parts: Vec<String> = causes.iter().take(NAMED).map(|(_, said)| said.clone()).collect();
        parts.extend(consequences(findings, with(findings, "dbus/silent", Critical).is_some()));
        return Verdict { layer: *layer, sentence: parts.join("; ") };
    }
    let grave = |finding: &Finding| finding.severity == Critical;
    let sure = CHAIN.iter().any(|(id, ..)| with(findings, id, Critical).is_some()) || !findings.iter().any(grave);
    if let Some((layer, _)) = links.last().filter(|_| sure) {
        let parts: Vec<&str> = links.iter().map(|(_, said)| said.as_str()).collect();
        return Verdict { layer: *layer, sentence: parts.join("; ") };
    }
    alone(findings)
}

/// Returns the finding of an id that is at least so grave.
fn with<'a>(findings: &'a [Finding], id: &str, least: Severity) -> Option<&'a Finding> {
    findings.iter().find(|finding| finding.id == id && finding.severity >= least)
}

fn is_consequence(finding: &Finding) -> bool {
    CONSEQUENCES.iter().any(|(ids, _)| ids.contains(&finding.id.as_str()))
}

/// Returns what the causes did to the chain.
fn consequences(findings: &[Finding], silent: bool) -> Vec<String> {
    let mut said: Vec<String> = Vec::new();
    let (first, same) = CONSEQUENCES.split_at(CONSEQUENCES.len().saturating_sub(SAME));
    let there = |ids: &[&str]| ids.iter().any(|id| with(findings, id, Warning).is_some_and(|f| !is_over(f)));
    // That runc waits for systemd is only known where systemd is silent.
    said.extend(first.iter().filter(|(ids, _)| silent && there(ids)).map(|(_, words)| (*words).to_owned()));
    said.extend(same.iter().find(|(ids, _)| there(ids)).map(|(_, words)| (*words).to_owned()));
    said.extend(with(findings, "control/exited", Critical).map(|finding| worded(finding, "{}")));
    said
}

/// What is over has no cause that lasts.
fn is_over(finding: &Finding) -> bool {
    matches!(finding.id.as_str(), "pleg/unhealthy" | "runtime-calls/deadline") && finding.severity < Critical
}

/// Returns the gravest of what is said alone.
fn alone(findings: &[Finding]) -> Verdict {
    let rank = |finding: &Finding| {
        let listed = ALONE.iter().position(|(id, _)| *id == finding.id);
        listed.or_else(|| CAUSES.iter().position(|(id, ..)| *id == finding.id)).unwrap_or(usize::MAX)
    };
    let worst = findings
        .iter()
        .filter(|finding| finding.severity > Severity::Info)
        .min_by_key(|finding| (std::cmp::Reverse(finding.severity), is_over(finding), rank(finding)));
    let Some(finding) = worst else {
        let read = findings.is_empty() || findings.iter().any(|finding| !finding.is_gap());
        return Verdict { layer: None, sentence: if read { NOTHING } else { UNKNOWN }.to_owned() };
    };
    let words = ALONE.iter().find(|(id, _)| *id == finding.id).map(|(_, words)| *words);
    let words = words.or_else(|| CAUSES.iter().find(|(id, ..)| *id == finding.id).map(|(.., words)| *words));
    let mut sentence = worded(finding, words.unwrap_or("{}"));
    if finding.id == "relist-time/slow" && with(findings, CROWD, Warning).is_some() {
        sentence.push_str("; ");
        sentence.push_str(ALONE.iter().find(|(id, _)| *id == CROWD).map_or("", |(_, words)| *words));
    }
    Verdict { layer: finding.layer, sentence }
}

/// Puts what is equal for nodes that suffer from the same in place of `{}`.
fn worded(finding: &Finding, words: &str) -> String {
    let part = finding.signature.as_deref().map(|signature| {
        // `disk/full /var` of a rule that put its id before it.
        signature.strip_prefix(finding.id.as_str()).map_or(signature, str::trim_start)
    });
    match part.filter(|part| !part.is_empty()) {
        Some(part) => words.replace("{}", part),
        None if words == "{}" => finding.id.replace(['/', '-'], " "),
        None => words.replace(": {}", "").replace("{} ", ""),
    }
}

/// Returns the verdict on the cluster's evidence; it is never that of a node.
#[must_use]
pub fn of_cluster(findings: &[Finding]) -> Verdict {
    let verdict = verdict(findings);
    if verdict.sentence != NOTHING {
        return verdict;
    }
    // Of a list of nodes alone nothing can be said of who served it.
    let judged = findings.iter().any(|finding| !finding.is_gap());
    let sentence =
        if judged { "nothing wrong was recognised of the API server" } else { "nothing tells how the API server is" };
    Verdict { layer: None, sentence: sentence.to_owned() }
}
