//! Signs what a server wants signed, with a key file or the agent. Our own, because russh signs
//! RSA certificates with SHA-1, and because a key is to be unlocked only once a server wants it.

use std::sync::Arc;

use russh::keys::agent::AgentIdentity;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_key::Signature;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::{HashAlg, PrivateKey};

use crate::session::auth::agent::Agent;
use crate::session::auth::keys::KeyRing;
use crate::session::auth::offers::SignWith;

/// Why a signature was not made.
#[derive(Debug)]
pub(super) enum SignError {
    /// The connection is gone.
    Gone,
    /// The key cannot sign; one sentence naming it.
    Key(String),
}

impl From<russh::SendError> for SignError {
    fn from(_: russh::SendError) -> Self {
        Self::Gone
    }
}

/// Signs for one offer.
pub(super) struct Signer<'a> {
    pub(super) label: &'a str,
    pub(super) with: &'a SignWith,
    pub(super) keys: &'a KeyRing,
    pub(super) agent: Option<&'a mut Agent>,
}

impl russh::Signer for Signer<'_> {
    type Error = SignError;

    async fn auth_sign(
        &mut self,
        _shown: &AgentIdentity,
        hash: Option<HashAlg>,
        data: Vec<u8>,
    ) -> Result<Vec<u8>, SignError> {
        match self.with {
            SignWith::File(file) => {
                let key = self.keys.unlock(file).await.map_err(SignError::Key)?;
                sign(key, hash, data).await.map_err(|e| SignError::Key(format!("{}: {e}", self.label)))
            }
            SignWith::Agent(identity) => {
                let Some(agent) = self.agent.as_mut() else {
                    return Err(SignError::Key(format!("{}: the agent is gone", self.label)));
                };
                let _turn = self.keys.agent_turn().await;
                // Not the identity shown: for a certificate from a file the agent holds the plain key.
                agent
                    .sign(identity, hash, data)
                    .await
                    .map_err(|e| SignError::Key(format!("{}: the agent did not sign: {e}", self.label)))
            }
        }
    }
}

/// Returns `data` followed by the signature as an SSH string.
async fn sign(key: Arc<PrivateKey>, hash: Option<HashAlg>, mut data: Vec<u8>) -> Result<Vec<u8>, String> {
    // An RSA signature takes milliseconds of CPU, times the nodes that log in at once.
    let signing = tokio::task::spawn_blocking(move || {
        let signature: Signature = match (key.key_data(), hash) {
            (KeypairData::Rsa(rsa), Some(_)) => (rsa, hash).try_sign(&data),
            _ => key.try_sign(&data),
        }
        .map_err(|e| format!("it cannot sign: {e}"))?;
        let blob = Vec::<u8>::try_from(signature).map_err(|e| format!("its signature cannot be encoded: {e}"))?;
        let length = u32::try_from(blob.len()).map_err(|e| e.to_string())?;
        data.extend(length.to_be_bytes());
        data.extend(blob);
        Ok(data)
    });
    signing.await.unwrap_or_else(|e| Err(format!("signing failed: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::auth::openssh_lab::Lab;

    #[tokio::test]
    async fn rsa_signs_with_the_hash_that_was_agreed() {
        let lab = Lab::new();
        let path = lab.keygen("rsa", &["-t", "rsa", "-b", "2048"]);
        let key = Arc::new(keys_of(&path));
        for (hash, name) in [(HashAlg::Sha256, "rsa-sha2-256"), (HashAlg::Sha512, "rsa-sha2-512")] {
            let signed = sign(key.clone(), Some(hash), b"data".to_vec()).await.unwrap();
            assert_eq!(&signed[..4], b"data");
            assert_eq!(u32::from_be_bytes(signed[4..8].try_into().unwrap()) as usize, signed.len() - 8);
            assert_eq!(&signed[12..24], name.as_bytes());
        }
    }

    fn keys_of(path: &std::path::Path) -> PrivateKey {
        russh::keys::load_secret_key(path, None).unwrap()
    }
}
