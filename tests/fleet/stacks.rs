//! Stacks of real daemons: both, twice, with other directories, while a daemon is stopped, when the link dies. Uses
//! worker-004 and worker-005. The node's shell is the ssh program here, so that it can be killed.

use std::io::{Read as _, Write as _};
use std::ops::ControlFlow;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use plegcollect::change::stack_dump::{self, DumpEnd, Prepared, Subject};
use plegcollect::change::{Answer, ChangeRecord, NodeShell, Permit, Script, Shell, ShellError, Way};
use plegcollect::evidence::ChangeState;
use plegcollect::inventory::target::Sudo;
use plegcollect::inventory::{SelectionRequest, select};
use plegcollect::plan::{Catalog, ChangeId, ChangePolicy, Encoding, NodeFacts, facts};
use plegcollect::session::{Connector, ConnectorOptions, Session, SessionError, Sink, StdStream, command};
use tokio_util::sync::CancellationToken;

use crate::support::{Fault, on_node, state, wait_until};

const NODE: &str = "worker-004";
const OTHER: &str = "worker-005";

/// Scripts by ssh(1), bounded on the node as the program's own commands are.
struct BySsh(&'static str);

fn ssh(node: &str, script: &Script, args: &[String]) -> Child {
    let quoted: Vec<String> = args.iter().map(|a| format!("'{}'", a.replace('\'', r"'\''"))).collect();
    let line = format!("exec timeout -k 5 {} /bin/sh -c \"$(cat)\" sh {}", script.timeout.as_secs(), quoted.join(" "));
    let mut child = Command::new("ssh")
        .arg("-F")
        .arg(state().join("ssh_config"))
        .args(["-o", "BatchMode=yes", node, &line])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(script.text.as_bytes()).unwrap();
    child
}

impl Shell for BySsh {
    fn run<'a>(
        &'a self,
        script: &'a Script,
        args: &'a [String],
        _: Encoding,
        sink: Option<&'a mut dyn Sink>,
    ) -> BoxFuture<'a, Result<Answer, ShellError>> {
        async move {
            let output = ssh(self.0, script, args).wait_with_output().unwrap();
            let mut answer =
                Answer { status: output.status.code().unwrap_or(-1), out: output.stdout, err: output.stderr };
            if let Some(sink) = sink {
                let _on = sink.write(StdStream::Out, Bytes::from(std::mem::take(&mut answer.out))).await;
            }
            Ok(answer)
        }
        .boxed()
    }
}

/// Keeps the script that takes a dump, for a test that runs it in its own way.
struct Caught(std::sync::Mutex<Option<(Script, Vec<String>)>>);

impl Shell for Caught {
    fn run<'a>(
        &'a self,
        script: &'a Script,
        args: &'a [String],
        _: Encoding,
        _: Option<&'a mut dyn Sink>,
    ) -> BoxFuture<'a, Result<Answer, ShellError>> {
        *self.0.lock().unwrap() = Some((*script, args.to_vec()));
        async { Ok(Answer::default()) }.boxed()
    }
}

#[derive(Default)]
struct Kept(Vec<u8>);

impl Sink for Kept {
    fn write<'a>(&'a mut self, _: StdStream, chunk: Bytes) -> BoxFuture<'a, ControlFlow<()>> {
        self.0.extend_from_slice(&chunk);
        async { ControlFlow::Continue(()) }.boxed()
    }
}

fn facts_of(node: &'static str) -> NodeFacts {
    let args = facts::probe_args(&Catalog::builtin());
    let script = Script { name: "probe", text: facts::probe_script(), timeout: Duration::from_secs(20) };
    let output = ssh(node, &script, &args).wait_with_output().unwrap();
    let mut facts = facts::parse(&output.stdout).unwrap();
    // The probe's first half tells it, which is not run here.
    facts.shell.rights = facts::Rights::Root;
    facts
}

fn policy() -> ChangePolicy {
    ChangePolicy::default()
}

fn permit() -> Permit {
    Permit::of(&policy(), ChangeId::StackDump).unwrap()
}

