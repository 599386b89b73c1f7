//! The scripts that arm, tell and look at the guard on a node, and what they answer. The guard
//! itself is `scripts/guard.sh`; it alone signals dockerd and touches its configuration file.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::change::{Answer, Script, Shell, ShellError};
use crate::plan::Encoding;
use crate::printable::printable;

/// The guard's own text.
pub(crate) const GUARD: &str = concat!(include_str!("../scripts/listens.sh"), include_str!("../scripts/guard.sh"));

/// Lines of the guard's log that are kept.
const LOG_LINES: usize = 200;

/// Arms the guard. systemd-run may take its 10 s several times.
pub(crate) const ARM: Script = Script {
    name: "arming the guard",
    text: concat!(include_str!("../scripts/start.sh"), include_str!("../scripts/arm.sh")),
    timeout: Duration::from_secs(50),
};
const TELL: Script = Script {
    name: "telling the guard",
    text: concat!(include_str!("../scripts/start.sh"), include_str!("../scripts/tell.sh")),
    timeout: Duration::from_secs(45),
};
/// Four calls of the API, 5 s each at most.
const LOOK: Script = Script {
    name: "looking at dockerd and its configuration",
    text: concat!(include_str!("../scripts/listens.sh"), include_str!("../scripts/look.sh")),
    timeout: Duration::from_secs(30),
};

/// Where the guard lives on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its directory; plain characters only.
    pub dir: String,
    /// Its systemd unit, without `.service`; empty: not under systemd.
    pub unit: String,
}

impl Default for Place {
    fn default() -> Self {
        Self { dir: "/run/plegcollect".to_owned(), unit: "plegcollect-guard".to_owned() }
    }
}

/// What the guard has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuardState {
    /// Started, nothing done yet.
    New,
    /// Switching debug on.
    OnPending,
    /// Debug is on.
    On,
    /// dockerd did not say that debug is on; it is being made sure that it is off.
    OnUnconfirmed,
    /// Switching debug off.
    Off,
    /// Debug is off.
    Done,
    /// dockerd was restarted by somebody else and is without our debug.
    DoneRestarted,
    /// Somebody else switched debug on; it was left on.
    DoneForeign,
    /// Nothing was touched.
    Refused,
    /// There is no guard of this run, and no directory of it: it has cleared up after itself.
    Gone,
    /// Something else.
    Unknown,
}

impl GuardState {
    fn parse(word: &str) -> Self {
        match word {
            "NEW" => Self::New,
            "ON-PENDING" => Self::OnPending,
            "ON" => Self::On,
            "ON-UNCONFIRMED" => Self::OnUnconfirmed,
            "OFF" => Self::Off,
            "DONE" => Self::Done,
            "DONE-restarted" => Self::DoneRestarted,
            "DONE-foreign-debug-true" => Self::DoneForeign,
            "REFUSED" => Self::Refused,
            "GONE" => Self::Gone,
            _ => Self::Unknown,
        }
    }

    /// Returns whether nothing more will happen.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::DoneRestarted | Self::DoneForeign | Self::Refused | Self::Gone)
    }
}

/// What the guard is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// We are alive.
    Lease,
    /// End the window.
    Stop,
    /// Clear up.
    Bye,
}

impl Word {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::Stop => "stop",
            Self::Bye => "bye",
        }
    }
}

/// How the guard stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) state: GuardState,
    pub(crate) alive: bool,
    /// Where somebody's text was saved that would be lost otherwise.
    pub(crate) saved: Option<String>,
    pub(crate) log: Vec<String>,
}

impl Standing {
    fn parse(answer: &Answer) -> Self {
        let mut standing = Self { state: GuardState::Unknown, alive: false, saved: None, log: Vec::new() };
        for line in answer.text().lines() {
            match line.split_once(' ') {
                Some(("state", word)) => standing.state = GuardState::parse(word.trim()),
                Some(("guard", word)) => standing.alive = word == "alive",
                Some(("saved", path)) => standing.saved = Some(printable(path, 400)),
                Some(("log", text)) if standing.log.len() < LOG_LINES => standing.log.push(printable(text, 400)),
                _ => {}
            }
        }
        standing
    }

