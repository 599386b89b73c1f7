//! What one trial of the kill campaign does, and when: drawn from a seed, so that a campaign can be repeated.

use std::time::Duration;

use crate::support::Random;

/// What is done to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    /// kill -9 of the program.
    KillProgram,
    /// Both links of the node down, and up again while the program still tries.
    CutLink,
    /// Both links of the node down until the node has put itself back.
    CutLinkForGood,
    /// kill -9 of the guard's shell.
    KillGuard,
    /// kill -9 of every process of the guard's unit.
    KillGuardGroup,
    /// kill -9 of the guard, again and again as soon as it is back; more often than systemd's start limit allows by default.
    KillGuardAgain,
    /// kill -9 of the guard's unit and of the program.
    KillBoth,
    /// systemctl restart docker.
    RestartDockerd,
    /// kill -9 of dockerd; systemd starts it again.
    KillDockerd,
    /// SIGSTOP to the program, SIGCONT some seconds later.
    StopProgram,
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-C twice.
    InterruptTwice,
}

use Action::{
    CutLink, CutLinkForGood, Interrupt, InterruptTwice, KillBoth, KillDockerd, KillGuard, KillGuardAgain,
    KillGuardGroup, KillProgram, RestartDockerd, StopProgram,
};

/// One round: every kind, the costly ones (dockerd must grow a minute old again) 3 in 20.
const ROUND: [Action; 20] = [
    KillProgram,
    KillProgram,
    KillProgram,
    KillProgram,
    CutLink,
    CutLinkForGood,
    CutLinkForGood,
    KillGuard,
    KillGuard,
    KillGuardGroup,
    KillGuardGroup,
    KillGuardAgain,
    KillBoth,
    KillBoth,
    RestartDockerd,
    RestartDockerd,
    KillDockerd,
    StopProgram,
    Interrupt,
    InterruptTwice,
];

/// Moments around the two swaps of daemon.json, in the words of node/trigger.py.
const SWAPS: [&str; 8] = ["new:1", "link:1", "link:1", "state:ON-PENDING", "state:ON", "new:2", "link:2", "link:2"];

impl Action {
    /// How the table names it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            KillProgram => "kill -9 plegcollect",
            CutLink => "link cut, mended",
            CutLinkForGood => "link cut for good",
            KillGuard => "kill -9 guard",
            KillGuardGroup => "kill -9 guard's unit",
            KillGuardAgain => "kill -9 guard 6 times",
            KillBoth => "kill -9 guard, program",
            RestartDockerd => "restart dockerd",
            KillDockerd => "kill -9 dockerd",
            StopProgram => "SIGSTOP plegcollect",
            Interrupt => "Ctrl-C",
            InterruptTwice => "Ctrl-C twice",
        }
    }

    /// What the watcher inside the node does at the moment: its name there, and how often.
    pub(crate) const fn on_node(self) -> (&'static str, u32) {
        match self {
            KillGuard => ("kill-guard", 1),
            KillGuardGroup | KillBoth => ("kill-guard-group", 1),
            KillGuardAgain => ("kill-guard", 6),
            RestartDockerd => ("restart-dockerd", 1),
            KillDockerd => ("kill-dockerd", 1),
            KillProgram | CutLink | CutLinkForGood | StopProgram | Interrupt | InterruptTwice => ("tell", 1),
        }
    }

    /// Whether dockerd is another process afterwards.
    pub(crate) const fn restarts(self) -> bool {
        matches!(self, RestartDockerd | KillDockerd)
    }

    const fn needs_guard(self) -> bool {
        matches!(self, KillGuard | KillGuardGroup | KillGuardAgain | KillBoth)
    }
}

/// One trial.
#[derive(Debug, Clone)]
pub(crate) struct Trial {
    pub(crate) number: u64,
    pub(crate) action: Action,
    /// In the words of node/trigger.py.
    pub(crate) moment: String,
    /// From that moment to the action.
    pub(crate) delay: Duration,
    /// How long the link stays cut or the program stopped; time between two Ctrl-C.
    pub(crate) hold: Duration,
}

/// Draws a campaign; `span` is how long an undisturbed run takes.
pub(crate) fn draw(seed: u64, count: u64, span: Duration) -> Vec<Trial> {
    let mut random = Random::new(seed);
    let mut deck = Vec::new();
    (0..count)
        .map(|number| {
            if deck.is_empty() {
                deck = ROUND.to_vec();
                for n in (1..deck.len()).rev() {
                    deck.swap(n, usize::try_from(random.below(n as u64 + 1)).unwrap());
                }
            }
            let action = deck.pop().unwrap();
            let span = u64::try_from(span.as_millis()).unwrap();
            let (moment, delay) = match random.below(10) {
                // Up to 20 ms: a swap takes about 15.
                0..=4 => (random.of(&SWAPS), Duration::from_micros(random.below(20_000))),
                5 => (random.of(&["dir", "stop", "state:DONE"]), Duration::from_micros(random.below(200_000))),
                6 => ("state:ON", Duration::from_millis(random.below(3_000))),
                7 if !action.needs_guard() => {
                    (random.of(&["dump:dockerd", "dump:containerd"]), Duration::from_micros(random.below(20_000)))
                }
                _ if action.needs_guard() => ("dir", Duration::from_millis(random.below(6_000))),
                _ => ("after", Duration::from_millis(random.below(span))),
            };
            let hold = match action {
                CutLink => Duration::from_millis(500 + random.below(4_000)),
                StopProgram => Duration::from_millis(1_000 + random.below(9_000)),
                InterruptTwice => Duration::from_millis(20 + random.below(1_500)),
                _ => Duration::ZERO,
            };
            Trial { number, action, moment: moment.to_owned(), delay, hold }
        })
        .collect()
}
