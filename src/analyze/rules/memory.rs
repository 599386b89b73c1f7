//! Memory starvation: kills for want of memory, kswapd at work, little left, stalls; and the load against the
//! processors. A container that reached its own limit is told apart: that is no trouble of the node.

mod limits;

use super::note::{self, KERNEL, Note, Source};
use crate::analyze::finding::{Finding, Layer, Severity};
use crate::analyze::tables::dmesg::{KernelEvent, KernelLine};
use crate::analyze::tables::{memory, pressure, ps, top};
use crate::analyze::view::NodeView;
use crate::wording;

/// Processor share of kswapd from which on the kernel does little but look for memory; idle nodes show 0, busy ones below 5,
/// a starving node of 4 GB showed 69.
const KSWAPD_PERCENT: f64 = 20.0;
/// Available memory in percent, and in KiB; below both page cache is gone and every exec reads from disk. Of large machines
/// 5 percent are plenty.
const LOW_PERCENT: f64 = 5.0;
const LOW_KB: u64 = 1024 * 1024;
/// The kubelet's default hard eviction threshold, memory.available<100Mi.
const EVICTION_KB: u64 = 100 * 1024;
/// Available memory in percent at which a busy kswapd only makes room for files that are read.
const PLENTY_PERCENT: f64 = 10.0;
/// Percent of a minute in which all tasks stood still for memory; systemd-oomd kills at 60.
const STALL_PERCENT: f64 = 10.0;
/// Load for each processor, over 1 and 5 minutes. Twice the processors is a busy node; a starving one showed 176 on few.
const LOAD_PER_CPU: f64 = 4.0;
/// The same over one minute alone; the start of many pods makes spikes below that.
const SPIKE_PER_CPU: f64 = 10.0;

const FREE: Source =
    Source { rule: "memory", step: "host/free", file: "host/free.txt", says: "how much memory is available" };
const LOG: Source =
    Source { rule: "memory", step: "kernel/dmesg", file: KERNEL, says: "whether the kernel killed processes" };
const TOP: Source =
    Source { rule: "memory", step: "host/top-1", file: "host/top-1.txt", says: "whether kswapd is busy" };
const PRESSURE: &str = "host/pressure.txt";
const MEMINFO: &str = "host/meminfo.txt";
const PS: &str = "host/ps.txt";

