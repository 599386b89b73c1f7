//! Sessions against a real sshd: commands, their number at a time, and streams.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "clippy exempts test functions, not what they share"
)]

#[allow(dead_code, unreachable_pub, reason = "shared by several test programs")]
#[path = "common/real_sshd.rs"]
mod real_sshd;
#[allow(dead_code, unreachable_pub, reason = "shared by several test programs")]
#[path = "common/sinks.rs"]
mod sinks;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use plegcollect::evidence::Outcome;
use plegcollect::inventory::target::Proxy;
use plegcollect::kubelet::{GetEnd, Kubelet, KubeletAccess, Receiver};
use plegcollect::plan::facts::{Daemon, NodeFacts};
use plegcollect::plan::{Bounds, Encoding, KubeletGet, KubeletPort};
use plegcollect::session::{FailureKind, Session, Sink, Stdin};
use real_sshd::{Sshd, available, eventually, target};
use rustix::process::Signal;
use sinks::{Collect, Gated, LONG, connect, forty, run, says};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn streams_status_and_signal_are_kept_apart() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let session = connect(&sshd.target()).await;
    let (end, sink) = run(&session, "echo out; echo err >&2; exit 7").await.unwrap();
    assert_eq!((sink.out.as_slice(), sink.err.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
    assert_eq!((end.status, end.signal, end.complete, end.stopped), (Some(7), None, true, None));
    let (end, _) = run(&session, "kill -TERM $$").await.unwrap();
    assert_eq!((end.status, end.signal.as_deref(), end.complete), (None, Some("TERM"), true));

    let stdin = Stdin::new(b"secret\n".repeat(1000));
    assert!(!format!("{stdin:?}").contains("secret"));
    let mut sink = Collect::default();
    let end = session.exec("wc -c", Some(stdin), LONG, &mut sink, &CancellationToken::new()).await.unwrap();
    assert!(end.complete);
    assert_eq!(String::from_utf8(sink.out).unwrap().trim(), "7000");
    assert_eq!(says(&session, "cat").await, "", "without input there is an end of it");

    let facts = session.facts();
    assert_eq!(facts.transport, "ssh");
    assert!(facts.server_version.as_deref().unwrap().starts_with("SSH-2.0-OpenSSH"), "{facts:?}");
    assert!(facts.host_key.as_deref().unwrap().starts_with("SHA256:"), "{facts:?}");
    assert_eq!(facts.host_key_type.as_deref(), Some("ssh-ed25519"));
    assert_eq!(facts.host_key_by.as_deref(), Some("known-hosts"));
    assert_eq!((facts.attempts, facts.route.len()), (1, 1));
    let t = facts.timings;
    assert!(t.tcp_ms.is_some() && t.banner_ms.is_some() && t.kex_ms.is_some() && t.auth_ms.is_some(), "{t:?}");
    assert_eq!(t.dns_ms, None, "no name was looked up");
    session.close().await;
    assert!(session.is_closed());
    assert_eq!(run(&session, "true").await.err().unwrap().kind, FailureKind::LinkLost);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_output_arrives_whole() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("Banner none");
    for compression in [false, true] {
        let mut hop = sshd.hop();
        hop.compression = compression;
        let session = connect(&target(hop, Proxy::Direct)).await;
        let counts = join_all((0..4).map(|_| says(&session, "head -c 20000000 /dev/zero"))).await;
        assert!(counts.iter().all(|c| c.len() == 20_000_000));
        let (read, _) = session.wire_bytes();
        assert_eq!(read > 80_000_000, !compression, "{read}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forty_commands_succeed_whatever_max_sessions_is() {
    if !available() {
        return;
    }
    for (sessions, slots) in [(1, 1), (3, 2), (10, 8)] {
        let sshd = Sshd::start(&format!("MaxSessions {sessions}"));
        let session = connect(&sshd.target()).await;
        assert!(forty(&session, "sleep 0.02; echo {i}").await, "MaxSessions {sessions}");
        assert_eq!(session.slots(), slots, "MaxSessions {sessions}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_sessions_is_refused_with_its_words() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("MaxSessions 0");
    let session = connect(&sshd.target()).await;
    let errors = join_all((0..20).map(|_| run(&session, "true"))).await;
    for result in errors {
        let error = result.err().unwrap();
        assert_eq!(error.kind, FailureKind::ExecRefused);
        assert!(error.text.contains("open failed") && error.hint.unwrap().contains("MaxSessions"), "{}", error.text);
    }
    assert!(!session.is_closed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_that_answers_no_open_is_stalled() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let session = connect(&sshd.target()).await;
    assert_eq!(says(&session, "echo on").await, "on\n");
    sshd.signal_servers(Signal::STOP);
    let errors = join_all((0..8).map(|_| run(&session, "true"))).await;
    assert!(errors.iter().all(|e| e.as_ref().is_err_and(|e| e.kind == FailureKind::ExecStalled)));
    sshd.signal_servers(Signal::CONT);
    assert_eq!(says(&session, "echo back").await, "back\n", "the slots of the late opens came back");
}

/// Asks the kubelet's health port within two seconds.
async fn healthz(sshd: &Sshd, session: &Session, port: u16) -> GetEnd {
    struct Nothing;
    impl Receiver for Nothing {
        fn begin(&mut self, _: Encoding) -> BoxFuture<'_, Option<&mut dyn Sink>> {
            Box::pin(std::future::ready(None))
        }
    }
    let cmdline = vec!["kubelet".to_owned(), format!("--healthz-port={port}")];
    let facts = NodeFacts { kubelet: Some(Daemon { cmdline, ..Daemon::default() }), ..NodeFacts::default() };
    let kubelet = Kubelet::new(&KubeletAccess::none(), &sshd.target(), &facts);
    let bounds = Bounds { timeout: Duration::from_secs(2), grace: Duration::ZERO, max_bytes: 100 };
    let get = KubeletGet { port: KubeletPort::Healthz, path: "/healthz".to_owned(), bounds, gzip: false };
    kubelet.get(session, &get, &mut Nothing, &CancellationToken::new()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kubelet_is_blamed_for_silence_only_while_its_node_answers() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let session = connect(&sshd.target()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let end = healthz(&sshd, &session, port).await;
    assert_eq!(end.outcome, Outcome::TimedOut, "{end:?}");
    drop(listener.accept().await.unwrap());

    let freezer = async {
        let asked = listener.accept().await.unwrap();
        sshd.signal_servers(Signal::STOP);
        asked
    };
    let (end, _asked) = tokio::join!(healthz(&sshd, &session, port), freezer);
    assert_eq!(end.outcome, Outcome::Lost, "{end:?}");
    assert!(end.detail.as_deref().unwrap().contains("nothing is known of the kubelet"), "{end:?}");
    assert!(!session.is_closed());
    sshd.signal_servers(Signal::CONT);
    assert!(session.answers(LONG).await, "and a connection that came back is told");
    sshd.signal_servers(Signal::KILL);
    assert!(!session.answers(LONG).await, "and one that ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_leaves_what_had_come() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let session = connect(&sshd.target()).await;
    let ((mut gated, _), never) = (Gated::open(), CancellationToken::new());
    let bytes = Arc::clone(&gated.bytes);
    let forever = sshd.after("head -c 5000 /dev/zero");
    let command = session.exec(&forever, None, LONG, &mut gated, &never);
    let killer = async {
        eventually("all of it came", || bytes.load(Ordering::SeqCst) == 5000).await;
        sshd.signal_servers(Signal::KILL);
    };
    let (end, ()) = tokio::join!(command, killer);
    let end = end.unwrap();
    assert_eq!((end.complete, end.status, end.stopped), (false, None, None));
    assert_eq!(run(&session, "true").await.err().unwrap().kind, FailureKind::LinkLost);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_reach_ports_and_socket_files() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let session = connect(&sshd.target()).await;
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let path = sshd.path("socket");
    let unix = UnixListener::bind(&path).unwrap();
    let port = tcp.local_addr().unwrap().port();

    let mut near = session.open_tcp("127.0.0.1", port).await.unwrap();
    let (mut far, _) = tcp.accept().await.unwrap();
    near.write_all(b"question").await.unwrap();
    near.shutdown().await.unwrap();
    let mut got = Vec::new();
    far.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"question");
    far.write_all(b"answer").await.unwrap();
    drop(far);
    got.clear();
    near.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"answer");

    let near = session.open_unix(path.to_str().unwrap()).await.unwrap();
    let (mut far, _) = unix.accept().await.unwrap();
    drop(near);
    assert_eq!(far.read_to_end(&mut got).await.unwrap(), 0, "dropping it closes it");

    // A link that dies is not the end of a file; and the stream holds the connection up.
    let mut near = session.open_tcp("127.0.0.1", port).await.unwrap();
    let (mut far, _) = tcp.accept().await.unwrap();
    drop(session);
    far.write_all(b"part").await.unwrap();
    let mut part = [0; 4];
    near.read_exact(&mut part).await.unwrap();
    sshd.signal_servers(Signal::KILL);
    assert_eq!(near.read(&mut part).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionAborted);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_streams_say_why() {
    if !available() {
        return;
    }
    let closed = real_sshd::free_port();
    let sshd = Sshd::start("");
    let session = connect(&sshd.target()).await;
    // Many at once: each text must find its own refusal.
    let all = join_all((0..50).map(|i| {
        let session = session.clone();
        async move {
            let (host, want) = if i % 2 == 0 {
                ("127.0.0.1", FailureKind::Refused)
            } else {
                ("no.such.name.invalid", FailureKind::Dns)
            };
            (session.open_tcp(host, closed).await.unwrap_err(), want)
        }
    }))
    .await;
    for (error, want) in all {
        assert_eq!(error.kind, want, "{error}");
    }
    let error = session.open_unix("/no/such/socket").await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Refused, "{error}");

    let sshd = Sshd::start("AllowTcpForwarding no\nAllowStreamLocalForwarding no");
    let session = connect(&sshd.target()).await;
    let error = session.open_tcp("127.0.0.1", closed).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::ExecRefused, "{error}");
    assert!(error.hint.unwrap().contains("AllowTcpForwarding"));
    // sshd says the same whether the socket is missing or not allowed.
    assert!(session.open_unix("/no/such/socket").await.unwrap_err().text.ends_with("open failed"));
    assert_eq!(says(&session, "echo on").await, "on\n");
}
