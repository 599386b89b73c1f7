//! Servers of our own making on a loopback port: each answers a request with what its path says, and breaks off as told.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::session::http::{Server, TlsServer, Trust};

/// What a server does once it has read a request.
#[derive(Clone)]
pub(crate) enum Act {
    /// Sends bytes.
    Send(Vec<u8>),
    /// Sends the same bytes for ever.
    Repeat(&'static [u8]),
    /// Says nothing more, and keeps the connection open.
    Hang,
    /// Closes in order; with TLS that means close_notify.
    Close,
    /// Closes without a word of TLS.
    Drop,
}

/// What is done about a request, all of which it is given.
type Answering = dyn Fn(&str) -> Vec<Act> + Send + Sync;

pub(crate) fn say(text: &str) -> Act {
    Act::Send(text.as_bytes().to_vec())
}

/// A server, and what was asked of it.
pub(crate) struct TestServer {
    pub(crate) port: u16,
    requests: Arc<Mutex<Vec<String>>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl TestServer {
    /// Starts a server that answers by path; what it does not know is 404.
    pub(crate) async fn start(tls: Option<Arc<ServerConfig>>, acts: &[(&str, Vec<Act>)]) -> Self {
        Self::start_at(0, tls, acts).await
    }

    /// The same on a port that is known to be free.
    pub(crate) async fn start_at(port: u16, tls: Option<Arc<ServerConfig>>, acts: &[(&str, Vec<Act>)]) -> Self {
        let acts: HashMap<String, Vec<Act>> =
            acts.iter().map(|(path, acts)| ((*path).to_owned(), acts.clone())).collect();
        let unknown = vec![say("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")];
        let answer = move |request: &str| {
            let path = request.split(' ').nth(1).unwrap();
            acts.get(path).unwrap_or(&unknown).clone()
        };
        Self::start_with(port, tls, answer).await
    }

    /// The same for what depends on more of a request than its path; `answer` is given all of it.
    pub(crate) async fn start_with(
        port: u16,
        tls: Option<Arc<ServerConfig>>,
        answer: impl Fn(&str) -> Vec<Act> + Send + Sync + 'static,
    ) -> Self {
        let answer: Arc<Answering> = Arc::new(answer);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (tls, answer, log) = (tls.clone(), Arc::clone(&answer), Arc::clone(&log));
                tokio::spawn(async move {
                    if let Some(config) = tls {
                        if let Ok(stream) = TlsAcceptor::from(config).accept(stream).await {
                            converse(stream, answer.as_ref(), &log).await;
                        }
                    } else {
                        converse(stream, answer.as_ref(), &log).await;
                    }
                });
            }
        });
        Self { port, requests, accepting }
    }

    /// Gives its port back.
    pub(crate) async fn stop(self) {
        self.accepting.abort();
        let _ = self.accepting.await;
    }

    /// Returns the way to it without TLS.
    pub(crate) fn plain(&self) -> Server {
        Server { host: "127.0.0.1".to_owned(), port: self.port, tls: None }
    }

    /// Returns the way to it with TLS.
    pub(crate) fn tls(&self, trust: Trust, names: &[&str]) -> Server {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        Server { tls: Some(TlsServer { names, trust, client: None }), ..self.plain() }
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// Sends the same words to everybody, before and whatever is asked, reads what they say, and closes.
pub(crate) async fn talker(words: &'static [u8]) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(words).await;
                let _ = stream.shutdown().await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
            });
        }
    });
    port
}

async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &Answering, log: &Mutex<Vec<String>>) {
    let Some(request) = read_request(&mut stream).await else { return };
    let acts = answer(&request);
    log.lock().unwrap().push(request);
    for act in acts {
        match act {
            Act::Send(bytes) => {
                let _ = stream.write_all(&bytes).await;
                let _ = stream.flush().await;
            }
            Act::Repeat(bytes) => while stream.write_all(bytes).await.is_ok() {},
            Act::Hang => {
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
            Act::Close => {
                let _ = stream.shutdown().await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
            Act::Drop => return,
        }
    }
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
        if body.len() >= length.parse().unwrap() {
            return Some(text.into_owned());
        }
    }
}
