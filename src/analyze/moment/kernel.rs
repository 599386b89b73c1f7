//! Moments by the kernel's log: OOM kills, hung tasks, soft lockups, errors of devices, file systems and mounts.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{Found, MomentKind, starts};
use crate::analyze::burst::Bursts;
use crate::analyze::finding::Severity;
use crate::analyze::tables::dmesg::{KernelEvent, KernelReader};

const FILE: &str = "kernel/dmesg.txt";
/// What is farther apart is another burst; a hung task is told of every 2 minutes.
const GAP: SignedDuration = SignedDuration::from_mins(5);

pub(super) fn read(found: &mut Found<'_>) {
    let Some(input) = found.view.open(FILE) else { return };
    let boot = starts::boot(found.view);
    let mut reader = KernelReader::new(input, found.view.kernel_clock());
    let mut all: BTreeMap<(MomentKind, Severity, &str), Bursts> = BTreeMap::new();
    // What was read before an error is evidence, too.
    while let Ok(Some(line)) = reader.next_event() {
        let time = line.time.or_else(|| after(boot?, line.after_boot?));
        let (what, name) = told(&line.event);
        all.entry(what).or_insert_with(|| Bursts::new(GAP)).add_at(time, line.line, name);
    }
    for ((kind, severity, what), bursts) in &all {
        for burst in bursts.kept() {
            found.burst(*kind, *severity, burst, FILE, what);
        }
    }
}

fn after(boot: Timestamp, seconds: f64) -> Option<Timestamp> {
    boot.checked_add(SignedDuration::try_from_secs_f64(seconds).ok()?).ok()
}

fn told(event: &KernelEvent) -> ((MomentKind, Severity, &'static str), &str) {
    use MomentKind::{Kernel, OomKill};
    match event {
        KernelEvent::OomKill { process, limit_of, within_cgroup, .. } if limit_of.is_some() || *within_cgroup => {
            ((OomKill, Severity::Warning, "kernel killed at a cgroup's memory limit"), process)
        }
        KernelEvent::OomKill { process, .. } => {
            ((OomKill, Severity::Critical, "kernel killed for want of memory on the node"), process)
        }
        KernelEvent::HungTask { process, .. } => ((Kernel, Severity::Warning, "tasks hang in the kernel"), process),
        KernelEvent::SoftLockup { process, .. } => {
            ((Kernel, Severity::Critical, "a processor is stuck in the kernel (soft lockup)"), process)
        }
        KernelEvent::IoError { device, .. } => ((Kernel, Severity::Warning, "reads or writes failed"), device),
        KernelEvent::FileSystemError { device, .. } => {
            ((Kernel, Severity::Critical, "a file system is damaged or read-only"), device)
        }
        KernelEvent::ServerNotResponding { server } => {
            ((Kernel, Severity::Warning, "a file server does not answer"), server)
        }
        KernelEvent::ConntrackFull => {
            ((Kernel, Severity::Warning, "connections dropped, the tracking table is full"), "")
        }
        KernelEvent::DeviceBusy { device } => ((Kernel, Severity::Warning, "a network device cannot go"), device),
    }
}
