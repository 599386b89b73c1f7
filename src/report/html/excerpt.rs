//! What of a file goes into the page: small text whole; of a large one its head, its tail and the lines around each place
//! that is cited, with their true numbers. Holds what it keeps and no more, whatever the size of the file.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};

/// Text of one file in the page, bytes.
pub(super) const FILE_MAX: usize = 512 << 10;
/// Of a larger file: its beginning.
const HEAD: usize = 160 << 10;
/// Its end.
const TAIL: usize = 160 << 10;
/// Around what findings rest on, all places together.
const CITED: usize = 128 << 10;
/// Around what is only drawn: moments of a log may be many, and must not take the room of findings.
const DRAWN: usize = FILE_MAX - HEAD - TAIL - CITED;
/// Of one line; the rest of a longer one is left out and counted.
const LINE: usize = 64 << 10;
/// Lines shown before and after a place that is cited, at most.
const MARGIN: u64 = 60;
/// Guessed length of a line, for sharing room among places.
const USUAL_LINE: u64 = 200;

/// Lines that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    /// Number of the first, from 1.
    pub(super) first: u64,
    /// How many.
    pub(super) count: u64,
}

/// See the module.
#[derive(Debug, PartialEq, Eq, Default)]
pub(super) struct Excerpt {
    /// The lines of all segments, each ended by a line feed.
    pub(super) text: Vec<u8>,
    /// Which lines they are.
    pub(super) segments: Vec<Segment>,
    /// Lines of the whole file.
    pub(super) lines: u64,
    /// Whether nothing was left out.
    pub(super) whole: bool,
    /// It is not text.
    pub(super) binary: bool,
}

/// First and last lines of places in a file.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    /// What findings rest on.
    pub(super) cited: Vec<(u64, u64)>,
    /// What pictures lead to.
    pub(super) drawn: Vec<(u64, u64)>,
}

/// Returns what of a file of `size` bytes goes into the page.
///
/// # Errors
/// When it cannot be read.
pub(super) fn excerpt(mut file: impl BufRead, size: u64, places: &Places) -> io::Result<Excerpt> {
    let head = file.fill_buf()?;
    if head.get(..head.len().min(8 << 10)).unwrap_or(head).contains(&0) {
        return Ok(Excerpt { binary: true, ..Excerpt::default() });
    }
    if size <= FILE_MAX as u64 {
        let mut text = Vec::new();
        // One byte more tells whether it grew meanwhile.
        file.take(FILE_MAX as u64 + 1).read_to_end(&mut text)?;
        if text.len() <= FILE_MAX {
            if text.last().is_some_and(|last| *last != b'\n') {
                text.push(b'\n');
            }
            let lines = memchr::memchr_iter(b'\n', &text).count() as u64;
            return Ok(Excerpt { text, segments: segments(1..=lines), lines, whole: true, binary: false });
        }
        return parts(&text[..], places);
    }
    parts(file, places)
}

fn segments(numbers: impl Iterator<Item = u64>) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    for number in numbers {
        match segments.last_mut() {
            Some(last) if last.first + last.count == number => last.count += 1,
            _ => segments.push(Segment { first: number, count: 1 }),
        }
    }
    segments
}

/// Returns the lines to keep for places, in order, without overlap, so that all places get some of `room` bytes.
fn windows(places: &[(u64, u64)], room: usize) -> Vec<(u64, u64)> {
    let each = (room as u64 / USUAL_LINE / (places.len() as u64).max(1)).max(3);
    let margin = (each / 3).min(MARGIN);
    // Of a range that is too long both ends are wanted.
    let ends =
        places.iter().filter(|(first, last)| last.saturating_sub(*first) >= each).map(|(_, last)| (*last, *last));
    let mut places: Vec<(u64, u64)> = places.iter().copied().chain(ends).collect();
    places.sort_unstable();
    places.dedup();
    let mut windows: Vec<(u64, u64)> = Vec::new();
    for (first, last) in places {
        let from = first.saturating_sub(margin).max(1);
        let to = last.min(first.saturating_add(each - margin)).saturating_add(margin);
        match windows.last_mut() {
            Some(before) if from <= before.1.saturating_add(1) => before.1 = before.1.max(to),
            _ => windows.push((from, to)),
        }
    }
    windows
}

/// Lines that are wanted, and the room there is for them.
struct Want {
    windows: VecDeque<(u64, u64)>,
    left: usize,
}

impl Want {
    fn new(places: &[(u64, u64)], room: usize) -> Self {
        Self { windows: windows(places, room).into(), left: room }
    }

    /// Whether a line is wanted and fits. Lines are asked for in order.
    fn takes(&mut self, number: u64, room: usize) -> bool {
        while self.windows.front().is_some_and(|(_, last)| *last < number) {
            self.windows.pop_front();
        }
        let takes = self.left >= room && self.windows.front().is_some_and(|(first, _)| *first <= number);
        self.left -= if takes { room } else { 0 };
        takes
    }
}

/// Lines kept so far.
struct Keeper {
    wanted: [Want; 2],
    kept: Vec<(u64, Vec<u8>)>,
    head: usize,
    tail: VecDeque<(u64, Vec<u8>)>,
    in_tail: usize,
    lines: u64,
}

