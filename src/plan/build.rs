//! Builds one node's plan from the catalog, the selection and the node's facts. Pure; no I/O.
//! Called by `collect/` for each node and by `plegcollect plan`.

use std::time::Duration;

use jiff::Timestamp;

use super::catalog::{self, Catalog};
use super::facts::NodeFacts;
use super::kubelet::{KubeletGet, KubeletPort, KubeletSelection};
use super::placeholder::{Template, Values};
use super::schema::{How, StepSpec, Way};
use super::selection::Selection;
use super::step::{Action, ChangeStep, Encoding, NodePlan, Phase, PlannedStep, Run, What};

/// Why the kubelet's authenticated port is not asked.
const NO_CREDENTIAL: &str =
    "no credential for the kubelet is given (--kubelet-token-file and its like, or [kubelet] of the inventory)";

/// Below this much available memory (the larger of 64 MiB and 2 % of all) heavy steps are left out: they could be
/// what brings the node down.
const LEAST_MEMORY_KIB: u64 = 64 * 1024;

/// Returns everything that will be done on one node, in order: by phase, then the most volatile first, then as the
/// catalog has it.
///
/// `now` is the operator's clock; nodes are only ever told spans of time, so their own clocks may be off.
/// Steps that are not selected are not in the plan.
#[must_use]
pub fn build(catalog: &Catalog, selection: &Selection, facts: &NodeFacts, now: Timestamp) -> NodePlan {
    let kubelet = &selection.kubelet;
    let (since_seconds, cpu_profile) = (selection.since_seconds(now), kubelet.cpu_profile.as_secs());
    let values = Values { facts, since_seconds, cpu_profile };
    let mut chosen: Vec<&StepSpec> = selection.chosen(catalog).collect();
    chosen.sort_by_key(|step| (step.phase, step.volatility));
    let steps = chosen
        .into_iter()
        .map(|step| PlannedStep {
            id: step.id.clone(),
            file: step.file.clone(),
            phase: step.phase,
            action: action(step, selection, values),
            about: step.about.clone(),
            heavy: step.heavy,
        })
        .collect();
    NodePlan { steps }
}

impl NodePlan {
    /// Returns the number of steps that will run.
    #[must_use]
    pub fn to_run(&self) -> usize {
        self.steps.iter().filter(|s| matches!(s.action, Action::Run(_))).count()
    }

    /// Returns the number of requests to the kubelet.
    #[must_use]
    pub fn to_ask(&self) -> usize {
        self.steps.iter().filter(|s| matches!(s.action, Action::Kubelet(_))).count()
    }

    /// Returns the number of steps a change to the node yields.
    #[must_use]
    pub fn to_change(&self) -> usize {
        self.steps.iter().filter(|s| matches!(s.action, Action::Change(_))).count()
    }

    /// Returns the number of steps the node lacks something for.
    #[must_use]
    pub fn absent(&self) -> usize {
        self.steps.iter().filter(|s| matches!(s.action, Action::Absent(_))).count()
    }

    /// Returns the number of steps left out by choice.
    #[must_use]
    pub fn skipped(&self) -> usize {
        self.steps.iter().filter(|s| matches!(s.action, Action::Skipped(_))).count()
    }

    /// Returns the steps of one phase, in order.
    pub fn in_phase(&self, phase: Phase) -> impl Iterator<Item = &PlannedStep> {
        self.steps.iter().filter(move |s| s.phase == phase)
    }
}

fn action(step: &StepSpec, selection: &Selection, values: Values<'_>) -> Action {
    let facts = values.facts;
    if let Some(why) = step.requires.iter().find_map(|c| c.missing(facts)) {
        return Action::Absent(sentence(&why));
    }
    if let Some(made_by) = step.made_by {
        return match selection.changes.leaves_out(made_by) {
            Some(why) => Action::Skipped(sentence(why)),
            None => Action::Change(ChangeStep {
                change: made_by.change(),
                bounds: step.bounds,
                encoding: encoding(step, facts),
            }),
        };
    }
    let mut reasons: Vec<String> = Vec::new();
    for way in &step.ways {
        if let How::Kubelet(_) | How::KubeletHealthz(_) = &way.how {
            return asked(step, way, &selection.kubelet, values);
        }
        match what(way, values) {
            Ok(what) => {
                if step.heavy
                    && let Some(why) = short_of_memory(facts)
                {
                    return Action::Skipped(sentence(&why));
                }
                return Action::Run(Run {
                    what,
                    privileged: step.privileged,
                    bounds: step.bounds,
                    ok_exit: step.ok_exit.clone(),
                    encoding: encoding(step, facts),
                    stacks_on_timeout: step.stacks_on_timeout,
                });
            }
            Err(why) if reasons.contains(&why) => {}
            Err(why) => reasons.push(why),
        }
    }
    Action::Absent(sentence(&reasons.join("; ")))
}

