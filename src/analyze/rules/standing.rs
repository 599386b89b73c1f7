//! Goroutines that stand in the same call or before the same lock in both samples, in the kubelet, dockerd and containerd.
//! Idle workers stand, too: only what waits for somebody else, and longer than that may take, counts.

use super::Rule;
use super::note::{Note, name, some};
use super::waits::{Kind, Waits, waits};
use crate::analyze::finding::{Finding, Layer, Severity};
use crate::analyze::goroutine::{Form, Standing, standing};
use crate::analyze::view::NodeView;

/// An earlier and a later sample.
type Pair = (&'static str, &'static str);

/// Process, what it belongs to, and its pairs of samples, the one that tells more first.
const PROCESSES: &[(&str, Layer, &[Pair])] = &[
    (
        "the kubelet",
        Layer::Kubelet,
        &[
            ("kubelet/goroutine-1.txt", "kubelet/goroutine-2.txt"),
            ("kubelet/goroutine-groups-1.txt", "kubelet/goroutine-groups-2.txt"),
        ],
    ),
    (
        "dockerd",
        Layer::Dockerd,
        &[
            ("docker/stacks/1.log", "docker/stacks/2.log"),
            ("docker/pprof/goroutine-1.txt", "docker/pprof/goroutine-2.txt"),
        ],
    ),
    ("containerd", Layer::Containerd, &[("containerd/stacks/1.log", "containerd/stacks/2.log")]),
];

pub(super) const RULE: Rule = Rule {
    id: "standing",
    about: "goroutines that stand in the same place in both samples",
    reads: &["kubelet/goroutine-2.txt", "docker/stacks/2.log", "containerd/stacks/2.log"],
    check,
};

/// Waiters for locks or channels in one place that are no chance, though no time is told or it is short.
const CROWD: u64 = 5;

fn check(view: &NodeView) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut free = Vec::new();
    for (process, layer, pairs) in PROCESSES {
        let looked = pairs.iter().find_map(|(first, second)| {
            let (earlier, later) = (view.dumps(first), view.dumps(second));
            let (earlier, later) = (earlier.first()?, later.last()?);
            let stand = standing(earlier, later);
            let told: Vec<(&Standing<'_>, Waits)> =
                stand.iter().filter_map(|s| Some((s, is_stuck(s, later.form)?))).collect();
            Some((*second, finding(view, process, *layer, (first, second), &told)))
        });
        match looked {
            Some((_, Some(finding))) => found.push(finding),
            Some((file, None)) => free.push((*process, file)),
            None => {}
        }
    }
    if !free.is_empty() {
        let names: Vec<String> = free.iter().map(|(process, _)| (*process).to_owned()).collect();
        let sentence =
            format!("Nothing stands still between the two samples: no call, no lock, no send of {}.", some(&names, 3));
        let note = Note::new(view, "standing/none", Severity::Info, &sentence);
        found.push(free.iter().fold(note, |note, (_, file)| note.cite(file, 0)).done());
    }
    found
}

/// Returns what goroutines wait for that stand for too long.
fn is_stuck(stand: &Standing<'_>, form: Form) -> Option<Waits> {
    let waits = waits(stand.later)?;
    let patience = waits.patience()?;
    // A loop may be found in its call twice; a whole minute in the later sample is older than the earlier one.
    let long = form == Form::Blocks && stand.later.longest >= patience;
    let crowd = matches!(waits.kind, Kind::Lock | Kind::Send) && stand.count >= CROWD;
    (long || crowd).then_some(waits)
}

fn finding(
    view: &NodeView,
    process: &str,
    layer: Layer,
    (first, second): (&str, &str),
    told: &[(&Standing<'_>, Waits)],
) -> Option<Finding> {
    told.first()?;
    let total: u64 = told.iter().map(|(stand, _)| stand.count).sum();
    let longest = told.iter().map(|(stand, _)| stand.later.longest).max().unwrap_or_default();
    let numbered = told.iter().any(|(stand, _)| !stand.ids.is_empty());
    let words: Vec<String> =
        told.iter().map(|(stand, waits)| format!("{} × {}", stand.count, in_words(waits))).collect();
    let most = if numbered { "" } else { "Up to " };
    let (noun, verb) = if total == 1 { ("goroutine", "stands") } else { ("goroutines", "stand") };
    let since = match longest {
        0 => String::new(),
        _ if total == 1 => format!(", for {longest} min"),
        _ => format!(", the longest for {longest} min"),
    };
    let sentence = format!(
        "{most}{total} {noun} of {process} {verb} in the same place in both samples{since}: {}.",
        some(&words, 4)
    );
    let main = told.iter().max_by_key(|(stand, _)| (stand.count, stand.later.longest)).map(|(_, waits)| waits)?;
    let lines = told.iter().take(3);
    let mut found = Finding::new(&view.node, "standing/stuck", Severity::Warning, &sentence)
        .blames(layer)
        .alike(&format!("{process} stands: {}", in_words(main)))
        .then("Who is asked, or who holds the lock: the stacks of that process at the same time.");
    for (stand, _) in lines {
        let (was, is) = (stand.earlier.longest_lines, stand.later.longest_lines);
        found = found.cites(first, was.first, was.last).cites(second, is.first, is.last);
    }
    Some(found)
}

/// Words what is waited for, without counts.
fn in_words(waits: &Waits) -> String {
    let what = name(&waits.what);
    match waits.kind {
        Kind::Grpc => format!("call {what}"),
        Kind::Docker => format!("call {what} of dockerd"),
        Kind::Shim => format!("call {what} of a shim"),
        Kind::Program => what,
        Kind::Cni => format!("CNI plug-in ({what})"),
        Kind::Disk => what,
        Kind::Lock => format!("lock in {what}"),
        Kind::Send => format!("send in {what}"),
    }
}
