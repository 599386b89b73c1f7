//! What a line of containerd's log means for an analysis; wording of 1.2 to 2.x, CRI plug-in included.

use super::{Form, Level, LogLine, rpc};

/// What a line means.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContainerdEvent {
    /// The process begins.
    Starting {
        /// Its version.
        version: String,
    },
    /// It serves requests.
    Ready,
    /// It was told to end.
    Stopping,
    /// SIGUSR1: it wrote its goroutines, to this file if one is named.
    StacksWritten(Option<String>),
    /// A shim is gone. After a container's end that is as it should be.
    ShimDisconnected {
        /// The container.
        container: Option<String>,
    },
    /// What a dead shim left is removed; it ended without being asked to if no end of its task was seen before.
    CleaningUpShim {
        /// The container, where the line names it.
        container: Option<String>,
    },
    /// The CRI plug-in was asked to stop a container.
    StopRequested {
        /// The container.
        container: String,
        /// Seconds until it is killed.
        timeout_s: Option<u64>,
    },
    /// A CRI call, task call or event failed.
    Failed {
        /// What was tried: the CRI call (`StopContainer`), else the message's first words.
        what: String,
        /// The container or sandbox.
        container: Option<String>,
        /// The error.
        error: String,
        /// Whether time ran out.
        deadline: bool,
    },
    /// A container's task was killed for want of memory.
    TaskOom {
        /// The container.
        container: Option<String>,
    },
    /// The network configuration could not be loaded.
    CniLoadFailed(String),
}

/// Returns what a line means; `None` for what no rule needs.
#[must_use]
pub fn read(line: &LogLine<'_>) -> Option<ContainerdEvent> {
    if line.form != Form::Logrus {
        return None;
    }
    let message = line.message.raw();
    let starts = |head: &str| message.starts_with(head);
    if message == "starting containerd" {
        return Some(ContainerdEvent::Starting { version: line.field("version")?.into_owned() });
    }
    if starts("containerd successfully booted") {
        return Some(ContainerdEvent::Ready);
    }
    if starts("Stop CRI service") || message == "containerd shutting down" {
        return Some(ContainerdEvent::Stopping);
    }
    if let Some(path) = message.strip_prefix("goroutine stack dump written to ") {
        return Some(ContainerdEvent::StacksWritten(Some(path.to_owned())));
    }
    if starts("=== BEGIN goroutine stack dump ===") {
        return Some(ContainerdEvent::StacksWritten(None));
    }
    if message == "shim disconnected" || message == "shim reaped" {
        return Some(ContainerdEvent::ShimDisconnected { container: container(line) });
    }
    if starts("cleaning up after shim disconnected") || starts("cleaning up dead shim") {
        return Some(ContainerdEvent::CleaningUpShim { container: container(line) });
    }
    if starts("TaskOOM event") {
        return Some(ContainerdEvent::TaskOom { container: container(line) });
    }
    if line.level < Some(Level::Info) {
        return None;
    }
    let text = line.message.text();
    if line.level == Some(Level::Info) {
        let rest = text.strip_prefix("StopContainer for \"")?;
        let (id, rest) = rest.split_once('"')?;
        let (_, timeout) = rest.split_once("with timeout ")?;
        let timeout_s = timeout.split(' ').next().and_then(|s| s.parse().ok());
        return Some(ContainerdEvent::StopRequested { container: id.to_owned(), timeout_s });
    }
    let error = line.field("error").map(std::borrow::Cow::into_owned);
    if text.contains("cni config") || text.contains("cni network config") {
        return Some(ContainerdEvent::CniLoadFailed(error.unwrap_or_else(|| text.into_owned())));
    }
    let deadline = rpc::is_deadline(&text) || error.as_deref().is_some_and(rpc::is_deadline);
    let call = text.split([' ', ':']).next().unwrap_or_default();
    let is_call = (text.ends_with(" failed") || text.ends_with(" failed, error"))
        && call.starts_with(|c: char| c.is_ascii_uppercase());
    if !deadline && !is_call {
        return None;
    }
    let what = if is_call { call.to_owned() } else { text.split(':').next().unwrap_or_default().to_owned() };
    Some(ContainerdEvent::Failed {
        what,
        container: container(line),
        error: error.unwrap_or_else(|| text.clone().into_owned()),
        deadline,
    })
}

fn container(line: &LogLine<'_>) -> Option<String> {
    let field = ["id", "containerID", "container", "container_id"].iter().find_map(|key| line.field(key));
    let of_field = field.filter(|id| rpc::first_id(id).is_some()).map(std::borrow::Cow::into_owned);
    of_field.or_else(|| rpc::first_id(line.message.raw()).map(str::to_owned))
}
