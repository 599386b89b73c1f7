//! What API servers told of the cluster as a whole, which is of no single node. Its files are not in the page; what findings
//! rest on is named.

use std::fmt::Write as _;

use super::escape::Text;
use super::node::{folded, list};
use super::page::{Page, class, state, worst};
use crate::analyze::finding::{Finding, Severity};

/// No node: no file of it can be opened in the page.
const NO_NODE: usize = usize::MAX;

/// Writes a section of the clusters there are.
pub(super) fn sections(out: &mut String, page: &Page<'_>) {
    let clusters = &page.analysis.clusters;
    if clusters.is_empty() {
        return;
    }
    out.push_str("<section id=\"cluster\"><h2>The cluster</h2>\n");
    for cluster in clusters {
        let gravest = worst(cluster);
        write!(out, "<article class=\"group {}\"><h3>{} ", class(gravest), state(gravest)).ok();
        if let Some(blamed) = cluster.verdict.layer {
            write!(out, "<span class=\"layer\">{}</span> ", blamed.word()).ok();
        }
        writeln!(out, "{}: {}</h3>", Text(cluster.node.as_str()), Text(&cluster.verdict.sentence)).ok();
        writeln!(out, "<p class=\"note\">Evidence: {}</p>", Text(&cluster.source)).ok();
        let (gaps, said): (Vec<&Finding>, Vec<&Finding>) = cluster.findings.iter().partition(|f| f.is_gap());
        let (grave, well): (Vec<&Finding>, Vec<&Finding>) = said.into_iter().partition(|f| f.severity > Severity::Info);
        list(out, page, NO_NODE, &grave);
        folded(out, page, NO_NODE, &well, "thing", "looked at and found well, or worth knowing");
        folded(out, page, NO_NODE, &gaps, "gap", "in the evidence");
        out.push_str("</article>\n");
    }
    out.push_str("</section>\n");
}
