//! The printed role against what kubelets really asked: 18 requests, each with 12 tokens of one rule, of two versions.

use std::path::Path;

use super::*;
use crate::plan::{ChangePolicy, Profile};

fn selection(include: &[&str], verbosity: Option<u8>) -> Selection {
    Selection {
        profile: Profile::Incident,
        include: include.iter().map(|pattern| pattern.parse().unwrap()).collect(),
        changes: ChangePolicy { kubelet_verbosity: verbosity, ..ChangePolicy::default() },
        ..Selection::default()
    }
}

/// Method and path to the rules that opened it; `None` where the version does not serve the path.
type Matrix = Vec<(String, Option<BTreeSet<String>>)>;

fn matrix(set: &str) -> Matrix {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kubelet").join(set).join("rbac-matrix.tsv");
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let rules: Vec<&str> = lines.next().unwrap().split('\t').skip(1).collect();
    lines
        .map(|line| {
            let mut columns = line.split('\t');
            let request = columns.next().unwrap().split('?').next().unwrap().to_owned();
            let statuses: Vec<&str> = columns.collect();
            assert_eq!(statuses.len(), rules.len());
            let opened = rules.iter().zip(&statuses).filter(|(_, status)| **status == "200");
            let opened = opened.map(|(rule, _)| (*rule).to_owned()).collect();
            (request, (!statuses.contains(&"404")).then_some(opened))
        })
        .collect()
}

/// What opened a request: the row of its path, or for profiles that of another profile.
fn opened<'a>(matrix: &'a Matrix, request: &str) -> &'a Option<BTreeSet<String>> {
    let path = request.split('?').next().unwrap();
    let row = matrix.iter().find(|(known, _)| known == path);
    let row = row.or_else(|| {
        matrix.iter().find(|(known, _)| path.starts_with("GET /debug/pprof/") && known == "GET /debug/pprof/cmdline")
    });
    &row.unwrap_or_else(|| panic!("{request} was never measured")).1
}

fn requests(rights: &Rights) -> Vec<String> {
    let put = rights.verbosity.then(|| "PUT /debug/flags/v".to_owned());
    rights.paths.iter().map(|path| format!("GET {path}")).chain(put).collect()
}

#[test]
fn every_selected_endpoint_is_allowed_in_both_versions_and_no_rule_can_be_left_out() {
    let matrices = ["kubelet-1.36.2", "kubelet-1.21.1-dockershim"].map(matrix);
    let catalog = Catalog::builtin();
    let mut strange = Rights { verbosity: true, ..Rights::default() };
    strange
        .paths
        .extend(["/metrics/cadvisor", "/stats/summary", "/logs/", "/flagz", "/statusz", "/configz"].map(str::to_owned));
    for rights in [
        Rights::of(&selection(&[], None), &catalog),
        Rights::of(&selection(&[], Some(4)), &catalog),
        Rights::of(&selection(&["kubelet/metrics*"], None), &catalog),
        Rights::of(&selection(&["host/ps"], Some(4)), &catalog),
        Rights::of(&selection(&["host/ps"], None), &catalog),
        strange,
    ] {
        let rules: BTreeSet<String> =
            rights.kubelet_rules().iter().map(|rule| format!("{}:{}", rule.verb, rule.resource)).collect();
        let refused = |rules: &BTreeSet<String>| -> Vec<String> {
            let by = |matrix| {
                requests(&rights).into_iter().filter(move |request| {
                    opened(matrix, request).as_ref().is_some_and(|opened| opened.is_disjoint(rules))
                })
            };
            matrices.iter().flat_map(by).collect()
        };
        assert_eq!(refused(&rules), Vec::<String>::new(), "with {rules:?}");
        for rule in &rules {
            let fewer = rules.iter().filter(|other| *other != rule).cloned().collect();
            assert!(!refused(&fewer).is_empty(), "{rule} is not needed for {rights:?}");
        }
    }
    assert!(Rights::of(&selection(&["host/ps"], None), &catalog).is_empty());
}

#[test]
fn the_finer_subresources_are_those_that_open_the_path_in_1_36() {
    let matrix = matrix("kubelet-1.36.2");
    for path in ["/configz", "/healthz", "/pods", "/runningpods/"] {
        let opened = opened(&matrix, &format!("GET {path}")).clone().unwrap();
        assert!(opened.contains(&format!("get:{}", finer(path).unwrap())), "{path}: {opened:?}");
    }
}

#[test]
fn the_role_is_yaml_for_kubectl_with_what_to_do_as_comments() {
    let mut rights = Rights::of(&selection(&[], Some(4)), &Catalog::builtin());
    rights.cluster.extend([
        ClusterRule::Resource { group: "", resource: "nodes", verbs: &["get", "list"] },
        ClusterRule::Resource { group: "coordination.k8s.io", resource: "leases", verbs: &["get"] },
        ClusterRule::Url("/metrics"),
        ClusterRule::Url("/readyz"),
    ]);
    insta::assert_snapshot!(rights.cluster_role());
    let mut light = Rights::default();
    light.paths.insert("/healthz?verbose".to_owned());
    assert!(
        light.cluster_role().contains("# Then these flags need no nodes/proxy at all."),
        "{}",
        light.cluster_role()
    );
    light.paths = ["/metrics".to_owned()].into();
    assert!(!light.cluster_role().contains("nodes/proxy is a strong right"), "{}", light.cluster_role());
}
