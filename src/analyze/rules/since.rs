//! Whether what the kubelet's log tells goes on, ended lately, or ended long before the node was looked at. A hang of this
//! morning must not make a node look sick that is well now.

use jiff::{SignedDuration, Timestamp};

use crate::analyze::finding::Severity;
use crate::analyze::history::KubeletHistory;

/// What ended longer ago is no part of the trouble somebody collects for.
const LATELY: SignedDuration = SignedDuration::from_hours(1);
/// Where it comes again and again, an hour without it says nothing; a quarter of a day does.
const AT_MOST: SignedDuration = SignedDuration::from_hours(6);
/// Spells that are a habit.
const AGAIN: usize = 3;
/// The kubelet's own threshold for relist, and more than the time limit of its calls.
const GOES_ON: SignedDuration = SignedDuration::from_mins(3);

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    /// It goes on.
    Now,
    /// It ended shortly before.
    Lately,
    /// It ended long before.
    LongAgo,
}

impl Since {
    pub(super) const fn severity(self) -> Severity {
        match self {
            Self::Now => Severity::Critical,
            Self::Lately => Severity::Warning,
            Self::LongAgo => Severity::Info,
        }
    }
}

/// Returns when PLEG was unhealthy for the last time; `None`: never.
pub(super) fn of_pleg(history: &KubeletHistory) -> Option<Since> {
    let last = history.unhealthy.last()?;
    Some(if history.recovered().is_none() { Since::Now } else { ended(history, last.span.last) })
}

/// Returns when calls ran out of time for the last time; `None`: never.
pub(super) fn of_calls(history: &KubeletHistory, last: Option<Timestamp>) -> Since {
    let young = end(history).zip(last).is_some_and(|(end, last)| end.duration_since(last) < GOES_ON);
    match of_pleg(history) {
        Some(Since::Now) => Since::Now,
        // Young hangs are not called unhealthy yet.
        None if history.relist_deadlines.count > 0 && young => Since::Now,
        _ => ended(history, last),
    }
}

fn ended(history: &KubeletHistory, last: Option<Timestamp>) -> Since {
    let Some((end, last)) = end(history).zip(last) else { return Since::Lately };
    if end.duration_since(last) <= lately(history) { Since::Lately } else { Since::LongAgo }
}

/// Returns up to where the log tells something: it goes on, silently, until it was fetched.
fn end(history: &KubeletHistory) -> Option<Timestamp> {
    history.whole.last.max(history.fetched)
}

fn lately(history: &KubeletHistory) -> SignedDuration {
    let spells = &history.unhealthy;
    let begun = |at: Option<&crate::analyze::history::Spell>| at.and_then(|spell| spell.span.first);
    let span = begun(spells.first()).zip(begun(spells.last()));
    let gaps = i32::try_from(spells.len().saturating_sub(1)).unwrap_or(i32::MAX);
    let mean = span.and_then(|(first, last)| last.duration_since(first).checked_div(gaps));
    match mean.filter(|_| spells.len() >= AGAIN) {
        Some(mean) => mean.clamp(LATELY, AT_MOST),
        None => LATELY,
    }
}
