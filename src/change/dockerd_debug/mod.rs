//! dockerd's debug window: armed, watched and closed from here; switched on and off by the guard on
//! the node, which also does so when we are gone.
//!
//! The file on disk differs only for the instant of a reload; `/info` alone is proof. A missing
//! `debug` key leaves debug as it is (moby daemon/reload.go, 1.11 and later), so off is loaded, too.

mod guard;
mod verify;

use std::time::{Duration, Instant};

use jiff::Timestamp;

pub(crate) use guard::{GUARD, Look, Standing, Subject, Word, client_words, look, tell};
pub use guard::{GuardState, Place};

use super::{ChangeRecord, DebugTarget, Permit, Shell, ShellError};
use crate::evidence::ChangeState;
use crate::plan::{ChangeId, ChangePolicy, Encoding};
use crate::printable::printable;

/// From arming to ON: the guard gives dockerd 10 s, and one question may take 5 s more.
const ON_WITHIN: Duration = Duration::from_secs(20);
/// One call of the node while waiting; each is a sign of life.
const SLICE: Duration = Duration::from_secs(5);
/// How long we wait for debug to be off before it is left to the guard.
const OFF_WITHIN: Duration = Duration::from_secs(25);
/// How long the guard may take to clear up when it is told to.
const GONE_WITHIN: Duration = Duration::from_secs(8);
/// Time dockerd has to show a loaded value (`T1`); more than one question may take.
const CONFIRM: Duration = Duration::from_secs(10);
/// Format of the receipt on the node.
const RECEIPT_VERSION: &str = "1";

/// Who opens the window, for those who find it open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// Id of the run.
    pub run_id: String,
    /// Person and machine, for example `kim@laptop`.
    pub who: String,
    /// The node's name here, for the command that mends it.
    pub node: String,
}

impl Operator {
    /// Returns the command that mends the node.
    #[must_use]
    pub fn mend(&self) -> String {
        mend(&self.node)
    }
}

/// Returns the command that mends a node.
pub(crate) fn mend(node: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let quote = if node.chars().all(plain) { "" } else { "'" };
    format!("plegcollect revert --nodes {quote}{node}{quote}")
}

/// An open window. Dropped, it is closed by the guard when the lease runs out.
#[derive(Debug)]
pub struct Window {
    place: Place,
    target: DebugTarget,
    operator: Operator,
    record: ChangeRecord,
    lease: Duration,
    opened: Instant,
}

/// Opens the window: arms the guard and waits until it says that debug is on.
///
/// # Errors
/// The final record: refused, or undone at once, or possibly still changed.
///
/// # Cancel safety
/// Dropped early, the guard ends what was begun within one lease.
pub async fn open(
    shell: &dyn Shell,
    target: DebugTarget,
    policy: &ChangePolicy,
    permit: Permit,
    operator: &Operator,
    record: ChangeRecord,
) -> Result<Window, Box<ChangeRecord>> {
    open_at(shell, Place::default(), target, policy, permit, operator, record).await
}

/// As [`open`], with the guard in another place.
///
/// # Errors
/// As [`open`].
///
/// # Cancel safety
/// As [`open`].
pub async fn open_at(
    shell: &dyn Shell,
    place: Place,
    target: DebugTarget,
    policy: &ChangePolicy,
    permit: Permit,
    operator: &Operator,
    mut record: ChangeRecord,
) -> Result<Window, Box<ChangeRecord>> {
    if permit.change() != ChangeId::DockerdDebug {
        return Err(refused(record, "there is no permission for it"));
    }
    if record.describe.is_empty() {
        record.describe = describe(&target, policy);
    }
    record.before = verify::before(&target);
    let args = match arm_args(&place, &target, policy, operator) {
        Ok(args) => args,
        Err(what) => return Err(refused(record, &format!("{what} holds characters that are not taken"))),
    };
    let window =
        Window { place, target, operator: operator.clone(), record, lease: policy.lease, opened: Instant::now() };
    match shell.run(&guard::ARM, &args, Encoding::Plain, None).await {
        Ok(answer) if answer.status == 0 => {}
        // Run a second time after the link had ended in the first: the window there is ours.
        Ok(answer) if answer.status == 3 && owner(&answer.text(), "run") == Some(&operator.run_id) => {}
        Ok(answer) => {
            let said = printable(answer.text().lines().next().unwrap_or("the node gave no reason"), 400);
            let why = match answer.status {
                3 => busy(&answer.text()),
                // Told to end half way: it has taken away what it had made, or told the guard to stop.
                128.. => return Err(Box::new(window.finish(shell, Some("arming the guard was interrupted")).await)),
                _ => format!("the guard could not be armed: {said}"),
            };
            return Err(refused(window.record, &why));
        }
        Err(error) => {
            let why = format!("arming the guard: {error}");
            return Err(Box::new(window.finish(shell, Some(&why)).await));
        }
    }
    window.wait_for_on(shell).await
}

