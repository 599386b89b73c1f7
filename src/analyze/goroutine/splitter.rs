//! Cuts a stream into the lines of dumps, whatever they are wrapped in: plain lines, journal lines, and whole dumps in
//! one quoted text (`msg="=== BEGIN goroutine stack dump ===\ngoroutine 1 [running]:\n…"`), also where journald cut that
//! into entries (of 48 KiB, of 2 KiB before systemd 235). Holds one line at most, and of that no more than its limit.

use memchr::memmem::Finder;

use super::block::Head;
use super::prefix::{Line, process};

/// What is kept of one line; Go's own are far shorter.
const LINE_LIMIT: usize = 64 << 10;

/// What the splitter finds.
pub(super) enum Piece<'a> {
    /// A line as the process wrote it.
    Line {
        /// Without its break, and without what stood before it.
        text: &'a [u8],
        /// Journal prefix, empty if there is none.
        prefix: &'a [u8],
        /// Number of the line in the source, from 1.
        number: u64,
    },
    /// A quoted text begins or ends: what was before has nothing to do with what follows.
    Boundary,
}

/// See the module.
pub(super) struct Splitter {
    /// Of the line in the source that is being read.
    number: u64,
    /// Its beginning, until it is whole.
    held: Vec<u8>,
    mode: Mode,
    quote: Quote,
    /// `]:\n` with a backslash: the end of a goroutine's head inside quotes.
    quoted_head: Finder<'static>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Line,
    /// The rest of the line is of no use.
    Skip,
    Quoted,
}

/// A quoted text.
#[derive(Default)]
struct Quote {
    /// It has begun and not ended; a journal may go on with it in another entry.
    open: bool,
    /// The last byte was a backslash.
    escape: bool,
    /// Line of the text so far.
    text: Vec<u8>,
    /// Journal prefix of the entry it began in.
    prefix: Vec<u8>,
}

impl Splitter {
    pub(super) fn new() -> Self {
        let quoted_head = Finder::new(br"]:\n");
        Self { number: 1, held: Vec::new(), mode: Mode::Line, quote: Quote::default(), quoted_head }
    }

