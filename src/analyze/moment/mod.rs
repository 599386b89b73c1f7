//! What happened on a node and when: the part of a timeline that one node's evidence tells.

mod daemons;
mod events;
mod gaps;
mod kernel;
mod kubelet;
mod ours;
mod pods;
mod starts;
pub(super) mod thin;

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::burst::{Burst, Span};
use super::finding::{Citation, Severity};
use super::view::NodeView;
use crate::inventory::NodeName;
use crate::wording;

/// Moments of one node; a flood of the least grave is taken together beyond.
const MOST: usize = 500;

/// What the boot of a machine is called.
pub(super) const BOOTED: &str = "machine booted";

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MomentKind {
    /// PLEG was said to be unhealthy.
    PlegUnhealthy,
    /// It was well again.
    PlegHealthy,
    /// The node was set not ready.
    NotReady,
    /// The node was set ready.
    Ready,
    /// Calls of the runtime ran out of time.
    Deadlines,
    /// The kernel killed for want of memory.
    OomKill,
    /// The kernel says that something does not go on: a hung task, a soft lockup, an error of a device.
    Kernel,
    /// A daemon, the kubelet or the machine was started.
    Start,
    /// A daemon stopped or failed.
    Stop,
    /// Something else a daemon or the kubelet says of itself: events dropped, pods evicted, debug switched on by others.
    Daemon,
    /// We changed something on the node, or put it back.
    OurChange,
    /// We took a sample: stacks, a dump of goroutines, a scrape.
    OurSample,
    /// An event of the cluster about the node or a pod on it.
    ClusterEvent,
    /// Lines are missing: what happened then is not known.
    Gap,
}

impl MomentKind {
    /// Returns what stands for several of the kind whose texts differ.
    #[must_use]
    pub const fn several(self) -> &'static str {
        match self {
            Self::PlegUnhealthy => "PLEG unhealthy",
            Self::PlegHealthy => "PLEG healthy again",
            Self::NotReady => "node set NotReady",
            Self::Ready => "node set Ready",
            Self::Deadlines => "calls ran out of time",
            Self::OomKill => "processes killed for want of memory",
            Self::Kernel => "trouble in the kernel's log",
            Self::Start => "starts",
            Self::Stop => "stops and failures",
            Self::Daemon => "what daemons said",
            Self::OurChange => "changed by us",
            Self::OurSample => "samples taken",
            Self::ClusterEvent => "events of the cluster",
            Self::Gap => "lines are missing",
        }
    }
}

/// Something that happened once, or a burst of the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Moment {
    /// When it happened or began. In [`super::node::NodeAnalysis`] by the node's clock; in a merged timeline by the operator's.
    pub time: Timestamp,
    /// When the last of a burst happened, or when it ended.
    pub until: Option<Timestamp>,
    /// How often in the burst; 1 for a single one.
    pub count: u64,
    /// Where.
    pub node: NodeName,
    /// What kind.
    pub kind: MomentKind,
    /// How grave it looks.
    pub severity: Severity,
    /// One line, printable: what happened, the same for all nodes it happens to; behind a colon what is this one's own.
    pub text: String,
    /// Where it is written.
    pub citation: Option<Citation>,
}

impl Moment {
    /// Returns what happened, without what is this one's own.
    #[must_use]
    pub fn what(&self) -> &str {
        self.text.split_once(": ").map_or(self.text.as_str(), |(what, _)| what)
    }
}

/// Moments in the making: texts made printable, files named as people find them. What has no time is left out.
struct Found<'v> {
    view: &'v NodeView,
    moments: Vec<Moment>,
}

impl Found<'_> {
    /// Adds what was logged once or often.
    fn span(&mut self, kind: MomentKind, severity: Severity, span: &Span, file: &str, text: &str) {
        let Some(time) = span.first else { return };
        let lines = (span.first_line > 0).then_some((span.first_line, span.last_line.max(span.first_line)));
        let until = span.last.filter(|last| *last > time);
        self.push(kind, severity, (time, until, span.count), Some((file, lines)), text);
    }

    /// Adds a burst; what it was about goes behind a colon.
    fn burst(&mut self, kind: MomentKind, severity: Severity, burst: &Burst, file: &str, what: &str) {
        let about = match burst.names.as_slice() {
            [(name, _)] if burst.others == 0 => name.clone(),
            _ => burst.about(5),
        };
        let text = if about.is_empty() { what.to_owned() } else { format!("{what}: {about}") };
        self.span(kind, severity, &burst.span, file, &text);
    }

    fn push(
        &mut self,
        kind: MomentKind,
        severity: Severity,
        (time, until, count): (Timestamp, Option<Timestamp>, u64),
        cited: Option<(&str, Option<(u64, u64)>)>,
        text: &str,
    ) {
        let citation = cited.map(|(file, lines)| Citation { file: self.view.shown(file), lines });
        let text = wording::safe(text);
        self.moments.push(Moment { time, until, count, node: self.view.node.clone(), kind, severity, text, citation });
    }
}

/// Reads what happened on a node, in order of time, by the node's clock; 500 moments at most.
#[must_use]
pub fn moments(view: &NodeView) -> Vec<Moment> {
    let mut found = Found { view, moments: Vec::new() };
    kubelet::read(&mut found);
    daemons::read(&mut found);
    kernel::read(&mut found);
    pods::read(&mut found);
    events::read(&mut found);
    // After the logs, which tell starts more exactly.
    starts::read(&mut found);
    ours::read(&mut found);
    let mut moments = found.moments;
    thin::thin(&mut moments, MOST);
    thin::sort(&mut moments);
    moments
}
