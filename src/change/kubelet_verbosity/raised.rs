//! A verbosity in force: raised under a note, put back past every stop of the run, its end judged. Called by
//! `collect/` through `mod.rs`.

use std::time::Duration;

use jiff::Timestamp;

use super::note::{self, Cleared, KubeletProcess, Left, NotePlace, Seen, clear, look};
use super::{FLAG, Prepared, Verbosity, busy, passed, refused};
use crate::change::dockerd_debug::Operator;
use crate::change::{ChangeRecord, Permit, Shell};
use crate::evidence::ChangeState;
use crate::kubelet::PutError;
use crate::plan::ChangeId;
use crate::printable::printable;

/// One PUT: while its API server hangs, a kubelet answers 401 after up to 30 s (seen with kubelets 1.21.1 and 1.36.2).
const PUT_WITHIN: Duration = Duration::from_secs(40);
/// Attempts to put the level back, and the pause between them.
const ROUNDS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(2);
/// Time for all of them; beyond it the level is said to be raised still.
pub const LOWER_WITHIN: Duration = Duration::from_secs(75);
/// What a run may take beside the window itself, for the note's word on when it will be done.
const BESIDE: Duration = Duration::from_secs(240);

/// Who raises it, for how long, and how it is mended.
#[derive(Debug, Clone)]
pub struct Terms<'a> {
    /// Person, run and node.
    pub operator: &'a Operator,
    /// The exact command that puts it back, should we not.
    pub mend: String,
    /// How long it is to stay raised.
    pub window: Duration,
    /// Where the note is left.
    pub place: NotePlace,
}

/// A raised verbosity. Dropped, it stays raised until the kubelet is restarted or the note is heeded.
#[derive(Debug)]
pub struct Raised {
    place: NotePlace,
    run: String,
    mend: String,
    process: KubeletProcess,
    prior: u32,
    level: u32,
    record: ChangeRecord,
}

/// Leaves the note on the node, raises the verbosity, and looks that it was this kubelet's.
///
/// # Errors
/// The final record: refused, or put back at once, or possibly still raised.
///
/// # Cancel safety
/// Not to be dropped: the level may stay raised; the note on the node says so.
pub async fn raise(
    shell: &dyn Shell,
    kubelet: &dyn Verbosity,
    prepared: Prepared,
    permit: Permit,
    terms: &Terms<'_>,
) -> Result<Raised, Box<ChangeRecord>> {
    let Prepared { process, prior, level, mut record } = prepared;
    if permit.change() != ChangeId::KubeletVerbosity {
        return Err(refused(record, "V4", "there is no permission for it"));
    }
    let operator = terms.operator;
    let lines = [
        ("who", operator.who.clone()),
        ("since", now()),
        ("node", operator.node.clone()),
        ("prior", prior.level.to_string()),
        ("level", level.to_string()),
    ];
    let seconds = terms.window.saturating_add(BESIDE).as_secs();
    let left = note::leave(shell, &terms.place, &process, seconds, &operator.run_id, &lines).await;
    record.remains = remains();
    let mut raised = Raised {
        place: terms.place.clone(),
        run: operator.run_id.clone(),
        mend: terms.mend.clone(),
        process,
        prior: prior.level,
        level,
        record,
    };
    match left {
        Ok(Left::There) => {}
        // Left twice, for the link had ended in the first time.
        Ok(Left::Busy(seen)) if seen.note.as_ref().is_some_and(|note| note.run == raised.run) => {}
        Ok(Left::Busy(seen)) => return Err(refused(raised.record, "V4", &busy(&seen, &terms.mend))),
        Ok(Left::Not(why)) => {
            return Err(refused(raised.record, "V4", &format!("no note could be left on the node: {why}")));
        }
        Err(error) => {
            return Err(Box::new(raised.not_made(shell, &format!("no note could be left on the node: {error}")).await));
        }
    }
    raised.record.checks.push(passed("V4", format!("a note is left in {}", terms.place.0)));
    if let Err(error) = set(kubelet, level).await {
        let why = explained(&error.text);
        return Err(Box::new(if error.sent {
            raised.finish(shell, kubelet, Some(&format!("it was not seen to be raised ({why})"))).await
        } else {
            raised.not_made(shell, &why).await
        }));
    }
    raised.record.applied = Some(Timestamp::now());
    // A kubelet that was started between the look and the PUT has got it as well.
    if let Ok(Seen { same: Some(false), .. }) = look(shell, &raised.place, Some(&raised.process)).await {
        return Err(Box::new(raised.of_another(shell, kubelet).await));
    }
    Ok(raised)
}

