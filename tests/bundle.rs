//! Bundles from the outside: what is written can be read and verified, by us and by `tar` and
//! `zstd`; what is cut off yields every finished step; what is forged is refused.

#![expect(clippy::unwrap_used, reason = "tests, and functions only they call")]

use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use plegcollect::bundle::manifest::{Closing, Ending, Header, Manifest};
use plegcollect::bundle::reader::{Bundle, End, ReadError, bundles_at};
use plegcollect::bundle::{
    BundleError, BundleOptions, BundleWriter, RedactConfig, Redactor, RunRecord, StepEnd, verify,
};
use plegcollect::change::{ChangeRecord, Check, Verdict};
use plegcollect::event::{NodeResult, NodeSummary, StepCounts};
use plegcollect::evidence::{ChangeState, Outcome, StepRecord};
use plegcollect::plan::ChangeId;
use plegcollect::plan::step::{Action, Bounds, Encoding, Phase, PlannedStep, Run, What};
use plegcollect::session::{Sink, StdStream};

static REDACTOR: LazyLock<Arc<Redactor>> = LazyLock::new(|| Arc::new(Redactor::new(&RedactConfig::default()).unwrap()));

fn options() -> BundleOptions {
    BundleOptions { reserve_bytes: 0, ..BundleOptions::new(Arc::clone(&REDACTOR)) }
}

fn header() -> Header {
    let mut header = Header::new("run-1", "worker-001".parse().unwrap(), "2026-11-20T23:15:07Z".parse().unwrap());
    header.command_line = ["plegcollect", "--nodes", "worker-001", "--api-token", "hunter2"].map(String::from).into();
    header.operator = "ops@laptop".into();
    header
}

fn step(id: &str, file: &str) -> PlannedStep {
    PlannedStep {
        id: id.parse().unwrap(),
        file: file.into(),
        phase: Phase::Before,
        action: Action::Run(Run {
            what: What::Argv(vec!["ps".into()]),
            privileged: false,
            bounds: Bounds { timeout: Duration::from_secs(1), grace: Duration::from_secs(1), max_bytes: 1 << 20 },
            ok_exit: vec![0],
            encoding: Encoding::Plain,
            stacks_on_timeout: false,
        }),
        about: "test".into(),
        heavy: false,
    }
}

fn end(outcome: Outcome) -> StepEnd {
    StepEnd {
        command: "ps axf".into(),
        as_root: Some(true),
        started: "2026-11-20T23:15:08Z".parse().unwrap(),
        duration: Duration::from_millis(1500),
        outcome,
        detail: None,
        exit_status: Some(0),
        signal: None,
        hung: None,
    }
}

async fn begin(dir: &Path) -> BundleWriter {
    BundleWriter::create(dir, &"worker-001".parse().unwrap(), &header(), options()).await.unwrap()
}

/// Runs one step that prints `out`, and returns its record.
async fn put(bundle: &BundleWriter, id: &str, out: &[u8]) -> StepRecord {
    let mut sink = bundle.step(&step(id, &format!("{id}.txt")), Encoding::Plain, 1 << 20).await.unwrap();
    for chunk in out.chunks(1000) {
        assert!(sink.write(StdStream::Out, Bytes::copy_from_slice(chunk)).await.is_continue());
    }
    sink.finish(end(Outcome::Complete)).await.unwrap()
}

fn text_of(bundle: &Path, file: &str) -> String {
    let mut out = Vec::new();
    assert!(Bundle::open(bundle).unwrap().cat(file, &mut out).unwrap(), "{file} is whole");
    String::from_utf8(out).unwrap()
}

