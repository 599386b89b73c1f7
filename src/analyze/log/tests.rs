//! Tests of the line parsers on genuine logs, and on the wording of versions that no test can run.

use super::containerd::ContainerdEvent;
use super::dockerd::DockerdEvent;
use super::systemd::UnitEvent;
use super::*;
use crate::analyze::line::Line;

const WINDOW: &str = include_str!("../../../tests/fixtures/analyze/docker-journal-window.txt");
const DOCKER: &str = include_str!("../../../tests/fixtures/analyze/docker-journal.txt");
const CONTAINERD: &str = include_str!("../../../tests/fixtures/analyze/containerd-journal.txt");

fn clock() -> Clock {
    Clock::utc("2026-11-21T07:00:00Z".parse().unwrap())
}

fn at(time: &str) -> Option<Timestamp> {
    Some(time.parse().unwrap())
}

pub(super) fn one(text: &str) -> LogLine<'_> {
    parse::line(Line { number: 1, text, cut: false }, clock())
}

pub(super) fn each<T>(text: &str, mut take: impl FnMut(&LogLine<'_>) -> Vec<T>) -> Vec<(u64, T)> {
    let mut reader = LogReader::new(text.as_bytes(), clock());
    let mut found = Vec::new();
    while let Some(line) = reader.next_line().unwrap() {
        found.extend(take(&line).into_iter().map(|event| (line.number, event)));
    }
    found
}

#[test]
fn the_prefix_of_every_source_is_taken_off() {
    let time = at("2026-11-21T06:04:28Z");
    for (line, host, identifier, pid, message) in [
        ("2026-11-21T06:04:28+0000 worker-006 dockerd[57]: up", Some("worker-006"), Some("dockerd"), Some(57), "up"),
        ("2026-11-21T06:04:28.000000+00:00 w kernel: x: y", Some("w"), Some("kernel"), None, "x: y"),
        ("Nov 21 06:04:28 w systemd[1]: Started a.", Some("w"), Some("systemd"), Some(1), "Started a."),
        ("Nov 21 06:04:28 w (sd-pam)[12]: x", Some("w"), Some("(sd-pam)"), Some(12), "x"),
        ("Nov 21 06:04:28 w kubelet.log text without end", None, None, None, "w kubelet.log text without end"),
        ("2026-11-21T06:04:28Z dockerd[3]: up", None, Some("dockerd"), Some(3), "up"),
        ("Nov 21 06:04:28 w dockerd[57]:", Some("w"), Some("dockerd"), Some(57), ""),
    ] {
        let got = one(line);
        assert_eq!((got.time, got.host, got.identifier, got.pid), (time, host, identifier, pid), "{line}");
        assert_eq!((got.message.raw(), got.form), (message, Form::Plain), "{line}");
    }
    for heading in ["-- No entries --", "==> /var/log/messages, lines that match kubelet <=="] {
        assert_eq!((one(heading).form, one(heading).time), (Form::Heading, None));
    }
}

#[test]
fn klog_is_read_in_both_forms_with_and_without_prefix() {
    let old = "I1120 21:29:09.123456    1234 server.go:12] Version: v1.16.3";
    let line = one(old);
    assert_eq!((line.form, line.level, line.source), (Form::Klog, Some(Level::Info), Some("server.go:12")));
    assert_eq!((line.time, line.pid), (at("2026-11-20T21:29:09.123456Z"), Some(1234)));
    assert_eq!(line.message.raw(), "Version: v1.16.3");

    let new =
        r#"E1120 21:31:11.143909   12938 kubelet.go:2661] "Skipping \"pod\" synchronization" err="is \"down\"" n=3"#;
    let journal = format!("2026-11-21T06:04:28.910848+0000 worker-006 kubelet[86]: {new}");
    let line = one(&journal);
    assert_eq!((line.form, line.level, line.pid), (Form::KlogStructured, Some(Level::Error), Some(86)));
    assert_eq!(line.message.text(), "Skipping \"pod\" synchronization");
    assert_eq!((line.field("err").unwrap().as_ref(), line.field("n").unwrap().as_ref()), ("is \"down\"", "3"));
    assert_eq!((line.time, line.own_time), (at("2026-11-21T06:04:28.910848Z"), at("2026-11-20T21:31:11.143909Z")));

    for not in ["I1320 21:29:09.123456 1 a.go:1] x", "I1120 21:29:09.123456 1 a.go:1", "Info 12", "I", "Iä"] {
        assert_eq!(one(not).form, Form::Plain, "{not}");
    }
    let quoted_start = "I1120 21:29:09.123456 1 a.go:1] \"a\"b";
    assert_eq!((one(quoted_start).form, one(quoted_start).message.raw()), (Form::Klog, "\"a\"b"));
}

#[test]
fn logrus_is_read_with_the_keys_in_any_order() {
    let line = one(r#"level=warning msg="a \"b\"" error="c: d" time="2026-11-21T14:04:28.5+08:00" id=abc"#);
    assert_eq!((line.form, line.level), (Form::Logrus, Some(Level::Warning)));
    assert_eq!(line.message.text(), "a \"b\"");
    assert_eq!(line.field("error").unwrap(), "c: d");
    let line = one(r#"time="2026-11-21T14:04:28.5+08:00" level=info msg=serving... address=/run/x"#);
    assert_eq!((line.time, line.message.raw()), (at("2026-11-21T06:04:28.5Z"), "serving..."));
}

#[test]
fn our_own_debug_window_shows_in_dockerds_log() {
    let found = each(WINDOW, |line| dockerd::read(line).into_iter().collect());
    let reloads: Vec<(u64, bool)> = found
        .iter()
        .filter_map(|(n, e)| if let DockerdEvent::Reloaded { debug } = e { Some((*n, *debug)) } else { None })
        .collect();
    assert_eq!(reloads, [(2, true), (29, false)]);
    assert_eq!(found.iter().filter(|(_, e)| *e == DockerdEvent::ReloadRequested).count(), 2);
    let path = "/var/run/docker/goroutine-stacks-2026-11-21T063525Z.log".to_owned();
    assert!(found.iter().any(|(_, e)| *e == DockerdEvent::StacksWritten(path.clone())));
    let asked = |want: &str| found.iter().any(|(_, e)| matches!(e, DockerdEvent::Request { path, .. } if path == want));
    assert!(asked("/v1.41/containers/json?all=1"));
}

#[test]
fn dockerds_start_and_its_trouble_with_containers_are_read() {
    let found = each(DOCKER, |line| dockerd::read(line).into_iter().collect());
    let has = |event: &DockerdEvent| found.iter().any(|(_, e)| e == event);
    assert!(has(&DockerdEvent::Starting) && has(&DockerdEvent::Ready));
    assert!(has(&DockerdEvent::Version("20.10.24+dfsg1".into())));
    let container = Some("c3e70f76b1d2706855a9560fcc4dccf1068455dec6c4c3fcb739b2983168e686".to_owned());
    let message = "Container failed to exit within 1s of signal 15 - using the force".to_owned();
    assert!(has(&DockerdEvent::FailedToExit { container: container.clone(), after_kill: false, message }));
    let sick = |e: &DockerdEvent| matches!(e, DockerdEvent::HealthCheckFailed { container: c, .. } if *c == container);
    assert!(found.iter().any(|(_, e)| sick(e)));
    let units = each(DOCKER, |line| systemd::read(line).into_iter().collect());
    assert_eq!(units[0].1, systemd::UnitLine { unit: "docker.service".into(), event: UnitEvent::Starting });

    let handler = r#"time="2026-11-21T06:04:28Z" level=error msg="Handler for GET /v1.38/containers/e2c5/json returned error: context deadline exceeded""#;
    let Some(DockerdEvent::RequestFailed { method, path, deadline, .. }) = dockerd::read(&one(handler)) else {
        panic!()
    };
    assert_eq!((method.as_str(), path.as_str(), deadline), ("GET", "/v1.38/containers/e2c5/json", true));
    let stubborn = r#"time="2026-11-21T06:04:28Z" level=info msg="Container e2c5e2c5e2c5 failed to exit within 10 seconds of kill - trying direct SIGKILL""#;
    let Some(DockerdEvent::FailedToExit { container, after_kill, .. }) = dockerd::read(&one(stubborn)) else {
        panic!()
    };
    assert_eq!((container.as_deref(), after_kill), (Some("e2c5e2c5e2c5"), true));
}

#[test]
fn containerds_start_shims_and_failures_are_read() {
    let found = each(CONTAINERD, |line| containerd::read(line).into_iter().collect());
    let has = |event: &ContainerdEvent| found.iter().any(|(_, e)| e == event);
    assert!(has(&ContainerdEvent::Starting { version: "1.6.20~ds1".into() }) && has(&ContainerdEvent::Ready));
    assert!(has(&ContainerdEvent::StacksWritten(Some("/tmp/containerd.45.stacks.log".into()))));
    let container = Some("c3e70f76b1d2706855a9560fcc4dccf1068455dec6c4c3fcb739b2983168e686".to_owned());
    assert!(has(&ContainerdEvent::ShimDisconnected { container: container.clone() }));
    let signals: Vec<UnitEvent> = each(CONTAINERD, |line| systemd::read(line).into_iter().collect())
        .into_iter()
        .map(|(_, line)| line.event)
        .filter(|e| matches!(e, UnitEvent::Signaled(_)))
        .collect();
    assert_eq!(signals, [UnitEvent::Signaled("SIGSTOP".into()), UnitEvent::Signaled("SIGCONT".into())]);

    let id = "e2c5".repeat(16);
    let stop =
        format!(r#"time="2026-11-21T06:04:28Z" level=info msg="StopContainer for \"{id}\" with timeout 30 (s)""#);
    assert_eq!(
        containerd::read(&one(&stop)),
        Some(ContainerdEvent::StopRequested { container: id.clone(), timeout_s: Some(30) })
    );
    let failed = format!(
        r#"time="2026-11-21T06:04:28Z" level=error msg="StopContainer for \"{id}\" failed" error="rpc error: code = DeadlineExceeded desc = context deadline exceeded""#
    );
    let Some(ContainerdEvent::Failed { what, container, deadline, .. }) = containerd::read(&one(&failed)) else {
        panic!()
    };
    assert_eq!((what.as_str(), container, deadline), ("StopContainer", Some(id), true));
}

#[test]
fn systemd_tells_what_became_of_a_unit() {
    let unit = |message: &str| {
        let line = format!("Nov 21 06:04:28 w systemd[1]: {message}");
        systemd::read(&one(&line)).map(|u| (u.unit, u.event))
    };
    let exited = |code: &str, status: &str| UnitEvent::Exited { code: code.into(), status: status.into() };
    for (message, name, event) in [
        ("Started docker.service - Docker Application Container Engine.", "docker.service", UnitEvent::Started),
        ("Started Docker Application Container Engine.", "Docker Application Container Engine", UnitEvent::Started),
        ("Stopping kubelet: The Kubernetes Node Agent...", "kubelet: The Kubernetes Node Agent", UnitEvent::Stopping),
        (
            "kubelet.service: Main process exited, code=exited, status=255/EXCEPTION",
            "kubelet.service",
            exited("exited", "255/EXCEPTION"),
        ),
        (
            "docker.service: main process exited, code=killed, status=9/KILL",
            "docker.service",
            exited("killed", "9/KILL"),
        ),
        ("docker.service: Failed with result 'oom-kill'.", "docker.service", UnitEvent::Failed("oom-kill".into())),
        (
            "docker.service: Scheduled restart job, restart counter is at 12.",
            "docker.service",
            UnitEvent::RestartScheduled(12),
        ),
        (
            "docker.service: A process of this unit has been killed by the OOM killer.",
            "docker.service",
            UnitEvent::OomKilled,
        ),
        ("docker.service: State 'stop-sigterm' timed out. Killing.", "docker.service", UnitEvent::TimedOut),
    ] {
        assert_eq!(unit(message), Some((name.to_owned(), event)), "{message}");
    }
    assert_eq!(unit("Reached target Multi-User System."), None);
    assert_eq!(systemd::read(&one("Nov 21 06:04:28 w docker[1]: Started x.")), None);
}
