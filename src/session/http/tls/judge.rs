//! How a server's certificate is judged. A handshake asks it as rustls's verifier; a chain that came otherwise is shown to
//! it directly.

use std::sync::{Mutex, PoisonError};

use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use tokio_rustls::rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::{PROVIDER, Peer, Spki, TlsFailure, Trust};
use crate::printable::printable;

/// Most names of a certificate that are shown.
const NAMES_SHOWN: usize = 8;

/// Judges certificates of one server.
#[derive(Debug)]
pub(super) struct Judge {
    basis: Basis,
}

#[derive(Debug)]
enum Basis {
    Authorities { roots: RootCertStore, names: Vec<String> },
    Key(Spki),
    Nothing,
}

impl Judge {
    /// # Errors
    /// If no authority can be read.
    pub(super) fn new(trust: &Trust, names: &[String]) -> Result<Self, TlsFailure> {
        let basis = match trust {
            Trust::Ca(authorities) => {
                let mut roots = RootCertStore::empty();
                let (_, bad) = roots.add_parsable_certificates(authorities.iter().cloned());
                if roots.is_empty() {
                    return Err(refused(format!("none of the {bad} authorities to judge it by can be read")));
                }
                Basis::Authorities { roots, names: names.to_vec() }
            }
            Trust::Pinned(key) => Basis::Key(*key),
            Trust::Any => Basis::Nothing,
        };
        Ok(Self { basis })
    }

    /// Returns what is known of the first certificate if it is accepted.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn judge(
        &self,
        first: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Peer, TlsFailure> {
        let parsed = ParsedCertificate::try_from(first).map_err(|e| refused(worded(&e)))?;
        let key = Spki(Sha256::digest(parsed.subject_public_key_info()).into());
        match &self.basis {
            Basis::Nothing => {}
            Basis::Key(wanted) if *wanted == key => {}
            Basis::Key(_) => return Err(TlsFailure::Pin { has: key.to_string() }),
            Basis::Authorities { roots, names } => {
                let algorithms = PROVIDER.signature_verification_algorithms.all;
                verify_server_cert_signed_by_trust_anchor(&parsed, roots, rest, now, algorithms)
                    .map_err(|e| refused(worded(&e)))?;
                named(&parsed, names)?;
            }
        }
        let certificate = Sha256::digest(first).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Peer { spki: key, certificate })
    }
}

/// Checks that a certificate holds one of the names.
fn named(certificate: &ParsedCertificate<'_>, names: &[String]) -> Result<(), TlsFailure> {
    let mut holds = Vec::new();
    for name in names {
        let Ok(wanted) = ServerName::try_from(name.as_str()) else { continue };
        match verify_server_name(certificate, &wanted) {
            Ok(()) => return Ok(()),
            Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. })) => {
                holds = presented;
            }
            Err(error) => return Err(refused(worded(&error))),
        }
    }
    let wanted = names.join(", ");
    // Written `DnsName("…")` and `IpAddress(…)`.
    let bare = |name: &String| {
        let name = name.split_once('(').map_or(name.as_str(), |(_, inside)| inside.trim_end_matches(')'));
        printable(name.trim_matches('"'), 100)
    };
    let mut shown: Vec<String> = holds.iter().take(NAMES_SHOWN).map(bare).collect();
    if let more @ 1.. = holds.len().saturating_sub(NAMES_SHOWN) {
        shown.push(format!("{more} more"));
    }
    let shown = if shown.is_empty() { "no name that counts".to_owned() } else { shown.join(", ") };
    Err(refused(format!("its certificate is for {shown}, and for none of {wanted}")))
}

fn refused(why: String) -> TlsFailure {
    TlsFailure::Certificate { why }
}

fn date(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map_or_else(|_| "a date out of range".to_owned(), |at| at.to_string())
}

fn worded(error: &Error) -> String {
    let Error::InvalidCertificate(error) = error else {
        return format!("its certificate cannot be judged: {}", printable(&error.to_string(), 200));
    };
    match error {
        CertificateError::UnknownIssuer => {
            "its certificate is signed by an authority that is not among those given".to_owned()
        }
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("its certificate has expired, at {}", date(*not_after))
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("its certificate is not valid before {} (is a clock wrong?)", date(*not_before))
        }
        // All clusters of kubeadm have an authority named `kubernetes`.
        CertificateError::BadSignature => "its certificate is signed by an authority that is not among those given, \
                                           though one has its name"
            .to_owned(),
        CertificateError::BadEncoding => "its certificate cannot be read".to_owned(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "its certificate is not meant for servers (extended key usage)".to_owned()
        }
        // rustls passes webpki's word on and does not export its type.
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "its certificate is one of an authority (CA:TRUE), which no authority can vouch for as a server's: judge it \
             by its key, with pins"
                .to_owned()
        }
        other => format!("its certificate cannot be used: {}", printable(&other.to_string(), 200)),
    }
}

/// A judge as rustls asks it, with the sentence it passed. Whoever shows a certificate must prove that the key is his,
/// whatever the basis.
#[derive(Debug)]
pub(super) struct Verifier {
    judge: Judge,
    sentence: Mutex<Option<Result<Peer, TlsFailure>>>,
}

impl Verifier {
    pub(super) fn new(judge: Judge) -> Self {
        Self { judge, sentence: Mutex::new(None) }
    }

    /// Returns what was found, once a certificate was seen.
    pub(super) fn sentence(&self) -> Option<Result<Peer, TlsFailure>> {
        self.sentence.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let sentence = self.judge.judge(end_entity, intermediates, now);
        let accepted = sentence.is_ok();
        *self.sentence.lock().unwrap_or_else(PoisonError::into_inner) = Some(sentence);
        if accepted {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &PROVIDER.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &PROVIDER.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        PROVIDER.signature_verification_algorithms.supported_schemes()
    }
}
