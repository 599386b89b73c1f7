//! Errors of this module: each is one sentence that names the operand and what to do about it.
//! `cli` asks [`InventoryError::is_usage`] to pick between the exit codes for usage and setup.

use std::path::PathBuf;

/// A pattern that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pattern {pattern:?}: {reason}")]
pub struct PatternError {
    pub(crate) pattern: String,
    pub(crate) reason: String,
}

impl PatternError {
    pub(crate) fn new(pattern: &str, reason: impl Into<String>) -> Self {
        Self { pattern: shorten(pattern), reason: reason.into() }
    }
}

/// Why no targets could be made.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// A pattern on the command line or on standard input cannot be read.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// The selection makes no sense: unknown name, nothing left, too many nodes.
    #[error("{0}")]
    Selection(String),
    /// Patterns and the cluster mean no node in common.
    #[error("{0}")]
    NoneOfBoth(String),
    /// The inventory file cannot be read.
    #[error("cannot read the inventory {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// Something in the inventory file is wrong; the text holds file and line.
    #[error("{0}")]
    File(String),
    /// `ssh -G` refuses the ssh_config.
    #[error("{0}")]
    SshConfig(String),
    /// The way to a node makes no sense: a circle of jumps, no user.
    #[error("{0}")]
    Route(String),
}

impl InventoryError {
    /// Returns whether the command line is to blame (exit code 2) and not the set-up (exit code 3).
    #[must_use]
    pub const fn is_usage(&self) -> bool {
        matches!(self, Self::Pattern(_) | Self::Selection(_) | Self::NoneOfBoth(_))
    }
}

/// Returns `text` cut to a length that fits a terminal line.
pub(crate) fn shorten(text: &str) -> String {
    const KEPT: usize = 120;
    if text.chars().count() <= KEPT {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(KEPT).collect();
    cut.push('…');
    cut
}

/// Returns the `count` candidates that look most like `wanted`, best first; none that differ altogether.
pub(crate) fn nearest<'a>(wanted: &str, candidates: impl Iterator<Item = &'a str>, count: usize) -> Vec<&'a str> {
    let mut scored: Vec<(usize, &str)> = candidates
        .map(|candidate| (strsim::damerau_levenshtein(wanted, candidate), candidate))
        // Beyond half of its length a "nearest" name is only noise.
        .filter(|(distance, candidate)| *distance <= wanted.len().max(candidate.len()).div_ceil(2).min(6))
        .collect();
    scored.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.cmp(b.1)));
    scored.dedup();
    scored.into_iter().take(count).map(|(_, candidate)| candidate).collect()
}

/// Returns ": did you mean `x` or `y`?" for the candidates nearest to `wanted`, or nothing.
pub(crate) fn did_you_mean<'a>(wanted: &str, candidates: impl Iterator<Item = &'a str>, count: usize) -> String {
    let names: Vec<String> = nearest(wanted, candidates, count).into_iter().map(|n| format!("`{n}`")).collect();
    match names.split_last() {
        None => String::new(),
        Some((only, [])) => format!(": did you mean {only}?"),
        Some((last, rest)) => format!(": did you mean {} or {last}?", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_only_what_is_near() {
        let names = ["user", "port", "sudo", "worker-001", "worker-002"];
        assert_eq!(did_you_mean("usr", names.into_iter(), 1), ": did you mean `user`?");
        assert_eq!(did_you_mean("worker-01", names.into_iter(), 2), ": did you mean `worker-001` or `worker-002`?");
        assert_eq!(did_you_mean("zzzzzzzz", names.into_iter(), 3), "");
    }
}
