//! The flags that choose nodes by what their cluster says; flattened into the commands that contact nodes. The API server
//! is asked once, before any node is contacted; what is chosen and under which name it is reached: `cluster/choice.rs`.

use std::sync::Arc;

use clap::Args;

use super::cluster_args::ClusterArgs;
use super::error::{self, AppError};
use super::exit;
use super::target_args::TargetArgs;
use crate::cluster::{Choice, Cluster, ClusterError, LabelSelector, Wanted};
use crate::credential::OnSecret;
use crate::inventory::{InventoryError, Origin, Selected, select};

/// Which nodes, by what their cluster says
#[derive(Debug, Args, Default)]
#[command(next_help_heading = "Nodes, chosen by the cluster")]
pub(crate) struct ChooseArgs {
    /// Nodes whose Ready condition is not True, with --nodes those of them; nothing to do when all are Ready (exit code 0)
    #[arg(long)]
    pub(crate) not_ready: bool,
    /// Nodes with these labels: pool=a, pool!=a, pool, !pool, 'pool in (a,b)'; comma lists; all of several have to match
    #[arg(long, value_name = "LABELS")]
    pub(crate) selector: Vec<LabelSelector>,
    /// Nodes of the same pool as NODE, by [cluster] pool-label or the labels of the usual clouds
    #[arg(long, value_name = "NODE")]
    pub(crate) pool_of: Option<String>,
}

/// What a command line means.
pub(crate) enum Meant {
    /// These nodes.
    Nodes(Box<Selected>),
    /// None, and that is well: one sentence.
    Nothing(String),
}

impl ChooseArgs {
    /// Returns whether the cluster is to be asked.
    pub(crate) const fn given(&self) -> bool {
        self.not_ready || !self.selector.is_empty() || self.pool_of.is_some()
    }

    /// Resolves the selection, by the cluster where that is asked for.
    ///
    /// # Errors
    /// Exit 2 for bad patterns, exit 3 for a bad inventory or ssh configuration; exit 3 where the API server gives no answer, exit 2 where nothing matches.
    pub(crate) async fn select(&self, target: &TargetArgs, cluster: &ClusterArgs) -> Result<Meant, AppError> {
        if !self.given() {
            let selected = select(&target.request()?).await.map_err(refused)?;
            return Ok(Meant::Nodes(Box::new(selected)));
        }
        let mut request = target.request()?;
        let inventory = target.find_inventory()?;
        let settings = cluster.settings(inventory.as_ref());
        let wanted = Wanted {
            not_ready: self.not_ready,
            selectors: self.selector.clone(),
            pool_of: self.pool_of.clone(),
            pool_label: settings.pool_label.clone(),
        };
        // Nothing of a run is there yet that could hold a token.
        let on_secret: OnSecret = Arc::new(|_: &str| {});
        let api = Cluster::open(&settings, &on_secret).map_err(unanswered)?;
        let nodes = tokio::select! {
            nodes = api.nodes() => nodes.map_err(unanswered)?,
            signal = tokio::signal::ctrl_c() => {
                drop(signal);
                return Err(AppError::new(exit::INTERRUPTED, "interrupted"));
            }
        };
        let asked = asked(&api);
        let chosen = wanted.choose(&nodes, inventory.as_ref()).map_err(|error| {
            let told = AppError::usage(format!("{} ({asked})", error.text));
            match error.hint {
                Some(hint) => told.hint(hint),
                None => told,
            }
        })?;
        let (from, mut warnings) = match chosen {
            Choice::Nodes(from, warnings) => (from, warnings),
            Choice::AllReady(text) => return Ok(Meant::Nothing(format!("{text} ({asked})"))),
        };
        let by = from.by.clone();
        request.cluster = Some(from);
        match select(&request).await {
            Ok(mut selected) => {
                selected.notes.push(format!("{by}: {} of {} nodes ({asked})", selected.targets.len(), nodes.len()));
                warnings.append(&mut selected.warnings);
                selected.warnings = warnings;
                Ok(Meant::Nodes(Box::new(selected)))
            }
            Err(InventoryError::NoneOfBoth(text)) if self.not_ready => Ok(Meant::Nothing(format!("{text} ({asked})"))),
            Err(error) => Err(refused(error)),
        }
    }

    /// Resolves the selection for commands without a display: prints notes and warnings. `None`: nothing is to be done, and it
    /// was said.
    ///
    /// # Errors
    /// As [`Self::select`].
    pub(crate) async fn select_and_tell(
        &self,
        target: &TargetArgs,
        cluster: &ClusterArgs,
    ) -> Result<Option<Selected>, AppError> {
        match self.select(target, cluster).await? {
            Meant::Nothing(text) => {
                error::note(&text);
                Ok(None)
            }
            Meant::Nodes(selected) => {
                selected.notes.iter().for_each(|note| error::note(note));
                selected.warnings.iter().for_each(|warning| error::warn(warning));
                Ok(Some(*selected))
            }
        }
    }
}

/// Which API server was asked, as whom: the operator may have meant another cluster.
fn asked(api: &Cluster) -> String {
    let server = api.servers().into_iter().next().unwrap_or_default();
    match api.credential() {
        Ok(credential) => format!("API server {server}, {}", credential.kind()),
        Err(_) => format!("API server {server}"),
    }
}

fn refused(error: InventoryError) -> AppError {
    let code = if error.is_usage() { exit::USAGE } else { exit::SETUP };
    AppError::from_chain(code, &error)
}

/// No run without an answer: which nodes are meant is not known.
fn unanswered(error: ClusterError) -> AppError {
    let text = if error.setup { format!("nodes cannot be chosen by the cluster: {}", error.text) } else { error.text };
    let hint = error.hint.unwrap_or_else(|| "name the nodes with --nodes".to_owned());
    AppError::setup(text).hint(hint)
}

/// Flags with which another command finds nodes that the inventory does not hold; empty where it holds all of them.
pub(crate) fn way(selected: &Selected, cluster: &ClusterArgs) -> String {
    if !selected.provenance.values().any(|from| from.address == Origin::Cluster) {
        return String::new();
    }
    let flags = cluster.way();
    let blank = if flags.is_empty() { "" } else { " " };
    // Every node has this label; the cluster is asked for the address.
    format!("--selector kubernetes.io/hostname{blank}{flags}")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        choose: ChooseArgs,
    }

    #[test]
    fn selectors_are_checked_before_anything_is_asked() {
        let parse = |words: &[&str]| Only::try_parse_from([&["x"], words].concat()).map(|only| only.choose);
        let both = parse(&["--selector", "pool in (a,b),!spot", "--selector", "zone=1", "--not-ready"]).unwrap();
        assert!(both.given() && both.selector.len() == 2 && both.not_ready);
        assert!(!parse(&[]).unwrap().given());
        let error = parse(&["--selector", "pool=a b"]).err().unwrap().to_string();
        assert!(error.contains("no value of a label"), "{error}");
    }
}
