//! Summary and SUMMARY.md with what the analysis says, and how large they get.

use std::path::Path;

use jiff::Timestamp;

use super::{change, ctx, mixed, one, partial};
use crate::analyze::finding::Severity;
use crate::analyze::moment::{Moment, MomentKind};
use crate::event::{NodeResult, NodeSummary};
use crate::evidence::ChangeState;
use crate::plan::ChangeId;
use crate::report::analysis::{Analysis, Unjudged};
use crate::report::{RunSummary, markdown, report_command, summary};

/// What a run of these nodes would be told of its evidence: nothing, but for the nodes without any.
fn analysed(ctx: RunSummary, without: &[&str]) -> RunSummary {
    let one = |node: &&str| Unjudged {
        node: node.parse().unwrap(),
        reason: "not reached (no-banner)".to_owned(),
        next: None,
    };
    let analysis = Analysis::new(Vec::new(), None, Vec::new()).and_unjudged(without.iter().map(one));
    RunSummary { analysis: Some(analysis), ..ctx }
}

#[test]
fn the_verdict_comes_first_but_for_nodes_that_may_still_be_changed() {
    let ctx = analysed(ctx(11, "some nodes were not reached"), &["worker-003", "worker-004"]);
    let text = summary::render(&mixed(), &ctx, 80, false);
    let verdict = "Verdict\nno verdict  worker-00[3-4] (2 nodes): not reached (no-banner)\n\nnode        result";
    assert!(text.starts_with(verdict), "{text}");
    assert!(text.contains("\ndirectory: out\nall of the verdict: plegcollect report out\nexit code 11"), "{text}");
    let text = markdown::render(&mixed(), &ctx);
    let verdict =
        "\n\n## Verdict\n\n- **no verdict**: `worker-00[3-4]` (2 nodes): not reached (no-banner)\n\n## The run\n";
    assert!(text.contains(verdict), "{text}");
    assert!(text.lines().count() < 80, "{text}");

    let mut nodes = mixed();
    nodes[0].changes.push(change(ChangeId::DockerdDebug, ChangeState::StillChanged, "debug is on"));
    let text = summary::render(&nodes, &ctx, 80, false);
    assert!(text.find("MAY STILL BE CHANGED") < text.find("Verdict\n"), "{text}");
}

#[test]
fn summary_md_fits_a_comment_whatever_happened() {
    let mut nodes: Vec<NodeSummary> = (1..=300).map(partial).collect();
    for (i, node) in nodes.iter_mut().enumerate() {
        // Names that do not fold, causes that are all different.
        node.node = format!("{}-{i}-x", "abcdefgh".repeat(6)).parse().unwrap();
        node.missing =
            (0..60).map(|step| format!("own/step-{step}: failed: {i} {step} {}", "why ".repeat(40))).collect();
        node.changes = vec![change(ChangeId::DockerdDebug, ChangeState::Refused, &format!("because of {i}"))];
        if i % 3 == 0 {
            node.result = NodeResult::Unreached;
            node.failure = Some(format!("class-{i}"));
        }
    }
    let mut full = analysed(ctx(11, "x"), &[]);
    full.notes = (0..1000).map(|i| format!("note {i} {}", "words ".repeat(50))).collect();
    let happened = |i: usize| Moment {
        time: Timestamp::from_second(1_795_210_150 + i64::try_from(i / 30).unwrap() * 600).unwrap(),
        until: None,
        count: 1,
        node: nodes[i].node.clone(),
        kind: MomentKind::PlegUnhealthy,
        severity: Severity::Critical,
        text: format!("PLEG unhealthy: {}", "long ago ".repeat(100)),
        citation: None,
    };
    if let Some(analysis) = &mut full.analysis {
        analysis.timeline = (0..nodes.len()).map(happened).collect();
    }
    let text = summary::render(&nodes, &full, 80, false);
    assert!(text.contains("\nTimeline (UTC, by the operator's clock)\n"), "{text}");
    let text = markdown::render(&nodes, &full);
    assert!(text.len() < 65_536, "{}", text.len());
    let rows = text.split("|---|---|---|---|---|\n").nth(1).unwrap().lines().take_while(|line| line.starts_with('|'));
    assert!(rows.count() <= 12, "{text}");
    for part in ["## Verdict", "## Nodes", "## Changes to nodes", "## Evidence missing", "## Not reached"] {
        assert!(text.contains(part), "{part}");
    }
    // A hundred nodes that went well are told in full.
    let nodes: Vec<NodeSummary> = (1..=100).map(|i| one(i, NodeResult::Complete)).collect();
    let text = markdown::render(&nodes, &ctx(0, "all well"));
    assert!(text.lines().count() < 40, "{text}");
}

#[test]
fn the_command_in_the_summary_can_be_copied() {
    for (out, want) in [
        ("./run-1", "plegcollect report ./run-1"),
        ("/srv/my run", "plegcollect report '/srv/my run'"),
        ("it's", "plegcollect report 'it'\\''s'"),
    ] {
        assert_eq!(report_command(Path::new(out)), want);
    }
}
