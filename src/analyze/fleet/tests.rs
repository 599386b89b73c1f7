//! The roll-up: groups, what they share, the node they are held against.

use super::*;
use crate::analyze::compare::tests::{finding, node};

const SICK: &str = "runtime does not answer: relist waits for ListPodSandbox";

fn sick(name: &str) -> NodeAnalysis {
    let found = finding("relist/runtime", Severity::Critical, &format!("{name} waits")).blames(Layer::Runtime);
    node(name, vec![found.alike("relist waits for ListPodSandbox")])
}

fn well(name: &str) -> NodeAnalysis {
    node(name, vec![finding("pleg/healthy", Severity::Info, "PLEG was healthy.")])
}

fn kernel(mut node: NodeAnalysis, kernel: &str) -> NodeAnalysis {
    node.about.kernel = Some(kernel.to_owned());
    node
}

fn names(list: &[NodeName]) -> Vec<&str> {
    list.iter().map(NodeName::as_str).collect()
}

/// Nine nodes, three of them sick with an old kernel.
fn nine() -> Vec<NodeAnalysis> {
    (1..=9)
        .map(|n| {
            let name = format!("worker-00{n}");
            if n % 3 == 0 { kernel(sick(&name), "5.10.0-9") } else { kernel(well(&name), "6.1.0-30") }
        })
        .collect()
}

#[test]
fn three_sick_nodes_of_nine_are_one_group_that_shares_a_kernel() {
    let fleet = roll_up(&nine(), None);
    let [group, rest] = fleet.groups.as_slice() else { panic!("{:?}", fleet.groups) };
    assert_eq!(names(&group.nodes), ["worker-003", "worker-006", "worker-009"]);
    assert_eq!((group.sentence.as_str(), group.layer, group.worst), (SICK, Some(Layer::Runtime), Severity::Critical));
    assert_eq!(group.shared, ["kernel 5.10.0-9: 3 of 3 sick, 0 of 6 healthy"]);
    assert_eq!((rest.nodes.len(), rest.shared.len()), (6, 0));
    assert_eq!(fleet.baseline.as_ref().map(NodeName::as_str), Some("worker-001"));
    assert_eq!(fleet.baseline_why.as_deref(), Some("worker-001 was chosen of 6 healthy nodes; other kernel"));
    let told: Vec<(&str, &str)> =
        fleet.differences.iter().map(|d| (d.node.as_str(), d.differences[0].text.as_str())).collect();
    assert_eq!(told.len(), 3);
    assert_eq!(
        told[0],
        ("worker-003", "kernel 5.10.0-9 instead of 6.1.0-30"),
        "and no findings, which are told elsewhere"
    );
}

#[test]
fn what_is_shared_needs_two_sick_nodes_and_a_healthy_one_that_differs() {
    for (what, nodes, want) in [
        ("one sick", vec![kernel(sick("a"), "5"), kernel(well("b"), "6")], 0),
        ("all sick", vec![kernel(sick("a"), "5"), kernel(sick("b"), "5")], 0),
        (
            "no healthy one known",
            vec![kernel(sick("a"), "5"), kernel(sick("b"), "5"), kernel(node("c", vec![]), "6")],
            0,
        ),
        (
            "a healthy one has it, too",
            vec![kernel(sick("a"), "5"), kernel(sick("b"), "5"), kernel(well("c"), "5"), kernel(well("d"), "6")],
            0,
        ),
        ("not all sick have it", vec![kernel(sick("a"), "5"), kernel(sick("b"), "6"), kernel(well("c"), "7")], 0),
        ("one sick is not known", vec![kernel(sick("a"), "5"), sick("b"), kernel(well("c"), "7")], 0),
        ("the healthy are not known", vec![kernel(sick("a"), "5"), kernel(sick("b"), "5"), well("c")], 0),
        ("enough", vec![kernel(sick("a"), "5"), kernel(sick("b"), "5"), kernel(well("c"), "6"), well("d")], 1),
    ] {
        let shared = &roll_up(&nodes, None).groups[0].shared;
        assert_eq!(shared.len(), want, "{what}: {shared:?}");
        assert!(shared.iter().all(|phrase| phrase == "kernel 5: 2 of 2 sick, 0 of 1 healthy"), "{what}: {shared:?}");
    }
}

