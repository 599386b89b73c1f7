//! What the parser makes of genuine dumps: kubelets 1.21.1 and 1.36.2, dockerd 20.10.24 and containerd 1.6.20, the
//! API server 1.36.2.

use std::collections::BTreeSet;
use std::fs;

use super::*;

const HANG: &str = "kubelet/kubelet-1.36.2-pleg-hang/goroutine-debug2";

fn fixture(name: &str) -> Vec<u8> {
    fs::read(format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn all(name: &str) -> Vec<Dump> {
    read(fixture(name).as_slice(), Limits::default()).unwrap()
}

fn only(name: &str) -> Dump {
    let mut dumps = all(name);
    assert_eq!(dumps.len(), 1, "{name}");
    dumps.remove(0)
}

#[test]
fn every_goroutine_of_a_genuine_dump_is_counted() {
    for (name, total, stacks) in [
        ("kubelet/kubelet-1.36.2/goroutine-debug1.txt", 165, 83),
        ("kubelet/kubelet-1.36.2/goroutine-debug2.txt", 165, 95),
        ("kubelet/kubelet-1.36.2-pleg-hang/goroutine-debug1-t352.txt", 165, 87),
        ("kubelet/kubelet-1.36.2-pleg-hang/goroutine-debug2-t020.txt", 171, 100),
        ("kubelet/kubelet-1.36.2-pleg-hang/goroutine-debug2-t352.txt", 165, 95),
        ("kubelet/kubelet-1.21.1-dockershim/goroutine-debug1.txt", 774, 76),
        ("kubelet/kubelet-1.21.1-dockershim/goroutine-debug2.txt", 774, 91),
        ("analyze/dockerd-20.10-healthy.log", 40, 29),
        ("analyze/dockerd-20.10-convoy-1.log", 94, 33),
        ("analyze/dockerd-20.10-convoy-2.log", 98, 34),
        ("analyze/dockerd-20.10-convoy-debug1.txt", 96, 35),
        ("analyze/containerd-1.6-1.log", 42, 28),
        ("analyze/containerd-1.6-2.log", 42, 28),
        ("analyze/apiserver-1.36-debug1-head.txt", 1938, 33),
        ("analyze/apiserver-1.36-debug2-head.txt", 40, 17),
    ] {
        let dump = only(name);
        assert_eq!((dump.total, dump.stacks.len(), dump.cut), (total, stacks, false), "{name}");
        // Counted by other means: heads, and numbers before an at sign.
        let text = String::from_utf8(fixture(name)).unwrap();
        let counted: u64 = match dump.form {
            Form::Blocks => {
                text.lines().filter(|line| line.starts_with("goroutine ") && line.ends_with("]:")).count() as u64
            }
            Form::Grouped => text.lines().filter_map(|line| line.split_once(" @ ")?.0.parse::<u64>().ok()).sum(),
        };
        assert_eq!(dump.total, counted, "{name}");
        let whole = dump.announced.is_none_or(|announced| announced == dump.total);
        assert_eq!(whole, !name.contains("debug1-head"), "{name}");
        assert!(dump.stacks.iter().all(|stack| !stack.frames.is_empty()), "{name}");
        // A goroutine that has not begun yet is in the runtime alone, which grouped dumps do not name: "1 @ 0x495941".
        let known = |frame: &Frame| (frame.line > 0 && frame.file.ends_with(".go")) || frame.function.starts_with("0x");
        assert!(dump.stacks.iter().all(|stack| stack.frames.iter().all(|frame| known(frame))), "{name}");
    }
}

#[test]
fn lines_that_are_cited_hold_what_is_said_of_them() {
    for name in ["kubelet/kubelet-1.36.2-pleg-hang/goroutine-debug1-t352.txt", "analyze/dockerd-20.10-convoy-2.log"] {
        let text = String::from_utf8(fixture(name)).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let line = |number: u64| lines[usize::try_from(number).unwrap() - 1];
        for stack in only(name).stacks {
            let cited = lines
                [usize::try_from(stack.lines.first).unwrap() - 1..usize::try_from(stack.lines.last).unwrap()]
                .join("\n");
            assert!(stack.frames.iter().all(|frame| cited.contains(&*frame.function)), "{name}: {cited}");
            assert!(!cited.contains("\n\n"));
            for goroutine in &stack.goroutines {
                assert!(line(goroutine.line).starts_with(&format!("goroutine {} [{}", goroutine.id, goroutine.state)));
            }
            if stack.longest > 0 {
                assert!(line(stack.longest_lines.first).contains(&format!("{} minutes", stack.longest)));
            }
        }
    }
}

#[test]
fn the_relist_that_waits_for_the_runtime_is_found_in_both_forms() {
    for name in
        [format!("{HANG}-t020.txt"), format!("{HANG}-t352.txt"), format!("{HANG}-t352.txt").replace("debug2", "debug1")]
    {
        let dump = only(&name);
        let relist: Vec<&Stack> = dump.in_function("GenericPLEG).Relist").collect();
        assert_eq!(relist.len(), 1, "{name}");
        assert!(relist[0].calls("GenericPLEG).Relist", "ListPodSandbox"), "{name}");
        assert!(relist[0].calls("ListPodSandbox", "grpc.(*ClientConn).Invoke"), "{name}");
        assert_eq!(relist[0].count, 1);
        if dump.form == Form::Blocks {
            // Each relist gives up after 2 minutes and begins anew, so it never looks old.
            assert_eq!((relist[0].wait(), relist[0].longest < 2), (Wait::Select, true));
        }
    }
    for (name, relist) in [
        ("kubelet/kubelet-1.36.2/goroutine-debug2.txt", ").Relist"),
        ("kubelet/kubelet-1.21.1-dockershim/goroutine-debug2.txt", ").relist"),
    ] {
        let idle = only(name);
        assert!(!idle.stacks.iter().any(|stack| stack.calls(relist, "grpc.(*ClientConn).Invoke")), "{name}");
        assert!(idle.in_function("GenericPLEG").count() <= 1, "{name}");
    }
}

#[test]
fn between_two_samples_of_the_hang_the_relist_stands() {
    let (earlier, later) = (only(&format!("{HANG}-t020.txt")), only(&format!("{HANG}-t352.txt")));
    let found = standing(&earlier, &later);
    let relist = found.iter().find(|standing| standing.later.frame("GenericPLEG).Relist").is_some()).unwrap();
    assert_eq!((relist.count, relist.ids.len()), (1, 1));
    assert_eq!(relist.earlier.signature(), relist.later.signature());
    assert!(found.iter().map(|standing| standing.count).sum::<u64>() < later.total);
}

#[test]
fn signatures_agree_over_forms() {
    let signatures = |name: &str| only(name).stacks.iter().map(|stack| stack.signature()).collect::<BTreeSet<_>>();
    let (grouped, blocks) =
        (signatures(&format!("{HANG}-t352.txt").replace("debug2", "debug1")), signatures(&format!("{HANG}-t352.txt")));
    // The two were taken one after the other: the goroutine that answers is another, and few have moved.
    let common = grouped.intersection(&blocks).count();
    assert!(common >= 80 && common + 5 >= grouped.len(), "{common} of {} and {}", grouped.len(), blocks.len());
}

#[test]
fn the_lock_convoy_is_one_lock_with_25_that_wait() {
    for (name, standing_still) in [
        ("analyze/dockerd-20.10-convoy-1.log", None),
        ("analyze/dockerd-20.10-convoy-2.log", Some("analyze/dockerd-20.10-convoy-1.log")),
    ] {
        let dump = only(name);
        let locks = dump.locks();
        assert_eq!(locks.len(), 1, "{name}");
        assert_eq!((locks[0].waiters, locks[0].longest, locks[0].stacks.len()), (25, 5, 1));
        assert_eq!(locks[0].stacks[0].place().unwrap().short(), "daemon.(*Daemon).ContainerInspectCurrent");
        assert_eq!(dump.waiting_for(Wait::Lock).map(|stack| stack.count).sum::<u64>(), 25);
        // The one that holds it: in docker stop, over a call to containerd.
        let holder: Vec<&Stack> = dump.in_function("(*Daemon).containerStop").collect();
        assert_eq!((holder.len(), holder[0].count, holder[0].longest), (1, 1, 5));
        assert!(holder[0].calls("(*Daemon).containerStop", "grpc.(*ClientConn).Invoke"));
        if let Some(earlier) = standing_still {
            let earlier = only(earlier);
            let found = standing(&earlier, &dump);
            let convoy = found.iter().find(|standing| standing.later.wait() == Wait::Lock).unwrap();
            assert_eq!((convoy.count, convoy.ids.len()), (25, 25));
            assert!(found.iter().any(|standing| standing.later.frame("(*Daemon).containerStop").is_some()));
        }
    }
    let grouped = only("analyze/dockerd-20.10-convoy-debug1.txt");
    assert_eq!(grouped.waiting_for(Wait::Lock).map(|stack| stack.count).collect::<Vec<_>>(), [25]);
    assert_eq!(only("analyze/dockerd-20.10-healthy.log").locks(), []);
}

#[test]
fn a_journal_holds_the_dumps_of_containerd_and_of_its_shims() {
    let dumps = all("analyze/containerd-1.6-journal.txt");
    let writers: Vec<&str> =
        dumps.iter().map(|dump| dump.waiting_for(Wait::Running).next().unwrap().place().unwrap().short()).collect();
    assert_eq!(writers, ["command.dumpStacks", "shim.dumpStacks", "shim.dumpStacks", "command.dumpStacks"]);
    for dump in &dumps {
        assert_eq!(dump.lines.first, dump.lines.last);
        assert!(dump.origin.prefix.as_deref().unwrap().ends_with("containerd[45]"));
    }
    // The same daemon wrote a file some minutes before.
    let file = only("analyze/containerd-1.6-1.log");
    let shapes = |dump: &Dump| dump.stacks.iter().map(|stack| stack.shape()).collect::<BTreeSet<_>>();
    let common = shapes(&file).intersection(&shapes(&dumps[0])).count();
    assert!(common >= 20, "{common}");
}

#[test]
fn a_dump_that_journald_cut_into_entries_is_whole() {
    let text = String::from_utf8(fixture("analyze/containerd-1.6-journal.txt")).unwrap();
    let mut cut = String::new();
    for line in text.lines() {
        let (prefix, message) = line.split_once("]: ").unwrap();
        // What LineMax does; 2048 bytes before systemd 235.
        for piece in message.as_bytes().chunks(2048) {
            cut.push_str(&format!("{prefix}]: {}\n", std::str::from_utf8(piece).unwrap()));
        }
    }
    let seen = |dumps: Vec<Dump>| {
        let stacks = dumps.into_iter().flat_map(|dump| dump.stacks.into_iter().map(move |stack| (dump.total, stack)));
        stacks.map(|(total, stack)| (total, stack.count, stack.frames)).collect::<Vec<_>>()
    };
    assert_eq!(seen(read(cut.as_bytes(), Limits::default()).unwrap()), seen(all("analyze/containerd-1.6-journal.txt")));
}

#[test]
fn the_one_line_dump_of_old_dockerd_is_the_same_dump() {
    let file = String::from_utf8(fixture("analyze/dockerd-20.10-healthy.log")).unwrap();
    let quoted = file.replace('\\', "\\\\").replace('"', "\\\"").replace('\t', "\\t").replace('\n', "\\n");
    for before in ["", "2026-11-21T06:35:15.796164+0000 worker-006 dockerd[45]: "] {
        let line = format!(
            "{before}time=\"2026-11-21T06:35:15Z\" level=info msg=\"=== BEGIN goroutine stack dump ===\\n{quoted}\\n=== END goroutine stack dump ===\" \n"
        );
        let dumps = read(format!("something before\n{line}").as_bytes(), Limits::default()).unwrap();
        let plain = only("analyze/dockerd-20.10-healthy.log");
        assert_eq!(dumps.len(), 1);
        assert_eq!((dumps[0].total, dumps[0].stacks.len()), (plain.total, plain.stacks.len()));
        assert!(
            dumps[0]
                .stacks
                .iter()
                .zip(&plain.stacks)
                .all(|(one, other)| one.frames == other.frames && one.states == other.states)
        );
        assert_eq!(dumps[0].lines, LineRange { first: 2, last: 2 });
    }
}
