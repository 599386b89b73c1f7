//! Summary and SUMMARY.md as an operator sees them.

mod with_verdict;

use std::path::PathBuf;
use std::time::Duration;

use super::{RunSummary, markdown, summary};
use crate::event::{ChangeSummary, NodeResult, NodeSummary, Restarts};
use crate::evidence::ChangeState;
use crate::inventory::NodeName;
use crate::plan::ChangeId;
use crate::progress::test_events::{HOSTILE, summary as one};
use crate::wording::columns;

fn fold(names: &[NodeName]) -> String {
    match names {
        [one] => one.to_string(),
        [first, .., last] => format!("{first}..{last}"),
        [] => String::new(),
    }
}

fn ctx(exit_code: u8, meaning: &str) -> RunSummary {
    RunSummary {
        run_id: "20261120T231700Z-ab12".to_owned(),
        out: PathBuf::from("out"),
        started: Some("2026-11-20T23:17:00Z".parse().unwrap()),
        took: Duration::from_secs(72),
        exit_code,
        exit_meaning: meaning.to_owned(),
        interrupted: false,
        notes: Vec::new(),
        cluster: None,
        analysis: None,
        fold,
    }
}

fn partial(i: usize) -> NodeSummary {
    let mut node = one(i, NodeResult::Partial);
    node.missing = vec![
        "docker/info: timed-out: no answer within 20 s; kernel stacks are in docker/info.stacks.txt".to_owned(),
        "net/ss: failed: exit status 1".to_owned(),
    ];
    node.hint = Some("dockerd hangs: read docker/goroutine-stacks.txt first".to_owned());
    node
}

fn unreached(i: usize, class: &str) -> NodeSummary {
    let mut node = one(i, NodeResult::Unreached);
    node.took_ms = 10_000;
    node.failure = Some(class.to_owned());
    node.reason = Some(format!("worker-{i:03}:22: TCP open, no banner within 10 s"));
    node.hint = Some("look at its console: a node out of memory or pids accepts and stays silent".to_owned());
    node
}

fn mixed() -> Vec<NodeSummary> {
    let mut nodes = vec![one(1, NodeResult::Complete), partial(2), unreached(3, "no-banner")];
    nodes.push(unreached(4, "no-banner"));
    nodes.push(one(5, NodeResult::NotStarted));
    nodes
}

