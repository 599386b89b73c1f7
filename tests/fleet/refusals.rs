//! The checks before dockerd's debug is switched on, each provoked on a real node: what is said, that nothing was
//! changed by looking, and that the node is in order again afterwards.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use plegcollect::change::preflight::{Examined, PreflightOutcome, examine};
use plegcollect::change::{Client, DebugTarget, NodeShell, Verdict, Way};
use plegcollect::evidence::ChangeState;
use plegcollect::inventory::Target;
use plegcollect::inventory::target::{
    AddressFamily, Credentials, Endpoint, Hop, HostKeyMode, HostKeyPolicy, Proxy, Reach, Sudo,
};
use plegcollect::plan::facts::{NodeFacts, parse, probe_args, probe_script};
use plegcollect::plan::{Bounds, Catalog, ChangePolicy, Encoding, What};
use plegcollect::session::command::{self, CommandSpec};
use plegcollect::session::{Connector, ConnectorOptions, Session, SessionError, Sink, StdStream};
use tokio_util::sync::CancellationToken;

use crate::support::{Fault, on_node, state, wait_until};

const NODE: &str = "worker-001";
const CONFIG: &str = "/etc/docker/daemon.json";

/// Undoes a piece of setting up, also when the test fails.
struct Undo(&'static str);

impl Drop for Undo {
    fn drop(&mut self) {
        let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/fleet");
        let mut command = std::process::Command::new(script);
        command.args(["exec", NODE, "/bin/sh", "-c", self.0]).env("PLEGCOLLECT_FLEET_DIR", state());
        if !command.output().is_ok_and(|o| o.status.success()) {
            eprintln!("{NODE} was not put in order: {}", self.0);
        }
    }
}

/// Sets something up, and undoes it when the returned value goes.
#[must_use]
fn with(setup: &str, undo: &'static str) -> Undo {
    let undo = Undo(undo);
    on_node(NODE, setup);
    undo
}

/// The configuration file is kept aside as it is, by inode, and another text put in its place that is as old.
fn with_config(text: &[u8]) -> Undo {
    let undo = Undo("[ ! -e /etc/docker/kept ] || mv -fT /etc/docker/kept /etc/docker/daemon.json");
    let octal: String = text.iter().map(|b| format!("\\{b:03o}")).collect();
    on_node(
        NODE,
        &format!(
            "cd /etc/docker && ln -T daemon.json kept && printf '{octal}' >new && touch -r kept new && mv -fT new \
             daemon.json"
        ),
    );
    undo
}

fn dockerd_answers() -> bool {
    on_node(NODE, "timeout 5 docker info --format '{{.ServerVersion}}' 2>/dev/null || true").starts_with("20.10")
}

fn dockerd_is_old_enough() -> bool {
    let age = on_node(
        NODE,
        "p=$(systemctl show -p MainPID --value docker); [ \"$p\" != 0 ] && ps -o etimes= -p \"$p\" || echo 0",
    );
    age.trim().parse::<u32>().is_ok_and(|age| age > 62)
}

fn in_order() {
    wait_until("dockerd answers", Duration::from_secs(60), dockerd_answers);
    wait_until("dockerd runs for a minute", Duration::from_secs(90), dockerd_is_old_enough);
}

/// What must be the same before and after looking.
fn fingerprint() -> String {
    on_node(
        NODE,
        "stat -c '%n %i %s %y %z %U:%G %a' /etc/docker /etc/docker/* /run/plegcollect 2>/dev/null; sha256sum /etc/docker/daemon.json 2>/dev/null; \
         systemctl show -p MainPID -p NRestarts docker; ls /tmp /run; true",
    )
}

struct Direct(Session);

impl Way for Direct {
    fn session(&self) -> Session {
        self.0.clone()
    }
    fn reconnect(&self) -> BoxFuture<'_, Result<(), SessionError>> {
        async { Ok(()) }.boxed()
    }
}

#[derive(Default)]
struct Bytes(Vec<u8>);

impl Sink for Bytes {
    fn write<'a>(&'a mut self, stream: StdStream, chunk: bytes::Bytes) -> BoxFuture<'a, std::ops::ControlFlow<()>> {
        if stream == StdStream::Out {
            self.0.extend_from_slice(&chunk);
        }
        async { std::ops::ControlFlow::Continue(()) }.boxed()
    }
}

