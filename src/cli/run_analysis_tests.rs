//! What becomes of a run whose analysis fails, hangs, is late or is stopped: verdicts are missing, and nothing else.

use std::fs;

use super::*;
use crate::cli::exit::tests::node as summary;

/// A judge whose process is this script; `$1` is the bundle.
fn judge(script: &'static str) -> Judge {
    Judge {
        program: "/bin/sh".into(),
        arguments: vec!["-c", script, "sh"],
        per_node: Duration::from_secs(60),
        in_all: Duration::from_secs(60),
        told: false,
    }
}

fn node(name: &str, result: NodeResult) -> NodeSummary {
    let mut node = summary(result, None);
    node.node = name.parse().unwrap();
    node.bundle = Some(format!("{name}.tar.zst").into());
    node
}

/// Returns why there is no verdict on each node, and what to do.
async fn without(judge: &Judge, nodes: &[NodeSummary], stop: &CancellationToken) -> Vec<(String, Option<String>)> {
    let dir = tempfile::tempdir().unwrap();
    let analysis = judge.analysis(nodes, None, dir.path(), stop).await;
    assert!(analysis.nodes.is_empty() && analysis.fleet.groups.is_empty());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "what was unpacked is gone");
    let place = dir.path().to_string_lossy().into_owned();
    analysis.unjudged.into_iter().map(|one| (one.reason, one.next.map(|next| next.replace(&place, "DIR")))).collect()
}

#[tokio::test]
async fn a_process_that_fails_costs_its_node_the_verdict() {
    let stop = CancellationToken::new();
    let nodes = [node("n1", NodeResult::Partial)];
    for (script, want) in [
        (
            "printf 'error: no\\033[2J room\\n  caused by: full\\n' >&2; exit 3",
            "not analysed: no room   caused by: full",
        ),
        ("kill -9 $$", "not analysed: signal: 9 (SIGKILL)"),
        ("echo junk", "not analysed: its result cannot be understood: expected value at line 1 column 1"),
        (
            "exec >&- 2>&-; exit 0",
            "not analysed: its result cannot be understood: EOF while parsing a value at line 1 column 0",
        ),
    ] {
        let (reason, _) = without(&judge(script), &nodes, &stop).await.remove(0);
        assert_eq!(reason, want, "{script}");
    }
    let none = Judge { program: "/nonexistent".into(), ..judge("") };
    assert!(without(&none, &nodes, &stop).await[0].0.starts_with("not analysed: start: No such file"));
}

#[tokio::test]
async fn a_process_that_hangs_is_ended_and_what_it_unpacked_is_removed() {
    let pid = tempfile::NamedTempFile::new().unwrap();
    let script = "echo $$ > \"$1\"; echo evidence > \"$TMPDIR/file\"; exec sleep 600";
    let mut node = node("n1", NodeResult::Complete);
    node.bundle = Some(pid.path().to_owned());
    let hasty = Judge { per_node: Duration::from_millis(500), ..judge(script) };
    let told = without(&hasty, &[node], &CancellationToken::new()).await;
    assert_eq!(told[0].0, "not analysed within 500ms: plegcollect report takes the time it needs");
    let pid = fs::read_to_string(pid.path()).unwrap();
    assert!(!Path::new("/proc").join(pid.trim()).exists(), "process {pid} is gone");
}

#[tokio::test]
async fn nodes_for_which_no_time_is_left_are_named_with_the_command() {
    let nodes = [node("n1", NodeResult::Complete), node("n2", NodeResult::Complete), node("n3", NodeResult::Complete)];
    let late = Judge { in_all: Duration::from_millis(300), ..judge("exec sleep 600") };
    let told = without(&late, &nodes, &CancellationToken::new()).await;
    let want = ("not analysed: 300ms for all bundles were over".to_owned(), Some("plegcollect report DIR".to_owned()));
    assert_eq!(told, [want.clone(), want.clone(), want]);
}

#[tokio::test]
async fn a_page_is_bounded_and_its_failure_told() {
    let (stop, dir) = (CancellationToken::new(), tempfile::tempdir().unwrap());
    let page = |script: &'static str| Judge { program: script.into(), in_all: Duration::from_millis(300), ..judge("") };
    // `false` takes any arguments and fails; `yes` goes on for ever.
    let failed = page("/bin/false").page(&[], dir.path(), &stop).await;
    assert_eq!(failed, Err("exit status: 1".to_owned()));
    assert_eq!(page("/bin/true").page(&[], dir.path(), &stop).await, Ok(()));
    let hung = page("/usr/bin/yes").page(&[], dir.path(), &stop).await;
    assert!(hung.is_err(), "{hung:?}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn an_interrupt_ends_it_at_once() {
    let stop = CancellationToken::new();
    let nodes = [node("n1", NodeResult::Complete), node("n2", NodeResult::Complete), node("n3", NodeResult::Complete)];
    let judge = judge("exec sleep 600");
    let (told, ()) = tokio::join!(without(&judge, &nodes, &stop), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        stop.cancel();
    });
    let want = ("not analysed: interrupted".to_owned(), Some("plegcollect report DIR".to_owned()));
    assert_eq!(told, [want.clone(), want.clone(), want]);
}

#[tokio::test]
async fn nodes_that_were_not_reached_are_not_looked_at() {
    let mut unreached = node("n2", NodeResult::Unreached);
    unreached.failure = Some("no-banner".to_owned());
    let mut bare = node("n4", NodeResult::Partial);
    bare.bundle = None;
    let nodes = [node("n1", NodeResult::Partial), unreached, node("n3", NodeResult::NotStarted), bare];
    let told = without(&judge("exit 1"), &nodes, &CancellationToken::new()).await;
    let reasons: Vec<&str> = told.iter().map(|(reason, _)| reason.as_str()).collect();
    assert_eq!(reasons, ["not analysed: exit status: 1", "not reached (no-banner)", "not started", "no bundle"]);
}

#[test]
fn what_needs_more_room_than_there_is_says_so() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(has_room(dir.path(), 1000), Ok(()));
    let told = has_room(dir.path(), 1 << 60).unwrap_err();
    assert!(told.starts_with("no room to unpack it beside the bundles, 1.2 EB are needed"), "{told}");
}

#[test]
fn nodes_with_trouble_come_first_and_the_cluster_before_them() {
    let mut hung = node("n2", NodeResult::Partial);
    hung.steps.timed_out = 4;
    let cluster = ClusterSummary {
        complete: true,
        text: String::new(),
        steps: crate::event::StepCounts::default(),
        bundle_bytes: 0,
        evidence_bytes: 7,
        took_ms: 0,
        bundle: Some("cluster.tar.zst".into()),
        sha256: None,
        missing: Vec::new(),
    };
    let (cases, _) = cases(&[node("n1", NodeResult::Complete), hung], Some(&cluster));
    let order: Vec<&str> = cases.iter().map(|case| case.node.as_str()).collect();
    assert_eq!(order, ["cluster", "n2", "n1"]);
}
