//! Lists of objects, page by page, and single objects: filtered, one object a line, as the API server wrote it.

use std::ops::ControlFlow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::super::{ApiBounds, ApiEnd, ClusterNode, Keep};
use super::answer;
use super::body::{self, End};
use super::server::ApiServer;
use crate::evidence::Outcome;
use crate::session::{Sink, StdStream};

/// Objects asked for at a time; nodes of large clusters have some 30 kB each.
const PAGE: usize = 500;
/// Bytes of a page at most; it is held, to be filtered.
const PAGE_BYTES: usize = 64 << 20;
/// Pages at most: a server that goes on for ever is stopped.
const PAGES: usize = 1000;

/// One page of a list, or one object (then there are no items).
#[derive(Deserialize)]
struct Page<'a> {
    #[serde(default)]
    metadata: PageMeta,
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PageMeta {
    #[serde(rename = "continue")]
    more: String,
}

/// What is read of an object.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Object {
    metadata: ObjectMeta,
    status: ObjectStatus,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ObjectMeta {
    name: String,
    labels: Option<std::collections::BTreeMap<String, String>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ObjectStatus {
    addresses: Option<Vec<Typed>>,
    conditions: Option<Vec<Typed>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Typed {
    r#type: String,
    address: String,
    status: String,
    reason: String,
}

/// Returns what is known of a node from its object; of other objects, their name.
fn node(raw: &str) -> ClusterNode {
    let Object { metadata, status } = serde_json::from_str(raw).unwrap_or_default();
    let addresses = status.addresses.unwrap_or_default();
    let of = |kind: &str| addresses.iter().filter(|a| a.r#type == kind).map(|a| a.address.clone()).collect();
    let ready = status.conditions.unwrap_or_default().into_iter().find(|c| c.r#type == "Ready").unwrap_or_default();
    ClusterNode {
        name: metadata.name,
        internal_ips: of("InternalIP"),
        hostnames: of("Hostname"),
        labels: metadata.labels.unwrap_or_default(),
        ready: ready.status,
        reason: ready.reason,
    }
}

/// Reads all nodes into `into`, page by page.
///
/// # Cancel safety
/// May be dropped at any time; `into` holds the nodes of the pages that came.
pub(super) async fn nodes(server: &ApiServer, bounds: ApiBounds, into: &mut Vec<ClusterNode>) -> ApiEnd {
    let mut budget = Budget::new(bounds);
    pages(server, "/api/v1/nodes", &mut budget, &mut Taker::Nodes(into)).await
}

/// What is left of the bounds.
struct Budget {
    bounds: ApiBounds,
    deadline: Instant,
    left: u64,
}

impl Budget {
    fn new(bounds: ApiBounds) -> Self {
        Self { bounds, deadline: Instant::now() + bounds.within, left: bounds.max_bytes }
    }
}

/// Where objects go.
enum Taker<'a> {
    Nodes(&'a mut Vec<ClusterNode>),
    Lines(Keep<'a>, &'a mut dyn Sink),
}

impl Taker<'_> {
    async fn take(&mut self, raw: &str) -> ControlFlow<()> {
        match self {
            Self::Nodes(into) => into.push(node(raw)),
            Self::Lines(keep, _) if !keep(&node(raw)) => {}
            Self::Lines(_, sink) => {
                // Line breaks stand between the parts of JSON only, never inside a string.
                let mut line = raw.replace(['\n', '\r'], " ");
                line.push('\n');
                return sink.write(StdStream::Out, Bytes::from(line)).await;
            }
        }
        ControlFlow::Continue(())
    }
}

/// See [`Cluster::list`](super::Cluster::list).
pub(super) async fn lines(
    server: &ApiServer,
    paths: &[String],
    bounds: ApiBounds,
    keep: Keep<'_>,
    sink: &mut dyn Sink,
) -> ApiEnd {
    let mut budget = Budget::new(bounds);
    let mut taker = Taker::Lines(keep, sink);
    let mut absent = Vec::new();
    for path in paths {
        let end = pages(server, path, &mut budget, &mut taker).await;
        match end.outcome {
            Outcome::Complete => {}
            // One of several that is not there takes nothing from the others.
            Outcome::Absent if paths.len() > 1 => absent.extend(end.detail),
            _ => return end,
        }
    }
    match absent.len() {
        0 => answer::complete(),
        n if n == paths.len() => {
            ApiEnd { outcome: Outcome::Absent, detail: Some(absent.join("; ")), status: Some(404) }
        }
        _ => ApiEnd { detail: Some(absent.join("; ")), ..answer::complete() },
    }
}

/// Passes the objects of all pages on, or the one object that came instead of a list.
async fn pages(server: &ApiServer, path: &str, budget: &mut Budget, taker: &mut Taker<'_>) -> ApiEnd {
    let Budget { bounds, deadline, .. } = *budget;
    let mut more = String::new();
    for _ in 0..PAGES {
        let body = match server.head(&address(path, &more), deadline, bounds.within).await {
            Ok(body) => body,
            Err(refused) => return refused.end,
        };
        let most = PAGE_BYTES.min(usize::try_from(budget.left).unwrap_or(usize::MAX));
        let (text, end) = body::whole(body, most, deadline).await;
        budget.left = budget.left.saturating_sub(text.len() as u64);
        match end {
            End::Whole => {}
            End::Cut => return answer::cut(Some(200)),
            End::Late => return answer::unfinished(bounds.within),
            End::Full => return answer::truncated(most as u64),
        }
        let Some(text) = std::str::from_utf8(&text).ok().filter(|text| text.trim_start().starts_with('{')) else {
            return answer::failed(
                "the answer is no JSON; something else than an API server answers".to_owned(),
                Some(200),
            );
        };
        let Ok(page) = serde_json::from_str::<Page<'_>>(text) else {
            return answer::failed("the answer is no list and no object of Kubernetes".to_owned(), Some(200));
        };
        let Some(items) = page.items else {
            return match taker.take(text).await {
                ControlFlow::Continue(()) => answer::complete(),
                ControlFlow::Break(()) => answer::truncated(bounds.max_bytes),
            };
        };
        for item in items {
            if taker.take(item.get()).await.is_break() {
                return answer::truncated(bounds.max_bytes);
            }
        }
        if page.metadata.more.is_empty() {
            return answer::complete();
        }
        more = page.metadata.more;
    }
    answer::failed(format!("the list had no end after {PAGES} pages"), Some(200))
}

/// Returns the path with the number of objects and the place to go on from, which is made for URLs (base64url of JSON).
fn address(path: &str, more: &str) -> String {
    if !path.contains('?') && path.rsplit('/').next().is_some_and(|last| !matches!(last, "nodes" | "events" | "leases"))
    {
        return path.to_owned();
    }
    let join = if path.contains('?') { '&' } else { '?' };
    let more: String = more
        .bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(b).to_string(),
            _ => format!("%{b:02X}"),
        })
        .collect();
    let more = if more.is_empty() { more } else { format!("&continue={more}") };
    format!("{path}{join}limit={PAGE}{more}")
}
