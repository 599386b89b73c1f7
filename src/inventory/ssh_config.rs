//! ssh_config as OpenSSH itself resolves it: `ssh -G NAME`, bounded in number and time, cached for the run.
//!
//! Values that equal OpenSSH's built-in ones count as not said, so that `[defaults]` of the inventory
//! can be told from them. Expands nothing but what belongs to the answer; called by `resolve.rs`.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::sync::{OnceCell, Semaphore};

use super::error::InventoryError;
use super::ssh_answer::{Answer, parse};
use crate::environment::without_secrets;

/// `ssh` processes at a time; each costs a few milliseconds of CPU.
const AT_A_TIME: usize = 16;
/// Time for one answer: a `Match exec` may hang, and name canonicalization asks DNS.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// Time-outs after which no further answer is awaited.
const TIMEOUTS_AT_MOST: usize = AT_A_TIME;
/// An answer has about 5 KB.
const ANSWER_AT_MOST: u64 = 1 << 20;
/// Of what it complains about, only the first line is shown.
const COMPLAINTS_AT_MOST: u64 = 64 << 10;

/// What `ssh` is asked about. What is known already goes along, because `Match` depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Query {
    /// The name, as one would give it to `ssh`.
    pub(crate) name: String,
    /// The login name, where something stronger than ssh_config sets it.
    pub(crate) user: Option<String>,
    /// The port, likewise.
    pub(crate) port: Option<u16>,
    /// The address, likewise.
    pub(crate) address: Option<String>,
    /// What lies in front is settled elsewhere, so its ProxyJump shall not trouble `ssh`.
    pub(crate) routed: bool,
}

/// An answer being awaited or known; `None` inside: there is none to be had.
type Cell = Arc<OnceCell<Option<Arc<Answer>>>>;

/// Asks `ssh -G`.
#[derive(Debug)]
pub(crate) struct SshConfig {
    program: OsString,
    file: Option<PathBuf>,
    time_limit: Duration,
    slots: Semaphore,
    cache: Mutex<HashMap<Query, Cell>>,
    missing: AtomicBool,
    timeouts: AtomicUsize,
    warnings: Mutex<Vec<String>>,
}

impl SshConfig {
    /// `file` is the one of `--ssh-config`, which then counts alone, as with `ssh -F`.
    pub(crate) fn new(file: Option<PathBuf>) -> Self {
        Self::with_program("ssh".into(), file, TIME_LIMIT)
    }

    fn with_program(program: OsString, file: Option<PathBuf>, time_limit: Duration) -> Self {
        Self {
            program,
            file,
            time_limit,
            slots: Semaphore::new(AT_A_TIME),
            cache: Mutex::default(),
            missing: AtomicBool::new(false),
            timeouts: AtomicUsize::new(0),
            warnings: Mutex::default(),
        }
    }

    /// The file of `--ssh-config`.
    pub(crate) const fn file(&self) -> Option<&PathBuf> {
        self.file.as_ref()
    }

    /// Returns what ssh_config says, or `None` where it cannot be asked: no `ssh` in PATH, or no answer in time.
    /// Both become warnings.
    ///
    /// # Errors
    /// `ssh` refuses its configuration.
    ///
    /// # Cancel safety
    /// When dropped, the running `ssh` is killed and nothing is cached.
    pub(crate) async fn ask(&self, query: &Query) -> Result<Option<Arc<Answer>>, InventoryError> {
        let cell = self.cache.lock().unwrap_or_else(PoisonError::into_inner).entry(query.clone()).or_default().clone();
        cell.get_or_try_init(|| self.run(query)).await.cloned()
    }

    /// Takes the warnings gathered so far.
    pub(crate) fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn warn(&self, text: String) {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }

