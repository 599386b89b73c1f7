//! The main purpose on real input: nine nodes, nine bundles, every row of the catalog accounted for.

use std::process::Command;

use crate::fingerprint::rested;
use crate::running::debug_window;
use crate::support::{on_node, plegcollect, verify};

#[test]
#[ignore = "needs the fleet"]
fn nine_nodes_give_nine_complete_bundles() {
    for n in 1..=9 {
        rested(&format!("worker-00{n}"));
    }
    let run = plegcollect(&["--nodes", "worker-00[1-9]", "--window", "1s"]).run();
    assert_eq!(run.code, 0, "{}", run.said());
    let (code, words) = verify(&run.dir);
    assert_eq!(code, 0, "{words}");
    let mut ids: Option<Vec<String>> = None;
    for n in 1..=9 {
        let name = format!("worker-00{n}");
        assert_eq!(run.node(&name)["result"], "complete", "{}", run.said());
        let listing = Command::new("tar").arg("--zstd").arg("-tf").arg(run.bundle(&name)).output().unwrap();
        assert!(listing.status.success(), "{}", String::from_utf8_lossy(&listing.stderr));
        let listing = String::from_utf8_lossy(&listing.stdout).into_owned();
        assert!(
            listing.starts_with("plegcollect.json\n") && listing.trim_end().ends_with("manifest.json"),
            "{listing}"
        );

        let manifest = run.manifest(&name);
        assert_eq!(debug_window(&manifest["changes"])["state"], "reverted", "{name}: {}", manifest["changes"]);
        let steps = manifest["steps"].as_array().unwrap();
        assert!(steps.len() > 40, "{name}: only {} steps", steps.len());
        for step in steps {
            match step["outcome"].as_str().unwrap() {
                "complete" => {
                    let file = step["files"][0]["path"].as_str().unwrap();
                    assert!(listing.lines().any(|l| l == file), "{name}: {file} is missing");
                }
                "absent" | "skipped" => {
                    assert!(step["detail"].as_str().is_some_and(|d| d.len() > 8), "{name}: no reason: {step}")
                }
                other => panic!("{name}: {other}: {step}"),
            }
        }
        let mut mine: Vec<String> = steps.iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect();
        mine.sort_unstable();
        if let Some(ids) = &ids {
            assert_eq!(*ids, mine, "{name} has other steps than its neighbours");
        }
        ids = Some(mine);
    }
    let ps = String::from_utf8_lossy(&run.file("worker-001", "host/ps.txt")).into_owned();
    assert!(ps.contains("dockerd") && ps.contains("containerd"), "{ps}");
    assert!(String::from_utf8_lossy(&run.file("worker-001", "docker/ps.txt")).contains("CONTAINER ID"));
}

#[test]
#[ignore = "needs the fleet"]
fn the_same_through_sudo_with_and_without_password() {
    for (user, extra) in [("ops", &["--sudo", "passwordless"][..]), ("opspw", &["--sudo", "password"][..])] {
        let secret = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut secret.as_file(), b"fleet-pass\n").unwrap();
        let path = secret.path().to_str().unwrap().to_owned();
        let mut args = vec!["--nodes", "worker-001", "--user", user, "--window", "1s"];
        args.extend(extra);
        if user == "opspw" {
            args.extend(["--sudo-password-file", &path]);
        }
        let run = plegcollect(&args).run();
        assert_eq!(run.code, 0, "{user}: {}", run.said());
        let stuck = run.step("worker-001", "host/stuck");
        assert_eq!(stuck["as-root"], true, "{stuck}");
        for file in std::fs::read_dir(&run.dir).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(!bytes.windows(10).any(|w| w == b"fleet-pass"), "the password is in a file of the run");
        }
    }
}

#[test]
#[ignore = "needs the fleet"]
fn any_login_shell_and_start_up_noise() {
    for user in ["u-fish", "u-tcsh", "u-zsh", "u-busybox", "u-noise"] {
        let run = plegcollect(&["--nodes", "worker-002", "--user", user, "--include", "host,docker/ps"]).run();
        assert_eq!(run.code, 0, "{user}: {}", run.said());
        let meminfo = run.file("worker-002", "host/meminfo.txt");
        assert!(meminfo.starts_with(b"MemTotal:"), "{user}: {}", String::from_utf8_lossy(&meminfo));
        assert_eq!(run.step("worker-002", "host/stuck")["as-root"], true, "{user}");
    }
}

#[test]
#[ignore = "needs the fleet"]
fn without_any_rights_it_says_so() {
    let run = plegcollect(&["--nodes", "worker-002", "--user", "nosudo", "--window", "1s"]).run();
    assert_eq!(run.code, 10, "{}", run.said());
    assert_eq!(run.step("worker-002", "host/stuck")["as-root"], false);
    assert_eq!(run.step("worker-002", "host/meminfo")["outcome"], "complete");
}

#[test]
#[ignore = "needs the fleet"]
fn a_wrong_sudo_password_is_tried_on_one_node_only() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut secret.as_file(), b"not-the-password\n").unwrap();
    let path = secret.path().to_str().unwrap().to_owned();
    let args =
        ["--nodes", "worker-00[1-3]", "--user", "opspw", "--sudo-password-file", &path, "--include", "host/stuck"];
    let before = refusals();
    let run = plegcollect(&args).run();
    assert_eq!(run.code, 10, "{}", run.said());
    assert_eq!(refusals() - before, 1, "{}", run.said());
    assert!(run.said().contains("was not tried here"), "{}", run.said());
}

/// Wrong passwords that sudo has told the journals of the first three nodes.
fn refusals() -> usize {
    let count = |n| {
        on_node(&format!("worker-00{n}"), "journalctl --no-pager -o cat -t sudo | grep -c 'incorrect password' || true")
    };
    (1..=3).map(|n| count(n).trim().parse::<usize>().unwrap()).sum()
}
