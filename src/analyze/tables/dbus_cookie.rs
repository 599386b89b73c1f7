//! The numbers PID 1 gives its messages on D-Bus, as the steps listen to them. Past 2^32, systemd before 242 falls
//! silent there (systemd issue 11809): pings stay unanswered, and runc waits for ever.

use jiff::Timestamp;

use crate::analyze::line::numbered;
use crate::analyze::log::{Clock, Reader};

/// Where the number stands from which on old versions are silent.
pub const LIMIT: u64 = 1 << 32;

/// One listening.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cookies {
    /// Seconds after the boot at its begin.
    pub after_boot: Option<f64>,
    /// The highest number seen, with its line.
    pub highest: Option<(u64, u64)>,
    /// When that message was sent, by the node's clock.
    pub time: Option<Timestamp>,
    /// Pings that were answered.
    pub answered: u32,
    /// Pings that were not, within a second.
    pub silent: u32,
}

/// Reads one listening; `clock` dates stamps without a zone.
#[must_use]
pub fn parse(text: &str, clock: Clock) -> Cookies {
    let mut found = Cookies::default();
    for (number, line) in numbered(text) {
        if let Some(note) = line.strip_prefix("# ") {
            if let Some(seconds) = note.strip_suffix(" s after boot") {
                found.after_boot = seconds.parse().ok().filter(|s: &f64| s.is_finite());
            } else if note.starts_with("ping ") {
                found.answered += u32::from(note.ends_with(": answered"));
                found.silent += u32::from(note.contains(": not answered"));
            }
            continue;
        }
        // `Cookie=` and not `ReplyCookie=`, which is the caller's.
        let Some((_, from)) = line.split_once(" Cookie=") else { continue };
        let Some(cookie) = Reader::new(from).number() else { continue };
        if found.highest.is_none_or(|(highest, _)| cookie >= highest) {
            found.highest = Some((cookie, number));
            // `Timestamp="Sat 2026-11-21 06:35:13.654552 UTC"`
            let stamp = line.split_once("Timestamp=\"").and_then(|(_, t)| t.split_once(' ')).map(|(_, t)| t);
            found.time = stamp.and_then(|t| Reader::new(t).iso(clock));
        }
    }
    found
}

impl Cookies {
    /// Returns messages a second between an earlier listening and this one; `None` if PID 1 was started anew.
    #[must_use]
    pub fn rate_since(&self, earlier: &Self) -> Option<f64> {
        let sent = self.highest?.0.checked_sub(earlier.highest?.0)?;
        let seconds = self.after_boot? - earlier.after_boot?;
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = (seconds > 0.0).then(|| sent as f64 / seconds);
        rate
    }
}
