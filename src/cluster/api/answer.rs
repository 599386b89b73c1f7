//! Answers of API servers in words: Status objects, errors of the connection, bounds that were hit. Pure.

use std::error::Error;
use std::time::Duration;

use serde::Deserialize;

use super::super::ApiEnd;
use crate::evidence::Outcome;
use crate::printable::{printable, printable_bytes};

/// Longest text taken from an answer.
const SAID: usize = 300;

/// What is read of a `Status` object (seen with kube-apiserver 1.36.2).
#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    kind: String,
    message: String,
    reason: String,
}

pub(super) const fn failed(detail: String, status: Option<u16>) -> ApiEnd {
    ApiEnd { outcome: Outcome::Failed, detail: Some(detail), status }
}

pub(super) fn cancelled() -> ApiEnd {
    ApiEnd { outcome: Outcome::Cancelled, detail: Some("the run was stopped".to_owned()), status: None }
}

pub(super) fn timed_out(within: Duration) -> ApiEnd {
    let bound = humantime::format_duration(within);
    ApiEnd {
        outcome: Outcome::TimedOut,
        detail: Some(format!("the API server did not answer within {bound}")),
        status: None,
    }
}

pub(super) fn unfinished(within: Duration) -> ApiEnd {
    let bound = humantime::format_duration(within);
    ApiEnd {
        outcome: Outcome::TimedOut,
        detail: Some(format!("the answer had no end within {bound}; what came is kept")),
        status: Some(200),
    }
}

pub(super) fn cut(status: Option<u16>) -> ApiEnd {
    failed("the API server closed the connection in the middle of its answer; what came is kept".to_owned(), status)
}

pub(super) fn truncated(max_bytes: u64) -> ApiEnd {
    ApiEnd {
        outcome: Outcome::Truncated,
        detail: Some(format!("more than {} MB: not read any further", max_bytes >> 20)),
        status: Some(200),
    }
}

pub(super) const fn complete() -> ApiEnd {
    ApiEnd { outcome: Outcome::Complete, detail: None, status: Some(200) }
}

/// Returns the end of a request that was answered with another status than 200. `kind` is the credential that was shown.
pub(super) fn refusal(status: u16, body: &[u8], kind: &str) -> ApiEnd {
    let said = said(body);
    let (outcome, detail) = match status {
        401 => (
            Outcome::Failed,
            format!("HTTP 401{said}: the API server does not accept the credential ({kind}); it may have expired"),
        ),
        404 => (Outcome::Absent, format!("HTTP 404{said}")),
        429 => (Outcome::Failed, format!("HTTP 429{said}: the API server turns requests away")),
        _ => (Outcome::Failed, format!("HTTP {status}{said}")),
    };
    ApiEnd { outcome, detail: Some(detail), status: Some(status) }
}

/// Returns what a body says, with ` (REASON): ` or `: ` in front; nothing if it says nothing.
fn said(body: &[u8]) -> String {
    let status: Status = serde_json::from_slice(body).unwrap_or_default();
    if status.kind == "Status" {
        let (reason, message) = (printable(&status.reason, 60), printable(&status.message, SAID));
        return match (reason.is_empty(), message.is_empty() || message == reason) {
            (true, true) => String::new(),
            (true, false) => format!(": {message}"),
            (false, true) => format!(" ({reason})"),
            (false, false) => format!(" ({reason}): {message}"),
        };
    }
    let text = printable_bytes(body, 4 * SAID);
    // The checks that failed are what /readyz is read for.
    let bad: Vec<&str> =
        std::str::from_utf8(body).unwrap_or_default().lines().filter(|line| line.starts_with("[-]")).take(5).collect();
    let text = if bad.is_empty() { text.trim().to_owned() } else { bad.join(", ") };
    if text.is_empty() { String::new() } else { format!(": {}", printable(&text, SAID)) }
}

/// Returns why there was no answer, from the innermost cause of an error, where the reason stands.
pub(super) fn cause(error: &(dyn Error + 'static)) -> String {
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let text = printable(&innermost.to_string(), SAID);
    // Another authority of the same name shows as a bad signature.
    if text.contains("UnknownIssuer") || text.contains("BadSignature") {
        return "its certificate is not signed by the authority we were given".to_owned();
    }
    if text.contains("not valid for name") || text.contains("NotValidForName") {
        return format!("its certificate is for another name ({text}); set `server-name`");
    }
    if text.contains("deadline has elapsed") || text.contains("timed out") {
        return "no connection within 4 s".to_owned();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIXTURES: &str = "tests/fixtures/kube-apiserver";

    fn fixture(name: &str) -> Vec<u8> {
        std::fs::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(FIXTURES).join(name)).unwrap()
    }

    #[test]
    fn a_refusal_names_what_is_missing() {
        for (status, file, outcome, want) in [
            (
                401,
                "401-wrong.json",
                Outcome::Failed,
                "HTTP 401 (Unauthorized): the API server does not accept the credential (token)",
            ),
            (
                403,
                "403-metrics.json",
                Outcome::Failed,
                "HTTP 403 (Forbidden): forbidden: User \"no-rights\" cannot get path \"/metrics\"",
            ),
            (
                403,
                "403-node.json",
                Outcome::Failed,
                "HTTP 403 (Forbidden): nodes \"vm\" is forbidden: User \"no-rights\" cannot get resource \"nodes\"",
            ),
            (429, "429-too-many-requests.txt", Outcome::Failed, "HTTP 429: Too many requests, please try again later."),
            (400, "node-proxy-healthz.txt", Outcome::Failed, "HTTP 400 (BadRequest): address not allowed"),
        ] {
            let end = refusal(status, &fixture(file), "token");
            assert_eq!((end.outcome, end.status), (outcome, Some(status)));
            assert!(end.detail.as_ref().unwrap().starts_with(want), "{end:?}");
        }
        let not_ready = b"[+]ping ok\n[-]etcd failed: reason withheld\n[+]log ok\nreadyz check failed\n";
        assert_eq!(refusal(500, not_ready, "").detail.unwrap(), "HTTP 500: [-]etcd failed: reason withheld");
        assert_eq!(refusal(404, b"404 page not found\n", "").outcome, Outcome::Absent);
        assert_eq!(refusal(503, b"", "").detail.unwrap(), "HTTP 503");
    }
}
