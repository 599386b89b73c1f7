//! From a request to its answer: faults, authentication, authorization, and what was recorded.

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, Response, Version};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::access::verb;
use crate::body::Body;
use crate::failed;
use crate::fault::{Fault, Faults};
use crate::flags::Flags;
use crate::recording::{Set, Wait};
use crate::reply::{Answer, accepts_gzip, broken, credential, delay, read, send};
use crate::request_log::{Line, RequestLog};
use crate::server::Answers;
use crate::tls::Peer;
use crate::user::{Credential, User, Users};
use crate::verbosity;

/// The kubelet: what it answers from, and the little that a request can change.
#[derive(Debug)]
pub struct Kubelet {
    /// The flags it was started with.
    pub flags: Flags,
    sets: BTreeMap<String, Set>,
    log: RequestLog,
    verbosity: AtomicI32,
    profile: Arc<Semaphore>,
}

impl Kubelet {
    /// Makes a kubelet of the flags; fails when the set they name is not there.
    pub fn new(flags: Flags) -> io::Result<Self> {
        let sets = crate::recording::read_sets(&flags.recordings)?;
        if !sets.contains_key(&flags.set) {
            return Err(failed("--set", format!("no such set: {}", flags.set)));
        }
        let log = RequestLog::open(flags.request_log.as_deref())?;
        let verbosity = AtomicI32::new(flags.verbosity);
        Ok(Self { flags, sets, log, verbosity, profile: Arc::new(Semaphore::new(1)) })
    }

    /// Answers a request on the plain port, which has `/healthz` and no authentication.
    pub async fn answer_plain(&self, request: Request<Incoming>) -> io::Result<Response<Body>> {
        let mut line = self.begin(&request);
        let faults = match Faults::read(self.flags.faults.as_deref()) {
            Ok(faults) => faults,
            Err(error) => return broken(&mut line, &error),
        };
        let of_path = faults.naming(request.uri().path());
        delay(&of_path).await;
        let recorded = match request.uri().path() {
            "/healthz" => self.set(&faults)?.find(None, "GET", "/healthz"),
            _ => None,
        };
        line.file = recorded.map(|recording| recording.file.clone());
        send(recorded.map_or_else(Answer::not_served, Answer::recorded), false, &of_path, &mut line)
    }

    fn begin(&self, request: &Request<Incoming>) -> Line {
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let mut line = self.log.begin(&format!("{:?}", request.version()), request.method().as_str(), target);
        line.verbosity = self.verbosity.load(Ordering::Relaxed);
        line
    }

    fn set(&self, faults: &Faults) -> io::Result<&Set> {
        let name = faults.set.as_ref().unwrap_or(&self.flags.set);
        let set = self.sets.get(name).ok_or_else(|| failed("no such set", name))?;
        match &faults.variant {
            Some(variant) if !set.has_variant(variant) => Err(failed("no such variant", variant)),
            _ => Ok(set),
        }
    }

