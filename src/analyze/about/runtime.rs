//! Which runtime the kubelet uses, and the versions of dockerd, containerd and runc.

use std::collections::BTreeMap;

use super::kubelet::{arguments, configz, flag};
use super::{Read, short};
use crate::analyze::line::Lines;
use crate::analyze::log::containerd::{self, ContainerdEvent};
use crate::analyze::log::{Clock, LogReader};
use crate::analyze::rules::note;
use crate::analyze::tables::docker_info;
use crate::analyze::view::NodeView;
use crate::plan::facts::Daemon;

/// A runtime by the socket or the flag it is named with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Docker,
    Containerd,
    CriO,
}

/// Returns the runtime the kubelet uses, and its version if that is known.
pub(super) fn runtime(read: &Read<'_>, kubelet: Option<&str>, containerd: Option<&str>) -> Option<String> {
    let with = |name: &str, version: Option<String>| version.map_or_else(|| name.to_owned(), |v| format!("{name} {v}"));
    Some(match kind(read, kubelet)? {
        Kind::Docker => with("docker", dockerd(read)),
        Kind::Containerd => with("containerd", containerd.map(str::to_owned)),
        Kind::CriO => with("cri-o", crio(read.view)),
    })
}

fn kind(read: &Read<'_>, kubelet: Option<&str>) -> Option<Kind> {
    let arguments = arguments(read);
    let of_socket = |socket: &str| match socket {
        s if s.contains("dockershim") || s.contains("cri-dockerd") || s.contains("docker.sock") => Some(Kind::Docker),
        s if s.contains("containerd") => Some(Kind::Containerd),
        s if s.contains("crio") => Some(Kind::CriO),
        _ => None,
    };
    if flag(&arguments, "--container-runtime") == Some("docker") {
        return Some(Kind::Docker);
    }
    let configured = configz(read.view)
        .and_then(|c| c.get("containerRuntimeEndpoint")?.as_str().map(str::to_owned))
        .or_else(|| flag(&arguments, "--container-runtime-endpoint").map(str::to_owned));
    if let Some(kind) = configured.as_deref().and_then(of_socket) {
        return Some(kind);
    }
    let facts = read.facts.as_ref();
    let runs = |daemon: Option<&Daemon>| daemon.is_some_and(|d| d.pid.is_some());
    let dockerd_answers = read.info.as_ref().is_some_and(|info| info.version.is_some());
    let docker = dockerd_answers || runs(facts.and_then(|f| f.dockerd.as_ref()));
    if docker {
        // The kubelet's own docker client went with 1.24; of a later one with no endpoint told it is not known whom it asks.
        return minor(kubelet).is_none_or(|minor| minor < 24).then_some(Kind::Docker);
    }
    if runs(facts.and_then(|f| f.crio.as_ref())) {
        return Some(Kind::CriO);
    }
    runs(facts.and_then(|f| f.containerd.as_ref())).then_some(Kind::Containerd)
}

/// `v1.21.1` is 21.
fn minor(version: Option<&str>) -> Option<u32> {
    version?.trim_start_matches('v').split('.').nth(1)?.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().ok()
}

fn dockerd(read: &Read<'_>) -> Option<String> {
    let engine = component(read.view, "Engine");
    engine.or_else(|| read.info.as_ref()?.version.as_deref().map(short))
}

fn component(view: &NodeView, name: &str) -> Option<String> {
    let text = note::text(view, "docker/version.json")?;
    let found = docker_info::components(&text).into_iter().find(|part| part.name == name)?;
    Some(short(&found.version)).filter(|v| !v.is_empty())
}

/// Returns containerd's version: by dockerd, else by its own last start in the log.
pub(super) fn containerd(read: &Read<'_>) -> Option<String> {
    // `docker info` names a commit or a package, which differs in form from what containerd says of itself.
    component(read.view, "containerd").or_else(|| started(read.view))
}

/// Finds the last line by which containerd says that it starts; others are not taken apart.
fn started(view: &NodeView) -> Option<String> {
    let mut lines = Lines::new(view.open("containerd/journal.txt")?);
    let mut version = None;
    while let Ok(Some(line)) = lines.next_line() {
        if !line.text.contains("starting containerd") {
            continue;
        }
        let mut reader = LogReader::new(line.text.as_bytes(), Clock::utc(jiff::Timestamp::UNIX_EPOCH));
        if let Ok(Some(line)) = reader.next_line()
            && let Some(ContainerdEvent::Starting { version: told }) = containerd::read(&line)
        {
            version = Some(short(&told)).filter(|v| !v.is_empty());
        }
    }
    version
}

/// CRI-O says `Starting CRI-O, version: 1.24.1, git: …`.
fn crio(view: &NodeView) -> Option<String> {
    let mut lines = Lines::new(view.open("cri/crio-journal.txt")?);
    let mut version = None;
    while let Ok(Some(line)) = lines.next_line() {
        if let Some((_, rest)) = line.text.split_once("Starting CRI-O, version: ") {
            version = rest.split([',', ' ', '"']).next().map(short).filter(|v| !v.is_empty());
        }
    }
    version
}

/// Returns settings of dockerd and lesser versions.
pub(super) fn settings(read: &Read<'_>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut put = |name: &str, value: Option<String>| {
        found.extend(value.filter(|v| !v.is_empty()).map(|value| (name.to_owned(), value)));
    };
    put("runc", component(read.view, "runc"));
    if let Some(info) = &read.info {
        let text = |value: &Option<String>| value.as_deref().map(short);
        put("docker storage driver", text(&info.driver));
        put("docker backing file system", text(&info.backing_file_system));
        put("docker cgroup driver", text(&info.cgroup_driver));
        put("cgroup version", text(&info.cgroup_version));
        put("docker live-restore", info.live_restore.map(|on| on.to_string()));
    }
    found
}
