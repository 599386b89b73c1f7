//! A node's plan without its execution, for `plegcollect plan`: connect, probe, build, check, close.

use tokio_util::sync::CancellationToken;

use super::foreseen::{Foreseen, foresee};
use super::probe;
use super::sudo_password::SudoPassword;
use crate::inventory::Target;
use crate::inventory::target::Reach;
use crate::plan::{Action, Bounds, Catalog, NodeFacts, NodePlan, Selection, What};
use crate::session::{Connector, Session, SessionError};

/// What would run on a node.
pub struct PlannedNode {
    /// What the probe found.
    pub facts: NodeFacts,
    /// What would run.
    pub plan: NodePlan,
    /// What the checks before changes say.
    pub foreseen: Vec<Foreseen>,
    /// The probe itself, for sudoers lines.
    pub probe: (What, Bounds),
    /// Login name, for sudoers lines.
    pub user: String,
}

impl PlannedNode {
    /// Returns whether two nodes would be treated alike; unless `exact`, the arguments of scripts,
    /// which hold the pids of daemons, do not count.
    #[must_use]
    pub fn same_as(&self, other: &Self, exact: bool) -> bool {
        let plans = if exact {
            self.plan == other.plan
        } else {
            without_arguments(&self.plan) == without_arguments(&other.plan)
        };
        plans
            && self.foreseen == other.foreseen
            && self.user == other.user
            && self.facts.shell == other.facts.shell
            && self.facts.os == other.facts.os
    }
}

fn without_arguments(plan: &NodePlan) -> NodePlan {
    let mut plan = plan.clone();
    for step in &mut plan.steps {
        if let Action::Run(run) = &mut step.action
            && let What::Script { args, .. } = &mut run.what
        {
            args.clear();
        }
    }
    plan
}

/// Connects to a node, probes it and returns its plan; runs no step. With `checks`, those before the changes of the plan
/// are made, too.
///
/// # Errors
/// When the node is not reached or the probe does not run there.
///
/// # Cancel safety
/// Reads only; dropping it closes the connection in the background.
pub async fn plan_node(
    connector: &Connector,
    target: &Target,
    catalog: &Catalog,
    selection: &Selection,
    password: Option<&SudoPassword>,
    checks: bool,
    cancel: &CancellationToken,
) -> Result<PlannedNode, SessionError> {
    let (session, facts) = reach_node(connector, target, catalog, password, cancel).await?;
    let plan = crate::plan::build(catalog, selection, &facts, jiff::Timestamp::now());
    let foreseen = if checks {
        foresee(&session, &facts, &plan, &selection.changes, password.map(SudoPassword::secret)).await
    } else {
        Vec::new()
    };
    session.close().await;
    let user = match &target.reach {
        Reach::Ssh { hop, .. } => hop.user.clone(),
        Reach::Local => std::env::var("USER").unwrap_or_else(|_| "root".to_owned()),
    };
    Ok(PlannedNode { facts, plan, foreseen, probe: (probe::script(catalog), probe::PROBE_BOUNDS), user })
}

/// Connects to a node and probes it; the session is the caller's to close.
///
/// # Errors
/// When the node is not reached or the probe does not run there.
///
/// # Cancel safety
/// As [`plan_node`].
pub async fn reach_node(
    connector: &Connector,
    target: &Target,
    catalog: &Catalog,
    password: Option<&SudoPassword>,
    cancel: &CancellationToken,
) -> Result<(Session, NodeFacts), SessionError> {
    let session = connector.connect(target, cancel, &mut |_, _, _| {}).await?;
    match probe::probe(&session, target, catalog, password, cancel).await {
        Ok(probed) => Ok((session, probed.facts)),
        Err(error) => {
            session.close().await;
            Err(error)
        }
    }
}
