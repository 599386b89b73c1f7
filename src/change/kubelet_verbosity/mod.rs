//! The kubelet's verbosity, raised for a while by `PUT /debug/flags/v` and put back. The one change that nothing on the node
//! undoes without us, for only we hold the credential: hence the note on the node, which says what to put back.
//!
//! No GET tells the level after a PUT; the answer `successfully set klog.logging.verbosity to N` is the proof (seen with
//! kubelets 1.21.1 and 1.36.2, the older with a newline behind it). Called by `collect/`; `recover/` puts back what was left.

mod level;
mod note;
mod raised;

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::BoxFuture;
use serde::Serialize;

pub use level::Prior;
pub(crate) use note::{Cleared, clear, look};
pub use note::{KubeletProcess, Note, NotePlace, Seen};
pub(crate) use raised::set;
pub use raised::{LOWER_WITHIN, Raised, Terms, raise};

use super::dockerd_debug::Operator;
use super::shell::{Shell, ShellError, Way};
use super::{ChangeRecord, Check, Verdict};
use crate::evidence::ChangeState;
use crate::kubelet::{Kubelet, PutError};
use crate::plan::facts::Rights;
use crate::plan::{ChangeId, ChangePolicy, NodeFacts};
use crate::printable::printable;

/// What the change is about, in receipts.
const SUBJECT: &str = "kubelet";
/// Where the level the kubelet started with is told.
const CONFIGZ: &str = "/configz";
/// What takes a new level.
const FLAG: &str = "/debug/flags/v";
/// Asks and sets a node's kubelet. Tests put a kubelet of their own in its place.
pub trait Verbosity: Sync {
    /// Reads something small and whole.
    ///
    /// # Errors
    /// Why not, one sentence.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    fn read<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Vec<u8>, String>>;

    /// Sets the level; returns the body of a 200.
    ///
    /// # Errors
    /// Why not; with whether it may have taken effect all the same.
    ///
    /// # Cancel safety
    /// Dropped early, it may have taken effect.
    fn put(&self, level: u32) -> BoxFuture<'_, Result<Vec<u8>, PutError>>;
}

/// The kubelet of a node, by whatever connection is in use.
pub struct OnNode<'a> {
    /// How it is asked.
    pub kubelet: &'a Kubelet,
    /// How to get to the node.
    pub way: &'a dyn Way,
}

impl Verbosity for OnNode<'_> {
    fn read<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Vec<u8>, String>> {
        Box::pin(async move { self.kubelet.read(&self.way.session(), path).await })
    }

    fn put(&self, level: u32) -> BoxFuture<'_, Result<Vec<u8>, PutError>> {
        Box::pin(async move { self.kubelet.put(&self.way.session(), FLAG, &level.to_string()).await })
    }
}

/// A kubelet that may be asked for more: its level is known and below the one asked for.
#[derive(Debug, Clone)]
pub struct Prepared {
    process: KubeletProcess,
    prior: Prior,
    level: u32,
    record: ChangeRecord,
}

impl Prepared {
    /// Returns what is needed to put it back, to be stored before it is raised.
    #[must_use]
    pub fn receipt<'a>(&'a self, operator: &'a Operator) -> Receipt<'a> {
        Receipt {
            run: &operator.run_id,
            who: &operator.who,
            level: self.level,
            before: &self.record.before,
            describe: &self.record.describe,
            checks: &self.record.checks,
        }
    }
}

/// `node/receipt-kubelet.json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Receipt<'a> {
    run: &'a str,
    who: &'a str,
    level: u32,
    before: &'a BTreeMap<String, String>,
    describe: &'a str,
    checks: &'a [Check],
}

