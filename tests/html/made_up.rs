//! Nodes made up for pages: rich ones, sick ones, and texts as a hostile node would send them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use plegcollect::analyze::figures::{Figures, GoroutineGroup, Goroutines, Latency, Operation};
use plegcollect::analyze::finding::{Citation, Finding, Layer, Severity};
use plegcollect::analyze::moment::{Moment, MomentKind};
use plegcollect::analyze::node::{NodeAnalysis, analyze};
use plegcollect::analyze::steps::StepSpan;
use plegcollect::analyze::verdict::Verdict;
use plegcollect::analyze::view::NodeView;
use plegcollect::bundle::Manifest;
use plegcollect::bundle::manifest::FORMAT;
use plegcollect::evidence::Outcome;
use plegcollect::inventory::NodeName;
use plegcollect::report::analysis::{Analysis, Unreadable};
use plegcollect::report::html::{self, Spool};
use serde_json::json;

/// Breaks out of everything it may stand in, if it can.
pub(crate) const EVIL: &str =
    "\"'><script>window.__pwned=1</script><img src=x onerror=window.__pwned=2>`${window.__pwned=3}`";
/// The same as the name of a file.
pub(crate) const EVIL_FILE: &str = "docker/a\"'><img src=x onerror=window.__pwned=4><script>window.__pwned=5<!--.txt";
/// Line of the log that holds [`EVIL`].
pub(crate) const EVIL_LINE: u64 = 40_123;

fn start() -> Timestamp {
    "2026-11-20T02:41:10Z".parse().unwrap()
}

fn at(seconds: i64) -> Timestamp {
    start().checked_add(SignedDuration::from_secs(seconds)).unwrap()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Hang,
    Disk,
    Well,
}

const fn kind(number: usize, all: usize) -> Kind {
    match number {
        _ if all == 1 => Kind::Hang,
        2 | 4 | 7 => Kind::Hang,
        n if n > 8 && n % 17 == 0 => Kind::Disk,
        _ => Kind::Well,
    }
}

/// Writes a page about so many nodes and returns where.
pub(crate) fn report(dir: &Path, nodes: usize) -> PathBuf {
    sized(dir, nodes, 1)
}

/// The same with evidence `size` times as large.
pub(crate) fn sized(dir: &Path, nodes: usize, size: usize) -> PathBuf {
    let (mut spool, mut taking) = (Spool::new().unwrap(), Duration::ZERO);
    let analyses: Vec<NodeAnalysis> =
        (1..=nodes).map(|number| node(dir, number, nodes, size, &mut spool, &mut taking)).collect();
    let unreadable = vec![Unreadable { path: format!("worker-{EVIL}.tar.zst"), reason: "it is cut off".to_owned() }];
    let mut analysis = Analysis::new(analyses, None, if nodes == 9 { unreadable } else { Vec::new() });
    if let Some(group) = analysis.fleet.groups.first_mut().filter(|_| nodes > 1) {
        group.shared = vec!["kernel 5.10.0-9-amd64".to_owned(), "containerd 1.6.8".to_owned()];
    }
    let path = dir.join(format!("report-{nodes}.html"));
    let begin = Instant::now();
    html::write_file(&path, &analysis, spool).unwrap();
    if size > 1 {
        eprintln!("taken in, all nodes: {taking:?}; written: {:?}", begin.elapsed());
    }
    path
}

fn node(dir: &Path, number: usize, all: usize, size: usize, spool: &mut Spool, taking: &mut Duration) -> NodeAnalysis {
    let name: NodeName = format!("worker-{number:03}").parse().unwrap();
    let kind = kind(number, all);
    let files = dir.join(name.as_str());
    evidence(&files, kind, size);
    let view = NodeView::of_dir(name.clone(), Some(manifest(&name, kind)), Vec::new(), files.clone());
    let mut node = analyze(&view, format!("/incidents/plegcollect-20261120T024110Z/{name}.tar.zst"));
    node.about.kernel = Some(if kind == Kind::Hang { "5.10.0-9-amd64" } else { "6.1.0-30-amd64" }.to_owned());
    node.about.os = Some("Debian GNU/Linux 12 (bookworm)".to_owned());
    node.about.kubelet = Some("v1.30.4".to_owned());
    node.about.runtime = Some(if number.is_multiple_of(5) { EVIL.to_owned() } else { "docker 20.10.24".to_owned() });
    node.about.containerd = Some("1.6.20".to_owned());
    node.about.cpus = Some(16);
    node.about.memory_kib = Some(65_805_312);
    node.about.collected = Some(at(210));
    node.about.clock_offset_ms = Some(-340);
    node.about.run = Some("20261120T024110Z".to_owned());
    node.findings = findings(&name, kind);
    node.verdict = verdict(kind);
    node.figures = figures(kind, number);
    node.moments = moments(&name, kind, number);
    node.steps = steps(kind);
    let begin = Instant::now();
    spool.take(&view, &node).unwrap();
    *taking += begin.elapsed();
    // One node's evidence is there at a time.
    fs::remove_dir_all(files).unwrap();
    node
}

