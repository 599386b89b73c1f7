//! What is told of an analysis, the same for every form: groups of nodes with one verdict, each kind of finding once, what
//! was found well and what cannot be said folded. Words only; laid out by `terminal.rs` and `markdown.rs`.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::analyze::compare::Difference;
use crate::analyze::finding::{Citation, Finding, Severity};
use crate::analyze::fleet::Group;
use crate::analyze::node::NodeAnalysis;
use crate::analyze::verdict;
use crate::inventory::{NodeName, fold};
use crate::report::analysis::{Analysis, Unjudged};
use crate::wording;

/// Columns of folded names; names that do not fold are cut there, and counted.
const NAMES: usize = 120;

/// Nodes with one verdict.
pub(super) struct Told<'a> {
    pub(super) group: Cow<'a, Group>,
    nodes: Vec<&'a NodeAnalysis>,
    /// Warnings and worse, the gravest first.
    pub(super) findings: Vec<Kind<'a>>,
    /// What is worth knowing; what was found well, too.
    pub(super) looked_at: Vec<Kind<'a>>,
    /// What cannot be said.
    gaps: Vec<Kind<'a>>,
}

/// A kind of finding, told in the words of one node.
pub(super) struct Kind<'a> {
    pub(super) finding: &'a Finding,
    /// Nodes that have it.
    nodes: usize,
}

/// Returns what is told of each group.
pub(super) fn told(analysis: &Analysis) -> Vec<Told<'_>> {
    let mut by_name: BTreeMap<&NodeName, Vec<&NodeAnalysis>> = BTreeMap::new();
    for node in &analysis.nodes {
        by_name.entry(&node.node).or_default().push(node);
    }
    analysis.fleet.groups.iter().map(|group| told_of(Cow::Borrowed(group), looks(group, &by_name))).collect()
}

/// Returns what is told of each cluster, which is none of the nodes; the gravest first.
pub(super) fn clusters(analysis: &Analysis) -> Vec<Told<'_>> {
    let mut told: Vec<Told<'_>> = analysis.clusters.iter().map(of_cluster).collect();
    told.sort_by_key(|told| std::cmp::Reverse(told.group.worst));
    told
}

fn of_cluster(cluster: &NodeAnalysis) -> Told<'_> {
    let group = Group {
        nodes: vec![cluster.node.clone()],
        sentence: cluster.verdict.sentence.clone(),
        layer: cluster.verdict.layer,
        worst: cluster.findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Info),
        shared: Vec::new(),
    };
    told_of(Cow::Owned(group), vec![cluster])
}

/// Returns what is known of the nodes of a group.
fn looks<'a>(group: &Group, by_name: &BTreeMap<&NodeName, Vec<&'a NodeAnalysis>>) -> Vec<&'a NodeAnalysis> {
    let mut names: Vec<&NodeName> = group.nodes.iter().collect();
    names.sort_unstable();
    names.dedup();
    let mut nodes: Vec<&NodeAnalysis> = Vec::new();
    for name in names {
        let Some(of_name) = by_name.get(name) else { continue };
        // Several looks at one node may be in different groups.
        let same: Vec<_> = of_name.iter().filter(|n| n.verdict.sentence == group.sentence).copied().collect();
        nodes.extend(if same.is_empty() { of_name.clone() } else { same });
    }
    nodes
}

fn told_of<'a>(group: Cow<'a, Group>, nodes: Vec<&'a NodeAnalysis>) -> Told<'a> {
    let mut findings = kinds(&nodes);
    let says_it = |kind: &Kind<'_>| kind.finding.sentence == group.sentence;
    findings.sort_by_key(|kind| std::cmp::Reverse((kind.finding.severity, says_it(kind), kind.nodes)));
    let (gaps, findings): (Vec<_>, Vec<_>) = findings.into_iter().partition(|kind| kind.finding.is_gap());
    let (looked_at, findings) = findings.into_iter().partition(|kind| kind.finding.severity == Severity::Info);
    Told { group, nodes, findings, looked_at, gaps }
}

/// Returns each kind of finding once, in the words of the node that has it worst.
fn kinds<'a>(nodes: &[&'a NodeAnalysis]) -> Vec<Kind<'a>> {
    let mut kinds: Vec<Kind<'a>> = Vec::new();
    let mut places: BTreeMap<(&str, Option<&str>, usize), usize> = BTreeMap::new();
    for node in nodes {
        let mut again: BTreeMap<&str, usize> = BTreeMap::new();
        for finding in &node.findings {
            // Findings of one kind are told apart by what they are about, else by their order on the node.
            let nth = again.entry(&finding.id).or_default();
            let key = match &finding.signature {
                Some(signature) => (finding.id.as_str(), Some(signature.as_str()), 0),
                None => (finding.id.as_str(), None, *nth),
            };
            *nth += 1;
            let at = *places.entry(key).or_insert_with(|| {
                kinds.push(Kind { finding, nodes: 0 });
                kinds.len() - 1
            });
            let Some(kind) = kinds.get_mut(at) else { continue };
            kind.nodes += 1;
            if finding.severity > kind.finding.severity {
                kind.finding = finding;
            }
        }
    }
    kinds
}

