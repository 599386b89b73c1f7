//! TLS towards servers on nodes: how a certificate is judged, and what is told of it.

mod handshake;
mod judge;

use std::fmt;
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tokio_rustls::rustls::client::ResolvesClientCert;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};

pub(super) use handshake::Handshake;

/// The one implementation of cryptography; a process default is never asked for.
static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));

/// sha256 of a certificate's SubjectPublicKeyInfo: stays the same when a certificate is renewed with the same key, and is
/// what curl's `--pinnedpubkey` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Spki(pub [u8; 32]);

/// How a server's certificate is judged.
#[derive(Debug, Clone)]
pub enum Trust {
    /// It is signed by one of these authorities, is valid now, and holds one of the names.
    Ca(Arc<Vec<CertificateDer<'static>>>),
    /// Its key is this one; nothing else counts.
    Pinned(Spki),
    /// Any is taken, and told in [`Peer`].
    Any,
}

/// A client certificate with its key.
#[derive(Clone)]
pub struct ClientCert(pub Arc<dyn ResolvesClientCert>);

impl fmt::Debug for ClientCert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCert")
    }
}

/// What is known of a server's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its key.
    pub spki: Spki,
    /// sha256 of the whole certificate, hex.
    pub certificate: String,
}

/// Why TLS was not agreed on. Texts are one clause each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsFailure {
    /// The certificate is not what [`super::Trust`] asks for: unknown authority, wrong name, expired.
    Certificate {
        /// What is wrong with it.
        why: String,
    },
    /// The key is another one than the pinned.
    Pin {
        /// The key it has, as [`Spki`] prints.
        has: String,
    },
    /// The server did not accept our client certificate, or wants one.
    ClientCertificate {
        /// Its alert.
        why: String,
    },
    /// It speaks no TLS we know, or something else.
    Handshake {
        /// What came.
        why: String,
    },
}

/// Judges a chain that was fetched in another way (by curl on the node) exactly as in a handshake of our own, and returns
/// what is known of its first certificate.
///
/// # Errors
/// As a handshake would give.
pub fn inspect(chain: &[CertificateDer<'static>], trust: &Trust, names: &[String]) -> Result<Peer, TlsFailure> {
    let Some((first, rest)) = chain.split_first() else {
        return Err(TlsFailure::Certificate { why: "it shows no certificate".to_owned() });
    };
    judge::Judge::new(trust, names)?.judge(first, rest, UnixTime::now())
}

impl fmt::Display for Spki {
    /// `sha256:` and 64 hex digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::str::FromStr for Spki {
    type Err = String;

    /// Reads what `Display` writes, and curl's `sha256//BASE64`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = if let Some(digits) = text.strip_prefix("sha256:") {
            unhex(digits)
        } else if let Some(packed) = text.strip_prefix("sha256//") {
            STANDARD.decode(packed).ok()
        } else {
            None
        };
        let key = bytes.and_then(|bytes| bytes.try_into().ok());
        key.map(Self).ok_or_else(|| {
            let shown = crate::printable::printable(text, 100);
            format!("{shown:?} is no key: write sha256: and 64 hex digits, or sha256// and base64 as for curl")
        })
    }
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = digits.chars().map(|c| c.to_digit(16).and_then(|n| u8::try_from(n).ok())).collect();
    let digits = digits?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate { why } | Self::ClientCertificate { why } | Self::Handshake { why } => f.write_str(why),
            Self::Pin { has } => write!(f, "its certificate has another key than the pinned one: {has}"),
        }
    }
}
