//! `plegcollect nodes`: what a selection means, the way to each node, and with `--check` whether
//! we get in. Runs nothing on any node.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use futures::StreamExt;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::choose_args::ChooseArgs;
use super::cluster_args::ClusterArgs;
use super::error::AppError;
use super::target_args::TargetArgs;
use super::{exit, output};
use crate::inventory::target::{HostKeyMode, Proxy, Reach};
use crate::inventory::{InCluster, Origin, Provenance, Target, fold};
use crate::printable::printable;
use crate::session::{ConnectionFacts, Connector, SessionError};

/// Show which nodes a selection means, and the way to each
#[derive(Debug, Args)]
pub(crate) struct NodesArgs {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    choose: ChooseArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Connect and authenticate, nothing more
    #[arg(long)]
    check: bool,
    /// Names only, one a line
    #[arg(long, conflicts_with_all = ["check", "json"])]
    names: bool,
    /// Folded into patterns, on one line
    #[arg(long, conflicts_with_all = ["check", "json", "names"])]
    fold: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Nodes checked at a time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1000))]
    parallel: u16,
}

/// A node as `--json` prints it.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Entry<'a> {
    target: &'a Target,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'a InCluster>,
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<Check>,
}

/// What `--check` found.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum Check {
    Ok(Box<ConnectionFacts>),
    Failed(SessionError),
}

/// Runs the command.
pub(crate) async fn run(args: NodesArgs) -> Result<u8, AppError> {
    let mut args = args;
    if args.target.nodes.is_empty() && !args.choose.given() {
        // All of the inventory.
        args.target.nodes.push("*".to_owned());
    }
    let Some(selected) = args.choose.select_and_tell(&args.target, &args.cluster).await? else {
        return emit(if args.json { "[]\n" } else { "" }, exit::COMPLETE);
    };
    let names: Vec<_> = selected.targets.iter().map(|t| t.name.clone()).collect();
    let mut text = String::new();
    if args.names {
        for name in &names {
            writeln!(text, "{name}").ok();
        }
        return emit(&text, exit::COMPLETE);
    }
    if args.fold {
        return emit(&format!("{}\n", fold(&names)), exit::COMPLETE);
    }

    let mut checks: Vec<Option<Check>> = if args.check {
        let connector = args.target.connector(1);
        let cancel = CancellationToken::new();
        let stop = cancel.clone();
        let checking = futures::stream::iter(&selected.targets)
            .map(|target| check(&connector, target, &cancel))
            .buffered(usize::from(args.parallel))
            .map(Some)
            .collect();
        let checks = tokio::select! {
            checks = checking => checks,
            signal = tokio::signal::ctrl_c() => {
                stop.cancel();
                drop(signal);
                return Err(AppError::new(exit::INTERRUPTED, "interrupted"));
            }
        };
        connector.close().await;
        checks
    } else {
        selected.targets.iter().map(|_| None).collect()
    };

    let failed = checks.iter().filter(|c| matches!(c, Some(Check::Failed(_)))).count();
    let code = if failed == 0 {
        exit::COMPLETE
    } else if failed == checks.len() {
        exit::NONE_REACHED
    } else {
        exit::NODES_UNREACHED
    };
    if args.json {
        let entry = |(target, check): (_, Option<Check>)| {
            let target: &Target = target;
            Entry { target, cluster: selected.in_cluster.get(&target.name), check }
        };
        let entries: Vec<Entry<'_>> = selected.targets.iter().zip(checks.drain(..)).map(entry).collect();
        let json = serde_json::to_string_pretty(&entries).map_err(|e| AppError::new(exit::INTERNAL, e.to_string()))?;
        return emit(&format!("{json}\n"), code);
    }
    let noun = if names.len() == 1 { "node" } else { "nodes" };
    writeln!(text, "{} {noun}: {}", names.len(), fold(&names)).ok();
    for (target, check) in selected.targets.iter().zip(&checks) {
        writeln!(text, "\n{}", target.name).ok();
        for line in way(target, selected.provenance.get(&target.name)) {
            writeln!(text, "  {}", printable(&line, 400)).ok();
        }
        if let Some(seen) = selected.in_cluster.get(&target.name) {
            writeln!(text, "  cluster   {}", printable(&seen.to_string(), 400)).ok();
        }
        match check {
            None => {}
            Some(Check::Ok(facts)) => {
                writeln!(text, "  check     ok: {}", describe(facts)).ok();
            }
            Some(Check::Failed(error)) => {
                writeln!(text, "  check     {}: {}", error.kind.word(), printable(&error.text, 600)).ok();
                if let Some(hint) = &error.hint {
                    writeln!(text, "            try: {}", printable(hint, 600)).ok();
                }
            }
        }
    }
    emit(&text, code)
}

