//! TLS as the kubelet does it: a given or a self-signed serving certificate, and client certificates that are asked for
//! but not insisted on. One of a wrong CA is no failure of the connection: its request gets 401.

use std::io;
use std::path::Path;
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
use crate::flags::Flags;
use crate::pki;

/// A certificate chain and its key.
type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

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
    /// Reads what the flags name; makes the self-signed certificate.
    pub fn new(flags: &Flags) -> io::Result<Self> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let client_ca = match &flags.client_ca {
            Some(path) => Some(client_verifier(path, &provider)?),
            None => None,
        };
        let offers = |identity: Identity| Offers::new(&provider, client_ca.as_ref(), identity);
        let given = match (&flags.certificate, &flags.key) {
            (Some(certificate), Some(key)) => Some(offers(read_identity(certificate, key)?)?),
            _ => None,
        };
        let (certificate, key) = pki::self_signed(flags.certificate_directory.as_deref(), &flags.hostname)?;
        let self_signed = offers(parse_identity(certificate.as_bytes(), key.as_bytes())?)?;
        Ok(Self { given, self_signed, client_ca, http2: flags.http2 })
    }

    /// Returns what accepts a connection now.
    pub fn acceptor(&self, faults: &Faults) -> &TlsAcceptor {
        let offers = self.given.as_ref().filter(|_| !faults.self_signed).unwrap_or(&self.self_signed);
        if self.http2 || faults.http2 { &offers.http2 } else { &offers.http1 }
    }

    /// Returns the name in the client's certificate, if the client CA has signed that.
    pub fn client_name(&self, connection: &ServerConnection) -> Option<String> {
        let (certificate, chain) = connection.peer_certificates()?.split_first()?;
        self.client_ca.as_ref()?.verify_client_cert(certificate, chain, UnixTime::now()).ok()?;
        pki::common_name(certificate)
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
