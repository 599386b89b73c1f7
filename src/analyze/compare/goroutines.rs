//! Goroutines: totals, groups that are new or grew, and single ones in places that matter.

use super::{DifferenceKind, Told};
use crate::analyze::figures::{Figures, GoroutineGroup, Goroutines, shape};

/// Of totals.
const FACTOR: u64 = 3;
/// Per so many of the other: together 1.5.
const PER: u64 = 2;
/// How far totals must be apart.
const TOTAL: u64 = 50;
/// Goroutines by which a group is large.
const LARGE: u64 = 5;
/// Groups that are told of one process.
const GROUPS: usize = 8;
/// One goroutine in such a place is the whole story.
const RELIST: [&str; 2] = ["GenericPLEG).Relist", "GenericPLEG).relist"];

pub(super) fn differences(base: &Figures, other: &Figures) -> Vec<Told> {
    let mut processes: Vec<&str> =
        other.goroutines.iter().map(|g| g.process.as_str()).filter(|p| *p != "shim").collect();
    processes.dedup();
    let mut found = Vec::new();
    for process in processes {
        let last = |figures: &'_ Figures| {
            figures.goroutines.iter().filter(|g| g.process == process).max_by_key(|g| g.sample).cloned()
        };
        let (Some(was), Some(now)) = (last(base), last(other)) else { continue };
        found.extend(total(process, was.total, now.total));
        let mut groups: Vec<Told> = now.groups.iter().filter_map(|group| grown(process, &was, group)).collect();
        groups.sort_by_key(|told| std::cmp::Reverse(told.weight));
        groups.truncate(GROUPS);
        found.extend(groups);
    }
    found
}

fn total(process: &str, was: u64, now: u64) -> Option<Told> {
    let (low, high) = (was.min(now), was.max(now));
    let enough = high - low >= TOTAL && high.saturating_mul(PER) >= low.saturating_mul(FACTOR);
    enough.then(|| {
        let text = format!("{process} has {now} goroutines instead of {was}");
        let (was, now) = (Some(was.to_string()), Some(now.to_string()));
        Told::new(450, DifferenceKind::Goroutines, &format!("goroutines of {process}"), was, now, &text)
    })
}

/// Returns how many of the base have the group's stack.
fn before(base: &Goroutines, group: &GoroutineGroup) -> u64 {
    let key = shape(&group.place, &group.frames);
    if !base.shapes.is_empty() {
        return base.shapes.get(&key).copied().unwrap_or_default();
    }
    // An analysis that was written out and read back has but its groups.
    base.groups.iter().filter(|g| shape(&g.place, &g.frames) == key).map(|g| g.count).fold(0, u64::saturating_add)
}

fn grown(process: &str, base: &Goroutines, group: &GoroutineGroup) -> Option<Told> {
    let was = before(base, group);
    let now = group.count;
    let relist = group.frames.iter().any(|frame| RELIST.iter().any(|name| frame.contains(name)));
    let lock = ["sync.Mutex.Lock", "sync.RWMutex", "semacquire"].iter().any(|state| group.state.starts_with(state));
    let large = if was == 0 { now >= LARGE } else { now >= was.saturating_mul(2) && now - was >= LARGE };
    let single = was == 0 && (relist || (lock && group.minutes >= 1));
    if !(large || single) {
        return None;
    }
    let many = if now == 1 { "1 goroutine".to_owned() } else { format!("{now} goroutines") };
    let state = match (group.state.as_str(), group.minutes) {
        ("", _) => String::new(),
        (state, 0) => format!(" ({state})"),
        (state, minutes) => format!(" ({state}, up to {minutes} min)"),
    };
    let through = if relist { ", under relist" } else { "" };
    let instead = if was == 0 { "none there".to_owned() } else { format!("instead of {was}") };
    let text = format!("{many} of {process} in {}{state}{through}, {instead}; see {}", group.place, group.at);
    let weight = 400 + u32::try_from(now.min(100)).unwrap_or_default() / 2 + if relist || lock { 160 } else { 0 };
    let what = format!("{process} in {}", group.place);
    let base = (was > 0).then(|| was.to_string());
    Some(Told::new(weight, DifferenceKind::Goroutines, &what, base, Some(now.to_string()), &text))
}
