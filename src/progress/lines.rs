//! One line per event, with the time in UTC: for pipes, `--verbose`, `--quiet`, and what stays
//! above the bars. Wording of events lives here; nothing is written here.

use crate::event::{Event, EventKind, NodeResult, NodeSummary};
use crate::evidence::{ChangeState, StepRecord};

use crate::wording::{bytes, count, duration, path, safe};
use std::time::Duration;

/// Which events are worth a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// Warnings and nodes with trouble: `--quiet`, and above the bars.
    Trouble,
    /// Also starts, connections, retries and ends.
    Normal,
    /// Also every step.
    Verbose,
}

/// Returns the line of an event without a line break, or `None` if it is not worth one at this
/// level. Safe to print whatever a node said.
pub(crate) fn line(event: &Event, level: Level) -> Option<String> {
    let normal = level != Level::Trouble;
    let verbose = level == Level::Verbose;
    let text = match &event.kind {
        EventKind::RunStarted { run_id, nodes, out, parallel } if normal => {
            let n = count(nodes.len(), "node");
            format!("run {}: {n}, {parallel} at a time, into {}", safe(run_id), path(out))
        }
        EventKind::NodeStarted { node, deadline } if normal => {
            format!("{node}: connecting, {} for the node", duration(*deadline))
        }
        EventKind::ConnectRetry { node, attempt, reason, pause } if normal => {
            format!("{node}: attempt {attempt} failed, again in {}: {}", duration(*pause), safe(reason))
        }
        EventKind::NodeConnected { node, took } if normal => format!("{node}: connected in {}", duration(*took)),
        EventKind::NodePlanned { node, steps } if verbose => format!("{node}: {} planned", count(*steps, "step")),
        EventKind::StepStarted { node, step, timeout } if verbose => {
            format!("{node}: {step}: started, {} at most", duration(*timeout))
        }
        EventKind::StepFinished { node, record } if verbose => format!("{node}: {}", step(record)),
        EventKind::NodeFinished(summary) if normal || !is_well(summary) => finished(summary),
        EventKind::Change { node, change, state, text } if normal || *state == Some(ChangeState::StillChanged) => {
            let state = match state {
                None => String::new(),
                Some(ChangeState::StillChanged) => "MAY STILL BE CHANGED: ".to_owned(),
                Some(state) => format!("{}: ", state.word()),
            };
            format!("{node}: {change}: {state}{}", safe(text))
        }
        EventKind::Warning { node: Some(node), text } => format!("warning: {node}: {}", safe(text)),
        EventKind::Warning { node: None, text } => format!("warning: {}", safe(text)),
        EventKind::Interrupted { again: false } => {
            "interrupted: ending steps under way, undoing changes, sealing bundles; once more to stop at once"
                .to_owned()
        }
        EventKind::Interrupted { again: true } => {
            "interrupted again: stopping at once; what may still be changed is named at the end".to_owned()
        }
        EventKind::RunFinished { exit_code, took } if normal => {
            format!("run over after {}, exit code {exit_code}", duration(*took))
        }
        _ => return None,
    };
    Some(format!("{} {text}", event.at.strftime("%H:%M:%S")))
}

/// Returns whether nothing needs to be said of the node on a quiet run.
fn is_well(summary: &NodeSummary) -> bool {
    let still_changed = summary.changes.iter().any(|change| change.state == ChangeState::StillChanged);
    summary.result == NodeResult::Complete && summary.steps.is_clean() && !still_changed
}

fn step(record: &StepRecord) -> String {
    let took = duration(Duration::from_millis(record.duration_ms));
    let mut text = format!("{}: {} after {took}, {}", record.id, record.outcome.word(), bytes(record.bytes()));
    if let Some(detail) = &record.detail {
        text.push_str(": ");
        text.push_str(&safe(detail));
    }
    text
}

