//! What an earlier run left on a node, and what dockerd is doing now: one script that only reads, and sentences
//! about what it saw.

use std::time::Duration;

use crate::change::dockerd_debug::{Place, client_words};
use crate::change::{Client, Process, Script, Shell, ShellError};
use crate::plan::{Encoding, NodeFacts};
use crate::printable::printable;

/// Its longest wait is for `/info` (5 s) and systemctl (5 s).
const SURVEY: Script = Script {
    name: "looking for what an earlier run left",
    text: concat!(
        include_str!("../scripts/start.sh"),
        include_str!("../scripts/listens.sh"),
        include_str!("../scripts/survey.sh")
    ),
    timeout: Duration::from_secs(20),
};
/// What has not been touched for so long is nobody's work in progress, seconds.
pub(super) const ABANDONED: u64 = 60;
/// Longest value of the file `owner` that is shown, in characters.
const MOST_OWNER: usize = 100;

/// Where dockerd's things are on a node, as far as they are needed to look for leftovers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whereabouts {
    /// Configuration file.
    pub config: String,
    /// Socket of the API.
    pub socket: String,
    /// How the API is asked, if that is possible.
    pub client: Option<Client>,
    /// Process and start of dockerd, executable, unit.
    pub process: Option<Process>,
    /// Where receipts of stack dumps are.
    pub receipts: String,
}

impl Whereabouts {
    /// Returns them from what the probe found.
    #[must_use]
    pub fn of(facts: &NodeFacts) -> Self {
        let dockerd = facts.dockerd.as_ref();
        let words = dockerd.map(|d| d.cmdline.as_slice()).unwrap_or_default();
        let flag = |names: &[&str]| {
            let mut found = None;
            for (at, word) in words.iter().enumerate() {
                for name in names {
                    match word.strip_prefix(name) {
                        Some("") => found = words.get(at + 1).cloned(),
                        Some(rest) => found = rest.strip_prefix('=').map(str::to_owned).or(found),
                        None => {}
                    }
                }
            }
            found.filter(|v| !v.is_empty())
        };
        let socket = flag(&["-H", "--host"]).and_then(|h| h.strip_prefix("unix://").map(str::to_owned));
        let tool = |name: &str| facts.tools.get(name).cloned();
        let client = tool("docker").map(Client::Docker).or_else(|| tool("curl").map(Client::Curl));
        let process = dockerd.and_then(|d| {
            Some(Process { pid: d.pid?, start_ticks: d.start_ticks?, exe: d.exe.clone()?, unit: d.unit.clone() })
        });
        Self {
            config: flag(&["--config-file"]).unwrap_or_else(|| "/etc/docker/daemon.json".to_owned()),
            socket: socket.filter(|s| !s.is_empty()).unwrap_or_else(|| "/var/run/docker.sock".to_owned()),
            client,
            process,
            receipts: "/run".to_owned(),
        }
    }
}

/// A stack dump that was not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfinishedDump {
    /// Its receipt's directory.
    pub dir: String,
    /// Seconds since it was begun.
    pub age: u64,
    /// Of which daemon, by whom.
    pub text: String,
}

/// What an earlier run left on a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// The guard's directory is there.
    pub dir: bool,
    /// Whose window it is.
    pub owner: String,
    /// State of the guard.
    pub state: String,
    /// The guard runs.
    pub alive: bool,
    /// It has all it needs to be started again.
    pub armed: bool,
    /// Seconds since the operator's last sign of life.
    pub silent: Option<u64>,
    /// Seconds without such a sign after which the window ends.
    pub lease: u64,
    /// Seconds since the directory was changed.
    pub age: u64,
    /// Somebody's text that would be lost.
    pub saved: Option<String>,
    /// Rest of a directory that was being removed.
    pub gone: bool,
    /// `ActiveState` of the guard's unit.
    pub unit: String,
    /// Configuration file.
    pub config: String,
    /// The original beside it is there.
    pub orig: bool,
    /// It stands for "there was no file".
    pub orig_none: bool,
    /// It is the same file.
    pub orig_same: bool,
    /// Hex sha256 of the original beside it and of the file.
    pub sums: (String, String),
    /// A half-made new file is there.
    pub new: bool,
    /// Unfinished dumps.
    pub dumps: Vec<UnfinishedDump>,
    /// What dockerd says of its debug.
    pub debug: Option<bool>,
    /// Something of ours is left that this survey does not look at.
    pub more: bool,
}