pub(crate) fn target(node: &str) -> Target {
    let inventory: toml::Table = std::fs::read_to_string(state().join("inventory.toml")).unwrap().parse().unwrap();
    let nodes = inventory["node"].as_array().unwrap();
    let host = nodes.iter().find(|n| n["name"].as_str() == Some(node)).unwrap()["address"].as_str().unwrap().to_owned();
    let hop = Hop {
        endpoint: Endpoint { host, port: 22 },
        user: "root".to_owned(),
        credentials: Credentials {
            identity_files: vec![state().join("id_ed25519")],
            certificate_files: Vec::new(),
            identities_only: true,
            agent_socket: None,
        },
        host_key: HostKeyPolicy {
            mode: HostKeyMode::Strict,
            known_hosts: vec![state().join("known_hosts")],
            alias: None,
            pinned: Vec::new(),
        },
        connect_timeout: Duration::from_secs(20),
        auth_timeout: Duration::from_secs(20),
        keepalive_interval: Duration::from_secs(15),
        keepalive_max: 3,
        address_family: AddressFamily::Any,
        bind_address: None,
        compression: false,
    };
    Target {
        name: node.parse().unwrap(),
        reach: Reach::Ssh { hop: Box::new(hop), proxy: Proxy::Direct },
        sudo: Sudo::Auto,
        parallel_steps: 8,
        groups: Vec::new(),
    }
}

/// Probes the node and makes the checks, over SSH as a run does.
fn look_with(policy: &ChangePolicy) -> Examined {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let cancel = CancellationToken::new();
        let connector = Connector::new(ConnectorOptions::default());
        let session = connector.connect(&target(NODE), &cancel, &mut |_, _, _| {}).await.unwrap();
        let shell = command::probe(&session, Sudo::Auto, None, &cancel).await.unwrap();
        let what = What::Script { text: probe_script().to_owned(), args: probe_args(&Catalog::builtin()) };
        let bounds = Bounds { timeout: Duration::from_secs(20), grace: Duration::from_secs(2), max_bytes: 1 << 20 };
        let spec = CommandSpec {
            what: &what,
            privileged: true,
            bounds: &bounds,
            encoding: Encoding::Plain,
            stacks_on_timeout: false,
            shell: &shell.facts,
            password: None,
            input: None,
        };
        let mut bytes = Bytes::default();
        command::run(&session, &spec, &mut bytes, &cancel).await.unwrap();
        let mut facts: NodeFacts = parse(&bytes.0).unwrap();
        facts.shell = shell.facts.clone();
        let way = Direct(session.clone());
        let shell = NodeShell { way: &way, facts: &facts.shell, password: None, persistent: false };
        let examined = examine(&shell, &facts, policy).await;
        session.close().await;
        examined
    })
}

/// Makes the checks and asserts that the node is as it was.
fn look() -> Examined {
    let before = fingerprint();
    let examined = look_with(&ChangePolicy::default());
    assert_eq!(before, fingerprint(), "looking changed something");
    examined
}

/// Asserts that `id` refuses with `words`, and that the window is not opened.
fn refused(id: &str, words: &str) {
    let examined = look();
    let check = examined.checks.iter().find(|check| check.id == id);
    let check = check.unwrap_or_else(|| panic!("{id} was not made: {examined:#?}"));
    eprintln!("{id}: {}", check.text);
    assert!(check.verdict == Verdict::Refuse && check.text.contains(words), "{examined:#?}");
    assert!(!matches!(examined.outcome, PreflightOutcome::Ready(_)), "{examined:#?}");
}

/// Asserts that nothing is refused.
fn ready() -> DebugTarget {
    let examined = look();
    match examined.outcome {
        PreflightOutcome::Ready(target) => *target,
        _ => panic!("{examined:#?}"),
    }
}

