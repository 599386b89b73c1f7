//! Full disks: a medium of limited size in the place of the file.

use std::io::Write;
use std::sync::Mutex;

use super::*;
use crate::bundle::reader::Bundle;
use crate::bundle::redact::{RedactConfig, Redactor};
use crate::bundle::{Ending, verify};
use crate::plan::Phase;
use crate::plan::step::Action;

/// A disk of limited size that can be taken out and looked at.
#[derive(Clone)]
struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.0.lock().unwrap();
        let room = disk.1.saturating_sub(disk.0.len()).min(bytes.len());
        if room == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        disk.0.extend_from_slice(&bytes[..room]);
        Ok(room)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Medium for Disk {
    fn cut_back(&mut self, len: u64) -> io::Result<()> {
        self.0.lock().unwrap().0.truncate(usize::try_from(len).unwrap());
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn run_step(worker: &mut Worker, key: u64, out: &[u8]) -> Result<StepRecord, BundleError> {
    let step = PlannedStep {
        id: format!("host/s{key}").parse().unwrap(),
        file: format!("host/s{key}.txt"),
        phase: Phase::Before,
        action: Action::Skipped(String::new()),
        about: String::new(),
        heavy: false,
    };
    let paths = Paths::of(&step).unwrap();
    worker.open_step(key, &step, paths, Encoding::Plain, 1 << 20, Arc::default())?;
    worker.data(key, StdStream::Out, out);
    let end = StepEnd {
        command: "x".into(),
        as_root: None,
        started: Timestamp::UNIX_EPOCH,
        duration: std::time::Duration::ZERO,
        outcome: Outcome::Complete,
        detail: None,
        exit_status: Some(0),
        signal: None,
        hung: None,
    };
    worker.finish(key, end)
}

#[test]
fn a_full_disk_costs_the_step_that_met_it_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk(Arc::new(Mutex::new((Vec::new(), 6000))));
    let mut worker = worker(dir.path(), &disk);
    let mut state = 1_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let noise: Vec<u8> = (0..20_000).map(|_| random()).collect();
    run_step(&mut worker, 1, b"first\n").unwrap();
    let before = disk.0.lock().unwrap().0.clone();
    let error = run_step(&mut worker, 2, &noise).unwrap_err();
    assert!(error.is_disk_full() && error.to_string().contains("n.tar.zst.partial"), "{error}");
    assert_eq!(disk.0.lock().unwrap().0, before, "back to the last whole frame");
    run_step(&mut worker, 3, b"third\n").unwrap();

    // What is on the disk now is what a kill would leave: readable.
    let copy = dir.path().join("copy.tar.zst.partial");
    atomic::write(&copy, &disk.0.lock().unwrap().0).unwrap();
    let ids: Vec<String> = Bundle::open(&copy).unwrap().records().unwrap().iter().map(|r| r.id.to_string()).collect();
    assert_eq!(ids, ["host/s1", "host/s3"]);

    // And it can be sealed; the manifest tells of the lost one.
    atomic::write(&dir.path().join("n.tar.zst.partial"), b"stands for the disk").unwrap();
    let sealed = worker.seal(Closing::now(Ending::Partial)).unwrap();
    atomic::write(&sealed.path, &disk.0.lock().unwrap().0).unwrap();
    let report = verify(&sealed.path).unwrap();
    assert!(report.is_ok(), "{:?}", report.problems);
    assert_eq!(report.sha256, sealed.sha256);
    let lost = &report.steps[1];
    assert_eq!((lost.outcome, lost.files.len()), (Outcome::Failed, 0));
    assert!(lost.detail.as_ref().unwrap().contains("the local disk is full"));
}

#[test]
fn a_disk_full_at_any_byte_leaves_whole_frames() {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy.tar.zst.partial");
    for size in (300..4000).step_by(37) {
        let disk = Disk(Arc::new(Mutex::new((Vec::new(), 0))));
        disk.0.lock().unwrap().1 = 1 << 20;
        let mut worker = worker(dir.path(), &disk);
        disk.0.lock().unwrap().1 = size;
        let done = (1..6).filter(|key| run_step(&mut worker, *key, b"some evidence\n").is_ok()).count();
        atomic::write(&copy, &disk.0.lock().unwrap().0).unwrap();
        let bundle = Bundle::open(&copy).unwrap();
        assert_eq!(bundle.records().unwrap().len(), done, "disk of {size} bytes");
        assert_eq!(bundle.list().unwrap().1, crate::bundle::reader::End::Open);
    }
}

/// One redactor for all: compiling one takes a while in a debug build.
fn worker(dir: &Path, disk: &Disk) -> Worker {
    static REDACTOR: std::sync::LazyLock<Arc<Redactor>> =
        std::sync::LazyLock::new(|| Arc::new(Redactor::new(&RedactConfig::default()).unwrap()));
    let options = BundleOptions { reserve_bytes: 0, ..BundleOptions::new(Arc::clone(&REDACTOR)) };
    let header = Header::new("run-1", "n".parse().unwrap(), Timestamp::UNIX_EPOCH);
    Worker::on(Box::new(disk.clone()), dir.join("n.tar.zst.partial"), dir.join("n.tar.zst"), header, options).unwrap()
}
