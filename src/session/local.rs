//! This machine as a node: the same command lines as over SSH, run by `/bin/sh -c` in a process
//! group of their own. Knows nothing of what it runs; used by `--local` and by tests.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::command::Exec;
use super::process_group::ProcessGroup;
use super::{ExecEnd, FailureKind, SessionError, Sink, StdStream, Stdin, Stopped};
use crate::environment::without_secrets;

/// What a login over SSH has, too. The rest of our environment (tokens, a DOCKER_HOST of the
/// operator's) is no business of the commands.
const ENVIRONMENT: [&str; 7] = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ"];
const CHUNK: usize = 32 * 1024;

/// The local machine.
#[derive(Debug, Clone, Default)]
pub(crate) struct LocalSession {
    shell: Option<(String, String)>,
}

impl LocalSession {
    /// Returns the local machine.
    pub(crate) const fn new() -> Self {
        Self { shell: None }
    }

    /// Runs command lines by `shell` with the option `-c` instead of `/bin/sh`, as sshd would for
    /// a login shell.
    #[cfg(test)]
    pub(crate) fn with_shell(shell: &str, option: &str) -> Self {
        Self { shell: Some((shell.to_owned(), option.to_owned())) }
    }

    fn spawn(&self, command: &str, stdin: bool) -> Result<Child, SessionError> {
        let (shell, option) =
            self.shell.as_ref().map_or(("/bin/sh", "-c"), |(shell, option)| (shell.as_str(), option.as_str()));
        let mut child = Command::new(shell);
        child
            .args(option.split('\u{1f}'))
            .arg(command)
            .env_clear()
            .envs(ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .stdin(if stdin { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        without_secrets(&mut child).spawn().map_err(|e| {
            SessionError::new(FailureKind::ExecRefused, format!("cannot start {shell} on this machine: {e}"))
        })
    }
}

impl Exec for LocalSession {
    async fn exec<'a>(
        &'a self,
        command: &'a str,
        stdin: Option<Stdin>,
        deadline: Duration,
        sink: &'a mut dyn Sink,
        cancel: &'a CancellationToken,
    ) -> Result<ExecEnd, SessionError> {
        let begun = Instant::now();
        let mut group = ProcessGroup { child: self.spawn(command, stdin.is_some())? };
        sink.opened();
        let stopped = group.read(stdin, begun + deadline, sink, cancel).await;
        let status = match stopped {
            None => group.child.wait().await.ok(),
            Some(_) => group.stop().await,
        };
        Ok(ExecEnd {
            status: status.and_then(|s| s.code()),
            signal: status.and_then(signal),
            complete: stopped.is_none(),
            stopped,
            took: begun.elapsed(),
        })
    }
}

impl ProcessGroup {
    /// Reads until both streams have ended and the child has exited, or until something stops us.
    async fn read(
        &mut self,
        stdin: Option<Stdin>,
        deadline: Instant,
        sink: &mut dyn Sink,
        cancel: &CancellationToken,
    ) -> Option<Stopped> {
        let mut out = self.child.stdout.take();
        let mut err = self.child.stderr.take();
        let mut input = self.child.stdin.take();
        let mut feeding = std::pin::pin!(async move {
            if let (Some(pipe), Some(Stdin(bytes))) = (&mut input, stdin) {
                // The command may end without reading; that is no failure.
                let _closed = pipe.write_all(&bytes).await;
            }
            drop(input);
        });
        let mut fed = false;
        let deadline = tokio::time::sleep_until(deadline);
        let mut deadline = std::pin::pin!(deadline);
        loop {
            // Stopping comes first: a command that prints without end must not keep us busy.
            let (stream, chunk) = tokio::select! {
                biased;
                () = cancel.cancelled() => return Some(Stopped::Cancelled),
                () = &mut deadline => return Some(Stopped::Deadline),
                () = &mut feeding, if !fed => { fed = true; continue; }
                chunk = next(&mut err) => (StdStream::Err, chunk),
                chunk = next(&mut out) => (StdStream::Out, chunk),
                _ = self.child.wait(), if out.is_none() && err.is_none() => return None,
            };
            if chunk.is_empty() {
                match stream {
                    StdStream::Out => out = None,
                    StdStream::Err => err = None,
                }
            } else if sink.write(stream, chunk).await.is_break() {
                return Some(Stopped::Sink);
            }
        }
    }
}

/// Returns the next chunk, empty at the end; for ever pending once the stream is gone.
async fn next(stream: &mut Option<impl AsyncRead + Unpin>) -> Bytes {
    let Some(stream) = stream else { return std::future::pending().await };
    let mut buffer = BytesMut::with_capacity(CHUNK);
    match stream.read_buf(&mut buffer).await {
        Ok(_) => buffer.freeze(),
        Err(_) => Bytes::new(),
    }
}

fn signal(status: ExitStatus) -> Option<String> {
    let number = status.signal()?;
    Some(super::command::signal_name(number).map_or_else(|| number.to_string(), str::to_owned))
}