#[tokio::test]
async fn what_is_written_is_read_and_verified() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = begin(dir.path()).await;
    bundle.add_json("node/facts.json", &serde_json::json!({"kernel": "6.1", "password": "hunter2"})).await.unwrap();
    let first = put(&bundle, "host/ps", b"PID\n1 init DB_PASSWORD=hunter2\n").await;
    assert_eq!((first.outcome, first.files[0].redactions), (Outcome::Complete, 1));

    let mut sink = bundle.step(&step("docker/ps", "docker/ps.txt"), Encoding::Plain, 1 << 20).await.unwrap();
    assert!(sink.write(StdStream::Out, Bytes::from_static(b"CONTAINER\n")).await.is_continue());
    assert!(sink.write(StdStream::Err, Bytes::from_static(b"Cannot connect\n")).await.is_continue());
    let mut over = end(Outcome::TimedOut);
    over.hung = Some(b"State: D\nwchan: futex\n".to_vec());
    over.command = "docker ps --token hunter2".into();
    over.detail = Some("no answer in 10 s; password=hunter2".into());
    over.exit_status = None;
    let second = sink.finish(over).await.unwrap();
    let files: Vec<&str> = second.files.iter().map(|f| f.path.as_str()).collect();
    assert_eq!(files, ["docker/ps.txt", "docker/ps.stderr.txt", "docker/ps.hung.txt"]);

    let mut absent = second.clone();
    absent.id = "cri/crictl".parse().unwrap();
    (absent.outcome, absent.files) = (Outcome::Absent, vec![]);
    bundle.record(absent).await.unwrap();

    let partial = bundle.path().to_owned();
    assert!(
        verify(&partial).unwrap().problems.iter().all(|p| p.contains("not sealed")),
        "readable before it is sealed"
    );
    let mut closing = Closing::now(Ending::Partial);
    closing.reason = Some("the link died".into());
    let sealed = bundle.seal(closing).await.unwrap();
    assert!(!partial.exists() && sealed.path.ends_with("worker-001.tar.zst"));

    let report = verify(&sealed.path).unwrap();
    assert!(report.is_ok(), "{:?}", report.problems);
    assert_eq!((report.sha256.as_str(), report.bytes), (sealed.sha256.as_str(), sealed.bytes));
    let manifest = Bundle::open(&sealed.path).unwrap().manifest().unwrap().unwrap();
    assert_eq!(manifest, sealed.manifest);
    assert_eq!(manifest.counts, StepCounts { complete: 1, timed_out: 1, absent: 1, ..StepCounts::default() });
    assert_eq!(manifest.steps[0], first);
    assert!(manifest.redactions["value"] >= 3, "{:?}", manifest.redactions);

    let (entries, at_end) = Bundle::open(&sealed.path).unwrap().list().unwrap();
    let names: Vec<&str> = entries.iter().map(|e| e.path.as_str()).collect();
    let want = [
        "plegcollect.json",
        "node/facts.json",
        "host/ps.txt",
        "records/host.ps.json",
        "docker/ps.txt",
        "docker/ps.stderr.txt",
        "docker/ps.hung.txt",
        "records/docker.ps.json",
        "records/cri.crictl.json",
        "manifest.json",
    ];
    assert_eq!((names.as_slice(), at_end), (&want[..], End::Sealed));
    for name in want {
        assert!(!text_of(&sealed.path, name).contains("hunter2"), "{name}");
    }
    assert!(matches!(
        Bundle::open(&sealed.path).unwrap().cat("no", &mut Vec::new()),
        Err(ReadError::NoSuchFile { .. })
    ));
}

#[tokio::test]
async fn plain_tar_and_zstd_open_it() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = begin(dir.path()).await;
    put(&bundle, "host/ps", b"one\n").await;
    // Longer than a ustar header can say.
    let long = format!("{}/{}.txt", "d".repeat(60), "f".repeat(120));
    let sink = bundle.step(&step("host/long", &long), Encoding::Plain, 100).await.unwrap();
    sink.finish(end(Outcome::Complete)).await.unwrap();

    let run = |script: &str, file: &Path, into: &str| {
        let into = dir.path().join(into);
        fs::create_dir(&into).unwrap();
        let done = Command::new("sh").args(["-ec", script, "sh"]).arg(file).current_dir(&into).output().unwrap();
        assert!(done.stderr.is_empty(), "{script}: {}", String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success(), "{script}");
        assert_eq!(fs::read(into.join("host/ps.txt")).unwrap(), b"one\n");
        assert!(into.join(&long).exists());
        into
    };
    run("zstd -dc \"$1\" | tar -x", bundle.path(), "partial");
    let sealed = bundle.seal(Closing::now(Ending::Complete)).await.unwrap();
    let into = run("tar --zstd -xf \"$1\"", &sealed.path, "sealed");
    assert!(into.join("manifest.json").exists());
    assert!(verify(&sealed.path).unwrap().is_ok());
    let mode = |p: &Path| std::os::unix::fs::PermissionsExt::mode(&fs::metadata(p).unwrap().permissions()) & 0o777;
    assert_eq!((mode(&sealed.path), mode(&into.join("host/ps.txt"))), (0o600, 0o600));
}

