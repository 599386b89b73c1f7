//! Tests of the probe's parser, with what real and hostile nodes print, and of the script itself.

use std::process::Command;

use super::*;

const HEAD: &str = "plegcollect-probe 1\nhostname worker-001\nkernel 6.1.0\ninit systemd\nos \"Debian GNU/Linux 12 (bookworm)\"\n\
    uptime 1399.85 4291.12\ndate 1795246600 +0530\nmem-total 2000000\nmem-available 1500000\nuid 0\ncpus 4\nticks 100\ntool ps /usr/bin/ps\n\
    tool docker /usr/bin/docker\nfile 1 /etc/cni/net.d\nfile 0 /run/crio/crio.sock\njournal 1\nmark tools\n";
const DOCKER: &str = "proc.50.ppid 1\nproc.50.start 1234\nproc.50.comm dockerd\nproc.50.exe /usr/sbin/dockerd\n\
    proc.50.cgroup /system.slice/docker.service\nproc.50.arg /usr/sbin/dockerd\nproc.50.arg --config-file=/etc/d.json\n";
const DOCKER_UNIT: &str = "unit -\nunit Id=docker.service\nunit Names=docker.service\nunit LoadState=loaded\n\
    unit ActiveState=active\nunit SubState=running\nunit MainPID=50\nunit InvocationID=abc\n";
const END: &str = "end 1\n";

fn facts(parts: &[&str]) -> NodeFacts {
    parse(parts.concat().as_bytes()).unwrap()
}

#[test]
fn reads_a_healthy_node() {
    let facts = facts(&[HEAD, DOCKER, "mark processes\nsystemd 252\nshims 3\n", DOCKER_UNIT, END]);
    assert_eq!(facts.hostname, "worker-001");
    assert_eq!(facts.os, "Debian GNU/Linux 12 (bookworm)");
    assert_eq!((facts.uptime_s, facts.cpus, facts.uid), (Some(1399), Some(4), Some(0)));
    assert_eq!(facts.probed, Some("2026-11-21T07:36:40Z".parse().unwrap()));
    assert_eq!(facts.utc_offset_s, Some(19_800));
    assert_eq!((facts.systemd_version, facts.shims, facts.journal), (Some(252), 3, true));
    assert_eq!(facts.files.get("/etc/cni/net.d"), Some(&true));
    assert_eq!(facts.files.get("/run/crio/crio.sock"), Some(&false));
    assert!(!facts.partial);
    let dockerd = facts.dockerd.unwrap();
    assert_eq!(dockerd.unit.as_deref(), Some("docker.service"));
    assert_eq!(dockerd.state.as_deref(), Some("active/running"));
    assert_eq!((dockerd.pid, dockerd.start_ticks), (Some(50), Some(1234)));
    assert_eq!(dockerd.invocation_id.as_deref(), Some("abc"));
    assert_eq!(dockerd.cmdline, ["/usr/sbin/dockerd", "--config-file=/etc/d.json"]);
    assert_eq!((facts.containerd, facts.kubelet, facts.crio), (None, None, None));
}

#[test]
fn a_stopped_unit_is_a_daemon_without_pid() {
    let unit =
        DOCKER_UNIT.replace("MainPID=50", "MainPID=0").replace("=active", "=inactive").replace("running", "dead");
    let dockerd = facts(&[HEAD, &unit, END]).dockerd.unwrap();
    assert_eq!((dockerd.pid, dockerd.state.as_deref()), (None, Some("inactive/dead")));
    let unit = unit.replace("LoadState=loaded", "LoadState=not-found");
    assert_eq!(facts(&[HEAD, &unit, END]).dockerd, None);
}

#[test]
fn a_silent_systemctl_leaves_the_unit_known_by_its_cgroup() {
    let silent = "systemctl failed\nunit -\nunit Id=docker.service\nunit LoadState=loaded\n";
    let facts = facts(&[HEAD, DOCKER, silent, END]);
    assert!(facts.systemctl_failed);
    let dockerd = facts.dockerd.unwrap();
    assert_eq!((dockerd.unit.as_deref(), dockerd.pid, dockerd.state), (Some("docker.service"), Some(50), None));
}

