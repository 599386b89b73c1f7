//! What the kubelet's log tells over its whole length, gathered in constant memory: spells of an unhealthy PLEG, Ready and
//! not, calls of the runtime that failed, starts. Judges nothing; rules read it through the view.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

pub use super::burst::Span;
use super::burst::{Burst, Bursts};
use super::log::kubelet::{self, KubeletEvent};
use super::log::seams::Seams;
use super::log::{LogLine, LogReader};
use super::units::UnitHistory;
use super::view::NodeView;

/// The file it is read from.
pub const FILE: &str = "kubelet/journal.txt";
/// The step that fetches it.
const STEP: &str = "kubelet/journal";
/// Spells that are kept; later ones are counted in the last.
const SPELLS: usize = 1000;
/// Kinds of calls that are kept.
const KINDS: usize = 64;
/// Ids that are kept of one kind.
const IDS: usize = 2000;
/// Two lines of one spell name the same last relist, up to this.
const SAME: SignedDuration = SignedDuration::from_secs(5);
/// Where lines do not say when relist was last active, a spell ends by so much silence; a hang blocks the loop that logs
/// for 2 minutes at a time (seen with kubelet 1.36.2).
const SILENCE: SignedDuration = SignedDuration::from_mins(5);

/// What is farther apart is another burst: a call gives up after 2 minutes, so that those of one hang are nearer.
const GAP: SignedDuration = SignedDuration::from_mins(5);
/// The lines about one change of the node's condition come within this.
const ONCE: SignedDuration = SignedDuration::from_secs(5);

/// What the kubelet says, as far as it is kept by the time it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Thing {
    /// The node was set not ready; named by the reason.
    NotReady,
    /// The node was set ready.
    Ready,
    /// Calls of the runtime ran out of time; named by the call.
    Deadline,
    /// Relists failed; named by why.
    Relist,
    /// The runtime is down by the kubelet's own check.
    RuntimeDown,
    /// The runtime, or its network, says it is not ready; named by what it says.
    RuntimeNotReady,
    /// Events of relist were dropped because nobody took them.
    ChannelFull,
    /// The kubelet was started; named by its version.
    Start,
    /// The kernel killed for want of memory; named by the process.
    Oom,
    /// Pods were evicted; named by the resource.
    Evicting,
    /// The API server refused or did not answer; named by how.
    ApiServer,
    /// Pods could not be synchronised; named by the step that failed.
    PodSync,
}

/// A time during which PLEG was unhealthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spell {
    /// The lines that say so.
    pub span: Span,
    /// When relist was last active before it.
    pub active: Option<Timestamp>,
    /// The same by the kubelet's own stamps, which are right where the log was late, and may be of another zone.
    own: Option<Timestamp>,
    /// How long relist had not been active by the last line.
    pub longest: Duration,
    /// The first line behind it that shows PLEG well: an event of PLEG was taken up, or the node was set ready.
    pub over: Option<(Timestamp, u64)>,
}

/// Calls of one kind that failed because time ran out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Calls {
    /// All of them.
    pub span: Span,
    /// By container or sandbox.
    pub ids: BTreeMap<String, Span>,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct KubeletHistory {
    /// Lines with a meaning or without.
    pub lines: u64,
    /// Time of the first and the last line.
    pub whole: Span,
    /// When the log was fetched, by the node's clock: it goes on, silently, up to there.
    pub fetched: Option<Timestamp>,
    /// Spells of an unhealthy PLEG, in their order.
    pub unhealthy: Vec<Spell>,
    /// The node was set not ready.
    pub not_ready: Span,
    /// The node was set ready.
    pub ready: Span,
    /// Calls of the runtime that ran out of time, by their name.
    pub deadlines: BTreeMap<String, Calls>,
    /// Relists that ended because time ran out.
    pub relist_deadlines: Span,
    /// Relists that ended in other errors.
    pub relist_errors: Span,
    /// Lines that say that the runtime is down.
    pub runtime_down: Span,
    /// Lines that say that events were dropped because nobody took them.
    pub channel_full: Span,
    /// The plug-in could not say a pod's address.
    pub network_status: Span,
    /// Starts of the kubelet.
    pub starts: Span,
    /// Version by the last start.
    pub version: Option<String>,
    /// What happened when, in bursts.
    pub bursts: BTreeMap<Thing, Bursts>,
    /// What systemd says of the kubelet's unit.
    pub units: UnitHistory,
    /// Where the log begins and breaks off.
    pub seams: Seams,
}

impl KubeletHistory {
    /// Reads the log of a view; `None` if it is not there or has no line of the kubelet's.
    #[must_use]
    pub fn read(view: &NodeView) -> Option<Self> {
        let mut reader = LogReader::new(view.open(FILE)?, view.clock());
        let mut history = Self { fetched: view.fetched(STEP).or_else(|| view.collected()), ..Self::default() };
        // What was read before an error is evidence, too.
        while let Ok(Some(line)) = reader.next_line() {
            history.lines = line.number;
            history.seams.see(&line);
            history.units.see(&line);
            if line.time.is_some() {
                history.whole.add(&line);
            }
            for event in kubelet::read(&line) {
                history.take(&line, event);
            }
        }
        history.units.close();
        (history.whole.count > 0).then_some(history)
    }

