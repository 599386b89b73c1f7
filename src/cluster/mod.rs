//! The Kubernetes API: evidence of the cluster, nodes chosen by it, credentials of a kubeconfig, and the node proxy. The only
//! user of kube. Every request is bounded; an API server that does not answer costs a few seconds and nothing else.

// The whole of kube is behind this one line; without the feature `absent.rs` says so.
#[cfg_attr(not(feature = "cluster"), path = "absent.rs")]
mod api;
mod choice;
mod label_selector;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::evidence::Outcome;

pub use crate::plan::cluster::POOL_LABELS;
pub use api::Cluster;
pub use choice::{Choice, ChoiceError, Wanted, place};
pub use label_selector::{LabelSelector, LabelSelectorError};

/// Why the API server gave no answer, or cannot be asked. One sentence that holds nothing secret, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct ClusterError {
    /// One sentence.
    pub text: String,
    /// What to try.
    pub hint: Option<String>,
    /// The settings are wrong (no such context, unreadable file): exit code 3, before anything is contacted.
    pub setup: bool,
}

/// A node as the API server has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClusterNode {
    /// `metadata.name`.
    pub name: String,
    /// `status.addresses` of type InternalIP.
    pub internal_ips: Vec<String>,
    /// Those of type Hostname.
    pub hostnames: Vec<String>,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// Status of the Ready condition: `True`, `False`, `Unknown`; empty if there is none.
    pub ready: String,
    /// Its reason.
    pub reason: String,
}

impl ClusterNode {
    /// Returns whether this is the node of that name, or the one that is reached at that address: by its name, an
    /// address of type Hostname, or an InternalIP.
    #[must_use]
    pub fn is(&self, name: &str, address: Option<&str>) -> bool {
        let called = |text: &str| self.name == text || self.hostnames.iter().any(|host| host == text);
        called(name) || address.is_some_and(|at| called(at) || self.internal_ips.iter().any(|ip| ip == at))
    }
}

/// The bounds of one request, or of all pages of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiBounds {
    /// To the end of the answer, connecting included (4 s at most).
    pub within: Duration,
    /// Bytes taken.
    pub max_bytes: u64,
}

/// How a request to an API server ended: the outcome of its step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiEnd {
    /// The step's outcome.
    pub outcome: Outcome,
    /// The reason, one sentence; always there unless complete.
    pub detail: Option<String>,
    /// HTTP status, if an answer came.
    pub status: Option<u16>,
}

impl ApiEnd {
    /// Returns whether the API server gave no answer at all, so that asking it more is in vain.
    #[must_use]
    pub const fn is_silent(&self) -> bool {
        self.status.is_none() && matches!(self.outcome, Outcome::Failed | Outcome::TimedOut)
    }

    /// Returns the reason, or the word for the outcome.
    #[must_use]
    pub fn why(&self) -> String {
        self.detail.clone().unwrap_or_else(|| self.outcome.word().to_owned())
    }
}

/// Which objects of a list are kept, by name and addresses.
pub type Keep<'a> = &'a (dyn Fn(&ClusterNode) -> bool + Sync);
