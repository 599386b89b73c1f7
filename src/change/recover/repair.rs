//! Repairs what a survey found: a window is ended by its own guard, files go back by one script, debug is switched
//! off under a guard. Nothing is done to a window that somebody is in, unless that is forced.

use std::time::Duration;

use super::survey::{ABANDONED, Found, Whereabouts, survey};
use crate::change::dockerd_debug::{GUARD, GuardState, Place, Word, client_words, mend, tell};
use crate::change::{Script, Shell, ShellError};
use crate::plan::{Encoding, NodeFacts};
use crate::printable::printable;

const MEND: Script = Script {
    name: "repairing what an earlier run left",
    text: concat!(include_str!("../scripts/start.sh"), include_str!("../scripts/mend.sh")),
    timeout: Duration::from_secs(50),
};
const ARM: Script = Script {
    name: "starting a guard",
    text: concat!(include_str!("../scripts/start.sh"), include_str!("../scripts/arm.sh")),
    timeout: Duration::from_secs(50),
};
/// Prints a file; the text is compared and not shown.
const READ: Script =
    Script { name: "reading daemon.json", text: "head -c 262144 -- \"$1\"", timeout: Duration::from_secs(10) };

/// How long a guard is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a node stands after it was looked at or repaired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What was found and done, one sentence each.
    pub lines: Vec<String>,
    /// The node is as it should be, as far as we are concerned.
    pub clean: bool,
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
}
