//! Asks a node's kubelet over HTTP: through the SSH connection, by curl on the node where the server forbids forwarding, or
//! through the API server. Decides which way, which certificate, and what an answer means in words. Called by `collect/`
//! and `change/`.

mod access;
mod asking;
mod delivery;
mod ending;
mod forbidden;
mod gate;
mod listener;
mod pins;
mod place;
mod request;
#[cfg(test)]
mod test_support;
#[cfg(test)]
mod tests;
mod trust;
mod way;
mod words;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::credential::Credential;
use crate::evidence::Outcome;
use crate::inventory::Target;
use crate::plan::facts::{NodeFacts, ShellFacts};
use crate::plan::{Bounds, Encoding, KubeletGet, KubeletPort};
use crate::session::http::{Method, Spki};
use crate::session::{Session, Sink};

use asking::Wanted;
use delivery::Delivery;
use ending::{Collected, Ending};
use gate::Gate;
use place::Place;
use trust::KubeletJudge;

pub use access::{AccessPlan, AccessRecord, KubeletAccess, KubeletTrust, NodeProxy, ProxyAnswer, Via, WayTaken};
pub use pins::{Pins, PinsError};

/// Bound of connecting and TLS. Both are answered within milliseconds by a kubelet that is alive.
const FIRST_CONTACT: Duration = Duration::from_secs(10);
/// Bound of a small answer: the check of a token included, which takes 30 s where the API server hangs.
const SMALL_WITHIN: Duration = Duration::from_secs(40);
/// Size of a small answer.
const SMALL_MOST: usize = 4 * 1024 * 1024;

/// Takes an answer: told its packing when the head has come and before any byte. Whatever implements it opens the step's
/// way into the bundle then.
pub trait Receiver: Send {
    /// An answer with status 200 begins. `None`: it cannot be stored; the request is given up.
    fn begin(&mut self, encoding: Encoding) -> BoxFuture<'_, Option<&mut dyn Sink>>;
}

/// How a request ended: the outcome of its step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetEnd {
    /// The step's outcome.
    pub outcome: Outcome,
    /// The reason, one sentence; always there unless complete.
    pub detail: Option<String>,
    /// HTTP status, if there was one; stands as exit status nowhere.
    pub status: Option<u16>,
    /// What was done, for the record: `GET https://127.0.0.1:10250/pods (through the SSH connection)`.
    pub command: String,
}

/// Why a PUT gave no 200.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct PutError {
    /// One sentence.
    pub text: String,
    /// It may have taken effect all the same: it was sent, and no answer came.
    pub sent: bool,
}

/// One node's kubelet. Remembers which way works, and what is known to be in vain: after a refusal that holds for all
/// requests (no connection, wrong certificate, 401) further ones are not made, and say why.
pub struct Kubelet {
    place: Place,
    credential: Option<Credential>,
    judge: KubeletJudge,
    via: Via,
    proxy: Option<Arc<dyn NodeProxy>>,
    shell: ShellFacts,
    state: Mutex<State>,
}

/// What was learnt from the requests so far.
#[derive(Default)]
struct State {
    gate: Gate,
    /// The way of the last answer.
    way: Option<WayTaken>,
    refused_ways: Vec<(KubeletPort, WayTaken, String)>,
    /// The kubelet was seen to answer, with the certificate it should have.
    met: bool,
    /// The key curl on the node is to insist on.
    curl_key: Option<Spki>,
}

impl State {
    /// Returns why a way does not do, if that is known.
    fn no_way(&self, port: KubeletPort, way: WayTaken) -> Option<&str> {
        self.refused_ways.iter().find(|(p, w, _)| (*p, *w) == (port, way)).map(|(_, _, why)| why.as_str())
    }

    fn refused(&self, port: KubeletPort) -> Vec<String> {
        let of_port = self.refused_ways.iter().filter(|(p, ..)| *p == port);
        of_port.map(|(_, way, why)| format!("{}: {why}", way.word())).collect()
    }
}

impl Kubelet {
    /// Returns the kubelet of a node; nothing is asked yet.
    #[must_use]
    pub fn new(access: &KubeletAccess, target: &Target, facts: &NodeFacts) -> Self {
        Self {
            place: Place::new(access, target, facts),
            credential: access.credential.clone(),
            judge: KubeletJudge::new(&access.trust, &target.name),
            via: access.via,
            proxy: access.proxy.clone(),
            shell: facts.shell.clone(),
            state: Mutex::default(),
        }
    }

