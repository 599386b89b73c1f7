//! The steps that ask API servers, as data: what is asked, what it is read for, its bounds, and the RBAC rule it needs. Pure; no
//! I/O. Chosen by `selection.rs`, carried out by `collect/cluster.rs`, printed by `plan`.

use std::fmt;
use std::time::Duration;

use super::schema::Profile;
use super::selection::{Selection, StepPattern};

/// Labels that name a node's pool, in the order they are tried: of EKS, GKE, AKS (and its older form), Karpenter, kOps,
/// DigitalOcean, Scaleway, then those that people set themselves.
pub const POOL_LABELS: [&str; 10] = [
    "eks.amazonaws.com/nodegroup",
    "cloud.google.com/gke-nodepool",
    "kubernetes.azure.com/agentpool",
    "agentpool",
    "karpenter.sh/nodepool",
    "kops.k8s.io/instancegroup",
    "doks.digitalocean.com/node-pool",
    "k8s.scaleway.com/pool-name",
    "node.kubernetes.io/instance-group",
    "pool",
];

/// One step of the cluster's evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterStep {
    /// Its id; for the second API server and later ones `cluster/NAME` becomes `cluster/api-N/NAME`.
    pub id: &'static str,
    /// Path in the bundle, below `cluster/` as the id.
    pub file: &'static str,
    /// What it is read for.
    pub about: &'static str,
    /// What is asked.
    pub ask: ClusterAsk,
    /// In which profiles.
    pub profiles: &'static [Profile],
    /// Wall time of the whole step.
    pub within: Duration,
    /// Bytes taken.
    pub max_bytes: u64,
    /// What the user needs.
    pub rule: ClusterRule,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusterAsk {
    /// This path of every API server; the body is kept as it is.
    Each(&'static str),
    /// The nodes of the run, of one API server; one object a line.
    Nodes,
    /// Lists of one API server, page by page, all objects; one object a line.
    Lists(&'static [&'static str]),
    /// The leases of the run's nodes, of one API server; one object a line.
    Leases,
}

impl fmt::Display for ClusterAsk {
    /// Writes the requests: `GET /readyz?verbose`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Each(path) => write!(f, "GET {path}"),
            Self::Nodes => write!(f, "GET /api/v1/nodes/NODE, for more than {NODES_BY_NAME} nodes the list"),
            Self::Leases => write!(
                f,
                "GET /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/NODE, for more than {NODES_BY_NAME} \
                 nodes the list"
            ),
            // One path, asked with several filters.
            Self::Lists(paths) => {
                let (path, _) = paths.first().and_then(|first| first.split_once('?')).unwrap_or_default();
                let filters = paths.iter().filter_map(|path| Some(path.split_once("fieldSelector=")?.1));
                let filters = filters.map(|filter| filter.replace("%3D", "=")).collect::<Vec<_>>();
                write!(f, "GET {path} with {}", filters.join(", "))
            }
        }
    }
}

/// Returns the table of the cluster's steps for the README.
#[must_use]
pub fn markdown_table() -> String {
    use std::fmt::Write as _;
    let mut out = String::from(
        "| step | what is asked | of | bound | snapshot | what it is read for |\n|---|---|---|---|---|---|\n",
    );
    for step in CLUSTER_STEPS {
        let of = if step.path().is_some() { "each" } else { "one" };
        let snapshot = if step.profiles.contains(&Profile::Snapshot) { "yes" } else { "" };
        let (id, ask, within, about) = (step.id, step.ask, step.within.as_secs(), step.about);
        // Writing to a String cannot fail.
        let _ = writeln!(out, "| `{id}` | `{ask}` | {of} | {within}s | {snapshot} | {about} |");
    }
    out
}

/// A rule of a ClusterRole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClusterRule {
    /// These verbs on this resource of this group.
    Resource {
        /// API group; empty: the core group.
        group: &'static str,
        /// For example `nodes`.
        resource: &'static str,
        /// `get`, `list`.
        verbs: &'static [&'static str],
    },
    /// `get` of this path.
    Url(&'static str),
}

impl fmt::Display for ClusterRule {
    /// Writes the rule as a line of a ClusterRole in YAML.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resource { group, resource, verbs } => {
                write!(f, "{{apiGroups: [\"{group}\"], resources: [{resource}], verbs: [{}]}}", verbs.join(", "))
            }
            Self::Url(path) => write!(f, "{{nonResourceURLs: [{path}], verbs: [get]}}"),
        }
    }
}

