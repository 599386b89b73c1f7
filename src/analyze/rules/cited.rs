//! What findings cite is there to be read: in place of a file without a byte stands what else tells of its step. Called on
//! all findings of a node.

use crate::analyze::finding::Finding;
use crate::analyze::view::NodeView;
use crate::bundle::layout::BundlePath;

/// Puts the record of a step in place of its files that are empty; leaves it out where another file of the step is cited,
/// as the list of what the step waited for.
pub(super) fn with_bytes(view: &NodeView, finding: &mut Finding) {
    let step_of = |path: &str| view.steps.iter().find(|step| step.files.iter().any(|file| file.path == path));
    let is_empty =
        |path: &str| step_of(path).is_some_and(|s| s.files.iter().any(|file| file.path == path && file.bytes == 0));
    let (empty, mut kept): (Vec<_>, Vec<_>) = finding.evidence.drain(..).partition(|cited| is_empty(&cited.file));
    for mut citation in empty {
        let Some(step) = step_of(&citation.file) else { continue };
        let is_of_step = |path: &str| step.files.iter().any(|file| file.path == path);
        let Ok(record) = BundlePath::record(&step.id) else { continue };
        if !kept.iter().any(|other| is_of_step(&other.file) || other.file == record.as_str()) {
            (citation.file, citation.lines) = (record.as_str().to_owned(), None);
            kept.push(citation);
        }
    }
    finding.evidence = kept;
}
