//! The one line: the layer, the thing everything waits for, the chain as far as the evidence carries.

use super::*;
use crate::analyze::finding::Layer;
use crate::analyze::rules::RULES;
use crate::analyze::verdict::{NOTHING, UNKNOWN, verdict};

fn finding(id: &str, severity: Severity, layer: Option<Layer>, signature: &str) -> Finding {
    let mut finding = Finding::new(&"worker-001".parse().unwrap(), id, severity, &format!("{id} on 17 of 23 things"));
    finding.layer = layer;
    finding.signature = (!signature.is_empty()).then(|| signature.to_owned());
    finding
}

#[test]
fn the_chain_is_followed_and_a_cause_below_it_outranks_it() {
    use Layer::{Containerd, Disk, Dockerd, Kernel, Memory, Runtime, Shim, Systemd};
    use Severity::{Critical, Info, Warning};
    let relist = || finding("relist/runtime", Critical, Some(Runtime), "relist waits for ListContainers");
    let convoy = || {
        finding(
            "dockerd-locks/convoy",
            Critical,
            Some(Containerd),
            "dockerd lock held by ContainerStop, which waits for containerd",
        )
    };
    let shim = || finding("containerd/shim", Critical, Some(Shim), "containerd waits for a shim");
    let runc = || finding("runc/lingers", Critical, Some(Shim), "runc in ep_poll");
    let silent = || finding("dbus/silent", Critical, Some(Systemd), "PID 1 silent on D-Bus");
    let full = |severity| finding("disk/full", severity, Some(Disk), "disk/full /");
    let hung = || finding("runtime-hung/dockerd", Critical, Some(Dockerd), "dockerd does not answer");
    let starved = |severity| finding("memory/starved", severity, Some(Memory), "memory starvation");
    for (findings, layer, sentence) in [
        (vec![], None, NOTHING),
        (vec![finding("pleg/missing", Info, None, ""), finding("disk/unreadable", Info, None, "")], None, UNKNOWN),
        (vec![finding("pleg/healthy", Info, None, ""), finding("disk/missing", Info, None, "")], None, NOTHING),
        (vec![relist()], Some(Runtime), "runtime does not answer: relist waits for ListContainers"),
        (
            vec![shim(), relist(), convoy()],
            Some(Shim),
            "runtime does not answer: relist waits for ListContainers; dockerd lock held by ContainerStop, which waits for \
             containerd; containerd waits for a shim",
        ),
        // No link without its own finding: nothing is said of containerd here.
        (
            vec![relist(), runc()],
            Some(Shim),
            "runtime does not answer: relist waits for ListContainers; runc does not end",
        ),
        (
            vec![relist(), convoy(), shim(), runc(), silent()],
            Some(Systemd),
            "PID 1 does not answer on D-Bus; runc waits for it; docker does not answer",
        ),
        (vec![hung(), full(Critical)], Some(Disk), "disk full: /; docker does not answer"),
        // 93 % are no cause.
        (vec![hung(), full(Warning)], Some(Dockerd), "dockerd does not answer"),
        (vec![full(Warning)], Some(Disk), "disk nearly full: /"),
        (vec![full(Critical)], Some(Disk), "disk full: /"),
        (vec![relist(), starved(Warning)], Some(Memory), "memory starvation; runtime does not answer"),
        (
            vec![
                starved(Critical),
                finding("control/exited", Critical, Some(Layer::ApiServer), "kube-apiserver exited"),
            ],
            Some(Memory),
            "memory starvation; kube-apiserver exited",
        ),
        (
            vec![
                finding("down/containerd", Critical, Some(Containerd), "containerd does not run"),
                finding("runtime-hung/containerd", Critical, Some(Containerd), "containerd does not answer dockerd"),
            ],
            Some(Containerd),
            "containerd does not run; docker does not answer",
        ),
        (
            vec![
                finding("disk/hung-mount", Critical, Some(Disk), "hung mount /data (nfs4 filer:/export)"),
                finding("pleg/unhealthy", Critical, Some(Runtime), "PLEG is not healthy"),
            ],
            Some(Disk),
            "hung mount /data (nfs4 filer:/export); PLEG is not healthy",
        ),
        (
            vec![hung(), finding("tasks/stuck", Critical, Some(Kernel), "D in nfs_getattr")],
            Some(Kernel),
            "threads are stuck in the kernel: D in nfs_getattr; docker does not answer",
        ),
        // What is not sure does not outrank what is.
        (
            vec![
                finding("control/exited", Critical, Some(Layer::ApiServer), "etcd exited"),
                finding("relist/runtime", Warning, Some(Runtime), "relist waits for ListContainers"),
            ],
            Some(Layer::ApiServer),
            "etcd exited",
        ),
        // What is over is no consequence of what is.
        (
            vec![
                full(Critical),
                finding("pleg/unhealthy", Warning, Some(Runtime), "PLEG was not healthy (over by the end of the log)"),
            ],
            Some(Disk),
            "disk full: /",
        ),
        // Relist is the symptom, the calls are part of it, and the crowd is its reason.
        (
            vec![
                finding("operations/failing", Warning, Some(Runtime), "runtime operations fail"),
                finding("relist-time/slow", Warning, Some(Runtime), "relist is too slow"),
                finding("crowd/too-many", Warning, Some(Runtime), ""),
            ],
            Some(Runtime),
            "relist is too slow; too many pods or containers",
        ),
        (
            vec![
                finding("memory/stalls", Warning, Some(Memory), "a cgroup is short of memory, the node is not"),
                finding("memory/own-limit", Warning, Some(Memory), "containers are killed at their own memory limits"),
            ],
            Some(Memory),
            "containers are killed at their own memory limits",
        ),
        // What was started lately is no trouble.
        (vec![finding("young/started", Info, None, ""), finding("pleg/healthy", Info, None, "")], None, NOTHING),
        (vec![finding("something/new", Warning, None, "")], None, "something new"),
    ] {
        let verdict = verdict(&findings);
        assert_eq!((verdict.layer, verdict.sentence.as_str()), (layer, sentence));
    }
}