/// Nodes asked for one by one; more are listed and filtered.
pub const NODES_BY_NAME: usize = 20;

const ALWAYS: &[Profile] = &[Profile::Incident, Profile::Snapshot];
const INCIDENT: &[Profile] = &[Profile::Incident];
const WITHIN: Duration = Duration::from_secs(15);

/// Every step there is, in the order they are made. `/version`, `/readyz` and `/livez` are open to everybody by default
/// (`system:public-info-viewer`); the rules are for clusters where they are not.
pub const CLUSTER_STEPS: &[ClusterStep] = &[
    ClusterStep {
        id: "cluster/version",
        file: "cluster/version.json",
        about: "version of the API server; without an answer to this nothing else is asked of it",
        ask: ClusterAsk::Each("/version"),
        profiles: ALWAYS,
        within: Duration::from_secs(5),
        max_bytes: 64 << 10,
        rule: ClusterRule::Url("/version"),
    },
    ClusterStep {
        id: "cluster/goroutines",
        file: "cluster/goroutines.txt",
        about: "goroutines of the API server, equal ones counted: requests that pile up",
        ask: ClusterAsk::Each("/debug/pprof/goroutine?debug=1"),
        profiles: INCIDENT,
        within: WITHIN,
        max_bytes: 64 << 20,
        rule: ClusterRule::Url("/debug/pprof/goroutine"),
    },
    ClusterStep {
        id: "cluster/readyz",
        file: "cluster/readyz.txt",
        about: "checks of the API server's readiness, etcd among them",
        ask: ClusterAsk::Each("/readyz?verbose"),
        profiles: ALWAYS,
        within: WITHIN,
        max_bytes: 1 << 20,
        rule: ClusterRule::Url("/readyz"),
    },
    ClusterStep {
        id: "cluster/livez",
        file: "cluster/livez.txt",
        about: "checks of the API server's life",
        ask: ClusterAsk::Each("/livez?verbose"),
        profiles: INCIDENT,
        within: WITHIN,
        max_bytes: 1 << 20,
        rule: ClusterRule::Url("/livez"),
    },
    ClusterStep {
        id: "cluster/metrics",
        file: "cluster/metrics.txt",
        about: "metrics of the API server; throttling: apiserver_request_terminations_total, \
                apiserver_current_inflight_requests, apiserver_flowcontrol_*, before 1.17 apiserver_dropped_requests_total",
        ask: ClusterAsk::Each("/metrics"),
        profiles: ALWAYS,
        within: WITHIN,
        max_bytes: 64 << 20,
        rule: ClusterRule::Url("/metrics"),
    },
    ClusterStep {
        id: "cluster/nodes",
        file: "cluster/nodes.jsonl",
        about: "the run's nodes as the API server has them, one a line: conditions, taints, versions",
        ask: ClusterAsk::Nodes,
        profiles: ALWAYS,
        within: WITHIN,
        max_bytes: 256 << 20,
        rule: ClusterRule::Resource { group: "", resource: "nodes", verbs: &["get", "list"] },
    },
    ClusterStep {
        id: "cluster/leases",
        file: "cluster/leases.jsonl",
        about: "when each of the run's nodes last reported (leases of kube-node-lease), one a line",
        ask: ClusterAsk::Leases,
        profiles: INCIDENT,
        within: WITHIN,
        max_bytes: 32 << 20,
        rule: ClusterRule::Resource { group: "coordination.k8s.io", resource: "leases", verbs: &["get", "list"] },
    },
    ClusterStep {
        id: "cluster/node-events",
        file: "cluster/node-events.jsonl",
        about: "events about nodes, one a line: NodeNotReady, evictions, restarts of kubelets",
        ask: ClusterAsk::Lists(&["/api/v1/events?fieldSelector=involvedObject.kind%3DNode"]),
        profiles: INCIDENT,
        within: WITHIN,
        max_bytes: 32 << 20,
        rule: ClusterRule::Resource { group: "", resource: "events", verbs: &["list"] },
    },
    ClusterStep {
        id: "cluster/image-events",
        file: "cluster/image-events.jsonl",
        about: "events of failed image pulls and back-offs, one a line",
        ask: ClusterAsk::Lists(&[
            "/api/v1/events?fieldSelector=reason%3DFailed",
            "/api/v1/events?fieldSelector=reason%3DBackOff",
            "/api/v1/events?fieldSelector=reason%3DErrImageNeverPull",
            "/api/v1/events?fieldSelector=reason%3DInspectFailed",
            "/api/v1/events?fieldSelector=reason%3DFailedToRetrieveImagePullSecret",
        ]),
        profiles: INCIDENT,
        within: WITHIN,
        max_bytes: 32 << 20,
        rule: ClusterRule::Resource { group: "", resource: "events", verbs: &["list"] },
    },
];

