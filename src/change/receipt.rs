//! Receipts: what was changed on a node, what was there before, and how it ended. Plain data, kept
//! in the manifest. No I/O.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::ChangeSummary;
use crate::evidence::ChangeState;
use crate::plan::ChangeId;

/// One change of one node, from its checks to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ChangeRecord {
    /// Which.
    pub change: ChangeId,
    /// What it is about, for example `dockerd` or `containerd`.
    #[serde(default)]
    pub subject: String,
    /// What became of it.
    pub state: ChangeState,
    /// What it does, for people, one or two sentences.
    #[serde(default)]
    pub describe: String,
    /// Why it was not made, how it ended, or what is still different: one sentence.
    #[serde(default)]
    pub text: String,
    /// The checks before it, in order.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// What the operator should know besides, one sentence each.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// When it took effect, operator's clock.
    #[serde(default)]
    pub applied: Option<Timestamp>,
    /// When it was seen to be undone, operator's clock.
    #[serde(default)]
    pub reverted: Option<Timestamp>,
    /// The state before, by name (sha256, inode, mtime, owner, mode, pid, …).
    #[serde(default)]
    pub before: BTreeMap<String, String>,
    /// The same after it was undone.
    #[serde(default)]
    pub after: BTreeMap<String, String>,
    /// What is still different and should not be, one clause each.
    #[serde(default)]
    pub differences: Vec<String>,
    /// What cannot be put back and was accepted, one clause each.
    #[serde(default)]
    pub remains: Vec<String>,
    /// The exact command that mends the node, where it may still be changed.
    #[serde(default)]
    pub mend: Option<String>,
    /// What the guard on the node wrote, as it came; for stacks what was expected and measured.
    #[serde(default)]
    pub log: Vec<String>,
}

impl ChangeRecord {
    /// Returns a record of a change that was not made.
    #[must_use]
    pub fn not_made(change: ChangeId, subject: &str, state: ChangeState, text: impl Into<String>) -> Self {
        Self {
            change,
            subject: subject.to_owned(),
            state,
            describe: String::new(),
            text: text.into(),
            checks: Vec::new(),
            warnings: Vec::new(),
            applied: None,
            reverted: None,
            before: BTreeMap::new(),
            after: BTreeMap::new(),
            differences: Vec::new(),
            remains: Vec::new(),
            mend: None,
            log: Vec::new(),
        }
    }

    /// Returns the record with every text a node had a part in replaced by `map` of it, for redaction.
    #[must_use]
    pub fn map_text(self, map: impl Fn(&str) -> String) -> Self {
        let list = |texts: Vec<String>| texts.iter().map(|text| map(text)).collect();
        let values = |values: BTreeMap<String, String>| {
            values.into_iter().map(|(name, value)| (map(&name), map(&value))).collect()
        };
        Self {
            change: self.change,
            subject: map(&self.subject),
            state: self.state,
            describe: map(&self.describe),
            text: map(&self.text),
            checks: self.checks.into_iter().map(|check| Check { text: map(&check.text), ..check }).collect(),
            warnings: list(self.warnings),
            applied: self.applied,
            reverted: self.reverted,
            before: values(self.before),
            after: values(self.after),
            differences: list(self.differences),
            remains: list(self.remains),
            mend: self.mend.as_deref().map(&map),
            log: list(self.log),
        }
    }

    /// Returns what the summary says of it.
    #[must_use]
    pub fn summary(&self) -> ChangeSummary {
        ChangeSummary { change: self.change, state: self.state, text: self.text.clone(), mend: self.mend.clone() }
    }
}

/// One check before a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Check {
    /// Its id, for example `P4`.
    pub id: String,
    /// How it came out.
    pub verdict: Verdict,
    /// What was seen; for a refusal or a warning one sentence an operator can act on.
    pub text: String,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// In order.
    Pass,
    /// In order, with something to know.
    Warn,
    /// The change is not needed: the node is already so.
    Skip,
    /// The change must not be made.
    Refuse,
}
