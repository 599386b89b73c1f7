//! Proves to a server who we are: offers keys one after the other until it is content, and says
//! what was tried if it never is. Public keys only. Called once per connection, after the host
//! key was accepted; what to offer comes from `offers`, signatures from `signer`.

use std::path::PathBuf;
use std::time::Duration;

use russh::client::{AuthResult, Handle, Handler};
use russh::keys::{HashAlg, PublicKey};
use russh::{MethodKind, MethodSet};
use tokio::time::Instant;

use crate::inventory::target::Credentials;
use crate::printable::printable;
use crate::session::auth::agent::Agent;
use crate::session::auth::keys::KeyRing;
use crate::session::auth::offers::{Offer, Offers, SignWith, What};
use crate::session::auth::signer::{SignError, Signer};
use crate::session::error::{FailureKind, SessionError};

/// Keys named in an error; more only make it unreadable.
const NAMED: usize = 8;

/// Logs in as `user` and returns how: `agent ED25519 SHA256:…`, `key /root/.ssh/id_rsa`,
/// `certificate …`; several joined by `, then ` where the server wanted more than one.
///
/// A key that cannot be used (encrypted with nobody to ask, readable by others, damaged) does
/// not stop the others; it is told if nothing else works.
///
/// # Errors
/// `Auth` if the server accepted nothing; `LocalFile` if the reason is a key of ours: nothing
/// could be offered, or the server accepted a key that then could not sign. The text names user
/// and keys, not the endpoint.
///
/// # Cancel safety
/// None: after a drop a late answer of the server would be taken for the answer to something
/// else. On a timeout drop the whole connection.
pub(crate) async fn authenticate<H: Handler>(
    handle: &mut Handle<H>,
    user: &str,
    credentials: &Credentials,
    keys: &KeyRing,
) -> Result<String, SessionError> {
    let mut record = Record { user: printable(user, 64), ..Record::default() };
    let mut agent = None;
    let mut identities = Vec::new();
    if let Some(socket) = &credentials.agent_socket {
        match Agent::open(socket, handle.agent_session_binding(), keys).await {
            Ok((open, held)) => {
                agent = Some(open);
                identities = held;
            }
            Err(problem) => record.problems.push(problem),
        }
    }
    let offers = Offers::collect(credentials, identities, keys).await;
    record.problems.extend(offers.problems);
    record.missing = offers.missing;
    let mut rsa_hash = RsaHash::Unasked;
    for offer in offers.list {
        let Some(offer) = record.unlocked(offer, keys).await else { continue };
        let mut hash = None;
        if offer.what.is_rsa() {
            let Ok(chosen) = rsa_hash.choose(handle).await else { return Err(record.failure(None)) };
            if chosen.is_none() {
                record.problems.push(format!("{}: the server takes RSA only with SHA-1", offer.label));
                continue;
            }
            hash = chosen;
        }
        let mut signer = Signer { label: &offer.label, with: &offer.sign, keys, agent: agent.as_mut() };
        let result = match &offer.what {
            What::Key(key) => {
                handle.authenticate_publickey_with(user, PublicKey::from(key.clone()), hash, &mut signer).await
            }
            What::Certificate(certificate) => {
                handle.authenticate_certificate_with(user, certificate.as_ref().clone(), hash, &mut signer).await
            }
            What::Locked => continue,
        };
        match result {
            Ok(AuthResult::Success) => {
                record.accepted.push(offer.label);
                return Ok(record.accepted.join(", then "));
            }
            Ok(AuthResult::Failure { remaining_methods, partial_success }) => {
                if partial_success {
                    record.accepted.push(offer.label);
                } else {
                    record.refused.push(offer.label);
                }
                if !remaining_methods.contains(&MethodKind::PublicKey) {
                    return Err(record.failure(Some(remaining_methods)));
                }
                record.methods = Some(remaining_methods);
            }
            Err(SignError::Gone) => return Err(record.failure(None)),
            // The server was content with the key, we are not able to use it.
            Err(SignError::Key(problem)) => record.unsigned.push(problem),
        }
    }
    if record.methods.is_some() || !record.unsigned.is_empty() {
        let methods = record.methods.take();
        return Err(record.failure(methods));
    }
    // Nothing was offered; still, some servers let in without, and all say what they want.
    match handle.authenticate_none(user).await {
        Ok(AuthResult::Success) => Ok("none".to_owned()),
        Ok(AuthResult::Failure { remaining_methods, .. }) => Err(record.failure(Some(remaining_methods))),
        Err(_) => Err(record.failure(None)),
    }
}

