//! The first page: what is wrong and what to do, all nodes together.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::escape::Text;
use super::page::{Page, badge, state, worst};
use crate::analyze::finding::{Finding, Severity};
use crate::analyze::fleet::Group;
use crate::inventory::{NodeName, fold};
use crate::wording::count;

/// Sentences of what to do next.
const NEXT: usize = 12;

/// Returns the one line at the top.
pub(super) fn headline(page: &Page<'_>) -> String {
    let nodes = &page.analysis.nodes;
    let of = |severity| nodes.iter().filter(|node| worst(node) == severity).count();
    let parts =
        [(Severity::Critical, "critical"), (Severity::Warning, "with warnings"), (Severity::Info, "nothing wrong")];
    let parts: Vec<String> = parts
        .iter()
        .map(|(severity, word)| (of(*severity), word))
        .filter(|(many, _)| *many > 0)
        .map(|(many, word)| format!("{many} {word}"))
        .collect();
    let all = count(nodes.len(), "node");
    let without = match page.analysis.unjudged.len() {
        0 => String::new(),
        some => format!("; {some} without a verdict"),
    };
    if parts.is_empty() { format!("{all}{without}") } else { format!("{all}: {}{without}", parts.join(", ")) }
}

/// A kind of finding in a group: the first node's, that node's number, and all nodes that have it.
struct Kind<'a> {
    finding: &'a Finding,
    number: usize,
    nodes: Vec<&'a NodeName>,
}

fn kinds<'a>(page: &Page<'a>, group: &Group) -> Vec<Kind<'a>> {
    let mut kinds: Vec<Kind<'a>> = Vec::new();
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    for node in &group.nodes {
        let Some(number) = page.number(node) else { continue };
        let Some(of) = page.analysis.nodes.get(number) else { continue };
        // Several of one kind on one node are told one by one, for the first node.
        let first: BTreeMap<&str, usize> = known.clone();
        for finding in of.findings.iter().filter(|finding| !finding.is_gap()) {
            match first.get(finding.id.as_str()).and_then(|at| kinds.get_mut(*at)) {
                Some(kind) if kind.nodes.last() == Some(&&of.node) => {}
                Some(kind) => kind.nodes.push(&of.node),
                None => {
                    known.entry(&finding.id).or_insert(kinds.len());
                    kinds.push(Kind { finding, number, nodes: vec![&of.node] });
                }
            }
        }
    }
    kinds.sort_by_key(|kind| std::cmp::Reverse(kind.finding.severity));
    kinds
}

/// Writes what is wrong, the gravest group first.
pub(super) fn wrong(out: &mut String, page: &Page<'_>) {
    out.push_str("<section id=\"wrong\"><h2>What is wrong</h2>\n");
    if page.analysis.nodes.is_empty() {
        let some = !page.analysis.clusters.is_empty() || !page.analysis.unjudged.is_empty();
        let why = if some { "There is a verdict on no node." } else { "No evidence could be read." };
        writeln!(out, "<p>{why}</p>").ok();
    }
    for group in &page.analysis.fleet.groups {
        let (grave, well): (Vec<Kind<'_>>, Vec<Kind<'_>>) =
            kinds(page, group).into_iter().partition(|kind| kind.finding.severity > Severity::Info);
        write!(out, "<article class=\"group {}\"><h3>{} ", super::page::class(group.worst), state(group.worst)).ok();
        if let Some(blamed) = group.layer {
            write!(out, "<span class=\"layer\">{}</span> ", blamed.word()).ok();
        }
        writeln!(out, "{}</h3>", Text(&group.sentence)).ok();
        writeln!(
            out,
            "<div class=\"who\"><b>{}</b> {}</div>",
            count(group.nodes.len(), "node"),
            page.nodes(&group.nodes)
        )
        .ok();
        if !group.shared.is_empty() {
            let shared = group.shared.join(", ");
            writeln!(out, "<p class=\"shared\">All of them, and no healthy node: {}</p>", Text(&shared)).ok();
        }
        findings(out, page, group, &grave);
        if !well.is_empty() {
            write!(
                out,
                "<details><summary>{} looked at and found well, or worth knowing</summary>",
                count(well.len(), "thing")
            )
            .ok();
            findings(out, page, group, &well);
            out.push_str("</details>");
        }
        out.push_str("</article>\n");
    }
    without(out, page);
    let fleet = &page.analysis.fleet;
    if let Some(why) = &fleet.baseline_why {
        writeln!(out, "<p class=\"note\">{}</p>", Text(why)).ok();
    }
    out.push_str("</section>\n");
}

