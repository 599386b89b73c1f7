//! Tables and lists; the first byte chooses which.
#![no_main]

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use plegcollect::analyze::log::Clock;
use plegcollect::analyze::tables::*;

fuzz_target!(|bytes: &[u8]| {
    let Some((which, rest)) = bytes.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    match which % 9 {
        0 => drop((docker_ps::parse(&text), docker_stats::parse(&text))),
        1 => drop((docker_info::parse(&text), docker_info::components(&text), crictl::conditions(&text))),
        2 => drop((crictl::containers(&text), crictl::sandboxes(&text))),
        3 => drop(ps::parse(&text).zombies().len()),
        4 => drop((stuck::parse(&text), stuck::runc(&text), top::parse(&text), iostat::parse(&text))),
        5 => drop(df::parse(&text)),
        6 => drop((memory::memory(&text, true), vmstat::parse(&text), sections::sections(&text))),
        7 => {
            let clock = Clock::utc(Timestamp::UNIX_EPOCH);
            drop((descriptors::parse(&text), dbus_cookie::parse(&text, clock), hung::parse(&text)));
        }
        _ => {
            let _ = pressure::parse(&text);
        }
    }
});
