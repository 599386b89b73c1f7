//! Tests of the table parsers on what real nodes printed, and on layouts of other versions.

use std::time::Duration;

use super::*;

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../../tests/fixtures/analyze/", $name))
    };
}

#[test]
fn docker_ps_is_read_as_table_and_as_json() {
    let table = docker_ps::parse(fixture!("docker-ps.txt"));
    let json = docker_ps::parse(fixture!("docker-ps.jsonl"));
    let states = |list: &[docker_ps::Container]| {
        list.iter().map(|c| (c.id.clone(), c.name.clone(), c.state)).collect::<Vec<_>>()
    };
    assert_eq!(table.len(), 7);
    assert_eq!(states(&table), states(&json));
    let of = |name: &str| table.iter().find(|c| c.name == name).unwrap();
    assert_eq!(of("oomer").state, docker_ps::State::Exited(137));
    assert_eq!(of("made-only").state, docker_ps::State::Created);
    assert_eq!((of("sickly").state, of("sickly").status.ends_with("(unhealthy)")), (docker_ps::State::Up, true));
    let app = table.iter().find_map(|c| c.kube_name().filter(|n| n.container == "app")).unwrap();
    assert_eq!(
        (app.pod, app.namespace, app.uid, app.attempt),
        ("web-0", "default", "0b6f2f5e-9f0c-4c2e-8a33-6d1f0f3c7a11", 0)
    );
    assert_eq!(table[0].line, 2);
    let paused = docker_ps::parse(fixture!("docker-ps-paused.txt"));
    assert!(paused.iter().any(|c| c.name == "sickly" && c.state == docker_ps::State::Paused));
}

#[test]
fn cells_stand_below_their_headings_counted_in_characters() {
    let columns = Columns::of("ID   POD ID  STATE");
    assert!(columns.has(&["ID", "POD ID", "STATE"]) && !columns.has(&["POD"]));
    for (line, want) in [
        ("a    b       c d", ["a", "b", "c d"]),
        ("ääää büüüüüü c", ["ääää", "büüüüüü", "c"]),
        ("a    bbbbbbb cc", ["a", "bbbbbbb", "cc"]),
        ("a", ["a", "", ""]),
        ("", ["", "", ""]),
    ] {
        assert_eq!(columns.cells(line), want, "{line}");
    }
    assert_eq!(columns.cell(&columns.cells("a    b"), "POD ID"), Some("b"));
    assert_eq!(Columns::of("").cells("a b"), [""; 0]);
}

#[test]
fn residual_containers_are_told_by_their_state() {
    let rows = [
        ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"],
        ["e2c5e2c5e2c5", "<none>", "\"sh\"", "3 days ago", "Dead", "", "a"],
        ["e2c5e2c5e2c6", "b", "\"ü sh\"", "About an hour ago", "Removal In Progress", "80/tcp", "b,a/link"],
        ["e2c5e2c5e2c7", "b", "\"sh\"", "2 weeks ago", "Restarting (1) 3 seconds ago", "", "c"],
    ];
    let text: String = rows.map(|row| row.map(|cell| format!("{cell:<31}")).concat() + "\n").concat();
    let found = docker_ps::parse(&text);
    let residual: Vec<_> = found.iter().map(|c| (c.name.as_str(), c.state, c.is_residual())).collect();
    use docker_ps::State;
    let want = [("a", State::Dead, true), ("b", State::Removing, true), ("c", State::Restarting, false)];
    assert_eq!(residual, want);
    assert_eq!((found[0].age, found[2].since), (Some(Duration::from_secs(3 * 86_400)), Some(Duration::from_secs(3))));
}

