//! The ten situations in which russh by itself hangs or leaks, against a real sshd.

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

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::join_all;
use plegcollect::inventory::target::Proxy;
use plegcollect::session::{FailureKind, Stdin, Stopped};
use real_sshd::{Sshd, available, eventually, processes_with, target};
use rustix::process::Signal;
use sinks::{Collect, Enough, Gated, LONG, connect, connector, forty, run, says};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

// Row 1 of the ten: the peer sends its banner, then nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_handshake_is_classified_and_leaves_no_socket() {
    if !available() {
        return;
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let sshd = Sshd::start("");
    let mut hop = sshd.hop();
    hop.endpoint.port = listener.local_addr().unwrap().port();
    hop.connect_timeout = Duration::from_secs(1);
    let peer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        std::io::Write::write_all(&mut stream, b"SSH-2.0-stuck\r\n").unwrap();
        // Returns only once the other side has closed its socket.
        let mut everything = Vec::new();
        let _ = stream.read_to_end(&mut everything);
        everything
    });
    let way = target(hop, Proxy::Direct);
    let connector = connector();
    let error = connector.connect(&way, &CancellationToken::new(), &mut |_, _, _| {}).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::KexStalled, "{error}");
    assert!(error.timings.banner_ms.is_some() && error.timings.kex_ms.is_none(), "{:?}", error.timings);
    eventually("the socket is closed", || peer.is_finished()).await;
    assert!(peer.join().unwrap().starts_with(b"SSH-2.0-plegcollect_"));
}

// Row 1, by cancellation instead of the budget.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_handshake_leaves_no_socket() {
    if !available() {
        return;
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let sshd = Sshd::start("");
    let mut hop = sshd.hop();
    hop.endpoint.port = listener.local_addr().unwrap().port();
    let cancel = CancellationToken::new();
    let canceller = cancel.clone();
    let peer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        std::io::Write::write_all(&mut stream, b"SSH-2.0-stuck\r\n").unwrap();
        let mut start = [0; 100];
        stream.read_exact(&mut start).unwrap();
        canceller.cancel();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let way = target(hop, Proxy::Direct);
    let error = connector().connect(&way, &cancel, &mut |_, _, _| {}).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Cancelled);
    eventually("the socket is closed", || peer.is_finished()).await;
    peer.join().unwrap();
}

// Row 2: the remote command ends without reading what we write.
#[tokio::test(flavor = "multi_thread")]
async fn unread_input_does_not_hang() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let session = connect(&sshd.target()).await;
    for _ in 0..20 {
        let stdin = Stdin::new(vec![b'x'; 8 << 20]);
        let mut sink = Collect::default();
        let end = session.exec("exit 3", Some(stdin), LONG, &mut sink, &CancellationToken::new()).await.unwrap();
        assert_eq!((end.status, end.complete), (Some(3), true));
    }
}

// Row 3: the link dies while a writer waits for window.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_link_ends_blocked_writers() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let session = connect(&sshd.target()).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut stream = session.open_tcp("127.0.0.1", silent.local_addr().unwrap().port()).await.unwrap();
    let (_unread, _) = silent.accept().await.unwrap();
    let writer = async {
        loop {
            if let Err(e) = stream.write_all(&[0; 1 << 16]).await {
                return e;
            }
        }
    };
    let ((mut gated, came), never) = (Gated::open(), CancellationToken::new());
    let bytes = Arc::clone(&gated.bytes);
    let stdin = Stdin::new(vec![0; 8 << 20]);
    let forever = sshd.after("echo on");
    let command = session.exec(&forever, Some(stdin), LONG, &mut gated, &never);
    let killer = async {
        came.acquire().await.unwrap().forget();
        let (mut last, mut same) = (0, 0);
        eventually("the writers wait", || {
            let written = session.wire_bytes().1;
            same = if written == last { same + 1 } else { 0 };
            last = written;
            same > 20
        })
        .await;
        sshd.signal_servers(Signal::KILL);
    };
    let (error, end, ()) = tokio::join!(writer, command, killer);
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionAborted);
    let end = end.unwrap();
    assert_eq!((end.complete, end.status, end.stopped), (false, None, None));
    assert_eq!(bytes.load(Ordering::SeqCst), 3);
    assert!(session.is_closed());
    assert_eq!(session.cause_of_death().unwrap().kind, FailureKind::LinkLost);
    assert_eq!(run(&session, "true").await.err().unwrap().kind, FailureKind::LinkLost);
}

