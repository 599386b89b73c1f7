//! One node's part of the page: what it is, what was found, its charts, its steps, its files.

use std::fmt::Write as _;

use super::charts::dots::{self, Limit, Row};
use super::charts::timeline::{self, Window};
use super::charts::{Link, clock, goroutines, waterfall};
use super::escape::Text;
use super::evidence;
use super::page::{Page, state, worst};
use super::spool::KeptNode;
use crate::analyze::figures::{Figures, Latency};
use crate::analyze::finding::{Finding, Severity};
use crate::analyze::moment::Moment;
use crate::analyze::node::NodeAnalysis;
use crate::wording;

/// Relist is unhealthy when it was not active for so long (pkg/kubelet/pleg/generic.go, relistThreshold).
pub(super) const RELIST: Limit = Limit { seconds: 180.0, text: "3 min: PLEG unhealthy" };
/// The kubelet's own bound for calls of the runtime (--runtime-request-timeout, 2m0s unless set).
const CALLS: Limit = Limit { seconds: 120.0, text: "2 min: the kubelet gives up" };
/// Kinds of calls that are drawn.
const OPERATIONS: usize = 24;
/// Moments in the list of a node.
const MOMENTS: usize = 300;

/// Writes the section of a node.
pub(super) fn section(out: &mut String, page: &Page<'_>, number: usize, node: &NodeAnalysis, kept: &KeptNode) {
    let single = if page.single() { " alone" } else { "" };
    writeln!(out, "<section class=\"node{single}\" id=\"n{number}\" aria-labelledby=\"n{number}-name\">").ok();
    if !page.single() {
        out.push_str("<p class=\"back\"><a href=\"#overview\">\u{2190} All nodes</a></p>\n");
    }
    write!(out, "<h2 id=\"n{number}-name\">{}</h2>", Text(node.node.as_str())).ok();
    let blamed = node.verdict.layer.map(|l| format!("<span class=\"layer\">{}</span> ", l.word())).unwrap_or_default();
    writeln!(out, "<p class=\"verdict\">{} {blamed}{}</p>", state(worst(node)), Text(&node.verdict.sentence)).ok();
    contents(out, page, number, node);
    about(out, node);
    if !page.single() {
        findings(out, page, number, node);
    }
    differences(out, page, node);
    moments(out, page, number, node);
    durations(out, number, &node.figures);
    stacks(out, number, node);
    steps(out, number, node);
    figures(out, &node.figures);
    writeln!(out, "<h3 id=\"n{number}-evidence\">Evidence</h3>").ok();
    evidence::list(out, number, node, kept);
    out.push_str("</section>\n");
}

/// Links to the parts there are.
fn contents(out: &mut String, page: &Page<'_>, number: usize, node: &NodeAnalysis) {
    let figures = &node.figures;
    let parts = [
        ("findings", "Findings", !page.single()),
        ("time", "What happened when", !page.times(number, node).is_empty()),
        ("relist", "Relist", figures.relist.is_some() || figures.relist_interval.is_some()),
        ("calls", "Calls of the runtime", !figures.operations.is_empty()),
        ("goroutines", "Goroutines", !figures.goroutines.is_empty()),
        ("steps", "Steps", !node.steps.is_empty()),
        ("evidence", "Evidence", true),
    ];
    let parts = parts.iter().filter(|(.., there)| *there);
    let links: Vec<String> = parts.map(|(part, text, _)| format!("<a href=\"#n{number}-{part}\">{text}</a>")).collect();
    let label = Text(node.node.as_str());
    writeln!(out, "<nav class=\"parts\" aria-label=\"Parts of {label}\">{}</nav>", links.join(" ")).ok();
}