impl Found {
    fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines().take(200) {
            let Some((name, value)) = line.split_once('=') else { continue };
            // Part of a sentence that goes on behind it.
            let value = printable(value, if name.starts_with("owner-") { MOST_OWNER } else { 400 });
            let number = value.parse().ok();
            match name {
                "dir" => found.dir = true,
                "owner-who" => found.owner = format!("{value}{}", found.owner),
                "owner-since" => found.owner.push_str(&format!(" since {value}")),
                "owner-run" => found.owner.push_str(&format!(" (run {value})")),
                "state" => found.state = value,
                "armed" => found.armed = true,
                "alive" => found.alive = true,
                "silent" => found.silent = number,
                "lease" => found.lease = number.unwrap_or_default(),
                "age" => found.age = number.unwrap_or_default(),
                "saved" => found.saved = Some(value),
                "gone" => found.gone = true,
                "unit" => found.unit = value,
                "config" => found.config = value,
                "orig" => found.orig = true,
                "orig-none" => found.orig_none = true,
                "orig-same" => found.orig_same = true,
                "orig-sha256" => found.sums.0 = value,
                "sha256" => found.sums.1 = value,
                "new" => found.new = true,
                "stacks" => {
                    let mut words = value.splitn(3, ' ');
                    if let (Some(dir), Some(age), Some(text)) = (words.next(), words.next(), words.next()) {
                        let age = age.parse().unwrap_or_default();
                        found.dumps.push(UnfinishedDump { dir: dir.to_owned(), age, text: text.to_owned() });
                    }
                }
                "debug" => found.debug = value.parse().ok(),
                _ => {}
            }
        }
        if found.owner.is_empty() {
            "an unknown run".clone_into(&mut found.owner);
        }
        found
    }

    /// Returns whether somebody is in a window right now: left alone unless forced.
    #[must_use]
    pub fn busy(&self) -> bool {
        let final_state = self.state.starts_with("DONE") || self.state == "REFUSED";
        let silent = self.silent.is_none_or(|s| s > self.lease);
        let begun = self.state.is_empty() || self.state == "NEW";
        // A guard that is not there may be about to be started, again or for the first time.
        self.dir && ((self.armed && !silent && !final_state) || (begun && !self.alive && self.age < ABANDONED))
    }

    /// Returns whether the guard had switched debug on, or was about to, and had not seen it off again.
    pub(super) fn switched(&self) -> bool {
        ["ON-PENDING", "ON", "ON-UNCONFIRMED", "OFF"].contains(&self.state.as_str())
    }

    /// Returns whether there is nothing of ours.
    #[must_use]
    pub fn clean(&self) -> bool {
        !self.dir && !self.gone && !self.orig && !self.new && self.dumps.is_empty() && self.unit != "failed"
    }

    /// Returns what was found, one sentence each.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let (owner, state) = (&self.owner, if self.state.is_empty() { "none" } else { &self.state });
        if self.busy() {
            let silent = self.silent.map_or_else(String::new, |silent| {
                let lease = self.lease;
                format!("; last sign of life {silent} s ago, after {lease} s without one the node ends it by itself")
            });
            lines.push(format!("{owner} is in a debug window right now (guard: {state}){silent}"));
        } else if self.dir && self.alive {
            lines.push(format!("the guard of {owner} is ending its debug window by itself (guard: {state})"));
        } else if let Some(saved) = &self.saved {
            lines.push(format!(
                "{saved} is what {} was before somebody replaced it in a window of {owner}",
                self.config
            ));
        } else if self.dir {
            lines.push(format!("a debug window of {owner} was not closed and its guard does not run (guard: {state})"));
        }
        if self.unit == "failed" {
            lines.push("the guard's unit is left as failed".to_owned());
        }
        if self.gone {
            lines.push("the rest of a guard's directory is left".to_owned());
        }
        if self.orig {
            lines.push(format!("{0}.plegcollect-orig is left beside {0}", self.config));
        }
        if self.new {
            lines.push(format!("{0}.plegcollect-new is left beside {0}", self.config));
        }
        for dump in &self.dumps {
            lines.push(format!("a stack dump was not finished: {} ({}, {} s ago)", dump.dir, dump.text, dump.age));
        }
        let nothing = self.clean() && !self.more;
        match self.debug {
            Some(true) if self.clean() => {
                lines.push("dockerd's debug is on, and nothing says that we switched it on: left alone".to_owned());
            }
            Some(true) => lines.push("dockerd's debug is on".to_owned()),
            Some(false) if nothing => lines.push("nothing of plegcollect is left; dockerd's debug is off".to_owned()),
            Some(false) => lines.push("dockerd's debug is off".to_owned()),
            None if nothing => lines.push("nothing of plegcollect is left".to_owned()),
            None if self.clean() => {}
            None => lines.push("dockerd does not say whether its debug is on".to_owned()),
        }
        lines
    }
}

