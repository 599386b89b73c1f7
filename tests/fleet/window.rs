//! dockerd's debug window on real nodes: every way it can end, and the node compared before and after.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use plegcollect::change::dockerd_debug::{self, GuardState, Operator, Window};
use plegcollect::change::{
    Answer, ChangeRecord, Client, DebugTarget, Edit, FileState, Permit, Process, Script, Shell, ShellError,
};
use plegcollect::evidence::ChangeState;
use plegcollect::plan::{ChangeId, ChangePolicy, Encoding};
use plegcollect::session::Sink;
use sha2::{Digest, Sha256};

use crate::support::{on_node, state};

/// Runs scripts inside a node without SSH.
pub(crate) struct ExecShell(pub(crate) &'static str);

impl Shell for ExecShell {
    fn run<'a>(
        &'a self,
        script: &'a Script,
        args: &'a [String],
        _encoding: Encoding,
        _sink: Option<&'a mut dyn Sink>,
    ) -> BoxFuture<'a, Result<Answer, ShellError>> {
        Box::pin(async move {
            let fleet = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/fleet");
            let output = Command::new(fleet)
                .args(["exec", self.0, "timeout", "-k", "5", &script.timeout.as_secs().to_string()])
                .args(["/bin/sh", "-c", script.text, "sh"])
                .args(args)
                .env("PLEGCOLLECT_FLEET_DIR", state())
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let status = output.status.code().unwrap_or(128);
            if status == 124 {
                return Err(ShellError::TimedOut { name: script.name, timeout: script.timeout });
            }
            Ok(Answer { status, out: output.stdout, err: output.stderr })
        })
    }
}

/// What the checks before a window find out about a node of the fleet.
pub(crate) fn target(node: &str) -> DebugTarget {
    let said = on_node(
        node,
        "p=$(systemctl show -p MainPID --value docker); f=/etc/docker/daemon.json; echo $p
        awk '{print $22}' /proc/$p/stat; readlink /proc/$p/exe; docker version --format '{{.Server.Version}}'
        docker info --format '{{json .Labels}}'
        if [ -e $f ] || [ -L $f ]; then stat -c '%d:%i
%y
%u:%g
%a' $f; cat $f; fi",
    );
    let mut lines = said.split_inclusive('\n');
    let mut line = || lines.next().unwrap().trim_end().to_owned();
    let (pid, start, exe, version, labels) = (line(), line(), line(), line(), line());
    let head: Vec<String> = lines.by_ref().take(4).map(|l| l.trim_end().to_owned()).collect();
    let text: String = lines.collect();
    let hex = |text: &str| Sha256::digest(text.as_bytes()).iter().map(|b| format!("{b:02x}")).collect::<String>();
    let edit = |value: &str| match text.find('{') {
        Some(at) => {
            let insert = format!("\"debug\": {value},");
            let new = format!("{}{insert}{}", &text[..=at], &text[at + 1..]);
            Edit { at: at as u64 + 1, delete: 0, insert, sha256: hex(&new) }
        }
        None => {
            let insert = format!("{{\"debug\": {value}}}");
            Edit { at: 0, delete: 0, sha256: hex(&insert), insert }
        }
    };
    DebugTarget {
        process: Process {
            pid: pid.parse().unwrap(),
            start_ticks: start.parse().unwrap(),
            exe,
            unit: Some("docker.service".to_owned()),
        },
        config: "/etc/docker/daemon.json".to_owned(),
        file: (!head.is_empty()).then(|| FileState {
            sha256: hex(&text),
            size: text.len() as u64,
            inode: head[0].clone(),
            mtime: head[1].clone(),
            owner: head[2].clone(),
            mode: head[3].clone(),
            label: None,
        }),
        on: edit("true"),
        off: edit("false"),
        socket: "/var/run/docker.sock".to_owned(),
        client: Client::Curl("/usr/bin/curl".to_owned()),
        info: [("Labels".to_owned(), labels)].into(),
        version,
    }
}

fn operator(node: &str) -> Operator {
    static RUNS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let run = RUNS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    Operator {
        run_id: format!("test-{}-{run}", std::process::id()),
        who: "test@here".to_owned(),
        node: node.to_owned(),
    }
}

pub(crate) async fn open(node: &'static str, lease: u64) -> Result<Window, Box<ChangeRecord>> {
    open_with(node, lease, 600).await
}

pub(crate) async fn open_with(node: &'static str, lease: u64, deadline: u64) -> Result<Window, Box<ChangeRecord>> {
    open_target(node, target(node), lease, deadline).await
}

pub(crate) async fn open_target(
    node: &'static str,
    target: DebugTarget,
    lease: u64,
    deadline: u64,
) -> Result<Window, Box<ChangeRecord>> {
    let (lease, deadline) = (Duration::from_secs(lease), Duration::from_secs(deadline));
    let policy = ChangePolicy { lease, deadline, ..ChangePolicy::default() };
    let permit = Permit::of(&policy, ChangeId::DockerdDebug).unwrap();
    let record = ChangeRecord::not_made(ChangeId::DockerdDebug, "dockerd", ChangeState::StillChanged, "");
    dockerd_debug::open(&ExecShell(node), target, &policy, permit, &operator(node), record).await
}