fn finished(s: &NodeSummary) -> String {
    let node = &s.node;
    let took = duration(Duration::from_millis(s.took_ms));
    let size = bytes(s.bundle_bytes);
    let at = s.bundle.as_deref().map(|p| format!(": {}", path(p))).unwrap_or_default();
    let because = match (&s.failure, &s.reason) {
        (Some(class), Some(reason)) => format!(": {}: {}", safe(class), safe(reason)),
        (Some(one), None) | (None, Some(one)) => format!(": {}", safe(one)),
        (None, None) => String::new(),
    };
    match s.result {
        NodeResult::Complete => {
            format!("{node}: complete after {took}, {}, {size}{at}", count(s.steps.complete, "step"))
        }
        NodeResult::Partial => {
            let c = &s.steps;
            let missing: Vec<String> =
                [(c.truncated, "truncated"), (c.timed_out, "timed out"), (c.failed, "failed"), (c.lost, "lost")]
                    .into_iter()
                    .filter(|(n, _)| *n > 0)
                    .map(|(n, word)| format!("{n} {word}"))
                    .collect();
            let missing = if missing.is_empty() { String::new() } else { format!(", {}", missing.join(", ")) };
            format!("{node}: partial after {took}{missing}{because}")
        }
        NodeResult::Unreached => format!("{node}: not reached after {took}{because}"),
        NodeResult::NotStarted => format!("{node}: not started{because}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_events::{HOSTILE, at, node, opening, record, summary};
    use super::*;
    use crate::event::ChangeSummary;
    use crate::evidence::Outcome;
    use crate::plan::ChangeId;

    fn all(hostile: bool) -> Vec<Event> {
        let text = |plain: &str| if hostile { HOSTILE.to_owned() } else { plain.to_owned() };
        let mut events = opening(2, 1);
        let retry = EventKind::ConnectRetry {
            node: node(2),
            attempt: 1,
            reason: text("worker-002:22: connection refused"),
            pause: Duration::from_secs(2),
        };
        events.push(at(6, retry));
        let detail = text("no answer within 20 s");
        let hung = record("docker/info", Outcome::TimedOut, Some(&detail));
        events.push(at(7, EventKind::StepFinished { node: node(1), record: hung }));
        events.push(at(8, EventKind::Warning { node: Some(node(1)), text: text("clock is 90 s ahead") }));
        events.push(at(8, EventKind::Warning { node: None, text: text("1 GB left on disk") }));
        let mut unreached = summary(2, NodeResult::Unreached);
        unreached.failure = Some(text("refused"));
        unreached.reason = Some(text("worker-002:22: connection refused"));
        events.push(at(9, EventKind::NodeFinished(unreached)));
        let mut complete = summary(3, NodeResult::Complete);
        complete.bundle = Some(text("out/worker-003.tar.zst").into());
        events.push(at(10, EventKind::NodeFinished(complete)));
        events.push(at(10, EventKind::NodeFinished(summary(1, NodeResult::Partial))));
        events.push(at(11, EventKind::Interrupted { again: false }));
        events.push(at(12, EventKind::RunFinished { exit_code: 11, took: Duration::from_secs(12) }));
        events
    }

    fn shown(level: Level) -> Vec<String> {
        all(false).iter().filter_map(|e| line(e, level)).collect()
    }

    #[test]
    fn quiet_tells_only_of_trouble() {
        assert_eq!(
            shown(Level::Trouble),
            [
                "23:17:08 warning: worker-001: clock is 90 s ahead",
                "23:17:08 warning: 1 GB left on disk",
                "23:17:09 worker-002: not reached after 41s: refused: worker-002:22: connection refused",
                "23:17:10 worker-001: partial after 41s, 1 timed out, 2 failed",
                "23:17:11 interrupted: ending steps under way, undoing changes, sealing bundles; once more to stop at once",
            ]
        );
    }

    #[test]
    fn changes_are_told_and_a_node_still_changed_even_on_a_quiet_run() {
        let event = |state, text: &str| {
            let change = ChangeId::DockerdDebug;
            at(9, EventKind::Change { node: node(1), change, state, text: text.to_owned() })
        };
        for (state, text, normal, quiet) in [
            (None, "debug is on for 20 s", "23:17:09 worker-001: dockerd-debug: debug is on for 20 s", false),
            (
                Some(ChangeState::Reverted),
                "off again",
                "23:17:09 worker-001: dockerd-debug: reverted: off again",
                false,
            ),
            (
                Some(ChangeState::StillChanged),
                "debug is on",
                "23:17:09 worker-001: dockerd-debug: MAY STILL BE CHANGED: debug is on",
                true,
            ),
        ] {
            let event = event(state, text);
            assert_eq!(line(&event, Level::Normal).as_deref(), Some(normal));
            assert_eq!(line(&event, Level::Trouble).is_some(), quiet, "{normal}");
        }
        let mut well = summary(1, NodeResult::Complete);
        assert!(is_well(&well));
        let (change, state) = (ChangeId::DockerdDebug, ChangeState::StillChanged);
        well.changes.push(ChangeSummary { change, state, text: String::new(), mend: None });
        assert!(!is_well(&well));
    }

    #[test]
    fn lines_tell_what_matters_and_verbose_the_steps_too() {
        let normal = shown(Level::Normal);
        assert_eq!(normal[0], "23:17:00 run r1: 2 nodes, 64 at a time, into out");
        assert_eq!(normal[1], "23:17:01 worker-001: connecting, 10m00s for the node");
        assert_eq!(normal[2], "23:17:02 worker-001: connected in 0.3s");
        assert_eq!(
            normal[3],
            "23:17:06 worker-002: attempt 1 failed, again in 2.0s: worker-002:22: connection refused"
        );
        assert!(normal.contains(
            &"23:17:10 worker-003: complete after 41s, 74 steps, 12.3 MB: out/worker-003.tar.zst".to_owned()
        ));
        assert_eq!(normal.last().unwrap(), "23:17:12 run over after 12s, exit code 11");
        let step = "23:17:07 worker-001: docker/info: timed-out after 0.2s, 12.3 kB: no answer within 20 s".to_owned();
        assert!(!normal.contains(&step));
        assert!(shown(Level::Verbose).contains(&step));
    }

    #[test]
    fn no_node_can_forge_a_line_or_act_on_the_terminal() {
        let lines: Vec<String> = all(true).iter().filter_map(|e| line(e, Level::Verbose)).collect();
        assert!(lines.iter().filter(|l| l.contains("alert(1)")).count() >= 6);
        for line in lines {
            let bad = |c: char| c.is_control() || matches!(c, '\u{202e}' | '\u{2066}');
            assert!(!line.contains(bad), "{line:?}");
        }
    }
}