/// Looks for what earlier runs left; changes nothing.
///
/// # Errors
/// When the node gave no answer.
///
/// # Cancel safety
/// Reads only.
pub async fn survey(shell: &dyn Shell, place: &Place, at: &Whereabouts) -> Result<Found, ShellError> {
    let (client, cli) = at.client.as_ref().map_or(("", ""), client_words);
    let args = [&place.dir, &place.unit, &at.config, client, cli, &at.socket, &at.receipts].map(str::to_owned);
    Ok(Found::parse(&shell.run(&SURVEY, &args, Encoding::Plain, None).await?.text()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_busy_only_while_its_operator_lives() {
        let live = "dir=/run/p\nowner-run=r1\nowner-who=kim@x\nstate=ON\narmed=1\nlease=30\nsilent=4\nalive=1\n";
        assert!(Found::parse(live).busy());
        let line = &Found::parse(live).sentences()[0];
        assert!(
            line.ends_with("(guard: ON); last sign of life 4 s ago, after 30 s without one the node ends it by itself")
        );
        assert!(!Found::parse(&live.replace("silent=4", "silent=40")).busy());
        assert!(Found::parse(&live.replace("alive=1", "")).busy(), "may be started again in a second");
        assert!(!Found::parse(&live.replace("state=ON", "state=DONE")).busy());
        assert!(Found::parse("dir=/run/p\nage=5\n").busy(), "being armed");
        assert!(!Found::parse("dir=/run/p\nage=500\n").busy());
        assert!(Found::parse("").clean() && !Found::parse("unit=failed\n").clean());
    }

    #[test]
    fn a_hostile_owner_neither_paints_nor_hides_what_is_left() {
        let long = "A".repeat(10_000);
        let text =
            format!("dir=/run/p\nowner-run=\u{1b}[2J\u{1b}]0;t\u{7}r1\nowner-who=\u{1b}[31mkim{long}\nstate=ON\n");
        let line = &Found::parse(&text).sentences()[0];
        assert!(!line.contains(|c: char| c.is_control()) && !line.contains("[31m") && !line.contains("0;t"), "{line}");
        assert!(line.starts_with("a debug window of kimAAA") && line.contains("(run r1)"), "{line}");
        assert!(line.ends_with("was not closed and its guard does not run (guard: ON)") && line.len() < 400, "{line}");
    }
}
