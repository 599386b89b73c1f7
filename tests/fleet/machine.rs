//! The machine that the fleet's nodes share, watched while they are looked at: its load, memory and disks show in each node,
//! and what is true of a busy machine is no wrong finding of a node.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The worst that was seen.
#[derive(Debug, Default, Clone)]
pub(crate) struct Watch {
    /// Load over one minute for each processor.
    load: f64,
    /// Most percent of a minute in which all tasks stood still for memory.
    stalls: f64,
    /// Least memory available, in percent.
    available: Option<f64>,
    /// Disks that were busy for 80 % of half a second with requests that waited 100 ms on average.
    slow: Vec<String>,
    /// Lines of the kernel's log that explain findings of a whole node.
    kernel: Vec<String>,
}

/// A watch that is kept.
pub(crate) struct Watching {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Watch>,
}

/// What the kernel says when the whole machine is in trouble.
const TROUBLE: [(&str, &str); 8] = [
    ("Out of memory: Killed process", "memory/"),
    ("blocked for more than", "tasks/hung"),
    ("soft lockup", "kernel/soft-lockup"),
    ("unregister_netdevice: waiting for", "kernel/device-busy"),
    ("table full, dropping packet", "kernel/conntrack-full"),
    ("I/O error", "disk/io-errors"),
    ("EXT4-fs error", "disk/damaged"),
    ("not responding", "disk/server-silent"),
];

impl Watch {
    /// Starts to watch.
    pub(crate) fn start() -> Watching {
        let over = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let mut seen = Self::default();
            let (mut before, mut at) = (disks(), Instant::now());
            loop {
                let last = end.load(Ordering::Relaxed);
                seen.look();
                let (now, since) = (disks(), at.elapsed());
                seen.compare(&before, &now, since);
                (before, at) = (now, Instant::now());
                if last {
                    return seen;
                }
                std::thread::sleep(Duration::from_millis(500));
            }
        });
        Watching { over, thread }
    }

    fn look(&mut self) {
        let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
        let processors =
            std::thread::available_parallelism().map_or(1.0, |n| f64::from(u32::try_from(n.get()).unwrap()));
        let load =
            read("/proc/loadavg").split(' ').next().and_then(|word| word.parse::<f64>().ok()).unwrap_or_default();
        self.load = self.load.max(load / processors);
        let stalls =
            read("/proc/pressure/memory").lines().find_map(|line| number(line.strip_prefix("full ")?, "avg60="));
        self.stalls = self.stalls.max(stalls.unwrap_or_default());
        let memory = read("/proc/meminfo");
        let of = |name: &str| memory.lines().find_map(|line| number(line, name));
        if let Some((left, all)) = of("MemAvailable:").zip(of("MemTotal:")) {
            let percent = left * 100.0 / all;
            self.available = Some(self.available.map_or(percent, |least| least.min(percent)));
        }
    }

    fn compare(&mut self, before: &BTreeMap<String, [f64; 3]>, now: &BTreeMap<String, [f64; 3]>, since: Duration) {
        for (name, [requests, waits, busy]) in now {
            let Some(was) = before.get(name) else { continue };
            let (requests, waits, busy) = (requests - was[0], waits - was[1], busy - was[2]);
            let slow = requests > 0.0 && waits / requests >= 100.0 && busy >= since.as_secs_f64() * 800.0;
            if slow && !self.slow.contains(name) {
                self.slow.push(name.clone());
            }
        }
    }

    /// Whether a finding is due to the machine.
    pub(crate) fn explains(&self, id: &str) -> bool {
        let said =
            TROUBLE.iter().any(|(words, of)| id.starts_with(of) && self.kernel.iter().any(|l| l.contains(words)));
        said || match id {
            "memory/load" => self.load >= 4.0,
            "memory/starved" | "memory/stalls" => self.stalls >= 10.0 || self.available.is_some_and(|p| p < 10.0),
            "disk/slow" | "tasks/stuck" => !self.slow.is_empty(),
            _ => false,
        }
    }

    /// Whether it explains nothing.
    pub(crate) fn is_calm(&self) -> bool {
        let ids = TROUBLE.iter().map(|(_, id)| *id);
        !ids.chain(["memory/load", "memory/starved", "disk/slow"]).any(|id| self.explains(id))
    }
}

impl Watching {
    /// Ends the watch.
    pub(crate) fn seen(self) -> Watch {
        self.over.store(true, Ordering::Relaxed);
        let mut seen = self.thread.join().unwrap();
        let log =
            Command::new("dmesg").output().map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
        let trouble = |line: &&str| TROUBLE.iter().any(|(words, _)| line.contains(words));
        seen.kernel = log.lines().filter(trouble).map(|line| line.chars().take(160).collect()).collect();
        seen
    }
}

fn number(line: &str, name: &str) -> Option<f64> {
    let (_, rest) = line.split_once(name)?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Requests, milliseconds they waited, and milliseconds it was busy, by disk.
fn disks() -> BTreeMap<String, [f64; 3]> {
    let text = std::fs::read_to_string("/proc/diskstats").unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let of = |at: usize| words.get(at).and_then(|word| word.parse::<f64>().ok()).unwrap_or_default();
            Some(((*words.get(2)?).to_owned(), [of(3) + of(7), of(6) + of(10), of(12)]))
        })
        .collect()
}
