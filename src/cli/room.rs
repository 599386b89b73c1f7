//! Whether there is room for what was asked for: time for the debug window, open files for the nodes.

use std::time::Duration;

use crate::plan::{Catalog, ChangeId, Selection};

/// What collecting takes beside the debug window, at the least.
const BESIDE_THE_WINDOW: Duration = Duration::from_secs(60);

/// Returns a warning where the time for a node leaves no room for the window that is to be, of dockerd or the kubelet.
pub(crate) fn no_room_for_window(catalog: &Catalog, selection: &Selection, node_deadline: Duration) -> Option<String> {
    let steps = selection.resolve(catalog).ok()?;
    let wanted = |change| {
        selection.changes.forbids(change).is_none()
            && steps.iter().any(|step| step.made_by.is_some_and(|made_by| made_by.change() == change))
    };
    let what = match (wanted(ChangeId::DockerdDebug), wanted(ChangeId::KubeletVerbosity)) {
        (true, _) => "debug window",
        (false, true) => "window of the kubelet's verbosity",
        (false, false) => return None,
    };
    let least = selection.changes.window.saturating_add(BESIDE_THE_WINDOW);
    let shown = humantime::format_duration;
    (node_deadline < least).then(|| {
        format!(
            "the time for a node, {}, may end the {what} of {} early: give --node-deadline {} or a shorter --window",
            shown(node_deadline),
            shown(selection.changes.window),
            shown(least)
        )
    })
}

/// Open files of the program itself, with what libraries open now and then.
const OPEN_FILES: u64 = 40;
/// And of a node: socket, bundle, spools of some steps with large outputs.
const OPEN_FILES_PER_NODE: u64 = 12;

/// Raises the limit of open files to what is allowed, and returns how many nodes at a time it is good for.
/// Beyond it bundles cannot be created, and the run would take that for a disk that fails.
pub(crate) fn nodes_for_open_files() -> Option<usize> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    let lower = limit.current;
    if limit.current < limit.maximum || limit.maximum.is_none() {
        limit.current = limit.maximum;
        if setrlimit(Resource::Nofile, limit).is_err() {
            limit.current = lower;
        }
    }
    let nodes = limit.current?.saturating_sub(OPEN_FILES) / OPEN_FILES_PER_NODE;
    Some(usize::try_from(nodes).unwrap_or(usize::MAX).max(1))
}
