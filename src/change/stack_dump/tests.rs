//! The script against a process that writes a file on SIGUSR1, in the shells nodes have; and what is read from it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use super::*;
use crate::change::Answer;

fn shells() -> Vec<Vec<&'static str>> {
    let all = [vec!["/bin/dash"], vec!["/bin/busybox", "sh"], vec!["/bin/bash", "--posix"]];
    all.into_iter().filter(|s| Path::new(s[0]).exists()).collect()
}

/// A process that dumps on SIGUSR1 as a daemon does, and the directories of the test.
struct Daemon {
    child: Child,
    dir: tempfile::TempDir,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    /// `on_signal` is shell; `$dir` is the directory it dumps to.
    fn new(on_signal: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["run", "dumps"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let script = format!(
            "dir={}/dumps; trap '{on_signal}' USR1; : >{}/ready; while :; do sleep 0.05; done",
            dir.path().display(),
            dir.path().display()
        );
        let child = Command::new("/bin/sh").args(["-c", &script]).stdin(Stdio::null()).spawn().unwrap();
        let end = Instant::now() + Duration::from_secs(20);
        while !dir.path().join("ready").exists() {
            assert!(Instant::now() < end);
            std::thread::yield_now();
        }
        // A directory that was changed within the last seconds is waited for.
        let old = std::fs::File::open(dir.path().join("dumps")).unwrap();
        old.set_modified(std::time::SystemTime::now() - Duration::from_secs(60)).unwrap();
        Self { child, dir }
    }

    fn dumps(&self) -> PathBuf {
        self.dir.path().join("dumps")
    }

    fn file(&self) -> PathBuf {
        self.dumps().join(format!("containerd.{}.stacks.log", self.child.id()))
    }

    fn arguments(&self, daemon: &str, patience: u32) -> Vec<String> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let start = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().to_owned();
        let exe = std::fs::read_link(format!("/proc/{}/exe", self.child.id())).unwrap().display().to_string();
        let dumps = self.dumps().display().to_string();
        let run = self.dir.path().join("run").display().to_string();
        let pid = self.child.id().to_string();
        [daemon, &pid, &start, &exe, "file", "", &dumps, "", &dumps, "", "r1", "me", &run, "1", &patience.to_string()]
            .map(str::to_owned)
            .to_vec()
    }

