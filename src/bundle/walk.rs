//! One pass over a bundle file: unpacks, checks and hands out entry after entry. Nothing in the
//! file is trusted: links, absolute paths, `..`, duplicates and absurd sizes are refused.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use tar::{EntryType, Header as TarHeader};

use super::layout::BundlePath;
use super::reader::{End, Entry, ReadError};

/// A node brings 2 GiB by default; a file of 64 GiB is no evidence but an attack.
const MAX_FILE: u64 = 64 << 30;
/// Unpacked, all together.
const MAX_TOTAL: u64 = 256 << 30;
/// A bundle holds some hundred files.
const MAX_FILES: usize = 100_000;
/// As for evidence from the wire.
const WINDOW_LOG_MAX: u32 = 27;
/// tar works in blocks of this size.
const BLOCK: u64 = 512;

/// One pass over a bundle file.
pub(super) struct Walk<R: Read> {
    path: PathBuf,
    source: R,
}

impl Walk<File> {
    pub(super) fn open(path: &Path) -> Result<Self, ReadError> {
        let fail = |source| ReadError::Open { path: path.to_owned(), source };
        let file = File::open(path).map_err(fail)?;
        if file.metadata().map_err(fail)?.is_dir() {
            return Err(fail(io::ErrorKind::IsADirectory.into()));
        }
        Ok(Self { path: path.to_owned(), source: file })
    }
}

impl<R: Read> Walk<R> {
    pub(super) const fn over(path: PathBuf, source: R) -> Self {
        Self { path, source }
    }

    pub(super) fn each(
        self,
        mut take: impl FnMut(&Entry, &mut dyn Read) -> io::Result<ControlFlow<()>>,
    ) -> Result<Option<End>, ReadError> {
        let path = self.path;
        let fail = |source| ReadError::Open { path: path.clone(), source };
        let hostile = |reason: String| ReadError::Hostile { path: path.clone(), reason };
        let mut zstd = zstd::Decoder::with_buffer(BufReader::with_capacity(128 << 10, self.source)).map_err(fail)?;
        zstd.window_log_max(WINDOW_LOG_MAX).map_err(fail)?;
        let mut tar = Blocks { source: zstd, damage: None };
        let mut seen: BTreeSet<BundlePath> = BTreeSet::new();
        let mut total = 0_u64;
        let mut long_name: Option<String> = None;
        loop {
            let mut block = [0_u8; BLOCK as usize];
            let got = tar.fill(&mut block);
            if let Some(damage) = tar.damage.take() {
                return Ok(Some(damage.at(None)));
            }
            if got == 0 {
                return Ok(Some(End::Open));
            }
            if got < block.len() {
                return Ok(Some(End::Cut { entry: None }));
            }
            if block.iter().all(|b| *b == 0) {
                return tar.rest().map(Some).map_err(hostile);
            }
            let header = TarHeader::from_byte_slice(&block);
            if !checksum_holds(&block, header) {
                if seen.is_empty() {
                    let reason = "what is packed in it is no tar archive".to_owned();
                    return Err(ReadError::NotABundle { path, reason });
                }
                return Ok(Some(End::Damaged("an entry of the archive is damaged".to_owned())));
            }
            let size = header.entry_size().map_err(|_| hostile("an entry has no proper size".to_owned()))?;
            let mut body = Body { tar: &mut tar, left: size };
            match header.entry_type() {
                EntryType::Regular => {}
                EntryType::XHeader if size <= 4096 => {
                    let mut text = Vec::new();
                    let _ = body.read_to_end(&mut text);
                    long_name = pax_path(&text);
                    if let Some(end) = tar.pad(size, text.len() as u64 == size, None) {
                        return Ok(Some(end));
                    }
                    continue;
                }
                other => {
                    let name = String::from_utf8_lossy(&header.path_bytes()).chars().take(100).collect::<String>();
                    return Err(hostile(format!("{name:?} is no plain file (type {:?})", char::from(other.as_byte()))));
                }
            }
            let name = long_name.take().unwrap_or_else(|| String::from_utf8_lossy(&header.path_bytes()).into_owned());
            let entry_path: BundlePath = name.parse().map_err(|e| hostile(format!("{e}")))?;
            total = total.saturating_add(size);
            if size > MAX_FILE || total > MAX_TOTAL || seen.len() >= MAX_FILES {
                return Err(hostile(format!("with {entry_path} it holds more than a bundle can")));
            }
            if !seen.insert(entry_path.clone()) {
                return Err(hostile(format!("it holds {entry_path} twice")));
            }
            let entry = Entry { path: entry_path, size, mtime: header.mtime().unwrap_or(0) };
            let flow = take(&entry, &mut body).map_err(fail)?;
            if flow.is_break() {
                return Ok(None);
            }
            let _ = io::copy(&mut body, &mut io::sink());
            let whole = body.left == 0;
            if let Some(end) = tar.pad(size, whole, Some(entry.path.as_str())) {
                return Ok(Some(end));
            }
        }
    }
}

