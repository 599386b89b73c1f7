//! Judges the key or certificate a server shows, against known_hosts files or pinned
//! fingerprints, and appends new keys when the operator asked for that. Called by the handler of
//! every connection; parses each file once per run.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, Certificate, EcdsaCurve, HashAlg, PublicKeyOrCertificate};

use crate::inventory::target::{Endpoint, HostKeyMode, HostKeyPolicy};
use crate::printable::printable;
use crate::session::error::{FailureKind, SessionError};
use crate::session::host_key::certificate::certificate_fault;
use crate::session::host_key::known_hosts::{Marker, lookup_name};
use crate::session::host_key::known_hosts_cache::{Cache, Hit};
use crate::session::host_key::known_hosts_file::{self, Locked};

/// Host key types in the order they are asked for, best first, as `ssh` does. No `ssh-rsa`: its
/// signatures are SHA-1, which `ssh` refuses as well.
const PREFERRED: [Algorithm; 6] = [
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

/// How long another program may hold the lock of a known_hosts file: an append takes milliseconds.
const LOCK_BUDGET: Duration = Duration::from_secs(3);
/// After a lock was not to be had, other nodes try once and do not wait, for so long.
const LOCK_GRUDGE: Duration = Duration::from_secs(60);

/// Which host key algorithms to ask the server for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KeyPreference {
    /// Plain keys, most wanted first; empty: keep russh's default order.
    pub(crate) plain: Vec<Algorithm>,
    /// Certificates; empty: do not offer certificates.
    pub(crate) certificates: Vec<Algorithm>,
}

/// An accepted host key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// `SHA256:…` of the key (of the key inside, for a certificate).
    pub(crate) fingerprint: String,
    /// For example `ssh-ed25519`, or `ssh-ed25519-cert-v01@openssh.com`.
    pub(crate) key_type: String,
    /// `known-hosts`, `certificate`, `pinned` or `accepted-new`.
    pub(crate) by: &'static str,
}

/// The run-wide cache of parsed known_hosts files, and the judge over them. Share it in an `Arc`.
#[derive(Debug, Default)]
pub(crate) struct HostKeyJudge {
    files: Cache,
    /// One append at a time: nodes of one run need not fight for the file lock. Holds when a
    /// lock was last waited for in vain.
    appending: Mutex<Option<Instant>>,
}

/// The lines that speak of the server: under its own name, and, for another port than 22, under
/// the host alone, where `ssh` looks as well when the former say nothing.
#[derive(Debug)]
struct Hits {
    own: Vec<Hit>,
    portless: Vec<Hit>,
}

enum Plain<'a> {
    Known,
    Changed(&'a Hit),
    Unknown,
}

impl HostKeyJudge {
    /// Returns a judge that has read nothing yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Returns what to ask the server for, so that it shows a key the files can confirm: known
    /// types first; certificates only where a `@cert-authority` line matches.
    ///
    /// Reads files on first use (blocking, local, milliseconds).
    ///
    /// # Errors
    /// `LocalFile` if a known_hosts file cannot be read.
    pub(crate) fn preference(
        &self,
        policy: &HostKeyPolicy,
        endpoint: &Endpoint,
    ) -> Result<KeyPreference, SessionError> {
        let hits = self.hits(policy, endpoint)?;
        // A fingerprint does not tell its type; a line that holds the pinned key does.
        let counts = |hit: &&Hit| {
            hit.marker == Marker::Host
                && (policy.pinned.is_empty() || is_pinned(policy, &hit.key.fingerprint(HashAlg::Sha256).to_string()))
        };
        let types = |hits: &[Hit]| -> Vec<KeyData> { hits.iter().filter(counts).map(|h| h.key.clone()).collect() };
        let mut known = types(&hits.own);
        if known.is_empty() {
            known = types(&hits.portless);
        }
        let (mut plain, rest): (Vec<_>, Vec<_>) =
            PREFERRED.into_iter().partition(|algorithm| known.iter().any(|key| is_of(key, algorithm)));
        plain.extend(rest);
        // A pin is of a plain key.
        let trusted = policy.pinned.is_empty() && hits.all().any(|h| h.marker == Marker::CertAuthority);
        Ok(KeyPreference { plain, certificates: if trusted { PREFERRED.to_vec() } else { Vec::new() } })
    }

