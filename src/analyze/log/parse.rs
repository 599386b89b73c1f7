//! Takes one line apart: the prefix of the journal or of syslog, then klog's or logrus's own form.
//! Knows nothing of what messages mean; [`super::LogReader`] calls it, and the kernel log for its prefixes.

use jiff::Timestamp;

use super::fields::{Fields, quoted};
use super::{Clock, Form, Level, LogLine, Reader};
use crate::analyze::line::{Line, Text};

/// What stands in front of a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Prefix<'a> {
    pub(crate) time: Option<Timestamp>,
    pub(crate) host: Option<&'a str>,
    pub(crate) identifier: Option<&'a str>,
    pub(crate) pid: Option<u32>,
}

/// Takes a line apart.
pub(crate) fn line(line: Line<'_>, clock: Clock) -> LogLine<'_> {
    let text = line.text;
    if is_heading(text) {
        return LogLine { form: Form::Heading, ..plain(line, Prefix::default(), text) };
    }
    let (prefix, inner) = prefix(text, clock);
    let mut parsed = klog(line, prefix, inner, clock)
        .or_else(|| logrus(line, prefix, inner, clock))
        .or_else(|| json(line, prefix, inner, clock))
        .unwrap_or_else(|| plain(line, prefix, inner));
    parsed.time = prefix.time.or(parsed.own_time);
    parsed
}

fn is_heading(text: &str) -> bool {
    (text.starts_with("-- ") && text.ends_with(" --")) || (text.starts_with("==> ") && text.ends_with(" <=="))
}

fn plain<'a>(line: Line<'a>, prefix: Prefix<'a>, inner: &'a str) -> LogLine<'a> {
    LogLine {
        number: line.number,
        time: prefix.time,
        own_time: None,
        host: prefix.host,
        identifier: prefix.identifier,
        pid: prefix.pid,
        level: None,
        source: None,
        message: Text::plain(inner),
        fields: Fields::default(),
        form: Form::Plain,
        cut: line.cut,
        raw: line.text,
    }
}

/// Splits the prefix off: `STAMP HOST IDENTIFIER[PID]: `, or a stamp and the identifier without a host.
pub(crate) fn prefix(text: &str, clock: Clock) -> (Prefix<'_>, &str) {
    let none = (Prefix::default(), text);
    let mut reader = Reader::new(text);
    // Most lines start with a digit or a capital; anything else has no stamp.
    let Some(time) = reader.iso(clock).or_else(|| reader.syslog(clock)) else { return none };
    if reader.literal(" ").is_none() {
        return none;
    }
    reader.blanks();
    let stamped = (Prefix { time: Some(time), ..Prefix::default() }, reader.rest);
    let mut ahead = reader;
    let Some(first) = ahead.word() else { return stamped };
    if let Some((identifier, pid)) = tag(first) {
        ahead.literal(" ");
        return (Prefix { time: Some(time), host: None, identifier: Some(identifier), pid }, ahead.rest);
    }
    ahead.blanks();
    // An identifier may have blanks in it; the journal ends it with a colon all the same.
    let limit = ahead.rest.char_indices().nth(64).map_or(ahead.rest.len(), |(at, _)| at);
    let within = ahead.rest.get(..limit).unwrap_or_default();
    let Some(end) = within.find(": ").or_else(|| within.strip_suffix(':').map(str::len)) else { return stamped };
    let Some((identifier, pid)) = within.get(..=end).and_then(tag) else { return stamped };
    let rest = ahead.rest.get(end + 1..).unwrap_or_default();
    let message = rest.strip_prefix(' ').unwrap_or(rest);
    (Prefix { time: Some(time), host: Some(first), identifier: Some(identifier), pid }, message)
}

/// Reads `kubelet[86]:` or `kernel:`.
fn tag(word: &str) -> Option<(&str, Option<u32>)> {
    let word = word.strip_suffix(':')?;
    if let Some((name, pid)) = word.strip_suffix(']').and_then(|w| w.rsplit_once('['))
        && let (false, Ok(pid)) = (name.is_empty(), pid.parse())
    {
        return Some((name, Some(pid)));
    }
    (!word.is_empty() && !word.contains(['"', '=', '{'])).then_some((word, None))
}

