//! `crictl ps -a`, `crictl pods`, `crictl info`: the tables, and the JSON of `-o json`.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::{Columns, quantity};
use crate::analyze::line::numbered;

/// When something was made: a table says how long ago, JSON says when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// So long before the listing.
    Ago(Duration),
    /// Then, by the node's clock.
    At(Timestamp),
}

/// A container as the CRI runtime has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its id, short if the list is.
    pub id: String,
    /// The pod sandbox it is in.
    pub sandbox: String,
    /// Its name in the pod.
    pub name: String,
    /// The pod's name; new crictl prints it, JSON has it in labels.
    pub pod: Option<String>,
    /// The pod's namespace.
    pub namespace: Option<String>,
    /// `Running`, `Exited`, `Created`, `Unknown`.
    pub state: String,
    /// How often it was started before.
    pub attempt: Option<u32>,
    /// When it was made.
    pub made: Option<Made>,
    /// Line it stands in; 0 for JSON.
    pub line: u64,
}

/// A pod sandbox as the CRI runtime has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// Its id, short if the list is.
    pub id: String,
    /// The pod's name.
    pub name: String,
    /// The pod's namespace.
    pub namespace: String,
    /// Whether it is ready. One that is not stays until the kubelet removes it.
    pub ready: bool,
    /// How often it was made before.
    pub attempt: Option<u32>,
    /// When it was made.
    pub made: Option<Made>,
    /// Line it stands in; 0 for JSON.
    pub line: u64,
}

/// A condition of the runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// `RuntimeReady`, `NetworkReady`.
    pub name: String,
    /// Whether it holds.
    pub holds: bool,
    /// A word for why not.
    pub reason: String,
    /// Why not.
    pub message: String,
}

/// Returns the containers of `crictl ps -a`, whichever form it has.
#[must_use]
pub fn containers(text: &str) -> Vec<Container> {
    if let Some(list) = json_list(text, "containers") {
        return list.iter().filter_map(container_of_json).collect();
    }
    rows(text, &["CONTAINER", "CONTAINER ID"])
        .map(|row| Container {
            id: row.first().to_owned(),
            sandbox: row.get("POD ID").to_owned(),
            name: row.get("NAME").to_owned(),
            pod: row.some("POD"),
            namespace: row.some("NAMESPACE"),
            state: row.get("STATE").trim_start_matches("CONTAINER_").to_owned(),
            attempt: row.get("ATTEMPT").parse().ok(),
            made: quantity::age(row.get("CREATED")).map(Made::Ago),
            line: row.line,
        })
        .collect()
}

/// Returns the sandboxes of `crictl pods`, whichever form it has.
#[must_use]
pub fn sandboxes(text: &str) -> Vec<Sandbox> {
    if let Some(list) = json_list(text, "items") {
        return list.iter().filter_map(sandbox_of_json).collect();
    }
    rows(text, &["POD ID", "POD"])
        .map(|row| Sandbox {
            id: row.first().to_owned(),
            name: row.get("NAME").to_owned(),
            namespace: row.get("NAMESPACE").to_owned(),
            ready: matches!(row.get("STATE"), "Ready" | "SANDBOX_READY"),
            attempt: row.get("ATTEMPT").parse().ok(),
            made: quantity::age(row.get("CREATED")).map(Made::Ago),
            line: row.line,
        })
        .collect()
}

/// Returns the conditions of `crictl info`.
#[must_use]
pub fn conditions(text: &str) -> Vec<Condition> {
    let Ok(value) = serde_json::from_str::<Value>(text.trim()) else { return Vec::new() };
    let list = value.pointer("/status/conditions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let one = |item: &Value| {
        let text = |key: &str| item.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        Some(Condition {
            name: item.get("type")?.as_str()?.to_owned(),
            holds: item.get("status")?.as_bool()?,
            reason: text("reason"),
            message: text("message"),
        })
    };
    list.iter().filter_map(one).collect()
}

struct Row<'a> {
    columns: std::rc::Rc<Columns>,
    cells: Vec<&'a str>,
    line: u64,
}

impl<'a> Row<'a> {
    fn first(&self) -> &'a str {
        self.cells.first().copied().unwrap_or_default()
    }

    fn get(&self, name: &str) -> &'a str {
        self.columns.cell(&self.cells, name).unwrap_or_default()
    }

    fn some(&self, name: &str) -> Option<String> {
        self.columns.cell(&self.cells, name).filter(|c| !c.is_empty()).map(str::to_owned)
    }
}

fn rows<'a>(text: &'a str, heads: &'static [&'static str]) -> impl Iterator<Item = Row<'a>> {
    let mut columns: Option<std::rc::Rc<Columns>> = None;
    numbered(text).filter_map(move |(number, line)| {
        if heads.iter().any(|head| line.starts_with(head)) && line.contains("STATE") {
            columns = Some(std::rc::Rc::new(Columns::of(line)));
            return None;
        }
        let columns = columns.clone()?;
        let cells = columns.cells(line);
        let is_id = cells.first().is_some_and(|c| c.len() >= 10 && c.bytes().all(|b| b.is_ascii_hexdigit()));
        is_id.then_some(Row { columns, cells, line: number })
    })
}

fn json_list(text: &str, key: &str) -> Option<Vec<Value>> {
    if !text.trim_start().starts_with('{') {
        return None;
    }
    let mut value: Value = serde_json::from_str(text.trim()).ok()?;
    match value.get_mut(key).map(Value::take) {
        Some(Value::Array(list)) => Some(list),
        _ => None,
    }
}

fn text_at<'a>(value: &'a Value, path: &str) -> Option<&'a str> {
    value.pointer(path).and_then(Value::as_str)
}

/// Nanoseconds since 1970, which JSON carries as text.
fn made_of_json(value: &Value) -> Option<Made> {
    let nanos: i128 = text_at(value, "/createdAt")?.parse().ok()?;
    Timestamp::from_nanosecond(nanos).ok().map(Made::At)
}

fn attempt_of_json(value: &Value) -> Option<u32> {
    value.pointer("/metadata/attempt").and_then(Value::as_u64).and_then(|a| u32::try_from(a).ok())
}

fn container_of_json(value: &Value) -> Option<Container> {
    let state = text_at(value, "/state")?.trim_start_matches("CONTAINER_").to_ascii_lowercase();
    let (head, rest) = state.split_at_checked(1)?;
    Some(Container {
        id: text_at(value, "/id")?.to_owned(),
        sandbox: text_at(value, "/podSandboxId").unwrap_or_default().to_owned(),
        name: text_at(value, "/metadata/name").unwrap_or_default().to_owned(),
        pod: text_at(value, "/labels/io.kubernetes.pod.name").map(str::to_owned),
        namespace: text_at(value, "/labels/io.kubernetes.pod.namespace").map(str::to_owned),
        state: head.to_ascii_uppercase() + rest,
        attempt: attempt_of_json(value),
        made: made_of_json(value),
        line: 0,
    })
}

fn sandbox_of_json(value: &Value) -> Option<Sandbox> {
    Some(Sandbox {
        id: text_at(value, "/id")?.to_owned(),
        name: text_at(value, "/metadata/name").unwrap_or_default().to_owned(),
        namespace: text_at(value, "/metadata/namespace").unwrap_or_default().to_owned(),
        ready: text_at(value, "/state") == Some("SANDBOX_READY"),
        attempt: attempt_of_json(value),
        made: made_of_json(value),
        line: 0,
    })
}
