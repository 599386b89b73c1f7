//! Label selectors as kubectl takes them, but for `>` and `<`: parsed, checked, matched. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Longest name of a label and longest value
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>).
const NAME_AT_MOST: usize = 63;
/// Longest prefix of a label.
const PREFIX_AT_MOST: usize = 253;
/// Terms of one selector.
const TERMS_AT_MOST: usize = 100;

/// A selector: all of its terms hold for a node that matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelSelector {
    text: String,
    terms: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    key: String,
    is: Is,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Is {
    There,
    Absent,
    In(Vec<String>),
    NotIn(Vec<String>),
}

/// Why a text is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{selector:?} is no label selector: {reason}")]
pub struct LabelSelectorError {
    selector: String,
    reason: String,
}

impl FromStr for LabelSelector {
    type Err = LabelSelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |reason: String| LabelSelectorError { selector: text.chars().take(200).collect(), reason };
        let parts = split(text).ok_or_else(|| fail("a parenthesis is never closed, or never opened".to_owned()))?;
        if parts.len() > TERMS_AT_MOST {
            return Err(fail(format!("it has more than {TERMS_AT_MOST} terms")));
        }
        let terms = parts.into_iter().map(term).collect::<Result<_, _>>().map_err(fail)?;
        Ok(Self { text: text.to_owned(), terms })
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl LabelSelector {
    /// Returns whether a node with these labels matches. As in Kubernetes, `!=` and `notin` also match where the label is
    /// missing.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.terms.iter().all(|term| {
            let value = labels.get(&term.key);
            match &term.is {
                Is::There => value.is_some(),
                Is::Absent => value.is_none(),
                Is::In(values) => value.is_some_and(|value| values.contains(value)),
                Is::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            }
        })
    }
}

/// Splits at commas that stand in no parentheses; `None` where those do not match.
fn split(text: &str) -> Option<Vec<&str>> {
    let (mut parts, mut start, mut inside) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            '(' if inside => return None,
            '(' => inside = true,
            ')' if !inside => return None,
            ')' => inside = false,
            ',' if !inside => {
                parts.push(text.get(start..at)?);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text.get(start..)?);
    (!inside).then_some(parts)
}

fn term(text: &str) -> Result<Term, String> {
    let text = text.trim();
    let expected = "write KEY, !KEY, KEY=VALUE, KEY!=VALUE, 'KEY in (A,B)' or 'KEY notin (A,B)'";
    if text.is_empty() {
        return Err(format!("a term is empty: {expected}"));
    }
    if text.contains(['<', '>']) {
        return Err(format!("'<' and '>' are not supported: {expected}"));
    }
    let made = |name: &str, is: Is| key(name).map(|key| Term { key, is });
    let one = |text: &str| value(text.trim()).map(|value| vec![value]);
    if let Some(name) = text.strip_prefix('!') {
        return made(name.trim(), Is::Absent);
    }
    if let Some((name, list)) = text.split_once('(') {
        let list = list.trim_end().strip_suffix(')').ok_or_else(|| expected.to_owned())?;
        let values = list.split(',').map(|one| value(one.trim())).collect::<Result<Vec<_>, _>>()?;
        return match name.split_whitespace().collect::<Vec<_>>().as_slice() {
            [name, "in"] => made(name, Is::In(values)),
            [name, "notin"] => made(name, Is::NotIn(values)),
            _ => Err(expected.to_owned()),
        };
    }
    if let Some((name, other)) = text.split_once("!=") {
        return made(name.trim(), Is::NotIn(one(other)?));
    }
    if let Some((name, other)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return made(name.trim(), Is::In(one(other)?));
    }
    made(text, Is::There)
}

/// Checks a label's key: a name, and before it a DNS name and a slash if there is one.
pub(super) fn key(text: &str) -> Result<String, String> {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    let shown: String = text.chars().take(80).collect();
    if name.is_empty() || !is_word(name) {
        return Err(format!(
            "{shown:?} is no key of a label: up to {NAME_AT_MOST} letters, digits, '-', '_', '.', beginning and ending with a letter or digit, after an optional prefix and '/'"
        ));
    }
    let part_ok = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    if prefix.is_some_and(|prefix| prefix.len() > PREFIX_AT_MOST || !prefix.split('.').all(part_ok)) {
        return Err(format!("{shown:?} is no key of a label: what stands before '/' is no DNS name in lower case"));
    }
    Ok(text.to_owned())
}

fn value(text: &str) -> Result<String, String> {
    if text.is_empty() || is_word(text) {
        return Ok(text.to_owned());
    }
    let shown: String = text.chars().take(80).collect();
    Err(format!(
        "{shown:?} is no value of a label: up to {NAME_AT_MOST} letters, digits, '-', '_', '.', beginning and ending with a letter or digit"
    ))
}

fn is_word(text: &str) -> bool {
    let ends = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    text.len() <= NAME_AT_MOST
        && ends(text.bytes().next())
        && ends(text.bytes().last())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_match_as_in_kubernetes() {
        let labels: BTreeMap<String, String> =
            [("pool", "a"), ("topology.kubernetes.io/zone", "eu-1b"), ("node-role.kubernetes.io/worker", "")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into();
        for (text, want) in [
            ("pool=a", true),
            ("pool==a", true),
            ("pool = a", true),
            ("pool=b", false),
            ("pool!=b", true),
            ("pool!=a", false),
            ("other!=x", true),
            ("other=x", false),
            ("pool", true),
            ("!pool", false),
            ("!other", true),
            ("node-role.kubernetes.io/worker", true),
            ("node-role.kubernetes.io/worker=", true),
            ("pool=", false),
            ("pool=a,topology.kubernetes.io/zone=eu-1b", true),
            ("pool=a,topology.kubernetes.io/zone=eu-1c", false),
            ("pool in (b, a),!other", true),
            ("pool in (b,c)", false),
            ("pool notin (b,c)", true),
            ("pool notin (a)", false),
            ("other notin (a)", true),
        ] {
            assert_eq!(text.parse::<LabelSelector>().unwrap().matches(&labels), want, "{text}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused_with_the_part_that_is_wrong() {
        for (text, part) in [
            ("", "a term is empty"),
            ("a=b,", "a term is empty"),
            ("=b", "no key"),
            ("a=b c", "no value"),
            ("a=-b", "no value"),
            ("-a=b", "no key"),
            ("Example.COM/a=b", "DNS name"),
            ("a/b/c=d", "no key"),
            ("/a=b", "DNS name"),
            ("a in (b", "parenthesis"),
            ("a in b)", "parenthesis"),
            ("a within (b)", "write KEY"),
            ("a>1", "'<' and '>'"),
            ("a=b=c", "no value"),
            ("a in (b,c) d", "write KEY"),
            ("é=b", "no key"),
        ] {
            let error = text.parse::<LabelSelector>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        let long = format!("{}=b", "a".repeat(64));
        assert!(long.parse::<LabelSelector>().is_err() && long[1..].parse::<LabelSelector>().is_ok());
    }
}
