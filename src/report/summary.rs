//! The table at the end of a run, for a terminal or a mail: what was got per node, what is missing
//! and what to try next, what was not reached, and what the exit code means.

use std::time::Duration;

use crate::event::{NodeResult, NodeSummary};
use crate::wording::{bytes, columns, count, cut, duration, path, safe, wrap};

use super::RunSummary;
use super::changes;
use super::groups::{self, Row};
use super::missing::{self, Cause};
use super::page::{BOLD, GREEN, Page, RED, YELLOW};
use super::table::{Column, Table};
use super::verdicts;
use super::words::{claim, report_command, result, tally, unclean, why};

/// Causes listed per node; the manifest has all steps.
const CAUSES_LISTED: usize = 6;
/// Groups of nodes with the same evidence missing that are told of.
const GROUPS_LISTED: usize = 30;
/// Columns the table takes beside folded names; what is left is theirs, longer ones stand below it.
const BESIDE_NAMES: usize = 62;

/// Returns the summary as text ending in a line break, no line wider than `width` columns (40 at
/// least) but for paths, which stay whole so that they can be copied.
#[must_use]
pub fn render(nodes: &[NodeSummary], ctx: &RunSummary, width: usize, color: bool) -> String {
    let mut page = Page { out: String::new(), width: width.max(40), color };
    still_changed(&mut page, nodes);
    if let Some(analysis) = &ctx.analysis {
        let heading = page.paint("Verdict", BOLD);
        page.line(&heading);
        verdicts::put(&mut page, analysis, verdicts::Detail::Brief);
        page.line("");
    }
    table(&mut page, nodes, ctx);
    changed(&mut page, nodes, ctx);
    missing(&mut page, &groups::with(nodes, NodeResult::Partial), ctx);
    unreached(&mut page, nodes, ctx);
    not_started(&mut page, &groups::with(nodes, NodeResult::NotStarted), ctx);
    end(&mut page, nodes, ctx);
    page.out
}

fn style(r: NodeResult) -> &'static str {
    match r {
        NodeResult::Complete => GREEN,
        NodeResult::Partial => YELLOW,
        NodeResult::Unreached => RED,
        NodeResult::NotStarted => "",
    }
}

/// First of all: somebody has to do something about these.
fn still_changed(page: &mut Page, nodes: &[NodeSummary]) {
    let still = changes::still(nodes);
    if still.is_empty() {
        return;
    }
    let heading = page.paint("NODES THAT MAY STILL BE CHANGED", RED);
    page.line(&heading);
    for one in still {
        page.item(2, &format!("{}: ", one.node), &one.text);
        // Whole, so that it can be copied.
        page.path(4, "mend it: ", &one.mend);
    }
    page.line("");
}

fn changed(page: &mut Page, nodes: &[NodeSummary], ctx: &RunSummary) {
    let (said, restarts) = (changes::said(nodes), changes::restarts(nodes));
    if said.is_empty() && restarts.is_empty() {
        return;
    }
    page.heading("Changes to nodes");
    for said in &said {
        page.item(2, "", &format!("{} {}", said.text, changes::how_many(said)));
        page.item(4, "", &(ctx.fold)(&said.nodes));
    }
    if let Some(remark) = changes::remark(nodes) {
        page.item(2, "", remark);
    }
    let several = restarts.len() > 1;
    for said in &restarts {
        page.item(2, "", &format!("{} {}", said.text, changes::how_many(said)));
        if several {
            page.item(4, "", &(ctx.fold)(&said.nodes));
        }
    }
}

