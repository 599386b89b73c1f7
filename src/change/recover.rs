//! Finds and repairs what an earlier run left on a node, from any machine: the receipt is on the node.
//! Everything is told before anything is done. For `plegcollect revert`, and before a window is opened.

use std::time::Duration;

use super::dockerd_debug::{GUARD, GuardState, Place, Word, client_words, mend, tell};
use super::{Client, Script, Shell, ShellError};
use crate::plan::{Encoding, NodeFacts};
use crate::printable::printable;

/// Its longest wait is for `/info` (5 s) and systemctl (5 s).
const SURVEY: Script = Script {
    name: "looking for what an earlier run left",
    text: concat!(
        include_str!("scripts/start.sh"),
        include_str!("scripts/listens.sh"),
        include_str!("scripts/survey.sh")
    ),
    timeout: Duration::from_secs(20),
};
const MEND: Script = Script {
    name: "repairing what an earlier run left",
    text: concat!(include_str!("scripts/start.sh"), include_str!("scripts/mend.sh")),
    timeout: Duration::from_secs(50),
};
const ARM: Script = Script {
    name: "starting a guard",
    text: concat!(include_str!("scripts/start.sh"), include_str!("scripts/arm.sh")),
    timeout: Duration::from_secs(50),
};
/// Prints a file; the text is compared and not shown.
const READ: Script =
    Script { name: "reading daemon.json", text: "head -c 262144 -- \"$1\"", timeout: Duration::from_secs(10) };

/// What has not been touched for so long is nobody's work in progress, seconds.
const ABANDONED: u64 = 60;
/// What a run does about traces of an earlier one, one sentence.
pub(crate) const FIRST: &str = "an earlier run's debug window was not closed: a run undoes that first; \
    `plegcollect revert --dry-run` shows what it is";
/// Longest value of the file `owner` that is shown, in characters.
const MOST_OWNER: usize = 100;
/// How long a guard is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

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
    pub process: Option<super::Process>,
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
            Some(super::Process { pid: d.pid?, start_ticks: d.start_ticks?, exe: d.exe.clone()?, unit: d.unit.clone() })
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
}

/// How a node stands after it was looked at or repaired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What was found and done, one sentence each.
    pub lines: Vec<String>,
    /// The node is as it should be, as far as we are concerned.
    pub clean: bool,
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
    fn switched(&self) -> bool {
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
        match self.debug {
            Some(true) if self.clean() => {
                lines.push("dockerd's debug is on, and nothing says that we switched it on: left alone".to_owned());
            }
            Some(true) => lines.push("dockerd's debug is on".to_owned()),
            Some(false) if self.clean() => {
                lines.push("nothing of plegcollect is left; dockerd's debug is off".to_owned())
            }
            Some(false) => lines.push("dockerd's debug is off".to_owned()),
            None if self.clean() => lines.push("nothing of plegcollect is left".to_owned()),
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

/// Repairs what was found and looks again. `force`: also ends a window somebody is in, and gives up a
/// text that was saved.
///
/// # Errors
/// When the node gave no answer.
///
/// # Cancel safety
/// Each repair is one script on the node, which goes on to its end.
pub async fn repair(
    shell: &dyn Shell,
    place: &Place,
    at: &Whereabouts,
    found: &Found,
    force: bool,
) -> Result<Verdict, ShellError> {
    let mut work = Repair { shell, place, at, lines: Vec::new() };
    let mut later;
    let mut found = found;
    let begun = std::time::Instant::now();
    while found.busy() && !found.alive && !force && begun.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_secs(2)).await;
        later = survey(shell, place, at).await?;
        found = &later;
    }
    if found.busy() && !force {
        work.lines.push("left alone: its guard ends it; --force ends it now".to_owned());
        return Ok(Verdict { lines: work.lines, clean: true });
    }
    work.window(found, force).await?;
    // The guard may have mended the files.
    let mut now = survey(shell, place, at).await?;
    if !now.dir {
        work.files(&now).await?;
        let restored = now.orig && !now.orig_same;
        // The guard cannot be started again, and says itself that debug is ours.
        if found.dir && !found.armed && found.switched() && now.debug == Some(true) && !restored {
            work.switch_off(&now.config).await?;
        }
    }
    for dump in &now.dumps {
        if dump.age < ABANDONED && !force {
            work.lines.push(format!("{} is left alone: it may still be at work", dump.dir));
        } else if work.mend(&["stacks", &dump.dir]).await? {
            work.lines.push(format!("undid the stack dump of {}", dump.dir));
        }
    }
    if now.gone && !now.dir {
        work.mend(&["clear", &place.dir]).await?;
    }
    if now.unit == "failed" {
        work.mend(&["reset", &place.unit]).await?;
    }
    now = survey(shell, place, at).await?;
    let mut clean = now.clean();
    if clean && found.debug == Some(true) && now.debug == Some(true) && !found.clean() {
        work.lines.push("dockerd's debug is on; somebody else may want it so: left on".to_owned());
    }
    let restored = found.orig && !found.orig_same;
    if clean && restored && at.process.is_some() && now.debug != Some(false) {
        clean = false;
        work.lines
            .push("dockerd was not seen to be without debug after its file was put back: run it again".to_owned());
    }
    if !clean && now.dumps.iter().all(|d| d.age < ABANDONED) {
        let without = Found { dumps: Vec::new(), ..now.clone() };
        clean = without.clean();
    }
    work.lines.extend(now.sentences());
    Ok(Verdict { lines: work.lines, clean })
}

