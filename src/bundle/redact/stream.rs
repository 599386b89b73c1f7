//! Redaction of a stream: tokens of ours first, then whole lines where lines are of a sane length, pieces with overlap where
//! they are not, and what spans lines (PEM keys, a name on one line and its value on the next).
//! The result does not depend on how the stream was cut into chunks.

use hmac::Mac;

use super::learnt::Sieve;
use super::{Counts, Redactor, rules, secret_of, tagged};

/// A longer line is worked on in pieces of this size.
pub(super) const PIECE: usize = 256 << 10;
/// Of a piece, this much is looked at again with the next one.
const OVERLAP: usize = 8 << 10;
/// A secret that fills this much is taken as endless and dropped up to a blank or quote.
const LONGEST: usize = 1 << 20;
/// Input is taken in slices of this size, so that the output buffer stays small.
const SLICE: usize = 64 << 10;
/// Lines of a PEM block at most: 500 lines are 24,000 bits of RSA.
const PEM_LINES: u32 = 500;

enum State {
    Plain,
    /// Inside a private key.
    Key {
        mac: hmac::Hmac<sha2::Sha256>,
        lines: u32,
    },
    /// The line before named a secret: `value` or a string is to follow.
    Expect {
        key: Vec<u8>,
        value: bool,
    },
}

/// The state of one stream.
pub(crate) struct RedactStream {
    binary: bool,
    sieve: Sieve,
    pending: Vec<u8>,
    /// Length of `pending` at which a piece is taken from it.
    limit: usize,
    state: State,
    /// Inside a secret too long to hold: drop up to its end.
    swallow: bool,
    counts: Counts,
}

impl RedactStream {
    /// Returns a fresh stream; a binary one is passed through unchanged but for tokens of ours.
    pub(crate) fn new(binary: bool) -> Self {
        Self {
            binary,
            sieve: Sieve::new(binary),
            pending: Vec::new(),
            limit: PIECE,
            state: State::Plain,
            swallow: false,
            counts: Counts::default(),
        }
    }

