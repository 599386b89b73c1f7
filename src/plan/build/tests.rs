//! Tests of the plan for nodes of many kinds.

use std::collections::BTreeMap;

use super::*;
use crate::plan::facts::{Daemon, ShellFacts};
use crate::plan::schema::Profile;

fn now() -> Timestamp {
    "2026-11-20T23:00:00Z".parse().unwrap()
}

fn daemon(unit: &str, pid: u32) -> Daemon {
    Daemon {
        unit: Some(unit.to_owned()),
        state: Some("active/running".to_owned()),
        pid: Some(pid),
        ..Daemon::default()
    }
}

/// A node with every tool the catalog names and every file it reads.
fn full() -> NodeFacts {
    let catalog = Catalog::builtin();
    NodeFacts {
        init: "systemd".to_owned(),
        systemd_version: Some(252),
        mem_total_kib: Some(4_000_000),
        mem_available_kib: Some(2_000_000),
        tools: catalog.tools().into_iter().map(|t| (t.clone(), format!("/usr/bin/{t}"))).collect(),
        files: catalog.probed_files().into_iter().map(|f| (f, true)).collect(),
        shell: ShellFacts {
            zstd: Some("/usr/bin/zstd".to_owned()),
            gzip: Some("/bin/gzip".to_owned()),
            ..ShellFacts::default()
        },
        dockerd: Some(daemon("docker.service", 50)),
        containerd: Some(daemon("containerd.service", 60)),
        kubelet: Some(daemon("kubelet.service", 70)),
        journal: true,
        ..NodeFacts::default()
    }
}

fn plan(facts: &NodeFacts) -> NodePlan {
    build(&Catalog::builtin(), &Selection::default(), facts, now())
}

fn step<'a>(plan: &'a NodePlan, id: &str) -> &'a PlannedStep {
    plan.steps.iter().find(|s| s.id.as_str() == id).unwrap_or_else(|| panic!("{id} is not planned"))
}

fn run<'a>(plan: &'a NodePlan, id: &str) -> &'a Run {
    match &step(plan, id).action {
        Action::Run(run) => run,
        other => panic!("{id}: {other:?}"),
    }
}

fn argv(plan: &NodePlan, id: &str) -> String {
    match &run(plan, id).what {
        What::Argv(argv) => argv.join(" "),
        What::Script { text, args } => panic!("{id} is a script: {text} {args:?}"),
    }
}

fn absent<'a>(plan: &'a NodePlan, id: &str) -> &'a str {
    match &step(plan, id).action {
        Action::Absent(why) => why,
        other => panic!("{id}: {other:?}"),
    }
}