fn prepare(node: &'static str, subject: Subject, policy: &ChangePolicy) -> Result<Prepared, Box<ChangeRecord>> {
    stack_dump::prepare(&BySsh(node), &facts_of(node), subject, policy).now_or_never().unwrap()
}

fn take(node: &'static str, prepared: &Prepared, sample: u8) -> (DumpEnd, Vec<u8>) {
    let mut kept = Kept::default();
    let shell = BySsh(node);
    let end = stack_dump::take(&shell, prepared, permit(), "test", sample, &mut kept, Encoding::Plain);
    let end = end.now_or_never().unwrap();
    (end, kept.0)
}

/// What could be left of us on a node.
const RESIDUE: &str = "for f in /run/plegcollect* /run/docker/goroutine-stacks-* /run/other-root/goroutine-stacks-* \
    /var/lib/docker/goroutine-stacks-* /tmp/containerd.* /tmp/.pleg* /tmp/systemd-private-*containerd*/tmp/* \
    /tmp/systemd-private-*containerd*/tmp/.pleg*; do [ ! -e \"$f\" ] || echo \"$f\"; done";

fn residue(node: &str) -> String {
    on_node(node, RESIDUE)
}

fn main_pid(node: &str, unit: &str) -> String {
    on_node(node, &format!("systemctl show -p MainPID --value {unit}")).trim().to_owned()
}

/// A drop-in of a unit, with the restarts it takes to come and go.
struct DropIn(&'static str, &'static str);

impl DropIn {
    fn new(node: &'static str, unit: &'static str, text: &str) -> Self {
        on_node(
            node,
            &format!(
                "mkdir -p /run/systemd/system/{unit}.service.d; \
                 printf '%b' '{text}' >/run/systemd/system/{unit}.service.d/test.conf; \
                 systemctl daemon-reload; systemctl reset-failed {unit} docker; systemctl restart {unit}"
            ),
        );
        Self(node, unit)
    }
}

impl Drop for DropIn {
    fn drop(&mut self) {
        let Self(node, unit) = self;
        on_node(
            node,
            &format!(
                "rm -rf /run/systemd/system/{unit}.service.d; systemctl daemon-reload; \
                 systemctl reset-failed {unit} docker; systemctl restart {unit}; systemctl start docker; systemctl restart fleet-containers; \
                 rm -rf /run/other-root"
            ),
        );
    }
}

#[test]
#[ignore = "needs the fleet"]
fn both_daemons_are_dumped_twice_and_nothing_is_left() {
    assert_eq!(residue(NODE), "");
    let pids = || (main_pid(NODE, "docker"), main_pid(NODE, "containerd"));
    let before = pids();
    for subject in [Subject::Dockerd, Subject::Containerd] {
        let prepared = prepare(NODE, subject, &policy()).unwrap();
        let mut ends = Vec::new();
        for sample in 1..=2 {
            let (end, bytes) = take(NODE, &prepared, sample);
            assert!(end.complete, "{end:?}");
            assert!(bytes.starts_with(b"goroutine ") && bytes.ends_with(b"\n"), "{end:?}");
            assert_eq!(bytes.len() as u64, end.bytes);
            ends.push(end);
        }
        let record = stack_dump::conclude(&prepared, &ends, NODE);
        println!("{subject}: {}\n  {:?}", record.text, record.checks);
        assert_eq!(record.state, ChangeState::Reverted, "{record:?}");
        if subject == Subject::Dockerd {
            assert_ne!(ends[0].name, ends[1].name, "two files");
        }
    }
    assert_eq!(residue(NODE), "");
    assert_eq!(pids(), before);
}

