//! Reading a TOML document table by table, so that every complaint names file, line and key.
//!
//! A [`Section`] hands out the keys it is asked for, remembers which, and refuses the rest in
//! [`Section::finish`]. Written by hand because serde's untagged and flattened forms lose positions.

use std::cell::RefCell;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{InventoryError, did_you_mean};

/// The file a document came from.
pub(crate) struct Source<'a> {
    /// Its name for messages.
    file: &'a str,
    /// Where its lines end.
    line_ends: Vec<usize>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(file: &'a str, text: &str) -> Self {
        let line_ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect();
        Self { file, line_ends }
    }

    fn line(&self, offset: usize) -> usize {
        self.line_ends.partition_point(|end| *end < offset) + 1
    }

    pub(crate) fn fail(&self, span: &Range<usize>, what: &str, reason: &str) -> InventoryError {
        InventoryError::File(format!("{what} at {}:{}: {reason}", self.file, self.line(span.start)))
    }
}

/// A value with the place it stands at.
pub(crate) struct Entry<'a> {
    source: &'a Source<'a>,
    /// `defaults.user`.
    pub(crate) path: String,
    span: Range<usize>,
    value: &'a DeValue<'a>,
}

impl<'a> Entry<'a> {
    pub(crate) fn fail(&self, reason: &str) -> InventoryError {
        self.source.fail(&self.span, &format!("`{}`", self.path), reason)
    }

    fn expected(&self, what: &str) -> InventoryError {
        let got = match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.fail(&format!("expected {what}, got {got}"))
    }

    pub(crate) fn line(&self) -> usize {
        self.source.line(self.span.start)
    }

    pub(crate) fn string(&self, what: &str) -> Result<&'a str, InventoryError> {
        match self.value {
            DeValue::String(text) if text.is_empty() => {
                Err(self.fail(&format!("expected {what}, got an empty string")))
            }
            DeValue::String(text) => Ok(text.as_ref()),
            _ => Err(self.expected(what)),
        }
    }

    pub(crate) fn bool(&self) -> Result<bool, InventoryError> {
        match self.value {
            DeValue::Boolean(value) => Ok(*value),
            _ => Err(self.expected("true or false")),
        }
    }

    /// As a boolean if it is one.
    pub(crate) const fn as_bool(&self) -> Option<bool> {
        match self.value {
            DeValue::Boolean(value) => Some(*value),
            _ => None,
        }
    }

    pub(crate) fn integer(&self, within: Range<u64>) -> Result<u64, InventoryError> {
        let what = format!("a whole number from {} to {}", within.start, within.end - 1);
        let DeValue::Integer(number) = self.value else { return Err(self.expected(&what)) };
        match u64::from_str_radix(number.as_str(), number.radix()) {
            Ok(value) if within.contains(&value) => Ok(value),
            _ => Err(self.fail(&format!("expected {what}, got {number}"))),
        }
    }

    /// A duration in human form, more than zero.
    pub(crate) fn duration(&self) -> Result<Duration, InventoryError> {
        let what = "a duration such as \"20s\" or \"5m\"";
        match self.value {
            DeValue::Integer(number) => Err(self.fail(&format!("a duration needs its unit: write \"{number}s\""))),
            DeValue::String(text) => match humantime::parse_duration(text) {
                Ok(value) if value.is_zero() => Err(self.fail("expected a duration of more than zero")),
                Ok(value) => Ok(value),
                Err(error) => Err(self.fail(&format!("expected {what}, got {text:?} ({error})"))),
            },
            _ => Err(self.expected(what)),
        }
    }

    /// A size in bytes, in human form, more than zero.
    pub(crate) fn size(&self) -> Result<u64, InventoryError> {
        let what = "a size such as \"64MB\" or \"2GiB\"";
        match self.value {
            DeValue::Integer(_) => self.integer(1..i64::MAX as u64),
            DeValue::String(text) => match text.parse::<bytesize::ByteSize>() {
                Ok(value) if value.as_u64() == 0 => Err(self.fail("expected a size of more than zero")),
                Ok(value) => Ok(value.as_u64()),
                Err(_) => Err(self.fail(&format!("expected {what}, got {text:?}"))),
            },
            _ => Err(self.expected(what)),
        }
    }

    /// A list of strings; a single string counts as a list of one.
    pub(crate) fn strings(&self, what: &str) -> Result<Vec<Self>, InventoryError> {
        match self.value {
            DeValue::String(_) => Ok(vec![self.again(self.span.clone(), self.value)]),
            DeValue::Array(items) => {
                let entries: Vec<_> = items.iter().map(|item| self.again(item.span(), item.get_ref())).collect();
                for entry in &entries {
                    entry.string(what)?;
                }
                Ok(entries)
            }
            _ => Err(self.expected(&format!("a list of strings ({what})"))),
        }
    }

    fn again(&self, span: Range<usize>, value: &'a DeValue<'a>) -> Self {
        Self { source: self.source, path: self.path.clone(), span, value }
    }

    /// One of a few words.
    pub(crate) fn one_of<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, InventoryError> {
        let list: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        let what = list.join(" or ");
        let text = self.string(&what)?;
        words
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, value)| *value)
            .ok_or_else(|| self.fail(&format!("expected {what}, got {text:?}")))
    }

    /// A table under this key.
    pub(crate) fn section(&self) -> Result<Section<'a>, InventoryError> {
        match self.value {
            DeValue::Table(table) => Ok(Section {
                source: self.source,
                path: self.path.clone(),
                span: self.span.clone(),
                table,
                asked: RefCell::default(),
            }),
            _ => Err(self.expected(&format!("a table, [{}]", self.path))),
        }
    }

    /// A list of tables under this key, `[[key]]`.
    pub(crate) fn sections(&self) -> Result<Vec<Section<'a>>, InventoryError> {
        match self.value {
            DeValue::Array(items) => {
                items.iter().map(|item| self.again(item.span(), item.get_ref()).section()).collect()
            }
            _ => Err(self.expected(&format!("tables written as [[{}]]", self.path))),
        }
    }
}

