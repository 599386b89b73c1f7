//! What kind of thing a goroutine waits for, told from its state and from the frames on top: Go has renamed states
//! (`semacquire` became `sync.Mutex.Lock` with 1.20), and grouped dumps have none.

use super::frame::Frame;

/// What goroutines with one stack wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Wait {
    /// A mutex.
    Lock,
    /// The others of a `sync.WaitGroup`.
    Group,
    /// A condition variable (`sync.Cond`).
    Condition,
    /// A value from a channel.
    ChannelReceive,
    /// Room in a channel, or somebody who takes the value.
    ChannelSend,
    /// The first of several channels.
    Select,
    /// The network or a pipe.
    Io,
    /// A system call, the disk included.
    Syscall,
    /// Time.
    Sleep,
    /// Nothing: it runs, or could.
    Running,
    /// Work of the Go runtime itself.
    Runtime,
    /// Not told. A grouped dump does not show what happens inside the runtime: channels, select.
    Unknown,
}

/// How states begin that belong to the Go runtime's own goroutines, of versions 1.3 to 1.25.
const RUNTIME: &[&str] = &[
    "GC ",
    "cleanup wait",
    "copystack",
    "dead",
    "finalizer wait",
    "force gc",
    "idle",
    "preempted",
    "timer goroutine",
    "trace reader",
    "wait until GC ends",
    "waiting",
];

/// Returns what `state` and the frames on top say; the state may be empty.
pub(super) fn of<'a>(state: &str, frames: impl Iterator<Item = &'a Frame>) -> Wait {
    // The scan marker of the garbage collector belongs to no state.
    let state = state.strip_suffix(" (scan)").unwrap_or(state);
    match state {
        "sync.Mutex.Lock" | "sync.RWMutex.Lock" | "sync.RWMutex.RLock" => Wait::Lock,
        "sync.WaitGroup.Wait" => Wait::Group,
        "sync.Cond.Wait" => Wait::Condition,
        "IO wait" => Wait::Io,
        "sleep" => Wait::Sleep,
        "running" | "runnable" => Wait::Running,
        "syscall" => Wait::Syscall,
        "" | "semacquire" | "wait for GC cycle" => by_frames(frames).unwrap_or(Wait::Unknown),
        _ if state.starts_with("chan receive") => Wait::ChannelReceive,
        _ if state.starts_with("chan send") => Wait::ChannelSend,
        _ if state.starts_with("select") => Wait::Select,
        _ if RUNTIME.iter().any(|start| state.starts_with(start)) => Wait::Runtime,
        _ => by_frames(frames).unwrap_or(Wait::Unknown),
    }
}

fn by_frames<'a>(frames: impl Iterator<Item = &'a Frame>) -> Option<Wait> {
    frames.take_while(|frame| frame.is_noise()).find_map(|frame| match &*frame.function {
        "time.Sleep" => Some(Wait::Sleep),
        "internal/poll.runtime_pollWait" | "net.runtime_pollWait" => Some(Wait::Io),
        "sync.runtime_notifyListWait" | "sync.(*Cond).Wait" => Some(Wait::Condition),
        "sync.(*WaitGroup).Wait" => Some(Wait::Group),
        "os/signal.signal_recv" => Some(Wait::Runtime),
        name if is_lock(name) => Some(Wait::Lock),
        name if name.starts_with("syscall.") || name.starts_with("internal/runtime/syscall.") => Some(Wait::Syscall),
        _ => None,
    })
}

/// Returns whether the function waits for a mutex.
pub(super) fn is_lock(function: &str) -> bool {
    let Some(name) = function.strip_prefix("internal/").unwrap_or(function).strip_prefix("sync.") else {
        return false;
    };
    name.starts_with("(*Mutex).")
        || name.starts_with("(*RWMutex).")
        || name.starts_with("runtime_SemacquireMutex")
        || name.starts_with("runtime_SemacquireRWMutex")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_of_all_versions_are_known() {
        let frames = |names: &[&str]| -> Vec<Frame> {
            names.iter().map(|name| Frame { function: (*name).into(), file: "".into(), line: 0 }).collect()
        };
        let lock: &[&str] = &["sync.runtime_SemacquireMutex", "sync.(*Mutex).lockSlow", "sync.(*Mutex).Lock", "main.f"];
        for (state, names, want) in [
            ("semacquire", lock, Wait::Lock),
            ("", lock, Wait::Lock),
            ("sync.Mutex.Lock", &["internal/sync.runtime_SemacquireMutex"], Wait::Lock),
            ("semacquire", &["sync.runtime_Semacquire", "sync.(*WaitGroup).Wait"], Wait::Group),
            ("semacquire", &["main.f"], Wait::Unknown),
            ("", &["internal/poll.runtime_pollWait", "internal/poll.(*FD).Read"], Wait::Io),
            ("", &["sync.runtime_notifyListWait", "sync.(*Cond).Wait"], Wait::Condition),
            ("", &["main.f", "sync.(*Mutex).Lock"], Wait::Unknown),
            ("", &["syscall.Syscall6"], Wait::Syscall),
            ("runnable (scan)", &[], Wait::Running),
            ("chan send (nil chan)", &[], Wait::ChannelSend),
            ("chan receive (durable)", &[], Wait::ChannelReceive),
            ("select (no cases)", &[], Wait::Select),
            ("GC worker (idle)", &[], Wait::Runtime),
            ("timer goroutine (idle)", &[], Wait::Runtime),
            ("something new", &[], Wait::Unknown),
        ] {
            assert_eq!(of(state, frames(names).iter()), want, "{state} {names:?}");
        }
    }
}
