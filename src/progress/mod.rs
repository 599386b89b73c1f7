//! The display of a run: takes events from the channel and shows them as bars, lines or JSON, and
//! writes every one of them to `run.log`. It never stops or slows the run, whatever happens to its
//! output. Started and awaited by the cli; the only user of indicatif.

mod bars;
mod board;
mod canvas;
mod demo;
mod frame;
mod json;
mod lines;
mod log;
mod outlet;
#[cfg(test)]
pub(crate) mod test_events;
#[cfg(test)]
mod tests;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::task::AbortOnDropHandle;

pub use crate::event::EventSender;
use crate::event::{Event, EventKind};
use crate::wording;
pub use demo::demo;
pub use log::{LogLine, LogWriter};

use bars::Painter;
use board::Board;
use lines::Level;
use outlet::Outlet;

/// Five frames a second: a frame is up to 4 kB, and the operator may sit behind a slow link.
const FRAME: Duration = Duration::from_millis(200);

/// How a run is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisplayMode {
    /// Live bars on standard error; lines instead if it is no terminal.
    Bars,
    /// One line per event on standard error.
    Lines,
    /// NDJSON on standard output, nothing on standard error.
    Json,
    /// Only warnings and nodes with trouble, on standard error.
    Quiet,
}

impl DisplayMode {
    /// Returns the mode for these flags; `is_tty` tells whether standard error is a terminal.
    #[must_use]
    pub fn choose(is_tty: bool, events_json: bool, verbose: bool, quiet: bool) -> Self {
        match (events_json, quiet, is_tty && !verbose) {
            (true, _, _) => Self::Json,
            (_, true, _) => Self::Quiet,
            (_, _, true) => Self::Bars,
            _ => Self::Lines,
        }
    }
}

/// What a display needs to know.
#[derive(Debug, Default)]
pub struct DisplayOptions {
    /// Use colour.
    pub color: bool,
    /// Lines: also one for every step.
    pub verbose: bool,
    /// File that gets every event but byte counts as NDJSON; appended to, created with mode 0600.
    pub run_log: Option<PathBuf>,
    /// The writer `tracing` was given.
    pub log: LogWriter,
}

/// What became of the display; nothing here is an error of the run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DisplayEnd {
    /// Why `run.log` is missing or not whole, if so.
    pub run_log_error: Option<String>,
    /// Why the display was not whole, if so: its output was closed, or its reader stuck.
    pub display_error: Option<String>,
}

/// A display at work.
#[derive(Debug)]
#[must_use = "await `finish`, or the last lines are lost"]
pub struct DisplayTask {
    task: AbortOnDropHandle<DisplayEnd>,
}

impl DisplayTask {
    /// Waits until `RunFinished` was sent, or all senders are dropped, and everything is shown. A reader that takes nothing
    /// for some seconds is given up.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the display at once and clears the bars.
    pub async fn finish(self) -> DisplayEnd {
        self.task.await.unwrap_or_else(|e| {
            let text = format!("the display failed: {e}");
            DisplayEnd { run_log_error: Some(text.clone()), display_error: Some(text) }
        })
    }
}

/// Starts a display on the present tokio runtime. Send `RunFinished` or drop every sender, then
/// await the task.
pub fn start(mode: DisplayMode, options: DisplayOptions) -> (EventSender, DisplayTask) {
    let (sender, events) = crate::event::channel();
    let level = if options.verbose { Level::Verbose } else { Level::Normal };
    let stderr = |notice| Outlet::new("stderr", std::io::stderr(), notice);
    let show = match mode {
        DisplayMode::Bars if can_draw() => Show::bars(stderr(None), bars::stderr_size, &options),
        DisplayMode::Bars | DisplayMode::Lines => Show::Lines(stderr(Some(lines_lost)), level),
        DisplayMode::Quiet => Show::Lines(stderr(Some(lines_lost)), Level::Trouble),
        DisplayMode::Json => Show::Json(Outlet::new("stdout", std::io::stdout(), Some(json::lost))),
    };
    let log = options.run_log.map(|path| {
        let at = wording::path(&path);
        let opened = json::open_log(&path).map_err(|e| format!("{at}: {e}"));
        opened.map(|file| Outlet::new("run.log", file, Some(json::lost)))
    });
    let display = Display { show, log };
    let task = AbortOnDropHandle::new(tokio::spawn(display.run(events)));
    (sender, DisplayTask { task })
}

