//! The rights a selection needs at kubelets and API servers, and the ClusterRole that grants them and nothing else. Pure;
//! asks nobody. Printed by `plegcollect plan --rbac`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::catalog::Catalog;
use super::changes::ChangeId;
use super::cluster::ClusterRule;
use super::kubelet::{RbacRule, SET_VERBOSITY, finer, rule};
use super::schema::How;
use super::selection::Selection;

/// Name of role, service account and binding in what is printed.
const NAME: &str = "plegcollect";
/// Where the kubelet tells the verbosity it was started with, which is put back.
const PRIOR_LEVEL: &str = "/configz";

/// What is selected, as far as rights go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// Paths that kubelets are asked for.
    pub paths: BTreeSet<String>,
    /// The kubelet's verbosity is raised and put back.
    pub verbosity: bool,
    /// What API servers are asked for.
    pub cluster: BTreeSet<ClusterRule>,
}

impl Rights {
    /// Returns what the selected steps and changes ask of kubelets; whether there is a credential is no matter here.
    #[must_use]
    pub fn of(selection: &Selection, catalog: &Catalog) -> Self {
        let mut rights = Self::default();
        for step in selection.chosen(catalog) {
            for way in &step.ways {
                if let How::Kubelet(path) = &way.how {
                    rights.paths.insert(path.source());
                }
            }
        }
        rights.verbosity = selection.changes.forbids(ChangeId::KubeletVerbosity).is_none();
        if rights.verbosity {
            rights.paths.insert(PRIOR_LEVEL.to_owned());
        }
        rights
    }

    /// Returns whether nobody is asked for anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty() && !self.verbosity && self.cluster.is_empty()
    }

    /// Returns the rules kubelets ask about, in the coarse form that every version understands.
    #[must_use]
    pub fn kubelet_rules(&self) -> BTreeSet<RbacRule> {
        let reading = self.paths.iter().filter_map(|path| rule(path));
        reading.chain(self.verbosity.then_some(SET_VERBOSITY)).collect()
    }

    /// Returns the ClusterRole as YAML, with what to do before and after it as comments.
    #[must_use]
    pub fn cluster_role(&self) -> String {
        let mut text = format!(
            "# The rights these flags need, and no more.\n\
             apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  name: {NAME}\nrules:\n"
        );
        for (verbs, (group, resources)) in self.resources() {
            writeln!(text, "- apiGroups: [\"{group}\"]\n  resources: [{resources}]\n  verbs: [{verbs}]").ok();
        }
        let urls: Vec<&str> = self
            .cluster
            .iter()
            .filter_map(|rule| match rule {
                ClusterRule::Url(path) => Some(*path),
                ClusterRule::Resource { .. } => None,
            })
            .collect();
        if !urls.is_empty() {
            writeln!(text, "- nonResourceURLs: [{}]\n  verbs: [get]", urls.join(", ")).ok();
        }
        self.comments(&mut text);
        text
    }

    /// Resources of the same group and verbs on one line; by verbs, then group and resources.
    fn resources(&self) -> Vec<(String, (&'static str, String))> {
        let mut verbs_of: BTreeMap<(&'static str, &'static str), BTreeSet<&'static str>> = BTreeMap::new();
        for rule in self.kubelet_rules() {
            verbs_of.entry(("", rule.resource)).or_default().insert(rule.verb);
        }
        for rule in &self.cluster {
            if let ClusterRule::Resource { group, resource, verbs } = rule {
                verbs_of.entry((group, resource)).or_default().extend(verbs.iter().copied());
            }
        }
        let mut lines: BTreeMap<(String, &'static str), Vec<&'static str>> = BTreeMap::new();
        for ((group, resource), verbs) in verbs_of {
            let verbs = verbs.into_iter().collect::<Vec<_>>().join(", ");
            lines.entry((verbs, group)).or_default().push(resource);
        }
        lines.into_iter().map(|((verbs, group), resources)| (verbs, (group, resources.join(", ")))).collect()
    }

    fn comments(&self, text: &mut String) {
        let proxy = self.kubelet_rules().iter().any(|rule| rule.resource == "nodes/proxy");
        writeln!(
            text,
            "\n# Who has these rights, for the time of the collection:\n\
             #   plegcollect plan --rbac (with the same flags) | kubectl apply -f -\n\
             #   kubectl -n kube-system create serviceaccount {NAME}\n\
             #   kubectl create clusterrolebinding {NAME} --clusterrole={NAME} --serviceaccount=kube-system:{NAME}\n\
             #   (umask 077; kubectl -n kube-system create token {NAME} --duration=1h >token)\n\
             # and afterwards:\n\
             #   kubectl delete clusterrolebinding {NAME} && rm token"
        )
        .ok();
        if proxy {
            writeln!(
                text,
                "#\n# get on nodes/proxy is a strong right: it opens the logs of every container of a node, and lets one run\n\
                 # commands in them (the kubelet serves /exec and /attach on GET as well). Bind it for the collection only."
            )
            .ok();
            self.since_1_33(text);
        }
        if !self.paths.is_empty() {
            writeln!(
                text,
                "#\n# Where kubelets are asked through the API server (the last way), it wants get on nodes/proxy for every path."
            )
            .ok();
        }
    }

    /// What the finer subresources spare.
    fn since_1_33(&self, text: &mut String) {
        let of_proxy = |path: &&String| rule(path).is_some_and(|rule| rule.resource == "nodes/proxy");
        let (spared, kept): (Vec<&String>, Vec<&String>) =
            self.paths.iter().filter(of_proxy).partition(|path| finer(path).is_some());
        let plain = |paths: &[&String]| -> String {
            let paths: BTreeSet<&str> = paths.iter().filter_map(|path| path.split('?').next()).collect();
            paths.into_iter().collect::<Vec<_>>().join(", ")
        };
        let finer: BTreeSet<&str> = spared.iter().filter_map(|path| finer(path)).collect();
        if finer.is_empty() {
            return;
        }
        let finer = finer.into_iter().collect::<Vec<_>>().join(", ");
        let end = match (kept.is_empty(), self.verbosity) {
            (true, false) => "Then these flags need no nodes/proxy at all.".to_owned(),
            (true, true) => "Then get on nodes/proxy is not needed, update is.".to_owned(),
            (false, _) => format!("nodes/proxy is still needed for {}.", plain(&kept)),
        };
        writeln!(
            text,
            "#\n# From Kubernetes 1.33 on (KubeletFineGrainedAuthz) get on {finer}\n\
             # does instead of nodes/proxy for {}.\n# {end}",
            plain(&spared)
        )
        .ok();
    }
}

#[cfg(test)]
#[path = "rbac_tests.rs"]
mod tests;
