//! Tests of the whole selection.

use std::io::Write;
use std::path::Path;

use super::super::placed::{FoundBy, Placed};
use super::super::settings::Origin;
use super::super::target::Reach;
use super::*;

fn request(dir: &Path, patterns: &[&str], inventory: &str) -> SelectionRequest {
    let path = dir.join("inventory.toml");
    std::fs::File::create(&path).unwrap().write_all(inventory.as_bytes()).unwrap();
    let empty = dir.join("ssh_config");
    std::fs::File::create(&empty).unwrap();
    SelectionRequest {
        patterns: patterns.iter().map(|p| (*p).to_owned()).collect(),
        inventory: Some(path),
        ssh_config: Some(empty),
        ..SelectionRequest::default()
    }
}

fn names(selected: &Selected) -> String {
    selected.targets.iter().map(|t| t.name.as_str()).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn selects_in_order_of_first_mention() {
    let dir = tempfile::tempdir().unwrap();
    let inventory = "[defaults]\nuser='root'\n[groups.w]\nnodes=['w[1-3]']\n[[node]]\nname='w[1-30]'\n";
    let selected = select(&request(dir.path(), &["w3,w1", "@w", "w[10-20]", "!w1?,w2"], inventory)).await.unwrap();
    assert_eq!(names(&selected), "w3 w1 w2 w20");
    assert_eq!(selected.provenance.len(), 4);
    assert_eq!(selected.provenance[&selected.targets[0].name].user, Origin::Defaults);
    assert_eq!(selected.targets[1].groups, ["w"]);
}

#[tokio::test]
async fn reads_standard_input() {
    let dir = tempfile::tempdir().unwrap();
    let mut asked = request(dir.path(), &["a", "-", "!c2"], "[defaults]\nssh-config=false\n");
    asked.stdin = Some("# suspects\nb  node/n1\r\n\n\tc[1-2] # both\nroot@d:22\n".to_owned());
    assert!(wants_stdin(&asked.patterns));
    assert!(!wants_stdin(&["a-b,c".to_owned()]));
    assert_eq!(names(&select(&asked).await.unwrap()), "a b n1 c1 d");
    for (text, part) in [("", "names no nodes"), ("# x\n", "names no nodes"), ("-\n", "itself"), ("a b/c", "'/'")] {
        asked.stdin = Some(text.to_owned());
        let error = select(&asked).await.unwrap_err();
        assert!(error.is_usage() && error.to_string().contains(part), "{text:?}: {error}");
    }
    asked.stdin = None;
    assert!(select(&asked).await.unwrap_err().is_usage());
}

#[tokio::test]
async fn tells_usage_from_setup() {
    let dir = tempfile::tempdir().unwrap();
    let inventory = "[limits]\nmax-nodes=50\n[[node]]\nname='w[1-9]'\n";
    for (patterns, usage, part) in [
        (&["w["][..], true, "never closed"),
        (&[], true, "no nodes are named"),
        (&[""], true, "is empty"),
        (&["w99"], true, "holds no node w99"),
        (&["x[1-51]"], true, "stands for 51 nodes, and 50 are allowed"),
        (&["w[1-999999999]"], true, "999,999,999"),
    ] {
        let error = select(&request(dir.path(), patterns, inventory)).await.unwrap_err();
        assert_eq!(error.is_usage(), usage, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    for bad in ["[defaults]\nusr='x'\n", "x ="] {
        assert!(!select(&request(dir.path(), &["w1"], bad)).await.unwrap_err().is_usage());
    }
    let mut missing = request(dir.path(), &["w1"], "");
    missing.inventory = Some(dir.path().join("nope.toml"));
    assert!(!select(&missing).await.unwrap_err().is_usage());
    let mut more = request(dir.path(), &["w[1-9]"], inventory);
    more.max_nodes = Some(9);
    assert_eq!(select(&more).await.unwrap().targets.len(), 9, "the flag counts before limits.max-nodes");
    more.max_nodes = Some(8);
    assert!(select(&more).await.is_err());
}

#[tokio::test]
async fn this_machine_without_ssh() {
    let dir = tempfile::tempdir().unwrap();
    let inventory = "[defaults]\nssh-config=false\nuser='u'\nsudo='never'\n[[node]]\nname='w1'\n";
    let mut asked = request(dir.path(), &["localhost,laptop,w1"], inventory);
    asked.local = true;
    let selected = select_on(&asked, Local::example()).await.unwrap();
    let local: Vec<bool> = selected.targets.iter().map(|t| t.reach == Reach::Local).collect();
    assert_eq!(local, [true, true, false]);
    assert_eq!(selected.targets[0].sudo, Sudo::Never);
    asked.patterns = vec!["w1".to_owned()];
    assert!(select_on(&asked, Local::example()).await.unwrap().warnings[0].contains("--local has no effect"));
    asked.local = false;
    asked.patterns = vec!["localhost".to_owned()];
    assert!(select_on(&asked, Local::example()).await.unwrap_err().to_string().contains("holds no node localhost"));
    asked.inventory = None;
    // Without --local it is a name like any other.
    asked.inventory = Some(request(dir.path(), &[], "[defaults]\nssh-config=false\n").inventory.unwrap());
    let selected = select_on(&asked, Local::example()).await.unwrap();
    assert!(matches!(selected.targets[0].reach, Reach::Ssh { .. }));
}

#[tokio::test]
async fn checks_flags() {
    let dir = tempfile::tempdir().unwrap();
    let base = request(dir.path(), &["w1"], "[defaults]\nssh-config=false\n");
    for (overrides, part) in [
        (Overrides { user: Some("a;b".into()), ..Overrides::default() }, "--user: the user \"a;b\""),
        (Overrides { jump: vec!["a,,b".into()], ..Overrides::default() }, "--jump: the jump \"\""),
    ] {
        let error = select(&SelectionRequest { overrides, ..base.clone() }).await.unwrap_err();
        assert!(error.is_usage() && error.to_string().contains(part), "{error}");
    }
}

/// The future must be usable from a multi-threaded runtime.
#[test]
fn selecting_is_send() {
    fn check<T: Send>(_: &T) {}
    let asked = SelectionRequest::default();
    check(&select(&asked));
}

fn placed(name: &str, address: Option<&str>, found_by: FoundBy) -> Placed {
    let seen = InCluster { node: name.to_owned(), ready: "False".to_owned(), reason: String::new(), found_by };
    Placed { name: name.parse().unwrap(), address: address.map(str::to_owned), seen }
}

fn from_cluster(chosen: &[&str]) -> FromCluster {
    FromCluster {
        all: vec![
            placed("w1", None, FoundBy::Name),
            placed("w2", None, FoundBy::Name),
            placed("new", Some("10.0.0.9"), FoundBy::Nothing),
        ],
        chosen: chosen.iter().map(|name| name.parse().unwrap()).collect(),
        by: "--not-ready".to_owned(),
    }
}

#[tokio::test]
async fn a_node_the_cluster_alone_knows_is_reached_at_its_internal_ip_with_the_defaults() {
    let dir = tempfile::tempdir().unwrap();
    let inventory = "[defaults]\nuser='ops'\n[[node]]\nname='w[1-3]'\n";
    let mut asked = request(dir.path(), &[], inventory);
    asked.cluster = Some(from_cluster(&["w2", "new"]));
    let selected = select(&asked).await.unwrap();
    assert_eq!(names(&selected), "w2 new");
    let new = &selected.targets[1];
    let Reach::Ssh { hop, .. } = &new.reach else { panic!() };
    assert_eq!((hop.user.as_str(), hop.endpoint.to_string()), ("ops", "10.0.0.9:22".to_owned()));
    assert_eq!(selected.provenance[&new.name].address, Origin::Cluster);
    assert_eq!(selected.in_cluster.len(), 2);
    // What ssh_config says of a name goes before the InternalIP.
    std::fs::File::create(dir.path().join("ssh_config"))
        .unwrap()
        .write_all(b"Host new\n  HostName 192.0.2.1\n")
        .unwrap();
    let selected = select(&asked).await.unwrap();
    let Reach::Ssh { hop, .. } = &selected.targets[1].reach else { panic!() };
    assert_eq!(hop.endpoint.host, "192.0.2.1");
}

#[tokio::test]
async fn patterns_and_the_cluster_mean_what_both_mean() {
    let dir = tempfile::tempdir().unwrap();
    let inventory = "[defaults]\nssh-config=false\nuser='ops'\n[[node]]\nname='w[1-3]'\n";
    for (patterns, chosen, want) in [
        (&["w*"][..], &["w2", "new"][..], "w2"),
        (&["new,w[1-2]"], &["w1", "new"], "new w1"),
        (&["!w1"], &["w1", "w2", "new"], "w2 new"),
        (&["w2"], &["w1"], "--not-ready means none of the nodes of --nodes"),
        (
            &["w[2-3]"],
            &["w1"],
            "means none of the nodes of --nodes, and the cluster does not know w3: name those without it",
        ),
        (&["w*"], &["w1"], "w1"),
        (&["other"], &["w1"], "with the nodes of the cluster, holds no node other"),
    ] {
        let mut asked = request(dir.path(), patterns, inventory);
        asked.cluster = Some(from_cluster(chosen));
        match select(&asked).await {
            Ok(selected) => {
                assert_eq!(names(&selected), want, "{patterns:?}");
                let strange =
                    selected.warnings.iter().any(|w| w == "left out, because the cluster does not know them: w3");
                assert_eq!(strange, [&["w*"][..], &["!w1"]].contains(&patterns), "{:?}", selected.warnings);
            }
            Err(error) => assert!(error.is_usage() && error.to_string().contains(want), "{patterns:?}: {error}"),
        }
    }
    let mut asked = request(dir.path(), &[], inventory);
    asked.cluster = Some(from_cluster(&["w1", "w2"]));
    asked.max_nodes = Some(1);
    assert!(select(&asked).await.is_err());
    let mut asked = request(dir.path(), &[], "[limits]\nmax-nodes=1\n[defaults]\nssh-config=false\nuser='ops'\n");
    asked.cluster = Some(from_cluster(&["w1", "w2"]));
    let error = select(&asked).await.unwrap_err().to_string();
    assert_eq!(error, "--not-ready means 2 nodes, and 1 are allowed: choose fewer, or raise --max-nodes");
}
