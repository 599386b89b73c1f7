//! The kernel's log: `dmesg -T`, bare `dmesg`, `journalctl -k`. OOM kills, hung tasks, I/O errors and a few more lines
//! that explain a node that stands still. Streams, in constant memory.

use std::io::{self, Read};

use jiff::Timestamp;

use crate::analyze::line::Lines;
use crate::analyze::log::{Clock, Reader, parse};

/// One line of the kernel that means something, and when it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct KernelLine {
    /// When, by the node's clock. `dmesg -T` drifts from it by the time the node was suspended.
    pub time: Option<Timestamp>,
    /// Seconds after the boot, where the line has them instead.
    pub after_boot: Option<f64>,
    /// What it says.
    pub event: KernelEvent,
    /// Line it stands in.
    pub line: u64,
}

/// What the kernel says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KernelEvent {
    /// A process was killed for want of memory.
    OomKill {
        /// Its name, as the kernel cuts it to 15 characters.
        process: String,
        /// Its pid.
        pid: u32,
        /// The cgroup it was in.
        cgroup: Option<String>,
        /// The cgroup whose limit was reached; `None`: the whole node was short.
        limit_of: Option<String>,
        /// Whether a cgroup's limit was reached, by the wording alone.
        within_cgroup: bool,
        /// Kilobytes of its own memory it had.
        anon_rss_kb: Option<u64>,
    },
    /// A process stood in uninterruptible sleep for longer than the kernel's limit.
    HungTask {
        /// Its name.
        process: String,
        /// Its pid.
        pid: u32,
        /// For more than so many seconds.
        seconds: u64,
    },
    /// A processor did not get out of the kernel.
    SoftLockup {
        /// For so many seconds.
        seconds: u64,
        /// The process it ran.
        process: String,
    },
    /// A read or write failed on a device.
    IoError {
        /// The device: `sda`, `dm-4`, `nvme0n1`.
        device: String,
        /// The message.
        message: String,
    },
    /// A file system found itself damaged or was made read-only.
    FileSystemError {
        /// The device.
        device: String,
        /// The message.
        message: String,
    },
    /// A file server does not answer; what touches its mounts hangs.
    ServerNotResponding {
        /// Its name or address.
        server: String,
    },
    /// The table of tracked connections is full: packets are dropped.
    ConntrackFull,
    /// A network device of a container cannot go because something holds it; container removal hangs.
    DeviceBusy {
        /// The device.
        device: String,
    },
}

/// Reads a kernel log.
#[derive(Debug)]
pub struct KernelReader<R> {
    lines: Lines<R>,
    clock: Clock,
    /// What lines before a kill said of it.
    pending: Pending,
}

#[derive(Debug, Default)]
struct Pending {
    cgroup: Option<String>,
    limit_of: Option<String>,
    within_cgroup: bool,
}

impl<R: Read> KernelReader<R> {
    /// Reads `input`; `clock` dates stamps without year or zone (`dmesg -T` has the node's zone).
    pub fn new(input: R, clock: Clock) -> Self {
        Self { lines: Lines::new(input), clock, pending: Pending::default() }
    }

    /// Returns the next line that means something; `None` at the end.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    pub fn next_event(&mut self) -> io::Result<Option<KernelLine>> {
        while let Some(line) = self.lines.next_line()? {
            let (time, after_boot, message) = split(line.text, self.clock);
            if let Some(event) = event(message, &mut self.pending) {
                return Ok(Some(KernelLine { time, after_boot, event, line: line.number }));
            }
        }
        Ok(None)
    }
}

/// Takes stamps and prefixes off.
fn split(text: &str, clock: Clock) -> (Option<Timestamp>, Option<f64>, &str) {
    let (prefix, rest) = parse::prefix(text, clock);
    let (mut time, mut after_boot, mut message) = (prefix.time, None, rest);
    // dmesg -x and syslog files put `kern  :err   :` or `<3>` in front.
    let bracket = message.find('[').filter(|at| *at < 24);
    if let Some((stamp, behind)) = bracket.and_then(|at| message.get(at + 1..)?.split_once(']')) {
        let mut reader = Reader::new(stamp);
        if let Some(at) = reader.ctime(clock) {
            (time, message) = (time.or(Some(at)), behind);
        } else if let Ok(seconds) = stamp.trim().parse::<f64>() {
            (after_boot, message) = (Some(seconds), behind);
        }
    }
    (time, after_boot, message.trim_start())
}

