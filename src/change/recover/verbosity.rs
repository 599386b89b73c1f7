//! Finds a kubelet's verbosity that a dead run left raised, by its note on the node, and puts it back. That takes the
//! kubelet's credential, which is not on the node: without one it says what is raised.

use super::repair::Verdict;
use super::survey::ABANDONED;
use crate::change::kubelet_verbosity::{self, Cleared, NotePlace, Seen, Verbosity};
use crate::change::{Shell, ShellError};

/// What was found of a raised verbosity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundVerbosity(Seen);

/// Looks for the note of an earlier run; changes nothing.
///
/// # Errors
/// When the node gave no answer.
///
/// # Cancel safety
/// Reads only.
pub async fn survey_verbosity(shell: &dyn Shell, place: &NotePlace) -> Result<FoundVerbosity, ShellError> {
    kubelet_verbosity::look(shell, place, None).await.map(FoundVerbosity)
}

impl FoundVerbosity {
    /// Returns whether there is nothing of ours.
    #[must_use]
    pub const fn clean(&self) -> bool {
        !self.0.dir
    }

    /// Returns whether its run may be alive: left alone unless forced.
    #[must_use]
    pub fn busy(&self) -> bool {
        let seen = &self.0;
        seen.dir
            && seen.odd.is_none()
            && match &seen.note {
                Some(_) => seen.same == Some(true) && seen.left() > 0,
                None => seen.age < ABANDONED,
            }
    }

    /// Returns whether the kubelet has to be asked to put it back.
    #[must_use]
    pub fn needs_credential(&self) -> bool {
        self.0.odd.is_none() && self.0.note.is_some() && self.0.same == Some(true)
    }

    /// Returns what was found, one sentence each.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let seen = &self.0;
        let Some(note) = seen.note.as_ref().filter(|_| seen.odd.is_none()) else {
            return match (&seen.odd, seen.dir) {
                (Some(odd), _) => vec![format!("{odd}: plegcollect did not make it so, look at it")],
                (None, true) => vec!["the beginning of a note about the kubelet's verbosity is left".to_owned()],
                (None, false) => Vec::new(),
            };
        };
        let (owner, levels) = (note.owner(), note.levels());
        vec![match (seen.same, seen.left()) {
            (Some(false), _) => format!(
                "a note is left: {owner} raised the kubelet's verbosity {levels}; the kubelet was restarted since then, \
                 which put it back"
            ),
            (_, 0) => format!("the kubelet's verbosity is raised {levels} by {owner} and was not put back"),
            (_, left) => format!(
                "the kubelet's verbosity is raised {levels} by {owner}, whose run expects to be done within {left} s"
            ),
        }]
    }
}

/// Puts back what was found, and removes the note. `force`: also where its run may be alive, and a note that cannot be read.
///
/// # Errors
/// When the node gave no answer.
///
/// # Cancel safety
/// Dropped early, the level may be back with the note still there; it can be repeated.
pub async fn repair_verbosity(
    shell: &dyn Shell,
    place: &NotePlace,
    found: &FoundVerbosity,
    kubelet: Option<&dyn Verbosity>,
    force: bool,
) -> Result<Verdict, ShellError> {
    let seen = &found.0;
    let told = |line: String, clean| Ok(Verdict { lines: vec![line], clean });
    if found.clean() {
        return Ok(Verdict { lines: Vec::new(), clean: true });
    }
    if seen.odd.is_some() {
        return told(format!("left alone: {}", place.0), false);
    }
    if found.busy() && !force {
        return told("left alone: its run puts it back; --force does so now".to_owned(), true);
    }
    let mut lines = Vec::new();
    if let Some(note) = seen.note.as_ref().filter(|_| seen.same == Some(true)) {
        match (note.prior, kubelet) {
            (None, _) if !force => {
                let line = "its note does not say to which level: restart the kubelet, or set it by hand, then use --force \
                            to remove the note";
                return told(line.to_owned(), false);
            }
            (None, _) => {}
            (Some(prior), None) => {
                return told(
                    format!(
                        "to put it back to {prior} the kubelet has to be asked: give its credential (--kubelet-token-file and its like)"
                    ),
                    false,
                );
            }
            (Some(prior), Some(kubelet)) => {
                if let Err(error) = kubelet_verbosity::set(kubelet, prior).await {
                    return told(format!("it could not be put back to {prior}: {}; run it again", error.text), false);
                }
                lines.push(format!("the kubelet's verbosity is put back to {prior}"));
            }
        }
    }
    // Of whoever it is: by now it may be another run's, which then says so itself.
    let run = seen.note.as_ref().map_or("*", |note| note.run.as_str());
    let clean = match kubelet_verbosity::clear(shell, place, run).await? {
        Cleared::Gone => true,
        Cleared::Foreign(why) | Cleared::Not(why) => {
            lines.push(format!("the note was not removed: {why}"));
            false
        }
    };
    if clean {
        lines.push(format!("removed the note in {}", place.0));
    }
    Ok(Verdict { lines, clean })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> FoundVerbosity {
        FoundVerbosity(Seen::parse(text))
    }

    const NOTE: &str =
        "dir=/run/x\nnote-run=r1\nnote-who=kim@x\nnote-since=T\nnote-prior=2\nnote-level=4\nnote-until=500\n";

    #[test]
    fn a_note_is_told_by_what_has_become_of_its_run_and_its_kubelet() {
        for (more, busy, asks, want) in [
            (
                "up=400\nkubelet=same\n",
                true,
                true,
                "raised from 2 to 4 by kim@x since T (run r1), whose run expects to be done within 100 s",
            ),
            ("up=500\nkubelet=same\n", false, true, "was not put back"),
            ("up=400\nkubelet=other\n", false, false, "restarted since then"),
            ("odd=/run/x is a symbolic link\n", false, false, "look at it"),
        ] {
            let found = found(&format!("{NOTE}{more}"));
            assert_eq!((found.busy(), found.needs_credential()), (busy, asks), "{more}");
            assert!(found.sentences()[0].contains(want), "{more}: {:?}", found.sentences());
            assert!(!found.clean());
        }
        assert!(found("up=5\n").clean() && found("up=5\n").sentences().is_empty());
        assert!(found("dir=/run/x\nage=5\n").busy() && !found("dir=/run/x\nage=500\n").busy());
    }

    #[test]
    fn a_hostile_note_paints_nothing() {
        let found = found(&format!("{NOTE}up=1\nnote-who=\u{1b}[31mkim{}\n", "A".repeat(5000)));
        let line = &found.sentences()[0];
        assert!(!line.contains(|c: char| c.is_control()) && line.len() < 500, "{line}");
    }
}
