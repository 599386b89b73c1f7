//! Findings: what the rules say of a node, with the lines it rests on. Plain data; made by `rules/`, worded for people by
//! `report/`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::inventory::NodeName;
use crate::printable::printable;

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing; what was looked at and found well counts, too.
    Info,
    /// Not well, or soon not well.
    Warning,
    /// It explains why the node is down.
    Critical,
}

/// The part of a node that a finding blames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// The kubelet itself.
    Kubelet,
    /// What the kubelet asks: the CRI, whoever serves it.
    Runtime,
    /// dockerd.
    Dockerd,
    /// containerd.
    Containerd,
    /// A shim, runc or the container itself.
    Shim,
    /// Pod networking.
    Cni,
    /// The kernel: stuck threads, oopses.
    Kernel,
    /// Memory, and processes killed for want of it.
    Memory,
    /// Disks, file systems, mounts.
    Disk,
    /// PID 1 and D-Bus.
    Systemd,
    /// The API server.
    ApiServer,
    /// The clock.
    Clock,
}

impl Layer {
    /// Returns what people call it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Kubelet => "kubelet",
            Self::Runtime => "runtime",
            Self::Dockerd => "dockerd",
            Self::Containerd => "containerd",
            Self::Shim => "shim",
            Self::Cni => "CNI",
            Self::Kernel => "kernel",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Systemd => "systemd",
            Self::ApiServer => "API server",
            Self::Clock => "clock",
        }
    }
}

impl Severity {
    /// Returns how grave, in a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// Lines of a file of the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Citation {
    /// Path in the bundle.
    pub file: String,
    /// First and last line, from 1; `None`: the file as a whole.
    pub lines: Option<(u64, u64)>,
}

/// What a rule says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// Stable name, for example `pleg/unhealthy`.
    pub id: String,
    /// How grave.
    pub severity: Severity,
    /// Of which node.
    pub node: NodeName,
    /// What is to blame, if that is clear.
    pub layer: Option<Layer>,
    /// One sentence an operator can act on; printable.
    pub sentence: String,
    /// What it rests on.
    pub evidence: Vec<Citation>,
    /// What to look at next, one sentence.
    pub next: Option<String>,
    /// Equal for nodes that suffer from the same: a stack's signature, a device, a mount; for grouping.
    pub signature: Option<String>,
}

/// Characters of a sentence: some lines of a wide terminal.
const SENTENCE: usize = 600;
/// Citations of one finding; more say nothing new.
const CITED: usize = 8;

impl Finding {
    /// Whether it only says that evidence is missing, not whole or not readable, and what cannot be said without it; such
    /// findings are told together, after the others.
    #[must_use]
    pub fn is_gap(&self) -> bool {
        ["/missing", "/incomplete", "/unreadable"].iter().any(|end| self.id.ends_with(end))
    }

    /// Returns a finding without evidence yet. The sentence is made printable here.
    #[must_use]
    pub fn new(node: &NodeName, id: &str, severity: Severity, sentence: &str) -> Self {
        Self {
            id: id.to_owned(),
            severity,
            node: node.clone(),
            layer: None,
            sentence: printable(sentence, SENTENCE),
            evidence: Vec::new(),
            next: None,
            signature: None,
        }
    }

    /// Blames a layer.
    #[must_use]
    pub fn blames(mut self, layer: Layer) -> Self {
        self.layer = Some(layer);
        self
    }

    /// Cites lines of a file, from 1; a first line of 0 stands for the whole file.
    #[must_use]
    pub fn cites(mut self, file: &str, first: u64, last: u64) -> Self {
        let lines = (first > 0).then_some((first, last.max(first)));
        let citation = Citation { file: file.to_owned(), lines };
        if self.evidence.len() < CITED && !self.evidence.contains(&citation) {
            self.evidence.push(citation);
        }
        self
    }

    /// Cites the first and the last line of many that say the same: what lies between is of others, too.
    #[must_use]
    pub fn cites_ends(self, file: &str, first: u64, last: u64) -> Self {
        self.cites(file, first, first).cites(file, last, last)
    }

    /// Says what to look at next.
    #[must_use]
    pub fn then(mut self, next: &str) -> Self {
        self.next = Some(printable(next, SENTENCE));
        self
    }

    /// Sets what is equal for nodes that suffer from the same.
    #[must_use]
    pub fn alike(mut self, signature: &str) -> Self {
        self.signature = Some(printable(signature, SENTENCE));
        self
    }
}

impl fmt::Display for Citation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.lines {
            None => f.write_str(&self.file),
            Some((first, last)) if first == last => write!(f, "{}:{first}", self.file),
            Some((first, last)) => write!(f, "{}:{first}-{last}", self.file),
        }
    }
}