fn remains() -> Vec<String> {
    vec![
        "a level that somebody else had set by PUT before is lost: nothing tells it".to_owned(),
        "the lines it logged are in the node's journal and wherever it is shipped to".to_owned(),
    ]
}

/// Sets a level and takes nothing but the kubelet's own word for it.
///
/// # Errors
/// It did not say so in time; `sent` tells whether it may have taken effect all the same.
///
/// # Cancel safety
/// Dropped early, it may have taken effect.
pub(crate) async fn set(kubelet: &dyn Verbosity, level: u32) -> Result<(), PutError> {
    let answer = match tokio::time::timeout(PUT_WITHIN, kubelet.put(level)).await {
        Ok(answer) => answer?,
        Err(_) => {
            let text = format!("PUT {FLAG} was not answered within {} s", PUT_WITHIN.as_secs());
            return Err(PutError { text, sent: true });
        }
    };
    let said = String::from_utf8_lossy(&answer).into_owned();
    if said.strip_suffix('\n').unwrap_or(&said) == format!("successfully set klog.logging.verbosity to {level}") {
        return Ok(());
    }
    let text = format!("PUT {FLAG} was answered {:?}, which is no proof of level {level}", printable(&said, 200));
    Err(PutError { text, sent: true })
}

/// Adds what an operator can do about a refusal.
fn explained(text: &str) -> String {
    let has = |status: &str| text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == status);
    if has("403") && !text.contains("update nodes/proxy") {
        format!("{text}; the credential needs the rule: update nodes/proxy")
    } else if has("405") || has("404") {
        format!(
            "{text}; the kubelet does not let its flags be set (enableDebugFlagsHandler or enableDebuggingHandlers is false)"
        )
    } else {
        text.to_owned()
    }
}

impl Raised {
    /// Returns the receipt: what is done and what was there before.
    #[must_use]
    pub const fn record(&self) -> &ChangeRecord {
        &self.record
    }

    /// Puts the level back, removes the note and returns the final record; within [`LOWER_WITHIN`]. The shell is one that
    /// connects again, so that the kubelet is asked by whatever connection is there then.
    ///
    /// # Cancel safety
    /// Dropped early, the level may stay raised; the note on the node says so.
    pub async fn lower(self, shell: &dyn Shell, kubelet: &dyn Verbosity) -> ChangeRecord {
        self.finish(shell, kubelet, None).await
    }

    /// Returns the final record where the kubelet cannot be asked any more.
    #[must_use]
    pub fn abandoned(self) -> ChangeRecord {
        self.still("it was not asked", None)
    }

    /// `early`: why it is not left raised.
    async fn finish(self, shell: &dyn Shell, kubelet: &dyn Verbosity, early: Option<&str>) -> ChangeRecord {
        let mut why = format!("no answer within {} s", LOWER_WITHIN.as_secs());
        let trying = self.put_back(shell, kubelet, &mut why);
        let state = tokio::time::timeout(LOWER_WITHIN, trying).await.ok().flatten();
        match state {
            Some(state) => self.conclude(shell, state, early).await,
            None => self.still(&why, early),
        }
    }

