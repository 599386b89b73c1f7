//! The probe of one node: tools, rights, clock, daemons. Two execs: a tiny one for what the
//! command wrapper itself needs, then the facts script as a bounded command like any other.

use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::sudo_password::SudoPassword;
use crate::inventory::Target;
use crate::plan::{Bounds, Catalog, Encoding, NodeFacts, What, facts};
use crate::session::command::{self, ClockSample, CommandExit, CommandSpec};
use crate::session::{FailureKind, Session, SessionError, Sink, StdStream, Stopped};

/// Bound of the facts script (EVIDENCE: 10 s).
pub(crate) const PROBE_BOUNDS: Bounds =
    Bounds { timeout: Duration::from_secs(10), grace: Duration::from_secs(2), max_bytes: 1 << 20 };

/// What the probe found.
pub(crate) struct Probed {
    pub(crate) facts: NodeFacts,
    pub(crate) clock: Option<ClockSample>,
    /// Something the operator should know, for example that sudo wants a password.
    pub(crate) complaint: Option<String>,
    /// That the probe did not come to its end, one sentence.
    pub(crate) cut: Option<String>,
}

/// Probes a node.
///
/// # Errors
/// When commands do not run there, or the script tells too little to plan anything.
///
/// # Cancel safety
/// Reads only; heed `cancel` rather than dropping, so that its channel is closed in order.
pub(crate) async fn probe(
    session: &Session,
    target: &Target,
    catalog: &Catalog,
    password: Option<&SudoPassword>,
    cancel: &CancellationToken,
) -> Result<Probed, SessionError> {
    let ask = |secret| command::probe(session, target.sudo, secret, cancel);
    let shell = match password {
        Some(password) => password.offer(&target.name, ask).await,
        None => ask(None).await,
    };
    let shell = shell.map_err(|e| stopped(e, target, cancel))?;
    let password = password.map(SudoPassword::secret);
    let what = script(catalog);
    let spec = CommandSpec {
        what: &what,
        privileged: true,
        bounds: &PROBE_BOUNDS,
        encoding: Encoding::Plain,
        stacks_on_timeout: false,
        shell: &shell.facts,
        password,
        input: None,
    };
    let mut output = Capped::default();
    let end = command::run(session, &spec, &mut output, cancel).await.map_err(|e| stopped(e, target, cancel))?;
    let cut = judge(&end.exit, target).map_err(|e| stopped(e, target, cancel))?;
    let mut facts = facts::parse(&output.bytes).map_err(|e| {
        let cut = cut.as_ref().map(|cut| format!("{cut}, and ")).unwrap_or_default();
        failed(target, FailureKind::ExecStalled, &format!("{cut}gave no usable answer: {e}"))
    })?;
    facts.partial |= cut.is_some();
    facts.shell = shell.facts;
    facts.uid.get_or_insert(shell.uid);
    let cut = cut.map(|cut| format!("the probe {cut}; what it had not told by then is not known"));
    Ok(Probed { facts, clock: shell.clock, complaint: shell.complaint, cut })
}

/// Returns what the probe did wrong though it may have told enough, or the failure. What may hang
/// on a sick node comes last in the script, so a probe that was cut short is the rule there.
fn judge(exit: &CommandExit, target: &Target) -> Result<Option<&'static str>, SessionError> {
    match exit {
        CommandExit::Code(_) | CommandExit::Signal(_) => Ok(None),
        CommandExit::TimedOut | CommandExit::Stopped(Stopped::Deadline) => Ok(Some("did not end within 10 s")),
        CommandExit::Stopped(Stopped::Sink) => {
            Err(failed(target, FailureKind::Other, "printed more than 1 MiB: that is not its own answer"))
        }
        CommandExit::Stopped(Stopped::Cancelled) => Err(failed(target, FailureKind::Cancelled, "was stopped")),
        CommandExit::Unknown => {
            Err(SessionError::new(FailureKind::LinkLost, format!("{}: the link ended during the probe", target.name)))
        }
        CommandExit::NotStarted(words) => {
            Err(failed(target, FailureKind::ExecStalled, &format!("was not allowed: {words}")))
        }
    }
}

fn failed(target: &Target, kind: FailureKind, what: &str) -> SessionError {
    SessionError::new(kind, format!("{}: the probe {what}", target.name))
}

/// Whatever else it looks like: once we are told to stop, that is why the probe ended.
fn stopped(error: SessionError, target: &Target, cancel: &CancellationToken) -> SessionError {
    if cancel.is_cancelled() { failed(target, FailureKind::Cancelled, "was stopped") } else { error }
}

/// The facts script with its arguments.
pub(crate) fn script(catalog: &Catalog) -> What {
    What::Script { text: facts::probe_script().to_owned(), args: facts::probe_args(catalog) }
}

/// Keeps the first MiB of standard output.
#[derive(Default)]
struct Capped {
    bytes: Vec<u8>,
}

impl Sink for Capped {
    fn write<'a>(&'a mut self, stream: StdStream, chunk: Bytes) -> BoxFuture<'a, ControlFlow<()>> {
        if stream == StdStream::Out {
            self.bytes.extend_from_slice(&chunk);
        }
        let full = self.bytes.len() as u64 > PROBE_BOUNDS.max_bytes;
        Box::pin(std::future::ready(if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }))
    }
}