fn owner<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    answer.lines().find_map(|l| l.strip_prefix("owner ")?.strip_prefix(name)?.strip_prefix('='))
}

fn busy(answer: &str) -> String {
    let owner = |name| owner(answer, name).unwrap_or("?");
    let text =
        format!("{} is in a debug window on this node since {} (run {})", owner("who"), owner("since"), owner("run"));
    printable(&text, 400)
}

fn refused(mut record: ChangeRecord, why: &str) -> Box<ChangeRecord> {
    record.state = ChangeState::Refused;
    record.text = printable(&format!("dockerd's debug was not switched on: {why}"), 600);
    Box::new(record)
}

/// What the change does, for people.
fn describe(target: &DebugTarget, policy: &ChangePolicy) -> String {
    let pid = target.process.pid;
    format!(
        "dockerd (pid {pid}, {}) logs at debug level for {} s: {} is replaced for the instant of a reload (SIGHUP), twice, \
         and put back as the same file each time; nothing is restarted. Without us the node switches debug off by itself \
         after {} s.",
        target.version,
        policy.window.as_secs(),
        target.config,
        policy.lease.as_secs(),
    )
}

/// Arguments of arm.sh, or what in them is not printable.
fn arm_args(
    place: &Place,
    target: &DebugTarget,
    policy: &ChangePolicy,
    operator: &Operator,
) -> Result<Vec<String>, &'static str> {
    let (client, cli) = client_words(&target.client);
    let unit = target.process.unit.as_deref().unwrap_or_default();
    let mut args = vec![place.dir.clone(), place.unit.clone(), GUARD.to_owned()];
    for edit in [&target.on, &target.off] {
        args.extend([edit.at.to_string(), edit.delete.to_string(), edit.insert.clone(), edit.sha256.clone()]);
    }
    let file = target.file.as_ref();
    let sha = file.map_or("", |f| f.sha256.as_str());
    let (pid, start) = (target.process.pid.to_string(), target.process.start_ticks.to_string());
    let exe = target.process.exe.as_str();
    let have = if file.is_some() { "1" } else { "0" };
    let (lease, window) = (policy.lease.as_secs().to_string(), policy.deadline.as_secs().to_string());
    let confirm = CONFIRM.as_secs().to_string();
    let since = Timestamp::now().to_string();
    let mut pairs = vec![
        ("e:F", target.config.as_str()),
        ("e:PID", &pid),
        ("e:START", &start),
        ("e:EXE", exe),
        ("e:UNIT", unit),
        ("e:SHA", sha),
        ("e:HAVE", have),
        ("e:LEASE", &lease),
        ("e:WINDOW", &window),
        ("e:T1", &confirm),
        ("e:SOCK", &target.socket),
        ("e:CLIENT", client),
        ("e:CLI", cli),
        ("o:run", &operator.run_id),
        ("o:who", &operator.who),
        ("o:since", &since),
        ("r:version", RECEIPT_VERSION),
        ("r:config", &target.config),
        ("r:pid", &pid),
        ("r:start", &start),
        ("r:exe", exe),
        ("r:unit", unit),
        ("r:socket", &target.socket),
        ("r:client", client),
        ("r:cli", cli),
        ("r:on-sha256", &target.on.sha256),
        ("r:off-sha256", &target.off.sha256),
        ("r:have", have),
    ];
    let size = file.map(|f| f.size.to_string()).unwrap_or_default();
    if let Some(file) = file {
        pairs.extend([
            ("r:sha256", file.sha256.as_str()),
            ("r:size", &size),
            ("r:inode", &file.inode),
            ("r:mtime", &file.mtime),
            ("r:owner", &file.owner),
            ("r:mode", &file.mode),
            ("r:label", file.label.as_deref().unwrap_or_default()),
        ]);
    }
    if pairs.iter().any(|(_, value)| value.chars().any(char::is_control)) || exe.is_empty() {
        return Err("what was found out about dockerd");
    }
    args.extend(pairs.iter().map(|(name, value)| format!("{name}={value}")));
    Ok(args)
}

