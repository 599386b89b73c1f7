//! What goes into a page and what does not, and what the page then says.

use std::fs;
use std::path::Path;

use super::share::{encoded, share};
use super::spool::{KeptNode, LeftOut, Spool};
use super::*;
use crate::analyze::finding::{Finding, Severity};
use crate::analyze::node::{NodeAnalysis, analyze};
use crate::analyze::view::NodeView;
use crate::inventory::NodeName;

/// Text that does not pack well.
fn noise(lines: u64) -> String {
    (1..=lines).map(|n| format!("{:x}\n", n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17))).collect()
}

fn node(dir: &Path, name: &str, files: &[(&str, u64)], cited: &str) -> (NodeView, NodeAnalysis) {
    let name: NodeName = name.parse().unwrap();
    let dir = dir.join(name.as_str());
    for (file, lines) in files {
        let path = dir.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        crate::bundle::atomic::write(&path, noise(*lines).as_bytes()).unwrap();
    }
    let view = NodeView::of_dir(name.clone(), None, Vec::new(), dir);
    let mut node = analyze(&view, format!("/run/{name}.tar.zst"));
    node.findings = vec![Finding::new(&name, "disk/full", Severity::Warning, "full").cites(cited, 2, 3)];
    (view, node)
}

fn kept(nodes: &[(NodeView, NodeAnalysis)]) -> Vec<KeptNode> {
    let mut spool = Spool::new().unwrap();
    for (view, node) in nodes {
        spool.take(view, node).unwrap();
    }
    nodes.iter().map(|(_, node)| spool.of(node)).collect()
}

#[test]
fn when_not_all_fits_each_node_keeps_what_its_findings_rest_on() {
    let dir = tempfile::tempdir().unwrap();
    let files = [("host/large.txt", 9000), ("host/small.txt", 100)];
    let nodes = ["a", "b", "c"].map(|name| node(dir.path(), name, &files, "host/large.txt"));
    let mut all = kept(&nodes);
    let [large, small] = [0, 1].map(|file| all[0].files[file].text.as_ref().map(|packed| encoded(packed.len)).unwrap());
    share(&mut all, large * 3 + small);
    for of in &all {
        assert!(of.files[0].cited && of.files[0].text.is_ok());
    }
    let small = |node: usize| all[node].files[1].text.is_ok();
    assert!(small(0) && !small(2), "the rest is given out in turn until the room is spent");
    share(&mut all, large * 2);
    let left: Vec<bool> = all.iter().map(|of| of.files[0].text == Err(LeftOut::Room)).collect();
    assert_eq!(left, [false, false, true]);
}

#[test]
fn what_is_left_out_is_told_with_the_command_that_shows_it() {
    let dir = tempfile::tempdir().unwrap();
    // Some 8 MB that do not pack, of which a node may have 3.
    let names: Vec<String> = (0..20).map(|n| format!("host/f{n:02}.txt")).collect();
    let files: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 25_000)).collect();
    let (view, node) = node(dir.path(), "worker-1", &files, "host/f19.txt");
    let mut spool = Spool::new().unwrap();
    spool.take(&view, &node).unwrap();
    let mut page = Vec::new();
    write(&mut page, &Analysis::new(vec![node], None, Vec::new()), spool).unwrap();
    let page = String::from_utf8(page).unwrap();
    assert!(page.len() < 5 << 20, "{}", page.len());
    assert!(page.contains("of 1 node did not fit into this page. They are in the bundles: <code>plegcollect show /run/worker-1.tar.zst FILE</code>"));
    assert!(page.contains("not in this page for its size"));
    let cited = page.split("data-name=\"host/f19.txt\"").nth(1).and_then(|rest| rest.split("</li>").next()).unwrap();
    assert!(cited.contains("data-block=") && cited.contains("cited"), "{cited}");
}

#[test]
fn a_page_about_nothing_says_so() {
    let mut page = Vec::new();
    write(&mut page, &Analysis::new(Vec::new(), None, Vec::new()), Spool::new().unwrap()).unwrap();
    let page = String::from_utf8(page).unwrap();
    assert!(page.contains("No evidence could be read.") && page.ends_with("</html>\n"));
}

#[test]
fn a_command_for_a_bundle_is_quoted_and_there_is_none_for_other_files() {
    for (source, want) in [
        ("/a/b.tar.zst", Some("plegcollect show /a/b.tar.zst")),
        ("/a b/$(x).tar.zst.partial", Some("plegcollect show '/a b/$(x).tar.zst.partial'")),
        ("/it's.tar.zst", Some("plegcollect show '/it'\\''s.tar.zst'")),
        ("/a/kubelet.log", None),
    ] {
        assert_eq!(super::page::unpack(source).as_deref(), want);
    }
}
