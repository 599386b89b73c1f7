//! Tests of the moments of a node: genuine logs, times to the second, clocks, floods.

#![expect(clippy::disallowed_methods, reason = "tests write fixtures")]

use std::fs;
use std::path::Path;

use jiff::SignedDuration;
use serde_json::json;

use super::*;
use crate::bundle::Manifest;

const HANG: &str = include_str!("../../../tests/fixtures/analyze/kubelet-hang.log");
const DOCKER: &str = include_str!("../../../tests/fixtures/analyze/docker-journal.txt");
const WINDOW: &str = include_str!("../../../tests/fixtures/analyze/docker-journal-window.txt");
const CONTAINERD: &str = include_str!("../../../tests/fixtures/analyze/containerd-journal.txt");
const CRIO: &str = include_str!("../../../tests/fixtures/analyze/crio-journal.txt");
const DMESG: &str = include_str!("../../../tests/fixtures/analyze/dmesg.txt");

/// A manifest of a node whose clock is ahead of the operator's by some milliseconds.
fn manifest(offset_ms: i64, changes: serde_json::Value, steps: serde_json::Value) -> Manifest {
    serde_json::from_value(json!({
        "format": {"major": 1, "minor": 2}, "run-id": "r", "node": "worker-001", "started": "2026-11-21T07:00:00Z",
        "tool-version": "0", "finished": "2026-11-21T07:01:00Z", "clock-offset-ms": offset_ms, "changes": changes, "steps": steps
    }))
    .unwrap()
}

fn bare() -> Manifest {
    manifest(0, json!([]), json!([]))
}

fn step(id: &str, started: &str, took_ms: u64, outcome: &str, command: &str) -> serde_json::Value {
    json!({"id": id, "phase": "before", "command": command, "started": started, "duration-ms": took_ms, "outcome": outcome, "files": []})
}

fn node(manifest: Manifest, files: &[(&str, &str)]) -> (tempfile::TempDir, NodeView) {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        fs::write(path, text).unwrap();
    }
    let steps = manifest.steps.clone();
    let view = NodeView::of_dir("worker-001".parse().unwrap(), Some(manifest), steps, dir.path().to_owned());
    (dir, view)
}

/// One line of a moment: time, until, count, text.
fn told(moment: &Moment) -> String {
    let second = |time: Timestamp| time.strftime("%d %H:%M:%S").to_string();
    let until = moment.until.map(|time| format!("..{}", second(time))).unwrap_or_default();
    let count = if moment.count > 1 { format!(" x{}", moment.count) } else { String::new() };
    let mark = match moment.severity {
        Severity::Info => "",
        Severity::Warning => "! ",
        Severity::Critical => "!! ",
    };
    format!("{}{until}{count} {mark}{}", second(moment.time), moment.text)
}

fn all(manifest: Manifest, files: &[(&str, &str)]) -> Vec<String> {
    let (_dir, view) = node(manifest, files);
    moments(&view).iter().map(told).collect()
}

#[test]
fn the_genuine_hang_is_told_with_its_times() {
    let (_dir, view) = node(bare(), &[("kubelet/journal.txt", HANG)]);
    let moments = moments(&view);
    let got: Vec<String> = moments.iter().map(told).collect();
    let calls = "ListContainers × 11, ListPodSandbox × 2, ExecSync × 2, ImageFsInfo × 1, Status × 1, others × 2";
    let want = [
        &format!("20 21:31:10..20 21:37:01 x19 ! runtime calls ran out of time: {calls}"),
        "20 21:31:10 !! relist failed: time ran out",
        "20 21:31:11..20 21:33:12 x23 !! kubelet says the runtime is down",
        "20 21:31:17 !! node set NotReady: container runtime is down",
        "20 21:32:12..20 21:33:12 x6 !! PLEG unhealthy: relist last active 3m02s before, 4m02s before the last such line",
        "20 21:37:02 PLEG healthy again: by this line at the latest",
        "20 21:37:11 node set Ready",
    ];
    assert_eq!(got, want);
    let cited = |at: usize| moments[at].citation.as_ref().unwrap().to_string();
    let lines = [cited(3), cited(4), cited(5), cited(6)];
    assert_eq!(
        lines,
        [29, 55, 74, 83].map(|n| if n == 55 {
            "kubelet/journal.txt:55-63".to_owned()
        } else {
            format!("kubelet/journal.txt:{n}")
        })
    );
}

