//! What differs between two collections, told: for the terminal, as Markdown, as JSON. Adds no judgement. Called by
//! `plegcollect diff`; prints nothing itself.
//!
//! JSON, schema 1, in pure ASCII: `{"schema": 1, "base": PATH, "other": PATH, "pairs": [{"base": LOOK, "other": LOOK, "same-boot": bool or null,
//! "apart-s": seconds or null, "notes": [...], "differences": [{"what", "kind", "base", "other", "text"}], "more": n}], "only-base":
//! [NODE], "only-other": [NODE], "unreadable": [{"path", "reason"}]}`, LOOK is `{"node", "source", "sealed", "run", "collected",
//! "verdict": {"layer", "sentence"}}`. Fields may be added; a change that breaks readers raises `schema`.

mod alike;
mod markdown;
mod terminal;

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

pub use self::markdown::markdown;
pub use self::terminal::text;
use super::analysis::Unreadable;
use crate::analyze::compare::{Difference, DifferenceKind, apart, compare, same_boot};
use crate::analyze::node::NodeAnalysis;
use crate::analyze::verdict::Verdict;
use crate::inventory::{NodeName, fold};
use crate::printable::ascii_json;
use crate::wording;

/// Differences kept of one pair.
const KEPT: usize = 200;
/// Differences common to several nodes that are told to people.
const COMMON: usize = 30;
/// Said where there is no difference.
const NOTHING: &str = "nothing differs that matters";

/// Everything that is told.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Comparison {
    /// Version of the JSON form.
    pub schema: u32,
    /// Path of what others are held against, printable.
    pub base: String,
    /// Path of the other, printable.
    pub other: String,
    /// Nodes that are in both.
    pub pairs: Vec<Pair>,
    /// Nodes that are only in the base.
    pub only_base: Vec<NodeName>,
    /// Nodes that are only in the other.
    pub only_other: Vec<NodeName>,
    /// What could not be read.
    pub unreadable: Vec<Unreadable>,
}

/// Two looks and what differs between them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pair {
    /// The healthy node or the earlier time.
    pub base: Look,
    /// The other.
    pub other: Look,
    /// Whether both are of one node within one boot; `None` where that is not known.
    pub same_boot: Option<bool>,
    /// How much later the other look was, whole seconds; negative if it was the earlier one.
    pub apart_s: Option<i64>,
    /// What bears on the comparison, one sentence each.
    pub notes: Vec<String>,
    /// The most telling first, 200 at most.
    pub differences: Vec<Difference>,
    /// Differences beyond those.
    pub more: usize,
}

/// One look at a node.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Look {
    /// Which node.
    pub node: NodeName,
    /// Path of the evidence, printable.
    pub source: String,
    /// Whether it is a sealed bundle.
    pub sealed: bool,
    /// Id of the run.
    pub run: Option<String>,
    /// When, by the node's clock.
    pub collected: Option<Timestamp>,
    /// The verdict on it.
    pub verdict: Verdict,
}

impl Look {
    fn of(node: &NodeAnalysis) -> Self {
        Self {
            node: node.node.clone(),
            source: node.source.clone(),
            sealed: node.sealed,
            run: node.about.run.clone(),
            collected: node.about.collected,
            verdict: node.verdict.clone(),
        }
    }
}

impl Pair {
    /// Compares two looks.
    #[must_use]
    pub fn of(base: &NodeAnalysis, other: &NodeAnalysis) -> Self {
        let (boot, apart) = (same_boot(base, other), apart(base, other));
        let mut differences = compare(base, other);
        let more = differences.len().saturating_sub(KEPT);
        differences.truncate(KEPT);
        let mut notes = Vec::new();
        let one_node = base.node == other.node;
        let same_run = base.about.run.is_some() && base.about.run == other.about.run;
        if one_node && same_run {
            notes.push("both are of the same run".to_owned());
        } else if one_node && boot.is_none() {
            notes.push(
                "whether the machine was booted in between is not known, so there are no rates from one to the other"
                    .to_owned(),
            );
        }
        if one_node && boot == Some(true) && apart.is_some_and(|apart| apart.is_negative()) {
            notes.push(
                "the second is the earlier one; the other way round there are rates from one to the other".to_owned(),
            );
        }
        let unsealed: Vec<&str> =
            [base, other].iter().filter(|n| !n.sealed && n.about.run.is_none()).map(|n| n.source.as_str()).collect();
        if !unsealed.is_empty() {
            notes.push(format!("not sealed, so when and by which run is not known: {}", unsealed.join(", ")));
        }
        Self {
            base: Look::of(base),
            other: Look::of(other),
            same_boot: boot,
            apart_s: apart.map(|apart| apart.as_secs()),
            notes,
            differences,
            more,
        }
    }

    fn is_quiet(&self) -> bool {
        self.differences.is_empty()
    }

    /// `worker-001, 30m00s later, the same boot`, `worker-004 against worker-001`.
    fn heading(&self) -> String {
        if self.base.node != self.other.node {
            return format!("{} against {}", self.other.node, self.base.node);
        }
        let when = self.apart_s.map(|apart| {
            let span = wording::whole_seconds(Duration::from_secs(apart.unsigned_abs()));
            format!(", {span} {}", if apart < 0 { "earlier" } else { "later" })
        });
        let boot = match self.same_boot {
            Some(true) => ", the same boot",
            Some(false) => ", another boot",
            None => "",
        };
        format!("{}{}{boot}", self.other.node, when.unwrap_or_default())
    }

    /// What became of the verdict, unless it is the same or only repeats a finding that is told.
    fn verdict(&self) -> Option<String> {
        let (was, is) = (&self.base.verdict.sentence, &self.other.verdict.sentence);
        let there = if self.base.node == self.other.node { "before" } else { "there" };
        let repeats = |difference: &Difference| {
            difference.kind == DifferenceKind::Finding && difference.other.as_ref() == Some(is)
        };
        let tells = was != is && !self.differences.iter().any(repeats);
        tells.then(|| format!("{}; {there}: {was}", is.trim_end_matches('.')))
    }
}

impl Comparison {
    /// Returns a comparison of these paths without anything in it yet.
    #[must_use]
    pub const fn new(base: String, other: String) -> Self {
        Self {
            schema: 1,
            base,
            other,
            pairs: Vec::new(),
            only_base: Vec::new(),
            only_other: Vec::new(),
            unreadable: Vec::new(),
        }
    }

    /// Returns the JSON form: indented, in pure ASCII, ending in a line break.
    ///
    /// # Errors
    /// When a value has no JSON form, which is a defect.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        let mut text = ascii_json(&serde_json::to_string_pretty(self)?);
        text.push('\n');
        Ok(text)
    }

    /// Returns what nodes are only in one of the two, in words.
    fn alone(&self) -> Vec<String> {
        [(&self.only_base, &self.base), (&self.only_other, &self.other)]
            .into_iter()
            .filter(|(nodes, _)| !nodes.is_empty())
            .map(|(nodes, path)| format!("only in {path}: {}", fold(nodes)))
            .collect()
    }
}

const fn word(kind: DifferenceKind) -> &'static str {
    match kind {
        DifferenceKind::Finding => "finding",
        DifferenceKind::Version => "version",
        DifferenceKind::Figure => "figure",
        DifferenceKind::Rate => "rate",
        DifferenceKind::Goroutines => "goroutines",
    }
}
