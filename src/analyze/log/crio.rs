//! What a line of CRI-O's log means for an analysis; wording of 1.18 to 1.34 (`server/` and `cmd/crio/` of cri-o). Its lines
//! are logrus's, and those of a request carry the CRI call as `name=/runtime.v1.RuntimeService/CreateContainer`.

use super::{Form, Level, LogLine, rpc};

/// What a line means.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CrioEvent {
    /// The process begins.
    Starting {
        /// Its version.
        version: String,
    },
    /// It was told to end.
    Stopping,
    /// The kubelet asks again for what is still being made: an earlier request ran out of time.
    Retried {
        /// What is being done just now, as it says: `container spec configuration`.
        stage: Option<String>,
    },
    /// A container did not end in time after a signal, and is killed.
    StopTimedOut {
        /// The container.
        container: Option<String>,
    },
    /// A request failed, or something that belongs to none.
    Failed {
        /// The CRI call: `CreateContainer`; else the message's first words.
        what: String,
        /// The container or sandbox.
        container: Option<String>,
        /// The message.
        error: String,
        /// Whether time ran out.
        deadline: bool,
    },
    /// A container was killed for want of memory.
    Oom {
        /// The container.
        container: Option<String>,
    },
    /// The network of a pod could not be made, or its configuration not be read.
    CniFailed(String),
}

/// Returns what a line means; `None` for what no rule needs.
#[must_use]
pub fn read(line: &LogLine<'_>) -> Option<CrioEvent> {
    if line.form != Form::Logrus || line.level < Some(Level::Info) {
        return None;
    }
    let message = line.message.raw();
    if let Some(rest) = message.strip_prefix("Starting CRI-O, version: ") {
        return Some(CrioEvent::Starting { version: rest.split([',', ' ']).next()?.to_owned() });
    }
    if matches!(message, "Caught SIGTERM" | "Caught SIGINT") {
        return Some(CrioEvent::Stopping);
    }
    let container = || rpc::first_id(message).map(str::to_owned);
    if message.contains("with stop signal timed out") {
        return Some(CrioEvent::StopTimedOut { container: container() });
    }
    if message.contains("not yet finished") || message.contains("is reserved") {
        let stage = message.split_once("Currently at stage ").and_then(|(_, s)| s.split('.').next());
        return Some(CrioEvent::Retried { stage: stage.map(str::to_owned) });
    }
    let deadline = rpc::is_deadline(message);
    if line.level == Some(Level::Info) {
        // `CreateCtr: context was either canceled or the deadline was exceeded: …` is no error to CRI-O.
        return deadline.then(|| failed(line, message, true));
    }
    let text = line.message.text();
    if text.contains("OOM") || text.contains("oom killed") {
        return Some(CrioEvent::Oom { container: container() });
    }
    if !deadline && (text.contains("CNI network") || text.contains("CNI setup") || text.contains("cni config")) {
        return Some(CrioEvent::CniFailed(text.into_owned()));
    }
    let grave = line.level >= Some(Level::Error) || text.starts_with("Failed to") || text.starts_with("failed to");
    (deadline || grave).then(|| failed(line, message, deadline))
}

fn failed(line: &LogLine<'_>, message: &str, deadline: bool) -> CrioEvent {
    let call = line.field("name").and_then(|name| name.rsplit('/').next().map(str::to_owned));
    let call = call.filter(|call| !call.is_empty() && call.bytes().all(|b| b.is_ascii_alphanumeric()));
    CrioEvent::Failed {
        what: call.unwrap_or_else(|| message.split(':').next().unwrap_or_default().chars().take(80).collect()),
        container: rpc::first_id(message).map(str::to_owned),
        error: line.message.text().into_owned(),
        deadline,
    }
}