    async fn decide(
        &self,
        certificate: Option<&str>,
        request: Request<Incoming>,
        faults: &Faults,
        of_path: &[&Fault],
        line: &mut Line,
    ) -> io::Result<Answer> {
        let set = self.set(faults)?;
        let (request, mut body) = request.into_parts();
        // Go's server reads the body before it writes an answer of HTTP/1.1, that of HTTP/2 does not: a refused PUT then
        // often looks like a reset stream.
        let early = if request.version < Version::HTTP_2 { Some(read(&mut body).await?) } else { None };
        let method = request.method.as_str();
        let target = request.uri.path_and_query().map_or("/", |target| target.as_str());
        let path = request.uri.path();
        let needed = set.rules.needed(path).filter(|_| !of_path.contains(&&Fault::NotFound));
        let Some(needed) = needed else { return Ok(Answer::not_served()) };

        let credential = credential(certificate, &request.headers);
        let user = match self.authenticate(credential, of_path).await? {
            Some(user) => user,
            None => return Ok(Answer::plain(401, "Unauthorized")),
        };
        line.user = Some(user.name.clone());
        let verb = verb(method);
        if of_path.iter().any(|fault| matches!(fault, Fault::CutOff(_))) {
            return Ok(Answer::plain(500, set.rules.unanswered(&user.name, verb, needed)));
        }
        if !user.may(verb, needed) {
            return Ok(Answer::plain(403, set.rules.forbidden(&user.name, verb, needed)));
        }

        let recording = set.find(faults.variant.as_deref(), method, target);
        if path == "/debug/flags/v" && recording.is_none() {
            let body = match early {
                Some(body) => body,
                None => read(&mut body).await?,
            };
            return Ok(self.flags_v(set, method, &body, line));
        }
        if path == "/debug/pprof/profile" {
            let Ok(_running) = self.profile.clone().try_acquire_owned() else {
                return Ok(set.find(None, "BUSY", path).map_or_else(Answer::not_served, Answer::recorded));
            };
            sleep(seconds(target, 30)).await;
        } else if path == "/debug/pprof/trace" {
            sleep(seconds(target, 1)).await;
        } else {
            match recording.map_or(Wait::None, |recording| recording.wait) {
                Wait::None => {}
                Wait::For(wait) => sleep(wait).await,
                Wait::Never => pending().await,
            }
        }
        let Some(recording) = recording else {
            return Ok(Answer::plain(501, format!("kubelet stand-in: no recording of {method} {target}\n")));
        };
        line.file = Some(recording.file.clone());
        Ok(Answer::recorded(recording))
    }

    async fn authenticate(&self, credential: Credential<'_>, faults: &[&Fault]) -> io::Result<Option<User>> {
        let users = self.flags.users.as_deref().map(Users::read).transpose()?.unwrap_or_default();
        for fault in faults {
            match fault {
                Fault::Unauthorized => return Ok(None),
                Fault::Forbidden => return Ok(users.find(credential).map(|user| user.without_rights())),
                // The API server is asked about tokens, and about the rights of users that are known without it.
                Fault::CutOff(_) if credential == Credential::None => return Ok(None),
                Fault::CutOff(wait) => {
                    sleep(*wait).await;
                    let known = users.find(credential);
                    return Ok(known.filter(|_| matches!(credential, Credential::Certificate(_))));
                }
                _ => {}
            }
        }
        Ok(users.find(credential))
    }

    fn flags_v(&self, set: &Set, method: &str, body: &[u8], line: &mut Line) -> Answer {
        if method != "PUT" {
            return Answer::error(406, "text/plain", "unsupported http method\n");
        }
        match verbosity::parse(set.rules, body) {
            Ok(level) => {
                self.verbosity.store(level, Ordering::Relaxed);
                line.verbosity = level;
                Answer::error(200, "text/plain", verbosity::changed(level))
            }
            Err(text) => Answer::error(400, "text/plain", text),
        }
    }
}

impl Answers for Kubelet {
    fn faults(&self) -> Faults {
        Faults::read(self.flags.faults.as_deref()).unwrap_or_default() // requests tell what is wrong
    }

    async fn answer(&self, peer: &Peer, request: Request<Incoming>) -> io::Result<Response<Body>> {
        let mut line = self.begin(&request);
        let faults = match Faults::read(self.flags.faults.as_deref()) {
            Ok(faults) => faults,
            Err(error) => return broken(&mut line, &error),
        };
        let path = request.uri().path().to_owned();
        let of_path = faults.of(&path);
        if of_path.contains(&&Fault::TooMany) {
            return broken(&mut line, &io::Error::other("no kubelet answers 429"));
        }
        delay(&of_path).await;
        let gzip = accepts_gzip(request.headers());
        match self.decide(peer.name(), request, &faults, &of_path, &mut line).await {
            Ok(answer) => send(answer, gzip && path.starts_with("/metrics"), &of_path, &mut line),
            Err(error) => broken(&mut line, &error),
        }
    }
}

/// Returns the `seconds=` of a query; what Go cannot parse, or finds too small, is the default.
fn seconds(target: &str, default: u64) -> Duration {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let value = query.split('&').find_map(|pair| pair.strip_prefix("seconds="));
    Duration::from_secs(value.and_then(|value| value.parse().ok()).filter(|seconds| *seconds > 0).unwrap_or(default))
}
