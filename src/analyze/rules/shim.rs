//! What the shims' own goroutines wait for: runc, the disk, each other's locks. Shims are asked for their stacks only on
//! demand; there is one sample of each.

use std::collections::BTreeMap;

use super::Rule;
use super::containerd::{Crowd, FAILS};
use super::note::{self, Source};
use super::waits::{Kind, waits};
use crate::analyze::finding::{Finding, Layer, Severity};
use crate::analyze::goroutine::Dump;
use crate::analyze::view::NodeView;
use crate::evidence::Outcome;
use crate::wording;

const FILE: &str = "containerd/shims.txt";

pub(super) const RULE: Rule = Rule { id: "shim", about: "what the shims' goroutines wait for", reads: &[FILE], check };

const STACKS: Source =
    Source { rule: RULE.id, step: "containerd/shims", file: FILE, says: "what the shims' goroutines wait for" };

fn check(view: &NodeView) -> Vec<Finding> {
    let dumps = view.dumps(FILE);
    let shims: Vec<&Dump> = dumps.iter().filter(|dump| is_shim(dump)).collect();
    if shims.is_empty() {
        // They are asked for on demand, so that a hand-made collection misses nothing either.
        let wanted =
            view.open(FILE).is_none() && view.step(STACKS.step).is_some_and(|step| step.outcome != Outcome::Skipped);
        return note::missing_of_daemon(view, &STACKS).filter(|_| wanted).into_iter().collect();
    }
    let mut crowds: BTreeMap<Kind, (u64, Crowd)> = BTreeMap::new();
    for dump in &shims {
        let mut seen = Vec::new();
        for stack in &dump.stacks {
            let Some(waits) = waits(stack).filter(|waits| waits.patience().is_some()) else { continue };
            // Grouped or young stacks tell nothing: runc works for some milliseconds all the time.
            if waits.patience().is_none_or(|patience| stack.longest < patience) {
                continue;
            }
            let (shims, crowd) = crowds.entry(waits.kind).or_default();
            crowd.add(stack, &waits, stack.count);
            if !seen.contains(&waits.kind) {
                *shims += 1;
                seen.push(waits.kind);
            }
        }
    }
    let all = shims.len();
    let found: Vec<Finding> = crowds
        .iter()
        .filter_map(|(kind, (shims, crowd))| {
            let (id, layer, head, next) = words(*kind)?;
            let sentence = format!(
                "{head}: {shims} of {}, for up to {} min: {}.",
                wording::count(all, "shim"),
                crowd.longest,
                crowd.words()
            );
            let severity = if crowd.longest >= FAILS { Severity::Critical } else { Severity::Warning };
            let finding = Finding::new(&view.node, &format!("{}/{id}", RULE.id), severity, &sentence).blames(layer);
            Some(finding.alike(head).then(next).cites(FILE, crowd.lines.first, crowd.lines.last))
        })
        .collect();
    if !found.is_empty() {
        return found;
    }
    let sentence =
        format!("None of {} waits for runc, the disk or a lock for a minute or more.", wording::count(all, "shim"));
    vec![Finding::new(&view.node, "shim/free", Severity::Info, &sentence).cites(FILE, 0, 0)]
}

/// containerd's own dumps stand in the same journal.
fn is_shim(dump: &Dump) -> bool {
    ["runtime/v2/shim.", "runtime/v2/runc", "/shim/v1.", "linux/shim.", "runtime/v1/shim", "containerd-shim"]
        .iter()
        .any(|mark| dump.in_function(mark).next().is_some())
        && dump.in_function("cmd/containerd/command.").next().is_none()
}

/// Returns the end of the finding's id, its layer, what is said and what to look at next.
const fn words(kind: Kind) -> Option<(&'static str, Layer, &'static str, &'static str)> {
    Some(match kind {
        Kind::Program => (
            "runc",
            Layer::Shim,
            "shims wait for runc",
            "What runc waits for: host/runc.txt has its kernel stack; with systemd cgroups as a rule systemd on D-Bus.",
        ),
        Kind::Lock => (
            "locks",
            Layer::Shim,
            "goroutines of shims wait for locks",
            "The same shim's other stacks: as a rule one of them waits for runc and holds the lock.",
        ),
        Kind::Disk => (
            "disk",
            Layer::Disk,
            "shims wait for the disk",
            "host/iostat.txt, host/mounts.txt and kernel/dmesg.txt: a device that fails, a mount that hangs.",
        ),
        Kind::Send => (
            "send",
            Layer::Shim,
            "goroutines of shims wait for room in a channel",
            "Who should take it: the same shim's other stacks; containerd may not take its events.",
        ),
        _ => return None,
    })
}
