//! The kubelet's version and the few of its settings that matter when two nodes are held against each other: by what it runs with
//! (`/configz`), else by its flags.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Read, short};
use crate::analyze::rules::note;
use crate::analyze::view::NodeView;

/// Name in the report, key in `/configz`, flag.
const SETTINGS: &[(&str, &str, &str)] = &[
    ("kubelet max-pods", "maxPods", "--max-pods"),
    ("kubelet cgroup-driver", "cgroupDriver", "--cgroup-driver"),
    ("kubelet runtime-request-timeout", "runtimeRequestTimeout", "--runtime-request-timeout"),
    ("kubelet pod-pids-limit", "podPidsLimit", "--pod-max-pids"),
    ("kubelet serialize-image-pulls", "serializeImagePulls", "--serialize-image-pulls"),
    ("kubelet node-status-update-frequency", "nodeStatusUpdateFrequency", "--node-status-update-frequency"),
    ("kubelet kube-api-qps", "kubeAPIQPS", "--kube-api-qps"),
    ("kubelet max-dead-containers", "", "--maximum-dead-containers"),
    ("kubelet verbosity", "", "--v"),
];

/// Returns the version: by the metrics, else by the last start in the log, which may be of before an update.
pub(super) fn version(view: &NodeView) -> Option<String> {
    let told = |scrape: &crate::analyze::metrics::Scrape| {
        let series = scrape.all("kubernetes_build_info").first()?;
        // Before 1.14 or so the labels were written in one word.
        let version = ["git_version", "gitVersion"].iter().find_map(|label| series.label(label));
        version.map(short)
    };
    let by_metrics = view.scrapes().iter().rev().flatten().find_map(told);
    by_metrics.or_else(|| view.history()?.version.as_deref().map(short)).filter(|v| !v.is_empty())
}

/// Returns the arguments of the kubelet, the program first.
pub(super) fn arguments(read: &Read<'_>) -> Vec<String> {
    let told = note::text(read.view, "kubelet/cmdline.txt").filter(|text| !text.trim().is_empty());
    match (told, read.facts.as_ref().and_then(|f| f.kubelet.as_ref())) {
        (Some(text), _) => text.split(['\n', '\0']).take(1000).map(str::to_owned).collect(),
        (None, Some(kubelet)) => kubelet.cmdline.clone(),
        (None, None) => Vec::new(),
    }
}

/// Returns the value of a flag, written `--flag=value` or `--flag value`; the last one holds.
pub(super) fn flag<'a>(arguments: &'a [String], name: &str) -> Option<&'a str> {
    let mut found = None;
    for (at, argument) in arguments.iter().enumerate() {
        let Some(rest) = argument.strip_prefix(name) else { continue };
        if let Some(value) = rest.strip_prefix('=') {
            found = Some(value);
        } else if rest.is_empty() {
            found = arguments.get(at + 1).map(String::as_str).filter(|value| !value.starts_with('-')).or(found);
        }
    }
    found
}

/// Returns what `/configz` holds below `kubeletconfig`.
pub(super) fn configz(view: &NodeView) -> Option<Value> {
    let mut value: Value = serde_json::from_str(&note::text(view, "kubelet/configz.json")?).ok()?;
    Some(value.get_mut("kubeletconfig")?.take())
}

/// Returns the settings that are told.
pub(super) fn settings(read: &Read<'_>) -> BTreeMap<String, String> {
    let (configz, arguments) = (configz(read.view), arguments(read));
    let one = |(name, key, option): &(&str, &str, &str)| {
        let told = configz.as_ref().and_then(|c| c.get(*key)).and_then(|value| match value {
            Value::String(text) => Some(short(text)),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            _ => None,
        });
        let value = told.or_else(|| flag(&arguments, option).map(short)).filter(|v| !v.is_empty())?;
        Some(((*name).to_owned(), value))
    };
    SETTINGS.iter().filter_map(one).collect()
}
