//! `plegcollect verify`: every hash of a bundle, or of all bundles of a run directory.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;

use super::error::AppError;
use super::{exit, output};
use crate::bundle::reader::{End, bundles_at};
use crate::bundle::{VerifyReport, layout, verify};
use crate::printable::printable;

/// Check every hash in a bundle or a run directory
///
/// Exit codes: 0 sealed and intact, 10 intact as far as it goes but not sealed, 3 damaged or no bundle.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Bundles, or run directories with bundles in them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

/// Runs the command: 0 all sealed and intact, 10 intact but not sealed, 3 damaged or unreadable.
pub(crate) fn run(args: &VerifyArgs) -> Result<u8, AppError> {
    let mut text = String::new();
    let mut worst = exit::COMPLETE;
    for path in &args.paths {
        let bundles = bundles_at(path).map_err(|e| AppError::from_chain(exit::SETUP, &e))?;
        for bundle in bundles {
            let code = match verify(&bundle) {
                Ok(report) => tell(&mut text, &report),
                Err(error) => {
                    writeln!(text, "{:<9} {}: {}", "UNUSABLE", bundle.display(), chain(&error)).ok();
                    exit::SETUP
                }
            };
            // Damage outranks an unsealed bundle.
            worst = if code == exit::SETUP || worst == exit::SETUP { exit::SETUP } else { worst.max(code) };
        }
    }
    output::print(&text).map_err(|e| AppError::new(exit::INTERNAL, format!("cannot write to standard output: {e}")))?;
    Ok(worst)
}

fn tell(text: &mut String, report: &VerifyReport) -> u8 {
    let (word, code) = if report.is_ok() {
        ("ok", exit::COMPLETE)
    } else if is_merely_open(report) {
        ("unsealed", exit::EVIDENCE_MISSING)
    } else {
        ("DAMAGED", exit::SETUP)
    };
    // Without a manifest only the steps' own records vouch for files.
    let files = match &report.manifest {
        Some(manifest) => manifest.files().count(),
        None => report.steps.iter().map(|step| step.files.len()).sum(),
    };
    writeln!(
        text,
        "{word:<9} {}: {} of {} files hold their hashes, {} steps, {} bytes",
        report.path.display(),
        report.verified,
        files,
        report.steps.len(),
        report.bytes
    )
    .ok();
    for problem in &report.problems {
        writeln!(text, "          {}", printable(problem, 400)).ok();
    }
    code
}

/// Returns whether it is a bundle that was never sealed, and nothing worse. Only a sealed one has lost
/// its `.partial`, so one without it that ends early was damaged later.
fn is_merely_open(report: &VerifyReport) -> bool {
    let partial = report.path.to_string_lossy().ends_with(layout::PARTIAL);
    let ends = matches!(&report.end, End::Open) || matches!(&report.end, End::Cut { .. });
    report.manifest.is_none() && partial && ends && report.problems.len() <= 1
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        words.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    printable(&words, 400)
}
