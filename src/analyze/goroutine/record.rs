//! The lines of the grouped form: `goroutine profile: total N`, `COUNT @ 0x… 0x…`, `#\t0x…\tfunction+0x…\tfile:line`.
//! Each is told by itself. What they mean together is the builder's.

use super::block::{location, number};

/// A line of a grouped dump.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RecordLine<'a> {
    /// `goroutine profile: total 165`.
    Title(u64),
    /// The title of a profile of something else, whose records look alike.
    OtherTitle,
    /// `13 @ 0x48dcce 0x469f65`: how many goroutines, and their addresses.
    Head { count: u64, addresses: &'a [u8] },
    /// A frame.
    Frame { function: &'a [u8], file: &'a [u8], line: u32 },
    /// `# labels: {"key":"value"}`.
    Labels(&'a [u8]),
    /// None of these.
    Other,
}

impl<'a> RecordLine<'a> {
    /// Tells what a line is.
    pub(super) fn of(text: &'a [u8]) -> Self {
        match text.first() {
            Some(b'#') => comment(text).unwrap_or(Self::Other),
            Some(digit) if digit.is_ascii_digit() => head(text).unwrap_or(Self::Other),
            Some(_) => title(text).unwrap_or(Self::Other),
            None => Self::Other,
        }
    }
}

fn title(text: &[u8]) -> Option<RecordLine<'_>> {
    let colon = text.iter().take(40).position(|byte| *byte == b':')?;
    let name = text.get(..colon)?.strip_suffix(b" profile")?;
    let total = text.get(colon + 1..)?.trim_ascii();
    if name != b"goroutine" {
        return (!name.contains(&b' ')).then_some(RecordLine::OtherTitle);
    }
    Some(RecordLine::Title(number(total.strip_prefix(b"total ")?.trim_ascii())?))
}

fn head(text: &[u8]) -> Option<RecordLine<'_>> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let count = number(text.get(..digits)?)?;
    let addresses = text.get(digits..)?.strip_prefix(b" @")?.trim_ascii();
    (addresses.is_empty() || addresses.starts_with(b"0x")).then_some(RecordLine::Head { count, addresses })
}

/// `#\t0x48cea4\tinternal/poll.runtime_pollWait+0x84\t\t\truntime/netpoll.go:351`, aligned by any number of tabs.
fn comment(text: &[u8]) -> Option<RecordLine<'_>> {
    let text = text.strip_prefix(b"#")?.trim_ascii();
    if let Some(labels) = text.strip_prefix(b"labels:") {
        return Some(RecordLine::Labels(labels.trim_ascii()));
    }
    let mut cells = text.split(|byte| *byte == b'\t').filter(|cell| !cell.is_empty());
    let address = cells.next().filter(|address| address.starts_with(b"0x"))?;
    let Some(function) = cells.next() else {
        // A frame nobody knows the name of.
        return Some(RecordLine::Frame { function: address, file: b"", line: 0 });
    };
    let end = memchr::memrchr(b'+', function)
        .filter(|plus| function.get(*plus..).is_some_and(|rest| rest.starts_with(b"+0x")));
    let function = function.get(..end.unwrap_or(function.len()))?;
    let (file, line) = cells.next().and_then(|cell| location(cell.trim_ascii())).unwrap_or((b"", 0));
    Some(RecordLine::Frame { function, file, line })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart() {
        let frame = |function: &'static str, file: &'static str, line| RecordLine::Frame {
            function: function.as_bytes(),
            file: file.as_bytes(),
            line,
        };
        for (text, want) in [
            ("goroutine profile: total 165", RecordLine::Title(165)),
            ("threadcreate profile: total 12", RecordLine::OtherTitle),
            ("heap profile: 3: 4096 [1: 2] @ heap/1048576", RecordLine::OtherTitle),
            ("13 @ 0x48dcce 0x469f65", RecordLine::Head { count: 13, addresses: b"0x48dcce 0x469f65" }),
            ("1 @", RecordLine::Head { count: 1, addresses: b"" }),
            ("6130 1 @ 0x48", RecordLine::Other),
            ("13 @ home", RecordLine::Other),
            (
                "#\t0x48\tinternal/poll.runtime_pollWait+0x84\t\t\truntime/netpoll.go:351",
                frame("internal/poll.runtime_pollWait", "runtime/netpoll.go", 351),
            ),
            ("#\t0x48\tmain.F+G+0x84\t/a b/c.go:1", frame("main.F+G", "/a b/c.go", 1)),
            ("#\t0x48", frame("0x48", "", 0)),
            ("#\t0x48\tmain.F", frame("main.F", "", 0)),
            ("# labels: {\"k\":\"v\"}", RecordLine::Labels(b"{\"k\":\"v\"}")),
            ("# runtime.MemStats", RecordLine::Other),
            ("goroutine 1 [running]:", RecordLine::Other),
            ("", RecordLine::Other),
        ] {
            assert_eq!(RecordLine::of(text.as_bytes()), want, "{text}");
        }
    }
}