#[test]
fn healthy_docker_node_gets_the_commands_of_the_table() {
    let plan = plan(&full());
    for (id, want) in [
        ("host/ps", "/usr/bin/ps -elF"),
        ("host/top-1", "/usr/bin/env HOME=/proc XDG_CONFIG_HOME=/proc top -b -n 1"),
        ("host/top-2", "/usr/bin/env HOME=/proc XDG_CONFIG_HOME=/proc top -b -n 1"),
        ("host/pstree", "/usr/bin/pstree -alp"),
        ("host/free", "/usr/bin/free -lm"),
        ("host/meminfo", "/usr/bin/cat /proc/meminfo"),
        ("host/iostat", "/usr/bin/iostat -xz 1 3"),
        ("host/iotop", "/usr/bin/iotop -b -o -n 2"),
        ("host/df", "/usr/bin/df -h"),
        ("host/df-inodes", "/usr/bin/df -i"),
        ("kernel/dmesg", "/usr/bin/dmesg -T"),
        ("net/sockets", "/usr/bin/netstat -anltp"),
        ("net/interfaces", "/usr/bin/ip -s addr"),
        ("docker/ps", "/usr/bin/docker ps -a --no-trunc"),
        ("docker/stats", "/usr/bin/docker stats --no-stream"),
        ("docker/info", "/usr/bin/docker info --format {{json .}}"),
        ("docker/status", "/usr/bin/systemctl --no-pager --full --lines=20 status docker.service"),
        ("docker/daemon-json", "/usr/bin/cat /etc/docker/daemon.json"),
        (
            "docker/journal",
            "/usr/bin/journalctl --no-pager --utc --all -o short-iso-precise -u docker.service --since=-7200s",
        ),
        (
            "containerd/journal",
            "/usr/bin/journalctl --no-pager --utc --all -o short-iso-precise -u containerd.service --since=-7200s",
        ),
        (
            "kubelet/journal",
            "/usr/bin/journalctl --no-pager --utc --all -o short-iso-precise -u kubelet.service --since=-7200s",
        ),
        ("kubelet/config", "/usr/bin/cat /var/lib/kubelet/config.yaml"),
        ("cri/ps", "/usr/bin/crictl --runtime-endpoint unix:///run/cri-dockerd.sock --timeout 60s ps -a --no-trunc"),
    ] {
        assert_eq!(argv(&plan, id), want);
    }
    let missing: Vec<_> =
        plan.steps.iter().filter(|s| matches!(s.action, Action::Absent(_))).map(|s| s.id.as_str()).collect();
    assert_eq!(missing, ["cri/crio-status", "cri/crio-journal"]);
    assert_eq!(plan.to_run() + plan.to_ask() + plan.to_change() + plan.absent() + plan.skipped(), plan.steps.len());
    let ps = run(&plan, "docker/ps");
    assert!(ps.stacks_on_timeout && ps.privileged && ps.bounds.timeout.as_secs() == 5);
    assert_eq!(run(&plan, "docker/journal").bounds.max_bytes, 64_000_000);
    assert_eq!(run(&plan, "docker/status").ok_exit, [0, 3]);
    let What::Script { text, args } = &run(&plan, "docker/fds").what else { panic!() };
    assert_eq!(args, &["50"]);
    assert!(text.starts_with("LC_ALL=C;") && !text.contains("# Open"));
}

#[test]
fn phases_keep_apart_and_the_most_volatile_comes_first() {
    let plan = plan(&full());
    let order: Vec<_> = plan.steps.iter().map(|s| s.phase).collect();
    assert!(order.is_sorted());
    assert_eq!(plan.steps[0].id.as_str(), "host/stuck");
    let at = |id: &str| plan.steps.iter().position(|s| s.id.as_str() == id).unwrap();
    for (earlier, later) in [
        ("host/ps", "host/meminfo"),
        ("net/sockets", "host/free"),
        ("host/pressure", "host/mounts"),
        ("host/mounts", "kernel/dmesg"),
        ("docker/journal", "docker/ps"),
        ("docker/stacks-1", "docker/stacks-2"),
        ("docker/stacks-2", "docker/journal-window"),
        ("host/dbus-cookie-1", "host/dbus-cookie-2"),
        ("kubelet/journal", "host/top-2"),
    ] {
        assert!(at(earlier) < at(later), "{earlier} after {later}");
    }
    let during = plan
        .in_phase(Phase::During)
        .all(|s| s.id.area() == "docker" || matches!(s.action, Action::Change(_) | Action::Skipped(_)));
    assert!(during);
    assert!(plan.in_phase(Phase::After).all(|s| !s.id.as_str().ends_with("/journal")), "debug lines evict old ones");
}

#[test]
fn containerd_node_has_no_docker_rows() {
    let mut facts = full();
    facts.dockerd = None;
    facts.files.insert("/run/cri-dockerd.sock".to_owned(), false);
    facts.files.insert("/var/run/cri-dockerd.sock".to_owned(), false);
    facts.files.insert("/run/crio/crio.sock".to_owned(), false);
    facts.files.insert("/run/k3s/containerd/containerd.sock".to_owned(), false);
    let plan = plan(&facts);
    for id in ["docker/ps", "docker/journal", "docker/fds", "docker/daemon-json"] {
        assert_eq!(absent(&plan, id), "dockerd was not found.");
    }
    assert!(argv(&plan, "cri/ps").contains("unix:///run/containerd/containerd.sock"));
}

