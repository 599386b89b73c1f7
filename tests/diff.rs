//! `plegcollect diff` as a user runs it: one node at two times, two nodes, two runs, what cannot be compared.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests, and functions only they call")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use assert_cmd::Command;
use bytes::Bytes;
use plegcollect::bundle::manifest::{Closing, Ending, FactsSummary, Header};
use plegcollect::bundle::{BundleOptions, BundleWriter, RedactConfig, Redactor, StepEnd};
use plegcollect::evidence::Outcome;
use plegcollect::plan::step::{Action, Bounds, Encoding, Phase, PlannedStep, Run, What};
use plegcollect::session::{ConnectionFacts, Sink, StdStream};

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

fn diff(base: &Path, other: &Path, format: &str) -> (i32, String, String) {
    let mut command = Command::cargo_bin("plegcollect").unwrap();
    let output = command.arg("diff").args([base, other]).args(["--format", format]).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn json(base: &Path, other: &Path) -> serde_json::Value {
    let (code, out, err) = diff(base, other, "json");
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).unwrap()
}

/// A look at a node: when, at which boot, and what the steps gave.
struct Look<'a> {
    node: &'a str,
    /// Of an hour; also names the run.
    minute: u8,
    boot: &'a str,
    kernel: &'a str,
    steps: &'a [(&'a str, Vec<u8>)],
}

/// Writes a bundle of what the steps gave into `dir`.
fn bundle(dir: &Path, look: &Look<'_>) -> PathBuf {
    let time = |second: u8| format!("2026-11-20T23:{:02}:{second:02}Z", look.minute).parse().unwrap();
    let header = Header::new(format!("run-{}", look.minute), look.node.parse().unwrap(), time(0));
    let options = BundleOptions {
        reserve_bytes: 0,
        ..BundleOptions::new(Arc::new(Redactor::new(&RedactConfig::default()).unwrap()))
    };
    fs::create_dir_all(dir).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let bundle = BundleWriter::create(dir, &header.node, &header, options).await.unwrap();
        let boot = serde_json::json!({"kernel": look.kernel, "boot-id": look.boot, "cpus": 4});
        bundle.add_json("node/facts.json", &boot).await.unwrap();
        for (file, text) in look.steps {
            let id = file.rsplit_once('.').unwrap().0;
            let mut sink = bundle.step(&step(id, file), Encoding::Plain, 1 << 24).await.unwrap();
            assert!(sink.write(StdStream::Out, Bytes::from(text.clone())).await.is_continue());
            sink.finish(end(time(10))).await.unwrap();
        }
        let transport = if look.node == "cluster" { "kubernetes-api" } else { "" };
        let closing = Closing {
            finished: time(20),
            connection: ConnectionFacts { transport: transport.to_owned(), ..ConnectionFacts::default() },
            facts: Some(FactsSummary {
                boot_id: look.boot.into(),
                kernel: look.kernel.into(),
                ..FactsSummary::default()
            }),
            clock_offset_ms: Some(0),
            ..Closing::now(Ending::Complete)
        };
        bundle.seal(closing).await.unwrap().path
    })
}

fn step(id: &str, file: &str) -> PlannedStep {
    PlannedStep {
        id: id.parse().unwrap(),
        file: file.into(),
        phase: Phase::Before,
        action: Action::Run(Run {
            what: What::Argv(vec!["cat".into()]),
            privileged: false,
            bounds: Bounds { timeout: Duration::from_secs(1), grace: Duration::from_secs(1), max_bytes: 1 << 24 },
            ok_exit: vec![0],
            encoding: Encoding::Plain,
            stacks_on_timeout: false,
        }),
        about: "test".into(),
        heavy: false,
    }
}

fn end(started: jiff::Timestamp) -> StepEnd {
    StepEnd {
        command: "cat".into(),
        as_root: Some(true),
        started,
        duration: Duration::from_millis(5),
        outcome: Outcome::Complete,
        detail: None,
        exit_status: Some(0),
        signal: None,
        hung: None,
    }
}

fn vmstat(kills: u32) -> Vec<u8> {
    format!("nr_free_pages 281818\npgmajfault 100\noom_kill {kills}\n").into_bytes()
}

