//! The connection to an SSH agent: one per SSH session, because a connection can be bound to a
//! session only once. Lists identities itself: russh gives up the whole list for one key of a
//! type it does not know.

use std::io;
use std::path::Path;

use russh::keys::agent::client::{AgentClient, AgentStream};
use russh::keys::agent::{AgentIdentity, AgentSessionBinding};
use russh::keys::{self, Certificate, HashAlg, PublicKey};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::session::auth::keys::KeyRing;

/// OpenSSH's own limit for a message of the agent protocol.
const MAX_ANSWER: usize = 256 << 10;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;

type Stream = Box<dyn AgentStream + Send + Unpin>;

/// An open, bound connection to an agent.
pub(super) struct Agent {
    client: AgentClient<Stream>,
}

impl Agent {
    /// Connects to the agent, binds the connection to the SSH session (for keys that may be used
    /// towards certain hosts only), and returns it with the identities it holds.
    ///
    /// # Errors
    /// A sentence naming the socket.
    pub(super) async fn open(
        socket: &Path,
        binding: Option<&AgentSessionBinding>,
        keys: &KeyRing,
    ) -> Result<(Self, Vec<AgentIdentity>), String> {
        let fail = |e: &dyn std::fmt::Display| format!("agent {}: {e}", socket.display());
        let _turn = keys.agent_turn().await;
        let stream = UnixStream::connect(socket).await.map_err(|e| fail(&e))?;
        let mut client = AgentClient::connect(stream);
        if let Some(binding) = binding {
            match client.bind_session(binding, false).await {
                // Agents that do not know the extension say failure, and work without.
                Ok(()) | Err(keys::Error::AgentFailure) => {}
                Err(e) => return Err(fail(&e)),
            }
        }
        let mut stream: Stream = client.into_inner();
        let answer = request_identities(&mut stream).await.map_err(|e| fail(&e))?;
        let identities = parse_identities(&answer).ok_or_else(|| fail(&"it does not speak the agent protocol"))?;
        Ok((Self { client: AgentClient::connect(stream) }, identities))
    }

    /// Returns `data` followed by the signature of `identity` as an SSH string.
    ///
    /// # Errors
    /// The agent does not hold the key, or its user declined, or it is gone.
    pub(super) async fn sign(
        &mut self,
        identity: &AgentIdentity,
        hash: Option<HashAlg>,
        data: Vec<u8>,
    ) -> Result<Vec<u8>, keys::Error> {
        self.client.sign_request(identity, hash, data).await
    }
}

async fn request_identities(stream: &mut Stream) -> io::Result<Vec<u8>> {
    stream.write_all(&[0, 0, 0, 1, REQUEST_IDENTITIES]).await?;
    stream.flush().await?;
    let length = usize::try_from(stream.read_u32().await?).unwrap_or(usize::MAX);
    if length > MAX_ANSWER {
        return Err(io::Error::other("its answer is too long"));
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

/// Returns the identities in an answer, without those of a type that is not known; `None` if it
/// is no such answer.
fn parse_identities(answer: &[u8]) -> Option<Vec<AgentIdentity>> {
    let (&IDENTITIES_ANSWER, mut rest) = answer.split_first()? else { return None };
    let count = u32::from_be_bytes(take(&mut rest, 4)?.try_into().ok()?);
    let mut identities = Vec::new();
    for _ in 0..count {
        let blob = take_string(&mut rest)?;
        let _comment = take_string(&mut rest)?;
        identities.extend(parse_identity(blob));
    }
    Some(identities)
}

fn parse_identity(blob: &[u8]) -> Option<AgentIdentity> {
    let mut rest = blob;
    let algorithm = take_string(&mut rest)?;
    if algorithm.ends_with(b"-cert-v01@openssh.com") {
        // A certificate whose signing key is one again: the parser would follow the chain.
        if blob.windows(10).filter(|w| *w == b"-cert-v01@").count() > 1 {
            return None;
        }
        return Certificate::from_bytes(blob).ok().map(AgentIdentity::from);
    }
    PublicKey::from_bytes(blob).ok().map(AgentIdentity::from)
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

fn take_string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u32::from_be_bytes(take(rest, 4)?.try_into().ok()?);
    take(rest, usize::try_from(length).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(out: &mut Vec<u8>, bytes: &[u8]) {
        out.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
        out.extend(bytes);
    }

    #[test]
    fn a_key_of_an_unknown_type_does_not_hide_the_others() {
        let good =
            PublicKey::from_openssh("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ");
        let good = good.unwrap().to_bytes().unwrap();
        let mut odd = Vec::new();
        string(&mut odd, b"ssh-next");
        string(&mut odd, b"whatever");
        let mut answer = vec![IDENTITIES_ANSWER, 0, 0, 0, 3];
        for blob in [&odd, &good, &vec![0, 0, 0, 200]] {
            string(&mut answer, blob);
            string(&mut answer, b"comment");
        }
        assert_eq!(parse_identities(&answer).unwrap().len(), 1);
        assert!(parse_identities(&answer[..answer.len() - 1]).is_none(), "cut");
        assert!(parse_identities(&[5]).is_none(), "failure");
        assert!(parse_identities(&[]).is_none());
    }
}
