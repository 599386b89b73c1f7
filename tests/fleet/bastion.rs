//! Nodes that are reachable only through a bastion, and host keys that are wrong, revoked, hashed.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Fault, on_node, plegcollect, plegcollect_with, state};

const NODES: [&str; 9] = [
    "worker-001",
    "worker-002",
    "worker-003",
    "worker-004",
    "worker-005",
    "worker-006",
    "worker-007",
    "worker-008",
    "worker-009",
];

fn logins(journal: &str) -> usize {
    journal.lines().filter(|l| l.contains("Accepted publickey")).count()
}

fn bastion_log() -> String {
    on_node("bastion-001", "journalctl -u ssh --no-pager -o cat")
}

#[test]
#[ignore = "needs the fleet"]
fn nine_nodes_through_one_bastion_connection() {
    let _cut: Vec<Fault> = NODES.iter().map(|n| Fault::new(n, &["behind-bastion"])).collect();
    let before = logins(&bastion_log());
    let run =
        plegcollect_with(&state().join("inventory-bastion.toml"), &["--nodes", "worker-00[1-9]", "--read-only"]).run();
    let log = bastion_log();
    assert_eq!(run.code, 0, "{}", run.said());
    assert_eq!(logins(&log) - before, 1, "{log}");
    assert_eq!(run.manifest("worker-009")["connection"]["route"].as_array().unwrap().len(), 2);
}

/// An inventory like the fleet's with another known_hosts file.
fn with_known_hosts(dir: &Path, text: &str) -> PathBuf {
    let hosts = dir.join("known_hosts");
    std::fs::write(&hosts, text).unwrap();
    let original = state().join("known_hosts");
    let inventory = std::fs::read_to_string(state().join("inventory.toml")).unwrap();
    let changed = inventory.replace(original.to_str().unwrap(), hosts.to_str().unwrap());
    assert_ne!(inventory, changed, "the inventory does not name {}", original.display());
    let path = dir.join("inventory.toml");
    std::fs::write(&path, changed).unwrap();
    path
}

fn known_hosts() -> String {
    std::fs::read_to_string(state().join("known_hosts")).unwrap()
}

#[test]
#[ignore = "needs the fleet"]
fn host_keys_wrong_revoked_unknown_and_hashed() {
    let dir = tempfile::tempdir().unwrap();
    let known = known_hosts();
    let key_of = |address: &str| {
        let line = known
            .lines()
            .find(|l| l.split_whitespace().next().is_some_and(|names| names.split(',').any(|n| n == address)))
            .unwrap_or_else(|| panic!("{address} is not in known_hosts"));
        line.split_whitespace().skip(1).take(2).collect::<Vec<_>>().join(" ")
    };
    let check = |text: &str| {
        let inventory = with_known_hosts(dir.path(), text);
        let run = plegcollect_with(&inventory, &["--nodes", "worker-001", "--include", "host/meminfo"]).run();
        (
            run.code,
            run.node("worker-001")["failure"].as_str().unwrap_or("").to_owned(),
            run.node("worker-001")["reason"].to_string(),
        )
    };
    let first = inventory_address("worker-001");
    let second = inventory_address("worker-002");

    let (code, failure, reason) = check(&format!("{first} {}\n", key_of(&second)));
    assert_eq!((code, failure.as_str()), (12, "host-key-changed"), "{reason}");
    let (code, failure, reason) = check(&format!("@revoked * {}\n{known}", key_of(&first)));
    assert_eq!((code, failure.as_str()), (12, "host-key-revoked"), "{reason}");
    let (code, failure, reason) = check("");
    assert_eq!((code, failure.as_str()), (12, "host-key-unknown"), "{reason}");

    // Hashed by OpenSSH itself.
    std::fs::write(dir.path().join("plain"), &known).unwrap();
    let hashed = Command::new("ssh-keygen").args(["-H", "-f"]).arg(dir.path().join("plain")).output().unwrap();
    assert!(hashed.status.success(), "{}", String::from_utf8_lossy(&hashed.stderr));
    let text = std::fs::read_to_string(dir.path().join("plain")).unwrap();
    assert!(text.contains("|1|") && !text.contains(&first), "{text}");
    let (code, failure, reason) = check(&text);
    assert_eq!((code, failure.as_str()), (0, ""), "{reason}");
}

/// The address the fleet's inventory gives a node.
fn inventory_address(name: &str) -> String {
    let text = std::fs::read_to_string(state().join("inventory.toml")).unwrap();
    let inventory: toml::Table = text.parse().unwrap();
    inventory["node"]
        .as_array()
        .unwrap()
        .iter()
        .find(|n| n["name"].as_str() == Some(name))
        .and_then(|n| n["address"].as_str())
        .unwrap()
        .to_owned()
}

#[test]
#[ignore = "needs the fleet"]
fn accept_new_remembers_and_still_refuses_a_change() {
    let dir = tempfile::tempdir().unwrap();
    let inventory = with_known_hosts(dir.path(), "");
    let args = ["--nodes", "worker-00[1-3]", "--include", "host/meminfo", "--host-key", "accept-new"];
    let run = plegcollect_with(&inventory, &args).run();
    assert_eq!(run.code, 0, "{}", run.said());
    assert_eq!(run.manifest("worker-001")["connection"]["host-key-by"], "accepted-new");
    let again = plegcollect_with(&inventory, &["--nodes", "worker-00[1-3]", "--include", "host/meminfo"]).run();
    assert_eq!(again.code, 0, "{}", again.said());
    assert_eq!(again.manifest("worker-001")["connection"]["host-key-by"], "known-hosts");
}

#[test]
#[ignore = "needs the fleet"]
fn unreadable_and_refused_keys_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("other");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).output().unwrap();
    assert!(made.status.success());
    let refused = plegcollect(&["--nodes", "worker-001", "--identity", key.to_str().unwrap()]).run();
    assert_eq!(refused.code, 12, "{}", refused.said());
    assert_eq!(refused.node("worker-001")["failure"], "auth", "{}", refused.said());

    let junk = dir.path().join("junk");
    std::fs::write(&junk, "no key at all\n").unwrap();
    std::fs::set_permissions(&junk, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let unreadable = plegcollect(&["--nodes", "worker-001", "--identity", junk.to_str().unwrap()]).run();
    assert_eq!(unreadable.code, 3, "{}", unreadable.said());
    assert!(unreadable.said().contains("junk"), "{}", unreadable.said());
}
