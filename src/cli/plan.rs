//! `plegcollect plan`: exactly what would run on each node, from the same value the engine gets.
//! Runs the probe and the checks before changes on the nodes (read-only) and nothing else; `--sudoers` prints the lines needed, `--rbac` the ClusterRole.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::access::Access;
use super::change_args::ChangeArgs;
use super::choose_args::ChooseArgs;
use super::cluster_args::ClusterArgs;
use super::error::AppError;
use super::identity::redactor;
use super::kubelet_args::KubeletArgs;
use super::step_args::StepArgs;
use super::target_args::TargetArgs;
use super::{error, exit, output, plan_access, plan_rbac};
use crate::collect::{Foreseen, PlannedNode, SudoPassword, plan_node};
use crate::inventory::{NodeName, Target, fold};
use crate::kubelet::AccessPlan;
use crate::plan::facts::Rights;
use crate::plan::{Action, ChangeId, ChangePolicy, Encoding, NodePlan, Phase, PlannedStep, What};
use crate::printable::printable;
use crate::session::SessionError;
use crate::session::command::{self, CommandSpec};

/// Connecting and the probe, and the checks before the changes of a plan where dockerd hangs.
const NODE_WITHIN: Duration = Duration::from_secs(150);

/// Show exactly what would run and be changed on each node
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    choose: ChooseArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    steps: StepArgs,
    #[command(flatten)]
    changes: ChangeArgs,
    #[command(flatten)]
    kubelet: KubeletArgs,
    /// Print the sudoers lines the login user needs for it
    #[arg(long, conflicts_with = "json")]
    sudoers: bool,
    /// Print them for this user instead of the login user
    #[arg(long, value_name = "USER", requires = "sudoers")]
    for_user: Option<String>,
    /// Print the ClusterRole the selected steps need at kubelets and API servers; contacts nobody, needs no nodes
    #[arg(long, conflicts_with_all = ["sudoers", "scripts", "json"])]
    rbac: bool,
    /// Print the text of scripts, too
    #[arg(long, conflicts_with_all = ["sudoers", "json"])]
    scripts: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Nodes asked at a time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1000))]
    parallel: u16,
}

