//! The debug window and the stacks on real dockerd: what a run brings home, and that the nodes are as before, also with two
//! operators, a stopped containerd, ten thousand goroutines, Ctrl-C, and nobody left to undo it but `plegcollect revert`.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::fingerprint::{Fingerprint, rested};
use crate::running::{Running, debug_window, quick_inventory};
use crate::support::{Fault, Run, on_node, plegcollect, plegcollect_with, verify, wait_until};
use crate::trigger::Trigger;

const NODES: [&str; 3] = ["worker-007", "worker-008", "worker-009"];
const ALL: &str = "worker-00[7-9]";
const FEW: &str = "docker/stacks*,docker/journal-window,docker/ps,host/meminfo";
const LEASE: Duration = Duration::from_secs(5);
const MARGIN: Duration = Duration::from_secs(15);
/// The guard's longest pause between two tries while dockerd does not answer, and two questions of 5 s.
const NEXT_TRY: Duration = Duration::from_secs(40);

fn run(nodes: &str, args: &[&str]) -> Run {
    let dir = tempfile::tempdir().unwrap();
    let mut call = plegcollect_with(&quick_inventory(dir.path()), &["--nodes", nodes, "--lease", "5s"]);
    call.command.args(args);
    call.run()
}

fn start(nodes: &str, args: &[&str]) -> (Running, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut call = plegcollect_with(&quick_inventory(dir.path()), &["--nodes", nodes, "--lease", "5s"]);
    call.command.args(args);
    (Running::start(call), dir)
}

fn same_now(node: &str, before: &Fingerprint) {
    let difference = before.difference(&Fingerprint::of(node), false);
    assert_eq!(difference, None, "{node} is not as before:\n{}", difference.clone().unwrap_or_default());
}

fn same_within(node: &str, before: &Fingerprint, limit: Duration) {
    let took = before.wait(node, limit, false).unwrap_or_else(|d| panic!("{node} is not as before:\n{d}"));
    println!("{node}: as before after {took:.1?}");
}

fn changes(run: &Run, node: &str) -> Value {
    run.manifest(node)["changes"].clone()
}

#[test]
#[ignore = "needs the fleet"]
fn debug_is_on_for_the_window_and_the_nodes_are_as_before() {
    let before = NODES.map(rested);
    let run = run(ALL, &["--window", "3s"]);
    for (node, before) in NODES.iter().zip(&before) {
        same_now(node, before);
    }
    assert_eq!(run.code, 0, "{}", run.said());
    assert_eq!(verify(&run.dir).0, 0);
    for node in NODES {
        let journal = String::from_utf8_lossy(&run.file(node, "docker/journal-window.txt")).into_owned();
        assert!(journal.matches("level=debug").count() > 3, "{node}: {journal}");
        let changes = changes(&run, node);
        let window = debug_window(&changes);
        assert_eq!(window["state"], "reverted", "{node}: {window}");
        for name in ["sha256", "inode", "mtime", "owner", "mode", "start", "debug"] {
            assert!(!window["before"][name].is_null(), "{node}: {name} is not recorded: {window}");
            assert_eq!(window["before"][name], window["after"][name], "{node}: {name}: {window}");
        }
        assert!(window["checks"].as_array().unwrap().len() > 15, "{node}: {window}");
        for daemon in ["dockerd", "containerd"] {
            let dump =
                changes.as_array().unwrap().iter().find(|c| c["change"] == "stack-dump" && c["subject"] == daemon);
            assert_eq!(dump.unwrap_or_else(|| panic!("{node}: {changes}"))["state"], "reverted", "{node}: {changes}");
        }
        for step in ["docker/stacks/1.log", "docker/stacks/2.log", "containerd/stacks/1.log"] {
            let dump = String::from_utf8_lossy(&run.file(node, step)).into_owned();
            assert!(dump.contains("goroutine ") && dump.contains("main.main"), "{node}: {step}: {dump:.300}");
        }
        assert_eq!(run.node(node)["restarts"]["verdict"], "none", "{}", run.node(node));
        let same = run.node(node)["restarts"]["same"].to_string();
        assert!(same.contains("dockerd") && same.contains("containerd"), "{node}: {same}");
    }
}