fn about(out: &mut String, node: &NodeAnalysis) {
    let about = &node.about;
    let offset = about.clock_offset_ms.map(|ms| {
        let way = if ms < 0 { "behind" } else { "ahead of" };
        let seconds = format!("{}.{:03} s", ms.unsigned_abs() / 1000, ms.unsigned_abs() % 1000);
        if ms == 0 { "as the operator's".to_owned() } else { format!("{seconds} {way} the operator's") }
    });
    let sealed = if node.sealed { "sealed bundle" } else { "not a sealed bundle" };
    let rows = [
        ("Kernel", about.kernel.clone()),
        ("System", about.os.clone()),
        ("Kubelet", about.kubelet.clone()),
        ("Runtime", about.runtime.clone()),
        ("containerd", about.containerd.clone()),
        ("Processors", about.cpus.map(|cpus| cpus.to_string())),
        ("Memory", about.memory_kib.map(|kib| wording::bytes(kib.saturating_mul(1024)))),
        ("Looked at", about.collected.map(|time| format!("{} UTC by the node's clock", clock(time)))),
        ("Its clock", offset),
        ("Run", about.run.clone()),
        ("Evidence", Some(format!("{} ({sealed})", node.source))),
    ];
    out.push_str("<dl class=\"about\">");
    for (name, value) in rows {
        if let Some(value) = value {
            write!(out, "<div><dt>{name}</dt><dd>{}</dd></div>", Text(&value)).ok();
        }
    }
    out.push_str("</dl>\n");
}

fn findings(out: &mut String, page: &Page<'_>, number: usize, node: &NodeAnalysis) {
    writeln!(out, "<h3 id=\"n{number}-findings\">Findings</h3>").ok();
    let (grave, other): (Vec<&Finding>, Vec<&Finding>) =
        node.findings.iter().partition(|finding| finding.severity > Severity::Info && !finding.is_gap());
    if grave.is_empty() {
        out.push_str("<p>Nothing wrong was recognised.</p>\n");
    }
    list(out, page, number, &grave);
    let (gaps, fine): (Vec<&Finding>, Vec<&Finding>) = other.into_iter().partition(|finding| finding.is_gap());
    folded(out, page, number, &fine, "thing", "looked at and found well, or worth knowing");
    folded(out, page, number, &gaps, "gap", "in the evidence");
}

/// Writes findings of a node, or of none where `number` is no node's.
pub(super) fn list(out: &mut String, page: &Page<'_>, number: usize, findings: &[&Finding]) {
    if findings.is_empty() {
        return;
    }
    out.push_str("<ul class=\"findings\">\n");
    for finding in findings {
        page.finding(out, number, finding, "");
    }
    out.push_str("</ul>\n");
}

/// Does the same, folded away behind how many they are.
pub(super) fn folded(out: &mut String, page: &Page<'_>, number: usize, findings: &[&Finding], noun: &str, what: &str) {
    if findings.is_empty() {
        return;
    }
    write!(out, "<details><summary>{} {what}</summary>", wording::count(findings.len(), noun)).ok();
    list(out, page, number, findings);
    out.push_str("</details>\n");
}

fn differences(out: &mut String, page: &Page<'_>, node: &NodeAnalysis) {
    let fleet = &page.analysis.fleet;
    let Some(of) = fleet.differences.iter().find(|of| of.node == node.node && !of.differences.is_empty()) else {
        return;
    };
    let base = fleet.baseline.as_ref().map(|base| page.node(base)).unwrap_or_default();
    write!(out, "<h3>What differs from {base}</h3><ul class=\"plain\">").ok();
    for difference in of.differences.iter().take(60) {
        write!(out, "<li>{}</li>", Text(&difference.text)).ok();
    }
    out.push_str("</ul>\n");
    if let Some(more) = of.differences.len().checked_sub(60).filter(|more| *more > 0) {
        write!(out, "<p>and {more} more</p>").ok();
    }
}

fn moments(out: &mut String, page: &Page<'_>, number: usize, node: &NodeAnalysis) {
    let moments = &page.times(number, node);
    let Some(window) = Window::of(moments) else { return };
    writeln!(out, "<h3 id=\"n{number}-time\">What happened when</h3>").ok();
    out.push_str("<p class=\"note\">Times are UTC by the operator's clock; the node's offset is taken out.</p>\n");
    let label = format!("What happened on {} and when", node.node);
    let cite = |moment: &Moment| moment.citation.as_ref().and_then(|citation| page.link(number, citation));
    out.push_str(&timeline::chart(&label, &timeline::by_kind(moments), false, window, cite));
    out.push_str(&page.moments(moments, MOMENTS));
}

