//! One private key file or certificate file: what is in it, and whether it may be used. Asks
//! nobody for passphrases; `keys` does, and keeps what was read here for the run.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, Certificate, PrivateKey, PublicKey, decode_secret_key};
use zeroize::Zeroizing;

/// More than any key or certificate.
const MAX_BYTES: u64 = 1 << 20;

/// A key file named by the operator.
#[derive(Debug)]
pub(crate) struct KeyFile {
    /// As the operator named it.
    pub(crate) path: PathBuf,
    /// The public half, if it can be known without a passphrase.
    pub(crate) public: Option<KeyData>,
    /// The private half.
    pub(crate) private: Private,
}

/// The private half of a key.
pub(crate) enum Private {
    /// Ready to sign.
    Plain(Arc<PrivateKey>),
    /// The file's text; needs a passphrase.
    Encrypted(Zeroizing<String>),
    /// There is no file, or a public key: an agent may hold the private half.
    Absent,
    /// There is something that cannot be used; one sentence naming the key and the remedy.
    Unusable(String),
}

impl std::fmt::Debug for Private {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Encrypted(_) => "Encrypted",
            Self::Absent => "Absent",
            Self::Unusable(_) => "Unusable",
        })
    }
}

impl KeyFile {
    /// Returns a key that cannot be used, with the reason.
    pub(crate) fn broken(path: &Path, reason: impl std::fmt::Display) -> Self {
        let text = format!("key {}: {reason}", path.display());
        Self { path: path.to_owned(), public: None, private: Private::Unusable(text) }
    }
}

/// Reads a key file, and `FILE.pub` where the file itself does not tell the public half.
pub(crate) fn read(path: &Path) -> KeyFile {
    let mut key = match read_bounded(path) {
        Ok((text, meta)) => parse(path, text, &meta),
        Err(e) if is_missing(&e) => KeyFile { path: path.to_owned(), public: None, private: Private::Absent },
        Err(e) => KeyFile::broken(path, e),
    };
    if key.public.is_none() {
        key.public = read_bounded(&with_suffix(path, ".pub")).ok().and_then(|(text, _)| public_line(&text));
    }
    key
}

fn parse(path: &Path, text: Zeroizing<String>, meta: &std::fs::Metadata) -> KeyFile {
    let usable = |public, private| KeyFile { path: path.to_owned(), public, private };
    let header = text.lines().map(str::trim_end).find_map(|l| l.strip_prefix("-----BEGIN ")?.strip_suffix("-----"));
    let putty = text.trim_start().starts_with("PuTTY-User-Key-File-");
    if header.is_none() && !putty {
        return match public_line(&text) {
            Some(public) => usable(Some(public), Private::Absent),
            None => KeyFile::broken(path, "it holds no private key"),
        };
    }
    // ssh refuses such a key too. Files of others are their owners' business.
    if meta.mode() & 0o077 != 0 && meta.uid() == rustix::process::getuid().as_raw() {
        let reason = format!(
            "it can be read by others (mode {:04o}), so it is not used; run: chmod 600 {}",
            meta.mode() & 0o777,
            path.display()
        );
        // The public half is left out as well: to offer a key that will not sign is a lost try.
        return KeyFile::broken(path, reason);
    }
    let convert =
        |what: &str| KeyFile::broken(path, format!("{what}; convert it with: ssh-keygen -p -f {}", path.display()));
    let old_cipher = text.lines().find_map(|l| l.strip_prefix("DEK-Info: "));
    match header {
        Some("OPENSSH PRIVATE KEY") => return openssh(path, text),
        Some("ENCRYPTED PRIVATE KEY") => return usable(None, Private::Encrypted(text)),
        Some("RSA PRIVATE KEY") if old_cipher.is_some_and(|c| c.starts_with("AES-128-CBC,")) => {
            return usable(None, Private::Encrypted(text));
        }
        Some(_) if old_cipher.is_some() => return convert("its old PEM encryption is not supported"),
        Some("RSA PRIVATE KEY" | "EC PRIVATE KEY" | "PRIVATE KEY") => {}
        Some("DSA PRIVATE KEY") => return KeyFile::broken(path, "DSA keys are not supported"),
        Some(_) => return KeyFile::broken(path, "it holds no private key of a known format"),
        None if text.lines().any(|l| l.starts_with("Encryption:") && !l.ends_with("none")) => {
            return usable(None, Private::Encrypted(text));
        }
        None => {}
    }
    match decode_secret_key(&text, None) {
        Ok(private) => usable(Some(private.public_key().key_data().clone()), Private::Plain(Arc::new(private))),
        Err(_) => convert("it is damaged or of a format that is not supported"),
    }
}

/// OpenSSH's own format tells the public half though it may be encrypted.
fn openssh(path: &Path, text: Zeroizing<String>) -> KeyFile {
    let body: Zeroizing<String> = Zeroizing::new(
        text.lines()
            .skip_while(|l| !l.starts_with("-----BEGIN "))
            .skip(1)
            .take_while(|l| !l.starts_with("-----END "))
            .flat_map(str::split_whitespace)
            .collect(),
    );
    let decoded = STANDARD.decode(body.as_bytes()).ok().map(Zeroizing::new);
    let Some(key) = decoded.and_then(|bytes| PrivateKey::from_bytes(&bytes).ok()) else {
        return KeyFile::broken(path, "it is damaged, or of a type that is not supported");
    };
    let public = key.public_key().key_data().clone();
    let private = match key.algorithm() {
        Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256 => Private::Unusable(format!(
            "key {} lives in a security key, which is used only through an agent; run: ssh-add {}",
            path.display(),
            path.display()
        )),
        _ if key.is_encrypted() => Private::Encrypted(text),
        _ => Private::Plain(Arc::new(key)),
    };
    KeyFile { path: path.to_owned(), public: Some(public), private }
}

