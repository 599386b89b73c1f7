//! Which API servers, and what they are shown: from kubeconfig files and a context, or from addresses, token and certificate
//! files. Every error names the file and what is wrong with it; none holds what stands in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt;
use hyper::Uri;
use kube::Error;
use kube::client::ConfigExt;
use kube::config::{AuthInfo, Config, KubeConfigOptions, Kubeconfig, KubeconfigError, LoadDataError};
use secrecy::{ExposeSecret, SecretString};
use tokio_rustls::rustls::client::ResolvesClientCert;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};

use super::answer;
use super::fixed_token::FixedToken;
use super::plugin::{Plugin, Shared};
use super::server::{ApiServer, Shown};
use super::setup;
use crate::cluster::ClusterError;
use crate::credential::{self, Credential, CredentialError, OnSecret, TokenSource};
use crate::inventory::access::{ClusterSettings, TokenFrom};
use crate::session::http::ClientCert;

/// A kubeconfig is some kilobytes; a larger file is something else.
const MOST: u64 = 8 << 20;

/// What the settings come to.
pub(super) struct Opened {
    pub(super) servers: Vec<ApiServer>,
    pub(super) credential: Result<Credential, ClusterError>,
    /// What whoever reads the evidence has to know.
    pub(super) remark: Option<String>,
}

/// Reads everything; contacts nothing.
pub(super) fn open(settings: &ClusterSettings, on_secret: &OnSecret) -> Result<Opened, ClusterError> {
    let by_kubeconfig = settings.kubeconfig.is_some() || settings.context.is_some() || settings.api_servers.is_empty();
    if by_kubeconfig { from_kubeconfig(settings, on_secret) } else { from_addresses(settings, on_secret) }
}

fn from_kubeconfig(settings: &ClusterSettings, on_secret: &OnSecret) -> Result<Opened, ClusterError> {
    let (merged, files) = read(settings.kubeconfig.as_deref())?;
    let context = settings.context.clone().or_else(|| merged.current_context.clone()).unwrap_or_default();
    if context.is_empty() {
        let mut error = setup(format!("{files} has no current context"));
        error.hint = Some("name one with `context` or --context".to_owned());
        return Err(error);
    }
    let known = merged.contexts.iter().map(|c| c.name.clone()).collect::<Vec<_>>().join(", ");
    let options = KubeConfigOptions { context: Some(context.clone()), ..KubeConfigOptions::default() };
    // Nothing in it waits; a plug-in is not run by it.
    let loaded = Config::from_custom_kubeconfig(merged.clone(), &options).now_or_never();
    let loaded = loaded.ok_or_else(|| setup(format!("{files} could not be read at once")))?;
    let mut config = loaded.map_err(|e| refused(&files, &context, &known, &e))?;
    if proxied(&merged, &context) {
        return Err(setup(format!(
            "{files}: the cluster of context {context} has a proxy-url, which is not supported"
        )));
    }
    secure(&config.cluster_url, &format!("{files}: the server of context {context}"))?;
    if config.root_cert.as_ref().is_some_and(Vec::is_empty) {
        return Err(setup(format!("{files}: the certificate authority of context {context} holds no certificate")));
    }
    if let Some(ca) = &settings.ca {
        config.root_cert = Some(authorities(ca)?);
    }
    let remark = config.accept_invalid_certs.then(|| {
        format!(
            "{files}: context {context} has insecure-skip-tls-verify: the API server's certificate is not judged, and \
             whoever answers in its place is shown the credential"
        )
    });
    let user = std::mem::take(&mut config.auth_info);
    config.auth_info = without_tokens(&user);
    let at = format!("{files}: the user of context {context}");
    let shown = shown(user, &config, &format!("kubeconfig context {context}"), &at, on_secret)?;
    let credential = if shown.basic.is_some() {
        Err(setup(format!("{at} has a name and a password only, which kubelets do not take")))
    } else {
        Ok(shown.credential.clone())
    };
    let name =
        settings.server_name.clone().or_else(|| config.tls_server_name.clone()).or_else(|| host(&config.cluster_url));
    let servers = servers(settings, config, name, Arc::new(shown))?;
    Ok(Opened { servers, credential, remark })
}

