//! Redaction: secrets are replaced before anything of a node is written anywhere.
//!
//! A secret becomes `[redacted:RULE:TAG]`. The tag is the beginning of a hash under a key that
//! lives as long as the run, so that equal secrets are seen to be equal and nothing more is told.
//! Matching is linear in the input; lines without a suspicious word are copied as they are.
//! Used by the bundle task for evidence, and through [`Redactor::text`] for commands and logs.

mod rules;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use regex::bytes::{Captures, Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use serde::Deserialize;
use sha2::Sha256;

use rules::{Check, LITERAL, PREFILTER, PRIVATE_KEY, RULES, VALUE};
pub(crate) use stream::RedactStream;

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

struct Compiled {
    name: usize,
    regex: Regex,
    check: Check,
    replace: Option<String>,
    /// Not in the set: looked for by itself.
    own: bool,
}

/// The rules of one run, compiled. Cheap to share, one for the whole run.
pub struct Redactor {
    key: [u8; 32],
    names: Vec<String>,
    prefilter: Option<Regex>,
    /// Built-in rules, in the order of `rules` after the own ones.
    set: RegexSet,
    rules: Vec<Compiled>,
    own: usize,
    private_key: Option<usize>,
    value: Option<usize>,
    shapes: Shapes,
}

/// Two-line forms: a key on one line, its value on the next.
struct Shapes {
    begin_key: Regex,
    end_key: Regex,
    name_line: Regex,
    value_line: Regex,
    flag_line: Regex,
    string_line: Regex,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the key nor the literals.
        f.debug_struct("Redactor").field("rules", &self.names).finish_non_exhaustive()
    }
}

impl Redactor {
    /// Compiles the built-in rules and those of `config`, with a fresh random key.
    ///
    /// # Errors
    /// When a rule or a literal cannot be used; the text names it.
    pub fn new(config: &RedactConfig) -> Result<Self, RedactError> {
        let mut key = [0_u8; 32];
        getrandom::fill(&mut key).map_err(|e| RedactError::Random(e.to_string()))?;
        let internal = |e: regex::Error| RedactError::Rule { name: "built-in".to_owned(), reason: e.to_string() };

        let known: std::collections::BTreeSet<&str> = RULES.iter().map(|r| r.name).collect();
        for name in &config.disable {
            if !known.contains(name.as_str()) {
                let known = known.iter().copied().collect::<Vec<_>>().join(", ");
                return Err(RedactError::Unknown { name: name.clone(), known });
            }
        }

        let mut names: Vec<String> = Vec::new();
        let mut rules = Vec::new();
        if let Some(regex) = literals(&config.literals)? {
            let name = index_of(&mut names, LITERAL);
            rules.push(Compiled { name, regex, check: Check::None, replace: None, own: true });
        }
        for rule in &config.rules {
            let regex = own_rule(rule, &known)?;
            let name = index_of(&mut names, &rule.name);
            rules.push(Compiled { name, regex, check: Check::None, replace: rule.replace.clone(), own: true });
        }
        let own = rules.len();

        let active: Vec<_> = RULES.iter().filter(|r| !config.disable.iter().any(|d| d == r.name)).collect();
        for rule in &active {
            let regex = regex(rule.pattern).map_err(internal)?;
            let name = index_of(&mut names, rule.name);
            rules.push(Compiled { name, regex, check: rule.check, replace: None, own: false });
        }
        let set = RegexSetBuilder::new(active.iter().map(|r| r.pattern))
            .unicode(false)
            .size_limit(64 << 20)
            .dfa_size_limit(8 << 20)
            .build()
            .map_err(internal)?;
        let prefilter = if active.is_empty() { None } else { Some(regex(PREFILTER).map_err(internal)?) };
        let find = |name: &str| names.iter().position(|n| n == name);
        let (private_key, value) = (find(PRIVATE_KEY), find(VALUE));
        let shapes = Shapes::new().map_err(internal)?;
        Ok(Self { key, names, prefilter, set, rules, own, private_key, value, shapes })
    }

