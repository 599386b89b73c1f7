//! What busy and well nodes show is no trouble, and the same grown worse is.

use std::fmt::Write as _;

use super::expect;

fn meminfo(total: u64, available: u64) -> String {
    format!("MemTotal: {total} kB\nMemFree: {} kB\nMemAvailable: {available} kB\n", available / 2)
}

fn top(kswapd: f64, load: [f64; 2]) -> String {
    let [one, five] = load;
    format!(
        "top - 10:01:12 up 12 days,  3:10,  2 users,  load average: {one:.2}, {five:.2}, 2.00\n\n\
         \x20 PID USER      PR  NI    VIRT    RES    SHR S  %CPU %MEM     TIME+ COMMAND\n\
         \x20  36 root      20   0       0      0      0 R  {kswapd:.1}  0.0  99:10.10 kswapd0\n"
    )
}

#[test]
fn a_page_cache_that_fills_the_memory_is_no_shortage() {
    const GB: u64 = 1024 * 1024;
    // 4 percent of a large machine, and a kswapd that makes room for a backup.
    expect(&[("host/meminfo.txt", &meminfo(512 * GB, 20 * GB))], &[]);
    expect(&[("host/meminfo.txt", &meminfo(64 * GB, 9 * GB)), ("host/top-1.txt", &top(61.0, [2.0, 2.0]))], &[]);
    expect(
        &[("host/meminfo.txt", &meminfo(64 * GB, 3 * GB)), ("host/top-1.txt", &top(61.0, [2.0, 2.0]))],
        &[("Warning memory/starved", &["Memory runs short: kswapd0 takes 61 % of a processor."])],
    );
    expect(
        &[("host/meminfo.txt", &meminfo(16 * GB, GB / 2))],
        &[("Warning memory/starved", &["Memory runs short: 536 MB of 17.1 GB available."])],
    );
}

#[test]
fn a_kernel_that_does_not_tell_what_is_available_is_judged_by_bounds() {
    let text = |free: u64, cached: u64| {
        format!("MemTotal: 8060012 kB\nMemFree: {free} kB\nBuffers: 2100 kB\nCached: {cached} kB\n")
    };
    expect(&[("host/meminfo.txt", &text(2_000_000, 3_000_000))], &[]);
    // Little is unused, and how much of the cache can go is not known.
    expect(&[("host/meminfo.txt", &text(60_000, 3_000_000))], &[]);
    let short = [("Warning memory/starved", &["at most 155 MB of 8.2 GB available"] as &[&str])];
    expect(&[("host/meminfo.txt", &text(60_000, 90_000))], &short);
}

#[test]
fn a_kill_of_long_ago_and_one_of_today_are_told_from_starving_now() {
    let kill =
        |day: &str| format!("[{day} 05:02:02 2026] Out of memory: Killed process 40011 (java) total-vm:21000000kB\n");
    expect(&[("kernel/dmesg.txt", &kill("Wed Oct 21"))], &[]);
    expect(
        &[("kernel/dmesg.txt", &kill("Sat Nov 21"))],
        &[("Warning memory/killed", &["1 process (1 × java) killed by the kernel", "when looked at, 2"])],
    );
}

