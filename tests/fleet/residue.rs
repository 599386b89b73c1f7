//! Nothing of ours stays on a node: no process after a time-out or a cut link, nothing on its disk.

use std::process::Stdio;
use std::time::Duration;

use crate::support::{Fault, on_node, plegcollect, plegcollect_with, state, wait_until};

/// What is new on the node since the mark: files anywhere, and directories where a program keeps its settings or scratch.
/// The two directories in which files come and go for a moment have another time afterwards, and nothing else.
fn disk(node: &str) -> String {
    on_node(
        node,
        "find / -xdev \\( -path /proc -o -path /sys -o -path /run/log -o -path /var/log -o -path /run/systemd -o -path /run/user \\) -prune -o -type f -newer /run/plegcollect-test-mark -print 2>/dev/null | sort; find /root /home /tmp /var/tmp /etc /var/lib/plegcollect ! -path /tmp ! -path /etc/docker -newer /run/plegcollect-test-mark -print 2>/dev/null | sort",
    )
}

/// Processes on the node that carry the mark, and anything below a user's sshd.
fn ours(node: &str, mark: &str) -> String {
    on_node(node, &format!("ps -eo pid,ppid,stat,args | grep -F '{mark}' | grep -v grep || true"))
}

fn with_slow_step(dir: &std::path::Path, script: &str, timeout: &str) -> std::path::PathBuf {
    let mut text = std::fs::read_to_string(state().join("inventory.toml")).unwrap();
    text.push_str(&format!(
        "\n[[step]]\nid = \"own/slow\"\nabout = \"test\"\ntimeout = \"{timeout}\"\ncompress = true\n[[step.try]]\nscript = '''{script}'''\n"
    ));
    let path = dir.join("inventory.toml");
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
#[ignore = "needs the fleet"]
fn no_process_is_left_after_a_time_out() {
    let dir = tempfile::tempdir().unwrap();
    // TERM is ignored, and children hold the output open.
    let inventory = with_slow_step(dir.path(), "trap '' TERM; sleep 987001 & sleep 987001 & wait; sleep 987001", "2s");
    let run = plegcollect_with(&inventory, &["--nodes", "worker-003", "--include", "own/slow"]).run();
    assert_eq!(run.code, 10, "{}", run.said());
    assert_eq!(run.step("worker-003", "own/slow")["outcome"], "timed-out");
    wait_until("our processes to be gone", Duration::from_secs(15), || ours("worker-003", "987001").is_empty());
}

#[test]
#[ignore = "needs the fleet"]
fn no_process_is_left_after_a_cut_link() {
    let dir = tempfile::tempdir().unwrap();
    let inventory = with_slow_step(dir.path(), "while :; do echo 987002; sleep 0.01; done & sleep 987002", "8s");
    let mut call = plegcollect_with(
        &inventory,
        &["--nodes", "worker-004", "--include", "own/slow", "--node-deadline", "20s", "--connect-attempts", "1"],
    );
    let mut child = call.command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("the step to run", Duration::from_secs(15), || !ours("worker-004", "987002").is_empty());
    let cut = Fault::new("worker-004", &["link-cut"]);
    // The node, left to itself, ends what we started: 8 s, grace, and a margin.
    wait_until("our processes to be gone while the link is down", Duration::from_secs(30), || {
        ours("worker-004", "987002").is_empty()
    });
    let status = child.wait().unwrap();
    drop(cut);
    assert!(matches!(status.code(), Some(10..=12)), "{status}");
}

#[test]
#[ignore = "needs the fleet"]
fn no_process_is_left_when_we_are_killed() {
    let dir = tempfile::tempdir().unwrap();
    let inventory = with_slow_step(dir.path(), "yes 987003 & sleep 987003", "8s");
    let mut call = plegcollect_with(&inventory, &["--nodes", "worker-005", "--include", "own/slow"]);
    let mut child = call.command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("the step to run", Duration::from_secs(15), || !ours("worker-005", "987003").is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("our processes to be gone", Duration::from_secs(30), || ours("worker-005", "987003").is_empty());
}

#[test]
#[ignore = "needs the fleet"]
fn nothing_is_left_on_the_disk() {
    on_node("worker-006", "touch /run/plegcollect-test-mark");
    let before = disk("worker-006");
    let run = plegcollect(&["--nodes", "worker-006", "--window", "1s"]).run();
    assert_eq!(run.code, 0, "{}", run.said());
    let after = disk("worker-006");
    on_node("worker-006", "rm /run/plegcollect-test-mark");
    let new: Vec<&str> = after.lines().filter(|l| !before.lines().any(|b| b == *l)).collect();
    assert!(new.is_empty(), "left on the disk: {new:?}");
}
