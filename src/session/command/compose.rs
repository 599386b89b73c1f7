//! From a command and a node's facts to the line that is sent: the bounded command itself (what
//! sudo sees and `plan` prints), and the wrapper around it. Pure; no I/O.
//!
//! ```text
//! login shell → exec nice ionice timeout -s CONT → sh (wrapper) → sudo → timeout -k → command
//!                              the clock of all      tells the end         the bound
//! ```
//!
//! The inner `timeout` leads a process group of its own and ends the command. The outer one only
//! wakes the wrapper (CONT hurts nobody else) to take the stacks or to give up on a process
//! that cannot die, and KILLs wrapper and compressor should they be stuck in a write.

use std::time::Duration;

use crate::plan::facts::{Rights, ShellFacts};
use crate::plan::step::{Encoding, What};

use super::CommandSpec;
use super::encode::{compact, escaped, login_line, one_line, plain, quote, quote_all};

const SCAN: &str = include_str!("scan.sh");
const BOUND: &str = include_str!("bound.sh");
const STACKS: &str = include_str!("stacks.sh");
const WRAPPER: &str = include_str!("wrapper.sh");

/// Stacks are read from /proc in some 10 ms; twice a second is for a node that swaps.
const STACKS_BOUND: Duration = Duration::from_secs(2);
/// Time for the kernel to bury what KILL has hit, before the wrapper gives up on it.
const GIVE_UP_AFTER: Duration = Duration::from_secs(1);
/// From giving up to the KILL of wrapper and compressor: what is ready is written by then, unless
/// nobody reads.
const LAST_AFTER: Duration = Duration::from_secs(4);
/// A share of the processor remains: at nice 19 the evidence of an overloaded node would be
/// nothing but time-outs.
const NICE: &str = "10";
/// A single argument may have 128 KiB on Linux (MAX_ARG_STRLEN).
pub(crate) const SCRIPT_MAX: usize = 100_000;

/// How the command gets root's rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Escalation<'a> {
    /// It does not.
    No,
    /// `sudo -n`, path of sudo.
    Passwordless(&'a str),
    /// `sudo -S`, path of sudo.
    Password(&'a str),
}

impl<'a> Escalation<'a> {
    pub(crate) fn of(privileged: bool, shell: &'a ShellFacts) -> Self {
        match (privileged, shell.rights, shell.sudo.as_deref()) {
            (true, Rights::SudoPasswordless, Some(sudo)) => Self::Passwordless(sudo),
            (true, Rights::SudoPassword, Some(sudo)) => Self::Password(sudo),
            _ => Self::No,
        }
    }

    /// `-k` with a command: ask for the password although it was given a moment ago, and do not
    /// remember it. Otherwise the line might stay on the command's input.
    fn words(self) -> Vec<String> {
        match self {
            Self::No => Vec::new(),
            Self::Passwordless(sudo) => owned(&[sudo, "-n", "--"]),
            Self::Password(sudo) => owned(&[sudo, "-k", "-S", "-p", "", "--"]),
        }
    }
}

/// What is put around a command, apart from its rights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) shell: &'a ShellFacts,
    pub(crate) timeout: Duration,
    pub(crate) grace: Duration,
    pub(crate) encoding: Encoding,
    pub(crate) stacks: bool,
    pub(crate) escalation: Escalation<'a>,
    /// The first line of our standard input goes to the command's (as it does to sudo's).
    pub(crate) feed: bool,
}

impl<'a> Frame<'a> {
    pub(crate) fn of(spec: &CommandSpec<'a>) -> Self {
        let escalation = Escalation::of(spec.privileged, spec.shell);
        Self {
            shell: spec.shell,
            timeout: spec.bounds.timeout,
            grace: spec.bounds.grace,
            encoding: spec.encoding,
            stacks: spec.stacks_on_timeout,
            escalation,
            feed: spec.input.is_some() || matches!(escalation, Escalation::Password(_)),
        }
    }

    /// Returns when the node has ended everything of ours at the latest, counted from the start.
    pub(crate) fn over(&self) -> Duration {
        self.timeout + self.grace + GIVE_UP_AFTER + LAST_AFTER
    }

    fn packer(&self) -> Option<Vec<String>> {
        match self.encoding {
            Encoding::Plain => None,
            Encoding::Gzip => self.shell.gzip.as_deref().map(|gzip| owned(&[gzip, "-1", "-c"])),
            Encoding::Zstd => self.shell.zstd.as_deref().map(|zstd| {
                let mut words = owned(&[zstd, "-1", "-q", "-c"]);
                words.extend_from_slice(&self.shell.zstd_options);
                words
            }),
        }
    }

