//! dockerd's configuration file as text: read as dockerd reads it, and changed in one place only, so that every
//! other byte stays as the operator wrote it. Its values may be secrets: no error quotes one. No I/O.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::change::Edit;
use crate::printable::printable;

/// Objects whose keys are options of their own; the keys of any other nested object count as the file's own
/// (moby@v20.10.24:daemon/config/config.go, `flatOptions` and `configValuesSet`).
const FLAT: [&str; 10] = [
    "cluster-store-opts",
    "log-opts",
    "runtimes",
    "default-ulimits",
    "features",
    "builder",
    "default-network-opts",
    "proxies",
    "nri-opts",
    "network-opts",
];

/// Why a configuration file cannot be changed safely.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// It begins with a byte order mark.
    #[error("begins with a byte order mark, which dockerd before 23.0 does not read")]
    ByteOrderMark,
    /// It is not JSON; the text names the place.
    #[error("is not valid JSON: {0}")]
    Syntax(String),
    /// It is JSON, but no object.
    #[error("is not a JSON object at its top level")]
    NotAnObject,
    /// A key stands twice; dockerd takes the last one.
    #[error("has the key {0:?} twice: which one counts is not for us to choose")]
    TwiceNamed(String),
    /// A key that dockerd takes for an unknown one, or for another one's twin.
    #[error("has the key {0:?}: dockerd knows only \"debug\" and would refuse the whole file")]
    Miswritten(String),
    /// A nested `debug` that dockerd takes for one of the top level.
    #[error("has a key \"debug\" inside {0:?}, which dockerd takes for one of the top level")]
    Nested(String),
    /// `debug` is neither true nor false.
    #[error("has \"debug\" set to {0}, which is neither true nor false")]
    DebugType(&'static str),
    /// The changed text would say something else besides.
    #[error("cannot be edited without changing more than \"debug\"")]
    NotSeparable,
}

/// The file's text, understood.
#[derive(Debug, Clone, PartialEq)]
pub struct DaemonJson {
    text: Vec<u8>,
    /// All keys of the top level.
    pub keys: Map<String, Value>,
    /// Nothing but blanks: an empty object to dockerd 23.0 and later, an error to earlier ones.
    pub blank: bool,
    /// Just behind the top level's brace.
    inside: usize,
    /// Where the value of `debug` stands.
    debug: Option<(usize, usize)>,
}

impl DaemonJson {
    /// Reads a file's bytes; `None` is a file that is not there.
    ///
    /// # Errors
    /// When dockerd would not read them, or not all versions in the same way.
    pub fn read(text: Option<&[u8]>) -> Result<Self, ConfigError> {
        let text = text.unwrap_or_default();
        if [&b"\xef\xbb\xbf"[..], b"\xff\xfe", b"\xfe\xff"].iter().any(|bom| text.starts_with(bom)) {
            return Err(ConfigError::ByteOrderMark);
        }
        if text.iter().all(|b| is_blank(*b)) {
            return Ok(Self { text: text.to_owned(), keys: Map::new(), blank: true, inside: 0, debug: None });
        }
        let value: Value = serde_json::from_slice(text).map_err(|e| ConfigError::Syntax(e.to_string()))?;
        let Value::Object(keys) = value else { return Err(ConfigError::NotAnObject) };
        let mut scan = Scan { text, at: 0 };
        scan.blanks();
        scan.at += 1;
        let inside = scan.at;
        let mut debug = None;
        let mut names: Vec<String> = Vec::new();
        while let Some((name, value)) = scan.member() {
            if names.contains(&name) {
                return Err(ConfigError::TwiceNamed(printable(&name, 80)));
            }
            if name == "debug" {
                debug = Some(value);
            } else if name.eq_ignore_ascii_case("debug") {
                return Err(ConfigError::Miswritten(printable(&name, 80)));
            }
            names.push(name);
        }
        if names.len() != keys.len() {
            return Err(ConfigError::NotSeparable);
        }
        for (name, value) in &keys {
            if !FLAT.contains(&name.as_str()) && value.as_object().is_some_and(|o| o.contains_key("debug")) {
                return Err(ConfigError::Nested(printable(name, 80)));
            }
        }
        let wrong = match keys.get("debug") {
            None | Some(Value::Bool(_)) => None,
            Some(Value::Null) => Some("null"),
            Some(Value::String(_)) => Some("a string"),
            Some(Value::Number(_)) => Some("a number"),
            Some(Value::Array(_)) => Some("an array"),
            Some(Value::Object(_)) => Some("an object"),
        };
        match wrong {
            Some(what) => Err(ConfigError::DebugType(what)),
            None => Ok(Self { text: text.to_owned(), keys, blank: false, inside, debug }),
        }
    }

