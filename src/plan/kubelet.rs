//! What is asked of a kubelet over HTTP, as data: the request of a step, and the RBAC rule an endpoint needs. Pure; no I/O.
//! Made by `build.rs` from the catalog, carried out by `kubelet/`, printed by `plan --rbac`.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::step::Bounds;

/// What a run asks of kubelets, as far as plans depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubeletSelection {
    /// There is a credential for kubelets.
    pub credential: bool,
    /// Length of the CPU profile, whole seconds; zero: none is taken.
    pub cpu_profile: Duration,
}

impl KubeletSelection {
    /// Length of the CPU profile unless something else is asked for.
    pub const CPU_PROFILE: Duration = Duration::from_secs(5);
}

impl Default for KubeletSelection {
    fn default() -> Self {
        Self { credential: false, cpu_profile: Self::CPU_PROFILE }
    }
}

/// Which of a kubelet's ports is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KubeletPort {
    /// The authenticated one, 10250 by default: TLS, a bearer token or a client certificate.
    Api,
    /// The one for health checks on loopback, 10248 by default: plain HTTP, nothing asked.
    Healthz,
}

/// One GET to a node's kubelet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct KubeletGet {
    /// Which port.
    pub port: KubeletPort,
    /// Path and query, beginning with `/`.
    pub path: String,
    /// Wall time for the whole answer, and the bytes kept of it.
    pub bounds: Bounds,
    /// Ask for the answer packed with gzip; kubelets heed it for /metrics alone.
    pub gzip: bool,
}

/// A rule of a ClusterRole: this verb on this subresource of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RbacRule {
    /// `get` or `update`; the kubelet derives it from the HTTP method.
    pub verb: &'static str,
    /// For example `nodes/metrics`.
    pub resource: &'static str,
}

impl fmt::Display for RbacRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)
    }
}

/// What `PUT /debug/flags/v` needs.
pub const SET_VERBOSITY: RbacRule = RbacRule { verb: "update", resource: "nodes/proxy" };

/// Returns the rule a GET of this path needs, in its coarse form, which every version understands; `None` for a path that
/// nobody may ask for: kubelets also run commands in containers on GET (`/exec`, `/attach`, `/run`, `/portForward`).
///
/// Measured with kubelets 1.21.1 and 1.36.2, 18 requests by 12 tokens of one rule each. From 1.33 on `nodes/configz`,
/// `nodes/healthz` and `nodes/pods` do instead of `nodes/proxy` for the paths of those names; `/flagz` and `/statusz`
/// have only rules of their own.
#[must_use]
pub fn rule(path: &str) -> Option<RbacRule> {
    let path = path.split('?').next().unwrap_or_default();
    if !path.starts_with('/') || path.contains("..") || path.contains("//") || path.contains(['%', '\\', '#']) {
        return None;
    }
    let below = |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let rules: [(&[&str], &'static str); 6] = [
        (&["/metrics"], "nodes/metrics"),
        (&["/stats"], "nodes/stats"),
        (&["/logs"], "nodes/log"),
        (&["/flagz"], "nodes/configz"),
        (&["/statusz"], "nodes/statusz"),
        (
            &["/debug/pprof", "/containerLogs", "/configz", "/healthz", "/pods", "/runningpods", "/checkpoint-list"],
            "nodes/proxy",
        ),
    ];
    let resource = rules.iter().find(|(roots, _)| roots.iter().any(|root| below(root)))?.1;
    Some(RbacRule { verb: "get", resource })
}

/// Returns the subresource that does instead of `nodes/proxy` from Kubernetes 1.33 on, where there is one.
#[must_use]
pub fn finer(path: &str) -> Option<&'static str> {
    match path.split('?').next().unwrap_or_default() {
        "/configz" => Some("nodes/configz"),
        "/healthz" => Some("nodes/healthz"),
        "/pods" | "/pods/" | "/runningpods/" => Some("nodes/pods"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_endpoint_has_the_rule_that_was_measured() {
        for (path, want) in [
            ("/metrics", Some("nodes/metrics")),
            ("/metrics/cadvisor", Some("nodes/metrics")),
            ("/stats/summary?only_cpu_and_memory=true", Some("nodes/stats")),
            ("/logs/", Some("nodes/log")),
            ("/debug/pprof/goroutine?debug=2", Some("nodes/proxy")),
            ("/configz", Some("nodes/proxy")),
            ("/flagz", Some("nodes/configz")),
            ("/statusz", Some("nodes/statusz")),
            ("/exec/default/web-0/app?command=ls", None),
            ("/run/default/web-0/app", None),
            ("/metricsX", None),
            ("/logs/../exec", None),
            ("/logs/%2e%2e/exec", None),
            ("//exec", None),
            ("metrics", None),
            ("/", None),
        ] {
            assert_eq!(rule(path).map(|r| r.resource), want, "{path}");
        }
    }
}