    /// Returns `text` without secrets, for commands, details and logs.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        let mut stream = RedactStream::new(false);
        let mut out = Vec::with_capacity(text.len());
        stream.push(self, text.as_bytes(), &mut out);
        stream.finish(self, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Returns JSON without secrets, and still JSON: should an edit of the text have broken it,
    /// every string in it is redacted by itself instead.
    pub(crate) fn json(&self, text: &[u8]) -> (Vec<u8>, Counts) {
        let mut stream = RedactStream::new(false);
        let mut out = Vec::with_capacity(text.len());
        stream.push(self, text, &mut out);
        stream.finish(self, &mut out);
        if serde_json::from_slice::<serde::de::IgnoredAny>(&out).is_err()
            && let Ok(mut value) = serde_json::from_slice::<serde_json::Value>(text)
        {
            self.strings(&mut value);
            out = serde_json::to_vec_pretty(&value).unwrap_or_default();
        }
        (out, stream.counts().clone())
    }

    fn strings(&self, value: &mut serde_json::Value) {
        match value {
            serde_json::Value::String(text) => *text = self.text(text),
            serde_json::Value::Array(list) => list.iter_mut().for_each(|v| self.strings(v)),
            serde_json::Value::Object(map) => map.values_mut().for_each(|v| self.strings(v)),
            _ => {}
        }
    }

    /// Returns the placeholder of a secret.
    fn placeholder(&self, rule: usize, secret: &[u8]) -> Vec<u8> {
        let name = self.names.get(rule).map_or("secret", String::as_str);
        let mut mac = self.mac();
        mac.update(secret);
        tagged(name, mac)
    }

    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    fn mac(&self) -> Hmac<Sha256> {
        Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length")
    }

    /// Appends `line`, which has no line end, to `out` without its secrets.
    fn line(&self, line: &[u8], counts: &mut Counts, out: &mut Vec<u8>) {
        let mut current: Option<Vec<u8>> = None;
        let hits = self.set.matches(line);
        for (i, rule) in self.rules.iter().enumerate() {
            if !rule.own && !hits.matched(i - self.own) {
                continue;
            }
            let text = current.as_deref().unwrap_or(line);
            if let Some(edited) = self.apply(rule, text, counts) {
                current = Some(edited);
            }
        }
        out.extend_from_slice(current.as_deref().unwrap_or(line));
    }

    /// Returns `text` after one rule, or `None` if it does not apply.
    fn apply(&self, rule: &Compiled, text: &[u8], counts: &mut Counts) -> Option<Vec<u8>> {
        let mut edited: Option<Vec<u8>> = None;
        let mut copied = 0;
        for found in rule.regex.captures_iter(text) {
            let Some((range, key)) = secret_of(rule, &found) else { continue };
            let Some(secret) = text.get(range.clone()) else { continue };
            let before = text.get(range.start.saturating_sub(64)..range.start).unwrap_or_default();
            let ours = secret.starts_with(b"[redacted:") || in_placeholder(before, secret);
            if range.start < copied || ours {
                continue;
            }
            if matches!(rule.check, Check::Key | Check::KeyBare)
                && (!rules::is_secret_key(key) || rules::is_harmless_value(key, secret))
            {
                continue;
            }
            let out = edited.get_or_insert_with(|| Vec::with_capacity(text.len()));
            out.extend_from_slice(text.get(copied..range.start).unwrap_or_default());
            match &rule.replace {
                Some(template) => found.expand(template.as_bytes(), out),
                None => out.extend_from_slice(&self.placeholder(rule.name, secret)),
            }
            counts.add(rule.name);
            copied = range.end;
        }
        if let Some(out) = &mut edited {
            out.extend_from_slice(text.get(copied..).unwrap_or_default());
        }
        edited
    }

    /// Returns the first position from `from` on where a rule might match.
    fn suspect(&self, regex: Option<usize>, text: &[u8], from: usize) -> Option<usize> {
        let regex = match regex {
            None => self.prefilter.as_ref()?,
            Some(i) => &self.rules.get(i)?.regex,
        };
        regex.find_at(text, from).map(|m| m.start())
    }
}

/// Returns what is to be replaced of a match, and the key it stands under.
fn secret_of<'t>(rule: &Compiled, found: &Captures<'t>) -> Option<(std::ops::Range<usize>, &'t [u8])> {
    let key = found.name("k").map_or(&b""[..], |k| k.as_bytes());
    if rule.own {
        let group = if rule.replace.is_none() { found.name("secret") } else { None };
        let range = group.or_else(|| found.get(0))?.range();
        return (!range.is_empty()).then_some((range, key));
    }
    let secret = found.name("s")?;
    let mut bytes = secret.as_bytes();
    if rule.check == Check::KeyBare {
        while let Some((b',' | b')' | b']' | b'}', rest)) = bytes.split_last() {
            bytes = rest;
        }
    }
    let digit = rule.check != Check::Digit || bytes.iter().any(u8::is_ascii_digit);
    (digit && !bytes.is_empty()).then_some((secret.start()..secret.start() + bytes.len(), key))
}

