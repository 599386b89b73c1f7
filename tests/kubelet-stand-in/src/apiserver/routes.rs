//! From a request to its answer: faults, who asks, which right the path needs, and what was recorded.

use std::io;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Request, Response};
use serde_json::{Value, json};

use super::flags::ApiFlags;
use super::objects::{NodeLine, read_events};
use super::proxy::ToKubelets;
use super::query::{Query, page, select};
use super::recorded::Recorded;
use super::status::{Asked, forbidden, status};
use crate::access::verb;
use crate::body::Body;
use crate::failed;
use crate::fault::{Fault, Faults};
use crate::reply::{Answer, broken, credential, delay, read, send};
use crate::request_log::{Line, RequestLog};
use crate::server::Answers;
use crate::tls::Peer;
use crate::user::{Credential, User, Users};

/// The recorded node, which is there when no nodes file is.
const RECORDED_NODE: &str = "vm";
/// What everybody may ask for, with a credential or without (ClusterRole system:public-info-viewer).
const PUBLIC: [&str; 4] = ["/healthz", "/livez", "/readyz", "/version"];

/// Where the leases of kubelets are.
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/";

/// The API server: what it answers from.
pub struct ApiServer {
    flags: ApiFlags,
    recorded: Recorded,
    kubelets: Option<ToKubelets>,
    log: RequestLog,
}