fn from_addresses(settings: &ClusterSettings, on_secret: &OnSecret) -> Result<Opened, ClusterError> {
    let Some(ca) = &settings.ca else {
        let mut error = setup("API servers are named without `ca`, so that their certificates cannot be judged");
        error.hint =
            Some("add `ca` to [cluster]: the file /etc/kubernetes/pki/ca.crt of a control plane node".to_owned());
        return Err(error);
    };
    let mut config = Config::new(Uri::default());
    config.root_cert = Some(authorities(ca)?);
    if let Some((certificate, key)) = &settings.client {
        credential::client_certificate(certificate, key).map_err(|e| setup(format!("[cluster]: {e}")))?;
        config.auth_info.client_certificate = Some(certificate.to_string_lossy().into_owned());
        config.auth_info.client_key = Some(key.to_string_lossy().into_owned());
    }
    let (tokens, mut kind) = match &settings.token {
        None => (None, "nothing"),
        Some(from) => (Some(source(from)?), kind_of(from)),
    };
    let certificate = client_certificate(&config, "the client certificate of [cluster]")?;
    if certificate.is_some() && tokens.is_none() {
        kind = "client certificate";
    }
    let credential = Credential::new(kind, tokens, certificate, Arc::clone(on_secret));
    let none = setup("[cluster] names no kubeconfig whose credential kubelets could be shown");
    let shown = Shown { credential, basic: None, plugin: None };
    let servers = servers(settings, config, settings.server_name.clone(), Arc::new(shown))?;
    Ok(Opened { servers, credential: Err(none), remark: None })
}

/// Returns the servers of the settings, each by its own address, or the one of the configuration.
fn servers(
    settings: &ClusterSettings,
    mut config: Config,
    name: Option<String>,
    shown: Arc<Shown>,
) -> Result<Vec<ApiServer>, ClusterError> {
    if let Some(name) = &name {
        ServerName::try_from(name.as_str())
            .map_err(|_| setup(format!("server-name {name:?} is no name that a certificate can hold")))?;
    }
    if settings.api_servers.is_empty() {
        config.tls_server_name = settings.server_name.clone().or(config.tls_server_name);
        return Ok(vec![ApiServer::new(config, shown)]);
    }
    settings
        .api_servers
        .iter()
        .map(|address| {
            let of = format!("the API server {address}");
            let url: Uri =
                address.parse().map_err(|e| setup(format!("{of} is no address like https://10.0.0.1:6443: {e}")))?;
            secure(&url, &of)?;
            let mut config = config.clone();
            config.cluster_url = url;
            config.tls_server_name.clone_from(&name);
            Ok(ApiServer::new(config, Arc::clone(&shown)))
        })
        .collect()
}

/// A token must not cross the network in the clear; only what never leaves this machine may.
fn secure(url: &Uri, of: &str) -> Result<(), ClusterError> {
    let local = host(url)
        .is_some_and(|host| host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()));
    match url.scheme_str() {
        Some("https") => Ok(()),
        Some("http") if local => Ok(()),
        _ => Err(setup(format!("{of} must be asked by https, for example https://10.0.0.1:6443"))),
    }
}

fn host(url: &Uri) -> Option<String> {
    url.host().map(|host| host.trim_start_matches('[').trim_end_matches(']').to_owned())
}

/// Reads and merges the files: the one that is named, else those of `KUBECONFIG`, else `~/.kube/config`. Returns how messages
/// call them.
fn read(named: Option<&Path>) -> Result<(Kubeconfig, String), ClusterError> {
    if let Some(path) = named {
        return Ok((one(path)?, format!("the kubeconfig {}", path.display())));
    }
    let listed: Vec<PathBuf> = std::env::var_os("KUBECONFIG")
        .map(|list| std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect())
        .unwrap_or_default();
    if listed.is_empty() {
        let home = std::env::home_dir().ok_or_else(|| setup("there is no home directory to read .kube/config in"))?;
        let path = home.join(".kube/config");
        let read = one(&path).map_err(|e| ClusterError {
            hint: Some("name a kubeconfig with --kubeconfig, KUBECONFIG or `kubeconfig` in [cluster]".to_owned()),
            ..e
        })?;
        return Ok((read, format!("the kubeconfig {}", path.display())));
    }
    several(&listed)
}

