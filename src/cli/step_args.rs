//! The flags that say which steps; flattened into `collect` and `plan`.

use clap::{Args, ValueEnum};

use super::change_args::ChangeArgs;
use super::error::AppError;
use crate::inventory::Inventory;
use crate::plan::{Catalog, LogFiles, Profile, Selection, SelectionError, Since, StepPattern};

/// Which evidence
#[derive(Debug, Args, Default)]
#[command(next_help_heading = "Evidence")]
pub(crate) struct StepArgs {
    /// Set of steps
    #[arg(long, value_enum, value_name = "NAME", default_value_t)]
    pub(crate) profile: ProfileFlag,
    /// Only these steps: docker, docker/*, host/ps; comma lists, and may be given several times
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    pub(crate) include: Vec<String>,
    /// Not these steps, in the same forms
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    pub(crate) exclude: Vec<String>,
    /// How far back logs go: 2h, 3days, or a time such as 2026-11-20T03:00:00Z [default: 2h; snapshot: 15m]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) since: Option<String>,
}

/// See [`Profile`].
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum ProfileFlag {
    /// Everything
    #[default]
    Incident,
    /// Light, for cron
    Snapshot,
}

impl StepArgs {
    /// Returns the catalog with the inventory's own steps, and the selection from it.
    ///
    /// # Errors
    /// Exit 2 for patterns that match no step and for flags that contradict each other, exit 3 for a bad `[[step]]`
    /// and for `[changes]` that contradict themselves.
    pub(crate) fn resolve(
        &self,
        inventory: Option<&Inventory>,
        changes: &ChangeArgs,
    ) -> Result<(Catalog, Selection), AppError> {
        let steps: Vec<(toml::Table, usize)> =
            inventory.map(|i| i.steps.iter().map(|s| (s.table.clone(), s.line)).collect()).unwrap_or_default();
        let logs = inventory
            .map(|i| LogFiles {
                docker: i.logs.docker.clone(),
                containerd: i.logs.containerd.clone(),
                kubelet: i.logs.kubelet.clone(),
            })
            .unwrap_or_default();
        let catalog = Catalog::builtin()
            .with_logs(&logs)
            .with_user_steps(&steps)
            .map_err(|e| AppError::from_chain(super::exit::SETUP, &e))?;
        let profile = match self.profile {
            ProfileFlag::Incident => Profile::Incident,
            ProfileFlag::Snapshot => Profile::Snapshot,
        };
        let usage = |e: SelectionError| AppError::from_chain(super::exit::USAGE, &e);
        let patterns = |texts: &[String]| texts.iter().map(|t| t.parse::<StepPattern>()).collect::<Result<Vec<_>, _>>();
        let selection = Selection {
            profile,
            include: patterns(&self.include).map_err(usage)?,
            exclude: patterns(&self.exclude).map_err(usage)?,
            since: self.since.as_deref().map(str::parse::<Since>).transpose().map_err(usage)?,
            changes: changes.policy(&inventory.map(|i| i.changes.clone()).unwrap_or_default())?,
            kubelet: crate::plan::KubeletSelection::default(),
            logs,
        };
        if let Some(Since::At(time)) = selection.since
            && time > jiff::Timestamp::now()
        {
            return Err(AppError::usage(format!("--since {time} lies ahead: no log goes back to it"))
                .hint("times are in UTC where they end in Z"));
        }
        selection.resolve(&catalog).map_err(usage)?;
        Ok((catalog, selection))
    }
}
