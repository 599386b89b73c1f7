//! The first command on a node: what the wrapper can build on there, with which rights commands can
//! run, and how far the node's clock is off. Assumes nothing but `/bin/sh` and /proc.

use std::ops::ControlFlow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use secrecy::SecretString;
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::compose::{Escalation, Frame};
use super::encode::{compact, plain};
use super::run::execute;
use super::{CommandExit, Exec};
use crate::inventory::target::Sudo;
use crate::plan::facts::is_searched;
use crate::plan::facts::{Rights, ShellFacts};
use crate::plan::step::{Encoding, What};
use crate::printable::printable;
use crate::session::{FailureKind, SessionError, Sink, StdStream};

const SCRIPT: &str = include_str!("probe.sh");
/// sudo waits two seconds after a wrong password, and for a directory service that is down.
const BOUND: Duration = Duration::from_secs(15);
/// The answer has some 300 bytes.
const ANSWER_MAX: usize = 16 * 1024;

/// What the first command found.
#[derive(Debug, Clone, PartialEq)]
pub struct ShellProbe {
    /// Tools and rights.
    pub facts: ShellFacts,
    /// Effective uid of the login.
    pub uid: u32,
    /// The node's clock against ours.
    pub clock: Option<ClockSample>,
    /// Why there are fewer rights than asked for: sudo's own words, printable.
    pub complaint: Option<String>,
}

/// One comparison of clocks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClockSample {
    /// Node minus ours, in milliseconds. Off by half of `round_trip_ms` at most, plus the resolution.
    pub offset_ms: f64,
    /// From sending the command to the answer, start of the login shell included; the shortest of
    /// several samples, in milliseconds.
    pub round_trip_ms: f64,
    /// Resolution of the node's answer: 1000 where `date` knows whole seconds only.
    pub resolution_ms: u32,
}

/// Finds out what the wrapper needs to know of a node. With [`Sudo::Password`] or [`Sudo::Auto`] and
/// a password, that is tried once.
///
/// # Errors
/// As [`run`](super::run); and if the answer makes no sense.
///
/// # Cancel safety
/// As [`run`](super::run).
pub async fn probe(
    session: &impl Exec,
    sudo: Sudo,
    password: Option<&SecretString>,
    cancel: &CancellationToken,
) -> Result<ShellProbe, SessionError> {
    let password = password.filter(|_| matches!(sudo, Sudo::Auto | Sudo::Password));
    let mode = match sudo {
        Sudo::Auto => "auto",
        Sudo::Passwordless => "passwordless",
        Sudo::Password => "password",
        Sudo::Never => "never",
    };
    let feed = if password.is_some() { "1" } else { "" };
    let what = What::Script { text: compact(&format!("mode={mode}\nfeed={feed}\n{SCRIPT}")), args: Vec::new() };
    let nothing_known = ShellFacts::default();
    let frame = Frame {
        shell: &nothing_known,
        timeout: BOUND,
        grace: Duration::from_secs(2),
        encoding: Encoding::Plain,
        stacks: false,
        escalation: Escalation::No,
        feed: password.is_some(),
    };
    let mut answer = Answer::new();
    let end = execute(session, &frame, &what, password, &mut answer, cancel).await?;
    if matches!(end.exit, CommandExit::Stopped(_) | CommandExit::Unknown) && answer.uid.is_none() {
        return Err(SessionError::new(FailureKind::LinkLost, "the connection ended while the node was probed"));
    }
    answer.conclude(sudo, password.is_some(), end.exit == CommandExit::TimedOut)
}

/// Collects the answer line by line, with the time each came.
struct Answer {
    begun: Instant,
    /// Our clock at `begun`, seconds.
    ours: f64,
    bytes: usize,
    line: Vec<u8>,
    clock: Vec<(f64, Duration, bool)>,
    uid: Option<u32>,
    facts: ShellFacts,
    complaint: Vec<String>,
}

impl Sink for Answer {
    fn write<'a>(&'a mut self, stream: StdStream, chunk: Bytes) -> BoxFuture<'a, ControlFlow<()>> {
        if stream == StdStream::Out {
            self.bytes += chunk.len();
            for byte in &chunk {
                if *byte == b'\n' {
                    let line = std::mem::take(&mut self.line);
                    self.note(&String::from_utf8_lossy(&line));
                } else if self.line.len() < 1024 {
                    self.line.push(*byte);
                }
            }
        }
        let enough = self.bytes > ANSWER_MAX;
        async move { if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) } }.boxed()
    }
}

impl Answer {
    fn new() -> Self {
        let ours = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
        Self {
            begun: Instant::now(),
            ours,
            bytes: 0,
            line: Vec::new(),
            clock: Vec::new(),
            uid: None,
            facts: ShellFacts::default(),
            complaint: Vec::new(),
        }
    }