    /// Takes the next piece of the stream.
    pub(super) fn push(&mut self, piece: &[u8], mut found: impl FnMut(Piece<'_>)) {
        let mut rest = piece;
        while !rest.is_empty() {
            let (part, end) = match memchr::memchr(b'\n', rest) {
                Some(at) => (rest.get(..at).unwrap_or_default(), Some(at + 1)),
                None => (rest, None),
            };
            rest = end.and_then(|end| rest.get(end..)).unwrap_or_default();
            match self.mode {
                Mode::Line if end.is_some() && self.held.is_empty() => self.line(part, &mut found),
                Mode::Line => self.hold(part, end.is_some(), &mut found),
                Mode::Quoted => self.quoted(part, &mut found),
                Mode::Skip => {}
            }
            if end.is_some() {
                self.number += 1;
                self.mode = Mode::Line;
            }
        }
    }

    /// Ends the stream: its last line needs no break.
    pub(super) fn finish(&mut self, mut found: impl FnMut(Piece<'_>)) {
        if self.mode == Mode::Line && !self.held.is_empty() {
            self.hold(b"", true, &mut found);
        }
        self.close(&mut found);
    }

    fn hold(&mut self, part: &[u8], whole: bool, found: &mut impl FnMut(Piece<'_>)) {
        let room = LINE_LIMIT.saturating_sub(self.held.len()).min(part.len());
        let (kept, beyond) = part.split_at_checked(room).unwrap_or((part, b""));
        self.held.extend_from_slice(kept);
        if !whole && self.held.len() < LINE_LIMIT {
            return;
        }
        let mut held = std::mem::take(&mut self.held);
        self.line(&held, found);
        held.clear();
        self.held = held;
        if self.mode == Mode::Quoted {
            self.quoted(beyond, found);
        }
    }

    /// Takes a line, or the beginning of one that is too long. Leaves the mode for the rest of it.
    fn line(&mut self, line: &[u8], found: &mut impl FnMut(Piece<'_>)) {
        self.mode = Mode::Skip;
        let Line { prefix, body } = Line::of(line);
        if self.quote.open {
            let same = process(prefix) == process(&self.quote.prefix);
            if same && !prefix.is_empty() && !begins_message(body) {
                self.mode = Mode::Quoted;
                return self.quoted(body, found);
            }
            // Other processes may come in between; of the same, or without a journal, it is over.
            if same || prefix.is_empty() {
                self.close(found);
            }
        }
        let Some(start) = self.quoted_start(body) else {
            return found(Piece::Line { text: body, prefix, number: self.number });
        };
        self.close(found);
        found(Piece::Boundary);
        self.quote.open = true;
        self.quote.prefix.extend_from_slice(prefix);
        self.mode = Mode::Quoted;
        self.quoted(body.get(start..).unwrap_or_default(), found);
    }

    /// Where in a line a quoted dump begins: at its first goroutine.
    fn quoted_start(&self, body: &[u8]) -> Option<usize> {
        let end = self.quoted_head.find(body)?;
        let start = memchr::memmem::rfind(body.get(..end)?, b"goroutine ")?;
        Head::of(body.get(start..end + 2)?).map(|_| start)
    }

    fn quoted(&mut self, part: &[u8], found: &mut impl FnMut(Piece<'_>)) {
        let mut rest = part;
        while let Some((first, after)) = rest.split_first() {
            if self.quote.escape {
                self.quote.escape = false;
                match first {
                    b'n' => self.quote.tell(self.number, found),
                    b't' => self.quote.add(b"\t"),
                    b'r' => {}
                    other => self.quote.add(&[*other]),
                }
                rest = after;
                continue;
            }
            let Some(special) = memchr::memchr2(b'\\', b'"', rest) else { return self.quote.add(rest) };
            self.quote.add(rest.get(..special).unwrap_or_default());
            if rest.get(special) == Some(&b'"') {
                self.mode = Mode::Skip;
                return self.close(found);
            }
            self.quote.escape = true;
            rest = rest.get(special + 1..).unwrap_or_default();
        }
    }

    /// Ends the quoted text, if there is one.
    fn close(&mut self, found: &mut impl FnMut(Piece<'_>)) {
        if self.quote.open {
            self.quote.tell(self.number, found);
            found(Piece::Boundary);
            self.quote.open = false;
            self.quote.escape = false;
            self.quote.prefix.clear();
        }
    }
}

impl Quote {
    fn add(&mut self, bytes: &[u8]) {
        let room = LINE_LIMIT.saturating_sub(self.text.len()).min(bytes.len());
        self.text.extend_from_slice(bytes.get(..room).unwrap_or_default());
    }

    fn tell(&mut self, number: u64, found: &mut impl FnMut(Piece<'_>)) {
        found(Piece::Line { text: &self.text, prefix: &self.prefix, number });
        self.text.clear();
    }
}

/// Whether an entry begins a message of its own: dockerd's, containerd's and shims' in text and in JSON.
fn begins_message(body: &[u8]) -> bool {
    [&b"time="[..], b"level=", b"{\""].iter().any(|start| body.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str, piece: usize) -> Vec<String> {
        let mut splitter = Splitter::new();
        let mut out = Vec::new();
        let mut keep = |piece: Piece<'_>| match piece {
            Piece::Boundary => out.push("--".to_owned()),
            Piece::Line { text, number, .. } => out.push(format!("{number} {}", String::from_utf8_lossy(text))),
        };
        for part in text.as_bytes().chunks(piece) {
            splitter.push(part, &mut keep);
        }
        splitter.finish(&mut keep);
        out
    }

    #[test]
    fn quoted_dumps_become_lines_however_the_stream_is_cut() {
        let p = "2026-11-21T06:35:15.796164+0000 w containerd[45]: ";
        let other = "2026-11-21T06:35:15.796164+0000 w systemd[1]: something";
        let text = format!(
            "before\n{p}time=\"x\" level=info msg=\"=== BEGIN ===\\ngoroutine 1 [running]:\\nmain.f()\\n\\t/a\\\"b.g\n\
             {other}\n{p}o:1 +0x1\\n\\n\" id=7\n{p}time=\"y\" msg=\"after\"\nlast"
        );
        let want = [
            "1 before",
            "--",
            "2 goroutine 1 [running]:",
            "2 main.f()",
            "3 something",
            "4 \t/a\"b.go:1 +0x1",
            "4 ",
            "4 ",
            "--",
            "5 time=\"y\" msg=\"after\"",
            "6 last",
        ];
        for piece in [1, 2, 3, 7, 50, 10_000] {
            assert_eq!(split(&text, piece), want, "in pieces of {piece}");
        }
    }

    #[test]
    fn a_quoted_dump_that_never_ends_ends_with_the_next_message() {
        let p = "Nov 21 06:35:15 w containerd[45]: ";
        let text =
            format!("{p}msg=\"goroutine 1 [running]:\\nmain.f()\n{p}time=\"y\" msg=\"goroutine 2 [running]:\\n\"");
        assert_eq!(
            split(&text, 9),
            ["--", "1 goroutine 1 [running]:", "2 main.f()", "--", "--", "2 goroutine 2 [running]:", "2 ", "--"]
        );
        // Without a journal a line's end is the end.
        assert_eq!(
            split("m=\"goroutine 1 [r]:\\na.f(\nplain", 4),
            ["--", "1 goroutine 1 [r]:", "2 a.f(", "--", "2 plain"]
        );
    }

    #[test]
    fn a_line_too_long_is_cut_and_the_next_is_whole() {
        let text = format!("{}\nnext", "x".repeat(3 * LINE_LIMIT));
        for piece in [1000, LINE_LIMIT, 10 * LINE_LIMIT] {
            let lines = split(&text, piece);
            assert_eq!(lines.len(), 2);
            assert_eq!(lines[1], "2 next");
        }
        let quoted = format!("m=\"goroutine 1 [r]:\\n{}\\nend\"", "y".repeat(3 * LINE_LIMIT));
        let lines = split(&quoted, 5000);
        assert_eq!((lines[2].len(), lines[3].as_str()), (LINE_LIMIT + 2, "1 end"));
    }
}
