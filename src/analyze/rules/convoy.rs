//! dockerd's lock convoy: many goroutines wait for one mutex, and who likely holds it. Addresses of mutexes tell who waits
//! for the same; nothing in a dump says who holds one, so a holder is only named where one request stands out.

use super::Rule;
use super::note::{self, Source, some};
use super::waits::{Kind, waits};
use crate::analyze::finding::{Finding, Layer, Severity};
use crate::analyze::goroutine::{Dump, Form, Lock, Stack, Wait};
use crate::analyze::view::NodeView;
use crate::printable::printable;
use crate::wording;

/// The later sample first: waits are longer in it.
const FILES: &[&str] =
    &["docker/stacks/2.log", "docker/stacks/1.log", "docker/pprof/goroutine-2.txt", "docker/pprof/goroutine-1.txt"];

pub(super) const RULE: Rule =
    Rule { id: "dockerd-locks", about: "goroutines of dockerd that wait for one lock", reads: FILES, check };

const STACKS: Source = Source {
    rule: RULE.id,
    step: "docker/stacks-1",
    file: "docker/stacks/1.log",
    says: "what dockerd's goroutines wait for",
};

/// Methods of dockerd's own on containers.
const DAEMON: &str = "daemon.(*Daemon).";
/// Fewer waiters are everyday life.
const CONVOY: u64 = 5;

fn check(view: &NodeView) -> Vec<Finding> {
    let mut read = None;
    for file in FILES {
        for dump in view.dumps(file).iter() {
            read.get_or_insert((*file, dump.total));
            let locks = dump.locks();
            let bad = locks.iter().filter(|lock| lock.waiters >= CONVOY || lock.longest >= 1);
            if let Some(lock) = bad.max_by_key(|lock| (lock.waiters, lock.longest)) {
                return vec![convoy(view, file, dump, lock)];
            }
            let waiting: u64 = dump.waiting_for(Wait::Lock).map(|stack| stack.count).sum();
            if waiting >= CONVOY && (dump.form == Form::Grouped || locks.is_empty()) {
                return vec![waiting_for_locks(view, file, dump, waiting)];
            }
        }
    }
    match read {
        Some((file, total)) => {
            let sentence = format!("dockerd's {total} goroutines do not wait for each other's locks.");
            vec![Finding::new(&view.node, "dockerd-locks/free", Severity::Info, &sentence).cites(file, 0, 0)]
        }
        None => note::missing_of_daemon(view, &STACKS).into_iter().collect(),
    }
}

/// Says what a grouped dump tells: it has neither the locks' addresses nor times.
fn waiting_for_locks(view: &NodeView, file: &str, dump: &Dump, waiting: u64) -> Finding {
    let stacks: Vec<&Stack> = dump.waiting_for(Wait::Lock).collect();
    let mut sentence = format!("{waiting} goroutines of dockerd wait for locks, in {}", some(&places(&stacks), 3));
    let holders = holders(dump, 0);
    if !holders.is_empty() {
        let names: Vec<String> = holders.iter().map(|h| format!("{}, which waits for {}", h.operation, h.on)).collect();
        sentence.push_str(&format!("; what they wait for may be held by {}", some(&names, 3)));
    }
    sentence.push_str(". This form of dump does not say for which and for how long.");
    let lines = stacks.first().map_or(dump.lines, |stack| stack.lines);
    let mut finding = Finding::new(&view.node, "dockerd-locks/waiting", Severity::Warning, &sentence)
        .blames(Layer::Dockerd)
        .alike("goroutines of dockerd wait for locks")
        .then("docker/pprof/goroutine-2.txt or docker/stacks, with the time each has waited.")
        .cites(file, lines.first, lines.last);
    for holder in holders.iter().take(3) {
        finding = finding.cites(file, holder.stack.lines.first, holder.stack.lines.last);
    }
    finding
}

/// Returns where stacks stand, the place of most goroutines first.
fn places(stacks: &[&Stack]) -> Vec<String> {
    let mut places: Vec<(String, u64)> = Vec::new();
    for stack in stacks {
        let name = stack.place().map_or_else(|| "an unknown place".to_owned(), |frame| printable(frame.short(), 80));
        match places.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += stack.count,
            None => places.push((name, stack.count)),
        }
    }
    places.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    places.into_iter().map(|(name, _)| name).collect()
}

