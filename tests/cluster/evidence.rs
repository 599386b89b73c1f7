//! The cluster's part of a whole run: its bundle, its outcomes, its line in the record, and what a dead API server costs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use plegcollect::bundle::{Bundle, BundleOptions, RedactConfig, Redactor, RunDir, RunRecord, verify};
use plegcollect::cluster::Cluster;
use plegcollect::collect::{ClusterRun, OpenChanges, RunIdentity, RunOptions, RunOutcome, Shutdown, run};
use plegcollect::credential::OnSecret;
use plegcollect::event::{ClusterSummary, NodeResult};
use plegcollect::evidence::{Outcome, StepRecord};
use plegcollect::inventory::Target;
use plegcollect::inventory::access::ClusterSettings;
use plegcollect::inventory::target::{Reach, Sudo};
use plegcollect::plan::{CLUSTER_STEPS, Catalog, Selection};
use plegcollect::session::{Connector, ConnectorOptions};

use crate::server::{ApiServer, Asked, Ca, Reply, fixture, say};
use crate::{TOKEN, by_address};

const NAMES: &[&str] = &["127.0.0.1"];

struct Ran {
    outcome: RunOutcome,
    dir: RunDir,
    took: Duration,
    _out: tempfile::TempDir,
}

impl Ran {
    fn cluster(&self) -> &ClusterSummary {
        self.outcome.cluster.as_ref().unwrap()
    }

    fn records(&self) -> Vec<StepRecord> {
        Bundle::open(self.cluster().bundle.as_ref().unwrap()).unwrap().manifest().unwrap().unwrap().steps
    }

