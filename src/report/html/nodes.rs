//! The table of all nodes; the page's script sorts and filters it.

use std::fmt::Write as _;

use super::charts::short;
use super::escape::Text;
use super::page::{Page, state, worst};
use crate::analyze::finding::Severity;
use crate::wording::columns;

/// Columns: title, and whether they hold numbers.
const COLUMNS: [(&str, bool); 9] = [
    ("Node", false),
    ("State", false),
    ("Verdict", false),
    ("Findings", true),
    ("Relist p99", true),
    ("Kernel", false),
    ("Kubelet", false),
    ("Runtime", false),
    ("Missing", true),
];

/// Writes the table.
pub(super) fn table(out: &mut String, page: &Page<'_>) {
    if page.single() || page.analysis.nodes.is_empty() {
        return;
    }
    out.push_str(
        "<section id=\"nodes\"><h2>Nodes</h2>\n<p class=\"tools\" hidden><label>Filter <input type=\"search\" id=\"filter\" \
         autocomplete=\"off\"></label> <label><input type=\"checkbox\" id=\"unwell\"> only nodes that are not well</label> \
         <span id=\"matches\" role=\"status\"></span></p>\n<table id=\"table\"><thead><tr>",
    );
    for (title, number) in COLUMNS {
        write!(out, "<th scope=\"col\"{}>{title}</th>", if number { " class=\"num\"" } else { "" }).ok();
    }
    out.push_str("</tr></thead><tbody>\n");
    let mut nodes: Vec<_> = page.analysis.nodes.iter().enumerate().collect();
    nodes.sort_by_key(|(_, node)| std::cmp::Reverse(worst(node)));
    for (number, node) in nodes {
        let grave_most = worst(node);
        let blamed =
            node.verdict.layer.map(|l| format!("<span class=\"layer\">{}</span> ", l.word())).unwrap_or_default();
        let grave = node.findings.iter().filter(|f| f.severity > Severity::Info && !f.is_gap()).count();
        let gaps = node.findings.iter().filter(|f| f.is_gap()).count();
        let relist = node.figures.relist.as_ref().and_then(|latency| latency.p99.or(latency.mean));
        let cell = |text: &Option<String>| {
            let text = &crate::wording::cut(text.as_deref().unwrap_or("\u{2013}"), 44);
            // A usual version stays on one line; a text of a hostile node does not widen the table.
            format!("<td class=\"{}\">{}", if columns(text) > 26 { "long" } else { "short" }, Text(text))
        };
        writeln!(
            out,
            "<tr class=\"{}\"><th scope=\"row\"><a href=\"#n{number}\">{}</a></th><td data-sort=\"{}\">{}<td class=\"what\">{blamed}{}\
             <td class=\"num\">{grave}<td class=\"num\" data-sort=\"{}\">{}{}{}{}<td class=\"num\">{gaps}",
            super::page::class(grave_most),
            Text(node.node.as_str()),
            3 - grave_most as u8,
            state(grave_most),
            Text(&crate::wording::cut(&node.verdict.sentence, 160)),
            relist.unwrap_or(-1.0),
            relist.map_or_else(|| "\u{2013}".to_owned(), short),
            cell(&node.about.kernel),
            cell(&node.about.kubelet),
            cell(&node.about.runtime),
        )
        .ok();
    }
    out.push_str("</tbody></table></section>\n");
}
