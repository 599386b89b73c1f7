//! What every part of the page needs: which node has which number, where a file's lines are found, and the small pieces of
//! markup that recur.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::charts;
use super::charts::Link;
use super::escape::Text;
use super::spool::KeptNode;
use crate::analyze::finding::{Citation, Finding, Severity};
use crate::analyze::moment::Moment;
use crate::analyze::node::NodeAnalysis;
use crate::inventory::NodeName;
use crate::report::analysis::Analysis;
use crate::report::words::shell_word;

/// See the module.
pub(super) struct Page<'a> {
    pub(super) analysis: &'a Analysis,
    /// One for each node of the analysis.
    pub(super) kept: &'a [KeptNode],
    numbers: BTreeMap<&'a NodeName, usize>,
    files: Vec<BTreeMap<&'a str, usize>>,
    /// Several looks at one node are here, each with evidence of its own.
    repeated: BTreeSet<&'a NodeName>,
    moments: BTreeMap<&'a NodeName, Vec<&'a Moment>>,
    own: &'a [Vec<Moment>],
}

impl<'a> Page<'a> {
    /// `own`: what happened by each node's own evidence, by the operator's clock.
    pub(super) fn new(analysis: &'a Analysis, kept: &'a [KeptNode], own: &'a [Vec<Moment>]) -> Self {
        let (mut numbers, mut repeated) = (BTreeMap::new(), BTreeSet::new());
        for (at, node) in analysis.nodes.iter().enumerate() {
            if numbers.contains_key(&node.node) {
                repeated.insert(&node.node);
            }
            numbers.entry(&node.node).or_insert(at);
        }
        let files =
            kept.iter().map(|node| node.files.iter().enumerate().map(|(at, file)| (file.name.as_str(), at)).collect());
        let mut moments: BTreeMap<&NodeName, Vec<&Moment>> = BTreeMap::new();
        for moment in &analysis.timeline {
            moments.entry(&moment.node).or_default().push(moment);
        }
        Self { analysis, kept, numbers, files: files.collect(), repeated, moments, own }
    }

    /// Returns whether there is one node alone, whose details then stand on the first page.
    pub(super) fn single(&self) -> bool {
        self.analysis.nodes.len() == 1
    }

    /// Returns the number of a node.
    pub(super) fn number(&self, node: &NodeName) -> Option<usize> {
        self.numbers.get(node).copied()
    }

