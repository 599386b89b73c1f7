//! What is missing of the evidence, each cause told once: steps that fail alike share a line, nodes that fail alike a
//! paragraph, and a cause that was told for one node is not spelled out for another. Called by both reports.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::event::NodeSummary;
use crate::inventory::NodeName;
use crate::wording::{count, safe};

use super::words::{unclean, why};

/// Before the cause of the first refusal, in the records of steps that were not run because of it.
const ECHOES: [&str; 2] = ["not asked again: ", "not tried: "];
/// A shorter cause is repeated: it reads better than a reference.
const LONG: usize = 60;
/// Steps that are named beside the first of a cause; the manifest has all of them.
const NAMED: usize = 20;

/// Steps of one node that are missing for the same cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cause {
    /// `kubelet/healthz: failed: `; empty for a remark about the node.
    pub(super) head: String,
    /// The cause; of a step without one, its outcome.
    pub(super) text: String,
    /// The other steps.
    more: Vec<String>,
}

impl Cause {
    /// Returns the line about the other steps, if there are any.
    pub(super) fn others(&self) -> Option<String> {
        if self.more.is_empty() {
            return None;
        }
        let mut named: Vec<&str> = Vec::new();
        let mut area = self.head.split('/').next().unwrap_or_default();
        for step in self.more.iter().take(NAMED) {
            // `kubelet/configz, pods`: the area is said where it changes.
            match step.split_once('/') {
                Some((same, name)) if same == area && !named.is_empty() => named.push(name),
                Some((other, _)) => {
                    area = other;
                    named.push(step);
                }
                None => named.push(step),
            }
        }
        let rest = self.more.len().saturating_sub(NAMED);
        let rest = if rest == 0 { String::new() } else { format!(" and {rest} more") };
        Some(format!("the same for {}: {}{rest}", count(self.more.len(), "other step"), named.join(", ")))
    }
}

/// Nodes with the same causes.
pub(super) struct Alike<'a> {
    pub(super) nodes: Vec<&'a NodeSummary>,
    /// Of the first node, and where a cause was told before, that.
    pub(super) causes: Vec<Cause>,
    /// Their texts differ in times alone.
    pub(super) times_differ: bool,
}

impl<'a> Alike<'a> {
    /// Returns the node whose words are shown.
    pub(super) fn first(&self) -> Option<&'a NodeSummary> {
        self.nodes.first().copied()
    }

    /// Returns the names.
    pub(super) fn names(&self) -> Vec<NodeName> {
        super::groups::names(&self.nodes)
    }
}

/// Groups nodes with evidence missing, in their order.
pub(super) fn alike<'a>(nodes: &[&'a NodeSummary]) -> Vec<Alike<'a>> {
    let mut groups: Vec<Alike<'a>> = Vec::new();
    let mut places: HashMap<Vec<String>, usize> = HashMap::new();
    for node in nodes {
        let at = *places.entry(key(node)).or_insert(groups.len());
        match groups.get_mut(at) {
            Some(group) => {
                group.times_differ |= group.first().is_some_and(|first| first.missing != node.missing);
                group.nodes.push(node);
            }
            None => groups.push(Alike { nodes: vec![node], causes: causes(&node.missing), times_differ: false }),
        }
    }
    let mut told: HashMap<String, NodeName> = HashMap::new();
    for group in &mut groups {
        let Some(first) = group.first() else { continue };
        for cause in group.causes.iter_mut().filter(|cause| cause.text.len() > LONG) {
            match told.entry(timeless(&cause.text)) {
                Entry::Occupied(node) => cause.text = format!("as on {}", node.get()),
                Entry::Vacant(place) => {
                    place.insert(first.node.clone());
                }
            }
        }
    }
    groups
}

/// Folds the steps of one node by their causes, in the order of each first step.
pub(super) fn causes(missing: &[String]) -> Vec<Cause> {
    let mut causes: Vec<Cause> = Vec::new();
    for line in missing {
        let line = safe(line);
        let Some((step, outcome, text)) = parts(&line) else {
            causes.push(Cause { head: String::new(), text: line, more: Vec::new() });
            continue;
        };
        let same = |cause: &&mut Cause| cause.text == text && cause.head.ends_with(&format!(": {outcome}: "));
        match causes.iter_mut().find(same) {
            Some(cause) => cause.more.push(step.to_owned()),
            None => {
                causes.push(Cause { head: format!("{step}: {outcome}: "), text: text.to_owned(), more: Vec::new() })
            }
        }
    }
    causes
}

