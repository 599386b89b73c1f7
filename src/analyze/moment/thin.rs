//! Takes moments together where there are too many, the least grave first: counts and ends stay right, and nothing is
//! dropped in silence. For one node's moments and for the timeline over all nodes.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use jiff::SignedDuration;

use super::Moment;
use crate::analyze::finding::{Citation, Severity};

/// From the least grave to the gravest.
const GRADES: [Severity; 3] = [Severity::Info, Severity::Warning, Severity::Critical];
/// Gaps within which the same is taken together, one after the other.
const GAPS: [SignedDuration; 4] =
    [SignedDuration::from_mins(10), SignedDuration::from_hours(1), SignedDuration::from_hours(12), SignedDuration::MAX];

/// Sorts by time; what happened at the same time stands in an order that does not depend on where it came from.
pub(in crate::analyze) fn sort(moments: &mut [Moment]) {
    moments.sort_by(|a, b| {
        let key = |m: &Moment| (m.time, m.kind);
        let rest = || a.node.cmp(&b.node).then_with(|| a.text.cmp(&b.text)).then_with(|| a.until.cmp(&b.until));
        key(a).cmp(&key(b)).then_with(rest)
    });
}

/// What moments must share to be taken together, beside their node and grade.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Share {
    /// All of the text.
    Text,
    /// What happened.
    What,
    /// The kind.
    Kind,
    /// Nothing.
    Nothing,
}

/// Takes moments together until at most `most` are left, or one of each node and grade.
pub(in crate::analyze) fn thin(moments: &mut Vec<Moment>, most: usize) {
    if moments.len() <= most {
        return;
    }
    sort(moments);
    for grade in GRADES {
        for share in [Share::Text, Share::What, Share::Kind] {
            for gap in GAPS {
                if joined(moments, grade, gap, share, most) {
                    return;
                }
            }
        }
    }
    for grade in GRADES {
        if joined(moments, grade, SignedDuration::MAX, Share::Nothing, most) {
            return;
        }
    }
}

/// Takes together until there are few enough, and tells whether there are.
fn joined(moments: &mut Vec<Moment>, grade: Severity, gap: SignedDuration, share: Share, most: usize) -> bool {
    loop {
        let before = moments.len();
        join(moments, grade, gap, share);
        if moments.len() <= most || moments.len() == before {
            return moments.len() <= most;
        }
    }
}

/// Takes those of one grade together that are of one node, share enough and are no farther apart than `gap`, two and two, so
/// that a flood at even distances stays a row. Sorted they stay: what is taken together stands where its first stood.
fn join(moments: &mut Vec<Moment>, grade: Severity, gap: SignedDuration, share: Share) {
    let state = RandomState::new();
    let key = |moment: &Moment| match share {
        Share::Text => state.hash_one((&moment.node, moment.kind, &moment.text)),
        Share::What => state.hash_one((&moment.node, moment.kind, moment.what())),
        Share::Kind => state.hash_one((&moment.node, moment.kind)),
        Share::Nothing => state.hash_one(&moment.node),
    };
    let mut kept: Vec<Moment> = Vec::with_capacity(moments.len());
    let mut open: HashMap<u64, usize> = HashMap::new();
    for moment in std::mem::take(moments) {
        if moment.severity != grade {
            kept.push(moment);
            continue;
        }
        let key = key(&moment);
        let near = |before: &&mut Moment| moment.time.duration_since(before.until.unwrap_or(before.time)) <= gap;
        if let Some(before) = open.remove(&key).and_then(|at| kept.get_mut(at)).filter(near) {
            take(before, moment);
        } else {
            open.insert(key, kept.len());
            kept.push(moment);
        }
    }
    *moments = kept;
}

fn take(before: &mut Moment, later: Moment) {
    let end = |m: &Moment| m.until.unwrap_or(m.time);
    before.until = Some(end(before).max(end(&later)));
    before.count = before.count.saturating_add(later.count);
    if before.text != later.text {
        before.text = if before.what() == later.what() {
            before.what().to_owned()
        } else if before.kind == later.kind {
            before.kind.several().to_owned()
        } else {
            "less grave things, told one by one with the node alone".to_owned()
        };
    }
    before.citation = match (before.citation.take(), later.citation) {
        (Some(a), Some(b)) if a.file == b.file => Some(Citation { lines: outer(a.lines, b.lines), file: a.file }),
        (first, _) => first,
    };
}

fn outer(a: Option<(u64, u64)>, b: Option<(u64, u64)>) -> Option<(u64, u64)> {
    let ((a_first, a_last), (b_first, b_last)) = a.zip(b)?;
    Some((a_first.min(b_first), a_last.max(b_last)))
}
