//! SUMMARY.md: the summary to paste into an incident. Whatever may stem from a node stands in a
//! code span, where neither markup, HTML, links nor mentions work.

use std::path::Path;
use std::time::Duration;

use crate::event::{NodeResult, NodeSummary};
use crate::inventory::NodeName;
use crate::wording::{bytes, count, duration, path, safe};

use super::RunSummary;
use super::missing::{self, Cause};
use super::words::{report_command, result, tally, unclean, why};
use super::{changes, groups, verdicts};

/// How much is told; less where it would not fit a comment otherwise.
#[derive(Debug, Clone, Copy)]
struct Most {
    /// Causes per node; the manifest has all steps.
    causes: usize,
    /// Groups of nodes with the same evidence missing, of one cause of not being reached, of one word on changes.
    groups: usize,
    /// Rows of the table.
    rows: usize,
    /// How briefly the verdicts are told: 0 is at length.
    verdicts: usize,
}

const LEVELS: [Most; 4] = [
    Most { causes: 12, groups: 200, rows: usize::MAX, verdicts: 0 },
    Most { causes: 6, groups: 40, rows: 100, verdicts: 1 },
    Most { causes: 2, groups: 10, rows: 40, verdicts: 1 },
    Most { causes: 1, groups: 4, rows: 10, verdicts: 2 },
];

/// Returns SUMMARY.md. It fits a comment of 64 KiB: where there is too much, less is told of each part.
#[must_use]
pub fn render(nodes: &[NodeSummary], ctx: &RunSummary) -> String {
    let mut last = String::new();
    for most in LEVELS {
        last = whole(nodes, ctx, most);
        if last.len() <= verdicts::FITS {
            return last;
        }
    }
    verdicts::cut(&last, verdicts::FITS)
}

fn whole(nodes: &[NodeSummary], ctx: &RunSummary, most: Most) -> String {
    let mut out = Lines(String::new());
    out.line(&format!("# Evidence of run {}", code(&ctx.run_id)));
    still_changed(&mut out, nodes);
    if let Some(analysis) = &ctx.analysis {
        out.heading("Verdict");
        out.0.push_str(&verdicts::section(analysis, most.verdicts));
    }
    out.heading("The run");
    if let Some(started) = ctx.started {
        out.line(&format!("- began: {} UTC", started.strftime("%Y-%m-%d %H:%M:%S")));
    }
    out.line(&format!("- took: {}", duration(ctx.took)));
    out.line(&format!("- {}", tally(nodes)));
    let size = nodes.iter().fold(0_u64, |sum, n| sum.saturating_add(n.bundle_bytes));
    let bundles = nodes.iter().filter(|n| n.bundle.is_some()).count();
    out.line(&format!("- bundles: {}, {}, in {}", count(bundles, "file"), bytes(size), code_path(&ctx.out)));
    if ctx.interrupted {
        out.line("- **interrupted**: what had arrived until then is in the bundles");
    }
    if let Some(cluster) = &ctx.cluster {
        let bundle = cluster.bundle.as_deref().map(|b| format!(", in {}", code_path(b))).unwrap_or_default();
        out.line(&format!("- cluster: {}{bundle}", code(&cluster.text)));
        causes(&mut out, &missing::causes(&cluster.missing), most);
    }
    for note in ctx.notes.iter().take(most.groups) {
        out.line(&format!("- note: {}", code(note)));
    }
    let more = ctx.notes.len().saturating_sub(most.groups);
    if more > 0 {
        out.line(&format!("- and {}: see `run.json`", count(more, "more note")));
    }
    out.line(&format!("- exit code **{}**: {}", ctx.exit_code, safe(&ctx.exit_meaning)));
    out.line(&format!(
        "- to look further: {}, `plegcollect show BUNDLE FILE`, `tar --zstd -xf BUNDLE`",
        span(&report_command(&ctx.out))
    ));
    table(&mut out, nodes, ctx, most);
    changed(&mut out, nodes, ctx, most);
    missing(&mut out, nodes, ctx, most);
    unreached(&mut out, nodes, ctx, most);
    let waiting = groups::with(nodes, NodeResult::NotStarted);
    if let Some(first) = waiting.first() {
        out.heading("Not started");
        out.line(&format!("- {}: {}", names(ctx, &groups::names(&waiting)), code(&why(first))));
    }
    out.0
}

fn still_changed(out: &mut Lines, nodes: &[NodeSummary]) {
    let still = changes::still(nodes);
    if still.is_empty() {
        return;
    }
    out.heading("Nodes that may still be changed");
    for one in still {
        out.line(&format!("- **{}**: {}", code(one.node.as_str()), code(&one.text)));
        out.line(&format!("  - mend it: {}", span(&one.mend)));
    }
}

fn changed(out: &mut Lines, nodes: &[NodeSummary], ctx: &RunSummary, most: Most) {
    let (said, restarts) = (changes::said(nodes), changes::restarts(nodes));
    if said.is_empty() && restarts.is_empty() {
        return;
    }
    out.heading("Changes to nodes");
    // Whether anything was restarted is told in any case.
    let (some, more) = (said.iter().take(most.groups), said.len().saturating_sub(most.groups));
    for said in some.chain(restarts.iter().take(most.groups)) {
        out.line(&format!("- {} {}: {}", code(&said.text), changes::how_many(said), names(ctx, &said.nodes)));
    }
    if more > 0 {
        out.line(&format!("- and {more} more: see `run.json`"));
    }
    if let Some(remark) = changes::remark(nodes) {
        out.line("");
        out.line(remark);
    }
}

struct Lines(String);

impl Lines {
    fn line(&mut self, text: &str) {
        self.0.push_str(text);
        self.0.push('\n');
    }

