//! What is read of the cluster's evidence, and what the rule on conditions says of it.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::analyze::finding::Severity;
use crate::analyze::rules::findings;
use crate::analyze::test_support::{fixture, laid_out};
use crate::analyze::view::Subject;

fn genuine() -> String {
    std::fs::read_to_string(fixture("kube-apiserver/nodes.json")).unwrap()
}

/// The genuine node as one line, some words of it replaced.
fn line(replaced: &[(&str, &str)]) -> String {
    let list: serde_json::Value = serde_json::from_str(&genuine()).unwrap();
    let text = list["items"][0].to_string();
    replaced.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    }) + "\n"
}

fn cluster_of(files: &[(&str, &str)]) -> (tempfile::TempDir, ClusterView) {
    let dir = tempfile::tempdir().unwrap();
    laid_out(dir.path(), files);
    let mut view = view(dir.path(), "cluster");
    view.subject = Subject::Cluster;
    let cluster = ClusterView::read(&view);
    (dir, cluster)
}

fn view(dir: &Path, name: &str) -> NodeView {
    NodeView::of_dir(name.parse().unwrap(), None, Vec::new(), dir.to_owned())
}

#[test]
fn a_genuine_node_is_read_from_a_line_and_from_what_kubectl_writes() {
    let pool = "\"cloud.google.com/gke-nodepool\":\"pool-1\",\"kubernetes.io/os\"";
    let lines = format!("not json\n{}", line(&[("\"kubernetes.io/os\"", pool)]));
    for (text, at) in [(lines.as_str(), 2), (&genuine(), 0)] {
        let (_dir, cluster) = cluster_of(&[(NODES, text)]);
        let node = &cluster.nodes[0];
        assert_eq!((cluster.nodes.len(), node.name.as_str(), node.line), (1, "vm", at));
        let ready = node.ready().unwrap();
        assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("True", "KubeletReady"));
        assert_eq!(ready.since, Some("2026-11-20T21:07:29Z".parse().unwrap()));
        assert_eq!(node.addresses, ["192.0.2.2", "vm"]);
        assert_eq!((node.kubelet.as_str(), node.runtime.as_str()), ("v1.36.2", "containerd://1.6.20"));
        assert_eq!(node.taints, ["node.kubernetes.io/not-ready:NoSchedule"]);
        let pool = node.pool.as_ref().map(|(label, value)| format!("{label}={value}"));
        assert_eq!(pool.as_deref(), (at > 0).then_some("cloud.google.com/gke-nodepool=pool-1"));
    }
}