#[test]
fn a_log_in_the_nodes_zone_is_told_in_utc_and_through_the_operators_clock() {
    let facts =
        r#"{"probed": "2026-11-21T07:00:10Z", "utc-offset-s": 19800, "uptime-s": 400000, "ticks-per-second": 100}"#;
    let files = [("kubelet/journal.txt", HANG), ("node/facts.json", facts)];
    let (_dir, view) = node(manifest(-90_000, json!([]), json!([])), &files);
    let found = moments(&view);
    let ready = found.iter().find(|m| m.kind == MomentKind::Ready).unwrap();
    assert_eq!(told(ready), "20 16:07:11 node set Ready", "21:37:11 less five hours and a half");
    // The node is 90 s behind, so it was 90 s later by the operator's clock.
    let analysis = crate::analyze::node::analyze(&view, "x".to_owned());
    let mut analysis = analysis;
    analysis.about.clock_offset_ms = Some(-90_000);
    let merged = crate::analyze::timeline::merge(std::slice::from_ref(&analysis));
    let ready = merged.iter().find(|m| m.kind == MomentKind::Ready).unwrap();
    assert_eq!(told(ready), "20 16:08:41 node set Ready");
}

#[test]
fn daemons_are_told_by_their_own_logs_and_by_systemd() {
    let docker = format!("{DOCKER}{WINDOW}");
    let files = [
        ("docker/journal.txt", docker.as_str()),
        ("containerd/journal.txt", CONTAINERD),
        ("kernel/dmesg.txt", DMESG),
        ("cri/crio-journal.txt", CRIO),
    ];
    let got = all(bare(), &files);
    let want = [
        "25 07:40:02 CRI-O started: 1.25.4",
        "25 07:57:08..25 07:57:08 x2 ! CRI-O is asked again for what it is still making: container spec configuration",
        "25 07:57:45 ! CRI-O says that time ran out: CreateContainer",
        "25 08:02:41 ! CRI-O has a container that did not end in time",
        "21 06:04:28 containerd started: 1.6.20~ds1",
        "21 06:04:28 dockerd started",
        "21 06:35:16 dockerd read its configuration again: debug is on",
        "21 06:35:25 dockerd wrote its goroutines",
        "21 06:35:25 containerd wrote its goroutines",
        "21 06:35:37 dockerd read its configuration again: debug is off",
        "21 06:57:23 ! kernel killed at a cgroup's memory limit: tail",
        "21 06:57:26..21 06:57:29 x2 dockerd says that health checks failed",
        "21 06:57:29..21 06:58:27 x2 ! dockerd has a container that did not end in time",
        "21 06:57:58 ! containerd was sent a signal through systemd: SIGSTOP",
        "21 06:58:26 containerd was sent a signal through systemd: SIGCONT",
    ];
    assert_eq!(got, want);
}

