//! Tests of the forms a log may have: JSON, CRI-O's, stamps that are late or of another zone, seams.

use jiff::tz::Offset;

use super::containerd::{self, ContainerdEvent};
use super::crio::{self, CrioEvent};
use super::kubelet::{self, KubeletEvent};
use super::seams::{Break, Seams};
use super::tests::{each, one};
use super::*;

const JSON: &str = include_str!("../../../tests/fixtures/analyze/kubelet-json.log");
const CRIO: &str = include_str!("../../../tests/fixtures/analyze/crio-journal.txt");

fn at(time: &str) -> Option<Timestamp> {
    Some(time.parse().unwrap())
}

fn near() -> Timestamp {
    "2026-11-21T07:00:00Z".parse().unwrap()
}

#[test]
fn json_of_the_kubelet_means_what_its_text_means() {
    let found = each(JSON, kubelet::read);
    let seconds = |s: f64| Some(std::time::Duration::from_secs_f64(s));
    let want = [
        (5, KubeletEvent::PlegUnhealthy { last_seen: seconds(182.875_321_419), threshold: seconds(180.0) }),
        (5, KubeletEvent::RuntimeDown),
    ];
    assert_eq!(found[..2], want);
    let KubeletEvent::PodSyncFailed { step, pod, deadline, .. } = &found[2].1 else { panic!("{found:?}") };
    assert_eq!(
        (found[2].0, step.as_str(), pod.as_deref(), *deadline),
        (7, "KillContainer", Some("default/web-1"), true)
    );
    assert!(matches!(&found[3], (8, KubeletEvent::Rpc(f)) if f.rpc == "ListContainers" && f.deadline));
    let (reason, message) = ("KubeletNotReady".to_owned(), "container runtime is down".to_owned());
    assert_eq!(found[4], (9, KubeletEvent::NodeNotReady { reason, message }));
    assert_eq!(found.len(), 5);
}