impl Told<'_> {
    /// Whether nothing is wrong, as far as was seen.
    pub(super) fn is_well(&self) -> bool {
        self.group.worst < Severity::Warning
    }

    /// Returns what is to blame in a word: the layer, or how it looks.
    pub(super) fn layer(&self) -> &'static str {
        match self.group.layer {
            _ if self.is_well() => "well",
            Some(layer) => layer.word(),
            None => self.group.worst.word(),
        }
    }

    /// Returns the names, folded.
    pub(super) fn names(&self) -> String {
        names(&self.group.nodes)
    }

    /// Returns how many nodes there are, if several.
    pub(super) fn number(&self) -> String {
        number(&self.group.nodes)
    }

    /// Returns the verdict in one line.
    pub(super) fn sentence(&self) -> String {
        if self.is_well() && self.group.sentence == verdict::NOTHING && !self.gaps.is_empty() {
            return format!("{} in what there is of the evidence", verdict::NOTHING);
        }
        wording::command(&within(&self.group.sentence))
    }

    /// Returns what a finding says; nothing where the verdict said it, and it is so on all nodes.
    pub(super) fn says(&self, kind: &Kind<'_>, columns: usize) -> String {
        let all = self.nodes.len();
        let whose = match (all, kind.nodes) {
            (0 | 1, _) => String::new(),
            (all, n) if n >= all => format!(" (all {all}; here {})", kind.finding.node),
            (all, n) => format!(" ({n} of {all}; here {})", kind.finding.node),
        };
        if kind.finding.sentence == self.group.sentence {
            return whose.trim_start_matches(' ').to_owned();
        }
        let sentence = wording::cut(&wording::command(&kind.finding.sentence), columns);
        if whose.is_empty() { sentence } else { format!("{}{whose}", without_stop(&sentence)) }
    }

    /// Returns what was looked at and found well, or is worth knowing, in one line: as many of them as `columns` take, one at
    /// least, and how many more there are.
    pub(super) fn looked_at(&self, columns: usize) -> Option<String> {
        one_line(self.looked_at.iter().map(|kind| within(&kind.finding.sentence)), columns)
    }

    /// Returns what cannot be said and why, in one line: the questions with one cause share it.
    pub(super) fn gaps(&self, columns: usize) -> Option<String> {
        let mut causes: Vec<(String, Vec<String>, Vec<String>)> = Vec::new();
        for kind in &self.gaps {
            let gap = Gap::of(&kind.finding.sentence);
            match causes.iter_mut().find(|(cause, ..)| *cause == gap.cause) {
                Some((_, questions, files)) => {
                    put(questions, gap.question);
                    put(files, gap.file);
                }
                None => causes.push((gap.cause, vec![gap.question], vec![gap.file])),
            }
        }
        let said = causes.into_iter().map(|(cause, questions, files)| {
            let files: Vec<String> = files.into_iter().filter(|file| !file.is_empty()).collect();
            let why = format!("{} {cause}", files.join(", "));
            let questions = questions.join(", ");
            if why.trim().is_empty() { questions } else { format!("{questions} ({})", why.trim()) }
        });
        one_line(said, columns).map(|line| format!("cannot be said: {line}"))
    }

    /// Whether something is not told in lines of so many columns.
    pub(super) fn is_folded(&self, columns: usize) -> bool {
        self.looked_at(columns) != self.looked_at(usize::MAX) || self.gaps(columns) != self.gaps(usize::MAX)
    }

    /// Returns what differs from the healthy node, of the first node of which it is known.
    pub(super) fn differences<'b>(&self, analysis: &'b Analysis) -> &'b [Difference] {
        let of = analysis.fleet.differences.iter().filter(|of| self.group.nodes.contains(&of.node));
        of.map(|of| of.differences.as_slice()).find(|list| !list.is_empty()).unwrap_or_default()
    }
}

/// A question that stays open, taken apart.
struct Gap {
    question: String,
    /// The file that would tell.
    file: String,
    /// What is with it: `missing: failed: 401 from the kubelet`.
    cause: String,
}

