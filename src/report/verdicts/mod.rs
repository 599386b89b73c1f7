//! The verdict on each group of nodes with what it rests on, as text for a terminal and as Markdown for an incident. Says what
//! an [`Analysis`](super::analysis::Analysis) holds and adds nothing. Called by `plegcollect report` and by the summary of a run.

pub(super) mod escape;
mod markdown;
mod story;
mod terminal;
#[cfg(test)]
mod tests;

pub use markdown::markdown;
pub(super) use markdown::{FITS, cut, section};
pub(super) use terminal::put;
pub use terminal::{text, text_with_timeline};

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// The verdicts and what they rest on, at the end of a run: the rest is in its directory.
    Brief,
    /// What an operator reads first.
    Usual,
    /// Everything.
    All,
}

/// How many of what are told.
#[derive(Debug, Clone, Copy)]
struct Most {
    /// Groups of nodes.
    groups: usize,
    /// Groups that are told in full; of the others the gravest finding.
    in_full: usize,
    /// Findings of such a group.
    findings: usize,
    /// Of these, how many with what to look at next.
    advice: usize,
    /// Columns of a sentence of a finding; its advice has half of them.
    sentence: usize,
    /// Places a finding cites.
    places: usize,
    /// Columns of what was looked at and of what cannot be said; each of them wraps.
    columns: usize,
    /// Differences from the healthy node.
    differences: usize,
    /// Rows of what happened when.
    moments: usize,
}

impl Most {
    const fn of(detail: Detail) -> Self {
        match detail {
            Detail::Brief => Self {
                groups: 8,
                in_full: 3,
                findings: 2,
                advice: 1,
                sentence: 300,
                places: 3,
                columns: 240,
                differences: 3,
                moments: 8,
            },
            Detail::Usual => Self {
                groups: 12,
                in_full: 3,
                findings: 6,
                advice: 3,
                sentence: 360,
                places: 5,
                columns: 400,
                differences: 5,
                moments: 15,
            },
            Detail::All => Self {
                groups: usize::MAX,
                in_full: usize::MAX,
                findings: usize::MAX,
                advice: usize::MAX,
                sentence: usize::MAX,
                places: usize::MAX,
                columns: usize::MAX,
                differences: usize::MAX,
                moments: 15,
            },
        }
    }
}
