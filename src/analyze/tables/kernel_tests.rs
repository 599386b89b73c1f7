//! Tests of what the kernel says: its log, threads that wait in it.

use super::{dmesg, hung, stuck};
use crate::analyze::log::Clock;

fn clock() -> Clock {
    Clock::utc("2026-11-21T07:00:00Z".parse().unwrap())
}

fn kernel(text: &str) -> Vec<dmesg::KernelLine> {
    let mut reader = dmesg::KernelReader::new(text.as_bytes(), clock());
    std::iter::from_fn(|| reader.next_event().unwrap()).collect()
}

#[test]
fn an_oom_kill_within_a_cgroup_is_one_event_with_its_cgroup() {
    let found = kernel(include_str!("../../../tests/fixtures/analyze/dmesg.txt"));
    let [kill] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(kill.time, Some("2026-11-21T06:57:23Z".parse().unwrap()));
    let dmesg::KernelEvent::OomKill { process, pid, cgroup, limit_of, within_cgroup, anon_rss_kb } = &kill.event else {
        panic!()
    };
    assert_eq!((process.as_str(), *pid, *within_cgroup, *anon_rss_kb), ("tail", 21790, true, Some(7168)));
    assert!(
        cgroup
            .as_deref()
            .unwrap()
            .ends_with("/docker/20fcd809500bc6e9bc55d0b1023f7686bca48a6165f3efaf56554f6687345858")
    );
    assert_eq!(cgroup, limit_of);
}

#[test]
fn the_kernels_complaints_are_read_in_every_form_of_the_log() {
    use dmesg::KernelEvent::*;
    let hung = HungTask { process: "kworker/u16:9".into(), pid: 7088, seconds: 120 };
    let io = |device: &str, message: &str| IoError { device: device.into(), message: message.into() };
    let old_kill = OomKill {
        process: "java (x)".into(),
        pid: 4711,
        cgroup: None,
        limit_of: None,
        within_cgroup: false,
        anon_rss_kb: Some(1_234_567),
    };
    for (line, event, after_boot) in [
        (
            "[  360.704025] INFO: task kworker/u16:9:7088 blocked for more than 120 seconds.",
            hung.clone(),
            Some(360.704_025),
        ),
        (
            "[Sat Nov 21 06:04:28 2026] INFO: task kworker/u16:9:7088 blocked for more than 120 seconds.",
            hung.clone(),
            None,
        ),
        (
            "Nov 21 06:04:28 w kernel: [87603.066176] INFO: task kworker/u16:9:7088 blocked for more than 120 seconds.",
            hung.clone(),
            Some(87_603.066_176),
        ),
        (
            "2026-11-21T06:04:28+0000 w kernel: INFO: task kworker/u16:9:7088 blocked for more than 120 seconds.",
            hung,
            None,
        ),
        (
            "[1.5] Killed process 4711 (java (x)) total-vm:2345678kB, anon-rss:1234567kB, file-rss:0kB",
            old_kill.clone(),
            Some(1.5),
        ),
        (
            "[1.5] Out of memory: Killed process 4711 (java (x)), UID 7, total-vm:2kB, anon-rss:1234567kB",
            old_kill,
            Some(1.5),
        ),
        (
            "[1.5] blk_update_request: I/O error, dev sda, sector 12 op 0x0:(READ)",
            io("sda", "blk_update_request: I/O error, dev sda, sector 12 op 0x0:(READ)"),
            Some(1.5),
        ),
        (
            "[1.5] Buffer I/O error on device dm-12, logical block 26",
            io("dm-12", "Buffer I/O error on device dm-12, logical block 26"),
            Some(1.5),
        ),
        (
            "[1.5] nfs: server 10.0.0.9 not responding, still trying",
            ServerNotResponding { server: "10.0.0.9".into() },
            Some(1.5),
        ),
        ("[1.5] nf_conntrack: nf_conntrack: table full, dropping packet", ConntrackFull, Some(1.5)),
        (
            "[1.5] unregister_netdevice: waiting for lo to become free. Usage count = 1",
            DeviceBusy { device: "lo".into() },
            Some(1.5),
        ),
        (
            "[1.5] watchdog: BUG: soft lockup - CPU#3 stuck for 22s! [runc:1234]",
            SoftLockup { seconds: 22, process: "runc".into() },
            Some(1.5),
        ),
        (
            "[1.5] EXT4-fs error (device sda1): ext4_find_entry:1455: inode #2",
            FileSystemError {
                device: "sda1".into(),
                message: "EXT4-fs error (device sda1): ext4_find_entry:1455: inode #2".into(),
            },
            Some(1.5),
        ),
        (
            "[1.5] EXT4-fs (dm-0): Remounting filesystem read-only",
            FileSystemError {
                device: "dm-0".into(),
                message: "EXT4-fs (dm-0): Remounting filesystem read-only".into(),
            },
            Some(1.5),
        ),
    ] {
        let found = kernel(line);
        assert_eq!(found.len(), 1, "{line}");
        assert_eq!((&found[0].event, found[0].after_boot), (&event, after_boot), "{line}");
        assert_eq!(found[0].time.is_some(), after_boot.is_none() || line.starts_with("Nov"), "{line}");
    }
    for quiet in [
        "[1.5] EXT4-fs (sda1): mounted filesystem with ordered data mode. Opts: errors=remount-ro",
        "[1.5] oom_reaper: reaped process 4711 (java), now anon-rss:0kB",
        "[1.5] Out of memory: Kill process 4711 (java) score 850 or sacrifice child",
    ] {
        assert_eq!(kernel(quiet), [], "{quiet}");
    }
    let old = "[1.0] Task in /docker/a killed as a result of limit of /docker\n[1.1] Memory cgroup out of memory: Kill process 7 (a) score 1 or sacrifice child\n[1.2] Killed process 7 (a) total-vm:1kB, anon-rss:2kB\n";
    let OomKill { cgroup, limit_of, within_cgroup, .. } = kernel(old).remove(0).event else { panic!() };
    assert_eq!((cgroup.as_deref(), limit_of.as_deref(), within_cgroup), (Some("/docker/a"), Some("/docker"), true));
}

