//! Bars on a terminal: draws frames with indicatif and prints lines above them. Writes only through
//! an [`Outlet`], so a terminal that is stopped (Ctrl-S) or gone neither blocks nor fails anybody.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::canvas::{Canvas, visible_columns};
use super::outlet::{Outlet, OutletEnd};

/// Text that may wait above the bars while the terminal is stopped.
const PENDING_BYTES: usize = 256 * 1024;

/// Rows and columns of a terminal.
pub(crate) type Size = (u16, u16);

/// Returns the size of the terminal standard error is, or 24 by 80.
pub(crate) fn stderr_size() -> Size {
    match rustix::termios::tcgetwinsize(io::stderr()) {
        Ok(w) if w.ws_row > 0 && w.ws_col > 0 => (w.ws_row, w.ws_col),
        _ => (24, 80),
    }
}

/// Draws frames and prints lines above them.
pub(crate) struct Painter {
    multi: MultiProgress,
    bar: ProgressBar,
    canvas: Canvas,
    /// `None` once it was closed.
    outlet: Option<Outlet>,
    measure: fn() -> Size,
    /// Columns each row of the frame takes.
    widths: Vec<usize>,
    frame: String,
    pending: Vec<u8>,
    dropped: u64,
}

impl Painter {
    pub(crate) fn new(outlet: Outlet, measure: fn() -> Size) -> Self {
        let canvas = Canvas::new(measure());
        let multi = MultiProgress::with_draw_target(target(&canvas));
        // Overwriting in place does not flicker as clearing does; shrinking is seen to in `paint`.
        multi.set_move_cursor(true);
        let bar = multi.add(ProgressBar::new(1));
        // The template is constant; should indicatif refuse it, its default still shows the message.
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            bar.set_style(style);
        }
        let painter = Self {
            multi,
            bar,
            canvas,
            outlet: Some(outlet),
            measure,
            widths: Vec::new(),
            frame: String::new(),
            pending: Vec::new(),
            dropped: 0,
        };
        // Whatever indicatif drew while it was being set up.
        painter.canvas.lock().out.clear();
        painter
    }

    /// Returns the terminal's rows and columns.
    pub(crate) fn size(&self) -> Size {
        (self.measure)()
    }

    /// Has text printed above the bars with the next frame.
    pub(crate) fn print(&mut self, text: &[u8]) {
        if self.pending.len() + text.len() > PENDING_BYTES {
            self.dropped += 1;
            return;
        }
        self.pending.extend_from_slice(text);
        if !text.ends_with(b"\n") {
            self.pending.push(b'\n');
        }
    }

    /// Prints what is pending and draws a frame. Does nothing while the terminal is still busy
    /// with the frame before.
    pub(crate) fn paint(&mut self, lines: &[String]) {
        let Some(outlet) = &self.outlet else { return };
        if !outlet.is_idle() {
            return;
        }
        let size = (self.measure)();
        let resized = self.canvas.lock().size != size;
        let frame = lines.join("\n");
        if frame == self.frame && self.pending.is_empty() && !resized {
            return;
        }
        if resized {
            self.forget_frame(size);
        }
        if !self.pending.is_empty() {
            let text = self.take_pending();
            self.multi.suspend(|| self.canvas.lock().out.extend_from_slice(&text));
        }
        // After `suspend`, which draws the old frame once more: rows it has in excess must go.
        if lines.len() < self.widths.len() {
            drop(self.multi.clear());
        }
        self.widths = lines.iter().map(|l| visible_columns(l)).collect();
        self.frame.clone_from(&frame);
        self.bar.set_message(frame);
        self.send();
    }

    /// Wipes the bars and prints what is pending; afterwards nothing is drawn any more.
    pub(crate) fn close(&mut self) -> Option<Outlet> {
        self.outlet.as_ref()?;
        self.bar.finish_and_clear();
        drop(self.multi.clear());
        let text = self.take_pending();
        self.canvas.lock().out.extend_from_slice(&text);
        self.send();
        self.outlet.take()
    }

    fn take_pending(&mut self) -> Vec<u8> {
        let mut text = std::mem::take(&mut self.pending);
        if self.dropped > 0 {
            text.extend_from_slice(format!("… {} lines left out: the terminal was stopped\n", self.dropped).as_bytes());
            self.dropped = 0;
        }
        // The cursor goes to the first column also where the terminal does not do so by itself.
        let mut out = Vec::with_capacity(text.len() + 16);
        for line in text.split_inclusive(|b| *b == b'\n') {
            out.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
            out.extend_from_slice(b"\r\n");
        }
        out
    }

    /// Wipes the frame of a terminal that has another size now, and starts afresh: its rows are
    /// taken to be rewrapped, as nearly all terminals do.
    fn forget_frame(&mut self, size: Size) {
        let mut drawn = self.canvas.lock();
        drawn.size = size;
        let new = usize::from(size.1).max(1);
        if let Some((_, above)) = self.widths.split_last() {
            let up: usize = above.iter().map(|w| w.div_ceil(new).max(1)).sum();
            let up = up.min(usize::from(size.0).saturating_sub(1));
            let wipe = if up > 0 { format!("\r\u{1b}[{up}A\u{1b}[J") } else { "\r\u{1b}[J".to_owned() };
            drawn.out.extend_from_slice(wipe.as_bytes());
        }
        drop(drawn);
        self.widths.clear();
        self.multi.set_draw_target(target(&self.canvas));
        self.multi.set_move_cursor(true);
    }

    fn send(&self) {
        let bytes = std::mem::take(&mut self.canvas.lock().out);
        if let Some(outlet) = &self.outlet
            && !bytes.is_empty()
        {
            outlet.push(bytes);
        }
    }
}

