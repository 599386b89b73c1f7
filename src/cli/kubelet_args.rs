//! The flags that say how kubelets are asked; with `[kubelet]` of the inventory they make the access of a run. Bad files
//! are refused here, before any node is contacted.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::access::failed;
use super::change_args::ChangeArgs;
use super::error::AppError;
use crate::cluster::Cluster;
use crate::credential::{
    Credential, CredentialError, OnSecret, TokenCommand, TokenEnv, TokenFile, TokenSource, authorities_file,
    client_certificate,
};
use crate::environment;
use crate::inventory::Inventory;
use crate::inventory::access::{KubeletSettings, KubeletVia, TokenFrom, TrustFrom};
use crate::kubelet::{KubeletAccess, KubeletTrust, Pins, Via};
use crate::plan::{ChangePolicy, KubeletSelection};
use crate::session::command;

/// In place of a token command; the shell refuses it with the words behind `?` until the variable is set.
const COMMAND_AGAIN: &str = "--kubelet-token-command \"${KUBELET_LOGIN:?set it to the command of the run}\"";

/// How kubelets are asked
#[derive(Debug, Args, Default)]
#[command(next_help_heading = "Kubelet")]
pub(crate) struct KubeletArgs {
    /// File whose first line is the bearer token for kubelets (mode 0600)
    #[arg(long, value_name = "FILE", group = "kubelet_token")]
    pub(crate) kubelet_token_file: Option<PathBuf>,
    /// Environment variable that holds the token
    #[arg(long, value_name = "NAME", group = "kubelet_token")]
    pub(crate) kubelet_token_env: Option<String>,
    /// Command, run here by /bin/sh -c, that prints the token; again when it is refused
    #[arg(long, value_name = "COMMAND", group = "kubelet_token")]
    pub(crate) kubelet_token_command: Option<String>,
    /// Show kubelets the credential of the kubeconfig; a bearer token is then seen by every node
    #[arg(long, group = "kubelet_token")]
    pub(crate) kubelet_kubeconfig: bool,
    /// Client certificate for kubelets (PEM)
    #[arg(long, value_name = "FILE", requires = "kubelet_client_key")]
    pub(crate) kubelet_client_cert: Option<PathBuf>,
    /// Its key (PEM, mode 0600)
    #[arg(long, value_name = "FILE", requires = "kubelet_client_cert")]
    pub(crate) kubelet_client_key: Option<PathBuf>,
    /// Authorities of the kubelets' certificates (PEM)
    #[arg(long, value_name = "FILE", group = "kubelet_trust")]
    pub(crate) kubelet_ca: Option<PathBuf>,
    /// File of the kubelets' keys seen first [default: ~/.local/state/plegcollect/kubelet-keys]
    #[arg(long, value_name = "FILE", group = "kubelet_trust")]
    pub(crate) kubelet_pins: Option<PathBuf>,
    /// Take any certificate of a kubelet
    #[arg(long, group = "kubelet_trust")]
    pub(crate) kubelet_insecure: bool,
    /// Which ways to the kubelet are tried [default: auto]
    #[arg(long, value_enum, value_name = "WAY")]
    pub(crate) kubelet_via: Option<ViaFlag>,
    /// Port of the kubelets [default: what their command lines say, else 10250]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) kubelet_port: Option<u16>,
    /// Length of the kubelet's CPU profile, 0 to 60; 0: none [default: 5]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=60))]
    pub(crate) cpu_profile: Option<u64>,
}

/// See [`KubeletVia`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ViaFlag {
    /// Each in turn
    Auto,
    /// Through the SSH connection
    Forward,
    /// curl on the node
    Curl,
    /// Through the API server
    ApiServer,
}

impl KubeletArgs {
    /// Keeps the token's variable from processes; to be called before the nodes are selected.
    pub(crate) fn hide_variable(&self) {
        self.kubelet_token_env.iter().for_each(|name| environment::hide(name));
    }

