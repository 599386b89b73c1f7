//! Disks: full, out of inodes, slow, failing; and mounts that hang whoever looks at them.

mod space;

use std::collections::{BTreeMap, BTreeSet};

use super::note::{self, KERNEL, Note, Source};
use crate::analyze::finding::{Finding, Layer, Severity};
use crate::analyze::tables::dmesg::{KernelEvent, KernelLine};
use crate::analyze::tables::{df, hung, iostat};
use crate::analyze::view::NodeView;
use crate::evidence::{Outcome, StepRecord};
use crate::wording;

/// Silent file servers that mounts are compared with.
const SERVERS: usize = 64;
/// Milliseconds a request waits; a good disk needs below 1, a turning one 10 to 20.
const SLOW_MS: f64 = 100.0;
/// Percent of the time a disk is busy for its waits to count.
const BUSY_PERCENT: f64 = 80.0;
const SPACE: Source =
    Source { rule: "disk", step: "host/df", file: "host/df.txt", says: "how full the file systems are" };
const INODES: Source =
    Source { rule: "disk", step: "host/df-inodes", file: "host/df-inodes.txt", says: "how many inodes are left" };
const BUSY: Source =
    Source { rule: "disk", step: "host/iostat", file: "host/iostat.txt", says: "how slow the disks are" };
const MOUNTS: &str = "host/mounts.txt";

pub(super) fn check(view: &NodeView) -> Vec<Finding> {
    let mut found: Vec<Finding> = hangs(view).into_iter().collect();
    let mut well = Vec::new();
    for (source, inodes) in [(&SPACE, false), (&INODES, true)] {
        // One that hung is told above, and is not merely incomplete.
        let hung = view.step(source.step).is_some_and(|s| s.outcome == Outcome::TimedOut);
        let text = if hung { note::text(view, source.file) } else { note::read(view, source, &mut found) };
        let Some(text) = text else { continue };
        let list = df::parse(&text);
        if list.is_empty() && !hung {
            found.push(note::unreadable(view, source, "df"));
        } else {
            let bad = space::full(view, source.file, &list, inodes);
            if !hung && !inodes && bad.iter().all(|f| f.severity == Severity::Info) {
                well.push(source.file);
            }
            found.extend(bad);
        }
    }
    if let Some(file) = well.first() {
        let sentence = "No file system that the node lives on is full.";
        found.push(Note::new(view, "disk/well", Severity::Info, sentence).cite(file, 0).done());
    }
    if let Some(text) = note::read(view, &BUSY, &mut found) {
        let intervals = iostat::parse(&text);
        if intervals.is_empty() {
            found.push(note::unreadable(view, &BUSY, "iostat"));
        }
        found.extend(slow(view, &intervals));
    }
    found.extend(failing(view));
    found
}

