//! Trouble of the kubelet with the API server, as the errors of its requests tell it. Used by the reader of its log.

/// What is wrong towards the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ApiProblem {
    /// It does not know who the kubelet is: certificate or token run out.
    Unauthorized,
    /// It knows the kubelet and refuses.
    Forbidden,
    /// A certificate is not valid or not trusted.
    Certificate,
    /// No answer: refused, no route, timed out.
    Unreachable,
}

impl ApiProblem {
    /// Returns it in a word or two.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Certificate => "certificate not valid",
            Self::Unreachable => "no answer",
        }
    }
}

/// Tells whether a source file of the kubelet talks to the API server; elsewhere `Unauthorized` is a registry's word.
pub(super) fn talks_to_api(source: &str) -> bool {
    const FILES: [&str; 11] = [
        "reflector.go",
        "controller.go",
        "csi_plugin.go",
        "kubelet_node_status.go",
        "event.go",
        "status_manager.go",
        "certificate_manager.go",
        "token_manager.go",
        "kubelet.go",
        "webhook.go",
        "authentication.go",
    ];
    source.split_once(':').is_some_and(|(file, _)| FILES.contains(&file))
}

/// Sorts an error of a request to the API server.
pub(super) fn problem(error: &str) -> Option<ApiProblem> {
    let says = |marks: &[&str]| marks.iter().any(|m| error.contains(m));
    if says(&["Unauthorized", "provide credentials"]) {
        Some(ApiProblem::Unauthorized)
    } else if says(&["x509: ", "tls: "]) {
        Some(ApiProblem::Certificate)
    } else if says(&[" is forbidden", "forbidden: "]) {
        Some(ApiProblem::Forbidden)
    } else if error.contains("http")
        && says(&[
            "connection refused",
            "i/o timeout",
            "no route to host",
            "Client.Timeout exceeded",
            "TLS handshake timeout",
            "context deadline exceeded",
            "connection reset",
            "no such host",
            "network is unreachable",
        ])
    {
        Some(ApiProblem::Unreachable)
    } else {
        None
    }
}