#[test]
#[ignore = "needs the fleet"]
fn what_the_file_and_its_surroundings_forbid_is_refused() {
    in_order();
    let target = ready();
    assert_eq!(target.client, Client::Docker("/usr/bin/docker".to_owned()));
    assert_eq!((target.config.as_str(), target.socket.as_str()), (CONFIG, "/run/docker.sock"));
    assert!(target.version.starts_with("20.10"), "{target:?}");

    for (text, id, words) in [
        (&b"{\"log-level\": \"warn\"}"[..], "P9", "log-level is \"warn\""),
        (b"{\"labels\": [\"a=b\"]}", "P11", "has changes that dockerd has not loaded (labels)"),
        (b"{ not json", "P10", "is not valid JSON"),
        (b"\xef\xbb\xbf{}", "P10", "byte order mark"),
        (b"", "P10", "is empty"),
        (b"{\"runtimes\": null}", "P10", "\"runtimes\" that is not an object"),
        (b"{\"authorization-plugins\": [\"nope\"]}", "P10", "authorization plugin \"nope\""),
        (b"{\"debug\": true}", "P10", "which dockerd has not loaded"),
        (b"{\"debug\": \"false\"}", "P10", "set to a string"),
        (b"{\"Debug\": true}", "P10", "the key \"Debug\""),
        (b"{\"bridge\": \"none\", \"bridge\": \"none\"}", "P10", "the key \"bridge\" twice"),
        (b"{\"runtimes\": {\"runc\": {\"path\": \"runc\"}}}", "P12", "allow-runtime-names"),
    ] {
        let _kept = with_config(text);
        refused(id, words);
    }
    {
        let _kept = with_config(b"{\"runtimes\": {\"runc\": {\"path\": \"runc\"}}}");
        let allowed = look_with(&ChangePolicy { allow_runtime_names: true, ..ChangePolicy::default() });
        assert!(matches!(allowed.outcome, PreflightOutcome::Ready(_)), "{allowed:#?}");
    }
    {
        let _kept = with_config(b"{\"bridge\": \"none\"}");
        on_node(NODE, "touch /etc/docker/daemon.json");
        refused("P11", "was changed at");
    }
    {
        let _link = with(
            "cd /etc/docker && cp -p daemon.json /srv/d.json && ln -T daemon.json kept && ln -sT /srv/d.json new && \
             touch -hr kept new && mv -fT new daemon.json",
            "cd /etc/docker && rm -f new && { [ ! -e kept ] || mv -fT kept daemon.json; }; rm -f /srv/d.json",
        );
        let target = ready();
        assert_eq!(target.file.unwrap().size, 103, "of what the link leads to");
    }
    {
        let _missing = with(
            "mv -T /etc/docker/daemon.json /etc/docker/kept",
            "[ ! -e /etc/docker/kept ] || mv -fT /etc/docker/kept /etc/docker/daemon.json",
        );
        assert_eq!(ready().file, None);
    }
    {
        let _unit = with(
            "printf '[Path]\\nPathChanged=/etc/docker/daemon.json\\nUnit=w.service\\n' >/run/systemd/system/w.path; \
             printf '[Service]\\nExecStart=/bin/true\\n' >/run/systemd/system/w.service; systemctl daemon-reload; systemctl start w.path",
            "systemctl stop w.path w.service; rm -f /run/systemd/system/w.path /run/systemd/system/w.service; \
             systemctl daemon-reload",
        );
        refused("P14", "w.path watches /etc/docker/daemon.json");
    }
    {
        let _mount = with(
            "mount --bind /etc/docker/daemon.json /etc/docker/daemon.json",
            "umount /etc/docker/daemon.json || true",
        );
        refused("P13", "is a mount of its own");
    }
    {
        let _mount = with(
            "mount --bind /etc/docker /etc/docker && mount -o remount,bind,ro /etc/docker",
            "umount /etc/docker || true",
        );
        refused("P13", "read-only file system");
    }
    if on_node(NODE, "cd /etc/docker && touch t && chattr +i t 2>/dev/null && chattr -i t && echo can; rm -f t")
        .contains("can")
    {
        let _fixed = with("chattr +i /etc/docker/daemon.json", "chattr -i /etc/docker/daemon.json");
        refused("P13", "is immutable");
    } else {
        eprintln!("chattr +i does not work on this file system: left out");
    }
    {
        let _left =
            with("touch /etc/docker/daemon.json.plegcollect-new", "rm -f /etc/docker/daemon.json.plegcollect-new");
        refused("P15", "daemon.json.plegcollect-new is left");
        let PreflightOutcome::Leftover(left) = look().outcome else { panic!() };
        assert!(left.new && !left.orig && left.process.is_some(), "{left:?}");
    }
    {
        // The holder of the lock ends with the file it holds.
        let _lock = with(
            "mkdir -m 700 /run/plegcollect && cd /run/plegcollect && touch -d '1 hour ago' lock && \
             printf 'run=r1\\nwho=alice\\nhost=laptop\\nsince=2026-11-21T02:33:00Z\\n' >owner && touch -d '1 hour ago' owner . && \
             systemd-run -q --unit=fleet-holder flock /run/plegcollect/lock sleep 600 && \
             while flock -s -n lock true; do sleep 0.1; done",
            "systemctl stop fleet-holder; rm -rf /run/plegcollect",
        );
        refused("P16", "alice (on laptop, run r1, since 2026-11-21T02:33:00Z) is in a debug window");
        assert!(matches!(look().outcome, PreflightOutcome::Busy(_)));
        on_node(NODE, "systemctl stop fleet-holder; touch -d '1 hour ago' /run/plegcollect/* /run/plegcollect");
        assert!(matches!(look().outcome, PreflightOutcome::Stale(_)), "{:#?}", look());
        refused("P16", "was not closed on this node");
    }
    ready();
}

