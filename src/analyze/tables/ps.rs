//! Process lists: `ps -elF`, `ps -ef`, and what the step prints on nodes without a ps (lines of /proc/PID/stat, then
//! the arguments). Zombies with their parents.

use std::collections::{BTreeMap, HashMap};

use super::columns::MOST;
use crate::analyze::line::numbered;

/// One process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Process {
    /// Its pid.
    pub pid: u32,
    /// Its parent's.
    pub ppid: u32,
    /// `R`, `S`, `D`, `Z`, `T`, `I`; `?` where the list does not say.
    pub state: char,
    /// Its user.
    pub user: String,
    /// The function of the kernel it sleeps in, cut to 6 characters by `ps -l`.
    pub wchan: Option<String>,
    /// Kilobytes in memory.
    pub rss_kb: Option<u64>,
    /// When it started, as listed: `06:04`, `Nov20`, `2025`.
    pub started: Option<String>,
    /// Processor time, as listed: `00:00:27`.
    pub time: Option<String>,
    /// Command with its arguments; in brackets for threads of the kernel and zombies.
    pub command: String,
    /// Line it stands in.
    pub line: u64,
}

/// A process list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Processes {
    /// In the order of the list.
    pub list: Vec<Process>,
}

impl Processes {
    /// Returns how many are in each state.
    #[must_use]
    pub fn states(&self) -> BTreeMap<char, usize> {
        let mut count = BTreeMap::new();
        for process in &self.list {
            *count.entry(process.state).or_default() += 1;
        }
        count
    }

    /// Returns those in a state.
    pub fn in_state(&self, state: char) -> impl Iterator<Item = &Process> {
        self.list.iter().filter(move |p| p.state == state)
    }

    /// Returns the zombies by parent, the parent with the most first. A parent may have ended since.
    #[must_use]
    pub fn zombies(&self) -> Vec<(u32, Option<&Process>, Vec<&Process>)> {
        let mut by_parent: BTreeMap<u32, Vec<&Process>> = BTreeMap::new();
        for zombie in self.in_state('Z') {
            by_parent.entry(zombie.ppid).or_default().push(zombie);
        }
        let by_pid: HashMap<u32, &Process> = self.list.iter().map(|p| (p.pid, p)).collect();
        let mut found: Vec<_> =
            by_parent.into_iter().map(|(ppid, list)| (ppid, by_pid.get(&ppid).copied(), list)).collect();
        found.sort_by_key(|(_, _, list)| std::cmp::Reverse(list.len()));
        found
    }
}

/// Reads a process list of any of the forms.
#[must_use]
pub fn parse(text: &str) -> Processes {
    let mut heads: Option<Vec<&str>> = None;
    let mut list = Vec::new();
    for (number, line) in numbered(text) {
        if line == "##### owners" {
            break;
        }
        let words: Vec<&str> = line.split_ascii_whitespace().take(MOST).collect();
        if words.contains(&"PID") && words.contains(&"PPID") {
            heads = Some(words);
        } else if let Some(heads) = &heads {
            list.extend(row(heads, line, number));
        } else {
            list.extend(of_stat(line, number));
        }
    }
    let arguments = arguments(text);
    for process in &mut list {
        if let Some(whole) = arguments.get(&process.pid) {
            (*whole).trim_end().clone_into(&mut process.command);
        }
    }
    Processes { list }
}

fn row(heads: &[&str], line: &str, number: u64) -> Option<Process> {
    let mut process = Process { state: '?', line: number, ..Process::default() };
    let mut rest = line;
    let last = heads.len().checked_sub(1)?;
    let (mut pid, mut ppid) = (None, None);
    for (at, head) in heads.iter().enumerate() {
        rest = rest.trim_start();
        let end = if at == last { rest.len() } else { rest.find([' ', '\t']).unwrap_or(rest.len()) };
        let (word, behind) = rest.split_at(end);
        rest = behind;
        let known = || (!matches!(word, "-" | "")).then(|| word.to_owned());
        match *head {
            "PID" => pid = word.parse().ok(),
            "PPID" => ppid = word.parse().ok(),
            "S" | "STAT" => process.state = word.chars().next().unwrap_or('?'),
            "UID" | "USER" => word.clone_into(&mut process.user),
            "WCHAN" => process.wchan = known(),
            "RSS" => process.rss_kb = word.parse().ok(),
            "STIME" | "START" => process.started = known(),
            "TIME" => process.time = known(),
            "CMD" | "COMMAND" => word.trim_end().clone_into(&mut process.command),
            _ => {}
        }
    }
    (process.pid, process.ppid) = (pid?, ppid?);
    Some(process)
}

/// Reads a line of /proc/PID/stat: `1 (systemd) S 0 …`, see proc(5).
fn of_stat(line: &str, number: u64) -> Option<Process> {
    let (pid, rest) = line.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    let ppid = fields.next()?.parse().ok()?;
    // Field 24 counts pages; those of 4 KiB are taken for granted.
    let rss_kb = fields.nth(19).and_then(|f| f.parse::<u64>().ok()).and_then(|pages| pages.checked_mul(4));
    let pid = pid.trim().parse().ok()?;
    Some(Process { pid, ppid, state, rss_kb, command: format!("[{name}]"), line: number, ..Process::default() })
}

/// Reads `/proc/1/cmdline:/sbin/init ` behind the heading of the arguments.
fn arguments(text: &str) -> HashMap<u32, &str> {
    let Some((_, text)) = text.split_once("##### arguments\n") else { return HashMap::new() };
    let one = |line: &'_ str| -> Option<(u32, usize)> {
        let (pid, _) = line.strip_prefix("/proc/")?.split_once("/cmdline:")?;
        Some((pid.parse().ok()?, "/proc/".len() + pid.len() + "/cmdline:".len()))
    };
    text.lines().filter_map(|line| one(line).and_then(|(pid, at)| Some((pid, line.get(at..)?)))).collect()
}
