//! Every parser on random bytes, and on genuine input that is cut and spliced: nothing panics, and lines are cited
//! with numbers that exist.

use proptest::prelude::*;

use super::log::seams::Seams;
use super::log::{Clock, LogReader, containerd, crio, dockerd, kubelet, systemd, zone};
use super::metrics::{Scrape, apiserver, kubelet as kubelet_metrics};
use super::tables::*;
use super::units::UnitHistory;

macro_rules! fixtures {
    ($($name:literal),* $(,)?) => {
        [$(include_bytes!(concat!("../../tests/fixtures/analyze/", $name)).as_slice()),*]
    };
}

const GENUINE: &[&[u8]] = &fixtures!(
    "kubelet-hang.log",
    "kubelet-journal.txt",
    "kubelet-json.log",
    "crio-journal.txt",
    "docker-journal.txt",
    "docker-journal-window.txt",
    "containerd-journal.txt",
    "kubelet-metrics-after.txt",
    "apiserver-metrics.txt",
    "docker-ps.txt",
    "docker-ps.jsonl",
    "docker-info.json",
    "docker-version.json",
    "docker-stats.txt",
    "dmesg.txt",
    "ps.txt",
    "ps-proc.txt",
    "top.txt",
    "free.txt",
    "meminfo.txt",
    "df.txt",
    "df-inodes.txt",
    "iostat.txt",
    "pressure.txt",
    "vmstat.txt",
    "docker-fds.txt",
    "dbus-cookie-1.txt",
    "hung.txt",
);

/// Runs all parsers over `bytes`.
fn read_all(bytes: &[u8]) {
    let lines = bytes.iter().filter(|b| **b == b'\n').count() as u64 + 1;
    let clock = Clock::utc("2026-11-21T07:00:00Z".parse().unwrap());
    let mut log = LogReader::new(bytes, clock);
    let (mut seams, mut units) = (Seams::default(), UnitHistory::default());
    while let Some(line) = log.next_line().unwrap() {
        seams.see(&line);
        units.see(&line);
        assert!(line.number <= lines);
        assert!(line.message.text().len() <= line.raw.len());
        for (key, value) in line.fields {
            assert!(key.len() + value.text().len() <= line.raw.len());
        }
        drop((kubelet::read(&line), dockerd::read(&line), containerd::read(&line), systemd::read(&line)));
        drop((crio::read(&line), line.happened()));
    }
    assert!(seams.seams.iter().all(|seam| seam.line <= lines));
    let _ = zone::of_log(bytes, clock.near);
    let mut kernel = dmesg::KernelReader::new(bytes, clock);
    while let Some(event) = kernel.next_event().unwrap() {
        assert!(event.line <= lines);
    }
    let scrape = Scrape::read(bytes, &[""]).unwrap();
    let relist = kubelet_metrics::relist(&scrape);
    for found in relist.duration.iter().chain(&relist.interval) {
        assert!([0.0, 0.5, 0.99, 1.0].iter().all(|q| found.quantile(*q).is_none_or(|q| q.value.is_finite())));
        drop(found.since(found));
    }
    drop((kubelet_metrics::operations(&scrape), apiserver::throttling(&scrape)));
    let text = String::from_utf8_lossy(bytes);
    drop((
        docker_ps::parse(&text),
        docker_info::parse(&text),
        docker_info::components(&text),
        docker_stats::parse(&text),
    ));
    drop((crictl::containers(&text), crictl::sandboxes(&text), crictl::conditions(&text)));
    drop((
        ps::parse(&text).zombies().len(),
        hung::parse(&text),
        descriptors::parse(&text),
        dbus_cookie::parse(&text, clock),
        stuck::parse(&text),
        stuck::runc(&text),
        top::parse(&text),
        iostat::parse(&text),
    ));
    drop((memory::memory(&text, true), df::parse(&text), vmstat::parse(&text), sections::sections(&text)));
    let _ = pressure::parse(&text);
    drop((stat::readings(&text), traffic::interfaces(&text), traffic::protocols(&text)));
    let _ = (traffic::tracked(&text), traffic::sockets(&text, "TCP", "tw"));
}

#[test]
fn genuine_input_is_read_by_every_parser_whichever_it_is_for() {
    GENUINE.iter().for_each(|bytes| read_all(bytes));
}

#[test]
fn long_lines_of_one_character_take_no_longer_than_others() {
    // A parser that looks back for every bracket, quote or key would not end on these.
    for piece in [
        "{",
        "[",
        "\"",
        "{\"a\":",
        ",\"pod\":{",
        "a=",
        "a={",
        "x=\"",
        "failed to \"",
        "\\",
        " ",
        "==> ",
        "Killed process 1 (",
        "a{x=\"",
        "Ü ",
    ] {
        for head in [
            "",
            "E1120 21:31:11.143909 1 a.go:1] \"m\" ",
            "time=\"x\" level=info msg=\"m\" ",
            "{\"ts\":1753121332053.9302,\"msg\":",
            "E1120 21:31:11.143909 1 a.go:1] \"Error syncing pod\" err=",
        ] {
            let line = format!("{head}{}\n", piece.repeat(60_000 / piece.len()));
            read_all(line.as_bytes());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        read_all(&bytes);
    }

    #[test]
    fn cut_and_spliced_genuine_input_is_read(
        first in 0..GENUINE.len(), second in 0..GENUINE.len(), from in any::<prop::sample::Index>(),
        to in any::<prop::sample::Index>(), flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
    ) {
        let (head, tail) = (GENUINE[first], GENUINE[second]);
        let mut bytes = head[..from.index(head.len())].to_vec();
        bytes.extend_from_slice(&tail[to.index(tail.len())..]);
        bytes.truncate(20_000);
        for (at, byte) in flips {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        read_all(&bytes);
    }
}
