//! What containerd's own goroutines wait for: a shim, a program, a CNI plug-in, the disk, each other's locks. The waits for
//! running containers to end are its daily bread and left out.

use std::collections::BTreeMap;

use super::Rule;
use super::note::{self, Source, name, some};
use super::waits::{Kind, Waits, waits};
use crate::analyze::finding::{Finding, Layer, Severity};
use crate::analyze::goroutine::{Dump, LineRange, Lock, Stack};
use crate::analyze::view::NodeView;

/// The later sample first: waits are longer in it.
const FILES: &[&str] = &["containerd/stacks/2.log", "containerd/stacks/1.log"];

pub(super) const RULE: Rule =
    Rule { id: "containerd", about: "what containerd's goroutines wait for", reads: FILES, check };

const STACKS: Source = Source {
    rule: RULE.id,
    step: "containerd/stacks-1",
    file: "containerd/stacks/1.log",
    says: "what containerd's goroutines wait for",
};

/// Minutes of the kubelet's time limit for a call (`runtimeRequestTimeout`); what waits for longer has failed one.
pub(super) const FAILS: u32 = 2;
/// Fewer waiters for one lock are everyday life.
const CONVOY: u64 = 5;

/// Kinds of waits that make a finding: end of its id, layer, what is said of containerd, and where to look next.
const KINDS: [(Kind, &str, Layer, &str, &str); 4] = [
    (
        Kind::Shim,
        "shim",
        Layer::Shim,
        "containerd waits for a shim",
        "The shim's own stacks (containerd/shims.txt), its runc (host/runc.txt) and its threads (host/stuck.txt).",
    ),
    (
        Kind::Program,
        "program",
        Layer::Shim,
        "containerd waits for a program that a shim needs",
        "The process itself: host/runc.txt, host/stuck.txt, host/pstree.txt below containerd.",
    ),
    (
        Kind::Cni,
        "cni",
        Layer::Cni,
        "containerd waits for a CNI plug-in",
        "The plug-in's process (host/pstree.txt below containerd) and its log; cni/errors.txt.",
    ),
    (
        Kind::Disk,
        "disk",
        Layer::Disk,
        "containerd waits for the disk",
        "host/iostat.txt, host/pressure.txt and kernel/dmesg.txt: a slow or failing device, or much to be written.",
    ),
];

/// Goroutines that wait for the same kind of thing.
#[derive(Default)]
pub(super) struct Crowd {
    pub(super) count: u64,
    pub(super) longest: u32,
    /// How often each call.
    pub(super) calls: BTreeMap<String, u64>,
    /// Where the longest stands.
    pub(super) lines: LineRange,
}

impl Crowd {
    pub(super) fn add(&mut self, stack: &Stack, waits: &Waits, count: u64) {
        if self.count == 0 || stack.longest > self.longest {
            self.lines = stack.longest_lines;
        }
        self.count += count;
        self.longest = self.longest.max(stack.longest);
        *self.calls.entry(waits.what.clone()).or_default() += count;
    }

    /// Lists the calls, the most frequent first: `State × 3, Kill × 1`.
    pub(super) fn words(&self) -> String {
        let mut calls: Vec<(&String, &u64)> = self.calls.iter().collect();
        calls.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let words: Vec<String> = calls.iter().map(|(call, count)| format!("{} × {count}", name(call))).collect();
        some(&words, 4)
    }
}

fn check(view: &NodeView) -> Vec<Finding> {
    let mut read = None;
    for file in FILES {
        for dump in view.dumps(file).iter() {
            read.get_or_insert((*file, dump.total));
            let found = of(view, file, dump);
            if !found.is_empty() {
                return found;
            }
        }
    }
    match read {
        Some((file, total)) => {
            let sentence = format!(
                "containerd's {total} goroutines wait for no shim, no plug-in, no disk and no lock for a minute or more."
            );
            vec![Finding::new(&view.node, "containerd/free", Severity::Info, &sentence).cites(file, 0, 0)]
        }
        None => note::missing_of_daemon(view, &STACKS).into_iter().collect(),
    }
}

