//! One command on one exec channel: its output goes to a sink chunk by chunk, its standard input
//! comes from a task of its own, and whatever happens here the channel is closed.
//!
//! Knows nothing of shells, privileges or bounds on the node; that is `command/`. Closing a
//! channel does not end the remote command (sshd keeps it running, and the session slot with it).

use std::sync::Arc;
use std::time::Duration;

use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::dial::later;
use super::link::Link;
use super::opener::{NotOpened, Opened, Wanted};
use super::slots::{Refused, Slot};
use super::ssh::{OPEN_BUDGET, SshSession};
use super::{ExecEnd, FailureKind, SessionError, Sink, StdStream, Stdin, Stopped, random};

/// How long a server may refuse the only channel we ask for, with no success between. Slots held by commands that outlived
/// their channel come back when those end.
const REFUSED_ALONE: Duration = Duration::from_secs(5);
/// Pause before another try after a refusal.
const REFUSED_PAUSE: std::ops::Range<u64> = 20..200;
/// How long a stopped command's channel is closed in line; after that a task goes on with it.
const CLOSE_INLINE: Duration = Duration::from_millis(200);

impl SshSession {
    /// Runs `command`, which the server hands to the login shell, and waits for its end.
    ///
    /// `deadline` counts from the moment the channel is open. Waiting for a slot of our own is
    /// not bounded; opening is, by 10 s.
    ///
    /// # Errors
    /// `Cancelled`, `ExecStalled`, `ExecRefused`, `LinkLost`: only if the command was not started.
    ///
    /// # Cancel safety
    /// May be dropped at any time; the channel is closed. The remote command may go on.
    pub(crate) async fn exec(
        &self,
        command: &str,
        stdin: Option<Stdin>,
        deadline: Duration,
        sink: &mut dyn Sink,
        cancel: &CancellationToken,
    ) -> Result<ExecEnd, SessionError> {
        let Opened { channel, slot } = self.open_session(cancel).await?;
        let opened_at = Instant::now();
        sink.opened();
        let (read, write) = channel.split();
        let closer = Closer::new(self, write, slot);
        let run = Run { session: self, read, opened_at, deadline: later(opened_at, deadline), cancel };
        run.finish(command, stdin, closer, sink).await
    }

    /// Opens a session channel, waiting for a slot and lowering their number when the server
    /// refuses.
    async fn open_session(&self, cancel: &CancellationToken) -> Result<Opened, SessionError> {
        let inner = &*self.0;
        let mut kept = None;
        loop {
            let slot = match kept.take() {
                Some(slot) => slot,
                None => tokio::select! {
                    biased;
                    () = cancel.cancelled() => return Err(self.cancelled()),
                    () = inner.link.dead() => return Err(inner.link.lost().await),
                    slot = inner.slots.acquire() => slot,
                },
            };
            let outcome = tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(self.cancelled()),
                outcome = timeout(OPEN_BUDGET, self.open(Wanted::Session, Some(slot))) => outcome,
            };
            match outcome {
                Ok(Ok(opened)) => {
                    opened.slot.iter().for_each(Slot::granted);
                    return Ok(opened);
                }
                Ok(Err(NotOpened::LinkLost)) => return Err(inner.link.lost().await),
                Ok(Err(NotOpened::Refused { text, slot, .. })) => match slot.map(Slot::refused) {
                    Some(Refused::Alone(_, barren)) if barren >= REFUSED_ALONE => {
                        return Err(self.refused("open a channel", &text));
                    }
                    Some(Refused::Alone(slot, _)) => kept = Some(slot),
                    Some(Refused::Queue) | None => {}
                },
                Err(_) => return Err(self.stalled("open a channel")),
            }
            let pause = Duration::from_millis(random::within(REFUSED_PAUSE));
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(self.cancelled()),
                () = inner.link.dead() => return Err(inner.link.lost().await),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn cancelled(&self) -> SessionError {
        SessionError::new(
            FailureKind::Cancelled,
            format!("cancelled before a command began on {}", self.0.link.endpoint()),
        )
    }

    fn stalled(&self, what: &str) -> SessionError {
        SessionError::new(
            FailureKind::ExecStalled,
            format!("{} did not {what} for {} s", self.0.link.endpoint(), OPEN_BUDGET.as_secs()),
        )
        .with_hint("logged in, and then silence: the node is out of memory or pids, its sshd hangs, or the link is dead; see whether it answers a ping")
    }

    fn refused(&self, what: &str, text: &str) -> SessionError {
        let said = if text.is_empty() { "no reason given" } else { text };
        SessionError::new(FailureKind::ExecRefused, format!("{} refused to {what}: {said}", self.0.link.endpoint()))
            .with_hint(
                "MaxSessions of its sshd_config, a forced command, fork failing on the node, \
                 or commands of an earlier time-out that still hold the sessions",
            )
    }
}

/// A command on an open channel.
struct Run<'a> {
    session: &'a SshSession,
    read: ChannelReadHalf,
    opened_at: Instant,
    deadline: Instant,
    cancel: &'a CancellationToken,
}

