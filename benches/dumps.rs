//! What reading a stack dump of 30,000 goroutines (47 MB) costs, beside programs that only look at its lines; and what the
//! whole analysis of a journal of 1 GB does. Makes them of genuine ones, runs each way as a process of its own, prints a table
//! and asserts nothing.
//!
//! `cargo bench --bench dumps`, or `cargo bench --bench dumps -- FILE` for a dump of your own, `-- journal` for the journal.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program that prints figures, and may fail loudly"
)]

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use plegcollect::analyze::gather::gather;
use plegcollect::analyze::goroutine::{Limits, read};
use plegcollect::analyze::node::analyze;

const GOROUTINES: usize = 30_000;
const GENUINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/analyze/dockerd-20.10-convoy-2.log");

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["parse", file] => parse(file),
        ["lines", file] => lines(file),
        ["journal"] => journal(),
        ["report", file] => report(file),
        [file] => table(&[("as given", PathBuf::from(file))]),
        _ => {
            journal();
            let dir = tempfile::tempdir().unwrap();
            let made = |name: &'static str, differ, quoted| {
                let path = dir.path().join(name.replace(' ', "-"));
                make(&path, differ, quoted);
                (name, path)
            };
            table(&[
                made("lock convoy", false, false),
                made("no two stacks equal", true, false),
                made("one journal line", false, true),
            ]);
        }
    }
}

/// Writes the goroutines of a genuine dump again and again, with other numbers, addresses and ages.
fn make(path: &Path, differ: bool, quoted: bool) {
    let genuine = fs::read_to_string(GENUINE).unwrap();
    let blocks: Vec<&str> = genuine.split("\n\n").filter(|block| block.starts_with("goroutine ")).collect();
    let (writer, others) = blocks.split_first().unwrap();
    let mut out = std::io::BufWriter::new(File::create(path).unwrap());
    let mut random = 1_u64;
    let mut next = move || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        random >> 33
    };
    if quoted {
        write!(out, "2026-11-21T06:35:15.796164+0000 w dockerd[7]: time=\"x\" level=info msg=\"=== BEGIN goroutine stack dump ===\\n").unwrap();
    }
    for number in 0..GOROUTINES {
        let block =
            if number == 0 { writer } else { others.get(usize::try_from(next()).unwrap() % others.len()).unwrap() };
        let (head, stack) = block.split_once('\n').unwrap();
        let state = head.split_once('[').unwrap().1.split([',', ']']).next().unwrap();
        let mut text = if number == 0 {
            format!("goroutine 1 [{state}]:\n{stack}\n\n")
        } else {
            let minutes = next() % 400 + 1;
            let stack = stack.replace("0xc000", &format!("0xc{:03x}", next() & 0xfff));
            format!("goroutine {} [{state}, {minutes} minutes]:\n{stack}\n\n", number * 3)
        };
        if differ {
            let head = text.find('\n').unwrap() + 1;
            text.insert_str(head, &format!("main.work{number}(0x1)\n\t/src/work{number}.go:{number} +0x1\n"));
        }
        if quoted {
            text = text.replace('\t', "\\t").replace('\n', "\\n");
        }
        out.write_all(text.as_bytes()).unwrap();
    }
    if quoted {
        writeln!(out, "=== END goroutine stack dump ===\"").unwrap();
    }
    out.flush().unwrap();
}

/// Writes a genuine journal of a kubelet again and again until it has 1 GB, and has it analysed.
fn journal() {
    let genuine = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/analyze/kubelet-journal.txt")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kubelet.log");
    let mut out = std::io::BufWriter::new(File::create(&path).unwrap());
    for _ in 0..=1_000_000_000 / genuine.len() {
        out.write_all(&genuine).unwrap();
    }
    out.flush().unwrap();
    let begun = Instant::now();
    let me = std::env::current_exe().unwrap();
    let output = Command::new(me).args(["report"]).arg(&path).output().unwrap();
    println!(
        "1 GB: {:.1} s, peak KiB and findings: {}",
        begun.elapsed().as_secs_f64(),
        String::from_utf8_lossy(&output.stdout).trim()
    );
}

fn report(file: &str) {
    let mut found = 0;
    let not_read =
        gather(&[PathBuf::from(file)], |view, source| found += analyze(view, source.to_owned()).findings.len());
    println!("{} {found}, not read: {}", peak(), not_read.len());
}

fn table(files: &[(&str, PathBuf)]) {
    println!("{:<22} {:<22} {:>8} {:>9} {:>9} {:>7}  result", "dump", "way", "MB", "wall s", "MiB", "of size");
    let me = std::env::current_exe().unwrap();
    for (name, file) in files {
        let size = fs::metadata(file).unwrap().len();
        let ways: [(&str, Command); 3] = [
            ("plegcollect's parser", Command::new(&me)),
            ("reading its lines", Command::new(&me)),
            ("grep -c ^goroutine", Command::new("grep")),
        ];
        for (way, mut command) in ways {
            match way {
                "plegcollect's parser" => command.arg("parse"),
                "reading its lines" => command.arg("lines"),
                _ => command.args(["-c", "^goroutine"]),
            };
            let begun = Instant::now();
            let said = command.arg(file).output().map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned());
            let wall = begun.elapsed();
            let said = said.unwrap_or_else(|e| e.to_string());
            let (peak, said) = said.split_once(' ').filter(|(_, rest)| !rest.is_empty()).unwrap_or(("", &said));
            let peak: Option<f64> = peak.parse().ok();
            println!(
                "{name:<22} {way:<22} {:>8.1} {:>9.3} {:>9} {:>7}  {said}",
                size as f64 / 1e6,
                wall.as_secs_f64(),
                peak.map_or("-".into(), |kib| format!("{:.1}", kib / 1024.0)),
                peak.map_or("-".into(), |kib| format!("{:.2}", kib * 1024.0 / size as f64)),
            );
        }
    }
}

/// Prints the peak of this process's memory in KiB, then what was found.
fn parse(file: &str) {
    let dumps = read(BufReader::with_capacity(128 << 10, File::open(file).unwrap()), Limits::default()).unwrap();
    let (total, stacks) =
        dumps.iter().fold((0, 0), |(total, stacks), dump| (total + dump.total, stacks + dump.stacks.len()));
    let longest = dumps.iter().flat_map(|dump| &dump.stacks).map(|stack| stack.longest).max().unwrap_or(0);
    println!("{} {} dump, {total} goroutines, {stacks} stacks, longest {longest} minutes", peak(), dumps.len());
}

fn lines(file: &str) {
    let mut source = BufReader::with_capacity(128 << 10, File::open(file).unwrap());
    let (mut line, mut found) = (Vec::new(), 0_u64);
    while source.read_until(b'\n', &mut line).unwrap() > 0 {
        found += u64::from(line.starts_with(b"goroutine "));
        line.clear();
    }
    println!("{} {found} heads", peak());
}

fn peak() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()).unwrap_or("0").to_owned()
}
