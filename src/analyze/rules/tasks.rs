//! Zombies and their parents; threads in uninterruptible sleep and what in the kernel they wait for.

use std::collections::BTreeMap;

use super::note::{self, KERNEL, Note, Source};
use crate::analyze::finding::{Finding, Layer, Severity};
use crate::analyze::tables::dmesg::KernelEvent;
use crate::analyze::tables::stuck::Thread;
use crate::analyze::tables::{ps, stuck, top};
use crate::analyze::view::NodeView;
use crate::wording;

/// Zombies of one parent. One or two are children that ended just now; a parent with five does not collect them.
const ZOMBIES: usize = 5;
/// Listed parents, the one with the most first.
const PARENTS: usize = 3;
/// Threads in state D at one moment; a disk at work has a few.
const STUCK: usize = 10;
/// What the node's containers depend on, by the names the kernel cuts to 15 characters.
const VITAL: [&str; 8] = ["dockerd", "containerd", "containerd-shim", "kubelet", "runc", "crun", "crio", "conmon"];

const PS: Source =
    Source { rule: "tasks", step: "host/ps", file: "host/ps.txt", says: "whether there are zombies, and whose" };
const THREADS: Source =
    Source { rule: "tasks", step: "host/stuck", file: "host/stuck.txt", says: "which threads are stuck in the kernel" };
const LATER: &str = "host/top-2.txt";

pub(super) fn check(view: &NodeView) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(text) = note::read(view, &PS, &mut found) {
        found.extend(zombies(view, &ps::parse(&text)));
    }
    if let Some(text) = note::read(view, &THREADS, &mut found) {
        found.extend(asleep(view, &stuck::parse(&text)));
    }
    found.extend(hung(view));
    found
}

/// Returns the name of a zombie: `[curl] <defunct>` was a curl.
fn ended(command: &str) -> String {
    let name = command.strip_suffix("<defunct>").unwrap_or(command).trim_end();
    name.trim_matches(['[', ']']).to_owned()
}

/// The program of a command line without its directory and arguments.
fn program(command: &str) -> &str {
    let first = command.split(' ').next().unwrap_or(command);
    first.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(first)
}

fn zombies(view: &NodeView, processes: &ps::Processes) -> Option<Finding> {
    if processes.list.is_empty() {
        return Some(note::unreadable(view, &PS, "ps"));
    }
    let parents = processes.zombies();
    let all: usize = parents.iter().map(|(_, _, list)| list.len()).sum();
    let (_, _, most) = parents.first()?;
    let words: Vec<String> = parents
        .iter()
        .map(|(pid, parent, list)| {
            let command = parent.map_or("a process that has ended", |p| program(&p.command));
            let children = note::counted(list.iter().map(|z| ended(&z.command)), 2);
            format!("{} of {} (pid {pid}): {children}", list.len(), wording::cut(&note::name(command), 32))
        })
        .collect();
    let grave = if most.len() >= ZOMBIES { Severity::Warning } else { Severity::Info };
    let sentence = match words.as_slice() {
        // `43 of NAME (pid 7): …` becomes `43 zombies of NAME (pid 7): …`.
        [one] => format!("{}{}.", wording::count(all, "zombie"), one.trim_start_matches(|c: char| c.is_ascii_digit())),
        _ => format!("{}: {}.", wording::count(all, "zombie"), note::some(&words, PARENTS)),
    };
    let lines = parents.iter().take(PARENTS).flat_map(|(_, parent, list)| {
        parent.iter().map(|p| p.line).chain(list.first().map(|z| z.line)).collect::<Vec<u64>>()
    });
    let next = "A zombie goes when its parent collects it or ends: restart the container the parent belongs to; if that \
                is a shim or init, see whether it is stuck itself (host/stuck.txt).";
    let note = Note::new(view, "tasks/zombies", grave, &sentence).cite_all(PS.file, lines);
    Some(if grave == Severity::Warning { note.layer(Layer::Kernel).next(next).done() } else { note.done() })
}

/// The function that says most of what a thread waits for.
fn waits_for(thread: &Thread) -> String {
    let frame = thread.stack.first().or(thread.wchan.as_ref());
    frame.map_or_else(|| "?".to_owned(), |f| note::name(f))
}