#[test]
#[ignore = "needs the fleet"]
fn two_operators_at_once_have_one_window() {
    let before = NODES.map(rested);
    let dir = tempfile::tempdir().unwrap();
    let inventory = quick_inventory(dir.path());
    let operator = |name: &str| {
        let mut call = plegcollect_with(&inventory, &["--nodes", ALL, "--window", "8s", "--include", FEW]);
        call.command.env("USER", name).env("LOGNAME", name);
        std::thread::spawn(move || call.run())
    };
    let runs = ["kim", "robin"].map(operator).map(|run| run.join().unwrap());
    for (node, before) in NODES.iter().zip(&before) {
        same_now(node, before);
    }
    for node in NODES {
        let windows = [debug_window(&changes(&runs[0], node)), debug_window(&changes(&runs[1], node))];
        let states = windows.clone().map(|w| w["state"].as_str().unwrap_or_default().to_owned());
        let first = states.iter().position(|s| s == "reverted").unwrap_or_else(|| panic!("{node}: {windows:?}"));
        let second = 1 - first;
        assert_eq!(states[second], "refused", "{node}: {windows:?}");
        let text = windows[second]["text"].as_str().unwrap();
        assert!(
            text.contains(&format!("{}@", ["kim", "robin"][first])),
            "{node}: the sentence does not name who: {text}"
        );
        println!("{node}: {text}");
    }
    for run in &runs {
        assert!(matches!(run.code, 0 | 10), "{}", run.said());
        assert_eq!(verify(&run.dir).0, 0, "{}", run.said());
        for node in NODES {
            for step in ["docker/stacks-1", "docker/ps", "host/meminfo"] {
                assert_eq!(run.step(node, step)["outcome"], "complete", "{}", run.step(node, step));
            }
        }
    }
}

#[test]
#[ignore = "needs the fleet"]
fn with_a_stopped_containerd_there_are_stacks_and_no_window() {
    let node = NODES[0];
    let before = rested(node);
    let stopped = Fault::new(node, &["containerd-stopped"]);
    let plan = plegcollect(&["plan", "--nodes", node]).run();
    for word in ["dockerd-debug: not made: dockerd does not answer /info", "but not: containerd is stopped (state T)"] {
        assert!(plan.said().contains(word), "{}", plan.said());
    }
    let run = run(node, &["--window", "2s", "--include", FEW]);
    let window = debug_window(&changes(&run, node));
    assert_eq!(window["state"], "refused", "{window}");
    assert!(window["text"].as_str().unwrap().contains("does not answer /info"), "{window}");
    assert_eq!(run.step(node, "docker/stacks-1")["outcome"], "complete", "{}", run.said());
    let dump = String::from_utf8_lossy(&run.file(node, "docker/stacks/1.log")).into_owned();
    assert!(dump.contains("goroutine "), "{dump:.300}");
    println!("{}", window["text"]);
    drop(stopped);
    same_within(node, &before, MARGIN);
}

