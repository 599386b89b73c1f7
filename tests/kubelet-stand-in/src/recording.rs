//! Recordings: a set is a directory with `index.tsv`, a body and its `.headers` for each answer, and `variants/` for
//! kubelets configured otherwise.
//!
//! A line of `index.tsv` is file, method, path, status, content type, bytes, seconds. Lines with the same method and path
//! are served in turn (samples taken one after the other). Seconds from 1 on are waited, `-` is never answered; a file
//! `-` has a head and no body. A path that ends in `*` is a prefix. `@rules` names the authorization.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::access::Rules;
use crate::failed;

/// How long an answer takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Wait {
    /// As long as it takes.
    None,
    /// So long, as recorded.
    For(Duration),
    /// It never comes.
    Never,
}

/// One recorded answer.
#[derive(Debug, Clone)]
pub struct Recording {
    /// Set and file, for the request log.
    pub file: String,
    /// Status of the answer.
    pub status: u16,
    /// Headers in their order, without what the connection decides.
    pub headers: Vec<(String, String)>,
    /// Whether the length was told before the body.
    pub sized: bool,
    /// The body; `None` where only the head was seen.
    pub body: Option<Bytes>,
    /// How long it takes.
    pub wait: Wait,
    method: String,
    target: String,
}

/// A set of recordings of one kubelet.
#[derive(Debug)]
pub struct Set {
    /// The authorization of this kubelet.
    pub rules: Rules,
    rows: Vec<Recording>,
    variants: BTreeMap<String, Vec<Recording>>,
    turns: Mutex<HashMap<String, usize>>,
}

/// Reads every set below a directory.
pub fn read_sets(directory: &Path) -> io::Result<BTreeMap<String, Set>> {
    let mut sets = BTreeMap::new();
    for path in subdirectories(directory)? {
        sets.insert(name_of(&path), Set::read(&path)?);
    }
    Ok(sets)
}

impl Set {
    fn read(directory: &Path) -> io::Result<Self> {
        let (rows, rules) = read_index(directory)?;
        let rules = rules.ok_or_else(|| failed(directory.display(), "index.tsv has no @rules"))?;
        let mut variants = BTreeMap::new();
        if directory.join("variants").is_dir() {
            for path in subdirectories(&directory.join("variants"))? {
                variants.insert(name_of(&path), read_index(&path)?.0);
            }
        }
        Ok(Self { rules, rows, variants, turns: Mutex::default() })
    }

    /// Tells whether the set has the variant.
    pub fn has_variant(&self, name: &str) -> bool {
        self.variants.contains_key(name)
    }

    /// Returns what was recorded for a request. Where a query is no part of what was asked (seconds of a profile, lines of
    /// a log), that of the recording need not be the same; a `debug=` that was not recorded is not made up.
    pub fn find(&self, variant: Option<&str>, method: &str, target: &str) -> Option<&Recording> {
        let of_variant = variant.and_then(|name| self.variants.get(name)).map(Vec::as_slice).unwrap_or_default();
        [of_variant, self.rows.as_slice()].into_iter().find_map(|rows| self.find_among(rows, method, target))
    }

    fn find_among<'a>(&self, rows: &'a [Recording], method: &str, target: &str) -> Option<&'a Recording> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = if path == "/pods/" { "/pods" } else { path };
        let same = |row: &&Recording| row.method == method;
        let path_of = |row: &Recording| row.target.split('?').next().map(ToOwned::to_owned).unwrap_or_default();
        let exact: Vec<_> = rows
            .iter()
            .filter(same)
            .filter(|row| row.target == target || row.target == path && query.is_empty())
            .collect();
        if !exact.is_empty() {
            return self.in_turn(&exact, &format!("{method} {target}"));
        }
        let any_query =
            ["/debug/pprof/profile", "/debug/pprof/trace", "/containerLogs/"].iter().any(|root| path.starts_with(root));
        let candidates: Vec<_> = rows
            .iter()
            .filter(same)
            .filter(
                |row| if any_query { path_of(row) == path } else { row.target == path && !query.contains("debug=") },
            )
            .collect();
        if !candidates.is_empty() {
            return self.in_turn(&candidates, &format!("{method} {path}"));
        }
        rows.iter().filter(same).find(|row| row.target.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix)))
    }

    fn in_turn<'a>(&self, rows: &[&'a Recording], key: &str) -> Option<&'a Recording> {
        if rows.len() < 2 {
            return rows.first().copied();
        }
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = turns.entry(key.to_owned()).or_default();
        let row = rows.get(*turn % rows.len()).copied();
        *turn += 1;
        row
    }
}

fn subdirectories(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(directory).map_err(|error| failed(directory.display(), error))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    Ok(paths.into_iter().filter(|path| path.is_dir()).collect())
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn read_index(directory: &Path) -> io::Result<(Vec<Recording>, Option<Rules>)> {
    let path = directory.join("index.tsv");
    let text = std::fs::read_to_string(&path).map_err(|error| failed(path.display(), error))?;
    let (mut rows, mut rules) = (Vec::new(), None);
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        match columns.as_slice() {
            ["@rules", version] => rules = Some(Rules::parse(version)?),
            [file, method, target, status, content_type, _, seconds] => {
                let status = status.parse().map_err(|error| failed(line, error))?;
                rows.push(read_recording(directory, file, (method, target), status, content_type, seconds)?);
            }
            _ => return Err(failed(path.display(), format!("expected seven columns: '{line}'"))),
        }
    }
    Ok((rows, rules))
}

/// Returns the headers of a recorded head, in their order and without the status line.
pub fn parse_head(head: &str) -> Vec<(String, String)> {
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    lines.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect()
}

fn read_recording(
    directory: &Path,
    file: &str,
    (method, target): (&str, &str),
    status: u16,
    content_type: &str,
    seconds: &str,
) -> io::Result<Recording> {
    let path = directory.join(file);
    let body = match file {
        "-" => None,
        _ => Some(Bytes::from(std::fs::read(&path).map_err(|error| failed(path.display(), error))?)),
    };
    let head = std::fs::read_to_string(directory.join(format!("{file}.headers"))).unwrap_or_default();
    let mut headers = parse_head(&head);
    if headers.is_empty() && !content_type.is_empty() {
        headers.push(("content-type".to_owned(), content_type.to_owned()));
    }
    let sized = headers.iter().any(|(name, _)| name == "content-length");
    headers.retain(|(name, _)| name != "transfer-encoding");
    let wait = match seconds.parse::<f64>() {
        Ok(seconds) if seconds >= 1.0 => Wait::For(Duration::from_secs_f64(seconds)),
        Ok(_) => Wait::None,
        Err(_) if seconds == "-" => Wait::Never,
        Err(error) => return Err(failed(path.display(), error)),
    };
    let set = directory.components().rev().map(|part| part.as_os_str().to_string_lossy()).take(3).collect::<Vec<_>>();
    let label = match set.as_slice() {
        [variant, parent, set] if parent == "variants" => format!("{set}/variants/{variant}/{file}"),
        [set, ..] => format!("{set}/{file}"),
        [] => file.to_owned(),
    };
    let (method, target) = (method.to_owned(), target.to_owned());
    Ok(Recording { file: label, status, headers, sized, body, wait, method, target })
}
