//! The probe: the script that is run once on a node, and the parser of what it prints. The parser takes
//! whatever a hostile node sends: unknown records, odd bytes and endless values do no harm. No I/O.
//! Reached through [`facts`](super::facts).

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::catalog::Catalog;
use super::facts::{Daemon, NodeFacts};
use super::placeholder::{is_sound_path, is_unit_name};
use super::schema::is_tool_name;

/// Output beyond this is not looked at. A node with many tools prints about 10 KB.
const MOST_BYTES: usize = 4 << 20;
/// Arguments kept of one daemon, as in the script.
const MOST_ARGS: usize = 256;
/// Processes and units kept; the script names about 40.
const MOST_ENTRIES: usize = 100;
/// Tools and files kept.
const MOST_NAMES: usize = 2000;

/// Where the script looks for programs. A path that lies elsewhere was made up, and might end in a sudoers file.
const SEARCHED: [&str; 11] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
    "/opt/bin",
    "/snap/bin",
    "/var/lib/rancher/rke2/bin",
    "/run/current-system/sw/bin",
    "/run/wrappers/bin",
];

/// Why a probe's output yields no facts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FactsError {
    /// The first line is not the probe's.
    #[error("the probe printed nothing that could be its own: {0:?}")]
    NotAProbe(String),
    /// It ended before the tools were told.
    #[error("the probe was cut short before it had named the node's tools")]
    CutShort,
}

/// Returns the probe's text, for `/bin/sh`.
#[must_use]
pub const fn probe_script() -> &'static str {
    include_str!("scripts/probe.sh")
}

/// Returns the probe's arguments: the tools the catalog could use, then the paths its steps depend on.
#[must_use]
pub fn probe_args(catalog: &Catalog) -> Vec<String> {
    // The wrapper's own are named too, for the record.
    let own = ["timeout", "nice", "ionice", "zstd", "gzip", "sudo"].map(ToOwned::to_owned);
    let mut tools = catalog.tools();
    tools.extend(own);
    tools.into_iter().chain(catalog.probed_files().into_iter().map(|path| format!("={path}"))).collect()
}

/// Reads what the probe printed. `shell` is left as it is by default: another probe fills it.
///
/// # Errors
/// If the output is not the probe's, or ends before the part without which no step can be planned. Whatever is cut
/// later gives facts marked `partial`.
pub fn parse(output: &[u8]) -> Result<NodeFacts, FactsError> {
    let output = output.get(..MOST_BYTES).unwrap_or(output);
    let mut lines = output.split(|b| *b == b'\n');
    let head = lines.next().unwrap_or_default();
    if head != b"plegcollect-probe 1" {
        return Err(FactsError::NotAProbe(clean(head.get(..80).unwrap_or(head))));
    }
    let mut found = Found::default();
    for line in lines {
        let mut parts = line.splitn(2, |b| *b == b' ');
        let key = parts.next().unwrap_or_default();
        let value = clean(parts.next().unwrap_or_default());
        if let Ok(key) = std::str::from_utf8(key) {
            found.record(key, value);
        }
    }
    found.finish()
}

/// Makes text of bytes: what is not UTF-8 becomes U+FFFD. The end is cut at 4,096 bytes, as in the script. Control
/// characters stay: whoever prints or writes the text deals with them, and an argument's line break is one of them.
fn clean(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..4096).unwrap_or(bytes)).into_owned()
}

/// A process, as the script described it.
#[derive(Debug, Clone, Default)]
struct Process {
    uid: Option<u32>,
    ppid: Option<u32>,
    start: Option<u64>,
    comm: String,
    exe: Option<String>,
    unit: Option<String>,
    args: Vec<String>,
}

#[derive(Debug, Default)]
struct Found {
    facts: NodeFacts,
    processes: BTreeMap<u32, Process>,
    /// One map of properties for each unit; the last one is being filled.
    units: Vec<BTreeMap<String, String>>,
    tools_told: bool,
    processes_told: bool,
    ended: bool,
}