/// Lets containerd go on, also when the test fails.
struct Continue(&'static str);

impl Drop for Continue {
    fn drop(&mut self) {
        on_node(self.0, "systemctl kill --kill-whom=main --signal=CONT containerd.service");
    }
}

fn containerd_stops(node: &'static str, moment: &str, delay: Duration) {
    let before = rested(node);
    let trigger = Trigger::new(node, moment, delay, "stop-containerd", 1);
    let going_on = Continue(node);
    let (mut program, _dir) = start(node, &["--window", "2s", "--include", FEW]);
    let phase = trigger.hit(Duration::from_secs(60), || program.over()).expect("the moment comes");
    let code = program.end().unwrap();
    println!("{node}: containerd stopped in phase {phase}: exit {code}, {}", program.claim());
    assert_eq!(code, 20, "it cannot be seen that debug is off: {}", program.said());
    assert_eq!(program.claim(), "still-changed");
    let summary = std::fs::read_to_string(program.dir().join("SUMMARY.md")).unwrap();
    let mend = format!("plegcollect revert --nodes {node}");
    assert!(summary.contains(&mend) && program.said().contains(&mend), "{summary}\n{}", program.said());
    // Debug is on, or will be when containerd goes on; the file is not.
    assert_eq!(on_node(node, "ls /etc/docker | grep -c plegcollect || true").trim(), "0");
    drop(going_on);
    same_within(node, &before, NEXT_TRY + MARGIN);
    // A reload that was stuck may come late.
    std::thread::sleep(LEASE);
    same_now(node, &before);
}

#[test]
#[ignore = "needs the fleet"]
fn containerd_stopped_in_the_window_or_the_reload_and_later_debug_is_off() {
    std::thread::scope(|scope| {
        scope.spawn(|| containerd_stops(NODES[1], "state:ON", Duration::from_millis(500)));
        scope.spawn(|| containerd_stops(NODES[2], "link:1", Duration::ZERO));
    });
}

/// Many goroutines in a dockerd: streams of events that nobody reads, each a few of them. Dropped, they end.
struct Streams(std::process::Child);

impl Streams {
    fn open(node: &str, goroutines: u32) -> Self {
        let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/fleet");
        let child = Command::new(script)
            .args(["exec", node, "python3", "-c", include_str!("node/streams.py"), &goroutines.to_string()])
            .env("PLEGCOLLECT_FLEET_DIR", crate::support::state())
            .stdin(Stdio::piped())
            .spawn()
            .expect("scripts/fleet starts");
        let streams = Self(child);
        wait_until("that many goroutines", Duration::from_secs(60), || Self::count(node) >= goroutines);
        streams
    }

    fn count(node: &str) -> u32 {
        let info = "curl -s -m 5 --unix-socket /run/docker.sock http://docker/info | grep -o '\"NGoroutines\":[0-9]*'";
        on_node(node, &format!("{info} || true")).trim().rsplit(':').next().and_then(|n| n.parse().ok()).unwrap_or(0)
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "needs the fleet"]
fn ten_thousand_goroutines_are_estimated_dumped_and_the_freeze_measured() {
    let node = NODES[0];
    let before = rested(node);
    let streams = Streams::open(node, 10_000);
    let run = run(node, &["--window", "2s", "--include", FEW]);
    drop(streams);
    assert_eq!(run.code, 0, "{}", run.said());
    let changes = changes(&run, node);
    let dump = changes.as_array().unwrap().iter().find(|c| c["change"] == "stack-dump" && c["subject"] == "dockerd");
    let words = dump.unwrap_or_else(|| panic!("{changes}")).to_string();
    println!("{words}");
    assert!(words.contains("goroutines") && words.contains("expected") && words.contains("measured"), "{words}");
    let text = String::from_utf8_lossy(&run.file(node, "docker/stacks/1.log")).into_owned();
    let count = text.matches("\ngoroutine ").count();
    assert!(count >= 10_000, "{count} goroutines in {} bytes", text.len());
    assert_eq!(debug_window(&changes)["state"], "reverted", "{changes}");
    same_within(node, &before, MARGIN);
}

/// Debug is on, the program and the guard are dead, and nobody brings the guard back.
fn abandoned(node: &'static str) {
    let trigger = Trigger::new(node, "state:ON", Duration::from_millis(500), "end-guard", 1);
    let (mut program, _dir) = start(node, &["--window", "30s", "--include", FEW]);
    trigger.hit(Duration::from_secs(60), || program.over()).expect("debug is on");
    program.kill();
    println!("{node}: {}", trigger.done(Duration::from_secs(20)));
}

#[test]
#[ignore = "needs the fleet"]
fn revert_mends_what_nobody_else_would() {
    let node = NODES[1];
    let before = rested(node);
    abandoned(node);
    // Longer than the lease: nothing on the node does it.
    std::thread::sleep(LEASE + Duration::from_secs(3));
    let left = Fingerprint::of(node);
    assert!(left.says("\"Debug\":true"), "{left:?}");

    let dry = plegcollect(&["revert", "--nodes", node, "--dry-run"]).run();
    println!("{}", dry.said());
    assert!(dry.said().contains(node), "{}", dry.said());
    assert_eq!(left.difference(&Fingerprint::of(node), false), None, "--dry-run changed something: {}", dry.said());

    let run = plegcollect(&["revert", "--nodes", node]).run();
    println!("{}", run.said());
    assert_eq!(run.code, 0, "{}", run.said());
    same_now(node, &before);
    // There is nothing any more.
    let again = plegcollect(&["revert", "--nodes", node]).run();
    assert_eq!(again.code, 0, "{}", again.said());
    same_now(node, &before);
}

fn interrupted(node: &'static str, times: u32) {
    let before = rested(node);
    let trigger = Trigger::new(node, "state:ON", Duration::from_secs(1), "tell", 1);
    let (mut program, _dir) = start(node, &["--window", "30s", "--include", FEW]);
    trigger.hit(Duration::from_secs(60), || program.over()).expect("debug is on");
    let clock = Instant::now();
    for _ in 0..times {
        program.signal(Signal::INT);
        std::thread::sleep(Duration::from_millis(100));
    }
    let code = program.end().unwrap();
    let took = clock.elapsed();
    println!("{node}: Ctrl-C {times} times: exit {code} after {took:.1?}, {}", program.claim());
    if times == 1 {
        assert_eq!(code, 130, "{}", program.said());
        same_now(node, &before);
        assert_eq!(program.claim(), "reverted", "{}", program.said());
        assert_eq!(verify(&program.dir()).0, 0, "{}", program.said());
    } else {
        assert_eq!(code, 20, "debug was on when it ended: {}", program.said());
        assert!(took < Duration::from_secs(5), "{took:?}");
        assert!(program.said().contains("plegcollect revert --nodes"), "{}", program.said());
        same_within(node, &before, LEASE + MARGIN);
    }
}

#[test]
#[ignore = "needs the fleet"]
fn ctrl_c_reverts_before_the_end_and_twice_the_node_does_it() {
    std::thread::scope(|scope| {
        scope.spawn(|| interrupted(NODES[0], 1));
        scope.spawn(|| interrupted(NODES[2], 2));
    });
}