fn durations(out: &mut String, number: usize, figures: &Figures) {
    let relist: Vec<Row<'_>> = [("relist takes", &figures.relist), ("relists are apart", &figures.relist_interval)]
        .into_iter()
        .filter_map(|(name, latency)| Some(row(name, latency.as_ref()?, None)))
        .collect();
    if !relist.is_empty() {
        writeln!(out, "<h3 id=\"n{number}-relist\">Relist</h3>{}", since(figures.relist.as_ref())).ok();
        out.push_str(&dots::legend());
        out.push_str(&dots::chart("Durations of relists", &relist, Some(RELIST)));
    }
    let calls = figures.operations.iter().take(OPERATIONS);
    let calls: Vec<Row<'_>> = calls.map(|call| row(&call.kind, &call.latency, Some(call.errors))).collect();
    if !calls.is_empty() {
        let first = figures.operations.first().map(|call| &call.latency);
        writeln!(out, "<h3 id=\"n{number}-calls\">Calls of the runtime</h3>{}", since(first)).ok();
        out.push_str(&dots::legend());
        out.push_str(&dots::chart("Durations of calls of the runtime", &calls, Some(CALLS)));
        if let Some(more) = figures.operations.len().checked_sub(OPERATIONS).filter(|more| *more > 0) {
            writeln!(out, "<p>{more} more kinds of calls are not drawn.</p>").ok();
        }
    }
}

fn row<'a>(name: &str, latency: &'a Latency, errors: Option<f64>) -> Row<'a> {
    Row { name: name.to_owned(), link: None, latency, errors }
}

fn since(latency: Option<&Latency>) -> &'static str {
    match latency {
        Some(latency) if latency.between_scrapes => {
            "<p class=\"note\">Between the two scrapes of the kubelet's metrics.</p>"
        }
        Some(_) => "<p class=\"note\">Since the kubelet's start.</p>",
        None => "",
    }
}

fn stacks(out: &mut String, number: usize, node: &NodeAnalysis) {
    let dumps = &node.figures.goroutines;
    let Some(most) = dumps.iter().map(|dump| dump.total).max() else { return };
    writeln!(out, "<h3 id=\"n{number}-goroutines\">Goroutines by state</h3>").ok();
    out.push_str("<p class=\"note\">A part of a bar, or a state below it, opens its stacks.</p>\n");
    let mut before = "";
    for (at, dump) in dumps.iter().enumerate() {
        if dump.process != before {
            before = &dump.process;
            write!(out, "<h4>{}</h4>", Text(before)).ok();
        }
        let total = wording::count(usize::try_from(dump.total).unwrap_or(usize::MAX), "goroutine");
        let all = Link { to: format!("n{number}-g{at}"), more: String::new() };
        writeln!(
            out,
            "<p class=\"dump\"><a {}>sample {}: {total}</a> <span class=\"cite\">{}</span></p>",
            all.attributes(),
            dump.sample,
            Text(&dump.file)
        )
        .ok();
        out.push_str(&goroutines::chart(dump, most, &all.to));
    }
}

fn steps(out: &mut String, number: usize, node: &NodeAnalysis) {
    if node.steps.is_empty() {
        return;
    }
    writeln!(out, "<h3 id=\"n{number}-steps\">Steps of the collection</h3>").ok();
    let unclean = node.steps.iter().filter(|step| !step.outcome.is_clean()).count();
    let drawn = waterfall::chart(&format!("Steps of the collection from {}", node.node), &node.steps);
    let all = wording::count(node.steps.len(), "step");
    write!(
        out,
        "<details{}><summary>{all}, {unclean} of them not whole</summary>",
        if unclean > 0 { " open" } else { "" }
    )
    .ok();
    out.push_str(&drawn.unwrap_or_default());
    let still: Vec<_> = node.steps.iter().filter(|step| step.started.is_none()).collect();
    if !still.is_empty() {
        out.push_str("<p>Not run:</p><ul class=\"plain\">");
        for step in still {
            let detail = step.detail.as_deref().map(|detail| format!(": {detail}")).unwrap_or_default();
            write!(out, "<li><code>{}</code> {}{}</li>", Text(&step.id), step.outcome.word(), Text(&detail)).ok();
        }
        out.push_str("</ul>");
    }
    out.push_str("</details>\n");
}

fn figures(out: &mut String, figures: &Figures) {
    if figures.gauges.is_empty() {
        return;
    }
    write!(out, "<h3>Figures</h3><details><summary>{} figures</summary><dl class=\"about\">", figures.gauges.len())
        .ok();
    for (name, value) in figures.gauges.iter().take(400) {
        let value = if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.3}") };
        write!(out, "<div><dt>{}</dt><dd>{}</dd></div>", Text(name), Text(&value)).ok();
    }
    out.push_str("</dl></details>\n");
}
