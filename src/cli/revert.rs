//! `plegcollect revert`: finds what an interrupted run left on nodes, lists it, and repairs it. Works from
//! any machine: what was changed is told by the receipts on the nodes.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::access::Access;
use super::choose_args::ChooseArgs;
use super::cluster_args::ClusterArgs;
use super::error::AppError;
use super::identity::redactor;
use super::kubelet_args::KubeletArgs;
use super::target_args::TargetArgs;
use super::{exit, output};
use crate::change::NodeShell;
use crate::change::dockerd_debug::Place;
use crate::change::kubelet_verbosity::{NotePlace, OnNode, Verbosity};
use crate::change::recover::{self, Whereabouts};
use crate::collect::{OneSession, SudoPassword, reach_node};
use crate::inventory::Target;
use crate::kubelet::{Kubelet, KubeletAccess};
use crate::plan::{Catalog, NodeFacts};
use crate::printable::printable;
use crate::session::{Connector, FailureKind, SessionError};

/// A guard may be waited for twice, and connecting takes its own time.
const NODE_WITHIN: Duration = Duration::from_secs(300);

/// Undo what an interrupted run left on nodes
#[derive(Debug, Args)]
pub(crate) struct RevertArgs {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    choose: ChooseArgs,
    #[command(flatten)]
    kubelet: KubeletArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Only list what would be undone
    #[arg(long)]
    dry_run: bool,
    /// Also end a debug window somebody is in right now, and remove texts that were saved for you to look at
    #[arg(long, conflicts_with = "dry_run")]
    force: bool,
    /// Nodes at a time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1000))]
    parallel: u16,
}

/// What became of one node.
struct Block {
    lines: Vec<String>,
    clean: bool,
}

/// Runs the command.
pub(crate) async fn run(args: RevertArgs) -> Result<u8, AppError> {
    if args.target.nodes.is_empty() && !args.choose.given() {
        return Err(AppError::usage("no nodes given")
            .hint("name them, for example: plegcollect revert --nodes 'worker-00[1-9]'"));
    }
    args.kubelet.hide_variable();
    Access::check(&args.choose, &args.kubelet, &args.cluster, &args.target)?;
    let Some(selected) = args.choose.select_and_tell(&args.target, &args.cluster).await? else {
        return Ok(exit::COMPLETE);
    };
    let password = args.target.sudo_password(&selected.targets)?.map(SudoPassword::new);
    let redactor = redactor(selected.inventory.as_ref())?;
    let access = Access::open(&args.kubelet, &args.cluster, selected.inventory.as_ref(), &redactor)?.kubelet;
    let connector = args.target.connector(3);
    let (catalog, cancel) = (Catalog::builtin(), CancellationToken::new());
    let mut text = String::new();
    let (mut unreached, mut changed) = (0, 0);
    {
        let (connector, catalog, cancel, password) = (connector.as_ref(), &catalog, &cancel, password.as_ref());
        let (args, access) = (&args, &access);
        let mut nodes = futures::stream::iter(&selected.targets)
            .map(|target| async move {
                let work = node(connector, target, catalog, password, access, cancel, args);
                let block = tokio::time::timeout(NODE_WITHIN, work).await.unwrap_or_else(|_| {
                    let text = format!("not finished within {} s", NODE_WITHIN.as_secs());
                    Err(SessionError::new(FailureKind::Deadline, text))
                });
                (target, block)
            })
            .buffered(usize::from(args.parallel));
        loop {
            let next = tokio::select! {
                next = nodes.next() => next,
                signal = tokio::signal::ctrl_c() => {
                    drop(signal);
                    output::print(&text).ok();
                    return Err(AppError::new(exit::INTERRUPTED, "interrupted; what was begun goes on on the nodes"));
                }
            };
            let Some((target, block)) = next else { break };
            match block {
                Ok(block) => {
                    changed += usize::from(!block.clean);
                    writeln!(text, "{}", target.name).ok();
                    for line in block.lines {
                        writeln!(text, "  {}", printable(&line, 1000)).ok();
                    }
                }
                Err(error) => {
                    unreached += 1;
                    let words = format!("{}: not looked at: {}", target.name, error.text);
                    let mut told = AppError::new(exit::NODES_UNREACHED, words);
                    if let Some(hint) = error.hint {
                        told = told.hint(hint);
                    }
                    told.report();
                }
            }
        }
    }
    connector.close().await;
    output::print(&text).map_err(|e| AppError::new(exit::INTERNAL, format!("cannot write to standard output: {e}")))?;
    Ok(match (changed, unreached) {
        (1.., _) => exit::STILL_CHANGED,
        (0, 0) => exit::COMPLETE,
        (0, n) if n == selected.targets.len() => exit::NONE_REACHED,
        _ => exit::NODES_UNREACHED,
    })
}