/// A df that does not end waits for a file server that is gone.
fn hangs(view: &NodeView) -> Option<Finding> {
    let steps: Vec<&StepRecord> = [SPACE.step, INODES.step]
        .iter()
        .filter_map(|id| view.step(id))
        .filter(|s| s.outcome == Outcome::TimedOut)
        .collect();
    let step = steps.first()?;
    let stacks = steps.iter().flat_map(|s| &s.files).find(|f| f.path.ends_with(".hung.txt")).map(|f| f.path.clone());
    let thread = stacks.as_ref().and_then(|path| {
        let threads: Vec<hung::Thread> =
            hung::parse(&note::text(view, path)?).into_iter().flat_map(|p| p.threads).collect();
        let remote = |t: &&hung::Thread| t.wchan.iter().chain(&t.stack).any(|f| is_of_server(f));
        threads.iter().find(|t| t.state == 'D').or_else(|| threads.iter().find(remote)).cloned()
    });
    let waits = thread.as_ref().map(|t| {
        let frame = t.stack.first().or(t.wchan.as_ref()).map_or_else(|| "the kernel".to_owned(), |f| note::name(f));
        format!(", waiting in {frame}")
    });
    let mut mounts: Vec<String> = note::text(view, MOUNTS).map(|text| remote(&text)).unwrap_or_default();
    // The kernel's log may name the server; what else is mounted is not to blame then.
    let silent: BTreeSet<String> = silent(view).into_iter().map(|(_, server)| server).take(SERVERS).collect();
    if mounts.iter().any(|m| silent.iter().any(|s| m.contains(s))) {
        mounts.retain(|m| silent.iter().any(|s| m.contains(s)));
    }
    let which =
        if mounts.is_empty() { String::new() } else { format!("; mounts from servers: {}", note::some(&mounts, 4)) };
    let head = if thread.is_some() { "A mount hangs" } else { "A mount may hang, or the node is too slow" };
    let sentence = format!(
        "{head}: df did not end within {}{}{which}.",
        wording::duration(std::time::Duration::from_millis(step.duration_ms)),
        waits.unwrap_or_default()
    );
    // df may also be starved of processor time; a thread asleep in the kernel is the proof.
    let grave = if thread.is_some() { Severity::Critical } else { Severity::Warning };
    let next = "Bring the file server back or umount -f -l the mount; whatever touches it (kubelet volume statistics, \
                containers, df itself) hangs until then.";
    let note = Note::new(view, "disk/hung-mount", grave, &sentence).layer(Layer::Disk).next(next);
    let note = match (&stacks, &thread) {
        (Some(path), Some(thread)) => note.cite(path, thread.line),
        _ => note.cite(&format!("records/{}.json", step.id.as_str().replace('/', ".")), 0),
    };
    Some(note.signature(&format!("hung mount {}", mounts.first().map_or("", String::as_str))).done())
}

/// Tells whether a function of the kernel waits for a server.
fn is_of_server(function: &str) -> bool {
    ["nfs", "rpc_", "cifs", "smb", "ceph", "fuse", "autofs", "request_wait_answer"].iter().any(|w| function.contains(w))
}

/// File servers that do not answer, by the kernel's log, with the line; those that answered again are left out.
fn silent(view: &NodeView) -> Vec<(KernelLine, String)> {
    let mut lines: Vec<(KernelLine, String)> = note::kernel(view)
        .into_iter()
        .filter_map(|line| match &line.event {
            KernelEvent::ServerNotResponding { server } => Some((line.clone(), server.clone())),
            _ => None,
        })
        .collect();
    let text = if lines.is_empty() { None } else { note::text(view, KERNEL) };
    // The last time each answered again.
    let mut back: BTreeMap<&str, u64> = BTreeMap::new();
    for (line, number) in text.iter().flat_map(|text| text.lines().zip(1..)) {
        if let Some(name) = line.split_once("server ").and_then(|(_, name)| name.strip_suffix(" OK")) {
            back.insert(name, number);
        }
    }
    lines.retain(|(line, server)| back.get(server.as_str()).is_none_or(|number| *number < line.line));
    lines
}

/// Mount points of file systems that need a server, from mountinfo: `… /mnt rw - nfs4 server:/export rw`.
fn remote(mountinfo: &str) -> Vec<String> {
    let one = |line: &str| {
        let (head, tail) = line.split_once(" - ")?;
        let mut words = tail.split(' ');
        let (kind, source) = (words.next()?, words.next()?);
        let far =
            ["nfs", "cifs", "smb", "ceph", "glusterfs", "fuse", "lustre", "9p"].iter().any(|k| kind.starts_with(k));
        let far = far && !matches!(kind, "fusectl" | "fuse.lxcfs" | "nfsd");
        far.then(|| Some(format!("{} ({kind} {source})", head.split(' ').nth(4)?)))?
    };
    mountinfo.lines().filter_map(one).collect()
}

