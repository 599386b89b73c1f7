//! About a node: each field from its sources, in all their forms, and nothing where nothing tells.

#![expect(clippy::disallowed_methods, reason = "tests write fixtures")]

use std::fs;
use std::path::Path;

use super::*;
use crate::bundle::Manifest;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

fn fixture(name: &str) -> String {
    fs::read_to_string(format!("{FIXTURES}/{name}")).unwrap()
}

/// Looks at a node that has these files.
fn of(files: &[(&str, &str)]) -> About {
    with(files, None)
}

fn with(files: &[(&str, &str)], manifest: Option<Manifest>) -> About {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    about(&view(dir.path(), manifest))
}

fn view(dir: &Path, manifest: Option<Manifest>) -> NodeView {
    NodeView::of_dir("worker-001".parse().unwrap(), manifest, Vec::new(), dir.to_owned())
}

#[test]
fn nothing_is_known_of_nothing() {
    assert_eq!(of(&[]), About::default());
    assert_eq!(
        of(&[("node/facts.json", "{"), ("kubelet/configz.json", "[]"), ("docker/info.json", "7")]),
        About::default()
    );
}

#[test]
fn a_docker_node_of_old_is_told_by_what_its_daemons_say() {
    let cmdline = "/usr/bin/kubelet\n--container-runtime=docker\n--docker-endpoint=unix:///var/run/docker.sock\n\
                   --container-runtime-endpoint=unix:///var/run/dockershim.sock\n--v=2\n";
    let about = of(&[
        ("kubelet/metrics-1.txt", &fixture("kubelet/kubelet-1.21.1-dockershim/metrics.txt")),
        ("kubelet/configz.json", &fixture("kubelet/kubelet-1.21.1-dockershim/configz.json")),
        ("kubelet/cmdline.txt", cmdline),
        ("docker/version.json", &fixture("analyze/docker-version.json")),
        ("docker/info.json", &fixture("analyze/docker-info.json")),
        ("containerd/journal.txt", &fixture("analyze/containerd-journal.txt")),
    ]);
    assert_eq!(about.kubelet, None, "this build does not tell");
    assert_eq!(about.runtime.as_deref(), Some("docker 20.10.24+dfsg1"));
    assert_eq!(about.containerd.as_deref(), Some("1.6.20~ds1"));
    assert_eq!((about.kernel.as_deref(), about.cpus), (Some("6.18.44-fc-v669"), Some(4)));
    assert_eq!(about.memory_kib, Some(25_276_067_840 / 1024));
    let setting = |name: &str| about.settings.get(name).map(String::as_str);
    assert_eq!(setting("kubelet max-pods"), Some("110"));
    assert_eq!(setting("kubelet cgroup-driver"), Some("cgroupfs"));
    assert_eq!((setting("kubelet verbosity"), setting("docker storage driver")), (Some("2"), Some("overlay2")));
    assert_eq!((setting("runc"), setting("docker live-restore")), (Some("1.1.5+ds1"), Some("false")));
}

#[test]
fn the_manifest_and_the_facts_tell_the_rest() {
    let mut manifest: Manifest = serde_json::from_str(&fixture("analyze/healthy/manifest.json")).unwrap();
    manifest.clock_offset_ms = Some(-1500);
    let mut summary = manifest.facts.clone().unwrap_or_default();
    (summary.boot_id, summary.uptime_s) = ("c35e35cc".into(), Some(3600));
    manifest.facts = Some(summary);
    let facts = r#"{"kernel": "6.1.0-30-amd64", "os": "Debian", "cpus": 8, "mem-total-kib": 1000, "machine": "x86_64",
        "kubelet": {"pid": 81, "start-ticks": 7, "cmdline": ["/usr/bin/kubelet", "--max-pods", "250"]},
        "dockerd": {"pid": null, "start-ticks": null}}"#;
    let started = manifest.header.started;
    let run = manifest.header.run_id.clone();
    let about = with(&[("node/facts.json", facts)], Some(manifest));
    assert_eq!((about.cpus, about.memory_kib, about.clock_offset_ms), (Some(8), Some(1000), Some(-1500)));
    assert_eq!((about.run, about.boot_id.as_deref()), (Some(run), Some("c35e35cc")));
    assert_eq!(about.booted, started.checked_sub(SignedDuration::from_millis(3_601_500)).ok());
    assert_eq!(about.settings.get("kubelet max-pods").map(String::as_str), Some("250"));
    let processes: Vec<(&str, &str)> = about.processes.iter().map(|(name, p)| (name.as_str(), p.as_str())).collect();
    assert_eq!(processes, [("kubelet", "pid 81, started 7 ticks after boot")], "dockerd does not run");
}