    fn take(&mut self, line: &LogLine<'_>, event: KubeletEvent) {
        match event {
            KubeletEvent::PlegUnhealthy { last_seen, .. } => self.unhealthy(line, last_seen),
            KubeletEvent::PlegEvent => self.pleg_works(line),
            KubeletEvent::RuntimeDown => {
                self.runtime_down.add(line);
                self.note(Thing::RuntimeDown, line, "");
            }
            KubeletEvent::RuntimeNotReady { message, .. } => {
                self.note(Thing::RuntimeNotReady, line, &message);
            }
            KubeletEvent::NodeNotReady { message, .. } => {
                let new = self.note(Thing::NotReady, line, &message);
                if new {
                    self.not_ready.add(line);
                }
            }
            KubeletEvent::NodeReady => {
                self.pleg_works(line);
                if self.note(Thing::Ready, line, "") {
                    self.ready.add(line);
                }
            }
            KubeletEvent::RelistFailed { deadline: true, .. } => {
                self.relist_deadlines.add(line);
                self.note(Thing::Relist, line, "time ran out");
            }
            KubeletEvent::RelistFailed { error, .. } => {
                self.relist_errors.add(line);
                self.note(Thing::Relist, line, &error);
            }
            KubeletEvent::EventChannelFull => {
                self.channel_full.add(line);
                self.note(Thing::ChannelFull, line, "");
            }
            KubeletEvent::PodNetworkStatusFailed { .. } => self.network_status.add(line),
            KubeletEvent::Starting { version } => {
                self.units.own_start();
                self.starts.add(line);
                self.note(Thing::Start, line, &version);
                self.version = Some(version);
            }
            KubeletEvent::SystemOom { process, .. } => {
                self.note(Thing::Oom, line, process.as_deref().unwrap_or("a process"));
            }
            KubeletEvent::Evicting { resource } => {
                self.note(Thing::Evicting, line, &resource);
            }
            KubeletEvent::ApiServer(problem) => {
                self.note(Thing::ApiServer, line, problem.word());
            }
            KubeletEvent::PodSyncFailed { step, deadline: true, .. } => {
                self.note(Thing::PodSync, line, &step);
            }
            KubeletEvent::Rpc(failure) if failure.deadline => {
                self.note(Thing::Deadline, line, &failure.rpc);
                if !self.deadlines.contains_key(&failure.rpc) && self.deadlines.len() >= KINDS {
                    return;
                }
                let calls = self.deadlines.entry(failure.rpc).or_default();
                calls.span.add(line);
                if let Some(id) = failure.container.or(failure.sandbox)
                    && (calls.ids.len() < IDS || calls.ids.contains_key(&id))
                {
                    calls.ids.entry(id).or_default().add(line);
                }
            }
            _ => {}
        }
    }

    /// Keeps when something happened. Returns whether it is new: a change of the node's condition is logged up to three
    /// times, and only one of the lines says why.
    fn note(&mut self, thing: Thing, line: &LogLine<'_>, name: &str) -> bool {
        let single = matches!(thing, Thing::NotReady | Thing::Ready);
        let gap = if single { SignedDuration::ZERO } else { GAP };
        let bursts = self.bursts.entry(thing).or_insert_with(|| Bursts::new(gap));
        let last = bursts.last().and_then(|burst: &Burst| burst.span.last);
        let again = last.zip(line.happened()).is_some_and(|(last, now)| now.duration_since(last).abs() <= ONCE);
        if single && again {
            bursts.name_last(name);
            return false;
        }
        bursts.add(line, name);
        true
    }

    fn unhealthy(&mut self, line: &LogLine<'_>, last_seen: Option<Duration>) {
        let ago = last_seen.and_then(|ago| SignedDuration::try_from(ago).ok());
        let before = |time: Option<Timestamp>| time.zip(ago).and_then(|(time, ago)| time.checked_sub(ago).ok());
        let (active, own) = (before(line.time), before(line.own_time.or(line.time)));
        let full = self.unhealthy.len() >= SPELLS;
        let same = |spell: &&mut Spell| match (spell.own.zip(own), spell.span.last.zip(line.time)) {
            (Some((was, now)), _) => now.duration_since(was).abs() <= SAME,
            (None, Some((was, now))) => now.duration_since(was) <= SILENCE,
            (None, None) => true,
        };
        let spell = self.unhealthy.last_mut().filter(|spell| full || same(spell));
        let longest = last_seen.unwrap_or_default();
        if let Some(spell) = spell {
            spell.span.add(line);
            spell.longest = spell.longest.max(longest);
            spell.over = None;
            return;
        }
        let mut spell = Spell { active, own, longest, ..Spell::default() };
        spell.span.add(line);
        self.unhealthy.push(spell);
    }

    fn pleg_works(&mut self, line: &LogLine<'_>) {
        if let (Some(spell), Some(time)) = (self.unhealthy.last_mut(), line.happened()) {
            spell.over.get_or_insert((time, line.number));
        }
    }

    /// Returns when PLEG was seen healthy again after the last spell: the node was set ready, or the log goes on for 3
    /// minutes, the kubelet's own threshold, without such a line: in a hang they come every 5 s. `None`: not within the log.
    #[must_use]
    pub fn recovered(&self) -> Option<Timestamp> {
        let spell = self.unhealthy.last()?;
        if self.ready.count > 0 && self.ready.last_line > spell.span.last_line {
            return self.ready.last;
        }
        let (last, end) = spell.span.last.zip(self.whole.last.max(self.fetched))?;
        (end.duration_since(last) > SignedDuration::from_mins(3)).then_some(last)
    }
}
