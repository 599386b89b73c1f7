//! What the checks before a change say at this moment, for `plegcollect plan`. The same checks as in a run; they read
//! only, and a run makes them again.

use std::time::Duration;

use secrecy::SecretString;

use super::made::Made;
use super::way::OneSession;
use crate::change::kubelet_verbosity::{self, NotePlace};
use crate::change::preflight::{self, PreflightOutcome};
use crate::change::stack_dump::{self, Subject};
use crate::change::{NodeShell, recover};
use crate::plan::facts::Rights;
use crate::plan::{Action, ChangeId, ChangePolicy, NodeFacts, NodePlan};
use crate::session::Session;

/// A dockerd that hangs uses up several bounds of 5 s.
const WITHIN: Duration = Duration::from_secs(30);

/// What is to be said of a planned change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreseen {
    /// Which change.
    pub change: ChangeId,
    /// Whether it would not be made, of this daemon.
    pub refused: bool,
    /// One sentence: why not, or what to know before it is made.
    pub text: String,
}

/// Makes the checks before the changes of a plan.
///
/// # Cancel safety
/// Reads only; dropped early, a script may go on on the node for its bound.
pub(super) async fn foresee(
    session: &Session,
    facts: &NodeFacts,
    plan: &NodePlan,
    policy: &ChangePolicy,
    password: Option<&SecretString>,
) -> Vec<Foreseen> {
    let made: Vec<Made> = plan
        .steps
        .iter()
        .filter(|step| matches!(step.action, Action::Change(_)))
        .filter_map(|step| Made::of(&step.id))
        .collect();
    let mut foreseen = Vec::new();
    if made.is_empty() || facts.shell.rights == Rights::None {
        return foreseen;
    }
    let way = OneSession(session.clone());
    let shell = NodeShell { way: &way, facts: &facts.shell, password, persistent: false };
    for subject in [Subject::Dockerd, Subject::Containerd] {
        if !made.iter().any(|made| made.subject() == Some(subject)) {
            continue;
        }
        let change = ChangeId::StackDump;
        let mut say = |refused, text| foreseen.push(Foreseen { change, refused, text });
        match tokio::time::timeout(WITHIN, stack_dump::prepare(&shell, facts, subject, policy)).await {
            Ok(Ok(prepared)) => prepared.warnings.into_iter().for_each(|warning| say(false, warning)),
            Ok(Err(record)) => say(true, record.text),
            Err(_) => say(false, unknown(&format!("{subject}'s dump"))),
        }
    }
    if made.iter().any(|made| matches!(made, Made::Window(_))) {
        let change = ChangeId::DockerdDebug;
        let mut say = |refused, text| foreseen.push(Foreseen { change, refused, text });
        match tokio::time::timeout(WITHIN, preflight::examine(&shell, facts, policy)).await {
            Ok(examined) => {
                match examined.outcome {
                    PreflightOutcome::Ready(_) => {}
                    PreflightOutcome::Not { text, .. } => say(true, text),
                    PreflightOutcome::Busy(owner) => say(true, owner.busy()),
                    PreflightOutcome::Stale(_) | PreflightOutcome::Leftover(_) => {
                        say(false, recover::FIRST.to_owned());
                    }
                }
                examined.warnings.into_iter().for_each(|warning| say(false, warning));
            }
            Err(_) => say(false, unknown("the debug window")),
        }
    }
    if made.contains(&Made::Verbose) {
        let change = ChangeId::KubeletVerbosity;
        let asked = "asked first: GET /configz for the level before, without which it is refused; it takes the rules \
                     get and update of nodes/proxy";
        foreseen.push(Foreseen { change, refused: false, text: asked.to_owned() });
        let place = NotePlace::default();
        let looking = kubelet_verbosity::in_the_way(&shell, &place, "plegcollect revert");
        if let Ok(Ok(Some(text))) = tokio::time::timeout(WITHIN, looking).await {
            foreseen.push(Foreseen { change, refused: true, text });
        }
    }
    foreseen
}

fn unknown(what: &str) -> String {
    format!("the checks before {what} did not end within {} s: a run may refuse it", WITHIN.as_secs())
}