#[test]
fn a_containerd_of_docker_has_no_unit_of_its_own() {
    let child = "proc.60.ppid 50\nproc.60.comm docker-containe\nproc.60.exe /usr/bin/docker-containerd\n\
        proc.60.cgroup /system.slice/docker.service\nproc.55.ppid 2\nproc.55.comm containerd\nproc.55.exe /x/containerd\n";
    let containerd = facts(&[HEAD, DOCKER, child, DOCKER_UNIT, END]).containerd.unwrap();
    assert_eq!((containerd.pid, containerd.unit), (Some(60), None));
}

#[test]
fn a_kubelet_inside_k3s_is_the_unit_that_runs() {
    let units = "unit -\nunit Id=kubelet.service\nunit LoadState=loaded\nunit ActiveState=inactive\nunit MainPID=0\n\
        unit -\nunit Id=k3s.service\nunit LoadState=loaded\nunit ActiveState=active\nunit SubState=running\nunit MainPID=7\n";
    let processes = "proc.7.comm k3s-server\nproc.7.exe /usr/local/bin/k3s\nproc.7.start 9\n";
    let kubelet = facts(&[HEAD, units, processes, END]).kubelet.unwrap();
    assert_eq!((kubelet.unit.as_deref(), kubelet.pid, kubelet.start_ticks), (Some("k3s.service"), Some(7), Some(9)));
}

#[test]
fn an_executable_that_is_not_the_daemon_is_not_it() {
    let fake = DOCKER.replace("exe /usr/sbin/dockerd", "exe /usr/bin/python3.11");
    let elsewhere = fake.replace("docker.service", "evil.service");
    assert_eq!(facts(&[HEAD, &elsewhere, END]).dockerd, None);
    let nested = fake.replace("/system.slice", "/machine.slice/c1.scope/system.slice");
    assert_eq!(facts(&[HEAD, &nested, END]).dockerd, None);
    let wrapped = facts(&[HEAD, &fake, END]).dockerd.unwrap();
    assert_eq!((wrapped.pid, wrapped.unit.as_deref()), (Some(50), Some("docker.service")));
    let sliced = fake.replace("/system.slice", "/podruntime.slice/podruntime-x.slice");
    assert_eq!(facts(&[HEAD, &sliced, END]).dockerd.unwrap().pid, Some(50));
    let unseen = DOCKER.replace("proc.50.exe /usr/sbin/dockerd\n", "").replace("docker.service", "x");
    assert_eq!(facts(&[HEAD, &unseen, END]).dockerd, None);
    assert_eq!(facts(&[HEAD, "init runit\n", &unseen, END]).dockerd.unwrap().pid, Some(50));
    let replaced = DOCKER.replace("exe /usr/sbin/dockerd", "exe /usr/sbin/dockerd (deleted)");
    assert_eq!(facts(&[HEAD, &replaced, END]).dockerd.unwrap().pid, Some(50));
}

#[test]
fn a_cut_probe_is_told_apart() {
    assert_eq!(parse(b""), Err(FactsError::NotAProbe(String::new())));
    assert!(matches!(parse(b"sh: not found\n"), Err(FactsError::NotAProbe(_))));
    assert_eq!(parse(b"plegcollect-probe 1\nhostname x\n"), Err(FactsError::CutShort));
    assert!(facts(&[HEAD, DOCKER]).partial);
    assert_eq!(facts(&[HEAD, DOCKER]).dockerd.unwrap().unit.as_deref(), Some("docker.service"));
}

