//! Causes in what runs containers: systemd, runc, crowds, residual containers, the control plane.

use super::{expect, genuine};

#[test]
fn runc_processes_that_linger_are_counted_with_their_wait() {
    let one = |pid: u32, age: u32| {
        format!(
            "##### pid {pid} ppid 9 age {age} s name runc\narguments: runc --root /run/docker/runtime-runc/moby kill --all abc 9 \n\
             tid {pid} pid {pid} ppid 9 state S wchan futex_wait_queue_me name runc\n\
             tid {pid}1 pid {pid} ppid 9 state S wchan unix_stream_read_generic name runc\n"
        )
    };
    let list = one(70, 4000) + &one(80, 45) + &one(90, 0) + "3 runc or crun processes\n";
    expect(
        &[("host/runc.txt", &list)],
        &[(
            "Critical runc/lingers",
            &["2 runc processes linger, the oldest (pid 70) for 1h06m: 2 × runc kill", "2 × unix_stream_read_generic"],
        )],
    );
    expect(&[("host/runc.txt", &(one(90, 1) + "1 runc or crun processes\n"))], &[]);
}

#[test]
fn the_d_bus_cookie_is_told_with_the_date_it_passes() {
    let look = |up: u32, cookie: u64, time: &str| {
        format!(
            "# {up}.00 s after boot\n> Type=method_return  Endian=l  Flags=1  Version=1 Cookie={cookie}  ReplyCookie=2  Timestamp=\"Sat 2026-11-21 {time} UTC\"\n# ping 1: answered\n"
        )
    };
    let old = r#"{"cpus":4,"systemd-version":219}"#;
    let (first, second) = (look(1_000_000, 4_290_000_000, "07:39:41"), look(1_000_100, 4_290_000_200, "07:41:21"));
    let files =
        [("host/dbus-cookie-1.txt", first.as_str()), ("host/dbus-cookie-2.txt", &second), ("node/facts.json", old)];
    // 4,967,096 messages are left; at two a second that is 28 days and 18 hours.
    expect(
        &files,
        &[(
            "Warning dbus/near-limit",
            &["4290000200", "2.00 a second (seen between two looks)", "on 2026-12-20", "Red Hat"],
        )],
    );
    // The same number with a version that is mended is no trouble.
    expect(files.get(..2).unwrap(), &[]);
    let few = look(1_000_000, 900, "07:39:41");
    expect(&[("host/dbus-cookie-1.txt", &few), ("host/dbus-cookie-2.txt", &few), ("node/facts.json", old)], &[]);
}