#[test]
fn the_runtime_is_the_one_the_kubelet_is_told_to_use() {
    let docker = fixture("analyze/docker-info.json");
    let build = |version: &str| format!("kubernetes_build_info{{git_version=\"{version}\"}} 1\n");
    let (old, new) = (build("v1.21.1"), build("v1.30.4"));
    let both = r#"{"dockerd": {"pid": 1}, "containerd": {"pid": 2}}"#;
    for (what, files, want) in [
        (
            "flag of a socket",
            vec![
                ("kubelet/cmdline.txt", "kubelet\n--container-runtime-endpoint=unix:///run/containerd/containerd.sock"),
                ("docker/info.json", docker.as_str()),
            ],
            Some("containerd"),
        ),
        (
            "flag and value apart",
            vec![("kubelet/cmdline.txt", "kubelet\n--container-runtime-endpoint\nunix:///run/crio/crio.sock")],
            Some("cri-o"),
        ),
        (
            "cri-dockerd",
            vec![
                ("kubelet/cmdline.txt", "kubelet\n--container-runtime-endpoint=unix:///run/cri-dockerd.sock"),
                ("docker/info.json", docker.as_str()),
            ],
            Some("docker 20.10.24+dfsg1"),
        ),
        (
            "configuration",
            vec![
                (
                    "kubelet/configz.json",
                    r#"{"kubeletconfig": {"containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock"}}"#,
                ),
                ("node/facts.json", both),
            ],
            Some("containerd"),
        ),
        ("old, nothing said", vec![("kubelet/metrics-1.txt", old.as_str()), ("node/facts.json", both)], Some("docker")),
        ("new, nothing said, both run", vec![("kubelet/metrics-1.txt", new.as_str()), ("node/facts.json", both)], None),
        ("no kubelet", vec![("node/facts.json", both)], Some("docker")),
        ("containerd alone", vec![("node/facts.json", r#"{"containerd": {"pid": 2}}"#)], Some("containerd")),
        ("nothing runs", vec![("node/facts.json", r#"{"dockerd": {}, "containerd": {}}"#)], None),
    ] {
        assert_eq!(of(&files).runtime.as_deref(), want, "{what}");
    }
}

#[test]
fn versions_are_found_in_logs_where_nobody_answers() {
    let kubelet = "Nov 21 01:00:00 n kubelet[1]: I1121 01:00:00.000000 1 server.go:416] \"Kubelet version\" kubeletVersion=\"v1.29.3\"\n";
    let about = of(&[
        ("kubelet/journal.txt", kubelet),
        ("containerd/journal.txt", &fixture("analyze/containerd-journal.txt")),
        (
            "cri/crio-journal.txt",
            "Nov 21 n crio[1]: time=\"x\" level=info msg=\"Starting CRI-O, version: 1.24.1, git: abc\"\n",
        ),
        ("node/facts.json", r#"{"crio": {"pid": 4}}"#),
        (
            "kernel/info.txt",
            "==> /proc/version <==\nLinux version 5.10.0-9-amd64 (debian-kernel@x) #1\n==> /proc/cmdline <==\nx\n",
        ),
    ]);
    assert_eq!((about.kubelet.as_deref(), about.containerd.as_deref()), (Some("v1.29.3"), Some("1.6.20~ds1")));
    assert_eq!((about.runtime.as_deref(), about.kernel.as_deref()), (Some("cri-o 1.24.1"), Some("5.10.0-9-amd64")));
}

#[test]
fn what_a_node_says_is_printable_and_short() {
    let facts = format!(r#"{{"kernel": "6.1\u001b[2J\n", "os": "{}", "machine": "x\u202e"}}"#, "o".repeat(5000));
    let about = of(&[("node/facts.json", &facts)]);
    assert_eq!((about.kernel.as_deref(), about.settings.get("machine").map(String::as_str)), (Some("6.1"), Some("x")));
    assert!(about.os.unwrap().chars().count() <= TEXT);
}
