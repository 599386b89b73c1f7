//! `plegcollect --nodes …`: the main command. Resolves flags into a run, starts display and
//! signals, and turns the outcome into summary, `SUMMARY.md`, `run.json` and exit code.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use jiff::Timestamp;

use super::PARALLEL_AT_MOST;
use super::access::Access;
use super::change_args::ChangeArgs;
use super::choose_args::{self, ChooseArgs, Meant};
use super::cluster_args::ClusterArgs;
use super::error::{self, AppError};
use super::exit::{self, Circumstances};
use super::identity::{command_line, redactor, spelled};
use super::kubelet_args::KubeletArgs;
use super::room::{no_room_for_window, nodes_for_open_files};
use super::run_end::RunEnd;
use super::step_args::StepArgs;
use super::target_args::TargetArgs;
use crate::bundle::{BundleError, BundleOptions, RunDir, RunRecord};
use crate::collect::{self, OpenChanges, RunIdentity, RunOptions, Shutdown, SudoPassword};
use crate::event::{EventKind, NodeSummary};
use crate::evidence::ChangeState;
use crate::inventory::{NodeName, Selected, fold};
use crate::plan::{ChangeId, Selection};
use crate::progress::{self, DisplayMode, DisplayOptions, LogWriter};
use crate::report::RunSummary;

/// Collect evidence from nodes
#[derive(Debug, Args)]
pub(crate) struct CollectArgs {
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
    #[command(flatten)]
    run: RunArgs,
}

/// How the run goes, and where its results go
#[derive(Debug, Args, Default)]
#[command(next_help_heading = "Run")]
struct RunArgs {
    /// Directory in which the run's own directory is made
    #[arg(short, long, value_name = "DIR", default_value = ".", env = "PLEGCOLLECT_OUT")]
    out: PathBuf,
    /// Name of the incident, for the run directory and the summary
    #[arg(long, value_name = "NAME")]
    incident: Option<String>,
    /// Nodes worked on at a time [default: 64]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    parallel: Option<u16>,
    /// Time one node may take [default: 5m]
    #[arg(long, value_name = "TIME", value_parser = at_least_a_second)]
    node_deadline: Option<Duration>,
    /// Time the whole run may take; nodes not begun by then are not started [default: no bound]
    #[arg(long, value_name = "TIME", value_parser = at_least_a_second)]
    run_deadline: Option<Duration>,
    /// Evidence kept per node at most, such as 500MB [default: 2GB]
    #[arg(long, value_name = "SIZE")]
    max_node_bytes: Option<ByteSize>,
    /// Events on standard output, in a form for machines, instead of the summary
    #[arg(long, value_enum, value_name = "FORM")]
    events: Option<EventForm>,
    /// Do not analyse the evidence at the end: no verdict in the summary, no findings.json
    #[arg(long)]
    no_analysis: bool,
    /// A line for every step instead of bars
    #[arg(short, long)]
    verbose: bool,
    /// Only warnings and failures (cron)
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
}

/// Shorter times are slips, and no node answers within them.
fn at_least_a_second(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|e| format!("{e} (write 90s, 5m or 1h)"))?;
    if time < Duration::from_secs(1) { Err("it must be 1 second at least".to_owned()) } else { Ok(time) }
}

/// Form of `--events`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum EventForm {
    /// One JSON object a line
    Json,
}

