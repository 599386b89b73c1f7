//! The recorded answers, by the name of their file.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use bytes::Bytes;

use crate::failed;
use crate::recording::parse_head;
use crate::reply::Answer;

/// Every answer of the directory.
#[derive(Debug)]
pub(super) struct Recorded(BTreeMap<String, Answer>);

impl Recorded {
    /// Reads all bodies that have a head.
    pub(super) fn read(directory: &Path) -> io::Result<Self> {
        let mut answers = BTreeMap::new();
        for entry in std::fs::read_dir(directory).map_err(|error| failed(directory.display(), error))? {
            let path = entry?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".headers")) else {
                continue;
            };
            let head = std::fs::read_to_string(&path).map_err(|error| failed(path.display(), error))?;
            let body = directory.join(name);
            let body = std::fs::read(&body).map_err(|error| failed(body.display(), error))?;
            let status = head.split(' ').nth(1).and_then(|status| status.trim().parse().ok());
            let headers = parse_head(&head);
            let sized = headers.iter().any(|(name, _)| name == "content-length");
            let status = status.ok_or_else(|| failed(path.display(), "no status"))?;
            answers.insert(name.to_owned(), Answer { status, headers, body: Some(Bytes::from(body)), sized });
        }
        Ok(Self(answers))
    }

    /// Returns the answer of a file.
    pub(super) fn file(&self, name: &str) -> io::Result<Answer> {
        self.0.get(name).cloned().ok_or_else(|| failed("no recording", name))
    }

    /// Returns the answer of a file with another body.
    pub(super) fn with_body(&self, name: &str, body: String) -> io::Result<Answer> {
        Ok(Answer { body: Some(Bytes::from(body)), ..self.file(name)? })
    }
}
