//! API servers by kube: opened from a kubeconfig or from addresses, asked one bounded request at a time. Used through
//! [`Cluster`] alone.

mod answer;
mod body;
mod fixed_token;
mod kubeconfig;
mod list;
mod plugin;
mod proxy;
mod server;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{ApiBounds, ApiEnd, ClusterError, ClusterNode, Keep};
use crate::credential::{Credential, OnSecret};
use crate::evidence::Outcome;
use crate::inventory::access::ClusterSettings;
use crate::kubelet::NodeProxy;
use crate::session::Sink;

use kubeconfig::Opened;
use proxy::ApiServerProxy;
use server::ApiServer;

/// To connect, TLS included.
const CONNECT: Duration = Duration::from_secs(4);
/// The first request to a server decides whether others are made.
const GATE: Duration = Duration::from_secs(5);
/// All nodes of a cluster.
const NODES: ApiBounds = ApiBounds { within: Duration::from_secs(15), max_bytes: 256 << 20 };
/// Bodies that are read and not stored: versions, Status objects.
const SMALL: usize = 64 << 10;

/// Makes an error of the settings.
fn setup(text: impl Into<String>) -> ClusterError {
    ClusterError { text: text.into(), hint: None, setup: true }
}

/// The API servers of one cluster; clones share the clients. Nothing is contacted until it is asked.
#[derive(Clone)]
pub struct Cluster {
    servers: Arc<Vec<ApiServer>>,
    /// For kubelets; an error where the kubeconfig holds nothing they take.
    credential: Result<Credential, ClusterError>,
    remark: Option<String>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("servers", &self.servers()).finish_non_exhaustive()
    }
}

impl Cluster {
    /// Reads kubeconfig, certificates and token sources.
    ///
    /// # Errors
    /// When they cannot be used; nothing has been contacted.
    pub fn open(settings: &ClusterSettings, on_secret: &OnSecret) -> Result<Self, ClusterError> {
        let Opened { servers, credential, remark } = kubeconfig::open(settings, on_secret)?;
        Ok(Self { servers: Arc::new(servers), credential, remark })
    }

    /// Returns what has to be told with whatever these API servers say: a certificate that is not judged.
    #[must_use]
    pub fn remark(&self) -> Option<&str> {
        self.remark.as_deref()
    }

    /// Returns the credential of the kubeconfig, for kubelets: token or client certificate, exec plug-ins included.
    ///
    /// # Errors
    /// When there is no kubeconfig, or it holds nothing a kubelet takes (basic authentication).
    pub fn credential(&self) -> Result<Credential, ClusterError> {
        self.credential.clone()
    }

    /// Returns the way to kubelets through the API server.
    #[must_use]
    pub fn node_proxy(&self) -> Arc<dyn NodeProxy> {
        Arc::new(ApiServerProxy(Arc::clone(&self.servers)))
    }

    /// Returns the addresses of the API servers; an index into them names a server.
    #[must_use]
    pub fn servers(&self) -> Vec<String> {
        self.servers.iter().map(|server| server.address().to_owned()).collect()
    }