#[test]
fn a_stopped_dockerd_is_not_asked_since_that_would_start_it() {
    let mut facts = full();
    facts.dockerd = Some(Daemon {
        unit: Some("docker.service".to_owned()),
        state: Some("inactive/dead".to_owned()),
        ..Daemon::default()
    });
    let plan = plan(&facts);
    for id in ["docker/ps", "docker/stats", "docker/info", "docker/version", "docker/fds"] {
        assert_eq!(absent(&plan, id), "dockerd does not run: docker.service is inactive/dead.");
    }
    let mut silent = facts.clone();
    silent.systemctl_failed = true;
    assert_eq!(
        absent(&super::super::build(&Catalog::builtin(), &Selection::default(), &silent, now()), "docker/ps"),
        "dockerd was not found among the processes, and systemctl does not answer."
    );
    assert!(argv(&plan, "docker/status").ends_with("status docker.service"));
    assert!(argv(&plan, "docker/journal").contains("docker.service"));
    for step in &plan.steps {
        if let Action::Run(Run { what: What::Argv(argv), .. }) = &step.action {
            assert!(!argv[0].ends_with("/docker"), "{}", step.id);
        }
    }
}

#[test]
fn a_node_without_tools_still_yields_what_the_shell_can_read() {
    let facts = NodeFacts {
        files: Catalog::builtin().probed_files().into_iter().map(|f| (f, false)).collect(),
        ..NodeFacts::default()
    };
    let plan = plan(&facts);
    for id in ["host/stuck", "host/ps", "host/runc"] {
        assert!(matches!(run(&plan, id).what, What::Script { .. }), "{id}");
    }
    assert_eq!(run(&plan, "host/ps").encoding, Encoding::Plain);
    assert_eq!(absent(&plan, "host/iotop"), "iotop is not installed; pidstat is not installed.");
    assert_eq!(absent(&plan, "host/iostat"), "iostat is not installed; cat and sleep are not installed.");
    assert_eq!(absent(&plan, "host/systemd"), "PID 1 is not systemd.");
    for step in &plan.steps {
        if let Action::Absent(why) = &step.action {
            assert!(why.ends_with('.') && why.len() > 10 && !why.contains('\n'), "{}: {why:?}", step.id);
        }
    }
}

#[test]
fn falls_back_tool_by_tool() {
    let without = |tools: &[&str]| {
        let mut facts = full();
        for tool in tools {
            facts.tools.remove(*tool);
        }
        plan(&facts)
    };
    let text = |plan: &NodePlan, id: &str| match &run(plan, id).what {
        What::Argv(argv) => argv.join(" "),
        What::Script { text, args } => format!("{text} {}", args.join(" ")),
    };
    for (gone, id, want) in [
        (&["netstat"][..], "net/sockets", "/usr/bin/ss -antp"),
        (&["netstat", "ss"], "net/sockets", "/proc/net/tcp /proc/net/tcp6"),
        (&["ps"], "host/ps", "/proc/[0-9]*"),
        (&["pstree"], "host/pstree", "--forest"),
        (&["free"], "host/free", "/usr/bin/cat /proc/meminfo"),
        (&["iostat"], "host/iostat", "/proc/diskstats"),
        (&["sar"], "host/sar-cpu", "/proc/stat"),
        (&["top"], "host/top-1", "/proc/loadavg"),
        (&["dmesg"], "kernel/dmesg", "journalctl --no-pager --utc -k -b"),
        (&["df"], "host/df", "/proc/self/mountinfo"),
        (&["iotop"], "host/iotop", "/usr/bin/pidstat -d 1 2"),
        (&["ip"], "net/interfaces", "/usr/bin/ifconfig -a"),
        (&["systemctl"], "docker/status", "/usr/bin/service docker status"),
        (&["journalctl"], "docker/journal", "-"),
    ] {
        let plan = without(gone);
        if want == "-" {
            assert_eq!(
                absent(&plan, id),
                "journalctl is not installed; there is a journal, so logs are not expected in files."
            );
        } else {
            assert!(text(&plan, id).contains(want), "{id}: {}", text(&plan, id));
        }
    }
    let mut facts = full();
    facts.systemd_version = Some(219);
    assert!(argv(&plan(&facts), "docker/journal").contains("-o short-iso -u"));
    facts.journal = false;
    assert!(text(&plan(&facts), "docker/journal").contains("/var/log/docker.log"));
    facts.tools.insert("busybox/ps".to_owned(), "/bin/ps".to_owned());
    assert!(text(&plan(&facts), "host/ps").contains("##### owners"));
}

