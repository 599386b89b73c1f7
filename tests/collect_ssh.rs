//! Whole runs of the program against nodes inside this process: slow, refusing, cut off in
//! mid-step, lying, endless, hostile; deadlines and interrupts. Results, exit codes, bundles.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy exempts test functions, not what they share"
)]

#[allow(dead_code, unreachable_pub, reason = "shared by several test programs")]
#[path = "common/ssh_node.rs"]
mod ssh_node;

use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use plegcollect::bundle::{Bundle, verify};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use ssh_node::{Deed, Lab, Manner, Node, cat};
use tokio::net::TcpListener;

/// A finished run.
struct Run {
    code: i32,
    out: String,
    err: String,
    dir: PathBuf,
    record: Value,
}

impl Run {
    fn of(lab: &Lab, output: &Output) -> Self {
        let dir = lab.run_dir().unwrap_or_default();
        let record = std::fs::read(dir.join("run.json")).ok().and_then(|b| serde_json::from_slice(&b).ok());
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            dir,
            record: record.unwrap_or_default(),
        }
    }

    fn node(&self, name: &str) -> &Value {
        let nodes = self.record["nodes"].as_array().unwrap();
        nodes.iter().find(|n| n["node"] == name).unwrap_or_else(|| panic!("{name} is not in run.json: {}", self.err))
    }

    fn result(&self, name: &str) -> String {
        let node = self.node(name);
        format!("{} {}", node["result"].as_str().unwrap(), node["failure"].as_str().unwrap_or("-"))
    }

    fn bundle(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.tar.zst"))
    }

    /// The manifest's outcome and detail of a step; the bundle's hashes are right.
    fn step(&self, name: &str, step: &str) -> (String, String) {
        let report = verify(&self.bundle(name)).unwrap();
        assert!(report.is_ok(), "{name}: {report:?}");
        let manifest = Bundle::open(&self.bundle(name)).unwrap().manifest().unwrap().unwrap();
        let record = manifest.steps.iter().find(|s| s.id.as_str() == step).unwrap();
        (record.outcome.word().to_owned(), record.detail.clone().unwrap_or_default())
    }

    fn outcomes(&self, name: &str, steps: &[&str]) -> Vec<String> {
        steps.iter().map(|s| self.step(name, s).0).collect()
    }
}

/// A step of the tests' own.
fn step(id: &str, script: &str, extra: &str) -> String {
    format!(
        "[[step]]\nid = \"t/{id}\"\nabout = \"a test\"\ntimeout = \"60s\"\n{extra}\n[[step.try]]\nscript = '''{script}'''\n"
    )
}

/// Starts a node for each manner; names are given in order.
async fn fleet(lab: &Lab, manners: Vec<(&str, Manner)>) -> (Vec<Node>, Vec<(String, u16)>) {
    let (mut nodes, mut names) = (Vec::new(), Vec::new());
    for (name, manner) in manners {
        let node = lab.node(manner).await;
        names.push((name.to_owned(), node.port));
        nodes.push(node);
    }
    (nodes, names)
}

fn rule(word: &'static str, times: usize, deed: Deed) -> Manner {
    Manner { rules: vec![(word, times, deed)], ..Manner::default() }
}

fn quick() -> Manner {
    Manner { quick: true, ..Manner::default() }
}