#[test]
fn a_node_is_found_by_name_address_own_name_and_boot() {
    let other = line(&[
        ("\"name\":\"vm\"", "\"name\":\"n2\""),
        ("192.0.2.2", "192.0.2.3"),
        ("\"address\":\"vm\"", "\"address\":\"n2.example\""),
    ]);
    let (_dir, cluster) = cluster_of(&[(NODES, &format!("{}{other}", line(&[])))]);
    let manifest: crate::bundle::Manifest =
        serde_json::from_str(&std::fs::read_to_string(fixture("analyze/healthy/manifest.json")).unwrap()).unwrap();
    let found = |name: &str, route: &str, hostname: &str, facts: &str| {
        let dir = tempfile::tempdir().unwrap();
        if !facts.is_empty() {
            laid_out(dir.path(), &[("node/facts.json", facts)]);
        }
        let mut manifest = manifest.clone();
        manifest.connection.route = vec![route.to_owned()];
        manifest.facts = Some(crate::bundle::manifest::FactsSummary {
            hostname: hostname.to_owned(),
            boot_id: "392223f1-7862-4b3c-8bd3-b206d0cc0eac".to_owned(),
            ..Default::default()
        });
        let view = NodeView::of_dir(name.parse().unwrap(), Some(manifest), Vec::new(), dir.path().to_owned());
        cluster.node_of(&view).map(|(node, by)| (node.name.clone(), by))
    };
    let hit = |name: &str, by| Some((name.to_owned(), by));
    assert_eq!(found("VM", "x:22", "x", ""), hit("vm", FoundBy::Name));
    assert_eq!(found("n2.example", "x:22", "x", ""), hit("n2", FoundBy::Name));
    assert_eq!(found("w1", "root@192.0.2.3:22", "vm", ""), hit("n2", FoundBy::Address));
    assert_eq!(found("w1", "127.0.0.1:22", "vm", ""), hit("vm", FoundBy::OwnName));
    let facts = "{\"kubelet\":{\"cmdline\":[\"kubelet\",\"--hostname-override\",\"n2\"]},\"hostname\":\"vm\"}";
    assert_eq!(found("w1", "x:22", "vm", facts), hit("n2", FoundBy::OwnName));
    // Both have the same boot here, as containers of one machine: then it tells nothing.
    assert_eq!(found("w1", "x:22", "x", ""), None);
    let (_dir, one) = cluster_of(&[(NODES, &line(&[]))]);
    let mut view = view(Path::new("/nonexistent"), "w1");
    let mut with_boot = manifest.clone();
    with_boot.connection.route.clear();
    with_boot.facts.as_mut().unwrap().hostname = "x".to_owned();
    with_boot.facts.as_mut().unwrap().boot_id = "392223f1-7862-4b3c-8bd3-b206d0cc0eac".to_owned();
    view.manifest = Some(with_boot);
    assert_eq!(one.node_of(&view).unwrap().1, FoundBy::Boot);
    assert_eq!(host_of("[2001:db8::7]:22"), "2001:db8::7");
    assert_eq!(host_of("2001:db8::7"), "2001:db8::7");
}

