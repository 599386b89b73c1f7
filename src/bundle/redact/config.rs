//! What an operator may say of redaction, and what is wrong with it. Compiles literals and rules of the operator's own;
//! the built-in ones are in `rules.rs`. Called by `Redactor::new`.

use std::collections::BTreeSet;

use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;

use super::rules::{LITERAL, TOKEN};

/// What the inventory adds to, or takes from, the built-in rules (`[redact]`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
pub struct RedactConfig {
    /// Texts to be replaced wherever they stand; 4 to 4096 bytes on one line each.
    pub literals: Vec<String>,
    /// Patterns of the operator's own.
    pub rules: Vec<RedactRule>,
    /// Names of built-in rules not to apply.
    pub disable: Vec<String>,
}

/// A pattern of the operator's own; applied to single lines.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RedactRule {
    /// Name in placeholders and counts: lower-case letters, digits and `-`, 40 at most.
    pub name: String,
    /// Regular expression. A group named `secret` is replaced, else the whole match.
    pub pattern: String,
    /// Replacement for the whole match, `$1` and `$name` allowed; default: a placeholder.
    #[serde(default)]
    pub replace: Option<String>,
}

/// Why a configuration of redaction cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RedactError {
    /// A pattern does not compile, or cannot work on single lines.
    #[error("redaction rule {name:?}: {reason}")]
    Rule {
        /// Its name.
        name: String,
        /// One sentence.
        reason: String,
    },
    /// A literal that cannot be looked for. Its text is not repeated here.
    #[error("redaction literal number {number}: {reason}")]
    Literal {
        /// Which, from 1.
        number: usize,
        /// One sentence.
        reason: &'static str,
    },
    /// No such built-in rule.
    #[error("there is no redaction rule {name:?} to disable; there are: {known}")]
    Unknown {
        /// As written.
        name: String,
        /// All names.
        known: String,
    },
    /// The operating system gives no random bytes.
    #[error("get random bytes for the redaction key: {0}")]
    Random(String),
}

/// Compiles the literals into one pattern; `None` if there are none.
///
/// # Errors
/// When one cannot be looked for; the text gives its number.
pub(super) fn literals(literals: &[String]) -> Result<Option<Regex>, RedactError> {
    for (i, text) in literals.iter().enumerate() {
        let fail = |reason| Err(RedactError::Literal { number: i + 1, reason });
        if text.len() < 4 {
            return fail("it is shorter than 4 bytes and would match by chance");
        }
        if text.len() > 4096 {
            return fail("it is longer than 4096 bytes");
        }
        if text.contains(['\n', '\r']) {
            return fail("it spans several lines; give each line as a literal of its own");
        }
    }
    if literals.is_empty() {
        return Ok(None);
    }
    let mut sorted: Vec<&String> = literals.iter().collect();
    // The longest first: of two with the same beginning the whole one is to go.
    sorted.sort_by_key(|t| std::cmp::Reverse(t.len()));
    let pattern = sorted.iter().map(|t| regex::escape(t)).collect::<Vec<_>>().join("|");
    RegexBuilder::new(&pattern)
        .size_limit(64 << 20)
        .build()
        .map(Some)
        .map_err(|_| RedactError::Literal { number: literals.len(), reason: "there are too many to look for" })
}

/// Compiles a rule of the operator's; `known` are the names of the built-in ones.
///
/// # Errors
/// When it cannot work on single lines, or its name is taken.
pub(super) fn own_rule(rule: &RedactRule, known: &BTreeSet<&str>) -> Result<Regex, RedactError> {
    let fail = |reason: String| RedactError::Rule { name: rule.name.chars().take(60).collect(), reason };
    let name_ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if rule.name.is_empty() || rule.name.len() > 40 || !rule.name.bytes().all(name_ok) {
        return Err(fail("a name is 1 to 40 lower-case letters, digits and '-'".to_owned()));
    }
    if known.contains(rule.name.as_str()) || [LITERAL, TOKEN].contains(&rule.name.as_str()) {
        return Err(fail("this is the name of a built-in rule; choose another".to_owned()));
    }
    if rule.pattern.contains(r"\A") || rule.pattern.contains(r"\z") {
        return Err(fail(r"rules work on lines: write ^ and $ instead of \A and \z".to_owned()));
    }
    let built = RegexBuilder::new(&rule.pattern).multi_line(true).size_limit(16 << 20).build();
    let regex = built.map_err(|e| fail(e.to_string().split_whitespace().collect::<Vec<_>>().join(" ")))?;
    if regex.is_match(b"") {
        return Err(fail("the pattern matches the empty text, so it would match everywhere".to_owned()));
    }
    Ok(regex)
}
