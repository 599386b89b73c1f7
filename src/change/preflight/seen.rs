//! What the script before a change saw on the node, as records. The parser takes whatever a hostile node sends:
//! unknown records, odd bytes and endless values do no harm. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// Records beyond this are not looked at; the script writes about 100.
const MOST: usize = 4000;

/// One run of the script.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    values: BTreeMap<String, Vec<String>>,
    /// Properties of the daemon's unit; `None` where systemd did not answer.
    pub(super) unit: Option<Properties>,
    /// Path units; `None` where systemd did not answer.
    pub(super) paths: Option<Vec<Properties>>,
    /// Units of a guard of ours.
    pub(super) guards: Vec<Properties>,
    /// It came to its end.
    pub(super) ended: bool,
}

/// Properties of a unit, in order; some have several values.
pub(super) type Properties = Vec<(String, String)>;

/// Returns a property's first value.
pub(super) fn property<'a>(unit: &'a Properties, name: &str) -> Option<&'a str> {
    unit.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// A command's end, as recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answered<'a> {
    /// Exit status; 124 or 137 when it was cut short.
    pub(super) status: u32,
    /// What it printed.
    pub(super) text: &'a str,
}

impl Seen {
    /// Reads the script's records; `None` if they are not its own.
    #[must_use]
    pub(super) fn read(output: &str) -> Option<Self> {
        let mut lines = output.lines();
        if lines.next()? != "plegcollect-preflight 1" {
            return None;
        }
        let mut seen = Self::default();
        let (mut unit, mut paths, mut guards) = <(Units, Units, Units)>::default();
        for line in lines.take(MOST) {
            let (key, value) = line.split_once(' ').unwrap_or((line, ""));
            match key {
                "unit" => unit.take(value),
                "path" => paths.take(value),
                "guard" => guards.take(value),
                "end" => seen.ended = true,
                _ => seen.values.entry(key.to_owned()).or_default().push(value.to_owned()),
            }
        }
        seen.unit = unit.answered.then(|| unit.units.into_iter().flatten().collect());
        seen.paths = paths.answered.then_some(paths.units);
        seen.guards = guards.units;
        Some(seen)
    }

    /// Returns the one value of a key, if it is not empty.
    #[must_use]
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.all(key).first().map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Returns all values of a key.
    #[must_use]
    pub(super) fn all(&self, key: &str) -> &[String] {
        self.values.get(key).map(Vec::as_slice).unwrap_or_default()
    }

    /// Returns a number.
    #[must_use]
    pub(super) fn number(&self, key: &str) -> Option<u64> {
        self.get(key)?.parse().ok()
    }

    /// Returns how a command ended, and what it printed.
    #[must_use]
    pub(super) fn answer(&self, key: &str) -> Option<Answered<'_>> {
        let value = self.get(key)?;
        let (status, text) = value.split_once(' ').unwrap_or((value, ""));
        Some(Answered { status: status.parse().ok()?, text: text.trim() })
    }

    /// Returns the node's uptime in hundredths of a second.
    #[must_use]
    pub(super) fn uptime(&self) -> Option<u64> {
        let (seconds, rest) = self.get("uptime")?.split_once('.')?;
        let hundredths: u64 = rest.split(' ').next()?.get(..2)?.parse().ok()?;
        seconds.parse::<u64>().ok()?.checked_mul(100)?.checked_add(hundredths)
    }

    /// Returns when the process started, in seconds of the node's clock, and for how many seconds it has run.
    #[must_use]
    pub(super) fn started(&self, ticks_per_second: u32) -> Option<(u64, u64)> {
        let hundredths = self.number("proc.start")?.checked_mul(100)?.checked_div(u64::from(ticks_per_second))?;
        let ran = self.uptime()?.checked_sub(hundredths)? / 100;
        Some((self.number("now")?.checked_sub(ran)?, ran))
    }
}

/// Returns seconds of a clock as UTC time, for people.
pub(super) fn clock(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|s| Timestamp::from_second(s).ok());
    time.map_or_else(|| "an unknown time".to_owned(), |time| time.to_string())
}

#[derive(Default)]
struct Units {
    units: Vec<Properties>,
    answered: bool,
}

impl Units {
    fn take(&mut self, value: &str) {
        match value {
            "-" => self.units.push(Vec::new()),
            "ok" => self.answered = true,
            _ => {
                if let (Some(unit), Some((key, value))) = (self.units.last_mut(), value.split_once('=')) {
                    unit.push((key.to_owned(), value.to_owned()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_written() {
        let seen = Seen::read(
            "plegcollect-preflight 1\nuid 0\nuptime 13121.12 26655.71\nnow 1795228838\nproc.start 1151753\n\
             unit -\nunit ActiveState=active\nunit MainPID=58\nunit ok\npath -\npath Paths=/a (PathChanged)\n\
             path Paths=/b (PathModified)\npath -\npath Id=b.path\npath ok\nping 0 OK\nend 1\n",
        )
        .unwrap();
        assert_eq!(property(seen.unit.as_ref().unwrap(), "MainPID"), Some("58"));
        assert_eq!(seen.paths.as_ref().unwrap().len(), 2);
        assert_eq!(seen.paths.as_ref().unwrap()[0].len(), 2);
        assert_eq!(seen.answer("ping"), Some(Answered { status: 0, text: "OK" }));
        // Started at 11517.53 of 13121.12 s.
        assert_eq!(seen.started(100), Some((1_795_228_838 - 1603, 1603)));
        assert!(seen.ended);
    }

    #[test]
    fn what_is_not_the_scripts_own_is_nothing() {
        assert!(Seen::read("").is_none() && Seen::read("Welcome!\nplegcollect-preflight 1\n").is_none());
        let seen =
            Seen::read("plegcollect-preflight 1\nunit failed\nuptime x\nproc.start 99999999999999999999\n").unwrap();
        assert!(seen.unit.is_none() && seen.paths.is_none() && seen.started(100).is_none() && !seen.ended);
        assert_eq!(
            Seen::read("plegcollect-preflight 1\nproc.start 1\nuptime 1.00 1\nnow 5\n").unwrap().started(0),
            None
        );
    }
}
