//! `docker stats --no-stream`, as a table or as JSON lines.

use serde_json::Value;

use super::{Columns, quantity};
use crate::analyze::line::numbered;

/// What one container uses; `None` where docker printed `--`.
#[derive(Debug, Clone, PartialEq)]
pub struct Usage {
    /// Its id, as a rule short.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Percent of one processor.
    pub cpu_percent: Option<f64>,
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes it may have; the node's memory if it has no limit.
    pub memory_limit: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Line it stands in.
    pub line: u64,
}

/// Returns the containers in the order of the list.
#[must_use]
pub fn parse(text: &str) -> Vec<Usage> {
    let mut columns: Option<Columns> = None;
    let mut found = Vec::new();
    for (number, line) in numbered(text) {
        if line.trim_start().starts_with('{') {
            let Ok(value) = serde_json::from_str::<Value>(line) else { continue };
            let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
            let id = if text("ID").is_empty() { text("Container") } else { text("ID") };
            found.extend(usage(id, text("Name"), text("CPUPerc"), text("MemUsage"), text("PIDs"), number));
        } else if line.starts_with("CONTAINER") && line.contains("CPU %") {
            columns = Some(Columns::of(line));
        } else if let Some(columns) = &columns {
            let cells = columns.cells(line);
            let cell = |name| columns.cell(&cells, name).unwrap_or_default();
            let id = columns.cell(&cells, "CONTAINER ID").unwrap_or_else(|| cell("CONTAINER"));
            found.extend(usage(id, cell("NAME"), cell("CPU %"), cell("MEM USAGE / LIMIT"), cell("PIDS"), number));
        }
    }
    found
}

fn usage(id: &str, name: &str, cpu: &str, memory: &str, pids: &str, line: u64) -> Option<Usage> {
    if id.is_empty() {
        return None;
    }
    let (used, limit) = memory.split_once('/').unwrap_or((memory, ""));
    Some(Usage {
        id: id.to_owned(),
        name: name.to_owned(),
        cpu_percent: quantity::percent(cpu),
        memory: quantity::size(used),
        memory_limit: quantity::size(limit),
        pids: pids.parse().ok(),
        line,
    })
}