/// Returns what nodes must have in common to share a paragraph or a row.
pub(super) fn key(node: &NodeSummary) -> Vec<String> {
    let general = |text: &str| timeless(&text.replace(node.node.as_str(), "NODE"));
    let mut key = vec![why(node), unclean(&node.steps), node.hint.clone().unwrap_or_default()];
    key.push(format!("{:?} {}", node.result, node.sha256.is_some()));
    key.extend(node.missing.iter().cloned());
    key.iter().map(|text| general(text)).collect()
}

/// Takes `kubelet/pods: failed: not asked again: WHY` apart, without the echo.
fn parts(line: &str) -> Option<(&str, &str, &str)> {
    let (step, rest) = line.split_once(": ")?;
    let (outcome, text) = rest.split_once(": ")?;
    if !step.contains('/') || step.contains(' ') || outcome.contains(' ') {
        return None;
    }
    let text = ECHOES.iter().find_map(|echo| text.strip_prefix(echo)).unwrap_or(text);
    Some((step, outcome, text))
}

/// Puts a sign in place of every time (`0.4s`, `1m07s`, `30 s`): it says nothing of the cause.
fn timeless(text: &str) -> String {
    let bare = |word: &str| word.trim_end_matches([':', ',', ';', '.', ')']).to_owned();
    let number = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_digit() || c == '.');
    let mut words: Vec<&str> = Vec::new();
    for word in text.split(' ') {
        let digits = bare(word);
        let short = digits.strip_suffix("ms").or_else(|| digits.strip_suffix('s')).unwrap_or_default();
        if number(&short.replace(['h', 'm'], "")) && short.starts_with(|c: char| c.is_ascii_digit()) {
            words.push("#");
        } else if matches!(&*digits, "s" | "ms") && words.last().is_some_and(|before| number(before)) {
            words.pop();
            words.push("#");
        } else {
            words.push(word);
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_one_cause_share_a_line_and_echoes_do_not_hide_it() {
        let missing = [
            "3 steps ran without root's rights and may show little or nothing",
            "docker/info: timed-out: no end within 5s",
            "kubelet/healthz: failed: 401 from the kubelet: either: or",
            "kubelet/configz: failed: not asked again: 401 from the kubelet: either: or",
            "net/ss: failed",
            "kubelet/pods: timed-out: not asked again: 401 from the kubelet: either: or",
            "kubelet/heap: failed: not asked again: 401 from the kubelet: either: or",
            "cluster/events: failed: not tried: 401 from the kubelet: either: or",
        ];
        let causes = causes(&missing.map(str::to_owned));
        let lines: Vec<String> = causes
            .iter()
            .map(|c| format!("{}{} | {}", c.head, c.text, c.others().unwrap_or_default()).trim_end().to_owned())
            .collect();
        assert_eq!(
            lines,
            [
                "3 steps ran without root's rights and may show little or nothing |",
                "docker/info: timed-out: no end within 5s |",
                "kubelet/healthz: failed: 401 from the kubelet: either: or | the same for 3 other steps: \
                 kubelet/configz, heap, cluster/events",
                "net/ss: failed |",
                "kubelet/pods: timed-out: 401 from the kubelet: either: or |",
            ]
        );
    }

    #[test]
    fn times_are_no_difference_and_everything_else_is() {
        for (one, other, same) in [
            ("401 after 0.0s: it", "401 after 29s: it", true),
            ("no end within 5 s;", "no end within 10 s;", true),
            ("took 1m07s", "took 9.9s.", true),
            ("port 10250", "port 10251", false),
            ("exit status 1 s-bus", "exit status 2 t-bus", false),
            ("10.0.0.1:22 refuses", "10.0.0.2:22 refuses", false),
            ("403: user a", "404: user a", false),
        ] {
            assert_eq!(timeless(one) == timeless(other), same, "{one} / {other}");
        }
    }
}
