//! Which keys and certificates are offered to a server, in which order, and who signs for each.
//! The order is that of `ssh`, so that a login that works with `ssh` under the server's limit
//! of tries works here. Talks to the agent only to list it; `auth` does the offering.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::agent::AgentIdentity;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, Certificate, HashAlg, PublicKey};

use crate::inventory::target::Credentials;
use crate::printable::printable;
use crate::session::auth::key_file::{KeyFile, Private, certificate_beside};
use crate::session::auth::keys::KeyRing;

/// What is shown to the server.
#[derive(Debug, Clone)]
pub(super) enum What {
    Key(KeyData),
    Certificate(Arc<Certificate>),
    /// An encrypted key whose public half nobody knows before it is unlocked.
    Locked,
}

/// Who signs.
#[derive(Debug, Clone)]
pub(super) enum SignWith {
    Agent(Box<AgentIdentity>),
    File(Arc<KeyFile>),
}

/// One thing to try.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    /// As in the manifest and in errors: `agent ED25519 SHA256:…`, `key /root/.ssh/id_rsa`.
    pub(super) label: String,
    pub(super) what: What,
    pub(super) sign: SignWith,
}

/// What there is to try, and what there is not.
#[derive(Debug, Default)]
pub(super) struct Offers {
    pub(super) list: Vec<Offer>,
    /// Sentences on keys that cannot be used; told only if nothing else works.
    pub(super) problems: Vec<String>,
    /// Key files that do not exist.
    pub(super) missing: Vec<PathBuf>,
}

/// A key file's key, or the certificate of one.
struct Slot {
    what: What,
    path: PathBuf,
    file: Arc<KeyFile>,
}

impl Offers {
    /// Returns what to try, in this order: certificates named by the operator; agent identities
    /// that are also named by identity files; the other agent identities, unless only named ones
    /// are wanted; key files, each followed by the certificate beside it.
    pub(super) async fn collect(credentials: &Credentials, agent: Vec<AgentIdentity>, keys: &KeyRing) -> Self {
        let mut offers = Self::default();
        let mut files: Vec<Arc<KeyFile>> = Vec::new();
        let mut slots = Vec::new();
        for path in &credentials.identity_files {
            if files.iter().any(|f| f.path == *path) {
                continue;
            }
            let file = keys.key_file(path).await;
            let what = file.public.clone().map_or(What::Locked, What::Key);
            slots.push(Slot { what, path: path.clone(), file: file.clone() });
            let beside = certificate_beside(path);
            if let Some(certificate) = offers.certificate(&beside, keys).await {
                slots.push(Slot { what: What::Certificate(certificate), path: beside, file: file.clone() });
            }
            files.push(file);
        }
        for path in &credentials.certificate_files {
            let Some(certificate) = offers.certificate(path, keys).await else { continue };
            let signer = agent_signer(&agent, &certificate).or_else(|| file_signer(&files, &certificate, path));
            let Some(sign) = signer else {
                offers.problems.push(format!(
                    "certificate {}: its private key is neither in a named key file nor in the agent",
                    path.display()
                ));
                continue;
            };
            offers.push(format!("certificate {}", path.display()), What::Certificate(certificate), sign);
        }
        let mut others = Vec::new();
        for identity in &agent {
            let what = what_of(identity);
            match slots.iter().position(|slot| same(&slot.what, &what)) {
                Some(at) => {
                    let slot = slots.remove(at);
                    offers.push(
                        agent_label(identity, Some(&slot.path)),
                        what,
                        SignWith::Agent(Box::new(identity.clone())),
                    );
                }
                None if !credentials.identities_only => others.push((agent_label(identity, None), what, identity)),
                None => {}
            }
        }
        for (label, what, identity) in others {
            offers.push(label, what, SignWith::Agent(Box::new(identity.clone())));
        }
        for slot in slots {
            offers.push_slot(slot, &agent);
        }
        offers.drop_repeated();
        offers
    }

    async fn certificate(&mut self, path: &Path, keys: &KeyRing) -> Option<Arc<Certificate>> {
        match keys.certificate(path).await {
            Ok(certificate) => Some(certificate),
            Err(problem) => {
                if !problem.is_empty() {
                    self.problems.push(problem);
                }
                None
            }
        }
    }

    fn push(&mut self, label: String, what: What, sign: SignWith) {
        if matches!(&what, What::Key(KeyData::Dsa(_))) {
            self.problems.push(format!("{label}: DSA keys are not supported"));
            return;
        }
        self.list.push(Offer { label, what, sign });
    }