    /// Judges what the server showed. The key exchange must have proved that it holds the key
    /// (russh does that before it asks).
    ///
    /// As `ssh` does: `@revoked` refuses before all else, in any file, for the key, the key inside
    /// a certificate and its authority; a certificate counts if a `@cert-authority` line matches
    /// and it is valid; otherwise the key itself must be known. With accept-new an unknown key is
    /// appended to the first file, never a changed one, nor one whose authority we trust and whose
    /// certificate is bad.
    ///
    /// Reads files on first use, and appends (blocking, at most 3 s if another program holds the lock).
    ///
    /// # Errors
    /// `HostKeyUnknown`, `HostKeyChanged`, `HostKeyRevoked`, `HostCertificate`; `LocalFile` if a
    /// known_hosts file cannot be read, or a new key cannot be recorded.
    pub(crate) fn judge(
        &self,
        policy: &HostKeyPolicy,
        endpoint: &Endpoint,
        presented: &PublicKeyOrCertificate,
    ) -> Result<Accepted, SessionError> {
        let shown = Shown::new(presented);
        let hits = self.hits(policy, endpoint)?;
        hits.refuse_revoked(endpoint, &shown)?;
        if !policy.pinned.is_empty() {
            return judge_pinned(policy, endpoint, &shown);
        }
        let mut bad_certificate = None;
        if let Some(certificate) = shown.certificate {
            let name = policy.alias.as_deref().unwrap_or(&endpoint.host).to_ascii_lowercase();
            // One that is not signed by ours is no more and no less than a plain key.
            if hits.trust(certificate) {
                match certificate_fault(certificate, &name) {
                    None => return Ok(shown.accepted("certificate")),
                    fault => bad_certificate = fault,
                }
            }
        }
        // The exchange proved the key inside the certificate too; if that is known by itself, the
        // certificate need not convince.
        match hits.plain(&shown) {
            Plain::Known => return Ok(shown.accepted("known-hosts")),
            Plain::Changed(_) if bad_certificate.is_some() => {}
            Plain::Changed(hit) => return Err(changed(endpoint, policy, &shown, hit)),
            Plain::Unknown => {}
        }
        if let Some(fault) = bad_certificate {
            return Err(SessionError::new(
                FailureKind::HostCertificate,
                format!("the host certificate of {endpoint} is not acceptable: {fault}"),
            )
            .with_hint("issue the node a new certificate for this name, or add its plain key to known_hosts"));
        }
        match policy.mode {
            HostKeyMode::Strict => Err(unknown(endpoint, policy, &shown)),
            HostKeyMode::AcceptNew => self.accept_new(policy, endpoint, &shown),
        }
    }

