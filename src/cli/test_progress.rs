//! `plegcollect test-progress` (hidden): a made-up run on the real display, to look at it.

use std::io::IsTerminal;

use clap::Args;

use super::error::AppError;
use super::exit;
use crate::progress::{self, DisplayMode, DisplayOptions};

/// Replay a made-up run on the display
#[derive(Debug, Args)]
pub(crate) struct TestProgressArgs {
    /// Made-up nodes
    #[arg(long, default_value_t = 20)]
    nodes: usize,
    /// Events as JSON
    #[arg(long)]
    json: bool,
    /// Lines instead of bars
    #[arg(long)]
    verbose: bool,
}

pub(crate) async fn run(args: TestProgressArgs) -> Result<u8, AppError> {
    let mode = DisplayMode::choose(std::io::stderr().is_terminal(), args.json, args.verbose, false);
    let (events, display) =
        progress::start(mode, DisplayOptions { color: true, verbose: args.verbose, ..DisplayOptions::default() });
    progress::demo(args.nodes, events).await;
    drop(display.finish().await);
    Ok(exit::COMPLETE)
}
