//! Runs a composed command over an [`Exec`], with what it is fed and the time it may take; `framed`
//! makes out how it ended.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::compose::{Escalation, Frame, SCRIPT_MAX};
use super::framed::{Framed, Pulse, START_BUDGET};
use super::{CommandEnd, CommandSpec, Exec};
use crate::plan::facts::Rights;
use crate::plan::step::What;
use crate::session::{FailureKind, SessionError, Sink, Stdin};

/// The node ends by itself; this much later we stop waiting for it.
const LINK_SLACK: Duration = Duration::from_secs(3);
/// How often we look whether one of the two has passed.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Runs one command and returns how it ended. `sink` sees its own output only, standard output
/// packed as asked for (see [`CommandEnd::encoding`]).
///
/// # Errors
/// If the command could not be started: the channel was refused or the link was down
/// ([`SessionError`] of the session), the login shell did not run it (`ExecRefused`) or did not get
/// to it within 10 s (`ExecStalled`), or `spec` needs a password and has none (`Auth`), or has both a password to
/// give and an input of its own (`Other`). A command that fails is no error.
///
/// # Cancel safety
/// Dropping the future drops the [`Exec`]'s; the node ends the command by itself at its bound.
/// Cancellation is the better way: what had arrived is accounted for.
pub async fn run(
    session: &impl Exec,
    spec: &CommandSpec<'_>,
    sink: &mut dyn Sink,
    cancel: &CancellationToken,
) -> Result<CommandEnd, SessionError> {
    let frame = Frame::of(spec);
    let line = match (frame.escalation, spec.input) {
        (Escalation::Password(_), Some(_)) => {
            let text = "a command that sudo asks a password for cannot be given an input of its own";
            return Err(SessionError::new(FailureKind::Other, text));
        }
        (Escalation::Password(_), None) => Some(spec.password.ok_or_else(|| {
            SessionError::new(FailureKind::Auth, "sudo needs a password on this node, and none was given")
        })?),
        (_, input) => input,
    };
    let as_root = spec.shell.rights == Rights::Root || frame.escalation != Escalation::No;
    execute(session, &frame, spec.what, line, sink, cancel).await.map(|end| CommandEnd { as_root, ..end })
}

/// Runs `what` within `frame`; `secret` is the line fed to it.
pub(super) async fn execute(
    session: &impl Exec,
    frame: &Frame<'_>,
    what: &What,
    secret: Option<&SecretString>,
    sink: &mut dyn Sink,
    cancel: &CancellationToken,
) -> Result<CommandEnd, SessionError> {
    let (na, nb) = nonce()?;
    let (line, script) = frame.lines(what, (&na, &nb));
    if script.len() > SCRIPT_MAX {
        let text = format!("the command is too long for one argument: {} bytes of {SCRIPT_MAX} at most", script.len());
        return Err(SessionError::new(FailureKind::Other, text));
    }
    let secret = secret.map_or("", |secret| secret.expose_secret());
    // Full size from the start: a growing buffer would leave copies of the password behind.
    let mut input = Zeroizing::new(Vec::with_capacity(script.len() + secret.len() + 2));
    for part in [script.as_str(), "\n", secret, "\n"] {
        input.extend_from_slice(part.as_bytes());
    }
    let stdin = Some(Stdin(input));

    let begun = Instant::now();
    let pulse = Arc::new(Pulse::new());
    let stop = cancel.child_token();
    let mut framed = Framed::new(sink, &format!("{na}{nb}"), begun, Arc::clone(&pulse));
    let mut late = None;
    let end = {
        let exec = session.exec(&line, stdin, START_BUDGET + frame.over() + LINK_SLACK, &mut framed, &stop);
        let mut exec = pin!(exec);
        loop {
            tokio::select! {
                end = &mut exec => break end,
                () = tokio::time::sleep(LOOK_EVERY), if late.is_none() => {
                    late = pulse.overdue(begun);
                    if late.is_some() {
                        // The future still returns what had arrived.
                        stop.cancel();
                    }
                }
            }
        }
    }?;
    framed.finish().await;
    framed.conclude(frame, &end, late, cancel.is_cancelled())
}