    fn push_slot(&mut self, slot: Slot, agent: &[AgentIdentity]) {
        let path = slot.path.display();
        if let What::Certificate(certificate) = &slot.what {
            let signer = agent_signer(agent, certificate)
                .or_else(|| file_signer(std::slice::from_ref(&slot.file), certificate, &slot.path));
            // Without a signer the key's own slot has said why.
            if let Some(sign) = signer {
                self.push(format!("certificate {path}"), slot.what, sign);
            }
            return;
        }
        match &slot.file.private {
            Private::Plain(_) | Private::Encrypted(_) => {
                self.push(format!("key {path}"), slot.what, SignWith::File(slot.file.clone()));
            }
            Private::Absent if slot.file.public.is_some() => self
                .problems
                .push(format!("key {path}: there is only its public half, and no agent holds the private one")),
            Private::Absent => self.missing.push(slot.path),
            Private::Unusable(problem) => self.problems.push(problem.clone()),
        }
    }

    /// An identity in two places is one try, not two.
    fn drop_repeated(&mut self) {
        let mut seen = HashSet::new();
        self.list.retain(|offer| match &offer.what {
            What::Key(key) => PublicKey::from(key.clone()).to_bytes().map_or(true, |blob| seen.insert(blob)),
            What::Certificate(c) => c.to_bytes().map_or(true, |blob| seen.insert(blob)),
            What::Locked => true,
        });
    }
}

impl What {
    /// Returns whether the signature needs a hash to be chosen.
    pub(super) fn is_rsa(&self) -> bool {
        match self {
            Self::Key(key) => key.is_rsa(),
            Self::Certificate(certificate) => certificate.public_key().is_rsa(),
            Self::Locked => false,
        }
    }
}

fn what_of(identity: &AgentIdentity) -> What {
    match identity {
        AgentIdentity::PublicKey { key, .. } => What::Key(key.key_data().clone()),
        AgentIdentity::Certificate { certificate, .. } => What::Certificate(Arc::new(certificate.clone())),
    }
}

/// Comments do not count.
fn same(a: &What, b: &What) -> bool {
    match (a, b) {
        (What::Key(a), What::Key(b)) => a == b,
        (What::Certificate(a), What::Certificate(b)) => {
            matches!((a.to_bytes(), b.to_bytes()), (Ok(a), Ok(b)) if a == b)
        }
        _ => false,
    }
}

/// The agent signs for a certificate if it holds its key, with or without the certificate.
fn agent_signer(agent: &[AgentIdentity], certificate: &Certificate) -> Option<SignWith> {
    let holds = |plain: bool| {
        agent.iter().find(|identity| {
            matches!(identity, AgentIdentity::PublicKey { .. }) == plain
                && identity.public_key().key_data() == certificate.public_key()
        })
    };
    holds(true).or_else(|| holds(false)).map(|identity| SignWith::Agent(Box::new(identity.clone())))
}

fn file_signer(files: &[Arc<KeyFile>], certificate: &Certificate, path: &Path) -> Option<SignWith> {
    let usable = |f: &&Arc<KeyFile>| matches!(f.private, Private::Plain(_) | Private::Encrypted(_));
    let mut files = files.iter().filter(usable);
    // By the key; by the name where the key is not known before it is unlocked.
    let fits = |f: &&Arc<KeyFile>| match &f.public {
        Some(public) => public == certificate.public_key(),
        None => certificate_beside(&f.path) == path,
    };
    files.find(fits).map(|f| SignWith::File(f.clone()))
}

fn agent_label(identity: &AgentIdentity, path: Option<&Path>) -> String {
    let key = identity.public_key();
    let kind = match key.algorithm() {
        Algorithm::Rsa { .. } => "RSA".to_owned(),
        Algorithm::Ecdsa { .. } => "ECDSA".to_owned(),
        Algorithm::Ed25519 => "ED25519".to_owned(),
        Algorithm::SkEd25519 => "ED25519-SK".to_owned(),
        Algorithm::SkEcdsaSha2NistP256 => "ECDSA-SK".to_owned(),
        other => printable(other.as_str(), 40),
    };
    let certificate = if matches!(identity, AgentIdentity::Certificate { .. }) { "-CERT" } else { "" };
    let fingerprint = key.fingerprint(HashAlg::Sha256);
    let path = path.map(|p| format!(" ({})", p.display())).unwrap_or_default();
    format!("agent {kind}{certificate} {fingerprint}{path}")
}
