//! A page of text as wide as the terminal: lines, headings, wrapped items, paths that stay whole, colours. Knows nothing of
//! nodes; filled by `summary.rs`.

use std::path::Path;

use crate::wording::{columns, path, wrap};

pub(super) const BOLD: &str = "\u{1b}[1m";
pub(super) const GREEN: &str = "\u{1b}[32m";
pub(super) const YELLOW: &str = "\u{1b}[33m";
pub(super) const RED: &str = "\u{1b}[31m";
const RESET: &str = "\u{1b}[0m";

/// Text under way.
pub(super) struct Page {
    pub(super) out: String,
    pub(super) width: usize,
    pub(super) color: bool,
}

impl Page {
    pub(super) fn line(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
    }

    pub(super) fn paint(&self, text: &str, style: &str) -> String {
        if self.color && !style.is_empty() { format!("{style}{text}{RESET}") } else { text.to_owned() }
    }

    pub(super) fn heading(&mut self, text: &str) {
        let text = self.paint(text, BOLD);
        self.line("");
        self.line(&text);
    }

    /// Wraps a text behind a label; further lines stand under the first.
    pub(super) fn item(&mut self, indent: usize, label: &str, text: &str) {
        self.painted_item(indent, label, "", text);
    }

    /// Does the same with the label painted.
    pub(super) fn painted_item(&mut self, indent: usize, label: &str, style: &str, text: &str) {
        let label_width = columns(label);
        if indent + label_width > self.width / 2 {
            // A label as long as a line stands for itself, with its text below.
            for part in wrap(label, self.width.saturating_sub(indent)) {
                let part = self.paint(&part, style);
                self.line(&format!("{}{part}", " ".repeat(indent)));
            }
            for part in wrap(text, self.width.saturating_sub(indent + 4)) {
                self.line(&format!("{}{part}", " ".repeat(indent + 4)));
            }
            return;
        }
        let room = self.width.saturating_sub(indent + label_width);
        let mut label = self.paint(label, style);
        for part in wrap(text, room) {
            self.line(format!("{}{label}{part}", " ".repeat(indent)).trim_end());
            label = " ".repeat(label_width);
        }
    }

    /// Prints a path on a line of its own if it does not fit behind its label; never cut.
    pub(super) fn path(&mut self, indent: usize, label: &str, path: &str) {
        self.line(&format!("{}{label}{path}", " ".repeat(indent)));
    }

    pub(super) fn bundle(&mut self, bundle: Option<&Path>, sealed: bool) {
        if let Some(bundle) = bundle {
            self.path(4, if sealed { "bundle: " } else { "bundle, not sealed: " }, &path(bundle));
        }
    }
}
