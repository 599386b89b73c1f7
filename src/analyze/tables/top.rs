//! `top -b -n 1`: load, task counts, processor use, and the processes. Layouts of procps 3.2 to 4; not busybox's.

use super::columns::MOST;
use super::quantity;
use crate::analyze::line::numbered;

/// One process of the list.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its pid.
    pub pid: u32,
    /// Its user.
    pub user: String,
    /// State, as of [`super::ps::Process::state`].
    pub state: char,
    /// Percent of one processor.
    pub cpu_percent: f64,
    /// Percent of the memory.
    pub memory_percent: f64,
    /// Name, cut by top with a `+`.
    pub command: String,
    /// Line it stands in.
    pub line: u64,
}

/// A picture of the node.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Top {
    /// Load over 1, 5 and 15 minutes.
    pub load: Option<[f64; 3]>,
    /// Tasks in all.
    pub tasks: Option<u64>,
    /// Zombies.
    pub zombies: Option<u64>,
    /// Percent of processor time in user mode.
    pub user_percent: Option<f64>,
    /// In the kernel.
    pub system_percent: Option<f64>,
    /// Idle.
    pub idle_percent: Option<f64>,
    /// Waiting for disks.
    pub wait_percent: Option<f64>,
    /// Taken by the hypervisor.
    pub steal_percent: Option<f64>,
    /// The processes in top's order, the busiest first.
    pub rows: Vec<Row>,
}

/// Reads the first picture of an output.
#[must_use]
pub fn parse(text: &str) -> Top {
    let mut top = Top::default();
    let mut heads: Option<Vec<&str>> = None;
    for (number, line) in numbered(text) {
        if let Some((_, load)) = line.split_once("load average: ") {
            if top.load.is_some() {
                break; // the next picture
            }
            let mut numbers = load.split(',').map_while(|n| n.trim().parse().ok());
            top.load = numbers.next().zip(numbers.next()).zip(numbers.next()).map(|((a, b), c)| [a, b, c]);
        } else if let Some(rest) = line.strip_prefix("Tasks:").or_else(|| line.strip_prefix("Threads:")) {
            top.tasks = labelled(rest, "total").and_then(quantity::whole);
            top.zombies = labelled(rest, "zombie").and_then(quantity::whole);
        } else if let Some(rest) = line.strip_prefix("%Cpu(s):").or_else(|| line.strip_prefix("Cpu(s):")) {
            top.user_percent = labelled(rest, "us");
            top.system_percent = labelled(rest, "sy");
            top.idle_percent = labelled(rest, "id");
            top.wait_percent = labelled(rest, "wa");
            top.steal_percent = labelled(rest, "st");
        } else if heads.is_none() && line.trim_start().starts_with("PID ") {
            heads = Some(line.split_ascii_whitespace().take(MOST).collect());
        } else if let Some(heads) = &heads {
            top.rows.extend(row(heads, line, number));
        }
    }
    top
}

/// Finds the number in front of a label: `0.3 wa`, in old layouts `0.3%wa`.
fn labelled(list: &str, label: &str) -> Option<f64> {
    list.split(',').find_map(|part| {
        let number = part.trim().strip_suffix(label)?.trim_end_matches([' ', '%']);
        number.parse().ok().filter(|n: &f64| n.is_finite())
    })
}

fn row(heads: &[&str], line: &str, number: u64) -> Option<Row> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let word = |head: &str| heads.iter().position(|h| *h == head).and_then(|at| words.get(at)).copied();
    let command = heads.iter().position(|h| *h == "COMMAND").and_then(|at| words.get(at..));
    Some(Row {
        pid: word("PID")?.parse().ok()?,
        user: word("USER")?.to_owned(),
        state: word("S")?.chars().next()?,
        cpu_percent: word("%CPU")?.parse().ok()?,
        memory_percent: word("%MEM")?.parse().ok()?,
        command: command.unwrap_or_default().join(" "),
        line: number,
    })
}
