//! Tests of asking `ssh -G`, mostly with programs that stand in for `ssh`.

use std::path::Path;
use std::time::Instant;

use super::*;

fn query(name: &str) -> Query {
    Query { name: name.into(), user: None, port: None, address: None, routed: false }
}

/// Makes a program that stands in for `ssh`. A shell writes it: were it written here, a test that forks at
/// that moment would hold it open for writing, and it could not be run ("text file busy").
fn stand_in(dir: &Path, script: &str) -> OsString {
    let path = dir.join("ssh");
    let status = std::process::Command::new("/bin/sh")
        .args(["-c", "printf '#!/bin/sh\\n%s\\n' \"$2\" > \"$1\" && chmod 755 \"$1\"", "sh"])
        .arg(&path)
        .arg(script)
        .status()
        .unwrap();
    assert!(status.success());
    path.into()
}

#[tokio::test]
async fn passes_on_what_is_known_and_asks_once() {
    let dir = tempfile::tempdir().unwrap();
    let program = stand_in(dir.path(), "echo \"$@\" >> \"$(dirname \"$0\")/log\"; echo hostname h1; echo user bob");
    let ssh = SshConfig::with_program(program, Some("/tmp/cfg".into()), Duration::from_secs(20));
    let asked = Query {
        name: "n1".into(),
        user: Some("u".into()),
        port: Some(7),
        address: Some("fe80::1%eth0".into()),
        routed: true,
    };
    let all = futures::future::join_all((0..50).map(|_| ssh.ask(&asked))).await;
    assert!(all.iter().all(|a| a.as_ref().unwrap().as_ref().unwrap().hostname.as_deref() == Some("h1")));
    ssh.ask(&query("n2")).await.unwrap().unwrap();
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
    assert_eq!(
        log,
        "-T -G -F /tmp/cfg -l u -p 7 -o HostName=fe80::1%%eth0 -o ProxyJump=none -- n1\n-T -G -F /tmp/cfg -- n2\n"
    );
    assert!(ssh.take_warnings().is_empty());
}

#[tokio::test]
async fn without_ssh_it_says_so_once() {
    let ssh = SshConfig::with_program("/nonexistent/ssh".into(), None, Duration::from_secs(20));
    for name in ["a", "b", "c"] {
        assert!(ssh.ask(&query(name)).await.unwrap().is_none());
    }
    assert_eq!(ssh.take_warnings().len(), 1);
    assert!(ssh.take_warnings().is_empty());
}

#[tokio::test]
async fn a_hanging_match_exec_is_cut_and_killed() {
    let dir = tempfile::tempdir().unwrap();
    let program = stand_in(dir.path(), "sleep 600 & echo $! > \"$(dirname \"$0\")/pid\"; wait");
    let ssh = SshConfig::with_program(program, None, Duration::from_millis(1500));
    let start = Instant::now();
    let all = futures::future::join_all((0..6).map(|n| {
        let (ssh, name) = (&ssh, format!("n{n}"));
        async move { ssh.ask(&query(&name)).await }
    }))
    .await;
    assert!(all.into_iter().all(|a| a.unwrap().is_none()));
    assert!(start.elapsed() < Duration::from_secs(30));
    let warnings = ssh.take_warnings();
    assert_eq!(warnings.len(), 3, "the first three only: {warnings:?}");
    assert!(warnings[0].contains("gave no answer in 1 s"), "{warnings:?}");
    let pid = std::fs::read_to_string(dir.path().join("pid")).unwrap();
    // Gone, or about to be reaped by init.
    for _ in 0..500 {
        let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        if state.is_empty() || state.contains(") Z ") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the process started by ssh is still there");
}

#[tokio::test]
async fn a_process_left_behind_does_not_delay_the_answer() {
    let dir = tempfile::tempdir().unwrap();
    // It keeps standard error open, as what a Match exec puts into the background does.
    let program = stand_in(dir.path(), "sleep 30 >/dev/null & echo hostname h1");
    let ssh = SshConfig::with_program(program, None, Duration::from_secs(60));
    let start = Instant::now();
    assert!(ssh.ask(&query("n1")).await.unwrap().is_some());
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_refused_configuration_is_one_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let program =
        stand_in(dir.path(), "echo '/x/config: line 3: Bad configuration option: foo' >&2; echo more >&2; exit 255");
    let ssh = SshConfig::with_program(program, None, Duration::from_secs(20));
    let error = ssh.ask(&query("n1")).await.unwrap_err();
    assert!(!error.is_usage());
    let text = error.to_string();
    assert!(text.contains("for n1: /x/config: line 3: Bad configuration option: foo (mend it"), "{text}");
}

#[tokio::test]
async fn endless_output_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let program = stand_in(dir.path(), "echo hostname h1; exec yes 'identityfile /k'");
    let ssh = SshConfig::with_program(program, None, Duration::from_secs(2));
    // Cut at a megabyte; closing the pipe ends it, so this is a refusal or a time-out, but never a full memory.
    let _ = ssh.ask(&query("n1")).await;
}
