//! Figures of genuine files: values, times, bounds.

#![expect(clippy::disallowed_methods, reason = "tests write fixtures")]

use std::fs;

use super::*;
use crate::evidence::{Outcome, StepRecord};
use crate::plan::Phase;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

fn fixture(name: &str) -> String {
    fs::read_to_string(format!("{FIXTURES}/{name}")).unwrap()
}

fn step(id: &str, started: &str) -> StepRecord {
    StepRecord {
        id: id.parse().unwrap(),
        phase: Phase::Before,
        command: String::new(),
        as_root: None,
        started: started.parse().ok(),
        duration_ms: 5,
        outcome: Outcome::Complete,
        detail: None,
        exit_status: None,
        signal: None,
        wire_bytes: 0,
        files: Vec::new(),
    }
}

fn of(files: &[(&str, &str)], steps: &[(&str, &str)]) -> Figures {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let steps = steps.iter().map(|(id, started)| step(id, started)).collect();
    figures(&NodeView::of_dir("n1".parse().unwrap(), None, steps, dir.path().to_owned()))
}

#[test]
fn nothing_gives_no_figures() {
    assert_eq!(of(&[], &[]), Figures::default());
}

#[test]
fn gauges_of_a_node_are_read() {
    let read = |name: &str| (name.to_owned(), fixture(&format!("analyze/healthy/{name}")));
    let names =
        ["host/top-1.txt", "host/meminfo.txt", "host/pressure.txt", "host/df.txt", "host/df-inodes.txt", "host/ps.txt"];
    let names = names.into_iter().chain(["docker/ps.txt", "docker/fds.txt", "containerd/fds.txt", "host/runc.txt"]);
    let files: Vec<(String, String)> = names.map(read).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
    let gauges = of(&files, &[]).gauges;
    for (name, want) in [
        ("load over 5 min", 4.51),
        ("pressure cpu over 1 min, %", 17.24),
        ("pressure memory over 1 min, all stalled, %", 0.26),
        ("containers", 3.0),
        ("containers running", 2.0),
        ("zombies", 0.0),
        ("processes in state D", 0.0),
        ("runc processes that linger", 0.0),
    ] {
        assert_eq!(gauges.get(name), Some(&want), "{name} in {gauges:?}");
    }
    assert!(gauges["memory available, %"] > 50.0 && gauges["disk / used, %"] < 100.0, "{gauges:?}");
    assert!(gauges["descriptors of dockerd"] > 5.0 && gauges["memory of dockerd, KiB"] > 10_000.0, "{gauges:?}");
    assert!(!gauges.keys().any(|name| name.contains("overlay2")), "mounts of containers come and go: {gauges:?}");
}

#[test]
fn relist_and_calls_are_those_between_two_scrapes() {
    let (before, after) = (fixture("analyze/kubelet-metrics-before.txt"), fixture("analyze/kubelet-metrics-after.txt"));
    let files = [("kubelet/metrics-1.txt", before.as_str()), ("kubelet/metrics-2.txt", after.as_str())];
    let times = [("kubelet/metrics-1", "2026-11-20T21:29:00Z"), ("kubelet/metrics-2", "2026-11-20T21:37:20Z")];
    let figures = of(&files, &times);
    let relist = figures.relist.clone().unwrap();
    assert!(relist.between_scrapes && relist.count < Some(60.0), "{relist:?}");
    assert!(relist.mean > Some(5.0) && relist.p99_at_least, "some relists took 120 s: {relist:?}");
    assert!(!figures.operations.is_empty() && figures.operations.len() <= 60);
    let counts: Vec<f64> = figures.operations.iter().map(|o| o.latency.count.unwrap_or_default()).collect();
    assert!(counts.is_sorted_by(|a, b| a >= b), "{counts:?}");
    let relists = figures.rates["relists"];
    assert!((relists - relist.count.unwrap() / 500.0).abs() < 1e-9, "{relists}");
    let reading = &figures.readings["relists"];
    assert_eq!(reading.time, "2026-11-20T21:37:20Z".parse().ok());
    assert!(reading.of.as_deref().unwrap().starts_with("kubelet started at 2026-11-20T"), "{reading:?}");

    let same = of(&[files[0], ("kubelet/metrics-2.txt", &before)], &times);
    assert!(same.rates.is_empty(), "one answer told twice has no rates: {:?}", same.rates);
    let one = of(&files[..1], &[]);
    assert!(one.rates.is_empty() && !one.relist.unwrap().between_scrapes);
    assert_eq!(one.readings["relists"].time, None, "nothing tells when");
}