/// A phrase, and the lines of a file it rests on.
type Sign = (String, &'static str, Vec<u64>);

pub(super) fn check(view: &NodeView) -> Vec<Finding> {
    let mut found = Vec::new();
    let room = Room::of(view, &mut found);
    let plenty = room.as_ref().is_some_and(|r| r.plenty);
    let mut signs: Vec<Sign> = room.iter().filter(|r| r.low).map(|r| (r.phrase.clone(), r.file, vec![0])).collect();
    let top = note::read(view, &TOP, &mut found).map(|text| top::parse(&text));
    if top.as_ref().is_some_and(|top| top.rows.is_empty()) {
        found.push(note::unreadable(view, &TOP, "top (procps)"));
    }
    let top = top.unwrap_or_default();
    let swapper = top.rows.iter().filter(|r| r.command.starts_with("kswapd"));
    if let Some(row) = swapper.max_by(|a, b| a.cpu_percent.total_cmp(&b.cpu_percent))
        && row.cpu_percent >= KSWAPD_PERCENT
    {
        let phrase = format!("{} takes {:.0} % of a processor", note::name(&row.command), row.cpu_percent);
        match room.as_ref().filter(|_| plenty) {
            None => signs.push((phrase, TOP.file, vec![row.line])),
            Some(room) => {
                let sentence = format!(
                    "{phrase} with {}: it makes room for files that are read, memory is not short.",
                    room.phrase
                );
                found.push(Note::new(view, "memory/kswapd", Severity::Info, &sentence).cite(TOP.file, row.line).done());
            }
        }
    }
    let pressure = note::text(view, PRESSURE).map(|text| pressure::parse(&text)).unwrap_or_default();
    if let Some(full) = pressure.memory.full.filter(|f| f.avg60 >= STALL_PERCENT) {
        let phrase = format!("all tasks stood still for memory in {:.0} % of the last minute", full.avg60);
        match room.as_ref().filter(|_| plenty) {
            None => signs.push((phrase, PRESSURE, vec![pressure.memory.line])),
            Some(room) => found.push(stalls(view, &phrase, room, pressure.memory.line)),
        }
    }
    let kernel = note::kernel(view);
    if view.open(KERNEL).is_none() {
        found.extend(note::missing(view, &LOG));
    }
    let (limits, node): (Vec<&KernelLine>, Vec<&KernelLine>) =
        kernel.iter().filter(|l| matches!(l.event, KernelEvent::OomKill { .. })).partition(|l| is_within_cgroup(l));
    found.extend(node_kills(view, &node));
    let recent: Vec<&&KernelLine> = node.iter().filter(|l| note::is_recent(view, l)).collect();
    let load = Load::of(view, &top, &pressure);
    if let Some(last) = recent.last() {
        let phrase = format!("{} by the kernel, the last {}", killed(&recent), note::last_of(view, last));
        let lines = recent.iter().rev().map(|l| l.line).collect();
        if signs.is_empty() {
            found.push(killed_lately(view, &phrase, lines, room.as_ref()));
        } else {
            signs.push((phrase, KERNEL, lines));
        }
    }
    found.extend(limits::reached(view, &limits));
    found.extend(starvation(view, &signs, load.as_ref()));
    // A node that starves has its load told there.
    found.extend(load.filter(|l| l.is_high() && signs.len() < 2).map(|l| l.told(view)));
    if let Some(room) = room.filter(|r| signs.is_empty() && !r.low) {
        let sentence = format!("Memory is not short: {}.", room.phrase);
        found.push(Note::new(view, "memory/well", Severity::Info, &sentence).cite(room.file, 0).done());
    }
    found
}

/// How much memory programs can still have.
struct Room {
    phrase: String,
    file: &'static str,
    low: bool,
    plenty: bool,
}

impl Room {
    fn of(view: &NodeView, found: &mut Vec<Finding>) -> Option<Self> {
        let (text, file, mebibytes) = match note::text(view, MEMINFO) {
            Some(text) => (text, MEMINFO, false),
            None => (note::read(view, &FREE, found)?, FREE.file, true),
        };
        let memory = memory::memory(&text, mebibytes);
        let Some(total) = memory.total_kb.filter(|t| *t > 0) else {
            found.push(note::unreadable(view, &Source { file, ..FREE }, "free or /proc/meminfo"));
            return None;
        };
        let bytes = |kb: u64| wording::bytes(kb.saturating_mul(1024));
        let room = |kb: u64, word: &str| {
            let percent = note::float(kb) * 100.0 / note::float(total);
            Self {
                phrase: format!("{word}{} of {} available", bytes(kb), bytes(total)),
                file,
                low: kb < EVICTION_KB || (percent < LOW_PERCENT && kb < LOW_KB),
                plenty: percent >= PLENTY_PERCENT && kb >= EVICTION_KB,
            }
        };
        if let Some(kb) = memory.available_kb {
            return Some(room(kb, ""));
        }
        // Kernels before 3.14 do not tell. Cache can be given back at most whole, what is unused is there for certain.
        let least = memory.free_kb.map(|kb| room(kb, "at least ")).filter(|r| !r.low);
        let most = at_most(&text, mebibytes).map(|kb| room(kb, "at most ")).filter(|r| r.low);
        if least.is_none() && most.is_none() {
            let sentence = "It cannot be said how much memory is available: the kernel (before 3.14) does not tell.";
            found.push(Note::new(view, "memory/unreadable", Severity::Info, sentence).cite(file, 0).done());
        }
        most.or(least)
    }
}

/// KiB that are unused or cache, by the old form of `free` or by /proc/meminfo.
fn at_most(text: &str, mebibytes: bool) -> Option<u64> {
    let unit = if mebibytes { 1024 } else { 1 };
    if let Some(line) = text.lines().find_map(|l| l.trim_start().strip_prefix("-/+ buffers/cache:")) {
        return line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()?.checked_mul(unit);
    }
    let all = memory::meminfo(text);
    let parts = ["MemFree", "Buffers", "Cached", "SReclaimable"];
    all.get("Cached")?;
    Some(parts.iter().filter_map(|name| all.get(*name)).fold(0, |sum, kb| sum.saturating_add(*kb)))
}

/// The load, and where it was read.
struct Load {
    one: f64,
    five: f64,
    cpus: Option<u32>,
    file: &'static str,
}

impl Load {
    fn of(view: &NodeView, top: &top::Top, pressure: &pressure::Pressure) -> Option<Self> {
        let file = if top.load.is_some() { TOP.file } else { PRESSURE };
        let [one, five, _] = top.load.or(pressure.load)?;
        Some(Self { one, five, cpus: note::facts(view).and_then(|f| f.cpus).filter(|n| *n > 0), file })
    }

    fn is_high(&self) -> bool {
        let Some(cpus) = self.cpus.map(f64::from) else { return false };
        self.one >= cpus * SPIKE_PER_CPU || (self.one >= cpus * LOAD_PER_CPU && self.five >= cpus * LOAD_PER_CPU)
    }

    fn on(&self) -> String {
        self.cpus.map(|n| format!(" on {}", wording::count(n as usize, "processor"))).unwrap_or_default()
    }

    /// Tells waiting from computing as far as the list of processes does.
    fn told(&self, view: &NodeView) -> Finding {
        let states = note::text(view, PS).map(|text| ps::parse(&text).states()).unwrap_or_default();
        let of = |state: char| states.get(&state).copied().unwrap_or_default();
        let kinds = if states.contains_key(&'?') || states.is_empty() {
            String::new()
        } else {
            format!("; of the processes {} run or want to (state R), {} wait in the kernel (state D)", of('R'), of('D'))
        };
        let sentence = format!("The load is {:.0} ({:.0} over 5 minutes){}{kinds}.", self.one, self.five, self.on());
        let next = "Many in state D wait for disks or file servers, see host/stuck.txt; many in state R want processors, \
                    see the top of host/top-1.txt.";
        let note = Note::new(view, "memory/load", Severity::Warning, &sentence).cite(self.file, 0).next(next);
        if kinds.is_empty() { note.done() } else { note.cite(PS, 0).done() }
    }
}

fn stalls(view: &NodeView, phrase: &str, room: &Room, line: u64) -> Finding {
    let sentence = format!("Some cgroup is short of memory, the node is not: {phrase}, with {}.", room.phrase);
    let next = "Find the container at its own limit: memory.pressure and memory.events in the cgroups below kubepods.";
    let note = Note::new(view, "memory/stalls", Severity::Warning, &sentence).layer(Layer::Memory).next(next);
    note.cite(PRESSURE, line).cite(room.file, 0).signature("a cgroup is short of memory, the node is not").done()
}

fn killed_lately(view: &NodeView, phrase: &str, lines: Vec<u64>, room: Option<&Room>) -> Finding {
    let now = room.map(|r| format!("; when looked at, {}", r.phrase)).unwrap_or_default();
    let sentence = format!("The whole node was short of memory: {phrase}{now}.");
    let next = "The table of processes before each kill in kernel/dmesg.txt says who held the memory; reserve some for the \
                system (--system-reserved, --kube-reserved).";
    let note = Note::new(view, "memory/killed", Severity::Warning, &sentence).layer(Layer::Memory).next(next);
    note.cite_all(KERNEL, lines).signature("the node was short of memory, and the kernel killed processes").done()
}

fn starvation(view: &NodeView, signs: &[Sign], load: Option<&Load>) -> Option<Finding> {
    let grave = if signs.len() > 1 { Severity::Critical } else { Severity::Warning };
    let mut words: Vec<String> = signs.iter().map(|(phrase, ..)| phrase.clone()).collect();
    words.first()?;
    if let Some(load) = load.filter(|l| signs.len() > 1 && l.cpus.is_none_or(|n| l.one > f64::from(n))) {
        words.push(format!("load {:.0}{}", load.one, load.on()));
    }
    let head = if signs.len() > 1 { "The node starves for memory" } else { "Memory runs short" };
    let note = Note::new(view, "memory/starved", grave, &format!("{head}: {}.", words.join("; ")));
    let cited = signs.iter().fold(note, |note, (_, file, lines)| note.cite_all(file, lines.iter().copied().take(4)));
    let next = "Find what holds the memory (RSS in host/ps.txt, MemAvailable and Slab in host/meminfo.txt), move pods away, \
                reserve memory for the system (--system-reserved, --kube-reserved).";
    Some(cited.layer(Layer::Memory).next(next).signature("memory starvation").done())
}

/// Old kills of the whole node; recent ones are signs of starvation.
fn node_kills(view: &NodeView, node: &[&KernelLine]) -> Option<Finding> {
    let old: Vec<&&KernelLine> = node.iter().filter(|l| !note::is_recent(view, l)).collect();
    let last = old.last()?;
    let sentence = format!(
        "For want of memory on the whole node the kernel killed {} earlier in its log, the last {}.",
        killed(&old).trim_end_matches(" killed"),
        note::last_of(view, last)
    );
    let note = Note::new(view, "memory/killed-earlier", Severity::Info, &sentence).layer(Layer::Memory);
    Some(note.cite_all(KERNEL, old.iter().rev().map(|l| l.line)).done())
}

fn killed(lines: &[&&KernelLine]) -> String {
    let names = lines.iter().filter_map(|l| match &l.event {
        KernelEvent::OomKill { process, cgroup, .. } => {
            let group = cgroup.as_deref().map(|c| format!(" in {}", tail(c))).unwrap_or_default();
            Some(format!("{process}{group}"))
        }
        _ => None,
    });
    format!("{} ({}) killed", note::processes(lines.len(), ""), note::counted(names, 4))
}

fn is_within_cgroup(line: &KernelLine) -> bool {
    matches!(line.event, KernelEvent::OomKill { within_cgroup: true, .. })
}

/// The end of a cgroup's path names the container or the service; of a container's id 12 characters, as docker prints them.
fn tail(cgroup: &str) -> &str {
    let last = cgroup.trim_end_matches('/').rsplit('/').next().filter(|l| !l.is_empty()).unwrap_or("/");
    let bare = last.strip_suffix(".scope").unwrap_or(last);
    // `docker-ID.scope`, `cri-containerd-ID.scope`, `crio-ID.scope`, or the ID alone.
    let id = bare.rsplit('-').next().unwrap_or(bare);
    if id.len() >= 40 && id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return id.get(..12).unwrap_or(id);
    }
    last.char_indices().nth(28).map_or(last, |(at, _)| last.get(..at).unwrap_or(last))
}