    /// Appends the key under the file's lock, after looking again at what others have written.
    fn accept_new(
        &self,
        policy: &HostKeyPolicy,
        endpoint: &Endpoint,
        shown: &Shown<'_>,
    ) -> Result<Accepted, SessionError> {
        let Some(path) = policy.known_hosts.first() else {
            return Err(SessionError::new(
                FailureKind::LocalFile,
                format!("the host key of {endpoint} is new, and no known_hosts file is configured to record it in"),
            ));
        };
        let failed = |e: &dyn std::fmt::Display| {
            SessionError::new(
                FailureKind::LocalFile,
                format!("the host key of {endpoint} is new and cannot be recorded in {}: {e}", path.display()),
            )
            .with_hint("make the file writable, name another known_hosts file, or pin the fingerprint in the inventory")
        };
        let name = lookup_name(&endpoint.host, endpoint.port, policy.alias.as_deref());
        let line = known_hosts_file::line(&name, shown.key).ok_or_else(|| {
            failed(&format_args!("the name {:?} cannot stand in a known_hosts file", printable(&name, 80)))
        })?;
        let mut in_vain = self.appending.lock().unwrap_or_else(PoisonError::into_inner);
        let patience = if in_vain.is_some_and(|at| at.elapsed() < LOCK_GRUDGE) { Duration::ZERO } else { LOCK_BUDGET };
        let mut locked = Locked::open(path, patience).map_err(|e| {
            if e.kind() == std::io::ErrorKind::TimedOut {
                *in_vain = Some(Instant::now());
            }
            failed(&e)
        })?;
        self.files.refresh(path).map_err(|e| failed(&e))?;
        let hits = self.hits(policy, endpoint)?;
        hits.refuse_revoked(endpoint, shown)?;
        match hits.plain(shown) {
            Plain::Known => return Ok(shown.accepted("known-hosts")),
            Plain::Changed(hit) => return Err(changed(endpoint, policy, shown, hit)),
            Plain::Unknown => {}
        }
        locked.append(&line).map_err(|e| failed(&e))?;
        self.files.appended(path, &name, shown.key);
        Ok(shown.accepted("accepted-new"))
    }

    fn hits(&self, policy: &HostKeyPolicy, endpoint: &Endpoint) -> Result<Hits, SessionError> {
        let alias = policy.alias.as_deref();
        let own = lookup_name(&endpoint.host, endpoint.port, alias);
        let portless = lookup_name(&endpoint.host, 22, alias);
        let mut hits = Hits { own: Vec::new(), portless: Vec::new() };
        for path in &policy.known_hosts {
            let find = |name: &str| {
                self.files.find(path, name).map_err(|e| {
                    SessionError::new(
                        FailureKind::LocalFile,
                        format!("{endpoint}: known_hosts file {} cannot be read: {e}", path.display()),
                    )
                    .with_hint("make it readable, or name other known_hosts files")
                })
            };
            hits.own.extend(find(&own)?);
            if portless != own {
                hits.portless.extend(find(&portless)?);
            }
        }
        Ok(hits)
    }
}

impl Hits {
    fn all(&self) -> impl Iterator<Item = &Hit> {
        self.own.iter().chain(&self.portless)
    }

    fn refuse_revoked(&self, endpoint: &Endpoint, shown: &Shown<'_>) -> Result<(), SessionError> {
        let authority = shown.certificate.map(Certificate::signature_key);
        for hit in self.all().filter(|h| h.marker == Marker::Revoked) {
            let what = if hit.key == *shown.key {
                "host key"
            } else if Some(&hit.key) == authority {
                "authority of the host certificate"
            } else {
                continue;
            };
            return Err(SessionError::new(
                FailureKind::HostKeyRevoked,
                format!(
                    "the {what} of {endpoint} ({}) is revoked in {}:{}",
                    hit.key.fingerprint(HashAlg::Sha256),
                    hit.path.display(),
                    hit.line
                ),
            )
            .with_hint("do not connect: whoever answers there may hold a stolen key; the node needs a new host key"));
        }
        Ok(())
    }

    fn trust(&self, certificate: &Certificate) -> bool {
        self.all().any(|h| h.marker == Marker::CertAuthority && h.key == *certificate.signature_key())
    }

    fn plain(&self, shown: &Shown<'_>) -> Plain<'_> {
        let mut own = self.own.iter().filter(|h| h.marker == Marker::Host).peekable();
        match own.peek().copied() {
            Some(_) if own.any(|h| h.key == *shown.key) => Plain::Known,
            Some(first) => Plain::Changed(self.same_type(shown).unwrap_or(first)),
            None if self.portless.iter().any(|h| h.marker == Marker::Host && h.key == *shown.key) => Plain::Known,
            None => Plain::Unknown,
        }
    }

    /// The line that a changed key is best compared with.
    fn same_type(&self, shown: &Shown<'_>) -> Option<&Hit> {
        self.own.iter().find(|h| h.marker == Marker::Host && h.key.algorithm() == shown.key.algorithm())
    }
}

/// What the server showed.
struct Shown<'a> {
    key: &'a KeyData,
    certificate: Option<&'a Certificate>,
    fingerprint: String,
    key_type: String,
}