/// A table whose keys are read one by one.
pub(crate) struct Section<'a> {
    source: &'a Source<'a>,
    /// `defaults`; empty for the document itself.
    pub(crate) path: String,
    span: Range<usize>,
    table: &'a DeTable<'a>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    /// The document itself.
    pub(crate) fn root(source: &'a Source<'a>, table: &'a Spanned<DeTable<'a>>) -> Self {
        Self { source, path: String::new(), span: 0..0, table: table.get_ref(), asked: RefCell::default() }
    }

    pub(crate) fn line(&self) -> usize {
        self.source.line(self.span.start)
    }

    pub(crate) const fn file(&self) -> &'a str {
        self.source.file
    }

    /// An error about this table as a whole.
    pub(crate) fn fail(&self, reason: &str) -> InventoryError {
        self.source.fail(&self.span, &format!("`{}`", self.path), reason)
    }

    /// Returns the entry at `key`, and notes that this key is known.
    pub(crate) fn get(&self, key: &'static str) -> Option<Entry<'a>> {
        self.asked.borrow_mut().push(key);
        self.table.iter().find(|(k, _)| k.get_ref().as_ref() == key).map(|(k, v)| self.entry(k.get_ref(), k.span(), v))
    }

    /// Returns all entries in the order of the file; for tables whose keys are names.
    pub(crate) fn entries(&self) -> Vec<(&'a str, Entry<'a>)> {
        let mut all: Vec<_> =
            self.table.iter().map(|(k, v)| (k.get_ref().as_ref(), self.entry(k.get_ref(), k.span(), v))).collect();
        all.sort_by_key(|(_, entry)| entry.span.start);
        all
    }

    fn entry(&self, key: &str, span: Range<usize>, value: &'a Spanned<DeValue<'a>>) -> Entry<'a> {
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        Entry { source: self.source, path, span, value: value.get_ref() }
    }

    /// Refuses every key that was never asked for.
    pub(crate) fn finish(&self) -> Result<(), InventoryError> {
        let asked = self.asked.borrow();
        for (key, entry) in self.entries() {
            if !asked.contains(&key) {
                let mut hint = did_you_mean(key, asked.iter().copied(), 1);
                if asked.is_empty() {
                    hint = format!(": this version takes no keys in [{}]", self.path);
                } else if hint.is_empty() {
                    let mut known = asked.clone();
                    known.sort_unstable();
                    known.dedup();
                    hint = format!(": the keys here are {}", known.join(", "));
                }
                let (file, line) = (self.source.file, entry.line());
                return Err(InventoryError::File(format!("unknown key `{}` at {file}:{line}{hint}", entry.path)));
            }
        }
        Ok(())
    }

    /// Returns the whole table as a plain value, for a reader elsewhere.
    pub(crate) fn to_table(&self) -> Result<toml::Table, InventoryError> {
        self.table.iter().map(|(k, v)| Ok((k.get_ref().to_string(), self.plain(v)?))).collect()
    }

    fn plain(&self, value: &Spanned<DeValue<'a>>) -> Result<toml::Value, InventoryError> {
        let number = |what: &str| self.source.fail(&value.span(), &format!("`{}`", self.path), what);
        Ok(match value.get_ref() {
            DeValue::String(text) => toml::Value::String(text.to_string()),
            DeValue::Integer(n) => toml::Value::Integer(
                i64::from_str_radix(n.as_str(), n.radix()).map_err(|_| number("the number is too large"))?,
            ),
            DeValue::Float(n) => {
                toml::Value::Float(n.as_str().parse().map_err(|_| number("the number cannot be read"))?)
            }
            DeValue::Boolean(b) => toml::Value::Boolean(*b),
            DeValue::Datetime(d) => toml::Value::Datetime(*d),
            DeValue::Array(items) => toml::Value::Array(items.iter().map(|i| self.plain(i)).collect::<Result<_, _>>()?),
            DeValue::Table(table) => toml::Value::Table(
                table
                    .iter()
                    .map(|(k, v)| Ok((k.get_ref().to_string(), self.plain(v)?)))
                    .collect::<Result<_, InventoryError>>()?,
            ),
        })
    }
}