#[test]
fn what_systemd_says_is_counted_once_with_what_the_daemon_says() {
    let line = |time: &str, who: &str, text: &str| format!("2026-11-21T{time}+0000 w {who}: {text}\n");
    let log = [
        line("06:00:00", "systemd[1]", "Started kubelet.service - kubelet: The Kubernetes Node Agent."),
        line(
            "06:00:01",
            "kubelet[7]",
            r#"I1121 06:00:01.000000 7 server.go:413] "Kubelet version" kubeletVersion="v1.30.4""#,
        ),
        line("06:00:02", "systemd[1]", "kubelet.service: Main process exited, code=exited, status=1/FAILURE"),
        line("06:00:02", "systemd[1]", "kubelet.service: Failed with result 'exit-code'."),
        line("06:00:12", "systemd[1]", "kubelet.service: Scheduled restart job, restart counter is at 1."),
        line("06:00:12", "systemd[1]", "Started kubelet.service - kubelet: The Kubernetes Node Agent."),
        line("06:00:13", "systemd[1]", "kubelet.service: Main process exited, code=exited, status=203/EXEC"),
        line("06:00:23", "systemd[1]", "Started kubelet.service - kubelet: The Kubernetes Node Agent."),
        line(
            "06:00:24",
            "kubelet[9]",
            r#"I1121 06:00:24.000000 9 server.go:413] "Kubelet version" kubeletVersion="v1.30.4""#,
        ),
        line("06:30:00", "systemd[1]", "Stopping kubelet.service - kubelet: The Kubernetes Node Agent..."),
        line("06:30:01", "systemd[1]", "kubelet.service: Main process exited, code=killed, status=15/TERM"),
        line("06:30:01", "systemd[1]", "Stopped kubelet.service - kubelet: The Kubernetes Node Agent."),
        line("06:31:00", "systemd[1]", "crio-conmon-1234.scope: Succeeded."),
    ];
    let got = all(bare(), &[("kubelet/journal.txt", &log.concat())]);
    let want = [
        "21 06:00:01..21 06:00:24 x2 kubelet started: v1.30.4",
        "21 06:00:02..21 06:00:13 x2 ! kubelet ended or failed: exited 1/FAILURE × 1, exited 203/EXEC × 1",
        "21 06:00:12 kubelet started",
        "21 06:30:00 kubelet stopped",
    ];
    assert_eq!(got, want);
}

/// Lines of containerd 1.6.20 and systemd 252, of a stop by `systemctl`.
#[test]
fn a_stop_is_one_whoever_says_it_and_the_next_after_a_start_another() {
    let stop = |minute: u32| {
        format!(
            "2026-11-21T11:{minute}:51.034569+0000 w systemd[1]: Stopping containerd.service - containerd container runtime...\n\
             2026-11-21T11:{minute}:51.035058+0000 w containerd[45]: time=\"2026-11-21T11:{minute}:51.034926916Z\" level=info msg=\"Stop CRI service\"\n\
             2026-11-21T11:{minute}:51.040608+0000 w containerd[45]: time=\"2026-11-21T11:{minute}:51.040551956Z\" level=info msg=\"Stop CRI service\"\n\
             2026-11-21T11:{minute}:51.042809+0000 w systemd[1]: containerd.service: Deactivated successfully.\n\
             2026-11-21T11:{minute}:51.043010+0000 w systemd[1]: Stopped containerd.service - containerd container runtime.\n"
        )
    };
    let start = "2026-11-21T11:20:00.000000+0000 w systemd[1]: Starting containerd.service - containerd container runtime...\n\
                 2026-11-21T11:20:01.000000+0000 w systemd[1]: Started containerd.service - containerd container runtime.\n";
    let got = all(bare(), &[("containerd/journal.txt", &format!("{}{start}{}", stop(15), stop(40)))]);
    let want = ["21 11:15:51 containerd stopped", "21 11:20:00 containerd started", "21 11:40:51 containerd stopped"];
    assert_eq!(got, want);
}

