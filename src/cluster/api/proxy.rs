//! The node proxy: requests to kubelets that the API server makes for us, `/api/v1/nodes/NAME/proxy/…`. The API server connects
//! to the address it knows of the node; it refuses loopback addresses with 400 `address not allowed` (seen with 1.36.2).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use hyper::{Method, Response};
use kube::client::Body;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::SMALL;
use super::body::{self, End};
use super::server::ApiServer;
use crate::kubelet::{NodeProxy, ProxyAnswer};
use crate::session::Sink;

/// Bytes of an answer passed on at most; the sink has its own, lower bound.
const MOST: u64 = 1 << 30;

/// The API servers, asked for kubelets: to read, the first that can be reached; to set, the first.
pub(super) struct ApiServerProxy(pub(super) Arc<Vec<ApiServer>>);

impl ApiServerProxy {
    /// Returns the path for an API server.
    fn path(node: &str, path: &str) -> Result<String, String> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
        if node.is_empty() || node.starts_with('.') || !node.bytes().all(plain) {
            return Err(format!("{} is no name of a node", crate::printable::printable(node, 80)));
        }
        let path = path.strip_prefix('/').ok_or_else(|| format!("{path} is no path of a kubelet"))?;
        Ok(format!("/api/v1/nodes/{node}/proxy/{path}"))
    }

    /// Waits for the head of an answer.
    async fn head(
        servers: &[ApiServer],
        method: &Method,
        path: &str,
        body: Bytes,
        deadline: Instant,
        within: Duration,
    ) -> Result<Response<Body>, String> {
        let mut first = None;
        for server in servers {
            match timeout_at(deadline, server.send(method, path, &body)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(failure)) => {
                    first.get_or_insert(format!("API server {}: {}", server.address(), failure.0));
                }
                Err(_) => return Err(late(server, within)),
            }
        }
        Err(first.unwrap_or_else(|| "no API server is named".to_owned()))
    }
}

/// Why no answer came within the bound.
fn late(server: &ApiServer, within: Duration) -> String {
    format!("the API server {} gave no answer within {}", server.address(), humantime::format_duration(within))
}

impl NodeProxy for ApiServerProxy {
    fn get<'a>(
        &'a self,
        node: &'a str,
        path: &'a str,
        within: Duration,
        sink: &'a mut dyn Sink,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<ProxyAnswer, String>> {
        async move {
            let path = Self::path(node, path)?;
            let deadline = Instant::now() + within;
            let asking = async {
                let answer = Self::head(&self.0, &Method::GET, &path, Bytes::new(), deadline, within).await?;
                let status = answer.status().as_u16();
                if status == 200 {
                    let end = body::pass(answer.into_body(), MOST, deadline, sink).await;
                    return Ok(ProxyAnswer { status, body: Vec::new(), whole: end == End::Whole });
                }
                let (body, end) = body::whole(answer.into_body(), SMALL, deadline).await;
                Ok(ProxyAnswer { status, body: body.to_vec(), whole: end == End::Whole })
            };
            tokio::select! {
                () = cancel.cancelled() => Err("the run was stopped".to_owned()),
                answer = asking => answer,
            }
        }
        .boxed()
    }

    fn put<'a>(
        &'a self,
        node: &'a str,
        path: &'a str,
        body: &'a str,
        within: Duration,
    ) -> BoxFuture<'a, Result<ProxyAnswer, String>> {
        async move {
            let path = Self::path(node, path)?;
            let deadline = Instant::now() + within;
            // One server alone: a PUT that got no answer may have taken effect.
            let first = self.0.get(..1).unwrap_or_default();
            let body = Bytes::copy_from_slice(body.as_bytes());
            let answer = Self::head(first, &Method::PUT, &path, body, deadline, within).await?;
            let status = answer.status().as_u16();
            let (body, end) = body::whole(answer.into_body(), SMALL, deadline).await;
            Ok(ProxyAnswer { status, body: body.to_vec(), whole: end == End::Whole })
        }
        .boxed()
    }
}