async fn node(
    connector: &Connector,
    target: &Target,
    catalog: &Catalog,
    password: Option<&SudoPassword>,
    access: &KubeletAccess,
    cancel: &CancellationToken,
    args: &RevertArgs,
) -> Result<Block, SessionError> {
    let (session, facts) = reach_node(connector, target, catalog, password, cancel).await?;
    let way = OneSession(session);
    let shell =
        NodeShell { way: &way, facts: &facts.shell, password: password.map(SudoPassword::secret), persistent: false };
    let kubelet = access.credential.is_some().then(|| Kubelet::new(access, target, &facts));
    let on_node = kubelet.as_ref().map(|kubelet| OnNode { kubelet, way: &way });
    let kubelet = on_node.as_ref().map(|kubelet| kubelet as &dyn Verbosity);
    let block = if shell.is_root() { look_and_repair(&shell, &facts, kubelet, args).await } else { no_rights() };
    way.0.close().await;
    block
}

fn no_rights() -> Result<Block, SessionError> {
    Err(SessionError::new(FailureKind::ExecStalled, "root's rights are needed to look for what an earlier run left"))
}

async fn look_and_repair(
    shell: &NodeShell<'_>,
    facts: &NodeFacts,
    kubelet: Option<&dyn Verbosity>,
    args: &RevertArgs,
) -> Result<Block, SessionError> {
    let failed = |e: crate::change::ShellError| SessionError::new(FailureKind::ExecStalled, e.to_string());
    let (place, at) = (Place::default(), Whereabouts::of(facts));
    let notes = NotePlace::default();
    let raised = recover::survey_verbosity(shell, &notes).await.map_err(failed)?;
    let mut found = recover::survey(shell, &place, &at).await.map_err(failed)?;
    found.more = !raised.clean();
    let mut lines = found.sentences();
    lines.extend(raised.sentences());
    if (found.clean() && raised.clean()) || args.dry_run {
        let (abandoned, raised_still) = (!found.clean() && !found.busy(), !raised.clean() && !raised.busy());
        if abandoned || raised_still {
            let asks = raised_still && raised.needs_credential() && kubelet.is_none();
            let how = if asks { " the kubelet's credential is needed, as for collect, and" } else { "" };
            lines.push(format!("nothing was changed;{how} without --dry-run it is undone"));
        }
        return Ok(Block { lines, clean: !abandoned && !raised_still });
    }
    let mut clean = true;
    let mut keep = |verdict: Result<recover::Verdict, crate::change::ShellError>| match verdict {
        Ok(verdict) => {
            lines.extend(verdict.lines);
            clean &= verdict.clean;
        }
        Err(error) => {
            lines.push(format!("not finished: {error}; run it again"));
            clean = false;
        }
    };
    if !found.clean() {
        keep(recover::repair(shell, &place, &at, &found, args.force).await);
    }
    if !raised.clean() {
        keep(recover::repair_verbosity(shell, &notes, &raised, kubelet, args.force).await);
    }
    Ok(Block { lines, clean })
}
