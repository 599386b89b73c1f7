//! Which file systems are full or out of inodes, and whether the node lives on them. Full by nature (images, media, overlays)
//! and full of others' files (volumes of pods, backups) are told from what stops the kubelet and the runtime.

use crate::analyze::finding::{Finding, Layer, Severity};
use crate::analyze::rules::note::{self, Note};
use crate::analyze::tables::df::FileSystem;
use crate::analyze::tables::ps;
use crate::analyze::view::NodeView;
use crate::wording;

/// Percent used where the kubelet's or the runtime's files are; the kubelet evicts at nodefs.available<10% by default.
const FULL_PERCENT: u8 = 90;
/// Percent used of other file systems that daemons write to. What is left of large ones is much.
const NEARLY_PERCENT: u8 = 95;
/// Percent of inodes used; the kubelet evicts at nodefs.inodesFree<5% by default.
const INODES_PERCENT: u8 = 95;
/// Bytes left with which daemons cannot go on: a log line and a container's layer need more.
const NO_ROOM: u64 = 64 << 20;
/// Inodes left with which they cannot go on: a container's layer needs hundreds.
const NO_INODES: u64 = 1000;
/// File systems named in one sentence.
const LISTED: usize = 4;
/// What daemons write to beside the kubelet's and the runtime's own directories.
const DIRECTORIES: [(&str, &str); 3] = [("/", "system"), ("/var/log", "logs"), ("/run", "run")];
/// Types of file systems that are full by nature, or repeat another one.
const IMAGES: [&str; 8] = ["squashfs", "iso9660", "udf", "erofs", "cramfs", "romfs", "overlay", "fuse.snapfuse"];

/// A file system the node lives on.
struct Home<'a> {
    system: &'a FileSystem,
    /// Whose files are there.
    users: Vec<String>,
    limit: u8,
}

/// Judges one list of `df`.
pub(super) fn full(view: &NodeView, file: &str, list: &[FileSystem], inodes: bool) -> Vec<Finding> {
    let homes = homes(view, list, inodes);
    let mut bad: Vec<&Home<'_>> = homes.iter().filter(|h| h.system.used_percent >= Some(h.limit)).collect();
    bad.sort_by_key(|h| std::cmp::Reverse(h.system.used_percent));
    let mut found = Vec::new();
    if let Some(worst) = bad.first() {
        let out = bad.iter().any(|h| {
            h.system.used_percent >= Some(100)
                || h.system.available.is_some_and(|n| n < if inodes { NO_INODES } else { NO_ROOM })
        });
        let grave = if out { Severity::Critical } else { Severity::Warning };
        let words: Vec<String> =
            bad.iter().map(|h| format!("{} ({})", told(h.system, inodes), h.users.join(", "))).collect();
        let what = if inodes { "Inodes are used up" } else { "File systems are full" };
        let id = if inodes { "disk/inodes" } else { "disk/full" };
        let next = if inodes {
            "Find the directory with the most files (du --inodes -x); sessions, caches and dead containers are common."
        } else {
            "Find what fills it (du -x): images and dead containers below the runtime's directory, container logs, journals, \
             core dumps; deleted files that are still open show in lsof +L1."
        };
        let note = Note::new(view, id, grave, &format!("{what}: {}.", some(&words))).layer(Layer::Disk);
        let note = note.next(next).cite_all(file, bad.iter().map(|h| h.system.line));
        found.push(note.signature(&format!("{id} {}", worst.system.mount)).done());
    }
    let images = images(view);
    let others: Vec<&FileSystem> = list
        .iter()
        .filter(|f| f.used_percent >= Some(100) && !homes.iter().any(|h| h.system.mount == f.mount))
        .filter(|f| !is_image(f) && !images.contains(&f.mount))
        .collect();
    if !others.is_empty() {
        let words: Vec<String> = others.iter().map(|f| told(f, inodes)).collect();
        let sentence = format!(
            "{}, and nothing that the kubelet or the runtime needs is known to be there: {}.",
            if inodes { "Out of inodes" } else { "Full" },
            some(&words)
        );
        let note = Note::new(view, "disk/full-elsewhere", Severity::Info, &sentence);
        found.push(note.cite_all(file, others.iter().map(|f| f.line)).done());
    }
    found
}

fn told(system: &FileSystem, inodes: bool) -> String {
    let left = match system.available {
        Some(n) if inodes => format!(", {n} inodes left"),
        Some(n) => format!(", {} left", wording::bytes(n)),
        None => String::new(),
    };
    format!("{} {} %{left}", wording::cut(&note::name(&system.mount), 56), system.used_percent.unwrap_or_default())
}

/// Joins the first few; they are printable and short already.
fn some(words: &[String]) -> String {
    let more = words.len().saturating_sub(LISTED);
    let list = words.iter().take(LISTED).cloned().chain((more > 0).then(|| format!("{more} more")));
    list.collect::<Vec<_>>().join(", ")
}

