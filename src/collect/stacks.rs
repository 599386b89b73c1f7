//! The stacks of a node's daemons, as a part of its changes: what is asked before them, two samples, those
//! of shims, and what is to be said of them at the end. `changes.rs` says when.

use std::time::{Duration, Instant};

use super::changes::Changes;
use super::made::{Made, verdict};
use crate::change::stack_dump::{self, DumpEnd, Prepared, Subject};
use crate::change::{ChangeRecord, Permit};
use crate::evidence::{ChangeState, Outcome};
use crate::plan::ChangeId;

/// Time to see that nothing of a dump is left, where the link was lost over it.
const LOOK_AGAIN_BUDGET: Duration = Duration::from_secs(60);

/// The stacks of one node under way.
#[derive(Default)]
pub(super) struct Stacks {
    prepared: Vec<(Subject, Result<Prepared, String>)>,
    ends: Vec<(Subject, DumpEnd)>,
    records: Vec<ChangeRecord>,
    first: Option<Instant>,
}

impl Changes<'_> {
    pub(super) async fn prepare_stacks(&mut self) -> Stacks {
        let mut stacks = Stacks::default();
        let steps = self.steps(ChangeId::StackDump);
        let wanted = |subject: &Subject| steps.iter().any(|(_, _, made)| made.subject() == Some(*subject));
        for subject in [Subject::Dockerd, Subject::Containerd].into_iter().filter(wanted) {
            if self.over() {
                break;
            }
            let shell = self.shell(false);
            let preparing = stack_dump::prepare(&shell, self.ground.facts, subject, self.policy);
            let Some(prepared) = self.unless_stopped(preparing).await else { break };
            let prepared = match prepared {
                Ok(prepared) => Ok(prepared),
                Err(record) => {
                    let record = self.with_node(*record);
                    self.tell(&record).await;
                    let why = record.text.clone();
                    stacks.records.push(record);
                    Err(why)
                }
            };
            stacks.prepared.push((subject, prepared));
        }
        stacks
    }

    /// Connects again where the link is known to be dead; what is begun over such a one is not known to have been begun.
    async fn linked(&self) -> bool {
        self.way.ensure(self.ground.stop.token()).await.is_ok()
    }

    /// Takes one sample of each daemon, one after the other.
    pub(super) async fn sample(&mut self, stacks: &mut Stacks, sample: u8) {
        if sample == 1 {
            stacks.first = Some(Instant::now());
        }
        let run = &self.ground.ctx.run.run_id;
        for (step, how, made) in self.steps(ChangeId::StackDump) {
            let Made::Stacks { subject, sample: of } = made else { continue };
            if of != sample {
                continue;
            }
            let prepared = stacks.prepared.iter().find(|(of, _)| *of == subject).map(|(_, prepared)| prepared);
            match prepared {
                Some(Ok(prepared)) if !self.over() && self.linked().await => {
                    let Ok(permit) = Permit::of(self.policy, ChangeId::StackDump) else { continue };
                    let Some(mut taking) = self.begin(step, how).await else { continue };
                    let command = format!("SIGUSR1 to {subject}, pid {}", prepared.target.process.pid);
                    let shell = self.shell(false);
                    let end =
                        stack_dump::take(&shell, prepared, permit, run, sample, &mut taking.sink, how.encoding).await;
                    self.finish(taking, &command, verdict(end.complete, &end.text)).await;
                    stacks.ends.push((subject, end));
                }
                Some(Err(why)) => self.pass(step, Outcome::Skipped, why.clone()).await,
                Some(Ok(_)) | None => self.pass_stopped(step).await,
            }
        }
    }

    /// Takes the second sample when its time has come, or at once when the work is stopped.
    pub(super) async fn sample_again(&mut self, stacks: &mut Stacks) {
        let ready = |subject: Subject| stacks.prepared.iter().any(|(of, p)| *of == subject && p.is_ok());
        let any = self
            .steps(ChangeId::StackDump)
            .into_iter()
            .any(|(.., made)| matches!(made, Made::Stacks { subject, sample: 2 } if ready(subject)));
        if let Some(first) = stacks.first.filter(|_| any) {
            self.wait_until(first + self.policy.sample_gap).await;
        }
        self.sample(stacks, 2).await;
    }

    pub(super) async fn shims(&mut self, stacks: &mut Stacks) {
        for (step, how, made) in self.steps(ChangeId::StackDump) {
            let (Made::Shims, Ok(permit)) = (made, Permit::of(self.policy, ChangeId::StackDump)) else { continue };
            if self.over() {
                self.pass_stopped(step).await;
                continue;
            }
            let Some(mut taking) = self.begin(step, how).await else { continue };
            let shell = self.shell(false);
            let record = stack_dump::shims(&shell, self.ground.facts, self.policy, permit, &mut taking.sink).await;
            let end = match record.state {
                ChangeState::Reverted | ChangeState::EndedByRestart => (Outcome::Complete, None),
                ChangeState::Refused | ChangeState::Skipped => (Outcome::Skipped, Some(record.text.clone())),
                ChangeState::StillChanged => (Outcome::Failed, Some(record.text.clone())),
            };
            self.finish(taking, "SIGUSR1 to each containerd-shim-runc-v2", end).await;
            let record = self.with_node(record);
            self.tell(&record).await;
            stacks.records.push(record);
        }
    }

    pub(super) async fn conclude(&mut self, stacks: Stacks) -> Vec<ChangeRecord> {
        let Stacks { prepared, ends, mut records, .. } = stacks;
        for (subject, prepared) in prepared {
            let Ok(prepared) = prepared else { continue };
            let mut mine: Vec<DumpEnd> =
                ends.iter().filter(|(of, _)| *of == subject).map(|(_, end)| end.clone()).collect();
            if mine.is_empty() {
                continue;
            }
            let shell = self.shell(true);
            for end in &mut mine {
                let looking = stack_dump::look_again(&shell, &prepared, &self.ground.ctx.run.run_id, end);
                // Until then it stays what was last seen of it.
                drop(tokio::time::timeout(LOOK_AGAIN_BUDGET, looking).await);
            }
            let record = self.with_node(stack_dump::conclude(&prepared, &mine, self.ground.target.name.as_str()));
            self.tell(&record).await;
            records.push(record);
        }
        records
    }
}
