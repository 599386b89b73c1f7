//! Dumps of shims, on request: each containerd-shim-runc-v2 gets SIGUSR1 once and logs its goroutines through a FIFO
//! that containerd reads into its own journal; so only while containerd answers, else the shim would block in it
//! (64 KiB, then `pipe_write`: seen with containerd 1.6.20).

use std::time::Duration;

use super::probe::pairs;
use super::{Permit, shown};
use crate::change::receipt::ChangeRecord;
use crate::change::shell::{Script, Shell};
use crate::evidence::ChangeState;
use crate::plan::{ChangeId, ChangePolicy, Encoding, NodeFacts};
use crate::session::Sink;
use crate::wording;

const SHIMS: Script = Script {
    name: "the taking of shims' stacks",
    text: concat!(include_str!("../../plan/scripts/go-dumps.sh"), include_str!("../scripts/stack-shims.sh")),
    timeout: Duration::from_secs(120),
};

/// Makes the shims log their stacks, and fetches what they logged. Nothing is to be undone: it stays in the journal.
///
/// # Cancel safety
/// Dropped early, the node goes on to the script's end.
pub async fn shims(
    shell: &dyn Shell,
    facts: &NodeFacts,
    policy: &ChangePolicy,
    _permit: Permit,
    sink: &mut dyn Sink,
) -> ChangeRecord {
    let record = |state: ChangeState, text: String| {
        let mut record = ChangeRecord::not_made(ChangeId::StackDump, "shims", state, text);
        record.describe =
            "SIGUSR1 makes each containerd-shim-runc-v2 log the stacks of its goroutines to containerd's journal."
                .to_owned();
        record
    };
    if !policy.shim_stacks {
        return record(ChangeState::Skipped, "stacks of shims were not asked for (--shim-stacks).".to_owned());
    }
    let Some(containerd) = facts.containerd.as_ref() else {
        return record(ChangeState::Skipped, "containerd was not found on this node.".to_owned());
    };
    let Some(pid) = containerd.pid else {
        return record(
            ChangeState::Refused,
            "containerd does not run, and nobody else reads what shims log.".to_owned(),
        );
    };
    let owner = facts.dockerd.as_ref().and_then(|d| d.unit.as_ref());
    let Some(unit) = containerd.unit.as_ref().or(owner).filter(|_| facts.journal) else {
        return record(
            ChangeState::Refused,
            "there is no journal of containerd's to read shims' stacks from.".to_owned(),
        );
    };
    let args = [pid.to_string(), unit.clone()];
    let begun = jiff::Timestamp::now();
    let answer = match shell.run(&SHIMS, &args, Encoding::Plain, Some(sink)).await {
        Ok(answer) => answer,
        Err(error) => return record(ChangeState::Refused, format!("the stacks of shims were not fetched: {error}.")),
    };
    let said = pairs(&answer.err);
    let get = |name: &str| said.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let number = |name: &str| get(name).and_then(|v| v.parse::<usize>().ok()).unwrap_or(0);
    if let Some(why) = get("refused") {
        let text = match why {
            "silent" => "containerd does not answer: shims would block in what they log.".to_owned(),
            "none" => "no containerd-shim-runc-v2 runs on this node.".to_owned(),
            "many" => "more than 100 shims run on this node: none was sent SIGUSR1.".to_owned(),
            "journal" => "the journal of containerd cannot be read: no shim was sent SIGUSR1.".to_owned(),
            other => format!("no shim was sent SIGUSR1: {}.", shown(other)),
        };
        let state = if why == "none" { ChangeState::Skipped } else { ChangeState::Refused };
        return record(state, text);
    }
    let (sent, came) = (number("sent"), number("came"));
    let text = format!("{} sent SIGUSR1; {came} dumps are in containerd's journal.", wording::count(sent, "shim"));
    let mut record = record(ChangeState::Reverted, text);
    record.applied = Some(begun);
    record.remains.push("the shims' dumps stay in containerd's journal".to_owned());
    record
}
