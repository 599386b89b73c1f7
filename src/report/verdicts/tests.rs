//! The verdicts as an operator sees them.

use super::{Detail, markdown, text};
use crate::analyze::about::About;
use crate::analyze::figures::Figures;
use crate::analyze::finding::{Finding, Layer, Severity};
use crate::analyze::node::NodeAnalysis;
use crate::analyze::verdict::{self, Verdict};
use crate::inventory::NodeName;
use crate::progress::test_events::HOSTILE;
use crate::report::analysis::{Analysis, Unjudged, Unreadable};
use crate::wording::columns;

const LOCK: &str = "dockerd lock held by ContainerStop, which waits for containerd";

fn name(name: &str) -> NodeName {
    name.parse().unwrap()
}

fn node(node: &str, findings: Vec<Finding>) -> NodeAnalysis {
    let gravest = findings.iter().find(|f| f.severity > Severity::Info);
    let verdict = match gravest {
        Some(finding) => Verdict {
            layer: finding.layer,
            sentence: finding.signature.clone().unwrap_or_else(|| finding.sentence.clone()),
        },
        None => Verdict { layer: None, sentence: verdict::NOTHING.to_owned() },
    };
    NodeAnalysis {
        node: name(node),
        source: format!("run/{node}.tar.zst"),
        sealed: true,
        about: About::default(),
        verdict,
        findings,
        figures: Figures::default(),
        moments: Vec::new(),
        steps: Vec::new(),
    }
}

fn finding(of: &str, id: &str, severity: Severity, sentence: &str) -> Finding {
    Finding::new(&name(of), id, severity, sentence)
}

fn gap(of: &str, question: &str, file: &str, why: &str) -> Finding {
    finding(
        of,
        &format!("{file}/missing"),
        Severity::Info,
        &format!("It cannot be said {question}: {file} is missing: {why}."),
    )
}

/// A node whose dockerd hangs.
fn stuck(of: &str) -> NodeAnalysis {
    let convoy = finding(of, "dockerd-locks/convoy", Severity::Critical, "25 goroutines of dockerd wait for one lock.")
        .blames(Layer::Dockerd)
        .cites("docker/stacks/2.log", 373, 373)
        .cites("docker/stacks/2.log", 1281, 1341)
        .then("The holder's stack.")
        .alike(LOCK);
    let pleg = finding(of, "pleg/unhealthy", Severity::Warning, "PLEG was not healthy for 8m01s.").cites(
        "kubelet/journal.txt",
        29,
        29,
    );
    let memory = finding(of, "memory/enough", Severity::Info, "Memory is not short: 23.6 GB of 25.2 GB available.");
    let refused = "failed: 401 from the kubelet after 0.0s";
    let gaps = [
        gap(of, "how long relist takes", "kubelet/metrics-1.txt", refused),
        gap(of, "where relist stands", "kubelet/goroutine-1.txt", refused),
        finding(
            of,
            "disk/incomplete",
            Severity::Info,
            "It cannot be said for certain how full the disks are: host/df.txt is not whole: timed-out: 5s",
        ),
    ];
    node(of, [convoy, pleg, memory].into_iter().chain(gaps).collect())
}

fn healthy(of: &str) -> NodeAnalysis {
    let relist = finding(of, "relist/well", Severity::Info, "Relist is not blocked.");
    let answers = finding(of, "runtime-hung/answers", Severity::Info, "The runtime answers in 30 ms.");
    node(of, vec![relist, answers])
}

fn without(node: &str, reason: &str) -> Unjudged {
    Unjudged { node: name(node), reason: reason.to_owned(), next: None }
}

fn fleet_of_nine() -> Analysis {
    let nodes = (1..=3).map(|i| stuck(&format!("worker-00{i}")));
    let nodes = nodes.chain((4..=8).map(|i| healthy(&format!("worker-00{i}")))).collect();
    let unreadable = Unreadable { path: "run/x.tar.zst".to_owned(), reason: "it is no bundle".to_owned() };
    Analysis::new(nodes, None, vec![unreadable]).and_unjudged([without("worker-009", "not reached (no-banner)")])
}

