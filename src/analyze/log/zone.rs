//! The node's zone as a log tells it, for bundles in which the facts do not: klog's own stamp, which is local, beside
//! the journal's, which names its zone; or the zone that dockerd and containerd write into their own stamps.

use std::io::Read;

use jiff::Timestamp;
use jiff::tz::Offset;

use super::{Clock, Form, LogReader};

/// Lines looked at; a log that tells it does so in its first ones.
const LINES: u64 = 20_000;
/// Lines that must agree.
const AGREE: u32 = 3;
/// All zones are whole quarters of an hour from UTC.
const QUARTER: i64 = 15 * 60;
/// klog's line reaches the journal within this, as a rule; one that is later tells nothing.
const DELAY: i64 = 5;
/// No zone is farther from UTC.
const FARTHEST: i64 = 14 * 3600;

/// Returns the zone that the lines agree on; `None` where they do not tell or contradict each other.
pub fn of_log(input: impl Read, near: Timestamp) -> Option<Offset> {
    let mut reader = LogReader::new(input, Clock::utc(near));
    let mut known: Option<i64> = None;
    let mut agree = 0;
    while let Ok(Some(line)) = reader.next_line() {
        if line.number > LINES {
            break;
        }
        // A stamp of syslog's in front is of the same zone as klog's own, and klog's JSON has seconds since 1970.
        let named = line.raw.starts_with(|c: char| c.is_ascii_digit()) && line.time != line.own_time;
        let found = match line.form {
            Form::Klog | Form::KlogStructured if named && !line.fields.is_json() => {
                line.own_time.zip(line.time).and_then(|(own, logged)| quarter(own, logged))
            }
            Form::Logrus => line.fields.get("time").and_then(|stamp| explicit(stamp.raw())),
            _ => None,
        };
        match (found, known) {
            (None, _) => {}
            (Some(found), Some(known)) if found != known => return None,
            (Some(found), _) => {
                known = Some(found);
                agree += 1;
            }
        }
        if agree >= AGREE {
            break;
        }
    }
    let seconds = known.filter(|_| agree >= AGREE)?;
    Offset::from_seconds(i32::try_from(seconds).ok()?).ok()
}

/// Returns the zone by a local stamp that was read as UTC, and the true time.
fn quarter(own: Timestamp, logged: Timestamp) -> Option<i64> {
    let ahead = own.duration_since(logged).as_secs();
    let zone = (ahead + QUARTER / 2).div_euclid(QUARTER) * QUARTER;
    ((zone - ahead).abs() <= DELAY && zone.abs() <= FARTHEST).then_some(zone)
}

/// Returns the zone at the end of an RFC 3339 stamp.
fn explicit(stamp: &str) -> Option<i64> {
    if stamp.ends_with('Z') {
        return Some(0);
    }
    let zone = stamp.get(stamp.len().checked_sub(6)?..)?;
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let seconds = sign * (hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60);
    (seconds.abs() <= FARTHEST).then_some(seconds)
}
