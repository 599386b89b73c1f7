//! One TLS handshake of ours, and what its failures mean in words.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::{ResolvesClientCert, Resumption};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{AlertDescription, CertificateError, ClientConfig, Error, SignatureScheme};

use super::judge::{Judge, Verifier};
use super::{ClientCert, PROVIDER, Peer, TlsFailure};
use crate::printable::printable;
use crate::session::http::TlsServer;
use crate::session::http::wire::{Seen, Wire};

/// A handshake, before and after.
pub(in crate::session::http) struct Handshake {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    verifier: Arc<Verifier>,
    shown: Arc<Shown>,
}

impl Handshake {
    /// `host` goes by the name that is connected to.
    ///
    /// # Errors
    /// If no authority can be read.
    pub(in crate::session::http) fn new(server: &TlsServer, host: &str) -> Result<Self, TlsFailure> {
        let verifier = Arc::new(Verifier::new(Judge::new(&server.trust, &server.names)?));
        let shown = Arc::new(Shown { certificate: server.client.clone(), ..Shown::default() });
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&PROVIDER))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|e| TlsFailure::Handshake { why: format!("TLS cannot be set up: {e}") })?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as Arc<_>)
            .with_client_cert_resolver(Arc::clone(&shown) as Arc<_>);
        // Each connection shows its certificate. No ALPN: kubelet 1.21.1 would speak HTTP/2 (seen).
        config.resumption = Resumption::disabled();
        let name = server.names.first().map_or(host, String::as_str);
        // An address is not sent as SNI. The verifier has the names it wants.
        let unnamed = || ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into());
        let name = ServerName::try_from(name.to_owned()).unwrap_or_else(|_| unnamed());
        Ok(Self { config: Arc::new(config), name, verifier, shown })
    }

    /// Shakes hands.
    ///
    /// # Errors
    /// As rustls and the connection give them; [`failure`](Self::failure) tells what they mean.
    ///
    /// # Cancel safety
    /// May be dropped at any time: the connection is closed.
    pub(in crate::session::http) async fn run(&self, wire: Wire) -> io::Result<TlsStream<Wire>> {
        TlsConnector::from(Arc::clone(&self.config)).connect(self.name.clone(), wire).await
    }

    /// Returns what is known of an accepted certificate.
    pub(in crate::session::http) fn peer(&self) -> Option<Peer> {
        self.verifier.sentence()?.ok()
    }

    /// Returns whether the server asked for a client certificate.
    pub(in crate::session::http) fn asked_for_certificate(&self) -> bool {
        self.shown.asked.load(Ordering::Relaxed)
    }

    /// Returns why the handshake failed.
    pub(in crate::session::http) fn failure(&self, error: &io::Error, seen: &Seen) -> TlsFailure {
        if let Some(Err(failure)) = self.verifier.sentence() {
            return failure;
        }
        if let Some(failure) = self.late_failure(error) {
            return failure;
        }
        let why = if seen.began_with(b"HTTP/") {
            "it answered in plain HTTP: no TLS is spoken on this port".to_owned()
        } else if seen.began_with(b"SSH-") {
            "an SSH server answered, not one with TLS".to_owned()
        } else {
            match tls_error(error) {
                Some(Error::InvalidCertificate(CertificateError::BadSignature)) => {
                    "it shows a certificate whose key it does not have".to_owned()
                }
                Some(Error::InvalidMessage(_)) => "what it answered is not TLS".to_owned(),
                Some(Error::AlertReceived(alert)) => format!("it broke off the TLS handshake: {}", alert_name(*alert)),
                Some(other) => format!("the TLS handshake failed: {}", printable(&other.to_string(), 200)),
                None if error.kind() == io::ErrorKind::UnexpectedEof => {
                    "it closed the connection in the TLS handshake".to_owned()
                }
                None if error.kind() == io::ErrorKind::ConnectionReset => {
                    "it reset the connection in the TLS handshake".to_owned()
                }
                None => format!("the connection broke in the TLS handshake: {}", printable(&error.to_string(), 200)),
            }
        };
        TlsFailure::Handshake { why }
    }

    /// Returns what a failure has to do with our client certificate, if it has. With TLS 1.3 the server's word on it comes
    /// after the handshake, with the first bytes that are read (RFC 8446, section 4.4.2.4 and appendix E).
    pub(in crate::session::http) fn late_failure(&self, error: &io::Error) -> Option<TlsFailure> {
        use AlertDescription as A;
        let Some(Error::AlertReceived(alert)) = tls_error(error) else { return None };
        let asked = self.asked_for_certificate();
        let about_it = match *alert {
            A::CertificateRequired => true,
            A::BadCertificate
            | A::UnknownCA
            | A::CertificateUnknown
            | A::CertificateExpired
            | A::CertificateRevoked
            | A::UnsupportedCertificate
            | A::AccessDenied
            | A::DecryptError
            | A::HandshakeFailure => asked,
            _ => false,
        };
        let alert = alert_name(*alert);
        let why = if self.shown.sent.load(Ordering::Relaxed) {
            format!("it does not accept our client certificate: {alert}")
        } else {
            format!("it wants a client certificate, and none was shown: {alert}")
        };
        about_it.then_some(TlsFailure::ClientCertificate { why })
    }
}

/// Returns the alert as RFC 8446 spells it, more or less: `TLS alert UnknownCA`.
fn alert_name(alert: AlertDescription) -> String {
    format!("TLS alert {alert:?}")
}

fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// Shows the client certificate, and remembers that it was asked for.
#[derive(Debug, Default)]
struct Shown {
    certificate: Option<ClientCert>,
    asked: AtomicBool,
    sent: AtomicBool,
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        let certificate = self.certificate.as_ref().and_then(|ours| ours.0.resolve(hints, schemes));
        self.sent.store(certificate.is_some(), Ordering::Relaxed);
        certificate
    }

    fn has_certs(&self) -> bool {
        self.certificate.as_ref().is_some_and(|ours| ours.0.has_certs())
    }
}