/// Runs the command.
pub(crate) async fn run(args: CollectArgs) -> Result<u8, AppError> {
    if args.target.nodes.is_empty() && !args.choose.given() {
        return Err(
            AppError::usage("no nodes given").hint("name them, for example: plegcollect --nodes 'worker-00[1-9]'")
        );
    }
    let clock = Instant::now();
    args.kubelet.hide_variable();
    Access::check(&args.choose, &args.kubelet, &args.cluster, &args.target)?;
    let selected = match args.choose.select(&args.target, &args.cluster).await? {
        Meant::Nodes(selected) => *selected,
        Meant::Nothing(text) => {
            if !args.run.quiet {
                error::note(&text);
            }
            return Ok(exit::COMPLETE);
        }
    };
    if !args.run.quiet {
        selected.notes.iter().for_each(|note| error::note(note));
    }
    let (catalog, mut selection) = args.steps.resolve(selected.inventory.as_ref(), &args.changes)?;
    selection.kubelet = args.kubelet.selection(selected.inventory.as_ref(), &args.changes)?;
    let redactor = redactor(selected.inventory.as_ref())?;
    let access = Access::open(&args.kubelet, &args.cluster, selected.inventory.as_ref(), &redactor)?;
    let cluster = access.cluster_run(&catalog, &selection)?;
    let password = args.target.sudo_password(&selected.targets)?.map(SudoPassword::new);
    let limits = selected.inventory.as_ref().map(|i| i.limits.clone()).unwrap_or_default();
    let bundle = BundleOptions {
        max_bundle_bytes: args
            .run
            .max_node_bytes
            .map(|b| b.as_u64())
            .or(limits.max_node_bytes)
            .unwrap_or(2_000_000_000),
        ..BundleOptions::new(Arc::clone(&redactor))
    };

    let started = Timestamp::now();
    let run_dir = RunDir::create(&args.run.out, started, args.run.incident.as_deref())
        .map_err(|e| unusable_output(&args.run.out, &e))?;
    let identity = RunIdentity {
        run_id: run_dir.run_id.clone(),
        command_line: command_line(&redactor),
        operator: operator(),
        way: redactor.text(&way(&args, &selection, &selected)),
        spelled: spelled(&selected),
    };
    let mut record = RunRecord::new(&run_dir.run_id, started);
    record.incident.clone_from(&args.run.incident);
    record.operator.clone_from(&identity.operator);
    record.args.clone_from(&identity.command_line);
    record.planned_nodes = selected.targets.len();

    let mode = DisplayMode::choose(
        std::io::stderr().is_terminal(),
        args.run.events == Some(EventForm::Json),
        args.run.verbose,
        args.run.quiet,
    );
    let log = LogWriter::new();
    super::logging::install(log.clone(), args.run.verbose);
    let (events, display) = progress::start(
        mode,
        DisplayOptions {
            color: color_on_stderr(),
            verbose: args.run.verbose,
            run_log: Some(run_dir.path.join("run.log")),
            log,
        },
    );
    let node_deadline = args.run.node_deadline.or(limits.node_deadline).unwrap_or(Duration::from_secs(300));
    let mut warnings = selected.warnings.clone();
    warnings.extend(no_room_for_window(&catalog, &selection, node_deadline));
    warnings.extend(args.kubelet.in_vain(selected.inventory.as_ref(), &selection.changes));
    warnings.extend(access.remark().map(str::to_owned));
    // How nodes were chosen is part of the record; who started the run has read it already.
    record.warnings = selected.notes.iter().chain(&warnings).cloned().collect();
    for warning in &warnings {
        events.send(EventKind::Warning { node: None, text: warning.clone() }).await;
    }

    let parallel = args.run.parallel.map(usize::from).or(limits.parallel).unwrap_or(64).min(PARALLEL_AT_MOST.into());
    let parallel = match nodes_for_open_files() {
        Some(most) if most < parallel.min(selected.targets.len()) => {
            let text =
                format!("the limit of open files allows {most} nodes at a time, not {parallel}: raise ulimit -n");
            record.warnings.push(text.clone());
            events.send(EventKind::Warning { node: None, text }).await;
            most
        }
        _ => parallel,
    };
    let connector = args.target.connector(limits.connect_attempts.unwrap_or(3));
    let shutdown = Shutdown::new();
    let signals =
        shutdown.signals().map_err(|e| AppError::new(exit::INTERNAL, format!("cannot listen for signals: {e}")))?;
    let open = OpenChanges::default();
    let options = RunOptions {
        targets: selected.targets,
        catalog,
        selection,
        parallel,
        node_deadline,
        run_deadline: args.run.run_deadline.or(limits.run_deadline),
        bundle,
        max_run_bytes: limits.max_run_bytes,
        sudo_password: password,
        run: identity,
        kubelet: access.kubelet,
        open: open.clone(),
        cluster,
    };

    tokio::pin!(signals);
    let outcome = {
        let body = collect::run(options, Arc::clone(&connector), &run_dir, &mut record, &events, &shutdown);
        tokio::pin!(body);
        let told = announce(&shutdown, &events);
        tokio::pin!(told);
        loop {
            tokio::select! {
                outcome = &mut body => break Some(outcome.map_err(|e| AppError::from_chain(exit::SETUP, &e))?),
                () = &mut signals => {}
                () = &mut told, if !shutdown.stop_now().is_cancelled() => {}
                () = shutdown.stop_now().cancelled() => break None,
            }
        }
    };
    let Some(outcome) = outcome else {
        // Stop at once: bundles stay .partial, each readable up to its last finished step.
        let unfinished = record.planned_nodes.saturating_sub(record.nodes.len());
        record
            .warnings
            .push(format!("stopped at once: {unfinished} of the nodes were not finished and are not listed"));
        let changed = still_changed(&open, &record.nodes, &mut record.warnings);
        let code = if changed.is_some() { exit::STILL_CHANGED } else { exit::INTERRUPTED };
        record.finished = Some(Timestamp::now());
        record.exit_code = Some(code);
        drop(record.save(&run_dir.path));
        drop(events);
        drop(tokio::time::timeout(Duration::from_millis(500), display.finish()).await);
        let text = format!(
            "stopped at once; unfinished bundles in {} end in .partial and are readable",
            run_dir.path.display()
        );
        let error = AppError::new(code, text);
        return Err(match changed {
            Some(hint) => error.hint(hint),
            None => error,
        });
    };
    connector.close().await;

    let circumstances = Circumstances {
        interrupted: shutdown.is_requested(),
        disk_failed: outcome.disk.is_some(),
        cluster_missing: outcome.cluster.as_ref().is_some_and(|cluster| !cluster.complete),
    };
    let code = exit::of_run(&outcome.nodes, circumstances);
    let took = clock.elapsed();
    events.send(EventKind::RunFinished { exit_code: code, took }).await;
    drop(events);
    let shown = display.finish().await;

    record.finished = Some(Timestamp::now());
    record.exit_code = Some(code);
    record.warnings.extend(shown.run_log_error);
    let summary = RunSummary {
        run_id: record.run_id.clone(),
        out: run_dir.path.clone(),
        started: Some(started),
        took,
        exit_code: code,
        exit_meaning: exit::meaning(code).to_owned(),
        interrupted: circumstances.interrupted,
        notes: record.warnings.clone(),
        cluster: outcome.cluster.clone(),
        analysis: None,
        fold,
    };
    let end = RunEnd {
        dir: &run_dir.path,
        nodes: &outcome.nodes,
        record: &record,
        summary,
        shutdown: &shutdown,
        no_analysis: args.run.no_analysis,
        quiet: args.run.quiet,
        events: args.run.events.is_some(),
    };
    let ended = end.finish(signals).await;
    if let Some(error) = outcome.disk {
        return Err(disk_error(&error, code));
    }
    ended?;
    Ok(code)
}