/// Does [`authenticate`] within `budget`, not counting the time in which a person is asked for a
/// passphrase.
///
/// # Errors
/// Those of [`authenticate`], and `AuthStalled` when the budget is used up: then drop the connection.
pub(crate) async fn authenticate_within<H: Handler>(
    handle: &mut Handle<H>,
    user: &str,
    credentials: &Credentials,
    keys: &KeyRing,
    budget: Duration,
) -> Result<String, SessionError> {
    const TICK: Duration = Duration::from_millis(200);
    let work = authenticate(handle, user, credentials, keys);
    tokio::pin!(work);
    let mut left = budget;
    loop {
        let (asking, began) = (keys.is_asking(), Instant::now());
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(left.min(TICK)) => {}
        }
        if !asking {
            left = left.saturating_sub(began.elapsed());
        }
        if left.is_zero() {
            return Err(SessionError::new(
                FailureKind::AuthStalled,
                format!("user {}: authentication did not finish within {}", printable(user, 64), humantime::format_duration(budget)),
            )
            .with_hint("the node is overloaded or its PAM hangs (LDAP, DNS); an agent that waits for a confirmation looks the same"));
        }
    }
}

/// Which hash the server takes for RSA; asking may take a second, so only if there is an RSA key.
enum RsaHash {
    Unasked,
    Known(Option<HashAlg>),
}

impl RsaHash {
    /// Returns the hash, or `None` if the server takes only SHA-1.
    async fn choose<H: Handler>(&mut self, handle: &Handle<H>) -> Result<Option<HashAlg>, russh::Error> {
        if let Self::Known(hash) = self {
            return Ok(*hash);
        }
        // A server that does not say is tried with the better one; None would mean SHA-1.
        let hash = handle.best_supported_rsa_hash().await?.unwrap_or(Some(HashAlg::Sha512));
        *self = Self::Known(hash);
        Ok(hash)
    }
}

/// What happened so far.
#[derive(Debug, Default)]
struct Record {
    user: String,
    accepted: Vec<String>,
    refused: Vec<String>,
    problems: Vec<String>,
    missing: Vec<PathBuf>,
    /// What the server said last that it takes.
    methods: Option<MethodSet>,
    /// Sentences on keys the server was content with and that could not sign.
    unsigned: Vec<String>,
}

impl Record {
    /// Unlocks an offer whose public half is not known; `None`, and a problem noted, if that fails.
    async fn unlocked(&mut self, mut offer: Offer, keys: &KeyRing) -> Option<Offer> {
        if let (What::Locked, SignWith::File(file)) = (&offer.what, &offer.sign) {
            match keys.unlock(file).await {
                Ok(private) => offer.what = What::Key(private.public_key().key_data().clone()),
                Err(problem) => {
                    self.problems.push(problem);
                    return None;
                }
            }
        }
        Some(offer)
    }

    /// Makes the sentence. `methods`: what the server still takes; empty or `None`: it hung up.
    fn failure(self, methods: Option<MethodSet>) -> SessionError {
        let user = &self.user;
        let tried = self.accepted.len() + self.refused.len();
        let takes = methods.map(|m| m.iter().map(<&str>::from).collect::<Vec<_>>().join(", ")).unwrap_or_default();
        let hung_up = takes.is_empty();
        let mut kind = FailureKind::Auth;
        let (text, hint) = if !self.unsigned.is_empty() {
            kind = FailureKind::LocalFile;
            (
                format!("user {user}: the server accepts a key that cannot be used{}", named(": ", &self.unsigned)),
                "make the key usable, or load it into an agent: ssh-add",
            )
        } else if hung_up && tried <= 1 {
            (
                format!(
                    "user {user}: the server closed the connection during authentication{}",
                    named(" after the offer of ", &self.refused)
                ),
                "look into the node's sshd log",
            )
        } else if hung_up {
            (
                format!(
                    "user {user}: too many authentication failures: {tried} keys were offered{}",
                    named(": ", &self.refused)
                ),
                "set identities-only and name the one key for this node; sshd's MaxAuthTries is the limit",
            )
        } else if !self.accepted.is_empty() {
            (
                format!(
                    "user {user}: the server accepted {} and wants more: {takes}{}",
                    self.accepted.join(", then "),
                    named("; it refused ", &self.refused)
                ),
                "the node wants several proofs (AuthenticationMethods); name the other keys as well",
            )
        } else if tried > 0 {
            let keys = if tried == 1 { "the only key" } else { "all keys" };
            (
                format!(
                    "user {user}: the server refused {keys} offered ({}); it takes {takes}",
                    named("", &self.refused)
                ),
                "is this the right user, and is the key in its authorized_keys on the node? sshd's log there tells why",
            )
        } else {
            kind = if self.problems.is_empty() { FailureKind::Auth } else { FailureKind::LocalFile };
            let missing: Vec<String> = self.missing.iter().map(|p| p.display().to_string()).collect();
            (
                format!(
                    "user {user}: there is no key to offer{}; the server takes {takes}",
                    named(": none of these exist: ", &missing)
                ),
                "name a key file, or start an agent and load the key: ssh-add",
            )
        };
        let text = format!("{text}{}", named("; not used: ", &self.problems));
        SessionError::new(kind, text).with_hint(hint)
    }
}

/// Returns `lead` and the first few items; nothing if there are none.
fn named(lead: &str, items: &[String]) -> String {
    if items.is_empty() {
        return String::new();
    }
    let shown: Vec<&str> = items.iter().take(NAMED).map(String::as_str).collect();
    let more = items.len().saturating_sub(NAMED);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{lead}{}{rest}", shown.join(", "))
}
