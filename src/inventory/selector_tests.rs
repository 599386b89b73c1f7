//! Tests of the whole selection.

use std::io::Write;
use std::path::Path;

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
