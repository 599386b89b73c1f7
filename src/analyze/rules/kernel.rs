//! Lines of the kernel's log that explain a node that stands still and belong to no other rule: processors that do not get out
//! of the kernel, network devices of containers that cannot go, a full table of connections.

use super::note::{self, KERNEL, Note};
use crate::analyze::finding::{Finding, Layer, Severity};
use crate::analyze::tables::dmesg::{KernelEvent, KernelLine};
use crate::analyze::view::NodeView;

/// Lines of a device that cannot go, from which on it is no matter of seconds.
const BUSY: usize = 6;

/// Takes what a finding names out of an event of its kind.
type Pick = fn(&KernelEvent) -> Option<String>;

pub(super) fn check(view: &NodeView) -> Vec<Finding> {
    let lines = note::kernel(view);
    let kinds: [(&str, Layer, &str, Pick); 3] = [
        ("kernel/soft-lockup", Layer::Kernel, "A processor did not get out of the kernel", |event| match event {
            KernelEvent::SoftLockup { seconds, process } => Some(format!("{process}, {seconds} s")),
            _ => None,
        }),
        (
            "kernel/device-busy",
            Layer::Cni,
            "A network device cannot be removed, and container removal waits for it",
            |event| match event {
                KernelEvent::DeviceBusy { device } => Some(device.clone()),
                _ => None,
            },
        ),
        (
            "kernel/conntrack-full",
            Layer::Kernel,
            "The table of tracked connections was full, packets were dropped",
            |event| matches!(event, KernelEvent::ConntrackFull).then(|| "nf_conntrack_max".to_owned()),
        ),
    ];
    kinds.into_iter().filter_map(|(id, layer, head, pick)| told(view, &lines, id, layer, head, pick)).collect()
}

fn told(view: &NodeView, lines: &[KernelLine], id: &str, layer: Layer, head: &str, pick: Pick) -> Option<Finding> {
    let hits: Vec<(&KernelLine, String)> = lines.iter().filter_map(|l| Some((l, pick(&l.event)?))).collect();
    let (last, _) = hits.last()?;
    // A device that goes late is waited for once or twice at the end of a container; the kernel says so every 10 s.
    let passing = id == "kernel/device-busy" && hits.iter().filter(|(l, _)| note::is_recent(view, l)).count() < BUSY;
    let grave = if note::is_recent(view, last) && !passing { Severity::Warning } else { Severity::Info };
    let names = note::counted(hits.iter().map(|(_, name)| name.clone()), 3);
    let head = if passing { "A network device was waited for before it could go" } else { head };
    let sentence = format!("{head}: {names}; the last time {}.", note::last_of(view, last));
    let note =
        Note::new(view, id, grave, &sentence).layer(layer).cite_all(KERNEL, hits.iter().rev().map(|(l, _)| l.line));
    Some(note.next("The lines around these in kernel/dmesg.txt name the module and the call trace.").done())
}
