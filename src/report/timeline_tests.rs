//! Tests of the printed timeline: rows folded, widths kept, hostile texts harmless.

use super::*;
use crate::analyze::finding::Citation;

fn moment(seconds: i64, node: &str, kind: MomentKind, severity: Severity, text: &str) -> Moment {
    Moment {
        time: Timestamp::from_second(1_795_210_150 + seconds).unwrap(),
        until: None,
        count: 1,
        node: node.parse().unwrap(),
        kind,
        severity,
        text: text.to_owned(),
        citation: Some(Citation { file: "kubelet/journal.txt".to_owned(), lines: Some((3, 9)) }),
    }
}

fn three_sick() -> Vec<Moment> {
    let mut moments = Vec::new();
    for n in 1..=3 {
        let node = format!("worker-00{n}");
        let mut late = moment(
            n,
            &node,
            MomentKind::Deadlines,
            Severity::Warning,
            &format!("runtime calls ran out of time: ListContainers × {n}"),
        );
        (late.count, late.until) = (10, Some(late.time + SignedDuration::from_secs(300)));
        moments.push(late);
        moments.push(moment(
            62 + n,
            &node,
            MomentKind::PlegUnhealthy,
            Severity::Critical,
            "PLEG unhealthy: relist last active 3m02s before",
        ));
        moments.push(moment(500, &node, MomentKind::Ready, Severity::Info, "node set Ready"));
    }
    moments.push(moment(9000, "worker-002", MomentKind::Ready, Severity::Info, "node set Ready"));
    moments.sort_by_key(|m| m.time);
    moments
}

#[test]
fn the_same_on_several_nodes_is_one_line() {
    let text = text(&three_sick(), 100, 50, false);
    let want = "\
Timeline (UTC, by the operator's clock)
  2026-11-20
    21:29:11  worker-00[1-3]  !  runtime calls ran out of time; 30 times in all; until 21:34:13
    21:30:13  worker-00[1-3]  !! PLEG unhealthy: relist last active 3m02s before
    21:37:30  worker-00[1-3]     node set Ready
    23:59:10  worker-002         node set Ready
";
    assert_eq!(text, want);
}

#[test]
fn one_node_needs_no_column_and_a_new_day_is_said() {
    let mut moments = vec![
        moment(0, "a", MomentKind::Start, Severity::Info, "kubelet started: v1.30.4"),
        moment(90_000, "a", MomentKind::Gap, Severity::Warning, "log of kubelet has a gap: 3 MB left out"),
    ];
    moments[0].until = Some(moments[1].time);
    let text = text(&moments, 80, 50, false);
    let want = "\
Timeline of a (UTC, by the operator's clock)
  2026-11-20
    21:29:10     kubelet started: v1.30.4; until 2026-11-21 22:29:10
  2026-11-21
    22:29:10  !  log of kubelet has a gap: 3 MB left out
";
    assert_eq!(text, want);
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    let names: Vec<String> = (0..200).map(|n| format!("node-{}-of-pool-{}", n * 7, n % 13)).collect();
    let long = "a long text 国国国国国国国国 ".repeat(12);
    let moments: Vec<Moment> =
        names.iter().map(|n| moment(1, n, MomentKind::Kernel, Severity::Critical, &long)).collect();
    for width in [40, 60, 80, 100, 200] {
        let told = text(&three_sick(), width, 1, false) + &text(&moments, width, 50, false);
        for line in told.lines() {
            assert!(columns(line) <= width, "{width}: {line}");
        }
        assert!(told.contains("worker-00[1-3]"), "{width}: {told}");
    }
}

#[test]
fn colours_come_only_when_asked_for() {
    assert!(!text(&three_sick(), 100, 50, false).contains('\u{1b}'));
    let colored = text(&three_sick(), 100, 50, true);
    assert!(
        colored.contains("\u{1b}[31mPLEG unhealthy") && colored.contains("\u{1b}[32mnode set Ready"),
        "{colored:?}"
    );
}

#[test]
fn the_least_grave_go_first_and_that_is_said() {
    for told in [text(&three_sick(), 100, 2, false), markdown(&three_sick(), 2)] {
        assert!(
            told.contains("PLEG unhealthy") && told.contains("runtime calls") && !told.contains("set Ready"),
            "{told}"
        );
        assert!(told.contains("2 lines of less gravity left out here"), "{told}");
    }
    assert_eq!((text(&[], 80, 5, false), markdown(&[], 5)), (String::new(), String::new()));
}

#[test]
fn beside_a_verdict_stands_trouble_and_how_it_ended_and_nothing_where_there_was_none() {
    let mut moments = three_sick();
    moments.push(moment(9001, "worker-002", MomentKind::OurSample, Severity::Info, "dump of goroutines taken"));
    let matter = that_matter(&moments);
    assert_eq!(matter.len(), moments.len() - 1);
    assert!(matter.iter().all(|moment| moment.kind != MomentKind::OurSample));
    moments.retain(|moment| moment.severity == Severity::Info);
    assert_eq!(that_matter(&moments), []);
}

#[test]
fn texts_of_a_hostile_node_end_no_cell_and_repaint_no_terminal() {
    let text_of = "x | <script> `a` [l](http://e) @all \u{1b}[2J\u{202e}\nnext";
    let moments = [moment(0, "a", MomentKind::Daemon, Severity::Warning, text_of)];
    let table = markdown(&moments, 5);
    let row = table.lines().nth(2).unwrap();
    assert_eq!(table.lines().count(), 3, "{table}");
    assert_eq!(row.replace("\\|", "").matches('|').count(), 6, "{row}");
    assert!(row.contains("\\<script\\>") && row.contains("@&#8203;all") && row.contains("\\[l\\]"), "{row}");
    let text = text(&moments, 100, 5, false);
    assert!(!text.contains(['\u{1b}', '\u{202e}']) && text.lines().count() == 3, "{text:?}");
}
