//! curl on the node, which is this machine: what it sees, and what others see of it.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use secrecy::ExposeSecret as _;

use super::super::way::curl::{input, version};
use super::*;

fn by_curl(port: u16, trust: KubeletTrust) -> KubeletAccess {
    KubeletAccess { via: Via::Curl, trust, ..access(port) }
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_gets_what_forwarding_gets() {
    let dir = tempfile::tempdir().unwrap();
    let pins = Arc::new(Pins::new(dir.path().join("keys")));
    let server = serve(
        &own(),
        TOKEN,
        &[
            ("/pods?a=[1]&b=2", answer("200 OK", "{\"a\r\n\r\nb\":1}")),
            (
                "/configz",
                answer("403 Forbidden", "Forbidden (user=u, verb=get, resource=nodes, subresource(s)=[configz proxy])"),
            ),
            ("/cut", vec![say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789"), Act::Close]),
            ("/hang", vec![say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789"), Act::Hang]),
            ("/silent", vec![Act::Hang]),
            ("/debug/flags/v", answer("200 OK", "set")),
        ],
    )
    .await;
    let asked = kubelet(&by_curl(server.port, KubeletTrust::Pins(Arc::clone(&pins))));
    let (end, kept) = ask(&asked, "/pods?a=[1]&b=2").await;
    assert_eq!((end.outcome, end.detail.as_deref()), (Outcome::Complete, None));
    assert_eq!(String::from_utf8(kept.bytes).unwrap(), "{\"a\r\n\r\nb\":1}");
    assert!(end.command.ends_with(" (by curl on the node)"), "{}", end.command);
    let record = asked.record();
    assert_eq!((record.way, record.trust.as_str()), (Some(WayTaken::Curl), "pin (recorded now)"));
    assert!(!server.asked()[0].to_ascii_lowercase().contains("authorization"));
    let (end, kept) = ask(&asked, "/configz").await;
    assert!(detail(&end).contains("may not get any of nodes/configz, nodes/proxy") && kept.began == 0, "{end:?}");
    let (end, kept) = ask(&asked, "/cut").await;
    assert_eq!((end.outcome, kept.bytes.as_slice()), (Outcome::Failed, &b"0123456789"[..]), "{end:?}");
    let session = here().await;
    for (path, words) in [("/hang", "not whole within 1.0s"), ("/silent", "did not answer within 1.0s")] {
        let end = asked.get(&session, &api(path, 1), &mut Kept::default(), &CancellationToken::new()).await;
        assert!(end.outcome == Outcome::TimedOut && detail(&end).contains(words), "{end:?}");
    }
    assert_eq!(asked.put(&session, "/debug/flags/v", "4").await.unwrap(), b"set");
    let put = with_token(&server).pop().unwrap();
    assert!(put.starts_with("PUT /debug/flags/v HTTP/1.1\r\n") && put.ends_with("\r\n\r\n4"), "{put}");

    // The same key by forwarding, and another key not at all.
    let same = kubelet(&KubeletAccess { trust: KubeletTrust::Pins(Arc::clone(&pins)), ..access(server.port) });
    assert_eq!(ask(&same, "/configz").await.0.status, Some(403));
    assert_eq!(same.record().key, asked.record().key);
    let stranger = serve(&own(), TOKEN, &[]).await;
    let refused = kubelet(&by_curl(stranger.port, KubeletTrust::Pins(pins)));
    let (end, _) = ask(&refused, "/pods").await;
    assert!(detail(&end).contains("remove the line of worker-001"), "{end:?}");
    assert_eq!(with_token(&stranger).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_changes_its_key_after_the_look_gets_no_token() {
    let first = serve(&own(), TOKEN, &[]).await;
    let asked = kubelet(&by_curl(first.port, KubeletTrust::Insecure));
    assert_eq!(ask(&asked, "/pods").await.0.status, Some(404));
    let port = first.port;
    first.stop().await;
    let other = own();
    let second =
        TestServer::start_at(port, Some(other.server(&TLS13, None)), &[("/pods", answer("200 OK", "{}"))]).await;
    let (end, _) = ask(&asked, "/pods").await;
    assert!(end.outcome == Outcome::Failed && detail(&end).contains("has changed"), "{end:?}");
    assert_eq!(second.asked().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_health_port_is_asked_in_plain_and_without_a_credential() {
    let server = TestServer::start(None, &[("/healthz", answer("200 OK", "ok"))]).await;
    let port = format!("--healthz-port={}", server.port);
    for via in [Via::Auto, Via::Curl, Via::ApiServer] {
        let access = KubeletAccess { via, ..access(1) };
        let asked = Kubelet::new(&access, &target(NODE, None), &facts_with(&["kubelet", &port]));
        let get = KubeletGet { port: KubeletPort::Healthz, ..api("/healthz", 5) };
        let mut kept = Kept::default();
        let end = asked.get(&here().await, &get, &mut kept, &CancellationToken::new()).await;
        assert_eq!((end.outcome, kept.bytes.as_slice()), (Outcome::Complete, &b"ok"[..]), "{end:?}");
    }
    assert!(with_token(&server).is_empty() && server.asked().len() == 3);
    let off = Kubelet::new(&access(1), &target(NODE, None), &facts_with(&["kubelet", "--healthz-port=0"]));
    let get = KubeletGet { port: KubeletPort::Healthz, ..api("/healthz", 5) };
    let end = off.get(&here().await, &get, &mut Kept::default(), &CancellationToken::new()).await;
    assert_eq!(end.outcome, Outcome::Absent);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_process_shows_the_token_while_curl_runs() {
    let server = serve(&own(), TOKEN, &[("/silent", vec![Act::Hang])]).await;
    let asked = kubelet(&by_curl(server.port, KubeletTrust::Insecure));
    let cancel = CancellationToken::new();
    let look = async {
        let (mut curls, mut looks) = (0, 0);
        until("the request, and 20 looks", || {
            for process in std::fs::read_dir("/proc").unwrap().flatten() {
                if !process.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()) {
                    continue;
                }
                for file in ["cmdline", "environ"] {
                    let bytes = std::fs::read(process.path().join(file)).unwrap_or_default();
                    let text = String::from_utf8_lossy(&bytes);
                    assert!(!text.contains(TOKEN), "{file}: {text}");
                    curls += usize::from(text.contains("--pinnedpubkey"));
                }
            }
            looks += 1;
            !with_token(&server).is_empty() && looks >= 20
        })
        .await;
        cancel.cancel();
        curls
    };
    let session = here().await;
    let get = api("/silent", 60);
    let mut kept = Kept::default();
    let (end, curls) = tokio::join!(asked.get(&session, &get, &mut kept, &cancel), look);
    assert_eq!(end.outcome, Outcome::Cancelled);
    assert!(curls > 0, "the request was not seen at all");
}

#[test]
fn every_shell_feeds_curl_without_showing_what_it_feeds() {
    let dir = tempfile::tempdir().unwrap();
    let fake = dir.path().join("curl");
    std::fs::File::create(&fake).unwrap().write_all(b"#!/bin/sh\nprintf '[%s]' \"$@\"\ncat\n").unwrap();
    std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
    let script = include_str!("../way/fetch.sh");
    let run = |shell: &[&str], before: &str| {
        let mut child = Command::new(shell[0])
            .args(&shell[1..])
            .args(["-c", &format!("{before}{script}"), "sh", "-q", "a b"])
            .env("PATH", format!("{}:/usr/bin:/bin", dir.path().display()))
            .env("line", "exported already")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let token = SecretString::from("a\"b\\c%s$d'e!~+/=");
        let line = input(Some(&token)).unwrap();
        writeln!(child.stdin.take().unwrap(), "{}", line.expose_secret()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let mut shells = 0;
    for shell in [&["/bin/dash"][..], &["/bin/bash"], &["/bin/busybox", "sh"], &["/usr/bin/zsh"], &["/bin/ksh"]] {
        if Path::new(shell[0]).exists() {
            let config = "header = \"Authorization: Bearer a\\\"b\\\\c%s$d'e!~+/=\"\n";
            let want = (Some(0), format!("[-q][a b]{config}"));
            assert_eq!(run(shell, ""), want, "{shell:?}");
            shells += 1;
        }
    }
    assert!(shells > 0);
    if Path::new("/bin/bash").exists() {
        assert_eq!(run(&["/bin/bash"], "enable -n printf\n").0, Some(96), "another printf would show the token");
    }
}

#[test]
fn a_token_that_could_end_its_line_is_refused() {
    for token in ["", "a b", "a\nurl = x", "a\r", "\u{e9}"] {
        assert!(input(Some(&SecretString::from(token))).is_err(), "{token:?}");
    }
    assert_eq!(input(None).unwrap().expose_secret(), "");
}

#[test]
fn versions_of_curl_are_read() {
    for (text, want) in [
        ("curl 7.88.1 (x86_64-pc-linux-gnu) libcurl/7.88.1", Some((7, 88))),
        ("curl 7.29.0 (x", Some((7, 29))),
        ("curl 8.5.0-DEV (x", Some((8, 5))),
        ("busybox curl", None),
        ("", None),
    ] {
        assert_eq!(version(text.as_bytes()), want, "{text}");
    }
}