#[test]
fn the_line_holds_nothing_of_a_node_s_own() {
    let ids: Vec<&str> = include_str!("../../verdict.rs")
        .split('"')
        .filter(|part| part.contains('/') && !part.contains(char::is_whitespace))
        .collect();
    for id in ids {
        for severity in [Severity::Warning, Severity::Critical] {
            let sentence = verdict(&[finding(id, severity, None, "")]).sentence;
            let numbers = sentence.replace("PID 1", "").chars().any(|c| c.is_ascii_digit());
            assert!(!numbers && !sentence.contains('{') && !sentence.trim().is_empty(), "{id}: {sentence}");
        }
    }
}

#[test]
fn three_nodes_with_containerd_stopped_have_one_line() {
    let facts = |pid: u32| {
        format!(
            r#"{{"dockerd": {{"unit": "docker.service", "pid": {pid}, "state": "active/running"}}, "containerd": {{"unit": "containerd.service", "state": "inactive/dead"}}}}"#
        )
    };
    for (pid, ps) in [(40, 30), (41, 31), (48, 90)] {
        let mut steps = vec![
            step("docker/ps", Outcome::Complete, &["docker/ps.txt"]),
            step("docker/info", Outcome::TimedOut, &["docker/info.json", "docker/info.hung.txt"]),
        ];
        steps[0].duration_ms = ps;
        let (_dir, view) =
            written_with(&[("node/facts.json", facts(pid)), ("docker/info.hung.txt", text("analyze/hung.txt"))], steps);
        let found = findings(&view);
        assert_eq!(verdict(&found).sentence, "containerd does not run; docker does not answer");
        assert!(says(&found, "runtime-hung/containerd").contains("docker info"));
    }
}

#[test]
fn rules_have_names_of_their_own() {
    let mut ids: Vec<&str> = RULES.iter().map(|rule| rule.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), RULES.len());
}