    /// Asks for one thing. `session` is the connection in use.
    ///
    /// # Cancel safety
    /// May be dropped at any time; use `cancel` to keep what came.
    pub async fn get(
        &self,
        session: &Session,
        get: &KubeletGet,
        receiver: &mut dyn Receiver,
        cancel: &CancellationToken,
    ) -> GetEnd {
        let api = get.port == KubeletPort::Api;
        let ending = Ending { kubelet: self, port: get.port, method: Method::Get, path: &get.path };
        if self.place.endpoint(get.port).is_none() {
            return ending
                .not_asked(Outcome::Absent, "--healthz-port=0 switches the kubelet's health port off".to_owned());
        }
        if api && self.credential.is_none() && self.via != Via::ApiServer {
            return ending.not_asked(Outcome::Skipped, "no credential for the kubelet is given".to_owned());
        }
        let refusal = if api { self.state().gate.refusal() } else { None };
        if let Some((outcome, why)) = refusal {
            return ending.not_asked(outcome, why);
        }
        let wanted = Wanted { method: Method::Get, port: get.port, path: &get.path, gzip: get.gzip, body: "" };
        let mut delivery = Delivery::new(receiver);
        let asked = self.ask(session, wanted, get.bounds.timeout, &mut delivery, cancel).await;
        ending.of(asked, &delivery)
    }

    /// Reads something small and whole (configz), 4 MiB at most, within 40 s.
    ///
    /// # Errors
    /// Why not, one sentence.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub async fn read(&self, session: &Session, path: &str) -> Result<Vec<u8>, String> {
        let bounds = Bounds { timeout: SMALL_WITHIN, grace: Duration::ZERO, max_bytes: SMALL_MOST as u64 };
        let get = KubeletGet { port: KubeletPort::Api, path: path.to_owned(), bounds, gzip: false };
        let mut collected = Collected::default();
        let end = self.get(session, &get, &mut collected, &CancellationToken::new()).await;
        match (end.outcome, end.detail) {
            (Outcome::Complete, _) if collected.full => {
                Err(format!("the answer of {path} is larger than {} MiB", SMALL_MOST >> 20))
            }
            (Outcome::Complete, None) => Ok(collected.bytes),
            (_, detail) => Err(detail.unwrap_or_else(|| "no answer".to_owned())),
        }
    }

    /// PUT with a body; returns the body of a 200. HTTP/1.1 always: a kubelet on HTTP/2 answers a refused PUT before it has
    /// read the body, and the status is lost. Made even where earlier requests were in vain: it may be what undoes a change.
    ///
    /// # Errors
    /// Why not, one sentence; with `sent` whether it may have taken effect all the same.
    ///
    /// # Cancel safety
    /// Dropped early, it may have taken effect.
    pub async fn put(&self, session: &Session, path: &str, body: &str) -> Result<Vec<u8>, PutError> {
        let ending = Ending { kubelet: self, port: KubeletPort::Api, method: Method::Put, path };
        let wanted = Wanted { method: Method::Put, port: KubeletPort::Api, path, gzip: false, body };
        let mut collected = Collected::default();
        let mut delivery = Delivery::new(&mut collected);
        let asked = self.ask(session, wanted, SMALL_WITHIN, &mut delivery, &CancellationToken::new()).await;
        let sent = match &asked.result {
            Err(trouble) => trouble.may_have_been_sent(),
            // Below 500 it was refused; above, something failed in the middle of it.
            Ok((_, reply)) => reply.status >= 500,
        };
        if let Ok((_, reply)) = &asked.result
            && reply.status == 200
        {
            let kept = reply.body.kept().to_vec();
            let _noted = ending.of(asked, &delivery);
            return Ok(if kept.is_empty() { collected.bytes } else { kept });
        }
        let end = ending.of(asked, &delivery);
        Err(PutError { text: end.detail.unwrap_or_else(|| "no answer".to_owned()), sent })
    }

    /// Returns how it was reached so far.
    #[must_use]
    pub fn record(&self) -> AccessRecord {
        let state = self.state();
        let peer = self.judge.peer();
        AccessRecord {
            way: state.way,
            refused_ways: state.refused(KubeletPort::Api),
            credential: self.credential.as_ref().map_or_else(String::new, |c| c.kind().to_owned()),
            trust: self.judge.label(),
            key: peer.as_ref().map(|peer| peer.spki.to_string()),
            certificate: peer.map(|peer| peer.certificate),
            server: self.place.origin(KubeletPort::Api),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
