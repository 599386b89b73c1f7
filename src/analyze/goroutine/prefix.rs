//! What stands before a line of a dump: the journal's prefix, klog's head, the CRI's log prefix. Cuts it off, and keeps
//! the journal's, which tells processes and times apart.

use memchr::memmem;

/// Farthest that a prefix is looked for; a host name has 64 bytes at most.
const REACH: usize = 200;

/// A line without what stood before it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// The journal's prefix without its colon: time, host, program and pid. Empty if there is none.
    pub(super) prefix: &'a [u8],
    /// What the process wrote.
    pub(super) body: &'a [u8],
}

impl<'a> Line<'a> {
    /// Takes `line`, without its line break, apart.
    pub(super) fn of(line: &'a [u8]) -> Self {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // Frames begin with small letters, tabs and `#`; this is the path that nearly all lines take.
        if !line.first().is_some_and(|first| first.is_ascii_digit() || first.is_ascii_uppercase()) {
            return Self { prefix: b"", body: line };
        }
        let (prefix, body) = journal(line).unwrap_or((b"", line));
        Self { prefix, body: after_klog(after_cri(body)) }
    }
}

/// Returns the last word of a journal prefix, program and pid: `containerd[45]`. Empty if there is no prefix.
pub(super) fn process(prefix: &[u8]) -> &[u8] {
    prefix.rsplit(|byte| *byte == b' ').next().unwrap_or_default()
}

/// `2026-11-21T06:35:15.796164+0000 worker-006 containerd[45]: …`, and the short forms with month and day.
fn journal(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let head = line.get(..REACH).unwrap_or(line);
    let end = memmem::find(head, b"]:")?;
    let body = match line.get(end + 2..)? {
        [b' ', body @ ..] => body,
        // The text of the entry was empty, or blanks at the end were taken away.
        [] => b"",
        _ => return None,
    };
    let prefix = line.get(..=end)?;
    let open = prefix.iter().rposition(|byte| *byte == b'[')?;
    let pid = prefix.get(open + 1..end)?;
    let words = prefix.get(..open)?.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).count();
    let clock =
        prefix.windows(3).any(|three| matches!(three, [a, b':', b] if a.is_ascii_digit() && b.is_ascii_digit()));
    (words >= 3 && clock && !pid.is_empty() && pid.iter().all(u8::is_ascii_digit)).then_some((prefix, body))
}

/// `2026-11-21T06:35:15.79Z stderr F …`, as in the logs of containers.
fn after_cri(line: &[u8]) -> &[u8] {
    let mut words = line.splitn(4, |byte| *byte == b' ');
    let (time, stream, tag) = (words.next(), words.next(), words.next());
    let is_one = time.is_some_and(|time| time.contains(&b'T') && time.len() >= 20)
        && matches!(stream, Some(b"stdout" | b"stderr"))
        && matches!(tag, Some(b"F" | b"P"));
    if is_one { words.next().unwrap_or_default() } else { line }
}

/// `E1121 06:35:15.796164   1234 file.go:12] …`
fn after_klog(line: &[u8]) -> &[u8] {
    let is_one = matches!(line, [b'I' | b'W' | b'E' | b'F', digits @ ..]
        if digits.len() > 5 && digits.iter().take(4).all(u8::is_ascii_digit) && digits.get(4) == Some(&b' '));
    let head = line.get(..REACH).unwrap_or(line);
    match memmem::find(head, b"] ") {
        Some(end) if is_one => line.get(end + 2..).unwrap_or_default(),
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_cut_off() {
        let goroutine = "goroutine 1 [running]:";
        for (before, prefix) in [
            ("", ""),
            (
                "2026-11-21T06:35:15.796164+0000 worker-006 containerd[45]: ",
                "2026-11-21T06:35:15.796164+0000 worker-006 containerd[45]",
            ),
            ("Nov 21 06:35:15 worker-006 dockerd[7]: ", "Nov 21 06:35:15 worker-006 dockerd[7]"),
            (
                "2026-11-21T06:35:15+0000 w kubelet[9]: E1121 06:35:15.796164    1234 runtime.go:78] ",
                "2026-11-21T06:35:15+0000 w kubelet[9]",
            ),
            ("E1121 06:35:15.796164    1234 runtime.go:78] ", ""),
            ("2026-11-21T06:35:15.796164123Z stderr F ", ""),
        ] {
            let line = format!("{before}{goroutine}\r");
            let got = Line::of(line.as_bytes());
            assert_eq!((got.prefix, got.body), (prefix.as_bytes(), goroutine.as_bytes()), "{line}");
        }
    }

    #[test]
    fn lines_of_dumps_are_left_alone() {
        for line in [
            "13 @ 0x48dcce 0x469f65",
            "#\t0x48\tmain.F[...]+0x1\tm.go:3",
            "\t/a b/c[1]: d.go:12 +0x1d",
            "Foo.bar(0x1)",
            "12: [7]: x",
            "Error at 12:30 in x[y]: z",
            "",
        ] {
            assert_eq!(Line::of(line.as_bytes()), Line { prefix: b"", body: line.as_bytes() }, "{line}");
        }
        let empty = Line::of(b"Nov 21 06:35:15 worker-006 dockerd[7]:");
        assert_eq!((empty.body, process(empty.prefix)), (&b""[..], &b"dockerd[7]"[..]));
    }
}