    /// Returns what happened on a node, by the operator's clock.
    pub(super) fn times(&self, number: usize, node: &NodeAnalysis) -> Vec<&'a Moment> {
        match self.own.get(number) {
            Some(own) if self.repeated.contains(&node.node) => own.iter().collect(),
            _ => self.moments.get(&node.node).cloned().unwrap_or_default(),
        }
    }

    /// Returns where it is written that something happened; `None` if that may be in the evidence of several looks.
    pub(super) fn written<'m>(&self, moment: &'m Moment) -> Option<(usize, &'m Citation)> {
        let number = self.number(&moment.node).filter(|_| !self.repeated.contains(&moment.node))?;
        Some((number, moment.citation.as_ref()?))
    }

    /// Returns where the lines of a citation are in the page.
    pub(super) fn link(&self, node: usize, citation: &Citation) -> Option<Link> {
        let file = self.files.get(node)?.get(citation.file.as_str())?;
        let more = citation.lines.map(|(first, last)| format!("{first}-{last}")).unwrap_or_default();
        Some(Link { to: format!("n{node}-f{file}"), more })
    }

    /// Returns the link of a citation, or its text where the file is not at hand.
    pub(super) fn cite(&self, node: usize, citation: &Citation) -> String {
        let text = citation.to_string();
        match self.link(node, citation) {
            Some(link) => format!("<a class=\"cite\" {}>{}</a>", link.attributes(), Text(&text)),
            None => format!("<span class=\"cite\">{}</span>", Text(&text)),
        }
    }

    /// Returns the link to a node.
    pub(super) fn node(&self, node: &NodeName) -> String {
        match self.number(node) {
            Some(number) => format!("<a href=\"#n{number}\">{}</a>", Text(node.as_str())),
            None => Text(node.as_str()).to_string(),
        }
    }

    /// Returns links to nodes; many of them fold away behind their folded names.
    pub(super) fn nodes<'n>(&self, nodes: impl IntoIterator<Item = &'n NodeName>) -> String {
        let nodes: Vec<&NodeName> = nodes.into_iter().collect();
        let links: Vec<String> = nodes.iter().map(|node| self.node(node)).collect();
        if links.len() <= 6 {
            return links.join(", ");
        }
        let names: Vec<NodeName> = nodes.into_iter().cloned().collect();
        let folded = crate::inventory::fold(&names);
        format!("<details class=\"names\"><summary>{}</summary><p>{}</p></details>", Text(&folded), links.join(", "))
    }

    /// Writes a finding as an item of a list. `remark`: of which nodes it is true, as markup of ours.
    pub(super) fn finding(&self, out: &mut String, node: usize, finding: &Finding, remark: &str) {
        write!(out, "<li class=\"finding {}\">{} ", class(finding.severity), badge(finding.severity)).ok();
        write!(out, "<span class=\"said\">{}</span>{remark}", Text(&finding.sentence)).ok();
        if let Some(next) = finding.next.as_ref().filter(|_| finding.severity > Severity::Info) {
            write!(out, "<p class=\"next\"><b>Next:</b> {}</p>", Text(next)).ok();
        }
        let cites: Vec<String> = finding.evidence.iter().map(|citation| self.cite(node, citation)).collect();
        let rests = if cites.is_empty() { String::new() } else { format!("Rests on {}", cites.join(" ")) };
        writeln!(out, "<p class=\"cites\">{rests} <span class=\"id\">{}</span></p></li>", Text(&finding.id)).ok();
    }

    /// Returns moments as a table, at most `most`, the graver preferred.
    pub(super) fn moments(&self, moments: &[&Moment], most: usize) -> String {
        let mut shown: Vec<&Moment> = moments.to_vec();
        shown.sort_by_key(|moment| std::cmp::Reverse(moment.severity));
        shown.truncate(most);
        shown.sort_by_key(|moment| moment.time);
        let mut out =
            format!("<details><summary>The same as a list: {}</summary>", entries(shown.len(), moments.len()));
        out.push_str(
            "<table class=\"moments\"><thead><tr><th scope=\"col\">Time, UTC<th scope=\"col\">Node<th scope=\"col\">What\
             <th scope=\"col\">Text<th scope=\"col\">Written in</thead><tbody>\n",
        );
        for moment in shown {
            let until = moment.until.filter(|until| *until > moment.time).map(charts::clock);
            let until = until.map(|until| format!(" to {}", until.get(11..).unwrap_or(&until))).unwrap_or_default();
            let times = if moment.count > 1 { format!(" ({} times)", moment.count) } else { String::new() };
            let cite = self.written(moment);
            writeln!(
                out,
                "<tr class=\"{}\"><td class=\"num\">{}{until}<td>{}<td>{}{times}<td>{}<td>{}",
                class(moment.severity),
                charts::clock(moment.time),
                self.node(&moment.node),
                Text(charts::word(moment.kind)),
                Text(&moment.text),
                cite.map(|(node, citation)| self.cite(node, citation)).unwrap_or_default(),
            )
            .ok();
        }
        out.push_str("</tbody></table></details>\n");
        out
    }
}

fn entries(shown: usize, all: usize) -> String {
    if shown == all { format!("{all} entries") } else { format!("the {shown} gravest of {all} entries") }
}

/// Returns the gravest finding of a node.
pub(super) fn worst(node: &NodeAnalysis) -> Severity {
    node.findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Info)
}

/// Returns the class of a severity.
pub(super) const fn class(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "crit",
        Severity::Warning => "warn",
        Severity::Info => "info",
    }
}

/// Returns the badge of a severity.
pub(super) fn badge(severity: Severity) -> String {
    format!("<span class=\"sev {}\">{}</span>", class(severity), severity.word())
}

/// Returns the badge of a node by its gravest finding.
pub(super) fn state(worst: Severity) -> String {
    match worst {
        Severity::Info => "<span class=\"sev info\">no warning</span>".to_owned(),
        grave => badge(grave),
    }
}

/// Returns how to see a file outside of this page; `None` where that is no command.
pub(super) fn unpack(source: &str) -> Option<String> {
    let bundle = source.ends_with(crate::bundle::layout::SEALED) || source.ends_with(crate::bundle::layout::PARTIAL);
    bundle.then(|| format!("plegcollect show {}", shell_word(source)))
}
