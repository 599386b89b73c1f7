//! Where there is no verdict: a bundle into which nothing of its node had come. Called by `node.rs`; `report/` keeps such
//! nodes apart, for nobody is to be held against them.

use std::io::Read;

use serde::Deserialize;

use super::verdict::Verdict;
use super::view::NodeView;
use crate::bundle::layout;
use crate::wording;

/// Begins the sentence where there is no verdict; why follows.
const NONE: &str = "no verdict: ";
/// Read of a small file of ours.
const JSON_BYTES: u64 = 1 << 20;

impl Verdict {
    /// Returns the verdict that there is none. `why`: a few words, the same for nodes in the same situation.
    #[must_use]
    pub fn none(why: &str) -> Self {
        Self { layer: None, sentence: format!("{NONE}{}", wording::safe(why)) }
    }

    /// Returns why there is no verdict; `None` if there is one.
    #[must_use]
    pub fn why_there_is_none(&self) -> Option<&str> {
        self.sentence.strip_prefix(NONE)
    }
}

/// Returns the verdict that there is none, for a bundle into which nothing of the node had come.
pub(super) fn not_reached(view: &NodeView) -> Option<Verdict> {
    /// The part of `node/connection.json` that tells how connecting ended.
    #[derive(Deserialize)]
    struct Connection {
        outcome: String,
    }
    let is_bundle = view.open(layout::HEADER).is_some();
    if !is_bundle || !view.steps.is_empty() || view.open(layout::FACTS).is_some() {
        return None;
    }
    let connection = view.open(layout::CONNECTION).map(|file| file.take(JSON_BYTES));
    let connection = connection.and_then(|file| serde_json::from_reader::<_, Connection>(file).ok());
    Some(match connection {
        Some(ended) if ended.outcome != "connected" => Verdict::none(&format!("not reached ({})", ended.outcome)),
        Some(_) => Verdict::none("connected, and commands did not start"),
        None => Verdict::none("nothing of it had arrived when collecting ended"),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_bundle_without_anything_of_its_node_has_no_verdict_and_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let why = || {
            let view = NodeView::of_dir("n1".parse().unwrap(), None, Vec::new(), dir.path().to_owned());
            not_reached(&view).map(|verdict| verdict.why_there_is_none().unwrap().to_owned())
        };
        let write = |name: &str, text: &str| {
            fs::create_dir_all(dir.path().join("node")).unwrap();
            crate::bundle::atomic::write(&dir.path().join(name), text.as_bytes()).unwrap();
        };
        assert_eq!(why(), None, "a directory made by hand");
        write(layout::HEADER, "{}");
        assert_eq!(why().unwrap(), "nothing of it had arrived when collecting ended");
        for (outcome, want) in [
            ("no-banner", "not reached (no-banner)"),
            ("connected", "connected, and commands did not start"),
            ("a\u{1b}[2Jb", "not reached (ab)"),
        ] {
            write(layout::CONNECTION, &serde_json::json!({"outcome": outcome, "retries": []}).to_string());
            assert_eq!(why().unwrap(), want);
        }
        write(layout::FACTS, "{}");
        assert_eq!(why(), None, "it was reached");
    }
}