/// Runs the command.
pub(crate) async fn run(args: PlanArgs) -> Result<u8, AppError> {
    if args.rbac {
        let PlanArgs { target, choose, cluster, steps, changes, .. } = &args;
        return plan_rbac::print(&plan_rbac::Asked { target, choose, cluster, steps, changes });
    }
    if args.target.nodes.is_empty() && !args.choose.given() {
        return Err(
            AppError::usage("no nodes given").hint("name them, for example: plegcollect plan --nodes 'worker-00[1-9]'")
        );
    }
    args.kubelet.hide_variable();
    Access::check(&args.choose, &args.kubelet, &args.cluster, &args.target)?;
    let Some(selected) = args.choose.select_and_tell(&args.target, &args.cluster).await? else {
        return Ok(exit::COMPLETE);
    };
    let (catalog, mut selection) = args.steps.resolve(selected.inventory.as_ref(), &args.changes)?;
    selection.kubelet = args.kubelet.selection(selected.inventory.as_ref(), &args.changes)?;
    // What collect would refuse is refused here.
    let redactor = redactor(selected.inventory.as_ref())?;
    let access = Access::open(&args.kubelet, &args.cluster, selected.inventory.as_ref(), &redactor)?;
    let cluster = access.cluster_run(&catalog, &selection)?;
    let remarks =
        [args.kubelet.in_vain(selected.inventory.as_ref(), &selection.changes), access.remark().map(str::to_owned)];
    remarks.iter().flatten().for_each(|remark| error::warn(remark));
    let password = args.target.sudo_password(&selected.targets)?.map(SudoPassword::new);
    let connector = args.target.connector(1);
    let cancel = CancellationToken::new();
    let checks = !args.sudoers;
    let (connector, catalog, selection, password, cancel) =
        (connector.as_ref(), &catalog, &selection, password.as_ref(), &cancel);
    let planning = futures::stream::iter(&selected.targets)
        .map(|target| async move {
            let planned = tokio::time::timeout(
                NODE_WITHIN,
                plan_node(connector, target, catalog, selection, password, checks, cancel),
            )
            .await;
            (
                target,
                planned.unwrap_or_else(|_| {
                    Err(SessionError::new(
                        crate::session::FailureKind::Deadline,
                        format!("no plan within {} s", NODE_WITHIN.as_secs()),
                    ))
                }),
            )
        })
        .buffered(usize::from(args.parallel))
        .collect::<Vec<_>>();
    let planned = tokio::select! {
        planned = planning => planned,
        signal = tokio::signal::ctrl_c() => {
            drop(signal);
            return Err(AppError::new(exit::INTERRUPTED, "interrupted"));
        }
    };
    connector.close().await;

    let mut text = String::new();
    let mut failed = 0;
    // Nodes with the same plan are shown together; the pids in the arguments of scripts differ on every
    // node and are not shown without --scripts.
    let exact = args.scripts || args.json || args.sudoers;
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (target, result) in planned {
        match result {
            Ok(node) => {
                let kubelet = access.kubelet.plan(target, &node.facts);
                match groups.iter_mut().find(|g| g.node.same_as(&node, exact) && g.kubelet == kubelet) {
                    Some(group) => group.names.push(target.name.clone()),
                    None => groups.push(Group { names: vec![target.name.clone()], target, node, kubelet }),
                }
            }
            Err(error) => {
                failed += 1;
                let mut told =
                    AppError::new(exit::NODES_UNREACHED, format!("{}: no plan: {}", target.name, error.text));
                if let Some(hint) = error.hint {
                    told = told.hint(hint);
                }
                told.report();
            }
        }
    }
    let code = match (failed, groups.is_empty()) {
        (0, _) => exit::COMPLETE,
        (_, true) => exit::NONE_REACHED,
        _ => exit::NODES_UNREACHED,
    };
    if args.sudoers {
        let mut lines = BTreeSet::new();
        for Group { node, .. } in &groups {
            let user = args.for_user.as_deref().unwrap_or(&node.user);
            lines.extend(sudoers(node, user));
        }
        writeln!(text, "# What plegcollect runs as root, and nothing else; check with visudo -c.").ok();
        writeln!(
            text,
            "# They hold for this --profile and --since; lines that name a pid, until that daemon is restarted."
        )
        .ok();
        writeln!(
            text,
            "# Changes (dockerd debug, stacks) need root's login or unrestricted sudo; else they are refused."
        )
        .ok();
        for line in lines {
            writeln!(text, "{line}").ok();
        }
    } else if args.json {
        let mut json: Vec<_> = groups
            .iter()
            .map(|Group { names, node, kubelet, .. }| {
                serde_json::json!({
                    "nodes": names,
                    "plan": node.plan,
                    "kubelet": kubelet,
                    "changes": changes_json(node, &selection.changes),
                })
            })
            .collect();
        json.extend(cluster.as_ref().map(|run| serde_json::json!({ "cluster": plan_access::cluster_json(run) })));
        text = serde_json::to_string_pretty(&json).map_err(|e| AppError::new(exit::INTERNAL, e.to_string()))?;
        text.push('\n');
    } else {
        for Group { names, target, node, kubelet } in &groups {
            writeln!(text, "{} ({})\n", fold(names), printable(&node.facts.os, 80)).ok();
            text.push_str(&render(node, kubelet, args.scripts));
            text.push_str(&plan_access::kubelet(kubelet, target));
            text.push_str(&changes(node, &selection.changes));
        }
        text.extend(cluster.as_ref().map(plan_access::cluster));
        if !groups.is_empty() && groups.iter().all(|g| planned_changes(&g.node, &selection.changes).is_empty()) {
            writeln!(text, "nothing on these nodes is changed").ok();
        }
    }
    output::print(&text).map_err(|e| AppError::new(exit::INTERNAL, format!("cannot write to standard output: {e}")))?;
    Ok(code)
}

/// Nodes with the same plan.
struct Group<'a> {
    names: Vec<NodeName>,
    /// The first of them.
    target: &'a Target,
    node: PlannedNode,
    kubelet: AccessPlan,
}

fn render(node: &PlannedNode, kubelet: &AccessPlan, scripts: bool) -> String {
    let mut text = String::new();
    let width = node.plan.steps.iter().map(|step| step.file.len()).max().unwrap_or_default();
    for phase in [Phase::Before, Phase::During, Phase::After] {
        for step in node.plan.steps.iter().filter(|s| s.phase == phase) {
            let about = &step.about;
            let line = match &step.action {
                Action::Run(run) => {
                    let spec = CommandSpec {
                        what: &run.what,
                        privileged: run.privileged,
                        bounds: &run.bounds,
                        encoding: run.encoding,
                        stacks_on_timeout: run.stacks_on_timeout,
                        shell: &node.facts.shell,
                        password: None,
                        input: None,
                    };
                    let whole = command::describe(&spec);
                    if scripts { whole } else { shortened(&whole, &run.what, &step.about) }
                }
                Action::Absent(reason) => format!("absent: {reason}"),
                Action::Skipped(reason) => format!("skipped: {reason}"),
                Action::Kubelet(get) => plan_access::asked(get, kubelet),
                Action::Change(step) => format!("by {}: {}", step.change, about),
            };
            writeln!(text, "  {:<width$} {}", step.file, printable(&line, 4000)).ok();
        }
    }
    writeln!(text, "\n  {}\n", counts(&node.plan)).ok();
    text
}

