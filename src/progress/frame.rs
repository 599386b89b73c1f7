//! Frames: the lines of the live display for a terminal of a given size. Pure: the board and a
//! moment in, lines out; none is wider than the terminal and they never fill it.

use std::time::Duration;

use jiff::Timestamp;

use super::board::{Board, Flight, Stage};
use crate::plan::ChangeId;
use crate::wording::{bytes, columns, count, cut, fit, fit_right, whole_seconds};

/// Rows left to what scrolls above.
const ROWS_KEPT_FREE: usize = 3;

const YELLOW: &str = "\u{1b}[33m";
const RED: &str = "\u{1b}[31m";
const DIM: &str = "\u{1b}[2m";
const RESET: &str = "\u{1b}[0m";

/// Returns the lines for a terminal of `rows` and `cols`: the whole run first, then the nodes in flight.
pub(crate) fn frame(board: &Board, now: Timestamp, rows: usize, cols: usize, color: bool) -> Vec<String> {
    // The last column stays free: some terminals wrap once it is written to.
    let width = cols.saturating_sub(1).max(1);
    let height = rows.saturating_sub(ROWS_KEPT_FREE).max(1);
    let mut lines = vec![overall(board, now, width, color)];
    let in_flight = board.flights().len();
    let room = height - 1;
    let shown = if in_flight <= room { in_flight } else { room.saturating_sub(1) };
    let name_width =
        board.flights().take(shown).map(|f| columns(f.node.as_str())).max().unwrap_or(0).min((width / 3).max(8));
    for flight in board.flights().take(shown) {
        lines.push(node_line(flight, now, width, name_width, color));
    }
    let rest = in_flight - shown;
    if rest > 0 && room > 0 {
        let what = if shown == 0 { "" } else { "more " };
        let text = cut(&format!("… and {} in flight", count(rest, &format!("{what}node"))), width);
        lines.push(paint(&text, DIM, color));
    }
    lines
}

fn overall(board: &Board, now: Timestamp, width: usize, color: bool) -> String {
    const GAP: usize = 2;
    // In the order they are shown, with a rank: the higher ones go first when there is no room.
    let mut parts: Vec<(u8, String, &str)> = vec![(0, format!("{}/{} nodes", board.done, board.total), "")];
    if board.unreached > 0 {
        parts.push((1, format!("{} unreached", board.unreached), RED));
    }
    if board.partial > 0 {
        parts.push((2, format!("{} partial", board.partial), YELLOW));
    }
    if board.stopping {
        parts.push((1, "stopping".to_owned(), YELLOW));
    }
    parts.push((5, count(board.steps, "step"), ""));
    parts.push((4, bytes(board.bytes()), ""));
    parts.push((3, whole_seconds(since(board.started, now)), ""));
    let used = |parts: &[(u8, String, &str)]| {
        parts.iter().map(|(_, t, _)| columns(t) + GAP).sum::<usize>().saturating_sub(GAP)
    };
    while used(&parts) > width && parts.len() > 1 {
        let last = parts.iter().enumerate().max_by_key(|(_, p)| p.0).map(|(i, _)| i).unwrap_or_default();
        parts.remove(last);
    }
    let bar_room = width.saturating_sub(used(&parts) + GAP).min(32);
    let mut line = String::new();
    if bar_room >= 10 {
        line.push_str(&bar(board.done, board.total, bar_room));
        line.push_str("  ");
    }
    let texts: Vec<String> = parts.iter().map(|(_, text, style)| paint(&cut(text, width), style, color)).collect();
    line.push_str(&texts.join("  "));
    line
}

fn bar(done: usize, total: usize, width: usize) -> String {
    let inner = width.saturating_sub(2);
    let full = (done.min(total) * inner).checked_div(total).unwrap_or(0);
    let head = usize::from(full < inner);
    format!("[{}{}{}]", "=".repeat(full), ">".repeat(head), " ".repeat(inner - full - head))
}

/// `worker-001  docker/stacks +2    12s/20s  1.2 MB   31/78`; what has no room is left out from the right.
fn node_line(flight: &Flight, now: Timestamp, width: usize, name_width: usize, color: bool) -> String {
    let (what, spent, bound) = match (flight.steps.first(), &flight.stage) {
        (Some(step), _) => {
            let more = flight.steps.len() - 1;
            let what = if more > 0 { format!("{} +{more}", step.id) } else { step.id.to_string() };
            (what, since(Some(step.since), now), step.timeout)
        }
        (None, stage) => {
            let what = match stage {
                Stage::Connecting => "connecting".to_owned(),
                Stage::Retrying(attempt) => format!("connecting, attempt {}", attempt.saturating_add(1)),
                Stage::Connected => match flight.planned {
                    None => "looking around".to_owned(),
                    Some(n) if flight.finished >= n => "sealing the bundle".to_owned(),
                    Some(_) => match flight.changed {
                        Some(ChangeId::DockerdDebug) => "dockerd's debug window".to_owned(),
                        Some(ChangeId::KubeletVerbosity) => "kubelet's raised verbosity".to_owned(),
                        Some(ChangeId::StackDump) | None => "between steps".to_owned(),
                    },
                },
            };
            (what, since(Some(flight.since), now), flight.deadline)
        }
    };
    let clock = format!("{}/{}", whole_seconds(spent), whole_seconds(bound));
    let clock_style = match (spent.as_secs_f64(), bound.as_secs_f64()) {
        (s, b) if s >= b => RED,
        (s, b) if s > b * 0.75 => YELLOW,
        _ => "",
    };
    let size = fit_right(&bytes(flight.bytes()), 7);
    let steps = flight.planned.map(|n| format!("{}/{n}", flight.finished)).unwrap_or_default();
    let clock_width = 13.max(columns(&clock));
    let mut line = fit(flight.node.as_str(), name_width);
    let mut left = width.saturating_sub(name_width);
    // The clock outranks the step's name, that outranks sizes.
    let with_size = left >= clock_width + 2 + 9 + 9 + 22;
    let tail = if with_size { 9 + 9 } else { 0 };
    let what_width = left.saturating_sub(2 + 2 + clock_width + tail).min(40);
    if what_width >= 6 {
        line.push_str("  ");
        line.push_str(&fit(&what, what_width));
        left = left.saturating_sub(2 + what_width);
    }
    if left >= clock_width + 2 {
        line.push_str("  ");
        line.push_str(&paint(&fit_right(&clock, clock_width), clock_style, color));
    }
    if with_size {
        line.push_str(&format!("  {size}  {}", fit_right(&steps, 7)));
    }
    line
}

