//! From what became of a request to the outcome of its step, and to what later requests need to know. No I/O.

use std::ops::ControlFlow;

use bytes::Bytes;
use futures::future::BoxFuture;

use super::asking::Asked;
use super::delivery::Delivery;
use super::request::{Body, Reply, Trouble};
use super::words::{Refused, Shown, oddity};
use super::{GetEnd, Kubelet, Receiver, SMALL_MOST, WayTaken};
use crate::evidence::Outcome;
use crate::plan::{Encoding, KubeletPort};
use crate::session::http::{BodyEnd, Method};
use crate::session::{Sink, StdStream, Stopped};
use crate::wording;

/// Judges one request to a kubelet.
#[derive(Clone, Copy)]
pub(super) struct Ending<'a> {
    pub(super) kubelet: &'a Kubelet,
    pub(super) port: KubeletPort,
    pub(super) method: Method,
    pub(super) path: &'a str,
}

impl Ending<'_> {
    /// Returns the end of a request that is not made.
    pub(super) fn not_asked(&self, outcome: Outcome, why: String) -> GetEnd {
        GetEnd { outcome, detail: Some(why), status: None, command: String::new() }
    }

    /// Returns the end of a request, and notes what it says about all others.
    pub(super) fn of(&self, asked: Asked, delivery: &Delivery<'_>) -> GetEnd {
        let way = asked.result.as_ref().ok().map(|(way, _)| *way);
        let (outcome, detail, status) = match &asked.result {
            Err(trouble) => {
                let (outcome, detail) = self.trouble(trouble);
                (outcome, Some(detail), None)
            }
            Ok((way, reply)) => {
                let (outcome, detail) = self.answer(*way, reply, &asked, delivery);
                (outcome, detail, Some(reply.status))
            }
        };
        GetEnd { outcome, detail, status, command: self.command(way) }
    }

    fn command(&self, way: Option<WayTaken>) -> String {
        let method = if self.method == Method::Put { "PUT" } else { "GET" };
        let how = match way {
            None => return format!("{method} {}{}", self.kubelet.place.origin(self.port), self.path),
            Some(WayTaken::Forward) => "through the SSH connection",
            Some(WayTaken::Curl) => "by curl on the node",
            Some(WayTaken::ApiServer) => {
                let node = &self.kubelet.place.cluster_name;
                return format!("{method} /api/v1/nodes/{node}/proxy{} (through the API server)", self.path);
            }
        };
        format!("{method} {}{} ({how})", self.kubelet.place.origin(self.port), self.path)
    }

    fn trouble(&self, trouble: &Trouble) -> (Outcome, String) {
        let at = self.kubelet.place.endpoint(self.port).map(|at| wording::safe(&at.to_string())).unwrap_or_default();
        let seconds = wording::duration;
        let (outcome, text) = match trouble {
            Trouble::NoWay(why) | Trouble::Closed(why) => (Outcome::Failed, why.clone()),
            Trouble::Frozen(after) => (
                Outcome::TimedOut,
                format!(
                    "{at} takes connections and does not answer them within {}: the kubelet's process hangs or is stopped",
                    seconds(*after)
                ),
            ),
            Trouble::Silent(after) => (
                Outcome::TimedOut,
                format!("the kubelet took the request and did not answer within {}", seconds(*after)),
            ),
            Trouble::Broken(why) => (Outcome::Failed, why.clone()),
            Trouble::Lost(why) | Trouble::Stalled(why) => (Outcome::Lost, why.clone()),
            Trouble::Cancelled => (Outcome::Cancelled, "the run was interrupted".to_owned()),
        };
        if self.port == KubeletPort::Api {
            let mut state = self.kubelet.state();
            match trouble {
                Trouble::NoWay(_) | Trouble::Closed(_) | Trouble::Frozen(_) => state.gate.close(outcome, &text),
                Trouble::Silent(after) => state.gate.left_unanswered(self.path, *after),
                Trouble::Broken(_) | Trouble::Lost(_) | Trouble::Stalled(_) | Trouble::Cancelled => {}
            }
        }
        (outcome, text)
    }

    fn answer(
        &self,
        way: WayTaken,
        reply: &Reply,
        asked: &Asked,
        delivery: &Delivery<'_>,
    ) -> (Outcome, Option<String>) {
        let api = self.port == KubeletPort::Api;
        let put = self.method == Method::Put;
        let mut state = self.kubelet.state();
        let refused = Refused {
            status: reply.status,
            body: reply.body.kept(),
            path: self.path,
            put,
            way,
            took: reply.took,
            handlers_off: state.gate.handlers_off,
        };
        if api && reply.status == 401 {
            let shown = Shown { token: asked.token, renewed: asked.renewed, let_in: state.gate.has_let_in() };
            let mut why = refused.unauthorized(shown);
            if let Some(note) = &asked.note {
                why.push_str(&format!("; there is no other token: {note}"));
            }
            state.gate.close(Outcome::Failed, &why);
            return (Outcome::Failed, Some(why));
        }
        if api {
            state.gate.answered();
        }
        if reply.status == 200 {
            drop(state);
            return self.body(&reply.body, asked, delivery);
        }
        state.gate.handlers_off |= refused.says_handlers_off();
        let (outcome, why) = refused.judge();
        (outcome, Some(why))
    }

    fn body(&self, body: &Body, asked: &Asked, delivery: &Delivery<'_>) -> (Outcome, Option<String>) {
        let end = match body {
            Body::Passed(end) => *end,
            Body::Kept(_) => return (Outcome::Complete, None),
            Body::NotTaken => return (Outcome::Failed, Some("the answer could not be stored here".to_owned())),
        };
        let bytes = wording::bytes(delivery.bytes);
        match end {
            BodyEnd::Whole => (Outcome::Complete, oddity(self.path, &delivery.head).filter(|_| !delivery.is_packed())),
            BodyEnd::Cut => (
                Outcome::Failed,
                Some(format!("the kubelet ended the answer after {bytes}, before its end; what came is kept")),
            ),
            BodyEnd::LinkLost => (
                Outcome::Lost,
                Some(format!("the SSH connection was lost after {bytes} of the answer; what came is kept")),
            ),
            BodyEnd::Stopped(Stopped::Deadline) => (
                Outcome::TimedOut,
                Some(format!(
                    "the answer was not whole within {}; the {bytes} that came are kept",
                    wording::duration(asked.allowed.all)
                )),
            ),
            BodyEnd::Stopped(Stopped::Sink) => (Outcome::Complete, None),
            BodyEnd::Stopped(Stopped::Cancelled) => {
                (Outcome::Cancelled, Some(format!("the run was interrupted after {bytes} of the answer")))
            }
        }
    }
}

/// Keeps a small answer.
#[derive(Default)]
pub(super) struct Collected {
    pub(super) bytes: Vec<u8>,
    /// There was more.
    pub(super) full: bool,
}

impl Receiver for Collected {
    fn begin(&mut self, _: Encoding) -> BoxFuture<'_, Option<&mut dyn Sink>> {
        Box::pin(async move { Some(self as &mut dyn Sink) })
    }
}

impl Sink for Collected {
    fn write<'a>(&'a mut self, _: StdStream, chunk: Bytes) -> BoxFuture<'a, ControlFlow<()>> {
        let room = SMALL_MOST.saturating_sub(self.bytes.len());
        self.full |= chunk.len() > room;
        self.bytes.extend_from_slice(chunk.get(..room.min(chunk.len())).unwrap_or_default());
        let flow = if self.full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        Box::pin(std::future::ready(flow))
    }
}
