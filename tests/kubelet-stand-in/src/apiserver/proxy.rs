//! The node proxy: a request passed on to a node's kubelet, with the API server's own client certificate. A real one's
//! successful answer was never recorded: this one is the kubelet's, whole, with the headers every answer of an API server has.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::flags::ApiFlags;
use crate::failed;
use crate::reply::Answer;

/// As the transport of a real one.
const DIAL: Duration = Duration::from_secs(30);
/// The longest answer that is passed on.
const LONGEST: usize = 256 << 20;

/// The way to kubelets.
pub(super) struct ToKubelets {
    tls: Arc<ClientConfig>,
    loopback: bool,
}

impl ToKubelets {
    /// Reads the certificates; `None` without a CA of the kubelets.
    pub(super) fn new(flags: &ApiFlags) -> io::Result<Option<Self>> {
        let Some(ca) = &flags.kubelet_ca else { return Ok(None) };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(ca).map_err(|error| failed(ca.display(), error))? {
            roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots);
        let tls = match (&flags.kubelet_certificate, &flags.kubelet_key) {
            (Some(certificate), Some(key)) => {
                let chain = CertificateDer::pem_file_iter(certificate).map_err(|e| failed(certificate.display(), e))?;
                let chain = chain.collect::<Result<_, _>>().map_err(io::Error::other)?;
                let key = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(key.display(), error))?;
                builder.with_client_auth_cert(chain, key).map_err(io::Error::other)?
            }
            _ => builder.with_no_client_auth(),
        };
        Ok(Some(Self { tls: Arc::new(tls), loopback: flags.proxy_to_loopback }))
    }

    /// Whether a real one would refuse the address (400 `address not allowed`, recorded).
    pub(super) fn refuses(&self, address: &str) -> bool {
        !self.loopback && address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified())
    }

    /// Passes a request on. An error is that of reaching the kubelet.
    pub(super) async fn ask(
        &self,
        (address, port): (&str, u16),
        (method, target): (&str, &str),
        body: Bytes,
    ) -> io::Result<Answer> {
        let stream = tokio::time::timeout(DIAL, TcpStream::connect((address, port)));
        let stream = stream.await.map_err(|_| io::Error::other("i/o timeout"))??;
        let name = ServerName::try_from(address.to_owned()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(self.tls.clone()).connect(name, stream).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        drop(tokio::spawn(connection)); // ends with the sender
        let request = Request::builder().method(method).uri(target).header("host", format!("{address}:{port}"));
        let request = request.body(Full::new(body)).map_err(io::Error::other)?;
        let (head, body) = sender.send_request(request).await.map_err(io::Error::other)?.into_parts();
        let body = Limited::new(body, LONGEST).collect().await.map_err(io::Error::other)?.to_bytes();
        let mut headers = vec![("cache-control".to_owned(), "no-cache, private".to_owned())];
        for (name, value) in &head.headers {
            if !["connection", "transfer-encoding"].contains(&name.as_str()) {
                headers.push((name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
            }
        }
        Ok(Answer { status: head.status.as_u16(), headers, body: Some(body), sized: false })
    }
}
