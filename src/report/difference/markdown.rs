//! The comparison as Markdown, as a comment of an incident takes it.

use std::fmt::Write as _;

use super::{COMMON, Comparison, NOTHING, word};
use crate::inventory::fold;
use crate::report::verdicts::escape::escaped;

/// Returns Markdown.
#[must_use]
pub fn markdown(comparison: &Comparison) -> String {
    let mut out = String::from("# What differs\n\n");
    writeln!(out, "- base: {}\n- other: {}", escaped(&comparison.base), escaped(&comparison.other)).ok();
    let shared = comparison.shared();
    if !shared.list.is_empty() {
        out.push_str("\n## On several nodes\n\n");
        for common in shared.list.iter().take(COMMON) {
            writeln!(out, "- {}: {}", common.label, escaped(&common.words())).ok();
        }
        more(&mut out, shared.list.len().saturating_sub(COMMON));
    }
    let (told, left) = comparison.own(&shared);
    for own in told {
        writeln!(out, "\n## {}\n", escaped(&own.pair.heading())).ok();
        if let Some(verdict) = &own.verdict {
            writeln!(out, "**{}**\n", escaped(verdict)).ok();
        }
        for note in &own.pair.notes {
            writeln!(out, "- note: {}", escaped(note)).ok();
        }
        for difference in own.differences {
            writeln!(out, "- {}: {}", word(difference.kind), escaped(&difference.text)).ok();
        }
        more(&mut out, own.more);
        if own.pair.is_quiet() {
            writeln!(out, "- {NOTHING}").ok();
        }
    }
    let quiet = comparison.quiet();
    let mut rest: Vec<String> = Vec::new();
    rest.extend((!left.is_empty()).then(|| format!("{}: more differs", fold(&left))));
    rest.extend((!quiet.is_empty()).then(|| format!("{}: {NOTHING}", fold(&quiet))));
    rest.extend(comparison.alone());
    rest.extend(comparison.unreadable.iter().map(|u| format!("not read: {}: {}", u.path, u.reason)));
    if !rest.is_empty() {
        out.push_str("\n## Others\n\n");
        for line in &rest {
            writeln!(out, "- {}", escaped(line)).ok();
        }
    }
    out
}

fn more(out: &mut String, left: usize) {
    if left > 0 {
        writeln!(out, "- and {left} more").ok();
    }
}
