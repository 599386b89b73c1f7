//! `docker info --format '{{json .}}'` and the same of `docker version`; also the API's `/info`.

use serde_json::Value;

/// What dockerd says of itself; `None` where it does not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DockerInfo {
    /// dockerd's version.
    pub version: Option<String>,
    /// Containers in all.
    pub containers: Option<u64>,
    /// Those that run.
    pub running: Option<u64>,
    /// Those that are paused.
    pub paused: Option<u64>,
    /// Those that ended.
    pub stopped: Option<u64>,
    /// Images.
    pub images: Option<u64>,
    /// Storage driver: `overlay2`.
    pub driver: Option<String>,
    /// File system below it.
    pub backing_file_system: Option<String>,
    /// `cgroupfs` or `systemd`.
    pub cgroup_driver: Option<String>,
    /// `1` or `2`.
    pub cgroup_version: Option<String>,
    /// The kernel.
    pub kernel: Option<String>,
    /// Whether debug is on.
    pub debug: Option<bool>,
    /// Goroutines.
    pub goroutines: Option<u64>,
    /// Open descriptors; only while debug is on.
    pub descriptors: Option<u64>,
    /// Whether containers go on while dockerd is restarted.
    pub live_restore: Option<bool>,
    /// containerd's version or commit.
    pub containerd: Option<String>,
    /// runc's version or commit.
    pub runc: Option<String>,
    /// Processors.
    pub cpus: Option<u64>,
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// Warnings.
    pub warnings: Vec<String>,
    /// Why dockerd did not answer, as the client prints in place of an answer.
    pub errors: Vec<String>,
}

/// Reads an answer; `None` if it is not a JSON object.
#[must_use]
pub fn parse(text: &str) -> Option<DockerInfo> {
    let value: Value = serde_json::from_str(text.trim()).ok()?;
    value.as_object()?;
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned).filter(|t| !t.is_empty());
    let number = |key: &str| value.get(key).and_then(Value::as_u64);
    let flag = |key: &str| value.get(key).and_then(Value::as_bool);
    let list = |key: &str| -> Vec<String> {
        let items = value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let commit = |key: &str| value.get(key)?.get("ID")?.as_str().map(str::to_owned);
    let status = value.get("DriverStatus").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let backing = status.iter().find(|pair| pair.get(0).and_then(Value::as_str) == Some("Backing Filesystem"));
    Some(DockerInfo {
        version: text("ServerVersion"),
        containers: number("Containers"),
        running: number("ContainersRunning"),
        paused: number("ContainersPaused"),
        stopped: number("ContainersStopped"),
        images: number("Images"),
        driver: text("Driver"),
        backing_file_system: backing.and_then(|p| p.get(1)).and_then(Value::as_str).map(str::to_owned),
        cgroup_driver: text("CgroupDriver"),
        cgroup_version: text("CgroupVersion"),
        kernel: text("KernelVersion"),
        debug: flag("Debug"),
        goroutines: number("NGoroutines"),
        descriptors: number("NFd"),
        live_restore: flag("LiveRestoreEnabled"),
        containerd: commit("ContainerdCommit"),
        runc: commit("RuncCommit"),
        cpus: number("NCPU"),
        memory: number("MemTotal"),
        warnings: list("Warnings"),
        errors: list("ServerErrors"),
    })
}

/// A part of the engine and its version, by `docker version`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// `Engine`, `containerd`, `runc`, `docker-init`.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// Reads `docker version --format '{{json .}}'`; empty when only the client answered.
#[must_use]
pub fn components(text: &str) -> Vec<Component> {
    let Ok(value) = serde_json::from_str::<Value>(text.trim()) else { return Vec::new() };
    let list = value.pointer("/Server/Components").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let one = |item: &Value| {
        let text = |key: &str| Some(item.get(key)?.as_str()?.to_owned());
        Some(Component { name: text("Name")?, version: text("Version")? })
    };
    list.iter().filter_map(one).collect()
}