/// Decrypts the text of a key file; `None` if the passphrase is wrong. Costs 0.1 s of CPU and
/// more, by design of the format.
pub(crate) fn decrypt(text: &str, passphrase: &str) -> Option<PrivateKey> {
    // A wrong passphrase shows as one of half a dozen decoding errors.
    decode_secret_key(text, Some(passphrase)).ok()
}

/// Reads an OpenSSH user certificate.
///
/// # Errors
/// A sentence naming the file; an empty one if there is no such file.
pub(crate) fn read_certificate(path: &Path) -> Result<Certificate, String> {
    let fail = |reason: &dyn std::fmt::Display| format!("certificate {}: {reason}", path.display());
    let (text, _) = match read_bounded(path) {
        Ok(read) => read,
        Err(e) if is_missing(&e) => return Err(String::new()),
        Err(e) => return Err(fail(&e)),
    };
    let line = content_line(&text).unwrap_or_default();
    let blob = line.split_whitespace().nth(1).and_then(|b| STANDARD.decode(b).ok()).unwrap_or_default();
    // The signing key of a certificate may not be one itself; the parser would follow the chain.
    let nested = blob.windows(10).filter(|w| *w == b"-cert-v01@").count() > 1;
    let certificate = if nested { None } else { Certificate::from_bytes(&blob).ok() };
    match certificate {
        None => Err(fail(&"it holds no OpenSSH certificate")),
        Some(c) if c.cert_type() != CertType::User => Err(fail(&"it is a host certificate")),
        Some(c) => Ok(c),
    }
}

/// Returns `KEY-cert.pub`.
pub(crate) fn certificate_beside(key: &Path) -> PathBuf {
    with_suffix(key, "-cert.pub")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn content_line(text: &str) -> Option<&str> {
    text.lines().map(str::trim).find(|l| !l.is_empty() && !l.starts_with('#'))
}

fn public_line(text: &str) -> Option<KeyData> {
    let blob = STANDARD.decode(content_line(text)?.split_whitespace().nth(1)?).ok()?;
    if blob.windows(10).any(|w| w == b"-cert-v01@") {
        return None;
    }
    PublicKey::from_bytes(&blob).ok().map(Into::into)
}

fn is_missing(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Reads a small regular file; what is not UTF-8 is replaced, and then fails to parse.
fn read_bounded(path: &Path) -> io::Result<(Zeroizing<String>, std::fs::Metadata)> {
    // Before opening: to open a pipe would wait for its writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let file = File::open(path)?;
    let meta = file.metadata()?;
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("it is too large for a key"));
    }
    Ok((Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned()), meta))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn put(dir: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
        use std::io::Write as _;
        let path = dir.join(name);
        let mut file = File::create(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn says_what_is_wrong_with_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ me\n";
        let pem = |what: &str, more: &str| format!("-----BEGIN {what}-----\n{more}\nAAAA\n-----END {what}-----\n");
        for (name, text, mode, want) in [
            ("text", "hello".to_owned(), 0o600, "holds no private key"),
            ("empty", String::new(), 0o600, "holds no private key"),
            ("open", pem("OPENSSH PRIVATE KEY", ""), 0o640, "chmod 600"),
            ("bad", pem("OPENSSH PRIVATE KEY", ""), 0o600, "damaged"),
            ("cert", pem("CERTIFICATE", ""), 0o600, "known format"),
            ("dsa", pem("DSA PRIVATE KEY", ""), 0o600, "DSA"),
            ("ec", pem("EC PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n"), 0o600, "ssh-keygen -p"),
            (
                "des",
                pem("RSA PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\nDEK-Info: DES-EDE3-CBC,00\n"),
                0o600,
                "ssh-keygen -p",
            ),
        ] {
            let path = put(dir.path(), name, &text, mode);
            let key = read(&path);
            let Private::Unusable(text) = &key.private else { panic!("{name}: {key:?}") };
            assert!(text.contains(want) && text.contains(name), "{name}: {text}");
        }
        let key = read(&put(dir.path(), "id.pub", public, 0o644));
        assert!(matches!(key.private, Private::Absent) && key.public.is_some());
        let key = read(&dir.path().join("id"));
        assert!(matches!(key.private, Private::Absent) && key.public.is_some(), "public half from id.pub");
        let key = read(&dir.path().join("none"));
        assert!(matches!(key.private, Private::Absent) && key.public.is_none());
        assert!(matches!(read(dir.path()).private, Private::Unusable(_)), "a directory");
        assert_eq!(read_certificate(&dir.path().join("none")).unwrap_err(), "");
        assert!(read_certificate(&dir.path().join("id.pub")).unwrap_err().contains("no OpenSSH certificate"));
    }
}
