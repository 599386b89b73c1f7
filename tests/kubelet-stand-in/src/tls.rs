//! TLS as the kubelet does it: a given or a self-signed serving certificate, and client certificates that are asked for
//! but not insisted on. One of a wrong CA is no failure of the connection: its request gets 401.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig, ServerConnection, SignatureScheme,
};

use crate::failed;
use crate::fault::Faults;
use crate::pki;

/// A certificate chain and its key.
type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// What a server is given for TLS.
#[derive(Debug, Clone, Default)]
pub struct TlsFiles {
    /// Serving certificate; self-signed without it.
    pub certificate: Option<PathBuf>,
    /// Key of the serving certificate.
    pub key: Option<PathBuf>,
    /// CA of client certificates; without it none is asked for.
    pub client_ca: Option<PathBuf>,
    /// Where a self-signed certificate is kept from one start to the next; in memory without it.
    pub kept_in: Option<PathBuf>,
    /// Name in a self-signed certificate.
    pub hostname: String,
    /// Offer HTTP/2 by ALPN.
    pub http2: bool,
}

/// Whom a client's certificate says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// It has shown none.
    Unknown,
    /// It has shown one that the client CA has not signed.
    Stranger,
    /// The name in a certificate of the client CA.
    Named(String),
}

impl Peer {
    /// Returns the name.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Named(name) => Some(name),
            Self::Unknown | Self::Stranger => None,
        }
    }
}

/// Everything connections are accepted with.
pub struct Tls {
    given: Option<Offers>,
    self_signed: Offers,
    client_ca: Option<Arc<dyn ClientCertVerifier>>,
    http2: bool,
}

/// The same certificate without ALPN, as kubelet 1.36.2, and with HTTP/2, as 1.21.1.
struct Offers {
    http1: TlsAcceptor,
    http2: TlsAcceptor,
}

impl Tls {
    /// Reads the files; makes the self-signed certificate.
    pub fn new(files: &TlsFiles) -> io::Result<Self> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let client_ca = match &files.client_ca {
            Some(path) => Some(client_verifier(path, &provider)?),
            None => None,
        };
        let offers = |identity: Identity| Offers::new(&provider, client_ca.as_ref(), identity);
        let given = match (&files.certificate, &files.key) {
            (Some(certificate), Some(key)) => Some(offers(read_identity(certificate, key)?)?),
            _ => None,
        };
        let (certificate, key) = pki::self_signed(files.kept_in.as_deref(), &files.hostname)?;
        let self_signed = offers(parse_identity(certificate.as_bytes(), key.as_bytes())?)?;
        Ok(Self { given, self_signed, client_ca, http2: files.http2 })
    }

    /// Returns what accepts a connection now.
    pub fn acceptor(&self, faults: &Faults) -> &TlsAcceptor {
        let offers = self.given.as_ref().filter(|_| !faults.self_signed).unwrap_or(&self.self_signed);
        if self.http2 || faults.http2 { &offers.http2 } else { &offers.http1 }
    }

    /// Returns whom the client's certificate says it is.
    pub fn peer(&self, connection: &ServerConnection) -> Peer {
        let Some((certificate, chain)) = connection.peer_certificates().and_then(<[_]>::split_first) else {
            return Peer::Unknown;
        };
        let signed = |ca: &Arc<dyn ClientCertVerifier>| {
            ca.verify_client_cert(certificate, chain, UnixTime::now()).ok()?;
            pki::common_name(certificate)
        };
        self.client_ca.as_ref().and_then(signed).map_or(Peer::Stranger, Peer::Named)
    }
}

impl Offers {
    fn new(
        provider: &Arc<CryptoProvider>,
        client_ca: Option<&Arc<dyn ClientCertVerifier>>,
        (chain, key): Identity,
    ) -> io::Result<Self> {
        let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let builder = builder.map_err(io::Error::other)?;
        let builder = match client_ca {
            Some(inner) => builder
                .with_client_cert_verifier(Arc::new(AskOnly { inner: inner.clone(), provider: provider.clone() })),
            None => builder.with_no_client_auth(),
        };
        let config = builder.with_single_cert(chain, key).map_err(|error| failed("serving certificate", error))?;
        let mut http2 = config.clone();
        http2.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { http1: TlsAcceptor::from(Arc::new(config)), http2: TlsAcceptor::from(Arc::new(http2)) })
    }
}

fn client_verifier(path: &Path, provider: &Arc<CryptoProvider>) -> io::Result<Arc<dyn ClientCertVerifier>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(path.display(), error))? {
        roots
            .add(certificate.map_err(|error| failed(path.display(), error))?)
            .map_err(|error| failed(path.display(), error))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    verifier.map_err(|error| failed(path.display(), error))
}

fn read_identity(certificate: &Path, key: &Path) -> io::Result<Identity> {
    let read = |path: &Path| std::fs::read(path).map_err(|error| failed(path.display(), error));
    parse_identity(&read(certificate)?, &read(key)?).map_err(|error| failed(certificate.display(), error))
}

fn parse_identity(certificate: &[u8], key: &[u8]) -> io::Result<Identity> {
    let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<_, _>>().map_err(io::Error::other)?;
    Ok((chain, PrivateKeyDer::from_pem_slice(key).map_err(io::Error::other)?))
}

/// Go's `tls.RequestClientCert`: the holder has to prove the key, but whose certificate it is matters only to the request.
#[derive(Debug)]
struct AskOnly {
    inner: Arc<dyn ClientCertVerifier>,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AskOnly {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
