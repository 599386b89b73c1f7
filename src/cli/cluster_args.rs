//! The flags that say which API server is asked; with `[cluster]` of the inventory. A kubeconfig is never used unasked:
//! its current context may be another cluster.

use std::path::PathBuf;

use clap::Args;

use crate::inventory::Inventory;
use crate::inventory::access::ClusterSettings;
use crate::session::command;

/// The cluster's API server
#[derive(Debug, Args, Default)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct ClusterArgs {
    /// kubeconfig whose current context, or --context, is the cluster of the nodes
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig (--kubeconfig, the inventory's, $KUBECONFIG or ~/.kube/config)
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Address of an API server, https://HOST:PORT; may be given several times
    #[arg(long, value_name = "URL", value_parser = crate::inventory::check_api_server)]
    pub(crate) api_server: Vec<String>,
    /// Take no evidence from the API server
    #[arg(long)]
    pub(crate) no_cluster: bool,
}

impl ClusterArgs {
    /// Returns the settings, flags before the inventory.
    pub(crate) fn settings(&self, inventory: Option<&Inventory>) -> ClusterSettings {
        let mut settings = inventory.map(|i| i.cluster.clone()).unwrap_or_default();
        settings.kubeconfig = self.kubeconfig.clone().or(settings.kubeconfig);
        settings.context = self.context.clone().or(settings.context);
        if !self.api_server.is_empty() {
            settings.api_servers.clone_from(&self.api_server);
        }
        settings
    }

    /// Returns whether evidence is taken from the API server.
    pub(crate) fn wants_evidence(&self, settings: &ClusterSettings) -> bool {
        !self.no_cluster && settings.collect.unwrap_or(true) && settings.names_one()
    }

    /// Returns these flags as words of a shell, for another command that has to find the same cluster; paths are absolute.
    pub(crate) fn way(&self) -> String {
        let mut words: Vec<String> = Vec::new();
        if let Some(file) = &self.kubeconfig {
            let file = std::path::absolute(file).unwrap_or_else(|_| file.clone()).display().to_string();
            words.extend(["--kubeconfig".to_owned(), file]);
        }
        if let Some(context) = &self.context {
            words.extend(["--context".to_owned(), context.clone()]);
        }
        for address in &self.api_server {
            words.extend(["--api-server".to_owned(), address.clone()]);
        }
        command::quote_all(&words)
    }
}
