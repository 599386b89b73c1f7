//! Files made of several: `==> /proc/pressure/cpu <==`, as `tail` and the steps that read files head them.

/// One part of such a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section<'a> {
    /// What the heading names; empty for what stands before the first heading.
    pub name: &'a str,
    /// Number of the first line of [`Self::body`].
    pub line: u64,
    /// The lines up to the next heading.
    pub body: &'a str,
}

/// Splits a text at its headings. A text without any is one section.
#[must_use]
pub fn sections(text: &str) -> Vec<Section<'_>> {
    let mut found = Vec::new();
    let (mut name, mut first, mut start, mut at) = ("", 1, 0, 0);
    let mut number = 0;
    for line in text.split_inclusive('\n') {
        number += 1;
        let heading = line.trim_end().strip_prefix("==> ").and_then(|l| l.strip_suffix(" <=="));
        if let Some(next) = heading {
            found.push(Section { name, line: first, body: text.get(start..at).unwrap_or_default() });
            (name, first, start) = (next, number + 1, at + line.len());
        }
        at += line.len();
    }
    found.push(Section { name, line: first, body: text.get(start..).unwrap_or_default() });
    found.retain(|s| !s.name.is_empty() || !s.body.trim().is_empty());
    found
}