#[tokio::test]
async fn a_file_cut_anywhere_yields_every_finished_step() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = begin(dir.path()).await;
    let path = bundle.path().to_owned();
    // What the file held when each step was reported as finished.
    let mut finished = vec![(fs::metadata(&path).unwrap().len(), None)];
    for i in 0..4_u8 {
        let noise: Vec<u8> = (0..400_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let record = put(&bundle, &format!("host/s{i}"), &[&[b'a' + i][..], &noise].concat()).await;
        finished.push((fs::metadata(&path).unwrap().len(), Some(record)));
    }
    bundle.seal(Closing::now(Ending::Complete)).await.unwrap();
    let whole = fs::read(dir.path().join("worker-001.tar.zst")).unwrap();
    let all: Vec<StepRecord> = finished.iter().filter_map(|(_, r)| r.clone()).collect();

    let cut = dir.path().join("cut.tar.zst.partial");
    for len in 0..whole.len() {
        fs_ext::write_truncated(&cut, &whole[..len]);
        let must: Vec<StepRecord> =
            finished.iter().filter(|(at, _)| *at <= len as u64).filter_map(|(_, r)| r.clone()).collect();
        let Ok(bundle) = Bundle::open(&cut) else {
            assert!((len as u64) < finished[0].0, "the header was written, cut at {len}");
            continue;
        };
        let got = bundle.records().unwrap();
        assert!(got.len() >= must.len() && got == all[..got.len()], "cut at {len}");
        let report = verify(&cut).unwrap();
        assert!(report.verified >= must.len() && !report.is_ok(), "cut at {len}");
        assert_eq!(report.problems.len(), 1, "cut at {len}: {:?}", report.problems);
    }
    fs_ext::write_truncated(&cut, &whole);
    assert!(verify(&cut).unwrap().is_ok());
}

/// `std::fs::write` is banned for files of ours; here a cut file is what is wanted.
mod fs_ext {
    use std::path::Path;

    pub(super) fn write_truncated(path: &Path, bytes: &[u8]) {
        use std::io::Write;
        std::fs::File::create(path).unwrap().write_all(bytes).unwrap();
    }
}

#[tokio::test]
async fn a_changed_bundle_is_found_out() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = begin(dir.path()).await;
    put(&bundle, "host/ps", b"evidence\n").await;
    let sealed = bundle.seal(Closing::now(Ending::Complete)).await.unwrap();
    let raw = zstd_bytes(&["-dc"], &fs::read(&sealed.path).unwrap());

    let forged = dir.path().join("forged.tar.zst");
    let check = |from: &[u8], to: &[u8]| {
        assert_eq!(from.len(), to.len());
        let at = raw.windows(from.len()).position(|w| w == from).unwrap();
        let mut changed = raw.clone();
        changed[at..at + to.len()].copy_from_slice(to);
        fs_ext::write_truncated(&forged, &zstd_bytes(&["-c"], &changed));
        verify(&forged)
    };
    let report = check(b"evidence", b"Evidence").unwrap();
    assert_eq!(report.problems, ["host/ps.txt has been changed: its sha256 differs"]);
    let report = check(b"\"major\": 1", b"\"major\": 2");
    assert!(matches!(report, Err(ReadError::Version { .. })), "{report:?}");
    let damaged = check(b"host/ps.txt", b"host/px.txt").unwrap();
    assert!(!damaged.is_ok(), "the header's own sum no longer holds");

    // The hash of the whole file is in run.json.
    let mut run = RunRecord::new("run-1", "2026-11-20T23:15:07Z".parse().unwrap());
    run.nodes.push(NodeSummary {
        node: "worker-001".parse().unwrap(),
        result: NodeResult::Complete,
        steps: StepCounts::default(),
        bundle_bytes: sealed.bytes,
        evidence_bytes: 0,
        took_ms: 0,
        bundle: Some(PathBuf::from("worker-001.tar.zst")),
        sha256: Some(sealed.sha256.clone()),
        failure: None,
        reason: None,
        hint: None,
        missing: vec![],
        changes: Vec::new(),
        restarts: plegcollect::event::Restarts::default(),
    });
    run.save(dir.path()).unwrap();
    assert!(verify(&sealed.path).unwrap().is_ok());
    run.nodes[0].sha256 = Some("0".repeat(64));
    run.save(dir.path()).unwrap();
    assert!(verify(&sealed.path).unwrap().problems[0].contains("run.json"));
    fs::remove_file(&forged).unwrap();
    assert_eq!(bundles_at(dir.path()).unwrap(), std::slice::from_ref(&sealed.path));
    assert_eq!(bundles_at(&sealed.path).unwrap(), [sealed.path]);
}

