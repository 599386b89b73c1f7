//! A ProxyCommand: a local process whose standard input and output are the transport. Killed with
//! the connection; what it says on standard error is kept for the failure's sentence.

use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::{FailureKind, SessionError};
use crate::environment::without_secrets;
use crate::printable::printable_bytes;

/// What is kept of its standard error: the end, where the reason usually is.
const STDERR_BYTES: usize = 4096;
/// How long a dying command may take to say why.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The running command; dropping it kills it.
pub(crate) struct ProxyCommand {
    child: Child,
    stderr: Arc<Mutex<Vec<u8>>>,
    reader: AbortOnDropHandle<()>,
}

/// Its standard output and input as one stream.
pub(crate) struct ProxyStream {
    output: ChildStdout,
    input: ChildStdin,
}

impl ProxyCommand {
    /// Starts `command` under `sh`, as ssh does.
    pub(crate) fn spawn(command: &str) -> Result<(Self, ProxyStream), SessionError> {
        let failed = |text: String| SessionError::new(FailureKind::ProxyCommand, text);
        let mut child = Command::new("sh");
        child
            .arg("-c")
            .arg(format!("exec {command}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is ours: it must not take the link away before the run is wound down.
            .process_group(0)
            .kill_on_drop(true);
        let mut child = without_secrets(&mut child)
            .spawn()
            .map_err(|e| failed(format!("the ProxyCommand cannot be started: {e}")))?;
        let (Some(input), Some(output), Some(errors)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(failed("the ProxyCommand has no pipes".to_owned()));
        };
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let reader = tokio::spawn(keep_tail(errors, Arc::clone(&stderr)));
        let command = Self { child, stderr, reader: AbortOnDropHandle::new(reader) };
        Ok((command, ProxyStream { output, input }))
    }

    /// Returns the failure if the command ended by itself, which is then the cause of whatever
    /// went wrong on the stream.
    pub(crate) async fn failure(&mut self) -> Option<SessionError> {
        let status = timeout(LAST_WORDS, self.child.wait()).await.ok()?.ok()?;
        let _ = timeout(LAST_WORDS, &mut self.reader).await;
        let stderr = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        let last = stderr.split(|&b| b == b'\n').map(<[u8]>::trim_ascii).rfind(|line| !line.is_empty());
        let said = last.map(|line| format!(": {}", printable_bytes(line, 200))).unwrap_or_default();
        let text = format!("the ProxyCommand ended with {}{said}", shown(status));
        Some(
            SessionError::new(FailureKind::ProxyCommand, text)
                .with_hint("run the command by hand; `ssh -G NAME` shows it with its tokens expanded"),
        )
    }
}

fn shown(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no status".to_owned(),
    }
}

async fn keep_tail(mut errors: ChildStderr, tail: Arc<Mutex<Vec<u8>>>) {
    let mut chunk = [0; 1024];
    while let Ok(n @ 1..) = errors.read(&mut chunk).await {
        let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.extend_from_slice(chunk.get(..n).unwrap_or_default());
        let surplus = tail.len().saturating_sub(STDERR_BYTES);
        tail.drain(..surplus);
    }
}

impl AsyncRead for ProxyStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.output).poll_read(cx, buf)
    }
}

impl AsyncWrite for ProxyStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.input).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.input).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.input).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn carries_bytes_both_ways() {
        let (_command, mut stream) = ProxyCommand::spawn("cat").unwrap();
        stream.write_all(b"there and back").await.unwrap();
        let mut got = [0; 14];
        stream.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"there and back");
    }

    #[tokio::test]
    async fn tells_status_and_last_words() {
        let (mut command, _stream) =
            ProxyCommand::spawn("sh -c 'echo first >&2; printf \"\\033[31mno route\\n\\n\" >&2; exit 3'").unwrap();
        let error = command.failure().await.unwrap();
        assert_eq!(error.kind, FailureKind::ProxyCommand);
        assert_eq!(error.text, "the ProxyCommand ended with status 3: no route");
    }

    #[tokio::test]
    async fn a_command_that_goes_on_is_no_failure() {
        let (mut command, _stream) = ProxyCommand::spawn("cat").unwrap();
        assert!(command.failure().await.is_none());
    }
}
