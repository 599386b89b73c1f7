//! Any bytes, and genuine dumps cut, mixed and fed in pieces of any size: no panic, and the counts add up.

use proptest::prelude::*;

use super::*;

const GENUINE: &[&str] = &[
    "analyze/dockerd-20.10-healthy.log",
    "analyze/containerd-1.6-journal.txt",
    "analyze/apiserver-1.36-debug1-head.txt",
    "kubelet/kubelet-1.36.2/goroutine-debug1.txt",
];

fn genuine(which: usize) -> Vec<u8> {
    let name = GENUINE[which % GENUINE.len()];
    std::fs::read(format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn in_pieces(text: &[u8], piece: usize) -> Vec<Dump> {
    let mut parser = Parser::new(Limits::default());
    text.chunks(piece.max(1)).for_each(|piece| parser.push(piece));
    parser.finish()
}

/// What holds for every dump, whatever the bytes were.
fn check(dumps: &[Dump], lines: u64) {
    for dump in dumps {
        assert_eq!(dump.stacks.iter().fold(0, |sum: u64, stack| sum.saturating_add(stack.count)), dump.total);
        assert!(1 <= dump.lines.first && dump.lines.first <= dump.lines.last && dump.lines.last <= lines);
        for stack in &dump.stacks {
            assert!(dump.lines.first <= stack.lines.first && stack.lines.last <= dump.lines.last);
            if dump.form == Form::Blocks && !dump.cut {
                assert_eq!(stack.goroutines.len() as u64, stack.count);
                assert_eq!(stack.states.iter().map(|(_, count)| count).sum::<u64>(), stack.count);
                assert_eq!(stack.goroutines.iter().map(|goroutine| goroutine.minutes).max(), Some(stack.longest));
            }
            let _ = (stack.wait(), stack.place().map(ToString::to_string), stack.signature(), stack.shape());
        }
        let stands: u64 = standing(dump, dump).iter().map(|standing| standing.count).sum();
        assert!(stands <= dump.total);
        assert!(dump.locks().iter().map(|lock| lock.waiters).sum::<u64>() <= dump.total);
    }
}

fn lines(text: &[u8]) -> u64 {
    text.iter().filter(|byte| **byte == b'\n').count() as u64 + 1
}

/// Text made of what dumps are made of, in any order.
fn words() -> impl Strategy<Value = Vec<u8>> {
    let words: &[&[u8]] = &[
        b"goroutine ",
        b"7",
        b"18446744073709551615",
        b" [",
        b"select",
        b", 5 minutes",
        b", locked to thread",
        b"]:",
        b"\n",
        b"\n\n",
        b"\r\n",
        b"\\n",
        b"\\t",
        b"\\",
        b"\"",
        b"msg=\"",
        b"main.f(0x1)",
        b"sync.(*Mutex).Lock(0xc1)",
        b"\t/a/b.go:12 +0x1d",
        b"created by a.b",
        b"...additional frames elided...",
        b"goroutine profile: total 7",
        b"13 @ 0x48 0x49",
        b"#\t0x48\ta.b+0x1\tc.go:1",
        b"# labels: {}",
        b"=== BEGIN goroutine stack dump ===",
        b"=== END goroutine stack dump ===",
        b"==> a <==",
        b"2026-11-21T06:35:15.1+0000 w d[7]: ",
        b"2026-11-21T06:35:15.1+0000 w e[8]: ",
        b"E1121 06:35:15.796164    1234 a.go:12] ",
        b"time=\"x\"",
        b"\xff\xfe",
        b" ",
        b"\t",
        b"%2e",
        b"[originating from goroutine 5]:",
    ];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..120).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn any_bytes_are_read(text in prop::collection::vec(any::<u8>(), 0..2000), piece in 1_usize..300) {
        check(&in_pieces(&text, piece), lines(&text));
    }

    #[test]
    fn anything_made_of_parts_of_dumps_is_read_and_pieces_make_no_difference(text in words(), piece in 1_usize..40) {
        let whole = read(text.as_slice(), Limits::default()).unwrap();
        check(&whole, lines(&text));
        prop_assert_eq!(in_pieces(&text, piece), whole);
    }

    #[test]
    fn limits_hold_and_counts_still_add_up(text in words(), few in 0_usize..4) {
        let limits = Limits { dumps: few, stacks: few, goroutines: few, frames: few, distinct_frames: few };
        let dumps = read(text.as_slice(), limits).unwrap();
        prop_assert!(dumps.len() <= few);
        check(&dumps, lines(&text));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_genuine_dump_may_be_cut_anywhere(which in 0_usize..4, from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>(), piece in 1_usize..5000) {
        let text = genuine(which);
        let (from, to) = (from.index(text.len()), to.index(text.len()));
        let cut = &text[from.min(to)..from.max(to)];
        let dumps = in_pieces(cut, piece);
        check(&dumps, lines(cut));
        let whole: u64 = read(text.as_slice(), Limits::default()).unwrap().iter().map(|dump| dump.total).sum();
        prop_assert!(dumps.iter().map(|dump| dump.total).sum::<u64>() <= whole);
    }

    #[test]
    fn a_genuine_dump_with_bytes_changed_is_read(which in 0_usize..4, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..60)) {
        let mut text = genuine(which);
        for (at, byte) in changes {
            let at = at.index(text.len());
            text[at] = byte;
        }
        check(&in_pieces(&text, 4096), lines(&text));
    }
}
