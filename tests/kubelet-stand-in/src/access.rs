//! Which right each path needs, and what is answered without it: the measured tables of both kubelets
//! (`rbac-matrix.tsv` in each set; tests/access.rs asks all of it).

use std::io;

use crate::failed;

/// The authorization of one kubelet version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// 1.21.1: one subresource a path.
    Coarse,
    /// 1.36.2: finer subresources beside `proxy`, any one of them is enough.
    Fine,
}

impl Rules {
    /// Parses the `@rules` line of a set.
    pub fn parse(word: &str) -> io::Result<Self> {
        match word {
            "1.21" => Ok(Self::Coarse),
            "1.36" => Ok(Self::Fine),
            _ => Err(failed("@rules", format!("expected 1.21 or 1.36, got '{word}'"))),
        }
    }

    /// Returns the subresources of which one is needed; `None` for a path the kubelet does not serve: those are 404 for
    /// everybody, with a token or without.
    pub fn needed(self, path: &str) -> Option<&'static [&'static str]> {
        let under = |roots: &[&str]| {
            roots
                .iter()
                .any(|root| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
        };
        match path {
            "/metrics" | "/metrics/cadvisor" | "/metrics/probes" | "/metrics/resource" => return Some(&["metrics"]),
            "/metrics/slis" if self == Self::Fine => return Some(&["metrics"]),
            _ => {}
        }
        if under(&["/stats"]) {
            return Some(&["stats"]);
        }
        if under(&["/logs"]) {
            return Some(&["log"]);
        }
        let fine = self == Self::Fine;
        if under(&["/debug/pprof", "/containerLogs", "/run", "/exec", "/attach", "/portForward"])
            || path == "/debug/flags/v"
        {
            return Some(&["proxy"]);
        }
        if under(&["/healthz"]) {
            return Some(if fine { &["healthz", "proxy"] } else { &["proxy"] });
        }
        if under(&["/configz"]) {
            return Some(if fine { &["configz", "proxy"] } else { &["proxy"] });
        }
        if under(&["/pods", "/runningpods"]) {
            return Some(if fine { &["pods", "proxy"] } else { &["proxy"] });
        }
        match path {
            "/flagz" if fine => Some(&["configz"]),
            "/statusz" if fine => Some(&["statusz"]),
            _ if fine && under(&["/checkpoint"]) => Some(&["checkpoint"]),
            _ => None,
        }
    }

    /// Returns the body of a 403.
    pub fn forbidden(self, user: &str, verb: &str, needed: &[&str]) -> String {
        let newline = if self == Self::Fine { "\n" } else { "" };
        format!("Forbidden ({}){newline}", self.attributes(user, verb, needed))
    }

    /// Returns the body of a 500 where the API server could not be asked. Measured with 1.21.1; for 1.36.2 it takes the
    /// form of that version's 403.
    pub fn unanswered(self, user: &str, verb: &str, needed: &[&str]) -> String {
        let newline = if self == Self::Fine { "\n" } else { "" };
        format!("Authorization error ({}){newline}", self.attributes(user, verb, needed))
    }

    fn attributes(self, user: &str, verb: &str, needed: &[&str]) -> String {
        let subresources = match self {
            Self::Coarse => format!("subresource={}", needed.join(" ")),
            Self::Fine => format!("subresource(s)=[{}]", needed.join(" ")),
        };
        format!("user={user}, verb={verb}, resource=nodes, {subresources}")
    }
}

/// Returns the API verb of an HTTP method.
pub fn verb(method: &str) -> &'static str {
    match method {
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "get",
    }
}
