//! /proc/pressure/*: how much of the time tasks stood still for want of processor, memory or disk; and /proc/loadavg.

use super::sections::sections;

/// Percent of the time, over three spans.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Averages {
    /// Over 10 s.
    pub avg10: f64,
    /// Over 60 s.
    pub avg60: f64,
    /// Over 300 s.
    pub avg300: f64,
    /// Microseconds since the boot.
    pub total_us: u64,
}

/// Stalls for want of one resource.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Stall {
    /// Some task stood still.
    pub some: Option<Averages>,
    /// All tasks stood still at once.
    pub full: Option<Averages>,
    /// Line of `some`.
    pub line: u64,
}

/// All of it; kernels before 4.20, and those with `psi=0`, have only the load.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Pressure {
    /// Processors.
    pub cpu: Stall,
    /// Memory.
    pub memory: Stall,
    /// Disks.
    pub io: Stall,
    /// Load over 1, 5 and 15 minutes.
    pub load: Option<[f64; 3]>,
}

/// Reads a file of sections named by the files' paths.
#[must_use]
pub fn parse(text: &str) -> Pressure {
    let mut pressure = Pressure::default();
    for section in sections(text) {
        let stall = match section.name.rsplit('/').next().unwrap_or_default() {
            "cpu" => &mut pressure.cpu,
            "memory" => &mut pressure.memory,
            "io" => &mut pressure.io,
            "loadavg" => {
                let mut numbers = section.body.split_ascii_whitespace().map_while(|n| n.parse().ok());
                pressure.load = numbers.next().zip(numbers.next()).zip(numbers.next()).map(|((a, b), c)| [a, b, c]);
                continue;
            }
            _ => continue,
        };
        for (line, text) in (section.line..).zip(section.body.lines()) {
            if let Some(rest) = text.strip_prefix("some ") {
                (stall.some, stall.line) = (averages(rest), line);
            } else if let Some(rest) = text.strip_prefix("full ") {
                stall.full = averages(rest);
            }
        }
    }
    pressure
}

fn averages(text: &str) -> Option<Averages> {
    let value = |key: &str| text.split_ascii_whitespace().find_map(|word| word.strip_prefix(key));
    let share = |key: &str| value(key)?.parse().ok().filter(|v: &f64| v.is_finite());
    Some(Averages {
        avg10: share("avg10=")?,
        avg60: share("avg60=")?,
        avg300: share("avg300=")?,
        total_us: value("total=").and_then(|v| v.parse().ok()).unwrap_or_default(),
    })
}