fn verdict(kind: Kind) -> Verdict {
    let (layer, sentence) = match kind {
        Kind::Hang => (
            Some(Layer::Containerd),
            "runtime does not answer: ListContainers; dockerd lock held by ContainerStop, which waits for containerd",
        ),
        Kind::Disk => (Some(Layer::Disk), "/var/lib/docker is full but for 1.1 %"),
        Kind::Well => (None, "nothing wrong was recognised"),
    };
    Verdict { layer, sentence: sentence.to_owned() }
}

fn findings(name: &NodeName, kind: Kind) -> Vec<Finding> {
    let of = |id: &str, severity, text: &str| Finding::new(name, id, severity, text);
    let mut list = match kind {
        Kind::Hang => vec![
            of(
                "relist/runtime",
                Severity::Critical,
                "relist waits in gRPC ListContainers in both samples: the runtime gives no answer; PLEG was last active 14 minutes before",
            )
            .blames(Layer::Runtime)
            .cites("kubelet/goroutine-1.txt", 12, 31)
            .cites("kubelet/journal.txt", EVIL_LINE - 3, EVIL_LINE + 2)
            .then("Look at who holds dockerd's container lock: docker/stacks/1.log names the goroutine; do not restart before."),
            of(
                "dockerd-locks/convoy",
                Severity::Critical,
                &format!("412 goroutines of dockerd wait for the lock of container web-{EVIL}, held by ContainerStop"),
            )
            .blames(Layer::Dockerd)
            .cites("docker/stacks/1.log", 3, 9)
            .then("Ask containerd for the task of that container: ctr -n moby tasks ls."),
            of("runtime-calls/deadline", Severity::Warning, "calls of the runtime ran out of time 96 times in 31 minutes")
                .cites("kubelet/journal.txt", 59_000, 59_004),
            of("disk/missing", Severity::Info, "host/iostat.txt is missing: the tool is not installed, so waits of disks are unknown"),
        ],
        Kind::Disk => vec![
            of("disk/full", Severity::Warning, "/var/lib/docker is full but for 1.1 % (3.2 GB of 290 GB)")
                .blames(Layer::Disk)
                .cites("host/df.txt", 4, 4)
                .then("Make room: docker system df tells what takes it."),
        ],
        Kind::Well => Vec::new(),
    };
    list.push(of("memory/well", Severity::Info, "memory is not short: 41 GB available, no stall in 5 minutes").cites(
        "host/free.txt",
        2,
        2,
    ));
    if kind == Kind::Well {
        list.push(of("relist/well", Severity::Info, "relist is not blocked; the runtime answers in 30 ms"));
    }
    list
}

fn latency(scale: f64, count: f64) -> Latency {
    Latency {
        between_scrapes: true,
        count: Some(count),
        mean: Some(0.041 * scale),
        p50: Some(0.030 * scale),
        p90: Some(0.078 * scale),
        p99: Some(0.19 * scale),
        ..Latency::default()
    }
}

fn figures(kind: Kind, number: usize) -> Figures {
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let own = 1.0 + (number % 13) as f64 / 10.0;
    let scale = if kind == Kind::Hang { 700.0 } else { own };
    let kinds = ["list_containers", "list_podsandbox", "container_status", "podsandbox_status", "version", EVIL];
    let operations = kinds.iter().enumerate().map(|(at, kind_of)| Operation {
        kind: (*kind_of).to_owned(),
        errors: if kind == Kind::Hang && at < 2 { 48.0 } else { 0.0 },
        latency: latency(if at < 3 { scale } else { own * 0.3 }, 1200.0 / own),
    });
    let dumps = [("kubelet", "kubelet/goroutine-1.txt", 1), ("kubelet", "kubelet/goroutine-2.txt", 2)];
    let docker = [("dockerd", "docker/stacks/1.log", 1), ("dockerd", "docker/stacks/2.log", 2)];
    let crowd = if kind == Kind::Hang { 412 } else { 3 };
    Figures {
        relist: Some(latency(scale, 240.0)),
        relist_interval: Some(latency(scale.max(10.0) * 4.0, 239.0)),
        operations: operations.collect(),
        goroutines: dumps
            .iter()
            .map(|dump| goroutines(dump, 40 + number as u64 % 7, 900))
            .chain(docker.iter().map(|dump| goroutines(dump, crowd, 260)))
            .collect(),
        gauges: [("memory available, KiB".to_owned(), 41_234_567.0), (format!("pods {EVIL}"), 87.0)].into(),
        ..Figures::default()
    }
}

