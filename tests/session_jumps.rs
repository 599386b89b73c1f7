//! Jumps and ProxyCommand: one connection per bastion, failures named after the hop.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "clippy exempts test functions, not what they share"
)]

#[allow(dead_code, unreachable_pub, reason = "shared by several test programs")]
#[path = "common/dialling.rs"]
mod dialling;
#[allow(dead_code, unreachable_pub, reason = "shared by several test programs")]
#[path = "common/real_sshd.rs"]
mod real_sshd;
#[allow(dead_code, unreachable_pub, reason = "shared by several test programs")]
#[path = "common/sinks.rs"]
mod sinks;

use std::time::Duration;

use dialling::{close, connect, connector, failure, server, through, to_port, wait_for_end};
use futures::future::join_all;
use plegcollect::inventory::target::Proxy;
use plegcollect::session::FailureKind;
use real_sshd::{Sshd, available, eventually, free_port};
use rustix::process::Signal;
use sinks::says;

#[tokio::test(flavor = "multi_thread")]
async fn one_jump_connection_carries_all_nodes() {
    if !available() {
        return;
    }
    // The very limit that one connection per node would trip.
    let bastion = Sshd::start("MaxStartups 2:100:2\nMaxSessions 0");
    let nodes: Vec<_> = (0..3).map(|_| Sshd::start("")).collect();
    let connector = connector(1);
    let sessions =
        join_all((0..30).map(|i| through(&connector, nodes[i % 3].hop(), Proxy::Jump(vec![bastion.hop()])))).await;
    let said = join_all(sessions.iter().map(async |s| says(s.as_ref().unwrap(), "echo on").await)).await;
    assert!(said.iter().all(|s| s == "on\n"));
    assert_eq!(bastion.logins(), 1);
    assert_eq!(nodes.iter().map(Sshd::logins).sum::<usize>(), 30);
    let route = &sessions[0].as_ref().unwrap().facts().route;
    assert_eq!(route.len(), 2);
    assert!(route[0].ends_with(&bastion.port().to_string()), "{route:?}");

    // The link to the bastion dies: the next connect makes a new one.
    bastion.signal_servers(Signal::KILL);
    eventually("all are closed", || sessions.iter().all(|s| s.as_ref().unwrap().is_closed())).await;
    let again = through(&connector, nodes[0].hop(), Proxy::Jump(vec![bastion.hop()])).await.unwrap();
    assert_eq!(says(&again, "echo back").await, "back\n");
    assert_eq!(bastion.logins(), 2);
    connector.close().await;
    eventually("closed with the jump", || again.is_closed()).await;
    eventually("gone on the bastion", || bastion.servers().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_jumps_shares_its_front() {
    if !available() {
        return;
    }
    let (outer, inner, node) = (Sshd::start(""), Sshd::start(""), Sshd::start(""));
    let connector = connector(1);
    let chain = Proxy::Jump(vec![outer.hop(), inner.hop()]);
    let sessions = join_all((0..6).map(|_| through(&connector, node.hop(), chain.clone()))).await;
    for session in &sessions {
        assert_eq!(says(session.as_ref().unwrap(), "head -c 1000000 /dev/zero").await.len(), 1_000_000);
    }
    let beside = through(&connector, node.hop(), Proxy::Jump(vec![outer.hop()])).await.unwrap();
    assert_eq!(says(&beside, "echo on").await, "on\n");
    assert_eq!((outer.logins(), inner.logins(), node.logins()), (1, 1, 7));
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_name_the_hop_they_belong_to() {
    if !available() {
        return;
    }
    let (bastion, node) = (Sshd::start(""), Sshd::start(""));
    let closed = free_port();

    // The bastion is down: asked once for all, and named.
    let jump = Proxy::Jump(vec![to_port(&bastion, closed)]);
    let dialer = connector(1);
    let errors = join_all((0..10).map(|_| through(&dialer, node.hop(), jump.clone()))).await;
    for result in errors {
        let error = result.unwrap_err();
        assert_eq!(error.kind, FailureKind::Jump, "{error}");
        assert!(error.text.contains(&closed.to_string()) && error.text.contains("refused"), "{error}");
    }

    // A jump behind a jump is down.
    let jump = Proxy::Jump(vec![bastion.hop(), to_port(&bastion, closed)]);
    let error = failure(node.hop(), jump).await;
    assert_eq!(error.kind, FailureKind::Jump, "{error}");
    assert_eq!(error.text.matches("a jump failed").count(), 1, "{error}");

    // The bastion refuses our key: asked once in the run.
    let mut hop = bastion.hop();
    hop.credentials.identity_files = vec![bastion.path("host")];
    let dialer = connector(3);
    let asked = || bastion.log().matches("Connection from").count();
    let before = asked();
    for _ in 0..5 {
        let error = through(&dialer, node.hop(), Proxy::Jump(vec![hop.clone()])).await.unwrap_err();
        assert_eq!(error.kind, FailureKind::Jump, "{error}");
    }
    eventually("one attempt", || asked() == before + 1).await;

    // The bastion is fine, and the node behind it is not.
    let jump = Proxy::Jump(vec![bastion.hop()]);
    for (port, kind) in [
        (closed, FailureKind::Refused),
        (server(b"", wait_for_end), FailureKind::NoBanner),
        (server(b"SSH-2.0-x\r\n", wait_for_end), FailureKind::KexStalled),
        (server(b"HTTP/1.1 400 Bad Request\r\n\r\n", close), FailureKind::NotSsh),
        (server(b"", close), FailureKind::Reset),
    ] {
        let error = failure(to_port(&node, port), jump.clone()).await;
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.text.contains(&port.to_string()) && error.timings.tcp_ms.is_some(), "{error}");
    }

    // The bastion does not forward.
    let strict = Sshd::start("AllowTcpForwarding no");
    let error = failure(node.hop(), Proxy::Jump(vec![strict.hop()])).await;
    assert_eq!(error.kind, FailureKind::Jump, "{error}");
    assert!(error.hint.unwrap().contains("AllowTcpForwarding"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_command_carries_a_session() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let command = format!("/usr/sbin/sshd -i -f {} -E {}", sshd.path("config").display(), sshd.path("inetd").display());
    let session = connect(sshd.hop(), Proxy::Command(command)).await.unwrap();
    assert_eq!(says(&session, "echo on").await, "on\n");
    assert_eq!(says(&session, "head -c 1000000 /dev/zero").await.len(), 1_000_000);
    assert_eq!(sshd.logins(), 0, "nothing came over TCP");
    session.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_proxy_command_says_why() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let mut hop = sshd.hop();
    let command = Proxy::Command("sh -c 'echo no route to bastion >&2; exit 7'".into());
    let error = failure(hop.clone(), command).await;
    assert_eq!(error.kind, FailureKind::ProxyCommand, "{error}");
    assert!(error.text.contains("status 7") && error.text.contains("no route to bastion"), "{error}");
    let error = failure(hop.clone(), Proxy::Command("/no/such/program".into())).await;
    assert_eq!(error.kind, FailureKind::ProxyCommand, "{error}");
    assert!(error.text.contains("127"), "{error}");

    // One that hangs is ended with the budget, and its process with it.
    hop.connect_timeout = Duration::from_secs(1);
    let marker = format!("sleep 98{}", sshd.port());
    let error = failure(hop, Proxy::Command(marker.clone())).await;
    assert_eq!(error.kind, FailureKind::NoBanner, "{error}");
    let line = marker.replace(' ', "\0");
    eventually("the process is gone", || real_sshd::processes_with(&line).is_empty()).await;
}
