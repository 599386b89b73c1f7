//! Unpacks what nodes packed for the wire, as it arrives, in constant memory. Bounds on the
//! result are the caller's: it is handed pieces and may say stop between any two.

use std::io::Write;
use std::ops::ControlFlow;

use flate2::write::MultiGzDecoder;
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use crate::plan::step::Encoding;

/// Windows of up to 128 MiB, as plain `zstd -d` takes them; more would be memory a node chooses.
const WINDOW_LOG_MAX: u32 = 27;
/// Deflate unpacks at most 1032 bytes from one: this much input is at most 1 MiB of output.
const GZIP_SLICE: usize = 1 << 10;
/// Output of one zstd call.
const ZSTD_PIECE: usize = 128 << 10;

/// A stream from the wire being unpacked.
pub(crate) enum WireDecoder {
    Plain,
    Gzip {
        inner: Box<MultiGzDecoder<Vec<u8>>>,
        fed: bool,
    },
    Zstd {
        inner: Box<Decoder<'static>>,
        buffer: Vec<u8>,
        open: bool,
        fed: bool,
    },
    /// Broken or stopped: what still comes is dropped.
    Dead(Option<String>),
}

impl WireDecoder {
    /// Returns a decoder for `encoding`.
    pub(crate) fn new(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Plain => Self::Plain,
            Encoding::Gzip => Self::Gzip { inner: Box::new(MultiGzDecoder::new(Vec::new())), fed: false },
            Encoding::Zstd => match zstd_decoder() {
                Ok(inner) => {
                    Self::Zstd { inner: Box::new(inner), buffer: vec![0; ZSTD_PIECE], open: false, fed: false }
                }
                Err(e) => Self::Dead(Some(format!("cannot set up zstd: {e}"))),
            },
        }
    }

    /// Unpacks `input` and hands the result to `take` piece by piece, at most 1 MiB each. After
    /// `Break` or damage all later input is dropped.
    pub(crate) fn push(&mut self, input: &[u8], mut take: impl FnMut(&[u8]) -> ControlFlow<()>) {
        let mut end: Option<Option<String>> = None;
        match self {
            Self::Dead(_) => {}
            Self::Plain => {
                if take(input).is_break() {
                    end = Some(None);
                }
            }
            Self::Gzip { inner, fed } => {
                for slice in input.chunks(GZIP_SLICE) {
                    let result = inner.write_all(slice).and_then(|()| inner.flush());
                    *fed = true;
                    let got = std::mem::take(inner.get_mut());
                    if !got.is_empty() && take(&got).is_break() {
                        end = Some(None);
                        break;
                    }
                    if let Err(e) = result {
                        end = Some(Some(format!("the gzip stream from the node is damaged: {e}")));
                        break;
                    }
                }
            }
            Self::Zstd { inner, buffer, open, fed } => {
                *fed |= !input.is_empty();
                let mut source = InBuffer::around(input);
                loop {
                    let (result, got) = {
                        let mut out = OutBuffer::around(buffer.as_mut_slice());
                        let result = inner.run(&mut source, &mut out);
                        (result, out.pos())
                    };
                    if got > 0 && take(buffer.get(..got).unwrap_or_default()).is_break() {
                        end = Some(None);
                        break;
                    }
                    match result {
                        Ok(hint) => *open = hint != 0,
                        Err(e) => {
                            end = Some(Some(format!("the zstd stream from the node is damaged: {e}")));
                            break;
                        }
                    }
                    // Output that filled the buffer may have more behind it without any input.
                    if source.pos() >= input.len() && (got < buffer.len() || !*open) {
                        break;
                    }
                }
            }
        }
        if let Some(reason) = end {
            *self = Self::Dead(reason);
        }
    }

    /// Returns what is left at the end of the input, and what is wrong with the stream, if
    /// anything: `Damaged` is a broken stream, `Cut` one that ends early.
    pub(crate) fn finish(self) -> (Vec<u8>, Verdict) {
        match self {
            Self::Plain | Self::Dead(None) => (Vec::new(), Verdict::Whole),
            Self::Dead(Some(reason)) => (Vec::new(), Verdict::Damaged(reason)),
            Self::Gzip { fed: false, .. } | Self::Zstd { fed: false, .. } => (Vec::new(), Verdict::Cut),
            Self::Gzip { mut inner, .. } => {
                let result = inner.try_finish();
                let rest = std::mem::take(inner.get_mut());
                let verdict = match result {
                    Ok(()) => Verdict::Whole,
                    Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Verdict::Cut,
                    // Says so too if the last eight bytes are not all there.
                    Err(e) if e.to_string().contains("checksum") => Verdict::Cut,
                    Err(e) => Verdict::Damaged(format!("the gzip stream from the node is damaged: {e}")),
                };
                (rest, verdict)
            }
            Self::Zstd { open, .. } => (Vec::new(), if open { Verdict::Cut } else { Verdict::Whole }),
        }
    }
}

/// How a stream from the wire ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// At its proper end, or where we stopped it.
    Whole,
    /// Too early.
    Cut,
    /// It cannot be unpacked further; one sentence.
    Damaged(String),
}

