//! Lines of daemons' logs, whatever they came through: the journal in the forms the steps ask for (`short-iso`,
//! `short-iso-precise`), syslog files without a year, the daemons' own log files, pieces of `systemctl status`.
//!
//! [`LogReader`] streams a file and yields a [`LogLine`] for each line, in constant memory; [`kubelet`], [`dockerd`],
//! [`containerd`] and [`systemd`] say what a line means. A rule keeps [`LogLine::number`] to cite the line.

mod api_problem;
pub mod containerd;
pub mod crio;
pub mod dockerd;
mod fields;
pub mod go_duration;
pub mod kubelet;
pub(crate) mod parse;
pub mod rpc;
mod stamp;
pub mod seams;
pub mod systemd;
pub mod zone;

use std::io::{self, Read};

use jiff::{SignedDuration, Timestamp};

pub use fields::Fields;
pub use stamp::Clock;
pub(crate) use stamp::Reader;

use super::line::{Lines, Text};

/// How grave a line is by its own account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// For developers; what dockerd writes in a debug window.
    Debug,
    /// As expected.
    Info,
    /// Unusual.
    Warning,
    /// Something failed.
    Error,
    /// The process ends.
    Fatal,
}

/// What kind of line it is, which says where [`LogLine::message`] and the fields come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// klog's text form: `I1120 21:29:09.123456    1234 file.go:12] all of the message`.
    Klog,
    /// klog's structured form: the message in quotes, then fields; or the same as JSON.
    KlogStructured,
    /// logrus: `time="…" level=info msg="…" key=value`, or the same as JSON; dockerd, containerd, CRI-O.
    Logrus,
    /// Anything else; the message is all that follows the journal's or syslog's prefix.
    Plain,
    /// A line of journalctl or of the step itself: `-- No entries --`, `==> /var/log/messages <==`.
    Heading,
}

/// One line of a log, taken apart; all text is borrowed from it.
#[derive(Debug, Clone, Copy)]
pub struct LogLine<'a> {
    /// Its number in the file, from 1.
    pub number: u64,
    /// When, by the node's clock: the journal's or syslog's stamp, else the program's own.
    pub time: Option<Timestamp>,
    /// The program's own stamp. Differs from [`Self::time`] when the log was late.
    pub own_time: Option<Timestamp>,
    /// The host name in the prefix.
    pub host: Option<&'a str>,
    /// The program by the prefix: `dockerd`, `kubelet`, `systemd`, `kernel`. Names no unit.
    pub identifier: Option<&'a str>,
    /// The process by the prefix, else by klog's header.
    pub pid: Option<u32>,
    /// How grave.
    pub level: Option<Level>,
    /// Source file and line of klog: `generic.go:312`.
    pub source: Option<&'a str>,
    /// What it says, still escaped where it was quoted.
    pub message: Text<'a>,
    /// The pairs behind (logrus: around) the message; `time`, `level` and `msg` of logrus are among them.
    pub fields: Fields<'a>,
    /// Which form it has.
    pub form: Form,
    /// Whether the line was longer than [`super::line::MAX_LINE`] and is cut there.
    pub cut: bool,
    /// The whole line.
    pub raw: &'a str,
}

/// A log may be late by this: a node short of memory or I/O wrote its lines 6 minutes late (k3s-io/k3s#2370).
const LATE: SignedDuration = SignedDuration::from_mins(15);

impl LogLine<'_> {
    /// Returns when it happened: the program's own stamp where the log was late and the stamp can be of the same zone,
    /// else [`Self::time`].
    #[must_use]
    pub fn happened(&self) -> Option<Timestamp> {
        let own = self.own_time.zip(self.time).filter(|(own, logged)| {
            let late = logged.duration_since(*own);
            !late.is_negative() && late <= LATE
        });
        own.map(|(own, _)| own).or(self.time)
    }

    /// Returns the value of a field, its escapes undone.
    #[must_use]
    pub fn field(&self, key: &str) -> Option<std::borrow::Cow<'_, str>> {
        self.fields.get(key).map(Text::text)
    }
}

/// Reads a log line by line.
#[derive(Debug)]
pub struct LogReader<R> {
    lines: Lines<R>,
    clock: Clock,
}

impl<R: Read> LogReader<R> {
    /// Reads `input`; `clock` dates stamps without year or zone.
    pub fn new(input: R, clock: Clock) -> Self {
        Self { lines: Lines::new(input), clock }
    }

    /// Returns the next line; `None` at the end. Empty lines come too, so that numbers are those of the file.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    pub fn next_line(&mut self) -> io::Result<Option<LogLine<'_>>> {
        let clock = self.clock;
        Ok(self.lines.next_line()?.map(|line| parse::line(line, clock)))
    }
}

#[cfg(test)]
mod form_tests;
#[cfg(test)]
mod kubelet_tests;
#[cfg(test)]
mod tests;
