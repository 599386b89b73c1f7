//! Sick nodes among healthy ones: the healthy are complete, the sick yield what they can and a
//! classified reason, and the run ends within its deadline.
use crate::support::{Fault, on_node, plegcollect, run_dir};
use std::process::Stdio;
use std::time::Duration;

#[test]
#[ignore = "needs the fleet"]
fn three_faulty_nodes_do_not_hold_up_the_others() {
    let _silent = Fault::new("worker-003", &["no-banner"]);
    let _frozen = Fault::new("worker-005", &["dockerd-frozen"]);
    let mut call = plegcollect(&[
        "--nodes",
        "worker-00[1-6]",
        "--read-only",
        "--node-deadline",
        "60s",
        "--connect-attempts",
        "2",
        "--events",
        "json",
    ]);
    // The link of worker-004 is cut while one of its steps runs.
    let child = call.command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut cut = None;
    let child = {
        use std::io::{BufRead, BufReader, Read};
        let mut child = child;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = String::new();
        let mut finished = 0;
        for line in lines.by_ref() {
            let line = line.unwrap();
            // Absent steps are over at once and prove nothing.
            let complete = line.contains("\"step-finished\"") && line.contains("\"outcome\":\"complete\"");
            if complete && line.contains("\"worker-004\"") {
                finished += 1;
                if finished == 5 && cut.is_none() {
                    cut = Some(Fault::new("worker-004", &["link-cut"]));
                }
            }
            seen.push_str(&line);
            seen.push('\n');
        }
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        let status = child.wait().unwrap();
        (status.code().unwrap_or(-1), seen, err)
    };
    drop(cut);
    let (code, events, err) = child;
    assert!(code == 11 || code == 10, "exit {code}\n{err}");
    assert!(events.contains("\"run-finished\""), "{err}");
    let dir = run_dir(call.out.path()).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&std::fs::read(dir.join("run.json")).unwrap()).unwrap();
    let node = |name: &str| record["nodes"].as_array().unwrap().iter().find(|n| n["node"] == name).unwrap().clone();
    for healthy in ["worker-001", "worker-002", "worker-006"] {
        assert_eq!(node(healthy)["result"], "complete", "{}", node(healthy));
    }
    assert_eq!(node("worker-003")["result"], "unreached");
    assert_eq!(node("worker-003")["failure"], "no-banner", "{}", node("worker-003"));
    assert_eq!(node("worker-004")["result"], "partial", "{}", node("worker-004"));
    assert!(node("worker-004")["steps"]["complete"].as_u64().unwrap() >= 5);
    assert!(
        ["link-lost", "connect-timeout", "unreachable", "deadline"]
            .contains(&node("worker-004")["failure"].as_str().unwrap()),
        "{}",
        node("worker-004")
    );
    assert_eq!(node("worker-005")["result"], "partial", "{}", node("worker-005"));
    assert!(node("worker-005")["steps"]["timed-out"].as_u64().unwrap() >= 1);
    for n in 1..=6 {
        let (verified, words) = crate::support::verify(&dir.join(format!("worker-00{n}.tar.zst")));
        assert_eq!(verified, 0, "{words}");
    }
}

#[test]
#[ignore = "needs the fleet"]
fn a_hung_docker_ps_comes_with_its_kernel_stacks() {
    let _frozen = Fault::new("worker-006", &["dockerd-frozen"]);
    let run = plegcollect(&["--nodes", "worker-006", "--include", "docker/ps"]).run();
    assert_eq!(run.code, 10, "{}", run.said());
    let step = run.step("worker-006", "docker/ps");
    assert_eq!(step["outcome"], "timed-out", "{step}");
    let hung = String::from_utf8_lossy(&run.file("worker-006", "docker/ps.hung.txt")).into_owned();
    assert!(hung.contains("docker"), "{hung}");
    assert!(hung.contains("wchan") && hung.contains("[<0>]"), "{hung}");
}

#[test]
#[ignore = "needs the fleet"]
fn one_session_at_a_time_and_no_forwarding_are_enough() {
    let _one = Fault::new("worker-007", &["sshd-max-sessions", "1"]);
    let run = plegcollect(&["--nodes", "worker-007", "--window", "1s"]).run();
    assert_eq!(run.code, 0, "{}", run.said());
}

#[test]
#[ignore = "needs the fleet"]
fn missing_tools_are_a_state() {
    for tool in ["timeout", "zstd", "iostat"] {
        let _gone = Fault::new("worker-008", &["no-tool", tool]);
        let run = plegcollect(&["--nodes", "worker-008", "--window", "1s"]).run();
        assert_eq!(run.code, 0, "without {tool}: {}", run.said());
    }
}

#[test]
#[ignore = "needs the fleet"]
fn a_full_root_disk_is_no_obstacle() {
    let _full = Fault::new("worker-008", &["disk-full"]);
    let run = plegcollect(&["--nodes", "worker-008", "--window", "1s"]).run();
    assert_eq!(run.code, 0, "{}", run.said());
    let df = String::from_utf8_lossy(&run.file("worker-008", "host/df.txt")).into_owned();
    assert!(df.contains("100%"), "{df}");
}

#[test]
#[ignore = "needs the fleet"]
fn a_slow_lossy_link_is_only_slow() {
    let _slow = Fault::new("worker-009", &["netem", "delay", "60ms", "loss", "1%"]);
    let run = plegcollect(&["--nodes", "worker-009", "--window", "1s"]).run();
    assert_eq!(run.code, 0, "{}", run.said());
}

#[test]
#[ignore = "needs the fleet"]
fn a_frozen_containerd_is_evidence() {
    let _frozen = Fault::new("worker-009", &["containerd-stopped"]);
    let run = plegcollect(&["--nodes", "worker-009", "--window", "1s"]).run();
    assert_eq!(run.code, 10, "{}", run.said());
    assert_eq!(run.step("worker-009", "docker/ps")["outcome"], "complete");
    assert_eq!(run.step("worker-009", "docker/info")["outcome"], "timed-out");
    assert!(run.took < Duration::from_secs(90), "{:?}", run.took);
}

#[test]
#[ignore = "needs the fleet"]
fn a_dockerd_that_does_not_run_is_said_and_not_started() {
    let _down = Fault::new("worker-009", &["dockerd-down"]);
    let run = plegcollect(&["--nodes", "worker-009", "--window", "1s"]).run();
    let step = run.step("worker-009", "docker/ps");
    assert_eq!(step["outcome"], "absent", "{step}");
    assert!(step["detail"].as_str().unwrap().contains("docker.service is inactive"), "{step}");
    assert!(run.said().contains("dockerd does not run: docker.service is inactive"), "{}", run.said());
    assert_eq!(run.step("worker-009", "docker/journal")["outcome"], "complete");
    // docker.socket would start it at the first call of the docker command.
    assert_eq!(on_node("worker-009", "systemctl is-active docker.service || true").trim(), "inactive");
}