#[test]
#[ignore = "needs the fleet"]
fn a_dump_of_containerds_that_was_there_keeps_inode_and_bytes() {
    let file = format!("/tmp/containerd.{}.stacks.log", main_pid(NODE, "containerd"));
    let shown = || on_node(NODE, &format!("stat -c '%i %s %y %a' {file}; cat {file}"));
    on_node(NODE, &format!("echo theirs >{file}; touch -d @1000000000 {file}"));
    let before = shown();
    let prepared = prepare(NODE, Subject::Containerd, &policy()).unwrap();
    let (end, bytes) = take(NODE, &prepared, 1);
    assert!(end.complete && bytes.starts_with(b"goroutine "), "{end:?}");
    assert!(prepared.warnings[0].contains("put back"));
    assert_eq!(shown(), before);
    on_node(NODE, &format!("rm {file}; ln -s /etc/passwd {file}"));
    let refused = prepare(NODE, Subject::Containerd, &policy()).unwrap_err();
    on_node(NODE, &format!("rm {file}"));
    println!("{}", refused.text);
    assert!(refused.state == ChangeState::Refused && refused.text.contains("is a symlink"), "{refused:?}");
    assert_eq!(residue(NODE), "");
}

#[test]
#[ignore = "needs the fleet; restarts dockerd"]
fn another_exec_root_is_found() {
    let _unit = DropIn::new(
        OTHER,
        "docker",
        "[Service]\\nExecStart=\\nExecStart=/usr/sbin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock \
         --exec-root=/run/other-root\\n",
    );
    let prepared = prepare(OTHER, Subject::Dockerd, &policy()).unwrap();
    assert_eq!(prepared.target.dirs[0], "/run/other-root");
    let (end, bytes) = take(OTHER, &prepared, 1);
    assert!(end.complete && bytes.starts_with(b"goroutine "), "{end:?}");
    assert_eq!(residue(OTHER), "");
}

#[test]
#[ignore = "needs the fleet; restarts containerd"]
fn a_private_tmp_and_a_tmpdir_are_found() {
    for (text, dir) in [
        ("[Service]\\nPrivateTmp=yes\\n", "/tmp"),
        (
            "[Service]\\nEnvironment=TMPDIR=/run/other-root\\nExecStartPre=/bin/mkdir -p /run/other-root\\n",
            "/run/other-root",
        ),
    ] {
        let unit = DropIn::new(OTHER, "containerd", text);
        let prepared = prepare(OTHER, Subject::Containerd, &policy()).unwrap();
        assert_eq!(prepared.target.dirs[0], dir);
        let (end, bytes) = take(OTHER, &prepared, 1);
        assert!(end.complete && bytes.starts_with(b"goroutine "), "{text}: {end:?}");
        assert_eq!(residue(OTHER), "", "{text}");
        drop(unit);
    }
}

#[test]
#[ignore = "needs the fleet"]
fn with_containerd_stopped_dockerd_is_dumped_and_containerd_is_not() {
    let _stopped = Fault::new(NODE, &["containerd-stopped"]);
    let prepared = prepare(NODE, Subject::Dockerd, &policy()).unwrap();
    let (end, _) = take(NODE, &prepared, 1);
    assert!(end.complete, "{end:?}");
    let refused = prepare(NODE, Subject::Containerd, &policy()).unwrap_err();
    println!("{}", refused.text);
    assert!(refused.text.contains("containerd is stopped (state T): SIGUSR1 would take effect after we are gone."));
    let shims = ChangePolicy { shim_stacks: true, ..policy() };
    let mut kept = Kept::default();
    let record = stack_dump::shims(&BySsh(NODE), &facts_of(NODE), &shims, permit(), &mut kept).now_or_never().unwrap();
    println!("{}", record.text);
    assert!(record.state == ChangeState::Refused && record.text.contains("does not answer"), "{record:?}");
    assert_eq!(residue(NODE), "");
}

#[test]
#[ignore = "needs the fleet"]
fn shims_log_their_stacks_once() {
    let shims = ChangePolicy { shim_stacks: true, ..policy() };
    let facts = facts_of(NODE);
    let mut kept = Kept::default();
    let record = stack_dump::shims(&BySsh(NODE), &facts, &shims, permit(), &mut kept).now_or_never().unwrap();
    let text = String::from_utf8_lossy(&kept.0);
    println!("{} ({} bytes)", record.text, text.len());
    assert_eq!(record.state, ChangeState::Reverted, "{record:?}");
    assert_eq!(text.matches("=== BEGIN goroutine stack dump ===").count() as u32, facts.shims);
}