/// What a path stands for.
#[derive(Debug)]
enum Route<'a> {
    Path,
    Nodes,
    Node(&'a str),
    /// Node, port, path below `proxy`.
    Proxy(&'a str, u16, &'a str),
    Events(Option<&'a str>),
    /// What a node's kubelet renews.
    Lease(&'a str),
}

impl<'a> Route<'a> {
    fn of(path: &'a str) -> Option<Self> {
        if let Some(name) = path.strip_prefix(LEASES) {
            return Some(Self::Lease(name));
        }
        let Some(resource) = path.strip_prefix("/api/v1/") else {
            return Some(Self::Path);
        };
        let parts: Vec<&str> = resource.trim_end_matches('/').splitn(4, '/').collect();
        Some(match parts.as_slice() {
            ["nodes"] => Self::Nodes,
            ["nodes", name] => Self::Node(name),
            ["nodes", node, "proxy", ..] => {
                let (name, port) = node.split_once(':').unwrap_or((node, "10250"));
                let below = resource.splitn(4, '/').nth(3).unwrap_or_default();
                Self::Proxy(name, port.parse().ok()?, below)
            }
            ["events"] => Self::Events(None),
            ["namespaces", namespace, "events"] => Self::Events(Some(namespace)),
            _ => return None,
        })
    }

    fn asked(&self, method: &str, path: &str) -> Asked {
        let resource = |verb: &str, resource, name: Option<&str>, namespace: Option<&str>| Asked::Resource {
            verb: verb.to_owned(),
            resource,
            name: name.map(ToOwned::to_owned),
            namespace: namespace.map(ToOwned::to_owned),
        };
        match self {
            Self::Path => Asked::Path(method.to_ascii_lowercase(), path.to_owned()),
            Self::Nodes => resource("list", "nodes", None, None),
            Self::Node(name) => resource(verb(method), "nodes", Some(name), None),
            Self::Proxy(name, ..) => resource(verb(method), "nodes/proxy", Some(name), None),
            Self::Events(namespace) => resource("list", "events", None, *namespace),
            Self::Lease(name) => resource(verb(method), "leases", Some(name), Some("kube-node-lease")),
        }
    }
}

impl Answers for ApiServer {
    fn faults(&self) -> Faults {
        Faults::read(self.flags.faults.as_deref()).unwrap_or_default() // requests tell what is wrong
    }

    async fn answer(&self, peer: &Peer, request: Request<Incoming>) -> io::Result<Response<Body>> {
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str()).to_owned();
        let mut line = self.log.begin(&format!("{:?}", request.version()), request.method().as_str(), &target);
        let faults = match Faults::read(self.flags.faults.as_deref()) {
            Ok(faults) => faults,
            Err(error) => return broken(&mut line, &error),
        };
        if faults.silent {
            std::future::pending::<()>().await; // on connections that were there before
        }
        let of_path = faults.of(request.uri().path());
        delay(&of_path).await;
        match self.decide(peer, request, &target, &of_path, &mut line).await {
            Ok(answer) => send(answer, false, &of_path, &mut line),
            Err(error) => broken(&mut line, &error),
        }
    }
}

impl ApiServer {
    /// Reads the recordings and certificates.
    pub fn new(flags: ApiFlags) -> io::Result<Self> {
        let recorded = Recorded::read(&flags.recordings)?;
        let kubelets = ToKubelets::new(&flags)?;
        let log = RequestLog::open(flags.request_log.as_deref())?;
        Ok(Self { flags, recorded, kubelets, log })
    }

    async fn decide(
        &self,
        peer: &Peer,
        request: Request<Incoming>,
        target: &str,
        of_path: &[&Fault],
        line: &mut Line,
    ) -> io::Result<Answer> {
        let (request, mut body) = request.into_parts();
        let body = read(&mut body).await?;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let method = request.method.as_str();
        // In the order of a real one: who asks, whether there is room, whether it is allowed.
        let user = self.authenticate(peer, &request.headers)?;
        let Some(user) = user.filter(|_| !of_path.contains(&&Fault::Unauthorized)) else {
            return self.recorded.file("401-wrong.json");
        };
        line.user = Some(user.name.clone());
        if of_path.contains(&&Fault::TooMany) {
            return self.recorded.file("429-too-many-requests.txt");
        }
        let user = if of_path.contains(&&Fault::Forbidden) { user.without_rights() } else { user };
        if of_path.contains(&&Fault::NotFound) {
            return Ok(Answer::not_served());
        }
        let Some(route) = Route::of(path) else { return Ok(unrecorded(method, target)) };
        let asked = route.asked(method, path);
        let allowed = match &asked {
            Asked::Path(verb, path) => PUBLIC.contains(&path.as_str()) && verb == "get" || user.has(verb, path),
            Asked::Resource { verb, resource, .. } => user.has(verb, resource),
        };
        if !allowed {
            let of = if matches!(asked, Asked::Path(..)) { "403-pprof.json" } else { "403-node-proxy-metrics.json" };
            return self.recorded.with_body(of, forbidden(&user.name, &asked));
        }
        if let Route::Proxy(name, port, below) = route {
            let question = if query.is_empty() { "" } else { "?" };
            return self.proxy((name, port), (method, &format!("/{below}{question}{query}")), body).await;
        }
        if method != "GET" {
            return Ok(unrecorded(method, target));
        }
        let query = Query::parse(query);
        if ["watch", "labelSelector"].iter().any(|name| query.has(name)) {
            return Ok(unrecorded(method, target));
        }
        let file = match route {
            Route::Nodes => return self.nodes(&query),
            Route::Node(name) => return self.node(name),
            Route::Lease(name) => return self.lease(name),
            Route::Events(namespace) => return self.events(namespace, &query),
            _ => recorded_file(path, &query),
        };
        line.file = file.map(ToOwned::to_owned);
        file.map_or_else(|| Ok(unrecorded(method, target)), |file| self.recorded.file(file))
    }

    /// Nothing shown is `system:anonymous`; what is shown and not known is nobody.
    fn authenticate(&self, peer: &Peer, headers: &HeaderMap) -> io::Result<Option<User>> {
        let users = self.flags.users.as_deref().map(Users::read).transpose()?.unwrap_or_default();
        Ok(match credential(peer.name(), headers) {
            Credential::None if *peer == Peer::Stranger => None,
            Credential::None => Some(User::anonymous()),
            shown => users.find(shown),
        })
    }

    fn lines(&self) -> io::Result<Option<Vec<NodeLine>>> {
        self.flags.nodes.as_deref().map(NodeLine::read).transpose()
    }

    fn json(&self, file: &str) -> io::Result<Value> {
        let body = self.recorded.file(file)?.body.unwrap_or_default();
        serde_json::from_slice(&body).map_err(|error| failed(file, error))
    }

    fn node(&self, name: &str) -> io::Result<Answer> {
        let Some(lines) = self.lines()? else {
            return if name == RECORDED_NODE { self.recorded.file("node.json") } else { self.no_node(name) };
        };
        match lines.iter().find(|line| line.name == name) {
            Some(line) => {
                let node = line.recast(&self.json("node.json")?);
                self.recorded.with_body("node.json", format!("{node:#}"))
            }
            None => self.no_node(name),
        }
    }

    /// Not recorded: a lease in the form the API documents.
    fn lease(&self, name: &str) -> io::Result<Answer> {
        match self.lines()?.unwrap_or_default().iter().find(|line| line.name == name) {
            Some(line) => self.recorded.with_body("node.json", format!("{:#}", line.lease())),
            None => self.no_node(name),
        }
    }

    /// Not recorded: the words of the API's own error for a name it does not know.
    fn no_node(&self, name: &str) -> io::Result<Answer> {
        let details = json!({ "name": name, "kind": "nodes" });
        let body = status(404, "NotFound", &format!("nodes \"{name}\" not found"), Some(details));
        Ok(Answer { status: 404, ..self.recorded.with_body("401-wrong.json", body)? })
    }

    fn bad_request(&self, message: &str) -> io::Result<Answer> {
        self.recorded.with_body("node-proxy-healthz.txt", status(400, "BadRequest", message, None))
    }

    fn nodes(&self, query: &Query) -> io::Result<Answer> {
        let whole = self.json("nodes.json")?;
        let first = whole.pointer("/items/0").cloned().unwrap_or_default();
        let Some(lines) = self.lines()? else {
            return self.list(whole, vec![first], query);
        };
        let items = lines.iter().map(|line| line.recast(&first)).collect();
        self.list(whole, items, query)
    }

    fn events(&self, namespace: Option<&str>, query: &Query) -> io::Result<Answer> {
        let mut items = self.flags.events.as_deref().map(read_events).transpose()?.unwrap_or_default();
        items.extend(self.lines()?.iter().flatten().filter_map(NodeLine::event));
        let of = |item: &Value| item.pointer("/metadata/namespace").and_then(Value::as_str).map(ToOwned::to_owned);
        items.retain(|item| namespace.is_none_or(|namespace| of(item).as_deref() == Some(namespace)));
        let list =
            json!({ "kind": "EventList", "apiVersion": "v1", "metadata": { "resourceVersion": "824" }, "items": [] });
        self.list(list, items, query)
    }

    /// Answers with a list: what the selector leaves, and of that a page.
    fn list(&self, mut list: Value, items: Vec<Value>, query: &Query) -> io::Result<Answer> {
        let items = match select(items, query.value("fieldSelector").unwrap_or_default()) {
            Ok(items) => items,
            Err(field) => return self.bad_request(&format!("field label not supported: {field}")),
        };
        let version = list.pointer("/metadata/resourceVersion").cloned().unwrap_or_default();
        let Some((metadata, items)) = page(items, query, &version) else {
            return self.bad_request("continue key is not valid");
        };
        if let Some(list) = list.as_object_mut() {
            list.insert("metadata".to_owned(), metadata);
            list.insert("items".to_owned(), items.into());
        }
        self.recorded.with_body("nodes.json", format!("{list:#}"))
    }

    async fn proxy(&self, (name, port): (&str, u16), ask: (&str, &str), body: Bytes) -> io::Result<Answer> {
        let Some(lines) = self.lines()? else {
            // The recorded node's name led to a loopback address, which a real one never asks.
            return if name == RECORDED_NODE {
                self.recorded.file("node-proxy-healthz.txt")
            } else {
                self.no_node(name)
            };
        };
        let Some(node) = lines.into_iter().find(|line| line.name == name) else { return self.no_node(name) };
        let Some(kubelets) = &self.kubelets else { return Ok(unrecorded(ask.0, ask.1)) };
        if kubelets.refuses(&node.address) {
            return self.recorded.file("node-proxy-healthz.txt");
        }
        Ok(kubelets.ask((&node.address, port), ask, body).await.unwrap_or_else(|error| {
            let text = format!("error trying to reach service: {error}");
            Answer::error(503, "text/plain; charset=utf-8", text)
        }))
    }
}

fn recorded_file(path: &str, query: &Query) -> Option<&'static str> {
    let verbose = query.has("verbose");
    Some(match path {
        "/readyz" if verbose => "readyz-verbose.txt",
        "/livez" if verbose => "livez-verbose.txt",
        "/readyz" | "/livez" => "anon-readyz.txt",
        "/healthz" if !verbose => "healthz.txt",
        "/version" => "version.json",
        "/metrics" => "metrics-excerpt.txt",
        "/debug/pprof/goroutine" if query.value("debug") == Some("1") => "goroutine-debug1.txt",
        "/debug/pprof/goroutine" if query.value("debug") == Some("2") => "goroutine-debug2-first.txt",
        _ => return None,
    })
}

/// What was not recorded is not made up.
fn unrecorded(method: &str, target: &str) -> Answer {
    Answer::plain(501, format!("kube-apiserver stand-in: no recording of {method} {target}\n"))
}
