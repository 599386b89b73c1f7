//! Who may do what: the whole measured matrix of both kubelets, and the bodies of every refusal.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "clippy exempts test functions, not what they share"
)]

#[allow(missing_docs, unreachable_pub, dead_code, reason = "shared by several test programs")]
mod common;

use std::fmt::Write;

use common::{ALL, Kubelet, ask_on, client, recordings};
use kubelet_stand_in::pki::Ca;
use kubelet_stand_in::user::sha256;

async fn check_matrix(set: &str) {
    let matrix = std::fs::read_to_string(recordings().join(set).join("rbac-matrix.tsv")).unwrap();
    let mut lines = matrix.lines();
    let rules: Vec<&str> = lines.next().unwrap().split('\t').skip(1).collect();
    let users = rules.iter().fold(String::new(), |mut users, rule| {
        writeln!(users, "sha256:{}\t{rule}\t{rule}", sha256(rule.as_bytes())).unwrap();
        users
    });
    let kubelet = Kubelet::start_with_users(&users, &[&format!("--set={set}")]).await;
    let mut stream = kubelet.connect(kubelet.tls()).await.unwrap();
    let mut checked = 0;
    for line in lines {
        let mut columns = line.split('\t');
        let (method, target) = columns.next().unwrap().split_once(' ').unwrap();
        for (rule, wanted) in rules.iter().zip(columns) {
            let body: &[u8] = if method == "PUT" { b"2" } else { b"" };
            let status = ask_on(&mut stream, method, target, rule, body, "").await.status;
            // 000: the stream was reset before curl saw the status, which was 403 by HTTP/1.1.
            let wanted = wanted.replace("000", "403");
            assert_eq!(status.to_string(), wanted, "{set}: {method} {target} with {rule}");
            checked += 1;
        }
    }
    assert_eq!(checked, 18 * 12);
}

#[tokio::test]
async fn every_right_opens_what_it_opened_in_1_36() {
    check_matrix("kubelet-1.36.2").await;
}

#[tokio::test]
async fn every_right_opens_what_it_opened_in_1_21() {
    check_matrix("kubelet-1.21.1-dockershim").await;
}

#[tokio::test]
async fn refusals_are_those_that_were_recorded() {
    let users = [("no-rights", ""), ("proxy-only", "get:nodes/proxy"), ("metrics-only", "get:nodes/metrics")];
    let users = users.map(|(name, rules)| format!("sha256:{}\t{name}\t{rules}\n", sha256(name.as_bytes()))).concat();
    for (set, method, target, token, file) in [
        ("kubelet-1.36.2", "GET", "/metrics", "", "auth/401-no-token.txt"),
        ("kubelet-1.36.2", "GET", "/metrics", "wrong", "auth/401-wrong-token.txt"),
        ("kubelet-1.36.2", "GET", "/metrics", "a.b.c", "auth/401-malformed-jwt.txt"),
        ("kubelet-1.36.2", "GET", "/healthz", "", "auth/401-healthz-no-token.txt"),
        ("kubelet-1.36.2", "GET", "/debug/pprof/goroutine?debug=1", "no-rights", "auth/403-pprof.txt"),
        ("kubelet-1.36.2", "GET", "/metrics", "no-rights", "auth/403-metrics.txt"),
        ("kubelet-1.36.2", "GET", "/stats/summary", "no-rights", "auth/403-stats.txt"),
        ("kubelet-1.36.2", "GET", "/logs/", "no-rights", "auth/403-logs.txt"),
        ("kubelet-1.36.2", "GET", "/configz", "no-rights", "auth/403-configz.txt"),
        ("kubelet-1.36.2", "GET", "/pods", "no-rights", "auth/403-pods.txt"),
        ("kubelet-1.36.2", "GET", "/healthz", "no-rights", "auth/403-healthz.txt"),
        ("kubelet-1.36.2", "GET", "/statusz", "no-rights", "auth/403-statusz.txt"),
        ("kubelet-1.36.2", "GET", "/flagz", "no-rights", "auth/403-flagz.txt"),
        ("kubelet-1.36.2", "PUT", "/debug/flags/v", "no-rights", "auth/403-put-debug-flags-v.txt"),
        ("kubelet-1.36.2", "PUT", "/debug/flags/v", "proxy-only", "auth/403-put-debug-flags-v-with-only-get-proxy.txt"),
        ("kubelet-1.36.2", "GET", "/debug/pprof/heap", "metrics-only", "auth/403-pprof-with-only-nodes-metrics.txt"),
        ("kubelet-1.36.2", "GET", "/metrics", "proxy-only", "auth/403-metrics-with-only-nodes-proxy.txt"),
        ("kubelet-1.36.2", "GET", "/stats/summary", "proxy-only", "auth/403-stats-with-only-nodes-proxy.txt"),
        ("kubelet-1.21.1-dockershim", "GET", "/metrics", "", "401-no-token.txt"),
        ("kubelet-1.21.1-dockershim", "GET", "/metrics", "wrong", "401-wrong.txt"),
        ("kubelet-1.21.1-dockershim", "GET", "/debug/pprof/goroutine?debug=1", "no-rights", "403-pprof.txt"),
        ("kubelet-1.21.1-dockershim", "GET", "/metrics", "no-rights", "403-metrics.txt"),
        ("kubelet-1.21.1-dockershim", "PUT", "/debug/flags/v", "no-rights", "403-put-flags-v.txt"),
    ] {
        let kubelet = Kubelet::start_with_users(&users, &[&format!("--set={set}")]).await;
        let reply = kubelet.ask(method, target, token, b"").await;
        let path = recordings().join(set).join(file);
        assert_eq!(reply.body, std::fs::read(&path).unwrap(), "{file}");
        let head = std::fs::read_to_string(format!("{}.headers", path.display())).unwrap();
        assert_eq!(head.split(' ').nth(1).unwrap().trim(), reply.status.to_string(), "{file}");
        if set == "kubelet-1.36.2" {
            let names: Vec<_> =
                head.lines().skip(1).filter_map(|line| line.split_once(": ")).map(|(name, _)| name).collect();
            assert_eq!(reply.headers.iter().map(|(name, _)| name).collect::<Vec<_>>(), names, "{file}");
        }
    }
}

