//! Which nodes are chosen, and under which names.

use std::path::Path;

use super::*;

fn inventory(text: &str) -> Inventory {
    Inventory::of_text(Path::new("/inv/inventory.toml"), text).unwrap()
}

/// A node with `NAME IP READY [HOSTNAME]` and labels.
fn node(text: &str, labels: &[(&str, &str)]) -> ClusterNode {
    let words: Vec<&str> = text.split_whitespace().collect();
    ClusterNode {
        name: words[0].to_owned(),
        internal_ips: if words[1] == "-" { Vec::new() } else { vec![words[1].to_owned()] },
        hostnames: vec![words.get(3).unwrap_or(&words[0]).to_string()],
        labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        ready: words[2].to_owned(),
        reason: if words[2] == "True" { "KubeletReady" } else { "KubeletNotReady" }.to_owned(),
    }
}

fn fleet() -> Vec<ClusterNode> {
    vec![
        node("w1 10.0.0.1 True", &[("pool", "a")]),
        node("w2 10.0.0.2 False", &[("pool", "a"), ("zone", "1")]),
        node("w3 10.0.0.3 Unknown", &[("pool", "b")]),
        node("w4 10.0.0.4 True", &[("eks.amazonaws.com/nodegroup", "ng"), ("pool", "b")]),
        node("w5 10.0.0.5 True", &[("kubernetes.io/os", "linux"), ("team", "x")]),
    ]
}

fn names(choice: Choice) -> String {
    match choice {
        Choice::Nodes(from, _) => from.chosen.iter().map(NodeName::as_str).collect::<Vec<_>>().join(" "),
        Choice::AllReady(text) => text,
    }
}

fn wanted(not_ready: bool, selectors: &[&str], pool_of: Option<&str>) -> Wanted {
    let selectors = selectors.iter().map(|text| text.parse().unwrap()).collect();
    Wanted { not_ready, selectors, pool_of: pool_of.map(str::to_owned), pool_label: None }
}

#[test]
fn all_that_is_wanted_has_to_hold() {
    for (not_ready, selectors, pool_of, want) in [
        (true, &[][..], None, "w2 w3"),
        (true, &["pool=b"], None, "w3"),
        (false, &["pool=a"], None, "w1 w2"),
        (false, &["pool=a", "zone"], None, "w2"),
        (false, &["pool in (a,b),!zone"], None, "w1 w3 w4"),
        (false, &[], Some("w1"), "w1 w2"),
        (false, &[], Some("w4"), "w4"),
        (true, &[], Some("w1"), "w2"),
        (true, &["team=x"], None, "the 1 node of --selector team=x is Ready"),
    ] {
        let got = wanted(not_ready, selectors, pool_of).choose(&fleet(), None).unwrap();
        assert_eq!(names(got), want, "{not_ready} {selectors:?} {pool_of:?}");
    }
    let well: Vec<_> = fleet().into_iter().filter(|node| node.ready == "True").collect();
    let got = wanted(true, &[], None).choose(&well, None).unwrap();
    assert_eq!(got, Choice::AllReady("all 3 nodes of the cluster are Ready".to_owned()));
    let without = node("w9 10.0.0.9 -", &[]);
    let without = ClusterNode { ready: String::new(), ..without };
    assert_eq!(names(wanted(true, &[], None).choose(&[without], None).unwrap()), "w9", "no condition is not Ready");
}

#[test]
fn what_cannot_be_chosen_is_told_with_what_to_do() {
    let label = |label: &str| Wanted { pool_label: Some(label.to_owned()), ..wanted(false, &[], Some("w5")) };
    for (asked, nodes, text, hint) in [
        (
            wanted(false, &["pool=c"], None),
            fleet(),
            "none of the 5 nodes of the cluster matches --selector pool=c",
            "--show-labels",
        ),
        (
            wanted(false, &[], Some("w55")),
            fleet(),
            "--pool-of w55: the cluster has no such node: did you mean `w5`",
            "name it",
        ),
        (
            wanted(false, &[], Some("w5")),
            fleet(),
            "the pool of w5 is not known",
            "pool-label in [cluster] of the inventory to the label that names pools (it has team)",
        ),
        (label("gone"), fleet(), "it has no label gone ([cluster] pool-label)", "(it has team)"),
        (label("no label"), fleet(), "[cluster] pool-label: \"no label\" is no key", ""),
        (wanted(true, &[], None), Vec::new(), "knows no nodes", "the cluster that is meant"),
    ] {
        let error = asked.choose(&nodes, None).unwrap_err();
        assert!(error.text.contains(text), "{error:?}");
        assert!(error.hint.clone().unwrap_or_default().contains(hint), "{error:?}");
    }
    let by_team = Wanted { pool_label: Some("team".to_owned()), ..wanted(false, &[], Some("w5")) };
    assert_eq!(names(by_team.choose(&fleet(), None).unwrap()), "w5");
}

