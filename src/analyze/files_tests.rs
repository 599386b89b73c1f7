//! What is opened and what is not.

#![expect(clippy::disallowed_methods, reason = "tests write what they read")]

use std::io::Write;
use std::os::unix::fs::symlink;

use super::*;

fn text(files: &Files, path: &str) -> Option<String> {
    let mut text = String::new();
    files.open(path)?.read_to_string(&mut text).unwrap();
    Some(text)
}

#[test]
fn links_within_a_directory_are_followed_and_links_out_of_it_are_not() {
    let outer = tempfile::tempdir().unwrap();
    let dir = outer.path().join("given");
    fs::create_dir_all(dir.join("logs")).unwrap();
    fs::create_dir(outer.path().join("secret")).unwrap();
    for secret in ["secret/token", "secret/journal.txt"] {
        fs::write(outer.path().join(secret), "secret").unwrap();
    }
    fs::write(dir.join("logs/k"), "log").unwrap();
    symlink("logs/k", dir.join("kubelet.log")).unwrap();
    symlink(outer.path().join("secret/token"), dir.join("dmesg.txt")).unwrap();
    symlink("../secret", dir.join("docker")).unwrap();
    // The directory itself may be given by a link: that is the operator's own word.
    let link = outer.path().join("link");
    symlink(&dir, &link).unwrap();
    let files = Files::dir(&link);
    assert_eq!(text(&files, "kubelet/journal.txt").as_deref(), Some("log"));
    assert_eq!(files.shown("kubelet/journal.txt"), "kubelet.log");
    assert_eq!(text(&files, "kernel/dmesg.txt"), None);
    assert_eq!(text(&files, "docker/journal.txt"), None);
    assert_eq!(text(&files, "../secret/token"), None);
}

#[test]
fn pipes_and_directories_are_not_there_and_nobody_waits() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("kubelet.log");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    fs::create_dir(dir.path().join("dmesg.txt")).unwrap();
    symlink("/dev/zero", dir.path().join("docker.log")).unwrap();
    let files = Files::dir(dir.path());
    for path in ["kubelet/journal.txt", "kernel/dmesg.txt", "docker/journal.txt"] {
        assert!(files.open(path).is_none(), "{path}");
    }
    assert!(regular(&pipe).is_err() && regular(Path::new("/dev/zero")).is_err());
}

#[test]
fn packed_files_are_read_as_if_they_were_not_and_damage_ends_them() {
    let dir = tempfile::tempdir().unwrap();
    let log = "one line\n".repeat(100_000);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(log.as_bytes()).unwrap();
    let packed = gzip.finish().unwrap();
    fs::write(dir.path().join("kubelet.log.gz"), &packed).unwrap();
    fs::write(dir.path().join("docker.log.gz"), &packed[..packed.len() / 2]).unwrap();
    let files = Files::dir(dir.path());
    assert_eq!(text(&files, "kubelet/journal.txt").as_deref(), Some(log.as_str()));
    assert_eq!(files.shown("kubelet/journal.txt"), "kubelet.log.gz");
    let cut = text(&files, "docker/journal.txt").unwrap();
    assert!(!cut.is_empty() && log.starts_with(&cut), "{}", cut.len());
}

#[test]
fn what_is_too_large_is_named_by_its_size_alone() {
    let dir = tempfile::tempdir().unwrap();
    File::create(dir.path().join("kubelet.log")).unwrap().set_len(MAX_FILE + 1).unwrap();
    fs::write(dir.path().join("dmesg.txt"), "x").unwrap();
    let files = Files::dir(dir.path());
    let known = ["kubelet/journal.txt", "kernel/dmesg.txt", "host/df.txt"];
    assert_eq!(files.too_large(known.into_iter()), ["kubelet.log"]);
}

#[test]
fn parts_of_a_store_end_where_they_end() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"firstsecond").unwrap();
    let index = BTreeMap::from([("a".to_owned(), (0, 5)), ("b".to_owned(), (5, 6)), ("c".to_owned(), (11, 100))]);
    let files = Files::Store(Store { file: Arc::new(file), index });
    assert_eq!(text(&files, "a").as_deref(), Some("first"));
    assert_eq!(text(&files, "b").as_deref(), Some("second"));
    assert_eq!(text(&files, "c").as_deref(), Some(""), "a store cut short ends");
    assert_eq!(text(&files, "d"), None);
}
