//! Requests as they go out, and answers up to the end of their heads.

use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::pki::{Identity, VERSIONS};
use super::server::{Act, TestServer, say, talker};
use super::{LONG, TOKEN, ask, failure, get, whole};
use crate::session::http::{HttpError, Method, Request, Server, TlsServer, Trust, send};
use crate::session::{FailureKind, Session};

fn redirect(status: u16, location: &str) -> Vec<Act> {
    vec![say(&format!("HTTP/1.1 {status} Over There\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"))]
}

fn ok(body: &str) -> Vec<Act> {
    vec![say(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))]
}

#[tokio::test]
async fn a_request_has_these_headers_and_no_others() {
    let server = TestServer::start(None, &[("/a?b=c%20d", ok("")), ("/v", ok("")), ("/none", ok(""))]).await;
    let token = SecretString::from(TOKEN);
    let asked = Request { bearer: Some(&token), gzip: true, ..get("/a?b=c%20d") };
    assert!(!format!("{asked:?}").contains(TOKEN), "{asked:?}");
    ask(&server.plain(), &asked).await.unwrap();
    let put = Request { method: Method::Put, body: Bytes::from_static(b"4"), ..get("/v") };
    ask(&server.plain(), &put).await.unwrap();
    ask(&server.plain(), &Request { method: Method::Put, ..get("/none") }).await.unwrap();
    let common = format!(
        "host: 127.0.0.1:{}\r\nuser-agent: plegcollect/{}\r\nconnection: close\r\n",
        server.port,
        env!("CARGO_PKG_VERSION")
    );
    let want = [
        format!("GET /a?b=c%20d HTTP/1.1\r\n{common}accept-encoding: gzip\r\nauthorization: Bearer {TOKEN}\r\n\r\n"),
        format!("PUT /v HTTP/1.1\r\n{common}content-length: 1\r\n\r\n4"),
        format!("PUT /none HTTP/1.1\r\n{common}content-length: 0\r\n\r\n"),
    ];
    assert_eq!(server.asked(), want);
}