fn quiet(kills: u32) -> Vec<(&'static str, Vec<u8>)> {
    vec![("host/vmstat.txt", vmstat(kills)), ("host/df.txt", fixture("analyze/healthy/host/df.txt"))]
}

#[test]
fn one_node_at_two_times_shows_new_findings_places_and_rates() {
    let dir = tempfile::tempdir().unwrap();
    let mut before = quiet(1);
    before.push(("kubelet/goroutine-1.txt", fixture("kubelet/kubelet-1.36.2/goroutine-debug2.txt")));
    before.push(("docker/stacks/1.log", fixture("analyze/dockerd-20.10-healthy.log")));
    let mut after = quiet(4);
    after.push(("kubelet/goroutine-1.txt", fixture("kubelet/kubelet-1.36.2-pleg-hang/goroutine-debug2-t352.txt")));
    after.push(("docker/stacks/1.log", fixture("analyze/dockerd-20.10-convoy-2.log")));
    let look = Look { node: "worker-001", minute: 5, boot: "b1", kernel: "6.1.0-30", steps: &before };
    let first = bundle(&dir.path().join("a"), &look);
    let second = bundle(&dir.path().join("b"), &Look { minute: 15, steps: &after, ..look });

    let told = json(&first, &second);
    assert_eq!(told["schema"], 1);
    let pair = &told["pairs"][0];
    assert_eq!((pair["same-boot"].as_bool(), pair["apart-s"].as_i64()), (Some(true), Some(600)));
    assert_eq!((pair["base"]["run"].as_str(), pair["other"]["run"].as_str()), (Some("run-5"), Some("run-15")));
    let verdict = pair["other"]["verdict"]["sentence"].as_str().unwrap();
    assert!(verdict.starts_with("runtime does not answer: relist waits for ListPodSandbox"), "{verdict}");
    let texts: Vec<&str> =
        pair["differences"].as_array().unwrap().iter().map(|d| d["text"].as_str().unwrap()).collect();
    for want in [
        "new, critical: relist waits for the runtime: ListPodSandbox has not been answered",
        "new, critical: 25 goroutines of dockerd wait for one lock",
        "oom kills: 3 more within 10m00s",
        "1 goroutine of kubelet in transport.(*ClientStream).waitOnHeader (select, up to 1 min), under relist, none there",
        "25 goroutines of dockerd in daemon.(*Daemon).ContainerInspectCurrent (semacquire, up to 5 min), none there",
        "dockerd has 98 goroutines instead of 40",
    ] {
        assert!(texts.iter().any(|text| text.starts_with(want)), "{want} is not in {texts:#?}");
    }
    assert!(texts[0].starts_with("new, critical"), "the most telling first: {texts:#?}");

    let (code, text, _) = diff(&first, &second, "text");
    assert_eq!(code, 0);
    assert!(text.contains("\nworker-001, 10m00s later, the same boot\n"), "{text}");
    assert!(text.contains("  rate       oom kills: 3 more within 10m00s\n"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100 || line.contains("tar.zst")), "{text}");
    let (_, text, _) = diff(&second, &first, "markdown");
    assert!(text.contains("10m00s earlier") && text.contains("gone, was critical"), "{text}");
    assert!(!text.contains("oom kills") && text.contains("the second is the earlier one"), "{text}");
}

#[test]
fn two_nodes_are_compared_whatever_they_are_called() {
    let dir = tempfile::tempdir().unwrap();
    let well = Look { node: "worker-004", minute: 5, boot: "b4", kernel: "6.1.0-30", steps: &quiet(0) };
    let other = Look { node: "worker-001", boot: "b1", kernel: "5.10.0-9", steps: &quiet(900), ..well };
    let (_, text, _) = diff(&bundle(dir.path(), &well), &bundle(dir.path(), &other), "text");
    assert!(text.contains("worker-001 against worker-004"), "{text}");
    assert!(text.contains("kernel 5.10.0-9 instead of 6.1.0-30"), "{text}");
    assert!(!text.contains("oom kills"), "counters of two nodes are not held against each other: {text}");
}

