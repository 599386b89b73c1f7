//! /proc/vmstat: counters of the kernel's memory management since the boot.

use std::collections::BTreeMap;

/// Reads the counters by name: `oom_kill`, `pswpout`, `allocstall_normal`, `pgscan_kswapd`, ….
#[must_use]
pub fn parse(text: &str) -> BTreeMap<String, u64> {
    let one = |line: &str| {
        let (name, value) = line.trim().split_once(' ')?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(one).collect()
}