/// Returns the halves of a token that neither noise nor evidence can contain by chance.
fn nonce() -> Result<(String, String), SessionError> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)
        .map_err(|e| SessionError::new(FailureKind::Other, format!("no random numbers from this machine: {e}")))?;
    let number = u128::from_ne_bytes(bytes);
    let hex = format!("{number:032x}");
    let (a, b) = hex.split_at(16);
    Ok((format!("pleg-{a}"), b.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use bytes::Bytes;
    use futures::FutureExt as _;
    use futures::future::BoxFuture;

    use super::super::CommandExit;
    use super::super::framed::LINGER;
    use super::*;
    use crate::plan::facts::ShellFacts;
    use crate::plan::step::Encoding;
    use crate::session::{ExecEnd, StdStream, Stopped};

    /// A node whose command ends at once; the rest of its output is still on the way.
    struct Node {
        status: &'static str,
        /// Nothing comes any more after the command's own end: no output, no exit status.
        stalls: bool,
    }

    impl Exec for Node {
        async fn exec<'a>(
            &'a self,
            _: &'a str,
            stdin: Option<Stdin>,
            _: Duration,
            sink: &'a mut dyn Sink,
            cancel: &'a CancellationToken,
        ) -> Result<ExecEnd, SessionError> {
            let script = String::from_utf8(stdin.unwrap().0.to_vec()).unwrap();
            let part = |name: &str| script.split_once(name).unwrap().1.split('\\').next().unwrap().to_owned();
            let token = format!("{}{}", part("na="), part("nb="));
            let mut end =
                ExecEnd { status: Some(0), signal: None, complete: true, stopped: None, took: Duration::ZERO };
            for (stream, text) in [
                (StdStream::Out, format!("{token} b\n")),
                (StdStream::Err, format!("{token} b 7\n{token} e {} 1 2\n", self.status)),
                (StdStream::Out, "first ".to_owned()),
                (StdStream::Out, "last".to_owned()),
            ] {
                if cancel.is_cancelled() {
                    end.complete = false;
                    end.stopped = Some(Stopped::Cancelled);
                    break;
                }
                let _on = sink.write(stream, Bytes::from(text)).await;
                tokio::task::yield_now().await;
                if self.stalls && stream == StdStream::Err {
                    cancel.cancelled().await;
                    end.status = None;
                }
            }
            Ok(end)
        }
    }

    /// A disk that hangs for a while at each chunk.
    #[derive(Default)]
    struct SlowDisk(Vec<u8>);

    impl Sink for SlowDisk {
        fn write<'a>(&'a mut self, _: StdStream, chunk: Bytes) -> BoxFuture<'a, ControlFlow<()>> {
            async move {
                tokio::time::sleep(LINGER * 3).await;
                self.0.extend_from_slice(&chunk);
                ControlFlow::Continue(())
            }
            .boxed()
        }
    }

    async fn run_on(node: Node) -> (CommandEnd, Vec<u8>) {
        let (what, bounds) = (
            What::Argv(vec!["true".to_owned()]),
            crate::plan::step::Bounds {
                timeout: Duration::from_secs(5),
                grace: Duration::from_secs(2),
                max_bytes: u64::MAX,
            },
        );
        let shell = ShellFacts::default();
        let spec = CommandSpec {
            what: &what,
            privileged: false,
            bounds: &bounds,
            encoding: Encoding::Plain,
            stacks_on_timeout: false,
            shell: &shell,
            password: None,
            input: None,
        };
        let mut disk = SlowDisk::default();
        let end = run(&node, &spec, &mut disk, &CancellationToken::new()).await.unwrap();
        (end, disk.0)
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_disk_here_is_not_taken_for_a_silent_node() {
        let (end, stored) = run_on(Node { status: "0", stalls: false }).await;
        assert_eq!(String::from_utf8(stored).unwrap(), "first last");
        assert!(end.complete);
        assert_eq!(end.exit, CommandExit::Code(0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_that_stalls_after_the_end_leaves_no_whole_output() {
        let (end, stored) = run_on(Node { status: "0", stalls: true }).await;
        assert_eq!(stored, b"");
        assert!(!end.complete);
    }

    #[tokio::test(start_paused = true)]
    async fn absurd_numbers_from_a_node_do_no_harm() {
        for status in ["-2147483648", "2147483647"] {
            let (end, _) = run_on(Node { status, stalls: false }).await;
            assert_eq!(end.exit, CommandExit::Code(status.parse().unwrap()));
        }
    }
}