#[test]
fn our_changes_and_samples_are_told_by_the_nodes_clock_and_not_twice() {
    let changes = json!([
        {"change": "dockerd-debug", "subject": "dockerd", "state": "reverted", "applied": "2026-11-21T06:34:16.7Z", "reverted": "2026-11-21T06:34:37.2Z"},
        {"change": "stack-dump", "subject": "containerd", "state": "still-changed", "text": "the file stands", "applied": "2026-11-21T06:34:25.6Z"},
        {"change": "kubelet-verbosity", "subject": "kubelet", "state": "refused", "text": "no"},
    ]);
    let mut hung = step("docker/stacks-2", "2026-11-21T06:34:35Z", 10_000, "timed-out", "");
    hung["detail"] = json!("no answer\u{1b}[2J");
    let steps = json!([
        step("kubelet/metrics-1", "2026-11-21T06:34:00.4Z", 300, "complete", ""),
        hung,
        step("kubelet/goroutine-2", "2026-11-21T06:34:01Z", 300, "complete", ""),
        step("host/ps", "2026-11-21T06:34:00Z", 300, "complete", ""),
        step("kubelet/goroutine-1", "2026-11-21T06:34:00Z", 0, "skipped", ""),
    ]);
    // The node is a minute ahead.
    let files = [("docker/journal.txt", WINDOW), ("containerd/journal.txt", CONTAINERD)];
    let got = all(manifest(60_000, changes, steps), &files);
    let want = [
        "21 06:04:28 containerd started: 1.6.20~ds1",
        "21 06:35:00 samples taken: kubelet/metrics-1, kubelet/goroutine-2",
        "21 06:35:16 we switched dockerd's debug log on",
        "21 06:35:25 we asked containerd for its stacks",
        "21 06:35:25 !! we asked containerd for its stacks and did not see it undone: the file stands",
        "21 06:35:35..21 06:35:45 ! sample docker/stacks-2 not whole: timed-out, no answer",
        "21 06:35:37 we switched dockerd's debug log off",
        "21 06:57:58 ! containerd was sent a signal through systemd: SIGSTOP",
        "21 06:58:26 containerd was sent a signal through systemd: SIGCONT",
    ];
    assert_eq!(got, want);
}

#[test]
fn boot_and_starts_come_from_the_facts_unless_a_log_tells_them() {
    let facts = r#"{"probed": "2026-11-21T07:00:00Z", "utc-offset-s": 0, "uptime-s": 3400, "ticks-per-second": 100,
        "dockerd": {"pid": 57, "start-ticks": 6600}, "containerd": {"pid": 45, "start-ticks": 4500},
        "kubelet": {"pid": 86, "start-ticks": 100000}}"#;
    let bare_dmesg = "[  100.250000] Out of memory: Killed process 4711 (java) total-vm:1kB, anon-rss:5kB\n";
    let files = [("node/facts.json", facts), ("docker/journal.txt", DOCKER), ("kernel/dmesg.txt", bare_dmesg)];
    let got = all(bare(), &files);
    let want = [
        "21 06:03:20 machine booted",
        "21 06:04:05 containerd started",
        "21 06:04:28 dockerd started",
        "21 06:05:00 !! kernel killed for want of memory on the node: java",
        "21 06:20:00 kubelet started",
    ];
    assert_eq!(got[..5], want);
}

#[test]
fn containers_that_were_killed_are_told_by_the_kubelets_pods() {
    let end = |reason: &str, at: &str| json!({"terminated": {"exitCode": 137, "reason": reason, "startedAt": at, "finishedAt": at}});
    let pods = json!({"kind": "PodList", "items": [
        {"metadata": {"name": "web-0", "namespace": "default"}, "status": {"containerStatuses": [
            {"name": "app", "state": {"running": {"startedAt": "2026-11-21T06:00:05Z"}}, "lastState": end("OOMKilled", "2026-11-21T06:00:00Z")},
            {"name": "side", "state": end("Error", "2026-11-21T06:00:00Z"), "lastState": {}}]}},
        {"metadata": {"name": "web-1", "namespace": "default"}, "status": {"initContainerStatuses": [
            {"name": "init", "state": end("OOMKilled", "2026-11-21T06:02:00Z")}]}}, {"metadata": {}}]});
    let got = all(bare(), &[("kubelet/pods.json", &pods.to_string())]);
    assert_eq!(
        got,
        [
            "21 06:00:00..21 06:02:00 x2 ! containers killed for want of memory: default/web-0/app × 1, default/web-1/init × 1"
        ]
    );
    assert_eq!(all(bare(), &[("kubelet/pods.json", "{\"items\": 3}")]), [""; 0]);
}