fn goroutines(&(process, file, sample): &(&str, &str, u8), waiting: u64, others: u64) -> Goroutines {
    let states = vec![
        ("select".to_owned(), others),
        ("semacquire".to_owned(), waiting),
        ("IO wait".to_owned(), others / 3),
        ("chan receive".to_owned(), others / 4),
        ("syscall".to_owned(), 12),
        ("running".to_owned(), 1),
        (EVIL.to_owned(), 2),
    ];
    let frames = [
        "sync.runtime_SemacquireMutex",
        "sync.(*Mutex).lockSlow",
        "github.com/docker/docker/daemon.(*Daemon).ContainerInspectCurrent",
        EVIL,
    ];
    let groups = states
        .iter()
        .map(|(state, count)| GoroutineGroup {
            count: *count,
            state: state.clone(),
            minutes: if state == "semacquire" { 14 } else { 0 },
            place: "daemon.(*Daemon).ContainerInspectCurrent".to_owned(),
            frames: frames.iter().map(|frame| (*frame).to_owned()).collect(),
            at: Citation { file: file.to_owned(), lines: Some((12, 31)) },
        })
        .collect();
    Goroutines {
        process: process.to_owned(),
        sample,
        file: file.to_owned(),
        total: states.iter().map(|(_, count)| count).sum(),
        states,
        groups,
        ..Goroutines::default()
    }
}

fn moments(name: &NodeName, kind: Kind, number: usize) -> Vec<Moment> {
    use MomentKind::{
        ClusterEvent, Deadlines, Kernel, NotReady, OomKill, OurChange, OurSample, PlegHealthy, PlegUnhealthy, Ready,
        Start,
    };
    let shift = number as i64 % 11 * 13;
    let moment = |from: i64, until: Option<i64>, count, kind, severity, text: &str| Moment {
        time: at(from + shift),
        until: until.map(|until| at(until + shift)),
        count,
        node: name.clone(),
        kind,
        severity,
        text: text.to_owned(),
        citation: Some(Citation { file: "kubelet/journal.txt".to_owned(), lines: Some((EVIL_LINE, EVIL_LINE)) }),
    };
    let mut list = vec![moment(-3_000_000, None, 1, Start, Severity::Info, "kubelet started, v1.30.4")];
    if kind == Kind::Hang {
        list.extend([
            moment(-2900, Some(-2860), 7, Deadlines, Severity::Warning, "ListContainers ran out of time"),
            moment(-2700, Some(-2450), 50, PlegUnhealthy, Severity::Critical, &format!("PLEG is not healthy {EVIL}")),
            moment(-2690, None, 1, NotReady, Severity::Critical, "NotReady: PLEG is not healthy"),
            moment(-2440, None, 1, PlegHealthy, Severity::Info, "PLEG healthy again"),
            moment(-2430, None, 1, Ready, Severity::Info, "Ready"),
            moment(-1500, None, 1, OomKill, Severity::Warning, "java was killed for want of memory in its group"),
            moment(-1400, None, 1, Kernel, Severity::Warning, "task dockerd:812 blocked for more than 120 seconds"),
            moment(-1200, Some(150), 96, Deadlines, Severity::Warning, "ListContainers ran out of time"),
            moment(-840, Some(160), 200, PlegUnhealthy, Severity::Critical, "PLEG is not healthy"),
            moment(-830, None, 1, NotReady, Severity::Critical, "NotReady: PLEG is not healthy"),
            moment(-700, None, 3, ClusterEvent, Severity::Info, "Killing: stopping container web"),
        ]);
    }
    if number.is_multiple_of(2) || kind != Kind::Well {
        list.push(moment(20, None, 1, OurSample, Severity::Info, "goroutines of the kubelet, 1st sample"));
        list.push(moment(55, Some(75), 1, OurChange, Severity::Info, "dockerd logged at debug level, put back"));
        list.push(moment(90, None, 1, OurSample, Severity::Info, "goroutines of the kubelet, 2nd sample"));
    }
    list
}

