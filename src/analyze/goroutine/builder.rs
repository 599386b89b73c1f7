//! Puts lines together to stacks and stacks to dumps, and tells dumps of one stream apart: by their marks, by process,
//! by a number that comes again, and by the goroutine that writes the dump, which stands first and alone is running.

use std::sync::Arc;

use super::Limits;
use super::block::{BlockLine, Head, lock_address};
use super::dump::{Dump, Form, Goroutine, LineRange, Origin};
use super::names::Names;
use super::prefix::process;
use super::record::RecordLine;
use super::tally::{Entry, Room, Tally};

/// Lines in a row that belong to no block: after so many it is over. Some come in between where several threads write.
const STRANGERS: u8 = 4;

/// See the module.
pub(super) struct Builder {
    names: Names,
    room: Room,
    dumps: Vec<Dump>,
    limit: usize,
    frames: usize,
    tally: Option<Tally>,
    at: At,
    /// From `==> NAME <==`.
    title: Option<Arc<str>>,
    /// In a profile of something else.
    elsewhere: bool,
}

enum At {
    Outside,
    Block(Box<Block>),
    Record(Box<Record>),
}

/// What a location belongs to.
enum Pending {
    Function(Arc<str>),
    Creator(Arc<str>),
}

struct Block {
    goroutine: Goroutine,
    entry: Entry,
    indent: usize,
    pending: Option<Pending>,
    /// Frames that follow are an ancestor's.
    ancestor: bool,
    strangers: u8,
    prefix: Vec<u8>,
}

struct Record {
    entry: Entry,
    addresses: Vec<u8>,
    prefix: Vec<u8>,
}

impl Builder {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            names: Names::new(limits.distinct_frames),
            room: Room { stacks: limits.stacks, goroutines: limits.goroutines },
            dumps: Vec::new(),
            limit: limits.dumps,
            frames: limits.frames,
            tally: None,
            at: At::Outside,
            title: None,
            elsewhere: false,
        }
    }

    /// Takes a line of the stream.
    pub(super) fn line(&mut self, text: &[u8], prefix: &[u8], number: u64) {
        if let Some(head) = Head::of(text) {
            self.end_stack();
            self.elsewhere = false;
            self.at = At::Block(Box::new(self.block(&head, prefix, number)));
            return;
        }
        let here = match &self.at {
            At::Block(block) => process(&block.prefix),
            At::Record(record) => process(&record.prefix),
            At::Outside => process(prefix),
        };
        if here != process(prefix) {
            // Other processes come in between, and messages of several lines; without a prefix the journal is over.
            if !prefix.is_empty() || text.first().is_none_or(u8::is_ascii_whitespace) {
                return;
            }
            self.end_stack();
        }
        if text.starts_with(b"==") && self.mark(text) {
            return;
        }
        if let At::Block(block) = &mut self.at {
            // Stacks in klog's structured messages are indented as a whole.
            let indent = text.iter().take(block.indent).take_while(|byte| byte.is_ascii_whitespace()).count();
            let text = text.get(indent..).unwrap_or_default();
            if block.take(&BlockLine::of(text), number, &mut self.names, self.frames) {
                return;
            }
            self.end_stack();
            if text.trim_ascii().is_empty() {
                return;
            }
        }
        self.record_line(text, prefix, number);
    }

    /// Ends the dump; what follows belongs to another.
    pub(super) fn boundary(&mut self) {
        self.end_stack();
        self.end_dump();
    }

    pub(super) fn finish(mut self) -> Vec<Dump> {
        self.boundary();
        self.dumps
    }

    fn block(&mut self, head: &Head<'_>, prefix: &[u8], number: u64) -> Block {
        let goroutine = Goroutine {
            id: head.id,
            lock: 0,
            state: self.names.text(head.state),
            minutes: head.minutes,
            locked_to_thread: head.locked,
            line: number,
        };
        Block {
            goroutine,
            entry: Entry::new(number),
            indent: head.indent,
            pending: None,
            ancestor: false,
            strangers: 0,
            prefix: prefix.to_vec(),
        }
    }

    /// `=== BEGIN goroutine stack dump ===`, `=== END …`, `==> NAME <==`.
    fn mark(&mut self, text: &[u8]) -> bool {
        if let Some(name) = text.strip_prefix(b"==> ").and_then(|rest| rest.trim_ascii_end().strip_suffix(b" <==")) {
            self.boundary();
            self.title = Some(self.names.text(name));
            self.elsewhere = false;
            return true;
        }
        let mark = text.starts_with(b"=== BEGIN ") || text.starts_with(b"=== END ");
        if mark {
            self.boundary();
        }
        mark
    }

    fn record_line(&mut self, text: &[u8], prefix: &[u8], number: u64) {
        match RecordLine::of(text) {
            RecordLine::Title(total) => {
                self.boundary();
                self.elsewhere = false;
                self.tally = Some(Tally::new(Form::Grouped, Some(total), self.origin(prefix), process(prefix), number));
            }
            RecordLine::OtherTitle => {
                self.boundary();
                self.elsewhere = true;
            }
            _ if self.elsewhere => {}
            RecordLine::Head { count, addresses } => {
                self.end_stack();
                let entry = Entry { count, ..Entry::new(number) };
                self.at =
                    At::Record(Box::new(Record { entry, addresses: addresses.to_vec(), prefix: prefix.to_vec() }));
            }
            RecordLine::Frame { function, file, line } => {
                if let At::Record(record) = &mut self.at {
                    let (function, file) = (self.names.text(function), self.names.text(file));
                    record.entry.add(self.names.frame(function, file, line), self.frames);
                    record.entry.lines.last = number;
                }
            }
            RecordLine::Labels(labels) => {
                if let At::Record(record) = &mut self.at {
                    record.entry.labels.get_or_insert_with(|| self.names.text(labels));
                    record.entry.lines.last = number;
                }
            }
            RecordLine::Other => {
                if matches!(self.at, At::Record(_)) {
                    self.end_stack();
                }
            }
        }
    }

    /// Adds the stack that is being read to its dump, or to a new one.
    fn end_stack(&mut self) {
        match std::mem::replace(&mut self.at, At::Outside) {
            At::Outside => {}
            At::Block(mut block) => {
                block.settle(b"", 0, &mut self.names, self.frames);
                let Block { goroutine, entry, prefix, .. } = *block;
                let running = &*goroutine.state == "running" && !entry.frames.is_empty();
                if self.tally.as_ref().is_some_and(|tally| !tally.takes_block(&goroutine, running, process(&prefix))) {
                    self.end_dump();
                }
                if self.tally.is_none() {
                    self.tally =
                        Some(Tally::new(Form::Blocks, None, self.origin(&prefix), process(&prefix), entry.lines.first));
                }
                if let Some(tally) = &mut self.tally {
                    tally.add_block(goroutine, entry, running, &mut self.room);
                }
            }
            At::Record(record) => {
                let Record { mut entry, addresses, prefix } = *record;
                if entry.frames.is_empty() {
                    self.bare(&mut entry, &addresses);
                }
                if self.tally.as_ref().is_some_and(|tally| !tally.takes_record(process(&prefix))) {
                    self.end_dump();
                }
                if self.tally.is_none() {
                    self.tally = Some(Tally::new(
                        Form::Grouped,
                        None,
                        self.origin(&prefix),
                        process(&prefix),
                        entry.lines.first,
                    ));
                }
                if let Some(tally) = &mut self.tally {
                    tally.add_record(entry, &mut self.room);
                }
            }
        }
    }

    /// A stack nobody knows the names of is told by its addresses.
    fn bare(&mut self, entry: &mut Entry, addresses: &[u8]) {
        for address in addresses.split(|byte| *byte == b' ').filter(|address| !address.is_empty()) {
            let (function, file) = (self.names.text(address), self.names.text(b""));
            entry.add(self.names.frame(function, file, 0), self.frames);
        }
    }

    fn end_dump(&mut self) {
        let Some(tally) = self.tally.take() else { return };
        if tally.is_empty() && tally.form() == Form::Blocks {
            return;
        }
        if self.dumps.len() < self.limit {
            self.dumps.push(tally.finish(&self.names));
        } else if let Some(last) = self.dumps.last_mut() {
            last.cut = true;
        }
    }

    fn origin(&self, prefix: &[u8]) -> Origin {
        let prefix = (!prefix.is_empty()).then(|| String::from_utf8_lossy(prefix).into());
        Origin { title: self.title.clone(), prefix }
    }
}

