//! Redaction: secrets are replaced before anything of a node is written anywhere.
//!
//! A secret becomes `[redacted:RULE:TAG]`. The tag is the beginning of a hash under a key that
//! lives as long as the run, so that equal secrets are seen to be equal and nothing more is told.
//! Matching is linear in the input; lines without a suspicious word are copied as they are.
//! Used by the bundle task for evidence, and through [`Redactor::text`] for commands and logs.

mod config;
mod counts;
mod learnt;
#[cfg(test)]
mod learnt_tests;
mod rules;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use regex::bytes::{Captures, Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use sha2::Sha256;

pub use config::{RedactConfig, RedactError, RedactRule};
use config::{literals, own_rule};
pub(crate) use counts::Counts;
use learnt::Learnt;
use rules::{Check, LITERAL, PREFILTER, PRIVATE_KEY, RULES, TOKEN, VALUE};
pub(crate) use stream::RedactStream;

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
    /// Index of the name for tokens of ours.
    token: usize,
    learnt: Learnt,
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
        let token = index_of(&mut names, TOKEN);
        let learnt = Learnt::default();
        Ok(Self { key, names, prefilter, set, rules, own, private_key, value, shapes, token, learnt })
    }

    /// Takes this text out of everything from now on: a token of ours, should a node send it back. Also in base64, and its
    /// beginning where the rest was cut off. In binary evidence it is overwritten by as many `x`. Texts of less than 4
    /// bytes are not looked for.
    pub fn learn(&self, secret: &str) {
        self.learnt.add(secret, &self.placeholder(self.token, secret.as_bytes()));
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

    /// Adds replacements to totals by the name of the rule.
    pub(crate) fn tally(&self, counts: &Counts, totals: &mut BTreeMap<String, u64>) {
        counts.merge_into(&self.names, totals);
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
