//! Certificates: the self-signed one a kubelet makes at its first start, those of a test's own CA, and the name in one.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

use crate::failed;

/// Subject of the CA that [`Ca`] makes.
const CA_NAME: &str = "kubelet-stand-in-ca";

/// Returns the self-signed certificate chain and its key, both PEM. As in a kubelet (client-go `cert.GenerateSelfSignedCertKey`)
/// it is signed by a CA that exists in the same file only, names the host and no address, and lasts a year. With a
/// directory it is kept there, under the kubelet's names, and used again.
pub fn self_signed(directory: Option<&Path>, hostname: &str) -> io::Result<(String, String)> {
    let Some(directory) = directory else { return make_self_signed(hostname) };
    let (certificate, key) = (directory.join("kubelet.crt"), directory.join("kubelet.key"));
    if certificate.exists() && key.exists() {
        return Ok((std::fs::read_to_string(certificate)?, std::fs::read_to_string(key)?));
    }
    let made = make_self_signed(hostname)?;
    std::fs::create_dir_all(directory).map_err(|error| failed(directory.display(), error))?;
    write(&key, &made.1)?;
    write(&certificate, &made.0)?;
    Ok(made)
}

fn make_self_signed(hostname: &str) -> io::Result<(String, String)> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let ca = Ca::make(&format!("{hostname}-ca@{now}"))?;
    let (certificate, key) =
        ca.sign(&format!("{hostname}@{now}"), None, &[hostname.to_owned()], ExtendedKeyUsagePurpose::ServerAuth)?;
    Ok((certificate + &ca.certificate, key))
}

/// A CA for tests.
pub struct Ca {
    /// The certificate, PEM.
    pub certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    fn make(name: &str) -> io::Result<Self> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let parameters = ca_parameters(name)?;
        let certificate = parameters.self_signed(&key).map_err(io::Error::other)?.pem();
        Ok(Self { certificate, issuer: Issuer::new(parameters, key) })
    }

    /// Makes a new CA.
    pub fn new() -> io::Result<Self> {
        Self::make(CA_NAME)
    }

    /// Returns the CA kept in `ca.crt` and `ca.key` of a directory; made there when it is missing.
    pub fn kept(directory: &Path) -> io::Result<Self> {
        let (certificate, key) = (directory.join("ca.crt"), directory.join("ca.key"));
        if certificate.exists() && key.exists() {
            let key = KeyPair::from_pem(&std::fs::read_to_string(key)?).map_err(io::Error::other)?;
            let certificate = std::fs::read_to_string(certificate)?;
            return Ok(Self { certificate, issuer: Issuer::new(ca_parameters(CA_NAME)?, key) });
        }
        let ca = Self::new()?;
        write(&key, &ca.issuer.key().serialize_pem())?;
        write(&certificate, &ca.certificate)?;
        Ok(ca)
    }

    /// Returns a serving certificate and its key for names and addresses.
    pub fn serving(&self, names: &[String]) -> io::Result<(String, String)> {
        let first = names.first().map_or("localhost", String::as_str);
        let user = format!("system:node:{first}");
        self.sign(&user, Some("system:nodes"), names, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// Returns a client certificate and its key for a user.
    pub fn client(&self, user: &str) -> io::Result<(String, String)> {
        self.sign(user, None, &[], ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(
        &self,
        name: &str,
        organization: Option<&str>,
        names: &[String],
        usage: ExtendedKeyUsagePurpose,
    ) -> io::Result<(String, String)> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let mut parameters = CertificateParams::new(names.to_vec()).map_err(io::Error::other)?;
        parameters.distinguished_name.push(DnType::CommonName, name);
        if let Some(organization) = organization {
            parameters.distinguished_name.push(DnType::OrganizationName, organization);
        }
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        parameters.extended_key_usages = vec![usage];
        parameters.use_authority_key_identifier_extension = true;
        limit_validity(&mut parameters);
        let certificate = parameters.signed_by(&key, &self.issuer).map_err(io::Error::other)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
}

fn ca_parameters(name: &str) -> io::Result<CertificateParams> {
    let mut parameters = CertificateParams::new(Vec::new()).map_err(io::Error::other)?;
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    limit_validity(&mut parameters);
    Ok(parameters)
}

fn limit_validity(parameters: &mut CertificateParams) {
    let now = SystemTime::now();
    parameters.not_before = (now - Duration::from_secs(3600)).into();
    parameters.not_after = (now + Duration::from_secs(365 * 24 * 3600)).into();
}

/// Writes a PEM file that its owner alone can read.
#[expect(clippy::disallowed_methods, reason = "a file of a test's own, nobody reads it while it is made")]
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).map_err(|error| failed(path.display(), error))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
}

/// Returns the common name of a certificate's subject. The certificate has been verified before.
pub fn common_name(certificate: &[u8]) -> Option<String> {
    const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03]; // 2.5.4.3
    let (_, certificate, _) = element(certificate)?;
    let (_, mut rest, _) = element(certificate)?;
    if rest.first() == Some(&0xa0) {
        (_, _, rest) = element(rest)?; // version
    }
    for _ in ["serial number", "signature", "issuer", "validity"] {
        (_, _, rest) = element(rest)?;
    }
    let (_, mut subject, _) = element(rest)?;
    while let Some((_, set, others)) = element(subject) {
        subject = others;
        let (_, attribute, _) = element(set)?;
        let (_, kind, value) = element(attribute)?;
        if kind == COMMON_NAME {
            return String::from_utf8(element(value)?.1.to_vec()).ok();
        }
    }
    None
}

/// Splits off the first DER element: its tag, its content, what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, short], rest) = bytes.split_first_chunk()?;
    let (length, rest) = if short < 0x80 {
        (usize::from(short), rest)
    } else {
        let (length, rest) = rest.split_at_checked(usize::from(short & 0x7f))?;
        (length.iter().try_fold(0usize, |sum, byte| sum.checked_mul(256)?.checked_add(usize::from(*byte)))?, rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}
