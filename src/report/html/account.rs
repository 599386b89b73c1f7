//! What was done and what is lacking: changes made to nodes and undone, evidence that is not there, and what of it did not fit
//! into the page; the same of several nodes told once.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::aside::Told;
use super::escape::Text;
use super::page::{Page, unpack};
use super::spool::LeftOut;
use crate::inventory::NodeName;
use crate::wording::count;

/// Puts the same of several nodes together, in the order of the first.
fn alike<'a, T: Ord + Clone>(items: impl Iterator<Item = (T, &'a NodeName)>) -> Vec<(T, Vec<&'a NodeName>)> {
    let mut known: BTreeMap<T, usize> = BTreeMap::new();
    let mut alike: Vec<(T, Vec<&NodeName>)> = Vec::new();
    for (item, node) in items {
        match known.get(&item).and_then(|at| alike.get_mut(*at)) {
            Some((_, nodes)) if nodes.last() == Some(&node) => {}
            Some((_, nodes)) => nodes.push(node),
            None => {
                known.insert(item.clone(), alike.len());
                alike.push((item, vec![node]));
            }
        }
    }
    alike
}

fn said(out: &mut String, page: &Page<'_>, told: &Told, nodes: &[&NodeName]) {
    let class = if told.grave { " class=\"bad\"" } else { "" };
    write!(out, "<li{class}>{}{}", if told.grave { "<b>Attention:</b> " } else { "" }, Text(&told.text)).ok();
    if let Some(mend) = &told.mend {
        write!(out, " Mend it with <code>{}</code>", Text(mend)).ok();
    }
    if !page.single() {
        write!(out, "<div class=\"who\">{}</div>", page.nodes(nodes.iter().copied())).ok();
    }
    out.push_str("</li>\n");
}

/// Writes what was changed on nodes and undone.
pub(super) fn changes(out: &mut String, page: &Page<'_>) {
    out.push_str("<section id=\"changes\"><h2>Changes made to nodes, and undone</h2>\n");
    let nodes = || page.analysis.nodes.iter().zip(page.kept);
    let told = nodes().flat_map(|(node, kept)| {
        kept.aside.changes.iter().chain(&kept.aside.restarts).map(move |told| (told.clone(), &node.node))
    });
    let mut told = alike(told);
    told.sort_by_key(|(told, _)| !told.grave);
    if !told.iter().any(|(told, _)| told.grave) && nodes().all(|(_, kept)| kept.aside.changes.is_empty()) {
        out.push_str("<p>No change is recorded in this evidence.</p>\n");
    }
    if !told.is_empty() {
        out.push_str("<ul class=\"plain\">\n");
        for (told, nodes) in &told {
            said(out, page, told, nodes);
        }
        out.push_str("</ul>\n");
    }
    let unknown: Vec<&NodeName> = nodes().filter(|(_, kept)| !kept.aside.known).map(|(node, _)| &node.node).collect();
    if !unknown.is_empty() {
        writeln!(
            out,
            "<div class=\"note\">Without a manifest nothing is known of changes: {}</div>",
            page.nodes(unknown.iter().copied())
        )
        .ok();
    }
    out.push_str("</section>\n");
}

/// Writes what is missing, of the evidence and of this page.
pub(super) fn missing(out: &mut String, page: &Page<'_>) {
    out.push_str("<section id=\"missing\"><h2>What is missing</h2>\n");
    let nodes = &page.analysis.nodes;
    let mut items = String::new();
    for unreadable in &page.analysis.unreadable {
        writeln!(
            items,
            "<li class=\"bad\"><b>Not read:</b> <code>{}</code>: {}</li>",
            Text(&unreadable.path),
            Text(&unreadable.reason)
        )
        .ok();
    }
    let plain = |text: String| Told { text, grave: false, mend: None };
    let unsealed = nodes.iter().filter(|node| !node.sealed).map(|node| {
        (
            plain(
                "The evidence is not a sealed bundle: it may not be all there was, or was collected by hand."
                    .to_owned(),
            ),
            &node.node,
        )
    });
    let reasons = nodes.iter().zip(page.kept).filter_map(|(node, kept)| {
        Some((plain(format!("The collection is not complete: {}", kept.aside.reason.as_deref()?)), &node.node))
    });
    let gaps = nodes.iter().flat_map(|node| {
        node.findings
            .iter()
            .filter(|finding| finding.is_gap())
            .map(move |finding| (plain(finding.sentence.clone()), &node.node))
    });
    for (told, nodes) in alike(unsealed.chain(reasons).chain(gaps)) {
        said(&mut items, page, &told, &nodes);
    }
    let mut left = 0;
    let (mut of, mut example) = (0, None);
    for (node, kept) in nodes.iter().zip(page.kept) {
        let here = kept.files.iter().filter(|file| file.text == Err(LeftOut::Room)).count() + kept.unlisted;
        if here > 0 {
            (left, of) = (left + here, of + 1);
            example = example.or_else(|| unpack(&node.source));
        }
    }
    if left > 0 {
        let how = example.map(|command| format!(" They are in the bundles: <code>{} FILE</code>", Text(&command)));
        writeln!(
            items,
            "<li>{} of {} did not fit into this page.{}</li>",
            count(left, "file"),
            count(of, "node"),
            how.unwrap_or_default()
        )
        .ok();
    }
    if items.is_empty() {
        out.push_str("<p>Nothing that any rule wanted to see.</p>\n");
    } else {
        writeln!(out, "<ul class=\"plain\">{items}</ul>").ok();
    }
    out.push_str("</section>\n");
}