impl Block {
    /// Takes a line; returns whether the block goes on.
    fn take(&mut self, line: &BlockLine<'_>, number: u64, names: &mut Names, most: usize) -> bool {
        match line {
            BlockLine::Blank => return false,
            BlockLine::Other => {
                self.strangers += 1;
                return self.strangers < STRANGERS;
            }
            BlockLine::Ancestor => {
                self.settle(b"", 0, names, most);
                self.ancestor = true;
            }
            _ if self.ancestor => {}
            BlockLine::Function { name, arguments } => {
                self.settle(b"", 0, names, most);
                if self.goroutine.lock == 0 {
                    self.goroutine.lock = lock_address(name, arguments);
                }
                self.pending = Some(Pending::Function(names.text(name)));
            }
            BlockLine::CreatedBy(name) => {
                self.settle(b"", 0, names, most);
                self.pending = Some(Pending::Creator(names.text(name)));
            }
            BlockLine::Location { file, line } => self.settle(file, *line, names, most),
            BlockLine::Elided => {
                self.settle(b"", 0, names, most);
                self.entry.elided = true;
            }
            BlockLine::Unavailable => {}
        }
        self.strangers = 0;
        self.entry.lines.last = number;
        true
    }

    /// Makes a frame of the function that waits for its location.
    fn settle(&mut self, file: &[u8], line: u32, names: &mut Names, most: usize) {
        match self.pending.take() {
            None => {}
            Some(Pending::Function(function)) => {
                let file = names.text(file);
                self.entry.add(names.frame(function, file, line), most);
            }
            Some(Pending::Creator(function)) => {
                let file = names.text(file);
                self.entry.created_by = Some(names.frame(function, file, line));
            }
        }
    }
}

impl Entry {
    fn new(number: u64) -> Self {
        Self {
            count: 1,
            frames: Vec::new(),
            created_by: None,
            elided: false,
            labels: None,
            lines: LineRange { first: number, last: number },
            cut: false,
        }
    }

    fn add(&mut self, frame: u32, most: usize) {
        if self.frames.len() < most { self.frames.push(frame) } else { self.cut = true }
    }
}
