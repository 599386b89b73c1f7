//! Exec plug-ins of a kubeconfig (`users[].user.exec`), run by us and not by kube: bounded, without input, its output never
//! shown. kube itself runs them with our terminal, without a bound, and prints their output, the token, when they fail.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt;
use futures::future::BoxFuture;
use kube::config::{AuthInfo, ExecConfig, ExecInteractiveMode, Kubeconfig};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use serde_json::json;
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_rustls::rustls::SignatureScheme;
use tokio_rustls::rustls::client::ResolvesClientCert;
use tokio_rustls::rustls::sign::CertifiedKey;

use super::setup;
use crate::cluster::ClusterError;
use crate::credential::{CredentialError, Printed, TokenSource, client_certificate_from_pem, complaint, printed};
use crate::environment::without_secrets;
use crate::session::http::ClientCert;
use crate::session::process_group::ProcessGroup;

/// Time a plug-in may take; those of the large clouds take 1 to 5 s.
const WITHIN: Duration = Duration::from_secs(30);
/// Of its output; certificates are a few kilobytes.
const OUTPUT: usize = 1 << 20;

/// An exec plug-in, and the certificate it gave last.
pub(super) struct Plugin {
    exec: ExecConfig,
    command: String,
    /// Client certificate and key as base64 of PEM, as in a kubeconfig.
    identity: RwLock<Option<AuthInfo>>,
    certificate: Arc<LateCertificate>,
    /// One run at a time.
    running: Mutex<()>,
}

/// What it prints. Versions v1 and v1beta1 are alike here.
#[derive(Deserialize)]
struct ExecCredential {
    status: Option<ExecStatus>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ExecStatus {
    #[serde(deserialize_with = "secret")]
    token: Option<SecretString>,
    client_certificate_data: Option<String>,
    #[serde(deserialize_with = "secret")]
    client_key_data: Option<SecretString>,
}

fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SecretString>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.filter(|text| !text.is_empty()).map(SecretString::from))
}

impl Plugin {
    /// Returns the plug-in, not yet run.
    ///
    /// # Errors
    /// When it wants a terminal, or has no command.
    pub(super) fn new(exec: ExecConfig) -> Result<Arc<Self>, ClusterError> {
        let Some(command) = exec.command.clone().filter(|command| !command.is_empty()) else {
            return Err(setup("the exec plug-in of the kubeconfig has no command"));
        };
        if exec.interactive_mode == Some(ExecInteractiveMode::Always) {
            let mut error = setup(format!(
                "the exec plug-in {command} asks on the terminal (interactiveMode: Always), which a collection cannot do"
            ));
            error.hint = Some("use a user of the kubeconfig with a token or a client certificate".to_owned());
            return Err(error);
        }
        Ok(Arc::new(Self {
            exec,
            command,
            identity: RwLock::default(),
            certificate: Arc::default(),
            running: Mutex::new(()),
        }))
    }

    /// Returns what shows the certificate of the last run, if that gave one.
    pub(super) fn certificate(&self) -> ClientCert {
        ClientCert(self.certificate.clone())
    }

