//! The `key=value` pairs of structured log lines, of klog and of logrus alike, and the members of lines that are JSON;
//! borrowed from the line.

use crate::analyze::line::Text;

/// The pairs of one line in their order. Words that are no pair are skipped; a value without its closing quote or
/// bracket goes to the end of the line, as of a line that was cut.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fields<'a> {
    rest: &'a str,
    json: bool,
}

impl<'a> Fields<'a> {
    /// Reads the pairs of `rest`.
    #[must_use]
    pub const fn new(rest: &'a str) -> Self {
        Self { rest, json: false }
    }

    /// Reads the members of a JSON object, given without its opening brace. Objects and lists in it are values as they stand.
    #[must_use]
    pub const fn json(rest: &'a str) -> Self {
        Self { rest, json: true }
    }

    /// Returns the first value of that key.
    #[must_use]
    pub fn get(mut self, key: &str) -> Option<Text<'a>> {
        self.find_map(|(k, v)| (k == key).then_some(v))
    }

    /// Tells whether the line was JSON.
    #[must_use]
    pub const fn is_json(self) -> bool {
        self.json
    }

    /// Returns what is not read yet.
    #[must_use]
    pub const fn rest(self) -> &'a str {
        self.rest
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a str, Text<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.json {
            let (member, rest) = member(std::mem::take(&mut self.rest))?;
            self.rest = rest;
            return Some(member);
        }
        loop {
            self.rest = self.rest.trim_start_matches([' ', '\t']);
            let stop = self.rest.find(['=', ' ', '"'])?;
            let (key, from) = self.rest.split_at(stop);
            if !from.starts_with('=') || key.is_empty() {
                // Not a pair: a quoted piece is skipped whole, lest its inside be taken for pairs.
                self.rest = match from.strip_prefix('"') {
                    Some(inner) => inner.get(quoted(inner).1..).unwrap_or_default(),
                    None => from.get(1..).unwrap_or_default(),
                };
                continue;
            }
            let (value, rest) = value(from.get(1..).unwrap_or_default());
            self.rest = rest;
            return Some((key, value));
        }
    }
}

/// Splits a member from the start of the inside of a JSON object.
fn member(from: &str) -> Option<((&str, Text<'_>), &str)> {
    let inner = from.trim_start_matches([' ', ',', '\t']).strip_prefix('"')?;
    let (end, after) = quoted(inner);
    let from = inner.get(after..)?.trim_start_matches(' ').strip_prefix(':')?.trim_start_matches(' ');
    let (value, rest) = if from.starts_with(['"', '{', '[']) {
        value(from)
    } else {
        let end = from.find([',', '}']).unwrap_or(from.len());
        (Text::plain(from.get(..end)?.trim_end_matches(' ')), from.get(end..)?)
    };
    Some(((inner.get(..end)?, value), rest))
}

/// Splits a value from the start of `from`.
pub(crate) fn value(from: &str) -> (Text<'_>, &str) {
    match from.as_bytes().first() {
        Some(b'"') => {
            let inner = from.get(1..).unwrap_or_default();
            let (end, after) = quoted(inner);
            (Text::quoted(inner.get(..end).unwrap_or(inner)), inner.get(after..).unwrap_or_default())
        }
        Some(b'{' | b'[') => {
            let end = bracketed(from);
            (Text::plain(from.get(..end).unwrap_or(from)), from.get(end..).unwrap_or_default())
        }
        _ => {
            let end = from.find([' ', '\t']).unwrap_or(from.len());
            (Text::plain(from.get(..end).unwrap_or(from)), from.get(end..).unwrap_or_default())
        }
    }
}

/// Where the text behind an opening quote ends, and where its closing quote does.
pub(crate) fn quoted(inner: &str) -> (usize, usize) {
    let mut escaped = false;
    for (at, b) in inner.bytes().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return (at, at + 1),
            _ => {}
        }
    }
    (inner.len(), inner.len())
}

/// Where the bracket that opens `from` is closed; klog writes objects as JSON, and lists as Go does.
fn bracketed(from: &str) -> usize {
    let mut depth = 0_usize;
    let (mut in_quotes, mut escaped) = (false, false);
    for (at, b) in from.bytes().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' if in_quotes => escaped = true,
            b'"' => in_quotes = !in_quotes,
            b'{' | b'[' if !in_quotes => depth += 1,
            b'}' | b']' if !in_quotes => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    from.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_with_every_kind_of_value() {
        let line = r#"err="rpc error: code = DeadlineExceeded desc = \"x\"" cmd=["true"] condition={"type":"Ready","message":"is } down"} n=3 noise key= filter="" end"#;
        let got: Vec<(&str, String)> = Fields::new(line).map(|(k, v)| (k, v.text().into_owned())).collect();
        let want = [
            ("err", r#"rpc error: code = DeadlineExceeded desc = "x""#),
            ("cmd", r#"["true"]"#),
            ("condition", r#"{"type":"Ready","message":"is } down"}"#),
            ("n", "3"),
            ("key", ""),
            ("filter", ""),
        ];
        assert_eq!(got, want.map(|(k, v)| (k, v.to_owned())));
        assert_eq!(Fields::new(line).get("n"), Some(Text::plain("3")));
        assert_eq!(Fields::new(line).get("none"), None);
    }

    #[test]
    fn members_of_a_json_object_are_read_with_every_kind_of_value() {
        let line = r#""ts":1753121332053.9302, "msg":"is \"down\"","v":0,"pod":{"name":"web-1","n":[1,2]},"none":null,"end":"x"}"#;
        let got: Vec<(&str, String)> = Fields::json(line).map(|(k, v)| (k, v.text().into_owned())).collect();
        let want = [
            ("ts", "1753121332053.9302"),
            ("msg", "is \"down\""),
            ("v", "0"),
            ("pod", r#"{"name":"web-1","n":[1,2]}"#),
            ("none", "null"),
            ("end", "x"),
        ];
        assert_eq!(got, want.map(|(k, v)| (k, v.to_owned())));
        for (line, want) in [(r#""a":"b"#, 1), (r#""a""#, 0), (r#""a":"#, 1), ("}", 0), (r#""a":1}"b":2"#, 1)] {
            assert_eq!(Fields::json(line).count(), want, "{line}");
        }
    }

    #[test]
    fn a_value_that_is_cut_goes_to_the_end() {
        for (line, want) in [("a=\"b c", "b c"), ("a={\"b\": {c", "{\"b\": {c"), ("a=\"b\\", "b\\")] {
            assert_eq!(Fields::new(line).map(|(_, v)| v.raw()).collect::<Vec<_>>(), [want]);
        }
        assert_eq!(Fields::new("\"in=side\" x=1").map(|(k, _)| k).collect::<Vec<_>>(), ["x"]);
    }
}