fn zstd_bytes(args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("zstd")
        .args(["-q"])
        .args(args)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let bytes = input.to_vec();
    let feed = std::thread::spawn(move || stdin.write_all(&bytes).unwrap());
    let out = child.wait_with_output().unwrap();
    feed.join().unwrap();
    assert!(out.status.success());
    out.stdout
}

#[tokio::test]
async fn hostile_bundles_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = begin(dir.path()).await;
    let good = zstd_bytes(&["-dc"], &fs::read(bundle.path()).unwrap());
    drop(bundle);
    let entry = |name: &str, kind: tar::EntryType, size: u64| {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o600);
        header.set_cksum();
        header.as_bytes().to_vec()
    };
    use tar::EntryType::{Directory, Regular, Symlink};
    for (name, blocks) in [
        ("absolute", vec![entry("/etc/passwd", Regular, 0)]),
        ("dot dot", vec![entry("a/../../x", Regular, 0)]),
        ("link", vec![entry("link", Symlink, 0)]),
        ("directory", vec![entry("dir/", Directory, 0)]),
        ("twice", vec![entry("a", Regular, 0), entry("a", Regular, 0)]),
        ("header again", vec![entry("plegcollect.json", Regular, 0)]),
        ("huge", vec![entry("a", Regular, 1 << 50)]),
        ("control", vec![entry("a\nb", Regular, 0)]),
    ] {
        let path = dir.path().join("hostile.tar.zst");
        let raw = [&[good.clone()][..], &blocks].concat().concat();
        fs_ext::write_truncated(&path, &zstd_bytes(&["-c"], &raw));
        let bundle = Bundle::open(&path).unwrap();
        assert!(matches!(bundle.list(), Err(ReadError::Hostile { .. })), "{name}: {:?}", bundle.list());
        assert!(matches!(verify(&path), Err(ReadError::Hostile { .. })), "{name}");
    }
    for (name, bytes) in
        [("empty", vec![]), ("text", b"hello".to_vec()), ("zstd of text", zstd_bytes(&["-c"], &[b'x'; 2000]))]
    {
        let path = dir.path().join("none.tar.zst");
        fs_ext::write_truncated(&path, &bytes);
        assert!(matches!(Bundle::open(&path), Err(ReadError::NotABundle { .. })), "{name}");
    }
}

#[tokio::test]
async fn endless_output_stops_at_its_cap() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = begin(dir.path()).await;
    let cap = 64 << 10;
    let mut sink = bundle.step(&step("host/yes", "host/yes.txt"), Encoding::Zstd, cap).await.unwrap();
    // 16 MiB of lines, in 2 KiB on the wire.
    let packed = zstd_bytes(&["-c"], &b"yes and no\n".repeat(1_500_000));
    let counter = sink.counter();
    let mut frames = 0;
    while sink.write(StdStream::Out, Bytes::from(packed.clone())).await.is_continue() {
        frames += 1;
        assert!(frames < 100, "it never stops");
    }
    assert!(counter.get() < 80 << 20, "{}", counter.get());
    let mut over = end(Outcome::Complete);
    over.exit_status = None;
    let record = sink.finish(over).await.unwrap();
    assert_eq!(record.outcome, Outcome::Truncated);
    let file = &record.files[0];
    assert!(file.omitted_at_least && file.omitted_bytes > 60 << 20 && file.bytes <= cap + 100, "{file:?}");
    assert!(record.detail.unwrap().contains("at least"));
    let sealed = bundle.seal(Closing::now(Ending::Complete)).await.unwrap();
    let text = text_of(&sealed.path, "host/yes.txt");
    // The last line is where the source was stopped.
    let marks: Vec<&str> = text.lines().filter(|l| !"yes and no".starts_with(l)).collect();
    assert_eq!(marks.len(), 1, "{marks:?}");
    assert!(marks[0].starts_with("[plegcollect: at least ") && marks[0].ends_with(" bytes left out]"));
    assert!(verify(&sealed.path).unwrap().is_ok());
}

