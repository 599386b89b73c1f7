//! The guard of the debug window on this machine, against a made-up dockerd: every ending, and kills at
//! random moments. Nothing of the machine itself is touched.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests, and functions only they call")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use plegcollect::change::dockerd_debug::{self, GuardState, Operator, Place, Window};
use plegcollect::change::{
    Answer, ChangeRecord, Client, DebugTarget, Edit, FileState, Permit, Process, Script, Shell, ShellError,
};
use plegcollect::evidence::ChangeState;
use plegcollect::plan::{ChangeId, ChangePolicy, Encoding};
use plegcollect::session::Sink;
use sha2::{Digest, Sha256};

/// Loads the file on HUP a little later than it is told to, as the real one does.
const DOCKERD: &str = r#"
f=$1 d=$2 debug=false
load() {
  sleep 0.02
  [ ! -e "$d/refuse" ] || return 0
  if grep -q '"debug": *true' "$f"; then debug=true; elif grep -q '"debug": *false' "$f"; then debug=false; fi
  echo "$debug" >"$d/debug.n"; mv "$d/debug.n" "$d/debug"
}
trap load HUP
load 2>/dev/null; echo $$ >"$d/pid"
while :; do sleep 0.02; done
"#;
const CLI: &str = r#"#!/bin/sh
d=${0%/*}
kill -0 "$(cat "$d/pid")" 2>/dev/null || exit 1
[ ! -e "$d/error" ] || { echo ' false'; exit 0; }
[ ! -e "$d/dies" ] || [ "$(cat "$d/debug")" = false ] || { kill -9 "$(cat "$d/pid")"; echo '20.10 true'; exit 0; }
case "$*" in
*' info '*json*) printf '{"Debug":%s,"Labels":[],"ServerVersion":"20.10"}\n' "$(cat "$d/debug")" ;;
*' info '*) echo "20.10 $(cat "$d/debug")" ;;
esac
"#;
const TEXT: &str = "{\n  \"log-opts\": { \"max-size\": \"5m\" }\n}\n";

struct Here;

impl Shell for Here {
    fn run<'a>(
        &'a self,
        script: &'a Script,
        args: &'a [String],
        _encoding: Encoding,
        _sink: Option<&'a mut dyn Sink>,
    ) -> BoxFuture<'a, Result<Answer, ShellError>> {
        Box::pin(async move {
            let output = Command::new("timeout")
                .args(["-k", "5", &script.timeout.as_secs().to_string(), "/bin/sh", "-c", script.text, "sh"])
                .args(args)
                .stdin(Stdio::null())
                .output()
                .unwrap();
            Ok(Answer { status: output.status.code().unwrap_or(128), out: output.stdout, err: output.stderr })
        })
    }
}

/// As [`Here`], in a thread of its own.
struct Elsewhere;

impl Shell for Elsewhere {
    fn run<'a>(
        &'a self,
        script: &'a Script,
        args: &'a [String],
        encoding: Encoding,
        _sink: Option<&'a mut dyn Sink>,
    ) -> BoxFuture<'a, Result<Answer, ShellError>> {
        let (script, args) = (*script, args.to_vec());
        Box::pin(async move {
            let call = move || futures::executor::block_on(Here.run(&script, &args, encoding, None));
            tokio::task::spawn_blocking(call).await.unwrap()
        })
    }
}

struct Node {
    root: tempfile::TempDir,
    dockerd: Child,
    runs: std::sync::atomic::AtomicU32,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.dockerd.kill().ok();
        self.dockerd.wait().ok();
        fs::remove_dir_all(self.dir()).ok();
        for pid in self.guards("guard.sh") {
            kill(pid);
        }
    }
}

fn kill(pid: u32) {
    Command::new("kill").args(["-9", &pid.to_string()]).stderr(Stdio::null()).status().ok();
}

fn hex(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
}

impl Node {
    fn new(text: Option<&str>) -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("a b's")).unwrap();
        let config = root.path().join("a b's/daemon.json");
        if let Some(text) = text {
            fs::write(&config, text).unwrap();
        }
        // An executable of its own tells it from all other shells. Written by another process: what is open for writing
        // here may be inherited by whatever another thread starts, and cannot be executed then.
        let exe = root.path().join("dockerd");
        let made = Command::new("/bin/sh")
            .args(["-c", "cp \"$(readlink -f /bin/sh)\" \"$1\" && printf %s \"$3\" >\"$2\" && chmod 755 \"$2\"", "sh"])
            .args([&exe, &root.path().join("docker")])
            .arg(CLI)
            .status();
        assert!(made.unwrap().success());
        fs::write(root.path().join("debug"), "false\n").unwrap();
        // A shell cannot trap what was ignored when it started, as SIGHUP is under nohup.
        let dockerd = Command::new("env")
            .arg("--default-signal=HUP,TERM,INT")
            .arg(&exe)
            .args(["-c", DOCKERD, "sh"])
            .arg(&config)
            .arg(root.path())
            .spawn()
            .unwrap();
        let node = Self { root, dockerd, runs: 0.into() };
        node.until("dockerd is up", || node.root.path().join("pid").exists());
        node
    }

    fn config(&self) -> PathBuf {
        self.root.path().join("a b's/daemon.json")
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("guard")
    }

    fn debug(&self) -> String {
        fs::read_to_string(self.root.path().join("debug")).unwrap().trim().to_owned()
    }

    #[track_caller]
    fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let end = Instant::now() + Duration::from_secs(60);
        while !done() {
            let log = fs::read_to_string(self.dir().join("log")).unwrap_or_default();
            assert!(Instant::now() < end, "in vain: {what}\n{log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[track_caller]
    fn until_gone(&self) {
        self.until("the guard is gone", || !self.dir().exists() && self.guards("guard.sh").is_empty());
        assert!(!self.root.path().join("guard.gone").exists());
    }

    fn fingerprint(&self) -> String {
        let mut lines = Vec::new();
        for entry in fs::read_dir(self.config().parent().unwrap()).unwrap() {
            let path = entry.unwrap().path();
            let m = fs::symlink_metadata(&path).unwrap();
            let text = fs::read_to_string(&path).unwrap_or_default();
            let (mtime, nano) = (m.mtime(), m.mtime_nsec());
            lines.push(format!("{path:?} {} {mtime}.{nano} {:o} {} {text}", m.ino(), m.mode(), m.nlink()));
        }
        lines.sort();
        format!("{}{}", self.debug(), lines.join("\n"))
    }

    /// Processes with one of our paths in their arguments.
    fn guards(&self, name: &str) -> Vec<u32> {
        let wanted = self.dir().join(name).to_string_lossy().into_owned();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
            let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&line).contains(&wanted) {
                found.push(pid);
            }
        }
        found
    }

    fn target(&self) -> DebugTarget {
        let config = self.config();
        let text = fs::read_to_string(&config).ok();
        let edit = |value: &str| match text.as_deref() {
            Some(text) => {
                let insert = format!("\"debug\": {value},");
                Edit { at: 1, delete: 0, sha256: hex(&text.replacen('{', &format!("{{{insert}"), 1)), insert }
            }
            None => {
                let insert = format!("{{\"debug\": {value}}}");
                Edit { at: 0, delete: 0, sha256: hex(&insert), insert }
            }
        };
        let stat = |format: &str| {
            let out = Command::new("stat").args(["-c", format]).arg(&config).output().unwrap().stdout;
            String::from_utf8(out).unwrap().trim().to_owned()
        };
        let pid = self.dockerd.id();
        let line = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let start = line.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse().unwrap();
        DebugTarget {
            process: Process {
                pid,
                start_ticks: start,
                exe: fs::read_link(format!("/proc/{pid}/exe")).unwrap().to_string_lossy().into_owned(),
                unit: None,
            },
            file: text.as_ref().map(|text| FileState {
                sha256: hex(text),
                size: text.len() as u64,
                inode: stat("%d:%i"),
                mtime: stat("%y"),
                owner: stat("%u:%g"),
                mode: stat("%a"),
                label: None,
            }),
            on: edit("true"),
            off: edit("false"),
            config: config.to_string_lossy().into_owned(),
            socket: self.root.path().join("sock").to_string_lossy().into_owned(),
            client: Client::Docker(self.root.path().join("docker").to_string_lossy().into_owned()),
            info: [("Labels".to_owned(), "[]".to_owned())].into(),
            version: "20.10".to_owned(),
        }
    }

    async fn open(&self, lease: u64) -> Result<Window, Box<ChangeRecord>> {
        self.open_by(&Here, lease).await
    }

    async fn open_by(&self, shell: &dyn Shell, lease: u64) -> Result<Window, Box<ChangeRecord>> {
        let policy = ChangePolicy { lease: Duration::from_secs(lease), ..ChangePolicy::default() };
        let permit = Permit::of(&policy, ChangeId::DockerdDebug).unwrap();
        let record = ChangeRecord::not_made(ChangeId::DockerdDebug, "dockerd", ChangeState::StillChanged, "");
        let place = Place { dir: self.dir().to_string_lossy().into_owned(), unit: String::new() };
        // Different calls are different runs, but for a shell that repeats one.
        let run = format!("r{}", self.runs.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let operator = Operator { run_id: run, who: "kim@here".to_owned(), node: "n1".to_owned() };
        dockerd_debug::open_at(shell, place, self.target(), &policy, permit, &operator, record).await
    }
}

fn replace(path: &Path, text: &str) {
    let new = path.with_extension("x");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

#[tokio::test]
async fn a_window_leaves_the_file_as_it_was() {
    for text in [Some(TEXT), None] {
        let node = Node::new(text);
        let before = node.fingerprint();
        let window = node.open(30).await.unwrap_or_else(|r| panic!("{r:#?}"));
        assert_eq!(node.debug(), "true");
        assert_eq!(node.fingerprint().replacen("true", "false", 1), before, "the original is on disk in the window");
        assert_eq!(window.renew(&Here).await.unwrap(), GuardState::On);
        let record = window.close(&Here).await;
        assert_eq!((record.state, record.warnings.len()), (ChangeState::Reverted, 0), "{record:#?}");
        assert_eq!(record.before.get("inode"), record.after.get("inode"));
        node.until_gone();
        assert_eq!(node.fingerprint(), before);
    }
}

#[tokio::test]
async fn a_symlink_stays_one() {
    let node = Node::new(None);
    let real = node.root.path().join("real.json");
    fs::write(&real, TEXT).unwrap();
    std::os::unix::fs::symlink("../real.json", node.config()).unwrap();
    let before = node.fingerprint();
    let window = node.open(30).await.unwrap_or_else(|r| panic!("{r:#?}"));
    assert_eq!(node.debug(), "true");
    let record = window.close(&Here).await;
    assert_eq!(record.state, ChangeState::Reverted, "{record:#?}");
    assert_eq!((node.fingerprint(), fs::read_to_string(&real).unwrap().as_str()), (before, TEXT));
}

#[tokio::test]
async fn without_us_it_ends_by_itself() {
    let node = Node::new(Some(TEXT));
    let before = node.fingerprint();
    let window = node.open(1).await.unwrap_or_else(|r| panic!("{r:#?}"));
    node.until_gone();
    assert_eq!(node.fingerprint(), before);
    assert_eq!(window.renew(&Here).await.unwrap(), GuardState::Gone);
    let record = window.close(&Here).await;
    assert_eq!(record.state, ChangeState::Reverted, "{record:#?}");
}

#[tokio::test]
async fn a_reload_that_is_refused_changes_nothing() {
    let node = Node::new(Some(TEXT));
    fs::write(node.root.path().join("refuse"), "").unwrap();
    let before = node.fingerprint();
    let record = node.open(30).await.unwrap_err();
    assert_eq!(record.state, ChangeState::Reverted, "{record:#?}");
    assert!(record.text.contains("did not confirm"), "{}", record.text);
    node.until_gone();
    assert_eq!(node.fingerprint(), before);
}

#[tokio::test]
async fn what_others_write_stays() {
    for (theirs, debug) in [
        (Some("{ \"labels\": [\"x\"] }\n"), "false"),
        (Some("{}\n"), "false"),
        (Some("{ \"debug\": true }\n"), "true"),
        (None, "false"),
    ] {
        let node = Node::new(Some(TEXT));
        let window = node.open(30).await.unwrap_or_else(|r| panic!("{r:#?}"));
        match theirs {
            Some(text) => replace(&node.config(), text),
            None => fs::remove_file(node.config()).unwrap(),
        }
        let before = node.fingerprint();
        let record = window.close(&Here).await;
        assert_eq!(record.state, ChangeState::Reverted, "{record:#?}");
        assert!(!record.warnings.is_empty());
        node.until_gone();
        assert_eq!(node.fingerprint().replacen(debug, "true", 1), before, "{theirs:?}");
    }
}

#[tokio::test]
async fn a_dead_dockerd_is_not_waited_for() {
    let mut node = Node::new(Some(TEXT));
    let before = node.fingerprint();
    let window = node.open(30).await.unwrap_or_else(|r| panic!("{r:#?}"));
    node.dockerd.kill().unwrap();
    node.dockerd.wait().unwrap();
    let record = window.close(&Here).await;
    assert_eq!(record.state, ChangeState::EndedByRestart, "{record:#?}");
    node.until_gone();
    assert_eq!(node.fingerprint().replacen("true", "false", 1), before);
}

/// A question put to a dockerd that then dies may be answered by the next one.
#[tokio::test]
async fn an_answer_confirms_nothing_once_dockerd_is_gone() {
    let node = Node::new(Some(TEXT));
    fs::write(node.root.path().join("dies"), "").unwrap();
    let record = node.open(30).await.unwrap_err();
    assert_eq!(record.state, ChangeState::EndedByRestart, "{record:#?}");
    assert!(record.applied.is_none(), "{record:#?}");
    node.until_gone();
}

#[tokio::test]
async fn an_error_is_not_debug_off() {
    let node = Node::new(Some(TEXT));
    let before = node.fingerprint();
    let window = node.open(30).await.unwrap_or_else(|r| panic!("{r:#?}"));
    fs::write(node.root.path().join("error"), "").unwrap();
    fs::write(node.dir().join("stop"), "").unwrap();
    let log = || fs::read_to_string(node.dir().join("log")).unwrap_or_default();
    node.until("the guard tries again", || log().contains("off is not confirmed yet"));
    assert_eq!((window.renew(&Here).await.unwrap(), node.debug().as_str()), (GuardState::Off, "true"));
    fs::remove_file(node.root.path().join("error")).unwrap();
    let record = window.close(&Here).await;
    assert_eq!(record.state, ChangeState::Reverted, "{record:#?}");
    node.until_gone();
    assert_eq!(node.fingerprint(), before);
}

#[tokio::test]
async fn closing_does_the_work_of_a_guard_that_nobody_starts_again() {
    let node = Node::new(Some(TEXT));
    let before = node.fingerprint();
    let window = node.open(30).await.unwrap_or_else(|r| panic!("{r:#?}"));
    node.until("they are dead", || {
        let guards = node.guards("guard.sh");
        guards.iter().for_each(|pid| kill(*pid));
        guards.is_empty()
    });
    assert_eq!(node.debug(), "true");
    let record = window.close(&Here).await;
    assert_eq!(record.state, ChangeState::Reverted, "{record:#?}");
    node.until_gone();
    assert_eq!(node.fingerprint(), before);
}

#[tokio::test]
async fn a_directory_that_is_removed_does_not_keep_debug_on() {
    let node = Node::new(Some(TEXT));
    let before = node.fingerprint();
    let window = node.open(1).await.unwrap_or_else(|r| panic!("{r:#?}"));
    fs::remove_dir_all(node.dir()).unwrap();
    node.until_gone();
    node.until("debug is off", || node.debug() == "false");
    assert_eq!(node.fingerprint(), before);
    drop(window);
}

#[tokio::test]
async fn a_copy_of_the_text_for_the_reload_does_not_stay() {
    let node = Node::new(Some(TEXT));
    let before = node.fingerprint();
    fs::write(node.root.path().join("refuse"), "").unwrap();
    let copier = async {
        let read = || fs::read_to_string(node.config()).unwrap();
        while !read().contains("debug") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        replace(&node.config(), &read());
    };
    // Not on this thread: it waits for the node's answers.
    let shell = Elsewhere;
    let (opened, ()) = tokio::join!(node.open_by(&shell, 30), copier);
    opened.unwrap_err();
    node.until_gone();
    assert_eq!(node.fingerprint(), before);
}

#[tokio::test]
async fn two_at_once_are_one() {
    let node = Node::new(Some(TEXT));
    let window = node.open(30).await.unwrap_or_else(|r| panic!("{r:#?}"));
    let record = node.open(30).await.unwrap_err();
    assert_eq!(record.state, ChangeState::Refused);
    assert!(record.text.contains("kim@here is in a debug window on this node since 2"), "{}", record.text);
    assert_eq!(node.debug(), "true");
    assert_eq!(window.close(&Here).await.state, ChangeState::Reverted);
}

/// Kills the guard, its children and one of what starts it again, at moments that differ.
#[test]
fn a_guard_killed_anywhere_leaves_nothing() {
    let threads: Vec<_> = (0..6_u64)
        .map(|thread| {
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                for trial in 0..4_u64 {
                    let node = Node::new((trial != 3).then_some(TEXT));
                    let before = node.fingerprint();
                    let delay = Duration::from_millis((thread * 37 + trial * 113) % 400);
                    let killer = |node: &Node| {
                        node.until("the guard runs", || node.dir().join("state").exists());
                        std::thread::sleep(delay);
                        for pid in node.guards("guard.sh").into_iter().skip(1) {
                            kill(pid);
                        }
                    };
                    let opened = std::thread::scope(|scope| {
                        let chaos = scope.spawn(|| killer(&node));
                        let opened = runtime.block_on(node.open(2));
                        chaos.join().unwrap();
                        opened
                    });
                    if trial % 2 == 0
                        && let Ok(window) = opened
                    {
                        let record = runtime.block_on(window.close(&Here));
                        assert_ne!(record.state, ChangeState::StillChanged, "{thread} {trial}: {record:#?}");
                    }
                    node.until("debug is off", || node.debug() == "false");
                    node.until_gone();
                    assert_eq!(node.fingerprint(), before, "{thread} {trial}");
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("a trial failed");
    }
    eprintln!("24 guards killed");
}

/// The link may end while the guard is armed, and the script is run again over the next one.
#[tokio::test]
async fn arming_twice_in_one_run_is_arming_once() {
    struct Twice(std::sync::atomic::AtomicU32);
    impl Shell for Twice {
        fn run<'a>(
            &'a self,
            script: &'a Script,
            args: &'a [String],
            encoding: Encoding,
            _sink: Option<&'a mut dyn Sink>,
        ) -> BoxFuture<'a, Result<Answer, ShellError>> {
            Box::pin(async move {
                if self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 {
                    Here.run(script, args, encoding, None).await?;
                }
                Here.run(script, args, encoding, None).await
            })
        }
    }
    let node = Node::new(Some(TEXT));
    let before = node.fingerprint();
    let window = node.open_by(&Twice(0.into()), 30).await.unwrap_or_else(|r| panic!("{r:#?}"));
    assert_eq!(node.debug(), "true");
    assert_eq!(window.close(&Here).await.state, ChangeState::Reverted);
    assert_eq!(node.fingerprint(), before);
}
