//! Evidence on its way into a page. A node's files are there only while its view is open, and the page is written when all
//! nodes are known: in between, what is to be shown lies packed in an unnamed temporary file (mode 0600, gone with the
//! program). Bounded per file, per node and as a whole; what is left out is kept in mind and told.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::aside::Aside;
use super::excerpt::{Places, Segment, excerpt};
use crate::analyze::finding::Citation;
use crate::analyze::listing::Listed;
use crate::analyze::node::NodeAnalysis;
use crate::analyze::view::NodeView;
use crate::bundle::layout;

/// Packed bytes of one node's evidence; a usual node has a tenth of it.
const NODE_MAX: u64 = 3 << 20;
/// Packed bytes of all nodes, in the temporary directory.
const SPOOL_MAX: u64 = 384 << 20;
/// Files of one node that are listed.
const LISTED: usize = 1500;

/// Why the text of a file is not in the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeftOut {
    /// Packed, or a profile.
    Binary,
    /// There was no room for it.
    Room,
    /// It could not be read.
    Unreadable,
}

/// Text of a file in the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packed {
    at: u64,
    /// Packed bytes.
    pub(super) len: u64,
    /// Which lines there are.
    pub(super) segments: Vec<Segment>,
    /// Lines of the whole file.
    pub(super) lines: u64,
    /// Whether nothing was left out.
    pub(super) whole: bool,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    /// Its name as findings cite it.
    pub(super) name: String,
    /// Bytes of the whole file.
    pub(super) size: u64,
    /// Whether something rests on it.
    pub(super) cited: bool,
    /// What there is of it.
    pub(super) text: Result<Packed, LeftOut>,
}

/// What is kept of a node beside its analysis.
#[derive(Debug, Default)]
pub(super) struct KeptNode {
    node: String,
    source: String,
    /// In the order of their names.
    pub(super) files: Vec<Kept>,
    /// Files that are not even listed.
    pub(super) unlisted: usize,
    /// What the manifest says beside steps.
    pub(super) aside: Aside,
}

/// See the module.
pub struct Spool {
    file: BufWriter<File>,
    written: u64,
    nodes: Vec<KeptNode>,
}

impl Spool {
    /// Returns an empty spool in the temporary directory.
    ///
    /// # Errors
    /// When no file can be made there.
    pub fn new() -> io::Result<Self> {
        Ok(Self { file: BufWriter::new(tempfile::tempfile()?), written: 0, nodes: Vec::new() })
    }

    /// Keeps what is to be shown of a node's evidence. To be called while its view is open, for each node once.
    ///
    /// # Errors
    /// When the temporary directory takes no more. A file of the node that cannot be read is told in the page instead.
    pub fn take(&mut self, view: &NodeView, analysis: &NodeAnalysis) -> io::Result<()> {
        let cited = cited(analysis);
        let mut files = view.files();
        let unlisted = files.len().saturating_sub(LISTED);
        // What something rests on comes first, then the small: many files say more than one.
        files.sort_by_key(|file| (!cited.contains_key(&file.name), file.size));
        files.truncate(LISTED);
        let mut left = NODE_MAX.min(SPOOL_MAX.saturating_sub(self.written));
        let mut kept = Vec::with_capacity(files.len() + 1);
        for file in &files {
            let none = Places::default();
            let text = self.pack(view, file, cited.get(&file.name).unwrap_or(&none), left)?;
            left = left.saturating_sub(text.as_ref().map_or(0, |packed| packed.len));
            kept.push(Kept { name: file.name.clone(), size: file.size, cited: cited.contains_key(&file.name), text });
        }
        if let Some(manifest) = view.manifest.as_ref().and_then(|m| serde_json::to_vec_pretty(m).ok()) {
            let size = manifest.len() as u64;
            let text = self.text(&manifest[..], size, &Places::default(), left)?;
            kept.push(Kept { name: layout::MANIFEST.to_owned(), size, cited: false, text });
        }
        kept.sort_by(|a, b| a.name.cmp(&b.name));
        self.nodes.push(KeptNode {
            node: analysis.node.to_string(),
            source: analysis.source.clone(),
            files: kept,
            unlisted,
            aside: Aside::of(view),
        });
        Ok(())
    }

    fn pack(
        &mut self,
        view: &NodeView,
        file: &Listed,
        places: &Places,
        left: u64,
    ) -> io::Result<Result<Packed, LeftOut>> {
        if file.name.parse::<layout::BundlePath>().is_ok_and(|path| path.is_binary()) {
            return Ok(Err(LeftOut::Binary));
        }
        if left == 0 {
            return Ok(Err(LeftOut::Room));
        }
        match view.open_listed(file) {
            Some(opened) => self.text(opened, file.size, places, left),
            None => Ok(Err(LeftOut::Unreadable)),
        }
    }

    fn text(
        &mut self,
        from: impl io::BufRead,
        size: u64,
        places: &Places,
        left: u64,
    ) -> io::Result<Result<Packed, LeftOut>> {
        let Ok(part) = excerpt(from, size, places) else { return Ok(Err(LeftOut::Unreadable)) };
        if part.binary {
            return Ok(Err(LeftOut::Binary));
        }
        let packed = packed(&part.text)?;
        let len = packed.len() as u64;
        if len > left {
            return Ok(Err(LeftOut::Room));
        }
        let at = self.written;
        self.file.write_all(&packed)?;
        self.written += len;
        Ok(Ok(Packed { at, len, segments: part.segments, lines: part.lines, whole: part.whole }))
    }

    /// Gives out what was kept of a node, once; nothing if it was never taken in.
    pub(super) fn of(&mut self, analysis: &NodeAnalysis) -> KeptNode {
        let at =
            self.nodes.iter().position(|kept| kept.node == analysis.node.as_str() && kept.source == analysis.source);
        at.map(|at| self.nodes.remove(at)).unwrap_or_default()
    }

    /// Returns the packed text of a file.
    pub(super) fn read(&mut self, packed: &Packed) -> io::Result<Vec<u8>> {
        self.file.flush()?;
        let file = self.file.get_mut();
        file.seek(SeekFrom::Start(packed.at))?;
        let mut bytes = Vec::new();
        file.take(packed.len).read_to_end(&mut bytes)?;
        file.seek(SeekFrom::End(0))?;
        Ok(bytes)
    }
}

/// Returns `bytes` as gzip.
pub(super) fn packed(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// Returns the places that something of a node rests on, by file.
fn cited(analysis: &NodeAnalysis) -> BTreeMap<String, Places> {
    let findings = analysis.findings.iter().flat_map(|finding| &finding.evidence);
    let moments = analysis.moments.iter().filter_map(|moment| moment.citation.as_ref());
    let groups = analysis.figures.goroutines.iter().flat_map(|dump| &dump.groups).map(|group| &group.at);
    let mut cited: BTreeMap<String, Places> = BTreeMap::new();
    for Citation { file, lines } in findings {
        cited.entry(file.clone()).or_default().cited.extend(lines);
    }
    for Citation { file, lines } in moments.chain(groups) {
        cited.entry(file.clone()).or_default().drawn.extend(lines);
    }
    cited
}
