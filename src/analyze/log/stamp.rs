//! Time stamps as logs write them: ISO 8601 of journalctl and logrus, the year-less ones of syslog and klog,
//! `dmesg -T`'s. Used by the line parsers here and by the kernel log's; no parser of any other date.

use jiff::tz::Offset;
use jiff::{Timestamp, ToSpan, civil};

/// What is needed to read stamps that leave out the year or the zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// A time on the node's clock shortly after the last line, as a rule when the file was collected.
    pub near: Timestamp,
    /// The zone of stamps that do not name one. journalctl is asked for UTC, log files are in the node's zone.
    pub zone: Offset,
}

impl Clock {
    /// Returns a clock of a node in UTC.
    #[must_use]
    pub const fn utc(near: Timestamp) -> Self {
        Self { near, zone: Offset::UTC }
    }

    /// Returns the last such day and time that is not more than a day after [`Self::near`].
    fn newest(self, month: i8, day: i8, time: civil::Time) -> Option<Timestamp> {
        let limit = self.near.checked_add(24.hours()).unwrap_or(Timestamp::MAX);
        let last = self.zone.to_datetime(limit).year();
        // Eight years back: February 29 is found across a century without one.
        (last.saturating_sub(8)..=last).rev().find_map(|year| {
            let date = civil::Date::new(year, month, day).ok()?;
            let at = self.zone.to_timestamp(date.to_datetime(time)).ok()?;
            (at <= limit).then_some(at)
        })
    }
}

