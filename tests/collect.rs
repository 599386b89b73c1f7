//! The engine on this machine, where it can fail: what the manifest says when the disk does not take it.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use plegcollect::bundle::{Bundle, BundleOptions, RedactConfig, Redactor, RunDir, RunRecord};
use plegcollect::collect::{RunIdentity, RunOptions, RunOutcome, Shutdown, run};
use plegcollect::event::NodeResult;
use plegcollect::evidence::Outcome;
use plegcollect::inventory::Target;
use plegcollect::inventory::target::{Reach, Sudo};
use plegcollect::plan::{Catalog, Selection};
use plegcollect::session::{Connector, ConnectorOptions};

/// Runs `include` on this machine; returns how it went and where its bundle is.
async fn here(
    include: &[&str],
    nodes: usize,
    tune: impl FnOnce(&mut BundleOptions),
) -> (RunOutcome, RunRecord, RunDir, tempfile::TempDir) {
    let out = tempfile::tempdir().unwrap();
    let mut bundle = BundleOptions::new(Arc::new(Redactor::new(&RedactConfig::default()).unwrap()));
    tune(&mut bundle);
    let target = |i: usize| Target {
        name: format!("here-{i}").parse().unwrap(),
        reach: Reach::Local,
        sudo: Sudo::Never,
        parallel_steps: 2,
        groups: Vec::new(),
    };
    let run_dir = RunDir::create(out.path(), Timestamp::now(), None).unwrap();
    let mut record = RunRecord::new(&run_dir.run_id, Timestamp::now());
    let options = RunOptions {
        targets: (0..nodes).map(target).collect(),
        catalog: Catalog::builtin(),
        selection: Selection { include: include.iter().map(|s| s.parse().unwrap()).collect(), ..Selection::default() },
        parallel: 8,
        node_deadline: Duration::from_secs(120),
        run_deadline: None,
        bundle,
        max_run_bytes: None,
        sudo_password: None,
        kubelet: plegcollect::kubelet::KubeletAccess::none(),
        open: plegcollect::collect::OpenChanges::default(),
        cluster: None,
        run: RunIdentity {
            run_id: run_dir.run_id.clone(),
            command_line: Vec::new(),
            operator: "me@here".to_owned(),
            way: String::new(),
            spelled: std::collections::BTreeMap::new(),
        },
    };
    let (events, mut queue) = plegcollect::event::channel();
    let drain = tokio::spawn(async move { while queue.recv().await.is_some() {} });
    let connector = Connector::new(ConnectorOptions::default());
    let outcome = run(options, connector, &run_dir, &mut record, &events, &Shutdown::new()).await.unwrap();
    drop(events);
    drain.await.unwrap();
    (outcome, record, run_dir, out)
}

const SOME: [&str; 5] = ["host/meminfo", "host/vmstat", "host/pressure", "net/sockstat", "kernel/info"];

#[tokio::test(flavor = "multi_thread")]
async fn steps_that_could_not_begin_for_lack_of_disk_are_in_the_manifest() {
    let (outcome, _, run_dir, _out) = here(&SOME, 1, |bundle| bundle.reserve_bytes = u64::MAX).await;
    let node = outcome.nodes.first().unwrap();
    assert_eq!(node.result, NodeResult::Partial);
    assert_eq!(node.steps.failed + node.steps.lost, SOME.len());
    assert!(outcome.disk.is_some());
    let bundle = Bundle::open(&run_dir.path.join("here-0.tar.zst")).unwrap();
    let manifest = bundle.manifest().unwrap().unwrap();
    let mut told: Vec<&str> = manifest.steps.iter().map(|s| s.id.as_str()).collect();
    told.sort_unstable();
    let mut all = SOME;
    all.sort_unstable();
    assert_eq!(told, all);
    assert!(manifest.steps.iter().all(|s| matches!(s.outcome, Outcome::Failed | Outcome::Lost)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_run_record_names_every_node_in_the_end() {
    let (outcome, record, run_dir, _out) = here(&["host/meminfo"], 12, |_| {}).await;
    assert!(outcome.nodes.iter().all(|n| n.result == NodeResult::Complete));
    assert_eq!(record.nodes.len(), 12);
    assert_eq!(RunRecord::load(&run_dir.path).unwrap().nodes.len(), 12);
}