    fn heading(&mut self, text: &str) {
        self.line("");
        self.line(&format!("## {text}"));
        self.line("");
    }
}

/// Returns a text that may stem from a node as a code span that it cannot end.
fn code(text: &str) -> String {
    span(&safe(text))
}

fn code_path(p: &Path) -> String {
    span(&path(p))
}

fn span(text: &str) -> String {
    let text = text.replace('`', "'");
    let text = text.trim();
    if text.is_empty() { "-".to_owned() } else { format!("`{text}`") }
}

/// Returns names folded, as a code span; names hold nothing that could end it.
fn names(ctx: &RunSummary, names: &[NodeName]) -> String {
    format!("`{}`", (ctx.fold)(names))
}

/// Returns a path for a cell of a table, where a pipe ends the cell even within a code span.
fn path_cell(p: &Path) -> String {
    // A backslash before the pipe would undo the escape.
    span(&path(p).replace('\\', "/")).replace('|', "\\|")
}

fn table(out: &mut Lines, nodes: &[NodeSummary], ctx: &RunSummary, most: Most) {
    if nodes.is_empty() {
        return;
    }
    out.heading("Nodes");
    out.line("| node | result | complete | absent | timed-out | failed | truncated | lost | skipped | bytes | time | bundle |");
    out.line("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|");
    let rows = groups::rows(nodes);
    for row in rows.iter().take(most.rows) {
        let s = &row.steps;
        let steps = [s.complete, s.absent, s.timed_out, s.failed, s.truncated, s.lost, s.skipped];
        let ran = !matches!(row.result, NodeResult::Unreached | NodeResult::NotStarted);
        let steps: Vec<String> =
            steps.iter().map(|n| if ran || *n > 0 { n.to_string() } else { "-".to_owned() }).collect();
        let mut bundles = row.nodes.iter().filter_map(|n| n.bundle.as_deref());
        let bundle = match (bundles.next(), bundles.count()) {
            (None, _) => "-".to_owned(),
            (Some(one), 0) => path_cell(one.strip_prefix(&ctx.out).unwrap_or(one)),
            (Some(_), more) => count(more + 1, "file"),
        };
        out.line(&format!(
            "| {} | {} | {} | {} | {} | {bundle} |",
            names(ctx, &row.names()),
            result(row.result),
            steps.join(" | "),
            if bundle == "-" { "-".to_owned() } else { bytes(row.bytes()) },
            if row.result == NodeResult::NotStarted { "-".to_owned() } else { slowest(row) },
        ));
    }
    let more = rows.len().saturating_sub(most.rows);
    if more > 0 {
        out.line("");
        out.line(&format!("And {}: see `run.json`.", count(more, "more row")));
    }
    if rows.iter().any(|r| r.nodes.len() > 1) {
        out.line("");
        out.line("Rows of several nodes: steps of each, bytes together, time of the slowest.");
    }
}

fn slowest(row: &groups::Row<'_>) -> String {
    duration(Duration::from_millis(row.slowest_ms()))
}

fn missing(out: &mut Lines, nodes: &[NodeSummary], ctx: &RunSummary, most: Most) {
    let partial = groups::with(nodes, NodeResult::Partial);
    if partial.is_empty() {
        return;
    }
    out.heading("Evidence missing");
    let groups = missing::alike(&partial);
    for group in groups.iter().take(most.groups) {
        let Some(node) = group.first() else { continue };
        let steps = unclean(&node.steps);
        let why = why(node);
        let steps = if steps.is_empty() || steps == why { String::new() } else { format!(" ({steps})") };
        let each = match group.nodes.len() {
            1 => String::new(),
            n => format!(", each of {}", count(n, "node")),
        };
        out.line(&format!("- {}: {}{steps}{each}", names(ctx, &group.names()), code(&why)));
        if group.times_differ {
            out.line(&format!("  - in the words of {}; times differ", code(node.node.as_str())));
        }
        if node.sha256.is_none() {
            out.line("  - the bundle was not sealed");
        }
        causes(out, &group.causes, most);
        if let Some(hint) = &node.hint {
            out.line(&format!("  - next: {}", code(hint)));
        }
    }
    let rest: Vec<&NodeSummary> = groups.iter().skip(most.groups).flat_map(|g| g.nodes.iter().copied()).collect();
    if !rest.is_empty() {
        out.line(&format!("- and {} more: {}", count(rest.len(), "node"), names(ctx, &groups::names(&rest))));
    }
}

fn causes(out: &mut Lines, causes: &[Cause], most: Most) {
    for cause in causes.iter().take(most.causes) {
        out.line(&format!("  - {}", code(&format!("{}{}", cause.head, cause.text))));
        if let Some(others) = cause.others() {
            out.line(&format!("    - {}", code(&others)));
        }
    }
    let more = causes.len().saturating_sub(most.causes);
    if more > 0 {
        out.line(&format!("  - and {}: see `manifest.json` in the bundle", count(more, "other cause")));
    }
}

fn unreached(out: &mut Lines, nodes: &[NodeSummary], ctx: &RunSummary, most: Most) {
    let groups = groups::unreached(nodes);
    if groups.is_empty() {
        return;
    }
    out.heading("Not reached");
    let more = groups.len().saturating_sub(most.groups);
    for (class, nodes) in groups.into_iter().take(most.groups) {
        out.line(&format!("- {}: {}", code(&class), names(ctx, &groups::names(&nodes))));
        if let Some(first) = nodes.first() {
            out.line(&format!("  - {}: {}", code(first.node.as_str()), code(&why(first))));
            if let Some(hint) = &first.hint {
                out.line(&format!("  - next: {}", code(hint)));
            }
        }
    }
    if more > 0 {
        out.line(&format!("- and {}: see `run.json`", count(more, "more cause")));
    }
}