/// Why no change of a kind would be made on a node, as far as a plan can tell.
fn left_out(node: &PlannedNode, policy: &ChangePolicy, change: ChangeId) -> Option<String> {
    if let Some(why) = policy.forbids(change) {
        return Some(why.to_owned());
    }
    let yields = |action: &Action| matches!(action, Action::Change(step) if step.change == change);
    if !node.plan.steps.iter().any(|step| yields(&step.action)) {
        return Some("no step that needs it is selected, or the node lacks the daemon".to_owned());
    }
    if node.facts.shell.rights == Rights::None {
        return Some("the login has no root's rights on the node".to_owned());
    }
    let refused: Vec<&str> = said(node, change).filter(|f| f.refused).map(|f| f.text.as_str()).collect();
    let daemons = match change {
        ChangeId::DockerdDebug | ChangeId::KubeletVerbosity => 1,
        ChangeId::StackDump => daemons_dumped(&node.plan),
    };
    (refused.len() >= daemons).then(|| refused.join("; "))
}

/// What the checks say of a change.
fn said(node: &PlannedNode, change: ChangeId) -> impl Iterator<Item = &Foreseen> {
    node.foreseen.iter().filter(move |f| f.change == change)
}

/// How many daemons the plan wants stacks of.
fn daemons_dumped(plan: &NodePlan) -> usize {
    let wanted = |step: &&PlannedStep| matches!(&step.action, Action::Change(c) if c.change == ChangeId::StackDump);
    plan.steps.iter().filter(wanted).map(|step| step.id.area()).collect::<BTreeSet<_>>().len()
}

fn planned_changes(node: &PlannedNode, policy: &ChangePolicy) -> Vec<ChangeId> {
    ChangeId::ALL.into_iter().filter(|change| left_out(node, policy, *change).is_none()).collect()
}

/// What would be changed on the node, in words, as the checks say at this moment; a run makes them again.
fn changes(node: &PlannedNode, policy: &ChangePolicy) -> String {
    let heading = match planned_changes(node, policy).as_slice() {
        [] => "No change to the node:",
        _ => "Changes to the node, undone before the run ends:",
    };
    let mut text = format!("  {heading}\n");
    for change in ChangeId::ALL {
        let line = match left_out(node, policy, change) {
            None => change.describe(policy),
            Some(why) => format!("{change}: not made: {}", printable(&why, 1000)),
        };
        writeln!(text, "  - {line}").ok();
        if left_out(node, policy, change).is_none() {
            for one in said(node, change) {
                let word = if one.refused { "but not" } else { "to know" };
                writeln!(text, "    {word}: {}", printable(&one.text, 1000)).ok();
            }
        }
    }
    text.push('\n');
    text
}

fn changes_json(node: &PlannedNode, policy: &ChangePolicy) -> Vec<serde_json::Value> {
    ChangeId::ALL
        .into_iter()
        .map(|change| match left_out(node, policy, change) {
            None => {
                let texts = |refused| said(node, change).filter(|f| f.refused == refused).map(|f| &f.text).collect();
                let (refused, notes): (Vec<&String>, Vec<&String>) = (texts(true), texts(false));
                serde_json::json!({
                    "change": change,
                    "planned": true,
                    "describe": change.describe(policy),
                    "refused": refused,
                    "notes": notes,
                })
            }
            Some(why) => serde_json::json!({ "change": change, "planned": false, "reason": why }),
        })
        .collect()
}

/// A script is shown by what it is for; `--scripts` prints its text.
fn shortened(command: &str, what: &What, about: &str) -> String {
    let What::Script { text, .. } = what else { return command.to_owned() };
    let lines = text.lines().count();
    let Some((before, after)) = command.split_once(" -c '") else { return command.to_owned() };
    let rest = after.rsplit_once('\'').map_or("", |(_, rest)| rest);
    format!("{before} -c <script of {lines} lines: {about}>{rest}")
}

fn counts(plan: &NodePlan) -> String {
    let change = match plan.to_change() {
        0 => String::new(),
        n => format!(", {n} by a change to the node"),
    };
    let ask = match plan.to_ask() {
        0 => String::new(),
        n => format!(", {n} ask the kubelet"),
    };
    let (run, all) = (plan.to_run(), plan.steps.len());
    format!("{run} of {all} steps run on the node{ask}{change}; the others have nothing to read here")
}

/// The lines for the node's probe, its steps, and the look at a hung command.
fn sudoers(node: &PlannedNode, user: &str) -> Vec<String> {
    let mut shell = node.facts.shell.clone();
    // Asked for with root's login: what another user would need.
    if shell.rights == Rights::Root {
        shell.rights = Rights::SudoPasswordless;
    }
    let (what, bounds) = (&node.probe.0, &node.probe.1);
    let spec = |what, privileged, bounds, stacks_on_timeout| CommandSpec {
        what,
        privileged,
        bounds,
        encoding: Encoding::Plain,
        stacks_on_timeout,
        shell: &shell,
        password: None,
        input: None,
    };
    let mut lines: Vec<String> = command::sudoers(&spec(what, true, bounds, false), user).into_iter().collect();
    let mut stacks = false;
    for step in &node.plan.steps {
        if let Action::Run(run) = &step.action {
            stacks |= run.privileged && run.stacks_on_timeout;
            lines.extend(command::sudoers(&spec(&run.what, run.privileged, &run.bounds, run.stacks_on_timeout), user));
        }
    }
    if stacks {
        lines.push(command::sudoers_stacks(&shell, user));
    }
    lines
}
