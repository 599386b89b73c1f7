//! Any bytes as stack dumps, whole and in pieces: no panic, the same result, and counts that add up.

#![no_main]

use libfuzzer_sys::fuzz_target;
use plegcollect::analyze::goroutine::{Limits, Parser, read, standing};

fuzz_target!(|text: &[u8]| {
    let whole = read(text, Limits::default()).unwrap();
    let mut parser = Parser::new(Limits::default());
    // The first byte says how it is cut.
    let piece = usize::from(text.first().copied().unwrap_or(0)) + 1;
    text.chunks(piece).for_each(|piece| parser.push(piece));
    assert_eq!(parser.finish(), whole);
    for dump in &whole {
        assert_eq!(dump.stacks.iter().fold(0, |sum: u64, stack| sum.saturating_add(stack.count)), dump.total);
        for stack in &dump.stacks {
            let _ = (stack.wait(), stack.place(), stack.signature(), stack.shape());
        }
        let _ = (dump.locks(), standing(dump, dump));
    }
});