    /// Returns how the level came to be what it was, or nothing; `why` says then what was seen last.
    async fn put_back(&self, shell: &dyn Shell, kubelet: &dyn Verbosity, why: &mut String) -> Option<ChangeState> {
        for round in 0..ROUNDS {
            if round > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            // It connects again where the link is gone, which the PUT does not.
            match look(shell, &self.place, Some(&self.process)).await {
                Ok(Seen { same: Some(false), .. }) => return Some(ChangeState::EndedByRestart),
                Ok(_) => {}
                // Through the API server the kubelet is reached all the same.
                Err(error) => *why = error.to_string(),
            }
            match set(kubelet, self.prior).await {
                Ok(()) => return Some(ChangeState::Reverted),
                Err(error) => *why = explained(&error.text),
            }
        }
        None
    }

    /// Removes the note, for the level is what it was.
    async fn conclude(mut self, shell: &dyn Shell, state: ChangeState, early: Option<&str>) -> ChangeRecord {
        self.record.reverted = Some(Timestamp::now());
        self.record.state = state;
        let early = early.map(|why| format!("{why}; ")).unwrap_or_default();
        let (prior, level) = (self.prior, self.level);
        self.record.text = printable(
            &if state == ChangeState::EndedByRestart {
                format!("{early}the kubelet was restarted meanwhile and logs at the level it starts with")
            } else {
                self.record.after.insert("level".to_owned(), prior.to_string());
                format!("{early}{}put back to {prior}", self.for_about(level))
            },
            800,
        );
        self.remove_note(shell).await;
        self.record
    }

    /// The kubelet took the level as another process than the one that was looked at.
    async fn of_another(self, shell: &dyn Shell, kubelet: &dyn Verbosity) -> ChangeRecord {
        let early = "the kubelet was restarted while its verbosity was raised";
        match set(kubelet, self.prior).await {
            Ok(()) => self.conclude(shell, ChangeState::EndedByRestart, Some(early)).await,
            Err(error) => self.still(&explained(&error.text), Some(early)),
        }
    }

    /// Nothing was sent, so nothing is raised.
    async fn not_made(mut self, shell: &dyn Shell, why: &str) -> ChangeRecord {
        self.record = *refused(self.record, "V5", why);
        self.remove_note(shell).await;
        self.record
    }

    async fn remove_note(&mut self, shell: &dyn Shell) {
        let left = match clear(shell, &self.place, &self.run).await {
            Ok(Cleared::Gone) => return,
            Ok(Cleared::Foreign(who)) => return self.record.warnings.push(format!("{} was left: {who}", self.place.0)),
            Ok(Cleared::Not(why)) => why,
            Err(error) => error.to_string(),
        };
        self.record.state = ChangeState::StillChanged;
        self.record.differences.push(format!("the note in {} was not removed: {left}", self.place.0));
        self.record.text =
            printable(&format!("{}, but the note in {} was not removed: {left}", self.record.text, self.place.0), 1000);
        self.record.mend = Some(self.mend.clone());
    }

    fn still(mut self, why: &str, early: Option<&str>) -> ChangeRecord {
        let early = early.map(|why| format!("{why}; ")).unwrap_or_default();
        let (prior, level) = (self.prior, self.level);
        self.record.state = ChangeState::StillChanged;
        self.record.differences.push(format!("the kubelet's verbosity was not seen to be {prior} again"));
        self.record.text = printable(
            &format!(
                "{early}the kubelet may still log at level {level} instead of {prior}, until it is restarted or put back: {why}"
            ),
            1000,
        );
        self.record.mend = Some(self.mend.clone());
        self.record
    }

    /// How long it was raised, rounded so that nodes of one run say the same.
    fn for_about(&self, level: u32) -> String {
        match (self.record.applied, self.record.reverted) {
            (Some(from), Some(to)) => {
                format!("at {level} for about {} s, ", (to.duration_since(from).as_secs().max(0) + 2) / 5 * 5)
            }
            _ => String::new(),
        }
    }
}

/// This moment, to the second.
fn now() -> String {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}