#[test]
fn nodes_are_found_by_name_then_hostname_then_address() {
    let inventory = inventory(
        "[[node]]\nname='w1'\naddress='10.9.9.9'\n[[node]]\nname='host-2'\n[[node]]\nname='third'\naddress='10.0.0.3'\n\
         [[node]]\nname='10.0.0.4'\n[[node]]\nname='six'\naddress='fd00:0::6'\n[[node]]\nname='by-dns'\naddress='w7.example'\n",
    );
    let nodes = [
        node("w0 10.9.9.9 False", &[]), // the address of w1, which another node is by its name
        node("w1 10.0.0.1 False", &[]),
        node("w2 10.0.0.2 False host-2", &[]),
        node("w3 10.0.0.3 False", &[]),
        node("w4 10.0.0.4 False", &[]),
        node("w5 10.0.0.5 False", &[]),
        node("w6 fd00::6 False", &[]),
        node("w7 10.0.0.7 False w7.example", &[]),
        node("w8 - False", &[]),
    ];
    let (placed, warnings) = place(&nodes, Some(&inventory));
    let got: Vec<_> = placed
        .iter()
        .map(|p| format!("{}={} {:?} {}", p.seen.node, p.name, p.seen.found_by, p.address.as_deref().unwrap_or("-")))
        .collect();
    assert_eq!(
        got,
        [
            "w0=w0 Nothing 10.9.9.9",
            "w1=w1 Name -",
            "w2=host-2 Hostname -",
            "w3=third InternalIp -",
            "w4=10.0.0.4 InternalIp -",
            "w5=w5 Nothing 10.0.0.5",
            "w6=six InternalIp -",
            "w7=by-dns InternalIp -",
            "w8=w8 Nothing -",
        ]
    );
    assert!(warnings.is_empty(), "{warnings:?}");
    let Choice::Nodes(from, warnings) = wanted(true, &[], None).choose(&nodes, Some(&inventory)).unwrap() else {
        panic!()
    };
    assert_eq!(from.chosen.len(), 9);
    assert_eq!(
        warnings,
        ["not in the inventory: w[0,5,8]; reached at the InternalIP the cluster gives, with [defaults]"]
    );
    let by_its_name_here = wanted(false, &[], Some("third")).choose(&nodes, Some(&inventory)).unwrap_err();
    assert!(by_its_name_here.text.starts_with("the pool of w3 is not known"), "{by_its_name_here}");
}

#[test]
fn a_name_the_inventory_uses_for_another_node_is_not_given_twice() {
    let inventory = inventory("[[node]]\nname='w2'\naddress='10.0.0.1'\n");
    let nodes = [node("w1 10.0.0.1 True", &[]), node("w2 10.0.0.2 True", &[])];
    let (placed, warnings) = place(&nodes, Some(&inventory));
    assert_eq!((placed[0].name.as_str(), placed[1].name.as_str()), ("w1", "w2"), "the name is the surer sign");
    assert!(warnings.is_empty());
    let bad = ClusterNode { name: "-x".to_owned(), ..node("x - True", &[]) };
    let (placed, warnings) = place(&[bad], None);
    assert!(placed.is_empty() && warnings[0].contains("left out"), "{warnings:?}");
}

#[test]
fn settings_without_nodes_are_no_reason_to_warn() {
    let inventory = inventory("[defaults]\nuser='ops'\n");
    let Choice::Nodes(_, warnings) = wanted(true, &[], None).choose(&fleet(), Some(&inventory)).unwrap() else {
        panic!()
    };
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn an_internal_ip_that_is_no_ip_address_is_never_dialled() {
    for evil in
        ["$(touch /tmp/x)", "-oProxyCommand=x", "a;b", "host.example", "10.0.0.1:22", "10.0.0.1\n", "\u{1b}[2J", ""]
    {
        let mut of = node("w1 - False", &[]);
        of.internal_ips = vec![evil.to_owned()];
        let (placed, warnings) = place(std::slice::from_ref(&of), None);
        assert_eq!(placed[0].address, None, "{evil:?}");
        assert!(warnings.len() == 1 && warnings[0].contains("is not dialled"), "{warnings:?}");
        assert!(!warnings[0].contains('\u{1b}'), "{warnings:?}");
        of.internal_ips.push("10.0.0.1".to_owned());
        assert_eq!(place(&[of], None).0[0].address.as_deref(), Some("10.0.0.1"), "{evil:?}");
    }
}
