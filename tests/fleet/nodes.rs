//! `plegcollect nodes` and `plan` on real nodes.

use std::process::Command;

use crate::support::{Fault, plegcollect, state};

fn call(args: &[&str]) -> (i32, String, String) {
    let mut call = plegcollect(args);
    let output = call.command.output().unwrap();
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
#[ignore = "needs the fleet"]
fn check_gets_in_and_runs_nothing() {
    let (code, out, err) = call(&["nodes", "--nodes", "worker-00[1-3]", "--check"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.starts_with("3 nodes: worker-00[1-3]"), "{out}");
    assert_eq!(out.matches("check     ok:").count(), 3, "{out}");

    let _silent = Fault::new("worker-002", &["no-banner"]);
    let (code, out, err) = call(&["nodes", "--nodes", "worker-00[1-3]", "--check", "--connect-timeout", "5s"]);
    assert_eq!(code, 11, "{out}{err}");
    assert!(out.contains("no-banner"), "{out}");
}

#[test]
#[ignore = "needs the fleet"]
fn ssh_config_alone_is_enough() {
    let out = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_plegcollect"))
        .args(["nodes", "--check", "--nodes", "worker-00[1-3]", "-F"])
        .arg(state().join("ssh_config"))
        .current_dir(out.path())
        .env("HOME", out.path())
        .env_remove("PLEGCOLLECT_INVENTORY")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.matches("check     ok:").count(), 3, "{text}");
}

#[test]
#[ignore = "needs the fleet"]
fn the_plan_is_what_runs() {
    let (code, plan, err) = call(&["plan", "--nodes", "worker-001", "--json"]);
    assert_eq!(code, 0, "{plan}{err}");
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    let planned: Vec<&str> =
        plan[0]["plan"]["steps"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap()).collect();
    let run = plegcollect(&["--nodes", "worker-001", "--window", "1s"]).run();
    let manifest = run.manifest("worker-001");
    let mut ran: Vec<&str> = manifest["steps"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap()).collect();
    let mut wanted = planned.clone();
    ran.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(ran, wanted);
}

#[test]
#[ignore = "needs the fleet"]
fn the_sudoers_lines_are_enough_and_valid() {
    use crate::support::on_node;
    let (code, lines, err) = call(&["plan", "--sudoers", "--for-user", "nosudo", "--nodes", "worker-003"]);
    assert_eq!(code, 0, "{lines}{err}");
    let encoded: String = lines.bytes().map(|b| format!("\\{b:03o}")).collect();
    // In pieces: one argument of a command is limited to 128 KiB.
    on_node("worker-003", ": > /etc/sudoers.d/plegcollect-test; chmod 0440 /etc/sudoers.d/plegcollect-test");
    for piece in encoded.as_bytes().chunks(40_000 / 4 * 4) {
        let piece = std::str::from_utf8(piece).unwrap();
        on_node("worker-003", &format!("printf '{piece}' >> /etc/sudoers.d/plegcollect-test"));
    }
    let verdict = on_node("worker-003", "visudo -cf /etc/sudoers.d/plegcollect-test 2>&1; true");
    let run = plegcollect(&["--nodes", "worker-003", "--user", "nosudo", "--sudo", "passwordless"]).run();
    on_node("worker-003", "rm -f /etc/sudoers.d/plegcollect-test");
    assert!(verdict.contains("parsed OK"), "{verdict}\n{lines}");
    assert_eq!(run.code, 0, "{}", run.said());
}