#[test]
fn what_is_missing_in_a_log_is_told() {
    let steps = || {
        json!([step(
            "kubelet/journal",
            "2026-11-21T07:00:00Z",
            100,
            "truncated",
            "journalctl -u kubelet --since=-86400s"
        )])
    };
    let line = |time: &str, text: &str| format!("2026-11-21T{time}+0000 w kubelet[86]: {text}\n");
    let sick = |time: &str, ago: &str| {
        line(
            time,
            &format!(
                r#"E1121 {time}.000000 86 kubelet.go:2661] "Skipping pod synchronization" err="PLEG is not healthy: pleg was last seen active {ago} ago; threshold is 3m0s""#
            ),
        )
    };
    let log = format!(
        "-- Logs begin at Sat 2026-11-21 05:00:00 UTC, end at Sat 2026-11-21 06:59:00 UTC. --\n{}[plegcollect: 3000000 bytes left out]\n{}-- Reboot --\n{}",
        sick("05:00:02", "1h40m2s"),
        sick("06:00:02", "2h40m2s"),
        line("06:50:00", "I1121 06:50:00.000000 99 a.go:1] x"),
    );
    let got = all(manifest(0, json!([]), steps()), &[("kubelet/journal.txt", &log)]);
    let want = [
        "21 05:00:00 ! log of kubelet is lost before this: the whole journal begins here, 22h00m later than asked for",
        "21 05:00:02..21 06:00:02 x2 !! PLEG unhealthy: relist last active 1h40m before, 2h40m before the last such line",
        "21 05:00:02..21 06:00:02 ! log of kubelet has a gap: 3.0 MB left out by the cap of the step",
        "21 05:00:02 ! log of kubelet begins after the trouble did: relist was last active 1h40m before its first line",
        "21 06:00:02 PLEG healthy again: no line after this one says otherwise",
        "21 06:50:00 ! machine had booted: before this line of kubelet",
    ];
    let mut sorted = got.clone();
    sorted.sort_by_key(|line| want.iter().position(|w| w == line));
    assert_eq!(sorted, want);
    let facts = r#"{"probed": "2026-11-21T07:00:00Z", "uptime-s": 400000, "ticks-per-second": 100, "kubelet": {"pid": 86, "start-ticks": 5000}}"#;
    let quiet = line("04:00:00", "I1121 04:00:00.000000 99 a.go:1] x");
    let got = all(manifest(0, json!([]), steps()), &[("kubelet/journal.txt", &quiet), ("node/facts.json", facts)]);
    assert!(
        got.iter().any(|m| m.starts_with("21 04:00:00 log of kubelet begins here: 21h00m later than asked for")),
        "{got:?}"
    );
}

