//! Genuine profiles of kubelets, and hostile ones made here.

use std::fs;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use prost::Message as _;

use super::tables::MAX_TABLE;
use super::wire::MAX_MESSAGE;
use super::*;

fn fixture(name: &str) -> Vec<u8> {
    fs::read(format!("{}/tests/fixtures/kubelet/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    MultiGzDecoder::new(bytes).read_to_end(&mut out).unwrap();
    out
}

#[test]
fn goroutines_are_counted() {
    let profile = Profile::read(fixture("kubelet-1.36.2/goroutine.pb.gz").as_slice()).unwrap();
    assert_eq!(profile.goroutines(), Some(165));
    let top = profile.top("goroutine", Order::Cum, 3);
    assert_eq!(top.len(), 3);
    assert!(top[0].cum >= top[1].cum && top[0].cum <= 165, "{top:?}");
    // Every goroutine but the one that runs is parked.
    assert_eq!(&*profile.top("goroutine", Order::Flat, 1)[0].function, "runtime.gopark");
}

#[test]
fn who_holds_memory_is_told() {
    for name in ["kubelet-1.36.2/heap.pb.gz", "kubelet-1.21.1-dockershim/heap.pb.gz"] {
        let profile = Profile::read(fixture(name).as_slice()).unwrap();
        let kinds: Vec<&str> = profile.kinds.iter().map(|kind| &*kind.name).collect();
        assert_eq!(kinds, ["alloc_objects", "alloc_space", "inuse_objects", "inuse_space"], "{name}");
        assert_eq!(&*profile.kinds[3].unit, "bytes");
        let total = profile.total("inuse_space").unwrap();
        let all = profile.top("inuse_space", Order::Flat, usize::MAX);
        assert_eq!(all.iter().map(|top| top.flat).sum::<i64>(), total, "{name}");
        assert!(all.iter().all(|top| top.cum >= top.flat && top.cum <= total && !top.function.is_empty()), "{name}");
        assert!(profile.taken.is_some() && profile.goroutines().is_none());
    }
}

#[test]
fn who_uses_the_processor_is_told() {
    for name in ["kubelet-1.36.2/profile-2s.pb.gz", "kubelet-1.21.1-dockershim/profile-2s.pb.gz"] {
        let profile = Profile::read(fixture(name).as_slice()).unwrap();
        assert!((1..5).contains(&profile.duration.as_secs()), "{name}: {:?}", profile.duration);
        let (flat, cum) = (profile.top("cpu", Order::Flat, 100), profile.top("cpu", Order::Cum, 100));
        assert_eq!(flat.iter().map(|top| top.flat).sum::<i64>(), profile.total("cpu").unwrap(), "{name}");
        assert!(cum.windows(2).all(|pair| pair[0].cum >= pair[1].cum), "{name}");
        assert_eq!(profile.top("inuse_space", Order::Flat, 5), []);
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct Whole {
    #[prost(message, repeated, tag = "1")]
    kinds: Vec<proto::ValueType>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<proto::Sample>,
    #[prost(message, repeated, tag = "4")]
    locations: Vec<proto::Location>,
    #[prost(message, repeated, tag = "5")]
    functions: Vec<proto::Function>,
    #[prost(bytes = "vec", repeated, tag = "6")]
    strings: Vec<Vec<u8>>,
}

/// `main` calls `work`, which is inlined into `loop_`; the stack has `work` twice.
fn small() -> Whole {
    let line = |function| proto::Line { function };
    Whole {
        kinds: vec![proto::ValueType { kind: 1, unit: 2 }],
        samples: vec![
            proto::Sample { locations: vec![1, 2, 1], values: vec![7] },
            proto::Sample { locations: vec![2], values: vec![1] },
        ],
        locations: vec![
            proto::Location { id: 1, lines: vec![line(10), line(11)] },
            proto::Location { id: 2, lines: vec![line(12)] },
        ],
        functions: vec![
            proto::Function { id: 10, name: 3, file: 6 },
            proto::Function { id: 11, name: 4, file: 6 },
            proto::Function { id: 12, name: 5, file: 6 },
        ],
        strings: ["", "cpu", "nanoseconds", "work", "loop_", "main", "a.go"]
            .map(|text| text.as_bytes().to_vec())
            .to_vec(),
    }
}

fn tops(whole: &Whole) -> Vec<(String, i64, i64)> {
    let profile = Profile::read(whole.encode_to_vec().as_slice()).unwrap();
    profile.top("cpu", Order::Cum, 9).iter().map(|top| (top.function.to_string(), top.flat, top.cum)).collect()
}

#[test]
fn recursion_and_inlining_are_counted_once() {
    let want = [("main".to_owned(), 1, 8), ("work".to_owned(), 7, 7), ("loop_".to_owned(), 0, 7)];
    assert_eq!(tops(&small()), want);
    assert_eq!(Profile::read(packed(&small().encode_to_vec()).as_slice()).unwrap().samples, 2);
}

#[test]
fn places_that_do_not_exist_are_left_out() {
    let mut whole = small();
    whole.samples.push(proto::Sample { locations: vec![99, u64::MAX], values: vec![1, 2, 3] });
    whole.locations.push(proto::Location { id: 3, lines: vec![proto::Line { function: 77 }] });
    whole.samples.push(proto::Sample { locations: vec![3], values: vec![] });
    whole.functions.push(proto::Function { id: 13, name: i64::MIN, file: i64::MAX });
    whole.locations.push(proto::Location { id: 4, lines: vec![proto::Line { function: 13 }] });
    whole.samples.push(proto::Sample { locations: vec![4], values: vec![i64::MAX] });
    let all = tops(&whole);
    assert_eq!(all.len(), 4);
    assert_eq!(all[0], (String::new(), i64::MAX, i64::MAX));
}

#[test]
fn what_is_no_profile_is_refused_with_the_reason() {
    let genuine = fixture("kubelet-1.36.2/heap.pb.gz");
    let field = |length: usize, byte: u8| {
        let mut bytes = vec![0x12];
        prost::encoding::encode_varint(length as u64, &mut bytes);
        bytes.resize(bytes.len() + length, byte);
        bytes
    };
    for (what, bytes, want) in [
        ("nothing", Vec::new(), "does not say what it measures"),
        ("a page", b"404 page not found\n".to_vec(), "is no pprof profile"),
        ("a cut one", genuine[..genuine.len() / 2].to_vec(), "cannot be read"),
        ("cut within", unpacked(&genuine)[..5001].to_vec(), "is cut off"),
        ("a bomb", packed(&vec![0; MAX_UNPACKED + 1]), "unpacks to more than 32 MiB"),
        (
            "one large sample",
            [small().encode_to_vec(), field(MAX_MESSAGE + 1, 8)].concat(),
            "larger than any genuine one",
        ),
        ("a broken sample", [small().encode_to_vec(), field(3, 0xff)].concat(), "a message in it is broken"),
        ("too many texts", [0x32, 0].repeat(MAX_TABLE + 1), "more functions and places"),
    ] {
        let said = Profile::read(bytes.as_slice()).map_or_else(|e| e.to_string(), |_| "read".to_owned());
        assert!(said.contains(want), "{what}: {said}");
    }
}

#[test]
fn work_is_bounded_also_where_nothing_is_found() {
    let mut whole = small();
    whole.locations.push(proto::Location { id: 5, lines: vec![proto::Line { function: 77 }; 100] });
    let bytes = whole.encode_to_vec();
    let tables = Tables::of(&bytes).unwrap();
    for location in [5, 99] {
        let mut sums = Sums::new(&tables, 1);
        sums.steps = 5000;
        let sample = proto::Sample { locations: vec![location; 10_000], values: vec![1] };
        assert!(sums.add(&sample).unwrap_err().to_string().contains("longer than any genuine"), "{location}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        let _ = Profile::read(bytes.as_slice());
        let _ = Profile::read(packed(&bytes).as_slice());
    }

    #[test]
    fn a_genuine_profile_with_bytes_changed_is_read_or_refused(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20)) {
        let mut bytes = unpacked(&fixture("kubelet-1.21.1-dockershim/profile-2s.pb.gz"));
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(profile) = Profile::read(bytes.as_slice()) {
            for kind in &profile.kinds {
                let top = profile.top(&kind.name, Order::Flat, 5);
                prop_assert!(top.len() <= 5);
            }
        }
    }
}