fn since(start: Option<Timestamp>, now: Timestamp) -> Duration {
    start.and_then(|s| Duration::try_from(now.duration_since(s)).ok()).unwrap_or_default()
}

fn paint(text: &str, style: &str, color: bool) -> String {
    if color && !style.is_empty() { format!("{style}{text}{RESET}") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::test_events::{at, moment, node, opening, summary};
    use super::*;
    use crate::event::{EventKind, NodeResult};
    use crate::wording::columns;

    fn board(nodes: usize, in_flight: usize) -> Board {
        let mut board = Board::default();
        opening(nodes, in_flight).iter().for_each(|e| board.apply(e));
        board
    }

    #[test]
    fn shows_the_run_and_the_nodes_in_flight() {
        let mut board = board(500, 64);
        for (i, result) in
            [(1, NodeResult::Complete), (2, NodeResult::Partial), (3, NodeResult::Unreached), (4, NodeResult::Complete)]
        {
            board.apply(&at(9, EventKind::NodeFinished(summary(i, result))));
        }
        let lines = frame(&board, moment(16), 8, 80, false);
        assert_eq!(
            lines,
            [
                "[>                ]  4/500 nodes  1 unreached  1 partial  0 steps  74.0 MB  16s",
                "worker-005  docker/goroutine-stacks +2                12s/20s   1.2 MB     0/78",
                "worker-006  docker/goroutine-stacks +2                12s/20s   1.2 MB     0/78",
                "worker-007  docker/goroutine-stacks +2                12s/20s   1.2 MB     0/78",
                "… and 57 more nodes in flight",
            ]
        );
    }

    #[test]
    fn fits_every_terminal() {
        for (nodes, in_flight) in [(0, 0), (3, 3), (500, 64), (1000, 64), (1000, 1000)] {
            let board = board(nodes, in_flight);
            for (rows, cols) in [(24, 80), (10, 40), (50, 200), (5, 20), (1, 1), (4, 3)] {
                let lines = frame(&board, moment(3600), rows, cols, false);
                let context = format!("{nodes} nodes, {rows}x{cols}: {lines:?}");
                assert!(lines.len() <= rows.saturating_sub(ROWS_KEPT_FREE).max(1), "{context}");
                assert!(lines.iter().all(|l| columns(l) < cols.max(2)), "{context}");
                let shown = lines.iter().filter(|l| l.starts_with("worker")).count();
                if let Some(rest) = lines.last().filter(|l| l.starts_with("… and") && cols >= 40) {
                    let n: usize = rest.split(' ').nth(2).unwrap().parse().unwrap();
                    assert_eq!(shown + n, in_flight, "{context}");
                }
            }
        }
    }

    #[test]
    fn colour_changes_no_width_and_marks_what_is_late() {
        let board = board(3, 3);
        let plain = frame(&board, moment(20), 24, 80, false);
        let painted = frame(&board, moment(20), 24, 80, true);
        assert!(painted[1].contains(YELLOW), "16 s of 20 s: {painted:?}");
        let stripped: Vec<String> =
            painted.iter().map(|l| [YELLOW, RED, DIM, RESET].iter().fold(l.clone(), |l, s| l.replace(s, ""))).collect();
        assert_eq!(stripped, plain);
    }

    #[test]
    fn a_node_that_only_waits_for_its_debug_window_says_so() {
        use crate::evidence::ChangeState;
        let mut board = Board::default();
        let text = String::new;
        let change = |state| EventKind::Change { node: node(1), change: ChangeId::DockerdDebug, state, text: text() };
        for kind in [
            EventKind::NodeStarted { node: node(1), deadline: Duration::from_secs(300) },
            EventKind::NodeConnected { node: node(1), took: Duration::ZERO },
            EventKind::NodePlanned { node: node(1), steps: 65 },
            change(None),
        ] {
            board.apply(&at(1, kind));
        }
        assert!(frame(&board, moment(20), 24, 80, false)[1].contains("  dockerd's debug window  "));
        board.apply(&at(21, change(Some(ChangeState::Reverted))));
        assert!(frame(&board, moment(22), 24, 80, false)[1].contains("between steps"));
    }

    #[test]
    fn a_clock_set_back_is_no_catastrophe() {
        let lines = frame(&board(3, 3), moment(-7200), 24, 80, false);
        assert!(lines[1].contains(" 0s/20s"), "{lines:?}");
    }

    #[test]
    fn a_node_that_was_not_started_is_not_done() {
        let mut board = board(3, 1);
        board.apply(&at(9, EventKind::NodeFinished(summary(2, NodeResult::NotStarted))));
        board.apply(&at(9, EventKind::NodeFinished(summary(1, NodeResult::Complete))));
        assert_eq!((board.done, board.flights().len()), (1, 0));
        assert!(node(1).as_str() == "worker-001");
    }
}