#[test]
fn a_runtime_that_does_not_tell_its_version_is_no_other_runtime() {
    let with = |mut node: NodeAnalysis, runtime: &str| {
        node.about.runtime = Some(runtime.into());
        node
    };
    let of = |well: NodeAnalysis| {
        roll_up(&[with(sick("a"), "containerd"), with(sick("b"), "containerd"), well], None).groups[0].shared.clone()
    };
    assert_eq!(of(with(self::well("c"), "containerd 1.6.20")), [""; 0]);
    assert_eq!(of(with(self::well("c"), "docker 20.10")), ["runtime containerd: 2 of 2 sick, 0 of 1 healthy"]);
}

#[test]
fn settings_pools_and_age_can_be_shared_too() {
    let look = |mut node: NodeAnalysis, pool: &str, booted: &str, pods: &str| {
        node.about.pool = Some(pool.into());
        node.about.collected = "2026-11-21T00:00:00Z".parse().ok();
        node.about.booted = booted.parse().ok();
        node.about.settings.insert("kubelet max-pods".into(), pods.into());
        node
    };
    let nodes = [
        look(sick("a"), "blue", "2025-09-01T00:00:00Z", "250"),
        look(sick("b"), "blue", "2025-10-01T00:00:00Z", "250"),
        look(well("c"), "green", "2026-11-01T00:00:00Z", "110"),
    ];
    assert_eq!(
        roll_up(&nodes, None).groups[0].shared,
        [
            "pool blue: 2 of 2 sick, 0 of 1 healthy",
            "kubelet max-pods 250: 2 of 2 sick, 0 of 1 healthy",
            "up for 416 days or more: 2 of 2 sick, 0 of 1 healthy"
        ]
    );
}

#[test]
fn a_verdict_with_the_nodes_own_numbers_is_grouped_by_finding_and_signature() {
    let full = |name: &str, mount: &str, left: u32| {
        let sentence = format!("File systems are full: {mount} 100 %, {left} B left.");
        node(name, vec![finding("disk/full", Severity::Critical, &sentence).blames(Layer::Disk).alike(mount)])
    };
    let nodes = [full("a", "/", 0), full("b", "/var", 0), full("c", "/", 17), full("d", "/", 0)];
    let fleet = roll_up(&nodes, None);
    let [first, second] = fleet.groups.as_slice() else { panic!("{:?}", fleet.groups) };
    assert_eq!(names(&first.nodes), ["a", "c", "d"]);
    assert_eq!(first.sentence, "disk full: /");
    assert_eq!((names(&second.nodes), second.sentence.as_str()), (vec!["b"], "disk full: /var"));
}

#[test]
fn the_gravest_and_largest_group_comes_first() {
    let warned = |name: &str| node(name, vec![finding("clock/off", Severity::Warning, "The clock is off.")]);
    let nodes = [warned("a"), warned("b"), well("c"), well("d"), well("e"), sick("f")];
    let order: Vec<usize> = roll_up(&nodes, None).groups.iter().map(|group| group.nodes.len()).collect();
    assert_eq!(order, [1, 2, 3]);
}