#[test]
fn a_container_at_its_own_limit_is_trouble_when_it_is_killed_again_and_again() {
    let kill_of = |cgroup: &str, minute: u32, name: &str| {
        format!(
            "[Sat Nov 21 07:{minute:02}:02 2026] oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg={cgroup},task_memcg={cgroup},task={name},pid=7,uid=0\n\
             [Sat Nov 21 07:{minute:02}:02 2026] Memory cgroup out of memory: Killed process 7 ({name}) total-vm:9456kB, anon-rss:7168kB\n"
        )
    };
    // A container of the healthy node's list, and one that is gone from it.
    let here = "/system.slice/docker-949bfb3067f13c44b30513577bb5a9ade9da48c12ea0f9d4ba48fda242f14b3c.scope";
    let kill = |minute: u32, name: &str| kill_of(here, minute, name);
    let times = |n: u32| (1..=n).map(|minute| kill(minute, "java")).collect::<String>();
    let gone: String = (1..=30).map(|minute| kill_of("/kubepods/pod1/c1", minute, "java")).collect();
    expect(&[("kernel/dmesg.txt", &gone)], &[]);
    expect(&[("kernel/dmesg.txt", &times(9))], &[]);
    expect(
        &[("kernel/dmesg.txt", &times(10))],
        &[(
            "Warning memory/own-limit",
            &["again and again, 10 times within the last hour", "(10 × java in 949bfb3067f1)"],
        )],
    );
    expect(
        &[("kernel/dmesg.txt", &kill(1, "containerd-shim"))],
        &[("Warning memory/own-limit", &["A shim was killed at its cgroup's own memory limit"])],
    );
    let stalls = "==> /proc/pressure/memory <==\nsome avg10=40.00 avg60=40.00 avg300=20.00 total=9\n\
        full avg10=33.00 avg60=33.00 avg300=20.00 total=9\n";
    expect(
        &[("host/pressure.txt", stalls)],
        &[("Warning memory/stalls", &["Some cgroup is short of memory, the node is not", "33 % of the last minute"])],
    );
}

#[test]
fn a_load_is_high_when_it_lasts_or_is_out_of_all_measure() {
    // On 4 processors.
    expect(&[("host/top-1.txt", &top(0.0, [30.0, 6.0]))], &[]);
    expect(&[("host/top-1.txt", &top(0.0, [5.0, 30.0]))], &[]);
    let mut ps = "F S UID PID PPID C PRI NI ADDR SZ WCHAN RSS PSR STIME TTY TIME CMD\n".to_owned();
    for pid in 1..=12 {
        let state = if pid > 9 { 'D' } else { 'R' };
        writeln!(ps, "4 {state} root {pid} 1 0 80 0 - 0 - 0 1 09:50 ? 00:00:00 job").unwrap();
    }
    let words =
        ["The load is 17 (16 over 5 minutes) on 4 processors; of the processes 9 run or want to (state R), 3 wait"];
    expect(&[("host/top-1.txt", &top(0.0, [17.0, 16.0])), ("host/ps.txt", &ps)], &[("Warning memory/load", &words)]);
    expect(&[("host/top-1.txt", &top(0.0, [41.0, 6.0]))], &[("Warning memory/load", &["The load is 41"])]);
}

fn df(rows: &[(&str, &str, u8, &str)]) -> String {
    rows.iter().fold(
        "Filesystem Size Used Avail Use% Mounted on\n".to_owned(),
        |mut all, (device, left, percent, mount)| {
            writeln!(all, "{device} 100G 50G {left} {percent}% {mount}").unwrap();
            all
        },
    )
}