#[tokio::test]
async fn what_cannot_stand_in_a_request_is_not_sent() {
    let server = TestServer::start(None, &[]).await;
    for bad in ["", "two words", "token\n", "tök", "a\0b", "a\rX-Evil: 1"] {
        let token = SecretString::from(bad);
        let error = ask(&server.plain(), &Request { bearer: Some(&token), ..get("/") }).await.err().unwrap();
        let text = format!("{error} {error:?}");
        assert!(text.contains("the token ") && (bad.is_empty() || !text.contains(bad)), "{text}");
    }
    for path in ["", "healthz", "/a b", "/a\r\nX: y", "http://other/", "*", "?x"] {
        let error = failure(&server.plain(), path).await;
        assert!(error.to_string().contains("is no path"), "{error}");
    }
    let error = failure(&Server { host: "a\nb".to_owned(), ..server.plain() }, "/").await;
    assert!(error.to_string().contains("is no name of a host"), "{error}");
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn any_status_is_an_answer() {
    let server = TestServer::start(
        None,
        &[
            ("/401", vec![say("HTTP/1.1 401 Unauthorized\r\nContent-Length: 12\r\n\r\nUnauthorized")]),
            ("/204", vec![say("HTTP/1.1 204 No Content\r\n\r\n"), Act::Hang]),
            ("/304", vec![say("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"), Act::Hang]),
            // As Go's server answers plain HTTP on a port with TLS.
            ("/400", vec![say("HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request"), Act::Close]),
            ("/100", vec![say("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")]),
            ("/307", vec![say("HTTP/1.1 307 Nowhere\r\nContent-Length: 1\r\n\r\nx")]),
        ],
    )
    .await;
    for (path, status, body) in [
        ("/401", 401, "Unauthorized"),
        ("/204", 204, ""),
        ("/304", 304, ""),
        ("/400", 400, "Client sent an HTTP request"),
        ("/100", 200, "x"),
        ("/307", 307, "x"),
        ("/unknown", 404, ""),
    ] {
        let answer = ask(&server.plain(), &get(path)).await.unwrap();
        assert_eq!((answer.status, answer.peer.as_ref()), (status, None), "{path}");
        assert_eq!(whole(answer).await, body.as_bytes(), "{path}");
    }
}

#[tokio::test]
async fn gzip_is_told_and_left_packed() {
    let packed = |coding: &str| {
        vec![say(&format!("HTTP/1.1 200 OK\r\n{coding}Content-Length: 4\r\nContent-Type: x/y\r\n\r\n\x1f\x08zz"))]
    };
    let rows = [
        ("/1", "Content-Encoding: gzip\r\n", true),
        ("/2", "content-encoding:  GZIP \r\n", true),
        ("/3", "", false),
        ("/4", "Content-Encoding: identity\r\n", false),
        ("/5", "Content-Encoding: br\r\n", false),
    ];
    let server = TestServer::start(None, &rows.map(|(path, coding, _)| (path, packed(coding)))).await;
    for (path, _, gzip) in rows {
        let answer = ask(&server.plain(), &Request { gzip: true, ..get(path) }).await.unwrap();
        assert_eq!((answer.gzip, answer.headers["content-type"].to_str().unwrap()), (gzip, "x/y"), "{path}");
        assert_eq!(whole(answer).await, b"\x1f\x08zz");
    }
}

#[tokio::test]
async fn redirects_are_followed_within_the_same_server_only() {
    let to = |port| format!("http://127.0.0.1:{port}");
    let other = TestServer::start(None, &[("/", ok("stolen"))]).await;
    // Its own port is known only once it listens: first one to find a free port.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let here = to(port);
    let rows: &[(&str, String, Option<&str>)] = &[
        ("/debug/pprof", "/debug/pprof/".to_owned(), Some("/debug/pprof/")),
        ("/a/full", format!("{here}/x?y=1#z"), Some("/x?y=1")),
        ("/a/scheme-less", format!("//127.0.0.1:{port}/x"), Some("/x")),
        ("/a/upper", format!("HTTP://127.0.0.1:{port}/x"), Some("/x")),
        ("/a/relative?q", "b".to_owned(), Some("/a/b")),
        ("/a/query?q", "?r".to_owned(), Some("/a/query?r")),
        ("/a/other-port", format!("{}/", to(other.port)), None),
        ("/a/other-scheme", format!("https://127.0.0.1:{port}/"), None),
        ("/a/other-host", format!("http://localhost:{port}/"), None),
        ("/a/no-port", "http://127.0.0.1/".to_owned(), None),
        ("/a/user", format!("http://u@127.0.0.1:{port}/"), None),
        ("/a/elsewhere", format!("//127.0.0.1:{}/", other.port), None),
        ("/a/backslash", format!("/\\127.0.0.1:{}/", other.port), None),
        ("/a/token", format!("http://evil/?{TOKEN}"), None),
        ("/a/long-token", format!("http://evil/?{}{TOKEN}", "x".repeat(190)), None),
        ("/a/mail", "mailto:x@y".to_owned(), None),
        ("/a/control", "/a\tb".to_owned(), None),
        ("/a/no-path", "/<x".to_owned(), None),
        ("/a/no-path-and-the-token", format!("/<{TOKEN}"), None),
        ("/a/long-and-no-path", format!("/<{}", "x".repeat(30_000)), None),
    ];
    drop(listener);
    for status in [301, 302, 303, 307, 308] {
        let mut acts: Vec<(&str, Vec<Act>)> = rows.iter().map(|(from, to, _)| (*from, redirect(status, to))).collect();
        for path in ["/debug/pprof/", "/x?y=1", "/x", "/a/b", "/a/query?r"] {
            acts.push((path, ok(path)));
        }
        let server = TestServer::start_at(port, None, &acts).await;
        for (from, to, want) in rows {
            if let Some(want) = want {
                let answer = ask(&server.plain(), &get(from)).await.unwrap();
                assert_eq!((answer.status, whole(answer).await), (200, want.as_bytes().to_vec()), "{from}");
            } else {
                let error = failure(&server.plain(), from).await;
                let shown = if to.contains(TOKEN) { "a place with the token in its name" } else { to };
                let shown = crate::printable::printable(shown, 200);
                let want =
                    format!("it redirects to {shown}, which is no path of the server that was asked: not followed");
                assert!(matches!(error, HttpError::Broken(_)), "{error:?}");
                assert_eq!(error.to_string(), want);
            }
        }
        server.stop().await;
    }
    assert!(other.asked().is_empty());
}

#[tokio::test]
async fn redirects_are_counted_and_a_put_is_not_sent_again() {
    let acts = [
        ("/1", redirect(307, "/2")),
        ("/2", redirect(307, "/3")),
        ("/3", redirect(307, "/4")),
        ("/4", ok("there")),
        ("/0", redirect(307, "/1")),
        ("/round", redirect(307, "/round")),
    ];
    let server = TestServer::start(None, &acts).await;
    assert_eq!(whole(ask(&server.plain(), &get("/1")).await.unwrap()).await, b"there");
    for path in ["/0", "/round"] {
        assert_eq!(failure(&server.plain(), path).await.to_string(), "more than 3 redirects one after the other");
    }
    let before = server.asked().len();
    let put = Request { method: Method::Put, body: Bytes::from_static(b"4"), ..get("/round") };
    assert_eq!(ask(&server.plain(), &put).await.unwrap().status, 307);
    assert_eq!(server.asked().len(), before + 1);
}

#[tokio::test]
async fn a_head_that_is_none_or_too_large_is_told() {
    let large = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(80 << 10));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(101));
    let most = format!("HTTP/1.1 200 OK\r\n{}Content-Length: 0\r\n\r\n", "X: y\r\n".repeat(99));
    let fits = format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(60 << 10));
    let server = TestServer::start(
        None,
        &[
            ("/large", vec![say(&large), Act::Hang]),
            ("/endless", vec![say("HTTP/1.1 200 OK\r\nX: "), Act::Repeat(&[b'x'; 4096])]),
            ("/many", vec![say(&many), Act::Hang]),
            ("/most", vec![say(&most)]),
            ("/fits", vec![say(&fits)]),
            ("/none", vec![say("hello there, this is no HTTP at all\r\n"), Act::Hang]),
            ("/closed", vec![Act::Drop]),
            ("/half", vec![say("HTTP/1.1 200 O"), Act::Close]),
        ],
    )
    .await;
    let large = "the head of the answer has more than 100 headers or 64 KiB";
    let closed = "the connection was closed before an answer came";
    for (path, want) in [
        ("/large", large),
        ("/endless", large),
        ("/many", large),
        ("/none", "what came is not HTTP/1"),
        ("/closed", closed),
        ("/half", closed),
    ] {
        let error = failure(&server.plain(), path).await;
        assert!(matches!(error, HttpError::Broken(_)), "{path}: {error:?}");
        assert_eq!(error.to_string(), want, "{path}");
    }
    for path in ["/most", "/fits"] {
        assert_eq!(ask(&server.plain(), &get(path)).await.unwrap().status, 200, "{path}");
    }
    let reset = Server { port: talker(b"SSH-2.0-x\r\n").await, ..server.plain() };
    assert_eq!(failure(&reset, "/").await.to_string(), "what came is not HTTP/1");
}