/// Returns whether standard error is a terminal that can move its cursor.
fn can_draw() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|t| t.is_empty() || t == "dumb");
    std::io::stderr().is_terminal() && !dumb
}

fn lines_lost(n: u64) -> Vec<u8> {
    format!("… {n} lines left out: the reader was too slow\n").into_bytes()
}

struct Display {
    show: Show,
    /// `Err` if it could not be opened.
    log: Option<Result<Outlet, String>>,
}

enum Show {
    Bars { painter: Arc<Mutex<Painter>>, board: Board, color: bool, log: LogWriter, ticks: Interval },
    Lines(Outlet, Level),
    Json(Outlet),
}

impl Display {
    async fn run(mut self, mut events: mpsc::Receiver<Event>) -> DisplayEnd {
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => {
                        // The last event by contract: a sender forgotten somewhere holds nobody up.
                        if matches!(event.kind, EventKind::RunFinished { .. }) {
                            events.close();
                        }
                        self.take(&event);
                    }
                    None => break,
                },
                () = self.show.tick() => {}
            }
        }
        let mut end = DisplayEnd { display_error: self.show.finish().await, ..DisplayEnd::default() };
        end.run_log_error = match self.log {
            None => None,
            Some(Err(e)) => Some(e),
            Some(Ok(outlet)) => complaint(&outlet.finish().await),
        };
        end
    }

    fn take(&mut self, event: &Event) {
        let log = self.log.as_ref().and_then(|l| l.as_ref().ok());
        // Byte counts are for eyes: in a log of 1,000 nodes they would drown the rest.
        if let Some(log) = log
            && !matches!(event.kind, EventKind::Progress { .. })
        {
            log.push(json::line(event));
        }
        match &mut self.show {
            Show::Bars { painter, board, .. } => {
                board.apply(event);
                // The first line names the directory: worth having when all else ends badly.
                let first = matches!(event.kind, EventKind::RunStarted { .. });
                let level = if first { Level::Normal } else { Level::Trouble };
                if let (Some(line), Ok(mut painter)) = (lines::line(event, level), painter.lock()) {
                    let width = usize::from(painter.size().1).saturating_sub(1);
                    painter.print(wording::cut(&line, width).as_bytes());
                }
            }
            Show::Lines(outlet, level) => {
                if let Some(line) = lines::line(event, *level) {
                    outlet.push((line + "\n").into_bytes());
                }
            }
            Show::Json(outlet) => outlet.push(json::line(event)),
        }
    }
}

impl Show {
    fn bars(outlet: Outlet, measure: fn() -> bars::Size, options: &DisplayOptions) -> Self {
        let painter = Arc::new(Mutex::new(Painter::new(outlet, measure)));
        options.log.attach(Some(Arc::clone(&painter)));
        let mut ticks = tokio::time::interval(FRAME);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Self::Bars { painter, board: Board::default(), color: options.color, log: options.log.clone(), ticks }
    }

    /// Waits for the next frame's time and draws it. Never returns without bars.
    async fn tick(&mut self) {
        let Self::Bars { painter, board, color, ticks, .. } = self else {
            return std::future::pending().await;
        };
        ticks.tick().await;
        if let Ok(mut painter) = painter.lock() {
            let (rows, cols) = painter.size();
            let lines = frame::frame(board, Timestamp::now(), rows.into(), cols.into(), *color);
            painter.paint(&lines);
        }
    }

    async fn finish(&mut self) -> Option<String> {
        let end = match self {
            Self::Bars { painter, log, .. } => {
                log.attach(None);
                bars::finish(painter).await
            }
            Self::Lines(outlet, _) | Self::Json(outlet) => {
                // Left behind in its place is an outlet nobody uses.
                std::mem::replace(outlet, Outlet::new("done", std::io::sink(), None)).finish().await
            }
        };
        complaint(&end)
    }
}

impl Drop for Show {
    fn drop(&mut self) {
        if let Self::Bars { painter, log, .. } = self {
            log.attach(None);
            if let Ok(mut painter) = painter.lock() {
                bars::abandon(&mut painter);
            }
        }
    }
}

fn complaint(end: &outlet::OutletEnd) -> Option<String> {
    match (&end.error, end.lost) {
        (None, 0) => None,
        (None, n) => Some(format!("{n} entries left out")),
        (Some(e), 0) => Some(e.clone()),
        (Some(e), n) => Some(format!("{e}; {n} entries left out")),
    }
}
