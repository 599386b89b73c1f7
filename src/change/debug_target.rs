//! What the checks before the debug window found out, and the window needs to know. Plain data.

use serde::{Deserialize, Serialize};

/// A dockerd whose debug can be switched on and off safely.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DebugTarget {
    /// The process; signalled only while pid, start and executable are these.
    pub process: Process,
    /// Path of its configuration file (daemon.json), as dockerd opens it.
    pub config: String,
    /// The file as found; `None` where there is none.
    pub file: Option<FileState>,
    /// Makes the text that switches debug on from the file's text.
    pub on: Edit,
    /// Makes the text that switches debug off from the file's text.
    pub off: Edit,
    /// The socket file of its API on the host, without `unix://`.
    pub socket: String,
    /// How the node asks the API.
    pub client: Client,
    /// What `/info` said that a reload must not change, by name, as compact JSON.
    pub info: std::collections::BTreeMap<String, String>,
    /// `ServerVersion`.
    pub version: String,
}

/// A process, told from a later one with the same number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Process {
    /// Its pid in the host's pid namespace.
    pub pid: u32,
    /// Field 22 of `/proc/PID/stat`.
    pub start_ticks: u64,
    /// Target of `/proc/PID/exe`.
    pub exe: String,
    /// Its systemd unit, if it has one.
    pub unit: Option<String>,
}

/// A file as `stat` shows it; what must be the same afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FileState {
    /// Hex sha256 of its bytes (of the target's, where it is a symlink).
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// Device and inode of the name itself (`stat -c %d:%i`, no link followed).
    pub inode: String,
    /// Modification time with all the digits the node gives (`stat -c %y`).
    pub mtime: String,
    /// `uid:gid`.
    pub owner: String,
    /// Octal, for example `644`.
    pub mode: String,
    /// Security label, where the node has labels.
    pub label: Option<String>,
}

/// One replacement in a text: the node makes the new file from its own copy, so that the text
/// (which may hold secrets) travels in no command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Edit {
    /// Bytes kept before it.
    pub at: u64,
    /// Bytes left out after those.
    pub delete: u64,
    /// What stands there instead; printable ASCII.
    pub insert: String,
    /// Hex sha256 of the result.
    pub sha256: String,
}

/// How the node asks dockerd's API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Client {
    /// The docker command line client at this path.
    Docker(String),
    /// curl at this path.
    Curl(String),
}
