//! The checks of the node around dockerd (P16 to P18, P20, and the tools the guard needs): who else is at it, and
//! what the window means for the journal and for those who watch docker. Pure decisions over what was seen.

use std::time::Duration;

use super::checks::Case;
use super::seen::{Seen, property};
use super::{Lock, Owner, pass, refuse, shown, verdict};
use crate::change::{Check, Verdict};

/// A lock is not taken for a leftover before it was silent for so long: its owner renews a lease every 5 s, and has
/// no guard yet, or no more, for a moment.
const SILENT_S: u64 = 20;
/// Free space for the journal below which old lines will be evicted soon, KiB.
const LEAST_JOURNAL_KIB: u64 = 64 << 10;

/// Returns who holds the node's lock.
pub(super) fn lock(seen: &Seen) -> Lock {
    if seen.get("lock").is_none() {
        return Lock::Free;
    }
    let owner = Owner::read(seen.all("lock.owner"));
    let guarded = seen.guards.iter().any(|unit| {
        property(unit, "Id").is_some() && !matches!(property(unit, "ActiveState"), Some("inactive" | "failed") | None)
    });
    let silent = match (seen.number("now"), seen.number("lock.newest")) {
        (Some(now), Some(newest)) => now.saturating_sub(newest) > SILENT_S,
        _ => false,
    };
    if seen.get("lock.held").is_some() || guarded || !silent { Lock::Busy(owner) } else { Lock::Stale(owner) }
}

/// Returns the checks P16 to P18, P20 and that of the tools.
pub(super) fn checks(case: &Case<'_>, lock: &Lock) -> Vec<Check> {
    vec![p16(lock), p17(case), p18(case), p20(case), tools(case)]
}

fn p16(lock: &Lock) -> Check {
    match lock {
        Lock::Free => pass("P16", "nobody else is in a debug window on this node"),
        Lock::Busy(owner) => refuse("P16", owner.busy()),
        Lock::Stale(owner) => refuse(
            "P16",
            format!("an earlier debug window of {owner} was not closed on this node: run plegcollect revert first"),
        ),
    }
}

fn p17(case: &Case<'_>) -> Check {
    let seen = case.seen;
    let window = case.policy.window.as_secs();
    // Every API call is a line or more: those of the kubelet that come every second, and those for each container.
    let rate = 20 + 2 * case.info.map_or(0, super::Info::containers_running).min(1000);
    let lines = rate.saturating_mul(window);
    if let Some(free) = seen.number("journal.free").filter(|free| *free < LEAST_JOURNAL_KIB) {
        let free = free / 1024;
        return verdict(
            "P17",
            Verdict::Warn,
            format!("only {free} MiB are free for the journal: about {lines} lines of debug may evict older ones"),
        );
    }
    let settings = |names: &[&str]| -> Option<&str> {
        let of =
            |line: &'_ &String| names.iter().any(|n| line.strip_prefix(n).is_some_and(|rest| rest.starts_with('=')));
        seen.all("journald").iter().rev().find(of).and_then(|line| line.split_once('=')).map(|(_, value)| value.trim())
    };
    let of_unit = |name| seen.unit.as_ref().and_then(|unit| property(unit, name)).filter(|v| !matches!(*v, "0" | ""));
    let interval =
        of_unit("LogRateLimitIntervalUSec").or_else(|| settings(&["RateLimitIntervalSec", "RateLimitInterval"]));
    let burst = of_unit("LogRateLimitBurst").or_else(|| settings(&["RateLimitBurst"]));
    let interval = interval.map_or(Some(30), seconds).unwrap_or(30);
    // The default was 1,000 before systemd 240; more is allowed where the disk has room.
    let usual = if case.systemd.is_none_or(|v| v >= 240) { 10_000 } else { 1_000 };
    let burst = burst.map_or(Some(usual), |b| b.parse::<u64>().ok()).unwrap_or(usual);
    let expected = rate.saturating_mul(interval.min(window));
    if interval > 0 && burst > 0 && expected > burst {
        return verdict(
            "P17",
            Verdict::Warn,
            format!(
                "about {expected} lines in {interval} s are expected, the journal's limit is {burst}: lines will be \
                 dropped"
            ),
        );
    }
    pass("P17", format!("about {lines} lines of debug are expected"))
}

/// Reads a time span as systemd writes it.
fn seconds(text: &str) -> Option<u64> {
    text.parse().ok().or_else(|| humantime::parse_duration(text).ok().map(|d: Duration| d.as_secs()))
}

fn names(seen: &Seen, key: &str) -> String {
    let mut names: Vec<String> = seen.all(key).iter().take(20).map(|name| shown(name)).collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

fn p18(case: &Case<'_>) -> Check {
    let window = case.policy.window.as_secs();
    let shippers = names(case.seen, "shipper");
    let who = if shippers.is_empty() {
        "no log shipper is known to run there".to_owned()
    } else {
        format!("from there it may be shipped by {shippers}")
    };
    verdict(
        "P18",
        Verdict::Warn,
        format!(
            "for {window} s dockerd logs the environment of containers that are created (it may hold Secrets) to \
             the node's journal; {who}"
        ),
    )
}

fn p20(case: &Case<'_>) -> Check {
    let monitors = names(case.seen, "monitor");
    if monitors.is_empty() {
        return pass("P20", "no health monitor of docker is known to run");
    }
    verdict("P20", Verdict::Warn, format!("{monitors} runs on the node and may restart docker when it answers slowly"))
}

fn tools(case: &Case<'_>) -> Check {
    let missing = names(case.seen, "missing");
    if missing.is_empty() {
        return pass("tools", "the node has what the guard needs");
    }
    refuse("tools", format!("the guard on the node cannot run without {missing}"))
}