#[test]
fn three_sick_nodes_of_nine_read_well_at_80_columns() {
    insta::assert_snapshot!(text(&fleet_of_nine(), 80, false, Detail::Usual), @r#"
    dockerd     worker-00[1-3] (3 nodes): dockerd lock held by ContainerStop, which
                waits for containerd
      critical  25 goroutines of dockerd wait for one lock (all 3; here worker-001)
                see docker/stacks/2.log:373, docker/stacks/2.log:1281-1341
                next: The holder's stack.
      warning   PLEG was not healthy for 8m01s (all 3; here worker-001)
                see kubelet/journal.txt:29
      looked at memory is not short: 23.6 GB of 25.2 GB available
      open      cannot be said: how long relist takes, where relist stands
                (kubelet/metrics-1.txt, kubelet/goroutine-1.txt missing: failed: 401
                from the kubelet after 0.0s); how full the disks are (host/df.txt
                not whole: timed-out: 5s)

    well        worker-00[4-8] (5 nodes): nothing wrong was recognised
      looked at relist is not blocked; the runtime answers in 30 ms

    no verdict  worker-009: not reached (no-banner)
    not read    run/x.tar.zst: it is no bundle

    compared    worker-004 was chosen of 5 healthy nodes
    "#);
}

#[test]
fn a_single_node_reads_well_and_everything_is_told_on_request() {
    let analysis = Analysis::new(vec![stuck("worker-001")], None, Vec::new());
    insta::assert_snapshot!(text(&analysis, 100, false, Detail::All), @r#"
    dockerd     worker-001: dockerd lock held by ContainerStop, which waits for containerd
      critical  25 goroutines of dockerd wait for one lock.
                see docker/stacks/2.log:373, docker/stacks/2.log:1281-1341
                next: The holder's stack.
      warning   PLEG was not healthy for 8m01s.
                see kubelet/journal.txt:29
      looked at Memory is not short: 23.6 GB of 25.2 GB available.
      open      cannot be said: how long relist takes, where relist stands (kubelet/metrics-1.txt,
                kubelet/goroutine-1.txt missing: failed: 401 from the kubelet after 0.0s); how full the
                disks are (host/df.txt not whole: timed-out: 5s)
    "#);
}

#[test]
fn an_incident_comment_reads_well() {
    insta::assert_snapshot!(markdown(&fleet_of_nine()), @r#"
    # What the evidence says

    - **dockerd**: `worker-00[1-3]` (3 nodes): **dockerd lock held by ContainerStop, which waits for containerd**
      - critical: 25 goroutines of dockerd wait for one lock (all 3; here worker-001) (docker/stacks/2.log:373, docker/stacks/2.log:1281-1341)
        - next: The holder's stack.
      - warning: PLEG was not healthy for 8m01s (all 3; here worker-001) (kubelet/journal.txt:29)
      - looked at: memory is not short: 23.6 GB of 25.2 GB available
      - cannot be said: how long relist takes, where relist stands (kubelet/metrics-1.txt, kubelet/goroutine-1.txt missing: failed: 401 from the kubelet after 0.0s); how full the disks are (host/df.txt not whole: timed-out: 5s)
    - **well**: `worker-00[4-8]` (5 nodes): **nothing wrong was recognised**
      - looked at: relist is not blocked; the runtime answers in 30 ms
    - **no verdict**: `worker-009`: not reached (no-banner)
    - **not read**: run/x.tar.zst: it is no bundle
    - compared: worker-004 was chosen of 5 healthy nodes
    "#);
}

#[test]
fn what_a_verdict_says_is_not_said_again() {
    let full =
        finding("n1", "disk/full", Severity::Critical, "/var is full").blames(Layer::Disk).cites("host/df.txt", 3, 3);
    let analysis = Analysis::new(vec![node("n1", vec![full])], None, Vec::new());
    let shown = text(&analysis, 80, false, Detail::Usual);
    assert_eq!(shown, "disk        n1: /var is full\n  critical  see host/df.txt:3\n");
}

/// A hundred nodes, each sick in its own way.
fn all_differ() -> Analysis {
    let one = |i: usize| {
        let of = format!("node-{i:03}-{}", "abcdefghij".chars().cycle().skip(i).take(8).collect::<String>());
        let findings = (0..12).map(|f| {
            finding(
                &of,
                &format!("rule{f}/x"),
                Severity::Critical,
                &format!("{} number {f} on {of}", "words ".repeat(60)),
            )
            .cites("kubelet/journal.txt", 1, 2)
            .then(&"something ".repeat(40))
            .alike(&format!("{of} and {f}"))
        });
        node(&of, findings.collect())
    };
    Analysis::new((0..100).map(one).collect(), None, Vec::new())
}

#[test]
fn a_hundred_nodes_stay_readable() {
    let mut nodes: Vec<NodeAnalysis> = (1..=60).map(|i| stuck(&format!("worker-{i:03}"))).collect();
    nodes.extend((61..=90).map(|i| healthy(&format!("worker-{i:03}"))));
    let unjudged = (91..=100).map(|i| without(&format!("worker-{i:03}"), "not reached (refused)"));
    let analysis = Analysis::new(nodes, None, Vec::new()).and_unjudged(unjudged);
    let shown = text(&analysis, 100, false, Detail::Usual);
    assert!(shown.lines().count() < 20, "{shown}");
    assert!(shown.contains("worker-0[01-60] (60 nodes): "), "{shown}");
    assert!(shown.contains("no verdict  worker-[091-100] (10 nodes): not reached (refused)"), "{shown}");

    let worst = all_differ();
    let shown = text(&worst, 80, false, Detail::Usual);
    assert!(shown.lines().count() < 350, "{}", shown.lines().count());
    assert!(shown.contains("88 more groups of 88 nodes") && shown.contains("--all shows"), "{shown}");
    assert!(text(&worst, 80, false, Detail::All).contains("number 11 on node-099"), "everything is told on request");
    assert!(text(&worst, 80, false, Detail::Brief).lines().count() < 200);
}

#[test]
fn a_comment_fits_whatever_was_found() {
    let worst = all_differ();
    assert!(markdown(&worst).len() < 65_536);
    let mut many: Vec<Unreadable> = Vec::new();
    for i in 0..2_000 {
        many.push(Unreadable { path: format!("run/{i}"), reason: "no bundle ".repeat(20) });
    }
    let comment = markdown(&Analysis::new(Vec::new(), None, many));
    assert!(comment.len() < 65_536 && comment.ends_with("(cut here: longer than a comment may be)\n"));
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for analysis in [fleet_of_nine(), all_differ()] {
        for width in [40, 80, 200] {
            for detail in [Detail::Brief, Detail::Usual, Detail::All] {
                let text = text(&analysis, width, false, detail);
                let widest = text.lines().max_by_key(|line| columns(line)).unwrap();
                assert!(columns(widest) <= width, "{width} {detail:?}: {widest}");
            }
        }
    }
}

#[test]
fn what_a_node_writes_reaches_nobody_as_markup_or_control() {
    let evil = format!("{HOSTILE} <script>x</script> @team #1 [a](http://b)");
    let bad = finding("n1", "disk/full", Severity::Critical, &evil).then(&evil).alike(&evil);
    let mut sick = node("n1", vec![bad]);
    sick.verdict.sentence.clone_from(&evil);
    let analysis = Analysis::new(vec![sick], None, Vec::new()).and_unjudged([without("n2", &evil)]);
    let shown = text(&analysis, 80, false, Detail::All);
    assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
    let comment = markdown(&analysis);
    assert!(comment.chars().all(|c| c == '\n' || !c.is_control()), "{comment:?}");
    // What a backslash stands before is shown as it is.
    let active = regex::Regex::new(r"\\.").unwrap().replace_all(&comment, "");
    for sign in ["<", "@team", "#1", "[", "]", "http://"] {
        assert!(!active.contains(sign), "{sign}: {comment}");
    }
    assert!(analysis.json().unwrap().is_ascii());
}

#[test]
fn colour_is_at_the_labels_and_nowhere_without_it() {
    let analysis = fleet_of_nine();
    assert!(!text(&analysis, 80, false, Detail::Usual).contains('\u{1b}'));
    let shown = text(&analysis, 80, true, Detail::Usual);
    assert!(shown.starts_with("\u{1b}[1m\u{1b}[31mdockerd     \u{1b}[0mworker-00[1-3]"), "{shown:?}");
    assert!(shown.contains("\u{1b}[1m\u{1b}[32mwell        \u{1b}[0mworker-00[4-8]"), "{shown:?}");
}

#[test]
fn a_node_without_a_verdict_is_held_against_nobody() {
    let mut lost = healthy("n2");
    lost.verdict = Verdict::none("not reached (no-banner)");
    let analysis = Analysis::new(vec![healthy("n1"), lost], None, Vec::new());
    assert_eq!((analysis.nodes.len(), analysis.fleet.groups.len()), (1, 1));
    assert_eq!(analysis.unjudged, [without("n2", "not reached (no-banner)")]);
}

#[test]
fn looks_at_one_node_at_two_times_are_told_apart() {
    let analysis = Analysis::new(vec![stuck("n1"), healthy("n1")], None, Vec::new());
    let shown = text(&analysis, 100, false, Detail::Usual);
    assert!(shown.contains("dockerd     n1: ") && shown.contains("well        n1: "), "{shown}");
    assert!(!shown.contains("of 2 nodes"), "{shown}");
}