/// Finds out whether the verbosity may be raised; asks and changes nothing but `GET /configz`.
///
/// # Errors
/// The final record: refused, or not needed.
///
/// # Cancel safety
/// Reads only.
pub async fn prepare(
    kubelet: &dyn Verbosity,
    facts: &NodeFacts,
    policy: &ChangePolicy,
) -> Result<Prepared, Box<ChangeRecord>> {
    let mut record = ChangeRecord::not_made(ChangeId::KubeletVerbosity, SUBJECT, ChangeState::Refused, "");
    let Some(level) = policy.kubelet_verbosity.map(u32::from) else {
        record.state = ChangeState::Skipped;
        "only on request: --kubelet-verbosity LEVEL".clone_into(&mut record.text);
        return Err(Box::new(record));
    };
    if facts.shell.rights == Rights::None {
        return Err(refused(
            record,
            "V1",
            "root's rights are needed on the node, for the note that says what to put back",
        ));
    }
    let daemon = facts.kubelet.as_ref();
    let process = daemon.and_then(|d| Some((d.pid?, d.start_ticks?)));
    let Some((pid, start_ticks)) = process.filter(|_| !facts.boot_id.is_empty()) else {
        return Err(refused(record, "V1", "which process the kubelet is could not be told"));
    };
    let process = KubeletProcess { pid, start_ticks, boot_id: facts.boot_id.clone() };
    record.checks.push(passed("V1", format!("the kubelet is pid {pid}, started at tick {start_ticks}")));

    let configz = kubelet.read(CONFIGZ).await;
    let words = daemon.map(|d| d.cmdline.as_slice()).unwrap_or_default();
    let prior = match level::prior(configz.as_deref().map_err(String::as_str), words) {
        Ok(prior) => prior,
        Err(why) => return Err(refused(record, "V2", &format!("the level before is unknown: {why}"))),
    };
    record.checks.push(passed("V2", format!("the level before is {} ({})", prior.level, prior.seen)));
    if level <= prior.level {
        let text =
            format!("the kubelet logs at level {} already ({}), and it is never lowered", prior.level, prior.seen);
        record.checks.push(Check { id: "V3".to_owned(), verdict: Verdict::Skip, text: text.clone() });
        record.state = ChangeState::Skipped;
        record.text = text;
        return Err(Box::new(record));
    }
    for (name, value) in [
        ("level", prior.level.to_string()),
        ("level-seen-in", prior.seen.clone()),
        ("pid", pid.to_string()),
        ("start", start_ticks.to_string()),
    ] {
        record.before.insert(name.to_owned(), value);
    }
    record.describe = describe(&process, prior.level, level, policy.window);
    Ok(Prepared { process, prior, level, record })
}

/// What the change does, for people.
fn describe(process: &KubeletProcess, prior: u32, level: u32, window: Duration) -> String {
    format!(
        "The kubelet (pid {}) logs at level {level} instead of {prior} for {} s: PUT {FLAG}, then the same with {prior}; \
         nothing is restarted. Nothing on the node puts it back without us: a note there says to which level.",
        process.pid,
        window.as_secs()
    )
}

/// Says who is there already, and what is to be done about one who seems to be dead.
fn busy(seen: &Seen, mend: &str) -> String {
    let Some(note) = &seen.note else { return "another run is about to raise it".to_owned() };
    let (owner, levels) = (note.owner(), note.levels());
    match seen.left() {
        0 => format!("{owner} raised it {levels} and has not put it back: first run {mend}"),
        left => format!("{owner} has raised it {levels} and expects to be done within {left} s"),
    }
}

fn passed(id: &str, text: String) -> Check {
    Check { id: id.to_owned(), verdict: Verdict::Pass, text: printable(&text, 400) }
}

fn refused(mut record: ChangeRecord, id: &str, why: &str) -> Box<ChangeRecord> {
    let why = printable(why, 800);
    record.state = ChangeState::Refused;
    record.text = format!("the kubelet's verbosity was not raised: {why}");
    record.remains.clear();
    record.checks.push(Check { id: id.to_owned(), verdict: Verdict::Refuse, text: why });
    Box::new(record)
}

/// Looks whether somebody's note is there, for a plan.
///
/// # Errors
/// When the node gave no answer.
///
/// # Cancel safety
/// Reads only.
pub async fn in_the_way(shell: &dyn Shell, place: &NotePlace, mend: &str) -> Result<Option<String>, ShellError> {
    let seen = look(shell, place, None).await?;
    Ok(match (&seen.odd, &seen.note) {
        (Some(odd), _) => Some(odd.clone()),
        (None, Some(_)) => Some(busy(&seen, mend)),
        (None, None) => None,
    })
}

#[cfg(test)]
mod tests;
