//! tar in zstd, one frame at a time. A frame is written whole or taken back: after any failure
//! the file ends where the last whole frame ended, so that everything before stays readable.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

use super::layout::BundlePath;
use crate::evidence::FileRecord;

/// What an archive is written to.
pub(crate) trait Medium: Write + Send {
    /// Cuts the file back to `len` bytes and continues there.
    fn cut_back(&mut self, len: u64) -> io::Result<()>;
    /// Makes what was written durable.
    fn sync(&mut self) -> io::Result<()>;
}

impl Medium for File {
    fn cut_back(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)?;
        self.seek(SeekFrom::Start(len)).map(|_| ())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

/// Counts and hashes on the way to the medium.
struct Out {
    medium: Box<dyn Medium>,
    hash: Sha256,
    len: u64,
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.medium.write(bytes)?;
        self.hash.update(bytes.get(..n).unwrap_or_default());
        self.len += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.medium.flush()
    }
}

/// A bundle file being written.
pub(crate) struct Archive {
    out: Out,
    level: i32,
    whole: (u64, Sha256),
}

impl Archive {
    pub(crate) fn new(medium: Box<dyn Medium>, level: i32) -> Self {
        Self { out: Out { medium, hash: Sha256::new(), len: 0 }, level, whole: (0, Sha256::new()) }
    }

    /// Returns the bytes of whole frames.
    pub(crate) const fn len(&self) -> u64 {
        self.whole.0
    }

    /// Returns the hex sha256 of the whole frames.
    pub(crate) fn sha256(&self) -> String {
        hex(self.whole.1.clone())
    }

    /// Writes one frame with what `fill` puts into it, and hands it to the operating system.
    ///
    /// # Errors
    /// When it could not be written; the file is then as it was before. When even that fails,
    /// the second error is in `Err(_, Some(_))` and the archive must not be written to again.
    pub(crate) fn frame<T>(
        &mut self,
        mtime: u64,
        fill: impl FnOnce(&mut Frame<'_>) -> io::Result<T>,
    ) -> Result<T, (io::Error, Option<io::Error>)> {
        match self.try_frame(mtime, fill) {
            Ok(value) => {
                self.whole = (self.out.len, self.out.hash.clone());
                Ok(value)
            }
            Err(e) => {
                let (len, hash) = self.whole.clone();
                self.out.len = len;
                self.out.hash = hash;
                Err((e, self.out.medium.cut_back(len).err()))
            }
        }
    }

    fn try_frame<T>(&mut self, mtime: u64, fill: impl FnOnce(&mut Frame<'_>) -> io::Result<T>) -> io::Result<T> {
        let mut zstd = zstd::Encoder::new(&mut self.out, self.level)?;
        zstd.include_checksum(true)?;
        let mut frame = Frame { zstd, mtime };
        let value = fill(&mut frame)?;
        frame.zstd.finish()?.flush()?;
        Ok(value)
    }

    /// Makes everything durable.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.out.medium.sync()
    }
}

/// One zstd frame with whole tar entries.
pub(crate) struct Frame<'a> {
    zstd: zstd::Encoder<'static, &'a mut Out>,
    mtime: u64,
}

impl Frame<'_> {
    /// Appends a file of exactly `size` bytes, which `fill` writes.
    pub(crate) fn entry(
        &mut self,
        path: &BundlePath,
        size: u64,
        fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<FileRecord> {
        let mut header = Header::new_ustar();
        if header.set_path(path.as_str()).is_err() {
            // Too long for a ustar header: say it in an extended one, and cut it in this.
            self.pax_path(path)?;
            let short: String = path.as_str().chars().rev().take(90).collect::<Vec<_>>().into_iter().rev().collect();
            header.set_path(short.trim_start_matches('/'))?;
        }
        self.head(&mut header, EntryType::Regular, size)?;
        let mut body = Body { out: &mut self.zstd, hash: Sha256::new(), left: size };
        fill(&mut body)?;
        let Body { hash, left, .. } = body;
        if left > 0 {
            return Err(io::Error::other(format!("{path} is {left} bytes shorter than announced")));
        }
        self.pad(size)?;
        Ok(FileRecord {
            path: path.as_str().to_owned(),
            bytes: size,
            omitted_bytes: 0,
            omitted_at_least: false,
            sha256: hex(hash),
            redactions: 0,
        })
    }

    /// Appends a file that is in memory.
    pub(crate) fn bytes(&mut self, path: &BundlePath, bytes: &[u8]) -> io::Result<FileRecord> {
        self.entry(path, bytes.len() as u64, |out| out.write_all(bytes))
    }

    /// Appends the end mark of a tar archive.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        self.zstd.write_all(&[0; 1024])
    }

    fn pax_path(&mut self, path: &BundlePath) -> io::Result<()> {
        // "LEN path=PATH\n", where LEN counts itself: three digits for any path we allow.
        let rest = format!(" path={path}\n");
        let body = format!("{}{rest}", rest.len() + if rest.len() + 2 < 100 { 2 } else { 3 });
        let mut header = Header::new_ustar();
        header.set_path("pax")?;
        self.head(&mut header, EntryType::XHeader, body.len() as u64)?;
        self.zstd.write_all(body.as_bytes())?;
        self.pad(body.len() as u64)
    }

    fn head(&mut self, header: &mut Header, kind: EntryType, size: u64) -> io::Result<()> {
        header.set_entry_type(kind);
        header.set_mode(0o600);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(size);
        header.set_mtime(self.mtime);
        header.set_cksum();
        self.zstd.write_all(header.as_bytes())
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let pad = usize::try_from((512 - size % 512) % 512).unwrap_or(0);
        self.zstd.write_all([0; 512].get(..pad).unwrap_or_default())
    }
}

/// The content of one entry on its way.
struct Body<'a, W: Write> {
    out: &'a mut W,
    hash: Sha256,
    left: u64,
}

impl<W: Write> Write for Body<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.left {
            return Err(io::Error::other("a file is longer than announced"));
        }
        let n = self.out.write(bytes)?;
        self.hash.update(bytes.get(..n).unwrap_or_default());
        self.left -= n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns a finished hash as hex.
pub(crate) fn hex(hash: Sha256) -> String {
    use std::fmt::Write as _;
    hash.finalize().iter().fold(String::with_capacity(64), |mut text, b| {
        let _ = write!(text, "{b:02x}");
        text
    })
}
