//! CRI calls that failed, as the kubelet's `remote_runtime.go` and `remote_image.go` log them, and gRPC's error text.
//! Used by the readers of the kubelet's and containerd's logs.

use super::LogLine;

/// Who was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// Pods and containers.
    Runtime,
    /// Images.
    Image,
}

/// A CRI call that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpcFailure {
    /// The call: `ListPodSandbox`, `ContainerStatus`, `StopContainer`, …
    pub rpc: String,
    /// Who was called.
    pub service: Service,
    /// gRPC's status code: `DeadlineExceeded`, `Canceled`, `Unavailable`, `Unknown`.
    pub code: Option<String>,
    /// Whether it ran out of time, whatever the code: dockershim says `code = Unknown desc = operation timeout`.
    pub deadline: bool,
    /// The container it was about.
    pub container: Option<String>,
    /// The pod sandbox it was about.
    pub sandbox: Option<String>,
    /// The error as logged.
    pub error: String,
}

/// Returns the failed call a line reports first-hand. Lines that only pass such an error on are not counted.
pub(super) fn failure(line: &LogLine<'_>) -> Option<RpcFailure> {
    let message = line.message.raw();
    let (head, service, behind) =
        [(" from runtime service failed", Service::Runtime), (" from image service failed", Service::Image)]
            .into_iter()
            .find_map(|(mark, service)| message.split_once(mark).map(|(head, behind)| (head, service, behind)))?;
    let (rpc, about) = head.split_once(' ').unwrap_or((head, ""));
    if rpc.is_empty() || rpc.len() > 64 || !rpc.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let error = match line.field("err").or_else(|| line.field("error")) {
        Some(error) => error.into_owned(),
        None => behind.trim_start_matches([':', ' ']).to_owned(),
    };
    let named = |keys: [&str; 3]| keys.iter().find_map(|k| line.field(k)).map(std::borrow::Cow::into_owned);
    let mut container = named(["containerID", "containerId", "containerid"]);
    let mut sandbox = named(["podSandboxID", "podSandboxId", "podsandboxid"]);
    if let (None, None, Some(id)) = (&container, &sandbox, first_id(about)) {
        if rpc.contains("PodSandbox") || about.contains("sandbox") {
            sandbox = Some(id.to_owned());
        } else {
            container = Some(id.to_owned());
        }
    }
    Some(RpcFailure {
        rpc: rpc.to_owned(),
        service,
        code: code(&error).map(str::to_owned),
        deadline: is_deadline(&error),
        container,
        sandbox,
        error,
    })
}

/// Returns the status code in the text of a gRPC error.
#[must_use]
pub fn code(error: &str) -> Option<&str> {
    let (_, from) = error.split_once("code = ")?;
    from.split([' ', ',', ')']).next().filter(|c| !c.is_empty())
}

/// Tells whether an error says that time ran out.
#[must_use]
pub fn is_deadline(error: &str) -> bool {
    ["DeadlineExceeded", "context deadline exceeded", "operation timeout"].iter().any(|mark| error.contains(mark))
}

/// Returns the first container id, whole or short, in a text.
pub(super) fn first_id(text: &str) -> Option<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .find(|word| matches!(word.len(), 12 | 64) && word.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}
