//! `report.html`: one file that needs nothing else, for whoever looks at evidence without this program. Findings and verdicts
//! are plain markup; charts are pictures in the markup; files of nodes lie packed in the page and are opened by its script.
//! Asks the network for nothing, and says so by its policy. Written by `plegcollect report --format html`.
//!
//! Texts from nodes reach the page through `escape` alone; its script puts them in as text, never as markup.

mod account;
mod aside;
mod charts;
mod cluster;
mod escape;
mod evidence;
mod excerpt;
mod fleet;
mod node;
mod nodes;
mod overview;
mod page;
mod share;
mod spool;
#[cfg(test)]
mod tests;

use std::io::{self, BufWriter, Write};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use self::escape::Text;
use self::page::Page;
use self::spool::KeptNode;
pub use self::spool::Spool;
use super::analysis::Analysis;
use crate::analyze::moment::Moment;
use crate::analyze::timeline::merge;
use crate::bundle::{BundleError, atomic};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// Hatching, which tells colours apart without colour; pictures refer to it.
const DEFINITIONS: &str = "<svg class=\"definitions\" width=\"0\" height=\"0\" aria-hidden=\"true\"><defs><pattern id=\"hatching\" \
    width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\"><path d=\"M-1 1L1-1M0 6L6 0M5 7L7 5\" class=\"hatching\"/></pattern>\
    </defs></svg>\n";

/// What the script fills: a file, or stacks.
const VIEWER: &str = "<dialog id=\"viewer\" aria-labelledby=\"viewer-title\"><header><h2 id=\"viewer-title\"></h2>\
    <button type=\"button\" id=\"viewer-close\">Close (Esc)</button></header><p id=\"viewer-note\"></p>\
    <div id=\"viewer-tools\"></div><div id=\"viewer-body\" tabindex=\"0\"></div></dialog>\n";

/// Writes the page to a file, whole or not at all, with mode 0600.
///
/// # Errors
/// When the file or the spool does not allow it.
pub fn write_file(path: &Path, analysis: &Analysis, spool: Spool) -> Result<(), BundleError> {
    atomic::write_with(path, |file| write(&mut BufWriter::with_capacity(256 << 10, file), analysis, spool))
}

/// Writes the page. Holds the text of one node at a time.
///
/// # Errors
/// When `out` takes no more, or the spool cannot be read.
pub fn write(out: &mut dyn Write, analysis: &Analysis, mut spool: Spool) -> io::Result<()> {
    let mut kept: Vec<KeptNode> = analysis.nodes.iter().map(|node| spool.of(node)).collect();
    share::share(&mut kept, share::PAGE_MAX);
    let own: Vec<Vec<Moment>> = analysis.nodes.iter().map(|node| merge(std::slice::from_ref(node))).collect();
    let page = Page::new(analysis, &kept, &own);
    let mut text = head(&page);
    text.push_str("<main>\n<div id=\"overview\">\n");
    overview::wrong(&mut text, &page);
    cluster::sections(&mut text, &page);
    overview::next(&mut text, &page);
    account::changes(&mut text, &page);
    account::missing(&mut text, &page);
    if !page.single() {
        fleet::times(&mut text, &page);
        fleet::load(&mut text, &page);
    }
    nodes::table(&mut text, &page);
    text.push_str("</div>\n");
    for (number, (node, kept)) in analysis.nodes.iter().zip(&kept).enumerate() {
        node::section(&mut text, &page, number, node, kept);
        out.write_all(text.as_bytes())?;
        text.clear();
    }
    text.push_str("</main>\n");
    text.push_str(VIEWER);
    out.write_all(text.as_bytes())?;
    for (number, (node, kept)) in analysis.nodes.iter().zip(&kept).enumerate() {
        evidence::blocks(out, number, node, kept, &mut spool)?;
    }
    writeln!(out, "<script>{SCRIPT}</script>\n</body>\n</html>")?;
    out.flush()
}

fn head(page: &Page<'_>) -> String {
    let source = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text.as_bytes())));
    let policy = format!(
        "default-src 'none'; style-src {}; script-src {}; img-src data:; base-uri 'none'; form-action 'none'; \
         require-trusted-types-for 'script'",
        source(STYLE),
        source(SCRIPT)
    );
    let headline = overview::headline(page);
    let mut contents = vec![("wrong", "What is wrong")];
    contents.extend((!page.analysis.clusters.is_empty()).then_some(("cluster", "Cluster")));
    contents.extend([("next", "Next"), ("changes", "Changes"), ("missing", "Missing")]);
    if page.single() {
        contents.push(("n0", "The node"));
    } else {
        contents.extend([("timeline", "Timeline"), ("load", "Relist"), ("nodes", "Nodes")]);
    }
    let links: Vec<String> = contents.iter().map(|(to, text)| format!("<a href=\"#{to}\">{text}</a>")).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n\
         <meta name=\"generator\" content=\"plegcollect {}\">\n<link rel=\"icon\" href=\"data:,\">\n\
         <title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{DEFINITIONS}\
         <a class=\"skip\" href=\"#wrong\">To the findings</a>\n\
         <header class=\"top\"><h1>plegcollect report</h1><p class=\"headline\">{}</p>\
         <nav aria-label=\"Contents\">{} <button type=\"button\" id=\"theme\" hidden>Light or dark</button></nav></header>\n\
         <noscript><p class=\"note\">Scripts are off: findings can be read, files cannot be opened in this page.</p></noscript>\n\
         <p class=\"made\">Written {} UTC by plegcollect {}</p>\n",
        Text(&policy),
        Text(env!("CARGO_PKG_VERSION")),
        Text(&headline),
        Text(&headline),
        links.join(" "),
        charts::clock(Timestamp::now()),
        Text(env!("CARGO_PKG_VERSION")),
    )
}