async fn run(lab: &Lab, args: &[&str]) -> Run {
    let output = lab.plegcollect(&[&["--include", "t"], args].concat()).output().await.unwrap();
    Run::of(lab, &output)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_of_odd_nodes_is_told_apart() {
    let lab = Lab::new();
    let cut = |times| rule("cut-here", times, Deed::CutAfter(40 + "cut-here\n".len()));
    let (nodes, mut names) = fleet(
        &lab,
        vec![
            ("good", Manner::default()),
            ("one-session", Manner { max_sessions: 1, ..Manner::default() }),
            ("cut-once", cut(1)),
            ("no-login", Manner { refuse_login: true, ..Manner::default() }),
            ("no-commands", rule("", usize::MAX, Deed::Refuse)),
        ],
    )
    .await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    names.push(("silent".to_owned(), silent.local_addr().unwrap().port()));
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    names.push(("closed".to_owned(), closed));
    let steps = [
        step("first", "echo first", ""),
        step("cut", "echo cut-here; sleep 30; echo whole", ""),
        step("last", "echo last; echo complaint >&2; exit 3", "ok-exit = [3]"),
    ];
    // On healthy nodes nothing is to take half a minute.
    let steps = steps.concat().replace("sleep 30", "[ -e cut ] || sleep 1");
    lab.inventory(&names, "", &steps);
    let run = run(&lab, &["--connect-timeout", "2s", "--connect-attempts", "1", "--parallel-steps", "1"]).await;

    assert_eq!(run.code, 11, "{}", run.err);
    let all = ["t/first", "t/cut", "t/last"];
    for name in ["good", "one-session"] {
        assert_eq!(run.result(name), "complete -");
        assert_eq!(run.outcomes(name, &all), ["complete"; 3]);
        assert_eq!(cat(&run.bundle(name), "t/last.txt"), b"last\n");
        assert_eq!(cat(&run.bundle(name), "t/last.stderr.txt"), b"complaint\n");
    }
    assert_eq!(run.outcomes("cut-once", &all), ["complete", "lost", "complete"], "the rest runs over a new connection");
    assert_eq!(run.result("cut-once"), "partial -");
    assert_eq!(cat(&run.bundle("cut-once"), "t/cut.txt"), b"cut-here\n", "what had come is kept");
    assert_eq!(nodes[2].seen.logins.load(std::sync::atomic::Ordering::SeqCst), 2);
    assert_eq!(run.result("no-login"), "unreached auth");
    assert_eq!(run.result("no-commands"), "unreached exec-refused");
    assert_eq!(run.result("silent"), "unreached no-banner");
    assert_eq!(run.result("closed"), "unreached refused");
    assert!(verify(&run.bundle("closed")).unwrap().is_ok(), "the failure is evidence");
    assert_eq!(run.record["exit-code"], 11);
    assert_eq!(run.record["nodes"].as_array().unwrap().len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn liars_lose_their_step_and_nothing_else() {
    let lab = Lab::new();
    let (_nodes, names) = fleet(
        &lab,
        vec![
            ("closes-early", rule("step-two", 1, Deed::CloseEarly)),
            ("status-first", rule("step-two", 1, Deed::StatusFirst)),
            ("garbage-after-end", rule("step-two", 1, Deed::GarbageAfterEof)),
            ("never-answers", rule("step-two", 1, Deed::Mute)),
            ("cut-twice", rule("step-", 3, Deed::CutAfter(1))),
        ],
    )
    .await;
    lab.inventory(
        &names,
        "",
        &[step("one", "echo step-one", ""), step("two", "echo step-two", ""), step("three", "echo step-three", "")]
            .concat(),
    );
    let run = run(&lab, &["--parallel-steps", "1"]).await;
    assert_eq!(run.code, 10, "{}", run.err);
    let steps = ["t/one", "t/two", "t/three"];
    assert_eq!(run.outcomes("closes-early", &steps), ["complete", "failed", "complete"]);
    assert_eq!(run.result("status-first"), "complete -");
    assert_eq!(cat(&run.bundle("status-first"), "t/two.txt"), b"step-two\n");
    // What it adds to the output cannot be told from output; the wrapper's word on the exit status stands.
    assert_eq!(run.outcomes("garbage-after-end", &steps)[2], "complete");
    assert!(cat(&run.bundle("garbage-after-end"), "t/two.txt").starts_with(b"step-two\n"));
    assert_eq!(run.outcomes("never-answers", &steps), ["complete", "failed", "complete"]);
    let outcomes = run.outcomes("cut-twice", &steps);
    assert_eq!(outcomes.iter().filter(|o| *o == "lost").count(), 3, "one reconnect a phase: {outcomes:?}");
    assert_eq!(run.result("cut-twice"), "partial link-lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_is_kept_as_it_is_and_never_reaches_the_terminal() {
    let lab = Lab::new();
    let name = lab.path("hostname");
    std::io::Write::write_all(
        &mut std::fs::File::create(&name).unwrap(),
        b"evil\x1b[2J\x1b]0;owned\x07\r\nmark tools\n",
    )
    .unwrap();
    let edit = Deed::Edit(vec![("/proc/sys/kernel/hostname".into(), name.display().to_string())]);
    let (_nodes, names) = fleet(&lab, vec![("hostile", rule("plegcollect-probe", 1, edit))]).await;
    let bytes = r"printf '\377\376 bad \033[31mred\007\r\000end\n'; printf 'sudo: \033[2Jno\n' >&2; exit 7";
    lab.inventory(&names, "", &step("bytes", bytes, ""));
    let run = run(&lab, &["--verbose"]).await;
    assert_eq!(run.code, 10, "{}", run.err);
    assert_eq!(cat(&run.bundle("hostile"), "t/bytes.txt"), b"\xff\xfe bad \x1b[31mred\x07\r\0end\n");
    let facts: Value = serde_json::from_slice(&cat(&run.bundle("hostile"), "node/facts.json")).unwrap();
    assert!(facts["hostname"].as_str().unwrap().starts_with("evil"), "{facts}");
    for (what, text) in [("stdout", &run.out), ("stderr", &run.err)] {
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{what}: {text:?}");
    }
    let summary = std::fs::read_to_string(run.dir.join("SUMMARY.md")).unwrap();
    assert!(!summary.contains('\u{1b}'), "{summary:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_output_ends_at_its_cap_and_an_endless_probe_is_refused() {
    let lab = Lab::new();
    let flood = Deed::Edit(vec![("cpus=0".into(), "yes | head -c 10000000; cpus=0".into())]);
    let (_nodes, names) =
        fleet(&lab, vec![("endless", Manner::default()), ("floods-the-probe", rule("plegcollect-probe", 1, flood))])
            .await;
    let steps = [step("yes", "echo head; exec yes", "max-bytes = \"64KB\""), step("after", "echo after", "")];
    lab.inventory(&names, "", &steps.concat());
    let run = run(&lab, &[]).await;
    assert_eq!(run.code, 11, "{}", run.err);
    let (outcome, detail) = run.step("endless", "t/yes");
    assert_eq!(outcome, "truncated", "{detail}");
    let text = cat(&run.bundle("endless"), "t/yes.txt");
    assert!(text.starts_with(b"head\ny\n") && text.ends_with(b"y\n") && text.len() < 70_000, "{}", text.len());
    assert_eq!(run.step("endless", "t/after").0, "complete");
    assert_eq!(run.result("floods-the-probe"), "unreached other");
    let reason = run.node("floods-the-probe")["reason"].as_str().unwrap();
    assert!(reason.contains("more than 1 MiB"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_hangs_at_its_end_still_gives_a_plan() {
    let lab = Lab::new();
    let last = "described= shims=0 found= doubtful=";
    let hang = Deed::Edit(vec![(last.into(), format!("{last}; sleep 1000"))]);
    let (_nodes, names) = fleet(&lab, vec![("stuck", rule("plegcollect-probe", 1, hang))]).await;
    lab.inventory(&names, "", &step("one", "echo one", ""));
    let run = run(&lab, &[]).await;
    // Who did not hear everything does not know what to ask for.
    assert_eq!((run.code, run.result("stuck").as_str()), (10, "partial -"), "{}", run.err);
    assert_eq!(run.step("stuck", "t/one").0, "complete");
    assert!(run.err.contains("did not end within 10 s"), "{}", run.err);
    let facts: Value = serde_json::from_slice(&cat(&run.bundle("stuck"), "node/facts.json")).unwrap();
    assert_eq!(facts["partial"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_that_wait_for_the_only_session_are_not_called_stalled() {
    let lab = Lab::new();
    let (_nodes, names) = fleet(&lab, vec![("narrow", Manner { max_sessions: 1, ..quick() })]).await;
    // Longer than a command that was sent may take to begin.
    let steps: Vec<_> = ["a", "b", "c", "d"].iter().map(|id| step(id, "sleep 4; echo done", "")).collect();
    lab.inventory(&names, "", &steps.concat());
    let run = run(&lab, &["--parallel-steps", "4"]).await;
    assert_eq!(run.code, 0, "{}\n{}", run.err, run.record);
    assert_eq!(run.outcomes("narrow", &["t/a", "t/b", "t/c", "t/d"]), ["complete"; 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nodes_deadline_loses_what_is_left_and_manifest_and_record_agree() {
    let lab = Lab::new();
    let (_nodes, names) =
        fleet(&lab, vec![("slow", quick()), ("probe-hangs", rule("/proc/self/status", 1, Deed::Mute))]).await;
    lab.inventory(&names, "", &[step("one", "echo begun; sleep 1000", ""), step("two", "echo two", "")].concat());
    let clock = Instant::now();
    let run = run(&lab, &["--node-deadline", "12s", "--parallel-steps", "1"]).await;
    assert!(clock.elapsed() < Duration::from_secs(60));
    assert_eq!(run.code, 11, "{}", run.err);
    assert_eq!(cat(&run.bundle("slow"), "t/one.txt"), b"begun\n");
    let reason = "the node's deadline of 12s passed";
    for step in ["t/one", "t/two"] {
        let (outcome, detail) = run.step("slow", step);
        assert_eq!(outcome, "lost");
        assert!(detail.contains(reason), "{step}: {detail}");
        let missing = run.node("slow")["missing"].to_string();
        assert!(missing.contains(&format!("{step}: lost: {reason}")), "{missing}");
    }
    assert_eq!(run.result("slow"), "partial -");
    assert_eq!(run.result("probe-hangs"), "unreached deadline", "not the link's fault");
    assert_eq!(run.node("probe-hangs")["reason"], reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runs_deadline_is_named_and_starts_no_more_nodes() {
    let lab = Lab::new();
    let (_nodes, names) = fleet(&lab, vec![("a", quick()), ("b", quick())]).await;
    lab.inventory(&names, "", &step("one", "echo begun; sleep 1000", ""));
    let run = run(&lab, &["--run-deadline", "10s", "--parallel", "1"]).await;
    assert_eq!(run.code, 11, "{}", run.err);
    assert_eq!(run.step("a", "t/one"), ("lost".into(), "the run's deadline of 10s passed".into()));
    assert_eq!(run.result("b"), "not-started not-started");
    assert_eq!(run.node("b")["reason"], "the run's deadline of 10s passed before its turn");
    assert_eq!(run.node("b")["bundle"], Value::Null);
}

/// Starts a run and interrupts it once the file it makes is there.
async fn interrupt(lab: &Lab, times: usize) -> Run {
    let begun = lab.path("begun");
    // TERM is ignored: a second request must not wait for the node.
    let script = format!("echo begun; touch {}; exec sleep 1000", begun.display());
    let (_nodes, names) = fleet(lab, vec![("a", quick()), ("b", quick())]).await;
    lab.inventory(&names, "", &[step("zero", "echo zero", ""), step("one", &script, "")].concat());
    let args = ["--include", "t", "--parallel", "1", "--parallel-steps", "1"];
    let child = lab.plegcollect(&args).spawn().unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    let clock = Instant::now();
    while !begun.exists() {
        assert!(clock.elapsed() < Duration::from_secs(60), "the step never began");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for _ in 0..times {
        kill_process(pid, Signal::INT).unwrap();
        // Two signals at once would be one.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let output = child.wait_with_output().await.unwrap();
    Run::of(lab, &output)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_interrupt_seals_what_is_there() {
    let lab = Lab::new();
    let run = interrupt(&lab, 1).await;
    assert_eq!((run.code, &run.record["exit-code"]), (130, &130.into()), "{}", run.err);
    assert_eq!(run.step("a", "t/zero").0, "complete");
    assert_eq!(run.step("a", "t/one"), ("cancelled".into(), "the run was stopped".into()));
    assert_eq!(cat(&run.bundle("a"), "t/one.txt"), b"begun\n");
    assert_eq!(run.result("b"), "not-started not-started");
    assert!(run.dir.join("SUMMARY.md").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_interrupt_leaves_bundles_readable() {
    let lab = Lab::new();
    let run = interrupt(&lab, 2).await;
    assert_eq!((run.code, &run.record["exit-code"]), (130, &130.into()), "{}", run.err);
    let partial = run.dir.join("a.tar.zst.partial");
    // A quick machine may have sealed it before the second signal came.
    let bundle = if partial.exists() { partial } else { run.bundle("a") };
    assert_eq!(cat(&bundle, "t/zero.txt"), b"zero\n");
}
