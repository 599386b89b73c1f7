//! Single files that somebody packed with gzip or zstd, read as if they were not. Told by their first bytes, not by their
//! names; knows nothing of bundles. Called by the analysis for files given by hand.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};

/// As for evidence from the wire.
const WINDOW_LOG_MAX: u32 = 27;
/// First bytes of a zstd frame (RFC 8878, 3.1.1).
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// First bytes of a gzip member with deflate (RFC 1952, 2.3.1).
const GZIP: [u8; 3] = [0x1f, 0x8b, 0x08];

/// How a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Not at all, or in a way that is not known here.
    Plain,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

impl Packing {
    /// Tells how something is packed by its first bytes; four are enough.
    #[must_use]
    pub fn of(head: &[u8]) -> Self {
        if head.starts_with(&ZSTD) {
            Self::Zstd
        } else if head.starts_with(&GZIP) {
            Self::Gzip
        } else {
            Self::Plain
        }
    }
}

/// Returns a reader of what is in the file, unpacked, from its beginning. Memory is bounded (zstd's window by 128 MB), the
/// length is not: the caller takes what it wants. What is packed badly ends in an error where it does.
///
/// # Errors
/// When the file cannot be read.
pub fn unpacking(mut file: File) -> io::Result<Box<dyn Read + Send>> {
    let mut head = Vec::new();
    (&mut file).take(4).read_to_end(&mut head)?;
    file.rewind()?;
    Ok(match Packing::of(&head) {
        Packing::Plain => Box::new(file),
        Packing::Gzip => Box::new(flate2::read::MultiGzDecoder::new(BufReader::with_capacity(64 << 10, file))),
        Packing::Zstd => {
            let mut decoder = zstd::Decoder::new(file)?;
            decoder.window_log_max(WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn files_are_unpacked_by_their_first_bytes() {
        let text = b"goroutine 1 [running]:\n".repeat(1000);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text).unwrap();
        for (packed, packing) in [
            (text.clone(), Packing::Plain),
            (gzip.finish().unwrap(), Packing::Gzip),
            (zstd::encode_all(text.as_slice(), 1).unwrap(), Packing::Zstd),
        ] {
            assert_eq!(Packing::of(&packed), packing);
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&packed).unwrap();
            file.rewind().unwrap();
            let mut got = Vec::new();
            unpacking(file).unwrap().read_to_end(&mut got).unwrap();
            assert_eq!(got, text, "{packing:?}");
        }
        for short in [&b""[..], b"\x1f", b"\x28\xb5\x2f"] {
            assert_eq!(Packing::of(short), Packing::Plain);
        }
    }
}
