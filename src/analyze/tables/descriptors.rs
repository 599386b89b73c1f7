//! Open descriptors of a daemon by kind, and its limit, as the steps list them.

use crate::analyze::line::numbered;

/// What a process has open.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Descriptors {
    /// How many it may have; `None` for no limit or if not known.
    pub limit: Option<u64>,
    /// How many it has.
    pub count: Option<u64>,
    /// The kinds, the most frequent first: `socket`, or a path with ids folded.
    pub kinds: Vec<(String, u64)>,
    /// Line of the count.
    pub line: u64,
}

impl Descriptors {
    /// Returns the share of the limit in use, in percent.
    #[must_use]
    pub fn used_percent(&self) -> Option<u64> {
        self.count?.checked_mul(100)?.checked_div(self.limit?)
    }
}

/// Reads the list.
#[must_use]
pub fn parse(text: &str) -> Descriptors {
    let mut found = Descriptors::default();
    for (number, line) in numbered(text) {
        if let Some(rest) = line.strip_prefix("Max open files") {
            found.limit = rest.split_ascii_whitespace().next().and_then(|soft| soft.parse().ok());
            continue;
        }
        let Some((count, kind)) = line.trim_start().split_once(' ') else { continue };
        let Ok(count) = count.parse() else { continue };
        if kind.starts_with("in all, ") && kind.ends_with(" kinds") {
            (found.count, found.line) = (Some(count), number);
        } else {
            found.kinds.push((kind.to_owned(), count));
        }
    }
    found
}
