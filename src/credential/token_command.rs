//! A token printed by a command of the operator's, run on this machine by `/bin/sh -c`: once a run, and again when its token
//! was refused. Its standard output is shown nowhere; of its standard error the end is kept for the sentence of a failure.

use std::process::Stdio;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use secrecy::SecretString;
use tokio::process::Command;

use super::child::{Printed, printed};
use super::command_output::{complaint, token_in};
use super::token_text::LONGEST;
use super::{CredentialError, TokenSource};
use crate::environment::without_secrets;
use crate::session::process_group::ProcessGroup;

/// A command asks an API server or an identity provider, one that may not answer.
const WITHIN: Duration = Duration::from_secs(30);
/// Longest command line.
const LONGEST_COMMAND: usize = 16 << 10;
/// What kubectl tells an exec plug-in, some of which refuse to work without it.
const EXEC_INFO: (&str, &str) = (
    "KUBERNETES_EXEC_INFO",
    r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{"interactive":false}}"#,
);

/// What a command prints.
#[derive(Debug)]
pub struct TokenCommand {
    command: String,
    within: Duration,
}

impl TokenCommand {
    /// Returns the source; nothing is run yet.
    ///
    /// # Errors
    /// The command is empty, longer than 16 KiB, or holds a NUL.
    pub fn new(command: &str) -> Result<Self, CredentialError> {
        let fail = |what: &str| Err(CredentialError(format!("the token command {what}")));
        match command {
            text if text.trim().is_empty() => fail("is empty"),
            text if text.len() > LONGEST_COMMAND => fail("is longer than 16 KiB: put it into a script"),
            text if text.contains('\0') => fail("holds a NUL"),
            _ => Ok(Self { command: command.to_owned(), within: WITHIN }),
        }
    }

    #[cfg(test)]
    pub(super) fn within(self, within: Duration) -> Self {
        Self { within, ..self }
    }

    async fn run(&self) -> Result<SecretString, CredentialError> {
        let fail = |what: String| CredentialError(format!("the token command {what}"));
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(&self.command).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if std::env::var_os(EXEC_INFO.0).is_none() {
            command.env(EXEC_INFO.0, EXEC_INFO.1);
        }
        // Ctrl-C is ours, and what it starts is ended with it.
        command.process_group(0).kill_on_drop(true);
        let child = without_secrets(&mut command).spawn().map_err(|e| fail(format!("cannot be started: {e}")))?;
        let mut group = ProcessGroup { child };
        // One byte more than is taken.
        let ended = tokio::time::timeout(self.within, printed(&mut group, LONGEST + 1)).await;
        let Printed { status, output, complaints } = match ended {
            Ok(Ok(printed)) => printed,
            Ok(Err(e)) => return Err(fail(format!("cannot be waited for: {e}"))),
            Err(_) => {
                group.stop().await;
                return Err(fail(format!("did not end within {} s", self.within.as_secs_f32())));
            }
        };
        if !status.success() {
            let said = complaint(&output, &complaints).map(|said| format!(": {said}")).unwrap_or_default();
            return Err(fail(format!("failed ({status}){said}")));
        }
        if output.len() > LONGEST {
            return Err(fail("printed more than 64 KiB: a token is expected, and nothing else".to_owned()));
        }
        token_in(&output)
    }
}

impl TokenSource for TokenCommand {
    fn token(&self, _fresh: bool) -> BoxFuture<'_, Result<Option<SecretString>, CredentialError>> {
        self.run().map(|token| token.map(Some)).boxed()
    }

    fn renewable(&self) -> bool {
        true
    }
}
