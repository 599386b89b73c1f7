//! `docker ps -a --no-trunc`, as a table or as JSON lines (`--format '{{json .}}'`).

use std::time::Duration;

use serde_json::Value;

use super::{Columns, quantity};
use crate::analyze::line::numbered;

/// A container's state. Residual ones are those dockerd could not remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Runs.
    Up,
    /// Is stopped by the freezer.
    Paused,
    /// Ended, with this status.
    Exited(i32),
    /// Made and not started.
    Created,
    /// Removal failed: it remains.
    Dead,
    /// Is being removed, or was when dockerd lost it.
    Removing,
    /// Ended and waits to be started again.
    Restarting,
    /// A word this does not know.
    Other,
}

/// One container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its id, short if the list is.
    pub id: String,
    /// The image.
    pub image: String,
    /// Name, without slash: `k8s_app_web-0_default_UID_0`.
    pub name: String,
    /// The state.
    pub state: State,
    /// The state in docker's words: `Up 31 minutes (healthy)`.
    pub status: String,
    /// How long ago it was made.
    pub age: Option<Duration>,
    /// How long ago the state was entered.
    pub since: Option<Duration>,
    /// Line it stands in.
    pub line: u64,
}

/// The parts of a name the kubelet gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KubeName<'a> {
    /// The container's name; `POD` is the pause container.
    pub container: &'a str,
    /// The pod.
    pub pod: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its uid.
    pub uid: &'a str,
    /// How often it was started before.
    pub attempt: u32,
}

impl Container {
    /// Returns the parts of its name if the kubelet gave it.
    #[must_use]
    pub fn kube_name(&self) -> Option<KubeName<'_>> {
        let mut parts = self.name.strip_prefix("k8s_")?.split('_');
        let mut next = || parts.next();
        let (container, pod, namespace, uid) = (next()?, next()?, next()?, next()?);
        let attempt = next().and_then(|a| a.parse().ok()).unwrap_or_default();
        Some(KubeName { container, pod, namespace, uid, attempt })
    }

    /// Tells whether dockerd tried to remove it and failed, or still tries.
    #[must_use]
    pub const fn is_residual(&self) -> bool {
        matches!(self.state, State::Dead | State::Removing)
    }
}

/// Returns the containers in the order of the list.
#[must_use]
pub fn parse(text: &str) -> Vec<Container> {
    let mut columns: Option<Columns> = None;
    let mut found = Vec::new();
    for (number, line) in numbered(text) {
        if line.trim_start().starts_with('{') {
            found.extend(of_json(line, number));
        } else if line.starts_with("CONTAINER ID") {
            columns = Some(Columns::of(line));
        } else if let Some(columns) = &columns {
            let cells = columns.cells(line);
            let cell = |name| columns.cell(&cells, name).unwrap_or_default();
            if is_id(cell("CONTAINER ID")) {
                let (id, image) = (cell("CONTAINER ID"), cell("IMAGE"));
                found.push(container(id, image, cell("NAMES"), cell("STATUS"), cell("CREATED"), number));
            }
        }
    }
    found
}

fn is_id(text: &str) -> bool {
    text.len() >= 10 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn of_json(line: &str, number: u64) -> Option<Container> {
    let value: Value = serde_json::from_str(line).ok()?;
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
    is_id(text("ID"))
        .then(|| container(text("ID"), text("Image"), text("Names"), text("Status"), text("RunningFor"), number))
}

fn container(id: &str, image: &str, name: &str, status: &str, created: &str, line: u64) -> Container {
    let (state, since) = state(status);
    Container {
        id: id.to_owned(),
        image: image.to_owned(),
        // Links add names; the first is its own.
        name: name.split(',').next().unwrap_or_default().trim_start_matches('/').to_owned(),
        state,
        status: status.to_owned(),
        age: quantity::age(created),
        since,
        line,
    }
}

fn state(status: &str) -> (State, Option<Duration>) {
    if let Some(rest) = status.strip_prefix("Up ") {
        let time = rest.split(" (").next().unwrap_or_default();
        let state = if rest.ends_with("(Paused)") { State::Paused } else { State::Up };
        return (state, quantity::age(time));
    }
    for (head, exited) in [("Exited (", true), ("Restarting (", false)] {
        if let Some((code, time)) = status.strip_prefix(head).and_then(|rest| rest.split_once(')')) {
            let state = if exited { State::Exited(code.parse().unwrap_or(-1)) } else { State::Restarting };
            return (state, quantity::age(time));
        }
    }
    let state = match status {
        "Created" => State::Created,
        "Dead" => State::Dead,
        "Removal In Progress" => State::Removing,
        _ => State::Other,
    };
    (state, None)
}