#[test]
fn the_summary_reads_well_at_80_columns() {
    let text = summary::render(&mixed(), &ctx(11, "some nodes were not reached"), 80, false);
    insta::assert_snapshot!(text, @r#"
    node        result       complete  absent  timed-out  failed    bytes  time
    worker-001  complete           74       4          0       0  12.3 MB   41s
    worker-002  partial            74       4          1       2  12.3 MB   41s
    worker-003  unreached           -       -          -       -        -   10s
    worker-004  unreached           -       -          -       -        -   10s
    worker-005  not started         -       -          -       -        -     -

    bundles: out/worker-001..worker-002.tar.zst

    Changes to nodes
      Nothing was restarted: same pid, start time and invocation id of dockerd,
      containerd, kubelet (2 nodes)

    Evidence missing
      worker-002: 1 timed-out, 2 failed
        - docker/info: timed-out: no answer within 20 s; kernel stacks are in
          docker/info.stacks.txt
        - net/ss: failed: exit status 1
        bundle: out/worker-002.tar.zst
        next: dockerd hangs: read docker/goroutine-stacks.txt first

    Not reached
      no-banner: worker-003..worker-004
        for example: worker-003:22: TCP open, no banner within 10 s
        next: look at its console: a node out of memory or pids accepts and stays
              silent

    Not started
      worker-005
        its turn had not come

    5 nodes: 1 complete, 1 partial, 2 unreached, 1 not started; 24.6 MB in 2
    bundles; took 1m12s
    run: 20261120T231700Z-ab12
    directory: out
    exit code 11: some nodes were not reached
    "#);
}

#[test]
fn a_wide_terminal_shows_the_bundles() {
    let text = summary::render(&mixed(), &ctx(11, "x"), 120, false);
    assert!(text.lines().nth(1).unwrap().ends_with("41s  worker-001.tar.zst"), "{text}");
    assert!(!text.contains("bundles: "));
}

#[test]
fn summary_md_reads_well() {
    let text = markdown::render(&mixed(), &ctx(11, "some nodes were not reached"));
    insta::assert_snapshot!(text, @r#"
    # Evidence of run `20261120T231700Z-ab12`

    ## The run

    - began: 2026-11-20 23:17:00 UTC
    - took: 1m12s
    - 5 nodes: 1 complete, 1 partial, 2 unreached, 1 not started
    - bundles: 2 files, 24.6 MB, in `out`
    - exit code **11**: some nodes were not reached
    - to look further: `plegcollect report out`, `plegcollect show BUNDLE FILE`, `tar --zstd -xf BUNDLE`

    ## Nodes

    | node | result | complete | absent | timed-out | failed | truncated | lost | skipped | bytes | time | bundle |
    |---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|
    | `worker-001` | complete | 74 | 4 | 0 | 0 | 0 | 0 | 0 | 12.3 MB | 41s | `worker-001.tar.zst` |
    | `worker-002` | partial | 74 | 4 | 1 | 2 | 0 | 0 | 0 | 12.3 MB | 41s | `worker-002.tar.zst` |
    | `worker-003` | unreached | - | - | - | - | - | - | - | - | 10s | - |
    | `worker-004` | unreached | - | - | - | - | - | - | - | - | 10s | - |
    | `worker-005` | not started | - | - | - | - | - | - | - | - | - | - |

    ## Changes to nodes

    - `Nothing was restarted: same pid, start time and invocation id of dockerd, containerd, kubelet` (2 nodes): `worker-001..worker-002`

    ## Evidence missing

    - `worker-002`: `1 timed-out, 2 failed`
      - `docker/info: timed-out: no answer within 20 s; kernel stacks are in docker/info.stacks.txt`
      - `net/ss: failed: exit status 1`
      - next: `dockerd hangs: read docker/goroutine-stacks.txt first`

    ## Not reached

    - `no-banner`: `worker-003..worker-004`
      - `worker-003`: `worker-003:22: TCP open, no banner within 10 s`
      - next: `look at its console: a node out of memory or pids accepts and stays silent`

    ## Not started

    - `worker-005`: `its turn had not come`
    "#);
}

#[test]
fn a_fleet_is_folded_but_for_nodes_with_evidence_missing() {
    let mut nodes: Vec<NodeSummary> = (1..=500).map(|i| one(i, NodeResult::Complete)).collect();
    nodes[6] = partial(7);
    nodes[7] = partial(8);
    for i in 100..120 {
        nodes[i - 1] = unreached(i, "refused");
    }
    let text = summary::render(&nodes, &ctx(11, "some nodes were not reached"), 80, false);
    assert!(text.lines().count() < 45, "{text}");
    let row = "478 nodes (1)  complete         74       4          0       0   5.9 GB   41s";
    assert!(text.contains(row) && text.contains("  478 nodes (1): worker-001..worker-500\n"), "{text}");
    assert!(text.contains("\nworker-007") && text.contains("\nworker-008"), "{text}");
    assert!(text.contains("  refused: worker-100..worker-119\n"), "{text}");
    assert!(text.contains("500 nodes: 478 complete, 2 partial, 20 unreached; 5.9 GB in 480 bundles; took\n"), "{text}");
    let few: Vec<NodeSummary> = nodes.into_iter().take(40).collect();
    let text = summary::render(&few, &ctx(10, "some evidence is missing"), 80, false);
    assert_eq!(text.lines().filter(|l| l.starts_with("worker-0")).count(), 40, "{text}");
}

/// A node whose kubelet answered every request but the unauthenticated one with a 401.
fn refused_by_kubelet(i: usize) -> NodeSummary {
    let mut node = one(i, NodeResult::Partial);
    node.steps.timed_out = 0;
    node.steps.failed = 11;
    let took = i % 3;
    let why = format!(
        "401 from the kubelet after 0.{took}s: either the token is not valid, or the kubelet cannot reach its API server \
         to have it checked; 127.0.0.1:10248/healthz and the journal need no token"
    );
    let steps =
        "goroutine-groups-1 goroutine-1 configz pods metrics-1 heap profile goroutine-groups-2 goroutine-2 metrics-2";
    node.missing = vec![format!("kubelet/healthz: failed: {why}")];
    node.missing.extend(steps.split(' ').map(|s| format!("kubelet/{s}: failed: not asked again: {why}")));
    node
}

#[test]
fn the_same_cause_is_told_once_for_one_node_three_and_sixty() {
    let text = summary::render(&[refused_by_kubelet(3)], &ctx(10, "x"), 90, false);
    let (_, text) = text.split_once("Evidence missing\n").unwrap();
    let (text, _) = text.split_once("\n\n").unwrap();
    insta::assert_snapshot!(text, @r"
    worker-003: 11 failed
      - kubelet/healthz: failed: 401 from the kubelet after 0.0s: either the token is not
        valid, or the kubelet cannot reach its API server to have it checked;
        127.0.0.1:10248/healthz and the journal need no token
        the same for 10 other steps: kubelet/goroutine-groups-1, goroutine-1, configz, pods,
        metrics-1, heap, profile, goroutine-groups-2, goroutine-2, metrics-2
      bundle: out/worker-003.tar.zst
    ");

    let mut three: Vec<NodeSummary> = (1..=3).map(refused_by_kubelet).collect();
    three[1].missing.insert(0, "docker/info: timed-out: no end within 5s".to_owned());
    let text = markdown::render(&three, &ctx(10, "x"));
    let (_, text) = text.split_once("## Evidence missing\n").unwrap();
    insta::assert_snapshot!(text, @r"
    - `worker-001..worker-003`: `11 failed`, each of 2 nodes
      - in the words of `worker-001`; times differ
      - `kubelet/healthz: failed: 401 from the kubelet after 0.1s: either the token is not valid, or the kubelet cannot reach its API server to have it checked; 127.0.0.1:10248/healthz and the journal need no token`
        - `the same for 10 other steps: kubelet/goroutine-groups-1, goroutine-1, configz, pods, metrics-1, heap, profile, goroutine-groups-2, goroutine-2, metrics-2`
    - `worker-002`: `11 failed`
      - `docker/info: timed-out: no end within 5s`
      - `kubelet/healthz: failed: as on worker-001`
        - `the same for 10 other steps: kubelet/goroutine-groups-1, goroutine-1, configz, pods, metrics-1, heap, profile, goroutine-groups-2, goroutine-2, metrics-2`
    ");

    let sixty: Vec<NodeSummary> = (1..=60).map(refused_by_kubelet).collect();
    let text = summary::render(&sixty, &ctx(10, "x"), 90, false);
    assert!(text.lines().count() < 35, "{text}");
    assert_eq!(text.matches("401 from the kubelet").count(), 1, "{text}");
    assert!(text.contains("  worker-001..worker-060: 11 failed, each of 60 nodes\n"), "{text}");
    let markdown = markdown::render(&sixty, &ctx(10, "x"));
    assert_eq!(markdown.matches("401 from the kubelet").count(), 1, "{markdown}");
    assert!(markdown.lines().count() < 35, "{markdown}");
}

#[test]
fn no_line_is_too_wide_and_colour_changes_no_text() {
    let mut nodes = mixed();
    let long: NodeName = format!("node-{}.example.com", "x".repeat(120)).parse().unwrap();
    nodes[1].node = long.clone();
    nodes[1].steps.truncated = 1;
    nodes[1].steps.lost = 12;
    nodes[2].node = long;
    nodes[3].reason = Some("国".repeat(300));
    for width in [40, 60, 80, 200] {
        let text = summary::render(&nodes, &ctx(11, "some nodes were not reached"), width, false);
        for line in text.lines().filter(|l| !l.contains("out/")) {
            assert!(columns(line) <= width, "{width}: {line}\n{text}");
        }
        let colored = summary::render(&nodes, &ctx(11, "some nodes were not reached"), width, true);
        assert!(colored.contains("\u{1b}[31munreached\u{1b}[0m"));
        let mut plain = colored;
        for style in ["\u{1b}[1m", "\u{1b}[31m", "\u{1b}[32m", "\u{1b}[33m", "\u{1b}[0m"] {
            plain = plain.replace(style, "");
        }
        assert_eq!(plain, text);
    }
}

#[test]
fn never_claims_more_than_was_got() {
    let mut unsealed = one(1, NodeResult::Complete);
    unsealed.sha256 = None;
    unsealed.bundle = Some("out/worker-001.tar.zst.partial".into());
    let mut no_bundle = one(2, NodeResult::Complete);
    no_bundle.bundle = None;
    let mut unclean = one(3, NodeResult::Complete);
    unclean.steps.lost = 1;
    let nodes = [unsealed, no_bundle, unclean];
    let text = summary::render(&nodes, &ctx(0, "all complete"), 80, false);
    assert!(text.contains("3 nodes: 3 partial"), "{text}");
    assert!(text.contains("worker-001: the bundle was not sealed"), "{text}");
    assert!(text.contains("bundle, not sealed: out/worker-001.tar.zst.partial"), "{text}");
    assert!(text.contains("worker-002: no bundle was written"), "{text}");
    assert!(text.contains("worker-003: 1 lost"), "{text}");
    assert!(markdown::render(&nodes, &ctx(0, "all complete")).contains("- 3 nodes: 3 partial"));
}

#[test]
fn the_last_line_tells_the_exit_code_in_words() {
    for nodes in [vec![], mixed()] {
        let text = summary::render(&nodes, &ctx(12, "no node was reached"), 80, false);
        assert_eq!(text.lines().last().unwrap(), "exit code 12: no node was reached");
    }
}

fn change(change: ChangeId, state: ChangeState, text: &str) -> ChangeSummary {
    ChangeSummary { change, state, text: text.to_owned(), mend: None }
}

/// Windows that went well, one refused, one left open; a restart, and a node that could not be asked.
fn changed() -> Vec<NodeSummary> {
    use ChangeId::{DockerdDebug, StackDump};
    let mut nodes: Vec<NodeSummary> = (1..=6).map(|i| one(i, NodeResult::Complete)).collect();
    for node in &mut nodes[..3] {
        node.changes.push(change(StackDump, ChangeState::Reverted, "dockerd: two samples, files removed."));
        node.changes.push(change(DockerdDebug, ChangeState::Reverted, "on for about 20 s, off again, verified"));
    }
    let refused = "log-level is \"warn\": after debug it would be \"info\" until the next restart";
    nodes[3].changes.push(change(DockerdDebug, ChangeState::Refused, refused));
    let ended = "dockerd came up anew with the original file";
    nodes[4].changes.push(change(DockerdDebug, ChangeState::EndedByRestart, ended));
    nodes[4].restarts = Restarts::Some { restarted: vec!["dockerd".to_owned()] };
    let mut open = change(DockerdDebug, ChangeState::StillChanged, "debug is on at run time, the file is the original");
    open.mend = Some("plegcollect revert --nodes worker-006".to_owned());
    nodes[5].changes.push(open);
    nodes[5].restarts = Restarts::Unknown;
    nodes
}

#[test]
fn changes_are_told_and_what_is_still_changed_first_of_all() {
    let text = summary::render(&changed(), &ctx(20, "a node may still be changed"), 80, false);
    insta::assert_snapshot!(text, @r#"
    NODES THAT MAY STILL BE CHANGED
      worker-006: dockerd debug: debug is on at run time, the file is the original
        mend it: plegcollect revert --nodes worker-006

    node        result    complete  absent  timed-out  failed    bytes  time
    worker-001  complete        74       4          0       0  12.3 MB   41s
    worker-002  complete        74       4          0       0  12.3 MB   41s
    worker-003  complete        74       4          0       0  12.3 MB   41s
    worker-004  complete        74       4          0       0  12.3 MB   41s
    worker-005  complete        74       4          0       0  12.3 MB   41s
    worker-006  complete        74       4          0       0  12.3 MB   41s

    bundles: out/worker-001..worker-006.tar.zst

    Changes to nodes
      stacks: dockerd: two samples, files removed (3 nodes)
        worker-001..worker-003
      dockerd debug: on for about 20 s, off again, verified (3 nodes)
        worker-001..worker-003
      dockerd debug, refused: log-level is "warn": after debug it would be "info"
      until the next restart (1 node)
        worker-004
      dockerd debug, ended by a restart that was not ours: dockerd came up anew with
      the original file (1 node)
        worker-005
      While dockerd logged at debug level, the environments of containers created
      and commands executed in them went to the node's journal in clear, secrets
      included, and to wherever that is shipped; the copy in the bundle is redacted.
      RESTARTED while evidence was taken: dockerd (1 node)
        worker-005
      Whether anything was restarted could not be checked (1 node)
        worker-006
      Nothing was restarted: same pid, start time and invocation id of dockerd,
      containerd, kubelet (4 nodes)
        worker-001..worker-004

    6 nodes: 6 complete; 74.0 MB in 6 bundles; took 1m12s
    run: 20261120T231700Z-ab12
    directory: out
    exit code 20: a node may still be changed
    "#);
    let text = markdown::render(&changed(), &ctx(20, "a node may still be changed"));
    assert!(text.find("## Nodes that may still be changed") < text.find("| node |"), "{text}");
    assert!(text.contains("  - mend it: `plegcollect revert --nodes worker-006`"), "{text}");
    let (_, text) = text.split_once("## Changes to nodes\n").unwrap();
    insta::assert_snapshot!(text, @r#"
    - `stacks: dockerd: two samples, files removed` (3 nodes): `worker-001..worker-003`
    - `dockerd debug: on for about 20 s, off again, verified` (3 nodes): `worker-001..worker-003`
    - `dockerd debug, refused: log-level is "warn": after debug it would be "info" until the next restart` (1 node): `worker-004`
    - `dockerd debug, ended by a restart that was not ours: dockerd came up anew with the original file` (1 node): `worker-005`
    - `RESTARTED while evidence was taken: dockerd` (1 node): `worker-005`
    - `Whether anything was restarted could not be checked` (1 node): `worker-006`
    - `Nothing was restarted: same pid, start time and invocation id of dockerd, containerd, kubelet` (4 nodes): `worker-001..worker-004`

    While dockerd logged at debug level, the environments of containers created and commands executed in them went to the node's journal in clear, secrets included, and to wherever that is shipped; the copy in the bundle is redacted.
    "#);
    let painted = summary::render(&changed(), &ctx(20, "a node may still be changed"), 80, true);
    assert!(painted.starts_with("\u{1b}[31mNODES THAT MAY STILL BE CHANGED\u{1b}[0m\n"), "{painted}");
    assert!(painted.trim_end().ends_with("\u{1b}[31mexit code 20: a node may still be changed\u{1b}[0m"), "{painted}");
}

#[test]
fn read_only_runs_say_so_and_speak_of_no_journal() {
    let mut nodes: Vec<NodeSummary> = (1..=9).map(|i| one(i, NodeResult::Complete)).collect();
    for node in &mut nodes {
        let text = "--read-only: nothing is changed on nodes";
        node.changes.push(change(ChangeId::DockerdDebug, ChangeState::Skipped, text));
    }
    let text = summary::render(&nodes, &ctx(0, "all"), 200, false);
    assert!(text.contains("  dockerd debug, left out: --read-only: nothing is changed on nodes (9 nodes)\n"), "{text}");
    assert!(!text.contains("journal"), "{text}");
}

fn hostile() -> Vec<NodeSummary> {
    let mut nodes = mixed();
    for n in &mut nodes {
        for state in [ChangeState::Refused, ChangeState::StillChanged] {
            let mut change = change(ChangeId::DockerdDebug, state, HOSTILE);
            change.mend = Some(HOSTILE.to_owned());
            n.changes.push(change);
        }
        n.restarts = Restarts::Some { restarted: vec![HOSTILE.to_owned()] };
        n.reason = Some(HOSTILE.to_owned());
        n.hint = Some(HOSTILE.to_owned());
        n.failure = Some(HOSTILE.to_owned());
        n.missing = vec![HOSTILE.to_owned(); 3];
        n.bundle = n.bundle.as_ref().map(|_| PathBuf::from(format!("out/{HOSTILE}")));
    }
    nodes[0].sha256 = None;
    nodes
}

#[test]
fn a_hostile_node_neither_paints_nor_forges_lines() {
    let mut ctx = ctx(11, "some nodes were not reached");
    ctx.notes = vec![HOSTILE.to_owned()];
    for text in [summary::render(&hostile(), &ctx, 80, false), markdown::render(&hostile(), &ctx)] {
        let bad = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{202e}' | '\u{2066}');
        assert!(!text.contains(bad), "{text:?}");
        // HOSTILE breaks a line before this; here nothing begins with it.
        assert!(text.contains("alert(1)") && !text.lines().any(|l| l.trim_start().starts_with("bc")), "{text}");
    }
}

#[test]
fn in_markdown_hostile_text_stays_within_code_spans_and_cells() {
    let mut ctx = ctx(11, "some nodes were not reached");
    ctx.notes = vec![HOSTILE.to_owned()];
    let text = markdown::render(&hostile(), &ctx);
    for line in text.lines() {
        let outside: String = line.split('`').step_by(2).collect();
        assert!(!outside.contains(['<', '@', '国']), "{line}");
        assert_eq!(line.matches('`').count() % 2, 0, "{line}");
        if line.starts_with('|') && !line.starts_with("|--") {
            assert_eq!(line.replace("\\|", "").matches('|').count(), 13, "{line}");
        }
    }
}

#[test]
fn interruption_and_notes_are_told() {
    let mut ctx = ctx(130, "interrupted");
    ctx.interrupted = true;
    ctx.notes = vec!["run.log is incomplete: No space left on device".to_owned()];
    for text in [summary::render(&mixed(), &ctx, 80, false), markdown::render(&mixed(), &ctx)] {
        assert!(text.to_lowercase().contains("interrupted") && text.contains("run.log is incomplete"), "{text}");
    }
}

#[test]
fn the_cluster_has_a_line_and_its_bundle_below() {
    let mut ctx = ctx(10, "all nodes reached, some evidence is missing");
    ctx.cluster = Some(crate::event::ClusterSummary {
        complete: false,
        text: format!("9 of 14 steps; API server https://10.0.0.2:6443: not reached: refused {HOSTILE}"),
        steps: crate::event::StepCounts::default(),
        bundle_bytes: 1,
        evidence_bytes: 1,
        took_ms: 1,
        bundle: Some("out/cluster.tar.zst".into()),
        sha256: Some("00".to_owned()),
        missing: vec!["cluster/metrics: failed: HTTP 403".to_owned()],
    });
    let nodes = [one(1, NodeResult::Complete)];
    let text = summary::render(&nodes, &ctx, 80, false);
    assert!(text.contains("\ncluster: 9 of 14 steps; API server https://10.0.0.2:6443: not reached:"), "{text}");
    assert!(text.contains("\n    - cluster/metrics: failed: HTTP 403\n    bundle: out/cluster.tar.zst\n"), "{text}");
    assert!(!text.contains('\u{1b}'));
    let text = markdown::render(&nodes, &ctx);
    assert!(text.contains("- cluster: `9 of 14 steps; API server https://10.0.0.2:6443"), "{text}");
    assert!(text.contains("out/cluster.tar.zst") && text.contains("  - `cluster/metrics: failed: HTTP 403`"), "{text}");
    assert!(!text.contains('\u{1b}'));
}
