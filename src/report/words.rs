//! Words of the reports: results, step counts, and what a summary may claim.

use std::path::Path;

use crate::event::{NodeResult, NodeSummary, StepCounts};
use crate::wording::{count, path, safe};

/// Returns the result that may be claimed: `Complete` needs clean steps and a sealed bundle,
/// whatever the summary calls itself.
pub(super) fn claim(node: &NodeSummary) -> NodeResult {
    let proven = node.steps.is_clean() && node.bundle.is_some() && node.sha256.is_some();
    match node.result {
        NodeResult::Complete if !proven => NodeResult::Partial,
        result => result,
    }
}

pub(super) const fn result(result: NodeResult) -> &'static str {
    match result {
        NodeResult::Complete => "complete",
        NodeResult::Partial => "partial",
        NodeResult::Unreached => "unreached",
        NodeResult::NotStarted => "not started",
    }
}

/// Returns `9 nodes: 7 complete, 1 partial, 1 unreached`.
pub(super) fn tally(nodes: &[NodeSummary]) -> String {
    use NodeResult::{Complete, NotStarted, Partial, Unreached};
    let parts: Vec<String> = [Complete, Partial, Unreached, NotStarted]
        .into_iter()
        .map(|r| (nodes.iter().filter(|n| claim(n) == r).count(), r))
        .filter(|(n, _)| *n > 0)
        .map(|(n, r)| format!("{n} {}", result(r)))
        .collect();
    let all = count(nodes.len(), "node");
    if parts.is_empty() { all } else { format!("{all}: {}", parts.join(", ")) }
}

/// Returns the steps that yielded less than there was, `1 timed-out, 2 failed`; empty if there are none.
pub(super) fn unclean(steps: &StepCounts) -> String {
    let parts: Vec<String> = [
        (steps.timed_out, "timed-out"),
        (steps.failed, "failed"),
        (steps.truncated, "truncated"),
        (steps.lost, "lost"),
    ]
    .into_iter()
    .filter(|(n, _)| *n > 0)
    .map(|(n, word)| format!("{n} {word}"))
    .collect();
    parts.join(", ")
}

/// Returns why a node is not complete, in one sentence, safe to print.
pub(super) fn why(node: &NodeSummary) -> String {
    match (&node.reason, &node.failure) {
        (Some(reason), _) => safe(reason),
        (None, Some(class)) => safe(class),
        (None, None) => match (claim(node), &node.bundle) {
            (NodeResult::NotStarted, _) => "its turn had not come".to_owned(),
            (NodeResult::Unreached, _) => "no reason was recorded".to_owned(),
            (_, None) => "no bundle was written".to_owned(),
            (_, Some(_)) if node.sha256.is_none() => "the bundle was not sealed".to_owned(),
            _ => unclean(&node.steps),
        },
    }
}

/// Returns the command that tells everything of a run, to be copied: quoted where a shell would read it otherwise.
pub(crate) fn report_command(out: &Path) -> String {
    format!("plegcollect report {}", shell_word(&path(out)))
}

/// Returns a word as a shell reads it: quoted where it would be read otherwise.
pub(super) fn shell_word(word: &str) -> String {
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | ':' | '+' | '=' | ',' | '@' | '%');
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