#[test]
fn a_start_of_the_kubelet_is_no_trouble_with_pleg() {
    let line = |s: u32, text: &str| format!("I1121 06:00:{s:02}.000000    86 kubelet.go:2661] {text}\n");
    let starting = r#""Skipping pod synchronization" err="[container runtime status check may not have completed yet, PLEG is not healthy: pleg has yet to be successful]""#;
    let log = [
        line(0, r#""Kubelet version" kubeletVersion="v1.30.4""#).replace("kubelet.go:2661", "server.go:413"),
        line(1, starting),
        line(2, starting),
        line(5, r#""SyncLoop (PLEG): event for pod" pod="default/a""#),
    ];
    assert_eq!(all(bare(), &[("kubelet/journal.txt", &log.concat())]), ["21 06:00:00 kubelet started: v1.30.4"]);
}

#[test]
fn a_flood_is_taken_together_and_no_count_is_lost() {
    let base: Timestamp = "2026-11-20T08:00:00Z".parse().unwrap();
    let mut log = String::new();
    for n in 0..6000_i64 {
        let time =
            base.checked_add(SignedDuration::from_secs(n * 10)).unwrap().strftime("%m%d %H:%M:%S.000000").to_string();
        let what = match n % 3 {
            0 => format!(
                "setters.go:547] \"Node became not ready\" node=\"w\" condition={{\"reason\":\"KubeletNotReady\",\"message\":\"why {n}\"}}"
            ),
            1 => "kubelet_node_status.go:689] \"Recording event message for node\" node=\"w\" event=\"NodeReady\""
                .to_owned(),
            _ => format!(
                "kubelet.go:2661] \"Skipping pod synchronization\" err=\"PLEG is not healthy: pleg was last seen active {}m1s ago; threshold is 3m0s\"",
                3 + n % 7
            ),
        };
        log.push_str(&format!("I{time}    86 {what}\n"));
    }
    let (_dir, view) = node(bare(), &[("kubelet/journal.txt", &log)]);
    let found = moments(&view);
    assert!(found.len() <= MOST && found.len() > 50, "{}", found.len());
    for kind in [MomentKind::NotReady, MomentKind::Ready, MomentKind::PlegUnhealthy] {
        let of_kind: Vec<&Moment> = found.iter().filter(|m| m.kind == kind).collect();
        assert_eq!(of_kind.iter().map(|m| m.count).sum::<u64>(), 2000, "{kind:?}");
    }
    assert!(found.windows(2).all(|two| two[0].time <= two[1].time));
    assert!(found.iter().all(|m| m.until.is_none_or(|until| until >= m.time)));
}

#[test]
fn events_of_the_cluster_are_told_of_the_node_they_are_about() {
    let object = |kind: &str, name: &str| json!({"kind": kind, "name": name});
    let event = |reason: &str, kind: &str, object: serde_json::Value| {
        json!({"reason": reason, "message": format!("Node vm status is now: {reason}"), "type": kind, "count": 3,
            "firstTimestamp": "2026-11-20T21:31:17Z", "lastTimestamp": "2026-11-20T21:33:00Z", "eventTime": null, "involvedObject": object})
    };
    let new = json!({"reason": "Rebooted", "type": "Warning", "eventTime": "2026-11-20T21:00:00.123456Z", "firstTimestamp": null,
        "lastTimestamp": null, "series": {"count": 2, "lastObservedTime": "2026-11-20T21:00:09.000000Z"}, "involvedObject": object("Node", "b")});
    let lines = [
        event("NodeNotReady", "Normal", object("Node", "vm")),
        event("NodeReady", "Normal", object("Pod", "vm")),
        event("NodeReady", "Normal", object("Node", "../x y")),
        new,
    ];
    let text = lines.map(|line| line.to_string()).join("\n") + "\n{cut";
    let (_dir, view) = node(bare(), &[("cluster/node-events.jsonl", &text)]);
    let found = moments(&view);
    let got: Vec<(&str, String)> = found.iter().map(|m| (m.node.as_str(), told(m))).collect();
    let want = [
        ("b", "20 21:00:00..20 21:00:09 x2 ! event Rebooted".to_owned()),
        ("vm", "20 21:31:17..20 21:33:00 x3 ! event NodeNotReady: Node vm status is now: NodeNotReady".to_owned()),
    ];
    assert_eq!(got, want);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 40, ..Default::default() })]

    #[test]
    fn cut_and_spliced_logs_give_moments_in_order_that_are_safe_to_print(
        first in 0..6_usize, second in 0..6_usize, from in proptest::prelude::any::<proptest::sample::Index>(),
        to in proptest::prelude::any::<proptest::sample::Index>(), odd in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40),
    ) {
        let genuine = [HANG, DOCKER, WINDOW, CONTAINERD, CRIO, DMESG].map(str::as_bytes);
        let (head, tail) = (genuine[first], genuine[second]);
        let bytes = [&head[..from.index(head.len())], odd.as_slice(), &tail[to.index(tail.len())..]].concat();
        let dir = tempfile::tempdir().unwrap();
        for path in ["kubelet/journal.txt", "docker/journal.txt", "containerd/journal.txt", "cri/crio-journal.txt",
            "kernel/dmesg.txt", "kubelet/pods.json", "cluster/node-events.jsonl", "node/facts.json"] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, &bytes).unwrap();
        }
        let view = NodeView::of_dir("worker-001".parse().unwrap(), Some(bare()), Vec::new(), dir.path().to_owned());
        let found = moments(&view);
        proptest::prop_assert!(found.len() <= MOST);
        proptest::prop_assert!(found.windows(2).all(|two| two[0].time <= two[1].time));
        proptest::prop_assert!(found.iter().all(|m| m.count > 0 && m.until.is_none_or(|until| until > m.time)));
        proptest::prop_assert!(found.iter().all(|m| !m.text.is_empty() && !m.text.contains(char::is_control)));
    }
}
