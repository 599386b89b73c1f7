//! Causes in the machine: memory, tasks, disks, the clock.

use super::{check_trouble, expect, genuine, node};
use crate::evidence::{FileRecord, Outcome};

#[test]
fn a_starving_control_plane_node_is_recognised_with_its_numbers() {
    let top = "top - 10:01:12 up 12 days,  3:10,  2 users,  load average: 176.33, 140.10, 98.01\n\
        Tasks: 410 total,  21 running, 380 sleeping,   0 stopped,   9 zombie\n\
        %Cpu(s):  2.0 us, 88.0 sy,  0.0 ni,  0.0 id, 10.0 wa,  0.0 hi,  0.0 si,  0.0 st\n\n\
        \x20 PID USER      PR  NI    VIRT    RES    SHR S  %CPU %MEM     TIME+ COMMAND\n\
        \x20  36 root      20   0       0      0      0 R  69.0  0.0  99:10.10 kswapd0\n";
    let free = "MemTotal:        3880192 kB\nMemFree:           61232 kB\nMemAvailable:      81232 kB\n";
    let dmesg = "[Sat Nov 21 07:01:02 2026] kube-apiserver invoked oom-killer: gfp_mask=0x201da, order=0, oom_score_adj=-998\n\
        [Sat Nov 21 07:01:02 2026] Out of memory: Kill process 2210 (kube-apiserver) score 900 or sacrifice child\n\
        [Sat Nov 21 07:01:02 2026] Killed process 2210 (kube-apiserver), UID 0, total-vm:1500000kB, anon-rss:900000kB, file-rss:0kB, shmem-rss:0kB\n\
        [Sat Nov 21 07:11:02 2026] Killed process 2290 (etcd) total-vm:1500000kB, anon-rss:100000kB, file-rss:0kB\n";
    let facts = r#"{"cpus":2,"systemd-version":252}"#;
    let mut ps = "F S UID          PID    PPID  C PRI  NI ADDR SZ WCHAN    RSS PSR STIME TTY          TIME CMD\n\
        4 S root         900       1  0  80   0 -  4984 do_epo 11460   3 06:04 ?        00:00:00 /usr/bin/health-check --all\n"
        .to_owned();
    for pid in 1000..1009 {
        ps += &format!(
            "0 Z root        {pid}     900  0  80   0 -     0 -          0   1 09:50 ?        00:00:00 [curl] <defunct>\n"
        );
    }
    expect(
        &[
            ("host/top-1.txt", top),
            ("host/meminfo.txt", free),
            ("kernel/dmesg.txt", dmesg),
            ("node/facts.json", facts),
            ("host/ps.txt", &ps),
        ],
        &[
            (
                "Critical memory/starved",
                &[
                    "83.1 MB of 3.9 GB available",
                    "kswapd0 takes 69 % of a processor",
                    "2 processes (1 × etcd, 1 × kube-apiserver) killed by the kernel, the last 28m38s ago",
                    "load 176 on 2 processors",
                ],
            ),
            ("Warning tasks/zombies", &["9 zombies of health-check (pid 900): 9 × curl."]),
        ],
    );
}

#[test]
fn a_limit_of_one_container_is_told_from_one_of_all_pods() {
    let of = |cgroup: &str| {
        format!(
            "[Sat Nov 21 07:11:02 2026] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),oom_memcg={cgroup},task_memcg=/kubepods/pod1/c1,task=java,pid=7,uid=0\n\
             [Sat Nov 21 07:11:02 2026] Memory cgroup out of memory: Killed process 7 (java) total-vm:9456kB, anon-rss:7168kB\n"
        )
    };
    expect(&[("kernel/dmesg.txt", &of("/kubepods/pod1/c1"))], &[]);
    expect(
        &[("kernel/dmesg.txt", &of("/kubepods.slice"))],
        &[("Warning memory/shared-limit", &["1 × /kubepods.slice", "1 process (1 × java in c1) killed"])],
    );
}

#[test]
fn threads_that_stay_stuck_are_told_with_their_wait_channel() {
    let stuck = "load 9.00 4.51 6.13 8/701 1182, 31063.20 s after boot\n\
        tid 501 pid 500 ppid 1 state D wchan rpc_wait_bit_killable name kubelet\n\
        \x20   [<0>] rpc_wait_bit_killable+0x1e/0xb0 [sunrpc]\n\
        tid 601 pid 600 ppid 2 state D wchan io_schedule name jbd2/sda1-8\n\
        2 threads in state D or Z\n";
    let later = "    PID USER      PR  NI    VIRT    RES    SHR S  %CPU  %MEM     TIME+ COMMAND\n\
        \x20   500 root      20   0   19936  11460   8764 D   0.0   0.0   0:00.37 kubelet\n";
    expect(&[("host/stuck.txt", stuck)], &[]);
    expect(
        &[("host/stuck.txt", stuck), ("host/top-2.txt", later)],
        &[("Critical tasks/stuck", &["1 thread", "1 × kubelet in rpc_wait_bit_killable (pid 500)"])],
    );
    let hung = "[Sat Nov 21 07:11:02 2026] INFO: task dockerd:812 blocked for more than 120 seconds.\n\
        [Sat Nov 21 07:12:02 2026] watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [runc:9]\n";
    expect(
        &[("kernel/dmesg.txt", hung)],
        &[
            ("Warning tasks/hung", &["dockerd (pid 812) for more than 120 s"]),
            ("Warning kernel/soft-lockup", &["1 × runc, 22 s"]),
        ],
    );
}