#[test]
fn packing_follows_the_tools_of_the_node() {
    let mut facts = full();
    assert_eq!(run(&plan(&facts), "docker/journal").encoding, Encoding::Zstd);
    for small in ["host/free", "host/df", "host/stuck", "net/routes"] {
        assert_eq!(run(&plan(&facts), small).encoding, Encoding::Plain, "{small}");
    }
    facts.shell.zstd = None;
    assert_eq!(run(&plan(&facts), "docker/journal").encoding, Encoding::Gzip);
    facts.shell.gzip = None;
    assert_eq!(run(&plan(&facts), "docker/journal").encoding, Encoding::Plain);
}

#[test]
fn the_kubelet_is_asked_for_what_the_credential_allows_and_the_profile_as_long_as_wanted() {
    let asked = |kubelet: KubeletSelection, facts: &NodeFacts| {
        build(&Catalog::builtin(), &Selection { kubelet, ..Selection::default() }, facts, now())
    };
    let without = asked(KubeletSelection::default(), &full());
    assert_eq!(without.to_ask(), 1, "the port for health checks wants none");
    assert!(matches!(&step(&without, "kubelet/pods").action, Action::Skipped(why) if why.contains("no credential")));

    let credential = |seconds| KubeletSelection { credential: true, cpu_profile: Duration::from_secs(seconds) };
    let with = asked(credential(30), &full());
    let get = |id: &str| match &step(&with, id).action {
        Action::Kubelet(get) => get.clone(),
        other => panic!("{id}: {other:?}"),
    };
    assert_eq!(get("kubelet/profile").path, "/debug/pprof/profile?seconds=30");
    assert_eq!(get("kubelet/profile").bounds.timeout.as_secs(), 40);
    assert_eq!(get("kubelet/healthz-local").port, KubeletPort::Healthz);
    assert!(get("kubelet/metrics-1").gzip && get("kubelet/metrics-1").bounds.timeout.as_secs() > 120);
    let order: Vec<_> =
        with.steps.iter().filter(|s| matches!(s.action, Action::Kubelet(_))).map(|s| s.id.as_str()).collect();
    let at = |id: &str| order.iter().position(|o| *o == id).unwrap_or_else(|| panic!("{id}"));
    assert!(at("kubelet/healthz") < at("kubelet/goroutine-groups-1"));
    assert!(
        at("kubelet/goroutine-groups-1") < at("kubelet/goroutine-1")
            && at("kubelet/goroutine-1") < at("kubelet/metrics-1")
    );
    assert!(at("kubelet/heap") < at("kubelet/goroutine-2") && at("kubelet/goroutine-2") < at("kubelet/metrics-2"));

    let no_profile = asked(credential(0), &full());
    assert!(
        matches!(&step(&no_profile, "kubelet/profile").action, Action::Skipped(why) if why.contains("--cpu-profile 0"))
    );
    let mut stopped = full();
    stopped.kubelet.as_mut().unwrap().pid = None;
    assert_eq!(asked(credential(5), &stopped).to_ask(), 0);
}