#[tokio::test]
async fn the_limit_of_a_node_ends_its_evidence() {
    let dir = tempfile::tempdir().unwrap();
    let limited = BundleOptions { max_bundle_bytes: 10_000, ..options() };
    let bundle = BundleWriter::create(dir.path(), &"worker-001".parse().unwrap(), &header(), limited).await.unwrap();
    put(&bundle, "host/small", b"small\n").await;
    for id in ["host/large", "host/late"] {
        let mut sink = bundle.step(&step(id, &format!("{id}.txt")), Encoding::Plain, 1 << 20).await.unwrap();
        let _ = sink.write(StdStream::Out, Bytes::from(b"line\n".repeat(4_000))).await;
        let record = sink.finish(end(Outcome::Complete)).await.unwrap();
        assert_eq!(record.outcome, Outcome::Truncated, "{id}");
        assert!(record.detail.as_ref().unwrap().contains("limit of evidence for this node"), "{id}");
        assert!(record.bytes() < 12_000, "{id}: {}", record.bytes());
    }
    let sealed = bundle.seal(Closing::now(Ending::Partial)).await.unwrap();
    assert!(verify(&sealed.path).unwrap().is_ok());
}

#[tokio::test]
async fn the_reserve_of_the_disk_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let full = BundleOptions { reserve_bytes: u64::MAX, ..options() };
    let bundle = BundleWriter::create(dir.path(), &"worker-001".parse().unwrap(), &header(), full).await.unwrap();
    let refused = bundle.step(&step("host/ps", "host/ps.txt"), Encoding::Plain, 100).await.unwrap_err();
    assert!(matches!(refused, BundleError::DiskFull { .. }));
    assert!(refused.to_string().contains("worker-001.tar.zst.partial"), "{refused}");
    let sealed = bundle.seal(Closing::now(Ending::Partial)).await.unwrap();
    assert!(verify(&sealed.path).unwrap().is_ok(), "it can still be sealed");
}

#[tokio::test]
async fn steps_nobody_finishes_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = begin(dir.path()).await;
    let path = bundle.path().to_owned();
    let mut sink = bundle.step(&step("host/ps", "host/ps.txt"), Encoding::Plain, 100).await.unwrap();
    assert_eq!(sink.write(StdStream::Out, Bytes::from_static(b"half a ")).await, ControlFlow::Continue(()));
    drop(sink);
    assert_eq!(bundle.abandon().await.unwrap(), path);
    assert_eq!(text_of(&path, "host/ps.txt"), "half a ");
    let records = Bundle::open(&path).unwrap().records().unwrap();
    assert_eq!((records.len(), records[0].outcome), (1, Outcome::Cancelled));
}

#[tokio::test]
async fn names_are_given_once() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = begin(dir.path()).await;
    put(&bundle, "host/ps", b"").await;
    for file in ["host/ps.txt", "manifest.json", "../x", "/x", "plegcollect.json"] {
        let refused = bundle.step(&step("host/other", file), Encoding::Plain, 1).await;
        assert!(matches!(refused, Err(BundleError::Duplicate(_) | BundleError::Path(_))), "{file}");
    }
    let node = "worker-001".parse().unwrap();
    let again = BundleWriter::create(dir.path(), &node, &header(), options()).await.unwrap_err();
    assert!(again.to_string().contains("worker-001.tar.zst.partial"), "{again}");
    drop(bundle);
}

