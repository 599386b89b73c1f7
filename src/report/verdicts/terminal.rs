//! The verdicts on a terminal: a heading line per group of nodes, below it what it rests on. No line is wider than the
//! terminal.

use super::story::{self, Told};
use super::{Detail, Most};
use crate::analyze::finding::Severity;
use crate::printable::printable;
use crate::report::analysis::Analysis;
use crate::report::page::{BOLD, GREEN, Page, RED, YELLOW};
use crate::report::timeline;
use crate::wording::{count, fit};

/// Columns of the labels: `containerd`, `API server`, `no verdict` and a gap.
const LABEL: usize = 12;

/// Returns the report of an analysis as text ending in a line break, no line wider than `width` columns (40 at least).
#[must_use]
pub fn text(analysis: &Analysis, width: usize, color: bool, detail: Detail) -> String {
    let mut page = Page { out: String::new(), width: width.max(40), color };
    put(&mut page, analysis, detail);
    page.out
}

/// Returns the same with everything that happened and when.
#[must_use]
pub fn text_with_timeline(analysis: &Analysis, width: usize, color: bool, detail: Detail) -> String {
    let mut page = Page { out: String::new(), width: width.max(40), color };
    put_most(&mut page, analysis, detail, Most { moments: usize::MAX, ..Most::of(detail) });
    page.out
}

/// Puts the verdicts on a page.
pub(in crate::report) fn put(page: &mut Page, analysis: &Analysis, detail: Detail) {
    put_most(page, analysis, detail, Most::of(detail));
}

fn put_most(page: &mut Page, analysis: &Analysis, detail: Detail, most: Most) {
    let told = story::told(analysis);
    let mut cut = false;
    for (at, group) in told.iter().enumerate().take(most.groups) {
        if at > 0 {
            page.line("");
        }
        heading(page, group);
        cut |= body(page, group, analysis, if at < most.in_full { most } else { Most { findings: 1, ..most } }, detail);
    }
    if let Some(rest) = told.get(most.groups..).filter(|rest| !rest.is_empty()) {
        let nodes = rest.iter().map(|group| group.group.nodes.len()).sum();
        let text = format!("{} of {}", count(rest.len(), "more group"), count(nodes, "node"));
        page.line("");
        label(page, "and", BOLD, &text);
        cut = true;
    }
    for (at, cluster) in story::clusters(analysis).iter().enumerate() {
        if at > 0 || !told.is_empty() {
            page.line("");
        }
        heading(page, cluster);
        cut |= body(page, cluster, analysis, most, detail);
    }
    let is_rest = !analysis.unjudged.is_empty() || !analysis.unreadable.is_empty();
    if is_rest && !page_is_empty(analysis) {
        page.line("");
    }
    for without in story::without(&analysis.unjudged) {
        label(page, "no verdict", BOLD, &format!("{}{}: {}", without.names(), without.number(), without.reason));
        if let Some(next) = without.next {
            label(page, "", "", &format!("next: {next}"));
        }
    }
    for unreadable in &analysis.unreadable {
        label(page, "not read", BOLD, &format!("{}: {}", unreadable.path, unreadable.reason));
    }
    if let Some(why) = &analysis.fleet.baseline_why {
        page.line("");
        label(page, "compared", "", why);
    }
    timeline(page, analysis, detail, most);
    if cut && detail == Detail::Usual {
        page.line("");
        page.item(0, "", "--all shows what was left out.");
    }
}

const fn page_is_empty(analysis: &Analysis) -> bool {
    analysis.fleet.groups.is_empty() && analysis.clusters.is_empty()
}

/// Puts what happened when; at the end of a run only where something critical did.
fn timeline(page: &mut Page, analysis: &Analysis, detail: Detail, most: Most) {
    let (width, color) = (page.width, page.color);
    let grave = || analysis.timeline.iter().any(|moment| moment.severity == Severity::Critical);
    let rows = match (most.moments, detail) {
        (usize::MAX, _) => timeline::text(&analysis.timeline, width, usize::MAX, color),
        (_, Detail::Brief) if !grave() => String::new(),
        (moments, _) => timeline::text(&timeline::that_matter(&analysis.timeline), width, moments, color),
    };
    if !rows.is_empty() {
        page.line("");
        page.out.push_str(&rows);
    }
}

fn heading(page: &mut Page, group: &Told<'_>) {
    let color = match group.group.worst {
        Severity::Critical => RED,
        Severity::Warning => YELLOW,
        Severity::Info => GREEN,
    };
    label(
        page,
        group.layer(),
        &format!("{BOLD}{color}"),
        &format!("{}{}: {}", group.names(), group.number(), group.sentence()),
    );
}

/// Puts what is below a heading, and tells whether something of it was left out.
fn body(page: &mut Page, group: &Told<'_>, analysis: &Analysis, most: Most, detail: Detail) -> bool {
    if !group.group.shared.is_empty() {
        label(page, "  common", "", &format!("all of them, and no healthy node: {}", group.group.shared.join(", ")));
    }
    for (at, kind) in group.findings.iter().enumerate().take(most.findings) {
        let finding = kind.finding;
        let style = if finding.severity == Severity::Critical { RED } else { YELLOW };
        let evidence = story::evidence(finding, most.places);
        let see = if evidence.is_empty() { String::new() } else { format!("see {evidence}") };
        let says = group.says(kind, most.sentence);
        let word = format!("  {}", finding.severity.word());
        let mut lines = [says, see].into_iter().filter(|line| !line.is_empty());
        label(page, &word, style, &lines.next().unwrap_or_else(|| "as above".to_owned()));
        lines.for_each(|line| label(page, "", "", &line));
        if let Some(next) = story::next(finding, most.sentence / 2).filter(|_| at < most.advice) {
            label(page, "", "", &format!("next: {next}"));
        }
    }
    let more = group.findings.len().saturating_sub(most.findings);
    if more > 0 {
        label(page, "", "", &format!("and {}", count(more, "more finding")));
    }
    for difference in group.differences(analysis).iter().take(most.differences) {
        label(page, "  differs", "", &difference.text);
    }
    if detail == Detail::All {
        for kind in &group.looked_at {
            label(page, "  looked at", "", &group.says(kind, most.sentence));
        }
    } else if let Some(line) = group.looked_at(most.columns) {
        label(page, "  looked at", "", &line);
    }
    if let Some(line) = group.gaps(most.columns) {
        label(page, "  open", "", &line);
    }
    more > 0 || group.is_folded(most.columns)
}

fn label(page: &mut Page, label: &str, style: &str, text: &str) {
    page.painted_item(0, &fit(label, LABEL), style, &printable(text, usize::MAX));
}
