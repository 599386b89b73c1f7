//! Findings that are new, gone, graver or less grave. A finding that cannot be made for want of evidence is neither new nor gone.

use std::collections::BTreeMap;

use super::{DifferenceKind, Told};
use crate::analyze::finding::{Finding, Severity};
use crate::analyze::node::NodeAnalysis;

/// Findings above info by id; of several with one id the gravest, and of those the first.
fn grave(node: &NodeAnalysis) -> BTreeMap<&str, &Finding> {
    let mut found: BTreeMap<&str, &Finding> = BTreeMap::new();
    for finding in node.findings.iter().filter(|finding| finding.severity > Severity::Info && !finding.is_gap()) {
        let known = found.entry(&finding.id).or_insert(finding);
        if finding.severity > known.severity {
            *known = finding;
        }
    }
    found
}

/// Returns the file which a finding rests on and that is missing in another look, or not whole.
fn gap<'a>(node: &NodeAnalysis, finding: &'a Finding) -> Option<&'a str> {
    let told = |file: &str| node.findings.iter().any(|gap| gap.is_gap() && gap.sentence.contains(file));
    finding.evidence.iter().map(|citation| citation.file.as_str()).find(|file| told(file))
}

const fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "critical",
        Severity::Warning => "warning",
        Severity::Info => "info",
    }
}

const fn weight(severity: Severity) -> u32 {
    match severity {
        Severity::Critical => 100,
        Severity::Warning => 50,
        Severity::Info => 0,
    }
}

pub(super) fn differences(base: &NodeAnalysis, other: &NodeAnalysis) -> Vec<Told> {
    let (was, is) = (grave(base), grave(other));
    let mut found = Vec::new();
    let mut tell = |weight, id: &str, was: Option<&Finding>, is: Option<&Finding>, text: &str| {
        let sentence = |finding: &Finding| finding.sentence.clone();
        found.push(Told::new(weight, DifferenceKind::Finding, id, was.map(sentence), is.map(sentence), text));
    };
    for (id, finding) in &is {
        let (severity, sentence) = (finding.severity, &finding.sentence);
        match was.get(id) {
            None => {
                let new = match gap(base, finding) {
                    Some(file) => format!("not known before ({file} is missing or not whole there)"),
                    None => "new".to_owned(),
                };
                let text = format!("{new}, {}: {sentence}", word(severity));
                tell(900 + weight(severity), id, None, Some(finding), &text);
            }
            Some(earlier) if earlier.severity < severity => {
                let text = format!("graver, {} instead of {}: {sentence}", word(severity), word(earlier.severity));
                tell(880 + weight(severity), id, Some(earlier), Some(finding), &text);
            }
            Some(earlier) if earlier.severity > severity => {
                let text = format!("less grave, {} instead of {}: {sentence}", word(severity), word(earlier.severity));
                tell(780 + weight(severity), id, Some(earlier), Some(finding), &text);
            }
            // The same finding of another thing: another lock, another device.
            Some(earlier) if earlier.signature != finding.signature => {
                let text = format!("otherwise, {}: {sentence} Instead of: {}", word(severity), earlier.sentence);
                tell(700 + weight(severity), id, Some(earlier), Some(finding), &text);
            }
            Some(_) => {}
        }
    }
    for (id, finding) in was.iter().filter(|(id, _)| !is.contains_key(*id)) {
        let (severity, sentence) = (finding.severity, &finding.sentence);
        let text = match gap(other, finding) {
            Some(file) => {
                format!("not known any more ({file} is missing or not whole), was {}: {sentence}", word(severity))
            }
            None => format!("gone, was {}: {sentence}", word(severity)),
        };
        tell(800 + weight(severity), id, Some(finding), None, &text);
    }
    found
}
