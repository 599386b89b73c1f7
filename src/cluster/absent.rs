//! What stands for the Kubernetes API in a build without it: opening says so, and nothing else can be called.

use std::convert::Infallible;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{ApiBounds, ApiEnd, ClusterError, ClusterNode, Keep};
use crate::credential::{Credential, OnSecret};
use crate::inventory::access::ClusterSettings;
use crate::kubelet::NodeProxy;
use crate::session::Sink;

/// Never there in this build.
#[derive(Debug, Clone)]
pub struct Cluster(Infallible);

impl Cluster {
    /// Says that this build cannot ask API servers.
    ///
    /// # Errors
    /// Always.
    pub fn open(_: &ClusterSettings, _: &OnSecret) -> Result<Self, ClusterError> {
        Err(ClusterError {
            text: "this build of plegcollect has no support for the Kubernetes API".to_owned(),
            hint: Some(
                "take a build with the Cargo feature `cluster`, or leave [cluster] and its flags out".to_owned(),
            ),
            setup: true,
        })
    }

    /// Never called.
    #[must_use]
    pub fn remark(&self) -> Option<&str> {
        match self.0 {}
    }

    /// Never called.
    ///
    /// # Errors
    /// Never.
    pub fn credential(&self) -> Result<Credential, ClusterError> {
        match self.0 {}
    }

    /// Never called.
    #[must_use]
    pub fn node_proxy(&self) -> Arc<dyn NodeProxy> {
        match self.0 {}
    }

    /// Never called.
    #[must_use]
    pub fn servers(&self) -> Vec<String> {
        match self.0 {}
    }

    /// Never called.
    ///
    /// # Errors
    /// Never.
    pub async fn nodes(&self) -> Result<Vec<ClusterNode>, ClusterError> {
        match self.0 {}
    }

    /// Never called.
    ///
    /// # Errors
    /// Never.
    pub async fn version(&self, _: usize, _: &CancellationToken) -> Result<Vec<u8>, ApiEnd> {
        match self.0 {}
    }

    /// Never called.
    pub async fn get(&self, _: usize, _: &str, _: ApiBounds, _: &mut dyn Sink, _: &CancellationToken) -> ApiEnd {
        match self.0 {}
    }

    /// Never called.
    pub async fn list(
        &self,
        _: usize,
        _: &[String],
        _: ApiBounds,
        _: Keep<'_>,
        _: &mut dyn Sink,
        _: &CancellationToken,
    ) -> ApiEnd {
        match self.0 {}
    }
}
