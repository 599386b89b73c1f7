//! Runs this module's scripts on a node: as root, within a bound, whatever the run's own stop says.
//! Tests put a shell of this machine in its place.

use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::plan::facts::{Rights, ShellFacts};
use crate::plan::{Bounds, Encoding, What};
use crate::session::command::{self, CommandExit, CommandSpec};
use crate::session::{FailureKind, Session, SessionError, Sink, StdStream};

/// What is kept of a script's answer, of each stream.
const KEPT: usize = 1 << 20;
/// From TERM to KILL. Scripts here undo what they began when they are told to end.
const GRACE: Duration = Duration::from_secs(5);

/// Connections that are tried where the link must not be given up, and the pause after one that failed.
const ROUNDS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(2);

/// A script of this module.
#[derive(Debug, Clone, Copy)]
pub struct Script {
    /// For messages: what failed to run.
    pub name: &'static str,
    /// POSIX shell; arguments are `$1`, `$2`, …
    pub text: &'static str,
    /// Wall time on the node.
    pub timeout: Duration,
}

/// What a script answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// Exit status; 128 + n for a signal.
    pub status: i32,
    /// Standard output, 1 MiB at most; empty where a sink took it.
    pub out: Vec<u8>,
    /// Standard error, 1 MiB at most.
    pub err: Vec<u8>,
}

impl Answer {
    /// Returns the output as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }
}

/// Why a script gave no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ShellError {
    /// The connection is gone, or does not take commands.
    #[error("{0}")]
    Link(SessionError),
    /// It did not end within its bound.
    #[error("{name} did not end within {} s", .timeout.as_secs())]
    TimedOut {
        /// Which script.
        name: &'static str,
        /// Its bound.
        timeout: Duration,
    },
    /// sudo did not let it start.
    #[error("{name}: sudo did not start it: {words}")]
    NotAllowed {
        /// Which script.
        name: &'static str,
        /// sudo's words.
        words: String,
    },
}

/// Where scripts run. `sink`, if given, takes standard output as it comes.
pub trait Shell: Sync {
    /// Runs a script with root's rights and waits for its end.
    ///
    /// # Errors
    /// When it gave no answer; it may have run all the same.
    ///
    /// # Cancel safety
    /// Dropped early, the script goes on to its end on the node.
    fn run<'a>(
        &'a self,
        script: &'a Script,
        args: &'a [String],
        encoding: Encoding,
        sink: Option<&'a mut dyn Sink>,
    ) -> BoxFuture<'a, Result<Answer, ShellError>>;
}

/// The way to the node, which may be replaced by another connection in the course of things.
pub trait Way: Sync {
    /// Returns the connection in use.
    fn session(&self) -> Session;
    /// Connects again, if that has not been tried too often.
    ///
    /// # Errors
    /// When the node is not reached.
    ///
    /// # Cancel safety
    /// Dropped early, the connection in use is the old one or the new one.
    fn reconnect(&self) -> BoxFuture<'_, Result<(), SessionError>>;
}

/// The shell of a node.
pub struct NodeShell<'a> {
    /// How to get there.
    pub way: &'a dyn Way,
    /// What the node has.
    pub facts: &'a ShellFacts,
    /// Password for `sudo -S`.
    pub password: Option<&'a SecretString>,
    /// Connect again when the link is gone; for what must be undone.
    pub persistent: bool,
}

impl NodeShell<'_> {
    /// Returns whether scripts will have root's rights.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.facts.rights != Rights::None
    }

    async fn once(
        &self,
        script: &Script,
        args: &[String],
        encoding: Encoding,
        sink: Option<&mut dyn Sink>,
    ) -> Result<Answer, ShellError> {
        let what = What::Script { text: script.text.to_owned(), args: args.to_vec() };
        let bounds = Bounds { timeout: script.timeout, grace: GRACE, max_bytes: KEPT as u64 };
        let spec = CommandSpec {
            what: &what,
            privileged: true,
            bounds: &bounds,
            encoding,
            stacks_on_timeout: false,
            shell: self.facts,
            password: self.password,
            input: None,
        };
        // What is begun here is ended here: neither deadline nor Ctrl-C cuts it short.
        let never = CancellationToken::new();
        let mut keep = Keep { answer: Answer::default(), sink };
        let end = command::run(&self.way.session(), &spec, &mut keep, &never).await.map_err(ShellError::Link)?;
        let mut answer = keep.answer;
        answer.status = match end.exit {
            CommandExit::Code(code) => code,
            CommandExit::Signal(_) => 128,
            CommandExit::TimedOut => return Err(ShellError::TimedOut { name: script.name, timeout: script.timeout }),
            CommandExit::NotStarted(words) => return Err(ShellError::NotAllowed { name: script.name, words }),
            CommandExit::Stopped(_) | CommandExit::Unknown => {
                let text = format!("the link ended while {} ran", script.name);
                return Err(ShellError::Link(SessionError::new(FailureKind::LinkLost, text)));
            }
        };
        Ok(answer)
    }
}

impl Shell for NodeShell<'_> {
    fn run<'a>(
        &'a self,
        script: &'a Script,
        args: &'a [String],
        encoding: Encoding,
        sink: Option<&'a mut dyn Sink>,
    ) -> BoxFuture<'a, Result<Answer, ShellError>> {
        Box::pin(async move {
            if sink.is_some() {
                return self.once(script, args, encoding, sink).await;
            }
            match self.once(script, args, encoding, None).await {
                Err(ShellError::Link(mut error)) if self.persistent => {
                    for _ in 0..ROUNDS {
                        if self.way.reconnect().await.is_err() {
                            // Refused at once, as by an sshd that is starting.
                            tokio::time::sleep(PAUSE).await;
                            continue;
                        }
                        match self.once(script, args, encoding, None).await {
                            Err(ShellError::Link(again)) => error = again,
                            other => return other,
                        }
                    }
                    Err(ShellError::Link(error))
                }
                other => other,
            }
        })
    }
}

/// Keeps the beginning of both streams, or passes standard output on.
struct Keep<'a> {
    answer: Answer,
    sink: Option<&'a mut dyn Sink>,
}

impl Sink for Keep<'_> {
    fn write<'a>(&'a mut self, stream: StdStream, chunk: Bytes) -> BoxFuture<'a, ControlFlow<()>> {
        let kept = match (stream, &mut self.sink) {
            (StdStream::Out, Some(sink)) => return sink.write(stream, chunk),
            (StdStream::Out, None) => &mut self.answer.out,
            (StdStream::Err, _) => &mut self.answer.err,
        };
        let room = KEPT.saturating_sub(kept.len()).min(chunk.len());
        kept.extend_from_slice(chunk.get(..room).unwrap_or_default());
        Box::pin(std::future::ready(ControlFlow::Continue(())))
    }
}
