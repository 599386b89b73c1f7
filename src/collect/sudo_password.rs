//! The password for sudo, tried on one node before all others: a wrong one is refused once, not a
//! thousand times, so that a directory service does not lock the account.

use std::future::Future;

use secrecy::SecretString;
use tokio::sync::Mutex;

use crate::inventory::NodeName;
use crate::plan::facts::Rights;
use crate::session::SessionError;
use crate::session::command::ShellProbe;

/// The operator's password for sudo and what is known of it.
#[derive(Debug)]
pub struct SudoPassword {
    secret: SecretString,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Untried,
    Accepted,
    Refused(NodeName),
}

impl SudoPassword {
    /// Returns a password nobody has tried yet.
    #[must_use]
    pub fn new(secret: SecretString) -> Self {
        Self { secret, state: Mutex::new(State::Untried) }
    }

    /// Returns the password itself.
    pub(crate) const fn secret(&self) -> &SecretString {
        &self.secret
    }

    /// Runs `probe` of a node with the password, or without if another node has refused it. Until a
    /// node has said whether it is right, nodes are probed one at a time.
    ///
    /// # Errors
    /// Those of `probe`.
    ///
    /// # Cancel safety
    /// Dropping it lets the next node try.
    pub(crate) async fn offer<'a, F>(
        &'a self,
        node: &NodeName,
        probe: impl FnOnce(Option<&'a SecretString>) -> F,
    ) -> Result<ShellProbe, SessionError>
    where
        F: Future<Output = Result<ShellProbe, SessionError>>,
    {
        let mut state = self.state.lock().await;
        match &*state {
            State::Accepted => {
                drop(state);
                probe(Some(&self.secret)).await
            }
            State::Refused(first) => {
                let note = format!("the password was refused on {first} and was not tried here");
                drop(state);
                let mut shell = probe(None).await?;
                if shell.facts.rights == Rights::None {
                    shell.complaint = Some(note);
                }
                Ok(shell)
            }
            State::Untried => {
                let shell = probe(Some(&self.secret)).await?;
                match shell.facts.rights {
                    Rights::SudoPassword => *state = State::Accepted,
                    Rights::None if shell.complaint.as_deref().is_some_and(is_refusal) => {
                        *state = State::Refused(node.clone());
                    }
                    // It was not needed, or the node said nothing of it.
                    Rights::Root | Rights::SudoPasswordless | Rights::None => {}
                }
                Ok(shell)
            }
        }
    }
}

/// Whether sudo said that the password is wrong; not that the user may not use sudo, or that sudo
/// is missing, which says nothing of other nodes.
fn is_refusal(words: &str) -> bool {
    words.contains("incorrect password")
        || words.contains("no password was provided")
        || words.contains("Authentication failure")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::facts::ShellFacts;

    fn answer(rights: Rights, complaint: Option<&str>) -> ShellProbe {
        ShellProbe {
            facts: ShellFacts { rights, ..ShellFacts::default() },
            uid: 1000,
            clock: None,
            complaint: complaint.map(str::to_owned),
        }
    }

    #[tokio::test]
    async fn a_wrong_password_is_tried_once() {
        let password = SudoPassword::new(SecretString::from("wrong"));
        let mut tried = 0;
        for node in ["n1", "n2", "n3"] {
            let node: NodeName = node.parse().unwrap();
            let shell = password
                .offer(&node, |secret| {
                    tried += usize::from(secret.is_some());
                    let words = secret.map(|_| "sudo: 1 incorrect password attempt");
                    std::future::ready(Ok(answer(Rights::None, words)))
                })
                .await
                .unwrap();
            if node.as_str() != "n1" {
                assert!(shell.complaint.unwrap().contains("refused on n1"));
            }
        }
        assert_eq!(tried, 1);
    }

    #[tokio::test]
    async fn a_node_without_sudo_says_nothing_of_the_password() {
        let password = SudoPassword::new(SecretString::from("right"));
        let mut tried = 0;
        for (rights, words) in [
            (Rights::None, Some("sudo is not installed")),
            (Rights::Root, None),
            (Rights::SudoPassword, None),
            (Rights::None, Some("sudo: 1 incorrect password attempt")),
            (Rights::SudoPassword, None),
        ] {
            password
                .offer(&"n".parse().unwrap(), |secret| {
                    tried += usize::from(secret.is_some());
                    std::future::ready(Ok(answer(rights, words)))
                })
                .await
                .unwrap();
        }
        assert_eq!(tried, 5);
    }
}