/// Names the nodes that are changed at this moment, or were when they were finished, in the record and in the hint it
/// returns.
fn still_changed(open: &OpenChanges, finished: &[NodeSummary], warnings: &mut Vec<String>) -> Option<String> {
    let mut changes: BTreeMap<(NodeName, ChangeId), String> =
        open.all().into_iter().map(|(node, told)| ((node, told.change), told.text)).collect();
    for node in finished {
        // What was seen of it is the better word.
        for change in node.changes.iter().filter(|change| change.state == ChangeState::StillChanged) {
            changes.insert((node.node.clone(), change.change), change.text.clone());
        }
    }
    let mut told: BTreeMap<NodeName, String> = BTreeMap::new();
    for ((node, _), text) in changes {
        let of_node = told.entry(node).or_default();
        *of_node = if of_node.is_empty() { text } else { format!("{of_node}; {text}") };
    }
    warnings.extend(told.iter().map(|(node, text)| format!("{node}: {text}")));
    let first = told.values().next()?;
    let same = told.values().all(|text| text == first);
    let text =
        if same { crate::printable::printable(first, 400) } else { "may still be changed, see run.json".to_owned() };
    let names: Vec<NodeName> = told.keys().cloned().collect();
    let names = fold(&names);
    Some(format!("{names}: {text}; to see it undone: plegcollect revert --nodes '{names}'"))
}

/// Says once that the operator's wish was heard.
async fn announce(shutdown: &Shutdown, events: &crate::event::EventSender) {
    shutdown.wind_down().cancelled().await;
    events.send(EventKind::Interrupted { again: false }).await;
    shutdown.stop_now().cancelled().await;
    events.send(EventKind::Interrupted { again: true }).await;
}

fn disk_error(error: &BundleError, code: u8) -> AppError {
    // Only of a full disk is it known that what was written before is whole.
    AppError::from_chain(code, error).hint(if error.is_disk_full() {
        "everything written so far is intact; free space there, or choose another directory with --out"
    } else {
        "look at that directory (verify tells what is whole), or choose another with --out"
    })
}

fn unusable_output(out: &Path, error: &BundleError) -> AppError {
    AppError::from_chain(exit::SETUP, error)
        .hint(format!("choose a directory you may write to with --out (now: {})", out.display()))
}

/// Returns the flags by which another command finds and reaches the nodes, and puts back what only a credential can.
fn way(args: &CollectArgs, selection: &Selection, selected: &Selected) -> String {
    let kubelet = selection.changes.forbids(ChangeId::KubeletVerbosity).is_none().then(|| args.kubelet.way());
    let ways = [Some(args.target.way()), Some(choose_args::way(selected, &args.cluster)), kubelet];
    ways.into_iter().flatten().filter(|way| !way.is_empty()).collect::<Vec<_>>().join(" ")
}

/// `user@host`, as far as the environment tells.
fn operator() -> String {
    let user = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).or_else(|_| std::env::var("LOGNAME"));
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let user = user.unwrap_or_else(|_| format!("uid {}", rustix::process::getuid().as_raw()));
    crate::printable::printable(&format!("{user}@{host}"), 200)
}

fn color_on_stderr() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{ChangeSummary, NodeResult};

    #[test]
    fn a_run_that_stops_at_once_names_nodes_that_were_finished_and_left_changed() {
        let mut warnings = Vec::new();
        let mut left = super::exit::tests::node(NodeResult::Partial, None);
        assert_eq!(still_changed(&OpenChanges::default(), &[left.clone()], &mut warnings), None);

        left.changes.push(ChangeSummary {
            change: ChangeId::StackDump,
            state: ChangeState::StillChanged,
            text: "a dump may be left".to_owned(),
            mend: None,
        });
        let hint = still_changed(&OpenChanges::default(), &[left], &mut warnings).unwrap();
        assert!(hint.contains("n1: a dump may be left; ") && hint.contains("revert --nodes 'n1'"), "{hint}");
        assert_eq!(warnings, ["n1: a dump may be left"]);
    }
}