fn table(page: &mut Page, nodes: &[NodeSummary], ctx: &RunSummary) {
    if nodes.is_empty() {
        return;
    }
    let rows = groups::rows(nodes);
    let truncated = nodes.iter().any(|n| n.steps.truncated > 0);
    let lost = nodes.iter().any(|n| n.steps.lost > 0);
    let skipped = nodes.iter().any(|n| n.steps.skipped > 0);
    let left = |title, rank| Column { title, right: false, rank };
    let right = |title, rank| Column { title, right: true, rank };
    let mut columns = vec![
        left("node", 0),
        left("result", 0),
        right("complete", 2),
        right("absent", 3),
        right("timed-out", 1),
        right("failed", 1),
    ];
    columns.extend(truncated.then(|| right("truncated", 4)));
    columns.extend(lost.then(|| right("lost", 4)));
    columns.extend(skipped.then(|| right("skipped", 7)));
    columns.extend([right("bytes", 5), right("time", 6), left("bundle", 8)]);
    let mut long_names = Vec::new();
    let cells = rows.iter().map(|row| {
        let ran = !matches!(row.result, NodeResult::Unreached | NodeResult::NotStarted);
        let number = |n: usize| if ran || n > 0 { n.to_string() } else { "-".to_owned() };
        let s = &row.steps;
        let mut cells = vec![label(row, ctx, page.width, &mut long_names), result(row.result).to_owned()];
        cells.extend([s.complete, s.absent, s.timed_out, s.failed].map(number));
        cells.extend(truncated.then(|| number(s.truncated)));
        cells.extend(lost.then(|| number(s.lost)));
        cells.extend(skipped.then(|| number(s.skipped)));
        cells.push(if row.nodes.iter().any(|n| n.bundle.is_some()) { bytes(row.bytes()) } else { "-".to_owned() });
        let slowest = duration(Duration::from_millis(row.slowest_ms()));
        cells.push(if row.result == NodeResult::NotStarted { "-".to_owned() } else { slowest });
        cells.push(bundle_cell(row, ctx));
        cells
    });
    let table = Table { columns, rows: cells.collect() };
    let rendered = table.render(page.width);
    let mut lines = rendered.lines.into_iter();
    if let Some(head) = lines.next() {
        let head = page.paint(&head, BOLD);
        page.line(&head);
    }
    for (line, row) in lines.zip(&rows) {
        let word = result(row.result);
        // Only the first occurrence behind the name: a node may be called "complete-1".
        let painted = match line.split_once("  ") {
            Some((name, rest)) if page.color => {
                format!("{name}  {}", rest.replacen(word, &page.paint(word, style(row.result)), 1))
            }
            _ => line,
        };
        page.line(&painted);
    }
    if rows.iter().any(|r| r.nodes.len() > 1) {
        page.item(0, "", "Rows of several nodes: steps of each, bytes together, time of the slowest.");
    }
    for (label, names) in long_names {
        page.item(2, &format!("{label}: "), &names);
    }
    let left_out: Vec<&str> = rendered.left_out.iter().copied().filter(|t| *t != "bundle").collect();
    if !left_out.is_empty() {
        page.item(0, "", &format!("No room for: {}.", left_out.join(", ")));
    }
    if rendered.left_out.contains(&"bundle") {
        bundles(page, nodes, ctx);
    }
}

fn label(row: &Row<'_>, ctx: &RunSummary, width: usize, long: &mut Vec<(String, String)>) -> String {
    let room = width.saturating_sub(BESIDE_NAMES).clamp(12, 40);
    let names = if row.nodes.len() == 1 {
        row.nodes.first().map(|n| n.node.to_string()).unwrap_or_default()
    } else {
        (ctx.fold)(&row.names())
    };
    if row.nodes.len() == 1 || columns(&names) <= room {
        return names;
    }
    let label = format!("{} ({})", count(row.nodes.len(), "node"), long.len() + 1);
    long.push((label.clone(), names));
    label
}

/// Returns the bundle's name within the run's directory, or its path if it is elsewhere.
fn bundle_cell(row: &Row<'_>, ctx: &RunSummary) -> String {
    let mut bundles = row.nodes.iter().filter_map(|n| n.bundle.as_deref());
    match (bundles.next(), bundles.count()) {
        (None, _) => "-".to_owned(),
        (Some(one), 0) => path(one.strip_prefix(&ctx.out).unwrap_or(one)),
        (Some(_), more) => count(more + 1, "bundle"),
    }
}

/// Tells where the bundles are when the table has no room for it: folded where names allow it.
fn bundles(page: &mut Page, nodes: &[NodeSummary], ctx: &RunSummary) {
    let usual = |n: &NodeSummary| n.bundle.as_deref() == Some(&*ctx.out.join(format!("{}.tar.zst", n.node)));
    let regular: Vec<_> = nodes.iter().filter(|n| usual(n)).map(|n| n.node.clone()).collect();
    page.line("");
    if !regular.is_empty() {
        let folded = (ctx.fold)(&regular);
        // Several patterns cannot stand before one ".tar.zst".
        let name = if groups::is_one_pattern(&folded) { folded } else { "NODE".to_owned() };
        page.path(0, "bundles: ", &path(&ctx.out.join(format!("{name}.tar.zst"))));
    }
    for node in nodes.iter().filter(|n| !usual(n)) {
        if let Some(bundle) = &node.bundle {
            page.path(0, &format!("{}: ", node.node), &path(bundle));
        }
    }
}

