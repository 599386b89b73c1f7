//! A client certificate with its key, from PEM files or from PEM a kubeconfig holds.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{Error, InconsistentKeys};

use super::CredentialError;
use super::secret_file::read_secret_file;
use crate::session::http::ClientCert;

/// Longest file of certificates or of a key.
const MOST: usize = 1 << 20;

/// Reads a file of certificates, 1 MiB at most; `what` names it, with its path. Blocks for the local disk.
///
/// # Errors
/// It cannot be read, or is no plain file of that size: a pipe may never end.
pub(super) fn read_certificates(path: &Path, what: &str) -> Result<Vec<u8>, CredentialError> {
    let failed = |e: std::io::Error| CredentialError(format!("cannot read {what}: {e}"));
    let meta = std::fs::metadata(path).map_err(failed)?;
    if !meta.is_file() || meta.len() > MOST as u64 {
        return Err(CredentialError(format!("{what} is no plain file of 1 MiB at most")));
    }
    std::fs::read(path).map_err(failed)
}

/// Reads a client certificate (with its chain) and its key.
///
/// # Errors
/// One cannot be read, others may read the key, the key is encrypted, or the two do not belong together.
pub fn client_certificate(certificate: &Path, key: &Path) -> Result<ClientCert, CredentialError> {
    let what = format!("the client certificate {}", certificate.display());
    let chain = read_certificates(certificate, &what)?;
    let of_key = format!("the client key {}", key.display());
    if std::fs::metadata(key).is_ok_and(|meta| !meta.is_file()) {
        return Err(CredentialError(format!("{of_key} is no plain file")));
    }
    let key = read_secret_file(key, "the client key", MOST)?;
    client_certificate_from_pem(&chain, &what, &key, &of_key)
}

/// Takes a client certificate (with its chain) and its key from PEM. `what` and `of_key` name them in sentences.
///
/// # Errors
/// One of them is none, the key is encrypted, or the two do not belong together.
pub fn client_certificate_from_pem(
    chain: &[u8],
    what: &str,
    key: &[u8],
    of_key: &str,
) -> Result<ClientCert, CredentialError> {
    let fail = |text: String| Err(CredentialError(text));
    let certificates: Result<Vec<CertificateDer<'static>>, pem::Error> =
        CertificateDer::pem_slice_iter(chain).collect();
    let certificates = match certificates {
        Ok(certificates) if certificates.is_empty() => {
            return fail(format!("{what} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)"));
        }
        Ok(certificates) => certificates,
        Err(_) => return fail(format!("{what} is not PEM that can be read")),
    };
    // `BEGIN ENCRYPTED PRIVATE KEY` of PKCS #8, `Proc-Type: 4,ENCRYPTED` of the older form (RFC 1421).
    if key.windows(9).any(|window| window == b"ENCRYPTED") {
        return fail(format!(
            "{of_key} is encrypted, and nobody is asked for its passphrase: decrypt it with `openssl pkey -in KEY -out FILE`"
        ));
    }
    let mut der = match PrivateKeyDer::from_pem_slice(key) {
        Ok(der) => der,
        Err(pem::Error::NoItemsFound) => {
            return fail(format!("{of_key} holds no key in PEM form (-----BEGIN PRIVATE KEY-----)"));
        }
        // Its messages may quote what they stumbled over.
        Err(_) => return fail(format!("{of_key} is not PEM that can be read")),
    };
    let provider: CryptoProvider = aws_lc_rs::default_provider();
    let loaded = provider.key_provider.load_private_key(der.clone_key());
    zeroize::Zeroize::zeroize(&mut der);
    let Ok(signing) = loaded else {
        return fail(format!("{of_key} is of a kind that cannot be used: RSA, ECDSA (P-256 to P-521) and Ed25519 can"));
    };
    let pair = CertifiedKey::new(certificates, signing);
    match pair.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {
            Ok(ClientCert(Arc::new(SingleCertAndKey::from(pair))))
        }
        Err(Error::InconsistentKeys(_)) => fail(format!("{of_key} does not belong to {what}")),
        Err(_) => fail(format!("{what} is no certificate that can be read")),
    }
}
