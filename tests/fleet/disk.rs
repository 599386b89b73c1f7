//! The local disk fills up in mid-run: what had been written stays whole, and the exit code says it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{plegcollect_with, run_dir, state};

/// A small file system of its own, gone when the test ends.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, size: &str) -> Self {
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size},mode=0700"), "tmpfs"])
            .arg(at)
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        Self(at.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(&self.0).status());
    }
}

#[test]
#[ignore = "needs the fleet"]
fn a_full_local_disk_loses_nothing_already_written() {
    let dir = tempfile::tempdir().unwrap();
    let small = dir.path().join("small");
    std::fs::create_dir(&small).unwrap();
    let _disk = SmallDisk::mount(&small, "100m");
    let mut text = std::fs::read_to_string(state().join("inventory.toml")).unwrap();
    text.push_str(
        "\n[[step]]\nid = \"own/noise\"\nabout = \"cannot be compressed\"\nphase = \"during\"\ntimeout = \"60s\"\nmax-bytes = \"1GB\"\n[[step.try]]\nargv = [\"head\", \"-c\", \"400000000\", \"/dev/urandom\"]\n",
    );
    let inventory = dir.path().join("inventory.toml");
    std::fs::write(&inventory, text).unwrap();

    let mut call = plegcollect_with(&inventory, &["--nodes", "worker-00[7-9]", "--include", "host,own"]);
    let output = call.command.env("PLEGCOLLECT_OUT", &small).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{err}\n{}", String::from_utf8_lossy(&output.stdout));
    assert!(err.contains(small.to_str().unwrap()), "the short disk is not named: {err}");

    let run = run_dir(&small).unwrap();
    for name in ["worker-007", "worker-008", "worker-009"] {
        let sealed = run.join(format!("{name}.tar.zst"));
        let bundle = if sealed.exists() { sealed } else { run.join(format!("{name}.tar.zst.partial")) };
        let shown = Command::new(env!("CARGO_BIN_EXE_plegcollect"))
            .arg("show")
            .arg(&bundle)
            .arg("host/meminfo.txt")
            .output()
            .unwrap();
        assert!(shown.stdout.starts_with(b"MemTotal:"), "{name}: {}", String::from_utf8_lossy(&shown.stderr));
        let extracted = Command::new("sh")
            .args(["-c", "zstd -dcq -- \"$1\" | tar -xOf - host/meminfo.txt", "sh"])
            .arg(&bundle)
            .output()
            .unwrap();
        assert!(extracted.stdout.starts_with(b"MemTotal:"), "{name}: {}", String::from_utf8_lossy(&extracted.stderr));
    }
}
