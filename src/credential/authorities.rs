//! A file of certificate authorities. Looked at before anything is contacted; what is in it is judged where TLS is made.

use std::path::Path;

use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use super::{CredentialError, read_certificates};

/// Reads a file of authorities in PEM form. `what` names it: `the kubelets' authorities`.
///
/// # Errors
/// It cannot be read, is no plain file of 1 MiB at most, or holds no certificate or one that cannot be read.
pub fn authorities_file(path: &Path, what: &str) -> Result<Vec<u8>, CredentialError> {
    let of = format!("{what} {}", path.display());
    let pem = read_certificates(path, &of)?;
    let found: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if found.is_empty() => {
            Err(CredentialError(format!("{of} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)")))
        }
        Ok(_) => Ok(pem),
        Err(_) => Err(CredentialError(format!("{of} is not PEM that can be read"))),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "test files need not survive a crash")]

    use super::*;

    #[test]
    fn only_a_plain_file_with_a_certificate_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let judge = || authorities_file(&path, "the authorities").map_err(|e| e.0);
        assert!(judge().unwrap_err().starts_with("cannot read the authorities /"));
        for (text, want) in [
            ("", "holds no certificate in PEM form"),
            ("no PEM at all", "holds no certificate in PEM form"),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "holds no certificate in PEM form"),
            ("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n", "is not PEM that can be read"),
        ] {
            std::fs::write(&path, text).unwrap();
            assert!(judge().unwrap_err().contains(want), "{text:?}: {:?}", judge());
        }
        let good = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        std::fs::write(&path, good).unwrap();
        assert_eq!(judge().unwrap(), good.as_bytes());
        std::fs::File::options().append(true).open(&path).unwrap().set_len((1 << 20) + 1).unwrap();
        assert!(judge().unwrap_err().ends_with("is no plain file of 1 MiB at most"));
        // A pipe would wait for whoever writes to it.
        std::fs::remove_file(&path).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
        assert!(judge().unwrap_err().ends_with("is no plain file of 1 MiB at most"));
        assert!(authorities_file(dir.path(), "x").unwrap_err().0.ends_with("is no plain file of 1 MiB at most"));
    }
}