    /// Returns the settings, flags before the inventory.
    pub(crate) fn settings(&self, inventory: Option<&Inventory>) -> KubeletSettings {
        let mut settings = inventory.map(|i| i.kubelet.clone()).unwrap_or_default();
        let token = (self.kubelet_token_file.clone().map(TokenFrom::File))
            .or_else(|| self.kubelet_token_env.clone().map(TokenFrom::Env))
            .or_else(|| self.kubelet_token_command.clone().map(TokenFrom::Command))
            .or_else(|| self.kubelet_kubeconfig.then_some(TokenFrom::Kubeconfig));
        let client = self.kubelet_client_cert.clone().zip(self.kubelet_client_key.clone());
        if token.is_some() || client.is_some() {
            // A credential of the flags replaces the inventory's as a whole.
            (settings.token, settings.client) = (token, client);
        }
        settings.trust = (self.kubelet_ca.clone().map(TrustFrom::Ca))
            .or_else(|| self.kubelet_pins.clone().map(|file| TrustFrom::Pins(Some(file))))
            .or_else(|| self.kubelet_insecure.then_some(TrustFrom::Insecure))
            .or(settings.trust);
        settings.via = self.kubelet_via.map(ViaFlag::via).or(settings.via);
        settings.port = self.kubelet_port.or(settings.port);
        settings.cpu_profile = self.cpu_profile.or(settings.cpu_profile);
        settings
    }

    /// Returns what plans depend on.
    ///
    /// # Errors
    /// Exit 2 for flags that take a credential where there is none.
    pub(crate) fn selection(
        &self,
        inventory: Option<&Inventory>,
        changes: &ChangeArgs,
    ) -> Result<KubeletSelection, AppError> {
        let settings = self.settings(inventory);
        let credential = settings.token.is_some() || settings.client.is_some();
        if changes.kubelet_verbosity.is_some() && !credential {
            return Err(AppError::usage("--kubelet-verbosity needs a credential for kubelets")
                .hint("give --kubelet-token-file FILE or its like"));
        }
        if let Some(flag) = self.for_a_credential().filter(|_| !credential) {
            return Err(AppError::usage(format!("{flag} has no effect without a credential for kubelets"))
                .hint("give --kubelet-token-file FILE or its like, or leave it out"));
        }
        let cpu_profile = settings.cpu_profile.map_or(KubeletSelection::CPU_PROFILE, Duration::from_secs);
        Ok(KubeletSelection { credential, cpu_profile })
    }

    /// Returns the first flag that says how a credential is to be used.
    fn for_a_credential(&self) -> Option<&'static str> {
        let given = [
            ("--kubelet-ca", self.kubelet_ca.is_some()),
            ("--kubelet-pins", self.kubelet_pins.is_some()),
            ("--kubelet-insecure", self.kubelet_insecure),
            ("--kubelet-via", self.kubelet_via.is_some()),
            ("--kubelet-port", self.kubelet_port.is_some()),
            ("--cpu-profile", self.cpu_profile.is_some()),
        ];
        given.into_iter().find_map(|(flag, given)| given.then_some(flag))
    }

    /// Returns what the inventory asks for in vain.
    pub(crate) fn in_vain(&self, inventory: Option<&Inventory>, policy: &ChangePolicy) -> Option<String> {
        let settings = self.settings(inventory);
        let level = policy.kubelet_verbosity.filter(|_| !policy.read_only)?;
        (settings.token.is_none() && settings.client.is_none()).then(|| {
            format!(
                "kubelet-verbosity = {level} of the inventory has no effect: raising it takes a credential for kubelets \
                 (--kubelet-token-file and its like, or [kubelet] of the inventory)"
            )
        })
    }

    /// Returns the access of the run.
    ///
    /// # Errors
    /// Exit 3 for files that cannot be used, exit 2 for a kubeconfig's credential without a kubeconfig.
    pub(crate) fn access(
        &self,
        inventory: Option<&Inventory>,
        cluster: Option<&Cluster>,
        on_secret: &OnSecret,
    ) -> Result<KubeletAccess, AppError> {
        let settings = self.settings(inventory);
        let none = KubeletAccess::none();
        if settings.via == Some(KubeletVia::ApiServer) && cluster.is_none() {
            return Err(AppError::usage("kubelets are to be asked through the API server, and none is named")
                .hint("give --kubeconfig FILE or --context NAME, or another way with --kubelet-via"));
        }
        let credential = credential(&settings, cluster, on_secret)?;
        let trust = match (&settings.trust, &credential) {
            (_, None) | (Some(TrustFrom::Insecure), _) => KubeletTrust::Insecure,
            (Some(TrustFrom::Ca(file)), _) => {
                let pem = authorities_file(file, "the kubelets' authorities").map_err(|e| AppError::setup(e.0))?;
                KubeletTrust::Ca { pem: Arc::new(pem), file: file.display().to_string() }
            }
            (Some(TrustFrom::Pins(Some(file))), _) => pins(file.clone())?,
            (Some(TrustFrom::Pins(None)) | None, _) => {
                let file = Pins::default_path().map_err(|e| {
                    AppError::setup(e.to_string()).hint("name a file with --kubelet-pins, or give --kubelet-ca FILE")
                })?;
                pins(file)?
            }
        };
        Ok(KubeletAccess {
            credential,
            trust,
            address: settings.address.unwrap_or(none.address),
            port: settings.port,
            server_names: settings.server_names,
            node_name: settings.node_name.unwrap_or(none.node_name),
            via: match settings.via {
                None | Some(KubeletVia::Auto) => Via::Auto,
                Some(KubeletVia::Forward) => Via::Forward,
                Some(KubeletVia::Curl) => Via::Curl,
                Some(KubeletVia::ApiServer) => Via::ApiServer,
            },
            proxy: cluster.map(Cluster::node_proxy),
        })
    }

    /// Returns these flags as words of a shell, for another command; never a token. The text of a token command may hold a
    /// secret, and this is recorded, also on nodes: a variable stands for it, and a shell that lacks it says what to set.
    pub(crate) fn way(&self) -> String {
        let mut words: Vec<String> = Vec::new();
        let path = |p: &PathBuf| std::path::absolute(p).unwrap_or_else(|_| p.clone()).display().to_string();
        let via = self.kubelet_via.and_then(|via| via.to_possible_value());
        for (name, value) in [
            ("--kubelet-token-file", self.kubelet_token_file.as_ref().map(path)),
            ("--kubelet-token-env", self.kubelet_token_env.clone()),
            ("--kubelet-client-cert", self.kubelet_client_cert.as_ref().map(path)),
            ("--kubelet-client-key", self.kubelet_client_key.as_ref().map(path)),
            ("--kubelet-ca", self.kubelet_ca.as_ref().map(path)),
            ("--kubelet-pins", self.kubelet_pins.as_ref().map(path)),
            ("--kubelet-via", via.map(|via| via.get_name().to_owned())),
            ("--kubelet-port", self.kubelet_port.map(|p| p.to_string())),
        ] {
            words.extend(value.into_iter().flat_map(|value| [name.to_owned(), value]));
        }
        words.extend(self.kubelet_kubeconfig.then(|| "--kubelet-kubeconfig".to_owned()));
        words.extend(self.kubelet_insecure.then(|| "--kubelet-insecure".to_owned()));
        let words = command::quote_all(&words);
        let command = if self.kubelet_token_command.is_some() { COMMAND_AGAIN } else { "" };
        [command, &words].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    }
}

