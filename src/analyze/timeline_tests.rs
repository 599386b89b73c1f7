//! Tests of the merged timeline: clocks, order, and what is left of a thousand nodes.

use jiff::Timestamp;

use super::*;
use crate::analyze::about::About;
use crate::analyze::figures::Figures;
use crate::analyze::finding::Severity;
use crate::analyze::moment::MomentKind;
use crate::analyze::verdict::Verdict;

fn node(name: &str, offset_ms: i64, moments: Vec<(i64, MomentKind, Severity, &str)>) -> NodeAnalysis {
    let one = |(seconds, kind, severity, text): (i64, MomentKind, Severity, &str)| Moment {
        time: Timestamp::from_second(1_795_210_150 + seconds).unwrap(),
        until: Timestamp::from_second(1_795_210_152 + seconds).ok(),
        count: 1,
        node: name.parse().unwrap(),
        kind,
        severity,
        text: text.to_owned(),
        citation: None,
    };
    NodeAnalysis {
        node: name.parse().unwrap(),
        source: name.to_owned(),
        sealed: true,
        about: About { clock_offset_ms: Some(offset_ms), ..About::default() },
        verdict: Verdict { layer: None, sentence: String::new() },
        findings: Vec::new(),
        figures: Figures::default(),
        moments: moments.into_iter().map(one).collect(),
        steps: Vec::new(),
    }
}

#[test]
fn offsets_are_taken_out_and_the_order_does_not_depend_on_that_of_the_nodes() {
    let ready = || vec![(0, MomentKind::Ready, Severity::Info, "node set Ready")];
    let nodes = [node("b", 0, ready()), node("a", 5_000, ready()), node("c", -5_000, ready()), node("a2", 0, ready())];
    let told = |nodes: &[NodeAnalysis]| -> Vec<(String, i64)> {
        let at = |m: &Moment| (m.node.to_string(), m.time.as_second() - 1_795_210_150);
        merge(nodes).iter().map(at).collect()
    };
    let want = [("a", -5), ("a2", 0), ("b", 0), ("c", 5)].map(|(n, t)| (n.to_owned(), t));
    assert_eq!(told(&nodes), want);
    let mut other = nodes.clone();
    other.reverse();
    assert_eq!(told(&other), want);
    let merged = merge(&nodes);
    assert!(merged.iter().all(|m| m.until.unwrap().as_second() - m.time.as_second() == 2), "{merged:?}");
}

#[test]
fn what_two_collections_of_a_node_tell_is_told_once() {
    let pleg = |text: &'static str| (0, MomentKind::PlegUnhealthy, Severity::Critical, text);
    let twice = vec![
        (9, MomentKind::Start, Severity::Info, "kubelet started"),
        (10, MomentKind::Start, Severity::Info, "kubelet started"),
    ];
    let mut first = node("a", 0, vec![pleg("PLEG unhealthy: 4m")]);
    first.moments.extend(node("a", 0, twice.clone()).moments);
    let mut second = node("a", 0, vec![pleg("PLEG unhealthy: 9m")]);
    second.about.clock_offset_ms = Some(-30);
    second.moments[0].count = 20;
    second.moments.extend(node("a", 0, twice).moments);
    let other = node("b", 0, vec![pleg("PLEG unhealthy: 4m")]);
    let merged = merge(&[first, second, other]);
    let told: Vec<(&str, &str, u64)> = merged.iter().map(|m| (m.node.as_str(), m.text.as_str(), m.count)).collect();
    let start = ("a", "kubelet started", 1);
    assert_eq!(told, [("a", "PLEG unhealthy: 9m", 20), ("b", "PLEG unhealthy: 4m", 1), start, start]);
}

#[test]
fn of_a_thousand_nodes_the_grave_is_kept_and_every_count() {
    let nodes: Vec<NodeAnalysis> = (0..1000)
        .map(|n| {
            let mut moments = vec![(40, MomentKind::PlegUnhealthy, Severity::Critical, "PLEG unhealthy: x")];
            for m in 0..60 {
                moments.push((m * 1000, MomentKind::Daemon, Severity::Info, "dockerd says that health checks failed"));
                moments.push((
                    m * 1100,
                    MomentKind::Start,
                    Severity::Info,
                    if m % 2 == 0 { "kubelet started" } else { "dockerd started" },
                ));
                moments.push((m * 900, MomentKind::Kernel, Severity::Warning, "tasks hang in the kernel"));
            }
            node(&format!("worker-{n:04}"), 0, moments)
        })
        .collect();
    let merged = merge(&nodes);
    assert!(merged.len() <= MOST, "{}", merged.len());
    assert_eq!(merged.iter().map(|m| m.count).sum::<u64>(), 1000 * 181);
    let grave: Vec<&Moment> = merged.iter().filter(|m| m.severity == Severity::Critical).collect();
    assert_eq!((grave.len(), grave[0].text.as_str()), (1000, "PLEG unhealthy: x"));
    assert!(merged.iter().any(|m| m.text == "starts"), "different starts are told as such");
}

#[test]
fn more_nodes_than_the_bound_allows_have_one_moment_each_at_least() {
    let two = || {
        vec![
            (0, MomentKind::Ready, Severity::Info, "a"),
            (9, MomentKind::Start, Severity::Info, "b"),
            (9, MomentKind::OomKill, Severity::Critical, "c"),
        ]
    };
    let nodes: Vec<NodeAnalysis> = (0..4000).map(|n| node(&format!("w{n}"), 0, two())).collect();
    let merged = merge(&nodes);
    assert_eq!((merged.len(), merged.iter().map(|m| m.count).sum::<u64>()), (8000, 12_000));
}
