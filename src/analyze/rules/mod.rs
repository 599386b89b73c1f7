//! The rules, one file each, and their table. A rule reads a node's evidence and yields findings; it never guesses: where
//! a file is missing it says which, and why, or says nothing. Called by the report of a run and by `plegcollect report`.

mod apiserver;
mod calls;
mod cited;
mod clock;
mod conditions;
mod containerd;
mod control;
mod convoy;
mod crowd;
mod dbus;
mod disk;
mod down;
mod evidence;
mod hung;
mod kernel;
mod memory;
pub(in crate::analyze) mod note;
mod operations;
mod pleg;
mod present;
mod relist;
mod relist_time;
mod residual;
mod runc;
mod secrets;
mod shim;
mod since;
mod standing;
mod tasks;
mod throttling;
mod waits;
mod young;

#[cfg(test)]
mod chain_tests;
#[cfg(test)]
mod host_tests;

use super::finding::Finding;
use super::view::NodeView;

/// A rule.
pub struct Rule {
    /// The part of finding ids before the slash, and the name of its file.
    pub id: &'static str,
    /// What it recognises, one line.
    pub about: &'static str,
    /// Files of the bundle it reads, for the sentence that something is missing.
    pub reads: &'static [&'static str],
    /// Looks.
    pub check: fn(&NodeView) -> Vec<Finding>,
}

/// Every rule there is, in the order of the report.
pub const RULES: &[Rule] = &[
    pleg::RULE,
    calls::RULE,
    down::RULE,
    hung::RULE,
    relist::RULE,
    convoy::RULE,
    containerd::RULE,
    shim::RULE,
    relist_time::RULE,
    operations::RULE,
    standing::RULE,
    young::RULE,
    Rule {
        id: "memory",
        about: "starvation for memory, kills, load against processors",
        reads: &[
            "host/free.txt",
            "host/meminfo.txt",
            "host/top-1.txt",
            "host/pressure.txt",
            "kernel/dmesg.txt",
            "node/facts.json",
        ],
        check: memory::check,
    },
    Rule {
        id: "disk",
        about: "full, out of inodes, slow, failing; mounts that hang",
        reads: &["host/df.txt", "host/df-inodes.txt", "host/iostat.txt", "host/mounts.txt", "kernel/dmesg.txt"],
        check: disk::check,
    },
    Rule {
        id: "tasks",
        about: "zombies and their parents, threads stuck in the kernel",
        reads: &["host/ps.txt", "host/stuck.txt", "host/top-2.txt", "kernel/dmesg.txt"],
        check: tasks::check,
    },
    Rule {
        id: "kernel",
        about: "soft lockups, devices that cannot go, connections dropped",
        reads: &["kernel/dmesg.txt"],
        check: kernel::check,
    },
    Rule {
        id: "dbus",
        about: "PID 1 silent on D-Bus, or near the message at which it falls silent",
        reads: &["host/dbus-cookie-1.txt", "host/dbus-cookie-2.txt", "host/systemd.txt", "node/facts.json"],
        check: dbus::check,
    },
    Rule { id: "runc", about: "runc processes that linger", reads: &["host/runc.txt"], check: runc::check },
    Rule {
        id: "crowd",
        about: "too many pods or containers, descriptors near the limit",
        reads: &["docker/ps.txt", "cri/ps.txt", "cri/pods.txt", "docker/fds.txt", "containerd/fds.txt"],
        check: crowd::check,
    },
    Rule {
        id: "residual",
        about: "containers that could not be removed or started",
        reads: &["docker/ps.txt", "cri/ps.txt", "cri/pods.txt"],
        check: residual::check,
    },
    Rule {
        id: "secrets",
        about: "image pulls that name a secret which is not there",
        reads: &["kubelet/journal.txt"],
        check: secrets::check,
    },
    Rule {
        id: "control",
        about: "control-plane containers that exited, and their last lines",
        reads: &["cri/logs/control-plane.txt", "docker/ps.txt", "cri/ps.txt"],
        check: control::check,
    },
    Rule { id: "clock", about: "a clock far from the operator's", reads: &["node/clock.json"], check: clock::check },
    conditions::RULE,
    evidence::RULE,
];

/// The rules on the cluster as a whole, which are asked once per run; a node's own evidence has nothing for them.
pub const CLUSTER_RULES: &[Rule] = &[
    Rule {
        id: "apiserver",
        about: "checks of API servers that fail",
        reads: &["cluster/readyz.txt", "cluster/livez.txt"],
        check: apiserver::health,
    },
    Rule {
        id: "throttling",
        about: "API servers that turn requests away",
        reads: &["cluster/metrics.txt"],
        check: throttling::check,
    },
    Rule {
        id: "secrets",
        about: "image pulls that name a secret which is not there, by events",
        reads: &["cluster/image-events.jsonl"],
        check: secrets::by_events,
    },
    evidence::RULE,
];

/// Returns the files that some rule reads.
pub fn reads() -> impl Iterator<Item = &'static str> {
    RULES.iter().chain(CLUSTER_RULES).flat_map(|rule| rule.reads.iter().copied())
}

/// Returns what all rules say of a node or of the cluster, the gravest first.
#[must_use]
pub fn findings(view: &NodeView) -> Vec<Finding> {
    let rules = if view.is_cluster() { CLUSTER_RULES } else { RULES };
    let mut all: Vec<Finding> = rules.iter().flat_map(|rule| (rule.check)(view)).collect();
    for finding in &mut all {
        cited::with_bytes(view, finding);
        for citation in &mut finding.evidence {
            citation.file = view.shown(&citation.file);
        }
    }
    all.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    all
}
