//! What a node is, beside its trouble: versions of kernel, kubelet and runtime, sizes, settings, when and by which run it was
//! looked at. Reads what the bundle has of each, the surest source first; judges nothing. Called by `node.rs`.

mod kubelet;
mod runtime;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::cluster::NodeStatus;
use super::rules::note;
use super::tables::docker_info::{self, DockerInfo};
use super::tables::memory;
use super::tables::sections::sections;
use super::view::NodeView;
use crate::plan::NodeFacts;
use crate::plan::facts::Daemon;
use crate::wording;

/// Columns of a version, a name, a setting.
const TEXT: usize = 120;

/// See the module. What is not known is `None`; texts are printable.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct About {
    /// Id of the run that collected.
    pub run: Option<String>,
    /// When the node was looked at, by its own clock.
    pub collected: Option<Timestamp>,
    /// The node's clock less the operator's, milliseconds.
    pub clock_offset_ms: Option<i64>,
    /// Release of the kernel: `6.1.0-30-amd64`.
    pub kernel: Option<String>,
    /// `Debian GNU/Linux 12 (bookworm)`.
    pub os: Option<String>,
    /// Version of the kubelet: `v1.30.4`.
    pub kubelet: Option<String>,
    /// The runtime the kubelet uses, and its version: `docker 20.10.24`, `containerd 1.6.20`.
    pub runtime: Option<String>,
    /// Version of containerd, also under dockerd.
    pub containerd: Option<String>,
    /// Processors.
    pub cpus: Option<u32>,
    /// Memory, KiB.
    pub memory_kib: Option<u64>,
    /// Boot of the kernel.
    pub boot_id: Option<String>,
    /// When the kernel was booted, by the node's clock, to some seconds.
    pub booted: Option<Timestamp>,
    /// Its pool, by the evidence of the cluster.
    pub pool: Option<String>,
    /// Whether its Ready condition was True, by the evidence of the cluster.
    pub ready: Option<bool>,
    /// Settings and lesser versions by name: `kubelet max-pods`, `docker storage driver`, `runc`. A few that matter.
    pub settings: BTreeMap<String, String>,
    /// Which process each daemon is, by its name: `pid 812, started 4711 ticks after boot`. Another text after the same boot is
    /// another process.
    pub processes: BTreeMap<String, String>,
}

/// What several parts of [`about`] read, opened once.
struct Read<'a> {
    view: &'a NodeView,
    facts: Option<NodeFacts>,
    info: Option<DockerInfo>,
}