impl Gap {
    /// Takes apart `It cannot be said WHAT: FILE is missing: WHY.` and `It cannot be said for certain WHAT: FILE is not whole:
    /// WHY.`; of another sentence nothing is known.
    fn of(sentence: &str) -> Self {
        let sentence = without_stop(sentence);
        Self::not_whole(sentence).or_else(|| Self::missing(sentence)).unwrap_or_else(|| Self {
            question: sentence.to_owned(),
            file: String::new(),
            cause: String::new(),
        })
    }

    fn missing(sentence: &str) -> Option<Self> {
        let (question, why) = sentence.strip_prefix("It cannot be said ")?.split_once(": ")?;
        let (file, cause) = match why.split_once(" is missing: ") {
            Some((file, cause)) => (file, format!("missing: {cause}")),
            None => ("", why.to_owned()),
        };
        Some(Self { question: question.to_owned(), file: file.to_owned(), cause })
    }

    fn not_whole(sentence: &str) -> Option<Self> {
        let (question, why) = sentence.strip_prefix("It cannot be said for certain ")?.split_once(": ")?;
        let (file, cause) = why.split_once(" is not whole: ")?;
        Some(Self { question: question.to_owned(), file: file.to_owned(), cause: format!("not whole: {cause}") })
    }
}

/// Nodes that nothing can be said of for the same reason, with the reason and what to do.
pub(super) struct Without<'a> {
    nodes: Vec<NodeName>,
    pub(super) reason: String,
    pub(super) next: Option<&'a str>,
}

impl Without<'_> {
    /// Returns the names, folded.
    pub(super) fn names(&self) -> String {
        names(&self.nodes)
    }

    /// Returns how many nodes there are, if several.
    pub(super) fn number(&self) -> String {
        number(&self.nodes)
    }
}

/// Groups the nodes without a verdict, in their order.
pub(super) fn without(unjudged: &[Unjudged]) -> Vec<Without<'_>> {
    let mut groups: Vec<Without<'_>> = Vec::new();
    for one in unjudged {
        match groups.iter_mut().find(|group| group.reason == one.reason && group.next == one.next.as_deref()) {
            Some(group) => group.nodes.push(one.node.clone()),
            None => groups.push(Without {
                nodes: vec![one.node.clone()],
                reason: wording::command(&one.reason),
                next: one.next.as_deref(),
            }),
        }
    }
    groups
}

/// Returns what a finding rests on, so many places at most: `docker/ps.txt:3, kernel/dmesg.txt:7-9`.
pub(super) fn evidence(finding: &Finding, places: usize) -> String {
    let mut shown: Vec<String> = finding.evidence.iter().take(places).map(Citation::to_string).collect();
    let more = finding.evidence.len().saturating_sub(places);
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    shown.join(", ")
}

/// Returns what to look at next.
pub(super) fn next(finding: &Finding, columns: usize) -> Option<String> {
    finding.next.as_ref().map(|next| wording::cut(&wording::command(next), columns))
}

/// Returns names folded; cut where they do not fold.
fn names(nodes: &[NodeName]) -> String {
    wording::cut(&fold(nodes), NAMES)
}

/// Returns ` (3 nodes)`, or ` (3 nodes, 5 looks)` where some were looked at several times; nothing of one.
fn number(nodes: &[NodeName]) -> String {
    let different = nodes.iter().collect::<BTreeSet<_>>().len();
    match (different, nodes.len()) {
        (_, 0 | 1) => String::new(),
        (different, looks) if looks == different => format!(" ({different} nodes)"),
        (1, looks) => format!(" ({looks} looks)"),
        (different, looks) => format!(" ({different} nodes, {looks} looks)"),
    }
}

fn without_stop(sentence: &str) -> &str {
    sentence.trim_end_matches(['.', ' '])
}

/// Returns a sentence as part of another: `No disk is full.` begins small then, `PLEG is healthy.` does not.
fn within(sentence: &str) -> String {
    let sentence = without_stop(sentence);
    let mut chars = sentence.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() || second == ' ' => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => sentence.to_owned(),
    }
}

fn put(list: &mut Vec<String>, text: String) {
    if !list.contains(&text) {
        list.push(text);
    }
}

/// Joins texts by `; ` up to `columns`; the first is always there, and how many more there are.
fn one_line(texts: impl Iterator<Item = impl AsRef<str>>, columns: usize) -> Option<String> {
    let mut line: Option<String> = None;
    let mut more = 0_usize;
    for text in texts {
        let text = wording::command(text.as_ref());
        match &mut line {
            None => line = Some(text),
            // What comes later is not put before what had no room.
            Some(line) if more == 0 && wording::columns(line) + wording::columns(&text) + 2 <= columns => {
                line.push_str("; ");
                line.push_str(&text);
            }
            Some(_) => more += 1,
        }
    }
    line.map(|line| if more == 0 { line } else { format!("{line}; and {more} more") })
}
