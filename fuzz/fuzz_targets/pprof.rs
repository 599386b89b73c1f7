//! Any bytes as a profile: it is read or refused.

#![no_main]

use libfuzzer_sys::fuzz_target;
use plegcollect::analyze::pprof::{Order, Profile};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(profile) = Profile::read(bytes) {
        for kind in &profile.kinds {
            let _ = (profile.top(&kind.name, Order::Flat, 10), profile.top(&kind.name, Order::Cum, 10));
        }
    }
});
