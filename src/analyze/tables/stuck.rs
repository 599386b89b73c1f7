//! The steps' own list of threads in uninterruptible sleep and of zombies, and of lingering runc processes, with what
//! they wait for in the kernel.

use crate::analyze::line::numbered;

/// One thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    /// Its id.
    pub tid: u32,
    /// Its process.
    pub pid: u32,
    /// The process's parent.
    pub ppid: u32,
    /// `D`, `Z`; of runc any.
    pub state: char,
    /// The function it sleeps in; `None` where the kernel does not say.
    pub wchan: Option<String>,
    /// Its name, as the kernel cuts it to 15 characters.
    pub name: String,
    /// Functions of its kernel stack, the innermost first; empty without root's rights.
    pub stack: Vec<String>,
    /// Line it stands in.
    pub line: u64,
}

/// The list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stuck {
    /// At most 400 are listed.
    pub threads: Vec<Thread>,
    /// How many there were; `None` if the list was cut short.
    pub count: Option<u64>,
}

/// Reads the list.
#[must_use]
pub fn parse(text: &str) -> Stuck {
    let mut found = Stuck::default();
    for (number, line) in numbered(text) {
        if let Some(frame) = line.strip_prefix("    ") {
            if let (Some(thread), Some(function)) = (found.threads.last_mut(), function(frame)) {
                thread.stack.push(function.to_owned());
            }
        } else if let Some(rest) = line.strip_suffix(" threads in state D or Z") {
            found.count = rest.parse().ok();
        } else {
            found.threads.extend(thread(line, number));
        }
    }
    found
}

/// A runc or crun process that was there when the step looked; one lives for less than a second as a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lingering {
    /// Its pid.
    pub pid: u32,
    /// Its parent: a shim, containerd or dockerd.
    pub ppid: u32,
    /// Seconds since its start; `None` where the step could not tell.
    pub age_s: Option<u64>,
    /// Its arguments: `runc --root … kill ID 9`.
    pub arguments: String,
    /// Its threads.
    pub threads: Vec<Thread>,
    /// Line it stands in.
    pub line: u64,
}

/// Reads the list of lingering runc and crun processes.
#[must_use]
pub fn runc(text: &str) -> Vec<Lingering> {
    let mut found: Vec<Lingering> = Vec::new();
    for (number, line) in numbered(text) {
        if let Some(head) = line.strip_prefix("##### ") {
            let mut words = head.split(' ');
            let mut next = |key: &str| (words.next()? == key).then(|| words.next())?;
            let (Some(pid), Some(ppid), age) = (next("pid"), next("ppid"), next("age")) else { continue };
            if let (Ok(pid), Ok(ppid)) = (pid.parse(), ppid.parse()) {
                let age_s = age.and_then(|a| a.parse().ok());
                let (arguments, threads) = (String::new(), Vec::new());
                found.push(Lingering { pid, ppid, age_s, arguments, threads, line: number });
            }
            continue;
        }
        let Some(process) = found.last_mut() else { continue };
        if let Some(frame) = line.strip_prefix("    ") {
            if let (Some(thread), Some(function)) = (process.threads.last_mut(), function(frame)) {
                thread.stack.push(function.to_owned());
            }
        } else if let Some(arguments) = line.strip_prefix("arguments: ") {
            arguments.trim_end().clone_into(&mut process.arguments);
        } else {
            process.threads.extend(thread(line, number));
        }
    }
    found
}

fn thread(line: &str, number: u64) -> Option<Thread> {
    let (head, name) = line.split_once(" name ")?;
    let mut words = head.split(' ');
    let mut next = |key: &str| (words.next()? == key).then(|| words.next())?;
    let number_of = |word: &str| word.parse().ok();
    Some(Thread {
        tid: next("tid").and_then(number_of)?,
        pid: next("pid").and_then(number_of)?,
        ppid: next("ppid").and_then(number_of)?,
        state: next("state")?.chars().next()?,
        wchan: next("wchan").filter(|w| !matches!(*w, "-" | "0")).map(str::to_owned),
        name: name.to_owned(),
        stack: Vec::new(),
        line: number,
    })
}

/// Takes the name out of `[<0>] nfs_getattr+0x2/0x3 [nfs]`.
pub(super) fn function(frame: &str) -> Option<&str> {
    let frame = frame.trim_start();
    let named = frame.strip_prefix('[').and_then(|f| f.split_once("] ")).map_or(frame, |(_, f)| f);
    named.split(['+', ' ']).next().filter(|f| !f.is_empty())
}