impl Found {
    fn record(&mut self, key: &str, value: String) {
        let facts = &mut self.facts;
        match key {
            "hostname" => facts.hostname = value,
            "kernel" => facts.kernel = value,
            "machine" => facts.machine = value,
            "os" => facts.os = value.trim_matches(['"', '\'']).to_owned(),
            "init" => facts.init = value,
            "boot-id" => facts.boot_id = value,
            "uptime" => facts.uptime_s = value.split(['.', ' ']).next().and_then(|s| s.parse().ok()),
            "date" => (facts.probed, facts.utc_offset_s) = date(&value),
            "mem-total" => facts.mem_total_kib = value.parse().ok(),
            "mem-available" => facts.mem_available_kib = value.parse().ok(),
            "uid" => facts.uid = value.parse().ok(),
            "cpus" => facts.cpus = value.parse().ok().filter(|n| *n > 0),
            "ticks" => facts.ticks_per_second = value.parse().ok().filter(|n| *n > 0),
            "systemd" => facts.systemd_version = leading_number(&value),
            "systemctl" => facts.systemctl_failed = true,
            "journal" => facts.journal = true,
            "shims" => facts.shims = value.parse().unwrap_or(0),
            "tool" | "busybox" => {
                let prefix = if key == "tool" { "" } else { "busybox/" };
                if let Some((name, path)) = value.split_once(' ')
                    && is_searched(name, path)
                    && facts.tools.len() < MOST_NAMES
                {
                    facts.tools.insert(format!("{prefix}{name}"), path.to_owned());
                }
            }
            "file" => {
                if let Some((readable, path)) = value.split_once(' ')
                    && is_sound_path(path)
                    && facts.files.len() < MOST_NAMES
                {
                    facts.files.insert(path.to_owned(), readable == "1");
                }
            }
            "unit" => self.unit(&value),
            "mark" if value == "tools" => self.tools_told = true,
            "mark" if value == "processes" => self.processes_told = true,
            "end" => self.ended = true,
            _ => self.process(key, value),
        }
    }

    fn unit(&mut self, line: &str) {
        if line == "-" || self.units.is_empty() {
            if self.units.len() >= MOST_ENTRIES {
                return;
            }
            self.units.push(BTreeMap::new());
        }
        if let (Some(unit), Some((key, value))) = (self.units.last_mut(), line.split_once('='))
            && unit.len() < MOST_ENTRIES
        {
            unit.insert(key.to_owned(), value.to_owned());
        }
    }

    /// Reads `proc.PID.WHAT`.
    fn process(&mut self, key: &str, value: String) {
        let Some((pid, what)) = key.strip_prefix("proc.").and_then(|rest| rest.split_once('.')) else { return };
        let Ok(pid) = pid.parse::<u32>() else { return };
        if self.processes.len() >= MOST_ENTRIES && !self.processes.contains_key(&pid) {
            return;
        }
        let process = self.processes.entry(pid).or_default();
        match what {
            "uid" => process.uid = value.parse().ok(),
            "ppid" => process.ppid = value.parse().ok(),
            "start" => process.start = value.parse().ok(),
            "comm" => process.comm = value,
            "exe" => process.exe = Some(value),
            "cgroup" => {
                // Only slices above the service: a container's own systemd has services too, deeper down.
                process.unit = value
                    .split('/')
                    .find(|part| !part.is_empty() && !part.ends_with(".slice"))
                    .filter(|part| is_unit_name(part))
                    .map(ToOwned::to_owned);
            }
            // The script writes an argument's own line breaks as \001.
            "arg" if process.args.len() < MOST_ARGS => process.args.push(value.replace('\u{1}', "\n")),
            _ => {}
        }
    }

    fn finish(mut self) -> Result<NodeFacts, FactsError> {
        if !self.tools_told {
            return Err(FactsError::CutShort);
        }
        self.facts.partial = !self.ended;
        let dockerd = self.daemon(&DOCKERD, |_, _| true);
        let dockerd_pid = dockerd.as_ref().and_then(|d| d.pid);
        // Where containerd has no unit, the child of dockerd is this node's, before any other.
        let containerd = self
            .daemon(&CONTAINERD, |_, p| dockerd_pid.is_some() && p.ppid == dockerd_pid)
            .filter(|d| d.pid.is_some())
            .or_else(|| self.daemon(&CONTAINERD, |_, _| true));
        self.facts.crio = self.daemon(&CRIO, |_, _| true);
        self.facts.kubelet = self.daemon(&KUBELET, |_, _| true);
        self.facts.containerd = containerd.map(|mut containerd| {
            // Started by dockerd or k3s it logs to their unit, which is collected as theirs.
            let owners = [&dockerd, &self.facts.kubelet];
            if owners.iter().any(|o| o.as_ref().is_some_and(|o| o.unit.is_some() && o.unit == containerd.unit)) {
                containerd.unit = None;
            }
            containerd
        });
        self.facts.dockerd = dockerd;
        Ok(self.facts)
    }