/// Why no more can be unpacked.
enum Damage {
    /// The file ends in the middle of a frame.
    Cut,
    Broken(String),
}

impl Damage {
    fn at(self, entry: Option<&str>) -> End {
        match self {
            Self::Cut => End::Cut { entry: entry.map(str::to_owned) },
            Self::Broken(text) => End::Damaged(text),
        }
    }
}

/// The unpacked archive; after an error it is at its end and `damage` says why.
struct Blocks<R> {
    source: R,
    damage: Option<Damage>,
}

impl<R: Read> Blocks<R> {
    fn read_some(&mut self, buffer: &mut [u8]) -> usize {
        loop {
            if self.damage.is_some() {
                return 0;
            }
            match self.source.read(buffer) {
                Ok(n) => return n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => self.damage = Some(Damage::Cut),
                Err(e) => self.damage = Some(Damage::Broken(format!("its packed data is damaged: {e}"))),
            }
        }
    }

    fn fill(&mut self, block: &mut [u8]) -> usize {
        let mut got = 0;
        while let Some(rest) = block.get_mut(got..).filter(|r| !r.is_empty()) {
            match self.read_some(rest) {
                0 => break,
                n => got += n,
            }
        }
        got
    }

    /// Reads what follows the first block of the end mark: zeros, or the archive was tampered with.
    fn rest(&mut self) -> Result<End, String> {
        let mut block = [0_u8; BLOCK as usize];
        let mut blocks = 0;
        while self.fill(&mut block) == block.len() {
            blocks += 1;
            // tar fills up to 20 blocks.
            if blocks > 64 || block.iter().any(|b| *b != 0) {
                return Err("something follows its end mark".to_owned());
            }
        }
        Ok(match self.damage.take() {
            None if blocks > 0 => End::Sealed,
            None | Some(Damage::Cut) => End::Cut { entry: None },
            Some(Damage::Broken(text)) => End::Damaged(text),
        })
    }

    /// Reads the padding after a file. The answer is where the archive ends, if it does here.
    fn pad(&mut self, size: u64, whole: bool, entry: Option<&str>) -> Option<End> {
        let want = usize::try_from((BLOCK - size % BLOCK) % BLOCK).unwrap_or(0);
        let mut pad = [0_u8; BLOCK as usize];
        let got = if whole { self.fill(pad.get_mut(..want).unwrap_or_default()) } else { 0 };
        if whole {
            // The padding is not evidence: a file without it is whole, and the next read tells the end.
            return (got < want).then(|| match self.damage.take() {
                Some(Damage::Broken(text)) => End::Damaged(text),
                _ => End::Cut { entry: None },
            });
        }
        Some(self.damage.take().unwrap_or(Damage::Cut).at(entry))
    }
}

/// The content of one entry.
struct Body<'a, R> {
    tar: &'a mut Blocks<R>,
    left: u64,
}

impl<R: Read> Read for Body<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let n = self.tar.read_some(buffer.get_mut(..most).unwrap_or_default());
        self.left -= n as u64;
        Ok(n)
    }
}

fn checksum_holds(block: &[u8; BLOCK as usize], header: &TarHeader) -> bool {
    // The field itself (148..156) counts as blanks.
    let field = 148..156;
    let sum: u32 = block.iter().enumerate().map(|(i, b)| if field.contains(&i) { 32 } else { u32::from(*b) }).sum();
    header.cksum().is_ok_and(|told| told == sum)
}

/// Returns the `path` record of an extended header.
fn pax_path(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    text.lines().find_map(|l| l.split_once(' ')?.1.strip_prefix("path=")).map(str::to_owned)
}