#[test]
fn counters_of_kernel_and_network_are_read() {
    let stat = |n: u32| {
        format!(
            "##### reading {n}, 100{n}.00 s after boot\n==> /proc/loadavg <==\n1.5 2.5 3.5 1/2 3\n==> /proc/stat <==\nctxt {n}0000\n"
        )
    };
    let files = [
        ("host/vmstat.txt", fixture("analyze/vmstat.txt")),
        ("host/top-1.txt", stat(1) + &stat(2)),
        ("host/ps.txt", fixture("analyze/ps.txt")),
        ("net/sockstat.txt", "==> /proc/net/netstat <==\nTcpExt: ListenDrops\nTcpExt: 17\n".to_owned()),
        (
            "net/interfaces.txt",
            "eth0: 9 9 1 20 0 0 0 0 9 9 3 4 0 0 0 0\nlo: 0 0 7 7 0 0 0 0 0 0 0 0 0 0 0 0\n".to_owned(),
        ),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let figures = of(&files, &[("host/vmstat", "2026-11-20T21:29:00Z")]);
    for (name, want) in [
        ("oom kills", 0.0),
        ("allocations that stalled", 432.0),
        ("major page faults", 149_370.0),
        ("context switches", 20_000.0),
        ("connections dropped by full listen queues", 17.0),
        ("packets lost by interfaces", 28.0),
    ] {
        assert_eq!(figures.counters.get(name), Some(&want), "{name} in {:?}", figures.counters);
    }
    assert_eq!((figures.rates["context switches"], figures.gauges["load over 5 min"]), (10_000.0, 2.5));
    assert_eq!(figures.readings["oom kills"].time, "2026-11-20T21:29:00Z".parse().ok());
    assert!(figures.counters.contains_key("containerd cpu by ps, s"), "{:?}", figures.counters);
}

#[test]
fn goroutines_are_told_by_process_and_sample_with_what_tells_among_them() {
    let hang = fixture("kubelet/kubelet-1.36.2-pleg-hang/goroutine-debug2-t352.txt");
    let grouped = fixture("kubelet/kubelet-1.36.2/goroutine-debug1.txt");
    let convoy = fixture("analyze/dockerd-20.10-convoy-2.log");
    let figures = of(
        &[
            ("kubelet/goroutine-1.txt", &hang),
            ("kubelet/goroutine-groups-1.txt", &grouped),
            ("kubelet/goroutine-groups-2.txt", &grouped),
            ("docker/stacks/2.log", &convoy),
        ],
        &[],
    );
    let told: Vec<(&str, u8, &str, u64)> =
        figures.goroutines.iter().map(|g| (g.process.as_str(), g.sample, g.file.as_str(), g.total)).collect();
    let [first, second, third] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((first.0, first.1, first.2), ("kubelet", 1, "kubelet/goroutine-1.txt"), "the form that tells more");
    assert_eq!(*second, ("kubelet", 2, "kubelet/goroutine-groups-2.txt", 165));
    assert_eq!((third.0, third.1), ("dockerd", 2));
    let kubelet = &figures.goroutines[0];
    let relist = kubelet.groups.iter().find(|g| g.frames.iter().any(|f| f.contains("GenericPLEG).Relist"))).unwrap();
    assert_eq!((relist.count, relist.state.as_str(), relist.minutes), (1, "select", 1));
    assert!(relist.at.lines.is_some() && relist.frames.len() <= 30, "{relist:?}");
    let counts: Vec<u64> = kubelet.groups.iter().map(|g| g.count).collect();
    assert!(counts.len() <= 40 && counts.is_sorted_by(|a, b| a >= b), "{counts:?}");
    assert_eq!(kubelet.shapes.values().sum::<u64>(), kubelet.total);
    assert_eq!(kubelet.states.iter().map(|(_, n)| n).sum::<u64>(), kubelet.total);
    assert!(figures.goroutines[1].states.is_empty(), "grouped dumps tell no states");
    let inspect = &figures.goroutines[2].groups.iter().find(|g| g.place.contains("ContainerInspect")).unwrap();
    assert_eq!((inspect.count, inspect.minutes), (25, 5));
}

#[test]
fn a_stack_has_one_shape_in_both_forms_and_at_other_lines() {
    let frames = |list: &[&str]| list.iter().map(|f| (*f).to_owned()).collect::<Vec<String>>();
    let block =
        frames(&["sync.runtime_SemacquireMutex (sema.go:77)", "daemon.(*Daemon).F (a.go:1)", "http.serve (b.go:2)"]);
    let grouped = frames(&[
        "sync.(*Mutex).Lock (mutex.go:90)",
        "daemon.(*Daemon).F (a.go:9)",
        "http.serve (b.go:2)",
        "runtime.goexit (asm.s:1)",
    ]);
    let other = frames(&["daemon.(*Daemon).F (a.go:1)", "http.other (b.go:2)"]);
    let place = "daemon.(*Daemon).F";
    assert_eq!(shape(place, &block), shape(place, &grouped));
    assert_ne!(shape(place, &block), shape(place, &other));
    let _ = shape("", &[]);
}

#[test]
fn hostile_names_and_values_stay_harmless_and_few() {
    let mut metrics = String::new();
    for n in 0..2000 {
        metrics.push_str(&format!(
            "kubelet_runtime_operations_errors_total{{operation_type=\"\u{1b}[2J{n}{}\"}} 1\n",
            "x".repeat(500)
        ));
    }
    metrics.push_str("kubelet_running_pods NaN\nprocess_open_fds +Inf\nprocess_cpu_seconds_total -Inf\n");
    let df: String = (0..500).map(|n| format!("/dev/x 1 1 1 5% /m\u{202e}{n}\n")).collect();
    let df = format!("Filesystem 1K-blocks Used Avail Use% Mounted on\n{df}");
    let dump: String = (0..300)
        .map(|n| format!("goroutine {n} [se\u{1b}[1mlect]:\nmain.f{n}(0x1)\n\t/a\u{1b}[2J/b.go:1 +0x1\n\n"))
        .collect();
    let figures =
        of(&[("kubelet/metrics-1.txt", &metrics), ("host/df.txt", &df), ("kubelet/goroutine-1.txt", &dump)], &[]);
    assert!(figures.counters.len() <= 400 && figures.operations.len() <= 60 && figures.gauges.len() <= 400);
    let json = serde_json::to_string(&figures).unwrap();
    assert!(!json.contains("\\u001b") && !json.contains('\u{202e}') && !json.contains("null,\"zombies"), "{json:.300}");
    assert!(figures.gauges.values().chain(figures.counters.values()).all(|value| value.is_finite()));
    let back: Figures = serde_json::from_str(&json).unwrap();
    assert_eq!(back.counters, figures.counters);
    assert!(figures.goroutines[0].groups.len() <= 40);
}

/// Every file that figures and versions are read from.
const FILES: &[&str] = &[
    "node/facts.json",
    "kernel/info.txt",
    "host/top-1.txt",
    "host/meminfo.txt",
    "host/pressure.txt",
    "host/vmstat.txt",
    "host/df.txt",
    "host/df-inodes.txt",
    "host/ps.txt",
    "host/mounts.txt",
    "host/runc.txt",
    "host/sar-cpu.txt",
    "net/sockstat.txt",
    "net/conntrack.txt",
    "net/interfaces.txt",
    "docker/ps.txt",
    "docker/info.json",
    "docker/version.json",
    "docker/fds.txt",
    "docker/stacks/1.log",
    "containerd/journal.txt",
    "containerd/shims.txt",
    "cri/ps.txt",
    "cri/pods.txt",
    "cri/crio-journal.txt",
    "kubelet/cmdline.txt",
    "kubelet/configz.json",
    "kubelet/metrics-1.txt",
    "kubelet/metrics-2.txt",
    "kubelet/journal.txt",
    "kubelet/goroutine-1.txt",
];

fn survives(bytes: &[u8]) {
    let dir = tempfile::tempdir().unwrap();
    for file in FILES {
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let view = NodeView::of_dir("n1".parse().unwrap(), None, Vec::new(), dir.path().to_owned());
    let analysis = crate::analyze::node::analyze(&view, "source".into());
    let json = serde_json::to_string(&(&analysis.about, &analysis.figures)).unwrap();
    assert!(json.chars().all(|c| !c.is_control()) && !json.contains("\\u00"), "what acts on a terminal: {json:.400}");
    drop(crate::analyze::compare::compare(&analysis, &crate::analyze::compare::tests::node("n2", vec![])));
}

#[test]
fn whatever_stands_in_a_file_nothing_panics() {
    for name in [
        "analyze/docker-info.json",
        "analyze/df.txt",
        "analyze/ps.txt",
        "analyze/top.txt",
        "analyze/vmstat.txt",
        "analyze/containerd-1.6-journal.txt",
        "analyze/dockerd-20.10-convoy-1.log",
        "analyze/kubelet-metrics-after.txt",
        "kubelet/kubelet-1.36.2/goroutine-debug1.txt",
    ] {
        survives(fixture(name).as_bytes());
    }
    for piece in [
        "##### reading ",
        "==> /proc/stat <==\nctxt ",
        "18446744073709551615 ",
        "Tcp: a\nTcp: -1\n",
        "\u{1b}[2J",
        "{\"a\":",
    ] {
        survives(piece.repeat(500).as_bytes());
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 24, ..proptest::prelude::ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..600)) {
        survives(&bytes);
    }
}