/// Reads what a view tells.
#[must_use]
pub fn about(view: &NodeView) -> About {
    let info = note::text(view, "docker/info.json").and_then(|text| docker_info::parse(&text));
    let read = Read { view, facts: note::facts(view), info };
    let manifest = view.manifest.as_ref();
    let summary = manifest.and_then(|m| m.facts.as_ref());
    let (facts, info) = (read.facts.as_ref(), read.info.as_ref());
    let some = |text: Option<&String>| text.map(|t| short(t)).filter(|t| !t.is_empty());
    let kernel = some(summary.map(|s| &s.kernel))
        .or_else(|| some(facts.map(|f| &f.kernel)))
        .or_else(|| some(info.and_then(|i| i.kernel.as_ref())))
        .or_else(|| proc_version(view));
    let memory_kib = facts
        .and_then(|f| f.mem_total_kib)
        .or_else(|| memory::memory(&note::text(view, "host/meminfo.txt")?, false).total_kb)
        .or_else(|| Some(info?.memory? / 1024));
    let cpus = facts.and_then(|f| f.cpus).or_else(|| u32::try_from(info?.cpus?).ok());
    // What the API server was told comes last: it may be of before a restart.
    let status = view.cluster.as_deref().and_then(|cluster| cluster.node_of(view)).map(|(status, _)| status);
    let told = |text: fn(&NodeStatus) -> &str| status.map(|status| short(text(status))).filter(|text| !text.is_empty());
    let kubelet = kubelet::version(view).or_else(|| told(|status| &status.kubelet));
    let containerd = runtime::containerd(&read);
    let mut settings = kubelet::settings(&read);
    settings.extend(runtime::settings(&read));
    let mut extra = |name: &str, value: Option<String>| {
        settings.extend(value.map(|value| (name.to_owned(), value)).filter(|(_, value)| !value.is_empty()));
    };
    extra("systemd", facts.and_then(|f| f.systemd_version).map(|v| v.to_string()));
    extra("machine", some(facts.map(|f| &f.machine)).or_else(|| some(summary.map(|s| &s.machine))));
    About {
        run: manifest.map(|m| short(&m.header.run_id)),
        collected: view.collected(),
        clock_offset_ms: manifest.and_then(|m| m.clock_offset_ms),
        kernel,
        os: some(summary.map(|s| &s.os)).or_else(|| some(facts.map(|f| &f.os))),
        runtime: runtime::runtime(&read, kubelet.as_deref(), containerd.as_deref())
            .or_else(|| told(|status| &status.runtime).map(|runtime| runtime.replacen("://", " ", 1))),
        kubelet,
        containerd,
        cpus,
        memory_kib,
        boot_id: some(summary.map(|s| &s.boot_id)).or_else(|| some(facts.map(|f| &f.boot_id))),
        booted: booted(view, facts),
        pool: status.and_then(|status| status.pool.as_ref()).map(|(_, name)| short(name)),
        ready: status.and_then(NodeStatus::ready).map(|ready| ready.status == "True"),
        settings,
        processes: processes(&read),
    }
}

/// Returns a text of a node on one line, safe to print and short.
fn short(text: &str) -> String {
    wording::cut(wording::safe(text).trim(), TEXT)
}

/// Reads `Linux version 6.1.0-30-amd64 (debian-kernel@…) …`.
fn proc_version(view: &NodeView) -> Option<String> {
    let text = note::text(view, "kernel/info.txt")?;
    let body = sections(&text).into_iter().find_map(|s| s.body.trim_start().strip_prefix("Linux version "))?;
    body.split_ascii_whitespace().next().map(short)
}

/// The facts are gathered right at the start of the work on a node.
fn booted(view: &NodeView, facts: Option<&NodeFacts>) -> Option<Timestamp> {
    let manifest = view.manifest.as_ref()?;
    let up = manifest.facts.as_ref().and_then(|f| f.uptime_s).or_else(|| facts?.uptime_s)?;
    let offset = SignedDuration::from_millis(manifest.clock_offset_ms.unwrap_or_default());
    let up = SignedDuration::from_secs(i64::try_from(up).ok()?);
    manifest.header.started.checked_add(offset).ok()?.checked_sub(up).ok()
}

/// The daemons as they were at the end, or when they were last seen.
fn processes(read: &Read<'_>) -> BTreeMap<String, String> {
    let proof = read.view.manifest.as_ref().and_then(|m| m.restart_proof.as_ref());
    let proof = proof.map(|p| if p.after.is_empty() { &p.before } else { &p.after });
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let mut put = |name: &str, daemon: &Daemon| {
        let (Some(pid), Some(ticks)) = (daemon.pid, daemon.start_ticks) else { return };
        found.entry(short(name)).or_insert_with(|| format!("pid {pid}, started {ticks} ticks after boot"));
    };
    for (name, daemon) in proof.into_iter().flatten().take(16) {
        put(name, daemon);
    }
    if let Some(facts) = &read.facts {
        let all = [
            ("dockerd", &facts.dockerd),
            ("containerd", &facts.containerd),
            ("crio", &facts.crio),
            ("kubelet", &facts.kubelet),
        ];
        all.into_iter().for_each(|(name, daemon)| daemon.iter().for_each(|daemon| put(name, daemon)));
    }
    found
}