impl Window {
    /// Returns the receipt: what is done and what was there before.
    #[must_use]
    pub const fn record(&self) -> &ChangeRecord {
        &self.record
    }

    async fn wait_for_on(mut self, shell: &dyn Shell) -> Result<Self, Box<ChangeRecord>> {
        let begun = Instant::now();
        let why = loop {
            match tell(shell, &self.place, &self.operator.run_id, Word::Lease, SLICE).await {
                Ok(Standing { state: GuardState::On, .. }) => {
                    self.record.applied = Some(Timestamp::now());
                    self.opened = Instant::now();
                    return Ok(self);
                }
                Ok(Standing { state: GuardState::New | GuardState::OnPending, .. }) if begun.elapsed() < ON_WITHIN => {}
                Ok(Standing { state: GuardState::OnUnconfirmed, .. }) => {
                    break "dockerd did not confirm the reload".to_owned();
                }
                Ok(Standing { state: GuardState::Unknown | GuardState::New | GuardState::OnPending, .. }) => {
                    break format!("the guard did not get to it within {} s", ON_WITHIN.as_secs());
                }
                Ok(_) => return Err(Box::new(self.finish(shell, None).await)),
                Err(error) => break error.to_string(),
            }
        };
        Err(Box::new(self.finish(shell, Some(&format!("debug was not seen to be on: {why}"))).await))
    }

    /// Gives a sign of life and returns how the guard stands; anything but `On` means that the window
    /// has ended early.
    ///
    /// # Errors
    /// When the node gave no answer.
    ///
    /// # Cancel safety
    /// Dropped early, the sign of life may or may not have been given.
    pub async fn renew(&self, shell: &dyn Shell) -> Result<GuardState, ShellError> {
        Ok(tell(shell, &self.place, &self.operator.run_id, Word::Lease, Duration::ZERO).await?.state)
    }

    /// Ends the window, waits until the node is as it was and returns the final record. What cannot
    /// be seen within some 25 s is left to the guard, and the record says so.
    ///
    /// # Cancel safety
    /// Dropped early, the guard ends the window by itself.
    pub async fn close(self, shell: &dyn Shell) -> ChangeRecord {
        self.finish(shell, None).await
    }

    /// `early`: why the window was not opened.
    async fn finish(mut self, shell: &dyn Shell, early: Option<&str>) -> ChangeRecord {
        let run = self.operator.run_id.clone();
        let standing = match tell(shell, &self.place, &run, Word::Stop, OFF_WITHIN).await {
            Ok(standing) => standing,
            Err(error) => return self.not_seen(&error, early),
        };
        let subject = Subject {
            config: &self.target.config,
            client: &self.target.client,
            socket: &self.target.socket,
            pid: self.target.process.pid,
        };
        let back = self.opened.elapsed() + Duration::from_secs(60);
        let mut seen = match look(shell, &self.place, &subject, back).await {
            Ok(seen) => seen,
            Err(error) => return self.not_seen(&error, early),
        };
        self.record.log = standing.log.clone();
        if standing.state.is_final() {
            // Its traces are looked for when it had time to clear up.
            match tell(shell, &self.place, &run, Word::Bye, GONE_WITHIN).await {
                Ok(Standing { state: GuardState::Gone, .. }) => {
                    seen.facts.remove("dir");
                    seen.left.retain(|name| !name.ends_with(".gone"));
                }
                Ok(_) => {}
                Err(error) => {
                    let text = format!("the guard's directory {} may still be there: {error}", self.place.dir);
                    self.record.warnings.push(text);
                }
            }
        }
        verify::judge(&mut self.record, &self.target, &self.operator, &standing, &seen, early);
        self.record
    }

    fn not_seen(mut self, error: &ShellError, early: Option<&str>) -> ChangeRecord {
        let early = early.map(|why| format!("{why}; ")).unwrap_or_default();
        self.record.state = ChangeState::StillChanged;
        self.record.differences.push("debug was not seen to be off again".to_owned());
        self.record.text = printable(
            &format!(
                "{early}the end of dockerd's debug window was not seen ({error}): its guard on the node switches debug \
                 off by itself within {} s of our last sign of life",
                self.lease.as_secs()
            ),
            800,
        );
        self.record.mend = Some(self.operator.mend());
        self.record
    }
}