/// Merges the files of `KUBECONFIG` that are there, as kubectl does: the first to name a thing wins.
pub(super) fn several(listed: &[PathBuf]) -> Result<(Kubeconfig, String), ClusterError> {
    let there: Vec<&PathBuf> = listed.iter().filter(|path| path.exists()).collect();
    let names = |paths: &[&PathBuf]| paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ");
    let Some((first, rest)) = there.split_first() else {
        return Err(setup(format!(
            "KUBECONFIG names no file that is there: {}",
            names(&listed.iter().collect::<Vec<_>>())
        )));
    };
    let mut merged = one(first)?;
    for path in rest {
        merged = merged.merge(one(path)?).map_err(|e| setup(format!("the kubeconfig {}: {e}", path.display())))?;
    }
    Ok((merged, format!("the kubeconfig {}", names(&there))))
}

fn one(path: &Path) -> Result<Kubeconfig, ClusterError> {
    let of = format!("the kubeconfig {}", path.display());
    let size = std::fs::metadata(path).map_err(|e| setup(format!("{of} cannot be read: {e}")))?.len();
    if size > MOST {
        return Err(setup(format!("{of} is larger than {} MB: it is no kubeconfig", MOST >> 20)));
    }
    Kubeconfig::read_from(path).map_err(|e| match e {
        KubeconfigError::ReadConfig(why, _) => setup(format!("{of} cannot be read: {why}")),
        // The parser's own words repeat the lines around the error, with what stands there.
        KubeconfigError::Parse(why) => {
            let line = why.location().map(|at| format!(", see line {}", at.line())).unwrap_or_default();
            setup(format!("{of} is not in the form of a kubeconfig{line}"))
        }
        other => setup(format!("{of}: {other}")),
    })
}

/// Returns why kube does not take the context.
fn refused(files: &str, context: &str, known: &str, error: &KubeconfigError) -> ClusterError {
    match error {
        KubeconfigError::LoadContext(name) => {
            let there = if known.is_empty() { "none".to_owned() } else { known.to_owned() };
            setup(format!("{files} has no context {name}; there are: {there}"))
        }
        KubeconfigError::LoadClusterOfContext(name) => {
            setup(format!("{files}: context {context} names the cluster {name}, which is not there"))
        }
        KubeconfigError::MissingClusterUrl => setup(format!("{files}: the cluster of context {context} has no server")),
        other => setup(format!("{files}: context {context}: {other}")),
    }
}

/// Returns whether the cluster of the context is to be asked through a proxy.
fn proxied(merged: &Kubeconfig, context: &str) -> bool {
    let cluster = merged.contexts.iter().find(|c| c.name == context).and_then(|c| Some(&c.context.as_ref()?.cluster));
    merged
        .clusters
        .iter()
        .filter(|named| Some(&named.name) == cluster)
        .filter_map(|named| named.cluster.as_ref()?.proxy_url.as_ref())
        .any(|proxy| !proxy.is_empty())
}

/// What kube may know of the user: certificate and impersonation, no token and no plug-in.
fn without_tokens(user: &AuthInfo) -> AuthInfo {
    let mut kept = user.clone();
    (kept.username, kept.password, kept.token, kept.token_file) = (None, None, None, None);
    (kept.exec, kept.auth_provider) = (None, None);
    kept
}

