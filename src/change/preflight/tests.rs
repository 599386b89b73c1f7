//! Tables of the checks: one node in order, and for each row what is different about it and what is said then.

use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::*;
use crate::change::{Answer, ShellError};
use crate::plan::facts::ShellFacts;
use crate::session::Sink;

const TEXT: &str = "{\n  \"bridge\": \"none\"\n}\n";

/// A node that answers the two scripts from a table, as `config` and records say.
#[derive(Clone)]
struct Fake {
    text: Option<Vec<u8>>,
    read_status: i32,
    records: Vec<(String, String)>,
    facts: NodeFacts,
    policy: ChangePolicy,
}

impl Shell for Fake {
    fn run<'a>(
        &'a self,
        script: &'a Script,
        _: &'a [String],
        _: Encoding,
        _: Option<&'a mut dyn Sink>,
    ) -> BoxFuture<'a, Result<Answer, ShellError>> {
        let (status, out) = if script.name == "read-config" {
            (self.read_status, self.text.clone().unwrap_or_default())
        } else {
            let mut text = "plegcollect-preflight 1\n".to_owned();
            for (key, value) in &self.records {
                text.push_str(&format!("{key} {value}\n"));
            }
            (0, format!("{text}end 1\n").into_bytes())
        };
        Box::pin(async move { Ok(Answer { status, out, err: Vec::new() }) })
    }
}

fn info() -> Value {
    json!({
        "Debug": false, "ServerVersion": "20.10.24+dfsg1", "Labels": [], "LiveRestoreEnabled": false,
        "ContainersRunning": 10, "DefaultRuntime": "runc",
        "Runtimes": {"runc": {"path": "runc"}, "io.containerd.runc.v2": {"path": "runc"}},
        "Plugins": {"Authorization": null}, "RegistryConfig": {"Mirrors": [], "InsecureRegistryCIDRs": []},
    })
}