#[test]
fn two_runs_are_compared_node_by_node_and_what_is_common_is_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("run-5"), dir.path().join("run-15"));
    let steps = quiet(0);
    for n in 1..=12 {
        let name = format!("worker-{n:03}");
        let look = Look { node: &name, minute: 5, boot: "b", kernel: "6.1.0-30", steps: &steps };
        if n != 12 {
            bundle(&first, &look);
        }
        if n != 11 {
            let kernel = if n <= 3 { "6.1.0-31" } else { "6.1.0-30" };
            let full = format!("Filesystem Size Used Avail Use% Mounted on\n/dev/vda 9G 9G {n}K 100% /\n").into_bytes();
            let full = [("host/vmstat.txt", vmstat(0)), ("host/df.txt", full)];
            let steps: &[_] = if n == 4 || n == 5 { &full } else { &steps };
            bundle(&second, &Look { minute: 15, kernel, boot: if n <= 3 { "c" } else { "b" }, steps, ..look });
        }
    }
    let cluster = [("cluster/readyz.txt", b"ok\n".to_vec())];
    for (dir, minute) in [(&first, 5), (&second, 15)] {
        bundle(dir, &Look { node: "cluster", minute, boot: "", kernel: "", steps: &cluster });
    }
    let (code, text, err) = diff(&first, &second, "text");
    assert_eq!(code, 0, "{err}");
    for want in [
        "kernel 6.1.0-31 instead of 6.1.0-30 (worker-00[1-3])",
        "the machine was booted again (worker-00[1-3])",
        "worker-0[06-10]: nothing differs that matters",
        "new, critical: File systems are full: / 100 %, 4.0 kB left (kubelet, system, logs,",
        "only in ",
        ": worker-011\n",
        ": worker-012\n",
    ] {
        assert!(text.contains(want), "{want} is not in {text}");
    }
    assert_eq!((text.matches("6.1.0-31").count(), text.matches("kB left").count()), (1, 1), "{text}");
    assert!(!text.contains("cluster"), "the cluster is no node: {text}");
    let told = json(&first, &second);
    assert_eq!(told["pairs"].as_array().unwrap().len(), 10);
    assert_eq!(
        (told["only-base"][0].as_str(), told["only-other"][0].as_str()),
        (Some("worker-011"), Some("worker-012"))
    );
    let (_, text, _) = diff(&first, &second, "markdown");
    assert!(text.contains("- version: kernel 6.1.0-31 instead of 6.1.0-30 (worker-00\\[1-3\\])\n"), "{text}");

    // One bundle against a run: its node is looked for there.
    let (code, text, _) = diff(&first.join("worker-002.tar.zst"), &second, "text");
    assert!(code == 0 && text.contains("\nworker-002, 10m00s later, another boot\n"), "{text}");
}

#[test]
fn what_cannot_be_compared_is_refused_in_one_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let steps = quiet(0);
    let look = Look { node: "worker-001", minute: 5, boot: "b", kernel: "k", steps: &steps };
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    let one = bundle(&a, &look);
    bundle(&a, &Look { node: "worker-002", ..look });
    bundle(&b, &Look { node: "worker-003", ..look });
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/analyze");
    let words = dir.path().join("words.txt");
    fs::write(&words, "just some words\n").unwrap();
    let (log, dump) = (fixtures.join("kubelet-hang.log"), fixtures.join("dockerd-20.10-convoy-1.log"));
    for (base, other, code, want) in [
        (&one, &one, 2, "is held against itself"),
        (&a, &b, 2, "no node is in both"),
        (&log, &dump, 2, "there is nothing to compare"),
        (&one, &dir.path().join("none"), 3, "none"),
        (&fixtures.join("free.txt"), &one, 2, "free.txt holds host/free.txt"),
        (&words, &one, 3, "words.txt"),
    ] {
        let (got, out, err) = diff(base, other, "text");
        assert_eq!((got, out.as_str()), (code, ""), "{err}");
        assert!(err.starts_with("error: ") && err.contains(want), "{want}: {err}");
    }
    Command::cargo_bin("plegcollect").unwrap().args(["diff", "one"]).assert().code(2);
}