impl ClusterStep {
    /// Returns the path that is asked of each API server, if it is a step of that kind.
    #[must_use]
    pub const fn path(&self) -> Option<&'static str> {
        match self.ask {
            ClusterAsk::Each(path) => Some(path),
            _ => None,
        }
    }

    /// Returns id or file for the API server of this number, from 0.
    #[must_use]
    pub fn of_server(text: &str, server: usize) -> String {
        match (server, text.split_once('/')) {
            (1.., Some((area, rest))) => format!("{area}/api-{}/{rest}", server + 1),
            _ => text.to_owned(),
        }
    }
}

impl Selection {
    /// Returns the chosen steps of the cluster's evidence, in order.
    #[must_use]
    pub fn cluster_steps(&self) -> Vec<&'static ClusterStep> {
        let named = |patterns: &[StepPattern], step: &ClusterStep| patterns.iter().any(|p| p.matches(step.id));
        CLUSTER_STEPS
            .iter()
            .filter(|step| {
                let wanted = if self.include.is_empty() {
                    step.profiles.contains(&self.profile)
                } else {
                    named(&self.include, step)
                };
                wanted && !named(&self.exclude, step)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Catalog, StepId};

    #[test]
    fn the_table_is_sound_and_collides_with_nothing() {
        let catalog = Catalog::builtin();
        for step in CLUSTER_STEPS {
            for server in [0, 1, 9] {
                let id: StepId = ClusterStep::of_server(step.id, server).parse().unwrap();
                assert_eq!(id.area(), "cluster");
            }
            assert!(step.file.starts_with(step.id), "{}", step.file);
            assert!(!catalog.steps().iter().any(|s| s.id.area() == "cluster"));
        }
        assert_eq!(ClusterStep::of_server("cluster/metrics.txt", 1), "cluster/api-2/metrics.txt");
        assert_eq!(ClusterStep::of_server("cluster/metrics", 0), "cluster/metrics");
    }

    #[test]
    fn profile_include_and_exclude_choose() {
        let ids = |profile, include: &[&str], exclude: &[&str]| -> Vec<&str> {
            let patterns = |p: &[&str]| p.iter().map(|s| s.parse().unwrap()).collect();
            let selection =
                Selection { profile, include: patterns(include), exclude: patterns(exclude), ..Selection::default() };
            selection.resolve(&Catalog::builtin()).unwrap();
            selection.cluster_steps().iter().map(|s| s.id).collect()
        };
        assert_eq!(ids(Profile::Incident, &[], &[]).len(), CLUSTER_STEPS.len());
        assert_eq!(
            ids(Profile::Snapshot, &[], &[]),
            ["cluster/version", "cluster/readyz", "cluster/metrics", "cluster/nodes"]
        );
        assert_eq!(ids(Profile::Snapshot, &["cluster/livez"], &[]), ["cluster/livez"]);
        assert_eq!(ids(Profile::Incident, &["cluster"], &["*-events"]).len(), CLUSTER_STEPS.len() - 2);
        assert!(ids(Profile::Incident, &["docker"], &[]).is_empty());
        assert!(ids(Profile::Incident, &[], &["cluster/*"]).is_empty());
    }

    #[test]
    fn requests_are_told_in_one_line() {
        let ask = |id: &str| CLUSTER_STEPS.iter().find(|s| s.id == id).unwrap().ask.to_string();
        assert_eq!(ask("cluster/readyz"), "GET /readyz?verbose");
        assert_eq!(ask("cluster/node-events"), "GET /api/v1/events with involvedObject.kind=Node");
        assert!(ask("cluster/image-events").starts_with("GET /api/v1/events with reason=Failed, reason=BackOff, "));
        assert!(CLUSTER_STEPS.iter().all(|step| !step.ask.to_string().contains(['|', '%'])));
    }

    #[test]
    fn rules_are_lines_of_a_role() {
        let rule = |id: &str| CLUSTER_STEPS.iter().find(|s| s.id == id).unwrap().rule.to_string();
        assert_eq!(rule("cluster/nodes"), "{apiGroups: [\"\"], resources: [nodes], verbs: [get, list]}");
        assert_eq!(rule("cluster/metrics"), "{nonResourceURLs: [/metrics], verbs: [get]}");
    }
}
