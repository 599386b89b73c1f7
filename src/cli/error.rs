//! The one place where errors are printed: `error:`, `caused by:` lines, then `hint:`.

use std::error::Error;
use std::io::Write as _;

use super::exit;
use crate::printable::printable;

/// An error that ends a command, with its exit code and what to do about it.
#[derive(Debug)]
pub(crate) struct AppError {
    pub(crate) code: u8,
    pub(crate) text: String,
    causes: Vec<String>,
    hint: Option<String>,
}

impl AppError {
    /// Returns an error for unusable flags or patterns (exit 2).
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::new(exit::USAGE, text)
    }

    /// Returns an error for an unusable inventory, key, path or disk (exit 3).
    pub(crate) fn setup(text: impl Into<String>) -> Self {
        Self::new(exit::SETUP, text)
    }

    /// Returns an error with its own exit code.
    pub(crate) fn new(code: u8, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), causes: Vec::new(), hint: None }
    }

    /// Returns an error made of a whole chain.
    pub(crate) fn from_chain(code: u8, error: &dyn Error) -> Self {
        let mut causes = Vec::new();
        let mut next = error.source();
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        Self { code, text: error.to_string(), causes, hint: None }
    }

    /// Adds what to do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Prints it to standard error and returns the exit code.
    pub(crate) fn report(&self) -> u8 {
        let mut lines = vec![format!("error: {}", printable(&self.text, 2000))];
        lines.extend(self.causes.iter().map(|cause| format!("  caused by: {}", printable(cause, 2000))));
        lines.extend(self.hint.iter().map(|hint| format!("  hint: {}", printable(hint, 2000))));
        say(&lines.join("\n"));
        self.code
    }
}

/// Prints a warning to standard error, for commands that have no display.
pub(crate) fn warn(text: &str) {
    say(&format!("warning: {}", printable(text, 2000)));
}

/// Prints to standard error what is good to know and nothing is wrong with.
pub(crate) fn note(text: &str) {
    say(&format!("note: {}", printable(text, 2000)));
}

/// Prints a hint below an error that was printed by somebody else.
pub(crate) fn hint(text: &str) {
    say(&format!("  hint: {text}"));
}

/// A standard error that nobody reads any more must not change the exit code (`eprintln!` panics).
fn say(text: &str) {
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}
