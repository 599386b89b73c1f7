//! Where one node's kubelet listens, and the names its certificate may hold: from the settings, the target and the kubelet's
//! own command line. Pure.

use super::KubeletAccess;
use crate::inventory::target::{Endpoint, Reach};
use crate::inventory::{NodeName, Target};
use crate::plan::facts::NodeFacts;
use crate::plan::kubelet::KubeletPort;
use crate::wording::safe;

/// Default of `--port`.
const API_PORT: u16 = 10250;
/// Default of `--healthz-port`.
const HEALTHZ_PORT: u16 = 10248;
const LOOPBACK: &str = "127.0.0.1";

/// Where a kubelet listens, as seen from its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Name of the node here.
    pub(super) node: NodeName,
    /// Name of the node in the cluster.
    pub(super) cluster_name: String,
    /// That node is this machine, without SSH.
    pub(super) here: bool,
    /// Where it serves its API.
    pub(super) api: Endpoint,
    /// Where it serves health checks; `None`: switched off.
    pub(super) healthz: Option<Endpoint>,
    /// Names its certificate may hold.
    pub(super) names: Vec<String>,
}

impl Place {
    /// Returns where the kubelet of `target` is to be found.
    pub(super) fn new(access: &KubeletAccess, target: &Target, facts: &NodeFacts) -> Self {
        let node = target.name.as_str();
        let filled = |text: &str| text.replace("{name}", node);
        let words = facts.kubelet.as_ref().map(|daemon| daemon.cmdline.as_slice()).unwrap_or_default();
        let number = |name: &str| flag(words, name).and_then(|value| value.parse::<u16>().ok());
        let host = filled(&access.address);
        let dialled = match &target.reach {
            Reach::Local => None,
            Reach::Ssh { hop, .. } => Some(hop.endpoint.host.clone()),
        };
        let mut names: Vec<String> = Vec::new();
        let candidates = access.server_names.iter().map(|name| filled(name)).chain([node.to_owned()]);
        for name in candidates.chain(dialled).chain([facts.hostname.clone(), host.clone()]) {
            if !name.is_empty() && !names.contains(&name) {
                names.push(name);
            }
        }
        let bound = flag(words, "--healthz-bind-address").filter(|address| !matches!(*address, "0.0.0.0" | "::" | ""));
        let healthz = Some(number("--healthz-port").unwrap_or(HEALTHZ_PORT)).filter(|port| *port != 0);
        Self {
            node: target.name.clone(),
            here: matches!(target.reach, Reach::Local),
            cluster_name: filled(&access.node_name),
            api: Endpoint { host, port: access.port.or_else(|| number("--port")).unwrap_or(API_PORT) },
            // The flag is a node's word: it goes into a URL.
            healthz: healthz
                .map(|port| Endpoint { host: bound.filter(|b| is_address(b)).unwrap_or(LOOPBACK).to_owned(), port }),
            names,
        }
    }

    /// Returns the endpoint of a port; `None`: switched off.
    pub(super) fn endpoint(&self, port: KubeletPort) -> Option<&Endpoint> {
        match port {
            KubeletPort::Api => Some(&self.api),
            KubeletPort::Healthz => self.healthz.as_ref(),
        }
    }

    /// Returns `https://127.0.0.1:10250`.
    pub(super) fn origin(&self, port: KubeletPort) -> String {
        let scheme = if port == KubeletPort::Api { "https" } else { "http" };
        self.endpoint(port).map_or_else(String::new, |endpoint| format!("{scheme}://{}", safe(&endpoint.to_string())))
    }
}

fn is_address(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_ok()
}

/// Returns the value of a flag, written `--name value` or `--name=value`; the last one counts, as in the kubelet.
fn flag<'a>(words: &'a [String], name: &str) -> Option<&'a str> {
    let mut found = None;
    for (at, word) in words.iter().enumerate() {
        if let Some(rest) = word.strip_prefix(name) {
            match rest.strip_prefix('=') {
                Some(value) => found = Some(value),
                None if rest.is_empty() => found = words.get(at + 1).map(String::as_str).or(found),
                None => {}
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::test_support::{facts_with, target};
    use super::*;

    #[test]
    fn ports_come_from_the_settings_then_the_command_line_then_the_defaults() {
        for (port, words, api, healthz) in [
            (None, &["kubelet"][..], 10250, Some("127.0.0.1:10248")),
            (None, &["kubelet", "--port=11250", "--healthz-port", "0"], 11250, None),
            (None, &["kubelet", "--port", "1", "--port=2", "--portX=3"], 2, Some("127.0.0.1:10248")),
            (Some(9), &["kubelet", "--port=2", "--healthz-bind-address=::1"], 9, Some("[::1]:10248")),
            (None, &["kubelet", "--port=70000", "--healthz-bind-address=0.0.0.0"], 10250, Some("127.0.0.1:10248")),
            (None, &["kubelet", "--healthz-bind-address=x/../y", "--healthz-port=1"], 10250, Some("127.0.0.1:1")),
        ] {
            let access = KubeletAccess { port, ..KubeletAccess::none() };
            let place = Place::new(&access, &target("worker-001", None), &facts_with(words));
            assert_eq!(place.api.port, api, "{words:?}");
            assert_eq!(place.healthz.map(|e| e.to_string()).as_deref(), healthz, "{words:?}");
        }
    }

    #[test]
    fn a_certificate_may_hold_any_name_the_node_is_known_by() {
        let access = KubeletAccess {
            server_names: vec!["{name}.example".to_owned(), "fixed".to_owned()],
            address: "{name}.internal".to_owned(),
            ..KubeletAccess::none()
        };
        let facts = NodeFacts { hostname: "host-1".to_owned(), ..NodeFacts::default() };
        let place = Place::new(&access, &target("worker-001", Some("10.0.0.7")), &facts);
        let want = ["worker-001.example", "fixed", "worker-001", "10.0.0.7", "host-1", "worker-001.internal"];
        assert_eq!(place.names, want);
        assert_eq!(place.origin(KubeletPort::Api), "https://worker-001.internal:10250");
    }
}
