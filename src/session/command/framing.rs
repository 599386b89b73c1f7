//! Takes our records out of a stream, chunk by chunk: everything before the first record is noise of
//! the login shell; later ones (on standard error) tell how the command ended. Constant memory,
//! whatever the node sends; no I/O. Used by `run`.

use bytes::Bytes;

/// Noise kept for the text of a failure.
const NOISE_KEPT: usize = 1024;
/// Longest record; the rest of a longer line is dropped.
const RECORD_MAX: usize = 4096;

/// A part of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// The command's own output.
    Data(Bytes),
    /// A record of the wrapper, without token and line break.
    Record(Vec<u8>),
}

/// Splits one stream at our records: the token, text, a line break.
#[derive(Debug)]
pub(crate) struct Framer {
    token: Vec<u8>,
    later_records: bool,
    state: State,
    /// End of the last chunk, if it may be the beginning of the token.
    held: Vec<u8>,
    noise: Vec<u8>,
}

#[derive(Debug)]
enum State {
    Noise,
    Data,
    Record(Vec<u8>),
}

impl Framer {
    /// Returns a framer for a stream on which only the first record counts, or all of them.
    pub(crate) fn new(token: &str, later_records: bool) -> Self {
        Self {
            token: token.as_bytes().to_vec(),
            later_records,
            state: State::Noise,
            held: Vec::new(),
            noise: Vec::new(),
        }
    }

    /// Returns whether the first record has come.
    pub(crate) const fn started(&self) -> bool {
        !matches!(self.state, State::Noise)
    }

    /// Returns the beginning of what came before the first record.
    pub(crate) fn noise(&self) -> &[u8] {
        &self.noise
    }

    /// Takes a chunk and appends the pieces it completes to `out`.
    pub(crate) fn push(&mut self, chunk: Bytes, out: &mut Vec<Piece>) {
        let mut rest = if self.held.is_empty() {
            chunk
        } else {
            let mut joined = std::mem::take(&mut self.held);
            joined.extend_from_slice(&chunk);
            Bytes::from(joined)
        };
        while !rest.is_empty() {
            match &mut self.state {
                State::Record(record) => {
                    let end = rest.iter().position(|b| *b == b'\n');
                    let text = rest.split_to(end.unwrap_or(rest.len()));
                    let room = RECORD_MAX.saturating_sub(record.len());
                    record.extend(text.iter().take(room));
                    if end.is_some() {
                        let _line_break = rest.split_to(1);
                        out.push(Piece::Record(std::mem::take(record)));
                        self.state = State::Data;
                    }
                }
                State::Data if !self.later_records => {
                    out.push(Piece::Data(std::mem::take(&mut rest)));
                }
                State::Data | State::Noise => {
                    let (before, found) = self.find(&rest);
                    let before = rest.split_to(before);
                    self.pass(before, out);
                    if found {
                        let _token = rest.split_to(self.token.len());
                        self.state = State::Record(Vec::new());
                    } else {
                        self.held = std::mem::take(&mut rest).to_vec();
                    }
                }
            }
        }
    }

    /// Ends the stream: what was held back as a possible token is none.
    pub(crate) fn finish(&mut self, out: &mut Vec<Piece>) {
        let held = Bytes::from(std::mem::take(&mut self.held));
        self.pass(held, out);
    }

    fn pass(&mut self, bytes: Bytes, out: &mut Vec<Piece>) {
        if bytes.is_empty() {
            return;
        }
        if self.started() {
            out.push(Piece::Data(bytes));
        } else {
            let room = NOISE_KEPT.saturating_sub(self.noise.len());
            self.noise.extend(bytes.iter().take(room));
        }
    }

    /// Returns how many bytes come before the token (`true`), or before what may be its
    /// beginning at the very end (`false`).
    fn find(&self, bytes: &[u8]) -> (usize, bool) {
        let first = self.token.first().copied();
        for (at, byte) in bytes.iter().enumerate() {
            if Some(*byte) != first {
                continue;
            }
            let tail = bytes.get(at..).unwrap_or_default();
            if tail.starts_with(&self.token) {
                return (at, true);
            }
            if self.token.starts_with(tail) {
                return (at, false);
            }
        }
        (bytes.len(), false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(chunks: &[&[u8]], later: bool) -> (Vec<u8>, Vec<String>, Vec<u8>) {
        let mut framer = Framer::new("tok-12", later);
        let mut pieces = Vec::new();
        for chunk in chunks {
            framer.push(Bytes::copy_from_slice(chunk), &mut pieces);
        }
        framer.finish(&mut pieces);
        let mut data = Vec::new();
        let mut records = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Data(d) => data.extend_from_slice(&d),
                Piece::Record(r) => records.push(String::from_utf8(r).unwrap()),
            }
        }
        (data, records, framer.noise().to_vec())
    }

    #[test]
    fn every_way_of_cutting_the_stream_yields_the_same() {
        let stream: &[u8] = b"Welcome!\ntok- tok-1tok-12 b 7\nerror: tok-1\ntok-12 h a b\ntotok-12 e 0 1 2\nrest tok-1";
        let expected = (
            b"error: tok-1\ntorest tok-1".to_vec(),
            vec![" b 7".to_owned(), " h a b".to_owned(), " e 0 1 2".to_owned()],
            b"Welcome!\ntok- tok-1".to_vec(),
        );
        assert_eq!(run(&[stream], true), expected);
        for a in 0..=stream.len() {
            for b in a..=stream.len() {
                assert_eq!(run(&[&stream[..a], &stream[a..b], &stream[b..]], true), expected, "cut at {a} and {b}");
            }
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(run(&bytes, true), expected);
    }

    #[test]
    fn standard_output_is_left_alone_after_its_start() {
        let stream: &[u8] = b"noise tok-12 b\nbinary tok-12 b\n\0\xff";
        for cut in 0..=stream.len() {
            let (data, records, noise) = run(&[&stream[..cut], &stream[cut..]], false);
            assert_eq!((data.as_slice(), noise.as_slice()), (&b"binary tok-12 b\n\0\xff"[..], &b"noise "[..]));
            assert_eq!(records, [" b"]);
        }
    }

    #[test]
    fn noise_without_end_and_a_record_without_end_stay_small() {
        let mut framer = Framer::new("tok-12", true);
        let mut pieces = Vec::new();
        for _ in 0..1000 {
            framer.push(Bytes::from_static(&[b'x'; 5000]), &mut pieces);
        }
        assert_eq!((framer.noise().len(), framer.held.len(), pieces.len()), (NOISE_KEPT, 0, 0));
        framer.push(Bytes::from_static(b"tok-12"), &mut pieces);
        for _ in 0..1000 {
            framer.push(Bytes::from_static(&[b'x'; 5000]), &mut pieces);
        }
        assert!(pieces.is_empty());
        framer.push(Bytes::from_static(b"\n"), &mut pieces);
        assert!(matches!(&pieces[..], [Piece::Record(r)] if r.len() == RECORD_MAX));
    }
}
