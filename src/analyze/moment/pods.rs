//! Moments by the kubelet's list of pods: containers whose last end was for want of memory.

use std::io::Read as _;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::{Found, MomentKind};
use crate::analyze::burst::Bursts;
use crate::analyze::finding::Severity;

const FILE: &str = "kubelet/pods.json";
/// The step's own cap.
const MOST_BYTES: u64 = 32 << 20;
/// What is farther apart is another burst.
const GAP: SignedDuration = SignedDuration::from_mins(5);

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    items: Vec<Pod>,
}

#[derive(Deserialize)]
struct Pod {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Metadata {
    name: String,
    namespace: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    container_statuses: Vec<Container>,
    init_container_statuses: Vec<Container>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Container {
    name: String,
    state: State,
    last_state: State,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct State {
    terminated: Option<Terminated>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Terminated {
    reason: String,
    finished_at: Option<Timestamp>,
}

pub(super) fn read(found: &mut Found<'_>) {
    let Some(input) = found.view.open(FILE) else { return };
    let mut bytes = Vec::new();
    // Half a list is none: it is no JSON.
    let _ = input.take(MOST_BYTES).read_to_end(&mut bytes);
    let Ok(list) = serde_json::from_slice::<List>(&bytes) else { return };
    let mut ends: Vec<(Timestamp, String)> = Vec::new();
    for pod in &list.items {
        for container in pod.status.container_statuses.iter().chain(&pod.status.init_container_statuses) {
            for state in [&container.state, &container.last_state] {
                let killed = state.terminated.as_ref().filter(|end| end.reason == "OOMKilled");
                if let Some(time) = killed.and_then(|end| end.finished_at) {
                    ends.push((time, format!("{}/{}/{}", pod.metadata.namespace, pod.metadata.name, container.name)));
                }
            }
        }
    }
    ends.sort();
    let mut bursts = Bursts::new(GAP);
    for (time, name) in ends {
        bursts.add_at(Some(time), 0, &name);
    }
    for burst in bursts.kept() {
        found.burst(MomentKind::OomKill, Severity::Warning, burst, FILE, "containers killed for want of memory");
    }
}
