//! Proof that nothing was restarted: the daemons of the first probe, looked at again when all is done.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::node::NodeGround;
use super::probe;
use super::way::NodeWay;
use crate::bundle::manifest::RestartProof;
use crate::change::Way as _;
use crate::event::Restarts;
use crate::plan::NodeFacts;
use crate::plan::facts::Daemon;

/// Time for the second look, past the node's deadline if need be.
const BUDGET: Duration = Duration::from_secs(15);

/// Looks at the daemons again; `after` stays empty if the node does not answer.
pub(super) async fn take(ground: &NodeGround<'_>, way: &NodeWay<'_>) -> RestartProof {
    let before = daemons(ground.facts);
    let session = way.session();
    let never = CancellationToken::new();
    let asking = probe::probe(&session, ground.target, &ground.ctx.catalog, ground.ctx.password.as_ref(), &never);
    let after = match tokio::time::timeout(BUDGET, asking).await {
        Ok(Ok(probed)) if probed.cut.is_none() => {
            if probed.facts.boot_id != ground.facts.boot_id {
                let text = "the node was rebooted during the run, and not by it".to_owned();
                ground.ctx.events.warn(Some(&ground.target.name), text).await;
            }
            daemons(&probed.facts)
        }
        _ => BTreeMap::new(),
    };
    let proof = RestartProof { before, after };
    if let Some(restarted) = proof.restarted().filter(|names| !names.is_empty()) {
        let text = format!("{} restarted during the run, and not by it", restarted.join(" and "));
        ground.ctx.events.warn(Some(&ground.target.name), text).await;
    }
    proof
}

/// Returns what a proof says, for the summary.
pub(super) fn verdict(proof: &RestartProof) -> Restarts {
    match proof.restarted() {
        None => Restarts::Unknown,
        Some(restarted) if restarted.is_empty() => Restarts::None { same: proof.before.keys().cloned().collect() },
        Some(restarted) => Restarts::Some { restarted: restarted.into_iter().map(str::to_owned).collect() },
    }
}

/// Returns the daemons that run, by name.
fn daemons(facts: &NodeFacts) -> BTreeMap<String, Daemon> {
    let all = [
        ("dockerd", &facts.dockerd),
        ("containerd", &facts.containerd),
        ("crio", &facts.crio),
        ("kubelet", &facts.kubelet),
    ];
    all.into_iter()
        .filter_map(|(name, daemon)| Some((name.to_owned(), daemon.as_ref().filter(|d| d.pid.is_some())?.clone())))
        .collect()
}