fn slow(view: &NodeView, intervals: &[iostat::Interval]) -> Option<Finding> {
    // The first interval is the mean since the boot.
    let now = intervals.get(1..).filter(|now| !now.is_empty())?;
    let wait = |d: &iostat::Disk| d.read_wait_ms.unwrap_or_default().max(d.write_wait_ms.unwrap_or_default());
    let is_slow = |d: &iostat::Disk| wait(d) >= SLOW_MS && d.busy_percent.is_some_and(|p| p >= BUSY_PERCENT);
    let disks: Vec<&iostat::Disk> = now
        .last()?
        .disks
        .iter()
        .filter(|d| now.iter().all(|i| i.disks.iter().any(|other| other.name == d.name && is_slow(other))))
        .collect();
    let worst = disks.iter().max_by(|a, b| wait(a).total_cmp(&wait(b)))?;
    let words: Vec<String> = disks
        .iter()
        .map(|d| {
            let (busy, queue) = (d.busy_percent.unwrap_or_default(), d.queue.unwrap_or_default());
            format!("{} busy {busy:.0} %, requests wait {:.0} ms, queue {queue:.0}", note::name(&d.name), wait(d))
        })
        .collect();
    let sentence = format!("Slow disks, in each of {} intervals: {}.", now.len(), note::some(&words, 3));
    let lines = now.iter().flat_map(|i| i.disks.iter().filter(|d| d.name == worst.name)).map(|d| d.line);
    let next = "host/iotop.txt says who reads and writes; if the rates are small the device itself is slow (kernel/dmesg.txt, \
                its limits in the cloud).";
    let note = Note::new(view, "disk/slow", Severity::Warning, &sentence).layer(Layer::Disk).cite_all(BUSY.file, lines);
    Some(note.next(next).signature(&format!("slow disk {}", worst.name)).done())
}

/// Drives without a medium, which virtual machines have and nobody uses, fail whenever the system looks for one.
fn is_removable(device: &str) -> bool {
    ["fd", "sr"]
        .iter()
        .any(|kind| device.strip_prefix(kind).is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit())))
}

fn failing(view: &NodeView) -> Vec<Finding> {
    let lines = note::kernel(view);
    let pick = |which: fn(&KernelEvent) -> Option<String>| -> Vec<(&KernelLine, String)> {
        lines.iter().filter_map(|l| Some((l, which(&l.event)?))).collect()
    };
    let io = pick(|e| match e {
        KernelEvent::IoError { device, .. } if !is_removable(device) => Some(device.clone()),
        _ => None,
    });
    let damage =
        pick(|e| if let KernelEvent::FileSystemError { message, .. } = e { Some(message.clone()) } else { None });
    let silent = silent(view);
    let server: Vec<(&KernelLine, String)> = silent.iter().map(|(line, server)| (line, server.clone())).collect();
    let tell = |hits: &[(&KernelLine, String)], id: &str, head: &str, next: &str, grave: fn(&str) -> Severity| {
        let (last, text) = hits.last()?;
        let grave = if note::is_recent(view, last) { grave(text) } else { Severity::Info };
        let names = note::counted(hits.iter().map(|(_, name)| name.clone()), 3);
        let sentence = format!("{head}: {names}; the last time {}.", note::last_of(view, last));
        let note = Note::new(view, id, grave, &sentence).layer(Layer::Disk).next(next);
        Some(note.cite_all(KERNEL, hits.iter().rev().map(|(l, _)| l.line)).done())
    };
    let read_only = |text: &str| {
        let grave = ["read-only", "hutdown", "hut down"].iter().any(|w| text.contains(w));
        if grave { Severity::Critical } else { Severity::Warning }
    };
    let warning = |_: &str| Severity::Warning;
    [
        tell(
            &io,
            "disk/io-errors",
            "Reads or writes fail",
            "Check the device (smartctl -a, the cloud's events); replace it if that says so or the errors go on.",
            warning,
        ),
        tell(
            &damage,
            "disk/damaged",
            "A file system is damaged",
            "Drain the node, check the file system (fsck, xfs_repair).",
            read_only,
        ),
        tell(
            &server,
            "disk/server-silent",
            "A file server does not answer, what touches its mounts hangs",
            "Bring the file server back, or umount -f -l its mounts.",
            warning,
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}
