//! Which daemons run, which do not or are held, and since when.

use super::*;

#[test]
fn what_was_started_lately_is_said() {
    let facts = |up: u64, docker: u64| {
        let json = format!(
            r#"{{"uptime-s": {up}, "ticks-per-second": 100, "dockerd": {{"pid": 5, "start-ticks": {docker}}}, "kubelet": {{"pid": 7, "start-ticks": 500}}}}"#
        );
        vec![("node/facts.json", json)]
    };
    for (files, want) in [
        (facts(90_000, 8_950_000), Some("dockerd was started 8m20s ago: ")),
        (facts(1_800, 1_000), Some("The machine was booted 30m00s ago: ")),
        (facts(90_000, 1_000), None),
    ] {
        let (_dir, view) = written(&files);
        let found = findings(&view);
        assert!(found.iter().all(|f| f.severity == Severity::Info));
        let young = found.iter().find(|f| f.id == "young/started").map(|f| f.sentence.clone());
        match want {
            Some(want) => assert!(young.as_ref().is_some_and(|young| young.starts_with(want)), "{young:?}"),
            None => assert_eq!(young, None),
        }
    }
    let start = |minute: u32| {
        format!(
            "I1120 21:{minute:02}:04.936200   12938 server.go:408] \"Kubelet version\" kubeletVersion=\"v1.30.1\"\n"
        )
    };
    for (minutes, want) in [(vec![1, 6, 12], true), (vec![1, 2], false), (vec![0, 20, 59], false)] {
        let log: String = minutes.iter().map(|minute| start(*minute)).collect();
        let (_dir, view) = written(&[("kubelet/journal.txt", log)]);
        assert_eq!(findings(&view).iter().any(|f| f.id == "young/again"), want, "{minutes:?}");
    }
}

fn daemon(unit: &str, pid: Option<u32>, state: &str) -> String {
    let pid = pid.map_or("null".to_owned(), |pid| pid.to_string());
    format!(r#"{{"unit": "{unit}", "pid": {pid}, "state": "{state}"}}"#)
}

#[test]
fn a_daemon_that_does_not_run_is_named_unless_nobody_needs_it() {
    use Severity::{Critical, Info};
    let up = |unit: &str| daemon(unit, Some(45), "active/running");
    let down = |unit: &str| daemon(unit, None, "inactive/dead");
    let endpoint = |socket: &str| {
        format!(r#"{{"pid": 9, "cmdline": ["kubelet", "--container-runtime-endpoint", "unix://{socket}"]}}"#)
    };
    let status =
        |active: &str| format!("● docker.service - Docker\n     Loaded: loaded\n     Active: {active} since Fri\n");
    let facts = |docker: &str, containerd: &str, kubelet: &str| {
        ("node/facts.json", format!(r#"{{"dockerd": {docker}, "containerd": {containerd}, "kubelet": {kubelet}}}"#))
    };
    for (file, want) in [
        (facts(&up("docker.service"), &up("containerd.service"), &up("kubelet.service")), None),
        (
            facts(&up("docker.service"), &down("containerd.service"), "null"),
            Some(("down/containerd", Critical, "containerd does not run: containerd.service is inactive/dead.")),
        ),
        (
            facts(&down("docker.service"), &up("containerd.service"), "null"),
            Some(("down/dockerd", Critical, "dockerd does not run")),
        ),
        (
            facts(&down("docker.service"), &up("containerd.service"), &endpoint("/run/containerd/containerd.sock")),
            Some(("down/dockerd", Info, "the kubelet does not use it")),
        ),
        (
            facts(&down("docker.service"), &up("containerd.service"), &endpoint("/run/cri-dockerd.sock")),
            Some(("down/dockerd", Critical, "dockerd does not run")),
        ),
        (
            facts("null", &up("containerd.service"), &daemon("kubelet.service", None, "failed/failed")),
            Some(("down/kubelet", Critical, "The kubelet does not run: kubelet.service is failed/failed.")),
        ),
        (
            ("docker/status.txt", status("inactive (dead)")),
            Some(("down/dockerd", Critical, "dockerd does not run: inactive (dead)")),
        ),
        (("docker/status.txt", status("active (running)")), None),
        (
            (
                "host/ps.txt",
                text("analyze/healthy/host/ps.txt").replace(" S root          45 ", " T root          45 "),
            ),
            Some(("down/held", Critical, "containerd is stopped by a signal (state T), pid 45")),
        ),
        (
            (
                "host/ps.txt",
                text("analyze/healthy/host/ps.txt")
                    + "0 T root 64 1 0 80 0 - 384253 do_sig 0 0 09:14 ? 00:00:00 /usr/bin/containerd-shim-runc-v2 -namespace default -id c1\n",
            ),
            Some(("down/held-shim", Severity::Warning, "1 shim is stopped by a signal (state T), pid 64")),
        ),
        (("host/ps.txt", text("analyze/healthy/host/ps.txt")), None),
        (
            (
                "node/facts.json",
                format!(r#"{{"systemctl-failed": true, "containerd": {}}}"#, down("containerd.service")),
            ),
            None,
        ),
    ] {
        let (_dir, view) = written(std::slice::from_ref(&file));
        let found = findings(&view);
        let down = found.iter().find(|f| f.id.starts_with("down/"));
        match (down, want) {
            (None, None) => {}
            (Some(got), Some((id, severity, part))) => {
                assert_eq!((got.id.as_str(), got.severity), (id, severity), "{file:?}");
                assert!(got.sentence.contains(part), "{}", got.sentence);
            }
            (got, want) => panic!("{got:?} in place of {want:?} for {file:?}"),
        }
    }
}

#[test]
fn a_daemon_that_was_held_at_one_moment_and_answered_later_is_no_trouble() {
    for (outcome, want) in
        [(Outcome::Complete, ("down/was-held", Severity::Info)), (Outcome::TimedOut, ("down/held", Severity::Critical))]
    {
        let ps = text("analyze/healthy/host/ps.txt").replace(" S root          45 ", " T root          45 ");
        let steps = vec![step("docker/info", outcome, &["docker/info.json"])];
        let (_dir, view) = written_with(&[("host/ps.txt", ps)], steps);
        assert!(ids(&findings(&view)).contains(&want), "{outcome:?}");
    }
}