#[test]
#[ignore = "needs the fleet"]
fn what_the_guard_cannot_do_without_is_named() {
    in_order();
    {
        let _gone = Fault::new(NODE, &["no-tool", "docker"]);
        assert_eq!(ready().client, Client::Curl("/usr/bin/curl".to_owned()));
    }
    {
        let _gone = Fault::new(NODE, &["no-tool", "flock"]);
        refused("tools", "cannot run without flock");
    }
    {
        let _gone = Fault::new(NODE, &["no-tool", "docker"]);
        let _too = Fault::new(NODE, &["no-tool", "curl"]);
        refused("P3", "neither docker nor a curl");
    }
    {
        let _watched = with(
            "cp /bin/sleep /run/fluent-bit && cp /bin/sleep /run/monit && systemd-run -q --unit=fleet-shipper \
             /run/fluent-bit 600 && systemd-run -q --unit=fleet-monitor /run/monit 600",
            "systemctl stop fleet-shipper fleet-monitor; rm -f /run/fluent-bit /run/monit",
        );
        let examined = look();
        let warned = |words: &str| examined.warnings.iter().any(|w| w.contains(words));
        assert!(warned("may be shipped by fluent-bit") && warned("monit runs on the node"), "{examined:#?}");
    }
}

#[test]
#[ignore = "needs the fleet"]
fn a_daemon_that_does_not_answer_is_left_alone() {
    in_order();
    {
        let _hung = Fault::new(NODE, &["containerd-stopped"]);
        refused("P4", "does not answer /info within 5 s");
    }
    {
        let _frozen = Fault::new(NODE, &["dockerd-frozen"]);
        refused("P3", "(the process is stopped, state T)");
    }
    {
        let _down = Fault::new(NODE, &["dockerd-down"]);
        refused("P1", "dockerd does not run: docker.service is inactive/dead");
        assert_eq!(on_node(NODE, "systemctl is-active docker.service || true").trim(), "inactive");
    }
    in_order();
}

/// Starts dockerd anew with other arguments and environment.
fn restarted(arguments: &str, environment: &str) -> Undo {
    with(
        &format!(
            "mkdir -p /run/systemd/system/docker.service.d && printf \
             '[Service]\\nEnvironment={environment}\\nExecStart=\\nExecStart=/usr/sbin/dockerd -H fd:// \
            --containerd=/run/containerd/containerd.sock {arguments}\\n' \
            >/run/systemd/system/docker.service.d/fleet.conf && systemctl daemon-reload && systemctl reset-failed \
            docker && systemctl restart docker"
        ),
        "rm -rf /run/systemd/system/docker.service.d; systemctl daemon-reload; systemctl reset-failed docker; \
         systemctl restart docker; systemctl restart fleet-containers",
    )
}

#[test]
#[ignore = "needs the fleet"]
fn how_dockerd_was_started_is_respected() {
    in_order();
    {
        let _flags = restarted("--max-concurrent-downloads=10 --log-level=warn", "A=b");
        wait_until("dockerd answers", Duration::from_secs(60), dockerd_answers);
        refused("P8", "dockerd runs with --max-concurrent-downloads: a SIGHUP would reset it");
        refused("P3", "dockerd has run for only");
    }
    {
        let _debug = restarted("-l warn", "DEBUG=1");
        wait_until("dockerd answers", Duration::from_secs(60), dockerd_answers);
        refused("P8", "dockerd runs with --log-level=warn");
        refused("P7", "DEBUG is set in the environment of dockerd");
    }
    {
        let _debug = restarted("-D", "A=b");
        wait_until("dockerd answers", Duration::from_secs(60), dockerd_answers);
        let examined = look();
        let PreflightOutcome::Not { state, text } = &examined.outcome else { panic!("{examined:#?}") };
        assert_eq!((*state, text.as_str()), (ChangeState::Skipped, "debug is already on; it will be left on"));
    }
    {
        let _containers = Undo("systemctl restart fleet-containers");
        let starting = Fault::new(NODE, &["containerd-stopped"]);
        on_node(NODE, "systemctl reset-failed docker; systemctl --no-block restart docker");
        wait_until("dockerd starts", Duration::from_secs(60), || {
            let state = "systemctl show -p ActiveState -p MainPID docker | tr '\\n' ' '";
            let state = on_node(NODE, state);
            state.contains("ActiveState=activating") && !state.contains("MainPID=0")
        });
        refused("P1", "dockerd is not fully started (docker.service is activating/");
        drop(starting);
    }
    in_order();
    ready();
}
