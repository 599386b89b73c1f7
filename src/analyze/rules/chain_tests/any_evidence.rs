//! All rules on evidence that is cut, spliced and put in the wrong place: nothing panics, lines that are cited exist.

use proptest::prelude::*;

use super::*;
use crate::analyze::rules::RULES;
use crate::analyze::verdict::verdict;

const GENUINE: [&str; 12] = [
    "analyze/kubelet-hang.log",
    "analyze/containerd-1.6-1.log",
    "analyze/containerd-1.6-journal.txt",
    "analyze/dockerd-20.10-convoy-debug1.txt",
    "analyze/kubelet-metrics-after.txt",
    "analyze/ps.txt",
    "analyze/hung.txt",
    "analyze/docker-ps.txt",
    "analyze/healthy/node/facts.json",
    "analyze/dmesg.txt",
    "kubelet/kubelet-1.36.2/goroutine-debug1.txt",
    "kubelet/kubelet-1.21.1-dockershim/goroutine-debug1.txt",
];

/// A file of the evidence: which, what stands in it, from and to which thousandth, and bytes put between.
type Piece = (usize, usize, usize, usize, Vec<u8>);

fn laid(pieces: &[Piece]) -> (tempfile::TempDir, NodeView) {
    let mut paths: Vec<&str> = RULES.iter().flat_map(|rule| rule.reads).copied().collect();
    paths.sort_unstable();
    paths.dedup();
    let dir = tempfile::tempdir().unwrap();
    for (path, genuine, from, to, between) in pieces {
        let whole = fs::read(fixture(GENUINE[genuine % GENUINE.len()])).unwrap();
        let at = |part: &usize| whole.len() * part / 1000;
        let file = dir.path().join(paths[path % paths.len()]);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, [&whole[..at(from)], between, &whole[at(to)..]].concat()).unwrap();
    }
    let view = NodeView::of_dir("worker-001".parse().unwrap(), None, Vec::new(), dir.path().to_owned());
    (dir, view)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn rules_never_panic_and_cite_lines_that_exist(pieces in proptest::collection::vec(
        (0..500_usize, 0..500_usize, 0..1000_usize, 0..1000_usize, proptest::collection::vec(any::<u8>(), 0..40)), 1..6)) {
        let (dir, view) = laid(&pieces);
        let found = findings(&view);
        prop_assert!(!verdict(&found).sentence.is_empty());
        for citation in found.iter().flat_map(|finding| &finding.evidence) {
            let Some((first, last)) = citation.lines else { continue };
            let bytes = fs::read(dir.path().join(&citation.file)).unwrap();
            let lines = bytes.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
            prop_assert!(first >= 1 && first <= last && last <= lines, "{citation} of {lines}");
        }
    }
}