#[tokio::test]
async fn damaged_streams_are_failures_with_what_there_was() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = begin(dir.path()).await;
    let packed = zstd_bytes(&["-c"], b"evidence\n");
    for (id, bytes, outcome, want) in [
        ("host/cut", packed[..packed.len() - 1].to_vec(), Outcome::Complete, Outcome::Failed),
        ("host/lost", packed[..packed.len() - 1].to_vec(), Outcome::Lost, Outcome::Lost),
        ("host/tail", [packed.clone(), b"bash: warning".to_vec()].concat(), Outcome::Complete, Outcome::Failed),
        ("host/good", packed.clone(), Outcome::Complete, Outcome::Complete),
    ] {
        let mut sink = bundle.step(&step(id, &format!("{id}.txt")), Encoding::Zstd, 1000).await.unwrap();
        let _ = sink.write(StdStream::Out, Bytes::from(bytes.clone())).await;
        let record = sink.finish(end(outcome)).await.unwrap();
        assert_eq!(record.outcome, want, "{id}: {:?}", record.detail);
        assert_eq!(record.wire_bytes, bytes.len() as u64);
        if want == Outcome::Failed {
            assert!(record.detail.unwrap().contains("what could be unpacked is kept"), "{id}");
        }
        assert_eq!(text_of(bundle.path(), &format!("{id}.txt")), "evidence\n", "{id}");
    }
}

/// Written by the first version; must open for ever.
#[test]
fn bundles_of_format_1_0_open() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bundle-1.0.tar.zst");
    let report = verify(&path).unwrap();
    assert!(report.is_ok(), "{:?}", report.problems);
    let manifest: Manifest = report.manifest.unwrap();
    assert_eq!((manifest.header.format.to_string().as_str(), manifest.steps.len()), ("1.0", 3));
    assert_eq!(text_of(&path, "host/ps.txt"), "PID CMD\n1 init\n");
}

/// The first with changes of the node.
#[test]
fn bundles_of_format_1_1_open() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bundle-1.1.tar.zst");
    let report = verify(&path).unwrap();
    assert!(report.is_ok(), "{:?}", report.problems);
    let manifest: Manifest = report.manifest.unwrap();
    assert_eq!((manifest.header.format.to_string().as_str(), manifest.steps.len()), ("1.1", 3));
    assert_eq!(manifest.changes, [change()]);
    assert_eq!(text_of(&path, "host/ps.txt"), "PID CMD\n1 init\n");
}

fn change() -> ChangeRecord {
    let mut record = ChangeRecord::not_made(
        ChangeId::DockerdDebug,
        "dockerd",
        ChangeState::Reverted,
        "debug was on for 20 s, is off again",
    );
    record.checks =
        vec![Check { id: "P4".to_owned(), verdict: Verdict::Pass, text: "/info answered twice".to_owned() }];
    record.applied = Some("2026-11-20T23:15:07Z".parse().unwrap());
    record.reverted = Some("2026-11-20T23:15:27Z".parse().unwrap());
    let sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    record.before = [("sha256".to_owned(), sha256.to_owned()), ("inode".to_owned(), "253:1177".to_owned())].into();
    record.after = record.before.clone();
    record.remains = vec!["ctime of /etc/docker/daemon.json".to_owned()];
    record.log = vec!["123 state ON".to_owned()];
    record
}

#[tokio::test]
async fn what_a_node_says_of_a_change_is_redacted_and_its_state_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = begin(dir.path()).await;
    let mut told = change();
    for text in [&mut told.text, &mut told.describe, &mut told.checks[0].text, &mut told.log[0], &mut told.remains[0]] {
        text.push_str(" password=hunter2");
    }
    told.after.insert("label".to_owned(), "password=hunter2".to_owned());
    told.mend = Some("plegcollect revert --nodes worker-001".to_owned());
    let closing = Closing { changes: vec![told.clone()], ..Closing::now(Ending::Complete) };
    let sealed = bundle.seal(closing).await.unwrap();
    let kept = &verify(&sealed.path).unwrap().manifest.unwrap().changes[0];
    assert!(!format!("{kept:?}").contains("hunter2"), "{kept:?}");
    assert_eq!((&kept.before, &kept.mend, kept.state), (&told.before, &told.mend, told.state));
    assert_eq!(sealed.manifest.changes[0], *kept);
}

