//! Every path of a run directory and of a bundle, and nothing else. Paths come from here, never
//! from a node.
//!
//! A bundle holds, in this order: `plegcollect.json` (header), what the engine adds (`plan.json`,
//! `node/facts.json`, …), per finished step its output, `….stderr.txt`, `….hung.txt` and
//! `records/AREA.NAME.json` (what the manifest will say of it, so that a bundle without a
//! manifest still tells outcomes), and last `manifest.json`.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::BundleError;
use crate::inventory::NodeName;
use crate::plan::StepId;

/// First entry of every bundle.
pub const HEADER: &str = "plegcollect.json";
/// Last entry of a sealed bundle.
pub const MANIFEST: &str = "manifest.json";
/// The plan of the node.
pub const PLAN: &str = "plan.json";
/// The facts of the node.
pub const FACTS: &str = "node/facts.json";
/// The clock of the node against ours.
pub const CLOCK: &str = "node/clock.json";
/// How the node was reached, or why not.
pub const CONNECTION: &str = "node/connection.json";
/// What is needed to put the node back, stored before it is changed.
pub const RECEIPT: &str = "node/receipt.json";
/// The same for the kubelet's verbosity.
pub const RECEIPT_KUBELET: &str = "node/receipt-kubelet.json";
/// Directory of the step records.
pub const RECORDS: &str = "records/";
/// Extension of a sealed bundle.
pub const SEALED: &str = ".tar.zst";
/// Extension of a bundle that is not sealed.
pub const PARTIAL: &str = ".tar.zst.partial";
/// The record of the run, in the run directory.
pub const RUN_RECORD: &str = "run.json";
/// What the evidence means, in the run directory.
pub const FINDINGS: &str = "findings.json";
/// The same for a browser.
pub const PAGE: &str = "report.html";

/// A path inside a bundle: relative, 200 bytes at most, components of letters, digits and
/// `._+=@,~-` that start with none of `.`, `-` and `~`. Safe to extract anywhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundlePath(String);

/// Why a text is no path of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid path in a bundle {path:?}: {reason}")]
pub struct BundlePathError {
    path: String,
    reason: &'static str,
}

impl BundlePath {
    /// Returns the path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the path with `word` before its extension: `docker/ps.txt` becomes
    /// `docker/ps.stderr.txt`. The result is text whatever the extension was.
    fn beside(&self, word: &str) -> Result<Self, BundlePathError> {
        let (dir, name) = self.0.rsplit_once('/').map_or(("", self.0.as_str()), |(dir, name)| (dir, name));
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        let slash = if dir.is_empty() { "" } else { "/" };
        format!("{dir}{slash}{stem}.{word}.txt").parse()
    }

    /// Returns where standard error goes that came with this output.
    ///
    /// # Errors
    /// When the result is too long.
    pub fn stderr(&self) -> Result<Self, BundlePathError> {
        self.beside("stderr")
    }

    /// Returns where the stacks go that were taken when the command hung.
    ///
    /// # Errors
    /// When the result is too long.
    pub fn hung(&self) -> Result<Self, BundlePathError> {
        self.beside("hung")
    }

    /// Returns where the record of a step goes.
    ///
    /// # Errors
    /// When the result is too long.
    pub fn record(step: &StepId) -> Result<Self, BundlePathError> {
        format!("{RECORDS}{}.json", step.as_str().replace('/', ".")).parse()
    }

    /// Returns whether this file is packed or binary by its name, so that redaction and cap
    /// marks must keep away from it.
    #[must_use]
    pub fn is_binary(&self) -> bool {
        let name = self.0.rsplit_once('/').map_or(self.0.as_str(), |(_, name)| name);
        name.rsplit_once('.')
            .is_some_and(|(_, ext)| matches!(ext, "gz" | "zst" | "xz" | "pb" | "pprof" | "bin" | "tar" | "png"))
    }
}

impl FromStr for BundlePath {
    type Err = BundlePathError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let fail = |reason| Err(BundlePathError { path: s.chars().take(220).collect(), reason });
        if s.is_empty() {
            return fail("it is empty");
        }
        if s.len() > 200 {
            return fail("it is longer than 200 bytes");
        }
        if s.starts_with('/') {
            return fail("it is absolute");
        }
        for part in s.split('/') {
            if part == ".." {
                return fail("it leaves the bundle");
            }
            if part.is_empty() || part.starts_with(['.', '-', '~']) {
                return fail("a part of it is empty or starts with '.', '-' or '~'");
            }
            let ok =
                |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'+' | b'=' | b'@' | b',' | b'~' | b'-');
            if !part.bytes().all(ok) {
                return fail("it may hold only letters, digits and ._+=@,~-");
            }
        }
        Ok(Self(s.to_owned()))
    }
}

impl fmt::Display for BundlePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Returns the path of a sealed bundle.
#[must_use]
pub fn sealed(dir: &Path, node: &NodeName) -> PathBuf {
    dir.join(format!("{node}{SEALED}"))
}