fn event(message: &str, pending: &mut Pending) -> Option<KernelEvent> {
    if message.len() < 12 {
        return None;
    }
    oom(message, pending).or_else(|| stuck(message)).or_else(|| device(message))
}

fn oom(message: &str, pending: &mut Pending) -> Option<KernelEvent> {
    if let Some(rest) = message.strip_prefix("oom-kill:") {
        let field = |key: &str| rest.split(',').find_map(|part| part.strip_prefix(key)).map(str::to_owned);
        let limit_of = field("oom_memcg=");
        let within_cgroup = limit_of.is_some() || rest.starts_with("constraint=CONSTRAINT_MEMCG");
        *pending = Pending { cgroup: field("task_memcg="), limit_of, within_cgroup };
        return None;
    }
    // Kernels before 4.19.
    if let Some((cgroup, limit)) =
        message.strip_prefix("Task in ").and_then(|m| m.split_once(" killed as a result of limit of "))
    {
        let (cgroup, limit_of) = (Some(cgroup.to_owned()), Some(limit.trim().to_owned()));
        *pending = Pending { cgroup, limit_of, within_cgroup: true };
        return None;
    }
    if message.contains("invoked oom-killer") {
        *pending = Pending::default();
        return None;
    }
    if message.starts_with("Memory cgroup out of memory") {
        pending.within_cgroup = true;
    }
    let (_, rest) = message.split_once("Killed process ")?;
    let mut reader = Reader::new(rest);
    let pid = u32::try_from(reader.number()?).ok()?;
    let named = reader.rest.trim_start().strip_prefix('(')?;
    // A name may have brackets of its own; the kernel goes on with the sizes, Red Hat's with the user.
    let end = [") total-vm", "), UID", "), now", ")"].iter().find_map(|mark| named.find(mark))?;
    let (process, behind) = named.split_at(end);
    let rss = behind.split_once("anon-rss:").and_then(|(_, t)| Reader::new(t).number());
    let Pending { cgroup, limit_of, within_cgroup } = std::mem::take(pending);
    Some(KernelEvent::OomKill { process: process.to_owned(), pid, cgroup, limit_of, within_cgroup, anon_rss_kb: rss })
}

fn stuck(message: &str) -> Option<KernelEvent> {
    if let Some((head, tail)) =
        message.strip_prefix("INFO: task ").and_then(|m| m.split_once(" blocked for more than "))
    {
        let (process, pid) = head.rsplit_once(':')?;
        let (process, pid) = (process.to_owned(), pid.parse().ok()?);
        return Some(KernelEvent::HungTask { process, pid, seconds: Reader::new(tail).number()? });
    }
    let (_, rest) = message.split_once("soft lockup - CPU#")?;
    let (_, rest) = rest.split_once("stuck for ")?;
    let process = rest.split_once('[').and_then(|(_, t)| t.split(']').next()).unwrap_or_default();
    let process = process.rsplit_once(':').map_or(process, |(name, _)| name).to_owned();
    Some(KernelEvent::SoftLockup { seconds: Reader::new(rest).number()?, process })
}

fn device(message: &str) -> Option<KernelEvent> {
    let name = |rest: &str| rest.split([',', ' ', ':', ')']).next().filter(|d| !d.is_empty()).map(str::to_owned);
    let message_of = || message.chars().take(400).collect::<String>();
    for mark in
        ["I/O error, dev ", "medium error, dev ", "target error, dev ", "I/O error on dev ", "I/O error on device "]
    {
        if let Some((_, rest)) = message.split_once(mark) {
            return Some(KernelEvent::IoError { device: name(rest)?, message: message_of() });
        }
    }
    for mark in ["-fs error (device ", "Remounting filesystem read-only", "-fs (", "XFS ("] {
        let Some((_, rest)) = message.split_once(mark) else { continue };
        let bad = ["error", "read-only", "shutdown", "Shutdown", "orruption"].iter().any(|w| rest.contains(w));
        if mark.ends_with("device ") || (mark.ends_with('(') && bad && !rest.contains("errors=")) {
            return Some(KernelEvent::FileSystemError { device: name(rest)?, message: message_of() });
        }
    }
    if let Some((head, _)) = message.split_once(" not responding") {
        let (_, server) = head.split_once("server ")?;
        return Some(KernelEvent::ServerNotResponding { server: server.to_owned() });
    }
    if message.contains("conntrack: table full") {
        return Some(KernelEvent::ConntrackFull);
    }
    let (_, rest) = message.split_once("unregister_netdevice: waiting for ")?;
    Some(KernelEvent::DeviceBusy { device: name(rest)? })
}