#[test]
fn file_systems_are_judged_by_who_lives_on_them() {
    let apart = ("/dev/sdb", "50G", 50, "/var/lib/kubelet");
    for (rows, wanted) in [
        // The root holds nothing of the kubelet or of docker here.
        (vec![("/dev/sda", "7G", 93, "/"), apart, ("/dev/sdc", "50G", 50, "/var/lib/docker")], None),
        (vec![("/dev/sda", "7G", 93, "/")], Some("Warning disk/full")),
        (vec![("/dev/sda", "40G", 99, "/")], Some("Warning disk/full")),
        (vec![("/dev/sda", "20M", 99, "/")], Some("Critical disk/full")),
        (vec![("/dev/sda", "0", 100, "/"), apart], Some("Critical disk/full")),
        (vec![("overlay", "0", 100, "/")], Some("Critical disk/full")),
        (vec![("overlay", "7G", 93, "/")], Some("Warning disk/full")),
        (vec![("tmpfs", "1M", 96, "/run")], Some("Critical disk/full")),
        (vec![("/dev/sdd", "0", 100, "/var/lib/kubelet/pods/u/volumes/kubernetes.io~csi/v/mount")], None),
        (vec![("/dev/loop3", "0", 100, "/snap/core/1"), ("/dev/sr0", "0", 100, "/mnt/cd")], None),
        (vec![("overlay", "0", 100, "/var/lib/docker/overlay2/x/merged"), ("/dev/sde", "0", 100, "/mnt/backup")], None),
    ] {
        let text = df(&rows);
        let wanted: Vec<(&str, &[&str])> = wanted.into_iter().map(|id| (id, &[] as &[&str])).collect();
        // Nothing but the defaults is known of where docker keeps its files.
        expect(&[("host/df.txt", &text), ("docker/info.json", "{}")], &wanted);
    }
    let data = df(&[("/dev/sda", "50G", 50, "/"), ("/dev/sdb", "3G", 97, "/data")]);
    expect(
        &[("host/df.txt", &data), ("docker/daemon.json", r#"{"data-root": "/data/docker"}"#)],
        &[("Warning disk/full", &["/data 97 %, 3.2 GB left (docker)"])],
    );
    let facts = r#"{"cpus":4,"dockerd":{"cmdline":["dockerd","-g","/data/docker"]},"kubelet":{"cmdline":["kubelet","--root-dir=/data/kubelet"]}}"#;
    expect(
        &[("host/df.txt", &data), ("node/facts.json", facts)],
        &[("Warning disk/full", &["/data 97 %, 3.2 GB left (kubelet, docker)"])],
    );
}

#[test]
fn drives_without_a_medium_and_servers_that_came_back_are_no_trouble() {
    let floppy = "[Sat Nov 21 07:11:02 2026] blk_update_request: I/O error, dev fd0, sector 0\n\
        [Sat Nov 21 07:11:02 2026] blk_update_request: I/O error, dev sr0, sector 0\n";
    expect(&[("kernel/dmesg.txt", floppy)], &[]);
    let silent =
        |server: &str| format!("[Sat Nov 21 07:11:05 2026] nfs: server {server} not responding, still trying\n");
    let back = "[Sat Nov 21 07:11:35 2026] nfs: server filer1 OK\n";
    expect(&[("kernel/dmesg.txt", &(silent("filer1") + back))], &[]);
    for log in [silent("filer1") + back + &silent("filer1"), silent("filer1") + &silent("filer10") + back] {
        expect(&[("kernel/dmesg.txt", &log)], &[("Warning disk/server-silent", &["1 × filer1"])]);
    }
}

#[test]
fn a_device_that_goes_late_is_told_from_one_that_cannot_go() {
    let line = "[Sat Nov 21 07:11:05 2026] unregister_netdevice: waiting for lo to become free. Usage count = 1\n";
    expect(&[("kernel/dmesg.txt", &line.repeat(2))], &[]);
    expect(&[("kernel/dmesg.txt", &line.repeat(6))], &[("Warning kernel/device-busy", &["6 × lo"])]);
}

#[test]
fn a_thread_that_the_kernel_reported_is_stuck_though_lists_of_processes_do_not_show_it() {
    let stuck = "load 9.00 4.51 6.13 8/701 1182, 31063.20 s after boot\n\
        tid 655 pid 640 ppid 1 state D wchan rtnl_lock name containerd\n1 threads in state D or Z\n";
    let log = "[Sat Nov 21 07:38:05 2026] INFO: task containerd:655 blocked for more than 120 seconds.\n";
    expect(&[("host/stuck.txt", stuck)], &[]);
    expect(
        &[("host/stuck.txt", stuck), ("kernel/dmesg.txt", log)],
        &[
            ("Critical tasks/stuck", &["by the kernel's own report: 1 × containerd in rtnl_lock (pid 640)"]),
            ("Warning tasks/hung", &["containerd (pid 655)"]),
        ],
    );
}
