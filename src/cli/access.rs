//! What the flags and the inventory say of kubelets and API servers, opened: files read, credentials at hand, nothing
//! contacted yet. Called by the commands that ask them.

use std::sync::Arc;

use super::choose_args::ChooseArgs;
use super::cluster_args::ClusterArgs;
use super::error::AppError;
use super::exit;
use super::identity::redactor;
use super::kubelet_args::KubeletArgs;
use super::target_args::TargetArgs;
use crate::bundle::Redactor;
use crate::cluster::{Cluster, ClusterError};
use crate::collect::ClusterRun;
use crate::credential::OnSecret;
use crate::inventory::Inventory;
use crate::inventory::access::TokenFrom;
use crate::kubelet::KubeletAccess;
use crate::plan::{Catalog, Selection};

/// How kubelets and API servers are asked.
pub(crate) struct Access {
    pub(crate) kubelet: KubeletAccess,
    /// The cluster, if evidence of it is wanted.
    cluster: Option<Cluster>,
    remark: Option<String>,
}

impl Access {
    /// Opens what is needed. Every token is told to the redactor before it is used.
    ///
    /// # Errors
    /// Exit 2 for flags that do not go together, exit 3 for files that cannot be used.
    pub(crate) fn open(
        kubelet: &KubeletArgs,
        cluster: &ClusterArgs,
        inventory: Option<&Inventory>,
        redactor: &Arc<Redactor>,
    ) -> Result<Self, AppError> {
        let ear = Arc::clone(redactor);
        let on_secret: OnSecret = Arc::new(move |token| ear.learn(token));
        let settings = cluster.settings(inventory);
        let evidence = cluster.wants_evidence(&settings);
        // kubelets may be shown its credential, or be asked through it.
        let asked = kubelet.settings(inventory);
        let for_kubelets = asked.token.is_some() || asked.client.is_some();
        let opened = (settings.names_one() && (evidence || for_kubelets) || asked.token == Some(TokenFrom::Kubeconfig))
            .then(|| Cluster::open(&settings, &on_secret).map_err(|e| failed(&e)))
            .transpose()?;
        let kubelet = kubelet.access(inventory, opened.as_ref(), &on_secret)?;
        let remark = opened.as_ref().and_then(|cluster| cluster.remark().map(str::to_owned));
        Ok(Self { kubelet, cluster: opened.filter(|_| evidence), remark })
    }

    /// Looks at all that [`Self::open`] looks at, where the cluster is to choose nodes: it is not asked for them before.
    ///
    /// # Errors
    /// As [`Self::open`], and exit 3 for a bad inventory.
    pub(crate) fn check(
        choose: &ChooseArgs,
        kubelet: &KubeletArgs,
        cluster: &ClusterArgs,
        target: &TargetArgs,
    ) -> Result<(), AppError> {
        if !choose.given() {
            return Ok(());
        }
        let inventory = target.find_inventory()?;
        // A kubeconfig that is none is told as what it is: the end of the choice.
        let settings = cluster.settings(inventory.as_ref());
        let on_secret: OnSecret = Arc::new(|_: &str| {});
        if Cluster::open(&settings, &on_secret).is_err() {
            return Ok(());
        }
        let redactor = redactor(inventory.as_ref())?;
        Self::open(kubelet, cluster, inventory.as_ref(), &redactor).map(drop)
    }

    /// Returns what is to be told of the way API servers are asked, if there is anything.
    pub(crate) fn remark(&self) -> Option<&str> {
        self.remark.as_deref()
    }

    /// Returns the cluster's part of a run: its chosen steps, if an API server is named and there are any.
    ///
    /// # Errors
    /// Exit 2 when steps of the cluster alone are chosen, and no API server is named.
    pub(crate) fn cluster_run(&self, catalog: &Catalog, selection: &Selection) -> Result<Option<ClusterRun>, AppError> {
        let steps = selection.cluster_steps();
        match self.cluster.clone() {
            Some(cluster) if !steps.is_empty() => Ok(Some(ClusterRun { cluster, steps })),
            Some(_) => Ok(None),
            None if selection.resolve(catalog).is_ok_and(|on_nodes| on_nodes.is_empty()) => {
                Err(AppError::usage("only steps of the cluster are chosen, and no API server is named")
                    .hint("give --kubeconfig, --context or --api-server, or a [cluster] in the inventory"))
            }
            None => Ok(None),
        }
    }
}

/// Returns how a command ends for want of an API server.
pub(crate) fn failed(error: &ClusterError) -> AppError {
    let told = AppError::new(exit::SETUP, error.text.clone());
    match &error.hint {
        Some(hint) => told.hint(hint.clone()),
        None => told,
    }
}
