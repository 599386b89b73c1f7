//! Queries: their pairs, a page of a list, and field selectors.

use serde_json::{Value, json};

/// The pairs of a query, decoded.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Parses what follows the question mark.
    pub(super) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(a, b)| (decoded(a), decoded(b)))
                .collect(),
        )
    }

    /// Returns the value of a name that is there and not empty.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, value)| known == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// Returns whether a name is there, with or without a value.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }
}

/// Decodes `%XX` and `+`.
fn decoded(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16)).unwrap_or_default();
                let (high, low) = (digit(), digit());
                u8::try_from(high * 16 + low).unwrap_or_default()
            }
            byte => byte,
        });
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Cuts a list by `limit` and `continue`; returns its metadata and items. The token says how many were sent before, with
/// characters that have to be encoded in a URL. `None`: the token is none of ours.
pub(super) fn page(items: Vec<Value>, query: &Query, version: &Value) -> Option<(Value, Vec<Value>)> {
    let from = match query.value("continue") {
        Some(token) => token.strip_prefix("fleet+/")?.strip_suffix("==")?.parse().ok()?,
        None => 0,
    };
    let all = items.len();
    let limit = query.value("limit").and_then(|limit| limit.parse().ok()).filter(|limit| *limit > 0).unwrap_or(all);
    let sent: Vec<Value> = items.into_iter().skip(from).take(limit).collect();
    let to = from + sent.len();
    let mut metadata = json!({ "resourceVersion": version });
    if let (true, Some(metadata)) = (to < all, metadata.as_object_mut()) {
        metadata.insert("continue".to_owned(), format!("fleet+/{to}==").into());
        metadata.insert("remainingItemCount".to_owned(), (all - to).into());
    }
    Some((metadata, sent))
}

/// What a field selector may name, for nodes and for events.
const FIELDS: [&str; 12] = [
    "metadata.name",
    "metadata.namespace",
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "type",
    "reportingComponent",
];

/// Keeps what a field selector names; the error is the field that is not known.
pub(super) fn select(items: Vec<Value>, selector: &str) -> Result<Vec<Value>, String> {
    let mut kept = items;
    for term in selector.split(',').filter(|term| !term.is_empty()) {
        let (field, wanted, equal) = match term.split_once("!=") {
            Some((field, value)) => (field, value, false),
            None => {
                let (field, value) = term.split_once('=').ok_or_else(|| term.to_owned())?;
                (field, value.trim_start_matches('='), true)
            }
        };
        if !FIELDS.contains(&field) {
            return Err(field.to_owned());
        }
        let of = |item: &Value| -> String {
            let value = field.split('.').try_fold(item, |value, key| value.get(key));
            value.and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        kept.retain(|item| (of(item) == wanted) == equal);
    }
    Ok(kept)
}
