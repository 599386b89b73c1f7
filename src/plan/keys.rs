//! Reads the keys of a step's table one by one, with messages that name the key and the nearest right one.
//! Used by `schema.rs`.

use std::time::Duration;

use super::capability::{self, Capability};
use super::placeholder::{self, Template};

/// Reads values out of a table, key by key.
pub(crate) struct Keys {
    table: toml::Table,
    place: &'static str,
}

impl Keys {
    /// `place` stands before each key in messages.
    pub(crate) fn new(table: toml::Table, place: &'static str) -> Self {
        Self { table, place }
    }

    pub(crate) fn take(&mut self, key: &str) -> Option<toml::Value> {
        self.table.remove(key)
    }

    pub(crate) fn refuse_unknown(&self, known: &[&str]) -> Result<(), String> {
        match self.table.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            // The slip everybody makes with a first step of their own.
            Some(key) if ["argv", "script", "script-file"].contains(&key.as_str()) && known.contains(&"try") => {
                Err(format!("key `{}{key}` belongs under [[step.try]], one line further down", self.place))
            }
            Some(key) => Err(format!("key `{}{key}` is unknown{}", self.place, did_you_mean(key, known))),
        }
    }

    pub(crate) fn text(&mut self, key: &str) -> Result<Option<String>, String> {
        match self.table.remove(key) {
            None => Ok(None),
            Some(toml::Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(format!("key `{}{key}` must be a text", self.place)),
        }
    }

    pub(crate) fn texts(&mut self, key: &str) -> Result<Option<Vec<String>>, String> {
        let Some(value) = self.table.remove(key) else { return Ok(None) };
        let texts: Vec<String> =
            value.try_into().map_err(|_| format!("key `{}{key}` must be a list of texts", self.place))?;
        if texts.len() > 100 || texts.iter().any(|t| t.len() > 4096 || t.contains('\0')) {
            return Err(format!("key `{}{key}` is too long, or holds a zero byte", self.place));
        }
        Ok(Some(texts))
    }

    pub(crate) fn templates(&mut self, key: &str) -> Result<Option<Vec<Template>>, String> {
        let Some(texts) = self.texts(key)? else { return Ok(None) };
        let place = self.place;
        let parse = |text: &String| {
            Template::parse(text).map_err(|name| {
                let near = did_you_mean(&name, &placeholder::NAMES);
                format!("key `{place}{key}`: there is no placeholder {{{name}}}{near}")
            })
        };
        texts.iter().map(parse).collect::<Result<_, _>>().map(Some)
    }

    /// One text with placeholders.
    pub(crate) fn template(&mut self, key: &'static str) -> Result<Option<Template>, String> {
        if !matches!(self.table.get(key), None | Some(toml::Value::String(_))) {
            return Err(format!("key `{}{key}` must be a text", self.place));
        }
        if let Some(toml::Value::String(text)) = self.table.remove(key) {
            self.table.insert(key.to_owned(), toml::Value::Array(vec![toml::Value::String(text)]));
        }
        Ok(self.templates(key)?.and_then(|list| list.into_iter().next()))
    }

    pub(crate) fn flag(&mut self, key: &str) -> Result<bool, String> {
        match self.table.remove(key) {
            None => Ok(false),
            Some(toml::Value::Boolean(value)) => Ok(value),
            Some(_) => Err(format!("key `{}{key}` must be true or false", self.place)),
        }
    }

    pub(crate) fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)], default: T) -> Result<T, String> {
        self.text(key)?.map_or(Ok(default), |text| one_of(key, &text, choices))
    }

    pub(crate) fn duration(
        &mut self,
        key: &str,
        default: Duration,
        range: std::ops::RangeInclusive<Duration>,
    ) -> Result<Duration, String> {
        let Some(text) = self.text(key)? else { return Ok(default) };
        let value = humantime::parse_duration(&text)
            .map_err(|_| format!("key `{key}`: {text:?} is no duration; write it as \"20s\" or \"2m\""))?;
        if range.contains(&value) {
            return Ok(value);
        }
        let (least, most) = (humantime::format_duration(*range.start()), humantime::format_duration(*range.end()));
        Err(format!("key `{key}`: {text} is outside {least} to {most}"))
    }

    pub(crate) fn size(
        &mut self,
        key: &str,
        default: u64,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<u64, String> {
        let Some(text) = self.text(key)? else { return Ok(default) };
        let size: bytesize::ByteSize =
            text.parse().map_err(|_| format!("key `{key}`: {text:?} is no size; write it as \"64MB\""))?;
        if range.contains(&size.as_u64()) {
            return Ok(size.as_u64());
        }
        Err(format!("key `{key}`: {text} is outside 1 byte to 1 TiB"))
    }

    pub(crate) fn statuses(&mut self, key: &str) -> Result<Vec<i32>, String> {
        let Some(value) = self.table.remove(key) else { return Ok(vec![0]) };
        let statuses: Vec<i32> = value.try_into().map_err(|_| format!("key `{key}` must be a list of numbers"))?;
        if statuses.is_empty() || statuses.len() > 20 || statuses.iter().any(|s| !(0..=255).contains(s)) {
            return Err(format!("key `{key}` must hold 1 to 20 numbers from 0 to 255"));
        }
        Ok(statuses)
    }

    pub(crate) fn capabilities(&mut self) -> Result<Vec<Capability>, String> {
        let place = self.place;
        let named = |name: &String| {
            Capability::named(name).ok_or_else(|| {
                let near = did_you_mean(name, &capability::NAMES);
                format!("key `{place}requires`: there is no capability {name:?}{near}")
            })
        };
        self.texts("requires")?.unwrap_or_default().iter().map(named).collect()
    }
}

pub(crate) fn one_of<T: Copy>(key: &str, text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        format!("key `{key}`: {text:?} is none of {}", names.join(", "))
    })
}

/// Returns `; did you mean "x"?` for the nearest name that is near enough, or nothing.
pub(crate) fn did_you_mean(wrong: &str, known: &[&str]) -> String {
    nearest(wrong, known.iter().copied(), 1).first().map(|near| format!("; did you mean {near:?}?")).unwrap_or_default()
}

/// Returns up to `most` of the known names that resemble a wrong one, the nearest first.
pub(crate) fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>, most: usize) -> Vec<&'a str> {
    // What is far longer than any name is no slip of the pen, and comparing it costs time.
    if wrong.len() > 200 {
        return Vec::new();
    }
    let mut near: Vec<(f64, &str)> =
        known.map(|name| (strsim::jaro_winkler(wrong, name), name)).filter(|(score, _)| *score > 0.75).collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    near.into_iter().take(most).map(|(_, name)| name).collect()
}
