//! Prometheus text, quantiles and differences.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plegcollect::analyze::metrics::{Scrape, apiserver, kubelet};

fuzz_target!(|bytes: &[u8]| {
    let Ok(scrape) = Scrape::read(bytes, &[""]) else { return };
    let relist = kubelet::relist(&scrape);
    for found in relist.duration.iter().chain(&relist.interval) {
        for rank in [0.0, 0.5, 0.99, 1.0] {
            assert!(found.quantile(rank).is_none_or(|q| q.value.is_finite()));
        }
        drop(found.since(found));
    }
    drop((kubelet::operations(&scrape), apiserver::throttling(&scrape)));
});
