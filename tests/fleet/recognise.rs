//! What the report says of live nodes: nothing of healthy ones, and of sick ones which fault they have, by findings whose
//! citations hold what they claim. Uses worker-001 to worker-009, all at once.

use std::path::Path;
use std::process::Command;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::evidence::{ca, token_file};
use crate::fingerprint::rested;
use crate::machine::Watch;
use crate::support::{Fault, Run, on_node, plegcollect};

const NODES: &str = "worker-00[1-9]";
const NINE: [&str; 9] = [
    "worker-001",
    "worker-002",
    "worker-003",
    "worker-004",
    "worker-005",
    "worker-006",
    "worker-007",
    "worker-008",
    "worker-009",
];
const WELL: &str = "nothing wrong was recognised";

/// A run of the incident profile, kubelets included.
fn incident(nodes: &str) -> Run {
    let (token, ca) = (token_file("node-diagnostics"), ca());
    let args = [
        "--nodes",
        nodes,
        "--profile",
        "incident",
        "--window",
        "1s",
        "--kubelet-token-file",
        &token,
        "--kubelet-ca",
        &ca,
    ];
    plegcollect(&args).run()
}

fn report(of: &Path, format: &str) -> String {
    let mut call = Command::new(env!("CARGO_BIN_EXE_plegcollect"));
    let output = call.args(["report", "--format", format]).arg(of).output().unwrap();
    assert!(output.status.success(), "report: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What is said of a run.
struct Told(Value);

impl Told {
    fn of(run: &Run) -> Self {
        Self(serde_json::from_str(&report(&run.dir, "json")).unwrap())
    }

    fn node(&self, name: &str) -> &Value {
        let mut nodes = self.0["nodes"].as_array().unwrap().iter();
        nodes.find(|node| node["node"] == name).unwrap_or_else(|| panic!("nothing is said of {name}: {}", self.0))
    }

    fn verdict(&self, name: &str) -> &str {
        self.node(name)["verdict"]["sentence"].as_str().unwrap()
    }

    fn findings(&self, name: &str) -> &[Value] {
        self.node(name)["findings"].as_array().unwrap()
    }

    /// What is grave on a node, without what is true of this very machine: nodes share its kernel, processors, memory and
    /// disks, and it may be a busy one.
    fn warnings(&self, name: &str, machine: &Watch) -> Vec<&Value> {
        let grave = |finding: &&Value| finding["severity"] != "info";
        let (excused, own): (Vec<_>, Vec<_>) = self
            .findings(name)
            .iter()
            .filter(grave)
            .partition(|finding| machine.explains(finding["id"].as_str().unwrap()));
        for finding in excused {
            println!("{name}: {finding}: this machine is so: {machine:?}");
        }
        own
    }

    /// Names of the nodes of each group that is not well.
    fn sick(&self) -> Vec<Vec<&str>> {
        let groups = self.0["fleet"]["groups"].as_array().unwrap().iter();
        let sick = groups.filter(|group| group["sentence"] != WELL);
        sick.map(|group| group["nodes"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect())
            .collect()
    }
}

/// Lines that a finding cites of a file; a citation of a file as a whole gives it whole.
fn cited(run: &Run, node: &str, finding: &Value, file: &str) -> String {
    let mut told = String::new();
    for citation in finding["evidence"].as_array().unwrap().iter().filter(|citation| citation["file"] == file) {
        let text = String::from_utf8_lossy(&run.file(node, file)).into_owned();
        let Some(lines) = citation["lines"].as_array() else {
            told += &text;
            continue;
        };
        let at = |end: usize| usize::try_from(lines[end].as_u64().unwrap()).unwrap();
        let (first, last) = (at(0), at(1));
        let all: Vec<&str> = text.lines().collect();
        assert!(
            0 < first && first <= last && last <= all.len(),
            "{node}: {citation} of {} lines: {finding}",
            all.len()
        );
        assert!(!all[first - 1].trim().is_empty(), "{node}: {citation} is an empty line: {finding}");
        told += &all[first - 1..last].join("\n");
        told.push('\n');
    }
    told
}

/// Every file and line that any finding of a node cites is there.
fn citations_hold(run: &Run, told: &Told, node: &str) {
    for finding in told.findings(node) {
        for citation in finding["evidence"].as_array().unwrap() {
            cited(run, node, finding, citation["file"].as_str().unwrap());
        }
    }
}

/// Lets a node forget what tests before did to it: their traces stay in its journal for hours, and rightly so.
fn forget(node: &str) {
    on_node(node, "journalctl -q --rotate && journalctl -q --vacuum-time=1s && systemctl restart kubelet");
}

#[test]
#[ignore = "needs the fleet"]
fn healthy_nodes_give_no_warning_at_all() {
    for node in NINE {
        forget(node);
        rested(node);
    }
    let machine = Watch::start();
    let run = incident(NODES);
    let machine = machine.seen();
    assert_eq!(run.code, 0, "{}", run.said());
    let told = Told::of(&run);
    for node in NINE {
        let warnings = told.warnings(node, &machine);
        assert!(warnings.is_empty(), "{node}: {warnings:#?}\n{machine:?}");
        assert!(told.findings(node).len() > 10, "{node}: {:#?}", told.node(node));
        // Nothing is well for want of evidence: rules had the kubelet, dockerd and its containers to look at.
        for id in ["pleg/healthy", "relist/free", "runtime-hung/answers", "disk/well", "residual/well"] {
            assert!(told.findings(node).iter().any(|finding| finding["id"] == id), "{node}: {id} is not said");
        }
        citations_hold(&run, &told, node);
        if told.findings(node).iter().all(|finding| finding["severity"] == "info") {
            assert_eq!(told.verdict(node), WELL, "{node}");
        }
    }
}

#[test]
#[ignore = "needs the fleet"]
fn three_sick_nodes_of_nine_are_told_of_once_and_together() {
    const SICK: [&str; 3] = ["worker-003", "worker-005", "worker-008"];
    NINE.iter().for_each(|node| forget(node));
    let machine = Watch::start();
    let run = {
        let _faults = SICK.map(|node| Fault::new(node, &["containerd-stopped"]));
        incident(NODES)
    };
    let machine = machine.seen();
    assert_eq!(run.code, 10, "{}", run.said());
    let told = Told::of(&run);
    for node in NINE {
        let warnings = told.warnings(node, &machine);
        assert_eq!(!warnings.is_empty(), SICK.contains(&node), "{node}: {warnings:#?}\n{machine:?}");
    }
    assert!(told.sick().contains(&SICK.to_vec()), "{}", told.0["fleet"]);
    let whole = SICK.map(|node| (told.verdict(node), &told.node(node)["verdict"]["layer"]));
    assert!(whole.iter().all(|verdict| *verdict == whole[0]), "{whole:?}");
    assert_eq!(whole[0].1, "containerd", "{whole:?}");
    for format in ["text", "markdown"] {
        let text = report(&run.dir, format).replace('\\', "");
        // The timeline after it tells of nodes as things happened to them.
        let text = text.split("by the operator's clock").next().unwrap();
        assert_eq!(text.matches("worker-00[3,5,8]").count(), 1, "{text}");
        // Who stands for all is said; nobody else is told of by itself.
        assert!(
            !text.contains("worker-005") && !text.contains("worker-008"),
            "a sick node is told of by itself: {text}"
        );
        if machine.is_calm() {
            assert!(text.contains("worker-00[1-2,4,6-7,9]"), "{text}");
        }
    }
}

/// A finding that a fault has to give.
struct Expected {
    id: &'static str,
    severity: &'static str,
    layer: &'static str,
    /// A file it cites, and what stands in the cited lines.
    file: &'static str,
    words: &'static [&'static str],
}

/// A node's faults and what has to be said of it.
struct Row {
    node: &'static str,
    faults: &'static [&'static [&'static str]],
    layer: &'static str,
    verdict: &'static str,
    findings: &'static [Expected],
    /// Beginnings of the ids of other warnings that belong to it.
    besides: &'static [&'static str],
}

const fn grave(
    id: &'static str,
    severity: &'static str,
    layer: &'static str,
    file: &'static str,
    words: &'static [&'static str],
) -> Expected {
    Expected { id, severity, layer, file, words }
}

const HANG: &str = "kubelet-1.36.2-pleg-hang";
const KILLED: &[&str] = &["Memory cgroup out of memory: Killed process", "(busybox)"];
const ROWS: &[Row] = &[
    Row {
        node: "worker-001",
        faults: &[&["kubelet-set", HANG]],
        layer: "runtime",
        verdict: "runtime does not answer",
        findings: &[
            grave(
                "relist/runtime",
                "critical",
                "runtime",
                "kubelet/goroutine-2.txt",
                &["pleg.(*GenericPLEG).Relist(", "ListPodSandbox", "grpc.(*ClientConn).Invoke"],
            ),
            grave(
                "pleg/unhealthy",
                "critical",
                "runtime",
                "kubelet/journal.txt",
                &[
                    "PLEG is not healthy: pleg was last seen active 3m",
                    "last seen active 7m47",
                    "Node became not ready",
                ],
            ),
            grave(
                "runtime-calls/deadline",
                "critical",
                "runtime",
                "kubelet/journal.txt",
                &[
                    "\"ListPodSandbox with filter from runtime service failed\" err=\"rpc error: code = DeadlineExceeded",
                ],
            ),
        ],
        besides: &["relist-time/", "operations/", "standing/"],
    },
    Row {
        node: "worker-002",
        faults: &[&["dockershim"], &["dockerd-down"]],
        layer: "dockerd",
        verdict: "dockerd does not run",
        findings: &[grave("down/dockerd", "critical", "dockerd", "node/facts.json", &["docker.service", "inactive"])],
        besides: &[],
    },
    Row {
        node: "worker-003",
        faults: &[&["dockerd-frozen"]],
        layer: "dockerd",
        verdict: "dockerd ",
        findings: &[
            grave("runtime-hung/dockerd", "critical", "dockerd", "docker/ps.hung.txt", &["docker"]),
            grave("down/held", "critical", "dockerd", "host/ps.txt", &[" T ", "/usr/sbin/dockerd -H fd://"]),
        ],
        besides: &[],
    },
    Row {
        node: "worker-004",
        faults: &[&["containerd-stopped"]],
        layer: "containerd",
        verdict: "containerd ",
        findings: &[
            grave("runtime-hung/containerd", "critical", "containerd", "docker/info.hung.txt", &["docker"]),
            grave("down/held", "critical", "containerd", "host/ps.txt", &[" T ", "/usr/bin/containerd"]),
        ],
        besides: &["dockerd-locks/"],
    },
    Row {
        node: "worker-005",
        faults: &[&["disk-full"]],
        layer: "disk",
        verdict: "/",
        findings: &[grave("disk/full", "critical", "disk", "host/df.txt", &["fleet-worker-005", "100% /"])],
        besides: &[],
    },
    Row {
        node: "worker-006",
        faults: &[&["zombies"]],
        layer: "kernel",
        verdict: "zombies",
        findings: &[grave("tasks/zombies", "warning", "kernel", "host/ps.txt", &["sleep 2147483647", "<defunct>"])],
        besides: &[],
    },
    Row {
        node: "worker-007",
        faults: &[&["zombies", "container"]],
        layer: "kernel",
        verdict: "zombies",
        findings: &[grave("tasks/zombies", "warning", "kernel", "host/ps.txt", &["sleep 2147483647", "<defunct>"])],
        besides: &[],
    },
    Row {
        node: "worker-008",
        faults: &[&["memory-pressure", "kubepods"]],
        layer: "memory",
        verdict: "memory limit that many share",
        findings: &[grave("memory/shared-limit", "warning", "memory", "kernel/dmesg.txt", KILLED)],
        besides: &[],
    },
    Row {
        node: "worker-009",
        faults: &[&["memory-pressure"]],
        layer: "memory",
        verdict: "memory limit",
        findings: &[grave("memory/own-limit", "warning", "memory", "kernel/dmesg.txt", KILLED)],
        besides: &[],
    },
];

#[test]
#[ignore = "needs the fleet"]
fn what_ails_a_node_is_recognised_by_lines_that_show_it() {
    NINE.iter().for_each(|node| forget(node));
    // Those of the hang last: in its journal the latest line was written a moment ago.
    let faults: Vec<Fault> =
        ROWS.iter().rev().flat_map(|row| row.faults.iter().map(|fault| Fault::new(row.node, fault))).collect();
    let machine = Watch::start();
    let run = incident(NODES);
    let machine = machine.seen();
    drop(faults);
    let told = Told::of(&run);
    let mut wrong = Vec::new();
    for row in ROWS {
        let node = row.node;
        let mut miss = |what: String| wrong.push(format!("{node} {:?}: {what}", row.faults));
        for expected in row.findings {
            let Some(finding) = told.findings(node).iter().find(|finding| finding["id"] == expected.id) else {
                miss(format!("{} is not found", expected.id));
                continue;
            };
            if finding["severity"] != expected.severity || finding["layer"] != expected.layer {
                miss(format!("expected {} of {}: {finding}", expected.severity, expected.layer));
            }
            let lines = cited(&run, node, finding, expected.file);
            for words in expected.words.iter().filter(|words| !lines.contains(*words)) {
                miss(format!("no {words:?} in the lines of {} that are cited: {lines}\n{finding}", expected.file));
            }
        }
        for other in told.warnings(node, &machine) {
            let id = other["id"].as_str().unwrap();
            if !row.findings.iter().any(|e| e.id == id) && !row.besides.iter().any(|start| id.starts_with(start)) {
                miss(format!("not the node's: {other}"));
            }
        }
        // A busy machine may weigh more than a warning.
        let sure = machine.is_calm() || row.findings.iter().any(|expected| expected.severity == "critical");
        let blamed = told.node(node)["verdict"]["layer"] == row.layer && told.verdict(node).contains(row.verdict);
        if sure && !blamed {
            miss(format!("expected a verdict on {}: {:?}: {}", row.layer, row.verdict, told.node(node)["verdict"]));
        }
        citations_hold(&run, &told, node);
    }
    assert!(wrong.is_empty(), "{}\n{machine:?}", wrong.join("\n"));
    times_are_right(&run, &told, ROWS[0].node);
}

/// The end of relist, 7m47.9s before the hang's last line, is told to the second.
fn times_are_right(run: &Run, told: &Told, node: &str) {
    let journal = String::from_utf8(run.file(node, "kubelet/journal.txt")).unwrap();
    let last = journal.lines().rfind(|line| line.contains("PLEG is not healthy")).unwrap();
    let stamp = last.split(' ').next().unwrap().replace("+0000", "Z");
    let active = stamp.parse::<Timestamp>().unwrap() - SignedDuration::from_millis(467_915);
    let finding = told.findings(node).iter().find(|finding| finding["id"] == "pleg/unhealthy").unwrap();
    let sentence = finding["sentence"].as_str().unwrap();
    let said =
        [-1, 0, 1].map(|off| (active + SignedDuration::from_secs(off)).strftime("%b %d %H:%M:%S UTC").to_string());
    assert!(said.iter().any(|time| sentence.contains(time)), "{said:?}: {sentence}");
    assert!(sentence.contains("7m47s"), "{sentence}");
}