    /// Returns how the output really is packed; plain where the node lacks the tool.
    pub(crate) fn packs(&self) -> bool {
        self.packer().is_some()
    }

    /// Returns the command within its bound, as sudo sees it.
    pub(crate) fn bounded(&self, what: &What) -> Vec<String> {
        let closed = matches!(self.escalation, Escalation::Password(_));
        bound(self.shell, self.timeout, self.grace, &core(what, closed))
    }

    /// Returns the words that print the stacks of a process tree, as sudo sees them.
    pub(crate) fn stack_words(shell: &ShellFacts) -> Vec<String> {
        let script = compact(&format!("{SCAN}\n{STACKS}"));
        bound(shell, STACKS_BOUND, Duration::from_secs(1), &owned(&["/bin/sh", "-c", &one_line(&script)]))
    }

    /// Returns the command as people read it: one line, no wrapper.
    pub(crate) fn describe(&self, what: &What) -> String {
        let closed = matches!(self.escalation, Escalation::Password(_));
        let mut words = self.escalation.words();
        let tail = if self.shell.timeout.is_some() {
            words.extend(self.bounded(what));
            String::new()
        } else {
            words.extend(core(what, closed));
            format!(" # TERM after {} s, KILL {} s later", whole(self.timeout), whole(self.grace))
        };
        let packer = self.packer().map(|words| format!(" | {}", quote_all(&words))).unwrap_or_default();
        format!("{}{packer}{tail}", quote_all(&words))
    }

    /// Returns the line for the login shell and the first line of its standard input. `nonce` are the
    /// halves of the token.
    pub(crate) fn lines(&self, what: &What, nonce: (&str, &str)) -> (String, String) {
        let own_clock = self.shell.timeout.is_none();
        // Without coreutils, sleep may know whole seconds only.
        let seconds = |d: Duration| if own_clock { whole(d).to_string() } else { fraction(d) };
        let give_up = self.timeout + self.grace + GIVE_UP_AFTER;
        let first = if self.stacks { self.timeout.saturating_sub(lead(self.timeout, own_clock)) } else { give_up };
        let last = self.over().saturating_sub(first);
        let stack_words = Self::stack_words(self.shell);
        let probe = stack_words.last().map(String::as_str).unwrap_or_default();
        let look = |escalation: Escalation<'_>| {
            let mut words = escalation.words();
            words.extend(stack_words.iter().take(stack_words.len().saturating_sub(1)).cloned());
            format!("exec {} \"$probe\"", quote_all(&words))
        };
        let mut command = self.escalation.words();
        command.extend(self.bounded(what));

        let mut text = format!("na={}\nnb={}\n", nonce.0, nonce.1);
        let mut set = |name: &str, value: &str| {
            text.push_str(name);
            text.push('=');
            text.push_str(value);
            text.push('\n');
        };
        set("feed", if self.feed { "1" } else { "" });
        set("pack", if self.packs() { "1" } else { "" });
        set("group", if own_clock || self.escalation != Escalation::No { "" } else { "1" });
        set("timer", &if own_clock { seconds(first) } else { String::new() });
        set("last", &if own_clock { seconds(self.over()) } else { String::new() });
        set("rest", &if self.stacks { seconds(give_up.saturating_sub(first)) } else { String::new() });
        let mut function = |name: &str, body: &str| {
            text.push_str(&format!("{name}() {{\n{body}\n}}\n"));
        };
        function("run", &format!("exec {}", quote_all(&command)));
        function("packer", &self.packer().map_or_else(|| ":".to_owned(), |w| format!("exec {}", quote_all(&w))));
        function("stacks", &if self.stacks { look(self.escalation) } else { ":".to_owned() });
        let again = self.stacks && self.escalation != Escalation::No;
        function("plain_stacks", &if again { look(Escalation::No) } else { ":".to_owned() });
        if self.stacks {
            text.push_str(&format!("probe={}\n", quote(probe)));
        }
        text.push_str(&compact(SCAN));
        text.push_str(&compact(WRAPPER));

        let mut prefix = Vec::new();
        if let Some(nice) = self.shell.nice.as_deref().filter(|p| plain(p)) {
            prefix.extend(owned(&[nice, "-n", NICE]));
        }
        if let Some(ionice) = self.shell.ionice.as_deref().filter(|p| plain(p)) {
            prefix.extend(owned(&[ionice, "-c", "3"]));
        }
        if let Some(timeout) = self.shell.timeout.as_deref() {
            prefix.extend(owned(&[timeout, "-s", "CONT", "-k", &seconds(last), &seconds(first)]));
        }
        (login_line(&prefix), escaped(&text))
    }
}

