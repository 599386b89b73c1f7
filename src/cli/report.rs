//! `plegcollect report PATH…`: what evidence means, offline. Opens one source after another, so that memory and disk hold
//! one node's evidence at a time.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::error::AppError;
use super::{evidence_paths, exit, output};
use crate::analyze::node::analyze;
use crate::bundle::atomic;
use crate::inventory::NodeName;
use crate::report::analysis::{Analysis, JSON_SCHEMA};
use crate::report::html::{self, Spool};
use crate::report::verdicts::{self, Detail};

/// Say what evidence means: verdict and findings per node
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Bundles, run directories, directories with files named as in a bundle, or single files
    #[arg(required_unless_present = "schema", value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Form of the report
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// The healthy node that those not well are held against; without it the one most like them is chosen
    #[arg(long, value_name = "NODE")]
    baseline: Option<NodeName>,
    /// Write the report to this file instead of standard output
    #[arg(long, value_name = "FILE", required_if_eq("format", "html"))]
    output: Option<PathBuf>,
    /// Tell everything: all groups, findings and open questions, what was looked at one by one
    #[arg(short, long)]
    all: bool,
    /// Tell everything that happened and when (text), not only what is grave
    #[arg(long)]
    timeline: bool,
    /// Print the JSON Schema of --format json, and nothing else
    #[arg(long)]
    schema: bool,
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
    /// For a browser: one file with charts and the evidence itself (with --output)
    Html,
}

/// Returns whether a report can be a page for a browser.
pub(crate) fn has_page() -> bool {
    <Format as ValueEnum>::from_str("html", true).is_ok()
}

/// Runs the command: 0 whatever was found, 3 if something could not be read.
pub(crate) fn run(args: &ReportArgs) -> Result<u8, AppError> {
    if args.schema {
        return print(JSON_SCHEMA).map(|()| exit::COMPLETE);
    }
    if args.timeline && !matches!(args.format, Format::Text) {
        let why = "--timeline is for the form text: JSON and the page hold all that happened in any case";
        return Err(AppError::usage(why.to_owned()));
    }
    let (mut nodes, mut clusters) = (Vec::new(), Vec::new());
    let html = matches!(args.format, Format::Html);
    let mut spool = html.then(Spool::new).transpose().map_err(|e| no_room(&e))?;
    let mut full = None;
    let unreadable = evidence_paths::each(&args.paths, |view, source| {
        let node = analyze(view, source.to_owned());
        if let Some(spool) = spool.as_mut().filter(|_| full.is_none()) {
            full = spool.take(view, &node).err();
        }
        let list = if view.is_cluster() { &mut clusters } else { &mut nodes };
        list.push(node);
    });
    if let Some(error) = full {
        return Err(no_room(&error));
    }
    let analysis = Analysis::new(nodes, args.baseline.as_ref(), unreadable).with_clusters(clusters);
    let code = if analysis.unreadable.is_empty() { exit::COMPLETE } else { exit::SETUP };
    if let Some((spool, path)) = spool.zip(args.output.as_deref()) {
        html::write_file(path, &analysis, spool).map_err(|e| AppError::from_chain(exit::SETUP, &e))?;
        return Ok(code);
    }
    let text = told_as(&analysis, args)?;
    match &args.output {
        Some(path) => atomic::write(path, text.as_bytes()).map_err(|e| AppError::from_chain(exit::SETUP, &e))?,
        None => print(&text)?,
    }
    Ok(code)
}

fn told_as(analysis: &Analysis, args: &ReportArgs) -> Result<String, AppError> {
    let detail = if args.all { Detail::All } else { Detail::Usual };
    Ok(match args.format {
        Format::Html => return Err(AppError::usage("the page needs a file: add --output FILE".to_owned())),
        Format::Text if args.timeline => {
            verdicts::text_with_timeline(analysis, output::width(), output::color(), detail)
        }
        Format::Text => verdicts::text(analysis, output::width(), output::color(), detail),
        Format::Markdown => verdicts::markdown(analysis),
        Format::Json => analysis
            .json()
            .map_err(|e| AppError::new(exit::INTERNAL, format!("cannot write the report as JSON: {e}")))?,
    })
}

fn print(text: &str) -> Result<(), AppError> {
    output::print(text).map_err(|e| AppError::new(exit::INTERNAL, format!("cannot write to standard output: {e}")))
}

fn no_room(error: &std::io::Error) -> AppError {
    let dir = std::env::temp_dir();
    AppError::new(exit::SETUP, format!("cannot keep evidence for the page in {}: {error}", dir.display()))
        .hint("make room there, or set TMPDIR to a directory with room")
}
