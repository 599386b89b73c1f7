//! What a large run costs: the program as a process of its own against nodes inside this one, so
//! that memory and processor time are the program's alone. Prints figures; asserts that memory
//! depends on the nodes in flight and not on the size of evidence or the length of the run.
//!
//! `cargo test --test scale -- --ignored --nocapture --test-threads 1`

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "clippy exempts test functions, not what they share"
)]

#[allow(dead_code, unreachable_pub, reason = "shared by several test programs")]
#[path = "common/ssh_node.rs"]
mod ssh_node;

use std::fs;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::Value;
use ssh_node::{Lab, Manner};

/// A step without a cap that counts.
const LARGE: &str = "[[step]]\nid = \"t/large\"\nabout = \"a test\"\ntimeout = \"300s\"\nmax-bytes = \"1GB\"\n\
                     [[step.try]]\nscript = \"true\"\n";

/// What a run took.
struct Cost {
    wall: Duration,
    cpu: Duration,
    /// Highest resident set, MiB.
    rss: u64,
    /// Most open files and threads that were seen.
    files: usize,
    threads: usize,
    /// Bytes handed to `write` by the process, MiB.
    written: u64,
    connections: usize,
    record: Value,
    summary: usize,
}

/// Collects `nodes` nodes, each step of which brings `bytes`.
async fn collect(nodes: usize, bytes: usize, args: &[&str]) -> Cost {
    let lab = Lab::new();
    let node = lab.node(Manner { canned: Some(bytes), ..Manner::default() }).await;
    let names: Vec<_> = (1..=nodes).map(|i| (format!("node-{i:04}"), node.port)).collect();
    // The nodes share a loaded machine with the program: what is measured is not their patience.
    let patience = "connect-timeout = \"120s\"\nauth-timeout = \"120s\"\n";
    lab.inventory(&names, patience, LARGE);
    let clock = Instant::now();
    let mut child =
        lab.plegcollect(&[&["--quiet"], args].concat()).stdout(std::process::Stdio::null()).spawn().unwrap();
    let proc = format!("/proc/{}", child.id().unwrap());
    let (mut rss, mut files, mut threads, mut cpu, mut written) = (0, 0, 0, Duration::ZERO, 0);
    let status = loop {
        if let Ok(status) = tokio::time::timeout(Duration::from_millis(50), child.wait()).await {
            break status.unwrap();
        }
        let text = fs::read_to_string(format!("{proc}/status")).unwrap_or_default();
        let field = |text: &str, name: &str| -> Option<u64> {
            text.lines().find_map(|l| l.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
        };
        rss = field(&text, "VmHWM:").map_or(rss, |kib| kib / 1024);
        threads = threads.max(field(&text, "Threads:").unwrap_or(0) as usize);
        files = files.max(fs::read_dir(format!("{proc}/fd")).map_or(0, Iterator::count));
        let io = fs::read_to_string(format!("{proc}/io")).unwrap_or_default();
        written = field(&io, "wchar:").map_or(written, |b| b >> 20);
        let stat = fs::read_to_string(format!("{proc}/stat")).unwrap_or_default();
        if let Some((_, rest)) = stat.rsplit_once(") ") {
            let ticks: Vec<u64> = rest.split(' ').skip(11).take(2).filter_map(|w| w.parse().ok()).collect();
            cpu = cpu.max(Duration::from_millis(ticks.iter().sum::<u64>() * 10));
        }
    };
    let wall = clock.elapsed();
    let dir = lab.run_dir().unwrap();
    let record: Value = serde_json::from_slice(&fs::read(dir.join("run.json")).unwrap()).unwrap();
    assert_eq!(status.code(), Some(0), "{}", fs::read_to_string(dir.join("SUMMARY.md")).unwrap_or_default());
    assert_eq!(record["nodes"].as_array().unwrap().len(), nodes);
    let cost = Cost {
        wall,
        cpu,
        rss,
        files,
        threads,
        written,
        connections: node.seen.most_connections.load(Ordering::SeqCst),
        summary: fs::read(dir.join("SUMMARY.md")).unwrap().len(),
        record,
    };
    println!(
        "{nodes} nodes, {bytes} bytes a step, {args:?}: {:.1} s wall, {:.1} s cpu, {} MiB peak, {} files, {} threads, \
         {} MiB written, {} connections at once, {} commands, run.json and SUMMARY.md {} + {} KiB",
        cost.wall.as_secs_f64(),
        cost.cpu.as_secs_f64(),
        cost.rss,
        cost.files,
        cost.threads,
        cost.written,
        cost.connections,
        node.seen.commands.load(Ordering::SeqCst),
        cost.record.to_string().len() >> 10,
        cost.summary >> 10,
    );
    cost
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes"]
async fn a_thousand_nodes_cost_no_more_memory_than_a_hundred() {
    let hundred = collect(100, 2_000, &["--include", "host"]).await;
    let thousand = collect(1000, 2_000, &["--include", "host"]).await;
    // Seen from the nodes, which learn of an end a little later.
    assert!(thousand.connections <= 72, "{}", thousand.connections);
    // The record of the run grows with it, a few KiB a node.
    assert!(thousand.rss < hundred.rss + 48, "{} MiB, {} MiB", hundred.rss, thousand.rss);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes"]
async fn memory_does_not_depend_on_the_size_of_evidence() {
    let include = ["--include", "t", "--parallel", "8"];
    let small = collect(8, 4_000_000, &include).await;
    let large = collect(8, 40_000_000, &include).await;
    assert!(large.rss < small.rss + 32, "{} MiB, {} MiB", small.rss, large.rss);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes"]
async fn a_thousand_nodes_at_once_get_through() {
    let all = collect(1000, 2_000, &["--parallel", "1000", "--include", "host"]).await;
    assert!(all.connections > 600, "more than tokio's 512 blocking threads: {}", all.connections);
}