fn of(view: &NodeView, file: &str, dump: &Dump) -> Vec<Finding> {
    let mut crowds: BTreeMap<Kind, Crowd> = BTreeMap::new();
    for stack in &dump.stacks {
        let Some(waits) = waits(stack) else { continue };
        let Some(patience) = waits.patience() else { continue };
        let long = stack.goroutines.iter().filter(|goroutine| goroutine.minutes >= patience).count() as u64;
        if long > 0 {
            crowds.entry(waits.kind).or_default().add(stack, &waits, long);
        }
    }
    let mut found = Vec::new();
    found.extend(locks(view, file, dump));
    for (kind, id, layer, head, next) in KINDS {
        let Some(crowd) = crowds.get(&kind) else { continue };
        let (noun, verb) = if crowd.count == 1 { ("goroutine", "has") } else { ("goroutines", "have") };
        let sentence =
            format!("{head}: {} {noun} {verb} waited for up to {} min: {}.", crowd.count, crowd.longest, crowd.words());
        // A pod whose network is not made does not start; the others go on.
        let grave = kind != Kind::Cni && crowd.longest >= FAILS;
        let severity = if grave { Severity::Critical } else { Severity::Warning };
        found.push(
            Finding::new(&view.node, &format!("{}/{id}", RULE.id), severity, &sentence)
                .blames(layer)
                .alike(head)
                .then(next)
                .cites(file, crowd.lines.first, crowd.lines.last),
        );
    }
    found
}

/// Says that goroutines wait for one lock, and what its likely holder waits for.
fn locks(view: &NodeView, file: &str, dump: &Dump) -> Option<Finding> {
    let lock = dump
        .locks()
        .into_iter()
        .filter(|lock| lock.waiters >= CONVOY || lock.longest >= 1)
        .max_by_key(|lock| (lock.waiters, lock.longest))?;
    let bolt = lock.stacks.iter().any(|stack| stack.frame("bolt.(*DB)").is_some());
    let place =
        lock.stacks.first().and_then(|stack| stack.meaningful().find(|frame| !frame.function.contains("bolt.")));
    let place = place.map_or_else(|| "an unknown place".to_owned(), |frame| name(frame.short()));
    let what = if bolt { "its data base" } else { "one lock" };
    let mut sentence = format!(
        "{} of containerd wait for {what}, the longest for {} min, in {place}",
        crate::wording::count(usize::try_from(lock.waiters).unwrap_or(usize::MAX), "goroutine"),
        lock.longest
    );
    let mut signature =
        if bolt { "containerd waits for its data base".to_owned() } else { format!("containerd lock in {place}") };
    let holders = holders(dump, &lock, bolt);
    let mut cited = None;
    match holders.as_slice() {
        [(stack, waits)] => {
            let what = name(&waits.what);
            sentence.push_str(&format!("; it is likely held by the one that waits for {what} ({} min)", stack.longest));
            signature.push_str(&format!(", held while waiting for {what}"));
            cited = Some(stack.longest_lines);
        }
        [] => sentence.push_str("; nothing in the dump says who holds it"),
        several => {
            sentence.push_str(&format!("; {} goroutines wait for others, one of them may hold it", several.len()))
        }
    }
    sentence.push('.');
    let severity = if lock.waiters >= CONVOY && lock.longest >= 1 { Severity::Critical } else { Severity::Warning };
    let mut finding = Finding::new(&view.node, "containerd/locks", severity, &sentence)
        .blames(Layer::Containerd)
        .alike(&signature)
        .then("The holder's stack, and what it waits for: a shim, the disk, a plug-in.")
        .cites(file, lock.longest_line, lock.longest_line);
    if let Some(lines) = cited {
        finding = finding.cites(file, lines.first, lines.last);
    }
    Some(finding)
}

/// Returns stacks that wait for somebody else for no shorter than the longest in the queue; of a data base, those that
/// are in it.
fn holders<'a>(dump: &'a Dump, lock: &Lock<'_>, bolt: bool) -> Vec<(&'a Stack, Waits)> {
    let outside = |kind| matches!(kind, Kind::Shim | Kind::Program | Kind::Cni | Kind::Disk);
    dump.stacks
        .iter()
        .filter(|stack| stack.longest >= lock.longest && (!bolt || stack.frame("bolt.(*").is_some()))
        .filter_map(|stack| Some((stack, waits(stack).filter(|w| outside(w.kind) && w.patience().is_some())?)))
        .collect()
}