    fn note(&mut self, line: &str) {
        let Some((key, value)) = line.split_once(' ') else { return };
        // Paths become parts of command lines that root runs, and of sudoers lines for the whole fleet: one
        // that a user of the node can write to would be root's key.
        let path = || (plain(value) && is_searched(key, value)).then(|| value.to_owned());
        match key {
            "clock" => self.clock.extend(clock(value).map(|(node, fine)| (node, self.begun.elapsed(), fine))),
            "uid" => self.uid = value.parse().ok(),
            "timeout" => self.facts.timeout = path(),
            "nice" => self.facts.nice = path(),
            "ionice" => self.facts.ionice = path(),
            "zstd" => self.facts.zstd = path(),
            "zstd-options" => {
                let known = |word: &&str| matches!(*word, "--single-thread" | "--no-asyncio");
                self.facts.zstd_options = value.split_ascii_whitespace().filter(known).map(str::to_owned).collect();
            }
            "gzip" => self.facts.gzip = path(),
            "sudo" => self.facts.sudo = path(),
            "rights" if value == "passwordless" => self.facts.rights = Rights::SudoPasswordless,
            "rights" if value == "password" => self.facts.rights = Rights::SudoPassword,
            "complaint" if self.complaint.len() < 8 => self.complaint.push(printable(value, 200)),
            _ => {}
        }
    }

    fn conclude(mut self, sudo: Sudo, password: bool, timed_out: bool) -> Result<ShellProbe, SessionError> {
        let Some(uid) = self.uid else {
            let text = "the first command on the node gave no sensible answer: /proc is not mounted, or /bin/sh is no POSIX shell";
            return Err(SessionError::new(FailureKind::Other, text));
        };
        let rights = if uid == 0 { Rights::Root } else { self.facts.rights };
        let complaint = match (rights, sudo) {
            (Rights::None, Sudo::Never) | (Rights::Root | Rights::SudoPasswordless | Rights::SudoPassword, _) => None,
            (Rights::None, _) if timed_out => Some(format!("sudo did not answer within {} s", BOUND.as_secs())),
            (Rights::None, Sudo::Password) if !password => {
                Some("no password for sudo was given: --ask-sudo-password or --sudo-password-file".to_owned())
            }
            (Rights::None, _) => {
                // "Sorry, try again." and what follows it when no second line comes.
                let said: Vec<_> = self.complaint.drain(..).filter(|l| !l.starts_with("Sorry, try again")).collect();
                let said = if said.is_empty() { "sudo refused without a word".to_owned() } else { said.join("; ") };
                Some(if password { format!("sudo did not take the password: {said}") } else { said })
            }
        };
        let clock = self.sample();
        let facts = ShellFacts { rights, ..self.facts };
        Ok(ShellProbe { facts, uid, clock, complaint })
    }

    /// The node read its clock after we had sent the command, and before its answer came. The lines
    /// after the first have their own, possibly shorter way back.
    fn sample(&self) -> Option<ClockSample> {
        let first = self.clock.first()?;
        let latest_sent = first.0 - self.ours;
        let earliest_back = self
            .clock
            .iter()
            .map(|(node, arrived, _)| node - (self.ours + arrived.as_secs_f64()))
            .fold(f64::NEG_INFINITY, f64::max);
        let fine = first.2;
        Some(ClockSample {
            offset_ms: tenths((latest_sent + earliest_back) / 2.0 * 1000.0),
            round_trip_ms: tenths((latest_sent - earliest_back) * 1000.0),
            resolution_ms: if fine { 1 } else { 1000 },
        })
    }
}

/// Rounds to tenths: more digits would claim more than was measured.
fn tenths(ms: f64) -> f64 {
    (ms * 10.0).round() / 10.0
}

/// Reads `seconds.nanoseconds`; without nanoseconds (busybox prints something else, or nothing)
/// the middle of the second is meant.
fn clock(text: &str) -> Option<(f64, bool)> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: u32 = seconds.parse().ok()?;
    let nanos = (fraction.len() == 9).then(|| fraction.parse::<u32>().ok()).flatten();
    Some((f64::from(seconds) + nanos.map_or(0.5, |n| f64::from(n) / 1e9), nanos.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_programs_of_the_system_get_into_commands_of_root() {
        for (line, want) in [
            ("timeout /usr/bin/timeout", Some("/usr/bin/timeout")),
            ("timeout /run/current-system/sw/bin/timeout", Some("/run/current-system/sw/bin/timeout")),
            ("timeout /home/eve/timeout", None),
            ("timeout /tmp/timeout", None),
            ("timeout /usr/bin/../../tmp/timeout", None),
            ("timeout /usr/bin/env", None),
            ("timeout timeout", None),
        ] {
            let mut answer = Answer::new();
            answer.note(line);
            assert_eq!(answer.facts.timeout.as_deref(), want, "{line}");
        }
    }
}