/// What the rule says of a node whose cluster has these files; the node's own are those of the second list.
fn said(cluster: &[(&str, &str)], own: &[(&str, &str)]) -> Vec<(Severity, String, String)> {
    let (_dir, mut cluster) = cluster_of(cluster);
    cluster.asked = Some("2026-11-20T21:30:00Z".parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    laid_out(dir.path(), own);
    let mut view = view(dir.path(), "vm");
    view.cluster = Some(std::sync::Arc::new(cluster));
    let found = findings(&view);
    let own = found.into_iter().filter(|finding| finding.id.starts_with("conditions/"));
    own.map(|finding| (finding.severity, finding.id, finding.sentence)).collect()
}

#[track_caller]
fn expect(cluster: &[(&str, &str)], own: &[(&str, &str)], wanted: &[(Severity, &str, &[&str])]) {
    let said = said(cluster, own);
    let ids: Vec<(Severity, &str)> = said.iter().map(|(severity, id, _)| (*severity, id.as_str())).collect();
    assert_eq!(ids, wanted.iter().map(|(severity, id, _)| (*severity, *id)).collect::<Vec<_>>(), "{said:#?}");
    for ((_, _, sentence), (_, _, words)) in said.iter().zip(wanted) {
        for word in *words {
            assert!(sentence.contains(word), "{word} in {sentence}");
        }
    }
}

const STOPPED: &[(&str, &str)] = &[
    ("\"status\":\"True\"", "\"status\":\"Unknown\""),
    ("KubeletReady", "NodeStatusUnknown"),
    ("kubelet is posting ready status", "Kubelet stopped posting node status."),
];

#[test]
fn a_ready_node_gives_no_warning_and_one_that_is_not_is_told_with_its_reason() {
    use Severity::{Info, Warning};
    expect(&[(NODES, &line(&[]))], &[], &[(Info, "conditions/ready", &["Ready since Nov 20 21:07:29 UTC"])]);
    let pleg = "PLEG is not healthy: pleg was last seen active 3m5s ago; threshold is 3m0s";
    let sick = line(&[
        ("\"status\":\"True\"", "\"status\":\"False\""),
        ("KubeletReady", "KubeletNotReady"),
        ("kubelet is posting ready status", pleg),
    ]);
    let words = &["not Ready since Nov 20 21:07:29 UTC: KubeletNotReady: PLEG is not healthy: pleg was last seen"][..];
    expect(&[(NODES, &sick)], &[], &[(Warning, "conditions/not-ready", words)]);
    expect(&[(NODES, "")], &[], &[(Info, "conditions/missing", &["holds no node"])]);
    let other = line(&[("\"vm\"", "\"n2\"")]);
    expect(&[(NODES, &other)], &[], &[(Info, "conditions/missing", &["has no node of this name"])]);
    let full = line(&[("\"type\":\"DiskPressure\"", "\"type\":\"DiskPressure\",\"status\":\"True\",\"x\":\"y\"")]);
    // JSON keeps the last of two keys, so the first one is taken out.
    let full = full.replacen("\"status\":\"False\",\"type\":\"DiskPressure\",", "\"type\":\"DiskPressure\",", 1);
    expect(
        &[(NODES, &full)],
        &[],
        &[(Warning, "conditions/trouble", &["DiskPressure since"]), (Info, "conditions/ready", &[])],
    );
}

#[test]
fn a_kubelet_that_stopped_reporting_is_told_with_what_it_says_itself() {
    use Severity::Warning;
    let lost = line(STOPPED);
    let lease = |renewed: &str| {
        format!(
            "{{\"metadata\":{{\"name\":\"vm\"}},\"spec\":{{\"renewTime\":\"{renewed}\",\"leaseDurationSeconds\":40}}}}\n"
        )
    };
    let (old, fresh) = (lease("2026-11-20T21:20:00.123456Z"), lease("2026-11-20T21:29:51.123456Z"));
    let stale = (Warning, "conditions/lease", &["since Nov 20 21:20:00 UTC, 9m59s before", "holds for 40s"][..]);
    let words = &["stopped reporting to the API server: Unknown since", "last report at Nov 20 21:23:29 UTC"][..];
    expect(&[(NODES, &lost), (LEASES, &old)], &[], &[(Warning, "conditions/silent", words), stale]);
    expect(
        &[(NODES, &lost), (LEASES, &old)],
        &[("kubelet/healthz-10248.txt", "ok")],
        &[(Warning, "conditions/kubelet-well-but-silent", &["answers its own health check all the same"]), stale],
    );
    expect(&[(NODES, &lost), (LEASES, &fresh)], &[], &[(Warning, "conditions/silent", &["still renews its lease"])]);
    let ready = line(&[]);
    expect(
        &[(NODES, &ready), (LEASES, &old)],
        &[],
        &[(Warning, "conditions/lease", &["still called Ready"]), (Severity::Info, "conditions/ready", &[])],
    );
}

#[test]
fn objects_of_another_api_server_than_the_first_are_read_and_cited() {
    let (_dir, cluster) =
        cluster_of(&[("cluster/api-2/nodes.jsonl", &line(&[])), ("cluster/api-2/version.json", "{}")]);
    assert_eq!((cluster.nodes.len(), cluster.file(NODES)), (1, "cluster/api-2/nodes.jsonl"));
    assert_eq!(cluster.file(LEASES), LEASES);
    assert_eq!((cluster.gap(NODES), cluster.gap(LEASES).is_some()), (None, true));
}

fn event(about: &str, reason: &str, count: u32, first: &str) -> String {
    let event = serde_json::json!({"metadata": {"name": "x", "namespace": "default"}, "reason": reason, "message": "m",
        "involvedObject": {"kind": "Node", "name": about}, "type": "Normal", "count": count,
        "firstTimestamp": first, "lastTimestamp": "2026-11-20T21:28:00Z", "eventTime": null, "source": {"component": "node-controller"}});
    format!("{event}\n")
}

#[test]
fn flapping_is_told_from_events_of_the_node_alone() {
    let once = event("vm", "NodeNotReady", 1, "2026-11-20T21:00:00Z");
    let others = event("n2", "NodeNotReady", 7, "2026-11-20T21:00:00Z");
    let more = event("vm", "NodeNotReady", 3, "2026-11-20T20:40:00Z");
    let back = event("vm", "NodeReady", 4, "2026-11-20T21:00:00Z");
    let node = line(&[]);
    let ready = (Severity::Info, "conditions/ready", &[][..]);
    expect(&[(NODES, &node), (NODE_EVENTS, &format!("{others}{once}"))], &[], &[ready]);
    let words = &["NotReady 4 times from Nov 20 20:40:00 UTC to Nov 20 21:28:00 UTC", "Ready again 4 times"][..];
    expect(
        &[(NODES, &node), (NODE_EVENTS, &format!("{others}{once}{back}{more}"))],
        &[],
        &[(Severity::Warning, "conditions/flaps", words), ready],
    );
}

#[test]
fn missing_pull_secrets_and_failing_checks_are_the_cluster_s() {
    let pull = |namespace: &str, names: &str, count: u32| {
        let event = serde_json::json!({"metadata": {"namespace": namespace}, "count": count, "type": "Warning",
            "reason": "FailedToRetrieveImagePullSecret", "involvedObject": {"kind": "Pod", "name": "p", "namespace": namespace},
            "message": format!("Unable to retrieve some image pull secrets ({names}); attempting to pull the image may not succeed.")});
        format!("{event}\n")
    };
    let events = format!("{}{}{}", pull("shop", "regcred", 1200), pull("shop", "regcred, b", 1), pull("dev", "b", 2));
    let readyz = std::fs::read_to_string(fixture("kube-apiserver/livez-verbose.txt")).unwrap();
    let sick = readyz.replace("[+]etcd ok", "[-]etcd failed: reason withheld");
    let dir = tempfile::tempdir().unwrap();
    let files = [(IMAGE_EVENTS, events.as_str()), ("cluster/readyz.txt", &readyz), ("cluster/api-2/readyz.txt", &sick)];
    laid_out(dir.path(), &files);
    let mut view = view(dir.path(), "cluster");
    view.subject = Subject::Cluster;
    let found = findings(&view);
    let of = |id: &str| found.iter().find(|finding| finding.id == id).unwrap();
    assert!(of("secrets/missing-pull-secret").sentence.contains("shop/regcred (1200 ×)"));
    let unhealthy = of("apiserver/unhealthy");
    assert!(unhealthy.sentence.contains("1 of 35 checks fail: etcd"), "{unhealthy:?}");
    assert_eq!(unhealthy.evidence[0].to_string(), "cluster/api-2/readyz.txt:4");
    // None of it is a node's.
    view.subject = Subject::Node;
    assert!(
        findings(&view)
            .iter()
            .all(|finding| !finding.id.starts_with("apiserver/") && !finding.id.starts_with("throttling/"))
    );
}

#[test]
fn an_object_without_end_is_skipped_and_lists_are_bounded() {
    let long = format!("{{\"metadata\":{{\"name\":\"{}\"}}}}\n", "x".repeat(5 << 20));
    let (_dir, cluster) = cluster_of(&[(NODES, &format!("{long}{}", line(&[])))]);
    assert_eq!((cluster.nodes.len(), cluster.nodes[0].line), (1, 2));
    let many: String = (0..20_100).map(|n| format!("{{\"reason\":\"r{n}\"}}\n")).collect();
    let (_dir, cluster) = cluster_of(&[(NODE_EVENTS, &many)]);
    assert_eq!(cluster.node_events.len(), 20_000);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn any_bytes_do(bytes in proptest::collection::vec(any::<u8>(), 0..400), cut in 0_usize..4000) {
        let dir = tempfile::tempdir().unwrap();
        let genuine = line(&[]);
        let mut text = genuine.as_bytes()[..cut.min(genuine.len())].to_vec();
        text.extend(bytes);
        std::fs::create_dir_all(dir.path().join("cluster")).unwrap();
        for file in [NODES, LEASES, NODE_EVENTS, IMAGE_EVENTS, "cluster/readyz.txt"] {
            std::io::Write::write_all(&mut std::fs::File::create(dir.path().join(file)).unwrap(), &text).unwrap();
        }
        let mut view = view(dir.path(), "vm");
        let cluster = ClusterView::read(&view);
        view.cluster = Some(std::sync::Arc::new(cluster));
        let _ = findings(&view);
    }
}