#[test]
fn threads_that_wait_in_the_kernel_are_read_with_their_stacks() {
    let text = "load 176.10 120.28 80.47 13/757 503, 27195.71 s after boot\n\
        tid 4711 pid 4700 ppid 1 state D wchan rpc_wait_bit_killable name df one\n    [<0>] rpc_wait_bit_killable+0x1e/0xa0\n    [<0>] nfs_getattr+0x2/0x3\n\
        tid 12 pid 12 ppid 7 state Z wchan - name sleep\nbroken line\n2 threads in state D or Z\n";
    let found = stuck::parse(text);
    assert_eq!((found.count, found.threads.len()), (Some(2), 2));
    let first = &found.threads[0];
    assert_eq!((first.tid, first.pid, first.ppid, first.state, first.line), (4711, 4700, 1, 'D', 2));
    assert_eq!((first.wchan.as_deref(), first.name.as_str()), (Some("rpc_wait_bit_killable"), "df one"));
    assert_eq!(first.stack, ["rpc_wait_bit_killable", "nfs_getattr"]);
    assert_eq!((found.threads[1].wchan.as_deref(), found.threads[1].stack.len()), (None, 0));
    let text = "##### pid 900 ppid 159 age 4000 s name runc\ntid 900 pid 900 ppid 159 state S wchan unix_stream_read_generic name runc\n\
        \x20   [<0>] unix_stream_read_generic+0x1/0x2\narguments: runc --root /run/x kill e2c5 9 \n1 runc or crun processes\n";
    let found = stuck::runc(text);
    let [lingering] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((lingering.pid, lingering.ppid, lingering.age_s), (900, 159, Some(4000)));
    assert_eq!(lingering.arguments, "runc --root /run/x kill e2c5 9");
    assert_eq!(lingering.threads[0].stack, ["unix_stream_read_generic"]);
}

#[test]
fn processes_of_a_step_that_hung_are_read_with_their_stacks() {
    let found = hung::parse(include_str!("../../../tests/fixtures/analyze/hung.txt"));
    let [timeout, docker] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((timeout.name.as_str(), timeout.state, timeout.ppid), ("timeout", 'S', Some(911)));
    assert_eq!((docker.pid, docker.ppid, docker.line, docker.threads.len()), (915, Some(913), 7, 2));
    let last = &docker.threads[1];
    assert_eq!((last.tid, last.state, last.wchan.as_deref()), (919, 'S', Some("do_epoll_wait")));
    assert_eq!(last.stack.first().map(String::as_str), Some("do_epoll_wait"));
    assert_eq!(last.stack.len(), 5);
    let odd =
        hung::parse("process 7 (a) state b) state Z parent ?\n  thread 8 (c state D wchan 0 syscall -\n    x\nend");
    assert_eq!((odd.len(), odd[0].name.as_str(), odd[0].state, odd[0].ppid), (1, "a) state b", 'Z', None));
    assert_eq!(odd[0].threads, []);
}