    /// Returns the replacements made so far.
    pub(crate) const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Returns the bytes held back.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.pending.capacity()
    }

    /// Takes `input` and appends what is decided to `out`.
    pub(crate) fn push(&mut self, redactor: &Redactor, input: &[u8], out: &mut Vec<u8>) {
        let Some(forms) = redactor.learnt.forms() else { return self.sieved(redactor, input, out) };
        for slice in input.chunks(SLICE) {
            let mut clean = Vec::with_capacity(slice.len());
            let found = self.sieve.pass(&forms, slice, false, &mut clean);
            self.counts.add_many(redactor.token, found);
            self.sieved(redactor, &clean, out);
        }
    }

    /// Takes what holds no token of ours.
    fn sieved(&mut self, redactor: &Redactor, input: &[u8], out: &mut Vec<u8>) {
        if self.binary {
            out.extend_from_slice(input);
            return;
        }
        for slice in input.chunks(SLICE) {
            self.slice(redactor, slice, out);
        }
    }

    fn slice(&mut self, redactor: &Redactor, mut input: &[u8], out: &mut Vec<u8>) {
        while !self.pending.is_empty() {
            // Complete the line that was begun, or its piece.
            let room = self.limit.saturating_sub(self.pending.len());
            let line_end = input.iter().position(|b| *b == b'\n').map(|at| at + 1);
            let take = line_end.unwrap_or(input.len()).min(room.max(1));
            let (now, later) = input.split_at(take);
            self.pending.extend_from_slice(now);
            input = later;
            if self.pending.last() == Some(&b'\n') {
                let mut line = std::mem::take(&mut self.pending);
                self.limit = PIECE;
                self.block(redactor, &line, out);
                if line.capacity() <= SLICE {
                    line.clear();
                    self.pending = line;
                }
                break;
            }
            if self.pending.len() >= self.limit {
                self.piece(redactor, out);
            }
            if input.is_empty() {
                return;
            }
        }
        let whole = input.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let (lines, rest) = input.split_at(whole);
        self.block(redactor, lines, out);
        self.pending.extend_from_slice(rest);
    }

    /// Appends what is held back; the stream is over.
    pub(crate) fn finish(&mut self, redactor: &Redactor, out: &mut Vec<u8>) {
        if let Some(forms) = redactor.learnt.forms() {
            let mut clean = Vec::new();
            let found = self.sieve.pass(&forms, &[], true, &mut clean);
            self.counts.add_many(redactor.token, found);
            self.sieved(redactor, &clean, out);
        }
        let rest = std::mem::take(&mut self.pending);
        if !rest.is_empty() {
            self.block(redactor, &rest, out);
        }
        self.end_key(redactor, out);
    }

    /// Works on whole lines (the last one of a stream may lack its end).
    fn block(&mut self, redactor: &Redactor, mut block: &[u8], out: &mut Vec<u8>) {
        if self.swallow {
            let end = block.iter().position(|b| ends_secret(*b)).unwrap_or(block.len());
            block = block.get(end..).unwrap_or_default();
            self.swallow = block.is_empty();
        }
        // For each regex the next suspicious position; `None` in the outer option: to be looked for.
        let regexes: Vec<Option<usize>> = std::iter::once(None).chain((0..redactor.own).map(Some)).collect();
        let mut next: Vec<Option<Option<usize>>> = vec![None; regexes.len()];
        let mut at = 0;
        while at < block.len() {
            let suspect = if matches!(self.state, State::Plain) {
                let mut first: Option<usize> = None;
                for (regex, known) in regexes.iter().zip(&mut next) {
                    let stale = match known {
                        None => true,
                        Some(None) => false,
                        Some(Some(pos)) => *pos < at,
                    };
                    if stale {
                        *known = Some(redactor.suspect(*regex, block, at));
                    }
                    if let Some(Some(pos)) = known {
                        first = Some(first.map_or(*pos, |f| f.min(*pos)));
                    }
                }
                first
            } else {
                Some(at)
            };
            let Some(suspect) = suspect else {
                out.extend_from_slice(block.get(at..).unwrap_or_default());
                return;
            };
            let before = block.get(at..suspect).unwrap_or_default();
            let start = before.iter().rposition(|b| *b == b'\n').map_or(at, |nl| at + nl + 1);
            out.extend_from_slice(block.get(at..start).unwrap_or_default());
            let rest = block.get(start..).unwrap_or_default();
            let len = rest.iter().position(|b| *b == b'\n').map_or(rest.len(), |nl| nl + 1);
            self.line(redactor, rest.get(..len).unwrap_or_default(), out);
            at = start + len.max(1);
        }
    }

    /// Works on one line with its end.
    fn line(&mut self, redactor: &Redactor, line: &[u8], out: &mut Vec<u8>) {
        let (text, end) = line.strip_suffix(b"\n").map_or((line, &b""[..]), |text| (text, &b"\n"[..]));
        let shapes = &redactor.shapes;
        match std::mem::replace(&mut self.state, State::Plain) {
            State::Key { mut mac, lines } => {
                if lines < PEM_LINES && !shapes.end_key.is_match(text) && is_key_body(text, lines) {
                    mac.update(text);
                    self.state = State::Key { mac, lines: lines + 1 };
                    return;
                }
                self.state = State::Key { mac, lines };
                self.end_key(redactor, out);
            }
            State::Expect { key, value } => {
                let shape = if value { &shapes.value_line } else { &shapes.string_line };
                if let (Some(rule), Some(found)) = (redactor.value, shape.captures(text).and_then(|c| c.name("s")))
                    && !rules::is_harmless_value(&key, found.as_bytes())
                {
                    out.extend_from_slice(text.get(..found.start()).unwrap_or_default());
                    out.extend_from_slice(&redactor.placeholder(rule, found.as_bytes()));
                    out.extend_from_slice(text.get(found.end()..).unwrap_or_default());
                    out.extend_from_slice(end);
                    self.counts.add(rule);
                    return;
                }
            }
            State::Plain => {}
        }
        redactor.line(text, &mut self.counts, out);
        out.extend_from_slice(end);
        self.look_ahead(redactor, text);
    }

    /// Decides what the next line may be, given this one.
    fn look_ahead(&mut self, redactor: &Redactor, text: &[u8]) {
        let shapes = &redactor.shapes;
        if redactor.private_key.is_some()
            && let Some(begin) = shapes.begin_key.find_iter(text).last()
            && !shapes.end_key.is_match(text.get(begin.end()..).unwrap_or_default())
        {
            self.state = State::Key { mac: redactor.mac(), lines: 0 };
            return;
        }
        if redactor.value.is_none() {
            return;
        }
        for (shape, value) in [(&shapes.name_line, true), (&shapes.flag_line, false)] {
            if let Some(key) = shape.captures(text).and_then(|c| c.name("k"))
                && has_key_word(redactor, key.as_bytes())
                && rules::is_secret_key(key.as_bytes())
            {
                self.state = State::Expect { key: key.as_bytes().to_vec(), value };
                return;
            }
        }
    }

    fn end_key(&mut self, redactor: &Redactor, out: &mut Vec<u8>) {
        if let State::Key { mac, lines } = std::mem::replace(&mut self.state, State::Plain)
            && lines > 0
            && let Some(rule) = redactor.private_key
        {
            out.extend_from_slice(&tagged(rules::PRIVATE_KEY, mac));
            out.push(b'\n');
            self.counts.add(rule);
        }
    }

    /// Writes out the first part of a line too long to hold, up to a place no match spans.
    fn piece(&mut self, redactor: &Redactor, out: &mut Vec<u8>) {
        if self.swallow {
            let end = self.pending.iter().position(|b| ends_secret(*b)).unwrap_or(self.pending.len());
            self.pending.drain(..end);
            self.swallow = self.pending.is_empty();
            return;
        }
        self.end_key(redactor, out);
        let mut cut = self.pending.len().saturating_sub(OVERLAP);
        // Not inside a word, so that no key is halved.
        let text = self.pending.as_slice();
        if let Some(blank) = text.get(..cut).and_then(|t| t.iter().rev().take(1024).position(|b| ends_secret(*b))) {
            cut -= blank;
        }
        let mut endless = false;
        let mut spans: Vec<(usize, usize)> = Vec::new();
        let hits = redactor.set.matches(text);
        let own = redactor.own;
        let active = |i: usize| i < own || hits.matched(i - own);
        for (_, rule) in redactor.rules.iter().enumerate().filter(|(i, _)| active(*i)) {
            for found in rule.regex.captures_iter(text) {
                if secret_of(rule, &found).is_some()
                    && let Some(whole) = found.get(0)
                    && whole.end() > cut
                    && whole.start() < cut
                {
                    spans.push((whole.start(), whole.end()));
                }
            }
        }
        spans.sort_unstable_by(|a, b| b.cmp(a));
        for (start, end) in spans {
            if start < cut && end > cut {
                cut = start;
            }
        }
        if cut == 0 {
            // A match from the first byte on: wait for its end, but not for ever.
            if text.len() < LONGEST {
                // Twice as much next time, so that the work stays linear.
                self.limit = text.len() * 2;
                return;
            }
            cut = text.len();
            endless = true;
        }
        let rest = self.pending.split_off(cut);
        redactor.line(&self.pending, &mut self.counts, out);
        self.pending = rest;
        self.limit = PIECE;
        self.swallow = endless;
    }
}