/// Reads klog's header; the format is in klog's `klog.go`, `header`.
fn klog<'a>(line: Line<'a>, prefix: Prefix<'a>, inner: &'a str, clock: Clock) -> Option<LogLine<'a>> {
    let level = match inner.as_bytes().first()? {
        b'I' => Level::Info,
        b'W' => Level::Warning,
        b'E' => Level::Error,
        b'F' => Level::Fatal,
        _ => return None,
    };
    let mut reader = Reader::new(inner.get(1..)?);
    let own_time = reader.klog(clock)?;
    reader.blanks();
    let pid = u32::try_from(reader.number()?).ok()?;
    reader.blanks();
    let (source, rest) = reader.rest.split_once("] ").or_else(|| reader.rest.strip_suffix(']').map(|s| (s, "")))?;
    if source.contains(' ') || !source.contains(':') {
        return None;
    }
    let parsed = LogLine {
        own_time: Some(own_time),
        pid: prefix.pid.or(Some(pid)),
        level: Some(level),
        source: Some(source),
        form: Form::Klog,
        ..plain(line, prefix, rest)
    };
    let Some(after) = rest.strip_prefix('"') else { return Some(parsed) };
    let (end, behind) = quoted(after);
    let fields = after.get(behind..).unwrap_or_default();
    if !fields.is_empty() && !fields.starts_with(' ') {
        return Some(parsed);
    }
    Some(LogLine {
        message: Text::quoted(after.get(..end).unwrap_or(after)),
        fields: Fields::new(fields),
        form: Form::KlogStructured,
        ..parsed
    })
}

/// Reads logrus's text form, known by its first key.
fn logrus<'a>(line: Line<'a>, prefix: Prefix<'a>, inner: &'a str, clock: Clock) -> Option<LogLine<'a>> {
    if !["time=", "level=", "msg="].iter().any(|key| inner.starts_with(key)) {
        return None;
    }
    let fields = Fields::new(inner);
    let (mut own_time, mut level, mut message) = (None, None, None);
    for (key, value) in fields {
        match key {
            "time" if own_time.is_none() => own_time = Reader::new(value.raw()).iso(clock),
            "level" if level.is_none() => level = logrus_level(value.raw()),
            "msg" => message = Some(value),
            _ => {}
        }
        if message.is_some() && level.is_some() {
            break;
        }
    }
    Some(LogLine {
        own_time,
        level,
        message: message.unwrap_or_default(),
        fields,
        form: Form::Logrus,
        ..plain(line, prefix, inner)
    })
}

/// Reads lines that are JSON objects: klog's by their `ts` (the kubelet's `--logging-format=json`, `component-base/logs/json`),
/// logrus's by `time` and `level` (containerd's `debug.format`, dockerd's `--log-format`).
fn json<'a>(line: Line<'a>, prefix: Prefix<'a>, inner: &'a str, clock: Clock) -> Option<LogLine<'a>> {
    let fields = Fields::json(inner.strip_prefix('{')?);
    let (mut ts, mut time, mut level, mut message, mut source) = (None, None, None, None, None);
    let (mut error, mut verbosity) = (false, false);
    for (key, value) in fields {
        match key {
            "ts" if ts.is_none() => ts = epoch(value.raw()).or_else(|| Reader::new(value.raw()).iso(clock)),
            "time" if time.is_none() => time = Reader::new(value.raw()).iso(clock),
            "level" if level.is_none() => level = logrus_level(value.raw()),
            "msg" if message.is_none() => message = Some(value),
            "caller" => source = value.raw().rsplit('/').next(),
            "err" => error = true,
            "v" => verbosity = true,
            _ => {}
        }
    }
    let (form, level) = match (ts, time, level) {
        // klog leaves the verbosity out of errors, and only of them.
        (Some(_), ..) if error && !verbosity => (Form::KlogStructured, level.or(Some(Level::Error))),
        (Some(_), ..) => (Form::KlogStructured, level.or(Some(Level::Info))),
        (None, Some(_), Some(_)) => (Form::Logrus, level),
        _ => return None,
    };
    Some(LogLine {
        own_time: ts.or(time),
        level,
        source,
        message: message?,
        fields,
        form,
        ..plain(line, prefix, inner)
    })
}

/// Reads a time as zap writes it: milliseconds since 1970 with a fraction, seconds in Kubernetes 1.19 and 1.20.
fn epoch(text: &str) -> Option<Timestamp> {
    const MILLISECONDS: i64 = 100_000_000_000;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: i64 = whole.parse().ok()?;
    let mut digits = fraction.bytes();
    let mut nanos = 0_i32;
    for _ in 0..9 {
        let digit = digits.next().unwrap_or(b'0');
        nanos = nanos * 10 + i32::from(digit.checked_sub(b'0').filter(|d| *d < 10)?);
    }
    if whole < MILLISECONDS {
        return Timestamp::new(whole, nanos).ok();
    }
    let rest = i32::try_from(whole % 1000).ok()?;
    Timestamp::new(whole / 1000, rest * 1_000_000 + nanos / 1000).ok()
}

fn logrus_level(name: &str) -> Option<Level> {
    Some(match name {
        "trace" | "debug" => Level::Debug,
        "info" => Level::Info,
        "warning" | "warn" => Level::Warning,
        "error" => Level::Error,
        "fatal" | "panic" => Level::Fatal,
        _ => return None,
    })
}