#[test]
fn a_full_disk_and_used_up_inodes_are_recognised() {
    expect(&[("host/df.txt", &genuine("df.txt"))], &[("Critical disk/full", &["/ 100 %, 0 B left"])]);
    let inodes = "Filesystem      Inodes IUsed IFree IUse% Mounted on\n/dev/sda1       100000 96000  4000   96% /var\n\
        /dev/loop3          30    30     0  100% /snap/core/1\n";
    expect(&[("host/df-inodes.txt", inodes)], &[("Warning disk/inodes", &["/var 96 %, 4000 inodes left"])]);
}

#[test]
fn a_slow_device_is_one_that_is_slow_in_every_interval() {
    let one = |wait: u32, busy: u32| {
        format!(
            "avg-cpu:  %user   %nice %system %iowait  %steal   %idle\n          1.00    0.00    1.00   90.00    0.00    8.00\n\n\
             Device            r/s     w/s     rkB/s     wkB/s   rrqm/s   wrqm/s  %rrqm  %wrqm r_await w_await aqu-sz  %util\n\
             sda              1.00   20.00      4.00    200.00     0.00     0.00   0.00   0.00    3.00  {wait}.00   31.00  {busy}.00\n\n"
        )
    };
    let slow = one(2, 1) + &one(640, 99) + &one(810, 100);
    expect(
        &[("host/iostat.txt", &slow)],
        &[("Warning disk/slow", &["2 intervals", "sda busy 100 %, requests wait 810 ms"])],
    );
    expect(&[("host/iostat.txt", &(one(900, 100) + &one(640, 99) + &one(2, 3)))], &[]);
}

#[test]
fn disks_that_fail_are_told_from_the_kernels_log() {
    let log = "[Sat Nov 21 07:11:02 2026] blk_update_request: I/O error, dev sdb, sector 123\n\
        [Sat Nov 21 07:11:03 2026] EXT4-fs error (device sdb1): ext4_find_entry:1455: inode #2\n\
        [Sat Nov 21 07:11:04 2026] EXT4-fs (sdb1): Remounting filesystem read-only\n\
        [Sat Nov 21 07:11:05 2026] nfs: server filer1 not responding, still trying\n";
    expect(
        &[("kernel/dmesg.txt", log)],
        &[
            ("Warning disk/io-errors", &["1 × sdb"]),
            ("Critical disk/damaged", &["Remounting filesystem read-only"]),
            ("Warning disk/server-silent", &["1 × filer1", "28m35s ago"]),
        ],
    );
}

#[test]
fn a_df_that_hangs_names_the_mount_and_the_wait() {
    let hung = "process 915 (df) state D parent 913\n  thread 915 (df) state D wchan rpc_wait syscall 4 0x1\n    [<0>] nfs_getattr+0x2/0x3 [nfs]\n";
    let mounts = "36 35 98:0 / /mnt/data rw,noatime shared:1 - nfs4 filer1:/export rw\n";
    let (_dir, mut view) = node(&[("host/df.hung.txt", hung), ("host/mounts.txt", mounts)]);
    let step = view.steps.iter_mut().find(|s| s.id.as_str() == "host/df").unwrap();
    step.outcome = Outcome::TimedOut;
    step.duration_ms = 5_000;
    step.files.push(FileRecord {
        path: "host/df.hung.txt".into(),
        bytes: 1,
        omitted_bytes: 0,
        omitted_at_least: false,
        sha256: String::new(),
        redactions: 0,
    });
    let parts = ["df did not end within 5.0s", "waiting in nfs_getattr", "/mnt/data (nfs4 filer1:/export)"];
    check_trouble(&view, &[("Critical disk/hung-mount", &parts)]);
}

#[test]
fn a_clock_far_off_is_told_with_its_direction() {
    let clock = r#"{"offset-ms": -65000.0, "round-trip-ms": 58.3, "resolution-ms": 1}"#;
    expect(&[("node/clock.json", clock)], &[("Warning clock/far-off", &["65 s behind the operator's"])]);
}