/// Returns what the user of a kubeconfig is shown by, in the order in which kubectl looks.
fn shown(user: AuthInfo, config: &Config, kind: &str, at: &str, on_secret: &OnSecret) -> Result<Shown, ClusterError> {
    let mut certificate = client_certificate(config, at)?;
    let (mut basic, mut plugin) = (None, None);
    let tokens: Option<Box<dyn TokenSource>> = if let Some(provider) = user.auth_provider {
        let Some(token) = provider.config.get("id-token").filter(|token| !token.is_empty()) else {
            let mut error = setup(format!("{at} has the auth-provider {}, which Kubernetes gave up", provider.name));
            error.hint = Some("use an exec plug-in, a token or a client certificate".to_owned());
            return Err(error);
        };
        Some(Box::new(FixedToken(token.as_str().into())))
    } else if let (Some(name), Some(password)) = (&user.username, &user.password) {
        on_secret(password.expose_secret());
        let both: SecretString = STANDARD.encode(format!("{name}:{}", password.expose_secret())).into();
        on_secret(both.expose_secret());
        basic = Some(both);
        None
    } else if let Some(token) = user.token.filter(|token| !token.expose_secret().is_empty()) {
        Some(Box::new(FixedToken(token.expose_secret().trim().into())))
    } else if let Some(path) = user.token_file {
        Some(Box::new(credential::TokenFile::of_kubeconfig(path.into())))
    } else if let Some(exec) = user.exec {
        let made = Plugin::new(exec)?;
        certificate = certificate.or_else(|| Some(made.certificate()));
        plugin = Some(Arc::clone(&made));
        Some(Box::new(Shared(made)))
    } else {
        None
    };
    let credential = Credential::new(kind, tokens, certificate, Arc::clone(on_secret));
    Ok(Shown { credential, basic, plugin })
}

/// Returns the client certificate that kube would show, if there is one; this also looks at certificates and key before
/// anything is contacted.
fn client_certificate(config: &Config, of: &str) -> Result<Option<ClientCert>, ClusterError> {
    let made = config.rustls_client_config().map_err(|e| match &e {
        Error::InferKubeconfig(
            KubeconfigError::LoadClientCertificate(LoadDataError::ReadFile(why, path))
            | KubeconfigError::LoadClientKey(LoadDataError::ReadFile(why, path)),
        ) => setup(format!("{of}: {} cannot be read: {why}", path.display())),
        Error::InferKubeconfig(KubeconfigError::LoadClientKey(LoadDataError::NoBase64DataOrFile)) => {
            setup(format!("{of} has a client certificate and no key for it"))
        }
        Error::InferKubeconfig(KubeconfigError::LoadClientCertificate(LoadDataError::NoBase64DataOrFile)) => {
            setup(format!("{of} has the key of a client certificate, and not the certificate"))
        }
        other => {
            setup(format!("{of}: its client certificate or the authority cannot be used: {}", answer::cause(other)))
        }
    })?;
    let resolver: Arc<dyn ResolvesClientCert> = made.client_auth_cert_resolver;
    Ok(resolver.has_certs().then_some(ClientCert(resolver)))
}

fn authorities(ca: &Path) -> Result<Vec<Vec<u8>>, ClusterError> {
    let what = "the API servers' authorities";
    let pem = credential::authorities_file(ca, what).map_err(|e| setup(e.0))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).map(|c| c.map(|c| c.to_vec())).collect();
    found.map_err(|_| setup(format!("{what} {} cannot be read", ca.display())))
}

const fn kind_of(from: &TokenFrom) -> &'static str {
    match from {
        TokenFrom::File(_) => "token from a file",
        TokenFrom::Env(_) => "token from an environment variable",
        TokenFrom::Command(_) => "token from a command",
        TokenFrom::Kubeconfig => "kubeconfig",
    }
}

/// Returns the source of a token that is named beside the addresses.
fn source(from: &TokenFrom) -> Result<Box<dyn TokenSource>, ClusterError> {
    let made: Result<Box<dyn TokenSource>, _> = match from {
        TokenFrom::File(path) => credential::TokenFile::open(path).map(|source| Box::new(source) as _),
        TokenFrom::Env(name) => credential::TokenEnv::read(name).map(|source| Box::new(source) as _),
        TokenFrom::Command(text) => credential::TokenCommand::new(text).map(|source| Box::new(source) as _),
        TokenFrom::Kubeconfig => {
            Err(CredentialError("[cluster] names no kubeconfig to take the token from".to_owned()))
        }
    };
    made.map_err(|e| setup(format!("the token of [cluster]: {e}")))
}
