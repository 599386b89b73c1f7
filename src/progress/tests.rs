//! The display as a whole: from the channel to its outlets.

use std::io::{self, Write};

use tracing_subscriber::fmt::MakeWriter;

use super::outlet::tests::Shelf;
use super::test_events::{HOSTILE, node, opening, summary};
use super::*;
use crate::event::NodeResult;

#[test]
fn the_mode_follows_the_flags() {
    use DisplayMode::{Bars, Json, Lines, Quiet};
    for (is_tty, json, verbose, quiet, want) in [
        (true, false, false, false, Bars),
        (true, false, true, false, Lines),
        (false, false, false, false, Lines),
        (false, false, true, false, Lines),
        (true, true, false, false, Json),
        (true, true, true, true, Json),
        (true, false, false, true, Quiet),
        (false, false, true, true, Quiet),
    ] {
        assert_eq!(DisplayMode::choose(is_tty, json, verbose, quiet), want);
    }
}

/// Runs a display to its end over these events, as an engine would send them.
async fn play(display: Display, kinds: Vec<EventKind>) -> DisplayEnd {
    let (sender, events) = crate::event::channel();
    let engine = async move {
        for kind in kinds {
            sender.send(kind).await;
        }
    };
    tokio::join!(engine, display.run(events)).1
}

fn kinds(nodes: usize) -> Vec<EventKind> {
    let mut kinds: Vec<EventKind> = opening(nodes, nodes).into_iter().map(|e| e.kind).collect();
    kinds.push(EventKind::Warning { node: Some(node(1)), text: HOSTILE.to_owned() });
    kinds.extend((1..=nodes).map(|i| EventKind::NodeFinished(summary(i, NodeResult::Complete))));
    kinds.push(EventKind::RunFinished { exit_code: 0, took: Duration::from_secs(9) });
    kinds
}

fn log_of(shelf: &Shelf) -> Option<Result<Outlet, String>> {
    Some(Ok(Outlet::new("run.log", shelf.clone(), None)))
}

#[tokio::test]
async fn json_has_every_event_and_the_log_all_but_byte_counts() {
    let (out, log) = (Shelf::default(), Shelf::default());
    let show = Show::Json(Outlet::new("stdout", out.clone(), None));
    let sent = kinds(500);
    let end = play(Display { show, log: log_of(&log) }, sent.clone()).await;
    assert_eq!(end, DisplayEnd::default());
    let lines = |shelf: &Shelf| String::from_utf8(shelf.take()).unwrap().lines().count();
    assert_eq!(lines(&out), sent.len());
    assert_eq!(lines(&log), sent.len() - 500);
}

#[tokio::test]
async fn broken_outputs_hold_nobody_up() {
    struct Broken;
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let broken = || Outlet::new("broken", Broken, None);
    let options = DisplayOptions::default();
    for show in
        [Show::Json(broken()), Show::Lines(broken(), Level::Verbose), Show::bars(broken(), || (24, 80), &options)]
    {
        let end = play(Display { show, log: Some(Ok(broken())) }, kinds(500)).await;
        assert!(end.run_log_error.is_some(), "{end:?}");
    }
}

#[tokio::test]
async fn a_log_that_cannot_be_opened_is_told_at_the_end() {
    let options = DisplayOptions { run_log: Some("/nonexistent/run.log".into()), ..DisplayOptions::default() };
    let (sender, task) = start(DisplayMode::Quiet, options);
    sender.send(EventKind::RunFinished { exit_code: 0, took: Duration::ZERO }).await;
    drop(sender);
    let end = task.finish().await;
    assert!(end.run_log_error.unwrap().starts_with("/nonexistent/run.log: "));
}

#[tokio::test]
async fn log_lines_go_above_the_bars_while_there_are_any() {
    let shelf = Shelf::default();
    let log = LogWriter::new();
    let options = DisplayOptions { log: log.clone(), ..DisplayOptions::default() };
    let show = Show::bars(Outlet::new("stderr", shelf.clone(), None), || (24, 80), &options);
    log.make_writer().write_all(b"a log line\n").unwrap();
    play(Display { show, log: None }, kinds(3)).await;
    let mut screen = vt100::Parser::new(24.try_into().unwrap(), 80.try_into().unwrap(), 0);
    screen.process(&shelf.take());
    let rows: Vec<String> = screen.screen().rows(0, 80).map(|r| r.trim_end().to_owned()).collect();
    // Bars are gone; what stays is the log line and the warning, which repainted nothing.
    assert_eq!(rows[0], "a log line");
    assert!(rows[1].ends_with("run r1: 3 nodes, 64 at a time, into out"), "{rows:?}");
    assert!(rows[2].contains("warning: worker-001: a  bcdef"), "{rows:?}");
    assert!(rows[3..].iter().all(String::is_empty), "{rows:?}");
}

#[tokio::test]
async fn a_forgotten_sender_does_not_keep_the_display_from_ending() {
    let (sender, task) = start(DisplayMode::Quiet, DisplayOptions::default());
    sender.send(EventKind::RunFinished { exit_code: 0, took: Duration::ZERO }).await;
    assert_eq!(task.finish().await, DisplayEnd::default());
    sender.send(EventKind::Interrupted { again: false }).await;
}

#[tokio::test]
async fn events_without_a_display_are_dropped() {
    let (sender, events) = crate::event::channel();
    drop(events);
    sender.send(EventKind::Interrupted { again: false }).await;
    sender.progress(&node(1), &"host/ps".parse().unwrap(), 1);
}

#[tokio::test]
async fn byte_counts_leave_half_of_the_channel_to_events_that_matter() {
    let (sender, mut events) = crate::event::channel();
    for bytes in 0..10_000 {
        sender.progress(&node(1), &"host/ps".parse().unwrap(), bytes);
    }
    for _ in 0..500 {
        // Would wait for ever if byte counts had filled the channel.
        let sent = tokio::time::timeout(Duration::from_secs(60), sender.send(EventKind::Interrupted { again: false }));
        sent.await.unwrap();
    }
    drop(sender);
    let mut interrupts = 0;
    while let Some(event) = events.recv().await {
        interrupts += usize::from(matches!(event.kind, EventKind::Interrupted { .. }));
    }
    assert_eq!(interrupts, 500);
}

#[tokio::test(start_paused = true)]
async fn the_made_up_run_is_consistent() {
    let (sender, mut events) = crate::event::channel();
    let mut board = Board::default();
    let watch = async {
        let mut most = 0;
        while let Some(event) = events.recv().await {
            board.apply(&event);
            most = most.max(board.flights().len());
        }
        most
    };
    let (summaries, most) = tokio::join!(demo(200, sender), watch);
    assert_eq!((board.total, board.done, summaries.len(), most), (200, 200, 200, 64));
    assert!(summaries.is_sorted_by(|a, b| a.node < b.node));
    assert!(board.unreached > 0 && board.partial > 0);
}
