//! A run that is under way, to be signalled and killed; and the inventory of quick runs.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Plegcollect, run_dir, state};

/// No run of these tests takes longer, whatever was done to it.
pub(crate) const LONGEST: Duration = Duration::from_secs(150);

/// Writes the fleet's inventory with as little time between two samples of stacks as there may be.
pub(crate) fn quick_inventory(dir: &Path) -> PathBuf {
    let mut text = std::fs::read_to_string(state().join("inventory.toml")).unwrap();
    text.push_str("\n[changes]\nsample-gap = \"2s\"\n");
    let path = dir.join("inventory.toml");
    std::fs::write(&path, text).unwrap();
    path
}

/// A run of the program; killed when dropped.
pub(crate) struct Running {
    pub(crate) child: Child,
    out: tempfile::TempDir,
    ended: Option<ExitStatus>,
}

impl Running {
    /// Starts it; what it prints goes to files.
    pub(crate) fn start(mut call: Plegcollect) -> Self {
        let file = |name: &str| File::create(call.out.path().join(name)).unwrap();
        let (out, err) = (file("stdout"), file("stderr"));
        let child = call.command.stdout(out).stderr(err).spawn().expect("plegcollect starts");
        Self { child, out: call.out, ended: None }
    }

    /// Whether it has ended.
    pub(crate) fn over(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().unwrap();
        }
        self.ended.is_some()
    }

    /// Sends it a signal, unless it has ended.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if !self.over() {
            kill_process(Pid::from_child(&self.child), signal).unwrap();
        }
    }

    /// kill -9, and waits for its end.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }

    /// Waits for its end; returns its exit status.
    ///
    /// # Errors
    /// It did not end in time, or with a status that is none of its own.
    pub(crate) fn end(&mut self) -> Result<i32, String> {
        let limit = Instant::now() + LONGEST;
        while !self.over() {
            if Instant::now() > limit {
                self.kill();
                return Err(format!("plegcollect did not end within {LONGEST:?}\n{}", self.said()));
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        match self.ended.and_then(|s| s.code()) {
            Some(code @ (0 | 10 | 11 | 12 | 20 | 130)) => Ok(code),
            _ => Err(format!("plegcollect ended with {:?}\n{}", self.ended, self.said())),
        }
    }

    /// The end of what it printed.
    pub(crate) fn said(&self) -> String {
        let tail = |name: &str| {
            let text = std::fs::read_to_string(self.out.path().join(name)).unwrap_or_default();
            let lines: Vec<String> = text.lines().map(|l| l.chars().take(300).collect()).collect();
            lines[lines.len().saturating_sub(200)..].join("\n")
        };
        format!("--- stdout\n{}\n--- stderr\n{}", tail("stdout"), tail("stderr"))
    }

    /// The directory of the run.
    pub(crate) fn dir(&self) -> PathBuf {
        run_dir(self.out.path()).unwrap_or_else(|| panic!("there is no run directory: {}", self.said()))
    }

    /// The first node in run.json.
    pub(crate) fn node(&self) -> Value {
        run_dir(self.out.path())
            .and_then(|dir| std::fs::read(dir.join("run.json")).ok())
            .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok())
            .map_or(Value::Null, |record| record["nodes"][0].clone())
    }

    /// What run.json says became of the debug window of the first node; empty if it says nothing.
    pub(crate) fn claim(&self) -> String {
        debug_window(&self.node()["changes"])["state"].as_str().unwrap_or_default().to_owned()
    }
}

/// The debug window among changes; null if it is not there.
pub(crate) fn debug_window(changes: &Value) -> Value {
    changes.as_array().and_then(|all| all.iter().find(|c| c["change"] == "dockerd-debug").cloned()).unwrap_or_default()
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}
