//! `plegcollect diff A B`: what differs between two bundles or two runs, offline. One node's evidence is open at a time, and what
//! is kept of a pair goes when its differences are known.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::error::AppError;
use super::evidence_paths::not_read;
use super::{exit, output};
use crate::analyze::node::{NodeAnalysis, analyze};
use crate::analyze::rules::RULES;
use crate::analyze::source::{Source, sources};
use crate::bundle::{Bundle, ReadError};
use crate::inventory::{NodeName, fold};
use crate::printable::printable;
use crate::report::analysis::Unreadable;
use crate::report::difference::{self, Comparison, Pair};

/// Say what differs between two collections
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// What to hold against: the earlier time or the healthy node. A bundle, a run directory, a directory or file as for `report`
    #[arg(value_name = "A")]
    base: PathBuf,
    /// The later time or the other node
    #[arg(value_name = "B")]
    other: PathBuf,
    /// Form of the report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Form of the report.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// For a terminal
    Text,
    /// For a comment in an incident
    Markdown,
    /// For programs
    Json,
}

/// One of the two: its nodes, by name, not yet opened.
struct Side {
    path: String,
    nodes: Vec<(NodeName, Source)>,
    unreadable: Vec<Unreadable>,
}

/// What is kept of a node while its pair is compared.
struct Looked {
    node: NodeAnalysis,
    /// Files that were there.
    files: BTreeSet<&'static str>,
}

/// Runs the command: 0 whatever differs, 3 if something could not be read.
pub(crate) fn run(args: &DiffArgs) -> Result<u8, AppError> {
    if let (Ok(base), Ok(other)) = (fs::canonicalize(&args.base), fs::canonicalize(&args.other))
        && base == other
    {
        return Err(AppError::usage(format!("{} is held against itself", args.base.display()))
            .hint("name two bundles or two run directories, the earlier or the healthy one first"));
    }
    let (base, other) = (side(&args.base)?, side(&args.other)?);
    let comparison = compared(base, other)?;
    let text = match args.format {
        Format::Text => difference::text(&comparison, output::width(), output::color()),
        Format::Markdown => difference::markdown(&comparison),
        Format::Json => comparison
            .json()
            .map_err(|e| AppError::new(exit::INTERNAL, format!("cannot write the report as JSON: {e}")))?,
    };
    output::print(&text).map_err(|e| AppError::new(exit::INTERNAL, format!("cannot write to standard output: {e}")))?;
    Ok(if comparison.unreadable.is_empty() { exit::COMPLETE } else { exit::SETUP })
}

/// Names the nodes at a path. Of bundles of one node the first holds, which is the sealed one.
fn side(path: &Path) -> Result<Side, AppError> {
    let list = sources(path).map_err(|error| AppError::from_chain(exit::SETUP, &error))?;
    let mut side = Side { path: printable(&path.to_string_lossy(), 400), nodes: Vec::new(), unreadable: Vec::new() };
    let alone = list.len() == 1;
    for source in list {
        match name(&source) {
            Err(error) if alone => return Err(AppError::from_chain(exit::SETUP, &error)),
            Ok(name) if side.nodes.iter().any(|(known, _)| *known == name) => side.unreadable.push(Unreadable {
                path: printable(&source.path().to_string_lossy(), 400),
                reason: format!("{name} is there already, by a bundle that comes first"),
            }),
            Ok(name) => side.nodes.push((name, source)),
            Err(error) => side.unreadable.push(not_read(source.path(), &error)),
        }
    }
    Ok(side)
}

/// The name of a bundle's node is in its first entry.
fn name(source: &Source) -> Result<NodeName, ReadError> {
    match source {
        Source::Bundle(path) => Ok(Bundle::open(path)?.header().node.clone()),
        Source::Directory(_) | Source::File(_) => Ok(source.view()?.node),
    }
}

fn compared(mut base: Side, mut other: Side) -> Result<Comparison, AppError> {
    let mut comparison = Comparison::new(base.path.clone(), other.path.clone());
    comparison.unreadable.append(&mut base.unreadable);
    comparison.unreadable.append(&mut other.unreadable);
    let single = base.nodes.len() == 1 && other.nodes.len() == 1;
    let names = |side: &Side| side.nodes.iter().map(|(name, _)| name.clone()).collect::<Vec<NodeName>>();
    let (in_base, in_other) = (names(&base), names(&other));
    let mut pairs: Vec<(Source, Source)> = Vec::new();
    for (name, source) in base.nodes {
        let found = other.nodes.iter().position(|(known, _)| single || *known == name);
        match found {
            Some(place) => pairs.push((source, other.nodes.swap_remove(place).1)),
            None => comparison.only_base.push(name),
        }
    }
    let left: BTreeSet<NodeName> = other.nodes.into_iter().map(|(name, _)| name).collect();
    comparison.only_other = in_other.iter().filter(|name| left.contains(*name)).cloned().collect();
    if pairs.is_empty() && comparison.unreadable.is_empty() {
        let text = format!(
            "no node is in both: {} holds {}, {} holds {}",
            base.path,
            fold(&in_base),
            other.path,
            fold(&in_other)
        );
        return Err(AppError::usage(text).hint("to hold two nodes against each other, name the bundle of each"));
    }
    for (first, second) in pairs {
        let mut look = |source: &Source| match looked(source) {
            Ok(looked) => looked,
            Err(error) => {
                comparison.unreadable.push(not_read(source.path(), &error));
                None
            }
        };
        let (Some(first), Some(second)) = (look(&first), look(&second)) else { continue };
        if first.files.is_disjoint(&second.files) {
            let why = nothing_alike(&first, &second);
            if single {
                return Err(AppError::usage(why));
            }
            comparison.unreadable.push(Unreadable { path: second.node.source, reason: why });
            continue;
        }
        comparison.pairs.push(Pair::of(&first.node, &second.node));
    }
    Ok(comparison)
}

/// Opens the evidence of a node, looks at it and closes it; `None` for the evidence of the cluster, which is no node's.
fn looked(source: &Source) -> Result<Option<Looked>, ReadError> {
    let view = source.view()?;
    if view.is_cluster() {
        return Ok(None);
    }
    let reads = RULES.iter().flat_map(|rule| rule.reads.iter().copied());
    let files = reads.filter(|file| view.open(file).is_some()).collect();
    let node = analyze(&view, printable(&source.path().to_string_lossy(), 400));
    Ok(Some(Looked { node, files }))
}

fn nothing_alike(first: &Looked, second: &Looked) -> String {
    let holds = |looked: &Looked| {
        let some: Vec<&str> = looked.files.iter().copied().take(3).collect();
        let more = if looked.files.len() > 3 { " and more" } else { "" };
        let what = if some.is_empty() { "nothing that is compared".to_owned() } else { some.join(", ") + more };
        format!("{} holds {what}", looked.node.source)
    };
    format!("there is nothing to compare: {}; {}", holds(first), holds(second))
}