/// Writes which nodes there is no verdict on.
fn without(out: &mut String, page: &Page<'_>) {
    if page.analysis.unjudged.is_empty() {
        return;
    }
    out.push_str("<h3>Without a verdict</h3><ul class=\"plain\">\n");
    for node in &page.analysis.unjudged {
        write!(out, "<li><b>{}</b>: {}", Text(node.node.as_str()), Text(&node.reason)).ok();
        if let Some(next) = &node.next {
            write!(out, "<p class=\"next\"><b>Next:</b> {}</p>", Text(next)).ok();
        }
        out.push_str("</li>\n");
    }
    out.push_str("</ul>\n");
}

fn findings(out: &mut String, page: &Page<'_>, group: &Group, kinds: &[Kind<'_>]) {
    if kinds.is_empty() {
        return;
    }
    out.push_str("<ul class=\"findings\">\n");
    for kind in kinds {
        let names: Vec<NodeName> = kind.nodes.iter().map(|node| (*node).clone()).collect();
        let remark = match names.len() {
            _ if group.nodes.len() < 2 => String::new(),
            all if all == group.nodes.len() => " <span class=\"of\">all; the first is shown</span>".to_owned(),
            1 => format!(" <span class=\"of\">{} alone</span>", Text(&fold(&names))),
            some => {
                let folded = crate::wording::cut(&fold(&names), 120);
                format!(
                    " <span class=\"of\">{some} of {}: {}; the first is shown</span>",
                    group.nodes.len(),
                    Text(&folded)
                )
            }
        };
        page.finding(out, kind.number, kind.finding, &remark);
    }
    out.push_str("</ul>\n");
}

/// Writes what to do next, by the gravest findings.
pub(super) fn next(out: &mut String, page: &Page<'_>) {
    let mut told: Vec<(Severity, &str, Vec<&NodeName>)> = Vec::new();
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    for node in &page.analysis.nodes {
        for finding in node.findings.iter().filter(|finding| finding.severity > Severity::Info && !finding.is_gap()) {
            let Some(next) = finding.next.as_deref() else { continue };
            match known.get(next).and_then(|at| told.get_mut(*at)) {
                Some((severity, _, nodes)) => {
                    *severity = (*severity).max(finding.severity);
                    if nodes.last() != Some(&&node.node) {
                        nodes.push(&node.node);
                    }
                }
                None => {
                    known.insert(next, told.len());
                    told.push((finding.severity, next, vec![&node.node]));
                }
            }
        }
    }
    told.sort_by_key(|(severity, _, nodes)| std::cmp::Reverse((*severity, nodes.len())));
    out.push_str("<section id=\"next\"><h2>What to do next</h2>\n");
    if told.is_empty() {
        out.push_str("<p>Nothing follows from the findings.</p>\n");
    } else {
        out.push_str("<ol>\n");
        for (severity, next, nodes) in told.iter().take(NEXT) {
            let who = if page.single() {
                String::new()
            } else {
                format!("<div class=\"who\">{}</div>", page.nodes(nodes.iter().copied()))
            };
            writeln!(out, "<li>{} {}{who}</li>", badge(*severity), Text(next)).ok();
        }
        out.push_str("</ol>\n");
        if let Some(more) = told.len().checked_sub(NEXT).filter(|more| *more > 0) {
            writeln!(out, "<p>{more} more stand with the nodes' findings.</p>").ok();
        }
    }
    out.push_str("</section>\n");
}
