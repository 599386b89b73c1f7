//! The tables of the inventory that say how kubelets and API servers are asked: `[kubelet]` and `[cluster]`.

use std::path::PathBuf;

/// Where a bearer token comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenFrom {
    /// `token-file`: the first line of a file only its owner may read.
    File(PathBuf),
    /// `token-env`: this environment variable of ours.
    Env(String),
    /// `token-command`: what this command prints, run by `/bin/sh -c` on this machine, once a run and again when the token is
    /// refused.
    Command(String),
    /// `kubeconfig = true`: the credential of the kubeconfig of `[cluster]`, its client certificate included.
    Kubeconfig,
}

/// How certificates of kubelets are judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrustFrom {
    /// `ca`: a file of authorities.
    Ca(PathBuf),
    /// `pins`: the key seen first, kept in this file; `None`: `$XDG_STATE_HOME/plegcollect/kubelet-keys`.
    Pins(Option<PathBuf>),
    /// `insecure = true`.
    Insecure,
}

/// Which ways to the kubelet are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KubeletVia {
    /// Forwarding through SSH, then curl on the node, then the API server.
    Auto,
    /// Forwarding only.
    Forward,
    /// curl on the node only.
    Curl,
    /// The API server's node proxy only.
    ApiServer,
}

/// `[kubelet]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KubeletSettings {
    /// One of `token-file`, `token-env`, `token-command`, `kubeconfig`.
    pub token: Option<TokenFrom>,
    /// `client-certificate` and `client-key`: PEM files.
    pub client: Option<(PathBuf, PathBuf)>,
    /// One of `ca`, `pins`, `insecure`; none: pins.
    pub trust: Option<TrustFrom>,
    /// `address`: where the kubelet listens as seen from its node; `{name}` stands for the node.
    pub address: Option<String>,
    /// `port`.
    pub port: Option<u16>,
    /// `server-names`: names its certificate may hold, `{name}` for the node.
    pub server_names: Vec<String>,
    /// `node-name`: the node's name in the cluster, `{name}` for ours.
    pub node_name: Option<String>,
    /// `via`.
    pub via: Option<KubeletVia>,
    /// `cpu-profile`: seconds, 0 to 60; 0: none.
    pub cpu_profile: Option<u64>,
}

/// `[cluster]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterSettings {
    /// `collect`: whether evidence is taken from the API server; `None`: if anything else here, or a flag, says which.
    pub collect: Option<bool>,
    /// `kubeconfig`: a file; `None` with a context: `$KUBECONFIG`, else `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// `context`.
    pub context: Option<String>,
    /// `api-servers`: each by its own address, `https://10.0.0.1:6443`; the first that answers is asked for nodes and events.
    pub api_servers: Vec<String>,
    /// `token-file`, `token-env`, `token-command` for API servers without a kubeconfig.
    pub token: Option<TokenFrom>,
    /// `client-certificate` and `client-key` for the same.
    pub client: Option<(PathBuf, PathBuf)>,
    /// `ca`: authorities of the API servers' certificates; without a kubeconfig needed.
    pub ca: Option<PathBuf>,
    /// `server-name`: name the API servers' certificates hold, where it is not in the address.
    pub server_name: Option<String>,
    /// `pool-label`: label that names a node's pool, for --pool-of.
    pub pool_label: Option<String>,
}

impl ClusterSettings {
    /// Returns whether anything says which API server to ask.
    #[must_use]
    pub fn names_one(&self) -> bool {
        self.kubeconfig.is_some() || self.context.is_some() || !self.api_servers.is_empty()
    }
}
