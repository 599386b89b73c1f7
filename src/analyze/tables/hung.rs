//! What the processes of a step that hung waited for (`….hung.txt`): state, wait channel and kernel stack of each thread.

use super::stuck::function;
use crate::analyze::line::numbered;

/// A thread of a hung process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    /// Its id.
    pub tid: u32,
    /// Its name, as the kernel cuts it to 15 characters.
    pub name: String,
    /// Its state.
    pub state: char,
    /// The function of the kernel it sleeps in; `None` where the kernel does not say.
    pub wchan: Option<String>,
    /// Functions of its kernel stack, the innermost first; empty without root's rights.
    pub stack: Vec<String>,
    /// Line it stands in.
    pub line: u64,
}

/// A process of the step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its pid.
    pub pid: u32,
    /// Its parent.
    pub ppid: Option<u32>,
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: char,
    /// Its threads; at most 50 of all processes are listed.
    pub threads: Vec<Thread>,
    /// Line it stands in.
    pub line: u64,
}

/// Returns the processes in the order of the list, parents first.
#[must_use]
pub fn parse(text: &str) -> Vec<Process> {
    let mut found: Vec<Process> = Vec::new();
    for (line_number, line) in numbered(text) {
        if let Some(rest) = line.strip_prefix("process ") {
            found.extend(head(rest).map(|(pid, name, state, rest)| {
                let ppid = rest.split_once("parent ").and_then(|(_, p)| p.trim().parse().ok());
                Process { pid, ppid, name: name.to_owned(), state, threads: Vec::new(), line: line_number }
            }));
            continue;
        }
        let Some(process) = found.last_mut() else { continue };
        if let Some(rest) = line.strip_prefix("  thread ") {
            process.threads.extend(head(rest).map(|(tid, name, state, rest)| {
                let wchan = rest.split_once("wchan ").and_then(|(_, w)| w.split(' ').next());
                let wchan = wchan.filter(|w| !matches!(*w, "-" | "0" | "")).map(str::to_owned);
                Thread { tid, name: name.to_owned(), state, wchan, stack: Vec::new(), line: line_number }
            }));
        } else if let (Some(frame), Some(thread)) = (line.strip_prefix("    "), process.threads.last_mut()) {
            thread.stack.extend(function(frame).map(str::to_owned));
        }
    }
    found
}

/// Reads `4711 (name) state D rest`; a name may hold brackets.
fn head(text: &str) -> Option<(u32, &str, char, &str)> {
    let (id, rest) = text.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") state ")?;
    let mut chars = rest.chars();
    let state = chars.next()?;
    Some((id.parse().ok()?, name, state, chars.as_str()))
}
