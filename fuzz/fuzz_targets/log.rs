//! Log lines and what they mean; the kernel's log.
#![no_main]

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use plegcollect::analyze::log::{Clock, LogReader, containerd, dockerd, kubelet, systemd};
use plegcollect::analyze::tables::dmesg::KernelReader;

fuzz_target!(|bytes: &[u8]| {
    let clock = Clock::utc(Timestamp::UNIX_EPOCH);
    let mut log = LogReader::new(bytes, clock);
    while let Ok(Some(line)) = log.next_line() {
        assert!(line.message.text().len() <= line.raw.len());
        assert!(line.fields.count() <= line.raw.len());
        drop((kubelet::read(&line), dockerd::read(&line), containerd::read(&line), systemd::read(&line)));
    }
    let mut kernel = KernelReader::new(bytes, clock);
    while let Ok(Some(_)) = kernel.next_event() {}
});
