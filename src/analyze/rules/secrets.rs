//! Image pulls that name a secret which is not there, by the kubelet's log, and by the events of the cluster where these are
//! at hand. Other failures of pulls are not judged.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::apiserver;
use super::note::{self, Note, float};
use crate::analyze::cluster::{ClusterView, IMAGE_EVENTS};
use crate::analyze::finding::{Finding, Layer, Severity};
use crate::analyze::log::LogReader;
use crate::analyze::log::kubelet::{self, KubeletEvent};
use crate::analyze::tables::quantity;
use crate::analyze::view::NodeView;
use crate::wording;

/// Lines or events from which on they may load the API server.
const MANY: u64 = 1_000;
/// As many a day do: one node had 50,000. A pod whose images are public makes one a minute, 1,440 a day, and runs.
const A_DAY: f64 = 10_000.0;
/// Seconds over which a rate can be told.
const SPAN_S: u64 = 600;
/// Pods and secrets told apart; more are counted together.
const KEPT: usize = 1_000;

const LOG: &str = "kubelet/journal.txt";

/// What one file tells.
#[derive(Default)]
struct Missing {
    count: u64,
    lines: Option<(u64, u64)>,
    times: Option<(Timestamp, Timestamp)>,
    secrets: BTreeMap<String, u64>,
}

impl Missing {
    fn add(&mut self, name: String, count: u64, line: u64, times: Option<(Timestamp, Timestamp)>) {
        self.count = self.count.saturating_add(count);
        self.lines = Some(self.lines.map_or((line, line), |(first, _)| (first, line)));
        if let Some((from, to)) = times {
            self.times = Some(self.times.map_or((from, to), |(first, last)| (first.min(from), last.max(to))));
        }
        if self.secrets.len() < KEPT || self.secrets.contains_key(&name) {
            let entry = self.secrets.entry(name).or_default();
            *entry = entry.saturating_add(count);
        }
    }

    fn a_day(&self) -> Option<f64> {
        let (from, to) = self.times?;
        let seconds = u64::try_from(to.duration_since(from).as_secs()).ok().filter(|s| *s >= SPAN_S)?;
        Some(float(self.count) * 86_400.0 / float(seconds))
    }

    fn told(&self, view: &NodeView, file: &str, events: bool) -> Option<Finding> {
        let (first, last) = self.lines?;
        let mut list: Vec<(&String, &u64)> = self.secrets.iter().collect();
        list.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
        let words: Vec<String> = list.iter().map(|(secret, n)| format!("{secret} ({n} ×)")).collect();
        let rate = self.a_day();
        let grave = self.count >= MANY && rate.is_none_or(|rate| rate >= A_DAY);
        let severity = if grave { Severity::Warning } else { Severity::Info };
        let count = usize::try_from(self.count).unwrap_or(usize::MAX);
        let what = if events {
            wording::count(count, "event")
        } else {
            format!("{} of the kubelet's log", wording::count(count, "line"))
        };
        let daily = rate.filter(|_| grave).and_then(|rate| quantity::whole((rate / 100.0).round() * 100.0));
        let daily = daily.map(|n| format!(", about {n} a day"));
        let sentence = format!(
            "Pods name pull secrets that do not exist: {}; {what}{}.",
            note::some(&words, 4),
            daily.unwrap_or_default()
        );
        let next = "Make the secret in that namespace, or take it out of imagePullSecrets of the pods and of the service \
                    account; each such pod asks the API server again and again and writes events.";
        let note = Note::new(view, "secrets/missing-pull-secret", severity, &sentence);
        let note = note.cite(file, first).cite(file, last).next(next);
        let layer = if events { Layer::ApiServer } else { Layer::Kubelet };
        Some(if grave { note.layer(layer).done() } else { note.done() })
    }
}

pub(super) fn check(view: &NodeView) -> Vec<Finding> {
    // Whether the log is there is said by other rules.
    of_log(view).told(view, LOG, false).into_iter().collect()
}

/// Of the cluster, once per run.
pub(super) fn by_events(view: &NodeView) -> Vec<Finding> {
    let cluster = apiserver::read(view);
    of_events(&cluster).told(view, cluster.file(IMAGE_EVENTS), true).into_iter().collect()
}

fn of_log(view: &NodeView) -> Missing {
    let mut missing = Missing::default();
    let Some(file) = view.open(LOG) else { return missing };
    let mut reader = LogReader::new(file, note::clock(view));
    while let Ok(Some(line)) = reader.next_line() {
        for event in kubelet::read(&line) {
            let KubeletEvent::PullSecretMissing { pod, secret } = event else { continue };
            let namespace = pod.as_deref().and_then(|p| p.split_once('/')).map_or("?", |(namespace, _)| namespace);
            let name = format!("{namespace}/{}", secret.as_deref().unwrap_or("?"));
            missing.add(name, 1, line.number, line.time.map(|t| (t, t)));
        }
    }
    missing
}

/// One event counts how often it happened.
fn of_events(cluster: &ClusterView) -> Missing {
    let mut missing = Missing::default();
    for event in cluster.image_events.iter().filter(|event| event.reason == "FailedToRetrieveImagePullSecret") {
        let times = event.first.or(event.last).zip(event.last.or(event.first));
        // kubelet: "Unable to retrieve some image pull secrets (a, b); attempting to pull the image may not succeed."
        let names =
            event.message.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map_or("?", |(names, _)| names);
        missing.add(format!("{}/{names}", event.namespace), event.count, event.line, times);
    }
    missing
}