    /// Puts a daemon together from its unit and its process: the unit's main process, or else the first process that
    /// is one by its executable.
    fn daemon(&self, kind: &Kind, allowed: impl Fn(u32, &Process) -> bool) -> Option<Daemon> {
        let units = kind.units.iter().filter_map(|name| {
            let unit = self.units.iter().find(|u| has_name(u, name))?;
            let there = unit.get("LoadState").is_some_and(|s| !matches!(s.as_str(), "not-found" | "masked"));
            there.then_some((*name, unit))
        });
        let main_pid = |unit: &BTreeMap<String, String>| unit.get("MainPID")?.parse().ok().filter(|pid: &u32| *pid > 0);
        // One that runs before one that is merely there (k3s and a leftover kubelet.service, say).
        let mut units: Vec<_> = units.collect();
        units.sort_by_key(|(_, unit)| main_pid(unit).is_none());
        let unit = units.first();
        let systemd = self.facts.init == "systemd";
        let by_unit = unit.and_then(|(_, unit)| main_pid(unit));
        let by_name =
            || self.processes.iter().find(|(pid, p)| kind.is(p, systemd) && allowed(**pid, p)).map(|(pid, _)| *pid);
        let pid = by_unit.or_else(by_name);
        if unit.is_none() && pid.is_none() {
            return None;
        }
        let process = pid.and_then(|pid| self.processes.get(&pid)).cloned().unwrap_or_default();
        // A process that is not its unit's main one may belong to another unit, which its cgroup names.
        let (name, unit) = match (by_unit, pid, unit) {
            (None, Some(_), Some((name, unit))) if process.unit.as_deref() == Some(name) => {
                (Some((*name).to_owned()), Some(unit))
            }
            (None, Some(_), _) => (process.unit, None),
            (_, _, Some((name, unit))) => (Some((*name).to_owned()), Some(unit)),
            (_, _, None) => (None, None),
        };
        let property = |name: &str| unit.and_then(|u| u.get(name)).filter(|v| !v.is_empty()).cloned();
        Some(Daemon {
            state: property("ActiveState").map(|s| format!("{s}/{}", property("SubState").unwrap_or_default())),
            invocation_id: property("InvocationID"),
            unit: name,
            pid,
            start_ticks: process.start,
            exe: process.exe,
            cmdline: process.args,
        })
    }
}

/// Returns whether `path` is the program `name` in a directory of the system's own.
pub(crate) fn is_searched(name: &str, path: &str) -> bool {
    is_tool_name(name)
        && path.strip_suffix(name).and_then(|d| d.strip_suffix('/')).is_some_and(|d| SEARCHED.contains(&d))
}

fn has_name(unit: &BTreeMap<String, String>, name: &str) -> bool {
    let is = |key: &str| unit.get(key).is_some_and(|names| names.split(' ').any(|n| n == name && is_unit_name(n)));
    is("Id") || is("Names")
}

/// How a daemon is recognised.
struct Kind {
    /// Its units, the usual one first; the script asks for the same.
    units: &'static [&'static str],
    /// Names of its executable.
    executables: &'static [&'static str],
}

const DOCKERD: Kind = Kind {
    units: &["docker.service", "docker-latest.service", "snap.docker.dockerd.service"],
    executables: &["dockerd", "dockerd-current", "dockerd-latest", "docker-current"],
};
const CONTAINERD: Kind = Kind {
    units: &["containerd.service"],
    executables: &["containerd", "docker-containerd", "docker-containerd-current"],
};
const CRIO: Kind = Kind { units: &["crio.service"], executables: &["crio"] };
const KUBELET: Kind = Kind {
    units: &[
        "kubelet.service",
        "k3s.service",
        "k3s-agent.service",
        "rke2-server.service",
        "rke2-agent.service",
        "k0scontroller.service",
        "k0sworker.service",
        "snap.microk8s.daemon-kubelite.service",
    ],
    executables: &["kubelet", "hyperkube"],
};

impl Kind {
    /// Judges by the executable. A process's own name counts only in the daemon's own unit, where nobody else can
    /// start it (a wrapper script, say), and where neither units nor the executable can be seen.
    fn is(&self, process: &Process, systemd: bool) -> bool {
        // Anybody can name a program kubelet and have us print, as root, what its --config names.
        if process.uid.is_some_and(|uid| uid != 0) {
            return false;
        }
        let exe = process.exe.as_deref().unwrap_or_default();
        let exe = exe.strip_suffix(" (deleted)").unwrap_or(exe);
        let in_unit = process.unit.as_deref().is_some_and(|unit| self.units.contains(&unit));
        self.executables.contains(&exe.rsplit('/').next().unwrap_or_default())
            || ((in_unit || (!systemd && process.exe.is_none())) && self.executables.contains(&process.comm.as_str()))
    }
}

/// Reads what `date '+%s %z'` prints: seconds since 1970, and the zone as `+0530`.
fn date(value: &str) -> (Option<Timestamp>, Option<i32>) {
    let (seconds, zone) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
    let time = seconds.parse().ok().and_then(|s| Timestamp::from_second(s).ok());
    let zone = zone.get(1..).filter(|z| z.len() == 4).and_then(|z| z.parse::<i32>().ok()).and_then(|hhmm| {
        let seconds = hhmm / 100 * 3600 + hhmm % 100 * 60;
        // No zone is farther from UTC than 14 hours.
        let sign = if zone.starts_with('-') { -1 } else { 1 };
        (zone.starts_with(['+', '-']) && (0..=14 * 3600).contains(&seconds)).then_some(sign * seconds)
    });
    (time, zone)
}

fn leading_number(text: &str) -> Option<u32> {
    text.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests;
