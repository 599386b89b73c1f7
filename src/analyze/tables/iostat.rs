//! `iostat -xz 1 3`: how busy disks are. Column names of sysstat 9 to 12.

use super::columns::MOST;
use crate::analyze::line::numbered;

/// One disk during one interval.
#[derive(Debug, Clone, PartialEq)]
pub struct Disk {
    /// Its name.
    pub name: String,
    /// Reads a second.
    pub reads: Option<f64>,
    /// Writes a second.
    pub writes: Option<f64>,
    /// Milliseconds a read takes, waiting included; old sysstat has one number for both directions.
    pub read_wait_ms: Option<f64>,
    /// Milliseconds a write takes.
    pub write_wait_ms: Option<f64>,
    /// Requests waiting or served.
    pub queue: Option<f64>,
    /// Percent of the time it was busy; 100 says little of disks that serve many requests at once.
    pub busy_percent: Option<f64>,
    /// Line it stands in.
    pub line: u64,
}

/// One interval. The first is the mean since the boot.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Interval {
    /// Percent of processor time spent idle while disks were waited for.
    pub wait_percent: Option<f64>,
    /// The disks that did anything.
    pub disks: Vec<Disk>,
}

/// Returns the intervals in their order.
#[must_use]
pub fn parse(text: &str) -> Vec<Interval> {
    let mut found: Vec<Interval> = Vec::new();
    let mut heads: Vec<&str> = Vec::new();
    let mut cpu: Option<Vec<&str>> = None;
    for (number, line) in numbered(text) {
        let words: Vec<&str> = line.split_ascii_whitespace().take(MOST).collect();
        let Some(first) = words.first() else {
            heads.clear();
            continue;
        };
        if *first == "avg-cpu:" {
            cpu = Some(words.iter().skip(1).copied().collect());
            found.push(Interval::default());
        } else if let Some(names) = cpu.take() {
            let at = names.iter().position(|n| *n == "%iowait");
            let wait = at.and_then(|at| words.get(at)).and_then(|w| w.parse().ok());
            if let Some(interval) = found.last_mut() {
                interval.wait_percent = wait;
            }
        } else if first.starts_with("Device") {
            heads = words;
            if found.is_empty() {
                found.push(Interval::default());
            }
        } else if !heads.is_empty() && words.len() > 2 {
            let value = |names: &[&str]| {
                let at = names.iter().find_map(|n| heads.iter().position(|h| h == n))?;
                words.get(at)?.parse::<f64>().ok().filter(|v| v.is_finite())
            };
            let disk = Disk {
                name: (*first).to_owned(),
                reads: value(&["r/s"]),
                writes: value(&["w/s"]),
                read_wait_ms: value(&["r_await", "await"]),
                write_wait_ms: value(&["w_await", "await"]),
                queue: value(&["aqu-sz", "avgqu-sz"]),
                busy_percent: value(&["%util"]),
                line: number,
            };
            if let Some(interval) = found.last_mut() {
                interval.disks.push(disk);
            }
        }
    }
    found
}
