//! When a kubelet's verbosity is raised: after dockerd's debug is on, put back before it is switched off. What that does is
//! in `change/`; here is its place among a node's changes. Called by `changes.rs`.

use super::changes::{Changes, Opened, signs_of_life};
use crate::bundle::layout;
use crate::change::kubelet_verbosity::{self, NotePlace, OnNode, Prepared, Terms};
use crate::change::{Applied, ChangeRecord, Permit, journal_window};
use crate::event::EventKind;
use crate::evidence::ChangeState;
use crate::plan::ChangeId;

const CHANGE: ChangeId = ChangeId::KubeletVerbosity;

impl Changes<'_> {
    /// Finds out whether it may be raised; what is wanted and not to be had is told at once.
    pub(super) async fn prepare_verbosity(&mut self, opened: &mut Opened) -> Option<Prepared> {
        if self.steps(CHANGE).is_empty() {
            return None;
        }
        if self.over() {
            self.pass_verbosity().await;
            return None;
        }
        let refused = |state, text: String| ChangeRecord::not_made(CHANGE, "kubelet", state, text);
        let record = if let Err(why) = Permit::of(self.policy, CHANGE) {
            refused(ChangeState::Skipped, why.to_owned())
        } else if let Some(lost) = &self.tally.failure {
            let lost = self.ground.ctx.bundle.redactor.text(&lost.text);
            refused(ChangeState::Refused, format!("the kubelet's verbosity was not raised: the link failed ({lost})"))
        } else if let Some(kubelet) = self.ground.kubelet {
            let on_node = OnNode { kubelet, way: self.way };
            let preparing = kubelet_verbosity::prepare(&on_node, self.ground.facts, self.policy);
            match self.unless_stopped(preparing).await {
                Some(Ok(prepared)) => return Some(prepared),
                Some(Err(record)) => *record,
                None => {
                    self.pass_verbosity().await;
                    return None;
                }
            }
        } else {
            refused(ChangeState::Refused, "the kubelet's verbosity was not raised: the kubelet does not run".to_owned())
        };
        opened.refused.push(self.not_opened(record).await);
        None
    }

    async fn pass_verbosity(&mut self) {
        for (step, ..) in self.steps(CHANGE) {
            self.pass_stopped(step).await;
        }
    }

    /// Raises it, with signs of life for what is in force already.
    ///
    /// # Cancel safety
    /// Dropped early, it may be raised: the note on the node says what to put back.
    pub(super) async fn raise_verbosity(&mut self, prepared: Prepared, opened: &mut Opened) {
        let (Some(kubelet), Ok(permit)) = (self.ground.kubelet, Permit::of(self.policy, CHANGE)) else { return };
        let (ground, node, shell) = (self.ground, &self.ground.target.name, self.shell(true));
        let operator = self.operator();
        if self.over() {
            return self.pass_verbosity().await;
        }
        if let Err(error) = ground.bundle.add_json(layout::RECEIPT_KUBELET, &prepared.receipt(&operator)).await {
            let text = format!("the kubelet's verbosity was not raised: the receipt could not be stored here: {error}");
            let record = ChangeRecord::not_made(CHANGE, "kubelet", ChangeState::Refused, text);
            return opened.refused.push(self.not_opened(record).await);
        }
        let terms =
            Terms { operator: &operator, mend: self.mend(), window: self.policy.window, place: NotePlace::default() };
        let on_node = OnNode { kubelet, way: self.way };
        let told = self.told_of_verbosity();
        let raising = async {
            let cursors = journal_window::mark(&shell, ground.facts, &ground.ctx.selection.logs).await;
            ground.ctx.open.opened(node, told);
            let raised = kubelet_verbosity::raise(&shell, &on_node, prepared, permit, &terms).await;
            raised.map(|raised| (raised, cursors))
        };
        let raised = {
            let mut raising = std::pin::pin!(raising);
            tokio::select! {
                raised = &mut raising => raised,
                () = signs_of_life(ground, &shell, &opened.scope, self.policy.lease) => raising.await,
            }
        };
        match raised {
            Ok((raised, cursors)) => {
                let (node, text) = (node.clone(), raised.record().describe.clone());
                ground.ctx.events.send(EventKind::Change { node, change: CHANGE, state: None, text }).await;
                opened.scope.add(Applied::KubeletVerbosity(Box::new(raised)));
                opened.marks.push((CHANGE, cursors));
            }
            Err(record) => {
                if record.state != ChangeState::StillChanged {
                    ground.ctx.open.closed(node, CHANGE);
                }
                opened.refused.push(self.not_opened(*record).await);
            }
        }
    }
}