#[test]
fn the_baseline_is_like_the_sick_and_the_same_each_time() {
    let place = |pool: &str, ready: bool| Place { pool: Some(pool.into()), ready: Some(ready) };
    let like = |name: &str, cpus: u32, kernel: &str, containerd: &str| {
        let mut node = self::kernel(well(name), kernel);
        (node.about.cpus, node.about.containerd) = (Some(cpus), Some(containerd.into()));
        node
    };
    let mut ill = kernel(sick("worker-001"), "6.1");
    (ill.about.cpus, ill.about.containerd) = (Some(8), Some("1.6".into()));
    let nodes = vec![
        ill,
        like("worker-002", 16, "6.1", "1.6"),
        like("worker-003", 8, "5.10", "1.6"),
        like("worker-004", 8, "6.1", "1.6"),
        like("worker-005", 8, "6.1", "1.6"),
        like("worker-006", 8, "6.1", "1.6"),
    ];
    let chosen = |nodes: &[NodeAnalysis], places: &Places| {
        let fleet = roll_up_in(nodes, None, places);
        (fleet.baseline.unwrap().to_string(), fleet.baseline_why.unwrap())
    };
    let (name, why) = chosen(&nodes, &Places::new());
    assert_eq!(name, "worker-004");
    assert_eq!(why, "worker-004 was chosen of 5 healthy nodes; same kernel, containerd as most that are not well");
    let mut turned = nodes.clone();
    turned.reverse();
    assert_eq!(chosen(&turned, &Places::new()).0, "worker-004", "whatever the order");
    let mut places: Places = [("worker-001", place("blue", false)), ("worker-004", place("blue", false))]
        .into_iter()
        .chain([("worker-005", place("green", true)), ("worker-003", place("blue", true))])
        .map(|(name, place)| (name.parse().unwrap(), place))
        .collect();
    let (name, why) = chosen(&nodes, &places);
    assert_eq!(name, "worker-003", "of the pool, and Ready");
    assert_eq!(
        why,
        "worker-003 was chosen of 4 healthy nodes: Ready, of pool blue; same containerd as most that are not well; \
         other kernel"
    );
    places.clear();
    let all_sick = [sick("a"), sick("b")];
    let fleet = roll_up_in(&all_sick, None, &places);
    assert_eq!((fleet.baseline, fleet.differences.len()), (None, 0));
    assert!(fleet.baseline_why.unwrap().starts_with("no node among these is known to be healthy"));
    assert_eq!(roll_up_in(&all_sick[..1], None, &places).baseline_why, None, "one node has no neighbours");
    assert_eq!(roll_up_in(&[well("a"), well("b")], None, &places).baseline_why, None, "nobody needs one");
}

#[test]
fn a_baseline_that_was_named_is_taken_and_its_faults_are_told() {
    let mut nodes = nine();
    nodes.push(node("worker-010", vec![]));
    for (name, taken, want) in [
        ("worker-005", true, "worker-005 was named, and nothing wrong was recognised on it"),
        ("worker-006", true, "worker-006 was named, and is itself not well: runtime does not answer"),
        ("worker-010", true, "worker-010 was named; too little of it was looked at"),
        ("other-001", false, "other-001 is not among these nodes, so nothing was held against it"),
    ] {
        let fleet = roll_up(&nodes, Some(&name.parse().unwrap()));
        assert_eq!(fleet.baseline.is_some(), taken, "{name}");
        assert!(fleet.baseline_why.as_deref().unwrap().starts_with(want), "{:?}", fleet.baseline_why);
        assert!(fleet.differences.iter().all(|d| d.node.as_str() != name));
        assert_eq!(fleet.differences.is_empty(), !taken, "{name}");
    }
}

#[test]
fn differences_of_a_node_are_few_and_the_rest_is_counted() {
    let with = |mut node: NodeAnalysis, value: f64| {
        for n in 0..40 {
            node.figures.gauges.insert(format!("figure {n}"), value);
        }
        node
    };
    let fleet = roll_up(&[with(sick("a"), 1000.0), with(well("b"), 1.0)], None);
    assert_eq!(fleet.baseline_why.as_deref(), Some("b is the only healthy node"));
    let told = &fleet.differences[0];
    assert_eq!((told.differences.len(), told.more), (SHOWN, 40 - SHOWN));
}

#[test]
fn a_node_that_is_not_ready_or_not_looked_at_is_no_baseline() {
    let mut not_ready = well("b");
    not_ready.about.ready = Some(false);
    let fleet = roll_up(&[sick("a"), not_ready, node("c", vec![])], None);
    assert_eq!(fleet.baseline, None);
}