/// Writes that fixture; to be run once per format version.
#[tokio::test]
#[ignore = "writes tests/fixtures; run by hand when the format version grows"]
async fn write_the_fixture() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = begin(dir.path()).await;
    bundle.add_json("node/facts.json", &serde_json::json!({"hostname": "worker-001"})).await.unwrap();
    put(&bundle, "host/ps", b"PID CMD\n1 init\n").await;
    let mut sink = bundle.step(&step("docker/ps", "docker/ps.txt"), Encoding::Plain, 20).await.unwrap();
    let _ = sink.write(StdStream::Out, Bytes::from_static(b"one\ntwo\nthree\nfour\nfive\nsix\n")).await;
    let _ = sink.write(StdStream::Err, Bytes::from_static(b"password=x\n")).await;
    let mut over = end(Outcome::TimedOut);
    over.hung = Some(b"State: D\n".to_vec());
    let mut absent = sink.finish(over).await.unwrap();
    absent.id = "cri/crictl".parse().unwrap();
    (absent.outcome, absent.files) = (Outcome::Absent, vec![]);
    bundle.record(absent).await.unwrap();
    let closing = Closing { changes: vec![change()], ..Closing::now(Ending::Complete) };
    let sealed = bundle.seal(closing).await.unwrap();
    let name = format!("tests/fixtures/bundle-{}.tar.zst", sealed.manifest.header.format);
    fs::copy(sealed.path, Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
}

/// Streams much more than is kept and looks at the peak of the process's memory.
#[tokio::test]
#[ignore = "a measurement of a minute in a debug build; run alone: cargo test --test bundle memory -- --ignored --nocapture"]
async fn memory_stays_flat() {
    let peak = || {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    };
    let dir = tempfile::tempdir().unwrap();
    let bundle = begin(dir.path()).await;
    let line =
        "Nov 20 12:00:00 worker-001 kubelet[12]: I1120 kubelet.go:2001] SyncLoop (PLEG): event for pod default/web\n";
    let chunk = Bytes::from(line.repeat((32 << 10) / line.len()));
    for (id, mib) in [("host/small", 16_u64), ("host/large", 512)] {
        let mut sink = bundle.step(&step(id, &format!("{id}.txt")), Encoding::Plain, 256 << 20).await.unwrap();
        for _ in 0..(mib << 20) / chunk.len() as u64 {
            assert!(sink.write(StdStream::Out, chunk.clone()).await.is_continue());
        }
        let record = sink.finish(end(Outcome::Complete)).await.unwrap();
        println!("{mib} MiB: peak {} MiB, {:?}, {} bytes kept", peak(), record.outcome, record.bytes());
    }
    assert!(peak() < 100);
}

/// A real full disk: `PLEGCOLLECT_SMALL_DISK` names a directory on a file system of 2 MiB.
#[tokio::test]
#[ignore = "needs a small file system: mount -t tmpfs -o size=2m tmpfs DIR"]
async fn a_really_full_disk() {
    let Some(dir) = std::env::var_os("PLEGCOLLECT_SMALL_DISK").map(PathBuf::from) else { return };
    let bundle = begin(&dir).await;
    put(&bundle, "host/first", b"first\n").await;
    let mut state = 1_u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        b'a' + (state >> 59) as u8
    };
    let mut sink = bundle.step(&step("host/large", "host/large.txt"), Encoding::Plain, 64 << 20).await.unwrap();
    let mut chunks = 0;
    loop {
        let chunk: Vec<u8> = (0..32 << 10).map(|i| if i % 80 == 0 { b'\n' } else { noise() }).collect();
        if sink.write(StdStream::Out, Bytes::from(chunk)).await.is_break() {
            break;
        }
        chunks += 1;
        assert!(chunks < 1000);
    }
    let large = sink.finish(end(Outcome::Complete)).await;
    println!("after {chunks} chunks: {large:?}");
    let third = bundle.step(&step("host/third", "host/third.txt"), Encoding::Plain, 100).await.unwrap();
    println!("third: {:?}", third.finish(end(Outcome::Complete)).await);
    let sealed = bundle.seal(Closing::now(Ending::Partial)).await.unwrap();
    let report = verify(&sealed.path).unwrap();
    assert!(report.is_ok(), "{:?}", report.problems);
    for step in &report.steps {
        println!("{} {:?} {:?}", step.id, step.outcome, step.detail);
    }
    assert_eq!(text_of(&sealed.path, "host/first.txt"), "first\n");
    fs::remove_file(sealed.path).unwrap();
}