// Row 4: after our own close neither a close nor an end arrives.
#[tokio::test(flavor = "multi_thread")]
async fn our_own_close_is_not_waited_for() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let session = connect(&sshd.target()).await;
    let never = CancellationToken::new();
    let end = session.exec("yes", None, LONG, &mut Enough(100_000), &never).await.unwrap();
    assert_eq!((end.stopped, end.complete), (Some(Stopped::Sink), false));
    for limit in [1, 5, 25, 125] {
        let mut sink = Collect::default();
        let limit = Duration::from_millis(limit * 100);
        let forever = sshd.after("echo first");
        let end = session.exec(&forever, None, limit, &mut sink, &never).await.unwrap();
        assert_eq!((end.stopped, end.complete), (Some(Stopped::Deadline), false));
        assert!(end.took >= limit);
        if sink.out == b"first\n" {
            break;
        }
        assert!(limit < Duration::from_secs(12), "what came before the deadline stands");
    }
    let cancel = CancellationToken::new();
    let (mut gated, came) = Gated::open();
    let forever = sshd.after("echo on");
    let command = session.exec(&forever, None, LONG, &mut gated, &cancel);
    let canceller = async {
        came.acquire().await.unwrap().forget();
        cancel.cancel();
    };
    let (end, ()) = tokio::join!(command, canceller);
    assert_eq!(end.unwrap().stopped, Some(Stopped::Cancelled));
    assert_eq!(says(&session, "echo still").await, "still\n");
}

// Row 5: a channel that is merely dropped stays open, and the server sends everything.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_command_ends_and_frees_its_slot() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let session = connect(&sshd.target()).await;
    let marker = format!("dropped-{}", sshd.port());
    let command = format!("exec yes {marker}");
    for _ in 0..20 {
        let ((mut gated, came), never) = (Gated::open(), CancellationToken::new());
        tokio::select! {
            end = session.exec(&command, None, LONG, &mut gated, &never) => panic!("yes ended: {end:?}"),
            permit = came.acquire() => permit.unwrap().forget(),
        }
    }
    eventually("SIGPIPE ended them", || processes_with(&marker).is_empty()).await;
    assert!(forty(&session, "echo {i}").await);
    assert_eq!(session.slots(), 8, "none was refused");
}

// Row 6: a cancelled open loses its slot until the connection ends.
#[tokio::test(flavor = "multi_thread")]
async fn cancelled_opens_leave_all_slots() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let session = connect(&sshd.target()).await;
    for round in 0..60_u64 {
        let (mut sink, never) = (Collect::default(), CancellationToken::new());
        let command = session.exec("true", None, LONG, &mut sink, &never);
        let _ = tokio::time::timeout(Duration::from_micros(round * 20), command).await;
    }
    assert!(forty(&session, "sleep 0.1; echo {i}").await);
}

// Row 7: one channel that is not drained stalls its connection. The sink's contract forbids
// it; what is promised is that the stall ends with its reason, and stays on its connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_sink_stalls_no_other_node_behind_the_same_jump() {
    if !available() {
        return;
    }
    let (bastion, node) = (Sshd::start(""), Sshd::start(""));
    let way = target(node.hop(), Proxy::Jump(vec![bastion.hop()]));
    let connector = connector();
    let never = CancellationToken::new();
    let sick = connector.connect(&way, &never, &mut |_, _, _| {}).await.unwrap();
    let well = connector.connect(&way, &never, &mut |_, _, _| {}).await.unwrap();
    assert_eq!(bastion.logins(), 1);
    let (came, gate) = (Arc::new(tokio::sync::Semaphore::new(0)), CancellationToken::new());
    let mut sinks: Vec<_> =
        (0..8).map(|_| Gated { came: Arc::clone(&came), gate: gate.clone(), bytes: Arc::default() }).collect();
    let stalled = join_all(sinks.iter_mut().map(|s| sick.exec("head -c 10000000 /dev/zero", None, LONG, s, &never)));
    let healthy = async {
        came.acquire().await.unwrap().forget();
        for _ in 0..5 {
            assert_eq!(says(&well, "head -c 1000000 /dev/zero").await.len(), 1_000_000);
        }
        gate.cancel();
    };
    let (ends, ()) = tokio::join!(stalled, healthy);
    let ends: Vec<_> = ends.into_iter().map(Result::unwrap).collect();
    let bytes: Vec<_> = sinks.iter().map(|s| s.bytes.load(Ordering::SeqCst)).collect();
    assert!(ends.iter().all(|end| end.complete && end.status == Some(0)), "{ends:?}, {bytes:?}");
    assert_eq!(bytes, [10_000_000; 8], "a stall that ends loses nothing: {ends:?}");
    connector.close().await;
    eventually("the sessions behind it end with the jump", || sick.is_closed() && well.is_closed()).await;
}

