//! Bundles and directories for tests, made by hand so that they can be wrong in any way.

#![expect(clippy::disallowed_methods, reason = "tests write what they read")]

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::bundle::manifest::FORMAT;
use crate::bundle::{FormatVersion, Header, Manifest};
use crate::evidence::{FileRecord, Outcome, StepRecord};
use crate::plan::Phase;

/// A bundle to be written.
pub(super) struct Bundled {
    pub(super) node: String,
    pub(super) run: String,
    pub(super) format: FormatVersion,
    pub(super) transport: &'static str,
    pub(super) route: Vec<String>,
    /// Path and content.
    pub(super) files: Vec<(String, Vec<u8>)>,
    /// What the manifest is told of the files instead of what is in them.
    pub(super) told: Vec<(String, Vec<u8>)>,
    pub(super) sealed: bool,
}

impl Bundled {
    pub(super) fn new(node: &str, run: &str, files: &[(&str, &str)]) -> Self {
        Self {
            node: node.to_owned(),
            run: run.to_owned(),
            format: FORMAT,
            transport: "ssh",
            route: Vec::new(),
            files: files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect(),
            told: Vec::new(),
            sealed: true,
        }
    }

    pub(super) fn cluster(run: &str, files: &[(&str, &str)]) -> Self {
        Self { transport: "kubernetes-api", ..Self::new("cluster", run, files) }
    }

    fn header(&self) -> Header {
        let started = "2026-11-20T23:15:07Z".parse().unwrap();
        Header { format: self.format, ..Header::new(self.run.clone(), self.node.parse().unwrap(), started) }
    }

    fn record(&self, path: &str, content: &[u8]) -> StepRecord {
        let id = path.split('.').next().unwrap_or_default().replace("/stacks/", "/stacks-");
        StepRecord {
            id: id.parse().unwrap(),
            phase: Phase::Before,
            command: String::new(),
            as_root: None,
            started: Some("2026-11-20T23:15:07Z".parse().unwrap()),
            duration_ms: 1,
            outcome: Outcome::Complete,
            detail: None,
            exit_status: None,
            signal: None,
            wire_bytes: 0,
            files: vec![self.file(path, content)],
        }
    }

    fn file(&self, path: &str, content: &[u8]) -> FileRecord {
        let told = self.told.iter().find(|(told, _)| told == path).map_or(content, |(_, told)| told);
        FileRecord {
            path: path.to_owned(),
            bytes: told.len() as u64,
            omitted_bytes: 0,
            omitted_at_least: false,
            sha256: Sha256::digest(told).iter().map(|b| format!("{b:02x}")).collect(),
            redactions: 0,
        }
    }

    /// Returns the bytes of the bundle.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let header = self.header();
        let steps: Vec<StepRecord> = self.files.iter().map(|(path, content)| self.record(path, content)).collect();
        let mut entries = vec![("plegcollect.json".to_owned(), serde_json::to_vec(&header).unwrap())];
        for ((path, content), step) in self.files.iter().zip(&steps) {
            entries.push((path.clone(), content.clone()));
            entries.push((
                format!("records/{}.json", step.id.as_str().replace('/', ".")),
                serde_json::to_vec(step).unwrap(),
            ));
        }
        if self.sealed {
            let value = serde_json::json!({"finished": "2026-11-20T23:16:07Z", "ending": "complete", "steps": steps,
                "connection": {"transport": self.transport, "route": self.route, "timings": {}, "attempts": 1}});
            let mut manifest = serde_json::to_value(&header).unwrap();
            manifest.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
            let own = self.file("plegcollect.json", &entries[0].1);
            manifest["other-files"] = serde_json::json!([own]);
            let understood = serde_json::from_value::<Manifest>(manifest.clone());
            assert!(self.format != FORMAT || understood.is_ok(), "{understood:?}");
            entries.push(("manifest.json".to_owned(), serde_json::to_vec(&manifest).unwrap()));
        }
        let mut packed = Vec::new();
        for (path, content) in entries {
            let mut tar = tar::Builder::new(Vec::new());
            let mut head = tar::Header::new_ustar();
            head.set_size(content.len() as u64);
            head.set_mode(0o600);
            tar.append_data(&mut head, path, content.as_slice()).unwrap();
            // Without the end mark, which `into_inner` adds.
            let mut whole = tar.into_inner().unwrap();
            whole.truncate(whole.len() - 1024);
            packed.extend(zstd::encode_all(whole.as_slice(), 1).unwrap());
        }
        if self.sealed {
            packed.extend(zstd::encode_all([0_u8; 1024].as_slice(), 1).unwrap());
        }
        packed
    }

    pub(super) fn write(&self, path: &Path) -> PathBuf {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, self.bytes()).unwrap();
        path.to_owned()
    }
}

pub(super) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Writes files below a directory.
pub(super) fn laid_out(dir: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}
