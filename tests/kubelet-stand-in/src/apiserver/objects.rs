//! Nodes of a fleet, recast from the recorded node, and events of those that are not ready.
//!
//! A line of the nodes file is name, InternalIP, status of the Ready condition (`True`, `False`, `Unknown`) and labels
//! (`KEY=VALUE,KEY=VALUE`), separated by tabs.

use std::io;
use std::path::Path;

use serde_json::{Value, json};

use crate::failed;

/// When the made-up conditions changed.
const SINCE: &str = "2026-11-20T21:31:17Z";

/// A line of the nodes file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NodeLine {
    pub(super) name: String,
    pub(super) address: String,
    ready: String,
    labels: Vec<(String, String)>,
}

impl NodeLine {
    /// Reads the file; it is small and read anew for each request.
    pub(super) fn read(path: &Path) -> io::Result<Vec<Self>> {
        let text = std::fs::read_to_string(path).map_err(|error| failed(path.display(), error))?;
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines
            .map(|line| Self::parse(line).ok_or_else(|| failed(path.display(), format!("not a node: '{line}'"))))
            .collect()
    }

    fn parse(line: &str) -> Option<Self> {
        let mut columns = line.split('\t');
        let (name, address, ready) = (columns.next()?, columns.next()?, columns.next()?);
        let labels = columns.next().unwrap_or_default().split(',').filter(|label| !label.is_empty());
        let labels = labels.map(|label| label.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())));
        ["True", "False", "Unknown"].contains(&ready).then_some(())?;
        let labels = labels.collect::<Option<_>>()?;
        Some(Self { name: name.to_owned(), address: address.to_owned(), ready: ready.to_owned(), labels })
    }

    /// Reason and message of the Ready condition: those of a kubelet whose runtime hangs, as seen with kubelet 1.36.2, and
    /// those of the node controller.
    fn why(&self) -> (&'static str, &'static str) {
        match self.ready.as_str() {
            "True" => ("KubeletReady", "kubelet is posting ready status"),
            "False" => (
                "KubeletNotReady",
                "[container runtime is down, PLEG is not healthy: pleg was last seen active 3m2.875321419s ago; threshold is 3m0s]",
            ),
            _ => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
        }
    }

    fn uid(&self) -> String {
        let sum = self.name.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        format!("a6619af5-a889-414d-a006-{:012x}", sum & 0xffff_ffff_ffff)
    }

    /// Returns the recorded node as this one.
    pub(super) fn recast(&self, recorded: &Value) -> Value {
        let mut node = recorded.clone();
        let set = |node: &mut Value, place: &str, value: Value| {
            if let Some(old) = node.pointer_mut(place) {
                *old = value;
            }
        };
        set(&mut node, "/metadata/name", self.name.as_str().into());
        set(&mut node, "/metadata/uid", self.uid().into());
        set(&mut node, "/metadata/labels/kubernetes.io~1hostname", self.name.as_str().into());
        if let Some(labels) = node.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
            labels.extend(self.labels.iter().map(|(key, value)| (key.clone(), value.as_str().into())));
        }
        let addresses = json!([
            { "type": "InternalIP", "address": self.address },
            { "type": "Hostname", "address": self.name },
        ]);
        set(&mut node, "/status/addresses", addresses);
        if let (true, Some(spec)) = (self.ready == "True", node.pointer_mut("/spec").and_then(Value::as_object_mut)) {
            spec.remove("taints");
        }
        for condition in node.pointer_mut("/status/conditions").and_then(Value::as_array_mut).into_iter().flatten() {
            let is_ready = condition.get("type").and_then(Value::as_str) == Some("Ready");
            if is_ready && self.ready != "True" || self.ready == "Unknown" {
                let (reason, message) = self.why();
                for (key, value) in [
                    ("status", self.ready.as_str()),
                    ("reason", reason),
                    ("message", message),
                    ("lastTransitionTime", SINCE),
                ] {
                    set(condition, &format!("/{key}"), value.into());
                }
            }
        }
        node
    }

    /// Returns the lease of the node, in the form the API documents: none was recorded.
    pub(super) fn lease(&self) -> Value {
        json!({
            "kind": "Lease",
            "apiVersion": "coordination.k8s.io/v1",
            "metadata": { "name": self.name, "namespace": "kube-node-lease", "uid": self.uid() },
            "spec": { "holderIdentity": self.name, "leaseDurationSeconds": 40, "renewTime": SINCE },
        })
    }

    /// Returns the event of a node that is not ready, in the form the API documents: none was recorded.
    pub(super) fn event(&self) -> Option<Value> {
        (self.ready != "True").then(|| {
            json!({
                "metadata": {
                    "name": format!("{}.1879b1c4c2a3f0e1", self.name),
                    "namespace": "default",
                    "uid": self.uid().replace("a6619af5", "c2b81d07"),
                    "resourceVersion": "731",
                    "creationTimestamp": SINCE,
                },
                "involvedObject": { "kind": "Node", "name": self.name, "uid": self.name },
                "reason": "NodeNotReady",
                "message": format!("Node {} status is now: NodeNotReady", self.name),
                "source": { "component": "kubelet", "host": self.name },
                "firstTimestamp": SINCE,
                "lastTimestamp": SINCE,
                "count": 1,
                "type": "Normal",
                "eventTime": null,
                "reportingComponent": "kubelet",
                "reportingInstance": self.name,
            })
        })
    }
}

/// Reads events, a JSON object a line.
pub(super) fn read_events(path: &Path) -> io::Result<Vec<Value>> {
    let text = std::fs::read_to_string(path).map_err(|error| failed(path.display(), error))?;
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).map_err(|error| failed(path.display(), error)))
        .collect()
}