#[test]
fn a_damaged_bundle_of_a_run_is_told_and_the_rest_is_compared() {
    let dir = tempfile::tempdir().unwrap();
    let steps = quiet(0);
    let look = Look { node: "worker-001", minute: 5, boot: "b", kernel: "k", steps: &steps };
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    for (dir, minute) in [(&a, 5), (&b, 15)] {
        bundle(dir, &Look { minute, ..look });
        bundle(dir, &Look { node: "worker-002", minute, ..look });
    }
    fs::write(b.join("worker-002.tar.zst"), b"no bundle at all").unwrap();
    let (code, text, _) = diff(&a, &b, "text");
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("worker-001, 10m00s later") && text.contains("nothing differs that matters"), "{text}");
    assert!(text.contains("UNREAD") && text.contains("only in"), "{text}");
}

#[test]
fn what_a_node_writes_reaches_nobody_as_control_or_markup() {
    let dir = tempfile::tempdir().unwrap();
    let df = |percent: u8| {
        let line = format!("/dev/x 100 50 50 {percent}% /\u{1b}[2J<script>alert(1)</script>\u{202e}\u{fc}\n");
        format!("Filesystem 1K-blocks Used Available Use% Mounted on\n{line}").into_bytes()
    };
    let steps = [("host/df.txt", df(10))];
    let look =
        Look { node: "worker-001", minute: 5, boot: "b\u{1b}[31m", kernel: "5<b>\u{1b}]0;x\u{7}", steps: &steps };
    let first = bundle(&dir.path().join("a"), &look);
    let steps = [("host/df.txt", df(99))];
    let second = bundle(&dir.path().join("b"), &Look { minute: 6, kernel: "6<b>\u{9b}2J", steps: &steps, ..look });
    for format in ["text", "markdown", "json"] {
        let (code, text, _) = diff(&first, &second, format);
        assert_eq!(code, 0);
        assert!(text.contains("script"), "the mount is told: {text}");
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()) && !text.contains('\u{202e}'), "{format}: {text:?}");
        assert!(format != "json" || text.is_ascii(), "{text}");
        assert!(format != "markdown" || !text.contains("<script>") && !text.contains("<b>"), "{text}");
    }
}

#[test]
fn a_report_holds_sick_nodes_against_a_healthy_one() {
    let dir = tempfile::tempdir().unwrap();
    let healthy = fixture("kubelet/kubelet-1.36.2/goroutine-debug2.txt");
    let hang = fixture("kubelet/kubelet-1.36.2-pleg-hang/goroutine-debug2-t352.txt");
    for (n, kernel, dump) in [(1, "5.10", &hang), (2, "5.10", &hang), (3, "6.1", &healthy), (4, "6.1", &healthy)] {
        let steps = [("kubelet/goroutine-1.txt", dump.clone())];
        bundle(dir.path(), &Look { node: &format!("worker-00{n}"), minute: 5, boot: "b", kernel, steps: &steps });
    }
    let report = |more: &[&str]| {
        let mut command = Command::cargo_bin("plegcollect").unwrap();
        let output = command.arg("report").arg(dir.path()).args(["--format", "json"]).args(more).output().unwrap();
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()["fleet"].clone()
    };
    let fleet = report(&[]);
    assert_eq!(fleet["groups"][0]["shared"], serde_json::json!(["kernel 5.10: 2 of 2 sick, 0 of 2 healthy"]));
    assert_eq!(fleet["baseline"], "worker-003", "{fleet}");
    let fleet = report(&["--baseline", "worker-004"]);
    assert_eq!((&fleet["baseline"], fleet["differences"].as_array().unwrap().len()), (&"worker-004".into(), 2));
    let texts = fleet["differences"][1].to_string();
    assert!(texts.contains("kernel 5.10 instead of 6.1") && texts.contains("under relist, none there"), "{texts}");
    let fleet = report(&["--baseline", "worker-009"]);
    assert!(fleet["baseline-why"].as_str().unwrap().starts_with("worker-009 is not among these nodes"), "{fleet}");
    assert!(fleet["baseline"].is_null() && fleet["differences"].as_array().unwrap().is_empty());
}
