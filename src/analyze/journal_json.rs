//! journald's JSON form (`journalctl -o json`) turned into the lines that `-o short-iso-precise` writes, so that one parser
//! reads both; one line for one, so that numbers stay. Anything else passes as it is. Called where files are opened.

use std::io::{self, BufRead, BufReader, Read};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// Bytes of one entry; journald cuts messages at 48 KiB where nobody set it otherwise, and longer entries are left out.
const MAX_ENTRY: u64 = 1 << 20;
/// In the first of all entries.
const MARK: &[u8] = b"\"__REALTIME_TIMESTAMP\"";

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    micros: Value,
    #[serde(rename = "_HOSTNAME", default)]
    host: Value,
    #[serde(rename = "SYSLOG_IDENTIFIER", default)]
    identifier: Value,
    #[serde(rename = "_COMM", default)]
    comm: Value,
    #[serde(rename = "_PID", default)]
    pid: Value,
    #[serde(rename = "MESSAGE", default)]
    message: Value,
}

/// A stream in which journald's JSON has become plain lines.
pub(super) struct Plain<R> {
    input: BufReader<R>,
    /// Whether it is JSON; `None` before the first read.
    json: Option<bool>,
    line: Vec<u8>,
    at: usize,
}

impl<R: Read> Plain<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input: BufReader::with_capacity(64 << 10, input), json: None, line: Vec::new(), at: 0 }
    }

    /// Makes the next line; false at the end.
    fn next(&mut self) -> io::Result<bool> {
        let mut raw = Vec::new();
        (&mut self.input).take(MAX_ENTRY).read_until(b'\n', &mut raw)?;
        if raw.is_empty() {
            return Ok(false);
        }
        if raw.len() as u64 == MAX_ENTRY && !raw.ends_with(b"\n") {
            super::line::skip_line(&mut self.input)?;
        }
        self.line = serde_json::from_slice(&raw).map_or_else(|_| b"\n".to_vec(), |entry| line(&entry).into_bytes());
        self.at = 0;
        Ok(true)
    }
}

impl<R: Read> Read for Plain<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let json = match self.json {
            Some(json) => json,
            None => {
                let begin = self.input.fill_buf()?;
                let first = begin.split(|b| *b == b'\n').next().unwrap_or_default();
                let json = first.starts_with(b"{") && memchr::memmem::find(first, MARK).is_some();
                *self.json.insert(json)
            }
        };
        if !json {
            return self.input.read(buffer);
        }
        if self.at == self.line.len() && !self.next()? {
            return Ok(0);
        }
        let mut rest = self.line.get(self.at..).unwrap_or_default();
        let n = rest.read(buffer)?;
        self.at += n;
        Ok(n)
    }
}

fn line(entry: &Entry) -> String {
    let micros = entry.micros.as_str().and_then(|text| text.parse::<i64>().ok()).or(entry.micros.as_i64());
    let time = micros.and_then(|micros| Timestamp::from_microsecond(micros).ok());
    let stamp = time.map(|time| time.strftime("%Y-%m-%dT%H:%M:%S%.6f+0000").to_string()).unwrap_or_default();
    let word = |value: &Value| text(value).split_whitespace().next().map(str::to_owned);
    let host = word(&entry.host).unwrap_or_else(|| "localhost".to_owned());
    let program = word(&entry.identifier).or_else(|| word(&entry.comm)).unwrap_or_else(|| "unknown".to_owned());
    let pid = word(&entry.pid).map(|pid| format!("[{pid}]")).unwrap_or_default();
    let message = text(&entry.message).replace(['\n', '\r'], " ");
    format!("{stamp} {host} {program}{pid}: {message}\n")
}

/// Returns a field's text: a string, the last of several, or bytes where it is no UTF-8.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Array(all) => {
            let bytes: Option<Vec<u8>> = all.iter().map(|b| b.as_u64().and_then(|b| u8::try_from(b).ok())).collect();
            match bytes {
                Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                None => all.last().map(text).unwrap_or_default(),
            }
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(input: &str) -> String {
        let mut out = String::new();
        Plain::new(input.as_bytes()).read_to_string(&mut out).unwrap();
        out
    }

    #[test]
    fn entries_become_the_lines_journalctl_writes() {
        let json = concat!(
            r#"{"__CURSOR":"s","__REALTIME_TIMESTAMP":"1763674148876543","_HOSTNAME":"worker-001","SYSLOG_IDENTIFIER":"kubelet","_PID":"86","MESSAGE":"E1120 a\nb"}"#,
            "\nno entry\n",
            r#"{"__REALTIME_TIMESTAMP":"1763674149000000","_COMM":"dockerd","MESSAGE":[104,105,255]}"#,
            "\n",
            r#"{"__REALTIME_TIMESTAMP":"x","MESSAGE":null}"#,
        );
        let want = "2025-11-20T21:29:08.876543+0000 worker-001 kubelet[86]: E1120 a b\n\n\
                    2025-11-20T21:29:09.000000+0000 localhost dockerd: hi\u{fffd}\n localhost unknown: \n";
        assert_eq!(plain(json), want);
    }

    #[test]
    fn anything_else_passes_as_it_is() {
        for text in
            ["", "{", "{\"ServerVersion\":1}\n", "I1120 21:29:09.8 1 a.go:1] x\n{\"__REALTIME_TIMESTAMP\":\"1\"}\n"]
        {
            assert_eq!(plain(text), text);
        }
    }

    #[test]
    fn an_endless_entry_is_left_out_and_the_next_one_read() {
        let long = format!(r#"{{"__REALTIME_TIMESTAMP":"1763674148876543","MESSAGE":"{}"}}"#, "x".repeat(2 << 20));
        let next = r#"{"__REALTIME_TIMESTAMP":"1763674148876543","MESSAGE":"next"}"#;
        let got = plain(&format!("{long}\n{next}\n"));
        assert!(got.starts_with('\n') && got.ends_with(" localhost unknown: next\n"), "{}", got.len());
    }
}
