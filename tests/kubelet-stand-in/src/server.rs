//! Ports and connections: TLS with HTTP/1.1 (and HTTP/2 when asked for) on one, plain `/healthz` on the other.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::answer::Kubelet;
use crate::body::Body;
use crate::failed;
use crate::fault::Faults;
use crate::flags::Flags;
use crate::tls::{Peer, Tls};

/// What Go's server says to those who speak HTTP where it wants TLS, as recorded.
const NOT_TLS: &[u8] = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// Serves until the process is killed.
pub async fn serve(flags: Flags) -> io::Result<()> {
    let tls = Arc::new(Tls::new(&flags.tls)?);
    let secure = bind(SocketAddr::new(flags.address, flags.port)).await?;
    let plain = bind((Ipv4Addr::LOCALHOST, flags.healthz_port).into()).await?;
    if let Some(journal) = &flags.journal {
        let lines = std::fs::read(journal).map_err(|error| failed(journal.display(), error))?;
        io::stderr().write_all(&lines)?;
    }
    if flags.port == 0 {
        writeln!(io::stdout(), "{} {}", secure.local_addr()?, plain.local_addr()?)?;
    }
    let kubelet = Arc::new(Kubelet::new(flags)?);
    tokio::select! {
        () = accept(plain, kubelet.clone(), plain_connection) => {}
        () = accept(secure, kubelet, move |kubelet, stream| secure_connection(kubelet, tls.clone(), stream)) => {}
    }
    Ok(())
}

/// Listens.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| failed(address, error))
}

/// Accepts connections until the process is killed.
pub async fn accept<A, F>(listener: TcpListener, server: Arc<A>, serve: impl Fn(Arc<A>, TcpStream) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(serve(server.clone(), stream))),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await, // out of descriptors, say
        }
    }
}

/// A connection that fails has ended, which is all that can be told: its client did that, or a fault.
async fn plain_connection(kubelet: Arc<Kubelet>, stream: TcpStream) {
    let service = service_fn(move |request| {
        let kubelet = kubelet.clone();
        async move { kubelet.answer_plain(request).await }
    });
    let _ = http1().serve_connection(TokioIo::new(stream), service).await;
}

/// What answers on a TLS port.
pub trait Answers: Send + Sync + 'static {
    /// The faults in force.
    fn faults(&self) -> Faults;

    /// Answers a request.
    fn answer(
        &self,
        peer: &Peer,
        request: Request<Incoming>,
    ) -> impl Future<Output = io::Result<Response<Body>>> + Send;
}

/// Serves one connection until it ends.
pub async fn secure_connection<A: Answers>(server: Arc<A>, tls: Arc<Tls>, mut stream: TcpStream) {
    let mut first = [0; 1];
    if server.faults().silent {
        // Until the client leaves; what it sends is taken, as the kernel would for a process that hangs.
        while matches!(tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 4096]).await, Ok(1..)) {}
        return;
    }
    if !matches!(stream.peek(&mut first).await, Ok(1)) {
        return;
    }
    if first.iter().all(u8::is_ascii_uppercase) {
        let _ = stream.write_all(NOT_TLS).await;
        let _ = stream.shutdown().await;
        // Closing with the request unread would reset the connection and could lose the answer.
        let mut rest = vec![0; 4096];
        let drain = async { while matches!(tokio::io::AsyncReadExt::read(&mut stream, &mut rest).await, Ok(1..)) {} };
        let _ = tokio::time::timeout(Duration::from_secs(1), drain).await;
        return;
    }
    let Ok(stream) = tls.acceptor(&server.faults()).accept(stream).await else { return };
    let peer = tls.peer(stream.get_ref().1);
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = service_fn(move |request| {
        let (server, peer) = (server.clone(), peer.clone());
        async move { server.answer(&peer, request).await }
    });
    let _ = if http2 {
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service)
            .await
    } else {
        http1().serve_connection(TokioIo::new(stream), service).await
    };
}

/// HTTP/1.1 as Go writes it; no time limit on idle connections, as the kubelet's server has none either.
fn http1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.title_case_headers(true).timer(TokioTimer::new());
    builder
}
