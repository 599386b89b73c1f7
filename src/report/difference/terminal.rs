//! The comparison for a terminal.

use super::alike::is_critical;
use super::{COMMON, Comparison, NOTHING, word};
use crate::inventory::fold;
use crate::report::page::{BOLD, Page, RED};
use crate::wording;

/// Columns of labels.
const LABEL: usize = 11;

/// Returns the text for a terminal of `width` columns.
#[must_use]
pub fn text(comparison: &Comparison, width: usize, color: bool) -> String {
    let mut page = Page { out: String::new(), width: width.max(40), color };
    page.path(0, "base:  ", &comparison.base);
    page.path(0, "other: ", &comparison.other);
    let shared = comparison.shared();
    if !shared.list.is_empty() {
        page.heading("on several nodes");
        for common in shared.list.iter().take(COMMON) {
            put(&mut page, common.label, common.critical, &common.words());
        }
        more(&mut page, shared.list.len().saturating_sub(COMMON));
    }
    let (told, left) = comparison.own(&shared);
    for own in told {
        page.line("");
        for part in wording::wrap(&own.pair.heading(), page.width) {
            page.line(&page.paint(&part, BOLD));
        }
        if let Some(verdict) = &own.verdict {
            put(&mut page, "verdict", false, verdict);
        }
        for note in &own.pair.notes {
            put(&mut page, "note", false, note);
        }
        for difference in own.differences {
            put(&mut page, word(difference.kind), is_critical(difference), &difference.text);
        }
        more(&mut page, own.more);
        if own.pair.is_quiet() {
            page.line(&format!("  {NOTHING}"));
        }
    }
    let quiet = comparison.quiet();
    let mut rest: Vec<String> = Vec::new();
    rest.extend((!left.is_empty()).then(|| format!("{}: more differs, see --format json", fold(&left))));
    rest.extend((!quiet.is_empty()).then(|| format!("{}: {NOTHING}", fold(&quiet))));
    rest.extend(comparison.alone());
    for line in rest {
        page.line("");
        page.item(0, "", &line);
    }
    for unreadable in &comparison.unreadable {
        page.line("");
        page.item(0, "UNREAD     ", &format!("{}: {}", unreadable.path, unreadable.reason));
    }
    page.out
}

fn put(page: &mut Page, label: &str, critical: bool, text: &str) {
    // Padded by what is seen of it.
    let pad = " ".repeat(LABEL.saturating_sub(label.len()));
    let mut head = format!("  {}{pad}", page.paint(label, if critical { RED } else { "" }));
    for part in wording::wrap(text, page.width.saturating_sub(LABEL + 2)) {
        page.line(&format!("{head}{part}"));
        head = " ".repeat(LABEL + 2);
    }
}

fn more(page: &mut Page, left: usize) {
    if left > 0 {
        page.line(&format!("  and {left} more: --format json"));
    }
}