impl Fake {
    fn healthy() -> Self {
        let mut facts = NodeFacts {
            ticks_per_second: Some(100),
            systemd_version: Some(252),
            shell: ShellFacts { rights: Rights::Root, ..ShellFacts::default() },
            ..NodeFacts::default()
        };
        facts.dockerd = Some(Daemon {
            unit: Some("docker.service".to_owned()),
            state: Some("active/running".to_owned()),
            pid: Some(58),
            start_ticks: Some(1_000_000),
            exe: Some("/usr/sbin/dockerd".to_owned()),
            cmdline: ["/usr/sbin/dockerd", "-H", "fd://"].map(ToOwned::to_owned).to_vec(),
            ..Daemon::default()
        });
        let mut fake = Self {
            text: None,
            read_status: 0,
            records: [
                ("uid", "0"),
                ("uptime", "20000.00 1.00"),
                ("now", "1700020000"),
                ("proc.state", "S"),
                ("proc.start", "1000000"),
                ("proc.exe", "/usr/sbin/dockerd"),
                ("proc.uid", "0"),
                ("proc.debug", "0"),
                ("unit", "-"),
                ("unit", "ActiveState=active"),
                ("unit", "SubState=running"),
                ("unit", "MainPID=58"),
                ("unit", "ok"),
                ("path", "ok"),
                ("dir.exists", "1"),
                ("dir.writable", "1"),
                ("dir.free", "255904"),
                ("run.free", "255904"),
                ("file.inode", "41:9"),
                ("file.mtime", "2026-11-21 02:13:54.303741581 +0000"),
                ("file.owner", "0:0"),
                ("file.mode", "644"),
                ("file.label", "?"),
                ("file.size", "23"),
                ("file.attributes", "--------------e-------"),
                ("file.changed", "1700000000"),
                ("namespace", "same"),
                ("socket.seen", "1 1 /run/docker.sock"),
                ("socket", "/run/docker.sock"),
                ("docker", "/usr/bin/docker"),
                ("client", "docker"),
                ("ping", "0 OK"),
                ("info.1", &format!("0 {}", info())),
                ("info.2", &format!("0 {}", info())),
                ("validate", "none"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .to_vec(),
            facts,
            policy: ChangePolicy::default(),
        };
        fake.put(TEXT);
        fake
    }

    /// Gives the node another configuration file.
    fn put(&mut self, text: impl AsRef<[u8]>) {
        self.set("file.sha256", &daemon_json::sha256(text.as_ref()));
        self.text = Some(text.as_ref().to_owned());
    }

    fn set(&mut self, key: &str, value: &str) {
        self.records.retain(|(k, _)| k != key);
        self.add(key, value);
    }

    fn add(&mut self, key: &str, value: &str) {
        self.records.push((key.to_owned(), value.to_owned()));
    }

    fn gone(&mut self, key: &str) {
        self.records.retain(|(k, _)| k != key);
    }

    fn dockerd(&mut self) -> &mut Daemon {
        self.facts.dockerd.as_mut().unwrap()
    }

    fn arg(&mut self, arg: &str) {
        self.dockerd().cmdline.push(arg.to_owned());
    }

    fn info(&mut self, key: &str, value: Value) {
        let mut info: Value = serde_json::from_str(&self.value("info.2")[2..]).unwrap();
        info[key] = value;
        for answer in ["info.1", "info.2"] {
            self.set(answer, &format!("0 {info}"));
        }
    }

    fn value(&self, key: &str) -> String {
        self.records.iter().find(|(k, _)| k == key).unwrap().1.clone()
    }

    fn unit(&mut self, from: &str, to: &str) {
        self.records.iter_mut().filter(|(_, value)| value == from).for_each(|(_, value)| *value = to.to_owned());
    }

    fn examine(&self) -> Examined {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(examine(self, &self.facts, &self.policy))
    }
}

type Change = fn(&mut Fake);

/// What the check `id` says of a node that is in order but for `change`.
fn says(id: &str, change: Change) -> Check {
    let mut fake = Fake::healthy();
    change(&mut fake);
    let examined = fake.examine();
    let found = examined.checks.iter().find(|check| check.id == id).cloned();
    found.unwrap_or_else(|| panic!("{id} was not made: {examined:#?}"))
}

#[test]
fn a_node_in_order_is_ready() {
    let examined = Fake::healthy().examine();
    let PreflightOutcome::Ready(target) = &examined.outcome else { panic!("{examined:#?}") };
    assert_eq!(target.process.pid, 58);
    assert_eq!(target.process.start_ticks, 1_000_000);
    assert_eq!((target.config.as_str(), target.socket.as_str()), ("/etc/docker/daemon.json", "/run/docker.sock"));
    assert_eq!(target.client, Client::Docker("/usr/bin/docker".to_owned()));
    assert_eq!((target.on.at, target.on.delete, target.on.insert.as_str()), (1, 0, "\"debug\": true,"));
    assert_eq!(target.file.as_ref().unwrap().label, None);
    assert_eq!(target.info["DefaultRuntime"], "\"runc\"");
    let ids: Vec<&str> = examined.checks.iter().map(|check| check.id.as_str()).collect();
    assert_eq!(
        ids.join(" "),
        "P1 P2 P3 P4 P5 P6 P7 P8 P9 P10 P11 P12 P13 P14 P15 P16 P17 P18 P20 tools",
        "each check once, in order"
    );
    let only = examined.checks.iter().filter(|check| check.verdict != Verdict::Pass).map(|check| check.id.as_str());
    assert_eq!(only.collect::<Vec<_>>(), ["P18"]);
    assert_eq!(examined.warnings.len(), 1);
}

#[test]
fn each_refusal_names_its_reason() {
    let table: &[(&str, Change, &str)] = &[
        ("P1", |f| f.set("uid", "1000"), "root's rights"),
        ("P1", |f| f.unit("ActiveState=active", "ActiveState=activating"), "(docker.service is activating/running)"),
        ("P1", |f| f.unit("SubState=running", "SubState=start"), "a SIGHUP now would kill it"),
        ("P1", |f| f.unit("MainPID=58", "MainPID=60"), "main process of docker.service is 60, not 58"),
        ("P1", |f| f.dockerd().unit = None, "in no systemd unit"),
        ("P1", |f| f.set("unit", "failed"), "systemd does not say"),
        ("P2", |f| f.set("proc.exe", "/usr/bin/cri-dockerd"), "process 58 is /usr/bin/cri-dockerd, not dockerd"),
        ("P2", |f| f.set("proc.exe", "/usr/bin/docker"), "not dockerd"),
        ("P2", |f| f.set("proc.uid", "1000"), "does not run as root"),
        ("P2", |f| f.set("proc.start", "1000001"), "was restarted"),
        ("P2", |f| f.gone("proc.exe"), "cannot be seen"),
        ("P2", no_socket, "another process listens on /run/docker.sock"),
        ("P3", |f| f.set("uptime", "10059.00 1"), "run for only 59 s"),
        ("P3", |f| f.set("ping", "124 "), "answers no ping within 5 s:"),
        ("P3", |f| f.set("ping", "0 <html>"), "answers no ping"),
        ("P3", |f| f.gone("ping"), "neither docker nor a curl"),
        ("P3", frozen, "(the process is stopped, state T)"),
        ("P4", |f| f.set("info.1", "124 "), "usable answer"),
        ("P4", hung, "does not answer /info within 5 s (does containerd hang?)"),
        ("P4", |f| f.set("info.2", r#"1 {"ServerErrors":["x"]}"#), "no usable answer to /info"),
        ("P5", |f| f.info("ServerVersion", json!("1.9.1")), "docker 1.9.1 has no configuration reload"),
        ("P5", |f| f.info("ServerVersion", json!("dev")), "docker calls itself \"dev\""),
        ("P7", environment, "DEBUG is set in the environment of dockerd"),
        ("P7", |f| f.gone("proc.debug"), "cannot be read"),
        ("P8", |f| f.arg("-D"), "dockerd runs with --debug"),
        ("P8", |f| f.arg("--log-level=warn"), "dockerd runs with --log-level=warn: after debug"),
        ("P8", |f| f.arg("--max-concurrent-downloads=9"), "--max-concurrent-downloads: a SIGHUP would reset it"),
        ("P8", |f| f.dockerd().cmdline.clear(), "command line cannot be read"),
        ("P9", |f| f.put(r#"{"log-level":"warn"}"#), "log-level is \"warn\" in /etc/docker/daemon.json"),
        ("P9", |f| f.put(r#"{"log-level":3}"#), "is no string"),
        ("P10", |f| f.put("{"), "/etc/docker/daemon.json is not valid JSON"),
        ("P10", |f| f.put("\u{feff}{}"), "byte order mark"),
        ("P10", |f| f.put(""), "is empty: docker before 23.0"),
        ("P10", |f| f.put("[1]"), "not a JSON object"),
        ("P10", |f| f.put(r#"{"debug":"false"}"#), "set to a string"),
        ("P10", |f| f.put(r#"{"debug":true}"#), "\"debug\": true, which dockerd has not loaded"),
        ("P10", |f| f.put(r#"{"runtimes":null}"#), "\"runtimes\" that is not an object"),
        (
            "P10",
            |f| f.put(r#"{"authorization-plugins":["az"]}"#),
            "authorization plugin \"az\", which is not to be found",
        ),
        ("P10", |f| f.put(r#"{"authorization-plugins":"az"}"#), "not a list"),
        ("P10", |f| f.put(r#"{"authorization-plugins":[1]}"#), "not names"),
        ("P10", |f| f.set("validate", "1"), "dockerd --validate rejects"),
        ("P10", |f| f.read_status = 4, "larger than 256 KiB"),
        ("P10", |f| f.read_status = 5, "not a regular file"),
        ("P10", |f| f.read_status = 6, "could not be read"),
        ("P11", |f| f.put(r#"{"labels":["a=b"]}"#), "has not loaded (labels)"),
        (
            "P11",
            |f| f.set("file.changed", "1700010003"),
            "was changed at 2023-11-15T01:00:03Z, after dockerd had loaded it",
        ),
        ("P11", reloaded_too_early, "after dockerd had loaded it"),
        ("P11", reload_line_of_28, "after dockerd had loaded it"),
        ("P11", |f| f.gone("file.changed"), "cannot be told"),
        ("P11", given_and_missing, "/etc/d.json, which dockerd was started with, is gone"),
        ("P12", |f| f.put(r#"{"runtimes":{"runc":{}}}"#), "allow-runtime-names = true in [changes]"),
        ("P13", |f| f.set("namespace", "other"), "another mount namespace"),
        ("P13", |f| f.gone("namespace"), "cannot be seen"),
        ("P13", |f| f.set("dir.exists", "0"), "does not exist"),
        ("P13", |f| f.set("file.mount", "1"), "is a mount of its own"),
        ("P13", |f| f.set("dir.writable", "0"), "read-only file system"),
        ("P13", |f| f.set("file.attributes", "----i---------e-------"), "is immutable"),
        (
            "P13",
            |f| f.set("dir.attributes", "-----a--------e-------"),
            "directory of /etc/docker/daemon.json is immutable",
        ),
        ("P13", |f| f.set("file.sha256", "00"), "changed while it was being looked at"),
        ("P13", |f| f.read_status = 3, "appeared while"),
        ("P13", |f| f.set("dir.free", "63"), "only 63 KiB are free beside it"),
        ("P13", |f| f.set("run.free", "63"), "only 63 KiB are free in /run"),
        ("P13", |f| f.set("dir.free", ""), "cannot be told"),
        ("P14", |f| f.set("path", "failed"), "whether a .path unit watches"),
        ("P14", |f| watch(f, "Paths=/etc/docker/daemon.json (PathChanged)"), "w.path watches /etc/docker/daemon.json"),
        ("P14", |f| watch(f, "Paths=/etc/docker/ (PathModified)"), "w.path watches"),
        ("P14", |f| watch(f, "PathChanged=/etc/docker/daemon.json"), "w.path watches"),
        ("P14", |f| watch(f, "Paths=/etc/docker/*.json (PathExistsGlob)"), "w.path watches"),
        ("P14", watched_target, "w.path watches"),
        ("P15", |f| f.set("leftover", "plegcollect-orig"), "/etc/docker/daemon.json.plegcollect-orig is left"),
        ("tools", |f| f.set("missing", "flock"), "cannot run without flock"),
    ];
    for (id, change, want) in table {
        let check = says(id, *change);
        assert_eq!(check.verdict, Verdict::Refuse, "{check:?}, wanted {want}");
        assert!(check.text.contains(want), "{check:?}, wanted {want}");
        let mut fake = Fake::healthy();
        change(&mut fake);
        let outcome = fake.examine().outcome;
        assert!(!matches!(outcome, PreflightOutcome::Ready(_)), "{id} {want}: {outcome:?}");
    }
}

fn no_socket(f: &mut Fake) {
    f.gone("socket");
    f.set("socket.seen", "1 0 /run/docker.sock");
}

fn frozen(f: &mut Fake) {
    f.set("proc.state", "T");
    f.set("ping", "124 ");
    f.gone("info.1");
    f.gone("info.2");
}

fn hung(f: &mut Fake) {
    f.set("info.1", "124 ");
    f.gone("info.2");
}

fn environment(f: &mut Fake) {
    f.set("proc.debug", "1");
    f.info("Debug", json!(true));
}

fn reloaded_too_early(f: &mut Fake) {
    f.set("file.changed", "1700010003");
    f.set("reload.event", "1700010002");
}

fn reload_line_of_28(f: &mut Fake) {
    f.set("file.changed", "1700010003");
    f.set("reload.journal", "1700010005");
    f.info("ServerVersion", json!("28.0.1"));
}

fn given_and_missing(f: &mut Fake) {
    f.arg("--config-file=/etc/d.json");
    f.read_status = 3;
    f.gone("file.inode");
}

fn watch(f: &mut Fake, line: &str) {
    f.gone("path");
    for line in ["-", "Id=other.path", "ActiveState=active", "-", "Id=w.path", line, "ActiveState=active", "ok"] {
        f.add("path", line);
    }
}

fn watched_target(f: &mut Fake) {
    f.set("file.target", "/srv/docker.json");
    watch(f, "Paths=/srv (PathChanged)");
}

#[test]
fn what_is_in_order_is_not_refused() {
    let table: &[(&str, Change)] = &[
        ("P2", |f| f.set("proc.exe", "/usr/sbin/dockerd (deleted)")),
        ("P2", |f| f.set("proc.exe", "/usr/bin/dockerd-current")),
        ("P5", |f| f.info("ServerVersion", json!("1.10.3"))),
        ("P7", |f| f.set("proc.debug", "1")),
        ("P8", |f| f.arg("--log-level=info")),
        ("P9", |f| f.put(r#"{"log-level":"info"}"#)),
        ("P10", |f| f.put(r#"{"debug":false}"#)),
        ("P10", |f| f.set("validate", "0")),
        ("P10", resolved),
        ("P11", |f| f.set("file.changed", "1700010002")),
        ("P11", |f| {
            f.set("file.changed", "1700010003");
            f.set("reload.event", "1700010003")
        }),
        ("P11", |f| {
            f.set("file.changed", "1700010003");
            f.set("reload.journal", "1700010004")
        }),
        ("P12", |f| {
            f.put(r#"{"runtimes":{"runc":{}}}"#);
            f.info("Runtimes", json!({"runc": {}}))
        }),
        ("P12", |f| {
            f.put(r#"{"runtimes":{"runc":{}}}"#);
            f.info("ServerVersion", json!("24.0.7"))
        }),
        ("P13", |f| f.set("namespace", "alike")),
        ("P13", |f| f.set("file.target", "/srv/docker.json")),
        ("P14", |f| watch(f, "Paths=/etc (PathChanged)")),
        ("P14", |f| watch(f, "Paths=/etc/docker.json (PathChanged)")),
        ("P14", |f| {
            watch(f, "Paths=/etc/docker (PathChanged)");
            f.unit("ActiveState=active", "ActiveState=inactive")
        }),
    ];
    for (id, change) in table {
        assert_eq!(says(id, *change).verdict, Verdict::Pass, "{:?}", says(id, *change));
    }
    let warned: &[(&str, Change, &str)] = &[
        ("P10", |f| f.info("ServerVersion", json!("26.1.0")), "could not be asked"),
        (
            "P12",
            |f| {
                f.put(r#"{"runtimes":{"runc":{}}}"#);
                f.policy.allow_runtime_names = true
            },
            "until its next restart",
        ),
        ("P17", |f| f.info("ContainersRunning", json!(900)), "the journal's limit is 10000: lines will be dropped"),
        ("P17", |f| f.add("journald", "RateLimitBurst=100"), "the journal's limit is 100"),
        ("P17", |f| f.set("journal.free", "1024"), "only 1 MiB are free"),
        ("P18", |f| f.set("shipper", "fluent-bit"), "may be shipped by fluent-bit"),
        ("P18", |_| {}, "for 20 s dockerd logs the environment"),
        ("P20", |f| f.set("monitor", "monit"), "monit runs on the node"),
    ];
    for (id, change, want) in warned {
        let check = says(id, *change);
        assert!(check.verdict == Verdict::Warn && check.text.contains(want), "{check:?}");
    }
    assert_eq!(says("P17", |f| f.add("journald", "RateLimitBurst=0")).verdict, Verdict::Pass);
}

fn resolved(f: &mut Fake) {
    f.put(r#"{"authorization-plugins":["az", "by"]}"#);
    f.set("plugin.found", "az");
    f.set("plugin.managed", "by:latest");
}

#[test]
fn debug_that_is_on_is_left_on() {
    let mut fake = Fake::healthy();
    fake.info("Debug", json!(true));
    fake.put(r#"{"debug":true}"#);
    let examined = fake.examine();
    let text = "debug is already on; it will be left on".to_owned();
    assert_eq!(examined.outcome, PreflightOutcome::Not { state: ChangeState::Skipped, text });
    // Also where a flag switched it on, which is a refusal by itself; not where it cannot be told who did.
    fake.arg("-D");
    assert!(matches!(fake.examine().outcome, PreflightOutcome::Not { state: ChangeState::Skipped, .. }));
    let mut fake = Fake::healthy();
    environment(&mut fake);
    assert!(matches!(fake.examine().outcome, PreflightOutcome::Not { state: ChangeState::Refused, .. }));
}

#[test]
fn a_missing_file_is_made_and_removed() {
    let mut fake = Fake::healthy();
    fake.read_status = 3;
    fake.gone("file.inode");
    let PreflightOutcome::Ready(target) = fake.examine().outcome else { panic!("{:#?}", fake.examine()) };
    assert_eq!((target.file, target.on.insert.as_str()), (None, r#"{"debug": true}"#));
    assert_eq!(target.off.insert, r#"{"debug": false}"#);
}

#[test]
fn the_lock_decides_first() {
    let mut fake = Fake::healthy();
    fake.info("Debug", json!(true));
    fake.set("lock", "1");
    for line in ["run=20261121T0233-ab", "who=alice", "host=laptop", "since=2026-11-21T02:33:00Z"] {
        fake.add("lock.owner", line);
    }
    fake.set("lock.newest", "1700019990");
    let examined = fake.examine();
    let PreflightOutcome::Busy(owner) = &examined.outcome else { panic!("{examined:#?}") };
    assert_eq!(owner.to_string(), "alice (on laptop, run 20261121T0233-ab, since 2026-11-21T02:33:00Z)");
    fake.set("lock.newest", "1700000000");
    assert!(matches!(fake.examine().outcome, PreflightOutcome::Stale(_)));
    fake.set("lock.held", "1");
    assert!(matches!(fake.examine().outcome, PreflightOutcome::Busy(_)));
    fake.gone("lock.held");
    fake.add("guard", "-");
    fake.add("guard", "Id=plegcollect-guard.service");
    fake.add("guard", "ActiveState=active");
    fake.set("leftover", "plegcollect-orig");
    assert!(matches!(fake.examine().outcome, PreflightOutcome::Busy(_)));
    fake.gone("lock");
    let PreflightOutcome::Leftover(leftover) = fake.examine().outcome else { panic!() };
    assert_eq!((leftover.orig, leftover.new, leftover.process.unwrap().pid), (true, false, 58));
    assert_eq!(Owner::read(&["who=\u{1b}[2Jx"]).to_string(), "x");
    assert_eq!(Owner::default().to_string(), "somebody unknown");
    let long = format!("who=\u{1b}]0;t\u{7}\u{1b}[31m{}", "A".repeat(10_000));
    let busy = Owner::read(&[long.as_str(), "host=\u{9b}2Jh"]).busy();
    assert!(!busy.contains(|c: char| c.is_control()) && busy.len() < 500, "{busy}");
    assert!(busy.contains("A… (on h) is in a debug window on this node; "), "{busy}");
}

#[test]
fn without_dockerd_or_rights_nothing_is_asked() {
    let mut fake = Fake::healthy();
    fake.facts.shell.rights = Rights::None;
    let Examined { outcome: PreflightOutcome::Not { state: ChangeState::Refused, text }, .. } = fake.examine() else {
        panic!()
    };
    assert!(text.contains("root's rights"), "{text}");
    let mut fake = Fake::healthy();
    fake.dockerd().pid = None;
    fake.dockerd().state = Some("inactive/dead".to_owned());
    let Examined { outcome: PreflightOutcome::Not { text, .. }, .. } = fake.examine() else { panic!() };
    assert_eq!(text, "dockerd does not run: docker.service is inactive/dead");
    fake.facts.dockerd = None;
    let outcome = fake.examine().outcome;
    assert!(matches!(outcome, PreflightOutcome::Not { state: ChangeState::Skipped, .. }), "{outcome:?}");
    let mut fake = Fake::healthy();
    fake.arg("--config-file=/proc/1/mem");
    assert!(matches!(fake.examine().outcome, PreflightOutcome::Not { state: ChangeState::Refused, .. }));
}

#[test]
fn no_check_tells_what_the_file_holds() {
    let mut fake = Fake::healthy();
    fake.put(
        r#"{"log-opts": {"splunk-token": "hunter2"}, "hosts": ["unix:///x"], "labels": ["hunter2=1"], "proxies": 3}"#,
    );
    let told = format!("{:?}", fake.examine().checks);
    assert!(!told.contains("hunter2") && !told.contains("splunk"), "{told}");
}