// Row 8: a write that blocks keeps the keepalives from firing.
#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_write_does_not_hide_a_frozen_peer() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let mut hop = sshd.hop();
    (hop.keepalive_interval, hop.keepalive_max) = (Duration::from_secs(2), 1);
    let session = connect(&target(hop, Proxy::Direct)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let drain = async {
        let all = join_all((0..4).map(async |_| {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        }));
        all.await;
    };
    let uploads = join_all((0..4).map(async |_| {
        let mut stream = session.open_tcp("127.0.0.1", port).await.unwrap();
        loop {
            if let Err(e) = stream.write_all(&[0; 1 << 16]).await {
                return e.kind();
            }
        }
    }));
    let ((mut gated, came), never) = (Gated::open(), CancellationToken::new());
    let forever = sshd.after("echo on");
    let quiet = session.exec(&forever, None, LONG, &mut gated, &never);
    let freezer = async {
        came.acquire().await.unwrap().forget();
        eventually("uploads run", || session.wire_bytes().1 > 50 << 20).await;
        sshd.signal_servers(Signal::STOP);
    };
    let all = async { tokio::join!(uploads, quiet, freezer) };
    let (kinds, end, ()) = tokio::select! {
        done = all => done,
        () = drain => panic!("the frozen peer closed the uploads"),
    };
    assert_eq!(kinds, [std::io::ErrorKind::ConnectionAborted; 4]);
    assert!(!end.unwrap().complete);
    assert_eq!(session.cause_of_death().unwrap().kind, FailureKind::LinkLost);
}

// Row 9: a frozen peer is noticed though nothing is written.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_peer_is_noticed_by_keepalives() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let mut hop = sshd.hop();
    (hop.keepalive_interval, hop.keepalive_max) = (Duration::from_secs(2), 1);
    let session = connect(&target(hop, Proxy::Direct)).await;
    let ((mut gated, came), never) = (Gated::open(), CancellationToken::new());
    let forever = sshd.after("echo on");
    let command = session.exec(&forever, None, LONG, &mut gated, &never);
    let freezer = async {
        came.acquire().await.unwrap().forget();
        sshd.signal_servers(Signal::STOP);
    };
    let (end, ()) = tokio::join!(command, freezer);
    assert!(!end.unwrap().complete);
    let cause = session.cause_of_death().unwrap();
    assert!(cause.text.contains("keepalive"), "{cause}");
}

// The other side of rows 8 and 9: a quiet command is no dead link.
#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_command_outlives_the_limits_of_silence() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let mut hop = sshd.hop();
    // Limit of silence: 2 s x 2 + 10 s.
    (hop.keepalive_interval, hop.keepalive_max) = (Duration::from_secs(2), 1);
    let session = connect(&target(hop, Proxy::Direct)).await;
    assert_eq!(says(&session, "sleep 16; echo woke").await, "woke\n");
}

// Row 10: channels that we close first cost memory until the connection ends, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn many_channels_closed_by_us_do_no_harm() {
    if !available() {
        return;
    }
    let sshd = Sshd::start("");
    let session = connect(&sshd.target()).await;
    let never = CancellationToken::new();
    for _ in 0..100 {
        let end = session.exec("yes", None, LONG, &mut Enough(1), &never).await.unwrap();
        assert_eq!(end.stopped, Some(Stopped::Sink));
    }
    assert_eq!(says(&session, "echo fine").await, "fine\n");
}
