//! Versions, states and costs, as tables.

use super::*;

const GOOD: &[u8] = b"state=S\nstart=77\nexe=/usr/sbin/dockerd\nuid=0\nhost=1\nflock=1\n\
    version=Docker version 20.10.24+dfsg1, build 5d6db84\ndir=/var/run/docker\nlock=/var/run/docker\n\
    free-kib=1000000\ngoroutines=42\nend=1\n";

fn daemon() -> Daemon {
    Daemon { pid: Some(7), start_ticks: Some(77), ..Daemon::default() }
}

fn judged(change: impl Fn(&mut Found), policy: &ChangePolicy) -> Result<Judged, String> {
    let mut found = Found::parse(GOOD);
    change(&mut found);
    judge(Subject::Dockerd, &daemon(), &found, policy).map_err(|(text, checks)| {
        let last = checks.last().unwrap();
        assert_eq!((last.verdict, &last.text), (Verdict::Refuse, &text));
        text
    })
}

#[test]
fn what_a_version_does_on_sigusr1() {
    let file = OnSignal::Dumps(Writes::File);
    let journal = OnSignal::Dumps(Writes::Journal);
    for (words, want) in [
        ("Docker version 20.10.24+dfsg1, build 5d6db84", Some(&file)),
        ("Docker version 29.0.0, build x", Some(&file)),
        ("Docker version 17.06.0-ce, build 02c1d87", Some(&file)),
        ("Docker version 17.05.0-ce, build 89658be", None),
        ("Docker version 17.03.2-ce, build f5ec1e2", None),
        ("Docker version 1.13.1, build 7f2769b/1.13.1", None),
        ("Docker version 1.13.0, build 49bf474", None),
        ("Docker version 1.12.6, build 78d1802", Some(&journal)),
        ("Docker version 1.8.0, build 0d03096", Some(&journal)),
        ("Docker version 1.7.1, build 786b29d", None),
    ] {
        let got = on_signal(Subject::Dockerd, version(words).unwrap());
        match want {
            Some(want) => assert_eq!(&got, want, "{words}"),
            None => assert!(matches!(got, OnSignal::Not(_)), "{words}: {got:?}"),
        }
    }
    for (words, want) in [
        ("containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3", Some(&file)),
        ("containerd github.com/containerd/containerd/v2 v2.0.0 207ad711eabd375a01713109a8a197d197ff6542", Some(&file)),
        ("containerd containerd.io 1.3.0 36cf5b690dcc00ff0f34ff7799209050c3d0c59a", Some(&file)),
        (
            "containerd github.com/containerd/containerd v1.2.14 7c1e88399ec0b0b077121d9d5ad97e647b11c870",
            Some(&journal),
        ),
        ("containerd version 0.2.9 commit: 4ab9917febca54791c5f071a9d1f404867857fcc", Some(&journal)),
        ("containerd version 0.2.3 commit: x", None),
    ] {
        let got = on_signal(Subject::Containerd, version(words).unwrap());
        match want {
            Some(want) => assert_eq!(&got, want, "{words}"),
            None => assert!(matches!(got, OnSignal::Not(_)), "{words}: {got:?}"),
        }
    }
    for words in ["", "exec format error", "Docker", "12345", "a.b.c", "99999999999.1"] {
        assert_eq!(version(words), None, "{words}");
    }
}

#[test]
fn a_sound_dockerd_is_asked_and_its_dump_estimated() {
    let (writes, estimate, checks, warnings) = judged(|_| (), &ChangePolicy::default()).unwrap();
    assert_eq!(writes, Writes::File);
    assert_eq!(estimate.unwrap().words(), "42 goroutines: about 67.2 kB and 0.00 s of freeze expected");
    assert!(checks.iter().all(|c| c.verdict == Verdict::Pass) && checks.iter().any(|c| c.id == "P19"));
    assert_eq!(warnings, Vec::<String>::new());
    let estimate = Estimate::of(10_012);
    assert_eq!(estimate.words(), "10012 goroutines: about 16.0 MB and 0.90 s of freeze expected");
}

#[test]
fn refuses_with_one_sentence_that_says_why() {
    type Change = fn(&mut Found);
    let table: [(Change, &str); 16] = [
        (|f| f.gone = true, "it was restarted"),
        (|f| f.start = Some(78), "it was restarted"),
        (|f| f.exe = "/usr/bin/sleep".to_owned(), "pid 7 is /usr/bin/sleep, not dockerd"),
        (|f| f.uid = Some(1000), "not root's"),
        (|f| f.host = false, "in a container"),
        (|f| f.state = "T".to_owned(), "dockerd is stopped (state T): SIGUSR1 would take effect after we are gone."),
        (|f| f.state = "t".to_owned(), "dockerd is stopped (state t)"),
        (|f| f.state = "D".to_owned(), "stuck in the kernel"),
        (|f| f.state = "Z".to_owned(), "dying"),
        (|f| f.version = "Docker version 1.13.1, build 7f2769b".to_owned(), "moby#33598"),
        (|f| f.version.clear(), "does not tell its version"),
        (|f| f.dirs.clear(), "is not there"),
        (|f| f.goroutines = Some(20_001), "20001 goroutines, more than max-dump-goroutines (20000)"),
        (|f| f.free_kib = Some(4 * 65), "that are free in /var/run/docker"),
        (
            |f| {
                f.goroutines = None;
                f.free_kib = Some(65_535);
            },
            "is not known",
        ),
        (
            |f| {
                f.goroutines = None;
                f.free_kib = None;
            },
            "neither the size",
        ),
    ];
    for (change, want) in table {
        let text = judged(change, &ChangePolicy::default()).unwrap_err();
        assert!(text.contains(want) && text.ends_with('.') && !text.contains('\n'), "{want}: {text}");
    }
    let generous = ChangePolicy { max_dump_goroutines: 200_000, ..ChangePolicy::default() };
    let many = |f: &mut Found| f.goroutines = Some(150_000);
    assert_eq!(judged(many, &generous).unwrap().3, Vec::<String>::new());
    let watched = judged(
        |f| {
            f.goroutines = Some(150_000);
            f.monitors.push("monit".to_owned());
        },
        &generous,
    );
    assert!(watched.unwrap().3.first().unwrap().contains("monit on this node may take dockerd for dead"));
    let gone = judged(|f| f.exe.push_str(" (deleted)"), &generous);
    assert!(gone.is_ok(), "an upgraded dockerd that still runs: {gone:?}");
}

#[test]
fn a_file_that_is_not_containerds_own_is_never_written_through() {
    for (existing, refused) in [("none", false), ("file", false), ("symlink", true), ("foreign", true)] {
        let mut found = Found::parse(GOOD);
        found.exe = "/usr/bin/containerd".to_owned();
        found.version = "containerd github.com/containerd/containerd 1.6.20 x".to_owned();
        found.existing = existing.to_owned();
        let judged = judge(Subject::Containerd, &daemon(), &found, &ChangePolicy::default());
        assert_eq!(judged.is_err(), refused, "{existing}: {judged:?}");
    }
}