#[tokio::test]
async fn client_certificates_count_when_the_ca_is_the_right_one() {
    let users = format!("certificate\tnode-diagnostics\t{ALL}\n");
    let kubelet = Kubelet::start_with_users(&users, &[]).await;
    let ask = async |identity: (String, String), token: &str| {
        let mut stream = kubelet.connect(client(&kubelet.ca.certificate, Some(identity))).await.unwrap();
        ask_on(&mut stream, "GET", "/configz", token, b"", "").await
    };
    assert_eq!(ask(kubelet.ca.client("node-diagnostics").unwrap(), "").await.status, 200);
    let unknown = ask(kubelet.ca.client("somebody").unwrap(), "").await;
    assert_eq!(unknown.status, 403);
    assert!(unknown.text().contains("user=somebody"), "{}", unknown.text());
    // As with a real kubelet the connection is made, and its requests are refused.
    assert_eq!(ask(Ca::new().unwrap().client("node-diagnostics").unwrap(), "").await.status, 401);
}

#[tokio::test]
async fn without_a_certificate_a_kubelet_makes_one_and_keeps_it() {
    let kept = tempfile::tempdir().unwrap();
    let flag = format!("--cert-dir={}", kept.path().display());
    let kubelet = Kubelet::start(&[&flag]).await;
    kubelet.faults("self-signed\n");
    assert!(kubelet.connect(kubelet.tls()).await.is_err(), "the CA is not the right one");
    let chain = std::fs::read_to_string(kept.path().join("kubelet.crt")).unwrap();
    let ca = format!("-----BEGIN CERTIFICATE{}", chain.rsplit("-----BEGIN CERTIFICATE").next().unwrap());
    assert!(kubelet.connect(client(&ca, None)).await.is_ok());
    let again = Kubelet::start(&[&flag]).await;
    again.faults("self-signed\n");
    assert!(again.connect(client(&ca, None)).await.is_ok());
    again.faults("");
    assert!(again.connect(again.tls()).await.is_ok());
}

#[tokio::test]
async fn the_request_log_tells_who_asked_and_has_no_token() {
    let kubelet = Kubelet::start_with_users(&format!("sha256:{}\tall\t{ALL}\n", sha256(b"very-secret")), &[]).await;
    kubelet.ask("GET", "/configz", "very-secret", b"").await;
    kubelet.ask("GET", "/pods", "other-secret", b"").await;
    let log = kubelet.requests();
    let lines: Vec<_> = log.lines().collect();
    assert!(
        lines[0].contains(r#""path":"/configz","user":"all","status":200,"file":"kubelet-1.36.2/configz.json","v":2"#),
        "{log}"
    );
    assert!(lines[1].contains(r#""path":"/pods","user":null,"status":401,"file":null,"v":2"#), "{log}");
    assert!(!log.contains("secret"), "{log}");
}