impl ViaFlag {
    const fn via(self) -> KubeletVia {
        match self {
            Self::Auto => KubeletVia::Auto,
            Self::Forward => KubeletVia::Forward,
            Self::Curl => KubeletVia::Curl,
            Self::ApiServer => KubeletVia::ApiServer,
        }
    }
}

fn pins(file: PathBuf) -> Result<KubeletTrust, AppError> {
    let pins = Pins::new(file);
    pins.check()
        .map_err(|e| AppError::setup(e.to_string()).hint("mend it, or name another file with --kubelet-pins"))?;
    Ok(KubeletTrust::Pins(Arc::new(pins)))
}

fn credential(
    settings: &KubeletSettings,
    cluster: Option<&Cluster>,
    on_secret: &OnSecret,
) -> Result<Option<Credential>, AppError> {
    let setup = |e: CredentialError| AppError::setup(e.0);
    let pair = settings.client.as_ref().map(|(cert, key)| client_certificate(cert, key)).transpose().map_err(setup)?;
    let (kind, source): (&str, Option<Box<dyn TokenSource>>) = match &settings.token {
        Some(TokenFrom::File(file)) => ("token from a file", Some(Box::new(TokenFile::open(file).map_err(setup)?))),
        Some(TokenFrom::Env(name)) => {
            ("token from the environment", Some(Box::new(TokenEnv::read(name).map_err(setup)?)))
        }
        Some(TokenFrom::Command(c)) => ("token from a command", Some(Box::new(TokenCommand::new(c).map_err(setup)?))),
        Some(TokenFrom::Kubeconfig) => {
            let cluster = cluster.ok_or_else(|| {
                AppError::usage("the kubeconfig's credential is to be shown to kubelets, and no kubeconfig is named")
                    .hint("give --kubeconfig FILE or --context NAME")
            })?;
            return cluster.credential().map(Some).map_err(|e| failed(&e));
        }
        None if pair.is_none() => return Ok(None),
        None => ("client certificate", None),
    };
    Ok(Some(Credential::new(kind, source, pair, Arc::clone(on_secret))))
}

#[cfg(test)]
#[path = "kubelet_args_tests.rs"]
mod tests;