/// Finds on which file system each directory is that the node cannot do without.
fn homes<'a>(view: &NodeView, list: &'a [FileSystem], inodes: bool) -> Vec<Home<'a>> {
    let mut homes: Vec<Home<'a>> = Vec::new();
    let own = DIRECTORIES.iter().map(|(dir, user)| ((*dir).to_owned(), (*user).to_owned(), NEARLY_PERCENT));
    for (dir, user, limit) in directories(view).into_iter().chain(own) {
        let limit = if inodes { INODES_PERCENT } else { limit };
        let holds = |f: &&FileSystem| holds(&f.mount, &dir) && (f.mount == "/" || f.mount == dir || !is_image(f));
        let Some(system) = list.iter().filter(holds).max_by_key(|f| f.mount.len()) else { continue };
        match homes.iter_mut().find(|h| h.system.mount == system.mount) {
            Some(home) => {
                home.limit = home.limit.min(limit);
                if !home.users.contains(&user) {
                    home.users.push(user);
                }
            }
            None => homes.push(Home { system, users: vec![user], limit }),
        }
    }
    homes
}

fn holds(mount: &str, dir: &str) -> bool {
    mount == "/" || dir.strip_prefix(mount).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The directories of the kubelet and of the runtimes that are there, with their users.
fn directories(view: &NodeView) -> Vec<(String, String, u8)> {
    let facts = note::facts(view);
    let json = |file: &str| note::text(view, file).and_then(|t| serde_json::from_str::<serde_json::Value>(&t).ok());
    let told = |file: &str, keys: &[&str]| {
        let value = json(file)?;
        keys.iter().find_map(|key| value.get(key)?.as_str().filter(|p| p.starts_with('/')).map(str::to_owned))
    };
    let flag = |arguments: Option<&Vec<String>>, names: &[&str]| {
        let arguments = arguments?;
        let mut after = arguments.iter().zip(arguments.iter().skip(1));
        let joined = |a: &String| names.iter().find_map(|n| a.strip_prefix(n)?.strip_prefix('=').map(str::to_owned));
        let apart = after.find(|(name, _)| names.contains(&name.as_str())).map(|(_, value)| value.clone());
        arguments.iter().find_map(joined).or(apart).filter(|p| p.starts_with('/'))
    };
    let kubelet = facts.as_ref().and_then(|f| f.kubelet.as_ref()).map(|d| &d.cmdline);
    let dockerd = facts.as_ref().and_then(|f| f.dockerd.as_ref()).map(|d| &d.cmdline);
    // Where the probe's facts are missing, each may be there.
    let has = |is: fn(&crate::plan::NodeFacts) -> bool| facts.as_ref().is_none_or(|f| f.partial || is(f));
    let mut found = vec![(flag(kubelet, &["--root-dir"]).unwrap_or_else(|| "/var/lib/kubelet".to_owned()), "kubelet")];
    let docker = told("docker/info.json", &["DockerRootDir"])
        .or_else(|| told("docker/daemon.json", &["data-root", "graph"]))
        .or_else(|| flag(dockerd, &["--data-root", "--graph", "-g"]));
    if docker.is_some() || has(|f| f.dockerd.is_some()) {
        found.push((docker.unwrap_or_else(|| "/var/lib/docker".to_owned()), "docker"));
    }
    if has(|f| f.containerd.is_some()) {
        found.push(("/var/lib/containerd".to_owned(), "containerd"));
    }
    if has(|f| f.crio.is_some()) {
        found.push(("/var/lib/containers".to_owned(), "CRI-O"));
    }
    let limit = |user: &str| if user == "etcd" { NEARLY_PERCENT } else { FULL_PERCENT };
    if runs_etcd(view) {
        found.push(("/var/lib/etcd".to_owned(), "etcd"));
    }
    found.into_iter().map(|(dir, user)| (dir, user.to_owned(), limit(user))).collect()
}

/// Tells whether the list of processes has an etcd; other nodes have no directory of it.
fn runs_etcd(view: &NodeView) -> bool {
    let list = note::text(view, "host/ps.txt").map(|text| ps::parse(&text).list).unwrap_or_default();
    let program = |p: &ps::Process| p.command.split(' ').next().is_some_and(|c| c == "etcd" || c.ends_with("/etcd"));
    list.iter().any(program)
}

fn is_image(system: &FileSystem) -> bool {
    let by_nature = ["/snap/", "/media/", "/sys/", "/var/lib/snapd/"].iter().any(|m| system.mount.starts_with(m));
    by_nature || ["/dev/loop", "/dev/sr", "overlay", "squashfs", "shm"].iter().any(|d| system.device.starts_with(d))
}

/// Mount points of file systems that are full by nature or cannot be written, by /proc/self/mountinfo.
fn images(view: &NodeView) -> std::collections::BTreeSet<String> {
    let one = |line: &str| {
        let (head, tail) = line.split_once(" - ")?;
        let mut words = tail.split(' ');
        let (kind, own) = (words.next()?, words.nth(1).unwrap_or_default());
        let mut mount = head.split(' ').skip(4);
        let (point, options) = (mount.next()?, mount.next().unwrap_or_default());
        let read_only = [own, options].iter().any(|o| o.split(',').any(|option| option == "ro"));
        (read_only || IMAGES.contains(&kind)).then(|| point.replace("\\040", " "))
    };
    note::text(view, super::MOUNTS).map(|text| text.lines().filter_map(one).collect()).unwrap_or_default()
}
