//! A dump while it is being read: distinct stacks and who has them.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::dump::{Dump, Form, Goroutine, LineRange, Origin, Stack};
use super::names::Names;

/// States of one stack that are told apart; genuine ones have two or three. They are searched one by one.
const STATES: usize = 16;

/// A stack as it was read.
pub(super) struct Entry {
    pub(super) count: u64,
    pub(super) frames: Vec<u32>,
    pub(super) created_by: Option<u32>,
    pub(super) elided: bool,
    pub(super) labels: Option<Arc<str>>,
    pub(super) lines: LineRange,
    /// It has more frames than are kept.
    pub(super) cut: bool,
}

/// What may still be kept, over all dumps of the stream.
pub(super) struct Room {
    pub(super) stacks: usize,
    pub(super) goroutines: usize,
}

/// See the module.
pub(super) struct Tally {
    form: Form,
    announced: Option<u64>,
    origin: Origin,
    /// Program and pid, if the dump is in a journal.
    process: Box<[u8]>,
    lines: LineRange,
    total: u64,
    cut: bool,
    /// Frames, then creator and marks: place in `stacks`.
    known: HashMap<Box<[u32]>, usize>,
    stacks: Vec<Stack>,
    /// Name of the states beyond [`STATES`].
    other: Arc<str>,
    /// Stack of all that found no room.
    rest: Option<usize>,
    numbers: HashSet<u64>,
    /// The goroutine that wrote the dump has come.
    writer: bool,
}

impl Tally {
    pub(super) fn new(form: Form, announced: Option<u64>, origin: Origin, process: &[u8], first: u64) -> Self {
        Self {
            form,
            announced,
            origin,
            process: process.into(),
            lines: LineRange { first, last: first },
            total: 0,
            cut: false,
            known: HashMap::new(),
            stacks: Vec::new(),
            other: Arc::from("other states"),
            rest: None,
            numbers: HashSet::new(),
            writer: false,
        }
    }

    pub(super) fn form(&self) -> Form {
        self.form
    }

    pub(super) fn is_empty(&self) -> bool {
        self.stacks.is_empty()
    }

    /// Returns whether a goroutine can be of this dump.
    pub(super) fn takes_block(&self, goroutine: &Goroutine, running: bool, process: &[u8]) -> bool {
        self.form == Form::Blocks
            && *self.process == *process
            && !(running && self.writer)
            && !self.numbers.contains(&goroutine.id)
    }

    /// Returns whether a record can be of this dump.
    pub(super) fn takes_record(&self, process: &[u8]) -> bool {
        self.form == Form::Grouped && *self.process == *process
    }

    pub(super) fn add_block(&mut self, goroutine: Goroutine, entry: Entry, running: bool, room: &mut Room) {
        self.writer |= running;
        let lines = entry.lines;
        let at = self.stack(entry, room);
        let Some(stack) = self.stacks.get_mut(at) else { return };
        count_state(&mut stack.states, &goroutine.state, &self.other);
        if goroutine.minutes > stack.longest {
            (stack.longest, stack.longest_lines) = (goroutine.minutes, lines);
        }
        if room.goroutines == 0 {
            self.cut = true;
            return;
        }
        room.goroutines -= 1;
        if stack.goroutines.is_empty() {
            stack.goroutines.reserve_exact(1);
        }
        self.numbers.insert(goroutine.id);
        stack.goroutines.push(goroutine);
    }

    pub(super) fn add_record(&mut self, entry: Entry, room: &mut Room) {
        self.stack(entry, room);
    }

    /// Counts a stack and returns its place.
    fn stack(&mut self, mut entry: Entry, room: &mut Room) -> usize {
        self.total = self.total.saturating_add(entry.count);
        self.lines.last = entry.lines.last;
        self.cut |= entry.cut;
        entry.frames.push(entry.created_by.unwrap_or(u32::MAX));
        entry.frames.push(u32::from(entry.elided));
        let next = self.stacks.len();
        let at = if let Some(at) = self.known.get(entry.frames.as_slice()) {
            *at
        } else if room.stacks > 0 {
            room.stacks -= 1;
            self.stacks.push(new_stack(&entry));
            self.known.insert(entry.frames.into_boxed_slice(), next);
            return next;
        } else {
            self.cut = true;
            *self.rest.get_or_insert(next)
        };
        if at == next {
            self.stacks.push(new_stack(&entry));
        } else if let Some(stack) = self.stacks.get_mut(at) {
            stack.count = stack.count.saturating_add(entry.count);
            if stack.labels.is_none() {
                stack.labels = entry.labels;
            }
        }
        at
    }

    /// Returns the dump, sorted.
    pub(super) fn finish(self, names: &Names) -> Dump {
        let mut stacks = self.stacks;
        for (key, at) in self.known {
            let (Some(stack), [frames @ .., creator, _]) = (stacks.get_mut(at), &*key) else { continue };
            stack.frames = frames.iter().filter_map(|frame| names.get(*frame)).collect();
            stack.created_by = names.get(*creator);
        }
        for stack in &mut stacks {
            stack.states.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        }
        stacks.sort_by_key(|stack| (Reverse(stack.count), stack.lines.first));
        Dump {
            form: self.form,
            total: self.total,
            announced: self.announced,
            origin: self.origin,
            stacks,
            lines: self.lines,
            cut: self.cut || names.cut,
        }
    }
}

fn count_state(states: &mut Vec<(Arc<str>, u64)>, state: &Arc<str>, other: &Arc<str>) {
    let known = states.iter().position(|(known, _)| known == state);
    let state = if known.is_none() && states.len() >= STATES { other } else { state };
    if let Some((_, count)) = states.iter_mut().find(|(known, _)| known == state) {
        *count += 1;
    } else {
        // One is the rule; the usual first growth is to four.
        states.reserve_exact(1);
        states.push((Arc::clone(state), 1));
    }
}

fn new_stack(entry: &Entry) -> Stack {
    Stack {
        count: entry.count,
        states: Vec::new(),
        longest: 0,
        goroutines: Vec::new(),
        frames: Box::default(),
        created_by: None,
        elided: entry.elided,
        labels: entry.labels.clone(),
        lines: entry.lines,
        longest_lines: entry.lines,
    }
}
