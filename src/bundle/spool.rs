//! Head and tail of a stream of unknown length, in bounded memory: tar wants sizes up front, and
//! a cap wants the end of a stream as well as its beginning. What does not fit into a little
//! memory goes to unnamed files in the directory of the bundle, so that the disk that gets short
//! is the one the operator named. Everything that comes here is redacted already.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tempfile::SpooledTempFile;

/// Kept in memory of the head; most outputs end below.
const HEAD_MEMORY: usize = 128 << 10;
/// Kept in memory of each of the two segments that hold the tail.
const TAIL_MEMORY: usize = 64 << 10;
/// To end head and begin tail at a line end, this much is looked through.
const LINE_SEARCH: u64 = 64 << 10;

/// A growing piece of a stream.
struct Segment {
    file: SpooledTempFile,
    len: u64,
}

impl Segment {
    fn new(dir: &Path, memory: usize) -> Self {
        Self { file: tempfile::spooled_tempfile_in(memory, dir), len: 0 }
    }

    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.len = 0;
        self.file.rewind()
    }

    /// Copies bytes `from..to`.
    fn copy(&mut self, from: u64, to: u64, out: &mut impl Write) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(from))?;
        let want = to.saturating_sub(from);
        let got = io::copy(&mut (&mut self.file).take(want), out)?;
        if got == want { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn read_range(&mut self, from: u64, to: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.copy(from, to, &mut bytes)?;
        Ok(bytes)
    }
}

/// Head and tail of a stream.
pub(crate) struct HeadTail {
    dir: PathBuf,
    head_cap: u64,
    tail_cap: u64,
    total: u64,
    head: Segment,
    /// The older and the younger half of what may be the tail; each up to `tail_cap`.
    tail: Option<(Segment, Segment)>,
    /// The disk did not take something: nothing more is kept.
    broken: bool,
    lines: bool,
}

/// What is kept of a stream, and what is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    head: u64,
    /// Where the tail begins, counted from the beginning of the older segment.
    tail_from: u64,
    tail_to: u64,
    /// Bytes between head and tail.
    pub(crate) omitted: u64,
}

impl HeadTail {
    /// Returns an empty spool of `cap` bytes: half for the head, half for the tail. A `binary`
    /// stream is of no use with a hole in it: there the whole cap is the head.
    pub(crate) fn new(dir: &Path, cap: u64, binary: bool) -> Self {
        let head_cap = if binary { cap } else { cap / 2 };
        Self {
            dir: dir.to_owned(),
            head_cap,
            tail_cap: cap - head_cap,
            total: 0,
            head: Segment::new(dir, HEAD_MEMORY),
            tail: None,
            broken: false,
            lines: !binary,
        }
    }

    /// Returns the bytes that came.
    #[cfg(test)]
    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    /// Returns the bytes that will be kept, give or take the ends of lines.
    pub(crate) fn kept(&self) -> u64 {
        let tail = self.tail.as_ref().map_or(0, |(a, b)| (a.len + b.len).min(self.tail_cap));
        self.head.len + tail
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// When the disk does not take them. What came before stays; what comes later is counted only.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.total += bytes.len() as u64;
        if self.broken {
            return Ok(());
        }
        let result = (|| {
            let room = usize::try_from(self.head_cap - self.head.len).unwrap_or(usize::MAX);
            if room > 0 && self.tail.is_none() {
                let (now, later) = bytes.split_at(room.min(bytes.len()));
                self.head.push(now)?;
                bytes = later;
            }
            while !bytes.is_empty() && self.tail_cap > 0 {
                let dir = &self.dir;
                let new = || (Segment::new(dir, TAIL_MEMORY), Segment::new(dir, TAIL_MEMORY));
                let (old, young) = self.tail.get_or_insert_with(new);
                if young.len == self.tail_cap {
                    std::mem::swap(old, young);
                    young.clear()?;
                }
                let room = usize::try_from(self.tail_cap - young.len).unwrap_or(usize::MAX);
                let (now, later) = bytes.split_at(room.min(bytes.len()));
                young.push(now)?;
                bytes = later;
            }
            Ok(())
        })();
        self.broken = result.is_err();
        result
    }

