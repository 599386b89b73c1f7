//! Memory limits of cgroups that were reached: one container's own, which is no trouble of the node unless it goes on and on,
//! and those that many share.

use std::time::Duration;

use super::killed;
use crate::analyze::finding::{Finding, Layer, Severity};
use crate::analyze::rules::note::{self, KERNEL, Note};
use crate::analyze::tables::dmesg::{KernelEvent, KernelLine};
use crate::analyze::tables::{crictl, docker_ps};
use crate::analyze::view::NodeView;

/// Kills at cgroups' own limits within an hour: a container that is restarted with growing pauses has about that many.
const AGAIN: usize = 10;
const HOUR: Duration = Duration::from_secs(3600);

/// Tells whether the limit is one of all pods or of a daemon, and not of one container or pod.
fn is_shared(cgroup: &str) -> bool {
    let last = cgroup.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let daemons = ["docker.service", "containerd.service", "kubelet.service", "crio.service", "system.slice"];
    matches!(last, "kubepods" | "kubepods.slice" | "system.slice") || daemons.contains(&last)
}

pub(super) fn reached(view: &NodeView, lines: &[&KernelLine]) -> Vec<Finding> {
    let of = |line: &KernelLine| match &line.event {
        KernelEvent::OomKill { limit_of, cgroup, .. } => {
            limit_of.clone().or_else(|| cgroup.clone()).unwrap_or_default()
        }
        _ => String::new(),
    };
    let (shared, own): (Vec<&&KernelLine>, Vec<&&KernelLine>) =
        lines.iter().partition(|l| is_shared(&of(l)) && note::is_recent(view, l));
    let mut found = Vec::new();
    if let Some(last) = shared.last() {
        let groups = note::counted(shared.iter().map(|l| of(l)), 3);
        let sentence = format!(
            "A limit that many share was reached ({groups}): {}, the last {}.",
            killed(&shared),
            note::last_of(view, last)
        );
        let next = "Compare the limit of this cgroup with what its members use; for kubepods it is the node's allocatable memory.";
        let note = Note::new(view, "memory/shared-limit", Severity::Warning, &sentence).layer(Layer::Memory).next(next);
        // All of them are well known: `is_shared`.
        let group = of(last).trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
        found.push(note.cite_all(KERNEL, shared.iter().rev().map(|l| l.line)).signature(&group).done());
    }
    if let Some(last) = own.last() {
        let here = is_here(view, &of(last));
        let lately = own.iter().filter(|l| note::age(view, l).is_some_and(|age| age < HOUR)).count();
        let shim = own.iter().any(|l| note::is_recent(view, l) && is_keeper(l));
        let (killed, when) = (killed(&own), note::last_of(view, last));
        let grave = if here && (shim || lately >= AGAIN) { Severity::Warning } else { Severity::Info };
        let sentence = match grave {
            Severity::Info => format!(
                "Memory limits of cgroups were reached, the node itself was not short: {killed}, the last {when}."
            ),
            _ if shim => format!(
                "A shim was killed at its cgroup's own memory limit, and its container is left without a keeper: {killed}, \
                 the last {when}."
            ),
            _ => format!(
                "Containers are killed at their own memory limits again and again, {lately} times within the last hour, the \
                 last {when}, while the node is not short: {killed}."
            ),
        };
        let note = Note::new(view, "memory/own-limit", grave, &sentence);
        let note = note.cite_all(KERNEL, own.iter().rev().map(|l| l.line));
        let next =
            "Raise the limit of this container or see why it grows; each kill makes the runtime stop and start it.";
        let note = note.signature("containers are killed at their own memory limits");
        found.push(if grave == Severity::Info { note.done() } else { note.layer(Layer::Memory).next(next).done() });
    }
    found
}

/// Tells whether the container of a cgroup is still known to the runtime; what is gone cannot be killed again. Without a list
/// of containers it may be.
fn is_here(view: &NodeView, cgroup: &str) -> bool {
    let docker = note::text(view, "docker/ps.txt").map(|text| docker_ps::parse(&text)).unwrap_or_default();
    let cri = note::text(view, "cri/ps.txt").map(|text| crictl::containers(&text)).unwrap_or_default();
    // Paths hold ids whole (docker-ID.scope, /kubepods/podUID/ID), lists have them whole or short; docker's names hold the UID.
    let ids = docker.iter().map(|c| c.id.as_str()).chain(cri.iter().map(|c| c.id.as_str()));
    let mut known = ids
        .filter_map(|id| id.get(..12))
        .chain(docker.iter().filter_map(|c| c.kube_name().map(|k| k.uid).filter(|uid| uid.len() >= 8)));
    (docker.is_empty() && cri.is_empty())
        || known.any(|id| cgroup.contains(id) || cgroup.contains(&id.replace('-', "_")))
}

/// Tells whether the killed process watched over a container.
fn is_keeper(line: &KernelLine) -> bool {
    matches!(&line.event, KernelEvent::OomKill { process, .. } if process.starts_with("containerd-shim") || process == "conmon")
}
