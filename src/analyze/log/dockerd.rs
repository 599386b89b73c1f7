//! What a line of dockerd's log means for an analysis; wording of 17.03 to 28 (`daemon/`, `cmd/dockerd/` and
//! `container/` of moby). Requests of a debug window are counted by [`DockerdEvent::Request`].

use super::{Form, Level, LogLine, rpc};

/// What a line means.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DockerdEvent {
    /// The process begins.
    Starting,
    /// Its version, logged once all containers are loaded.
    Version(String),
    /// It serves requests.
    Ready,
    /// It was told to end.
    Stopping,
    /// SIGHUP: it reads its configuration again. Our debug window begins and ends so.
    ReloadRequested,
    /// It runs with the configuration read again.
    Reloaded {
        /// Whether debug is on from now on.
        debug: bool,
    },
    /// The configuration could not be used; it goes on with the old one.
    ReloadFailed(String),
    /// SIGUSR1: it wrote its goroutines to this file.
    StacksWritten(String),
    /// A container did not end in time after a signal.
    FailedToExit {
        /// The container.
        container: Option<String>,
        /// Whether the signal was SIGKILL: a process that survives that stands in the kernel, or its shim hangs.
        after_kill: bool,
        /// The message.
        message: String,
    },
    /// A health check did not answer in time, or could not be run.
    HealthCheckFailed {
        /// The container.
        container: Option<String>,
        /// The message.
        message: String,
    },
    /// A request failed.
    RequestFailed {
        /// Its method: `GET`.
        method: String,
        /// Its path, version included.
        path: String,
        /// The error.
        error: String,
        /// Whether time ran out.
        deadline: bool,
    },
    /// A request, at debug level.
    Request {
        /// Its method.
        method: String,
        /// Its path with its query.
        path: String,
    },
    /// The root file system or directory of a container could not be removed: what remains is a residual container.
    RemoveFailed {
        /// The container.
        container: Option<String>,
        /// The message and its error.
        message: String,
    },
    /// The connection to containerd is gone or fails.
    ContainerdLost(String),
    /// Any other line that says that time ran out.
    DeadlineExceeded {
        /// The container.
        container: Option<String>,
        /// The message and its error.
        message: String,
    },
}

/// Returns what a line means; `None` for what no rule needs.
#[must_use]
pub fn read(line: &LogLine<'_>) -> Option<DockerdEvent> {
    if line.form != Form::Logrus {
        return None;
    }
    let message = line.message.raw();
    if line.level == Some(Level::Debug) {
        // A debug window of a busy node is mostly these; the other debug lines mean nothing here.
        let mut words = message.strip_prefix("Calling ")?.splitn(2, ' ');
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        return Some(DockerdEvent::Request { method, path });
    }
    if let Some(event) = by_start(line, message) {
        return Some(event);
    }
    if line.level < Some(Level::Info) {
        return None;
    }
    let whole = || match line.field("error") {
        Some(error) => format!("{}: {error}", line.message.text()),
        None => line.message.text().into_owned(),
    };
    if message.contains("failed to exit within") || message.contains("failed to exit after kill") {
        let after_kill = message.contains("of kill") || message.contains("after kill") || message.contains("signal 9");
        return Some(DockerdEvent::FailedToExit { container: container(line), after_kill, message: whole() });
    }
    if message.contains("ealth check") {
        return Some(DockerdEvent::HealthCheckFailed { container: container(line), message: whole() });
    }
    let removal = ["failed to remove root filesystem", "Error removing mounted layer", "unable to remove filesystem"];
    if removal.iter().any(|m| message.contains(m)) {
        return Some(DockerdEvent::RemoveFailed { container: container(line), message: whole() });
    }
    if line.level < Some(Level::Warning) {
        return None;
    }
    let text = whole();
    if text.contains("containerd.sock")
        || text.contains("failed to get event")
        || text.contains("event from containerd")
    {
        return Some(DockerdEvent::ContainerdLost(text));
    }
    rpc::is_deadline(&text).then(|| DockerdEvent::DeadlineExceeded { container: container(line), message: text })
}

fn by_start(line: &LogLine<'_>, message: &str) -> Option<DockerdEvent> {
    let starts = |head: &str| message.starts_with(head);
    if message == "Starting up" {
        return Some(DockerdEvent::Starting);
    }
    if message == "Docker daemon" {
        return Some(DockerdEvent::Version(line.field("version")?.into_owned()));
    }
    if message == "Daemon has completed initialization" {
        return Some(DockerdEvent::Ready);
    }
    if starts("Processing signal '") || starts("Daemon shutdown complete") {
        return Some(DockerdEvent::Stopping);
    }
    if starts("Got signal to reload configuration") {
        return Some(DockerdEvent::ReloadRequested);
    }
    if starts("Reloaded configuration: ") {
        // The configuration as JSON; a key that is not there means off.
        return Some(DockerdEvent::Reloaded { debug: line.message.text().contains("\"debug\":true") });
    }
    if starts("unable to configure the Docker daemon") || starts("Error reloading ") {
        return Some(DockerdEvent::ReloadFailed(line.message.text().into_owned()));
    }
    if let Some(path) = message.strip_prefix("goroutine stacks written to ") {
        return Some(DockerdEvent::StacksWritten(path.to_owned()));
    }
    if let Some(rest) = message.strip_prefix("Handler for ") {
        let (request, error) = rest.split_once(" returned error: ")?;
        let (method, path) = request.split_once(' ')?;
        let error = crate::analyze::line::Text::quoted(error).text().into_owned();
        let deadline = rpc::is_deadline(&error);
        return Some(DockerdEvent::RequestFailed { method: method.to_owned(), path: path.to_owned(), error, deadline });
    }
    None
}

/// Returns the container a line is about: from its fields, else the first id in the message.
fn container(line: &LogLine<'_>) -> Option<String> {
    let field = ["container", "containerID", "container-id", "id"].iter().find_map(|key| line.field(key));
    field.map(std::borrow::Cow::into_owned).or_else(|| rpc::first_id(line.message.raw()).map(str::to_owned))
}