fn asleep(view: &NodeView, list: &stuck::Stuck) -> Option<Finding> {
    let threads: Vec<&Thread> = list.threads.iter().filter(|t| t.state == 'D').collect();
    if threads.is_empty() {
        let whole = view.step(THREADS.step).is_none_or(|s| s.outcome.is_clean()) && list.count.is_some();
        let sentence = "No thread is in uninterruptible sleep.";
        return whole.then(|| Note::new(view, "tasks/well", Severity::Info, sentence).cite(THREADS.file, 0).done());
    }
    // A second look some seconds later tells what is stuck from what was reading just then.
    let later = note::text(view, LATER).map(|text| top::parse(&text)).unwrap_or_default();
    let stays: BTreeMap<u32, u64> = later.rows.iter().filter(|r| r.state == 'D').map(|r| (r.pid, r.line)).collect();
    // Of a process with many threads the list of processes shows the first; the kernel names the very thread.
    let reported: BTreeMap<u32, u64> = note::kernel(view)
        .iter()
        .filter(|line| note::is_recent(view, line))
        .filter_map(|line| match &line.event {
            KernelEvent::HungTask { pid, .. } => Some((*pid, line.line)),
            _ => None,
        })
        .collect();
    let stuck: Vec<&&Thread> =
        threads.iter().filter(|t| stays.contains_key(&t.pid) || reported.contains_key(&t.tid)).collect();
    let vital = stuck.iter().any(|t| VITAL.contains(&t.name.as_str()) || t.name.starts_with("runc:"));
    let grave = match (vital, stuck.is_empty() && threads.len() < STUCK) {
        (true, _) => Severity::Critical,
        (false, false) => Severity::Warning,
        (false, true) => Severity::Info,
    };
    let shown = if stuck.is_empty() { threads.iter().collect() } else { stuck.clone() };
    let words = note::counted(shown.iter().map(|t| format!("{} in {}", t.name, waits_for(t))), 4);
    let sentence = if stuck.is_empty() {
        format!("{} in uninterruptible sleep at one moment: {words}.", wording::count(threads.len(), "thread"))
    } else {
        let mut pids: Vec<u32> = stuck.iter().map(|t| t.pid).collect();
        pids.sort_unstable();
        pids.dedup();
        let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
        format!(
            "{} stuck in uninterruptible sleep, by {}: {words} (pid {}).",
            wording::count(stuck.len(), "thread"),
            if stuck.iter().any(|t| stays.contains_key(&t.pid)) { "two looks" } else { "the kernel's own report" },
            note::some(&pids, 5)
        )
    };
    let next = "Such threads cannot be killed. Their stacks in host/stuck.txt: nfs, cifs, ceph, fuse name a file server; blk, ext4, \
                xfs a disk; rtnl, cgroup a lock that another process holds.";
    let mut note =
        Note::new(view, "tasks/stuck", grave, &sentence).cite_all(THREADS.file, shown.iter().map(|t| t.line).take(5));
    note = note.cite_all(LATER, stuck.iter().filter_map(|t| stays.get(&t.pid).copied()).take(2));
    note = note.cite_all(KERNEL, stuck.iter().filter_map(|t| reported.get(&t.tid).copied()).take(1));
    if grave == Severity::Info {
        return Some(note.done());
    }
    let signature = shown.first().map(|t| format!("D in {}", waits_for(t))).unwrap_or_default();
    Some(note.layer(Layer::Kernel).next(next).signature(&signature).done())
}

/// What the kernel itself calls hung: two minutes and more in state D.
fn hung(view: &NodeView) -> Option<Finding> {
    let lines: Vec<_> = note::kernel(view)
        .into_iter()
        .filter_map(|line| match &line.event {
            KernelEvent::HungTask { process, pid, seconds } => {
                Some((format!("{process} (pid {pid}) for more than {seconds} s"), note::is_recent(view, &line), line))
            }
            _ => None,
        })
        .collect();
    let (_, recent, last) = lines.last()?;
    let mut names: Vec<String> = lines.iter().map(|(name, ..)| name.clone()).collect();
    names.reverse();
    names.dedup();
    let sentence = format!(
        "The kernel reported tasks that hang: {}; the last report was {}.",
        note::some(&names, 3),
        note::last_of(view, last)
    );
    let grave = if *recent { Severity::Warning } else { Severity::Info };
    let note =
        Note::new(view, "tasks/hung", grave, &sentence).cite_all(KERNEL, lines.iter().rev().map(|(.., l)| l.line));
    Some(
        note.layer(Layer::Kernel)
            .next("The call traces behind these lines in kernel/dmesg.txt say where they hang.")
            .done(),
    )
}