#[test]
fn heavy_steps_wait_for_better_times_when_memory_is_short() {
    let mut facts = full();
    facts.mem_available_kib = Some(70_000); // more than 64 MiB, less than 2 %
    let plan = plan(&facts);
    assert!(step(&plan, "docker/stats").heavy);
    assert_eq!(
        step(&plan, "docker/stats").action,
        Action::Skipped("only 68 MiB of memory are available on the node.".to_owned())
    );
    assert!(matches!(step(&plan, "docker/ps").action, Action::Run(_)));
    let short =
        plan.steps.iter().filter(|s| matches!(&s.action, Action::Skipped(why) if why.contains("memory"))).count();
    assert_eq!(short, 3);
}

#[test]
fn hostile_facts_stay_single_arguments_and_out_of_scripts() {
    let evil = "$(touch /tmp/x)`id`'\";rm -rf /";
    let mut facts = full();
    evil.clone_into(&mut facts.hostname);
    evil.clone_into(&mut facts.os);
    let cmdline = vec![
        format!("--config-file=/etc/{evil}"),
        format!("--container-runtime-endpoint=unix:///run/{evil}"),
        format!("--config=/var/{evil}"),
    ];
    for daemon in [&mut facts.dockerd, &mut facts.containerd, &mut facts.kubelet] {
        *daemon = Some(Daemon {
            unit: Some(format!("{evil}.service")),
            pid: Some(1),
            cmdline: cmdline.clone(),
            ..Daemon::default()
        });
    }
    let hostile = plan(&facts);
    let clean: BTreeMap<_, _> = plan(&full()).steps.into_iter().map(|s| (s.id.clone(), s.action)).collect();
    for step in &hostile.steps {
        match &step.action {
            Action::Run(Run { what: What::Script { text, .. }, .. }) => {
                assert!(!text.contains("touch"), "{}", step.id);
                if let Some(Action::Run(Run { what: What::Script { text: usual, .. }, .. })) = clean.get(&step.id) {
                    assert_eq!(text, usual, "{}", step.id);
                }
            }
            Action::Run(Run { what: What::Argv(argv), .. }) => {
                // A hostile path is one argument, never an option, and never the program.
                assert!(!argv[0].contains("touch"), "{}", step.id);
                assert!(
                    argv.iter()
                        .filter(|a| a.contains("touch"))
                        .all(|a| a.starts_with('/') || a.starts_with("unix:///"))
                );
            }
            Action::Absent(why) => assert!(!why.contains("touch"), "{why}"),
            Action::Skipped(_) | Action::Change(_) | Action::Kubelet(_) => {}
        }
        assert!(!step.file.contains("touch") && !step.about.contains("touch"));
    }
    assert_eq!(
        absent(&hostile, "docker/journal"),
        "dockerd has no systemd unit of its own; there is a journal, so logs are not expected in files."
    );
}

#[test]
fn snapshot_is_light_and_short() {
    let selection = Selection { profile: Profile::Snapshot, ..Selection::default() };
    let light = build(&Catalog::builtin(), &selection, &full(), now());
    assert!(light.steps.len() < plan(&full()).steps.len());
    assert!(argv(&light, "kubelet/journal").ends_with("--since=-900s"));
    assert!(light.steps.iter().all(|s| !s.heavy));
    for id in [
        "host/ps",
        "host/stuck",
        "host/meminfo",
        "host/pressure",
        "kernel/dmesg",
        "docker/ps",
        "docker/info",
        "kubelet/status",
    ] {
        step(&light, id);
    }
}

#[test]
fn steps_of_the_user_are_planned_like_any_other() {
    let table = "id = 'site/x'\nabout = 'x'\n[[try]]\nscript = 'cat \"$1\"'\nargs = ['/proc/{dockerd.pid}/maps']\nneeds = ['cat']\n";
    let catalog = Catalog::builtin().with_user_steps(&[(table.parse().unwrap(), 3)]).unwrap();
    let plan = build(&catalog, &Selection::default(), &full(), now());
    let What::Script { text, args } = &run(&plan, "site/x").what else { panic!() };
    assert!(text.ends_with("cat \"$1\""));
    assert_eq!(args, &["/proc/50/maps"]);
}

#[path = "change_tests.rs"]
mod change_tests;
