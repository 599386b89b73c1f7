//! The goroutines of each process and sample: their states, and groups that stand in the same place. Of each sample the form that
//! tells states and times, else the grouped one.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::{GoroutineGroup, Goroutines};
use crate::analyze::finding::Citation;
use crate::analyze::goroutine::{Dump, Form, Stack};
use crate::analyze::view::NodeView;
use crate::printable::printable;

/// Process, sample, and the files that may hold it, the better first.
const SOURCES: &[(&str, u8, &[&str])] = &[
    ("kubelet", 1, &["kubelet/goroutine-1.txt", "kubelet/goroutine-groups-1.txt"]),
    ("kubelet", 2, &["kubelet/goroutine-2.txt", "kubelet/goroutine-groups-2.txt"]),
    ("dockerd", 1, &["docker/stacks/1.log", "docker/pprof/goroutine-1.txt"]),
    ("dockerd", 2, &["docker/stacks/2.log", "docker/pprof/goroutine-2.txt"]),
    ("containerd", 1, &["containerd/stacks/1.log"]),
    ("containerd", 2, &["containerd/stacks/2.log"]),
    ("kube-apiserver", 1, &["cluster/goroutines.txt"]),
];
/// Dumps of shims stand in one file.
const SHIMS: &str = "containerd/shims.txt";
/// Shims that are told of, those of most goroutines first.
const MOST_SHIMS: usize = 8;
/// Groups of one dump.
const GROUPS: usize = 40;
/// Of them the largest; the rest is for those that wait longest and those that tell.
const LARGEST: usize = 24;
/// Of them those that wait longest.
const LONGEST: usize = 8;
/// Frames of a group.
const FRAMES: usize = 30;
/// Characters of a frame.
const FRAME: usize = 160;
/// States of a dump.
const STATES: usize = 24;
/// Stacks that are counted for comparison; a busy dockerd has some hundred.
const SHAPES: usize = 4000;
/// What the chain of a hang is made of, however few stand there.
const TELLING: &[&str] = &[
    "GenericPLEG).Relist",
    "GenericPLEG).relist",
    "grpc.(*ClientConn).Invoke",
    "ttrpc.(*Client)",
    "GetPodNetworkStatus",
];

/// Returns the goroutines of all dumps there are.
pub(super) fn goroutines(view: &NodeView) -> Vec<Goroutines> {
    let mut found = Vec::new();
    for (process, sample, files) in SOURCES {
        let told = files.iter().find_map(|file| {
            let dumps = view.dumps(file);
            let dump = dumps.iter().filter(|dump| dump.total > 0).max_by_key(|dump| dump.total)?;
            Some(of(view, process, *sample, file, dump))
        });
        found.extend(told);
    }
    let shims = view.dumps(SHIMS);
    let mut shims: Vec<&Dump> = shims.iter().filter(|dump| dump.total > 0).collect();
    shims.sort_by_key(|dump| (std::cmp::Reverse(dump.total), dump.lines.first));
    found.extend(shims.into_iter().take(MOST_SHIMS).map(|dump| of(view, "shim", 1, SHIMS, dump)));
    found
}

fn of(view: &NodeView, process: &str, sample: u8, file: &str, dump: &Dump) -> Goroutines {
    let shown = view.shown(file);
    let mut shapes = BTreeMap::new();
    // The largest come first.
    for stack in dump.stacks.iter().take(SHAPES) {
        let count: &mut u64 = shapes.entry(shape(&place(stack), &frames(stack))).or_default();
        *count = count.saturating_add(stack.count);
    }
    let groups = chosen(dump).into_iter().map(|stack| group(stack, &shown)).collect();
    Goroutines {
        process: process.to_owned(),
        sample,
        file: shown,
        total: dump.total,
        states: states(dump),
        groups,
        shapes,
    }
}

/// Returns the largest groups, those that wait longest and those that tell, the largest first.
fn chosen(dump: &Dump) -> Vec<&Stack> {
    let mut longest: Vec<usize> = (0..dump.stacks.len()).collect();
    longest.sort_by_key(|at| std::cmp::Reverse(dump.stacks.get(*at).map_or(0, |stack| stack.longest)));
    let tells = |stack: &Stack| TELLING.iter().any(|name| stack.frame(name).is_some());
    let telling = dump.stacks.iter().enumerate().filter(|(_, stack)| tells(stack)).map(|(at, _)| at);
    // The order of the dump is that of the counts.
    let mut kept: BTreeSet<usize> = (0..dump.stacks.len().min(LARGEST)).collect();
    let mut fill = |places: &mut dyn Iterator<Item = usize>, up_to: usize| {
        for at in places {
            if kept.len() >= up_to {
                break;
            }
            kept.insert(at);
        }
    };
    fill(&mut longest.into_iter(), LARGEST + LONGEST);
    fill(&mut telling.into_iter(), GROUPS);
    fill(&mut (0..dump.stacks.len()), GROUPS);
    kept.into_iter().filter_map(|at| dump.stacks.get(at)).collect()
}

fn group(stack: &Stack, file: &str) -> GoroutineGroup {
    let lines = if stack.longest > 0 { stack.longest_lines } else { stack.lines };
    GoroutineGroup {
        count: stack.count,
        state: stack.states.first().map(|(state, _)| printable(state, FRAME)).unwrap_or_default(),
        minutes: stack.longest,
        place: place(stack),
        frames: frames(stack),
        at: Citation { file: file.to_owned(), lines: (lines.first > 0).then_some((lines.first, lines.last)) },
    }
}

fn place(stack: &Stack) -> String {
    let frame = stack.place().or_else(|| stack.frames.first().map(|frame| &**frame));
    frame.map_or_else(|| "an unknown place".to_owned(), |frame| printable(frame.short(), FRAME))
}

fn frames(stack: &Stack) -> Vec<String> {
    stack.frames.iter().take(FRAMES).map(|frame| printable(&frame.to_string(), FRAME)).collect()
}

fn states(dump: &Dump) -> Vec<(String, u64)> {
    let mut count: BTreeMap<String, u64> = BTreeMap::new();
    if dump.form == Form::Grouped {
        return Vec::new();
    }
    for (state, n) in dump.stacks.iter().flat_map(|stack| &stack.states) {
        let sum: &mut u64 = count.entry(printable(state, 60)).or_default();
        *sum = sum.saturating_add(*n);
    }
    let mut list: Vec<(String, u64)> = count.into_iter().collect();
    list.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    list.truncate(STATES);
    list
}

/// Returns what is equal for equal stacks of one process in any dump, of any version with the same functions: the functions from
/// the place on down, without lines, and without Go's own at the bottom.
pub(in crate::analyze) fn shape(place: &str, frames: &[String]) -> u64 {
    let names: Vec<&str> = frames.iter().map(|f| f.rsplit_once(" (").map_or(f.as_str(), |(name, _)| name)).collect();
    let first = names.iter().position(|name| *name == place).unwrap_or_default();
    let end = names.iter().rposition(|name| !name.starts_with("runtime.")).map_or(0, |last| last + 1);
    let mut hash = DefaultHasher::new();
    place.hash(&mut hash);
    names.get(first..end).unwrap_or_default().hash(&mut hash);
    hash.finish()
}