    /// Returns all nodes of the cluster, read in pages, within 15 s (4 s to connect) and 30 s more for an exec plug-in.
    /// The first API server that answers is asked.
    ///
    /// # Errors
    /// When no API server answers, or the one that does refuses.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub async fn nodes(&self) -> Result<Vec<ClusterNode>, ClusterError> {
        let cancel = CancellationToken::new();
        let mut first: Option<(usize, ApiEnd)> = None;
        for index in 0..self.servers.len() {
            match self.version(index, &cancel).await {
                Ok(_) => return self.nodes_of(index).await,
                Err(end) => {
                    first.get_or_insert((index, end));
                }
            }
        }
        let (index, end) = first.ok_or_else(|| setup("no API server is named"))?;
        Err(self.unanswered(index, &end))
    }

    async fn nodes_of(&self, index: usize) -> Result<Vec<ClusterNode>, ClusterError> {
        let Some(server) = self.servers.get(index) else { return Ok(Vec::new()) };
        let mut nodes = Vec::new();
        let end = list::nodes(server, NODES, &mut nodes).await;
        if end.outcome == Outcome::Complete { Ok(nodes) } else { Err(self.unanswered(index, &end)) }
    }

    fn unanswered(&self, index: usize, end: &ApiEnd) -> ClusterError {
        let at = self.servers.get(index).map(ApiServer::address).unwrap_or_default();
        let why = end.detail.as_deref().unwrap_or(end.outcome.word());
        let hint = match end.status {
            Some(401) => "look at the token or the certificate of the kubeconfig: it may have expired",
            Some(403) => "grant `list nodes` to that user: plegcollect plan --rbac prints the role",
            _ => "name the nodes by --nodes alone, or another API server by --api-server",
        };
        ClusterError {
            text: format!("the nodes of the cluster are not known: API server {at}: {why}"),
            hint: Some(hint.to_owned()),
            setup: false,
        }
    }

    /// Asks a server for its version, within 5 s after the credential is there (an exec plug-in may take 30 s): an API
    /// server that does not answer this answers nothing.
    ///
    /// # Errors
    /// Why not.
    ///
    /// # Cancel safety
    /// May be dropped at any time; heeds `cancel`.
    pub async fn version(&self, server: usize, cancel: &CancellationToken) -> Result<Vec<u8>, ApiEnd> {
        let server = self.server(server)?;
        tokio::select! {
            () = cancel.cancelled() => Err(answer::cancelled()),
            answer = async {
                server.ready().await.map_err(|failure| failure.end())?;
                let deadline = Instant::now() + GATE;
                let (status, body, whole) = timeout_at(deadline, server.small("/version", deadline))
                    .await
                    .map_err(|_| answer::timed_out(GATE))?
                    .map_err(|failure| failure.end())?;
                match status {
                    200 if whole => Ok(body),
                    200 => Err(answer::cut(Some(200))),
                    _ => Err(answer::refusal(status, &body, server.kind())),
                }
            } => answer,
        }
    }

    /// Asks a server for `path` and passes the body to `sink` as it is, the one of a 5xx as well (`/readyz` tells there
    /// what is not ready).
    ///
    /// # Cancel safety
    /// May be dropped at any time; heeds `cancel`.
    pub async fn get(
        &self,
        server: usize,
        path: &str,
        bounds: ApiBounds,
        sink: &mut dyn Sink,
        cancel: &CancellationToken,
    ) -> ApiEnd {
        let server = match self.server(server) {
            Ok(server) => server,
            Err(end) => return end,
        };
        tokio::select! {
            () = cancel.cancelled() => answer::cancelled(),
            end = server.get(path, bounds, sink) => end,
        }
    }

    /// Asks a server for lists or single objects, lists page by page, and passes each object that `keep` wants to `sink`,
    /// one a line, as the API server wrote it. One page of 500 objects is held at most.
    ///
    /// # Cancel safety
    /// May be dropped at any time; heeds `cancel`. What was passed to the sink stays.
    pub async fn list(
        &self,
        server: usize,
        paths: &[String],
        bounds: ApiBounds,
        keep: Keep<'_>,
        sink: &mut dyn Sink,
        cancel: &CancellationToken,
    ) -> ApiEnd {
        let server = match self.server(server) {
            Ok(server) => server,
            Err(end) => return end,
        };
        tokio::select! {
            () = cancel.cancelled() => answer::cancelled(),
            end = list::lines(server, paths, bounds, keep, sink) => end,
        }
    }

    fn server(&self, index: usize) -> Result<&ApiServer, ApiEnd> {
        self.servers.get(index).ok_or_else(|| answer::failed("there is no such API server".to_owned(), None))
    }
}