/// Returns the script that takes a dump, with its arguments.
fn caught(prepared: &Prepared) -> (Script, Vec<String>) {
    let shell = Caught(std::sync::Mutex::new(None));
    let mut kept = Kept::default();
    let _end = stack_dump::take(&shell, prepared, permit(), "killed", 1, &mut kept, Encoding::Plain).now_or_never();
    shell.0.into_inner().unwrap().unwrap()
}

/// So many event streams of dockerd's API, each a goroutine or more of its own.
struct Streams(&'static str);

impl Streams {
    fn open(node: &'static str, streams: u32) -> Self {
        let program = format!(
            "import socket,time,resource\n\
             resource.setrlimit(resource.RLIMIT_NOFILE,(19000,19000))\n\
             s=[]\n\
             for i in range({streams}):\n\
             \x20c=socket.socket(socket.AF_UNIX)\n\
             \x20c.connect('/var/run/docker.sock')\n\
             \x20c.sendall(b'GET /events HTTP/1.1\\r\\nHost: d\\r\\n\\r\\n')\n\
             \x20s.append(c)\n\
             open('/run/streams.ready','w').close()\n\
             time.sleep(300)\n"
        );
        let encoded = program.replace('\\', "\\\\").replace('\n', "\\n").replace('\'', "'\\''");
        on_node(
            node,
            &format!(
                "printf '%b' '{encoded}' >/run/streams.py; systemd-run --unit=streams -p LimitNOFILE=19000 python3 /run/streams.py"
            ),
        );
        wait_until("the streams", Duration::from_secs(120), || {
            on_node(node, "[ -e /run/streams.ready ] && echo yes || true").trim() == "yes"
        });
        Self(node)
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        on_node(self.0, "systemctl stop streams; systemctl reset-failed streams 2>/dev/null; rm -f /run/streams.*");
        wait_until("dockerd without streams", Duration::from_secs(60), || {
            let count = on_node(self.0, "docker info --format '{{.NGoroutines}}'");
            count.trim().parse::<u32>().is_ok_and(|n| n < 500)
        });
    }
}

#[test]
#[ignore = "needs the fleet"]
fn ten_thousand_goroutines_are_estimated_dumped_and_measured() {
    let _streams = Streams::open(NODE, 5000);
    let prepared = prepare(NODE, Subject::Dockerd, &policy()).unwrap();
    let estimate = prepared.estimate.unwrap();
    assert!((9_000..20_000).contains(&estimate.goroutines), "{estimate:?}");
    let (end, bytes) = take(NODE, &prepared, 1);
    assert!(end.complete, "{end:?}");
    assert!(bytes.len() > 5_000_000 && end.freeze.is_some() && end.took.is_some(), "{end:?}");
    println!("{}", stack_dump::conclude(&prepared, &[end], NODE).text);
    let fewer = ChangePolicy { max_dump_goroutines: 5000, ..policy() };
    let refused = prepare(NODE, Subject::Dockerd, &fewer).unwrap_err();
    println!("{}", refused.text);
    assert!(refused.text.contains("max-dump-goroutines (5000)"), "{}", refused.text);

    // A dump of this size does not fit into what ssh and sshd buffer: a reader that stops stalls the script.
    for kill in [true, false] {
        let (script, args) = caught(&prepared);
        let mut child = ssh(NODE, &script, &args);
        let mut first = [0_u8; 1000];
        child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
        assert_eq!(residue(NODE), "", "nothing is left when the first byte comes");
        if kill {
            child.kill().unwrap();
        } else {
            drop(child.stdout.take());
        }
        child.wait().unwrap();
        wait_until("the end of the script", Duration::from_secs(20), || {
            on_node(NODE, "grep -l plegcollect.stack[s] /proc/[0-9]*/cmdline 2>/dev/null || true").trim().is_empty()
        });
        assert_eq!(residue(NODE), "");
    }
}

#[test]
#[ignore = "needs the fleet"]
fn a_client_killed_at_any_moment_leaves_nothing() {
    for subject in [Subject::Dockerd, Subject::Containerd] {
        let prepared = prepare(OTHER, subject, &policy()).unwrap();
        for ms in [150, 250, 300, 350, 400, 450, 500, 700] {
            let (script, args) = caught(&prepared);
            let mut child = ssh(OTHER, &script, &args);
            std::thread::sleep(Duration::from_millis(ms));
            child.kill().unwrap();
            child.wait().unwrap();
            let clock = Instant::now();
            wait_until("the end of the script", Duration::from_secs(20), || {
                on_node(OTHER, "grep -l plegcollect.stack[s] /proc/[0-9]*/cmdline 2>/dev/null || true")
                    .trim()
                    .is_empty()
            });
            assert_eq!(residue(OTHER), "", "{subject}: killed after {ms} ms, looked {:?} later", clock.elapsed());
        }
    }
}

#[test]
#[ignore = "needs the fleet"]
fn two_operators_get_a_dump_each() {
    let prepared = prepare(OTHER, Subject::Dockerd, &policy()).unwrap();
    let (script, args) = caught(&prepared);
    let children: Vec<Child> = ["one", "two", "three"]
        .iter()
        .map(|run| {
            let mut args = args.clone();
            args[10] = (*run).to_owned();
            ssh(OTHER, &script, &args)
        })
        .collect();
    let mut names = Vec::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(words.contains("streamed=1") && output.stdout.starts_with(b"goroutine "), "{words}");
        names.push(words.lines().find(|l| l.starts_with("name=")).unwrap().to_owned());
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 3, "three files: {names:?}");
    assert_eq!(residue(OTHER), "");
}