/// The way to a node, a line each, with where each part was found.
fn way(target: &Target, from: Option<&Provenance>) -> Vec<String> {
    let Reach::Ssh { hop, proxy } = &target.reach else {
        return vec!["reach     this machine, without SSH".to_owned()];
    };
    let origin = |pick: fn(&Provenance) -> &Origin| from.map(|p| format!(" ({})", pick(p))).unwrap_or_default();
    let files = |paths: &[PathBuf]| paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ");
    let mut lines = vec![format!("address   {}{}", hop.endpoint, origin(|p| &p.address))];
    lines.push(format!("user      {}{}", hop.user, origin(|p| &p.user)));
    match proxy {
        Proxy::Direct => {}
        Proxy::Jump(hops) => {
            let way: Vec<String> = hops.iter().map(|h| format!("{}@{}", h.user, h.endpoint)).collect();
            lines.push(format!("through   {}{}", way.join(", "), origin(|p| &p.route)));
        }
        Proxy::Command(command) => lines.push(format!("through   {command}{}", origin(|p| &p.route))),
    }
    let credentials = &hop.credentials;
    if let Some(socket) = credentials.agent_socket.as_ref().filter(|_| !credentials.identities_only) {
        lines.push(format!("keys      agent {}", socket.display()));
    }
    if !credentials.identity_files.is_empty() {
        lines.push(format!("keys      {}{}", files(&credentials.identity_files), origin(|p| &p.identity_files)));
    }
    let mode = match hop.host_key.mode {
        HostKeyMode::Strict => "strict",
        HostKeyMode::AcceptNew => "accept-new",
    };
    lines.push(format!("host key  {mode}, {}{}", files(&hop.host_key.known_hosts), origin(|p| &p.known_hosts)));
    lines
}

async fn check(connector: &Connector, target: &Target, cancel: &CancellationToken) -> Check {
    match connector.connect(target, cancel, &mut |_: u32, _: &SessionError, _: Duration| {}).await {
        Ok(session) => {
            let facts = session.facts().clone();
            session.close().await;
            Check::Ok(Box::new(facts))
        }
        Err(error) => Check::Failed(error),
    }
}

fn describe(facts: &ConnectionFacts) -> String {
    let mut parts = Vec::new();
    if let Some(by) = &facts.authenticated_by {
        parts.push(format!("in by {by}"));
    }
    if let (Some(key), Some(by)) = (&facts.host_key, &facts.host_key_by) {
        parts.push(format!("host key {key} ({by})"));
    }
    if let Some(version) = &facts.server_version {
        parts.push(version.clone());
    }
    let t = &facts.timings;
    let total: u64 = [t.dns_ms, t.tcp_ms, t.banner_ms, t.kex_ms, t.auth_ms].into_iter().flatten().sum();
    parts.push(format!("{total} ms"));
    printable(&parts.join(", "), 600)
}

fn emit(text: &str, code: u8) -> Result<u8, AppError> {
    output::print(text).map_err(|e| AppError::new(exit::INTERNAL, format!("cannot write to standard output: {e}")))?;
    Ok(code)
}
