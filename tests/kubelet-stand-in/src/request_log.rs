//! What was asked, a JSON object a line, for tests to read; never a credential.
//!
//! A line is written when the head of the answer is ready, or when the client leaves before that (`"status":null`).

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::failed;

/// The log file.
#[derive(Debug, Clone)]
pub struct RequestLog(Option<Arc<Mutex<File>>>);

impl RequestLog {
    /// Opens the file for appending.
    pub fn open(path: Option<&Path>) -> io::Result<Self> {
        let Some(path) = path else { return Ok(Self(None)) };
        let file =
            OpenOptions::new().create(true).append(true).open(path).map_err(|error| failed(path.display(), error))?;
        Ok(Self(Some(Arc::new(Mutex::new(file)))))
    }

    /// Begins the line of a request.
    pub fn begin(&self, protocol: &str, method: &str, target: &str) -> Line {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let started = Instant::now();
        let (protocol, method, target) = (protocol.to_owned(), method.to_owned(), target.to_owned());
        Line {
            log: self.clone(),
            at,
            started,
            protocol,
            method,
            target,
            user: None,
            file: None,
            status: None,
            verbosity: 0,
        }
    }
}

/// The line of one request; written when it goes.
pub struct Line {
    log: RequestLog,
    at: f64,
    started: Instant,
    protocol: String,
    method: String,
    target: String,
    /// Who asked, once known.
    pub user: Option<String>,
    /// The recording that is answered.
    pub file: Option<String>,
    /// Status of the answer.
    pub status: Option<u16>,
    /// The kubelet's verbosity after the request.
    pub verbosity: i32,
}

impl Drop for Line {
    fn drop(&mut self) {
        let Some(file) = &self.log.0 else { return };
        let text = |text: Option<&str>| text.map_or_else(|| "null".to_owned(), quoted);
        let line = format!(
            "{{\"at\":{:.3},\"seconds\":{:.3},\"protocol\":{},\"method\":{},\"path\":{},\"user\":{},\"status\":{},\"file\":{},\"v\":{}}}\n",
            self.at,
            self.started.elapsed().as_secs_f64(),
            quoted(&self.protocol),
            quoted(&self.method),
            quoted(&self.target),
            text(self.user.as_deref()),
            self.status.map_or_else(|| "null".to_owned(), |status| status.to_string()),
            text(self.file.as_deref()),
            self.verbosity,
        );
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = file.write_all(line.as_bytes()); // a full disk of a node under test is no reason to stop serving
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