#[test]
fn the_time_level_and_source_of_json_lines_are_read() {
    let lines: Vec<&str> = JSON.lines().collect();
    let line = one(lines[0]);
    assert_eq!(
        (line.form, line.level, line.source),
        (Form::KlogStructured, Some(Level::Info), Some("policy_static.go:180"))
    );
    assert_eq!(
        (line.time, line.message.raw()),
        (at("2025-07-21T18:08:52.0539302Z"), "Reserved CPUs not available for exclusive assignment")
    );
    assert_eq!(line.field("reserved").unwrap(), "0");
    assert_eq!((one(lines[4]).level, one(lines[4]).time), (Some(Level::Error), at("2025-07-21T18:14:12.159459Z")));
    let seconds = one(r#"{"ts":1580306777.04728,"v":4,"msg":"Pod status updated","status":"ready"}"#);
    assert_eq!((seconds.time, seconds.level), (at("2020-01-29T14:06:17.04728Z"), Some(Level::Info)));
    let journal =
        r#"2026-11-21T06:04:28.910848+0000 w kubelet[86]: {"ts":1795241068910.2,"caller":"a/b.go:1","msg":"x"}"#;
    let journal = one(journal);
    assert_eq!((journal.pid, journal.time), (Some(86), at("2026-11-21T06:04:28.910848Z")));
    assert_eq!(journal.happened(), at("2026-11-21T06:04:28.9102Z"));
    let started = r#"{"level":"info","msg":"starting containerd","revision":"1e13","time":"2026-11-21T06:04:28.438056495Z","version":"1.6.20~ds1"}"#;
    let line = one(started);
    assert_eq!((line.form, line.time), (Form::Logrus, at("2026-11-21T06:04:28.438056495Z")));
    assert_eq!(containerd::read(&line), Some(ContainerdEvent::Starting { version: "1.6.20~ds1".into() }));
    let late = r#"{"error":"rpc error: code = DeadlineExceeded desc = context deadline exceeded","level":"error","msg":"StopContainer for \"e2c5\" failed","time":"2026-11-21T06:04:28Z"}"#;
    assert!(
        matches!(containerd::read(&one(late)), Some(ContainerdEvent::Failed { what, deadline: true, .. }) if what == "StopContainer")
    );
    for not in [r#"{"msg":"x"}"#, r#"{"ts":"y","msg":"x"}"#, r#"{"ts":1}"#, "{", r#"{"level":"info","msg":"x"}"#] {
        assert_eq!(one(not).form, Form::Plain, "{not}");
    }
}

#[test]
fn what_crio_says_is_read() {
    let found = each(CRIO, |line| crio::read(line).into_iter().collect());
    let container = Some("77d14ba1958789fb253c80034efb06fe573d0bc8ef06cc9ccf6473f126477712".to_owned());
    let late = "CreateCtr: context was either canceled or the deadline was exceeded: context deadline exceeded";
    let want = [
        (2, CrioEvent::Starting { version: "1.25.4".into() }),
        (4, CrioEvent::Retried { stage: None }),
        (5, CrioEvent::Retried { stage: Some("container spec configuration".into()) }),
        (6, CrioEvent::Failed { what: "CreateContainer".into(), container: None, error: late.into(), deadline: true }),
        (8, CrioEvent::StopTimedOut { container }),
    ];
    assert_eq!(found, want);
    let said = |level: &str, message: &str| {
        crio::read(&one(&format!(r#"time="2024-04-11 22:52:11.300878130+08:00" level={level} msg="{message}""#)))
    };
    let failed = "Failed to cleanup (probably retrying): failed to destroy network for pod sandbox";
    assert!(
        matches!(said("warning", failed), Some(CrioEvent::Failed { what, deadline: false, .. }) if what == "Failed to cleanup (probably retrying)")
    );
    assert_eq!(said("info", "Caught SIGTERM"), Some(CrioEvent::Stopping));
    assert_eq!(said("info", "Checking image status: registry/pause:3.9"), None);
    assert_eq!(said("debug", "Failed to x: context deadline exceeded"), None);
}

#[test]
fn every_form_of_the_nodes_condition_is_read() {
    let ready = |source: &str, message: &str| {
        kubelet::read(&one(&format!("I1215 17:25:41.121883 1832249 {source}] {message}")))
    };
    let go = r#""Node became not ready" node="single1" condition={Type:Ready Status:False LastHeartbeatTime:2023-12-15 17:25:41.121753163 +0800 CST m=+0.403692528 LastTransitionTime:2023-12-15 17:25:41.121753163 +0800 CST m=+0.403692528 Reason:KubeletNotReady Message:[container runtime status check may not have completed yet, PLEG is not healthy: pleg has yet to be successful]}"#;
    let message = "[container runtime status check may not have completed yet, PLEG is not healthy: pleg has yet to be successful]";
    let want = KubeletEvent::NodeNotReady { reason: "KubeletNotReady".into(), message: message.into() };
    assert_eq!(ready("setters.go:549", go), [want]);
    let bare = || KubeletEvent::NodeNotReady { reason: String::new(), message: String::new() };
    let old = |reason: &str| {
        format!(
            r#"Event(v1.ObjectReference{{Kind:"Node", Namespace:"", Name:"w", UID:"w", APIVersion:"", ResourceVersion:"", FieldPath:""}}): type: 'Normal' reason: '{reason}' Node w status is now: {reason}"#
        )
    };
    let new = |kind: &str, reason: &str| {
        format!(
            r#""Event occurred" object="w" fieldPath="" kind="{kind}" apiVersion="" type="Normal" reason="{reason}" message="Node w status is now: {reason}""#
        )
    };
    for (message, want) in [
        (old("NodeNotReady"), vec![bare()]),
        (old("NodeReady"), vec![KubeletEvent::NodeReady]),
        (old("NodeHasSufficientMemory"), vec![]),
        (new("Node", "NodeNotReady"), vec![bare()]),
        (new("Node", "NodeReady"), vec![KubeletEvent::NodeReady]),
        (new("Pod", "NodeNotReady"), vec![]),
    ] {
        assert_eq!(ready("event.go:291", &message), want, "{message}");
    }
}

#[test]
fn a_late_log_is_dated_by_the_programs_own_stamp() {
    let clock = |zone: i32| Clock { near: near(), zone: Offset::from_seconds(zone).unwrap() };
    let read = |line: &str, zone| {
        let line = crate::analyze::line::Line { number: 1, text: line, cut: false };
        parse::line(line, clock(zone)).happened()
    };
    // Six minutes late, seen with k3s on a starved node.
    let late = "Oct  8 16:29:51 worker9 k3s[1636]: E1008 16:23:14.139967    1636 kubelet.go:1846] skipping pod synchronization";
    assert_eq!(read(late, 0), at("2026-10-08T16:23:14.139967Z"));
    assert_eq!(read(late, 7200), at("2026-10-08T14:23:14.139967Z"));
    // Of another zone, or of a replayed log: the journal is right.
    let journal = "2026-10-08T14:29:51+0000 w kubelet[1]: E1008 16:29:50.139967    1636 kubelet.go:1846] x";
    assert_eq!(read(journal, 0), at("2026-10-08T14:29:51Z"));
    assert_eq!(read(journal, 7200), at("2026-10-08T14:29:50.139967Z"));
}

#[test]
fn the_zone_is_told_by_what_stands_beside_it_or_by_nothing() {
    let klog = |n: u32, own: &str| {
        format!("2026-11-21T06:04:{n:02}.910848+0000 w kubelet[86]: I1121 {own}:{n:02}.910000   12938 a.go:1] x\n")
    };
    let lines = |own: &str| (0..4).map(|n| klog(n, own)).collect::<String>();
    let zone = |text: &str| zone::of_log(text.as_bytes(), near()).map(Offset::seconds);
    for (own, want) in [("14:04", 28_800), ("11:34", 19_800), ("11:49", 20_700), ("01:04", -18_000), ("06:04", 0)] {
        assert_eq!(zone(&lines(own)), Some(want), "{own}");
    }
    assert_eq!(zone(&(lines("14:04").lines().take(2).collect::<Vec<_>>().join("\n"))), None, "two lines are no proof");
    assert_eq!(zone(&format!("{}{}", klog(1, "14:04"), lines("06:04"))), None, "they contradict each other");
    assert_eq!(zone(&lines("09:27")), None, "no zone is so far from a quarter");
    assert_eq!(zone(&lines("14:04").replace("2026-11-21T06:04", "Nov 21 14:04")), None, "syslog's stamp has no zone");
    assert_eq!(zone(CRIO), Some(28_800));
    let replayed = include_str!("../../../tests/fixtures/analyze/kubelet-journal.txt");
    assert_eq!(zone(replayed), None, "a log that was replayed tells nothing");
}

#[test]
fn seams_are_found_with_the_times_on_both_sides() {
    let line = |s: u32| format!("2026-11-21T06:04:{s:02}+0000 w kubelet[86]: x\n");
    let text = [
        "-- Logs begin at Sat 2026-11-21 03:49:32 UTC, end at Sat 2026-11-21 07:39:02 UTC. --\n",
        &line(1),
        "[plegcollect: at least 3000000 bytes left out]\n",
        &line(9),
        "-- Boot 3f1c35e35cc282244fd8d243e633afac --\n",
        &line(20),
        "2026-11-21T06:04:30+0000 w systemd-journald[9]: Suppressed 42510 messages from docker.service\n",
        "-- Reboot --\n",
        "==> /var/log/messages, lines that match kubelet <==\n",
        &line(40),
    ]
    .concat();
    let mut seams = Seams::default();
    let mut reader = LogReader::new(text.as_bytes(), Clock::utc(near()));
    while let Some(line) = reader.next_line().unwrap() {
        seams.see(&line);
    }
    let time = |s: u32| at(&format!("2026-11-21T06:04:{s:02}Z"));
    assert_eq!(seams.journal_begins, at("2026-11-21T03:49:32Z").map(|t| (t, 1)));
    assert_eq!((seams.first, seams.last), (time(1).map(|t| (t, 2)), time(40)));
    let got: Vec<_> = seams.seams.iter().map(|s| (s.line, s.before, s.after, s.what.clone())).collect();
    let want = [
        (3, time(1), time(9), Break::Cut { bytes: 3_000_000, at_least: true }),
        (5, time(9), time(20), Break::Boot),
        (7, time(20), time(40), Break::Suppressed { lines: 42_510, unit: "docker.service".into() }),
        (8, time(30), time(40), Break::Boot),
        (9, time(30), time(40), Break::File { name: "/var/log/messages".into(), tail: false }),
    ];
    assert_eq!(got, want);
}

#[test]
fn a_file_of_which_only_the_end_was_read_is_known_by_its_size() {
    let line = "I1121 06:04:00.000000 86 a.go:1] x\n";
    for (lines, want) in [(10, false), ((8 << 20) / line.len(), true)] {
        let text = format!("==> /var/log/kubelet.log <==\n{}", line.repeat(lines));
        let mut seams = Seams::default();
        let mut reader = LogReader::new(text.as_bytes(), Clock::utc(near()));
        while let Some(line) = reader.next_line().unwrap() {
            seams.see(&line);
        }
        assert_eq!(seams.seams[0].what, Break::File { name: "/var/log/kubelet.log".into(), tail: want });
        assert_eq!(seams.seams[0].after, at("2026-11-21T06:04:00Z"));
    }
}