    /// Returns the certificate of the last run in the form of a kubeconfig, if that gave one.
    pub(super) fn identity(&self) -> Option<AuthInfo> {
        self.identity.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs it; returns its token, if that is what it gives.
    async fn run(&self) -> Result<Option<SecretString>, CredentialError> {
        let _one = self.running.lock().await;
        let fail = |why: String| CredentialError(format!("the exec plug-in {} {why}", self.command));
        let output = timeout(WITHIN, self.output())
            .await
            .map_err(|_| fail(format!("did not end within {} s", WITHIN.as_secs())))?
            .map_err(|e| match (e.kind(), &self.exec.install_hint) {
                (std::io::ErrorKind::NotFound, Some(hint)) => {
                    fail(format!("was not found: {}", crate::printable::printable(hint, 300)))
                }
                (std::io::ErrorKind::NotFound, None) => fail("was not found".to_owned()),
                _ => fail(format!("cannot be started: {e}")),
            })?;
        let Printed { status, output, complaints } = output;
        if !status.success() {
            let said = complaint(&output, &complaints).map(|said| format!(": {said}")).unwrap_or_default();
            return Err(fail(format!("ended with {}{said}", shown(status))));
        }
        let given = parse(&output).ok_or_else(|| fail("printed no ExecCredential with a status".to_owned()))?;
        if let (Some(chain), Some(key)) = (given.client_certificate_data, given.client_key_data) {
            self.certificate
                .set(&chain, &key)
                .map_err(|why| fail(format!("gave a client certificate that cannot be used: {why}")))?;
            let identity = AuthInfo {
                client_certificate_data: Some(STANDARD.encode(&chain)),
                client_key_data: Some(STANDARD.encode(key.expose_secret()).into()),
                ..AuthInfo::default()
            };
            *self.identity.write().unwrap_or_else(PoisonError::into_inner) = Some(identity);
        } else if given.token.is_none() {
            return Err(fail("gave neither a token nor a client certificate".to_owned()));
        }
        Ok(given.token)
    }

    async fn output(&self) -> std::io::Result<Printed> {
        let mut command = Command::new(&self.command);
        without_secrets(&mut command);
        command.args(self.exec.args.iter().flatten()).env("KUBERNETES_EXEC_INFO", self.info());
        for variable in self.exec.env.iter().flatten() {
            if let (Some(name), Some(value)) = (variable.get("name"), variable.get("value")) {
                command.env(name, value);
            }
        }
        for name in self.exec.drop_env.iter().flatten() {
            command.env_remove(name);
        }
        // A group of its own, so that whatever it started ends with it, and Ctrl-C stays ours.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
        // Dropped at the bound, the group gets TERM.
        let mut group = ProcessGroup { child: command.spawn()? };
        printed(&mut group, OUTPUT).await
    }

    /// `KUBERNETES_EXEC_INFO`, as client-go writes it.
    fn info(&self) -> String {
        let mut spec = json!({ "interactive": false });
        if let (true, Some(cluster), Some(spec)) =
            (self.exec.provide_cluster_info, &self.exec.cluster, spec.as_object_mut())
        {
            spec.insert("cluster".to_owned(), serde_json::to_value(cluster).unwrap_or_default());
        }
        json!({ "apiVersion": self.exec.api_version, "kind": "ExecCredential", "spec": spec }).to_string()
    }
}

impl TokenSource for Plugin {
    fn token(&self, _: bool) -> BoxFuture<'_, Result<Option<SecretString>, CredentialError>> {
        self.run().boxed()
    }

    fn renewable(&self) -> bool {
        true
    }
}

/// The same plug-in in several hands.
pub(super) struct Shared(pub(super) Arc<Plugin>);

impl TokenSource for Shared {
    fn token(&self, fresh: bool) -> BoxFuture<'_, Result<Option<SecretString>, CredentialError>> {
        self.0.token(fresh)
    }

    fn renewable(&self) -> bool {
        true
    }
}

/// Reads JSON, or YAML, which some plug-ins print: a kubeconfig is read with all keys it does not know.
fn parse(stdout: &[u8]) -> Option<ExecStatus> {
    if let Ok(given) = serde_json::from_slice::<ExecCredential>(stdout) {
        return given.status;
    }
    let mut yaml = Kubeconfig::from_yaml(std::str::from_utf8(stdout).ok()?).ok()?;
    serde_json::from_value(yaml.other.remove("status")?).ok()
}

fn shown(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no status".to_owned(),
    }
}

/// A client certificate that is there once the plug-in has run, which is before every connection.
#[derive(Debug, Default)]
struct LateCertificate(RwLock<Option<ClientCert>>);

impl LateCertificate {
    fn set(&self, chain: &str, key: &SecretString) -> Result<(), CredentialError> {
        let (chain, key) = (chain.as_bytes(), key.expose_secret().as_bytes());
        let made = client_certificate_from_pem(chain, "its certificate", key, "its key")?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(made);
        Ok(())
    }

    fn get(&self) -> Option<ClientCert> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesClientCert for LateCertificate {
    fn resolve(&self, hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.get()?.0.resolve(hints, schemes)
    }

    fn has_certs(&self) -> bool {
        self.get().is_some()
    }
}