fn convoy(view: &NodeView, file: &str, dump: &Dump, lock: &Lock<'_>) -> Finding {
    let names = places(&lock.stacks);
    let mut sentence = format!(
        "{} of dockerd wait for one lock, the longest for {} min, in {}",
        wording::count(usize::try_from(lock.waiters).unwrap_or(usize::MAX), "goroutine"),
        lock.longest,
        some(&names, 3)
    );
    let holders = holders(dump, lock.longest);
    let mut layer = Layer::Dockerd;
    let mut signature = format!("dockerd lock: {}", names.first().map_or("", String::as_str));
    let mut cited = None;
    if let [holder] = holders.as_slice() {
        let stack = holder.stack;
        let place =
            stack.place().map_or_else(String::new, |frame| format!(" at {}", printable(&frame.to_string(), 120)));
        let (operation, on) = (&holder.operation, holder.on);
        sentence.push_str(&format!(
            "; it is likely held by {operation} ({} min), which waits for {on}: {}{place}",
            stack.longest, holder.call
        ));
        layer = holder.layer;
        signature = format!("dockerd lock held by {operation}, which waits for {on}");
        cited = Some(stack.longest_lines);
    } else if holders.len() > 1 {
        let names: Vec<String> = holders.iter().map(|h| format!("{} for {}", h.operation, h.on)).collect();
        sentence.push_str(&format!(
            "; {} requests wait for others, one of them may hold it: {}",
            holders.len(),
            some(&names, 4)
        ));
    } else {
        sentence.push_str("; nothing in the dump says who holds it");
    }
    sentence.push('.');
    let severity = if lock.waiters >= CONVOY && lock.longest >= 1 { Severity::Critical } else { Severity::Warning };
    let mut finding = Finding::new(&view.node, "dockerd-locks/convoy", severity, &sentence)
        .blames(layer)
        .alike(&signature)
        .then("The holder's stack, and what it waits for: containerd and the container's shim, the disk, the network.")
        .cites(file, lock.longest_line, lock.longest_line);
    if let Some(lines) = cited {
        finding = finding.cites(file, lines.first, lines.last);
    }
    finding
}

/// A request that may hold a container's lock.
struct Holder<'a> {
    stack: &'a Stack,
    /// `ContainerStop`.
    operation: String,
    /// On whom it waits.
    on: &'static str,
    layer: Layer,
    /// The call or place.
    call: String,
}

/// What a request that holds a lock may wait for beside containerd, by a part of a function's name above the daemon's own.
const ON: [(&str, &str, Layer); 6] = [
    ("libnetwork.", "the network", Layer::Cni),
    ("netlink", "the network", Layer::Cni),
    ("graphdriver", "the graph driver", Layer::Disk),
    ("layer.(*", "the graph driver", Layer::Disk),
    ("volume", "a volume", Layer::Disk),
    ("fifo.", "the container's output", Layer::Shim),
];

/// Returns requests on containers that are past their own locks and wait for somebody else, no shorter than the longest
/// in the queue. Whoever came later cannot hold what those wait for.
fn holders(dump: &Dump, longest: u32) -> Vec<Holder<'_>> {
    let mut found: Vec<Holder<'_>> =
        dump.stacks.iter().filter(|stack| stack.longest >= longest).filter_map(holder).collect();
    found.sort_by_key(|holder| std::cmp::Reverse(holder.stack.longest));
    found
}

fn holder(stack: &Stack) -> Option<Holder<'_>> {
    let operation = operation(stack)?;
    let waits = waits(stack);
    if waits.as_ref().is_some_and(|waits| matches!(waits.kind, Kind::Lock | Kind::Send)) {
        return None;
    }
    if stack.calls(DAEMON, "grpc.(*ClientConn).Invoke") {
        return Some(Holder { stack, operation, on: "containerd", layer: Layer::Containerd, call: called(stack) });
    }
    let (_, on, layer) = ON.into_iter().find(|(part, ..)| stack.calls(DAEMON, part))?;
    let waits_for_others = waits.is_some() || matches!(stack.wait(), Wait::Syscall | Wait::Io | Wait::Unknown);
    let place = || stack.place().map_or_else(|| "a call".to_owned(), |frame| printable(frame.short(), 80));
    waits_for_others.then(|| Holder { stack, operation, on, layer, call: waits.map_or_else(place, |w| w.what) })
}

/// Returns the operation on a container that a request of dockerd is in: the outermost method of the daemon.
fn operation(stack: &Stack) -> Option<String> {
    let name = |function: &str| function.rsplit_once(DAEMON).map(|(_, name)| name.to_owned());
    let outer = stack.frames.iter().rev().find_map(|frame| name(&frame.function))?;
    // `SystemInfo` and the like hold no container's lock.
    outer.to_ascii_lowercase().contains("container").then(|| printable(&outer, 60))
}

/// Returns the method of containerd's client that is called.
fn called(stack: &Stack) -> String {
    let client = stack
        .frames
        .iter()
        .find(|frame| frame.function.contains("Client).") && frame.function.contains("containerd/api"));
    client.map_or_else(|| "a call over gRPC".to_owned(), |frame| printable(frame.short(), 80))
}
