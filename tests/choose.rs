//! Choosing nodes by the cluster, as far as it goes without one: bad flags, no API server, and the role that is needed.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests, and functions only they call")]

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

fn call(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_plegcollect"))
        .args(args)
        .current_dir(dir)
        .env("HOME", dir)
        .env("XDG_CONFIG_HOME", dir.join("config"))
        .env_remove("KUBECONFIG")
        .env_remove("PLEGCOLLECT_INVENTORY")
        .env_remove("PLEGCOLLECT_OUT")
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A kubeconfig whose API server is at this address.
fn kubeconfig(dir: &Path, server: &str) {
    let config = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: here\nclusters: [{{name: c, cluster: {{server: '{server}'}}}}]\n\
         users: [{{name: u, user: {{}}}}]\ncontexts: [{{name: here, context: {{cluster: c, user: u}}}}]\n"
    );
    std::fs::write(dir.join("kubeconfig"), config).unwrap();
}

#[test]
fn every_command_that_contacts_nodes_takes_the_flags_and_refuses_bad_ones() {
    let dir = tempfile::tempdir().unwrap();
    for command in [&["collect"][..], &[], &["nodes"], &["plan"], &["revert"]] {
        for (flags, code, word) in [
            (&["--selector", "a=b c"][..], 2, "no value of a label"),
            (&["--selector", ""], 2, "a term is empty"),
            (&["--not-ready"], 3, "kubeconfig"),
            (&["--not-ready", "--kubeconfig", "nope"], 3, "nope"),
            (&["--pool-of", "w1", "--kubeconfig", "nope"], 3, "nodes cannot be chosen by the cluster"),
        ] {
            let output = call(dir.path(), &[command, flags].concat());
            let err = text(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{command:?} {flags:?}: {err}");
            assert!(err.contains(word) && err.matches("error: ").count() == 1, "{command:?} {flags:?}: {err}");
            assert!(output.stdout.is_empty());
        }
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "no run directory is made");
}

#[test]
fn an_api_server_that_does_not_answer_ends_the_choice_within_its_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let refusing = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap(); // closed at once
    for (server, at_most) in [(refusing, 3), (silent.local_addr().unwrap(), 12)] {
        kubeconfig(dir.path(), &format!("https://{server}"));
        let began = Instant::now();
        let output = call(dir.path(), &["--not-ready", "--kubeconfig", "kubeconfig"]);
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{err}");
        assert!(err.contains(&server.to_string()) && err.contains("hint: ") && err.contains("--nodes"), "{err}");
        assert!(began.elapsed() < Duration::from_secs(at_most), "{:?}", began.elapsed());
    }
}

#[test]
fn the_role_is_printed_without_nodes_and_without_asking_anybody() {
    let dir = tempfile::tempdir().unwrap();
    let output = call(dir.path(), &["plan", "--rbac"]);
    let role = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for part in ["kind: ClusterRole", "nodes/metrics", "nodes/proxy", "name a cluster with --kubeconfig"] {
        assert!(role.contains(part), "{part}: {role}");
    }
    assert!(!role.contains("update") && !role.contains("nonResourceURLs"), "{role}");
    let output =
        call(dir.path(), &["plan", "--rbac", "--include", "kubelet/metrics*", "--kubeconfig", "any", "--not-ready"]);
    let role = text(&output.stdout);
    assert!(role.contains("nodes/metrics") && role.contains("verbs: [list]"), "{role}");
    assert!(!role.contains("strong right"), "{role}");
    let output = call(dir.path(), &["plan", "--rbac", "--include", "host/ps"]);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), ""), "{}", text(&output.stderr));
    assert_eq!(call(dir.path(), &["plan", "--rbac", "--include", "zzz"]).status.code(), Some(2));
}
