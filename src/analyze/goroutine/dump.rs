//! One stack dump: each distinct stack once, with the goroutines that have it, and the questions rules ask.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::frame::Frame;
use super::wait::{self, Wait};

/// How the dump was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// `goroutine N [state, M minutes]:`, one block each: `debug=2`, SIGUSR1, a crash.
    Blocks,
    /// `COUNT @ 0x…`, equal stacks together: `debug=1`. Has no states, no times, no ids and no creators.
    Grouped,
}

/// Lines of the source, to be cited; the first line is 1. For a dump in one quoted text all are the same line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct LineRange {
    /// First line.
    pub first: u64,
    /// Last line, that included.
    pub last: u64,
}

/// Where in the stream a dump was.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// Name before it, where files follow each other with `==> NAME <==`.
    pub title: Option<Arc<str>>,
    /// Journal prefix of its first line, with its time: `2026-11-21T06:35:15.796164+0000 worker-006 containerd[45]`.
    pub prefix: Option<Arc<str>>,
}

/// A goroutine of a dump of the form [`Form::Blocks`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Goroutine {
    /// Number; never used twice in one process.
    pub id: u64,
    /// Address of the mutex it waits for, 0 if none is told. Says which goroutines wait for the same one.
    pub lock: u64,
    /// State as written: `select`, `sync.Mutex.Lock`.
    pub state: Arc<str>,
    /// Whole minutes in this state; 0 below one.
    pub minutes: u32,
    /// Tied to its thread.
    pub locked_to_thread: bool,
    /// Line of its head in the source.
    pub line: u64,
}

/// A distinct stack, and who has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    /// Goroutines with it.
    pub count: u64,
    /// States and how many are in each, the most frequent first; beyond 16 they are `other states`. Empty in grouped dumps.
    pub states: Vec<(Arc<str>, u64)>,
    /// Whole minutes the longest has waited; 0 below one, and in grouped dumps.
    pub longest: u32,
    /// The goroutines in their order in the dump. Fewer than `count` in grouped dumps and beyond the limits.
    pub goroutines: Vec<Goroutine>,
    /// Frames, innermost first. Empty if the dump has none ("stack unavailable").
    pub frames: Box<[Arc<Frame>]>,
    /// Who started them.
    pub created_by: Option<Arc<Frame>>,
    /// Go left out frames in the middle.
    pub elided: bool,
    /// First text of labels in a grouped dump, as written: `{"key":"value"}`.
    pub labels: Option<Arc<str>>,
    /// Where it stands first.
    pub lines: LineRange,
    /// Where the one stands that waited longest.
    pub longest_lines: LineRange,
}

/// A stack dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dump {
    /// How it was written.
    pub form: Form,
    /// Goroutines counted; the sum of `count` over the stacks.
    pub total: u64,
    /// Goroutines it says it has (`goroutine profile: total N`). More than `total`: its end is missing.
    pub announced: Option<u64>,
    /// Where in the stream it was.
    pub origin: Origin,
    /// Distinct stacks, those of most goroutines first.
    pub stacks: Vec<Stack>,
    /// Lines it covers.
    pub lines: LineRange,
    /// Something went beyond the limits and was counted only.
    pub cut: bool,
}

/// A mutex that goroutines wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock<'a> {
    /// Its address: an identity within one process, nothing more.
    pub address: u64,
    /// Goroutines that wait for it.
    pub waiters: u64,
    /// Whole minutes the longest has waited.
    pub longest: u32,
    /// Line of the head of that one.
    pub longest_line: u64,
    /// Their stacks.
    pub stacks: Vec<&'a Stack>,
}

/// Identity of a place in a program: a hash that is the same in both forms, on every node and in every process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signature(u64);

/// 16 hexadecimal digits.
impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Signature {
    fn of<'a>(frames: impl Iterator<Item = &'a Frame>, with_lines: bool) -> Self {
        let mut hash = Sha256::new();
        for frame in frames {
            hash.update(frame.function.as_bytes());
            hash.update(if with_lines { frame.line } else { 0 }.to_be_bytes());
        }
        Self(hash.finalize().iter().take(8).fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }
}

impl Stack {
    /// Returns the first frame from the top whose full function name contains `pattern`, and its place in `frames`.
    #[must_use]
    pub fn frame(&self, pattern: &str) -> Option<(usize, &Frame)> {
        self.frames.iter().map(|frame| &**frame).enumerate().find(|(_, frame)| frame.function.contains(pattern))
    }

