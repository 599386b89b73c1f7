//! Where a log begins, breaks off and goes on: headings of journalctl, marks of what a cap left out, what journald
//! suppressed. Read beside the lines' meaning, in constant memory; judges nothing.

use jiff::Timestamp;

use super::{Clock, Form, LogLine, Reader};

/// Seams that are kept of one log.
const MOST: usize = 50;

/// Of a daemon's own log file the last 8 MiB are read (`log-files.sh`); redaction may have made them a little shorter.
const TAIL: u64 = (8 << 20) - (64 << 10);

/// A place where lines are missing, or the machine was started in between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seam {
    /// Line of the mark.
    pub line: u64,
    /// Time of the last line before it.
    pub before: Option<Timestamp>,
    /// Time of the first line behind it.
    pub after: Option<Timestamp>,
    /// What is there.
    pub what: Break,
}

/// Why a log does not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Break {
    /// The cap of the step: bytes left out between head and tail.
    Cut {
        /// Bytes.
        bytes: u64,
        /// Whether there may have been more.
        at_least: bool,
    },
    /// Another boot of the machine begins.
    Boot,
    /// Another file begins.
    File {
        /// Its path.
        name: String,
        /// Only its end was read.
        tail: bool,
    },
    /// journald dropped lines of a unit that wrote too many.
    Suppressed {
        /// Lines.
        lines: u64,
        /// Of which unit.
        unit: String,
    },
}

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seams {
    /// Time of the first line, and its number.
    pub first: Option<(Timestamp, u64)>,
    /// Time of the latest line.
    pub last: Option<Timestamp>,
    /// What journalctl of systemd 249 and before says of where the whole journal begins.
    pub journal_begins: Option<(Timestamp, u64)>,
    /// In their order; the first 50.
    pub seams: Vec<Seam>,
    /// Bytes since the last heading of a file.
    bytes: u64,
}

impl Seams {
    /// Looks at a line.
    pub fn see(&mut self, line: &LogLine<'_>) {
        self.bytes = self.bytes.saturating_add(line.raw.len() as u64 + 1);
        self.tail();
        if line.form == Form::Heading {
            self.heading(line);
        } else if let Some(time) = line.happened() {
            self.first.get_or_insert((time, line.number));
            for seam in self.seams.iter_mut().rev().take_while(|seam| seam.after.is_none()) {
                seam.after = Some(time);
            }
            if line.identifier.is_some_and(|who| who.starts_with("systemd-journal"))
                && let Some((lines, unit)) = suppressed(line.message.raw())
            {
                self.push(line, Break::Suppressed { lines, unit });
            }
            self.last = Some(time);
        } else if let Some((bytes, at_least)) = cut(line.raw) {
            self.push(line, Break::Cut { bytes, at_least });
        }
    }

    fn heading(&mut self, line: &LogLine<'_>) {
        let raw = line.raw;
        if let Some(name) = raw.strip_prefix("==> ") {
            self.bytes = 0;
            let name = name.trim_end_matches(" <==").split(", lines that match").next().unwrap_or_default();
            return self.push(line, Break::File { name: name.to_owned(), tail: false });
        }
        let inner = raw.trim_matches(['-', ' ']);
        if inner == "Reboot" || inner.starts_with("Boot ") {
            return self.push(line, Break::Boot);
        }
        let begins = ["Logs begin at ", "Journal begins at "].iter().find_map(|mark| inner.strip_prefix(mark));
        // `Sat 2026-11-21 03:49:32 UTC, end at …`: with --utc.
        let stamp = begins.and_then(|rest| rest.split_once(' ')).map(|(_, stamp)| stamp);
        if let Some(time) = stamp.and_then(|stamp| Reader::new(stamp).iso(Clock::utc(Timestamp::UNIX_EPOCH))) {
            self.journal_begins.get_or_insert((time, line.number));
        }
    }

    /// Tells of the last file that it has as many bytes as are read of one.
    fn tail(&mut self) {
        let Some(Seam { what: Break::File { tail, .. }, .. }) = self.seams.last_mut() else { return };
        *tail |= self.bytes >= TAIL;
    }

    fn push(&mut self, line: &LogLine<'_>, what: Break) {
        if self.seams.len() < MOST {
            self.seams.push(Seam { line: line.number, before: self.last, after: None, what });
        }
    }
}

/// Reads the mark that stands for what a cap left out.
fn cut(line: &str) -> Option<(u64, bool)> {
    let inner = line.strip_prefix("[plegcollect: ")?.strip_suffix(" bytes left out]")?;
    let (number, at_least) = inner.strip_prefix("at least ").map_or((inner, false), |n| (n, true));
    Some((number.parse().ok()?, at_least))
}

/// Reads `Suppressed 42510 messages from docker.service`, with a full stop or `/system.slice/…` in older versions.
fn suppressed(message: &str) -> Option<(u64, String)> {
    let (number, unit) = message.strip_prefix("Suppressed ")?.split_once(" messages from ")?;
    let unit = unit.trim_end_matches('.').rsplit('/').next()?;
    Some((number.parse().ok()?, unit.to_owned()))
}