    /// Returns the last thing the guard said before it gave its state.
    pub(crate) fn reason(&self) -> Option<String> {
        let said = |line: &String| line.split_once(' ').map(|(_, text)| text.to_owned());
        self.log.iter().rev().filter_map(said).find(|text| !text.starts_with("state "))
    }
}

/// Tells the guard something and waits at most `wait` for what it leads to.
pub(crate) async fn tell(
    shell: &dyn Shell,
    place: &Place,
    run: &str,
    word: Word,
    wait: Duration,
) -> Result<Standing, ShellError> {
    let wait = wait.as_secs().to_string();
    let args = [place.dir.clone(), run.to_owned(), word.as_str().to_owned(), wait, place.unit.clone()];
    let answer = shell.run(&TELL, &args, Encoding::Plain, None).await?;
    Ok(Standing::parse(&answer))
}

/// dockerd and its configuration file, as they are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Look {
    /// Facts by name, as the script printed them.
    pub(crate) facts: BTreeMap<String, String>,
    /// Names of ours that should not be there.
    pub(crate) left: Vec<String>,
    /// `/info`, if it answered.
    pub(crate) info: Option<serde_json::Map<String, serde_json::Value>>,
}

impl Look {
    pub(crate) fn parse(answer: &Answer) -> Self {
        let mut look = Self::default();
        for line in answer.text().lines() {
            match line.split_once('=') {
                Some(("info", json)) => look.info = serde_json::from_str(json).ok().filter(is_answer),
                Some(("left", path)) => look.left.push(printable(path, 400)),
                Some((name, value)) if look.facts.len() < 64 => {
                    look.facts.insert(printable(name, 40), printable(value, 400));
                }
                _ => {}
            }
        }
        look
    }

    /// Returns whether debug is on, if dockerd said it.
    pub(crate) fn debug(&self) -> Option<bool> {
        self.info.as_ref()?.get("Debug")?.as_bool()
    }

    pub(crate) fn fact(&self, name: &str) -> Option<&str> {
        self.facts.get(name).map(String::as_str)
    }
}

/// Returns whether dockerd gave it: newer clients fill in an empty answer, with debug off, where dockerd gave an
/// error (docker/cli cli/command/system/info.go).
fn is_answer(info: &serde_json::Map<String, serde_json::Value>) -> bool {
    info.get("ServerVersion").and_then(serde_json::Value::as_str).is_some_and(|version| !version.is_empty())
}

/// What [`look`] looks at.
pub(crate) struct Subject<'a> {
    pub(crate) config: &'a str,
    pub(crate) client: &'a crate::change::Client,
    pub(crate) socket: &'a str,
    pub(crate) pid: u32,
}

/// Looks at dockerd and its configuration file.
pub(crate) async fn look(
    shell: &dyn Shell,
    place: &Place,
    subject: &Subject<'_>,
    back: Duration,
) -> Result<Look, ShellError> {
    let (client, cli) = client_words(subject.client);
    let args = [
        subject.config.to_owned(),
        client.to_owned(),
        cli.to_owned(),
        subject.socket.to_owned(),
        subject.pid.to_string(),
        place.dir.clone(),
        back.as_secs().to_string(),
    ];
    let answer = shell.run(&LOOK, &args, Encoding::Plain, None).await?;
    Ok(Look::parse(&answer))
}

/// Returns the kind and the path of a client.
pub(crate) fn client_words(client: &crate::change::Client) -> (&'static str, &str) {
    match client {
        crate::change::Client::Docker(path) => ("docker", path),
        crate::change::Client::Curl(path) => ("curl", path),
    }
}