#[tokio::test]
async fn a_port_nobody_listens_on_is_refused() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = failure(&Server { host: "127.0.0.1".to_owned(), port, tls: None }, "/").await;
    assert!(matches!(&error, HttpError::Connect(e) if e.kind == FailureKind::Refused), "{error:?}");
}

/// A socket that is connected to by the kernel alone: a process that hangs.
async fn hung() -> (TcpListener, Server) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, Server { host: "127.0.0.1".to_owned(), port, tls: None })
}

#[tokio::test]
async fn waiting_for_a_head_ends_when_it_was_told_to() {
    let soon = Duration::from_millis(300);
    let identity = Identity::own(&["k"], |_| {});
    let acts = [
        ("/hung", vec![Act::Hang]),
        ("/half", vec![say("HTTP/1.1 200 OK\r\n"), Act::Hang]),
        ("/on", redirect(307, "/hung")),
        ("/continue", vec![Act::Repeat(b"HTTP/1.1 100 Continue\r\n\r\n")]),
    ];
    let plain = TestServer::start(None, &acts).await;
    let server = TestServer::start(Some(identity.server(VERSIONS[1], None)), &acts).await;
    let (_listener, silent) = hung().await;
    let tls = TlsServer { names: Vec::new(), trust: Trust::Any, client: None };
    let silent_tls = Server { tls: Some(tls), ..silent.clone() };
    for (server, path, up) in [
        (server.tls(Trust::Any, &[]), "/hung", true),
        (server.tls(Trust::Any, &[]), "/half", true),
        (server.tls(Trust::Any, &[]), "/on", true),
        (plain.plain(), "/continue", true),
        (silent.clone(), "/", true),
        (silent_tls, "/", false),
    ] {
        let error = ask(&server, &Request { head_within: soon, ..get(path) }).await.err().unwrap();
        assert!(
            matches!(error, HttpError::NoAnswer { after, tls_done } if (after, tls_done) == (soon, up)),
            "{path}: {error:?}"
        );
    }
    // Cancelled: at once, whatever was still to be waited for.
    let cancel = CancellationToken::new();
    let request = Request { head_within: LONG, ..get("/") };
    let session = Session::local();
    let waiting = send(&session, &silent, &request, &cancel);
    let (error, ()) = tokio::join!(waiting, async {
        tokio::task::yield_now().await;
        cancel.cancel();
    });
    let error = error.err().unwrap();
    assert!(matches!(&error, HttpError::Connect(e) if e.kind == FailureKind::Cancelled), "{error:?}");
}
