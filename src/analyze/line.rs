//! Lines of a stream with their numbers, in constant memory: long lines are cut, bytes that are not UTF-8 replaced.
//! Under all parsers that read streams; it knows nothing of what the lines say.

use std::borrow::Cow;
use std::io::{self, BufRead, ErrorKind, Read};
use std::ops::Range;

/// Bytes kept of one line. journald cuts its entries at 48 KiB, so that only log files have longer ones.
pub const MAX_LINE: usize = 64 * 1024;

/// Bytes read at a time.
const CHUNK: usize = 64 * 1024;

/// One line, without its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its number, from 1, for citing.
    pub number: u64,
    /// The text; what is not UTF-8 has become U+FFFD.
    pub text: &'a str,
    /// Whether it was longer than [`MAX_LINE`] and is cut there.
    pub cut: bool,
}

/// The lines of a stream, one at a time.
#[derive(Debug)]
pub struct Lines<R> {
    input: R,
    chunk: Vec<u8>,
    filled: Range<usize>,
    kept: Vec<u8>,
    text: String,
    number: u64,
    ended: bool,
}

impl<R: Read> Lines<R> {
    /// Reads the lines of `input`, which needs no buffer of its own.
    pub fn new(input: R) -> Self {
        Self {
            input,
            chunk: vec![0; CHUNK],
            filled: 0..0,
            kept: Vec::new(),
            text: String::new(),
            number: 0,
            ended: false,
        }
    }

    /// Returns the next line; `None` at the end. Ends of line are LF and CR LF; a last line without one counts.
    ///
    /// # Errors
    ///
    /// Those of the stream. After one, the next call goes on reading where the stream stands.
    pub fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        self.kept.clear();
        let mut cut = false;
        let mut any = false;
        loop {
            let rest = self.chunk.get(self.filled.clone()).unwrap_or_default();
            if rest.is_empty() {
                if self.ended || !self.fill()? {
                    self.ended = true;
                    if !any {
                        return Ok(None);
                    }
                    break;
                }
                continue;
            }
            any = true;
            let end = rest.iter().position(|b| *b == b'\n');
            let part = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
            let room = MAX_LINE - self.kept.len().min(MAX_LINE);
            cut |= part.len() > room;
            self.kept.extend_from_slice(part.get(..room).unwrap_or(part));
            self.filled.start += part.len() + usize::from(end.is_some());
            if end.is_some() {
                break;
            }
        }
        if !cut && self.kept.last() == Some(&b'\r') {
            self.kept.pop();
        }
        self.number += 1;
        let text = if let Ok(text) = std::str::from_utf8(&self.kept) {
            text
        } else {
            self.text.clear();
            self.text.push_str(&String::from_utf8_lossy(&self.kept));
            &self.text
        };
        Ok(Some(Line { number: self.number, text, cut }))
    }

    fn fill(&mut self) -> io::Result<bool> {
        loop {
            match self.input.read(&mut self.chunk) {
                Ok(n) => {
                    self.filled = 0..n.min(self.chunk.len());
                    return Ok(n > 0);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

/// Passes over what is left of a line, its end included.
///
/// # Errors
///
/// Those of the stream.
pub(crate) fn skip_line(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let chunk = input.fill_buf()?;
        let (used, over) = match memchr::memchr(b'\n', chunk) {
            Some(at) => (at + 1, true),
            None => (chunk.len(), chunk.is_empty()),
        };
        input.consume(used);
        if over {
            return Ok(());
        }
    }
}

/// Returns the lines of a text at hand with their numbers; for the small files of [`super::tables`].
pub fn numbered(text: &str) -> impl Iterator<Item = (u64, &str)> {
    (1..).zip(text.lines())
}

/// A value as a log line has it: quoted or bare, still escaped as Go's `%q` and logrus write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Text<'a> {
    raw: &'a str,
    quoted: bool,
}

impl<'a> Text<'a> {
    /// Returns a text that is meant as it stands.
    #[must_use]
    pub const fn plain(raw: &'a str) -> Self {
        Self { raw, quoted: false }
    }

    /// Returns a text from between double quotes.
    #[must_use]
    pub const fn quoted(raw: &'a str) -> Self {
        Self { raw, quoted: true }
    }

    /// Returns the text as it stands in the line, between the quotes if there were any.
    #[must_use]
    pub const fn raw(self) -> &'a str {
        self.raw
    }

    /// Returns the text itself; copied only if it had escapes. Escapes that Go does not write stay as they are.
    #[must_use]
    pub fn text(self) -> Cow<'a, str> {
        if !self.quoted || !self.raw.contains('\\') {
            return Cow::Borrowed(self.raw);
        }
        Cow::Owned(unescaped(self.raw))
    }

    /// Tells whether nothing is in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.raw.is_empty()
    }
}

/// Undoes the escapes of Go's `strconv.Quote`.
fn unescaped(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let tail = from.get(1..).unwrap_or_default();
        let Some(c) = tail.chars().next() else {
            out.push('\\');
            return out;
        };
        let after = tail.get(c.len_utf8()..).unwrap_or_default();
        let digits = match c {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => 0,
        };
        if digits > 0 {
            let code = after.get(..digits).and_then(|hex| u32::from_str_radix(hex, 16).ok());
            if let Some(named) = code.and_then(char::from_u32) {
                out.push(named);
                rest = after.get(digits..).unwrap_or_default();
                continue;
            }
        }
        match c {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            '"' | '\\' | '\'' => out.push(c),
            _ => {
                out.push('\\');
                out.push(c);
            }
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(input: &[u8], step: usize) -> Vec<(u64, String, bool)> {
        struct Slow<'a>(&'a [u8], usize);
        impl Read for Slow<'_> {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                let n = self.1.min(self.0.len()).min(into.len());
                into[..n].copy_from_slice(&self.0[..n]);
                self.0 = &self.0[n..];
                Ok(n)
            }
        }
        let mut lines = Lines::new(Slow(input, step));
        let mut out = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            out.push((line.number, line.text.to_owned(), line.cut));
        }
        assert!(lines.next_line().unwrap().is_none(), "the end stays the end");
        out
    }

    #[test]
    fn lines_are_numbered_and_lose_their_ends() {
        let want = [(1, "a".to_owned(), false), (2, String::new(), false), (3, "b\u{fffd}".to_owned(), false)];
        assert_eq!(all(b"a\r\n\nb\xff", 2), want);
        assert_eq!(all(b"", 1), []);
    }

    #[test]
    fn a_line_too_long_is_cut_and_the_next_one_is_whole() {
        let input = [vec![b'x'; MAX_LINE + 5], b"\nnext\n".to_vec()].concat();
        let got = all(&input, 1000);
        assert_eq!((got[0].1.len(), got[0].2), (MAX_LINE, true));
        assert_eq!(got[1], (2, "next".to_owned(), false));
    }

    #[test]
    fn escapes_are_undone_and_unknown_ones_stay() {
        for (raw, want) in [
            (r"plain", "plain"),
            (r#"a \"b\" c"#, "a \"b\" c"),
            (r"tab\tend\n", "tab\tend\n"),
            (r"\u00e4\x41\U0001F600", "äA😀"),
            (r"\q \ud800 \xzz", r"\q \ud800 \xzz"),
            ("cut\\", "cut\\"),
            (r"\ü", r"\ü"),
        ] {
            assert_eq!(Text::quoted(raw).text(), want, "{raw}");
            assert_eq!(Text::plain(raw).text(), raw);
        }
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(input in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..300), step in 1..40_usize) {
            prop_assert_eq!(all(&input, step), all(&input, usize::MAX));
        }
    }
}
