//! One line of Prometheus text: name, labels, value, time stamp. By "Exposition formats" of the Prometheus
//! documentation; exemplars and created stamps of OpenMetrics are passed over.

use std::borrow::Cow;

/// One sample, borrowed from its line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample<'a> {
    /// The name, with `_bucket`, `_sum`, `_count`, `_total` where the line has it.
    pub name: &'a str,
    /// The labels.
    pub labels: Labels<'a>,
    /// The value; NaN and infinities are values.
    pub value: f64,
    /// The time stamp if there is one: milliseconds in version 0.0.4, seconds in OpenMetrics.
    pub timestamp: Option<f64>,
}

/// The labels of a sample, read when asked for; known to be well-formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Labels<'a> {
    inner: &'a str,
}

impl<'a> Labels<'a> {
    /// Returns the value of a label, escapes undone.
    #[must_use]
    pub fn get(self, name: &str) -> Option<Cow<'a, str>> {
        self.iter().find_map(|(n, value)| (n == name).then_some(value))
    }

    /// Returns all labels in the order of the line.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> {
        let mut rest = self.inner;
        std::iter::from_fn(move || {
            let (name, raw, behind) = pair(rest)?;
            rest = behind;
            Some((name, unescaped(raw)))
        })
    }
}

/// Reads a line; `None` for comments, empty lines and what is not a sample.
#[must_use]
pub fn sample(line: &str) -> Option<Sample<'_>> {
    let line = line.trim_start_matches([' ', '\t']);
    let end = line.find(|c: char| !is_name(c)).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let mut rest = rest.trim_start_matches([' ', '\t']);
    let mut labels = Labels::default();
    if let Some(inner) = rest.strip_prefix('{') {
        let mut at = inner;
        let behind = loop {
            let trimmed = at.trim_start_matches([' ', '\t']);
            if let Some(behind) = trimmed.strip_prefix('}') {
                labels = Labels { inner: inner.get(..inner.len() - trimmed.len())? };
                break behind;
            }
            let (_, _, behind) = pair(trimmed)?;
            // `pair` takes the comma along; without one the list must end.
            if behind.len() == trimmed.len() {
                return None;
            }
            at = behind;
        };
        rest = behind;
    } else if !line.get(end..).is_some_and(|r| r.starts_with([' ', '\t'])) {
        return None;
    }
    let mut words = rest.split([' ', '\t']).filter(|w| !w.is_empty());
    let value = words.next()?.parse().ok()?;
    let timestamp = match words.next() {
        None | Some("#") => None,
        Some(word) => Some(word.parse().ok()?),
    };
    Some(Sample { name, labels, value, timestamp })
}

const fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | ':')
}

/// Takes `name="value"` and the comma behind it; what is left may start with blanks.
fn pair(text: &str) -> Option<(&str, &str, &str)> {
    let blanks = [' ', '\t'];
    let text = text.trim_start_matches(blanks);
    let end = text.find(|c: char| !is_name(c)).filter(|end| *end > 0)?;
    let (name, rest) = text.split_at(end);
    let rest = rest.trim_start_matches(blanks).strip_prefix('=')?.trim_start_matches(blanks).strip_prefix('"')?;
    let mut escaped = false;
    let close = rest.bytes().position(|b| match b {
        _ if escaped => {
            escaped = false;
            false
        }
        b'\\' => {
            escaped = true;
            false
        }
        b => b == b'"',
    })?;
    let value = rest.get(..close)?;
    let behind = rest.get(close + 1..)?.trim_start_matches(blanks);
    match behind.strip_prefix(',') {
        Some(behind) => Some((name, value, behind)),
        None if behind.is_empty() || behind.starts_with('}') => Some((name, value, behind)),
        None => None,
    }
}

/// Undoes `\\`, `\"` and `\n`, the only escapes of the format.
fn unescaped(raw: &str) -> Cow<'_, str> {
    if !raw.contains('\\') {
        return Cow::Borrowed(raw);
    }
    let mut out = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some(c @ ('"' | '\\')) => out.push(c),
            Some(c) => {
                out.push('\\');
                out.push(c);
            }
            None => out.push('\\'),
        }
    }
    Cow::Owned(out)
}