    /// Returns whether a function matching `callee` stands above one matching `caller`, directly or not.
    #[must_use]
    pub fn calls(&self, caller: &str, callee: &str) -> bool {
        let top = self.frames.iter().position(|frame| frame.function.contains(callee));
        let bottom = self.frames.iter().rposition(|frame| frame.function.contains(caller));
        top.zip(bottom).is_some_and(|(top, bottom)| top < bottom)
    }

    /// Returns where it stands: the first frame from the top that is no noise of the scheduler, of locks or of the poller.
    #[must_use]
    pub fn place(&self) -> Option<&Frame> {
        self.meaningful().next()
    }

    /// Returns the frames from [`Stack::place`] on downwards, without Go's own at the bottom.
    pub fn meaningful(&self) -> impl Iterator<Item = &Frame> {
        let end = self.frames.iter().rposition(|frame| !is_runtime(frame)).map_or(0, |last| last + 1);
        self.frames.iter().take(end).map(|frame| &**frame).skip_while(|frame| frame.is_noise())
    }

    /// Returns what they wait for; where states differ, the most frequent one decides.
    #[must_use]
    pub fn wait(&self) -> Wait {
        let state = self.states.first().map_or("", |(state, _)| state);
        wait::of(state, self.frames.iter().map(|frame| &**frame))
    }

    /// Returns the hash of functions and line numbers: equal for equal places in the same version of a program, whatever
    /// the form of the dump, the arguments and the directory it was built in. The creator is left out: grouped dumps
    /// have none.
    #[must_use]
    pub fn signature(&self) -> Signature {
        let first = self.frames.iter().position(|frame| !is_runtime(frame)).unwrap_or(0);
        let end = self.frames.iter().rposition(|frame| !is_runtime(frame)).map_or(0, |last| last + 1);
        Signature::of(self.frames.iter().take(end).skip(first).map(|frame| &**frame), true)
    }

    /// Returns the hash of the functions from [`Stack::place`] on downwards, without line numbers: for stacks of
    /// different versions of a program, as nodes of one fleet may have them.
    #[must_use]
    pub fn shape(&self) -> Signature {
        Signature::of(self.meaningful(), false)
    }
}

/// Grouped dumps show some of these (`runtime.main`) that the other form hides.
fn is_runtime(frame: &Frame) -> bool {
    frame.package() == "runtime"
}

impl Dump {
    /// Returns the stacks with a function whose full name contains `pattern`.
    pub fn in_function<'a>(&'a self, pattern: &'a str) -> impl Iterator<Item = &'a Stack> {
        self.stacks.iter().filter(move |stack| stack.frame(pattern).is_some())
    }

    /// Returns the stacks that have a goroutine in exactly this state, as Go writes it: `semacquire`, `IO wait`.
    pub fn waiting<'a>(&'a self, state: &'a str) -> impl Iterator<Item = &'a Stack> {
        self.stacks.iter().filter(move |stack| stack.states.iter().any(|(name, _)| &**name == state))
    }

    /// Returns the stacks that wait for this kind of thing, in whatever words the version of Go has for it.
    pub fn waiting_for(&self, kind: Wait) -> impl Iterator<Item = &Stack> {
        self.stacks.iter().filter(move |stack| stack.wait() == kind)
    }

    /// Returns the mutexes that goroutines wait for, that with most waiters first. Grouped dumps tell none.
    #[must_use]
    pub fn locks(&self) -> Vec<Lock<'_>> {
        let mut locks: HashMap<u64, Lock<'_>> = HashMap::new();
        for stack in &self.stacks {
            for goroutine in stack.goroutines.iter().filter(|goroutine| goroutine.lock != 0) {
                let lock = locks.entry(goroutine.lock).or_insert_with(|| Lock {
                    address: goroutine.lock,
                    waiters: 0,
                    longest: 0,
                    longest_line: goroutine.line,
                    stacks: Vec::new(),
                });
                lock.waiters += 1;
                if goroutine.minutes > lock.longest {
                    (lock.longest, lock.longest_line) = (goroutine.minutes, goroutine.line);
                }
                if !lock.stacks.last().is_some_and(|last| std::ptr::eq(*last, stack)) {
                    lock.stacks.push(stack);
                }
            }
        }
        let mut locks: Vec<_> = locks.into_values().collect();
        locks.sort_by_key(|lock| (std::cmp::Reverse(lock.waiters), lock.address));
        locks
    }
}