    async fn run(&self, query: &Query) -> Result<Option<Arc<Answer>>, InventoryError> {
        let failed = |what: &str| InventoryError::SshConfig(format!("cannot run ssh -G {}: {what}", query.name));
        let _slot = self.slots.acquire().await.map_err(|e| failed(&e.to_string()))?;
        if self.missing.load(Ordering::Relaxed) || self.timeouts.load(Ordering::Relaxed) >= TIMEOUTS_AT_MOST {
            return Ok(None);
        }
        let mut command = Command::new(&self.program);
        // -T: no terminal is wanted, so none is missed. The group of its own lets `Match exec` be killed with it.
        command.args(["-T", "-G"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true).process_group(0);
        if let Some(file) = &self.file {
            command.arg("-F").arg(file);
        }
        if let Some(user) = &query.user {
            command.arg("-l").arg(user);
        }
        if let Some(port) = query.port {
            command.arg("-p").arg(port.to_string());
        }
        if let Some(address) = &query.address {
            // HostName takes tokens; a zone's % is none.
            command.arg("-o").arg(format!("HostName={}", address.replace('%', "%%")));
        }
        if query.routed {
            command.args(["-o", "ProxyJump=none"]);
        }
        command.arg("--").arg(&query.name);
        let mut child = match without_secrets(&mut command).spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if !self.missing.swap(true, Ordering::Relaxed) {
                    self.warn(
                        "there is no ssh in PATH, so ssh_config is not read: the inventory alone counts".to_owned(),
                    );
                }
                return Ok(None);
            }
            Err(error) => return Err(failed(&error.to_string())),
        };
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
        let mut killer = KillGroup(group);
        let (stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
        let mut complaints = Vec::new();
        let answer = tokio::time::timeout(self.time_limit, async {
            let answer = async {
                let out = read(stdout).await;
                child.wait().await.map(|status| (status, out))
            };
            // Standard error is read alongside, but its end is not awaited: what a `Match exec` left running may hold it open.
            tokio::select! {
                answer = answer => answer,
                never = drain(&mut stderr, &mut complaints) => match never {},
            }
        })
        .await;
        if answer.is_ok() {
            // Reaped: from here on its number may be another's.
            killer.0 = None;
        }
        match answer {
            Ok(Ok((status, out))) if status.success() => Ok(Some(Arc::new(parse(&String::from_utf8_lossy(&out))))),
            Ok(Ok((status, _))) => {
                // What it said last may still be in the pipe.
                let _ = tokio::time::timeout(Duration::from_millis(200), drain_rest(stderr, &mut complaints)).await;
                let text = String::from_utf8_lossy(&complaints);
                let first = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
                let reason = if first.is_empty() { status.to_string() } else { first.chars().take(300).collect() };
                Err(InventoryError::SshConfig(format!(
                    "ssh refuses its configuration for {}: {reason} (mend it, give another file with --ssh-config, \
                     or set ssh-config = false in the inventory)",
                    query.name
                )))
            }
            Ok(Err(error)) => Err(failed(&error.to_string())),
            Err(_) => {
                let seen = self.timeouts.fetch_add(1, Ordering::Relaxed) + 1;
                if seen <= 3 {
                    self.warn(format!(
                        "ssh -G {} gave no answer in {} s (a Match exec that hangs?): its ssh_config is left out",
                        query.name,
                        self.time_limit.as_secs()
                    ));
                } else if seen == TIMEOUTS_AT_MOST {
                    self.warn(
                        "ssh -G hangs again and again: ssh_config is left out for the remaining nodes".to_owned(),
                    );
                }
                Ok(None)
            }
        }
    }
}

/// Kills a process group when dropped, together with whatever a `Match exec` started. Emptied once the leader is reaped.
struct KillGroup(Option<rustix::process::Pid>);

impl Drop for KillGroup {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // The group may be gone, which is what is wanted.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

async fn read(pipe: Option<impl tokio::io::AsyncRead + Unpin>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        // A broken pipe ends the answer; the exit status then says what it is worth.
        let _ = pipe.take(ANSWER_AT_MOST).read_to_end(&mut bytes).await;
    }
    bytes
}

/// Reads until dropped.
async fn drain(pipe: &mut Option<impl tokio::io::AsyncRead + Unpin>, into: &mut Vec<u8>) -> std::convert::Infallible {
    if let Some(pipe) = pipe {
        let _ = pipe.take(COMPLAINTS_AT_MOST).read_to_end(into).await;
    }
    std::future::pending().await
}

async fn drain_rest(pipe: Option<impl tokio::io::AsyncRead + Unpin>, into: &mut Vec<u8>) {
    if let Some(pipe) = pipe {
        let _ = pipe.take(COMPLAINTS_AT_MOST).read_to_end(into).await;
    }
}

#[cfg(test)]
#[path = "ssh_config_tests.rs"]
mod tests;
