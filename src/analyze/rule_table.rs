//! The rules as a table for the README, made from the rules themselves so that it cannot fall behind.

use super::rules::RULES;

/// Files named in a row; the rest is counted.
const NAMED: usize = 6;

/// Returns the table of rules: what each recognises, and on what. `tests/readme.rs` holds the README to it.
#[must_use]
pub fn markdown_table() -> String {
    let mut out = String::from("| rule | what it says | what it reads |\n|---|---|---|\n");
    for rule in RULES {
        let mut files: Vec<String> = rule.reads.iter().take(NAMED).map(|file| format!("`{file}`")).collect();
        let more = rule.reads.len().saturating_sub(NAMED);
        if more > 0 {
            files.push(format!("{more} more"));
        }
        out.push_str(&format!("| `{}` | {} | {} |\n", rule.id, rule.about.replace('|', "\\|"), files.join(", ")));
    }
    out
}
