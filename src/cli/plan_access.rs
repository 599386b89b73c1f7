//! The part of `plegcollect plan` about kubelets and API servers: where each is asked, by which way, with what. Contacts
//! nobody.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::collect::ClusterRun;
use crate::inventory::Target;
use crate::inventory::target::Reach;
use crate::kubelet::{AccessPlan, WayTaken};
use crate::plan::cluster::ClusterStep;
use crate::plan::{KubeletGet, KubeletPort};
use crate::printable::printable;

/// Returns what a request is, for people.
pub(super) fn asked(get: &KubeletGet, access: &AccessPlan) -> String {
    match (get.port, &access.healthz) {
        (KubeletPort::Api, _) => format!("GET {}{}", access.server, get.path),
        (KubeletPort::Healthz, Some(server)) => format!("GET {server}{}", get.path),
        (KubeletPort::Healthz, None) => "absent: the kubelet's port for health checks is switched off".to_owned(),
    }
}

/// Returns the lines about the kubelet of a node; none if it is shown no credential.
pub(super) fn kubelet(access: &AccessPlan, target: &Target) -> String {
    let Some(credential) = &access.credential else { return String::new() };
    let local = matches!(target.reach, Reach::Local);
    let ways: Vec<&str> = access
        .ways
        .iter()
        .map(|way| match way {
            WayTaken::Forward if local => "from here",
            WayTaken::Forward => "through the SSH connection",
            WayTaken::Curl => "by curl on the node",
            WayTaken::ApiServer => "through the API server's node proxy",
        })
        .collect();
    let trust = access.trust.as_deref().unwrap_or("insecure");
    let mut text = String::from("  The kubelet:\n");
    writeln!(text, "  - asked at {}, {}", access.server, ways.join(", else ")).ok();
    writeln!(text, "  - shown: {}; its certificate judged by: {}", printable(credential, 200), printable(trust, 400))
        .ok();
    text.push('\n');
    text
}

/// Returns the lines about the cluster's evidence.
pub(super) fn cluster(run: &ClusterRun) -> String {
    let servers = run.cluster.servers();
    let shown: Vec<String> = servers.iter().map(|server| printable(server, 200)).collect();
    let mut text = format!("cluster (cluster.tar.zst), asked of {}\n\n", shown.join(", "));
    for (file, ask, server) in steps(run) {
        let of = if servers.len() > 1 { format!(" ({})", printable(&server, 200)) } else { String::new() };
        writeln!(text, "  {file:<28} {ask}{of}").ok();
    }
    text.push('\n');
    text
}

/// The same for machines.
pub(super) fn cluster_json(run: &ClusterRun) -> Value {
    let steps: Vec<Value> =
        steps(run).map(|(file, ask, server)| json!({ "file": file, "asked": ask, "server": server })).collect();
    json!({ "api-servers": run.cluster.servers(), "steps": steps })
}

/// Steps of each API server, then those of one, each with its file and the server: the first that answers is asked.
fn steps(run: &ClusterRun) -> impl Iterator<Item = (String, String, String)> {
    let servers = run.cluster.servers();
    let first = servers.first().cloned().unwrap_or_default();
    let row = |step: &ClusterStep, index: usize, server: &str| {
        (ClusterStep::of_server(step.file, index), step.ask.to_string(), server.to_owned())
    };
    let mut rows = Vec::new();
    for step in &run.steps {
        if step.path().is_some() {
            rows.extend(servers.iter().enumerate().map(|(index, server)| row(step, index, server)));
        } else {
            rows.push(row(step, 0, &first));
        }
    }
    rows.into_iter()
}
