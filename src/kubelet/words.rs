//! What an answer that is no 200 means: outcome and sentence, for each status a kubelet or an API server in front of it was
//! seen to give. Pure.

use std::time::Duration;

use super::WayTaken;
use super::forbidden::{ApiStatus, Forbidden};
use crate::evidence::Outcome;
use crate::printable::printable_bytes;
use crate::wording;

/// Characters of a body that are shown.
const LINE: usize = 200;
/// What to do about a missing right.
const RBAC: &str = "`plegcollect plan --rbac` prints the ClusterRole it takes";

/// An answer and what must be known to judge it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refused<'a> {
    pub(super) status: u16,
    pub(super) body: &'a [u8],
    pub(super) path: &'a str,
    pub(super) put: bool,
    pub(super) way: WayTaken,
    /// From the call to the head.
    pub(super) took: Duration,
    /// The kubelet has said that its debugging handlers are switched off.
    pub(super) handlers_off: bool,
}

/// What is known of who asked, for a 401.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shown {
    /// A token, rather than a client certificate only.
    pub(super) token: bool,
    /// A second token was refused as well.
    pub(super) renewed: bool,
    /// The same kubelet has let us in before.
    pub(super) let_in: bool,
}

impl Refused<'_> {
    /// Returns outcome and reason.
    pub(super) fn judge(&self) -> (Outcome, String) {
        let said = self.said();
        match self.status {
            403 => {
                let text = String::from_utf8_lossy(self.body);
                let message = ApiStatus::parse(self.body).map_or_else(|| text.into_owned(), |status| status.message);
                let forbidden = Forbidden::parse(&message).unwrap_or_else(|| Forbidden::assumed(self.path, self.put));
                (Outcome::Failed, format!("403: {}; {RBAC}", forbidden.sentence()))
            }
            404 => (Outcome::Absent, self.not_there()),
            405 => match setting(&said) {
                Some(setting) => (Outcome::Absent, format!("switched off in the kubelet's configuration: {setting}")),
                None => (Outcome::Failed, self.answered(&said)),
            },
            500 if said.starts_with("Authorization error") => (
                Outcome::Failed,
                format!(
                    "the kubelet could not ask its API server whether this is permitted; is it cut off from it? ({said})"
                ),
            ),
            500 if said.contains("cpu profiling already in use") => (
                Outcome::Failed,
                "somebody else is taking a CPU profile of this kubelet, and only one can be taken at a time (500: cpu \
                 profiling already in use)"
                    .to_owned(),
            ),
            429 => (Outcome::Failed, format!("{} has too much to do: {}", self.server(), self.answered(&said))),
            _ => (Outcome::Failed, self.answered(&said)),
        }
    }

    /// Returns the reason of a 401, which need not be the token's fault.
    pub(super) fn unauthorized(&self, shown: Shown) -> String {
        let took = wording::duration(self.took);
        if self.way == WayTaken::ApiServer && ApiStatus::parse(self.body).is_some() {
            return format!("401 from the API server after {took}: it does not accept the credential");
        }
        let again = if shown.renewed { ", a renewed token as well" } else { "" };
        if !shown.token {
            return format!(
                "401 from the kubelet after {took}: it does not accept the client certificate (expired, or signed by \
                 another authority than the kubelet's clientCAFile)"
            );
        }
        let before = if shown.let_in { "; it has let us in before in this run" } else { "" };
        format!(
            "401 from the kubelet after {took}{again}: either the token is not valid, or the kubelet cannot reach its API \
             server to have it checked, and its log then says \"Unable to authenticate the request due to an \
             error\"{before}; 127.0.0.1:10248/healthz and the journal need no token"
        )
    }

    /// Returns whether this answer says that the debugging handlers are off.
    pub(super) fn says_handlers_off(&self) -> bool {
        self.status == 405 && self.said().starts_with("Debug endpoints are disabled")
    }

    fn not_there(&self) -> String {
        let endpoint = self.path.split('?').next().unwrap_or_default();
        if ApiStatus::parse(self.body).is_some() {
            return format!("the API server knows no such node, or no way to it: {}", self.said());
        }
        let behind_handlers =
            ["/configz", "/flagz", "/statusz", "/debug/"].iter().any(|root| endpoint.starts_with(root));
        if behind_handlers && self.handlers_off {
            return format!("this kubelet has no {endpoint}: enableDebuggingHandlers: false switches it off");
        }
        // Every version has these two.
        if endpoint == "/configz" || endpoint.starts_with("/debug/pprof/") {
            return format!(
                "this kubelet has no {endpoint}: enableDebuggingHandlers or enableProfilingHandler may be switched off in \
                 its configuration"
            );
        }
        format!("this kubelet has no {endpoint}")
    }

    fn server(&self) -> &'static str {
        if self.way == WayTaken::ApiServer { "the API server" } else { "the kubelet" }
    }

    fn answered(&self, said: &str) -> String {
        let colon = if said.is_empty() { "" } else { ": " };
        let server = if self.way == WayTaken::ApiServer && ApiStatus::parse(self.body).is_none() {
            "the kubelet, or the API server in front of it,"
        } else {
            self.server()
        };
        format!("{server} answered {}{colon}{said}", self.status)
    }

    /// Returns the first line that says something, printable; of a `Status`, its message.
    fn said(&self) -> String {
        if let Some(status) = ApiStatus::parse(self.body) {
            return printable_bytes(status.message.as_bytes(), LINE);
        }
        let line = self.body.split(|b| *b == b'\n').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
        printable_bytes(line, LINE).trim().to_owned()
    }
}

