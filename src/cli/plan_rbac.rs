//! `plegcollect plan --rbac`: the ClusterRole that the selected steps need. Contacts nobody, and needs no nodes.

use super::change_args::ChangeArgs;
use super::choose_args::ChooseArgs;
use super::cluster_args::ClusterArgs;
use super::error::AppError;
use super::step_args::StepArgs;
use super::target_args::TargetArgs;
use super::{error, exit, output};
use crate::plan::cluster::ClusterRule;
use crate::plan::rbac::Rights;

/// The flags that bear on it.
pub(super) struct Asked<'a> {
    pub(super) target: &'a TargetArgs,
    pub(super) choose: &'a ChooseArgs,
    pub(super) cluster: &'a ClusterArgs,
    pub(super) steps: &'a StepArgs,
    pub(super) changes: &'a ChangeArgs,
}

/// Prints the role.
pub(super) fn print(asked: &Asked<'_>) -> Result<u8, AppError> {
    let inventory = asked.target.find_inventory()?;
    let (catalog, selection) = asked.steps.resolve(inventory.as_ref(), asked.changes)?;
    let settings = asked.cluster.settings(inventory.as_ref());
    let mut rights = Rights::of(&selection, &catalog);
    let wanted = asked.cluster.wants_evidence(&settings);
    if wanted {
        rights.cluster.extend(selection.cluster_steps().iter().map(|step| step.rule));
    }
    if asked.choose.given() {
        rights.cluster.insert(ClusterRule::Resource { group: "", resource: "nodes", verbs: &["list"] });
        rights.cluster.insert(ClusterRule::Url("/version"));
    }
    if rights.is_empty() {
        error::note("no rights are needed: with these flags neither kubelets nor API servers are asked for anything");
        return Ok(exit::COMPLETE);
    }
    let mut text = rights.cluster_role();
    if !wanted {
        text.push_str("#\n# Evidence from the API server is not in it: name a cluster with --kubeconfig, --context or [cluster].\n");
    }
    output::print(&text).map_err(|e| AppError::new(exit::INTERNAL, format!("cannot write to standard output: {e}")))?;
    Ok(exit::COMPLETE)
}
