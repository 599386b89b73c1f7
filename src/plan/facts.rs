//! Facts: what the probe found on a node. Parsed from the probe script's output; no I/O here.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) use super::probe::is_searched;
pub use super::probe::{FactsError, parse, probe_args, probe_script};

/// A daemon found on the node. Signals and restarts are judged by pid and start time together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
pub struct Daemon {
    /// systemd unit, for example `docker.service`, if there is one.
    pub unit: Option<String>,
    /// `ActiveState/SubState` of the unit.
    pub state: Option<String>,
    /// Invocation id of the unit.
    pub invocation_id: Option<String>,
    /// Main pid; `None` when it does not run.
    pub pid: Option<u32>,
    /// Field 22 of `/proc/PID/stat`: start in clock ticks after boot.
    pub start_ticks: Option<u64>,
    /// Target of `/proc/PID/exe`.
    pub exe: Option<String>,
    /// Arguments, for `--config-file`, sockets and roots.
    pub cmdline: Vec<String>,
}

/// What the probe found on a node; `node/facts.json` in the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
pub struct NodeFacts {
    /// `uname -n`.
    pub hostname: String,
    /// `uname -r`.
    pub kernel: String,
    /// `uname -m`.
    pub machine: String,
    /// `PRETTY_NAME` of os-release.
    pub os: String,
    /// Name of PID 1.
    pub init: String,
    /// `systemctl --version`, first number.
    pub systemd_version: Option<u32>,
    /// Effective uid of the login.
    pub uid: Option<u32>,
    /// Kernel boot id: a reboot during the run changes it.
    pub boot_id: String,
    /// Whole seconds since boot.
    pub uptime_s: Option<u64>,
    /// The node's clock when the probe ran, to the second.
    pub probed: Option<Timestamp>,
    /// The node's zone: its local time less UTC, seconds. Logs without a zone are in it.
    pub utc_offset_s: Option<i32>,
    /// Processors.
    pub cpus: Option<u32>,
    /// MemTotal and MemAvailable, KiB.
    pub mem_total_kib: Option<u64>,
    /// See `mem_total_kib`.
    pub mem_available_kib: Option<u64>,
    /// Clock ticks per second, for `start_ticks`.
    pub ticks_per_second: Option<u32>,
    /// Tools by name: absolute path. `busybox/NAME` stands beside `NAME` where that is busybox's.
    pub tools: BTreeMap<String, String>,
    /// Tools and rights the command wrapper builds on.
    pub shell: ShellFacts,
    /// dockerd.
    pub dockerd: Option<Daemon>,
    /// containerd (a unit of its own, or a child of dockerd).
    pub containerd: Option<Daemon>,
    /// CRI-O.
    pub crio: Option<Daemon>,
    /// kubelet.
    pub kubelet: Option<Daemon>,
    /// Number of shim processes (containerd-shim*, conmon).
    pub shims: u32,
    /// A journal that can be read is there.
    pub journal: bool,
    /// Files probed because steps depend on them: path, and whether it is there and readable.
    pub files: BTreeMap<String, bool>,
    /// The probe was cut short: what is not named here may be there all the same.
    pub partial: bool,
    /// `systemctl` gave no answer within its bound; units are not known.
    pub systemctl_failed: bool,
}

/// What the command wrapper needs to know of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
pub struct ShellFacts {
    /// Path of a `timeout` that understands `-k`; `None`: the shell fall-back is used.
    pub timeout: Option<String>,
    /// Path of `nice`.
    pub nice: Option<String>,
    /// Path of `ionice`.
    pub ionice: Option<String>,
    /// Path of `zstd`.
    pub zstd: Option<String>,
    /// Options that keep `zstd` to one thread, as far as it has them.
    pub zstd_options: Vec<String>,
    /// Path of `gzip`.
    pub gzip: Option<String>,
    /// Path of `sudo`.
    pub sudo: Option<String>,
    /// What rights there are.
    pub rights: Rights,
}

/// What rights commands have on the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Rights {
    /// The login is root.
    Root,
    /// `sudo -n` works.
    SudoPasswordless,
    /// `sudo -S` with the operator's password works.
    SudoPassword,
    /// Neither: privileged steps run as the login user.
    #[default]
    None,
}

impl Daemon {
    /// Returns the sentence that it does not run, unless it does.
    #[must_use]
    pub fn stopped(&self, name: &str) -> Option<String> {
        match (&self.pid, &self.unit, &self.state) {
            (Some(_), ..) => None,
            (None, Some(unit), Some(state)) => Some(format!("{name} does not run: {unit} is {state}")),
            _ => Some(format!("{name} does not run")),
        }
    }
}

impl NodeFacts {
    /// Returns a sentence for each daemon that is installed and does not run, as far as the probe could tell.
    #[must_use]
    pub fn stopped_daemons(&self) -> Vec<String> {
        if self.systemctl_failed || self.partial {
            return Vec::new();
        }
        let all = [
            ("dockerd", &self.dockerd),
            ("containerd", &self.containerd),
            ("CRI-O", &self.crio),
            ("kubelet", &self.kubelet),
        ];
        all.into_iter().filter_map(|(name, daemon)| daemon.as_ref()?.stopped(name)).collect()
    }
}
