//! Shapes that tell kinds of moments apart without colour, and the words for them.

use super::super::escape::Text;
use crate::analyze::finding::Severity;
use crate::analyze::moment::MomentKind;

/// Every kind, as legends list them.
pub(super) const KINDS: [MomentKind; 14] = [
    MomentKind::PlegUnhealthy,
    MomentKind::PlegHealthy,
    MomentKind::NotReady,
    MomentKind::Ready,
    MomentKind::Deadlines,
    MomentKind::OomKill,
    MomentKind::Kernel,
    MomentKind::Start,
    MomentKind::Stop,
    MomentKind::Daemon,
    MomentKind::OurChange,
    MomentKind::OurSample,
    MomentKind::ClusterEvent,
    MomentKind::Gap,
];

/// Returns the words for a kind.
pub(super) const fn word(kind: MomentKind) -> &'static str {
    match kind {
        MomentKind::PlegUnhealthy => "PLEG unhealthy",
        MomentKind::PlegHealthy => "PLEG healthy",
        MomentKind::NotReady => "NotReady",
        MomentKind::Ready => "Ready",
        MomentKind::Deadlines => "calls out of time",
        MomentKind::OomKill => "OOM kill",
        MomentKind::Kernel => "kernel",
        MomentKind::Start => "start",
        MomentKind::Stop => "stop",
        MomentKind::Daemon => "daemon",
        MomentKind::OurChange => "our change",
        MomentKind::OurSample => "our sample",
        MomentKind::ClusterEvent => "event of the cluster",
        MomentKind::Gap => "lines missing",
    }
}

/// Returns the shape of a kind, around its middle, 10 units wide at most.
pub(super) const fn shape(kind: MomentKind) -> &'static str {
    match kind {
        MomentKind::PlegUnhealthy => "M-5-5H5V5H-5ZM-3-3L3 3M3-3L-3 3",
        MomentKind::PlegHealthy => "M-4.5 0L-1.5 3.5L4.5-3.5",
        MomentKind::NotReady => "M-5-4H5L0 5Z",
        MomentKind::Ready => "M-5 4H5L0-5Z",
        MomentKind::Deadlines => "M-4-4L4 4M4-4L-4 4",
        MomentKind::OomKill => "M0-5.5L5.5 0L0 5.5L-5.5 0Z",
        MomentKind::Kernel => "M-4.5-4.5H4.5V4.5H-4.5Z",
        MomentKind::Start => "M-4-5L5 0L-4 5Z",
        MomentKind::Stop => "M-5-1.8H5V1.8H-5Z",
        MomentKind::Daemon => "M-3.5-3.5H3.5V3.5H-3.5ZM-3.5 0H3.5",
        MomentKind::OurChange => "M-4 0A4 4 0 1 0 4 0A4 4 0 1 0-4 0Z",
        MomentKind::OurSample => "M0-6V6",
        MomentKind::ClusterEvent => "M0-5L4.5 3.5H-4.5ZM0-1V1.5",
        MomentKind::Gap => "M-5-4V4M5-4V4M-2 0H2",
    }
}

/// Returns how a kind is painted: filled, in outline, or as lines.
pub(super) const fn paint(kind: MomentKind) -> &'static str {
    match kind {
        MomentKind::NotReady | MomentKind::OomKill | MomentKind::Kernel | MomentKind::Start | MomentKind::Stop => {
            "full"
        }
        MomentKind::Ready
        | MomentKind::PlegUnhealthy
        | MomentKind::ClusterEvent
        | MomentKind::Daemon
        | MomentKind::OurChange => "hollow",
        MomentKind::PlegHealthy | MomentKind::Deadlines | MomentKind::Gap | MomentKind::OurSample => "stroke",
    }
}

/// Returns the class that colours a moment.
pub(super) const fn colour(kind: MomentKind, severity: Severity) -> &'static str {
    match (kind, severity) {
        (MomentKind::OurChange | MomentKind::OurSample, _) => "ours",
        (_, Severity::Critical) => "crit",
        (_, Severity::Warning) => "warn",
        (MomentKind::PlegHealthy | MomentKind::Ready, Severity::Info) => "good",
        (_, Severity::Info) => "info",
    }
}

/// Returns the legend of these kinds.
pub(super) fn legend(kinds: &[MomentKind]) -> String {
    let items: Vec<String> = KINDS
        .iter()
        .filter(|kind| kinds.contains(kind))
        .map(|kind| {
            format!(
                "<span><svg viewBox=\"-7 -7 14 14\" width=\"14\" height=\"14\" aria-hidden=\"true\"><path d=\"{}\" \
                 class=\"mark {}\"/></svg>{}</span>",
                shape(*kind),
                paint(*kind),
                Text(word(*kind))
            )
        })
        .collect();
    format!("<p class=\"legend\">{}</p>\n", items.join(" "))
}