fn steps(kind: Kind) -> Vec<StepSpan> {
    let step = |id: &str, from: i64, took, outcome, detail: Option<&str>, bytes| StepSpan {
        id: id.to_owned(),
        started: (outcome != Outcome::Lost).then(|| at(from)),
        took_ms: (outcome != Outcome::Lost).then_some(took),
        outcome,
        detail: detail.map(str::to_owned),
        bytes,
    };
    let mut steps: Vec<StepSpan> = (0..42)
        .map(|n| {
            step(
                &format!("host/step-{n:02}"),
                2 + n * 2,
                300 + n as u64 * 71 % 2900,
                Outcome::Complete,
                None,
                n as u64 * 7919,
            )
        })
        .collect();
    if kind == Kind::Hang {
        steps.push(step("docker/ps", 90, 30, Outcome::Complete, None, 1200));
        steps.push(step(
            "docker/info",
            91,
            20_000,
            Outcome::TimedOut,
            Some(&format!("no answer within 20 s {EVIL}")),
            0,
        ));
        steps.push(step("cri/ps", 92, 15_000, Outcome::Failed, Some("exit status 1: context deadline exceeded"), 212));
        steps.push(step("kubelet/journal", 95, 4200, Outcome::Truncated, Some("12 MB left out"), 8_400_000));
        steps.push(step("host/iostat", 99, 10, Outcome::Absent, Some("iostat is not installed"), 0));
    }
    steps.push(step("net/conntrack", 0, 0, Outcome::Lost, Some("the link ended before its turn"), 0));
    steps
}

fn manifest(name: &NodeName, kind: Kind) -> Manifest {
    let change = |id, state, text: &str| json!({"change": id, "subject": "dockerd", "state": state, "text": text});
    let mut changes =
        vec![change("dockerd-debug", "reverted", "debug level for 20 s, put back and seen to be as before.")];
    if kind == Kind::Hang {
        changes.push(change("stack-dump", "refused", EVIL));
    }
    let before = json!({"dockerd": {"pid": 812, "start-ticks": 77}});
    serde_json::from_value(json!({
        "format": FORMAT, "run-id": "20261120T024110Z", "node": name, "started": at(0), "tool-version": "0.1.0",
        "finished": at(210), "steps": [], "changes": changes,
        "restart-proof": {"before": before, "after": before},
        "reason": (kind == Kind::Hang).then_some("the node's time was spent"),
    }))
    .unwrap()
}

fn evidence(dir: &Path, kind: Kind, size: usize) {
    let write = |name: &str, text: String| {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let lines = if kind == Kind::Hang { 60_000 } else { 400 * size as u64 };
    let log = (1..=lines).map(|n| {
        let text = if n == EVIL_LINE { EVIL } else { "PLEG is not healthy: pleg was last seen active 3m12s ago" };
        format!(
            "Nov 20 02:{:02}:{:02} worker kubelet[812]: E1120 line {n} kubelet.go:2419] {text}\n",
            n / 60 % 60,
            n % 60
        )
    });
    write("kubelet/journal.txt", log.collect());
    let frames = "goroutine 12 [select, 2 minutes]:\nk8s.io/kubernetes/pkg/kubelet/pleg.(*GenericPLEG).Relist(0xc0001)\n\t/pleg/generic.go:220 +0x1a\n\n";
    for name in ["kubelet/goroutine-1.txt", "kubelet/goroutine-2.txt", "docker/stacks/1.log", "docker/stacks/2.log"] {
        write(name, frames.repeat(size * if kind == Kind::Hang { 500 } else { 20 }));
    }
    for name in [
        "host/df.txt",
        "host/free.txt",
        "host/top-1.txt",
        "host/ps.txt",
        "kernel/dmesg.txt",
        "docker/ps.txt",
        "net/sockets.txt",
    ] {
        write(name, format!("{name}\n{EVIL}\n\u{1b}[31mred\u{1b}[0m ev\u{202e}li\n").repeat(20 * size));
    }
    for n in 1..size * 3 {
        let line = |m: usize| format!("{m} a b c {} of file {n}\n", m.wrapping_mul(2_654_435_761) % 1_000_003);
        write(&format!("host/more-{n}.txt"), (0..2000).map(line).collect());
    }
    write("containerd/heap.pb.gz", "\u{1f}\0\0".to_owned());
    write(EVIL_FILE, EVIL.to_owned());
    write("kubelet/empty.txt", String::new());
}
