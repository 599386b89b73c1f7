//! How one bounded command is run on a node, whatever its login shell: encoding, privileges, bounds
//! on the node itself, kernel stacks of a command that hangs, exit status apart from output. Knows
//! nothing of SSH: anything that is [`Exec`] carries it. Called by `collect/`.

mod compose;
mod encode;
mod framed;
mod framing;
mod probe;
mod run;
mod sudoers;

use std::future::Future;
use std::time::Duration;

use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

pub(crate) use encode::quote_all;
pub(crate) use framed::signal_name;
pub use probe::{ClockSample, ShellProbe, probe};
pub use run::run;

use super::{ExecEnd, SessionError, Sink, Stdin, Stopped};
use crate::plan::facts::{Rights, ShellFacts};
use crate::plan::step::{Bounds, Encoding, What};

use compose::{Escalation, Frame};

/// Runs a command line through a login shell: an SSH connection, or this machine.
pub trait Exec: Sync {
    /// Runs `command`, writes `stdin` to it and closes that, and passes its output to `sink`, which
    /// is told first when the channel is open: before that, the node is not to blame for a delay.
    ///
    /// Returns when the command has ended and its output is read, at `deadline` (counted from
    /// the call), when `sink` breaks, or at cancellation, whichever comes first.
    ///
    /// # Errors
    /// If the command cannot be started.
    ///
    /// # Cancel safety
    /// Dropping the future stops the command as cancellation does, without waiting for it.
    fn exec<'a>(
        &'a self,
        command: &'a str,
        stdin: Option<Stdin>,
        deadline: Duration,
        sink: &'a mut dyn Sink,
        cancel: &'a CancellationToken,
    ) -> impl Future<Output = Result<ExecEnd, SessionError>> + Send + 'a;
}

/// A command and what must be known to run it on a certain node.
#[derive(Debug, Clone, Copy)]
pub struct CommandSpec<'a> {
    /// What is executed.
    pub what: &'a What,
    /// Wants root's rights.
    pub privileged: bool,
    /// Its bounds; `max_bytes` is the sink's affair.
    pub bounds: &'a Bounds,
    /// Packing of standard output on the node. Where the node lacks the tool it comes plain.
    pub encoding: Encoding,
    /// Take state and kernel stacks of its processes just before the bound is hit.
    pub stacks_on_timeout: bool,
    /// What the node has.
    pub shell: &'a ShellFacts,
    /// Password for [`Rights::SudoPassword`].
    pub password: Option<&'a SecretString>,
    /// A line for the command's standard input, without line break; for what must stand neither in arguments nor in the
    /// environment. Not together with a password for sudo, which takes the same line.
    pub input: Option<&'a SecretString>,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandExit {
    /// With this status.
    Code(i32),
    /// By this signal, without `SIG`. A command that exits with 128 + n of its own accord is
    /// indistinguishable, as in every shell.
    Signal(String),
    /// The bound was hit.
    TimedOut,
    /// sudo did not let it start; its words, printable.
    NotStarted(String),
    /// We stopped it, or stopped reading.
    Stopped(Stopped),
    /// The link was cut, or the wrapper was killed.
    Unknown,
}

/// What is known after a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandEnd {
    /// How it ended.
    pub exit: CommandExit,
    /// It had root's rights.
    pub as_root: bool,
    /// All it had written to standard output has arrived.
    pub complete: bool,
    /// How standard output came: as asked for, or [`Encoding::Plain`] if the node lacks the tool.
    pub encoding: Encoding,
    /// State, wchan, system call and kernel stack of its threads, taken just before the bound was
    /// hit; 64 KiB at most, as the node sent it.
    pub hung: Option<Vec<u8>>,
    /// Processes that KILL did not end (stuck in the kernel, or not ours to kill).
    pub unkillable: Vec<u32>,
    /// Wall time of the command on the node; as seen from here if the node did not tell.
    pub took: Duration,
    /// From sending the command to the first byte of its own output.
    pub first_byte: Option<Duration>,
}

/// Returns the exact command as `plan` prints it and the manifest records it: one line, quoted for a
/// shell, with sudo, bound and packing. Left out is what all commands have in common: `nice`,
/// `ionice` and the wrapper that reports the end.
#[must_use]
pub fn describe(spec: &CommandSpec<'_>) -> String {
    Frame::of(spec).describe(spec.what)
}

/// Returns the sudoers line that permits `user` exactly this command; `None` if it does not go
/// through sudo: not privileged, or the login is root, or a program without absolute path (which
/// no sudoers line can permit safely).
///
/// Without facts of the node (`rights` is [`Rights::None`]), the line is the one for `sudo -n`.
#[must_use]
pub fn sudoers(spec: &CommandSpec<'_>, user: &str) -> Option<String> {
    let absolute = match spec.what {
        What::Argv(words) => words.first().is_some_and(|program| program.starts_with('/')),
        What::Script { .. } => true,
    };
    if !spec.privileged || spec.shell.rights == Rights::Root || !absolute {
        return None;
    }
    let password = matches!(Escalation::of(true, spec.shell), Escalation::Password(_));
    Some(sudoers::line(user, password, &Frame::of(spec).bounded(spec.what)))
}

/// Returns the sudoers line that permits `user` to look at the kernel stacks of a hung command; one
/// for all commands of a node.
#[must_use]
pub fn sudoers_stacks(shell: &ShellFacts, user: &str) -> String {
    sudoers::line(user, shell.rights == Rights::SudoPassword, &Frame::stack_words(shell))
}

#[cfg(test)]
mod tests;