impl Drop for Painter {
    fn drop(&mut self) {
        abandon(self);
    }
}

/// Ends bars whose display was not awaited: leaves the terminal clean, waits only a moment.
pub(crate) fn abandon(painter: &mut Painter) {
    if let Some(outlet) = painter.close() {
        outlet.wait_idle(Duration::from_millis(200));
    }
}

/// Ends bars and waits for the terminal.
pub(crate) async fn finish(painter: &Mutex<Painter>) -> OutletEnd {
    let outlet = painter.lock().unwrap_or_else(PoisonError::into_inner).close();
    match outlet {
        Some(outlet) => outlet.finish().await,
        None => OutletEnd::default(),
    }
}

fn target(canvas: &Canvas) -> ProgressDrawTarget {
    ProgressDrawTarget::term_like(Box::new(canvas.clone()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::super::board::Board;
    use super::super::frame::frame;
    use super::super::outlet::tests::Shelf;
    use super::super::test_events::{at, moment, opening, summary};
    use super::*;
    use crate::event::{EventKind, NodeResult};

    /// A painter on a terminal in memory.
    struct Desk {
        painter: Painter,
        shelf: Shelf,
        screen: vt100::Parser,
    }

    impl Desk {
        fn new(measure: fn() -> Size) -> Self {
            let shelf = Shelf::default();
            let (rows, cols) = measure();
            let painter = Painter::new(Outlet::new("test", shelf.clone(), None), measure);
            Self {
                painter,
                shelf,
                screen: vt100::Parser::new(rows.try_into().unwrap(), cols.try_into().unwrap(), 2000),
            }
        }

        fn show(&mut self, board: &Board, seconds: i64) {
            let (rows, cols) = self.painter.size();
            self.painter.paint(&frame(board, moment(seconds), rows.into(), cols.into(), true));
            self.settle();
        }

        fn settle(&mut self) {
            if let Some(outlet) = &self.painter.outlet {
                outlet.wait_idle(Duration::from_secs(60));
            }
            self.screen.process(&self.shelf.take());
        }

        fn rows(&self) -> Vec<String> {
            let cols = self.screen.screen().size().1.into();
            let mut rows: Vec<String> = self.screen.screen().rows(0, cols).map(|r| r.trim_end().to_owned()).collect();
            while rows.last().is_some_and(String::is_empty) {
                rows.pop();
            }
            rows
        }

        /// Rows that have scrolled out at the top.
        fn scrolled(&mut self) -> usize {
            self.screen.screen_mut().set_scrollback(usize::MAX);
            let n = self.screen.screen().scrollback();
            self.screen.screen_mut().set_scrollback(0);
            n
        }
    }

    fn board(nodes: usize) -> Board {
        let mut board = Board::default();
        opening(nodes, nodes.min(64)).iter().for_each(|e| board.apply(e));
        board
    }

    fn finish(board: &mut Board, i: usize) {
        board.apply(&at(9, EventKind::NodeFinished(summary(i, NodeResult::Complete))));
    }

    #[test]
    fn frames_overwrite_each_other_and_leave_rows_free() {
        for (measure, nodes) in
            [((|| (24, 80)) as fn() -> Size, 500), (|| (10, 40), 500), (|| (50, 200), 1000), (|| (24, 80), 3)]
        {
            let (rows, cols) = measure();
            let mut desk = Desk::new(measure);
            let mut board = board(nodes);
            for second in 10..40 {
                desk.show(&board, second);
            }
            let shown = desk.rows();
            let wanted = frame(&board, moment(39), rows.into(), cols.into(), false);
            assert_eq!(shown, wanted, "{rows}x{cols}");
            assert!(shown.len() <= usize::from(rows) - 3 && desk.scrolled() == 0);
            // Fewer rows than before: none of the old ones stays.
            (1..=nodes.min(62)).for_each(|i| finish(&mut board, i));
            desk.show(&board, 40);
            assert_eq!(desk.rows(), frame(&board, moment(40), rows.into(), cols.into(), false));
            // No row is marked as wrapped: a resized terminal has nothing to join.
            assert!((0..rows).all(|r| !desk.screen.screen().row_wrapped(r)));
        }
    }

    #[test]
    fn lines_stand_above_the_bars_once_each() {
        let mut desk = Desk::new(|| (24, 80));
        let mut board = board(500);
        desk.show(&board, 10);
        for i in 1..=100 {
            desk.painter.print(format!("trouble {i:03}").as_bytes());
            finish(&mut board, i);
            let now = 10 + i64::try_from(i).unwrap();
            desk.show(&board, now);
            // Also while there are fewer rows than before.
            let (bars, rows) = (frame(&board, moment(now), 24, 80, false), desk.rows());
            assert_eq!(rows[rows.len() - bars.len()..], bars[..]);
        }
        let bars = frame(&board, moment(110), 24, 80, false);
        let rows = desk.rows();
        assert_eq!(rows[rows.len() - bars.len()..], bars[..]);
        assert!(rows[rows.len() - bars.len() - 1].starts_with("trouble 100"));
        // Every line is there exactly once, in order, nothing between.
        let above = rows.len() - bars.len();
        assert_eq!(desk.scrolled() + above, 100, "{rows:?}");
    }

    #[test]
    fn closing_leaves_only_the_lines() {
        let mut desk = Desk::new(|| (24, 80));
        desk.show(&board(500), 10);
        desk.painter.print(b"kept");
        let outlet = desk.painter.close().unwrap();
        outlet.wait_idle(Duration::from_secs(60));
        desk.settle();
        assert_eq!(desk.rows(), ["kept"]);
        assert_eq!(desk.screen.screen().cursor_position(), (1, 0));
        assert!(desk.painter.close().is_none());
    }

    #[test]
    fn an_echoed_interrupt_costs_no_row() {
        let mut desk = Desk::new(|| (24, 80));
        // Its last row is as wide as rows get: an echo at its end would wrap.
        let board = board(3);
        desk.show(&board, 10);
        desk.screen.process(b"^C");
        desk.show(&board, 11);
        assert_eq!(desk.rows(), frame(&board, moment(11), 24, 80, false));
    }

    #[test]
    fn a_resized_terminal_gets_a_frame_of_its_size() {
        static COLS: AtomicU32 = AtomicU32::new(80);
        fn measure() -> Size {
            (24, u16::try_from(COLS.load(Ordering::Relaxed)).unwrap())
        }
        let mut desk = Desk::new(measure);
        let board = board(500);
        desk.show(&board, 10);
        COLS.store(120, Ordering::Relaxed);
        desk.screen.screen_mut().set_size(24.try_into().unwrap(), 120.try_into().unwrap());
        desk.show(&board, 11);
        assert_eq!(desk.rows(), frame(&board, moment(11), 24, 120, false));
    }

    #[test]
    fn a_stopped_terminal_gets_no_frames_and_bounded_text() {
        struct Stopped;
        impl io::Write for Stopped {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                loop {
                    std::thread::park();
                }
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut painter = Painter::new(Outlet::new("test", Stopped, None), || (24, 80));
        for i in 0..100_000 {
            painter.print(b"a line of a log that nobody reads");
            painter.paint(&[format!("frame {i}")]);
        }
        assert!(painter.pending.len() <= PENDING_BYTES && painter.dropped > 0);
    }
}