/// Stacks are taken this long before the bound, so that the bound stays what was promised (and what
/// the sudoers line says) and the process is still there, on a node where everything is slow, too.
fn lead(timeout: Duration, whole_seconds: bool) -> Duration {
    let lead = (timeout / 3).min(Duration::from_secs(3));
    if whole_seconds { Duration::from_secs(whole(lead)) } else { lead }
}

/// Returns the command itself as words; with `closed`, in a form that takes nothing from standard
/// input (there may be a password on it that sudo did not ask for).
fn core(what: &What, closed: bool) -> Vec<String> {
    let close = if closed { "exec </dev/null\n" } else { "" };
    match what {
        // Line breaks and tabs have no place in a sudoers file.
        What::Argv(words) if !closed && !words.iter().any(|w| w.contains(char::is_control)) => words.clone(),
        What::Argv(words) => owned(&["/bin/sh", "-c", &one_line(&format!("{close}exec {}", quote_all(words)))]),
        What::Script { text, args } => {
            // Arguments go inside: after `-c` they would widen what a sudoers line permits.
            let set = if args.is_empty() { String::new() } else { format!("set -- {}\n", quote_all(args)) };
            owned(&["/bin/sh", "-c", &one_line(&format!("{close}{set}{text}"))])
        }
    }
}

/// Returns words bounded by `timeout`, or by our own script where that is missing.
fn bound(shell: &ShellFacts, timeout: Duration, grace: Duration, words: &[String]) -> Vec<String> {
    match shell.timeout.as_deref() {
        Some(path) => {
            let mut all = owned(&[path, "-k", &fraction(grace), &fraction(timeout)]);
            all.extend_from_slice(words);
            all
        }
        None => {
            let head =
                format!("bound={}\ngrace={}\nrun() {{\nexec {}\n}}\n", whole(timeout), whole(grace), quote_all(words));
            let script = format!("{head}{}{}", compact(SCAN), compact(BOUND));
            owned(&["/bin/sh", "-c", &one_line(&script)])
        }
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}

/// Seconds with as many decimals as it takes, at least a millisecond: 0 means no bound to timeout(1).
fn fraction(d: Duration) -> String {
    let ms = d.as_millis().max(1);
    let text = format!("{}.{:03}", ms / 1000, ms % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Whole seconds, rounded up, at least one.
fn whole(d: Duration) -> u64 {
    (d.as_secs() + u64::from(d.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_tree_is_found_with_and_without_lists_of_children() {
        // 10 has the children 2 and 11 (of its second thread), 11 has 12; 13 is a stranger.
        let proc = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = proc.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::io::Write::write_all(&mut std::fs::File::create(path).unwrap(), text.as_bytes()).unwrap();
        };
        let rest = "1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 77 0 0 0\n";
        for (pid, parent) in [(10, 1), (2, 10), (11, 10), (12, 11), (13, 1)] {
            put(&format!("{pid}/stat"), &format!("{pid} (a) b (c d) S {parent} {rest}"));
        }
        let script = format!(
            "{}\ntree 10; echo $kin; look 12; echo $state $ppid $pgrp $session $start",
            compact(SCAN).replace("/proc", &proc.path().display().to_string()).replace("$$", "7")
        );
        let run = || {
            let output = std::process::Command::new("/bin/sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stderr), "");
            let text = String::from_utf8(output.stdout).unwrap();
            let (tree, look) = text.split_once('\n').unwrap();
            let mut tree: Vec<u32> = tree.split(' ').map(|pid| pid.parse().unwrap()).collect();
            tree.sort_unstable();
            (tree, look.trim().to_owned())
        };
        let expected = (vec![2, 10, 11, 12], "S 11 1 1 77".to_owned());
        assert_eq!(run(), expected);
        put("7/task/7/children", "");
        assert_eq!(run().0, [10], "the lists count where there are any");
        put("10/task/10/children", "2 ");
        put("10/task/99/children", "11 ");
        put("11/task/11/children", "12 ");
        assert_eq!(run(), expected);
    }

    #[test]
    fn durations_are_written_for_timeout_and_for_sleep() {
        for (ms, with_fraction, without) in
            [(0, "0.001", 1), (5000, "5", 5), (10_000, "10", 10), (2500, "2.5", 3), (3750, "3.75", 4), (20, "0.02", 1)]
        {
            let d = Duration::from_millis(ms);
            assert_eq!((fraction(d).as_str(), whole(d)), (with_fraction, without));
        }
    }
}