    fn text(&self, file: &str) -> String {
        let mut out = Vec::new();
        Bundle::open(self.cluster().bundle.as_ref().unwrap()).unwrap().cat(file, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }
}

/// Collects one step from these names of this machine, and the cluster beside them.
async fn collect(names: &[&str], settings: &ClusterSettings, shutdown: &Shutdown) -> Ran {
    let redactor = Arc::new(Redactor::new(&RedactConfig::default()).unwrap());
    let learning = Arc::clone(&redactor);
    let on_secret: OnSecret = Arc::new(move |secret| learning.learn(secret));
    let cluster = Cluster::open(settings, &on_secret).unwrap();
    let out = tempfile::tempdir().unwrap();
    let dir = RunDir::create(out.path(), Timestamp::now(), None).unwrap();
    let mut record = RunRecord::new(&dir.run_id, Timestamp::now());
    let target = |name: &&str| Target {
        name: name.parse().unwrap(),
        reach: Reach::Local,
        sudo: Sudo::Never,
        parallel_steps: 2,
        groups: Vec::new(),
    };
    let selection = Selection {
        include: ["host/meminfo", "cluster"].iter().map(|s| s.parse().unwrap()).collect(),
        ..Selection::default()
    };
    let options = RunOptions {
        targets: names.iter().map(target).collect(),
        catalog: Catalog::builtin(),
        cluster: Some(ClusterRun { cluster, steps: selection.cluster_steps() }),
        selection,
        parallel: 8,
        node_deadline: Duration::from_secs(120),
        run_deadline: None,
        bundle: BundleOptions { reserve_bytes: 0, ..BundleOptions::new(redactor) },
        max_run_bytes: None,
        sudo_password: None,
        kubelet: plegcollect::kubelet::KubeletAccess::none(),
        open: OpenChanges::default(),
        run: RunIdentity {
            run_id: dir.run_id.clone(),
            command_line: Vec::new(),
            operator: "me@here".to_owned(),
            way: String::new(),
            spelled: std::collections::BTreeMap::new(),
        },
    };
    let (events, mut queue) = plegcollect::event::channel();
    let drain = tokio::spawn(async move { while queue.recv().await.is_some() {} });
    let clock = Instant::now();
    let connector = Connector::new(ConnectorOptions::default());
    let outcome = run(options, connector, &dir, &mut record, &events, shutdown).await.unwrap();
    let took = clock.elapsed();
    drop(events);
    drain.await.unwrap();
    assert_eq!(RunRecord::load(&dir.path).unwrap().cluster, outcome.cluster);
    Ran { outcome, dir, took, _out: out }
}

/// Answers everything, with what a real API server said where it is known.
fn well(asked: &Asked) -> Reply {
    let list = |items: &str| Reply::Say(200, format!(r#"{{"metadata":{{}},"items":[{items}]}}"#).into_bytes());
    match asked.path.as_str() {
        "/version" => say("version.json"),
        "/readyz?verbose" => say("readyz-verbose.txt"),
        "/livez?verbose" => say("livez-verbose.txt"),
        "/metrics" => say("metrics-excerpt.txt"),
        "/debug/pprof/goroutine?debug=1" => say("goroutine-debug1.txt"),
        "/api/v1/nodes/vm" => say("node.json"),
        "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/vm" => {
            Reply::Say(200, br#"{"metadata":{"name":"vm"},"spec":{"renewTime":"2026-11-20T21:28:00Z"}}"#.to_vec())
        }
        path if path.starts_with("/api/v1/events?fieldSelector=involvedObject.kind%3DNode&limit=500") => {
            list(r#"{"metadata":{"name":"vm.1"},"reason":"NodeNotReady"}"#)
        }
        path if path.starts_with("/api/v1/events?fieldSelector=reason%3D") => list(""),
        _ => Reply::Say(404, br#"{"kind":"Status","reason":"NotFound","message":"not found"}"#.to_vec()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_there_is_comes_into_the_bundle_of_the_cluster() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let server = ApiServer::start(&ca, NAMES, well).await;
    let settings = by_address(dir.path(), &ca, &[&server]);
    let ran = collect(&["vm"], &settings, &Shutdown::new()).await;
    let summary = ran.cluster();
    assert!(summary.complete, "{summary:?}");
    assert_eq!(summary.text, "9 of 9 steps");
    assert_eq!(summary.bundle.as_deref(), Some(&*ran.dir.path.join("cluster.tar.zst")));
    let report = verify(summary.bundle.as_ref().unwrap()).unwrap();
    assert!(report.is_ok(), "{:?}", report.problems);
    let records = ran.records();
    let ids: Vec<&str> = records.iter().map(|r| r.id.as_str()).collect();
    assert_eq!(ids, CLUSTER_STEPS.iter().map(|s| s.id).collect::<Vec<_>>());
    assert!(records.iter().all(|r| r.outcome == Outcome::Complete && r.files.len() == 1), "{records:?}");
    for (file, want) in [
        ("cluster/version.json", "version.json"),
        ("cluster/readyz.txt", "readyz-verbose.txt"),
        ("cluster/metrics.txt", "metrics-excerpt.txt"),
        ("cluster/goroutines.txt", "goroutine-debug1.txt"),
    ] {
        assert!(ran.text(file).as_bytes() == fixture(want), "{file} is what was served");
    }
    assert_eq!(ran.text("cluster/nodes.jsonl").lines().count(), 1);
    assert!(ran.text("cluster/leases.jsonl").contains("renewTime"));
    assert!(ran.text("cluster/node-events.jsonl").contains("NodeNotReady"));
    assert_eq!(ran.text("cluster/image-events.jsonl"), "");
    assert_eq!(ran.outcome.nodes[0].result, NodeResult::Complete);
    assert_eq!(records[4].command, format!("GET {}/metrics", server.url()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_costs_seconds_and_its_own_steps() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let one = ApiServer::start(&ca, NAMES, |_| Reply::Hang).await;
    let two = ApiServer::start(&ca, NAMES, well).await;
    let settings = by_address(dir.path(), &ca, &[&one, &two]);
    let ran = collect(&["vm"], &settings, &Shutdown::new()).await;
    assert!(ran.took < Duration::from_secs(9), "{:?}", ran.took);
    let summary = ran.cluster();
    let why = "the API server did not answer within 5s";
    assert_eq!(summary.text, format!("9 of 14 steps; API server {}: {why}", one.url()));
    assert!(!summary.complete);
    assert_eq!(summary.missing, [format!("cluster/version: timed-out: {why}")], "the reason is told once");
    let records = ran.records();
    let of = |id: &str| records.iter().find(|r| r.id.as_str() == id).unwrap_or_else(|| panic!("{id}: {records:?}"));
    assert_eq!(of("cluster/version").outcome, Outcome::TimedOut);
    let metrics = of("cluster/metrics");
    assert_eq!((metrics.outcome, metrics.detail.clone()), (Outcome::Failed, Some(format!("not tried: {why}"))));
    assert_eq!(of("cluster/api-2/metrics").outcome, Outcome::Complete);
    assert_eq!(of("cluster/api-2/nodes").outcome, Outcome::Complete, "objects come from the one that answers");
    assert_eq!(one.paths(), ["/version"]);
    assert_eq!(ran.outcome.nodes[0].result, NodeResult::Complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_is_asked_nothing_more() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let server = ApiServer::start(&ca, NAMES, |asked| match asked.path.as_str() {
        "/version" => say("version.json"),
        _ => Reply::Close,
    })
    .await;
    let settings = by_address(dir.path(), &ca, &[&server]);
    let ran = collect(&["vm"], &settings, &Shutdown::new()).await;
    assert_eq!(server.paths(), ["/version", "/debug/pprof/goroutine?debug=1"]);
    let summary = ran.cluster();
    assert!(
        summary.text.starts_with(&format!("1 of 9 steps; API server {}: not reached: ", server.url())),
        "{summary:?}"
    );
    assert_eq!(summary.missing.len(), 1, "{summary:?}");
    assert_eq!((summary.steps.complete, summary.steps.failed), (1, 8));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_missing_and_the_rest_is_there() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let server = ApiServer::start(&ca, NAMES, |asked| match asked.path.as_str() {
        "/metrics" => say("403-metrics.json"),
        "/debug/pprof/goroutine?debug=1" => Reply::Cut(b"goroutine profile: total 7\n".to_vec()),
        "/livez?verbose" => say("429-too-many-requests.txt"),
        // A server that sends our token back, as a proxy with debug pages does.
        "/readyz?verbose" => Reply::Say(200, asked.authorization.trim_start_matches("Bearer ").as_bytes().to_vec()),
        _ => well(asked),
    })
    .await;
    let settings = by_address(dir.path(), &ca, &[&server]);
    let ran = collect(&["vm", "unknown-1"], &settings, &Shutdown::new()).await;
    let summary = ran.cluster();
    assert_eq!(summary.text, "6 of 9 steps");
    let missing = summary.missing.join("\n");
    assert!(
        missing
            .contains("cluster/metrics: failed: HTTP 403 (Forbidden): forbidden: User \"no-rights\" cannot get path"),
        "{missing}"
    );
    assert!(missing.contains("cluster/goroutines: failed: the API server closed the connection"), "{missing}");
    assert!(missing.contains("cluster/livez: failed: HTTP 429"), "{missing}");
    assert_eq!(ran.text("cluster/goroutines.txt"), "goroutine profile: total 7\n");
    assert!(!ran.text("cluster/readyz.txt").contains(TOKEN));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_called_cluster_keeps_its_name() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let server = ApiServer::start(&ca, NAMES, well).await;
    let settings = by_address(dir.path(), &ca, &[&server]);
    let ran = collect(&["cluster", "vm"], &settings, &Shutdown::new()).await;
    assert_eq!(ran.cluster().bundle.as_deref(), Some(&*ran.dir.path.join("cluster-api.tar.zst")));
    assert!(ran.dir.path.join("cluster.tar.zst").exists());
    assert_eq!(ran.outcome.nodes.len(), 2);
    assert!(verify(ran.cluster().bundle.as_ref().unwrap()).unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_stopped_does_not_wait_for_the_cluster() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let shutdown = Shutdown::new();
    let asked_to_stop = shutdown.clone();
    let server = ApiServer::start(&ca, NAMES, move |asked| match asked.path.as_str() {
        "/version" => say("version.json"),
        _ => {
            if !asked_to_stop.is_requested() {
                asked_to_stop.request();
            }
            Reply::Hang
        }
    })
    .await;
    let settings = by_address(dir.path(), &ca, &[&server]);
    let ran = collect(&["vm"], &settings, &shutdown).await;
    assert!(ran.took < Duration::from_secs(8), "{:?}", ran.took);
    let records = ran.records();
    assert_eq!(records[0].outcome, Outcome::Complete);
    assert!(records[1..].iter().all(|r| r.outcome == Outcome::Cancelled), "{records:?}");
    assert_eq!(ran.cluster().text, "1 of 9 steps; the run was stopped");
}