#[test]
fn a_silent_pid_1_is_told_without_guessing_about_mended_builds() {
    let silent =
        "# 900.0 s after boot\n# ping 1: not answered within about 1 s\n# ping 2: not answered within about 1 s\n";
    let files = [("host/dbus-cookie-1.txt", silent), ("host/dbus-cookie-2.txt", silent)];
    for (version, words) in [(219, "unless Red Hat mended this build"), (252, "does not have the fault")] {
        let facts = format!(r#"{{"cpus":4,"systemd-version":{version}}}"#);
        let files = [files[0], files[1], ("node/facts.json", facts.as_str())];
        expect(&files, &[("Critical dbus/silent", &["PID 1 does not answer on D-Bus in both looks", words])]);
    }
}

#[test]
fn crowds_of_containers_and_of_descriptors_are_told() {
    let head = "CONTAINER ID                                                       IMAGE     COMMAND   CREATED          STATUS           PORTS     NAMES\n";
    let row = |n: u32| {
        format!(
            "{n:064x}   img:1     \"x\"       31 minutes ago   Up 31 minutes              k8s_POD_p{n}_ns_uid{n}_0\n"
        )
    };
    let of = |from: u32, to: u32, name: &str| (from..=to).map(|n| row(n).replace("k8s_POD", name)).collect::<String>();
    let pauses = |n: u32| of(1, n, "k8s_POD");
    let many = head.to_owned() + &pauses(260);
    expect(&[("docker/ps.txt", &many)], &[("Warning crowd/too-many", &["0 containers", "260 pods running"])]);
    let many = head.to_owned() + &pauses(110) + &of(1000, 1510, "k8s_app");
    expect(&[("docker/ps.txt", &many)], &[("Warning crowd/too-many", &["511 containers", "110 pods running"])]);
    // Pause containers are no work for relist, and one that is fast keeps up with more.
    expect(&[("docker/ps.txt", &(head.to_owned() + &pauses(240) + &of(1000, 1490, "k8s_app")))], &[]);
    let metrics = |p99: f64| {
        format!(
            "kubelet_pleg_relist_latency_microseconds{{quantile=\"0.99\"}} {p99}\nkubelet_pleg_relist_latency_microseconds_count 9\n"
        )
    };
    expect(&[("docker/ps.txt", &many), ("kubelet/metrics-1.txt", &metrics(300_000.0))], &[]);
    expect(
        &[("docker/ps.txt", &many), ("kubelet/metrics-1.txt", &metrics(3_000_000.0))],
        &[("Warning crowd/too-many", &["511 containers"])],
    );
    let fds = "Max open files            1048576              1048576              files     \n   18000 socket\n    1000 pipe\n   19000 in all, 2 kinds\n";
    expect(
        &[("docker/fds.txt", fds)],
        &[("Warning crowd/descriptors", &["dockerd has 19000 of 1048576", "18000 × socket"])],
    );
    // So many containers explain so many descriptors.
    expect(
        &[("docker/fds.txt", fds), ("docker/ps.txt", &(head.to_owned() + &pauses(240) + &of(1000, 1490, "k8s_app")))],
        &[],
    );
    let near = fds.replace("1048576 ", "20000   ");
    expect(&[("docker/fds.txt", &near)], &[("Critical crowd/descriptors", &["19000 of 20000"])]);
}

#[test]
fn residual_containers_are_told_by_kind() {
    let head = "CONTAINER ID                                                       IMAGE     COMMAND   CREATED          STATUS                PORTS     NAMES\n";
    let row = |n: u32, status: &str, name: &str| {
        format!("{n:064x}   img:1     \"x\"       31 minutes ago   {status:<22}          {name}\n")
    };
    let list = head.to_owned()
        + &row(1, "Dead", "k8s_app_a_ns_u1_0")
        + &row(2, "Removal In Progress", "k8s_app_b_ns_u2_0")
        + &row(3, "Created", "k8s_app_c_ns_u3_0")
        + &row(13, "Created", "k8s_app_c_ns_u13_0")
        + &row(23, "Created", "k8s_app_c_ns_u23_0")
        + &row(4, "Created", "by-hand")
        + &row(5, "Exited (0) 2 hours ago", "k8s_POD_d_ns_u4_0")
        + &row(6, "Up 2 hours", "k8s_app_d_ns_u4_0");
    expect(
        &[("docker/ps.txt", &list)],
        &[
            ("Warning residual/dead", &["1 container Dead", "k8s_app_a_ns_u1_0 (000000000000)"]),
            ("Warning residual/created", &["k8s_app_c_ns_u3_0"]),
            ("Warning residual/pause", &["while other containers of the pod run", "k8s_POD_d_ns_u4_0"]),
        ],
    );
}

#[test]
fn ended_jobs_and_starts_that_failed_leave_containers_and_are_no_trouble() {
    let head = "CONTAINER ID                                                       IMAGE     COMMAND   CREATED          STATUS                    PORTS     NAMES\n";
    let row = |n: usize, status: &str, name: String| {
        format!("{n:064x}   img:1     \"x\"       31 minutes ago   {status:<26}          {name}\n")
    };
    let pause = |n: usize| row(n, "Exited (0) 2 hours ago", format!("k8s_POD_p{n}_ns_u{n}_0"));
    let job = |n: usize| row(n + 100, "Exited (0) 2 hours ago", format!("k8s_job_p{n}_ns_u{n}_0"));
    let pauses: String = (0..30).map(pause).collect();
    let jobs: String = (0..30).map(job).collect();
    let wrong = row(500, "Created", "k8s_app_wrong_ns_w_7".to_owned());
    expect(&[("docker/ps.txt", &(head.to_owned() + &pauses + &jobs + &wrong))], &[]);
    expect(
        &[("docker/ps.txt", &(head.to_owned() + &pauses))],
        &[("Warning residual/pause", &["30 pause containers ended and stay alone"])],
    );
}

#[test]
fn builds_and_shells_hold_their_runc_as_long_as_they_run() {
    let one = |arguments: &str| {
        format!(
            "##### pid 70 ppid 9 age 4000 s name runc\ntid 70 pid 70 ppid 9 state S wchan ep_poll name runc\n\
             arguments: runc --root /x --log /y {arguments} \n1 runc or crun processes\n"
        )
    };
    for (arguments, lingers) in [
        ("run --bundle /b id", false),
        ("exec id sh", false),
        ("events id", false),
        ("run --detach --bundle /b id", true),
        ("exec --process /p --detach --pid-file /f id", true),
        ("delete id", true),
    ] {
        let list = one(arguments);
        let wanted: &[(&str, &[&str])] = if lingers { &[("Critical runc/lingers", &["pid 70"])] } else { &[] };
        expect(&[("host/runc.txt", &list)], wanted);
    }
}

#[test]
fn missing_pull_secrets_are_told_with_their_count() {
    let line = "E1120 21:30:04.971003   12938 kubelet_pods.go:1] \"Unable to retrieve pull secret, the image pull may not succeed.\" pod=\"shop/web-0\" secret=\"\" err=\"secret \\\"reg\\\" not found\"\n";
    expect(&[("kubelet/journal.txt", line)], &[]);
    expect(
        &[("kubelet/journal.txt", &line.repeat(1200))],
        &[("Warning secrets/missing-pull-secret", &["shop/reg (1200 ×)", "1200 lines"])],
    );
    // One pod, once a minute for a day.
    let slow: String = (0..1440).map(|m| line.replace("21:30", &format!("{:02}:{:02}", m / 60, m % 60))).collect();
    expect(&[("kubelet/journal.txt", &slow)], &[]);
    let event = |count: u32| {
        format!(
            "{{\"reason\":\"FailedToRetrieveImagePullSecret\",\"count\":{count},\"involvedObject\":{{\"namespace\":\"shop\"}},\
             \"message\":\"Unable to retrieve some image pull secrets (reg); attempting\",\
             \"firstTimestamp\":\"2026-11-20T07:00:00Z\",\"lastTimestamp\":\"2026-11-21T07:00:00Z\"}}\n"
        )
    };
    expect(
        &[("cluster/image-events.jsonl", &(event(1440) + "{\"reason\":\"BackOff\",\"count\":90000}\nno event\n"))],
        &[],
    );
    expect(
        &[("cluster/image-events.jsonl", &(event(30_000) + &event(20_000)))],
        &[("Warning secrets/missing-pull-secret", &["shop/reg (50000 ×)", "50000 events, about 50000 a day"])],
    );
}

#[test]
fn an_exited_api_server_is_told_with_its_last_line() {
    let id = "a".repeat(64);
    let list = format!(
        "{:<64}   IMAGE  CREATED          STATE     NAME              ATTEMPT   POD ID\n\
         {id}   img1   5 minutes ago    Exited    kube-apiserver    7         bbbbbbbbbbbbb\n",
        "CONTAINER"
    );
    let logs = format!("{list}##### {id}\nI1 starting\nF2 etcd is \u{1b}[2Jnot reachable\n\n");
    expect(
        &[("cri/ps.txt", &list), ("cri/logs/control-plane.txt", &logs)],
        &[(
            "Critical control/exited",
            &["kube-apiserver exited and does not run (7 restarts)", "F2 etcd is not reachable"],
        )],
    );
}

#[test]
fn a_control_plane_that_was_restarted_over_the_years_is_told_from_one_in_a_loop() {
    let list = |age: &str| {
        let row = |c: &str, age: &str, state: &str, attempt: u32| {
            format!(
                "{}   img1   {age:<14}   {state:<7}   kube-scheduler   {attempt}         bbbbbbbbbbbbb\n",
                c.repeat(64)
            )
        };
        format!("{:<64}   IMAGE  CREATED          STATE     NAME             ATTEMPT   POD ID\n", "CONTAINER")
            + &row("a", age, "Running", 31)
            + &row("b", "2 months ago", "Exited", 30)
    };
    expect(&[("cri/ps.txt", &list("12 days ago"))], &[]);
    let logs = format!("##### {}\n2026-11-21T05:08:40.1Z stderr F F1121 lost\n", "b".repeat(64));
    expect(
        &[("cri/ps.txt", &list("2 minutes ago")), ("cri/logs/control-plane.txt", &logs)],
        &[(
            "Warning control/restarts",
            &["kube-scheduler runs for 2m00s, after 31 restarts; its last line: \"F1121 lost\"."],
        )],
    );
}

#[test]
fn requests_that_the_api_server_turned_away_are_counted_once() {
    expect(
        &[("cluster/metrics.txt", &genuine("apiserver-metrics.txt"))],
        &[("Warning throttling/turned-away", &["turned 182 requests away", "182 of demo-tight (concurrency-limit)"])],
    );
}

#[test]
fn a_busy_api_server_that_turns_nobody_away_is_no_trouble() {
    let start = "process_start_time_seconds 1.7905e+09\n";
    let busy = "apiserver_current_inflight_requests{request_kind=\"readOnly\"} 390\n";
    let few = "apiserver_request_terminations_total{code=\"429\"} 300\n";
    expect(&[("cluster/metrics.txt", &(start.to_owned() + busy))], &[]);
    // 300 in two months.
    expect(&[("cluster/metrics.txt", &(start.to_owned() + few))], &[]);
    expect(
        &[("cluster/metrics.txt", &(start.to_owned() + &few.replace("300", "300000") + busy))],
        &[("Warning throttling/turned-away", &["300000"]), ("Warning throttling/inflight", &["390 reads"])],
    );
}

#[test]
fn a_node_under_heavy_load_may_answer_late_on_d_bus() {
    let silent =
        "# 900.0 s after boot\n# ping 1: not answered within about 1 s\n# ping 2: not answered within about 1 s\n";
    let load = "==> /proc/loadavg <==\n176.33 140.10 98.01 21/410 9120\n";
    expect(
        &[
            ("host/dbus-cookie-1.txt", silent),
            ("host/dbus-cookie-2.txt", silent),
            ("host/pressure.txt", load),
            ("host/top-1.txt", ""),
        ],
        &[
            ("Warning memory/load", &["The load is 176 (140 over 5 minutes) on 4 processors"]),
            ("Warning dbus/silent", &["PID 1 did not answer within 1 s", "may merely be late"]),
        ],
    );
}