    /// Returns the value of `debug`.
    #[must_use]
    pub fn debug(&self) -> Option<bool> {
        self.keys.get("debug").and_then(Value::as_bool)
    }

    /// Returns the edit that sets `debug` to `on`. Its result was parsed and differs in nothing else.
    ///
    /// # Errors
    /// When no such edit was found.
    pub fn edit(&self, on: bool) -> Result<Edit, ConfigError> {
        let (at, delete, insert) = match self.debug {
            Some((start, end)) => (start, end - start, on.to_string()),
            None if self.blank => (0, 0, format!("{{\"debug\": {on}}}")),
            None if self.keys.is_empty() => (self.inside, 0, format!("\"debug\": {on}")),
            None => (self.inside, 0, format!("\"debug\": {on},")),
        };
        let result = splice(&self.text, at, delete, &insert).ok_or(ConfigError::NotSeparable)?;
        let after = Self::read(Some(&result)).map_err(|_| ConfigError::NotSeparable)?;
        let without = |keys: &Map<String, Value>| {
            let mut keys = keys.clone();
            keys.remove("debug");
            keys
        };
        if after.debug() != Some(on) || without(&after.keys) != without(&self.keys) {
            return Err(ConfigError::NotSeparable);
        }
        Ok(Edit { at: at as u64, delete: delete as u64, insert, sha256: sha256(&result) })
    }
}

/// Returns a text's hex sha256.
#[must_use]
pub fn sha256(text: &[u8]) -> String {
    Sha256::digest(text).iter().map(|b| format!("{b:02x}")).collect()
}

