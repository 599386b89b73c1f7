//! Flags in, exit code out: the only module that knows clap, prints errors and picks exit codes.
//! One file per command.

mod access;
mod change_args;
mod choose_args;
mod cluster_args;
mod collect;
mod diff;
mod docs;
mod error;
mod evidence_paths;
mod exit;
mod identity;
mod kubelet_args;
mod logging;
mod nodes;
mod output;
mod plan;
mod plan_access;
mod plan_rbac;
mod report;
mod revert;
mod room;
mod run_analysis;
mod run_end;
mod show;
mod step_args;
mod target_args;
mod test_progress;
mod verify;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use self::collect::CollectArgs;
use self::error::AppError;

/// Collect evidence from Kubernetes nodes over SSH, restarting nothing
///
/// Reaches every selected node over plain SSH, runs bounded read-only commands, takes stacks and
/// switches dockerd's debug log on for a while where that is safe, undoes both, and leaves one sealed, compressed, verifiable bundle per node, with a summary and an honest exit code.
#[derive(Debug, Parser)]
#[command(name = "plegcollect", version, args_conflicts_with_subcommands = true, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 all complete, 1 internal error, 2 usage, 3 setup (inventory, credentials, output path, no \
API server to choose nodes), \
10 some evidence missing (of the cluster, too), 11 some nodes not reached, 12 none reached, 20 a node may still be changed (outranks all others), \
130 interrupted."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    collect: CollectArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Collect evidence (the default command)
    Collect(Box<CollectArgs>),
    /// Show which nodes a selection means, and the way to each
    Nodes(Box<nodes::NodesArgs>),
    /// Show exactly what would run and be changed on each node
    Plan(Box<plan::PlanArgs>),
    /// Undo what an interrupted run left on nodes
    ///
    /// Works from any machine: receipts on the nodes tell what was changed. Nodes undo a debug window by
    /// themselves within the lease (30 s) after a run was killed; this is for what is left then. Exit code 0: nothing is
    /// left, or somebody is in a debug window right now, which is left alone; 20: something is left, or with --dry-run
    /// there is something to undo; 11, 12: nodes not reached.
    Revert(Box<revert::RevertArgs>),
    /// Check every hash in a bundle or a run directory
    Verify(verify::VerifyArgs),
    /// List a bundle's files, or print one of them
    Show(show::ShowArgs),
    /// Say what evidence means: verdict and findings per node
    ///
    /// Works offline on bundles (sealed or .partial), run directories, directories with files named as in a bundle, and
    /// single files (a goroutine dump, a kubelet log, kubelet metrics). Exit codes: 0 everything was read, whatever was
    /// found; 2 usage; 3 something could not be read.
    Report(report::ReportArgs),
    /// Say what differs between two bundles or two runs
    ///
    /// Works offline, on what `report` takes. Two run directories are compared node by node, by name; two bundles may be of
    /// two nodes, the healthy one first, or of one node at two times, the earlier one first: then counters are told as rates.
    /// Exit codes: 0 everything was read, whatever differs; 2 usage, or nothing that can be compared; 3 something could not
    /// be read.
    Diff(diff::DiffArgs),
    /// Print shell completions
    Completions(docs::CompletionsArgs),
    /// Print the man page
    Man,
    /// Analyse one bundle and print the result as JSON
    #[command(hide = true)]
    AnalyzeBundle(run_analysis::AnalyzeBundleArgs),
    /// Replay a made-up run on the display
    #[command(hide = true)]
    TestProgress(test_progress::TestProgressArgs),
}

/// Nodes in flight at most (`--parallel`, `limits.parallel`).
const PARALLEL_AT_MOST: u16 = 1000;
/// Threads for blocking work; they are started as they are needed.
const BLOCKING_THREADS: usize = PARALLEL_AT_MOST as usize + 512;

/// Runs the program with the process's own arguments and returns its exit code.
#[must_use]
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // clap's own exit codes are 0 for --help and 2 for usage errors, as ours.
            let code = if error.use_stderr() { exit::USAGE } else { exit::COMPLETE };
            drop(error.print());
            if let Some(hint) = hint(&error) {
                error::hint(hint);
            }
            return ExitCode::from(code);
        }
    };
    let code = match dispatch(cli) {
        Ok(code) => code,
        Err(error) => error.report(),
    };
    ExitCode::from(code)
}

/// What clap cannot know: names belong to --nodes, and flags behind the command.
fn hint(error: &clap::Error) -> Option<&'static str> {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    let known = |name: &String| Cli::command().get_subcommands().any(|c| c.get_name() == name);
    match (error.kind(), error.get(ContextKind::InvalidSubcommand)) {
        (ErrorKind::ArgumentConflict, Some(ContextValue::String(name))) if known(name) => {
            Some("write the command first, then its flags: plegcollect nodes --nodes 'worker-00[1-9]'")
        }
        (ErrorKind::ArgumentConflict | ErrorKind::InvalidSubcommand | ErrorKind::UnknownArgument, _) => Some(
            "nodes are named with --nodes, in quotes where the shell would expand them: plegcollect --nodes 'worker-00[1-9]'",
        ),
        _ => None,
    }
}

fn dispatch(cli: Cli) -> Result<u8, AppError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // Each node in flight occupies one thread with its bundle. Without room beside them name
        // lookups and signatures wait behind bundles, and whole fleets look dead.
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(|e| AppError::new(exit::INTERNAL, format!("cannot start the runtime: {e}")))?;
    let code = runtime.block_on(async {
        match cli.command {
            None => collect::run(cli.collect).await,
            Some(Command::Collect(args)) => collect::run(*args).await,
            Some(Command::Nodes(args)) => nodes::run(*args).await,
            Some(Command::Plan(args)) => plan::run(*args).await,
            Some(Command::Revert(args)) => revert::run(*args).await,
            Some(Command::Verify(args)) => verify::run(&args),
            Some(Command::Show(args)) => show::run(&args),
            Some(Command::Report(args)) => report::run(&args),
            Some(Command::Diff(args)) => diff::run(&args),
            Some(Command::Completions(args)) => docs::completions(&args, Cli::command()),
            Some(Command::Man) => docs::man(Cli::command()),
            Some(Command::AnalyzeBundle(args)) => run_analysis::analyze_bundle(&args),
            Some(Command::TestProgress(args)) => test_progress::run(args).await,
        }
    });
    // A ProxyCommand or a stuck disk must not keep the process from ending.
    runtime.shutdown_background();
    code
}