impl<'a> Shown<'a> {
    fn new(presented: &'a PublicKeyOrCertificate) -> Self {
        let (key, certificate) = match presented {
            PublicKeyOrCertificate::PublicKey { key, .. } => (key.key_data(), None),
            PublicKeyOrCertificate::Certificate(certificate) => (certificate.public_key(), Some(certificate)),
        };
        let algorithm = key.algorithm();
        Self {
            key,
            certificate,
            fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
            key_type: match certificate {
                Some(_) => algorithm.to_certificate_type(),
                None => algorithm.to_string(),
            },
        }
    }

    fn accepted(&self, by: &'static str) -> Accepted {
        // A certificate that was not what convinced is only a key.
        let key_type = if by == "certificate" { self.key_type.clone() } else { self.key.algorithm().to_string() };
        Accepted { fingerprint: self.fingerprint.clone(), key_type, by }
    }
}

fn judge_pinned(policy: &HostKeyPolicy, endpoint: &Endpoint, shown: &Shown<'_>) -> Result<Accepted, SessionError> {
    if is_pinned(policy, &shown.fingerprint) {
        return Ok(shown.accepted("pinned"));
    }
    Err(SessionError::new(
        FailureKind::HostKeyChanged,
        format!(
            "the host key of {endpoint} ({} {}) is not one of the {} pinned for it",
            shown.key_type,
            shown.fingerprint,
            policy.pinned.len()
        ),
    )
    .with_hint("if the node was reinstalled, verify the fingerprint on its console and pin that one; if not, somebody else may be answering"))
}

fn is_pinned(policy: &HostKeyPolicy, fingerprint: &str) -> bool {
    // ssh-keygen prints no padding, other tools do.
    policy.pinned.iter().any(|pin| pin.trim().trim_end_matches('=') == fingerprint)
}

fn is_of(key: &KeyData, algorithm: &Algorithm) -> bool {
    match (key, algorithm) {
        (KeyData::Rsa(_), Algorithm::Rsa { .. }) => true,
        _ => key.algorithm() == *algorithm,
    }
}

fn changed(endpoint: &Endpoint, policy: &HostKeyPolicy, shown: &Shown<'_>, known: &Hit) -> SessionError {
    let name = lookup_name(&endpoint.host, endpoint.port, policy.alias.as_deref());
    SessionError::new(
        FailureKind::HostKeyChanged,
        format!(
            "the host key of {endpoint} is not the known one: it shows {} {}, while {}:{} holds {} {}",
            shown.key.algorithm(),
            shown.fingerprint,
            known.path.display(),
            known.line,
            known.key.algorithm(),
            known.key.fingerprint(HashAlg::Sha256),
        ),
    )
    .with_hint(format!(
        "if the node was reinstalled: ssh-keygen -R '{name}' -f {}, then verify the new fingerprint; if not, somebody else may be answering",
        known.path.display()
    ))
}

fn unknown(endpoint: &Endpoint, policy: &HostKeyPolicy, shown: &Shown<'_>) -> SessionError {
    let files: Vec<String> = policy.known_hosts.iter().map(|p| p.display().to_string()).collect();
    let place = if files.is_empty() {
        "no known_hosts file is configured".to_owned()
    } else {
        format!("no line for it in {}", files.join(", "))
    };
    SessionError::new(
        FailureKind::HostKeyUnknown,
        format!("the host key of {endpoint} ({} {}) is not known: {place}", shown.key.algorithm(), shown.fingerprint),
    )
    .with_hint("verify the fingerprint and log in once with ssh, pin it in the inventory, or use --host-key accept-new")
}