/// Returns the path of a bundle while it is written.
#[must_use]
pub fn partial(dir: &Path, node: &NodeName) -> PathBuf {
    dir.join(format!("{node}{PARTIAL}"))
}

/// The directory of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir {
    /// Where it is.
    pub path: PathBuf,
    /// Its name, which is the run id.
    pub run_id: String,
}

impl RunDir {
    /// Creates `OUT/plegcollect-<UTC>[-<incident>]` with mode 0700; `OUT` is created too if it is
    /// missing. A name that is taken gets `-2`, `-3`, … up to `-99`.
    ///
    /// # Errors
    /// When a directory cannot be created.
    pub fn create(out: &Path, now: Timestamp, incident: Option<&str>) -> Result<Self, BundleError> {
        if !out.as_os_str().is_empty() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(out)
                .map_err(|e| BundleError::io("create directory", out, e))?;
        }
        let base = run_name(now, incident);
        let mut run_id = base.clone();
        for attempt in 2..=100 {
            let path = out.join(&run_id);
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self { path, run_id }),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && attempt < 100 => {
                    run_id = format!("{base}-{attempt}");
                }
                Err(e) => return Err(BundleError::io("create directory", &path, e)),
            }
        }
        Err(BundleError::io("create directory", &out.join(base), io::ErrorKind::AlreadyExists.into()))
    }
}

/// Returns the name of a run: `plegcollect-20261120T231500Z[-incident]`. Of the incident, what is
/// no letter, digit, `.` or `_` becomes `-`, and 60 characters at most are kept.
#[must_use]
pub fn run_name(now: Timestamp, incident: Option<&str>) -> String {
    let stamp = now.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string();
    let mut word = String::new();
    for c in incident.unwrap_or_default().chars().take(60) {
        if c.is_ascii_alphanumeric() || matches!(c, '.' | '_') {
            word.push(c);
        } else if !word.ends_with('-') {
            word.push('-');
        }
    }
    let word = word.trim_matches(['-', '.']);
    if word.is_empty() { format!("plegcollect-{stamp}") } else { format!("plegcollect-{stamp}-{word}") }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn refuses_unsafe_paths() {
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "a/../b",
            "a//b",
            "a/",
            "./a",
            "a/.b",
            "-x",
            "a/-x",
            "~root",
            "a\nb",
            "a b",
            "a\\b",
            "a:b",
            "ä",
            "a\0b",
        ] {
            assert!(bad.parse::<BundlePath>().is_err(), "{bad:?}");
        }
        assert!("a".repeat(201).parse::<BundlePath>().is_err());
        for good in ["host/ps.txt", "a", "node/facts.json", "docker/inspect-a_b+c=d@e,f~1.json"] {
            assert!(good.parse::<BundlePath>().is_ok(), "{good:?}");
        }
    }

    #[test]
    fn names_what_lies_beside_an_output() {
        for (path, stderr, hung) in [
            ("docker/ps.txt", "docker/ps.stderr.txt", "docker/ps.hung.txt"),
            ("ps", "ps.stderr.txt", "ps.hung.txt"),
            ("a.b/ps", "a.b/ps.stderr.txt", "a.b/ps.hung.txt"),
            ("kubelet/heap.pb.gz", "kubelet/heap.pb.stderr.txt", "kubelet/heap.pb.hung.txt"),
        ] {
            let path: BundlePath = path.parse().unwrap();
            assert_eq!(path.stderr().unwrap().as_str(), stderr);
            assert_eq!(path.hung().unwrap().as_str(), hung);
        }
        assert_eq!(BundlePath::record(&"docker/ps".parse().unwrap()).unwrap().as_str(), "records/docker.ps.json");
        assert!("kubelet/heap.pb.gz".parse::<BundlePath>().unwrap().is_binary());
        assert!(!"kubelet/heap.txt".parse::<BundlePath>().unwrap().is_binary());
    }

    #[test]
    fn names_runs() {
        let now: Timestamp = "2026-11-20T23:15:07Z".parse().unwrap();
        for (incident, want) in [
            (None, "plegcollect-20261120T231507Z"),
            (Some("INC-42"), "plegcollect-20261120T231507Z-INC-42"),
            (Some("../../etc/x y"), "plegcollect-20261120T231507Z-etc-x-y"),
            (Some("//"), "plegcollect-20261120T231507Z"),
        ] {
            assert_eq!(run_name(now, incident), want);
        }
    }

    #[test]
    fn a_taken_name_gets_a_number() {
        let out = tempfile::tempdir().unwrap();
        let now: Timestamp = "2026-11-20T23:15:07Z".parse().unwrap();
        let deep = out.path().join("a/b");
        let first = RunDir::create(&deep, now, None).unwrap();
        let second = RunDir::create(&deep, now, None).unwrap();
        assert_eq!(first.run_id, "plegcollect-20261120T231507Z");
        assert_eq!(second.run_id, "plegcollect-20261120T231507Z-2");
        assert_eq!(fs::metadata(&second.path).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
