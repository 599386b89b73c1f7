//! The note on the node: who raised the kubelet's verbosity, and what to put back. Left before anything is changed, removed
//! when the level is back; read by whoever finds it. The script is `scripts/kubelet-note.sh`.

use crate::change::{Script, Shell, ShellError};
use crate::plan::Encoding;
use crate::printable::printable;

const NOTE: Script = Script {
    name: "the note about the kubelet's verbosity",
    text: include_str!("../scripts/kubelet-note.sh"),
    timeout: std::time::Duration::from_secs(10),
};
/// Format of the note.
const VERSION: &str = "1";
/// Longest value that is shown, in characters.
const MOST: usize = 100;

/// A kubelet's process, which a note is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubeletProcess {
    /// Process id.
    pub pid: u32,
    /// Field 22 of `/proc/PID/stat`: start in clock ticks after boot.
    pub start_ticks: u64,
    /// Kernel boot id.
    pub boot_id: String,
}

/// Where notes are on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotePlace(pub String);

impl Default for NotePlace {
    fn default() -> Self {
        Self("/run/plegcollect-kubelet".to_owned())
    }
}

/// A note, as far as it can be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Note {
    /// Person and machine.
    pub who: String,
    /// Id of the run.
    pub run: String,
    /// When, UTC, by the operator's clock.
    pub since: String,
    /// The level to put back.
    pub prior: Option<u32>,
    /// The level it was raised to.
    pub level: Option<u32>,
    /// Until when its run expects to be done, seconds after boot.
    pub until: Option<u64>,
}

/// What the script saw.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// The directory is there.
    pub dir: bool,
    /// Why it is not one that we made.
    pub odd: Option<String>,
    /// Seconds since the directory was changed.
    pub age: u64,
    /// Seconds since the node booted.
    pub up: u64,
    /// The note.
    pub note: Option<Note>,
    /// The kubelet is the process it was; `None`: not looked at.
    pub same: Option<bool>,
}

impl Seen {
    pub(crate) fn parse(text: &str) -> Self {
        let mut seen = Self::default();
        for line in text.lines().take(100) {
            let Some((name, value)) = line.split_once('=') else { continue };
            let value = printable(value, if name == "odd" { 400 } else { MOST });
            match name {
                "dir" => seen.dir = true,
                "odd" => seen.odd = Some(value),
                "age" => seen.age = value.parse().unwrap_or_default(),
                "up" => seen.up = value.parse().unwrap_or_default(),
                "kubelet" => seen.same = Some(value == "same"),
                _ => {
                    let Some(name) = name.strip_prefix("note-") else { continue };
                    let note = seen.note.get_or_insert_default();
                    match name {
                        "who" => note.who = value,
                        "run" => note.run = value,
                        "since" => note.since = value,
                        "prior" => note.prior = value.parse().ok(),
                        "level" => note.level = value.parse().ok(),
                        "until" => note.until = value.parse().ok(),
                        _ => {}
                    }
                }
            }
        }
        seen
    }

    /// Returns for how many seconds more its run expects to be at work, 0 if that time is over.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.note.as_ref().and_then(|note| note.until).map_or(0, |until| until.saturating_sub(self.up))
    }
}

impl Note {
    /// Returns whose it is, for a sentence.
    #[must_use]
    pub fn owner(&self) -> String {
        let or = |value: &str| if value.is_empty() { "?".to_owned() } else { value.to_owned() };
        format!("{} since {} (run {})", or(&self.who), or(&self.since), or(&self.run))
    }

    /// Returns from which level to which, for a sentence.
    #[must_use]
    pub fn levels(&self) -> String {
        let or = |level: Option<u32>| level.map_or_else(|| "?".to_owned(), |level| level.to_string());
        format!("from {} to {}", or(self.prior), or(self.level))
    }
}

/// What became of leaving a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Left {
    /// It is there.
    There,
    /// Another one is there.
    Busy(Box<Seen>),
    /// It is not there; one clause.
    Not(String),
}

/// What became of removing a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cleared {
    /// It is gone.
    Gone,
    /// The one that is there is another run's; one clause.
    Foreign(String),
    /// It is still there; one clause.
    Not(String),
}

/// Leaves a note of `lines`, for a kubelet that must still be that process.
///
/// # Errors
/// The script gave no answer; the note may be there.
///
/// # Cancel safety
/// Dropped early, the note may be there.
pub(super) async fn leave(
    shell: &dyn Shell,
    place: &NotePlace,
    process: &KubeletProcess,
    seconds: u64,
    run: &str,
    lines: &[(&str, String)],
) -> Result<Left, ShellError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if lines.iter().any(|(_, value)| value.chars().any(char::is_control)) || !run.chars().all(plain) {
        return Ok(Left::Not("what would stand in it holds characters that are not taken".to_owned()));
    }
    let mut args = vec!["leave".to_owned(), place.0.clone()];
    args.extend(of_process(process));
    args.extend([seconds.to_string(), run.to_owned(), format!("version={VERSION}"), format!("run={run}")]);
    args.extend(
        [
            ("pid", process.pid.to_string()),
            ("start", process.start_ticks.to_string()),
            ("boot", process.boot_id.clone()),
        ]
        .iter()
        .chain(lines)
        .map(|(name, value)| format!("{name}={value}")),
    );
    let answer = shell.run(&NOTE, &args, Encoding::Plain, None).await?;
    Ok(match answer.status {
        0 => Left::There,
        3 => Left::Busy(Box::new(Seen::parse(&answer.text()))),
        _ => Left::Not(first_line(&answer)),
    })
}

/// Looks at the note, and whether the kubelet is still `process`, or the one of the note.
///
/// # Errors
/// The script gave no answer.
///
/// # Cancel safety
/// Reads only.
pub(crate) async fn look(
    shell: &dyn Shell,
    place: &NotePlace,
    process: Option<&KubeletProcess>,
) -> Result<Seen, ShellError> {
    let mut args = vec!["look".to_owned(), place.0.clone()];
    args.extend(process.map_or_else(Default::default, of_process));
    Ok(Seen::parse(&shell.run(&NOTE, &args, Encoding::Plain, None).await?.text()))
}

/// Removes the note of a run; `*`: whoever's.
///
/// # Errors
/// The script gave no answer; the note may be gone.
///
/// # Cancel safety
/// Dropped early, it may be gone.
pub(crate) async fn clear(shell: &dyn Shell, place: &NotePlace, run: &str) -> Result<Cleared, ShellError> {
    let args = ["clear".to_owned(), place.0.clone(), run.to_owned()];
    let answer = shell.run(&NOTE, &args, Encoding::Plain, None).await?;
    Ok(match answer.status {
        0 => Cleared::Gone,
        3 => Cleared::Foreign(first_line(&answer)),
        _ => Cleared::Not(first_line(&answer)),
    })
}

fn of_process(process: &KubeletProcess) -> [String; 3] {
    [process.pid.to_string(), process.start_ticks.to_string(), process.boot_id.clone()]
}

fn first_line(answer: &crate::change::Answer) -> String {
    match answer.text().lines().next() {
        Some(line) => printable(line, 400),
        None => format!("the node gave no reason (exit status {})", answer.status),
    }
}