fn missing(page: &mut Page, partial: &[&NodeSummary], ctx: &RunSummary) {
    if partial.is_empty() {
        return;
    }
    page.heading("Evidence missing");
    let groups = missing::alike(partial);
    for group in groups.iter().take(GROUPS_LISTED) {
        let Some(node) = group.first() else { continue };
        let several = group.nodes.len() > 1;
        let mut head = why(node);
        let steps = unclean(&node.steps);
        if !steps.is_empty() && steps != head {
            head = format!("{head} ({steps})");
        }
        if head.is_empty() {
            "some of it could not be read".clone_into(&mut head);
        }
        if several {
            head = format!("{head}, each of {}", count(group.nodes.len(), "node"));
        }
        page.item(2, &format!("{}: ", (ctx.fold)(&group.names())), &head);
        if group.times_differ {
            page.item(4, "", &format!("In the words of {}; times differ.", node.node));
        }
        if node.result == NodeResult::Complete {
            page.item(4, "", "It was reported as complete, which its figures do not bear out.");
        }
        causes(page, &group.causes, "its bundle");
        if !several {
            page.bundle(node.bundle.as_deref(), node.sha256.is_some());
        }
        next(page, node);
    }
    let rest: Vec<&NodeSummary> = groups.iter().skip(GROUPS_LISTED).flat_map(|g| g.nodes.iter().copied()).collect();
    if !rest.is_empty() {
        page.item(2, "", &format!("and {} more: {}", count(rest.len(), "node"), (ctx.fold)(&groups::names(&rest))));
    }
}

fn causes(page: &mut Page, causes: &[Cause], of: &str) {
    for cause in causes.iter().take(CAUSES_LISTED) {
        page.item(4, "- ", &format!("{}{}", cause.head, cause.text));
        if let Some(others) = cause.others() {
            page.item(6, "", &others);
        }
    }
    let more = causes.len().saturating_sub(CAUSES_LISTED);
    if more > 0 {
        page.item(4, "- ", &format!("and {}: see manifest.json in {of}", count(more, "other cause")));
    }
}

fn next(page: &mut Page, node: &NodeSummary) {
    if let Some(hint) = &node.hint {
        page.item(4, "next: ", &safe(hint));
    }
}

fn unreached(page: &mut Page, nodes: &[NodeSummary], ctx: &RunSummary) {
    let groups = groups::unreached(nodes);
    if groups.is_empty() {
        return;
    }
    page.heading("Not reached");
    for (class, nodes) in groups {
        let class = cut(&class, 30);
        page.item(2, &format!("{class}: "), &(ctx.fold)(&groups::names(&nodes)));
        if let Some(first) = nodes.first() {
            let why = why(first);
            let label = match nodes.len() {
                1 => String::new(),
                _ if why.contains(first.node.as_str()) => "for example: ".to_owned(),
                _ => format!("for example {}: ", first.node),
            };
            page.item(4, &label, &why);
            next(page, first);
        }
        for node in nodes.iter().filter(|n| n.bundle.is_some()).take(GROUPS_LISTED) {
            if let Some(bundle) = &node.bundle {
                page.path(4, "bundle: ", &path(bundle));
            }
        }
    }
}

fn not_started(page: &mut Page, nodes: &[&NodeSummary], ctx: &RunSummary) {
    if nodes.is_empty() {
        return;
    }
    page.heading("Not started");
    page.item(2, "", &(ctx.fold)(&groups::names(nodes)));
    if let Some(first) = nodes.first() {
        let same = nodes.iter().all(|n| n.reason == first.reason);
        let label = if same { String::new() } else { format!("for example {}: ", first.node) };
        page.item(4, &label, &why(first));
    }
}

fn end(page: &mut Page, nodes: &[NodeSummary], ctx: &RunSummary) {
    page.line("");
    if let Some(cluster) = &ctx.cluster {
        page.item(0, "cluster: ", &safe(&cluster.text));
        causes(page, &missing::causes(&cluster.missing), "its bundle");
        page.bundle(cluster.bundle.as_deref(), cluster.sha256.is_some());
    }
    for note in &ctx.notes {
        page.item(0, "note: ", &safe(note));
    }
    if ctx.interrupted {
        page.item(0, "", "Interrupted: what had arrived until then is in the bundles.");
    }
    let bundles = nodes.iter().filter(|n| n.bundle.is_some()).count();
    let size = nodes.iter().fold(0_u64, |sum, n| sum.saturating_add(n.bundle_bytes));
    let size = format!("{} in {}", bytes(size), count(bundles, "bundle"));
    page.item(0, "", &format!("{}; {size}; took {}", tally(nodes), duration(ctx.took)));
    page.path(0, "run: ", &safe(&ctx.run_id));
    page.path(0, "directory: ", &path(&ctx.out));
    if ctx.analysis.is_some() {
        page.path(0, "all of the verdict: ", &report_command(&ctx.out));
    }
    let all_well = ctx.exit_code == 0 && nodes.iter().all(|n| claim(n) == NodeResult::Complete);
    let text = format!("exit code {}: {}", ctx.exit_code, safe(&ctx.exit_meaning));
    let lines = wrap(&text, page.width);
    for line in lines {
        let style = if changes::still(nodes).is_empty() { YELLOW } else { RED };
        let painted = page.paint(&line, if all_well { GREEN } else { style });
        page.line(&painted);
    }
}
