//! Events as NDJSON: one object per line, for `--events json` and for `run.log`. The schema is in
//! the docs of [`EventKind`].

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::event::{Event, EventKind};
use crate::printable::ascii_json;

/// Returns the event as one line of pure ASCII, line break included.
pub(crate) fn line(event: &Event) -> Vec<u8> {
    let mut out = match encode(event) {
        Ok(out) => out,
        // Only a path that is not UTF-8 can fail.
        Err(_) => encode(&with_utf8_paths(event)).unwrap_or_default(),
    };
    out.push(b'\n');
    out
}

/// Returns the line that stands for `count` events that could not be kept for a slow reader.
pub(crate) fn lost(count: u64) -> Vec<u8> {
    format!("{{\"at\":\"{}\",\"event\":\"events-lost\",\"count\":{count}}}\n", jiff::Timestamp::now()).into_bytes()
}

/// Opens `run.log` for appending, readable by its owner only.
pub(crate) fn open_log(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

fn encode(event: &Event) -> serde_json::Result<Vec<u8>> {
    Ok(ascii_json(&serde_json::to_string(event)?).into_bytes())
}

fn with_utf8_paths(event: &Event) -> Event {
    let utf8 = |p: &mut PathBuf| *p = PathBuf::from(p.to_string_lossy().into_owned());
    let mut event = event.clone();
    match &mut event.kind {
        EventKind::RunStarted { out, .. } => utf8(out),
        EventKind::NodeFinished(summary) => {
            if let Some(bundle) = &mut summary.bundle {
                utf8(bundle);
            }
        }
        _ => {}
    }
    event
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::super::test_events::{HOSTILE, at, node, opening, record, summary};
    use super::*;
    use crate::event::NodeResult;
    use crate::evidence::Outcome;

    fn value(kind: EventKind) -> Value {
        let line = line(&at(0, kind));
        assert!(line.is_ascii() && line.iter().filter(|b| b.is_ascii_control()).count() == 1 && line.ends_with(b"\n"));
        serde_json::from_slice(&line).unwrap()
    }

    #[test]
    fn every_event_is_one_object_with_its_name_and_time() {
        let events = opening(2, 1);
        let names: Vec<String> =
            events.iter().map(|e| value(e.kind.clone())["event"].as_str().unwrap().to_owned()).collect();
        let want = [
            "run-started",
            "node-started",
            "node-connected",
            "node-planned",
            "step-started",
            "step-started",
            "step-started",
            "progress",
        ];
        assert_eq!(names, want);
        assert_eq!(
            value(EventKind::NodeConnected { node: node(1), took: Duration::from_micros(340_400) }),
            json!({"at": "2026-11-20T23:17:00Z", "event": "node-connected", "node": "worker-001", "took": 0.34})
        );
        let step = value(EventKind::StepFinished { node: node(1), record: record("host/ps", Outcome::TimedOut, None) });
        assert_eq!((&step["event"], &step["record"]["outcome"]), (&json!("step-finished"), &json!("timed-out")));
        let end = value(EventKind::NodeFinished(summary(1, NodeResult::Partial)));
        assert_eq!((&end["result"], &end["steps"]["timed-out"]), (&json!("partial"), &json!(1)));
    }

    #[test]
    fn hostile_text_is_kept_whole_and_harmless() {
        let end = value(EventKind::Warning { node: None, text: HOSTILE.to_owned() + "\u{1f980}\u{7f}" });
        assert_eq!(end["text"], HOSTILE.to_owned() + "\u{1f980}\u{7f}");
    }

    #[test]
    fn a_path_that_is_not_utf8_loses_no_event() {
        let mut node = summary(1, NodeResult::Complete);
        node.bundle = Some(PathBuf::from(OsString::from_vec(b"out/\xff.tar.zst".to_vec())));
        assert_eq!(value(EventKind::NodeFinished(node))["bundle"], "out/\u{fffd}.tar.zst");
    }

    #[test]
    fn the_notice_of_a_loss_is_an_event_too() {
        let value: Value = serde_json::from_slice(&lost(7)).unwrap();
        assert_eq!((&value["event"], &value["count"]), (&json!("events-lost"), &json!(7)));
    }

    #[test]
    fn the_log_is_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.log");
        let mode = open_log(&path).unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
