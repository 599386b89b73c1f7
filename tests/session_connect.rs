//! Connecting: each way it fails against the real situation, retries, cancellation.

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

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use dialling::{close, connect, connector, failure, reset, server, through, to_port, wait_for_end};
use plegcollect::inventory::target::{Hop, Proxy, Reach};
use plegcollect::session::{Connector, ConnectorOptions, FailureKind, SessionError};
use real_sshd::{Sshd, available, eventually, free_port, target};
use rustix::process::Signal;
use sinks::says;
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_are_no_working_sshd_are_told_apart() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let tls: &[u8] = b"\x15\x03\x01\x00\x02\x02\x46";
    for (words, then, kind, part) in [
        (&b""[..], wait_for_end as fn(&mut TcpStream), FailureKind::NoBanner, "no SSH banner"),
        (b"SSH-2.0-x\r\n", wait_for_end, FailureKind::KexStalled, "key exchange"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", close, FailureKind::NotSsh, "HTTP"),
        (b"220 mail.example ESMTP\r\n", wait_for_end, FailureKind::NotSsh, "220 mail.example"),
        (tls, close, FailureKind::NotSsh, "TLS"),
        (b"\x1b[2Jevil\r\n", close, FailureKind::NotSsh, "\"evil\""),
        (b"", close, FailureKind::Reset, "before its banner"),
        (b"", reset, FailureKind::Reset, "before its banner"),
        (b"Exceeded MaxStartups\r\n", close, FailureKind::Reset, "MaxStartups"),
        (b"SSH-2.0-x\r\n", close, FailureKind::Reset, "during the key exchange"),
    ] {
        let error = failure(to_port(&sshd, server(words, then)), Proxy::Direct).await;
        assert_eq!(error.kind, kind, "{words:?}: {error}");
        assert!(error.text.contains(part), "{words:?}: {error}");
        assert!(error.hint.is_some(), "{error}");
        assert!(error.timings.tcp_ms.is_some() && error.timings.auth_ms.is_none(), "{:?}", error.timings);
        assert_eq!(error.timings.banner_ms.is_some(), !words.is_empty(), "{words:?}: {:?}", error.timings);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_that_do_not_connect_are_told_apart() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let error = failure(to_port(&sshd, free_port()), Proxy::Direct).await;
    assert_eq!(error.kind, FailureKind::Refused, "{error}");
    assert!(error.text.contains("127.0.0.1"), "{error}");

    // A full accept queue drops what comes, as a black hole does.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let mut fill = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(500)) {
        fill.push(stream);
    }
    let error = failure(to_port(&sshd, address.port()), Proxy::Direct).await;
    assert_eq!(error.kind, FailureKind::ConnectTimeout, "{error}");
    assert_eq!(error.timings.banner_ms, None);

    let mut hop = sshd.hop();
    hop.endpoint.host = "no.such.name.invalid".into();
    let error = failure(hop, Proxy::Direct).await;
    assert_eq!(error.kind, FailureKind::Dns, "{error}");
    assert!(error.timings.dns_ms.is_some() && error.timings.tcp_ms.is_none());

    let mut hop = sshd.hop();
    hop.address_family = plegcollect::inventory::target::AddressFamily::Inet6;
    let error = failure(hop, Proxy::Direct).await;
    assert_eq!(error.kind, FailureKind::Dns, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_and_a_local_address_are_dialled() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let known = std::fs::read_to_string(sshd.path("known_hosts")).unwrap().replace("[127.0.0.1]", "[localhost]");
    real_sshd::put(&sshd.path("known_hosts"), &known);
    let mut hop = sshd.hop();
    hop.endpoint.host = "localhost".into();
    hop.bind_address = Some("127.0.0.1".into());
    hop.address_family = plegcollect::inventory::target::AddressFamily::Inet;
    let session = connect(hop, Proxy::Direct).await.unwrap();
    assert!(session.facts().timings.dns_ms.is_some());
    assert_eq!(says(&session, "echo on").await, "on\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn verdicts_of_a_working_sshd_are_told_apart() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("Ciphers aes128-cbc");
    let error = failure(sshd.hop(), Proxy::Direct).await;
    assert_eq!(error.kind, FailureKind::Algorithms, "{error}");
    assert!(error.text.contains("aes128-cbc"), "{error}");

    let sshd = Sshd::start("");
    let mut hop = sshd.hop();
    real_sshd::put(&sshd.path("empty"), "");
    hop.host_key.known_hosts = vec![sshd.path("empty")];
    let error = failure(hop, Proxy::Direct).await;
    assert_eq!(error.kind, FailureKind::HostKeyUnknown, "{error}");
    assert!(error.timings.banner_ms.is_some() && error.timings.auth_ms.is_none(), "{:?}", error.timings);

    let mut hop = sshd.hop();
    hop.credentials.identity_files = vec![sshd.path("host")];
    let error = failure(hop, Proxy::Direct).await;
    assert_eq!(error.kind, FailureKind::Auth, "{error}");
    assert!(error.timings.kex_ms.is_some() && error.timings.auth_ms.is_some(), "{:?}", error.timings);

    let sshd = Sshd::start("MaxAuthTries 1");
    let mut hop = sshd.hop();
    hop.credentials.identity_files = vec![sshd.path("host")];
    let error = failure(hop, Proxy::Direct).await;
    assert_eq!(error.kind, FailureKind::Auth, "{error}");
    assert!(error.text.contains("Too many authentication failures"), "the server's words: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_hangs_is_stalled() {
    if !available() {
        return;
    }
    let user = Sshd::start("").hop().user;
    let sshd = Sshd::start(&format!(
        "AuthorizedKeysCommand /bin/sleep 60\nAuthorizedKeysCommandUser {user}\nAuthorizedKeysFile none"
    ));
    let mut hop = sshd.hop();
    hop.auth_timeout = Duration::from_secs(1);
    let error = failure(hop, Proxy::Direct).await;
    assert_eq!(error.kind, FailureKind::AuthStalled, "{error}");
    assert!(error.text.starts_with(&format!("127.0.0.1:{}: ", sshd.port())), "{error}");
    assert!(error.timings.kex_ms.is_some(), "{:?}", error.timings);
    // sshd itself waits for the lookup; what counts is our end.
    eventually("the connection is closed", || !real_sshd::established(sshd.port())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_during_the_login_is_no_verdict_on_the_key() {
    if !available() {
        return;
    }
    let user = Sshd::start("").hop().user;
    let sshd = Sshd::start(&format!(
        "AuthorizedKeysCommand /bin/sleep 60\nAuthorizedKeysCommandUser {user}\nAuthorizedKeysFile none"
    ));
    let connecting = failure(sshd.hop(), Proxy::Direct);
    let killer = async {
        eventually("the key is looked up", || !sshd.servers().is_empty()).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        sshd.signal_servers(Signal::KILL);
    };
    let (error, ()) = tokio::join!(connecting, killer);
    assert_eq!(error.kind, FailureKind::Reset, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_pass_is_retried_and_what_may_not_is_not() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let mut told = Vec::new();
    let mut tell = |n: u32, e: &SessionError, _: Duration| told.push((n, e.kind));
    let never = CancellationToken::new();
    let way = target(to_port(&sshd, free_port()), Proxy::Direct);
    let error = connector(3).connect(&way, &never, &mut tell).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Refused);
    assert_eq!(told, [(1, FailureKind::Refused), (2, FailureKind::Refused)]);

    let mut hop = sshd.hop();
    hop.credentials.identity_files = vec![sshd.path("host")];
    let before = sshd.log().matches("Connection from").count();
    let mut tell = |_: u32, e: &SessionError, _: Duration| panic!("retried: {e}");
    connector(3).connect(&target(hop, Proxy::Direct), &never, &mut tell).await.unwrap_err();
    eventually("the log says so", || sshd.log().matches("Connection from").count() == before + 1).await;

    // Down at first, up at the second attempt.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (port, real) = (listener.local_addr().unwrap().port(), sshd.port());
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut near = stream.unwrap();
            if number == 0 {
                reset(&mut near);
                continue;
            }
            let mut far = TcpStream::connect((Ipv4Addr::LOCALHOST, real)).unwrap();
            let (mut from, mut to) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            std::thread::spawn(move || std::io::copy(&mut far, &mut near));
        }
    });
    let mut hop = sshd.hop();
    hop.endpoint.port = port;
    hop.host_key.known_hosts = vec![sshd.path("forwarded")];
    let known = std::fs::read_to_string(sshd.path("known_hosts")).unwrap();
    real_sshd::put(&sshd.path("forwarded"), &known.replace(&real.to_string(), &port.to_string()));
    let session = through(&connector(3), hop, Proxy::Direct).await.unwrap();
    assert_eq!(session.facts().attempts, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_ends_a_connect_and_its_pauses() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let mut hop = to_port(&sshd, server(b"", wait_for_end));
    hop.connect_timeout = Duration::from_secs(600);
    let cancel = CancellationToken::new();
    let canceller = cancel.clone();
    let (connector, way) = (connector(1), target(hop, Proxy::Direct));
    let mut tell = |_: u32, _: &SessionError, _: Duration| {};
    let connecting = connector.connect(&way, &cancel, &mut tell);
    let (result, ()) = tokio::join!(connecting, async move { canceller.cancel() });
    assert_eq!(result.unwrap_err().kind, FailureKind::Cancelled);

    let options = ConnectorOptions { attempts: 9, max_backoff: Duration::from_secs(600), ..Default::default() };
    let (cancel, way) = (CancellationToken::new(), target(to_port(&sshd, free_port()), Proxy::Direct));
    let mut tell = |n: u32, _: &SessionError, _: Duration| {
        if n == 1 {
            cancel.cancel();
        }
    };
    let error = Connector::new(options).connect(&way, &cancel, &mut tell).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_target_needs_no_server() {
    let mut way = target(
        Hop {
            endpoint: plegcollect::inventory::target::Endpoint { host: String::new(), port: 0 },
            user: String::new(),
            credentials: plegcollect::inventory::target::Credentials {
                identity_files: Vec::new(),
                certificate_files: Vec::new(),
                identities_only: false,
                agent_socket: None,
            },
            host_key: plegcollect::inventory::target::HostKeyPolicy {
                mode: plegcollect::inventory::target::HostKeyMode::Strict,
                known_hosts: Vec::new(),
                alias: None,
                pinned: Vec::new(),
            },
            connect_timeout: Duration::ZERO,
            auth_timeout: Duration::ZERO,
            keepalive_interval: Duration::ZERO,
            keepalive_max: 0,
            address_family: Default::default(),
            bind_address: None,
            compression: false,
        },
        Proxy::Direct,
    );
    way.reach = Reach::Local;
    let session = connector(1).connect(&way, &CancellationToken::new(), &mut |_, _, _| {}).await.unwrap();
    assert_eq!(session.facts().transport, "local");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    session.open_tcp("127.0.0.1", listener.local_addr().unwrap().port()).await.unwrap();
    assert_eq!(session.open_tcp("127.0.0.1", free_port()).await.unwrap_err().kind, FailureKind::Refused);
    assert!(!session.is_closed() && session.cause_of_death().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_session_ends_its_connection() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let session = connect(sshd.hop(), Proxy::Direct).await.unwrap();
    let clone = session.clone();
    drop(session);
    assert_eq!(says(&clone, "echo on").await, "on\n");
    drop(clone);
    eventually("the server sees it", || sshd.servers().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_banner_is_kept_and_harmless() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let banner = sshd.path("banner");
    real_sshd::put(&banner, "authorised use only\n\u{1b}[2Jcleared\n");
    let with_banner = Sshd::start(&format!("Banner {}", banner.display()));
    let session = connect(with_banner.hop(), Proxy::Direct).await.unwrap();
    let shown = session.facts().banner.clone().unwrap();
    assert!(shown.contains("authorised use only") && !shown.contains('\u{1b}'), "{shown:?}");
    assert_eq!(connect(sshd.hop(), Proxy::Direct).await.unwrap().facts().banner, None);
}
