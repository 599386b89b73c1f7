//! The host rules: each cause gives exactly the findings named, a healthy node none above info.

#![expect(clippy::disallowed_methods, reason = "tests write fixtures")]

mod crying_wolf;
mod machine;
mod runtime;

use std::fs;
use std::path::Path;

use crate::analyze::finding::{Finding, Severity};
use crate::analyze::rules::{CLUSTER_RULES, RULES};
use crate::analyze::view::NodeView;
use crate::bundle::Manifest;
use crate::evidence::{Outcome, StepRecord};
use crate::plan::Phase;

const HEALTHY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/analyze/healthy");
const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/analyze");
const MINE: [&str; 12] = [
    "memory",
    "disk",
    "tasks",
    "kernel",
    "dbus",
    "runc",
    "crowd",
    "residual",
    "secrets",
    "control",
    "clock",
    "throttling",
];

fn manifest() -> Manifest {
    serde_json::from_str(&fs::read_to_string(format!("{HEALTHY}/manifest.json")).unwrap()).unwrap()
}

fn view(dir: &Path, manifest: Manifest) -> NodeView {
    let steps = manifest.steps.clone();
    NodeView::of_dir("worker-006".parse().unwrap(), Some(manifest), steps, dir.to_owned())
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
}

/// The healthy node with some files replaced.
fn node(files: &[(&str, &str)]) -> (tempfile::TempDir, NodeView) {
    let dir = tempfile::tempdir().unwrap();
    copy(Path::new(HEALTHY), dir.path());
    for (path, text) in files {
        fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
        fs::write(dir.path().join(path), text).unwrap();
    }
    let view = view(dir.path(), manifest());
    (dir, view)
}

fn all(view: &NodeView) -> Vec<Finding> {
    RULES.iter().chain(CLUSTER_RULES).filter(|r| MINE.contains(&r.id)).flat_map(|rule| (rule.check)(view)).collect()
}

/// Findings above info as `severity id`, in the order of the rules.
fn trouble(view: &NodeView) -> Vec<(String, Finding)> {
    let above = all(view).into_iter().filter(|f| f.severity > Severity::Info);
    above.map(|f| (format!("{:?} {}", f.severity, f.id), f)).collect()
}

/// Checks that these files on the healthy node give exactly these findings, and what the sentences hold.
fn expect(files: &[(&str, &str)], wanted: &[(&str, &[&str])]) {
    let (_dir, view) = node(files);
    check_trouble(&view, wanted);
}

fn check_trouble(view: &NodeView, wanted: &[(&str, &[&str])]) {
    let found = trouble(view);
    let ids: Vec<&str> = found.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, wanted.iter().map(|(id, _)| *id).collect::<Vec<_>>(), "{found:#?}");
    for ((_, finding), (_, parts)) in found.iter().zip(wanted) {
        for part in *parts {
            assert!(finding.sentence.contains(part), "{part:?} is not in {:?}", finding.sentence);
        }
        // What a load is made of is for people to tell.
        let blamed = finding.layer.is_some() || finding.id == "memory/load";
        assert!(!finding.evidence.is_empty() && finding.next.is_some() && blamed, "{finding:#?}");
        for citation in &finding.evidence {
            assert!(view.open(&citation.file).is_some() || citation.file.starts_with("records/"), "{citation}");
        }
    }
}

fn genuine(name: &str) -> String {
    fs::read_to_string(format!("{FIXTURES}/{name}")).unwrap()
}

#[test]
fn a_healthy_node_has_nothing_above_info_and_says_what_is_well() {
    let (_dir, view) = node(&[]);
    let found = all(&view);
    let ids: Vec<&str> = found.iter().map(|f| f.id.as_str()).collect();
    assert!(found.iter().all(|f| f.severity == Severity::Info), "{found:#?}");
    let wanted = [
        "memory/own-limit",
        "memory/well",
        "disk/well",
        "tasks/well",
        "dbus/well",
        "runc/well",
        "crowd/well",
        "residual/well",
        "clock/well",
    ];
    assert_eq!(ids, wanted, "{found:#?}");
}

#[test]
fn a_missing_file_is_said_once_with_the_reason() {
    let (dir, mut view) = node(&[]);
    for (file, step, outcome) in [
        ("host/iostat.txt", "host/iostat", Outcome::Absent),
        ("host/runc.txt", "host/runc", Outcome::Failed),
        ("host/ps.txt", "host/ps", Outcome::TimedOut),
    ] {
        fs::remove_file(dir.path().join(file)).unwrap();
        let record: &mut StepRecord = view.steps.iter_mut().find(|s| s.id.as_str() == step).unwrap();
        (record.outcome, record.detail) = (outcome, Some(format!("reason of {step}.")));
        assert_eq!(record.phase, Phase::Before);
    }
    let found = all(&view);
    assert!(found.iter().all(|f| f.severity == Severity::Info), "{found:#?}");
    for (rule, words) in [
        ("disk", "host/iostat.txt is missing: absent: reason of host/iostat."),
        ("runc", "host/runc.txt is missing: failed: reason of host/runc."),
        ("tasks", "host/ps.txt is missing: timed-out: reason of host/ps."),
    ] {
        let said: Vec<&Finding> = found.iter().filter(|f| f.sentence.contains(words)).collect();
        assert!(matches!(said.as_slice(), [one] if one.id == format!("{rule}/missing")), "{found:#?}");
    }
    assert!(!found.iter().any(|f| f.id == "runc/well"));
}

#[test]
fn hostile_names_are_printed_safely_and_sentences_are_bounded() {
    let evil = format!("4 Z root 7 6 0 80 0 - 0 - 0 1 09:50 ? 00:00:00 [\u{1b}]0;x\u{7}{}]\n", "y".repeat(5000));
    let ps = format!("F S UID PID PPID C PRI NI ADDR SZ WCHAN RSS PSR STIME TTY TIME CMD\n{}", evil.repeat(8));
    let (_dir, view) = node(&[("host/ps.txt", &ps)]);
    for finding in all(&view) {
        assert!(finding.sentence.chars().count() < 700 && !finding.sentence.contains(char::is_control), "{finding:?}");
    }
}