/// Returns the kubelet's setting behind one of its 405 texts (kubelet 1.36.2 and 1.21.1).
fn setting(said: &str) -> Option<&'static str> {
    [
        ("Debug endpoints are disabled", "enableDebuggingHandlers: false"),
        ("profiling endpoint is disabled", "enableProfilingHandler: false"),
        ("flags endpoint is disabled", "enableDebugFlagsHandler: false"),
        ("logs endpoint is disabled", "enableSystemLogHandler: false"),
    ]
    .into_iter()
    .find_map(|(text, setting)| said.starts_with(text).then_some(setting))
}

/// Returns what is odd about a whole answer that is not what its endpoint gives, judged by its first bytes.
pub(super) fn oddity(path: &str, head: &[u8]) -> Option<String> {
    let (endpoint, query) = path.split_once('?').unwrap_or((path, ""));
    let begin = match endpoint {
        "/debug/pprof/goroutine" if query.contains("debug=1") => "goroutine profile:",
        "/debug/pprof/goroutine" if query.contains("debug=2") => "goroutine ",
        "/configz" | "/pods" | "/stats/summary" => "{",
        _ => return None,
    };
    let shown = printable_bytes(head, 24);
    (!head.starts_with(begin.as_bytes())).then(|| {
        format!("the answer does not begin as one of {endpoint} does (\"{shown}\"): does something else listen there?")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(name: &str) -> Vec<u8> {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kubelet").join(name);
        std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    fn judged(status: u16, body: &[u8], path: &str, way: WayTaken) -> (Outcome, String) {
        let took = Duration::from_millis(40);
        Refused { status, body, path, put: false, way, took, handlers_off: false }.judge()
    }

    #[test]
    fn genuine_refusals_become_sentences_that_name_what_is_missing() {
        let new = "kubelet-1.36.2";
        let old = "kubelet-1.21.1-dockershim";
        let rows = [
            (
                403,
                format!("{new}/auth/403-configz.txt"),
                "/configz",
                Outcome::Failed,
                "403: user \"no-rights\" may not get any of nodes/configz, nodes/proxy; `plegcollect plan --rbac` prints the ClusterRole it takes",
            ),
            (
                403,
                format!("{new}/auth/403-metrics-with-only-nodes-proxy.txt"),
                "/metrics",
                Outcome::Failed,
                "403: user \"proxy-only\" may not get nodes/metrics; `plegcollect plan --rbac` prints the ClusterRole it takes",
            ),
            (
                403,
                format!("{new}/auth/403-put-debug-flags-v.txt"),
                "/debug/flags/v",
                Outcome::Failed,
                "403: user \"no-rights\" may not update nodes/proxy; `plegcollect plan --rbac` prints the ClusterRole it takes",
            ),
            (
                403,
                format!("{old}/403-pprof.txt"),
                "/debug/pprof/goroutine",
                Outcome::Failed,
                "403: user \"no-rights\" may not get nodes/proxy; `plegcollect plan --rbac` prints the ClusterRole it takes",
            ),
            (
                405,
                format!("{new}/variants/debugging-handlers-off/pprof-goroutine.txt"),
                "/debug/pprof/goroutine",
                Outcome::Absent,
                "switched off in the kubelet's configuration: enableDebuggingHandlers: false",
            ),
            (
                405,
                format!("{new}/variants/profiling-and-flags-off/pprof.txt"),
                "/debug/pprof/goroutine",
                Outcome::Absent,
                "switched off in the kubelet's configuration: enableProfilingHandler: false",
            ),
            (
                405,
                format!("{new}/variants/profiling-and-flags-off/put-flags-v.txt"),
                "/debug/flags/v",
                Outcome::Absent,
                "switched off in the kubelet's configuration: enableDebugFlagsHandler: false",
            ),
            (
                404,
                format!("{new}/variants/debugging-handlers-off/configz.txt"),
                "/configz",
                Outcome::Absent,
                "this kubelet has no /configz: enableDebuggingHandlers or enableProfilingHandler may be switched off in its configuration",
            ),
            (404, format!("{old}/flagz.txt"), "/flagz", Outcome::Absent, "this kubelet has no /flagz"),
            (
                500,
                format!("{new}/pprof-more/profile-while-busy.txt"),
                "/debug/pprof/profile?seconds=5",
                Outcome::Failed,
                "somebody else is taking a CPU profile of this kubelet, and only one can be taken at a time (500: cpu profiling already in use)",
            ),
            (
                400,
                format!("{new}/variants/log-query-enabled/query-badtime.txt"),
                "/logs/",
                Outcome::Failed,
                "the kubelet answered 400: sinceTime: Invalid value: \"notatime\": invalid time format",
            ),
        ];
        for (status, file, path, outcome, want) in rows {
            assert_eq!(judged(status, &fixture(&file), path, WayTaken::Forward), (outcome, want.to_owned()), "{file}");
        }
    }

    #[test]
    fn answers_of_an_api_server_are_told_apart_from_the_kubelets() {
        let status = |message: &str| serde_json::json!({"kind": "Status", "message": message}).to_string();
        for (code, message, outcome, want) in [
            (
                403,
                "nodes \"vm\" is forbidden: User \"metrics-only\" cannot get resource \"nodes/proxy\" in API group \"\" at the cluster scope",
                Outcome::Failed,
                "403: user \"metrics-only\" may not get nodes/proxy; `plegcollect plan --rbac` prints the ClusterRole it takes",
            ),
            (400, "address not allowed", Outcome::Failed, "the API server answered 400: address not allowed"),
            (
                404,
                "nodes \"x\" not found",
                Outcome::Absent,
                "the API server knows no such node, or no way to it: nodes \"x\" not found",
            ),
            (
                429,
                "too many requests",
                Outcome::Failed,
                "the API server has too much to do: the API server answered 429: too many requests",
            ),
        ] {
            assert_eq!(
                judged(code, status(message).as_bytes(), "/pods", WayTaken::ApiServer),
                (outcome, want.to_owned())
            );
        }
        let refused = Refused {
            status: 401,
            body: status("Unauthorized").as_bytes(),
            path: "/pods",
            put: false,
            way: WayTaken::ApiServer,
            took: Duration::from_millis(20),
            handlers_off: false,
        }
        .unauthorized(Shown { token: true, renewed: false, let_in: false });
        assert_eq!(refused, "401 from the API server after 0.0s: it does not accept the credential");
    }

    #[test]
    fn a_401_says_that_it_need_not_be_the_token() {
        let refused = Refused {
            status: 401,
            body: b"Unauthorized",
            path: "/pods",
            put: false,
            way: WayTaken::Forward,
            took: Duration::from_secs(29),
            handlers_off: false,
        };
        for (shown, words) in [
            (
                Shown { token: true, renewed: false, let_in: false },
                &[
                    "after 29s:",
                    "either the token is not valid, or",
                    "Unable to authenticate the request due to an error",
                    "127.0.0.1:10248/healthz",
                ][..],
            ),
            (Shown { token: true, renewed: true, let_in: true }, &["a renewed token as well", "let us in before"]),
            (Shown { token: false, renewed: false, let_in: false }, &["client certificate", "clientCAFile"]),
        ] {
            let text = refused.unauthorized(shown);
            assert!(words.iter().all(|w| text.contains(w)), "{text}");
        }
    }

    #[test]
    fn a_hostile_body_is_printable_and_bounded() {
        let long = "x".repeat(10_000);
        for body in [
            format!("Forbidden (user=\u{1b}[31m{long}, verb=get, resource=nodes, subresource(s)=[proxy])"),
            format!("\u{1b}]0;t\u{7}{long}"),
            "Forbidden (user=a, verb=get, resource=nodes, verb=\u{1b}[2J, resource=nodes, subresource=proxy)"
                .to_owned(),
            String::new(),
        ] {
            for status in [400, 403, 404, 405, 500, 503] {
                let (_, text) = judged(status, body.as_bytes(), "/pods", WayTaken::Forward);
                assert!(text.len() < 1000 && !text.chars().any(char::is_control), "{text:?}");
            }
        }
        assert_eq!(
            judged(403, b"", "/configz", WayTaken::Forward).1,
            judged(403, b"<html>", "/configz", WayTaken::Forward).1
        );
    }

    #[test]
    fn an_answer_of_another_kind_is_noticed() {
        let groups = fixture("kubelet-1.36.2/goroutine-debug1.txt");
        let all = fixture("kubelet-1.36.2/goroutine-debug2.txt");
        let configz = fixture("kubelet-1.36.2/configz.json");
        let page = b"<html><body>login</body>".as_slice();
        for (path, body, odd) in [
            ("/debug/pprof/goroutine?debug=1", groups.as_slice(), false),
            ("/debug/pprof/goroutine?debug=2", all.as_slice(), false),
            ("/configz", configz.as_slice(), false),
            ("/debug/pprof/goroutine?debug=2", page, true),
            ("/configz", page, true),
            ("/healthz", page, false),
        ] {
            assert_eq!(oddity(path, body.get(..24).unwrap_or(body)).is_some(), odd, "{path}");
        }
    }
}
