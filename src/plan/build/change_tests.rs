//! Tests of the steps that changes to the node yield, and of where logs are read.

use super::*;
use crate::plan::ChangePolicy;
use crate::plan::{ChangeId, LogFiles, LogOf, StepId};

/// Steps that a change yields, with what becomes of them.
fn made(policy: ChangePolicy, facts: &NodeFacts) -> BTreeMap<String, Action> {
    let selection = Selection { changes: policy, ..Selection::default() };
    let catalog = Catalog::builtin();
    let made = |id: &StepId| catalog.get(id).is_some_and(|s| s.made_by.is_some());
    let plan = build(&catalog, &selection, facts, now());
    plan.steps.into_iter().filter(|s| made(&s.id)).map(|s| (s.id.to_string(), s.action)).collect()
}

#[test]
fn what_changes_yield_is_planned_as_the_policy_says() {
    let all = made(ChangePolicy::default(), &full());
    let of = |change: ChangeId| -> Vec<&str> {
        let yields = |action: &Action| matches!(action, Action::Change(step) if step.change == change);
        all.iter().filter(|(_, action)| yields(action)).map(|(id, _)| id.as_str()).collect()
    };
    assert_eq!(
        of(ChangeId::StackDump),
        ["containerd/stacks-1", "containerd/stacks-2", "docker/stacks-1", "docker/stacks-2"]
    );
    assert_eq!(
        of(ChangeId::DockerdDebug),
        ["containerd/journal-window", "docker/journal-window", "kubelet/journal-window"]
    );
    assert_eq!(all["containerd/shims"], Action::Skipped("only on request: --shim-stacks.".to_owned()));
    let Action::Change(step) = &all["docker/stacks-1"] else { panic!() };
    assert_eq!((step.bounds.max_bytes, step.bounds.timeout.as_secs()), (256_000_000, 60));
    assert_eq!(step.encoding, Encoding::Zstd);

    let shims = made(ChangePolicy { shim_stacks: true, ..ChangePolicy::default() }, &full());
    assert!(matches!(shims["containerd/shims"], Action::Change(_)));
    let read_only = made(ChangePolicy { read_only: true, shim_stacks: true, ..ChangePolicy::default() }, &full());
    assert_eq!(read_only.len(), 9);
    assert!(read_only.values().all(|a| matches!(a, Action::Skipped(why) if why.contains("--read-only"))));
    let quiet = made(ChangePolicy { dockerd_debug: false, ..ChangePolicy::default() }, &full());
    assert!(matches!(&quiet["docker/journal-window"], Action::Skipped(why) if why.contains("dockerd-debug is off")));
    assert!(matches!(quiet["docker/stacks-1"], Action::Change(_)));
}

#[test]
fn without_dockerd_there_is_no_debug_window_and_snapshots_change_nothing() {
    let mut facts = full();
    facts.dockerd = None;
    let made = made(ChangePolicy::default(), &facts);
    for id in ["docker/stacks-1", "docker/journal-window", "containerd/journal-window", "kubelet/journal-window"] {
        assert_eq!(made[id], Action::Absent("dockerd was not found.".to_owned()), "{id}");
    }
    assert!(matches!(made["containerd/stacks-1"], Action::Change(_)));
    let selection = Selection { profile: Profile::Snapshot, ..Selection::default() };
    assert_eq!(build(&Catalog::builtin(), &selection, &full(), now()).to_change(), 0);
}

#[test]
fn log_files_of_the_operator_come_before_the_journal_where_they_are() {
    let logs = LogFiles {
        docker: vec!["/data/{since}/docker.log".to_owned(), "/var/log/d".to_owned()],
        ..LogFiles::default()
    };
    let catalog = Catalog::builtin().with_logs(&logs);
    assert!(catalog.probed_files().contains("/var/log/d"));
    let mut facts = full();
    let of = |facts: &NodeFacts| build(&catalog, &Selection::default(), facts, now());
    assert!(argv(&of(&facts), "docker/journal").contains("journalctl"));
    facts.files.insert("/var/log/d".to_owned(), true);
    let plan = of(&facts);
    let What::Script { text, args } = &run(&plan, "docker/journal").what else { panic!() };
    assert!(text.contains("no log file was found"));
    assert_eq!(args[1..], ["/data/{since}/docker.log", "/var/log/d"]);
    assert!(argv(&plan, "kubelet/journal").contains("journalctl"));
}

#[test]
fn the_usual_log_files_are_those_of_the_catalog() {
    let mut facts = full();
    facts.journal = false;
    let plan = plan(&facts);
    for which in LogOf::ALL {
        let id = format!("{}/journal", which.area());
        let What::Script { args, .. } = &run(&plan, &id).what else { panic!() };
        let want: Vec<&str> = std::iter::once(which.pattern()).chain(which.usual_files().iter().copied()).collect();
        assert_eq!(*args, want, "{id}");
    }
}
