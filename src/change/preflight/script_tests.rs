//! The scripts, run on this machine in every shell there is.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::*;

const TEXT: &str = "{\n  \"bridge\": \"none\"\n}\n";

fn shells() -> Vec<Vec<&'static str>> {
    let all = [vec!["/bin/sh"], vec!["/bin/dash"], vec!["/bin/busybox", "sh"], vec!["/bin/bash", "--posix"]];
    all.into_iter().filter(|s| Path::new(s[0]).exists()).collect()
}

fn run(shell: &[&str], script: &Script, args: &[&str]) -> (i32, Vec<u8>, String) {
    let mut command = Command::new(shell[0]);
    command.args(&shell[1..]).arg("-c").arg(script.text).arg("sh").args(args).stdin(Stdio::null());
    let output = command.output().unwrap();
    (output.status.code().unwrap_or(-1), output.stdout, String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn the_script_ends_whatever_it_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("daemon.json");
    std::fs::File::create(&config).and_then(|mut f| std::io::Write::write_all(&mut f, TEXT.as_bytes())).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(dir.path().join("d.sock")).unwrap();
    let own = std::process::id().to_string();
    let socket = format!("unix={}", dir.path().join("d.sock").display());
    let link = dir.path().join("link.json");
    std::os::unix::fs::symlink(&config, &link).unwrap();
    for shell in shells() {
        for (pid, config) in [(own.as_str(), &config), ("4194305", &dir.path().join("none/x.json")), ("", &link)] {
            let clock = Instant::now();
            let args = [
                pid,
                "plegcollect-no-such.service",
                config.to_str().unwrap(),
                "1",
                "0",
                "\"debug\": true,",
                "fd",
                &socket,
                "plugin=az",
            ];
            let (status, out, err) = run(&shell, &PREFLIGHT, &args);
            let text = String::from_utf8_lossy(&out).into_owned();
            assert!(status == 0 && err.is_empty(), "{shell:?}: {status} {err}");
            assert!(clock.elapsed() < PREFLIGHT.timeout, "{shell:?}");
            let seen = Seen::read(&text).unwrap();
            assert!(seen.ended, "{shell:?}: {text}");
            let values: BTreeMap<_, _> =
                ["file.sha256", "file.target", "proc.start"].iter().map(|k| (*k, seen.get(k).is_some())).collect();
            if pid == own {
                assert!(values["file.sha256"] && values["proc.start"] && !values["file.target"], "{shell:?}: {text}");
                assert_eq!(seen.get("file.sha256"), Some(daemon_json::sha256(TEXT.as_bytes()).as_str()), "{shell:?}");
                assert_eq!(seen.get("socket"), Some(socket.trim_start_matches("unix=")), "{shell:?}: {text}");
                assert_eq!(seen.get("namespace"), Some("same"), "{shell:?}: {text}");
            } else {
                assert!(seen.get("socket").is_none() && seen.get("proc.start").is_none(), "{shell:?}: {text}");
            }
            assert_eq!(values["file.target"], config == &link, "{shell:?}: {text}");
        }
    }
}

#[test]
fn a_daemons_opinion_is_asked_for_through_a_pipe() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("daemon.json");
    std::fs::File::create(&config).and_then(|mut f| std::io::Write::write_all(&mut f, TEXT.as_bytes())).unwrap();
    let edit = DaemonJson::read(Some(TEXT.as_bytes())).unwrap().edit(true).unwrap();
    // It accepts the right bytes and nothing else.
    let program = dir.path().join("dockerd");
    let (at, delete) = (edit.at.to_string(), edit.delete.to_string());
    let fake = format!(
        "#!/bin/sh\ncase $1 in --help) echo '  --validate  Validate';; --validate) [ \"$(cat | sha256sum | cut -c1-64)\" = {} ];; esac\n",
        edit.sha256
    );
    std::fs::File::create(&program).and_then(|mut f| std::io::Write::write_all(&mut f, fake.as_bytes())).unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let part =
        PREFLIGHT.text.split_once("# The daemon's own opinion").unwrap().1.split_once("# The journal").unwrap().0;
    let text = format!(
        "say() {{ echo \"$1 $2\"; }}\nbounded() {{ shift; \"$@\"; }}\nexe=$1 config=$2 at=$3 delete=$4 insert=$5\n#{part}"
    );
    for shell in shells() {
        for (insert, want) in [(edit.insert.as_str(), "validate 0\n"), ("\"debug\": 1,", "validate 1\n")] {
            let mut command = Command::new(shell[0]);
            command.args(&shell[1..]).args(["-c", &text, "sh"]).arg(&program).arg(&config).args([&at, &delete, insert]);
            assert_eq!(String::from_utf8_lossy(&command.output().unwrap().stdout), want, "{shell:?}");
        }
    }
}

#[test]
fn the_configuration_files_bytes_come_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d.json");
    let bytes = b"{\"a\":\"\xff\0\r\n\"}\n\n";
    std::fs::File::create(&path).and_then(|mut f| std::io::Write::write_all(&mut f, bytes)).unwrap();
    std::os::unix::fs::symlink("nowhere", dir.path().join("dangling")).unwrap();
    for shell in shells() {
        let read = |name: &str, most: &str| run(&shell, &READ_CONFIG, &[dir.path().join(name).to_str().unwrap(), most]);
        assert_eq!(read("d.json", "262144"), (0, bytes.to_vec(), String::new()), "{shell:?}");
        for (name, most, want) in [("none", "9", 3), ("d.json", "3", 4), ("dangling", "9", 5), (".", "9", 5)] {
            assert_eq!(read(name, most).0, want, "{shell:?} {name}");
        }
    }
}