/// Finishes what a run left whose guard is dead, and waits until it is gone; the node is to be examined anew then.
///
/// # Errors
/// One sentence: what is still there, or that the node gave no answer.
///
/// # Cancel safety
/// As [`repair`].
pub async fn recover_stale(shell: &dyn Shell, facts: &NodeFacts, node: &str) -> Result<Vec<String>, String> {
    let (place, at) = (Place::default(), Whereabouts::of(facts));
    let tell = |error: ShellError| format!("an earlier run's traces could not be removed: {error}");
    let found = survey(shell, &place, &at).await.map_err(tell)?;
    let verdict = repair(shell, &place, &at, &found, false).await.map_err(tell)?;
    if verdict.clean && !found.busy() {
        return Ok(verdict.lines);
    }
    Err(format!("{}; run {}", verdict.lines.join("; "), mend(node)))
}

struct Repair<'a> {
    shell: &'a dyn Shell,
    place: &'a Place,
    at: &'a Whereabouts,
    lines: Vec<String>,
}

impl Repair<'_> {
    /// Runs one repair; what it says is kept if it fails.
    async fn mend(&mut self, args: &[&str]) -> Result<bool, ShellError> {
        let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
        let answer = self.shell.run(&MEND, &args, Encoding::Plain, None).await?;
        if answer.status == 0 {
            return Ok(true);
        }
        let text = answer.text();
        self.lines.push(printable(text.lines().next().unwrap_or("a repair failed and did not say why"), 400));
        Ok(false)
    }

    /// The guard and its directory.
    async fn window(&mut self, found: &Found, force: bool) -> Result<(), ShellError> {
        let dir = &self.place.dir;
        if !found.dir {
            return Ok(());
        }
        if found.saved.is_some() && !found.alive {
            if force {
                self.mend(&["clear", dir]).await?;
            } else {
                self.lines.push(format!("left for you to look at: {dir}; --force removes it"));
            }
            return Ok(());
        }
        if !found.armed || found.state.is_empty() {
            // Arming was cut short and nothing had been changed, or somebody has removed a part of it.
            if self.mend(&["clear", dir]).await? {
                let why = if found.switched() { "whose guard is gone" } else { "which was never put to use" };
                self.lines.push(format!("removed {dir}, {why}"));
            }
            return Ok(());
        }
        if force {
            self.mend(&["stop", dir]).await?;
        }
        if !found.alive {
            if !self.mend(&["resume", dir, &self.place.unit]).await? {
                return Ok(());
            }
            self.lines.push("the guard was started again to finish the window".to_owned());
        }
        self.wait().await
    }

    /// Waits until the guard has ended the window and is gone.
    async fn wait(&mut self) -> Result<(), ShellError> {
        let begun = std::time::Instant::now();
        let mut alive = true;
        while begun.elapsed() < PATIENCE {
            // Whoever's run it is; without a sign of life, so that an old lease stays old.
            let standing = tell(self.shell, self.place, "*", Word::Bye, Duration::from_secs(10)).await?;
            if standing.state == GuardState::Gone {
                self.lines.push("the window is ended".to_owned());
                return Ok(());
            }
            if standing.saved.is_some() && standing.state.is_final() {
                return Ok(());
            }
            alive = standing.alive;
        }
        let then = if alive { "it goes on trying" } else { "it does not run" };
        self.lines.push(format!("the guard has not ended the window within {} s; {then}", PATIENCE.as_secs()));
        Ok(())
    }

    /// Files beside the configuration, without a guard: after a reboot, say.
    async fn files(&mut self, found: &Found) -> Result<(), ShellError> {
        let config = found.config.as_str();
        if !found.orig && !found.new {
            return Ok(());
        }
        if !found.orig || found.orig_same || found.orig_none {
            if self.mend(&["drop", config]).await? {
                self.lines.push(format!("removed what was left beside {config}"));
            }
        } else {
            let orig = format!("{config}.plegcollect-orig");
            let (ours, theirs) = (self.read(config).await?, self.read(&orig).await?);
            if !differ_by_debug(&theirs, &ours) {
                self.lines.push(format!(
                    "{config} and {orig} differ by more than our debug key: compare them, keep the right one as {config} \
                     and remove the other"
                ));
                return Ok(());
            }
            if !self.mend(&["restore", config, &found.sums.1, &found.sums.0]).await? {
                return Ok(());
            }
            self.lines.push(format!("put {config} back"));
        }
        // A dockerd that gives no answer now may have started with our text: the guard waits for its answer.
        let answers = found.debug.is_some() || self.at.process.is_some();
        if found.orig && !found.orig_same && found.debug != Some(false) && answers {
            self.switch_off(config).await?;
        }
        Ok(())
    }

    async fn read(&self, path: &str) -> Result<Vec<u8>, ShellError> {
        Ok(self.shell.run(&READ, &[path.to_owned()], Encoding::Plain, None).await?.out)
    }

    /// dockerd came up with debug from the file that was on disk: off, under a guard.
    async fn switch_off(&mut self, config: &str) -> Result<(), ShellError> {
        let (Some(process), Some(client)) = (&self.at.process, &self.at.client) else {
            self.lines.push("dockerd's debug is on, and it cannot be switched off from here: restart it".to_owned());
            return Ok(());
        };
        let (client, cli) = client_words(client);
        let mut args = vec![self.place.dir.clone(), self.place.unit.clone(), GUARD.to_owned()];
        args.extend(["0", "0", "", "", "0", "0", "", ""].map(str::to_owned));
        let pairs = [
            ("e:F", config.to_owned()),
            ("e:PID", process.pid.to_string()),
            ("e:START", process.start_ticks.to_string()),
            ("e:EXE", process.exe.clone()),
            ("e:UNIT", process.unit.clone().unwrap_or_default()),
            ("e:SHA", String::new()),
            ("e:HAVE", "0".to_owned()),
            ("e:LEASE", "30".to_owned()),
            ("e:WINDOW", "600".to_owned()),
            ("e:T1", "10".to_owned()),
            ("e:SOCK", self.at.socket.clone()),
            ("e:CLIENT", client.to_owned()),
            ("e:CLI", cli.to_owned()),
            ("e:STATE", "OFF".to_owned()),
            ("o:run", "revert".to_owned()),
            ("o:who", "plegcollect revert".to_owned()),
            ("o:since", jiff::Timestamp::now().to_string()),
            ("r:config", config.to_owned()),
        ];
        args.extend(pairs.iter().map(|(name, value)| format!("{name}={value}")));
        let answer = self.shell.run(&ARM, &args, Encoding::Plain, None).await?;
        if answer.status != 0 {
            let text = answer.text();
            self.lines.push(printable(&format!("debug could not be switched off: {}", text.trim()), 400));
            return Ok(());
        }
        self.wait().await
    }
}

/// Returns whether `now` is `was` but for a boolean `debug` at the top.
fn differ_by_debug(was: &[u8], now: &[u8]) -> bool {
    type Object = serde_json::Map<String, serde_json::Value>;
    let (Ok(mut was), Ok(mut now)) = (serde_json::from_slice::<Object>(was), serde_json::from_slice::<Object>(now))
    else {
        return false;
    };
    was.remove("debug");
    now.remove("debug").is_some_and(|debug| debug.is_boolean()) && was == now
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_key_may_differ() {
        for (was, now, want) in [
            (r#"{"a":1}"#, r#"{"debug": true,"a":1}"#, true),
            (r#"{"a":1,"debug":false}"#, r#"{"debug": true,"a":1}"#, true),
            (r#"{"a":1}"#, r#"{"debug": true,"a":2}"#, false),
            (r#"{"a":1}"#, r#"{"a":1}"#, false),
            (r#"{"a":1}"#, r#"{"debug":"x","a":1}"#, false),
            (r#"{"a":1}"#, "", false),
        ] {
            assert_eq!(differ_by_debug(was.as_bytes(), now.as_bytes()), want, "{was} {now}");
        }
    }

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
