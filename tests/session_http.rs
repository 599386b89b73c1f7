//! HTTP requests through a real sshd: what its channels make of servers that close early, and of its own death.

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

use bytes::Bytes;
use plegcollect::session::http::{
    Answer, BodyEnd, HttpError, Method, Request, Server, TlsFailure, TlsServer, Trust, send,
};
use plegcollect::session::{FailureKind, Session};
use real_sshd::{Sshd, available};
use rustix::process::Signal;
use sinks::{Collect, Gated, LONG, connect};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, version};
use tokio_util::sync::CancellationToken;

async fn get(session: &Session, server: &Server, path: &str) -> Result<Answer, HttpError> {
    let request =
        Request { method: Method::Get, path, bearer: None, gzip: false, body: Bytes::new(), head_within: LONG };
    send(session, server, &request, &CancellationToken::new()).await
}

fn at(port: u16, tls: bool) -> Server {
    let tls = tls.then(|| TlsServer { names: Vec::new(), trust: Trust::Any, client: None });
    Server { host: "127.0.0.1".to_owned(), port, tls }
}

/// Answers with three bytes of five, then closes if the path says so, or waits.
async fn three_of_five() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut request = vec![0; 4096];
                let n = stream.read(&mut request).await.unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel").await.unwrap();
                if request[..n].starts_with(b"GET /whole ") {
                    stream.write_all(b"lo").await.unwrap();
                } else if request[..n].starts_with(b"GET /wait ") {
                    let _ = stream.read_to_end(&mut Vec::new()).await;
                }
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_cut_by_the_server_differs_from_one_cut_by_the_link() {
    if !available() {
        return;
    }
    let (sshd, never) = (Sshd::start(""), CancellationToken::new());
    let session = connect(&sshd.target()).await;
    let server = at(three_of_five().await, false);
    for (path, want, bytes) in [("/whole", BodyEnd::Whole, "hello"), ("/cut", BodyEnd::Cut, "hel")] {
        let mut sink = Collect::default();
        let end = get(&session, &server, path).await.unwrap().drain(LONG, &mut sink, &never).await;
        assert_eq!((end, sink.out.as_slice()), (want, bytes.as_bytes()));
    }
    let answer = get(&session, &server, "/wait").await.unwrap();
    let (mut gated, came) = Gated::open();
    let (end, ()) = tokio::join!(answer.drain(LONG, &mut gated, &never), async {
        came.acquire().await.unwrap().forget();
        sshd.signal_servers(Signal::KILL);
    });
    assert_eq!(end, BodyEnd::LinkLost);
    let error = get(&session, &server, "/whole").await.err().unwrap();
    assert!(matches!(&error, HttpError::Connect(e) if e.kind == FailureKind::LinkLost), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn forbidden_forwarding_differs_from_a_port_nobody_listens_on() {
    if !available() {
        return;
    }
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    for (config, want) in [("AllowTcpForwarding no", FailureKind::ExecRefused), ("", FailureKind::Refused)] {
        let sshd = Sshd::start(config);
        let error = get(&connect(&sshd.target()).await, &at(closed, true), "/").await.err().unwrap();
        assert!(matches!(&error, HttpError::Connect(e) if e.kind == want), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_client_certificate_is_told_though_the_server_closes_at_once() {
    if !available() {
        return;
    }
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["k".to_owned()]).unwrap().self_signed(&key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let configs = [&version::TLS12, &version::TLS13].map(|version| {
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&[version]);
        let builder = builder.unwrap().with_client_cert_verifier(Arc::clone(&clients));
        Arc::new(builder.with_single_cert(vec![certificate.der().clone()], key).unwrap())
    });
    let tries = 20;
    tokio::spawn(async move {
        for config in configs {
            for _ in 0..tries {
                let (stream, _) = listener.accept().await.unwrap();
                // Closed with the request unread: the kernel resets the connection behind the alert.
                assert!(TlsAcceptor::from(Arc::clone(&config)).accept(stream).await.is_err());
            }
        }
    });
    let sshd = Sshd::start("");
    let session = connect(&sshd.target()).await;
    for _ in 0..2 * tries {
        let error = get(&session, &at(port, true), "/").await.err().unwrap();
        assert!(matches!(error, HttpError::Tls(TlsFailure::ClientCertificate { .. })), "{error:?}");
    }
}
