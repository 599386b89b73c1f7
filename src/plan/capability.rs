//! Capabilities: what a step may require of a node, judged from its facts alone. Pure; no I/O.
//! Named in the catalog's `requires`; asked by `build.rs`.

use super::facts::{Daemon, NodeFacts};
use super::placeholder;

/// A thing a node has or has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Capability {
    /// dockerd is installed as a unit, or runs.
    Dockerd,
    /// dockerd runs. Its client may be used only then: otherwise its socket unit would start it.
    DockerdRunning,
    /// containerd is installed as a unit, or runs.
    Containerd,
    /// containerd runs.
    ContainerdRunning,
    /// CRI-O is installed as a unit, or runs.
    Crio,
    /// CRI-O runs.
    CrioRunning,
    /// The kubelet is installed as a unit, or runs.
    Kubelet,
    /// The kubelet runs.
    KubeletRunning,
    /// A runtime's CRI socket is known.
    Cri,
    /// systemd is PID 1.
    Systemd,
    /// systemd is PID 1 and at least of this version.
    SystemdAtLeast(u32),
    /// A journal that can be read is there.
    Journal,
    /// The opposite: log files are all there is.
    NoJournal,
    /// A CNI configuration directory is there.
    Cni,
}

/// Directories that show that CNI is in use.
pub(crate) const CNI_DIRECTORIES: [&str; 2] = ["/etc/cni/net.d", "/var/lib/rancher/k3s/agent/etc/cni/net.d"];

/// The names that may stand in `requires`, for messages; `systemd-N` comes in addition.
pub(crate) const NAMES: [&str; 13] = [
    "dockerd",
    "dockerd-running",
    "containerd",
    "containerd-running",
    "crio",
    "crio-running",
    "kubelet",
    "kubelet-running",
    "cri",
    "systemd",
    "journal",
    "no-journal",
    "cni",
];

impl Capability {
    /// Returns the capability of that name; `systemd-237` means version 237 or later.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "dockerd" => Self::Dockerd,
            "dockerd-running" => Self::DockerdRunning,
            "containerd" => Self::Containerd,
            "containerd-running" => Self::ContainerdRunning,
            "crio" => Self::Crio,
            "crio-running" => Self::CrioRunning,
            "kubelet" => Self::Kubelet,
            "kubelet-running" => Self::KubeletRunning,
            "cri" => Self::Cri,
            "systemd" => Self::Systemd,
            "journal" => Self::Journal,
            "no-journal" => Self::NoJournal,
            "cni" => Self::Cni,
            other => Self::SystemdAtLeast(other.strip_prefix("systemd-")?.parse().ok()?),
        })
    }

    /// Returns why the node lacks it, as a clause without a full stop, or `None` if it has it.
    #[must_use]
    pub fn missing(self, facts: &NodeFacts) -> Option<String> {
        let systemd = facts.init == "systemd";
        match self {
            Self::Dockerd => installed("dockerd", facts.dockerd.as_ref(), facts),
            Self::DockerdRunning => running("dockerd", facts.dockerd.as_ref(), facts),
            Self::Containerd => installed("containerd", facts.containerd.as_ref(), facts),
            Self::ContainerdRunning => running("containerd", facts.containerd.as_ref(), facts),
            Self::Crio => installed("CRI-O", facts.crio.as_ref(), facts),
            Self::CrioRunning => running("CRI-O", facts.crio.as_ref(), facts),
            Self::Kubelet => installed("the kubelet", facts.kubelet.as_ref(), facts),
            Self::KubeletRunning => running("the kubelet", facts.kubelet.as_ref(), facts),
            Self::Cri => placeholder::crictl_endpoint(facts)
                .is_none()
                .then(|| "no CRI socket of containerd, CRI-O or cri-dockerd was found".to_owned()),
            Self::Systemd => (!systemd).then(|| "PID 1 is not systemd".to_owned()),
            Self::SystemdAtLeast(least) => match facts.systemd_version {
                Some(version) if version >= least => None,
                Some(version) => Some(format!("systemd is version {version}, older than {least}")),
                None => Some("the version of systemd is not known".to_owned()),
            },
            Self::Journal => (!facts.journal).then(|| "there is no journal that can be read".to_owned()),
            Self::NoJournal => {
                facts.journal.then(|| "there is a journal, so logs are not expected in files".to_owned())
            }
            Self::Cni => {
                let there = CNI_DIRECTORIES.iter().any(|d| facts.files.get(*d) == Some(&true));
                (!there).then(|| "no CNI configuration directory was found".to_owned())
            }
        }
    }
}

fn installed(name: &str, daemon: Option<&Daemon>, facts: &NodeFacts) -> Option<String> {
    if daemon.is_some() {
        return None;
    }
    // Where the probe was cut short, "not found" would claim more than is known.
    let word = match (facts.partial, facts.systemctl_failed) {
        (true, _) => "could not be looked for: the probe was cut short",
        (false, true) => "was not found among the processes, and systemctl does not answer",
        (false, false) => "was not found",
    };
    Some(format!("{name} {word}"))
}

fn running(name: &str, daemon: Option<&Daemon>, facts: &NodeFacts) -> Option<String> {
    let Some(daemon) = daemon else { return installed(name, None, facts) };
    let stopped = daemon.stopped(name)?;
    if facts.systemctl_failed || facts.partial { installed(name, None, facts) } else { Some(stopped) }
}