    /// Keeps the first and the last `cap` / 2 bytes only, in memory, and frees the disk.
    ///
    /// # Errors
    /// When the spool cannot be read back.
    pub(crate) fn shrink(&mut self, cap: u64) -> io::Result<()> {
        let half = cap / 2;
        let mut head = Segment::new(&self.dir, HEAD_MEMORY);
        head.push(&self.head.read_range(0, self.head.len.min(half))?)?;
        let tail = match &mut self.tail {
            Some((old, young)) => {
                let held = old.len + young.len;
                let mut kept = Segment::new(&self.dir, TAIL_MEMORY);
                kept.push(&range(old, young, held.saturating_sub(half.min(self.tail_cap)), held)?)?;
                Some((Segment::new(&self.dir, TAIL_MEMORY), kept))
            }
            None => None,
        };
        self.head_cap = self.head_cap.min(half);
        self.tail_cap = self.tail_cap.min(half);
        self.head = head;
        self.tail = tail;
        Ok(())
    }

    /// Decides what is kept.
    ///
    /// # Errors
    /// When the spool cannot be read back.
    pub(crate) fn cut(&mut self) -> io::Result<Cut> {
        let Some((old, young)) = &mut self.tail else {
            return Ok(Cut { head: self.head.len, tail_from: 0, tail_to: 0, omitted: self.total - self.head.len });
        };
        let held = old.len + young.len;
        if self.head.len + held == self.total && held <= self.tail_cap {
            return Ok(Cut { head: self.head.len, tail_from: 0, tail_to: held, omitted: 0 });
        }
        let mut head = self.head.len;
        let mut tail_from = held.saturating_sub(self.tail_cap);
        if self.lines {
            let from = head.saturating_sub(LINE_SEARCH);
            let end = self.head.read_range(from, head)?;
            if let Some(at) = end.iter().rposition(|b| *b == b'\n') {
                head = from + at as u64 + 1;
            }
            let upto = held.min(tail_from + LINE_SEARCH);
            // One byte earlier: the tail may begin at the beginning of a line already.
            let begin = range(old, young, tail_from.saturating_sub(1), upto)?;
            if tail_from > 0
                && let Some(at) = begin.iter().position(|b| *b == b'\n')
                && tail_from + (at as u64) < held
            {
                tail_from += at as u64;
            }
        }
        Ok(Cut { head, tail_from, tail_to: held, omitted: self.total - head - (held - tail_from) })
    }

    /// Returns the number of bytes [`copy`](Self::copy) writes with this mark.
    pub(crate) const fn size(cut: &Cut, mark: &[u8]) -> u64 {
        let mark = if cut.omitted > 0 { mark.len() as u64 } else { 0 };
        cut.head + mark + (cut.tail_to - cut.tail_from)
    }

    /// Returns whether the head as cut ends with a line end, so that a mark needs none.
    pub(crate) fn head_ends_line(&mut self, cut: &Cut) -> bool {
        let last = cut.head.checked_sub(1).map(|from| self.head.read_range(from, cut.head));
        matches!(last, None | Some(Ok(_))) && last.and_then(Result::ok).is_none_or(|b| b == b"\n")
    }

    /// Writes head, `mark` if something is left out, and tail.
    ///
    /// # Errors
    /// When the spool cannot be read or `out` not be written.
    pub(crate) fn copy(&mut self, cut: &Cut, mark: &[u8], out: &mut impl Write) -> io::Result<()> {
        self.head.copy(0, cut.head, out)?;
        if cut.omitted > 0 {
            out.write_all(mark)?;
        }
        if let Some((old, young)) = &mut self.tail {
            let middle = old.len;
            if cut.tail_from < middle {
                old.copy(cut.tail_from, middle.min(cut.tail_to), out)?;
            }
            if cut.tail_to > middle {
                young.copy(cut.tail_from.saturating_sub(middle), cut.tail_to - middle, out)?;
            }
        }
        Ok(())
    }
}