/// Returns the text with `delete` bytes at `at` replaced.
fn splice(text: &[u8], at: usize, delete: usize, insert: &str) -> Option<Vec<u8>> {
    let rest = text.get(at.checked_add(delete)?..)?;
    Some([text.get(..at)?, insert.as_bytes(), rest].concat())
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Walks through the top level of a text that is known to be a JSON object.
struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while self.peek().is_some_and(is_blank) {
            self.at += 1;
        }
    }

    /// Steps over a string.
    fn string(&mut self) {
        self.at += 1;
        while let Some(byte) = self.peek() {
            self.at += if byte == b'\\' { 2 } else { 1 };
            if byte == b'"' {
                break;
            }
        }
    }

    /// Steps over a value.
    fn value(&mut self) {
        let mut depth = 0_usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.string();
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b',' | b'}' | b']' if depth == 0 => break,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
        }
    }

    /// Returns the next member's name, and from where to where its value stands.
    fn member(&mut self) -> Option<(String, (usize, usize))> {
        self.blanks();
        if self.peek() == Some(b',') {
            self.at += 1;
            self.blanks();
        }
        if self.peek() != Some(b'"') {
            return None;
        }
        let start = self.at;
        self.string();
        let name: String = serde_json::from_slice(self.text.get(start..self.at)?).ok()?;
        self.blanks();
        self.at += 1; // the colon
        self.blanks();
        let start = self.at;
        self.value();
        let mut end = self.at;
        while end > start && self.text.get(end - 1).copied().is_some_and(is_blank) {
            end -= 1;
        }
        Some((name, (start, end)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn edited(text: &str, on: bool) -> String {
        let edit = DaemonJson::read(Some(text.as_bytes())).unwrap().edit(on).unwrap();
        let result = splice(text.as_bytes(), edit.at as usize, edit.delete as usize, &edit.insert).unwrap();
        assert_eq!(edit.sha256, sha256(&result));
        String::from_utf8(result).unwrap()
    }

    #[test]
    fn the_key_is_inserted_or_its_value_replaced() {
        for (text, on, off) in [
            ("{}", r#"{"debug": true}"#, r#"{"debug": false}"#),
            (" {\n }\n", " {\"debug\": true\n }\n", " {\"debug\": false\n }\n"),
            ("{\n  \"a\": 1\n}\n", "{\"debug\": true,\n  \"a\": 1\n}\n", "{\"debug\": false,\n  \"a\": 1\n}\n"),
            (r#"{"debug":false}"#, r#"{"debug":true}"#, r#"{"debug":false}"#),
            (r#"{"a":"}", "debug" : false , "b":2}"#, r#"{"a":"}", "debug" : true , "b":2}"#, ""),
            (r#"{"a":"{\"debug\": false"}"#, r#"{"debug": true,"a":"{\"debug\": false"}"#, ""),
            (r#"{"de\u0062ug":false}"#, r#"{"de\u0062ug":true}"#, r#"{"de\u0062ug":false}"#),
            (r#"{"log-opts":{"debug":"x"}}"#, r#"{"debug": true,"log-opts":{"debug":"x"}}"#, ""),
            ("", r#"{"debug": true}"#, r#"{"debug": false}"#),
            (" \n", "{\"debug\": true} \n", "{\"debug\": false} \n"),
        ] {
            assert_eq!(edited(text, true), on);
            if !off.is_empty() {
                assert_eq!(edited(text, false), off);
            }
        }
        let missing = DaemonJson::read(None).unwrap().edit(true).unwrap();
        assert_eq!((missing.at, missing.delete, missing.insert.as_str()), (0, 0, r#"{"debug": true}"#));
    }

    #[test]
    fn what_dockerd_might_read_otherwise_is_refused() {
        for (text, want) in [
            (&b"\xef\xbb\xbf{}"[..], "byte order mark"),
            (b"\xff\xfe{\0}\0", "byte order mark"),
            (b"{", "not valid JSON: EOF while parsing an object at line 1 column 1"),
            (b"{} x", "not valid JSON: trailing characters"),
            (b"[]", "not a JSON object"),
            (b"{\"a\":1,\"a\":1}", "the key \"a\" twice"),
            (b"{\"debug\":false,\"de\\u0062ug\":false}", "the key \"debug\" twice"),
            (b"{\"Debug\":true}", "the key \"Debug\""),
            (b"{\"debug\":null}", "set to null"),
            (b"{\"debug\":\"false\"}", "set to a string"),
            (b"{\"x\":{\"debug\":true}}", "inside \"x\""),
            (b"{\"a\":\"\xff\"}", "not valid JSON"),
        ] {
            let error = DaemonJson::read(Some(text)).unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        }
        let error = DaemonJson::read(Some(br#"{"token": "hunter2" "x"}"#)).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            r#"[a-z{}\[\]",:\\ ]{0,12}"#.prop_map(Value::from),
            Just(Value::from("\"debug\": false}")),
        ];
        leaf.prop_recursive(3, 24, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-z{}\"]{0,6}", inner, 0..5)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_result_differs_in_debug_alone(
            members in prop::collection::btree_map(r#"[a-z{}",\\-]{1,8}"#, value(), 0..6),
            debug in any::<bool>(), pretty in any::<bool>(), before in "[ \t\n]{0,3}", after in "[ \t\r\n]{0,3}",
        ) {
            let mut keys: Map<String, Value> = members.into_iter().filter(|(k, _)| k != "debug").collect();
            if debug {
                keys.insert("debug".to_owned(), Value::Bool(false));
            }
            let whole = Value::Object(keys.clone());
            let text = if pretty { serde_json::to_string_pretty(&whole) } else { serde_json::to_string(&whole) };
            let text = format!("{before}{}{after}", text.unwrap());
            for on in [true, false] {
                let result: Value = serde_json::from_str(&edited(&text, on)).unwrap();
                let mut want = keys.clone();
                want.insert("debug".to_owned(), Value::Bool(on));
                prop_assert_eq!(result, Value::Object(want));
            }
            if debug {
                prop_assert_eq!(edited(&text, false), text);
            }
        }
    }
}
