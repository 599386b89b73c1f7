//! The verdicts as Markdown, as a comment of an incident takes them. What may stem from a node is escaped.

use std::fmt::Write as _;

use super::escape::escaped;
use super::story::{self, Told};
use super::{Detail, Most};
use crate::report::analysis::Analysis;
use crate::report::timeline;
use crate::wording::count;

/// Most characters of a comment on GitHub and Gitea are 65,536; the summary of the run stands below.
pub(in crate::report) const FITS: usize = 60_000;

/// Rows of the timeline.
const ROWS: usize = 12;

/// Returns Markdown of its own, as a comment of an incident takes it: below 64 KiB, with less said of each group where there
/// are many.
#[must_use]
pub fn markdown(analysis: &Analysis) -> String {
    let levels = [Most::of(Detail::Usual), Most::of(Detail::Brief), LEAST];
    let texts = levels.iter().map(|most| format!("# What the evidence says\n\n{}", of(analysis, *most)));
    let mut last = String::new();
    for text in texts {
        if text.len() <= FITS {
            return text;
        }
        last = text;
    }
    cut(&last, FITS)
}

/// What is told where even the brief form is too long.
const LEAST: Most = Most {
    groups: 8,
    in_full: 1,
    findings: 1,
    advice: 0,
    sentence: 200,
    places: 2,
    columns: 0,
    differences: 0,
    moments: 0,
};

/// Returns the verdicts as a part of SUMMARY.md, without a heading. `level`: 0 tells most, 1 less, others the least.
pub(in crate::report) fn section(analysis: &Analysis, level: usize) -> String {
    match level {
        0 => of(analysis, Most { findings: 5, advice: 3, columns: 300, ..Most::of(Detail::Brief) }),
        1 => of(analysis, Most::of(Detail::Brief)),
        _ => of(analysis, LEAST),
    }
}

/// Cuts a text at the end of a line, and says so.
pub(in crate::report) fn cut(text: &str, most: usize) -> String {
    const END: &str = "\n(cut here: longer than a comment may be)\n";
    if text.len() <= most {
        return text.to_owned();
    }
    let mut kept = String::new();
    for line in text.split_inclusive('\n') {
        if kept.len() + line.len() + END.len() > most {
            break;
        }
        kept.push_str(line);
    }
    kept + END
}

fn of(analysis: &Analysis, most: Most) -> String {
    let mut out = String::new();
    let told = story::told(analysis);
    for (at, group) in told.iter().enumerate().take(most.groups) {
        let most = if at < most.in_full { most } else { Most { findings: 1, ..most } };
        let sentence = escaped(&group.sentence());
        writeln!(out, "- **{}**: `{}`{}: **{sentence}**", group.layer(), group.names(), group.number()).ok();
        body(&mut out, group, analysis, most);
    }
    if let Some(rest) = told.get(most.groups..).filter(|rest| !rest.is_empty()) {
        let nodes = rest.iter().map(|group| group.group.nodes.len()).sum();
        writeln!(out, "- and {} of {}", count(rest.len(), "more group"), count(nodes, "node")).ok();
    }
    for cluster in &story::clusters(analysis) {
        writeln!(out, "- **{}**: `{}`: **{}**", cluster.layer(), cluster.names(), escaped(&cluster.sentence())).ok();
        body(&mut out, cluster, analysis, most);
    }
    for without in story::without(&analysis.unjudged) {
        writeln!(out, "- **no verdict**: `{}`{}: {}", without.names(), without.number(), escaped(&without.reason)).ok();
        if let Some(next) = without.next {
            writeln!(out, "  - next: {}", escaped(next)).ok();
        }
    }
    for unreadable in &analysis.unreadable {
        writeln!(out, "- **not read**: {}: {}", escaped(&unreadable.path), escaped(&unreadable.reason)).ok();
    }
    if let Some(why) = &analysis.fleet.baseline_why {
        writeln!(out, "- compared: {}", escaped(why)).ok();
    }
    let rows = timeline::markdown(&timeline::that_matter(&analysis.timeline), most.moments.min(ROWS));
    if most.moments > 0 && !rows.is_empty() {
        write!(out, "\nWhat happened when, by the operator's clock:\n\n{rows}").ok();
    }
    out
}

fn body(out: &mut String, group: &Told<'_>, analysis: &Analysis, most: Most) {
    let mut item = |text: &str| {
        let line = text.strip_prefix("  - ").map_or_else(|| format!("  - {text}"), |inner| format!("    - {inner}"));
        out.push_str(&line);
        out.push('\n');
    };
    if !group.group.shared.is_empty() {
        item(&format!("all of them, and no healthy node: {}", escaped(&group.group.shared.join(", "))));
    }
    for (at, kind) in group.findings.iter().enumerate().take(most.findings) {
        let word = kind.finding.severity.word();
        let (says, evidence) =
            (escaped(&group.says(kind, most.sentence)), escaped(&story::evidence(kind.finding, most.places)));
        match (says.is_empty(), evidence.is_empty()) {
            (false, false) => item(&format!("{word}: {} ({evidence})", says.trim_end_matches('.'))),
            (true, false) => item(&format!("{word}: {evidence}")),
            (_, true) => item(&format!("{word}: {says}")),
        };
        if let Some(next) = story::next(kind.finding, most.sentence / 2).filter(|_| at < most.advice) {
            item(&format!("  - next: {}", escaped(&next)));
        }
    }
    let more = group.findings.len().saturating_sub(most.findings);
    if more > 0 {
        item(&format!("and {}", count(more, "more finding")));
    }
    for difference in group.differences(analysis).iter().take(most.differences) {
        item(&format!("differs: {}", escaped(&difference.text)));
    }
    if most.columns > 0 {
        if let Some(line) = group.looked_at(most.columns) {
            item(&format!("looked at: {}", escaped(&line)));
        }
        if let Some(line) = group.gaps(most.columns) {
            item(&escaped(&line));
        }
    }
}