    fn command(&self, shell: &[&str], arguments: &[String]) -> Command {
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).args(["-c", TAKE, "sh"]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn take(&self, shell: &[&str], daemon: &str, patience: u32) -> Output {
        self.command(shell, &self.arguments(daemon, patience)).output().unwrap()
    }

    /// Everything below the test's directories.
    fn left(&self) -> Vec<String> {
        let mut names = Vec::new();
        for dir in ["run", "dumps"] {
            for entry in std::fs::read_dir(self.dir.path().join(dir)).unwrap() {
                names.push(entry.unwrap().file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        names
    }
}

const DOCKERD: &str = "echo goroutine 1 [running] >$dir/goroutine-stacks-2026-01-01T000000Z.log";
const CONTAINERD: &str = "echo goroutine 1 [running] >$dir/containerd.$$.stacks.log";

fn end_of(daemon: &Daemon, output: &Output) -> DumpEnd {
    let target = target(daemon);
    let answer = Answer { status: output.status.code().unwrap_or(-1), out: Vec::new(), err: output.stderr.clone() };
    probe::dump_end(&target, &answer, Some(output.stdout.len() as u64), PATIENCE)
}

fn target(daemon: &Daemon) -> DumpTarget {
    DumpTarget {
        subject: Subject::Containerd,
        process: Process { pid: daemon.child.id(), start_ticks: 1, exe: "/x".to_owned(), unit: None },
        journal: None,
        dirs: vec![daemon.dumps().display().to_string()],
        lock: String::new(),
        writes: Writes::File,
        socket: None,
    }
}

#[test]
fn a_dump_is_sent_and_nothing_of_it_is_left() {
    for shell in shells() {
        for (name, on_signal) in [("dockerd", DOCKERD), ("containerd", CONTAINERD)] {
            let daemon = Daemon::new(on_signal);
            let output = daemon.take(&shell, name, 10);
            assert_eq!(String::from_utf8_lossy(&output.stdout), "goroutine 1 [running]\n", "{shell:?} {output:?}");
            let end = end_of(&daemon, &output);
            assert!(end.complete && end.residue.is_none() && end.took.is_some(), "{shell:?} {end:?} {output:?}");
            assert_eq!(daemon.left(), Vec::<String>::new(), "{shell:?} {name}");
        }
    }
}

#[test]
fn dumps_of_others_are_neither_taken_nor_touched() {
    for shell in shells() {
        let daemon = Daemon::new(DOCKERD);
        let theirs = daemon.dumps().join("goroutine-stacks-2025-12-31T000000Z.log");
        std::io::Write::write_all(&mut std::fs::File::create(&theirs).unwrap(), b"theirs").unwrap();
        let output = daemon.take(&shell, "dockerd", 10);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "goroutine 1 [running]\n");
        assert_eq!(daemon.left(), ["goroutine-stacks-2025-12-31T000000Z.log"]);
        assert_eq!(std::fs::read(&theirs).unwrap(), b"theirs");
    }
}

#[test]
fn what_a_daemon_left_when_it_died_is_removed() {
    let names = ["goroutine-stacks-2026-01-01T000000Z.log", "containerd.$$.stacks.log"];
    for shell in shells() {
        for (daemon, name) in ["dockerd", "containerd"].into_iter().zip(names) {
            for write in ["echo goroutine 1", ":"] {
                let mut dying = Daemon::new(&format!("{write} >$dir/{name}; kill -9 $$"));
                let was = dying.file();
                if daemon == "containerd" {
                    std::io::Write::write_all(&mut std::fs::File::create(&was).unwrap(), b"before").unwrap();
                }
                let output = dying.take(&shell, daemon, 10);
                assert!(output.stdout.is_empty(), "{shell:?} {daemon} {write}: {output:?}");
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(said.contains("clean=1"), "{shell:?} {daemon} {write}: {said}");
                if daemon == "containerd" {
                    assert_eq!(std::fs::read(&was).unwrap(), b"before");
                    std::fs::remove_file(&was).unwrap();
                }
                assert_eq!(dying.left(), Vec::<String>::new(), "{shell:?} {daemon} {write}: {said}");
                let _ = dying.child.wait();
            }
        }
    }
}

#[test]
fn the_dump_that_was_there_comes_back_as_it_was() {
    use std::os::unix::fs::MetadataExt as _;
    for shell in shells() {
        for patience in [10, 0] {
            // With no patience, the dump comes too late for the first look and is removed by the way out.
            let daemon = Daemon::new(CONTAINERD);
            std::io::Write::write_all(&mut std::fs::File::create(daemon.file()).unwrap(), b"theirs").unwrap();
            let before = std::fs::metadata(daemon.file()).unwrap();
            let output = daemon.take(&shell, "containerd", patience);
            let after = std::fs::metadata(daemon.file()).unwrap();
            assert_eq!((after.ino(), after.mtime_nsec()), (before.ino(), before.mtime_nsec()), "{shell:?} {output:?}");
            assert_eq!(std::fs::read(daemon.file()).unwrap(), b"theirs");
            assert_eq!(daemon.left().len(), 1, "{:?}", daemon.left());
        }
    }
}

#[test]
fn a_planted_symlink_is_refused_and_no_signal_sent() {
    for shell in shells() {
        let daemon = Daemon::new(CONTAINERD);
        let victim = daemon.dir.path().join("victim");
        std::io::Write::write_all(&mut std::fs::File::create(&victim).unwrap(), b"precious").unwrap();
        std::os::unix::fs::symlink(&victim, daemon.file()).unwrap();
        let end = end_of(&daemon, &daemon.take(&shell, "containerd", 10));
        assert!(!end.signalled && !end.complete && end.text.contains("not a file of root's alone"), "{end:?}");
        assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
        assert_eq!(daemon.left().len(), 1, "only the symlink: {:?}", daemon.left());
        assert!(daemon.file().is_symlink());
    }
}

#[test]
fn another_process_of_that_number_gets_no_signal() {
    for shell in shells() {
        let daemon = Daemon::new("exit 9");
        for (at, value) in [(2, "1"), (3, "/usr/sbin/dockerd")] {
            let mut arguments = daemon.arguments("dockerd", 10);
            value.clone_into(&mut arguments[at]);
            let end = end_of(&daemon, &daemon.command(&shell, &arguments).output().unwrap());
            assert!(!end.signalled && end.text.contains("no signal was sent"), "{end:?}");
        }
        assert_eq!(daemon.left(), Vec::<String>::new());
    }
}

#[test]
fn a_stopped_daemon_gets_no_signal() {
    for shell in shells() {
        let daemon = Daemon::new(DOCKERD);
        let pid = daemon.child.id();
        let state = |wanted: char| {
            let end = Instant::now() + Duration::from_secs(20);
            while !std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(&format!(") {wanted} ")) {
                assert!(Instant::now() < end);
                std::thread::yield_now();
            }
        };
        Command::new("kill").args(["-STOP", &pid.to_string()]).status().unwrap();
        state('T');
        let end = end_of(&daemon, &daemon.take(&shell, "dockerd", 10));
        Command::new("kill").args(["-CONT", &pid.to_string()]).status().unwrap();
        assert!(!end.signalled && end.text.contains("(state T)"), "{end:?}");
        assert_eq!(daemon.left(), Vec::<String>::new());
        let output = daemon.take(&shell, "dockerd", 10);
        assert!(end_of(&daemon, &output).complete, "it dumps once it goes on: {output:?}");
    }
}

#[test]
fn a_dump_that_may_still_come_leaves_the_receipt_and_says_so() {
    for shell in shells() {
        let daemon = Daemon::new(":");
        let end = end_of(&daemon, &daemon.take(&shell, "dockerd", 1));
        assert!(end.signalled && !end.complete && end.text.contains("it may still come"), "{end:?}");
        assert_eq!(daemon.left(), ["plegcollect.stacks-r1-dockerd"]);
        let receipt = daemon.dir.path().join("run/plegcollect.stacks-r1-dockerd/receipt");
        let receipt = std::fs::read_to_string(receipt).unwrap();
        for line in ["run=r1", "who=me", "daemon=dockerd", &format!("pid={}", daemon.child.id()), "since="] {
            assert!(receipt.contains(line), "{receipt}");
        }
        let prepared = Prepared { target: target(&daemon), estimate: None, checks: Vec::new(), warnings: Vec::new() };
        let record = conclude(&prepared, &[end], "worker-004");
        assert_eq!(record.state, ChangeState::StillChanged);
        assert_eq!(record.mend.as_deref(), Some("plegcollect revert --nodes worker-004"));
    }
}

#[test]
fn told_to_end_it_still_removes_the_dump() {
    for shell in shells() {
        // The dump comes a while after TERM.
        let daemon = Daemon::new(": >$dir/got; sleep 1; echo late >$dir/goroutine-stacks-2026-01-01T000000Z.log");
        let child = daemon.command(&shell, &daemon.arguments("dockerd", 20)).spawn().unwrap();
        let end = Instant::now() + Duration::from_secs(20);
        while !daemon.dumps().join("got").exists() {
            assert!(Instant::now() < end);
            std::thread::yield_now();
        }
        Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(143), "{output:?}");
        assert_eq!(daemon.left(), ["got"], "{shell:?} {output:?}");
    }
}

#[test]
fn a_reader_that_goes_away_leaves_nothing_on_the_node() {
    for shell in shells() {
        let daemon = Daemon::new("head -c 3000000 /dev/zero >$dir/goroutine-stacks-2026-01-01T000000Z.log");
        let mut child = daemon.command(&shell, &daemon.arguments("dockerd", 20)).spawn().unwrap();
        // Nobody reads; it is stuck in the middle of the dump, which has no name any more.
        let mut words = String::new();
        let mut errors = std::io::BufReader::new(child.stderr.take().unwrap());
        while !words.contains("clean=1") {
            assert_ne!(std::io::BufRead::read_line(&mut errors, &mut words).unwrap(), 0, "{words}");
        }
        assert_eq!(daemon.left(), Vec::<String>::new(), "before the first byte has been read");
        drop(child.stdout.take());
        assert!(child.wait().unwrap().success());
        std::io::Read::read_to_string(&mut errors, &mut words).unwrap();
        assert!(!words.contains("streamed"), "{words}");
    }
}

#[test]
fn figures_are_in_the_summary_only_where_somebody_may_have_felt_it() {
    let daemon = Daemon::new(":");
    let prepared = Prepared { target: target(&daemon), estimate: None, checks: Vec::new(), warnings: Vec::new() };
    let end = |sample, ping| {
        let err = format!("signalled=1\nping-cs={ping}\nbytes=23400\nclean=1\nstreamed=1\n");
        let answer = Answer { status: 0, out: Vec::new(), err: err.into_bytes() };
        DumpEnd { sample, ..probe::dump_end(&prepared.target, &answer, Some(23_400), PATIENCE) }
    };
    let quick = conclude(&prepared, &[end(1, 3), end(2, 2)], "n");
    assert_eq!(quick.text, "containerd dumped its goroutines twice, files removed");
    assert!(quick.log[0].contains("sample 1: 23.4 kB measured, longest ping 0.03 s; sample 2:"), "{:?}", quick.log);
    assert!(quick.remains[0].contains("in the log of containerd as well"), "{:?}", quick.remains);
    let slow = conclude(&prepared, &[end(1, 87), end(2, 2)], "n");
    let figures =
        "containerd dumped its goroutines twice, files removed (sample 1: 23.4 kB measured, longest ping 0.87 s";
    assert!(slow.text.starts_with(figures), "{}", slow.text);
}

#[test]
fn what_a_node_says_is_measured_and_bounded() {
    let daemon = Daemon::new(":");
    let said = |err: &str, received: Option<u64>| {
        let answer = Answer { status: 0, out: Vec::new(), err: err.as_bytes().to_vec() };
        probe::dump_end(&target(&daemon), &answer, received, PATIENCE)
    };
    let good = "signalled=100.25\nwaited-cs=90\nwritten=101.100000000\nname=x.log\nping-cs=87\nbytes=15600000\nclean=1\nstreamed=1\n";
    let end = said(good, Some(15_600_000));
    assert_eq!(end.text, "15.6 MB in 0.85 s measured, longest ping 0.87 s");
    assert!(end.complete && end.residue.is_none());
    assert!(!said(good, Some(15_599_999)).complete, "a byte is missing");
    assert!(said(&good.replace("clean=1", ""), None).residue.is_some(), "nobody says that it is clean");
    // A clock that jumps, or a node that lies, is not believed.
    assert_eq!(said(&good.replace("101.1", "999.1"), None).took, Some(Duration::from_millis(900)));
    let hostile = said("refused=\u{1b}[2Jx\nbytes=99999999999999999999\nname=\u{1b}]0;x\u{7}\nping-cs=-1\n", None);
    assert!(!hostile.text.contains('\u{1b}') && !hostile.name.contains('\u{1b}'), "{hostile:?}");
}

#[test]
fn scripts_are_sound_in_every_shell() {
    for shell in shells() {
        for text in [
            TAKE,
            include_str!("../scripts/stack-check.sh"),
            include_str!("../scripts/stack-probe.sh"),
            include_str!("../scripts/stack-shims.sh"),
        ] {
            let check = Command::new(shell[0]).args(&shell[1..]).args(["-n", "-c", text]).output().unwrap();
            assert!(check.status.success() && check.stderr.is_empty(), "{shell:?} {check:?}");
        }
    }
}

#[test]
fn the_summary_names_costs_only_where_they_matter() {
    let daemon = Daemon::new(CONTAINERD);
    let prepared = |goroutines| Prepared {
        target: target(&daemon),
        estimate: Some(Estimate::of(goroutines)),
        checks: Vec::new(),
        warnings: Vec::new(),
    };
    let end = |sample, freeze: u64| DumpEnd {
        sample,
        complete: true,
        signalled: true,
        text: format!("{freeze} ms"),
        freeze: Some(Duration::from_millis(freeze)),
        ..DumpEnd::default()
    };
    let small = conclude(&prepared(42), &[end(1, 10), end(2, 30)], "n");
    assert_eq!(small.text, "containerd dumped its goroutines twice, files removed");
    assert_eq!(small.text, conclude(&prepared(57), &[end(1, 20), end(2, 20)], "n").text);
    assert_eq!(small.after.get("sample-2").map(String::as_str), Some("30 ms"));
    assert!(small.before.get("expected").is_some_and(|text| text.starts_with("42 goroutines")));
    for (goroutines, freeze) in [(10_000, 10), (42, 300)] {
        let dear = conclude(&prepared(goroutines), &[end(1, freeze)], "n").text;
        assert!(dear.contains(&format!("once, files removed ({goroutines} goroutines")), "{dear}");
        assert!(dear.ends_with(&format!("sample 1: {freeze} ms)")), "{dear}");
    }
    let failed = DumpEnd { text: "it ended".to_owned(), signalled: true, ..DumpEnd::default() };
    let text = conclude(&prepared(42), &[end(1, 10), DumpEnd { sample: 2, ..failed }], "n").text;
    assert_eq!(text, "containerd: sample 1: 10 ms; sample 2: it ended");
}

#[tokio::test]
async fn without_roots_rights_nothing_is_asked_of_the_node() {
    let mut facts = NodeFacts::default();
    facts.shell.rights = Rights::None;
    let refused = prepare(&Says(""), &facts, Subject::Dockerd, &ChangePolicy::default()).await.unwrap_err();
    assert_eq!(refused.state, ChangeState::Refused);
    assert!(refused.text.contains("needs root's rights"), "{}", refused.text);
}

/// A node that gives the same answer to everything.
struct Says(&'static str);

impl Shell for Says {
    fn run<'a>(
        &'a self,
        _: &'a Script,
        _: &'a [String],
        _: Encoding,
        _: Option<&'a mut dyn Sink>,
    ) -> BoxFuture<'a, Result<Answer, ShellError>> {
        let answer = Answer { status: 0, out: self.0.as_bytes().to_vec(), err: Vec::new() };
        Box::pin(std::future::ready(Ok(answer)))
    }
}

#[tokio::test]
async fn what_could_not_be_looked_for_is_looked_for_again() {
    let daemon = Daemon::new(CONTAINERD);
    let prepared = Prepared { target: target(&daemon), estimate: None, checks: Vec::new(), warnings: Vec::new() };
    for (answer, left) in [("clean=1\n", false), ("residue=/run/x\n", true), ("", true)] {
        let mut end =
            DumpEnd { signalled: true, residue: Some("could not be looked for".to_owned()), ..DumpEnd::default() };
        look_again(&Says(answer), &prepared, "r1", &mut end).await;
        assert_eq!(end.residue.is_some(), left, "{answer}");
    }
}