/// Returns what the kubelet is asked for by a step, or why it is not.
fn asked(step: &StepSpec, way: &Way, kubelet: &KubeletSelection, values: Values<'_>) -> Action {
    if let Some(why) = way.requires.iter().find_map(|c| c.missing(values.facts)) {
        return Action::Absent(sentence(&why));
    }
    let (port, path) = match &way.how {
        How::Kubelet(_) if !kubelet.credential => return Action::Skipped(sentence(NO_CREDENTIAL)),
        How::Kubelet(path) => match path.fill(values) {
            Ok(path) => (KubeletPort::Api, path),
            Err(why) => return Action::Skipped(sentence(&why)),
        },
        How::KubeletHealthz(path) => (KubeletPort::Healthz, path.clone()),
        How::Argv(_) | How::Script { .. } | How::Read(_) => return Action::Absent(sentence("nothing to ask for")),
    };
    let mut bounds = step.bounds;
    if matches!(&way.how, How::Kubelet(path) if path.literal().is_none()) {
        // The answer comes when the profile is over.
        bounds.timeout += Duration::from_secs(values.cpu_profile);
    }
    Action::Kubelet(KubeletGet { port, path, bounds, gzip: step.compress })
}

/// Returns what a way runs on this node, or why it cannot, as a clause.
fn what(way: &Way, values: Values<'_>) -> Result<What, String> {
    let facts = values.facts;
    if let Some(why) = way.requires.iter().find_map(|c| c.missing(facts)) {
        return Err(why);
    }
    let missing: Vec<&str> = way.needs.iter().filter(|n| !facts.tools.contains_key(*n)).map(String::as_str).collect();
    match missing.as_slice() {
        [] => {}
        [one] => return Err(format!("{one} is not installed")),
        several => return Err(format!("{} are not installed", several.join(" and "))),
    }
    if way.not_busybox
        && let Some(tool) = way.needs.iter().find(|n| facts.tools.contains_key(&format!("busybox/{n}")))
    {
        return Err(format!("{tool} is busybox's, which lacks the options"));
    }
    if let Some(path) = way.files.iter().find(|f| facts.files.get(*f) != Some(&true)) {
        return Err(not_readable(path));
    }
    if !way.any_file.is_empty() && !way.any_file.iter().any(|f| facts.files.get(f) == Some(&true)) {
        return Err(not_readable(&way.any_file.join(" or ")));
    }
    let fill = |templates: &[Template]| templates.iter().map(|t| t.fill(values)).collect::<Result<Vec<_>, _>>();
    match &way.how {
        How::Argv(argv) => {
            let mut argv = fill(argv)?;
            if let Some(program) = argv.first_mut()
                && let Some(path) = facts.tools.get(program.as_str())
            {
                program.clone_from(path);
            }
            Ok(What::Argv(argv))
        }
        How::Script { text, name, args } => {
            Ok(What::Script { text: catalog::shipped(text, name.is_some()), args: fill(args)? })
        }
        How::Read(paths) => read(fill(paths)?, facts),
        How::Kubelet(_) | How::KubeletHealthz(_) => Err("the kubelet is asked otherwise".to_owned()),
    }
}

/// Prints one file as it is, several under headings. A path that was not probed is taken to be there.
fn read(paths: Vec<String>, facts: &NodeFacts) -> Result<What, String> {
    let gone = |path: &String| facts.files.get(path) == Some(&false);
    if let Some(first) = paths.first()
        && paths.iter().all(gone)
    {
        return Err(not_readable(first));
    }
    if paths.len() == 1 {
        let cat = facts.tools.get("cat").cloned().unwrap_or_else(|| "cat".to_owned());
        return Ok(What::Argv(std::iter::once(cat).chain(paths).collect()));
    }
    Ok(What::Script { text: catalog::shipped(catalog::read_script(), true), args: paths })
}

fn not_readable(path: &str) -> String {
    format!("{path} is not there, or not readable")
}

fn short_of_memory(facts: &NodeFacts) -> Option<String> {
    let available = facts.mem_available_kib?;
    let least = LEAST_MEMORY_KIB.max(facts.mem_total_kib.unwrap_or(0) / 50);
    (available < least).then(|| format!("only {} MiB of memory are available on the node", available / 1024))
}

fn encoding(step: &StepSpec, facts: &NodeFacts) -> Encoding {
    match (&facts.shell.zstd, &facts.shell.gzip) {
        _ if !step.compress => Encoding::Plain,
        (Some(_), _) => Encoding::Zstd,
        (None, Some(_)) => Encoding::Gzip,
        (None, None) => Encoding::Plain,
    }
}

/// Makes a sentence of a clause, without spoiling a program's name by a capital.
fn sentence(clause: &str) -> String {
    format!("{clause}.")
}

#[cfg(test)]
mod tests;