/// Reads `from..to` of two segments taken as one.
fn range(old: &mut Segment, young: &mut Segment, from: u64, to: u64) -> io::Result<Vec<u8>> {
    let middle = old.len;
    let mut bytes = Vec::new();
    if from < middle {
        old.copy(from, to.min(middle), &mut bytes)?;
    }
    if to > middle {
        young.copy(from.saturating_sub(middle), to - middle, &mut bytes)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kept(cap: u64, binary: bool, chunks: &[&[u8]]) -> (Vec<u8>, u64) {
        let mut spool = HeadTail::new(&std::env::temp_dir(), cap, binary);
        for chunk in chunks {
            spool.push(chunk).unwrap();
        }
        let cut = spool.cut().unwrap();
        let mut out = Vec::new();
        spool.copy(&cut, b"|", &mut out).unwrap();
        assert_eq!(out.len() as u64, HeadTail::size(&cut, b"|"));
        (out, cut.omitted)
    }

    #[test]
    fn cuts_at_line_ends() {
        for (cap, input, want, omitted) in [
            (10, "abcdefghij", "abcdefghij", 0),
            (10, "abcdefghijk", "abcde|ghijk", 1),
            (8, "a\nb\nc\nd\ne\nf\n", "a\nb\n|e\nf\n", 4),
            (9, "a\nb\nccccc\nd\ne\n", "a\nb\n|d\ne\n", 6),
            (1, "abc", "|c", 2),
            (0, "abc", "|", 3),
            (10, "", "", 0),
        ] {
            assert_eq!(kept(cap, false, &[input.as_bytes()]), (want.as_bytes().to_vec(), omitted), "{cap} {input:?}");
        }
        assert_eq!(kept(4, true, &[b"abcdef"]), (b"abcd|".to_vec(), 2));
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(input in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..400), cap in 0_u64..300, size in 1..50_usize) {
            let chunks: Vec<&[u8]> = input.chunks(size).collect();
            let one = kept(cap, false, &[&input]);
            prop_assert_eq!(&kept(cap, false, &chunks), &one);
            prop_assert!(one.0.len() as u64 <= cap + 1);
            if input.len() as u64 <= cap {
                prop_assert_eq!(one, (input, 0));
            } else {
                let split = one.0.len() as u64 + one.1 - 1;
                prop_assert_eq!(split, input.len() as u64, "kept and omitted make the whole");
            }
        }
    }

    #[test]
    fn shrinks_to_head_and_tail() {
        for (input, want) in
            [("a\nb\nc\nd\ne\nf\ng\n", "a\n|g\n"), ("a\nb\n", "a\n|"), ("a\nb\nc\nd\n", "a\n|"), ("", "")]
        {
            let mut spool = HeadTail::new(&std::env::temp_dir(), 16, false);
            spool.push(input.as_bytes()).unwrap();
            spool.shrink(5).unwrap();
            let cut = spool.cut().unwrap();
            let mut out = Vec::new();
            spool.copy(&cut, b"|", &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), want, "{input:?}");
            let marks = u64::from(cut.omitted > 0);
            assert_eq!(want.len() as u64 - marks + cut.omitted, input.len() as u64);
        }
    }

    #[test]
    fn a_full_disk_leaves_what_was_kept() {
        let mut spool = HeadTail::new(Path::new("/nonexistent/dir"), 4 << 20, false);
        spool.push(&vec![b'a'; HEAD_MEMORY - 1]).unwrap();
        assert!(spool.push(&vec![b'b'; 1 << 20]).is_err(), "no file can be made there");
        spool.push(b"more").unwrap();
        let cut = spool.cut().unwrap();
        let mut out = Vec::new();
        spool.copy(&cut, b"", &mut out).unwrap();
        assert_eq!(out, vec![b'a'; HEAD_MEMORY - 1]);
        assert_eq!(spool.total() - cut.omitted, out.len() as u64);
    }
}
