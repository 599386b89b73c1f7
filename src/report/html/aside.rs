//! What a manifest says of a node beside its steps and its evidence: changes made and undone, whether anything was restarted,
//! how the collection ended. Words only.

use crate::analyze::view::NodeView;
use crate::evidence::ChangeState;
use crate::wording::{command, safe};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Aside {
    /// There is a manifest.
    pub(super) known: bool,
    /// What became of each change.
    pub(super) changes: Vec<Told>,
    /// Whether daemons are the same processes as before; `None` if nobody looked.
    pub(super) restarts: Option<Told>,
    /// Why the collection is not complete.
    pub(super) reason: Option<String>,
}

/// One sentence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Told {
    /// It, printable.
    pub(super) text: String,
    /// It asks for attention.
    pub(super) grave: bool,
    /// The command that mends it, printable.
    pub(super) mend: Option<String>,
}

impl Aside {
    /// Reads the manifest of a view.
    pub(super) fn of(view: &NodeView) -> Self {
        let Some(manifest) = &view.manifest else { return Self::default() };
        let changes = manifest.changes.iter().map(|change| {
            let grave = change.state == ChangeState::StillChanged;
            let mend = change.mend.clone().unwrap_or_else(|| format!("plegcollect revert --nodes {}", view.node));
            let subject = if change.subject.is_empty() { String::new() } else { format!(" of {}", change.subject) };
            let how = change.state.word();
            Told {
                text: safe(&format!("{}{subject}: {how}. {}", change.change, change.text)),
                grave,
                mend: grave.then(|| command(&mend)),
            }
        });
        let restarts = manifest.restart_proof.as_ref().map(|proof| {
            let text = match proof.restarted() {
                None => "Whether anything was restarted could not be checked.".to_owned(),
                Some(names) if names.is_empty() => {
                    "Nothing was restarted: every daemon is the same process as before.".to_owned()
                }
                Some(names) => format!("RESTARTED while evidence was taken: {}.", names.join(", ")),
            };
            Told { grave: text.starts_with("RESTARTED"), text: safe(&text), mend: None }
        });
        Self { known: true, changes: changes.collect(), restarts, reason: manifest.reason.as_deref().map(safe) }
    }
}
