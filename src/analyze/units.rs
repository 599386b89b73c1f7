//! What systemd says of a daemon's unit over the whole length of its log: starts, stops, failures. A start that the daemon
//! logs itself is not counted again here, and a stop counts once, whoever says it and how often. Fed line by line by those who read the daemon's log.

use jiff::{SignedDuration, Timestamp};

use super::burst::Bursts;
use super::log::LogLine;
use super::log::systemd::{self, UnitEvent};

/// What is farther apart is another burst.
const GAP: SignedDuration = SignedDuration::from_mins(5);
/// Words of the units' names and descriptions; a shared log file has lines of other units, too.
const OURS: [&str; 7] = ["docker", "containerd", "kube", "k3s", "rke2", "cri-o", "crio"];

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitHistory {
    /// Starts that the daemon itself logged nothing of.
    pub starts: Bursts,
    /// It was told to stop, or had stopped, by systemd or by itself.
    pub stops: Bursts,
    /// Its main process ended, it failed, or a start or stop took too long; named by how.
    pub failures: Bursts,
    /// A process of it was killed for want of memory.
    pub ooms: Bursts,
    /// Somebody had it sent a signal, by systemd; named by the signal.
    pub signals: Bursts,
    /// A start that may yet turn out to be logged by the daemon.
    waiting: Option<(Option<Timestamp>, u64)>,
    /// The daemon logged its start and has not ended since.
    runs: bool,
    /// A stop that is under way.
    stopping: bool,
    /// Its stop is counted, and it has not been started since.
    stopped: bool,
}

impl Default for UnitHistory {
    fn default() -> Self {
        let none = || Bursts::new(GAP);
        Self {
            starts: none(),
            stops: none(),
            failures: none(),
            ooms: none(),
            // SIGSTOP and SIGCONT are two things.
            signals: Bursts::default(),
            waiting: None,
            runs: false,
            stopping: false,
            stopped: false,
        }
    }
}

impl UnitHistory {
    /// Looks at a line.
    pub fn see(&mut self, line: &LogLine<'_>) {
        let Some(found) = systemd::read(line).filter(|found| is_daemon(&found.unit)) else { return };
        match found.event {
            UnitEvent::Starting => self.begin(line),
            UnitEvent::Started if !self.runs && self.waiting.is_none() => self.begin(line),
            UnitEvent::Stopping => {
                self.end();
                self.stopping = true;
                self.own_stop(line);
            }
            UnitEvent::Stopped => {
                self.end();
                self.stopping = false;
                self.own_stop(line);
            }
            UnitEvent::Exited { code, status } => {
                self.end();
                // The end of a stop that was asked for.
                if !self.stopping {
                    self.failures.add(line, &format!("{code} {status}"));
                }
            }
            // The end of its process, said just before, tells more.
            UnitEvent::Failed(why) if why != "exit-code" && why != "signal" => {
                self.end();
                self.failures.add(line, &why);
            }
            UnitEvent::TimedOut => self.failures.add(line, "timed out"),
            UnitEvent::OomKilled => self.ooms.add(line, ""),
            UnitEvent::Signaled(signal) => self.signals.add(line, &signal),
            _ => {}
        }
    }

    /// The daemon logged its own start.
    pub fn own_start(&mut self) {
        self.waiting = None;
        self.runs = true;
        (self.stopping, self.stopped) = (false, false);
    }

    /// The daemon logged its own stop.
    pub fn own_stop(&mut self, line: &LogLine<'_>) {
        if !std::mem::replace(&mut self.stopped, true) {
            self.stops.add(line, "");
        }
    }

    /// The log has ended.
    pub fn close(&mut self) {
        if let Some((time, line)) = self.waiting.take() {
            self.starts.add_at(time, line, "");
        }
    }

    fn begin(&mut self, line: &LogLine<'_>) {
        self.close();
        (self.runs, self.stopping, self.stopped) = (false, false, false);
        self.waiting = Some((line.happened(), line.number));
    }

    fn end(&mut self) {
        self.close();
        self.runs = false;
    }
}

fn is_daemon(unit: &str) -> bool {
    let low = unit.to_ascii_lowercase();
    let other = [".scope", ".slice", ".mount", ".socket", ".timer", ".path", ".target"];
    !other.iter().any(|end| low.ends_with(end)) && OURS.iter().any(|word| low.contains(word))
}
