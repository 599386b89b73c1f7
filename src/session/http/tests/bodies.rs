//! Bodies, and the ways they end.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;

use super::pki::{Identity, VERSIONS};
use super::server::{Act, TestServer, say};
use super::{Collect, LONG, ask, get};
use crate::session::Stopped;
use crate::session::http::{BodyEnd, Trust};

const LENGTH: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const OPEN: &str = "HTTP/1.1 200 OK\r\n\r\n";

fn configs() -> [Option<Arc<ServerConfig>>; 3] {
    let identity = Identity::own(&["k"], |_| {});
    [None, Some(identity.server(VERSIONS[0], None)), Some(identity.server(VERSIONS[1], None))]
}

#[tokio::test]
async fn a_body_is_whole_only_if_its_end_was_said() {
    use BodyEnd::{Cut, Whole};
    // Path, what is sent, how it is closed, the end without and with TLS, what came.
    let rows = [
        ("/length", LENGTH, "0123456789", Act::Hang, Whole, Whole, "0123456789"),
        ("/length-closed", LENGTH, "0123456789", Act::Drop, Whole, Whole, "0123456789"),
        ("/more", LENGTH, "0123456789and more", Act::Drop, Whole, Whole, "0123456789"),
        ("/short", LENGTH, "01234", Act::Close, Cut, Cut, "01234"),
        ("/short-dropped", LENGTH, "01234", Act::Drop, Cut, Cut, "01234"),
        ("/empty", LENGTH, "", Act::Close, Cut, Cut, ""),
        ("/chunks", CHUNKED, "2\r\nab\r\n3;x=y\r\ncde\r\n0\r\nTrailer: t\r\n\r\n", Act::Hang, Whole, Whole, "abcde"),
        ("/chunk-cut", CHUNKED, "5\r\nabc", Act::Close, Cut, Cut, "abc"),
        ("/no-last-chunk", CHUNKED, "2\r\nab\r\n", Act::Close, Cut, Cut, "ab"),
        ("/last-chunk-cut", CHUNKED, "2\r\nab\r\n0\r\n", Act::Close, Cut, Cut, "ab"),
        ("/no-chunk", CHUNKED, "nonsense\r\n", Act::Hang, Cut, Cut, ""),
        ("/open", OPEN, "until the end", Act::Close, Whole, Whole, "until the end"),
        ("/open-dropped", OPEN, "until the end", Act::Drop, Whole, Cut, "until the end"),
    ];
    let acts: Vec<_> =
        rows.iter().map(|(path, head, body, end, ..)| (*path, vec![say(head), say(body), end.clone()])).collect();
    for config in configs() {
        let encrypted = config.is_some();
        let server = TestServer::start(config, &acts).await;
        let at = if encrypted { server.tls(Trust::Any, &[]) } else { server.plain() };
        for (path, _, _, _, without, with, bytes) in &rows {
            let answer = ask(&at, &get(path)).await.unwrap();
            let mut sink = Collect::default();
            let end = answer.drain(LONG, &mut sink, &CancellationToken::new()).await;
            let want = if encrypted { *with } else { *without };
            assert_eq!((end, String::from_utf8(sink.bytes).unwrap().as_str()), (want, *bytes), "{path} {encrypted}");
        }
    }
}

#[tokio::test]
async fn a_large_body_comes_through_whole() {
    let body: Vec<u8> = (0..5_000_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    for config in configs() {
        let encrypted = config.is_some();
        let server = TestServer::start(config, &[("/", vec![say(&head), Act::Send(body.clone())])]).await;
        let at = if encrypted { server.tls(Trust::Any, &[]) } else { server.plain() };
        assert!(super::whole(ask(&at, &get("/")).await.unwrap()).await == body);
    }
}

#[tokio::test]
async fn a_body_without_end_is_stopped_from_here() {
    let acts =
        [("/endless", vec![say(OPEN), Act::Repeat(&[b'x'; 8192])]), ("/slow", vec![say(OPEN), say("x"), Act::Hang])];
    let never = CancellationToken::new();
    for config in configs() {
        let encrypted = config.is_some();
        let server = TestServer::start(config, &acts).await;
        let at = if encrypted { server.tls(Trust::Any, &[]) } else { server.plain() };
        let soon = Duration::from_millis(200);
        for path in ["/endless", "/slow"] {
            let began = Instant::now();
            let mut sink = Collect::default();
            let end = ask(&at, &get(path)).await.unwrap().drain(soon, &mut sink, &never).await;
            assert_eq!(end, BodyEnd::Stopped(Stopped::Deadline), "{path}");
            assert!(!sink.bytes.is_empty() && began.elapsed() < LONG, "{path}");

            let cancel = CancellationToken::new();
            let mut sink = Collect { cancel: Some(cancel.clone()), ..Collect::default() };
            let end = ask(&at, &get(path)).await.unwrap().drain(LONG, &mut sink, &cancel).await;
            assert_eq!(end, BodyEnd::Stopped(Stopped::Cancelled), "{path}");
        }
        let mut sink = Collect { most: Some(100_000), ..Collect::default() };
        let end = ask(&at, &get("/endless")).await.unwrap().drain(LONG, &mut sink, &never).await;
        assert_eq!(end, BodyEnd::Stopped(Stopped::Sink));
        assert!(sink.bytes.len() >= 100_000 && sink.bytes.len() < 200_000, "no more once it is enough");

        assert_eq!(ask(&at, &get("/endless")).await.unwrap().text(12_345, LONG).await, [b'x'; 12_345]);
        assert_eq!(ask(&at, &get("/slow")).await.unwrap().text(100, soon).await, b"x", "what came until then");
    }
}
