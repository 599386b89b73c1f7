//! What the kubelets of a run are asked with, and how one was reached: settings that are decided already, and their record
//! in the manifest. No I/O. Made by `cli/` and `collect/`.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::Pins;
use super::place::Place;
use crate::credential::Credential;
use crate::inventory::Target;
use crate::plan::KubeletPort;
use crate::plan::facts::NodeFacts;
use crate::session::Sink;

/// What all kubelets of a run are asked with.
#[derive(Clone)]
pub struct KubeletAccess {
    /// What to show them; `None`: only the port for health checks is asked.
    pub credential: Option<Credential>,
    /// How their certificates are judged.
    pub trust: KubeletTrust,
    /// Host to connect to on the node, `127.0.0.1` unless the inventory says otherwise; `{name}` stands for the node.
    pub address: String,
    /// Port; `None`: what the kubelet's command line says, else 10250.
    pub port: Option<u16>,
    /// Names the certificate may hold, `{name}` for the node; the node's name, host name and address count as well.
    pub server_names: Vec<String>,
    /// Name of the node in the cluster, `{name}` for ours.
    pub node_name: String,
    /// Which ways are allowed.
    pub via: Via,
    /// The last of the ways, if there is an API server to ask.
    pub proxy: Option<Arc<dyn NodeProxy>>,
}

impl KubeletAccess {
    /// Returns the access of a run without credential: only the port for health checks is asked.
    #[must_use]
    pub fn none() -> Self {
        Self {
            credential: None,
            trust: KubeletTrust::Insecure,
            address: "127.0.0.1".to_owned(),
            port: None,
            server_names: Vec::new(),
            node_name: "{name}".to_owned(),
            via: Via::Auto,
            proxy: None,
        }
    }
}

/// How one node's kubelet would be asked, for `plan`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AccessPlan {
    /// `https://127.0.0.1:10250` as seen from the node.
    pub server: String,
    /// `http://127.0.0.1:10248`; `None`: switched off.
    pub healthz: Option<String>,
    /// The ways that would be tried, in this order; none without a credential.
    pub ways: Vec<WayTaken>,
    /// What would be shown; `None`: nothing, and only the port for health checks is asked.
    pub credential: Option<String>,
    /// How its certificate would be judged: `ca FILE`, `pins FILE`, `insecure`.
    pub trust: Option<String>,
}

impl KubeletAccess {
    /// Returns how the kubelet of this node would be asked.
    #[must_use]
    pub fn plan(&self, target: &Target, facts: &NodeFacts) -> AccessPlan {
        let place = Place::new(self, target, facts);
        let credential = self.credential.as_ref().map(|credential| credential.kind().to_owned());
        let mut ways = match self.via {
            Via::Auto => vec![WayTaken::Forward, WayTaken::Curl, WayTaken::ApiServer],
            Via::Forward => vec![WayTaken::Forward],
            Via::Curl => vec![WayTaken::Curl],
            Via::ApiServer => vec![WayTaken::ApiServer],
        };
        ways.retain(|way| {
            credential.is_some() && (*way != WayTaken::ApiServer || self.proxy.is_some() || self.via == Via::ApiServer)
        });
        let trust = credential.is_some().then(|| match &self.trust {
            KubeletTrust::Ca { file, .. } => format!("ca {file}"),
            KubeletTrust::Pins(pins) => format!("pins {}", pins.path().display()),
            KubeletTrust::Insecure => "insecure".to_owned(),
        });
        let healthz = place.endpoint(KubeletPort::Healthz).map(|_| place.origin(KubeletPort::Healthz));
        AccessPlan { server: place.origin(KubeletPort::Api), healthz, ways, credential, trust }
    }
}

/// How certificates of kubelets are judged.
#[derive(Clone)]
pub enum KubeletTrust {
    /// By this authority, from the file that is named.
    Ca {
        /// PEM.
        pem: Arc<Vec<u8>>,
        /// For messages.
        file: String,
    },
    /// By the key seen at the first use, kept in a file.
    Pins(Arc<Pins>),
    /// Any is taken.
    Insecure,
}

/// Which ways are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Via {
    /// Forwarding, then curl, then the API server.
    #[default]
    Auto,
    /// Forwarding only.
    Forward,
    /// curl on the node only.
    Curl,
    /// The API server only.
    ApiServer,
}

/// The way that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WayTaken {
    /// direct-tcpip through SSH.
    Forward,
    /// curl on the node.
    Curl,
    /// `/api/v1/nodes/NAME/proxy/`.
    ApiServer,
}

impl WayTaken {
    /// Returns the word used in the manifest and in messages.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Curl => "curl",
            Self::ApiServer => "api-server",
        }
    }
}

/// The node proxy of an API server; implemented by `cluster/`.
pub trait NodeProxy: Send + Sync {
    /// Asks for `path` of the kubelet of the node of that name, and passes a 200's body to `sink`; the body of another
    /// status is returned, 64 KiB at most. API servers are tried one after the other, all within `within`.
    ///
    /// # Errors
    /// When none gave an answer: one sentence.
    ///
    /// # Cancel safety
    /// May be dropped at any time; heeds `cancel`. What was passed to the sink stays.
    fn get<'a>(
        &'a self,
        node: &'a str,
        path: &'a str,
        within: Duration,
        sink: &'a mut dyn Sink,
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<ProxyAnswer, String>>;
    /// Sets, through one API server alone; returns status and body, 64 KiB at most.
    ///
    /// # Errors
    /// When no answer came within `within`: one sentence. It may have taken effect all the same.
    ///
    /// # Cancel safety
    /// Dropped early, it may have taken effect.
    fn put<'a>(
        &'a self,
        node: &'a str,
        path: &'a str,
        body: &'a str,
        within: Duration,
    ) -> BoxFuture<'a, Result<ProxyAnswer, String>>;
}

/// What came through the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyAnswer {
    /// Status code.
    pub status: u16,
    /// Body, unless a sink took it.
    pub body: Vec<u8>,
    /// The body is whole.
    pub whole: bool,
}

/// How the kubelet was reached; in the manifest (`kubelet`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct AccessRecord {
    /// The way taken; `None`: no answer came.
    pub way: Option<WayTaken>,
    /// Ways that were tried before, and why they did not do: `forward: …`.
    pub refused_ways: Vec<String>,
    /// What was shown: `token from a file`, ….
    pub credential: String,
    /// How the certificate was judged: `ca FILE`, `pin (seen before, since TIME)`, `pin (recorded now)`, `insecure`.
    pub trust: String,
    /// The certificate's key, `sha256:…`.
    pub key: Option<String>,
    /// sha256 of the certificate, hex.
    pub certificate: Option<String>,
    /// `https://127.0.0.1:10250` as seen from the node.
    pub server: String,
}

impl AccessRecord {
    /// Returns the record with every text a node had a part in replaced by `map` of it, for redaction.
    #[must_use]
    pub fn map_text(self, map: impl Fn(&str) -> String) -> Self {
        Self {
            refused_ways: self.refused_ways.iter().map(|text| map(text)).collect(),
            server: map(&self.server),
            ..self
        }
    }
}