impl Keeper {
    /// Takes the next line; returns a buffer for the one after.
    fn take(&mut self, line: Vec<u8>) -> Vec<u8> {
        self.lines += 1;
        let (number, room) = (self.lines, line.len() + 1);
        if self.head + room <= HEAD {
            self.head += room;
            self.kept.push((number, line));
            return Vec::new();
        }
        // A later, shorter line must not follow as if nothing were left out.
        self.head = HEAD;
        if self.wanted.iter_mut().any(|want| want.takes(number, room)) {
            self.kept.push((number, line));
            return Vec::new();
        }
        self.in_tail += room;
        self.tail.push_back((number, line));
        let mut free = Vec::new();
        while self.in_tail > TAIL {
            let Some((_, old)) = self.tail.pop_front() else { break };
            self.in_tail -= old.len() + 1;
            free = old;
        }
        free.clear();
        free
    }
}

fn parts(mut file: impl BufRead, places: &Places) -> io::Result<Excerpt> {
    let mut keeper = Keeper {
        wanted: [Want::new(&places.cited, CITED), Want::new(&places.drawn, DRAWN)],
        kept: Vec::new(),
        head: 0,
        tail: VecDeque::new(),
        in_tail: 0,
        lines: 0,
    };
    let (mut line, mut over) = (Vec::new(), 0_u64);
    loop {
        let buffer = file.fill_buf()?;
        if buffer.is_empty() {
            break;
        }
        let end = memchr::memchr(b'\n', buffer);
        let part = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
        let taken = part.len().min(LINE.saturating_sub(line.len()));
        line.extend_from_slice(part.get(..taken).unwrap_or_default());
        over += (part.len() - taken) as u64;
        let used = part.len() + usize::from(end.is_some());
        file.consume(used);
        if end.is_some() {
            mark(&mut line, &mut over);
            line = keeper.take(std::mem::take(&mut line));
        }
    }
    if !line.is_empty() {
        mark(&mut line, &mut over);
        keeper.take(line);
    }
    let Keeper { mut kept, tail, lines, .. } = keeper;
    kept.extend(tail);
    kept.sort_by_key(|(number, _)| *number);
    let segments = segments(kept.iter().map(|(number, _)| *number));
    let mut text = Vec::with_capacity(kept.iter().map(|(_, line)| line.len() + 1).sum());
    for (_, line) in &kept {
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    Ok(Excerpt { text, segments, lines, whole: false, binary: false })
}

fn mark(line: &mut Vec<u8>, over: &mut u64) {
    if *over > 0 {
        line.extend_from_slice(format!(" \u{2026} [{over} more bytes of this line are not in this page]").as_bytes());
        *over = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(lines: u64) -> Vec<u8> {
        (1..=lines)
            .flat_map(|n| format!("line {n} of a log that says the same again and again\n").into_bytes())
            .collect()
    }

    fn read(bytes: &[u8], cited: &[(u64, u64)]) -> Excerpt {
        excerpt(bytes, bytes.len() as u64, &Places { cited: cited.to_vec(), drawn: Vec::new() }).unwrap()
    }

    #[test]
    fn small_text_is_whole_and_what_is_no_text_is_told() {
        let small = read(b"a\nb", &[]);
        assert_eq!((small.text.as_slice(), small.lines, small.whole), (&b"a\nb\n"[..], 2, true));
        assert_eq!(small.segments, [Segment { first: 1, count: 2 }]);
        assert!(read(b"", &[]).segments.is_empty());
        assert!(read(b"\x1f\x8b\0\0", &[]).binary);
    }

    #[test]
    fn of_a_large_file_head_tail_and_cited_lines_are_kept_with_their_numbers() {
        let bytes = numbered(100_000);
        let part = read(&bytes, &[(50_000, 50_010), (99_999, 99_999)]);
        assert_eq!((part.lines, part.whole), (100_000, false));
        assert!(part.text.len() <= FILE_MAX, "{}", part.text.len());
        let text = String::from_utf8(part.text).unwrap();
        let mut lines = text.lines();
        for segment in &part.segments {
            for number in segment.first..segment.first + segment.count {
                let line = lines.next().unwrap();
                assert!(line.starts_with(&format!("line {number} ")), "{number}: {line}");
            }
        }
        assert_eq!(lines.next(), None);
        let holds = |n: u64| part.segments.iter().any(|s| (s.first..s.first + s.count).contains(&n));
        assert!([1, 49_990, 50_000, 50_010, 50_020, 99_999, 100_000].into_iter().all(holds), "{:?}", part.segments);
        assert!(!holds(40_000));

        // What is drawn takes no room of what is cited, and a long range has its end.
        let drawn = (1..40_000).map(|n| (n * 2, n * 2)).collect();
        let places = Places { cited: vec![(70_000, 90_000)], drawn };
        let part = excerpt(&bytes[..], bytes.len() as u64, &places).unwrap();
        let holds = |n: u64| part.segments.iter().any(|s| (s.first..s.first + s.count).contains(&n));
        assert!(part.text.len() <= FILE_MAX && holds(70_000) && holds(90_000), "{:?}", part.segments);
    }

    #[test]
    fn many_citations_and_lines_without_end_stay_within_the_bounds() {
        let bytes = numbered(200_000);
        let cited: Vec<(u64, u64)> = (1..2000).map(|n| (n * 97, n * 97 + 5000)).collect();
        assert!(read(&bytes, &cited).text.len() <= FILE_MAX);
        let long = vec![b'x'; 3 << 20];
        let part = read(&long, &[(1, 1)]);
        assert!(part.text.len() < LINE + 100 && part.lines == 1);
        let mark = format!("[{} more bytes of this line are not in this page]\n", (3 << 20) - LINE);
        assert!(part.text.ends_with(mark.as_bytes()));
    }
}
