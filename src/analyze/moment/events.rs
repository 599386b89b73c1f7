//! Moments by the cluster's events about nodes, of the bundle of the cluster. Their times are of who reported them, a
//! kubelet or the controller manager, and stand as they are.

use jiff::Timestamp;
use serde::Deserialize;

use super::{Found, MomentKind};
use crate::analyze::finding::Severity;
use crate::analyze::line::Lines;
use crate::inventory::NodeName;

const FILE: &str = "cluster/node-events.jsonl";
/// Events that are kept; an API server keeps those of an hour.
const MOST: usize = 20_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    count: Option<u64>,
    first_timestamp: Option<Timestamp>,
    last_timestamp: Option<Timestamp>,
    event_time: Option<Timestamp>,
    series: Option<Series>,
    involved_object: Object,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Series {
    count: Option<u64>,
    last_observed_time: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    name: String,
}

pub(super) fn read(found: &mut Found<'_>) {
    let Some(input) = found.view.open(FILE) else { return };
    let mut lines = Lines::new(input);
    let mut kept = 0;
    // What was read before an error is evidence, too.
    while let Ok(Some(line)) = lines.next_line() {
        let Ok(event) = serde_json::from_str::<Event>(line.text) else { continue };
        if kept >= MOST || event.involved_object.kind != "Node" {
            continue;
        }
        let Ok(node) = event.involved_object.name.parse::<NodeName>() else { continue };
        let Some(time) = event.first_timestamp.or(event.event_time).or(event.last_timestamp) else { continue };
        let last = event.last_timestamp.max(event.series.as_ref().and_then(|series| series.last_observed_time));
        let count = event.count.or_else(|| event.series?.count).unwrap_or(1).max(1);
        let bad = event.kind == "Warning" || event.reason == "NodeNotReady";
        let severity = if bad { Severity::Warning } else { Severity::Info };
        let at = (time, last.filter(|last| *last > time), count);
        let said = if event.message.is_empty() { String::new() } else { format!(": {}", event.message) };
        let text = format!("event {}{said}", event.reason);
        found.push(MomentKind::ClusterEvent, severity, at, Some((FILE, Some((line.number, line.number)))), &text);
        if let Some(moment) = found.moments.last_mut() {
            moment.node = node;
        }
        kept += 1;
    }
}