/// Reads on from the start of a text; a step that fails leaves it where it stood.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) rest: &'a str,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(rest: &'a str) -> Self {
        Self { rest }
    }

    /// Takes `literal`.
    pub(crate) fn literal(&mut self, literal: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(literal)?;
        Some(())
    }

    /// Takes exactly `count` digits, at most nine.
    pub(crate) fn digits(&mut self, count: usize) -> Option<u32> {
        let digits = self.rest.get(..count).filter(|d| d.bytes().all(|b| b.is_ascii_digit()))?;
        self.rest = self.rest.get(count..)?;
        digits.parse().ok()
    }

    /// Takes all digits that follow, at least one.
    pub(crate) fn number(&mut self) -> Option<u64> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let value = self.rest.get(..end)?.parse().ok()?;
        self.rest = self.rest.get(end..)?;
        Some(value)
    }

    /// Takes blanks.
    pub(crate) fn blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    /// Takes what stands before the next blank, or all.
    pub(crate) fn word(&mut self) -> Option<&'a str> {
        let end = self.rest.find([' ', '\t']).unwrap_or(self.rest.len());
        let word = self.rest.get(..end).filter(|w| !w.is_empty())?;
        self.rest = self.rest.get(end..)?;
        Some(word)
    }

    fn small(&mut self, count: usize) -> Option<i8> {
        i8::try_from(self.digits(count)?).ok()
    }

    /// Takes `HH:MM:SS` with a fraction behind `.` or `,` if there is one. A leap second is the one before it.
    fn time(&mut self) -> Option<civil::Time> {
        let hour = self.small(2)?;
        self.literal(":")?;
        let minute = self.small(2)?;
        self.literal(":")?;
        let second = self.small(2)?.min(59);
        let mut nanos = 0;
        if let Some(rest) = self.rest.strip_prefix(['.', ',']) {
            let length = rest.bytes().take_while(u8::is_ascii_digit).count();
            if length > 0 {
                let mut digits = rest.bytes().take(length);
                for _ in 0..9 {
                    nanos = nanos * 10 + digits.next().map_or(0, |d| i32::from(d - b'0'));
                }
                self.rest = rest.get(length..)?;
            }
        }
        civil::Time::new(hour, minute, second, nanos).ok()
    }

    fn zone(&mut self) -> Option<Offset> {
        if self.literal("Z").is_some() {
            return Some(Offset::UTC);
        }
        let sign = match self.rest.as_bytes().first()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let mut ahead = Self::new(self.rest.get(1..)?);
        let hours = i32::from(ahead.small(2)?);
        ahead.literal(":");
        let minutes = ahead.small(2).map_or(0, i32::from);
        self.rest = ahead.rest;
        Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()
    }

    fn month(&mut self) -> Option<i8> {
        const NAMES: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let name = self.rest.get(..3)?;
        let at = NAMES.iter().position(|m| *m == name)?;
        self.rest = self.rest.get(3..)?;
        i8::try_from(at + 1).ok()
    }

    fn day(&mut self) -> Option<i8> {
        self.blanks();
        i8::try_from(self.number()?).ok()
    }

    /// Takes `2026-11-21T06:35:16.665829+0000`, also with a blank for the T, `+00:00`, Z, or no zone.
    pub(crate) fn iso(&mut self, clock: Clock) -> Option<Timestamp> {
        let mut ahead = *self;
        let year = i16::try_from(ahead.digits(4)?).ok()?;
        ahead.literal("-")?;
        let month = ahead.small(2)?;
        ahead.literal("-")?;
        let day = ahead.small(2)?;
        ahead.literal("T").or_else(|| ahead.literal(" "))?;
        let time = ahead.time()?;
        let zone = ahead.zone().unwrap_or(clock.zone);
        let date = civil::Date::new(year, month, day).ok()?;
        let at = zone.to_timestamp(date.to_datetime(time)).ok()?;
        *self = ahead;
        Some(at)
    }

    /// Takes `Nov 21 06:04:28`, as syslog and journalctl's `short` write it.
    pub(crate) fn syslog(&mut self, clock: Clock) -> Option<Timestamp> {
        let mut ahead = *self;
        let month = ahead.month()?;
        ahead.literal(" ")?;
        let day = ahead.day()?;
        ahead.literal(" ")?;
        let time = ahead.time()?;
        let at = clock.newest(month, day, time)?;
        *self = ahead;
        Some(at)
    }

    /// Takes `1120 21:29:09.123456`, as klog writes it behind the level.
    pub(crate) fn klog(&mut self, clock: Clock) -> Option<Timestamp> {
        let mut ahead = *self;
        let month = ahead.small(2)?;
        let day = ahead.small(2)?;
        ahead.literal(" ")?;
        let time = ahead.time()?;
        let at = clock.newest(month, day, time)?;
        *self = ahead;
        Some(at)
    }

    /// Takes `Sat Nov 21 03:49:32 2026`, as `dmesg -T` writes it.
    pub(crate) fn ctime(&mut self, clock: Clock) -> Option<Timestamp> {
        let mut ahead = *self;
        ahead.rest = ahead.rest.get(3..)?;
        ahead.literal(" ")?;
        let month = ahead.month()?;
        let day = ahead.day()?;
        ahead.literal(" ")?;
        let time = ahead.time()?;
        ahead.literal(" ")?;
        let year = i16::try_from(ahead.digits(4)?).ok()?;
        let date = civil::Date::new(year, month, day).ok()?;
        let at = clock.zone.to_timestamp(date.to_datetime(time)).ok()?;
        *self = ahead;
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(near: &str) -> Clock {
        Clock::utc(near.parse().unwrap())
    }

    #[test]
    fn iso_stamps_are_read_in_every_zone_form() {
        let clock = clock("2026-11-21T07:00:00Z");
        for (text, want, rest) in [
            ("2026-11-21T06:35:16.665829+0000 x", "2026-11-21T06:35:16.665829Z", " x"),
            ("2026-11-21T06:35:16+00:00", "2026-11-21T06:35:16Z", ""),
            ("2026-11-21T14:35:16.1+08:00", "2026-11-21T06:35:16.1Z", ""),
            ("2026-11-21T01:05:16-0530", "2026-11-21T06:35:16Z", ""),
            ("2026-11-21T06:35:16.665632695Z\"", "2026-11-21T06:35:16.665632695Z", "\""),
            ("2026-11-21 06:35:16,5 y", "2026-11-21T06:35:16.5Z", " y"),
        ] {
            let mut reader = Reader::new(text);
            assert_eq!(reader.iso(clock), Some(want.parse().unwrap()), "{text}");
            assert_eq!(reader.rest, rest);
        }
        for text in ["2026-13-21T06:35:16Z", "2026-11-21X06:35:16Z", "2026-11-21T25:00:00Z", "", "20", "ä"] {
            let mut reader = Reader::new(text);
            assert_eq!((reader.iso(clock), reader.rest), (None, text));
        }
    }

    #[test]
    fn the_year_left_out_is_the_newest_that_fits() {
        for (near, text, want) in [
            ("2026-11-21T07:00:00Z", "Nov 21 06:04:28", "2026-11-21T06:04:28Z"),
            ("2026-01-01T00:10:00Z", "Dec 31 23:59:59", "2025-12-31T23:59:59Z"),
            ("2025-12-31T23:59:00Z", "Jan  1 00:00:01", "2026-01-01T00:00:01Z"),
            ("2026-03-01T00:00:00Z", "Feb 29 12:00:00", "2024-02-29T12:00:00Z"),
        ] {
            assert_eq!(Reader::new(text).syslog(clock(near)), Some(want.parse().unwrap()), "{text}");
        }
        let klog = Reader::new("1120 21:29:09.123456 x").klog(clock("2026-11-21T07:00:00Z"));
        assert_eq!(klog, Some("2026-11-20T21:29:09.123456Z".parse().unwrap()));
        let zone = Offset::from_seconds(8 * 3600).unwrap();
        let local = Clock { near: "2026-11-21T07:00:00Z".parse().unwrap(), zone };
        let klog = Reader::new("1121 08:00:00.000000").klog(local);
        assert_eq!(klog, Some("2026-11-21T00:00:00Z".parse().unwrap()));
        assert_eq!(Reader::new("Feb 30 12:00:00").syslog(clock("2026-11-21T07:00:00Z")), None);
    }

    #[test]
    fn dmesg_stamps_are_read() {
        let clock = clock("2026-11-21T07:00:00Z");
        let mut reader = Reader::new("Sat Nov  1 03:49:32 2026] tmpfs");
        assert_eq!(reader.ctime(clock), Some("2026-11-01T03:49:32Z".parse().unwrap()));
        assert_eq!(reader.rest, "] tmpfs");
    }
}