impl Run<'_> {
    async fn finish(
        mut self,
        command: &str,
        stdin: Option<Stdin>,
        mut closer: Closer,
        sink: &mut dyn Sink,
    ) -> Result<ExecEnd, SessionError> {
        let mut end = ExecEnd { status: None, signal: None, complete: false, stopped: None, took: Duration::ZERO };
        // The queue to russh's task is bounded, so even the request may have to wait.
        let mut request = Box::pin({
            let (write, command) = (Arc::clone(&closer.write), command.to_owned());
            async move { write.exec(true, command).await }
        });
        let answer_by = self.opened_at + OPEN_BUDGET;
        let (mut sent, mut answered) = (false, false);
        let mut stdin = Some(stdin);
        // Aborted when the reader ends: a writer that waits for window never returns by itself.
        let mut _writer = None;
        loop {
            let message = tokio::select! {
                biased;
                () = self.cancel.cancelled() => { end.stopped = Some(Stopped::Cancelled); break }
                () = sleep_until(self.deadline) => { end.stopped = Some(Stopped::Deadline); break }
                () = sleep_until(answer_by), if !answered => {
                    closer.close_now().await;
                    return Err(self.session.stalled("start a command"));
                }
                result = &mut request, if !sent => {
                    sent = true;
                    if result.is_ok() {
                        _writer = Some(closer.feed(stdin.take().flatten()));
                    }
                    continue;
                }
                message = self.read.wait() => message,
            };
            let Some(message) = message else { break };
            let (stream, data) = match message {
                ChannelMsg::Data { data } => (StdStream::Out, data),
                ChannelMsg::ExtendedData { data, ext: 1 } => (StdStream::Err, data),
                ChannelMsg::Success => {
                    answered = true;
                    continue;
                }
                ChannelMsg::Failure if !answered => {
                    closer.close_now().await;
                    return Err(self.session.refused("run a command", "exec request failed"));
                }
                ChannelMsg::ExitStatus { exit_status } => {
                    // Unsigned on the wire; waitpid's 0..=255 in practice.
                    end.status = Some(i32::try_from(exit_status).unwrap_or(i32::MAX));
                    answered = true;
                    continue;
                }
                ChannelMsg::ExitSignal { signal_name, .. } => {
                    end.signal = Some(signal(&signal_name));
                    answered = true;
                    continue;
                }
                ChannelMsg::Close => {
                    end.complete = true;
                    closer.was_closed();
                    break;
                }
                _ => continue,
            };
            answered = true;
            if sink.write(stream, data).await.is_break() {
                end.stopped = Some(Stopped::Sink);
                break;
            }
        }
        if end.stopped.is_some() {
            // After our own close nothing more arrives, not even the server's close: stop reading.
            closer.close_now().await;
        } else if !end.complete && !answered {
            return Err(self.session.0.link.lost().await);
        }
        end.took = self.opened_at.elapsed();
        Ok(end)
    }
}

fn signal(name: &Sig) -> String {
    match name {
        Sig::Custom(name) => crate::printable::printable(name, 32),
        known => format!("{known:?}"),
    }
}

/// Closes the channel when it goes, unless the server did; holds its slot until then.
///
/// Dropping russh's halves sends nothing: the server would keep the session and send us all of
/// the command's output.
struct Closer {
    write: Arc<ChannelWriteHalf<Msg>>,
    slot: Option<Slot>,
    link: Arc<Link>,
    tasks: TaskTracker,
    runtime: tokio::runtime::Handle,
    closed: bool,
}

impl Closer {
    fn new(session: &SshSession, write: ChannelWriteHalf<Msg>, slot: Option<Slot>) -> Self {
        let inner = &*session.0;
        Self {
            write: Arc::new(write),
            slot,
            link: Arc::clone(&inner.link),
            tasks: inner.tasks.clone(),
            runtime: inner.runtime.clone(),
            closed: false,
        }
    }

    /// Starts writing standard input, then its end.
    fn feed(&self, stdin: Option<Stdin>) -> AbortOnDropHandle<()> {
        let write = Arc::clone(&self.write);
        let task = async move {
            if let Some(stdin) = stdin
                && write.data_bytes(stdin.into_bytes()).await.is_err()
            {
                return;
            }
            let _ = write.eof().await;
        };
        AbortOnDropHandle::new(self.tasks.spawn_on(task, &self.runtime))
    }

    /// The server closed the channel.
    const fn was_closed(&mut self) {
        self.closed = true;
    }

    /// Closes it in line if that is possible at once; a task does it otherwise.
    async fn close_now(&mut self) {
        if timeout(CLOSE_INLINE, self.write.close()).await.is_ok() {
            self.closed = true;
        }
    }
}

impl Drop for Closer {
    fn drop(&mut self) {
        if self.closed || self.link.is_dead() {
            return;
        }
        let (write, link, slot) = (Arc::clone(&self.write), Arc::clone(&self.link), self.slot.take());
        let close = async move {
            tokio::select! {
                _ = write.close() => {}
                () = link.dead() => {}
            }
            drop(slot);
        };
        self.tasks.spawn_on(close, &self.runtime);
    }
}