fn zstd_decoder() -> std::io::Result<Decoder<'static>> {
    let mut decoder = Decoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))?;
    Ok(decoder)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pack(encoding: Encoding, data: &[u8]) -> Vec<u8> {
        match encoding {
            Encoding::Plain => data.to_vec(),
            Encoding::Gzip => {
                let mut enc = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                enc.write_all(data).unwrap();
                enc.finish().unwrap()
            }
            Encoding::Zstd => zstd::encode_all(data, 1).unwrap(),
        }
    }

    fn unpack(encoding: Encoding, packed: &[u8], size: usize) -> (Vec<u8>, Verdict) {
        let mut decoder = WireDecoder::new(encoding);
        let mut out = Vec::new();
        for chunk in packed.chunks(size) {
            decoder.push(chunk, |got| {
                assert!(got.len() <= 2 << 20);
                out.extend_from_slice(got);
                ControlFlow::Continue(())
            });
        }
        let (rest, verdict) = decoder.finish();
        out.extend_from_slice(&rest);
        (out, verdict)
    }

    const PACKED: [Encoding; 2] = [Encoding::Gzip, Encoding::Zstd];

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn any_chunks_give_the_same(data in proptest::collection::vec(0_u8..4, 0..5000), more in proptest::collection::vec(any::<u8>(), 0..300), size in 1..400_usize) {
            for encoding in [Encoding::Plain, Encoding::Gzip, Encoding::Zstd] {
                // Two members or frames, one after the other.
                let packed = [pack(encoding, &data), pack(encoding, &more)].concat();
                let want = [data.clone(), more.clone()].concat();
                let (got, verdict) = unpack(encoding, &packed, size);
                prop_assert_eq!(got, want);
                prop_assert_eq!(verdict, Verdict::Whole);
            }
        }

        #[test]
        fn no_input_panics(data in proptest::collection::vec(any::<u8>(), 0..600), size in 1..100_usize) {
            for encoding in PACKED {
                let _ = unpack(encoding, &data, size);
                let mut broken = pack(encoding, &data);
                for (i, b) in data.iter().take(3).enumerate() {
                    let at = (usize::from(*b) * 7 + i) % broken.len();
                    broken[at] ^= 0x55;
                }
                let _ = unpack(encoding, &broken, size);
            }
        }
    }

    #[test]
    fn a_cut_stream_gives_what_there_was() {
        let data: Vec<u8> = (0..200_000_u32).flat_map(|i| i.wrapping_mul(i).to_le_bytes()).collect();
        for encoding in PACKED {
            let packed = pack(encoding, &data);
            for less in [1, 2, 7, 8, 9, 100, 5000] {
                let (got, verdict) = unpack(encoding, &packed[..packed.len() - less], 1000);
                assert_eq!(verdict, Verdict::Cut, "{encoding:?} without the last {less}");
                assert!(got.len() > data.len() / 2, "{encoding:?}: {}", got.len());
                assert_eq!(got, data[..got.len()]);
            }
            for len in 1..25 {
                assert_eq!(unpack(encoding, &packed[..len], 3).1, Verdict::Cut, "{encoding:?}: {len} bytes");
            }
            assert_eq!(unpack(encoding, b"", 1).1, Verdict::Cut, "{encoding:?}: nothing at all");
        }
    }

    #[test]
    fn garbage_is_named() {
        for encoding in PACKED {
            let packed = [pack(encoding, b"evidence"), b"garbage after the end".to_vec()].concat();
            let (got, verdict) = unpack(encoding, &packed, 5);
            assert_eq!(got, b"evidence", "{encoding:?}");
            assert!(
                matches!(&verdict, Verdict::Damaged(text) if text.contains("damaged")),
                "{encoding:?}: {verdict:?}"
            );
            assert!(matches!(unpack(encoding, b"-bash: zstd: command not found", 9).1, Verdict::Damaged(_)));
        }
    }

    #[test]
    fn a_bomb_stops_where_the_caller_says() {
        let zeros = vec![0_u8; 64 << 20];
        for encoding in PACKED {
            let packed = pack(encoding, &zeros);
            let mut decoder = WireDecoder::new(encoding);
            let mut got = 0_usize;
            decoder.push(&packed, |piece| {
                assert!(piece.len() <= 2 << 20);
                got += piece.len();
                if got > 4 << 20 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            decoder.push(&packed, |_| panic!("stopped"));
            assert!(got <= 6 << 20, "{encoding:?}: {got}");
        }
    }

    #[test]
    fn refuses_a_window_that_would_eat_memory() {
        let mut enc = zstd::Encoder::new(Vec::new(), 1).unwrap();
        enc.set_parameter(zstd::zstd_safe::CParameter::EnableLongDistanceMatching(true)).unwrap();
        enc.set_parameter(zstd::zstd_safe::CParameter::WindowLog(29)).unwrap();
        enc.write_all(&[1; 1000]).unwrap();
        let packed = enc.finish().unwrap();
        assert!(matches!(unpack(Encoding::Zstd, &packed, 100).1, Verdict::Damaged(_)));
    }
}