/// The one connection of a test.
struct Straight(Session);

impl Way for Straight {
    fn session(&self) -> Session {
        self.0.clone()
    }

    fn reconnect(&self) -> BoxFuture<'_, Result<(), SessionError>> {
        async { Ok(()) }.boxed()
    }
}

/// Goes away after the first chunk.
struct Gone;

impl Sink for Gone {
    fn write<'a>(&'a mut self, _: StdStream, _: Bytes) -> BoxFuture<'a, ControlFlow<()>> {
        async { ControlFlow::Break(()) }.boxed()
    }
}

#[test]
#[ignore = "needs the fleet"]
fn the_programs_own_shell_takes_dumps_too() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let never = CancellationToken::new();
        let request = SelectionRequest {
            patterns: vec![OTHER.to_owned()],
            inventory: Some(state().join("inventory.toml")),
            ..SelectionRequest::default()
        };
        let selected = select(&request).await.unwrap();
        let connector = Connector::new(ConnectorOptions::default());
        let session = connector.connect(&selected.targets[0], &never, &mut |_, _, _| {}).await.unwrap();
        let shell = command::probe(&session, Sudo::Auto, None, &never).await.unwrap();
        let way = Straight(session);
        let shell = NodeShell { way: &way, facts: &shell.facts, password: None, persistent: true };
        let facts = facts_of(OTHER);
        for subject in [Subject::Dockerd, Subject::Containerd] {
            let prepared = stack_dump::prepare(&shell, &facts, subject, &policy()).await.unwrap();
            for encoding in [Encoding::Plain, Encoding::Zstd] {
                let mut kept = Kept::default();
                let end = stack_dump::take(
                    &shell,
                    &prepared,
                    permit(),
                    "plegcollect-20261121T010203Z",
                    1,
                    &mut kept,
                    encoding,
                )
                .await;
                assert!(end.complete && end.residue.is_none() && end.took.is_some(), "{end:?}");
                let packed = kept.0.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
                assert_eq!(packed, encoding == Encoding::Zstd);
                assert!(packed || kept.0.starts_with(b"goroutine "));
            }
            let end = stack_dump::take(
                &shell,
                &prepared,
                permit(),
                "plegcollect-20261121T010203Z",
                1,
                &mut Gone,
                Encoding::Plain,
            )
            .await;
            println!("{subject}: {end:?}");
            assert!(!end.complete && end.signalled && end.residue.is_none(), "{end:?}");
            let record = stack_dump::conclude(&prepared, &[end], OTHER);
            assert_eq!(record.state, ChangeState::Reverted, "{record:?}");
        }
        assert_eq!(residue(OTHER), "");
    });
}
