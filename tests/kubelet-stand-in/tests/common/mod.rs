//! Starts the stand-in on free ports and asks it over TLS: HTTP/1.1 by hand, so that a test sees every byte.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use kubelet_stand_in::pki::Ca;
use kubelet_stand_in::user::sha256;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Every right a collector uses.
pub const ALL: &str = "get:nodes/proxy,get:nodes/metrics,get:nodes/stats,get:nodes/log,get:nodes/configz,get:nodes/statusz,update:nodes/proxy";

/// A request that takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where the recordings are.
pub fn recordings() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/kubelet")
}

/// A stand-in with its CA and users; ended when dropped.
pub struct Kubelet {
    process: Child,
    pub directory: TempDir,
    pub address: String,
    pub plain: String,
    pub ca: Ca,
}

impl Kubelet {
    /// Starts one with the user `all` (token `all`) and the flags.
    pub async fn start(flags: &[&str]) -> Self {
        let users = format!("sha256:{}\tall\t{ALL}\nsha256:{}\tno-rights\t\n", sha256(b"all"), sha256(b"no-rights"));
        Self::start_with_users(&users, flags).await
    }

    pub async fn start_with_users(users: &str, flags: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ca = Ca::new().unwrap();
        let (certificate, key) = ca.serving(&["worker-001".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let path = |name: &str| directory.path().join(name);
        for (name, text) in [
            ("ca.crt", ca.certificate.as_str()),
            ("tls.crt", &certificate),
            ("tls.key", &key),
            ("users", users),
            ("journal", "I1120 a line\n"),
        ] {
            kubelet_stand_in::pki::write(&path(name), text).unwrap();
        }
        let flag = |name: &str, file: &str| format!("--{name}={}", path(file).display());
        let mut process = Command::new(env!("CARGO_BIN_EXE_kubelet"))
            .env("KUBELET_STAND_IN", format!("--port=0 --healthz-port=0 --recordings={}", recordings().display()))
            .args([
                flag("tls-cert-file", "tls.crt"),
                flag("tls-private-key-file", "tls.key"),
                flag("client-ca-file", "ca.crt"),
            ])
            .args([
                flag("users", "users"),
                flag("faults", "faults"),
                flag("request-log", "requests"),
                flag("journal", "journal"),
            ])
            .args(["--config=/var/lib/kubelet/config.yaml", "--hostname-override=worker-001", "--v=2"])
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).await.unwrap();
        let Some((address, plain)) = line.trim().split_once(' ') else {
            let mut text = String::new();
            process.stderr.take().unwrap().read_to_string(&mut text).await.unwrap();
            panic!("the stand-in has ended: {text}");
        };
        let (address, plain) = (address.to_owned(), plain.to_owned());
        Self { process, directory, address, plain, ca }
    }

    /// Returns what it has printed; ends it.
    pub async fn journal(mut self) -> String {
        self.process.kill().await.unwrap();
        let mut text = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut text).await.unwrap();
        text
    }

    /// Puts faults in force.
    pub fn faults(&self, text: &str) {
        kubelet_stand_in::pki::write(&self.directory.path().join("faults"), text).unwrap();
    }

    /// Returns the request log.
    pub fn requests(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("requests")).unwrap()
    }

    pub fn tls(&self) -> ClientConfig {
        client(&self.ca.certificate, None)
    }

    pub async fn connect(&self, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(&self.address).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("worker-001").unwrap(), stream).await
    }

    /// Sends one request on a connection of its own.
    pub async fn ask(&self, method: &str, target: &str, token: &str, body: &[u8]) -> Reply {
        let mut stream = self.connect(self.tls()).await.unwrap();
        ask_on(&mut stream, method, target, token, body, "").await
    }

    pub async fn get(&self, target: &str) -> Reply {
        self.ask("GET", target, "all", b"").await
    }

    /// Tells that a GET gets no answer for half a second.
    pub async fn hangs(&self, target: &str) -> bool {
        tokio::time::timeout(Duration::from_millis(500), self.get(target)).await.is_err()
    }
}

/// Returns a client's configuration: the CA it trusts, the certificate it has.
pub fn client(ca: &str, identity: Option<(String, String)>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap(),
    }
}

/// An answer as it came.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// As written, in their order.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The body came to the end that its head promised.
    pub whole: bool,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Sends a request on an open connection; an empty token sends none.
pub async fn ask_on<S>(stream: &mut S, method: &str, target: &str, token: &str, body: &[u8], extra: &str) -> Reply
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    tokio::time::timeout(PATIENCE, send_and_read(stream, method, target, token, body, extra)).await.unwrap_or_else(
        |_| {
            panic!("no answer to {method} {target} within {PATIENCE:?}");
        },
    )
}

async fn send_and_read<S>(stream: &mut S, method: &str, target: &str, token: &str, body: &[u8], extra: &str) -> Reply
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let bearer = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    let length = body.len();
    let head =
        format!("{method} {target} HTTP/1.1\r\nHost: worker-001\r\n{bearer}{extra}Content-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    stream.flush().await.unwrap();
    let mut reader = Reader { stream, bytes: Vec::new() };
    let head = reader.line_end(b"\r\n\r\n").await.expect("the head of an answer");
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<(String, String)> =
        lines.map(|line| line.split_once(": ").unwrap()).map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
    let mut reply = Reply { status, headers, body: Vec::new(), whole: false };
    if let Some(length) = reply.header("content-length").map(|length| length.parse().unwrap()) {
        (reply.body, reply.whole) = reader.take(length).await;
        return reply;
    }
    while let Some(line) = reader.line_end(b"\r\n").await {
        let size = usize::from_str_radix(std::str::from_utf8(&line).unwrap(), 16).unwrap();
        let (part, whole) = reader.take(size).await;
        reply.body.extend(part);
        if !whole || reader.line_end(b"\r\n").await.is_none() {
            break;
        }
        if size == 0 {
            reply.whole = true;
            break;
        }
        if reply.body.len() > 8 << 20 {
            break; // endless
        }
    }
    reply
}

struct Reader<'a, S> {
    stream: &'a mut S,
    bytes: Vec<u8>,
}

impl<S: tokio::io::AsyncRead + Unpin> Reader<'_, S> {
    async fn more(&mut self) -> bool {
        let mut part = [0; 16384];
        match self.stream.read(&mut part).await {
            Ok(0) | Err(_) => false,
            Ok(n) => {
                self.bytes.extend_from_slice(&part[..n]);
                true
            }
        }
    }

    async fn line_end(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.bytes.windows(end.len()).position(|window| window == end) {
                let line = self.bytes[..at].to_vec();
                self.bytes.drain(..at + end.len());
                return Some(line);
            }
            if !self.more().await {
                return None;
            }
        }
    }

    async fn take(&mut self, length: usize) -> (Vec<u8>, bool) {
        while self.bytes.len() < length {
            if !self.more().await {
                return (std::mem::take(&mut self.bytes), false);
            }
        }
        (self.bytes.drain(..length).collect(), true)
    }
}