#[test]
fn garbage_and_floods_do_no_harm() {
    let mut flood = HEAD.as_bytes().to_vec();
    for i in 0..200_000_u32 {
        flood.extend(format!("proc.{i}.comm x\nunit -\nunit k{i}=v\n").into_bytes());
        flood.extend(b"proc.50.arg a\ntool t /usr/bin/t\nfile 1 /x\n");
    }
    let facts = parse(&flood).unwrap();
    assert!(facts.tools.len() <= MOST_NAMES && facts.partial);

    let hostile = [
        "tool ps /tmp/evil/ps",
        "tool x, /usr/bin/x,",
        "tool ../sh /bin/../sh",
        "tool sh",
        "tool",
        "busybox a b",
        "file 1 relative",
        "file 1 /a/../b",
        "cpus -1",
        "cpus 99999999999999",
        "uptime",
        "mem-total nine",
        "unit",
        "unit =",
        "unit x",
        "proc.",
        "proc.x.y z",
        "proc.99999999999.comm a",
        "proc.1",
        "\u{0}",
        " ",
        "mark",
        "os \"",
        "proc.50.cgroup /-H.service/a b.service",
        "shims -3",
        "systemd",
        "end",
    ]
    .join("\n");
    let facts = parse(format!("{HEAD}{hostile}\nend 1\n").as_bytes()).unwrap();
    assert_eq!(facts.tools.get("ps").map(String::as_str), Some("/usr/bin/ps"));
    assert_eq!(facts.tools.len(), 2);
    assert_eq!(facts.files.len(), 2);

    let mut raw = HEAD.as_bytes().to_vec();
    raw.extend(b"hostname \xff\xfe\nproc.50.arg ");
    raw.extend(vec![b'a'; 1_000_000]);
    raw.extend(b"\nproc.50.exe /usr/bin/dockerd\nend 1\n");
    let facts = parse(&raw).unwrap();
    assert_eq!(facts.hostname, "\u{fffd}\u{fffd}");
    assert_eq!(facts.dockerd.unwrap().cmdline.first().map(String::len), Some(4096));
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_parsed_or_refused(tail in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..2000)) {
        let _ = parse(&tail);
        let mut output = HEAD.as_bytes().to_vec();
        output.extend(&tail);
        let facts = parse(&output).unwrap();
        proptest::prop_assert!(facts.tools.contains_key("ps"));
    }
}

#[test]
fn script_and_parser_agree_on_where_and_what_to_look_for() {
    let script = probe_script();
    let path = script.lines().find_map(|l| l.strip_prefix("PATH=\"")).unwrap().trim_end_matches('"');
    assert_eq!(path.split(':').collect::<Vec<_>>(), SEARCHED);
    let units = script.lines().find_map(|l| l.strip_prefix("units='")).unwrap();
    let asked: Vec<&str> = units.trim_end_matches('\'').split(' ').collect();
    let known: Vec<&str> = [DOCKERD, CONTAINERD, CRIO, KUBELET].iter().flat_map(|k| k.units).copied().collect();
    for unit in &known {
        assert!(asked.contains(unit), "{unit} is not asked for");
    }
    assert_eq!(asked.len(), known.len());
}

#[test]
fn the_script_describes_this_machine() {
    let args = probe_args(&Catalog::builtin());
    assert!(args.contains(&"busctl".to_owned()) && args.contains(&"=/etc/cni/net.d".to_owned()));
    let output = Command::new("/bin/sh").arg("-c").arg(probe_script()).arg("sh").args(&args).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let facts = parse(&output.stdout).unwrap();
    assert!(!facts.partial);
    assert_eq!(facts.hostname, std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim());
    assert_eq!(facts.kernel, std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim());
    assert!(facts.probed.is_some() && facts.utc_offset_s.is_some());
    assert!(facts.uptime_s.is_some() && facts.mem_total_kib.is_some() && facts.cpus.is_some());
    for (name, path) in &facts.tools {
        assert!(std::path::Path::new(path).is_file(), "{name}: {path}");
    }
    assert!(facts.tools.contains_key("cat"));
}

#[test]
fn a_program_of_another_user_is_no_daemon() {
    let fake = |uid: &str| {
        format!(
            "{uid}proc.70.ppid 1\nproc.70.comm kubelet\nproc.70.exe /home/eve/kubelet\nproc.70.arg --config=/etc/shadow\n"
        )
    };
    assert_eq!(facts(&[HEAD, &fake("proc.70.uid 1000\n"), END]).kubelet, None);
    assert!(facts(&[HEAD, &fake("proc.70.uid 0\n"), END]).kubelet.is_some());
    assert!(facts(&[HEAD, &fake(""), END]).kubelet.is_some());
}

#[test]
fn a_clock_or_a_zone_that_cannot_be_is_not_taken() {
    for (value, seconds, zone) in [
        ("1795246600 -0330", Some(1_795_246_600), Some(-12_600)),
        ("1795246600 +1400", Some(1_795_246_600), Some(50_400)),
        ("1795246600 +9900", Some(1_795_246_600), None),
        ("1795246600 0530", Some(1_795_246_600), None),
        ("1795246600 %z", Some(1_795_246_600), None),
        ("1795246600 +ä30", Some(1_795_246_600), None),
        ("1795246600", Some(1_795_246_600), None),
        ("%s +0000", None, Some(0)),
        ("99999999999999999 +0000", None, Some(0)),
        ("", None, None),
    ] {
        let (time, offset) = date(value);
        assert_eq!((time.map(Timestamp::as_second), offset), (seconds, zone), "{value}");
    }
}
