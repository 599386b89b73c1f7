//! Evidence from an API server, nodes chosen by it, and what an API server that does not answer costs. Uses
//! worker-001 to worker-003, and the machine for itself, for it compares durations.

use std::time::Duration;

use serde_json::Value;

use crate::evidence::{ca, token_file};
use crate::support::{Fault, Plegcollect, Run, fleet, plegcollect, verify};

const NODE: &str = "worker-001";

/// The API server stand-in, healthy at the beginning and at the end.
pub(crate) struct ApiServer {
    kubeconfig: tempfile::NamedTempFile,
}

impl ApiServer {
    pub(crate) fn up(user: &str) -> Self {
        fleet(&["apiserver", "up"]);
        let kubeconfig = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(kubeconfig.path(), fleet(&["apiserver", "kubeconfig", user])).unwrap();
        Self { kubeconfig }
    }

    pub(crate) fn path(&self) -> &str {
        self.kubeconfig.path().to_str().unwrap()
    }

    fn call(&self, args: &[&str]) -> Plegcollect {
        let mut all = vec!["--read-only", "--kubeconfig", self.path()];
        all.extend(args);
        plegcollect(&all)
    }

    fn collect(&self, args: &[&str]) -> Run {
        self.call(args).run()
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        fleet(&["apiserver", "down"]);
    }
}

fn text(run: &Run, path: &str) -> String {
    String::from_utf8(run.file("cluster", path)).unwrap()
}

#[test]
#[ignore = "needs the fleet"]
fn the_cluster_s_evidence_is_in_a_bundle_of_its_own() {
    let server = ApiServer::up("node-diagnostics");
    let run = server.collect(&["--nodes", "worker-00[1-3]"]);
    assert_eq!(run.code, 0, "{}", run.said());
    assert_eq!(verify(&run.dir).0, 0, "{}", run.said());
    let nodes = text(&run, "cluster/nodes.jsonl");
    assert!((1..=3).all(|n| nodes.contains(&format!("worker-00{n}"))) && !nodes.contains("worker-004"), "{nodes}");
    assert!(text(&run, "cluster/readyz.txt").contains("readyz check passed"));
    assert!(text(&run, "cluster/metrics.txt").contains("apiserver_request_terminations_total"));
    assert!(text(&run, "cluster/version.json").contains("gitVersion"));
    assert!(String::from_utf8_lossy(&run.output.stdout).contains("cluster: "), "{}", run.said());
}

#[test]
#[ignore = "needs the fleet"]
fn an_api_server_that_does_not_answer_costs_seconds_and_no_node_evidence() {
    let server = ApiServer::up("node-diagnostics");
    let args = ["--nodes", NODE];
    let healthy = server.collect(&args);
    assert_eq!(healthy.code, 0, "{}", healthy.said());
    for fault in ["refuse", "hang", "401", "403"] {
        fleet(&["apiserver", "fault", fault]);
        let run = server.collect(&args);
        fleet(&["apiserver", "heal"]);
        assert_eq!(run.code, 10, "{fault}: {}", run.said());
        assert_eq!(run.node(NODE)["result"], "complete", "{fault}: {}", run.said());
        assert!(run.took < healthy.took + Duration::from_secs(8), "{fault}: {:?} and {:?}", run.took, healthy.took);
        assert_eq!(verify(&run.dir).0, 0, "{fault}");
        let said = run.said();
        assert!(said.contains("cluster: "), "{fault}: {said}");
    }
}

#[test]
#[ignore = "needs the fleet"]
fn through_the_api_server_a_kubelet_gives_the_same_where_ssh_cannot() {
    let server = ApiServer::up("node-diagnostics");
    let (token, authority) = (token_file("node-diagnostics"), ca());
    let kubelet = ["--nodes", NODE, "--kubelet-token-file", &token, "--kubelet-ca", &authority, "--include", "kubelet"];
    let direct = server.collect(&kubelet);
    assert_eq!(direct.code, 0, "{}", direct.said());
    let mut proxied = kubelet.to_vec();
    proxied.extend(["--kubelet-via", "api-server"]);
    let proxied = server.collect(&proxied);
    assert_eq!(proxied.code, 0, "{}", proxied.said());
    assert_eq!(proxied.manifest(NODE)["kubelet"]["way"], "api-server");
    for path in ["kubelet/configz.json", "kubelet/goroutine-1.txt", "kubelet/metrics-1.txt"] {
        assert!(direct.file(NODE, path) == proxied.file(NODE, path), "{path}");
    }
}

#[test]
#[ignore = "needs the fleet"]
fn nodes_are_chosen_by_their_condition_their_labels_and_their_pool() {
    let server = ApiServer::up("node-diagnostics");
    fleet(&["apiserver", "node", "worker-004", "False"]);
    fleet(&["apiserver", "node", "worker-007", "Unknown"]);
    let named = |args: &[&str]| -> Vec<String> {
        let mut all = vec!["nodes", "--json", "--kubeconfig", server.path()];
        all.extend(args);
        let mut call = plegcollect(&all);
        let output = call.command.output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        let list = json.as_array().unwrap();
        list.iter().map(|node| node["target"]["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(named(&["--not-ready"]), ["worker-004", "worker-007"]);
    assert_eq!(named(&["--not-ready", "--nodes", "worker-00[1-5]"]), ["worker-004"]);
    assert_eq!(
        named(&["--selector", "pool=even"]),
        ["worker-002", "worker-004", "worker-006", "worker-008", "worker-010"]
    );
    assert_eq!(named(&["--pool-of", "worker-009"]).first().map(String::as_str), Some("worker-001"));

    fleet(&["apiserver", "fault", "hang"]);
    let refused = plegcollect(&["--not-ready", "--kubeconfig", server.path()]).run();
    fleet(&["apiserver", "heal"]);
    assert_eq!(refused.code, 3, "{}", refused.said());
    assert!(refused.said().contains("--nodes") && refused.took < Duration::from_secs(20), "{}", refused.said());
}

#[test]
#[ignore = "needs the fleet"]
fn the_credential_of_a_kubeconfig_is_good_for_kubelets_too() {
    let authority = ca();
    for user in ["node-diagnostics", "certificate", "exec"] {
        let server = ApiServer::up(user);
        let run = server.collect(&[
            "--nodes",
            NODE,
            "--kubelet-kubeconfig",
            "--kubelet-ca",
            &authority,
            "--include",
            "kubelet",
        ]);
        assert_eq!(run.code, 0, "{user}: {}", run.said());
        assert_eq!(run.step(NODE, "kubelet/goroutine-1")["outcome"], "complete", "{user}");
        let credential = run.manifest(NODE)["kubelet"]["credential"].as_str().unwrap().to_owned();
        assert!(credential.contains("kubeconfig"), "{credential}");
    }
    // A client certificate's key does not go to a node, whatever is forbidden there.
    let server = ApiServer::up("certificate");
    let _off = Fault::new(NODE, &["no-forwarding"]);
    let run =
        server.collect(&["--nodes", NODE, "--kubelet-kubeconfig", "--kubelet-ca", &authority, "--include", "kubelet"]);
    assert_eq!(run.manifest(NODE)["kubelet"]["way"], "api-server", "{}", run.said());
}
