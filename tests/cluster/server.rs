//! An API server in this process that says what a test tells it to: over TLS, one request a connection, with every request and
//! its Authorization header kept.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub authorization: String,
    pub body: String,
    /// A client certificate was shown.
    pub certificate: bool,
}

/// What is answered.
pub enum Reply {
    Say(u16, Vec<u8>),
    /// Nothing, for ever.
    Hang,
    /// The end of the connection.
    Close,
    /// A head that promises more than comes.
    Cut(Vec<u8>),
    /// A body that never ends.
    Endless,
}

pub fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kube-apiserver").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub fn say(name: &str) -> Reply {
    let status = name.get(..3).and_then(|digits| digits.parse().ok()).unwrap_or(200);
    Reply::Say(status, fixture(name))
}

/// A certificate authority of a test.
pub struct Ca {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        valid(&mut parameters);
        Self { pem: parameters.self_signed(&key).unwrap().pem(), issuer: Issuer::new(parameters, key) }
    }

    /// Certificate and key, PEM.
    pub fn sign(&self, names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let mut parameters = CertificateParams::new(names).unwrap();
        valid(&mut parameters);
        (parameters.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

fn valid(parameters: &mut CertificateParams) {
    let day = Duration::from_secs(24 * 3600);
    parameters.not_before = (SystemTime::now() - day).into();
    parameters.not_after = (SystemTime::now() + day).into();
}

pub struct ApiServer {
    pub at: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ApiServer {
    /// Starts one with a certificate for these names.
    pub async fn start(ca: &Ca, names: &[&str], reply: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let (certificate, key) = ca.sign(names);
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .allow_unauthenticated()
            .build()
            .unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (kept, reply) = (Arc::clone(&asked), Arc::new(reply));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, kept, reply) = (acceptor.clone(), Arc::clone(&kept), Arc::clone(&reply));
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let certificate = stream.get_ref().1.peer_certificates().is_some();
                    let Some(mut asked) = read(&mut stream).await else { return };
                    asked.certificate = certificate;
                    kept.lock().unwrap().push(asked.clone());
                    write(&mut stream, reply(&asked)).await;
                });
            }
        });
        Self { at, asked, task }
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.at)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub fn paths(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.path).collect()
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Asked> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).await.ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let mut first = head.lines().next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let header = |name: &str| {
        let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(name));
        line.and_then(|line| line.split_once(": ")).map(|(_, value)| value.to_owned()).unwrap_or_default()
    };
    let mut body = vec![0; header("content-length:").parse().unwrap_or(0)];
    stream.read_exact(&mut body).await.ok()?;
    let body = String::from_utf8(body).unwrap();
    Some(Asked { method, path, authorization: header("authorization:"), body, certificate: false })
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), reply: Reply) {
    let head = |status: u16, length: usize| {
        format!("HTTP/1.1 {status} Said\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
    };
    match reply {
        Reply::Hang => std::future::pending().await,
        Reply::Close => {}
        Reply::Say(status, body) => {
            let _ = stream.write_all(head(status, body.len()).as_bytes()).await;
            let _ = stream.write_all(&body).await;
        }
        Reply::Cut(body) => {
            let _ = stream.write_all(head(200, body.len() + 1000).as_bytes()).await;
            let _ = stream.write_all(&body).await;
        }
        Reply::Endless => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await;
            while stream.write_all(&[b'x'; 65536]).await.is_ok() {}
        }
    }
    let _ = stream.shutdown().await;
}