#[test]
fn docker_info_version_and_stats_are_read() {
    let info = docker_info::parse(fixture!("docker-info.json")).unwrap();
    assert_eq!((info.containers, info.running, info.stopped, info.goroutines), (Some(3), Some(2), Some(1), Some(42)));
    assert_eq!((info.debug, info.descriptors, info.driver.as_deref()), (Some(true), Some(31), Some("overlay2")));
    assert_eq!((info.backing_file_system.as_deref(), info.live_restore), (Some("tmpfs"), Some(false)));
    assert_eq!(info.warnings, ["WARNING: IPv4 forwarding is disabled"]);
    assert_eq!(docker_info::parse("Cannot connect to the Docker daemon"), None);
    let down = docker_info::parse(r#"{"ServerVersion":"","Warnings":null,"ServerErrors":["Cannot connect"]}"#).unwrap();
    assert_eq!((down.version, down.errors), (None, vec!["Cannot connect".to_owned()]));
    let components = docker_info::components(fixture!("docker-version.json"));
    assert!(components.iter().any(|c| c.name == "runc" && c.version.starts_with("1.1.5")), "{components:?}");
    let stats = docker_stats::parse(fixture!("docker-stats.txt"));
    assert_eq!(stats.len(), 2);
    assert_eq!((stats[0].memory, stats[0].cpu_percent, stats[0].pids), (Some(472 * 1024), Some(0.0), Some(2)));
    assert_eq!(stats[0].memory_limit, Some(25_275_882_537));
    let dashes = docker_stats::parse(r#"{"ID":"a","Name":"b","CPUPerc":"--","MemUsage":"-- / --","PIDs":"--"}"#);
    assert_eq!((dashes[0].memory, dashes[0].cpu_percent, dashes[0].pids), (None, None, None));
}

#[test]
fn crictl_is_read_as_table_and_as_json() {
    let id = "e2c5".repeat(16);
    let table = format!(
        "CONTAINER                                                          IMAGE     CREATED         STATE     NAME   ATTEMPT   POD ID                                                             POD     NAMESPACE\n\
         {id}   busybox   7 minutes ago   Exited    app    2         {id}   web-0   default\n"
    );
    let json = format!(
        r#"{{"containers":[{{"id":"{id}","podSandboxId":"{id}","metadata":{{"name":"app","attempt":2}},"state":"CONTAINER_EXITED","createdAt":"1795239868000000000","labels":{{"io.kubernetes.pod.name":"web-0","io.kubernetes.pod.namespace":"default"}}}}]}}"#
    );
    for (text, line, made) in [
        (table, 2, crictl::Made::Ago(Duration::from_secs(420))),
        (json, 0, crictl::Made::At("2026-11-21T05:44:28Z".parse().unwrap())),
    ] {
        let found = crictl::containers(&text);
        let want = crictl::Container {
            id: id.clone(),
            sandbox: id.clone(),
            name: "app".into(),
            pod: Some("web-0".into()),
            namespace: Some("default".into()),
            state: "Exited".into(),
            attempt: Some(2),
            made: Some(made),
            line,
        };
        assert_eq!(found, [want]);
    }
    let pods = "POD ID              CREATED             STATE               NAME                NAMESPACE           ATTEMPT             RUNTIME\n\
        e2c5e2c5e2c5e       2 days ago          NotReady            web-0               default             1                   (default)\n";
    let found = crictl::sandboxes(pods);
    assert_eq!((found[0].ready, found[0].name.as_str(), found[0].attempt), (false, "web-0", Some(1)));
    let json = r#"{"items":[{"id":"e2","metadata":{"name":"web-0","namespace":"default","attempt":1},"state":"SANDBOX_READY","createdAt":"0"}]}"#;
    assert!(crictl::sandboxes(json)[0].ready);
    let info = r#"{"status":{"conditions":[{"type":"RuntimeReady","status":true,"reason":"","message":""},{"type":"NetworkReady","status":false,"reason":"NetworkPluginNotReady","message":"cni plugin not initialized"}]}}"#;
    let conditions = crictl::conditions(info);
    assert_eq!(
        (conditions.len(), conditions[1].holds, conditions[1].reason.as_str()),
        (2, false, "NetworkPluginNotReady")
    );
}

#[test]
fn processes_are_read_with_states_and_zombies_have_parents() {
    let found = ps::parse(fixture!("ps.txt"));
    assert_eq!(found.states().get(&'Z'), Some(&2));
    let zombies = found.zombies();
    let [(ppid, Some(parent), list)] = zombies.as_slice() else { panic!("{zombies:?}") };
    assert_eq!((*ppid, parent.command.as_str(), list.len()), (5909, "sleep 300", 2));
    assert_eq!(list[0].command, "[sleep] <defunct>");
    let dockerd = found.list.iter().find(|p| p.pid == 57).unwrap();
    assert_eq!(
        (dockerd.state, dockerd.wchan.as_deref(), dockerd.started.as_deref()),
        ('S', Some("futex_"), Some("06:04"))
    );
    assert!(dockerd.rss_kb > Some(10_000) && dockerd.command.contains("--containerd=/run/containerd/containerd.sock"));
    assert_eq!(dockerd.line, 8);

    let odd = ps::parse("7 (a) S 1) Z 12 7 7 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 5 6 9 1\n");
    assert_eq!((odd.list[0].state, odd.list[0].ppid, odd.list[0].command.as_str()), ('Z', 12, "[a) S 1]"));
    let proc = ps::parse(fixture!("ps-proc.txt"));
    let kubelet = proc.list.iter().find(|p| p.pid == 86).unwrap();
    assert_eq!((kubelet.ppid, kubelet.state), (1, 'S'));
    assert!(kubelet.command.starts_with("/usr/local/bin/kubelet --config=") && kubelet.rss_kb > Some(1000));
}

#[test]
fn top_is_read_in_new_and_old_layouts() {
    let found = top::parse(fixture!("top.txt"));
    assert!(found.load.is_some() && found.idle_percent.is_some() && found.wait_percent.is_some());
    assert_eq!((found.tasks, found.zombies), (Some(found.rows.len() as u64), Some(2)));
    assert!(found.rows.iter().any(|r| r.pid == 57 && r.command == "dockerd" && r.memory_percent > 0.0));
    let old = "top - 06:35:13 up 7 days,  1:02,  1 user,  load average: 176.10, 120.28, 80.47\n\
        Tasks: 900 total,   2 running, 880 sleeping,   0 stopped,  18 zombie\n\
        Cpu(s):  1.3%us, 60.5%sy,  0.0%ni,  0.0%id, 38.2%wa,  0.0%hi,  0.0%si,  0.0%st\n\
        Mem:  16333812k total, 15000000k used,   100k free,     0k buffers\n\n\
        \x20 PID USER      PR  NI  VIRT  RES  SHR S %CPU %MEM    TIME+  COMMAND\n\
        \x20  36 root      20   0     0    0    0 R 69.2  0.0   9:00.03 kswapd0\n";
    let found = top::parse(old);
    assert_eq!((found.load, found.zombies, found.wait_percent), (Some([176.10, 120.28, 80.47]), Some(18), Some(38.2)));
    assert_eq!((found.rows[0].command.as_str(), found.rows[0].cpu_percent, found.rows[0].line), ("kswapd0", 69.2, 7));
}

#[test]
fn memory_is_read_from_free_and_from_meminfo_in_its_place() {
    let free = memory::memory(fixture!("free.txt"), true);
    assert_eq!(
        (free.total_kb, free.available_kb, free.swap_total_kb),
        (Some(24105 * 1024), Some(21827 * 1024), Some(0))
    );
    assert!((free.available_percent().unwrap() - 90.55).abs() < 0.01);
    let instead =
        format!("==> /proc/meminfo <==\n{}\n", fixture!("meminfo.txt").trim_start_matches("==> /proc/meminfo <==\n"));
    let found = memory::memory(&instead, true);
    assert_eq!((found.total_kb, found.available_kb), (Some(24_683_660), Some(22_351_404)));
    let old = "             total       used       free     shared    buffers     cached\nMem:          3832       3700        132          0          1         50\n-/+ buffers/cache:       3649        183\nSwap:            0          0          0\n";
    let found = memory::memory(old, true);
    assert_eq!((found.free_kb, found.available_kb), (Some(132 * 1024), None));
    assert_eq!(vmstat::parse(fixture!("vmstat.txt")).get("nr_free_pages"), Some(&281_818));
    assert_eq!(memory::meminfo(fixture!("meminfo.txt")).get("Active(anon)"), Some(&54_928));
}

#[test]
fn full_file_systems_show_whatever_the_form_of_df() {
    let found = df::parse(fixture!("df.txt"));
    assert_eq!(found.len(), fixture!("df.txt").lines().count() - 1);
    assert_eq!((found[0].mount.as_str(), found[0].used_percent, found[0].available), ("/", Some(100), Some(0)));
    assert_eq!((found[0].size, found[0].line), (Some(256 << 20), 2));
    let inodes = df::parse(fixture!("df-inodes.txt"));
    assert_eq!((inodes[0].size, inodes[0].mount.as_str()), (Some(3_085_457), "/"));
    let odd = "Filesystem           1K-blocks      Used Available Use% Mounted on\n\
        /dev/mapper/a-very-long-name\n                      2000 1000  1000  50% /var/lib/my docker\n\
        //server/a share 10 5 5 50% /mnt\nproc 0 0 0 - /proc\nnoise\n";
    let found = df::parse(odd);
    assert_eq!(found.len(), 3);
    assert_eq!(
        (found[0].device.as_str(), found[0].mount.as_str(), found[0].size),
        ("/dev/mapper/a-very-long-name", "/var/lib/my docker", Some(2000 * 1024))
    );
    assert_eq!((found[1].device.as_str(), found[1].mount.as_str()), ("//server/a share", "/mnt"));
    assert_eq!((found[2].used_percent, found[2].size), (None, Some(0)));
}

#[test]
fn disks_and_stalls_are_read() {
    let found = iostat::parse(fixture!("iostat.txt"));
    assert_eq!(found.len(), 3);
    assert_eq!((found[2].disks[0].name.as_str(), found[2].disks[0].write_wait_ms), ("vda", Some(16.62)));
    assert_eq!(
        (found[0].wait_percent, found[0].disks[0].busy_percent, found[0].disks[0].queue),
        (Some(0.29), Some(2.6), Some(0.58))
    );
    let old = "Device:         rrqm/s   wrqm/s     r/s     w/s    rkB/s    wkB/s avgrq-sz avgqu-sz   await  svctm  %util\n\
        sda               0.00     0.00    1.00  200.00     4.00  9000.00    89.6   150.00  800.50   4.98 100.00\n";
    let disk = &iostat::parse(old)[0].disks[0];
    assert_eq!(
        (disk.write_wait_ms, disk.queue, disk.busy_percent, disk.line),
        (Some(800.5), Some(150.0), Some(100.0), 2)
    );
    let found = pressure::parse(fixture!("pressure.txt"));
    assert_eq!(found.cpu.some.unwrap().avg10, 50.68);
    assert_eq!(found.memory.full.unwrap().total_us, 2_619_349);
    assert_eq!((found.io.line, found.load), (10, Some([3.78, 2.28, 1.47])));
}

#[test]
fn descriptors_are_counted_against_the_limit() {
    let found = descriptors::parse(fixture!("docker-fds.txt"));
    assert_eq!((found.limit, found.count, found.kinds.len(), found.line), (Some(20_000), Some(29), 12, 14));
    assert_eq!((found.kinds[0].clone(), found.used_percent()), (("socket".to_owned(), 10), Some(0)));
    let free = descriptors::parse("Max open files unlimited unlimited files\n 9 socket\n 9 in all, 1 kinds\n");
    assert_eq!((free.limit, free.count, free.used_percent()), (None, Some(9), None));
}

#[test]
fn the_cookie_of_pid_1_and_its_rate_are_read() {
    let clock = crate::analyze::log::Clock::utc("2026-11-21T07:00:00Z".parse().unwrap());
    let first = dbus_cookie::parse(fixture!("dbus-cookie-1.txt"), clock);
    let second = dbus_cookie::parse(fixture!("dbus-cookie-2.txt"), clock);
    assert_eq!((first.highest, first.answered, first.silent), (Some((294, 4)), 2, 0));
    assert_eq!(first.time, Some("2026-11-21T06:35:13.845326Z".parse().unwrap()));
    assert!((second.rate_since(&first).unwrap() - 20.0 / 25.2).abs() < 1e-9);
    assert_eq!(first.rate_since(&second), None);
    let silent = dbus_cookie::parse("# 5.0 s after boot\n# ping 1: not answered within about 1 s\n", clock);
    assert_eq!((silent.highest, silent.answered, silent.silent), (None, 0, 1));
}

#[test]
fn sizes_and_ages_are_read_as_people_see_them() {
    for (text, want) in [
        ("256M", Some(256 << 20)),
        ("472KiB", Some(472 * 1024)),
        ("1.98MB", Some(1_980_000)),
        ("0B", Some(0)),
        ("0", Some(0)),
        ("2.4G", Some(2_576_980_378)),
        ("", None),
        ("-", None),
        ("1Z", None),
        ("1Müll", None),
        ("9999999999E", None),
    ] {
        assert_eq!(quantity::size(text), want, "{text}");
    }
    for (text, want) in [
        ("31 minutes ago", Some(1860)),
        ("About an hour", Some(3600)),
        ("Less than a second ago", Some(0)),
        ("2 weeks ago", Some(1_209_600)),
        ("18446744073709551615 years", None),
        ("now", None),
    ] {
        assert_eq!(quantity::age(text).map(|d| d.as_secs()), want, "{text}");
    }
    assert_eq!((quantity::percent("0.58%"), quantity::percent("--")), (Some(0.58), None));
}