/// Returns whether a match that has `before` in front of it lies in a placeholder of ours.
fn in_placeholder(before: &[u8], secret: &[u8]) -> bool {
    const MARK: &[u8] = b"[redacted";
    if before.last() == Some(&b'[') && secret.starts_with(b"redacted") {
        return true;
    }
    let last = before.windows(MARK.len()).rposition(|w| w == MARK);
    last.is_some_and(|at| !before.get(at..).unwrap_or_default().contains(&b']'))
}

fn tagged(name: &str, mac: Hmac<Sha256>) -> Vec<u8> {
    let hash = mac.finalize().into_bytes();
    let tag = hash.iter().take(2).map(|b| format!("{b:02x}")).collect::<String>();
    format!("[redacted:{name}:{tag}]").into_bytes()
}

fn index_of(names: &mut Vec<String>, name: &str) -> usize {
    if let Some(at) = names.iter().position(|n| n == name) {
        return at;
    }
    names.push(name.to_owned());
    names.len() - 1
}

fn regex(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).unicode(false).size_limit(32 << 20).dfa_size_limit(8 << 20).build()
}

fn literals(literals: &[String]) -> Result<Option<Regex>, RedactError> {
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

fn own_rule(rule: &RedactRule, known: &std::collections::BTreeSet<&str>) -> Result<Regex, RedactError> {
    let fail = |reason: String| RedactError::Rule { name: rule.name.chars().take(60).collect(), reason };
    let name_ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if rule.name.is_empty() || rule.name.len() > 40 || !rule.name.bytes().all(name_ok) {
        return Err(fail("a name is 1 to 40 lower-case letters, digits and '-'".to_owned()));
    }
    if known.contains(rule.name.as_str()) || rule.name == LITERAL {
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

impl Shapes {
    fn new() -> Result<Self, regex::Error> {
        Ok(Self {
            begin_key: regex(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----")?,
            end_key: regex(r"-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----")?,
            name_line: regex(r#"(?i)^\s*\{?\s*(?:-\s+)?"?(?:name|key)"?\s*:\s*"?(?P<k>[A-Za-z0-9_.-]+)"?\s*,?\s*$"#)?,
            value_line: regex(r#"(?i)^\s*"?value"?\s*:\s*["']?(?P<s>(?:[^"'\\\s]|\\.)(?:[^"\\]|\\.)*)"#)?,
            flag_line: regex(r#"^\s*(?:-\s+)?"?--?(?P<k>[A-Za-z0-9_.-]+)"?\s*,?\s*$"#)?,
            string_line: regex(r#"^\s*(?:-\s+)?"?(?P<s>(?:[^"\\\s\]})-]|\\.)(?:[^"\\]|\\.)*)"#)?,
        })
    }
}

/// Replacements by rule.
#[derive(Debug, Default, Clone)]
pub(crate) struct Counts(Vec<u64>);

impl Counts {
    fn add(&mut self, rule: usize) {
        if self.0.len() <= rule {
            self.0.resize(rule + 1, 0);
        }
        if let Some(n) = self.0.get_mut(rule) {
            *n += 1;
        }
    }

    /// Returns all replacements.
    pub(crate) fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Adds them to totals by name.
    pub(crate) fn merge_into(&self, redactor: &Redactor, totals: &mut BTreeMap<String, u64>) {
        for (n, name) in self.0.iter().zip(&redactor.names) {
            if *n > 0 {
                *totals.entry(name.clone()).or_default() += n;
            }
        }
    }
}