/// Returns whether a secret that is written without quotes ends at `byte`, or one in quotes.
const fn ends_secret(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'"' | b'\'' | b'&' | b';' | 0)
}

fn has_key_word(redactor: &Redactor, key: &[u8]) -> bool {
    redactor.prefilter.as_ref().is_some_and(|p| p.is_match(key)) || key.eq_ignore_ascii_case(b"pass")
}

/// Returns whether `line` can be part of a PEM block that began `lines` lines before: base64
/// alone, or at the end of a line with a prefix (log lines), or a header.
fn is_key_body(line: &[u8], lines: u32) -> bool {
    let text = line.trim_ascii();
    let text = text.strip_suffix(b",").unwrap_or(text);
    let text = text.trim_ascii_end();
    let trimmed: &[u8] = match text {
        [b'"' | b'\'', inner @ ..] => inner.strip_suffix(b"\"").or_else(|| inner.strip_suffix(b"'")).unwrap_or(inner),
        text => text,
    };
    let base64 = |t: &[u8]| t.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='));
    if base64(trimmed) {
        return trimmed.len() <= 128;
    }
    if lines < 6 && [&b"Proc-Type:"[..], b"DEK-Info:", b"Version:", b"Comment:"].iter().any(|h| text.starts_with(h)) {
        return true;
    }
    let last = trimmed.rsplit(|b| matches!(b, b' ' | b'\t' | b'"' | b':' | b'|')).next().unwrap_or_default();
    base64(last) && (last.len() >= 40 || last.ends_with(b"="))
}
