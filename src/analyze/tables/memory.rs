//! Memory: `free`, and /proc/meminfo, which stands in for it on nodes without one.

use std::collections::BTreeMap;

use super::columns::MOST;
use super::sections::sections;

/// The memory of a node in kilobytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// All there is.
    pub total_kb: Option<u64>,
    /// Unused.
    pub free_kb: Option<u64>,
    /// What programs can still have, by the kernel's estimate; not known before 3.14.
    pub available_kb: Option<u64>,
    /// Swap there is.
    pub swap_total_kb: Option<u64>,
    /// Swap unused.
    pub swap_free_kb: Option<u64>,
}

impl Memory {
    /// Returns the share of the memory that programs can still have, in percent.
    #[must_use]
    pub fn available_percent(&self) -> Option<f64> {
        let total = self.total_kb.filter(|t| *t > 0)?;
        #[expect(clippy::cast_precision_loss, reason = "a share for people")]
        let share = self.available_kb? as f64 * 100.0 / total as f64;
        Some(share)
    }
}

/// Reads /proc/meminfo: name and kilobytes (some are counts).
#[must_use]
pub fn meminfo(text: &str) -> BTreeMap<String, u64> {
    let one = |line: &str| {
        let (name, value) = line.split_once(':')?;
        let value = value.split_ascii_whitespace().next()?.parse().ok()?;
        Some((name.trim().to_owned(), value))
    };
    text.lines().filter_map(one).collect()
}

/// Returns the memory by `free -m` (`mebibytes`), `free` or, whatever the flag, by /proc/meminfo in its place.
#[must_use]
pub fn memory(text: &str, mebibytes: bool) -> Memory {
    let unit = if mebibytes { 1024 } else { 1 };
    let mut found = Memory::default();
    let mut heads: Vec<&str> = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(first) = words.next() else { continue };
        if first == "total" {
            heads = line.split_ascii_whitespace().take(MOST).collect();
            continue;
        }
        if !matches!(first, "Mem:" | "Swap:") {
            continue;
        }
        let values: Vec<Option<u64>> = words.map(|w| w.parse::<u64>().ok()?.checked_mul(unit)).collect();
        let value = |head: &str| heads.iter().position(|h| *h == head).and_then(|at| *values.get(at)?);
        if first == "Swap:" {
            (found.swap_total_kb, found.swap_free_kb) = (value("total"), value("free"));
        } else {
            (found.total_kb, found.free_kb, found.available_kb) = (value("total"), value("free"), value("available"));
        }
    }
    if found.total_kb.is_some() {
        return found;
    }
    let body = sections(text).into_iter().find(|s| s.body.contains("MemTotal:")).map_or("", |s| s.body);
    let all = meminfo(body);
    let get = |name: &str| all.get(name).copied();
    Memory {
        total_kb: get("MemTotal"),
        free_kb: get("MemFree"),
        available_kb: get("MemAvailable"),
        swap_total_kb: get("SwapTotal"),
        swap_free_kb: get("SwapFree"),
    }
}