/// All that must be the same afterwards. `pid` where dockerd is not restarted by the test.
pub(crate) fn fingerprint(node: &str, pid: bool) -> String {
    let pid = if pid { "systemctl show -p MainPID docker;" } else { "" };
    on_node(
        node,
        &format!(
            "stat -c '%n %d:%i %y %u:%g %a %h %s' /etc/docker/* ; sha256sum /etc/docker/*; ls -a /etc/docker; ls -d /run/pleg* /tmp/*pleg*
            systemctl list-units --all --no-legend 'plegcollect*'; systemctl is-active docker; {pid}
            timeout 5 docker info --format '{{{{.Debug}}}}'; true"
        ),
    )
}

pub(crate) fn debug(node: &str) -> String {
    on_node(node, "timeout 5 docker info --format '{{.Debug}}'; true").trim().to_owned()
}

pub(crate) fn gone(node: &str, within: u64) {
    crate::support::wait_until("no trace on the node", Duration::from_secs(within), || {
        on_node(
            node,
            "ls -d /run/plegcollect* 2>/dev/null; systemctl list-units --all --no-legend 'plegcollect*'; true",
        )
        .is_empty()
    });
}

const NODE: &str = "worker-002";

#[tokio::test]
#[ignore = "needs the fleet"]
async fn a_window_opens_and_closes() {
    let before = fingerprint(NODE, true);
    for _ in 0..5 {
        let clock = Instant::now();
        let window = open(NODE, 10).await.unwrap_or_else(|r| panic!("{r:#?}"));
        eprintln!("open after {:?}", clock.elapsed());
        assert_eq!(debug(NODE), "true");
        assert_eq!(window.renew(&ExecShell(NODE)).await.unwrap(), GuardState::On);
        let clock = Instant::now();
        let record = window.close(&ExecShell(NODE)).await;
        eprintln!("closed after {:?}", clock.elapsed());
        assert_eq!(record.state, ChangeState::Reverted, "{record:#?}");
        assert!(record.differences.is_empty() && record.warnings.is_empty(), "{record:#?}");
        assert_eq!(fingerprint(NODE, true), before, "{record:#?}");
    }
}

#[tokio::test]
#[ignore = "needs the fleet"]
async fn the_node_restores_itself_without_us() {
    let before = fingerprint(NODE, true);
    let window = open(NODE, 3).await.unwrap_or_else(|r| panic!("{r:#?}"));
    gone(NODE, 10);
    assert_eq!(fingerprint(NODE, true), before);
    // We come back and find it done.
    let record = window.close(&ExecShell(NODE)).await;
    assert_eq!(record.state, ChangeState::Reverted, "{record:#?}");
    assert_eq!(fingerprint(NODE, true), before);
}

/// dockerd runs, is past its start, and its unit may be restarted again.
pub(crate) fn dockerd_up(node: &str) {
    on_node(node, "systemctl reset-failed docker.service docker.socket; systemctl start docker; true");
    crate::support::wait_until("dockerd answers", Duration::from_secs(60), || debug(node) == "false");
}

/// A small generator: trials must be the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the fleet"]
async fn killed_guards_and_restarted_dockerds_leave_nothing() {
    const NODE: &str = "worker-003";
    let number = |name: &str, default: u64| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let (trials, seed) = (number("PLEGCOLLECT_TRIALS", 50), number("PLEGCOLLECT_SEED", 20_210_614));
    dockerd_up(NODE);
    let before = fingerprint(NODE, false);
    let mut random = Random(seed);
    for trial in 0..trials {
        let chaos = random.below(6);
        let delay = random.below(900);
        let again = random.below(4);
        let close_after = random.below(1500);
        let abandon = random.below(3) == 0;
        let kill = match chaos {
            0..=3 => {
                "p=$(systemctl show -p MainPID --value plegcollect-guard); [ \"$p\" = 0 ] || kill -9 $p".to_owned()
            }
            4 => "systemctl kill -s KILL --kill-whom=main docker".to_owned(),
            _ => "systemctl restart docker".to_owned(),
        };
        let script = format!("sleep 0.{delay:03}; for i in 0 {}; do {kill}; sleep 0.4; done; true", {
            ["", "1", "1 2", ""][usize::try_from(again).unwrap()]
        });
        let script = if chaos >= 4 { format!("sleep 0.{delay:03}; {kill}; true") } else { script };
        let what = format!("trial {trial} seed {seed}: {kill} after {delay} ms, close {close_after} abandon {abandon}");
        // Looked at while dockerd is surely there.
        let target = target(NODE);
        let chaos = std::thread::spawn(move || on_node(NODE, &script));
        let ended = match open_target(NODE, target, 3, 600).await {
            Ok(window) => {
                tokio::time::sleep(Duration::from_millis(close_after)).await;
                if abandon {
                    drop(window);
                    "abandoned".to_owned()
                } else {
                    let record = window.close(&ExecShell(NODE)).await;
                    assert_ne!(record.state, ChangeState::StillChanged, "{what}: {record:#?}");
                    format!("{:?}: {}", record.state, record.text)
                }
            }
            Err(record) => format!("not opened, {:?}: {}", record.state, record.text),
        };
        chaos.join().unwrap();
        eprintln!("{what}: {ended}");
        gone(NODE, 45);
        crate::support::wait_until("dockerd answers", Duration::from_secs(60), || !debug(NODE).is_empty());
        assert_eq!(fingerprint(NODE, false), before, "{what}: {ended}");
        dockerd_up(NODE);
    }
}
